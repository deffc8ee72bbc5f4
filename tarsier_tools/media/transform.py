"""The pixel budget and the two resizes that lead to Tarsier2's input. Pure functions; no torch.

Both resizes are needed, one after the other, to get the pixels the model was trained on:

1. :func:`fit_size`: a frame larger than the budget shrinks to it; a smaller one stays as it is.
2. :func:`grid_size`: to multiples of 28 pixels, the size of a token of the vision model.

Each is bicubic, the width first and then the height, as two calls: Pillow orders the two passes of a single
call differently from version to version, and this way gives the same bytes on all.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from tarsier_tools.errors import VideoTooLarge

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_PIXELS = 460_800
"""Pixels per frame at most, as the reference sets it."""

GRID = 28
"""Sides are multiples of this: two patches of 14 pixels are one token wide."""

MIN_GRID_PIXELS = 4 * GRID * GRID
"""Pixels per frame at least, after the second resize."""

MAX_GRID_PIXELS = 2_073_600
"""Pixels per frame at most, after the second resize; the first one has made them fewer before."""

MAX_ASPECT = 200
"""The longer side at most, in times of the shorter."""

_CLIP_PIXELS = 128 * 384 * 384


def frame_budget(n_frames: int, max_pixels: int = MAX_PIXELS) -> int:
    """Pixels that each of n_frames frames may have, so that the whole clip stays within the context.

    The reference feeds every frame twice and shares 128 x 384 x 384 pixels among them; this is less than
    460800 from 21 frames on. Raises ValueError when n_frames is below 1.
    """
    if n_frames < 1:
        raise ValueError(f"n_frames must be at least 1, got {n_frames}")
    return min(max_pixels, _CLIP_PIXELS // (2 * n_frames))


def fit_size(width: int, height: int, max_pixels: int) -> tuple[int, int]:
    """(width, height) after resize 1: at most max_pixels, never enlarged.

    Raises VideoTooLarge when one side is more than 200 times the other.
    """
    _check_aspect(width, height)
    if width * height <= max_pixels:
        return width, height
    shrink = math.sqrt(width * height / max_pixels)
    return max(1, math.floor(width / shrink)), max(1, math.floor(height / shrink))


def grid_size(
    width: int, height: int, min_pixels: int = MIN_GRID_PIXELS, max_pixels: int = MAX_GRID_PIXELS
) -> tuple[int, int]:
    """(width, height) after resize 2: both multiples of 28, with min_pixels to max_pixels in all.

    Sides are rounded to the nearest multiple, halves to the even one, and then brought inside the bounds.
    Raises VideoTooLarge when one side is more than 200 times the other.
    """
    _check_aspect(width, height)
    columns, rows = round(width / GRID) * GRID, round(height / GRID) * GRID
    if columns * rows > max_pixels:
        shrink = math.sqrt(width * height / max_pixels)
        columns = max(GRID, math.floor(width / shrink / GRID) * GRID)
        rows = max(GRID, math.floor(height / shrink / GRID) * GRID)
    elif columns * rows < min_pixels:
        grow = math.sqrt(min_pixels / (width * height))
        columns, rows = math.ceil(width * grow / GRID) * GRID, math.ceil(height * grow / GRID) * GRID
    return columns, rows


def resize(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """The image at ``size`` = (width, height), bicubic; the very same array when it has that size already.

    Args:
        image: uint8 (height, width, 3).
    """
    width, height = size
    if image.shape[:2] == (height, width):
        return image
    picture = Image.fromarray(image)
    if picture.width != width:
        picture = picture.resize((width, picture.height), Image.Resampling.BICUBIC)
    if picture.height != height:
        picture = picture.resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(picture)


def _check_aspect(width: int, height: int) -> None:
    if width < 1 or height < 1:
        raise ValueError(f"a frame needs at least one pixel, got {width}x{height}")
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise VideoTooLarge(
            f"Frames of {width}x{height} are more than {MAX_ASPECT} times as long as they are wide.",
            hint="Crop the video first; the model cannot be shown such frames.",
        )
