"""Pictures for people: frames with their time burned in, and many of them on one sheet."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageFont

from tarsier_tools.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAX_SIDE = 2000
"""Pixels of the longer side of a sheet at most: larger pictures are dropped by some clients, unsaid."""

_GAP = 6
_BACKGROUND = (24, 24, 24)
_PLATE = (0, 0, 0)
_TEXT = (255, 255, 255)


def clock(time_s: float) -> str:
    """A time as ``M:SS.mmm``, from one hour on as ``H:MM:SS.mmm``."""
    total_ms = round(time_s * 1000)
    minutes, milliseconds = divmod(total_ms, 60_000)
    seconds = f"{milliseconds // 1000:02d}.{milliseconds % 1000:03d}"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds}" if hours else f"{minutes}:{seconds}"


def annotate(image: NDArray[np.uint8], text: str) -> Image.Image:
    """A copy of the image with the text on a dark plate in the lower left corner.

    Args:
        image: uint8 (height, width, 3), RGB.
        text: one line in Latin script, for example of :func:`clock`.
    """
    picture = Image.fromarray(image)
    _burn(picture, text)
    return picture


def contact_sheet(
    frames: Sequence[tuple[NDArray[np.uint8], float]], *, columns: int | None = None, width: int = 1600
) -> Image.Image:
    """All frames on one picture, row by row in the order given, each with its time.

    Every frame gets a cell of the same size, with the shape of the first frame; others are fitted into it.

    Args:
        frames: (image, time in seconds); image uint8 (height, width, 3), RGB.
        columns: frames in a row; by default about as many as there are rows.
        width: of the sheet in pixels, at most; it is made narrower so that neither side is above 2000.

    Raises UsageError for no frames, for columns or a width below 1, and for frames that do not fit.
    """
    if not frames:
        raise UsageError("A contact sheet needs at least one frame.", hint="Give some frames.")
    if width < 1 or (columns is not None and columns < 1):
        raise UsageError(
            f"A contact sheet of {columns} columns and {width} pixels makes no sense.",
            hint="Both are at least 1.",
        )
    columns = min(columns or math.ceil(math.sqrt(len(frames))), len(frames))
    rows = math.ceil(len(frames) / columns)
    height, ratio_width, _ = frames[0][0].shape
    aspect = height / ratio_width
    room = min(width, MAX_SIDE)
    cell_width = (room - _GAP * (columns + 1)) / columns
    cell_width = min(cell_width, (MAX_SIDE - _GAP * (rows + 1)) / rows / aspect)
    cell = (max(1, int(cell_width)), max(1, int(cell_width * aspect)))
    size = (columns * (cell[0] + _GAP) + _GAP, rows * (cell[1] + _GAP) + _GAP)
    if size[0] > room or size[1] > MAX_SIDE:
        raise UsageError(
            f"{columns} x {rows} frames do not fit on a sheet of {room} x {MAX_SIDE} pixels.",
            hint="Take fewer frames, or another number of columns.",
        )
    sheet = Image.new("RGB", size, _BACKGROUND)
    for position, (image, time_s) in enumerate(frames):
        picture = _fit(Image.fromarray(image), cell)
        _burn(picture, clock(time_s))
        row, column = divmod(position, columns)
        sheet.paste(picture, (_GAP + column * (cell[0] + _GAP), _GAP + row * (cell[1] + _GAP)))
    return sheet


def save_jpeg(image: Image.Image, path: Path, *, quality: int = 90) -> None:
    """Write the image as a JPEG file.

    Raises UsageError when the file cannot be written.
    """
    try:
        image.save(path, format="JPEG", quality=quality)
    except OSError as error:
        raise UsageError(
            f"{path} cannot be written: {error.strerror or error}.", hint="Give another folder to write to."
        ) from error


def _fit(picture: Image.Image, cell: tuple[int, int]) -> Image.Image:
    """The picture in a cell of that size, its shape kept, the rest dark."""
    scale = min(cell[0] / picture.width, cell[1] / picture.height)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    resized = picture.resize(size, Image.Resampling.LANCZOS)
    if size == cell:
        return resized
    framed = Image.new("RGB", cell, _PLATE)
    framed.paste(resized, ((cell[0] - size[0]) // 2, (cell[1] - size[1]) // 2))
    return framed


def _burn(picture: Image.Image, text: str) -> None:
    """Draw the text into the picture, as large as can be read and never wider than the picture."""
    draw = ImageDraw.Draw(picture)
    size = max(10.0, picture.height / 14)
    font = ImageFont.load_default(size)
    wide = draw.textlength(text, font=font) + size
    if wide > picture.width:
        size *= picture.width / wide
        font = ImageFont.load_default(max(size, 1.0))
    left, top, right, bottom = draw.textbbox((0, 0), text, font=font)
    pad = size / 3
    corner = (0.0, picture.height - (bottom - top) - 2 * pad)
    draw.rectangle((*corner, right - left + 2 * pad, picture.height), fill=_PLATE)
    draw.text((corner[0] + pad - left, corner[1] + pad - top), text, font=font, fill=_TEXT)
