"""Open one image file with Pillow under limits, and turn what it holds into upright sRGB pixels."""

from __future__ import annotations

import contextlib
import io
import struct
import warnings
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import ExifTags, Image, ImageCms, UnidentifiedImageError

from tarsier_tools.errors import VideoTooLarge, VideoUnreadable
from tarsier_tools.media.base import Deadline, Limits
from tarsier_tools.media.picture_heads import top_boxes

if TYPE_CHECKING:
    from numpy.typing import NDArray

_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "AVIF")

PILLOW_ERRORS = (OSError, SyntaxError, ValueError, EOFError, RuntimeError, struct.error)
"""What Pillow and its plug-ins raise for damaged files."""

_TURNS = {
    2: (Image.Transpose.FLIP_LEFT_RIGHT, 0),
    3: (Image.Transpose.ROTATE_180, 180),
    4: (Image.Transpose.FLIP_TOP_BOTTOM, 180),
    5: (Image.Transpose.TRANSPOSE, 270),
    6: (Image.Transpose.ROTATE_270, 270),
    7: (Image.Transpose.TRANSVERSE, 90),
    8: (Image.Transpose.ROTATE_90, 90),
}
"""By EXIF orientation: how to make the image upright, and by how many degrees counter-clockwise it turns."""


_NEW_SUBFILE_TYPE = 254
_REDUCED, _MASK = 1, 4
"""Bits of a TIFF page's NewSubfileType (TIFF 6.0, section 8): a smaller copy, a mask of opacity."""

_COPY = 0.3
"""Share of the largest page's pixels up to which a page is a copy of it: half as wide and high, or less."""


@contextlib.contextmanager
def opened(path: Path, source: str, limits: Limits) -> Generator[Image.Image]:
    """Give the image with its size checked and close it at the end of the block.

    Args:
        path: the file.
        source: the image, as the user named it.
        limits: what it may cost.

    Raises VideoUnreadable or VideoTooLarge with the reason, also for what Pillow raises in the block.
    """
    try:
        with warnings.catch_warnings():
            # Of large images, where our own limit decides, and of broken EXIF, which is not needed.
            warnings.simplefilter("ignore")
            image = _open(path, source)
        with image:
            limits.check_frame(*image.size, source)
            yield image
    except (Image.DecompressionBombError, MemoryError) as error:
        reason = str(error).rstrip(".") or "no memory"
        raise VideoTooLarge(f"{source} is too large to open: {reason}.", hint="Scale it down.") from None
    except PILLOW_ERRORS as error:
        raise VideoUnreadable(
            f"{source} cannot be read as an image: {str(error).rstrip('.')}.",
            hint="The file is damaged; make or copy it again.",
        ) from None


def _open(path: Path, source: str) -> Image.Image:
    with path.open("rb") as file:
        head = file.read(12)
    if head[4:8] != b"ftyp" or head[8:12] in (b"avif", b"avis"):
        return Image.open(path, formats=_FORMATS)
    if max(end for _, end in top_boxes(path)) > path.stat().st_size:
        raise VideoUnreadable(  # the decoder would leave tiles that are not there grey
            f"{source} is cut short: not all of the picture is there.", hint="Make or copy the file again."
        )
    with contextlib.suppress(UnidentifiedImageError):
        return Image.open(path, formats=("AVIF",))  # some are branded as HEIF in general
    try:
        from pillow_heif import HeifImageFile

        image: Image.Image = HeifImageFile(path)
        return image
    except ImportError:
        raise VideoUnreadable(
            f"{source} is a HEIC picture, and the library that decodes these cannot be loaded.",
            hint="Type: pip install pillow-heif",
        ) from None


def kind(image: Image.Image) -> str:
    """Return the name of the image's format; a JPEG with further pictures behind it is a JPEG."""
    name = str(image.format).lower()
    return "jpeg" if name == "mpo" else name


def places(image: Image.Image, source: str, limits: Limits, deadline: Deadline) -> list[int]:
    """Return where in the file the frames to show stand, for ``image.seek``; at least one.

    Args:
        image: as opened.
        source: the image, as the user named it.
        limits: what the image may cost.
        deadline: checked between the pages of a TIFF.

    Raises VideoTooLarge when there are too many or one is too large, VideoUnreadable for a TIFF that holds
    reduced copies only.
    """
    if image.format in ("MPO", "HEIF"):
        return [image.tell()]
    count = getattr(image, "n_frames", 1)
    limits.check_decoded(count, source)
    return (
        _full_pages(image, count, source, limits, deadline) if image.format == "TIFF" else list(range(count))
    )


