"""From frames to what the vision tower and the rotary embedding take, with numpy alone.

Bit-equal to the reference processor, which needs torchvision and an old transformers.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tarsier_tools.errors import BackendRejected
from tarsier_tools.media.transform import grid_size, resize
from tarsier_tools.types import Clip

PATCH = 14
MERGE = 2
TEMPORAL = 2  # every frame is fed twice
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
DEFAULT_MIN_PIXELS = 3136


@dataclass(frozen=True)
class Grid:
    """Patches of a clip along time, height and width. Height and width are even."""

    t: int
    h: int
    w: int

    @property
    def patches(self) -> int:
        return self.t * self.h * self.w

    @property
    def tokens(self) -> int:
        """Vision tokens in the prompt: one per 2x2 patches."""
        return self.patches // (MERGE * MERGE)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of each frame, pixels."""
        return self.w * PATCH, self.h * PATCH

    @property
    def extent(self) -> int:
        """How far the positions of the block reach on their longest axis."""
        return max(self.t, self.h // MERGE, self.w // MERGE)


@dataclass(frozen=True)
class PixelRules:
    """The checkpoint's preprocessor_config.json: pixels per frame, mean and deviation per channel."""

    min_pixels: int = DEFAULT_MIN_PIXELS
    max_pixels: int = sys.maxsize
    mean: tuple[float, ...] = CLIP_MEAN
    std: tuple[float, ...] = CLIP_STD

    @classmethod
    def read(cls, config: Mapping[str, Any]) -> PixelRules:
        """``size`` is written with min_pixels/max_pixels or with shortest_edge/longest_edge."""
        size = config.get("size") or {}
        low = config.get("min_pixels") or size.get("min_pixels") or size.get("shortest_edge")
        high = config.get("max_pixels") or size.get("max_pixels") or size.get("longest_edge")
        return cls(
            min_pixels=int(low or DEFAULT_MIN_PIXELS),
            max_pixels=int(high or sys.maxsize),
            mean=tuple(config.get("image_mean") or CLIP_MEAN),
            std=tuple(config.get("image_std") or CLIP_STD),
        )

    def grid(self, clip: Clip) -> Grid:
        """The grid of a clip.

        Raises BackendRejected for frames of several sizes, VideoTooLarge for an extreme aspect ratio.
        """
        shapes = {frame.shape[:2] for frame in clip.frames}
        if len(shapes) > 1:
            raise BackendRejected(
                "The frames of the clip differ in size.", hint="Give pictures of one size, or one at a time."
            )
        height, width = shapes.pop()
        new_width, new_height = grid_size(width, height, self.min_pixels, self.max_pixels)
        return Grid(len(clip), new_height // PATCH, new_width // PATCH)

    def resized(self, clip: Clip, grid: Grid) -> list[NDArray[np.uint8]]:
        """The clip's frames at the size of the grid, each uint8 (height, width, 3)."""
        return [resize(frame, grid.size) for frame in clip.frames]

    def pixel_values(self, clip: Clip, grid: Grid) -> NDArray[np.float32]:
        """float32 (patches, 1176): rows by time, 2x2 block, patch; in a row channel, frame twice, 14x14."""
        return self.patches(np.stack(self.resized(clip, grid)))

    def patches(self, frames: NDArray[np.uint8]) -> NDArray[np.float32]:
        """As pixel_values, from uint8 (time, height, width, 3) already at the grid's size."""
        t, height, width, channels = frames.shape
        h, w = height // PATCH, width // PATCH
        blocks = frames.reshape(t, h // MERGE, MERGE, PATCH, w // MERGE, MERGE, PATCH, channels)
        rows = blocks.transpose(0, 1, 4, 2, 5, 7, 3, 6).reshape(t * h * w, channels, PATCH * PATCH)
        values = np.empty((t * h * w, channels, TEMPORAL, PATCH * PATCH), np.float32)
        # A pixel has 256 values, so the reference's arithmetic (scaled in float64, normalised in float32)
        # is done once per value and channel.
        scaled = (np.arange(256) * (1 / 255)).astype(np.float32)
        for channel in range(channels):
            table = (scaled - np.float32(self.mean[channel])) / np.float32(self.std[channel])
            values[:, channel] = table[rows[:, channel]][:, None]
        return values.reshape(t * h * w, -1)


def prefix_positions(text_before: int, grid: Grid, text_after: int = 0) -> NDArray[np.int64]:
    """Rotary positions (3, length) of a prompt: text, the vision block, text.

    Text after the block starts past the furthest position of all three axes. transformers from 5.3 on looks
    at height and width only, which is wrong for clips with many small frames.
    """
    before = np.broadcast_to(np.arange(text_before), (3, text_before))
    h, w = grid.h // MERGE, grid.w // MERGE
    block = np.stack(np.meshgrid(np.arange(grid.t), np.arange(h), np.arange(w), indexing="ij"))
    start = text_before + grid.extent
    after = np.broadcast_to(np.arange(start, start + text_after), (3, text_after))
    return np.concatenate([before, block.reshape(3, -1) + text_before, after], axis=1)
