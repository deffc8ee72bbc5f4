"""Damage done to whole files of any container: cut off, overwritten, bytes taken out, bits flipped."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

from tests.corpus import GOOD, Good
from tests.corpus_containers import CONTAINERS, COUNTED, DIFFERENT

Damage = Callable[[bytearray, random.Random], None]


def cut(data: bytearray, chance: random.Random) -> None:
    """Keep the first 62 % and a bit, so that even frames of one size are cut inside."""
    del chance
    del data[int(len(data) * 0.62) :]


def zeros(data: bytearray, chance: random.Random) -> None:
    """Fill the middle with zeros."""
    del chance
    first, last = int(len(data) * 0.45), int(len(data) * 0.6)
    data[first:last] = bytes(last - first)


def noise(data: bytearray, chance: random.Random) -> None:
    """Fill the middle with noise."""
    first, last = int(len(data) * 0.45), int(len(data) * 0.6)
    data[first:last] = chance.randbytes(last - first)


def gone(data: bytearray, chance: random.Random) -> None:
    """Take bytes out of the middle."""
    del chance
    del data[int(len(data) * 0.45) : int(len(data) * 0.6)]


def flips(data: bytearray, chance: random.Random) -> None:
    """Flip a bit at 40 places anywhere, the header included."""
    for _ in range(40):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


DAMAGES: tuple[Damage, ...] = (cut, zeros, noise, gone)

_MORE = ("plain.avi", "mpeg4.avi", "plain.mkv", "plain.flv", "mpeg2.mpg", "animation.gif")

TIMED: tuple[Good, ...] = (
    *(video for video in CONTAINERS if video.name not in DIFFERENT),
    *(video for video in GOOD if video.name in _MORE),
)
"""Files whose container says when each frame is shown, one of each kind."""

EVERY: tuple[Good, ...] = (*TIMED, *COUNTED)


def damaged(video: Good, damage: Damage, seed: int, path: Path) -> None:
    """Make the video and damage it."""
    video.make(path)
    data = bytearray(path.read_bytes())
    damage(data, random.Random(seed))
    path.write_bytes(data)
