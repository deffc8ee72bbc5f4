"""Films of several shots: each with a ground of its own, in which a box moves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tarsier_tools import ScriptedBackend
from tarsier_tools.errors import BackendFailed
from tarsier_tools.types import ModelInfo, Progress, Request, no_progress
from tests.corpus import Track, steady, write

RATE = 10.0
_GROUNDS = ((200, 40, 40), (30, 90, 200), (40, 170, 60), (230, 210, 60), (110, 40, 140))
NAMES = ("red", "blue", "green", "yellow", "purple")
"""Of the grounds, in the order of the shots."""

_PER_SHOT = 100_000


def shot_picture(number: int, width: int, height: int) -> NDArray[np.uint8]:
    """Picture ``number % 100000`` of shot ``number // 100000``, uint8 (height, width, 3)."""
    shot, step = divmod(number, _PER_SHOT)
    image = np.empty((height, width, 3), np.uint8)
    image[:] = _GROUNDS[shot % len(_GROUNDS)]
    box = height // 4
    left, top = (step * 4) % (width - box), (20 * shot) % (height - box)
    image[top : top + box, left : left + box] = 250
    return image


def film(
    path: Path,
    lengths: Sequence[int],
    *,
    rate: float = RATE,
    times: Sequence[float] | None = None,
    **track: Any,
) -> Path:
    """A film with a shot of each length, in frames; returns the path."""
    numbers = [shot * _PER_SHOT + step for shot, length in enumerate(lengths) for step in range(length)]
    times = steady(len(numbers), rate) if times is None else times
    made = Track(numbers, times, rate=Fraction(rate), **track)
    write(path, made, draw=shot_picture)
    return path


def with_noise(path: Path, start: float, end: float) -> Path:
    """The same film, with noise for this share of its pictures' data; its headers and index are whole."""
    data = bytearray(path.read_bytes())
    begin = data.index(b"mdat") + 4
    length = int.from_bytes(data[begin - 8 : begin - 4], "big") - 8
    first, last = begin + int(start * length), begin + int(end * length)
    data[first:last] = np.random.default_rng(3).bytes(last - first)
    made = path.with_name(f"noisy_{path.name}")
    made.write_bytes(data)
    return made


def shot_of(image: NDArray[np.uint8]) -> int:
    """Which shot a picture is of (of the first five), by its ground."""
    ground = np.median(image.reshape(-1, 3), axis=0)
    return int(np.abs(np.array(_GROUNDS) - ground).sum(axis=1).argmin())


class Namer(ScriptedBackend):
    """Says which shot it is shown, one clip at a time as a model on a CPU; fails where it is told to."""

    def __init__(self, fail_at: int | None = None, name: str = "namer", folder: str = "") -> None:
        super().__init__()
        self.fail_at, self._name, self._folder = fail_at, name, folder

    @property
    def info(self) -> ModelInfo:
        return replace(super().info, name=self._name, device="cpu", folder=self._folder)

    def generate(self, requests: Sequence[Request], *, on_progress: Progress = no_progress) -> Any:
        if len(self.requests) == self.fail_at:
            raise BackendFailed("The model broke.")
        self._replies += [f"A {NAMES[shot_of(request.clip.frames[0])]} room." for request in requests]
        return super().generate(requests, on_progress=on_progress)
