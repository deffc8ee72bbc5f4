"""Pixels and rotary positions against slow, literal versions of the reference's rules."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from tarsier2_kit import clip

from tarsier_tools.backends.tarsier2.inputs import Grid, PixelRules, prefix_positions
from tarsier_tools.errors import BackendRejected, VideoTooLarge
from tarsier_tools.types import Clip


def literal_pixel_values(frames: np.ndarray, rules: PixelRules) -> np.ndarray:
    """One number after the other, from uint8 (time, height, width, 3)."""
    t, height, width, _ = frames.shape
    scaled = (frames.astype(np.float64) * (1 / 255)).astype(np.float32)
    normal = (scaled - np.array(rules.mean, np.float32)) / np.array(rules.std, np.float32)
    rows = []
    for frame, top, left in itertools.product(range(t), range(0, height, 28), range(0, width, 28)):
        for down, right in itertools.product((0, 14), (0, 14)):
            y, x = top + down, left + right
            patch = normal[frame, y : y + 14, x : x + 14]
            rows.append([value for c in range(3) for _ in range(2) for value in patch[:, :, c].ravel()])
    return np.array(rows, np.float32)


def literal_positions(before: int, grid: Grid, after: int) -> list[tuple[int, int, int]]:
    positions = [(i, i, i) for i in range(before)]
    positions += [
        (before + t, before + h, before + w)
        for t in range(grid.t)
        for h in range(grid.h // 2)
        for w in range(grid.w // 2)
    ]
    start = max(max(position) for position in positions) + 1
    return positions + [(start + i,) * 3 for i in range(after)]


@pytest.mark.parametrize(("frames", "width", "height"), [(1, 56, 56), (3, 84, 56), (2, 28, 140)])
def test_pixel_values_are_those_of_the_literal_rule_to_the_bit(frames: int, width: int, height: int) -> None:
    rules = PixelRules()
    shown = clip(frames, width, height)
    values = rules.pixel_values(shown, rules.grid(shown))
    assert values.dtype == np.float32
    assert values.tobytes() == literal_pixel_values(np.stack(shown.frames), rules).tobytes()


def test_other_means_and_deviations_are_used() -> None:
    rules = PixelRules.read({"image_mean": [0.5, 0.4, 0.3], "image_std": [0.1, 0.2, 0.3]})
    shown = clip(1, 56, 56)
    values = rules.pixel_values(shown, rules.grid(shown))
    assert values.tobytes() == literal_pixel_values(np.stack(shown.frames), rules).tobytes()


@pytest.mark.parametrize(
    "grid", [Grid(16, 4, 6), Grid(1, 2, 2), Grid(2, 20, 6), Grid(3, 4, 30), Grid(16, 36, 64)], ids=str
)
def test_text_starts_past_the_longest_of_all_three_axes(grid: Grid) -> None:
    positions = prefix_positions(15, grid, 4)
    assert positions.dtype == np.int64
    assert [tuple(column) for column in positions.T.tolist()] == literal_positions(15, grid, 4)


@pytest.mark.parametrize(
    ("config", "bounds"),
    [
        ({}, (3136, None)),
        ({"min_pixels": 6272, "max_pixels": 10_000}, (6272, 10_000)),
        ({"size": {"min_pixels": 6272, "max_pixels": 10_000}}, (6272, 10_000)),
        ({"size": {"shortest_edge": 6272, "longest_edge": 10_000}}, (6272, 10_000)),
        ({"size": {"shortest_edge": 6272}}, (6272, None)),
    ],
)
def test_both_ways_to_write_the_bounds_of_a_frame_are_read(
    config: dict[str, object], bounds: tuple[int, int | None]
) -> None:
    rules = PixelRules.read(config)
    assert rules.min_pixels == bounds[0]
    if bounds[1] is None:
        assert rules.grid(clip(1, 2800, 1400)) == Grid(1, 100, 200)
    else:
        assert rules.max_pixels == bounds[1]
        grid = rules.grid(clip(1, 2800, 1400))
        assert grid.patches * 14 * 14 <= bounds[1]


def test_a_small_frame_is_enlarged_to_four_tokens() -> None:
    rules = PixelRules()
    shown = clip(2, 20, 20)
    grid = rules.grid(shown)
    assert grid == Grid(2, 4, 4)
    assert grid.tokens == 8
    assert rules.pixel_values(shown, grid).shape == (32, 1176)


def test_frames_of_several_sizes_are_refused() -> None:
    mixed = Clip(clip(1, 56, 56).frames + clip(1, 84, 56).frames, (0, 1), (0.0, 1.0), "mixed")
    with pytest.raises(BackendRejected, match="differ in size"):
        PixelRules().grid(mixed)


def test_a_frame_that_is_all_but_a_line_is_refused() -> None:
    with pytest.raises(VideoTooLarge, match="200 times"):
        PixelRules().grid(clip(1, 4000, 10))
