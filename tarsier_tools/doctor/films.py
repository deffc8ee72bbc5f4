"""What the doctor shows a model: films in memory with known truth, and one that numbers its own frames."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from tarsier_tools.selfcheck.world import ACTIONS, COLORS, SHAPES, Action, Fact, Scene, random_scene
from tarsier_tools.types import Clip

REVERSED: dict[Action, Action] = {
    "move_left": "move_right",
    "move_right": "move_left",
    "move_up": "move_down",
    "move_down": "move_up",
    "grow": "shrink",
    "shrink": "grow",
    "appear": "disappear",
    "disappear": "appear",
}
"""What each action is when the film runs backwards."""

FRAMES = 16
SIZE = (224, 224)
DURATION_S = 6.0
_SEED = 1201
_BITS = 8
_CELL = 20
"""Pixels of a bit's side: large enough to outlive any codec."""


@dataclass(frozen=True)
class Film:
    """One shape doing one thing, as a model is shown it."""

    scene: Scene
    clip: Clip

    @property
    def fact(self) -> Fact:
        """What happens."""
        return self.scene.events[0].fact

    @property
    def backwards(self) -> Fact:
        """What would happen if the frames came in reverse."""
        color, shape, action = self.fact
        return color, shape, REVERSED[action]

    @property
    def elsewhere(self) -> Fact:
        """The same action by something that is not in the film: another shape in another colour."""
        colors, shapes = zip(*self.scene.truth().objects, strict=True)
        color = next(color for color in COLORS if color not in colors)
        shape = next(shape for shape in SHAPES if shape not in shapes)
        return color, shape, self.fact[2]


@lru_cache(maxsize=64)
def film(number: int) -> Film:
    """The film of this number: every action comes once in eight numbers, one shape stands by."""
    wanted = ACTIONS[number % len(ACTIONS)]
    for attempt in range(1000):
        rng = np.random.default_rng((_SEED, number, 0, attempt))
        scene = random_scene(rng, duration_s=DURATION_S, n_events=1, n_idle=1)
        if scene.events[0].action == wanted:
            return Film(scene, shown(scene, FRAMES, SIZE))
    raise AssertionError("a thousand films without an action that one in eight has")


def shown(scene: Scene, frames: int, size: tuple[int, int]) -> Clip:
    """A scene as the clip of ``frames`` pictures, evenly spread; size is (width, height)."""
    times_s = (np.arange(frames) + 0.5) * scene.duration_s / frames
    return make_clip(list(scene.render(times_s, size)), times_s.tolist())


def make_clip(images: list[NDArray[np.uint8]], times_s: list[float]) -> Clip:
    """A clip of these pictures, numbered from 0."""
    digest = hashlib.sha256(b"".join(image.tobytes() + str(image.shape).encode() for image in images))
    return Clip(tuple(images), tuple(range(len(images))), tuple(times_s), digest.hexdigest())


def with_noise(clip: Clip, number: int) -> Clip:
    """The clip with one of its frames replaced by coloured noise."""
    images = list(clip.frames)
    images[number] = np.random.default_rng(number).integers(0, 255, images[number].shape, dtype=np.uint8)
    return make_clip(images, list(clip.times_s))


def plain(frames: int, size: tuple[int, int], seed: int) -> Clip:
    """Frames of one colour each, all different; size is (width, height). New for every seed."""
    colors = np.random.default_rng((_SEED, seed)).integers(0, 255, (frames, 3), dtype=np.uint8)
    images = [np.broadcast_to(color, (size[1], size[0], 3)).copy() for color in colors]
    return make_clip(images, [number / 2 for number in range(frames)])


def numbered(count: int) -> NDArray[np.uint8]:
    """Pictures (count, height, width, 3) that hold their number: a row of bits above the inverted bits."""
    bits = (np.arange(count)[:, None] >> np.arange(_BITS)[::-1]) & 1
    rows = np.stack([bits, 1 - bits], axis=1).astype(np.uint8) * 235 + 10
    grey = rows.repeat(_CELL, axis=1).repeat(_CELL, axis=2)
    return grey[..., None].repeat(3, axis=3)


def read_number(image: NDArray[np.uint8]) -> int | None:
    """The number that a picture of :func:`numbered` holds, at whatever size; None when it is distorted."""
    height, width, _ = image.shape
    grey = image.mean(axis=2)
    columns = ((np.arange(_BITS) + 0.5) * width / _BITS).astype(int)
    top, bottom = grey[height // 4, columns] > 128, grey[3 * height // 4, columns] > 128
    if not np.array_equal(top, ~bottom):
        return None
    return int(sum(1 << place for place, bit in enumerate(top[::-1]) if bit))
