"""How the shapes of the shapes world are drawn: anti-aliased coverage from signed distances."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

REACH = 1.2
"""No shape reaches further from its centre than this times its radius."""


def coverage(
    shape: str,
    place: tuple[float, float, float],
    scale: float,
    stretch: NDArray[np.float64],
    size: tuple[int, int],
) -> tuple[slice, slice, NDArray[np.float32]]:
    """Rows, columns and coverage (0..1, float32, anti-aliased) of a shape in a picture of (width, height).

    ``scale`` is pixels per unit; ``stretch`` how much more than that each axis is enlarged when the
    picture's sides are not in the scene's proportion.
    """
    (x, y, radius), (width, height) = place, size
    cx, cy, reach = x * scale * stretch[0], y * scale * stretch[1], REACH * radius * scale + 2
    left, right = max(int(cx - reach * stretch[0]), 0), min(int(cx + reach * stretch[0]) + 2, width)
    top, bottom = max(int(cy - reach * stretch[1]), 0), min(int(cy + reach * stretch[1]) + 2, height)
    u = ((np.arange(left, right, dtype=np.float32) + 0.5 - np.float32(cx)) / np.float32(stretch[0]))[None, :]
    v = ((np.arange(top, bottom, dtype=np.float32) + 0.5 - np.float32(cy)) / np.float32(stretch[1]))[:, None]
    r = np.float32(radius * scale)
    if shape == "circle":
        distance = np.sqrt(u * u + v * v) - r
    elif shape == "square":
        distance = np.maximum(np.abs(u), np.abs(v)) - np.float32(0.87) * r
    elif shape == "triangle":  # upright, its point up
        flank = np.float32(0.866) * np.abs(u) - np.float32(0.5) * v - np.float32(0.6) * r
        distance = np.maximum(flank, v - np.float32(0.62) * r)
    else:  # five points, one up: fold the plane into a half sector and measure to the edge in it
        sector = np.float32(2 * np.pi / 5)
        turn = np.abs((np.arctan2(u, -v) + sector / 2) % sector - sector / 2)
        length = np.sqrt(u * u + v * v)
        a, b = length * np.cos(turn), length * np.sin(turn)
        tip, dent = np.float32(1.2) * r, np.float32(0.55) * r
        dent_a, dent_b = dent * np.cos(sector / 2), dent * np.sin(sector / 2)
        edge = np.hypot(dent_a - tip, dent_b)
        distance = ((a - tip) * dent_b - b * (dent_a - tip)) / edge
    covered = np.clip(np.float32(0.5) - distance, 0, 1).astype(np.float32)
    return slice(top, bottom), slice(left, right), covered