def _full_pages(image: Image.Image, count: int, source: str, limits: Limits, deadline: Deadline) -> list[int]:
    """Return the numbers of a TIFF's pages without thumbnails, levels of a pyramid and masks."""
    pixels: dict[int, int] = {}
    for page in range(count):
        deadline.check()
        image.seek(page)
        if not image.getexif().get(_NEW_SUBFILE_TYPE, 0) & (_REDUCED | _MASK):
            limits.check_frame(*image.size, source)
            pixels[page] = image.width * image.height
    if not pixels:
        raise VideoUnreadable(
            f"{source} holds only reduced copies of its picture, as the raw files of cameras do.",
            hint="Export it as JPEG or as an ordinary TIFF.",
        )
    return [page for page, size in pixels.items() if size > _COPY * max(pixels.values())]


def orientation(image: Image.Image) -> int:
    """Return the EXIF orientation that is left to apply, 1 to 8.

    It is 1, upright, where none can be read, and for TIFF and HEIC, which their decoders turn.
    """
    if image.format in ("TIFF", "HEIF"):
        return 1
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of broken EXIF
            value = image.getexif().get(ExifTags.Base.Orientation, 1)
    except PILLOW_ERRORS:
        return 1
    return value if value in _TURNS else 1


def turn(orientation: int) -> int:
    """Return by how many degrees counter-clockwise an image of this orientation turns to be upright."""
    return _TURNS.get(orientation, (None, 0))[1]


def upright_size(size: tuple[int, int], orientation: int) -> tuple[int, int]:
    """Return width and height of an image of this stored size when it is upright."""
    width, height = size
    return (height, width) if turn(orientation) % 180 else (width, height)


def hdr(image: Image.Image) -> str:
    """Return "PQ" or "HLG" for a HEIC picture with that transfer function (ITU-T H.273), otherwise ""."""
    return {16: "PQ", 18: "HLG"}.get(image.info.get("nclx_profile", {}).get("transfer_characteristics"), "")


def upright_pixels(image: Image.Image, orientation: int) -> NDArray[np.uint8]:
    """Return the current frame upright as uint8 (height, width, 3), sRGB.

    An embedded colour profile is applied, as browsers do; without one the values are taken as sRGB. Opacity
    is left aside. Greys of more than 8 bits are scaled to 8.
    """
    image.load()
    if image.mode in ("F", "I") or image.mode.startswith("I;16"):
        picture = Image.fromarray(_grey(image)).convert("RGB")
    else:
        picture = _in_srgb(image)
    if orientation in _TURNS:
        picture = picture.transpose(_TURNS[orientation][0])
    return np.array(picture, dtype=np.uint8)


def _grey(image: Image.Image) -> NDArray[np.uint8]:
    """Return greys of 16 and 32 bits and real numbers as 8 bits, by the narrowest scale that they fit.

    The scales are 0 to 1 (real numbers only), 0 to 255, 0 to 65535; values beyond are stretched from the
    least to the greatest, as nothing in the file says what is white.
    """
    values = np.asarray(image)
    if image.mode.startswith("I;16"):
        return (values.astype(np.uint16) >> 8).astype(np.uint8)
    numbers = np.nan_to_num(values.astype(np.float64), posinf=0.0, neginf=0.0)
    low, high = float(numbers.min()), float(numbers.max())
    if low < 0 or high > 65535:
        numbers, white = numbers - low, high - low
    else:
        white = 1.0 if image.mode == "F" and high <= 1 else 255.0 if high <= 255 else 65535.0
    return np.asarray(np.rint(numbers * (255 / white)), np.uint8)


def _in_srgb(image: Image.Image) -> Image.Image:
    """Return the image as RGB, converted from its embedded colour profile if it has one that fits."""
    data = image.info.get("icc_profile")
    if data and image.mode in ("RGB", "RGBA", "RGBX", "P", "CMYK", "L"):
        plain = image if image.mode in ("CMYK", "L") else image.convert("RGB")
        with contextlib.suppress(ImageCms.PyCMSError, OSError):  # a damaged profile, or of another kind
            profile = ImageCms.ImageCmsProfile(io.BytesIO(data))
            if "sRGB" in ImageCms.getProfileDescription(profile):
                return plain.convert("RGB")
            converted = ImageCms.profileToProfile(
                plain, profile, ImageCms.createProfile("sRGB"), outputMode="RGB"
            )
            if converted is not None:
                return converted
    return image.convert("RGB")
