"""Pictures for people: times that can be read, sheets that hold every frame and are not too large."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from tarsier_tools.errors import UsageError
from tarsier_tools.media.sheet import MAX_SIDE, annotate, clock, contact_sheet, save_jpeg

COLOURS = [(200, 40, 40), (40, 200, 40), (40, 40, 200), (200, 200, 40), (200, 40, 200)]


def plain(number: int, width: int = 320, height: int = 180) -> np.ndarray:
    return np.full((height, width, 3), COLOURS[number % len(COLOURS)], dtype=np.uint8)


def frames(count: int, **size: int) -> list[tuple[np.ndarray, float]]:
    return [(plain(number, **size), number * 1.25) for number in range(count)]


@pytest.mark.parametrize(
    ("time_s", "text"),
    [
        (0, "0:00.000"),
        (0.0004, "0:00.000"),
        (5.25, "0:05.250"),
        (59.9996, "1:00.000"),
        (61.5, "1:01.500"),
        (3599.999, "59:59.999"),
        (3600, "1:00:00.000"),
        (36_000.001, "10:00:00.001"),
    ],
)
def test_a_time_is_written_as_people_read_it(time_s, text):
    assert clock(time_s) == text


@pytest.mark.parametrize("background", [0, 128, 255])
def test_a_burned_in_text_stands_out_on_any_picture(background):
    image = np.full((180, 320, 3), background, dtype=np.uint8)
    burned = np.asarray(annotate(image, "0:05.250"))
    plate = burned[160:, :60]
    assert plate.min() < 40
    assert plate.max() > 220
    assert np.array_equal(burned[:100], image[:100])  # the rest of the picture is as it was
    assert np.array_equal(burned[:, 160:], image[:, 160:])
    assert (image == background).all()  # and so is the array that was given


def test_different_texts_look_different():
    image = plain(0)
    assert annotate(image, "0:05.250").tobytes() != annotate(image, "0:05.251").tobytes()


@pytest.mark.parametrize("size", [(1, 1), (8, 8), (20, 300), (300, 20), (1920, 1080)])
def test_a_text_fits_into_any_picture(size):
    picture = annotate(plain(0, *size), "1:00:00.000")
    assert picture.size == size


def cells(sheet: Image.Image, columns: int, rows: int) -> list[tuple[int, int, int]]:
    """The colour at the upper middle of each cell, away from its plate."""
    width, height = sheet.width / columns, sheet.height / rows
    return [
        sheet.getpixel((int((column + 0.5) * width), int((row + 0.3) * height)))
        for row in range(rows)
        for column in range(columns)
    ]


def test_a_sheet_holds_every_frame_in_order_and_nothing_else():
    sheet = contact_sheet(frames(5))
    colours = cells(sheet, columns=3, rows=2)
    assert colours[:5] == COLOURS
    assert max(colours[5]) < 40


@pytest.mark.parametrize(
    ("count", "columns", "shape"),
    [(1, None, (1, 1)), (4, None, (2, 2)), (16, None, (4, 4)), (5, 5, (5, 1)), (3, 9, (3, 1))],
)
def test_a_sheet_has_the_columns_asked_for_or_is_about_square(count, columns, shape):
    sheet = contact_sheet(frames(count), columns=columns)
    assert cells(sheet, *shape) == [COLOURS[number % 5] for number in range(count)]


def test_every_cell_carries_its_own_time():
    same = plain(0)
    one = np.asarray(contact_sheet([(same, 1.0), (same, 2.0)], columns=2))
    other = np.asarray(contact_sheet([(same, 1.0), (same, 3.0)], columns=2))
    middle = one.shape[1] // 2
    assert np.array_equal(one[:, :middle], other[:, :middle])
    assert not np.array_equal(one[:, middle:], other[:, middle:])


@pytest.mark.parametrize("count", [1, 7, 40, 512])
@pytest.mark.parametrize("size", [(64, 36), (36, 64), (192, 30), (3, 200)])
def test_no_sheet_is_longer_than_the_limit_on_either_side(count, size):
    sheet = contact_sheet(frames(count, width=size[0], height=size[1]), width=5000)
    assert max(sheet.size) <= MAX_SIDE
    assert contact_sheet(frames(2), width=300).width <= 300


def test_a_frame_of_another_shape_is_fitted_into_its_cell():
    sheet = contact_sheet([(plain(0), 0.0), (plain(1, 90, 180), 1.0)], columns=2)
    middle = sheet.height // 3
    right_cell = [sheet.getpixel((x, middle)) for x in range(sheet.width // 2 + 10, sheet.width - 10)]
    assert right_cell[0] == (0, 0, 0)
    assert COLOURS[1] in right_cell


@pytest.mark.parametrize("bad", [{"columns": 0}, {"columns": -1}, {"width": 0}])
def test_a_sheet_without_room_or_frames_is_refused(bad):
    with pytest.raises(UsageError):
        contact_sheet(frames(2), **bad)
    with pytest.raises(UsageError, match="at least one frame"):
        contact_sheet([])


@pytest.mark.parametrize("shape", [{"columns": 400}, {"columns": 1}, {"columns": 20, "width": 100}])
def test_frames_that_do_not_fit_on_a_sheet_are_refused(shape):
    with pytest.raises(UsageError, match="do not fit"):
        contact_sheet(frames(400, width=4, height=4), **shape)


def test_a_sheet_is_written_as_a_jpeg_and_a_bad_folder_is_named(tmp_path):
    sheet = contact_sheet(frames(3))
    save_jpeg(sheet, tmp_path / "sheet.jpg")
    with Image.open(tmp_path / "sheet.jpg") as written:
        assert (written.format, written.size) == ("JPEG", sheet.size)
    with pytest.raises(UsageError, match="cannot be written") as caught:
        save_jpeg(sheet, tmp_path / "no" / "sheet.jpg")
    assert caught.value.hint
