"""The pixel budget and the resizes, row by row against what the reference computed."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image, ImageSequence

from tarsier_tools.errors import VideoTooLarge
from tarsier_tools.media.transform import (
    MAX_GRID_PIXELS,
    MIN_GRID_PIXELS,
    fit_size,
    frame_budget,
    grid_size,
    resize,
)

GOLDEN = Path(__file__).parent / "golden"
SIZES = json.loads((GOLDEN / "given" / "tables.json").read_text())["sizes"]
CASES = ["anim_200x150_gif", "hd_1280x720_30fps", "shapes_320x240_25fps", "short10_256x192"]


def decode(path: Path) -> list[np.ndarray]:
    if path.suffix == ".gif":
        with Image.open(path) as gif:
            return [np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(gif)]
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def digest(frame: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(frame).tobytes()).hexdigest()


def test_sizes_and_budgets_are_those_of_the_reference_in_every_row():
    assert len(SIZES) == 84
    for row in SIZES:
        budget = frame_budget(row["n_frames"])
        assert budget == row["max_pixels"], row
        first = fit_size(*row["wh"], budget)
        assert list(first) == row["resize1_wh"], row
        second = grid_size(*first)
        assert list(second) == row["resize2_wh"], row
        assert [row["n_frames"], second[1] // 14, second[0] // 14] == row["grid_thw"]


@pytest.mark.parametrize("case", CASES)
def test_resized_frames_have_the_bytes_of_the_reference(case):
    truth = json.loads((GOLDEN / "given" / f"{case}.json").read_text())
    frames = decode(GOLDEN / "videos" / truth["file"])
    budget = frame_budget(len(truth["frame_indices"]))
    for position, index in enumerate(truth["frame_indices"]):
        height, width, _ = frames[index].shape
        assert digest(frames[index]) == truth["decoded_frames_sha256"][position]
        first = resize(frames[index], fit_size(width, height, budget))
        assert digest(first) == truth["resize1_frames_sha256"][position]
        second = resize(first, grid_size(first.shape[1], first.shape[0]))
        assert digest(second) == truth["resize2_frames_sha256"][position]


def test_the_width_is_resized_before_the_height():
    noise = np.random.default_rng(0).integers(0, 256, (90, 160, 3), dtype=np.uint8)
    by_hand = Image.fromarray(noise).resize((61, 90), Image.Resampling.BICUBIC)
    by_hand = by_hand.resize((61, 37), Image.Resampling.BICUBIC)
    other_way = Image.fromarray(noise).resize((160, 37), Image.Resampling.BICUBIC)
    other_way = other_way.resize((61, 37), Image.Resampling.BICUBIC)
    assert np.array_equal(resize(noise, (61, 37)), np.asarray(by_hand))
    assert not np.array_equal(resize(noise, (61, 37)), np.asarray(other_way))


def test_an_image_of_the_right_size_is_not_touched():
    image = np.zeros((20, 30, 3), dtype=np.uint8)
    assert resize(image, (30, 20)) is image


@pytest.mark.parametrize("size", [(1, 1), (5, 900), (199, 1), (3, 599), (7680, 4320), (29, 4000)])
def test_every_size_ends_on_the_grid_and_within_its_bounds(size):
    first = fit_size(*size, 460_800)
    assert first[0] * first[1] <= 460_800
    assert first[0] <= size[0]
    assert first[1] <= size[1]
    width, height = grid_size(*first)
    assert width % 28 == height % 28 == 0
    assert MIN_GRID_PIXELS <= width * height <= MAX_GRID_PIXELS


def test_a_small_budget_shrinks_a_thin_frame_to_no_less_than_one_pixel():
    assert fit_size(1000, 5, 100) == (141, 1)


def test_the_grid_stays_below_its_largest_size():
    width, height = grid_size(1920, 1080, max_pixels=460_800)
    assert (width, height) == (896, 504)


@pytest.mark.parametrize("size", [(201, 1), (1, 201), (4000, 19)])
@pytest.mark.parametrize("rule", [lambda w, h: fit_size(w, h, 460_800), grid_size])
def test_a_frame_like_a_thread_is_refused(size, rule):
    with pytest.raises(VideoTooLarge, match="200 times"):
        rule(*size)


def test_senseless_numbers_are_refused():
    with pytest.raises(ValueError, match="at least 1"):
        frame_budget(0)
    with pytest.raises(ValueError, match="one pixel"):
        fit_size(0, 10, 100)
