"""Still images, animated WebP, PNG and AVIF, and folders of images, read with Pillow as videos."""

from __future__ import annotations

import contextlib
import re
import struct
import warnings
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import ExifTags, Image, ImageOps

from tarsier_tools.errors import VideoTooLarge, VideoUnreadable
from tarsier_tools.media.base import Deadline, Frame, Limits, VideoReader
from tarsier_tools.results import VideoInfo

if TYPE_CHECKING:
    from numpy.typing import NDArray

STILL_S = 1.0
"""Seconds for which a still image, or one of a folder, is shown."""

_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "AVIF")
_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".avif")
_LEAST_SHOWN_S = 0.01
"""An animation may say 0 ms for a frame; it counts as this much, so that times ascend."""

_TURNS_BY_ORIENTATION = {3: 180, 4: 180, 5: 270, 6: 270, 7: 90, 8: 90}
"""Degrees counter-clockwise by EXIF orientation; 1 and 2 need no turn."""

_PILLOW_ERRORS = (OSError, SyntaxError, ValueError, EOFError, struct.error)
"""What Pillow raises for damaged files."""


def is_image(head: bytes) -> bool:
    """Whether a file that starts with these bytes (64 are enough) is an image that is read here."""
    return (
        head.startswith((b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"II*\0", b"MM\0*"))
        or (head.startswith(b"BM") and head[6:10] == bytes(4))
        or (head[:4] == b"RIFF" and head[8:12] == b"WEBP")
        or (head[4:8] == b"ftyp" and head[8:12] in (b"avif", b"avis"))
    )


class ImageReader(VideoReader):
    """Reads one image file: a still one is a video of one frame, an animation has its own times.

    Args:
        path: the file.
        source: what the user typed.
        size_bytes: of the file.
        limits: what the file may cost.

    Raises VideoUnreadable or VideoTooLarge with the reason.
    """

    def __init__(self, path: Path, *, source: str, size_bytes: int, limits: Limits) -> None:
        super().__init__(limits)
        self._path = path
        deadline = Deadline(limits.timeout_s, source)
        with _opened(path, source, limits) as image:
            count = getattr(image, "n_frames", 1)
            limits.check_decoded(count, source)
            turn = _turn(image) if count == 1 else 0
            width, height = _upright_size(image) if turn else image.size
            kind = str(image.format).lower()
            shown_s = [STILL_S] if count == 1 else self._shown_for(image, count, deadline)
        ends = np.cumsum(np.array(shown_s, np.float64))
        self.timeline = np.concatenate([[0.0], ends[:-1]])
        self.info = VideoInfo(
            source=source,
            container=kind,
            codec=kind,
            width=width,
            height=height,
            rotation=turn,
            duration_s=float(ends[-1]),
            frame_count=len(shown_s),
            average_fps=len(shown_s) / float(ends[-1]),
            variable_rate=bool(np.ptp(shown_s) > _LEAST_SHOWN_S / 2),
            size_bytes=size_bytes,
            decoder="pillow",
        )

    def _shown_for(self, image: Image.Image, count: int, deadline: Deadline) -> list[float]:
        """Seconds for which each frame is shown; Pillow tells them only as it decodes."""
        shown_s: list[float] = []
        for number in range(count):
            deadline.check()
            try:
                image.seek(number)
                image.load()
            except _PILLOW_ERRORS as error:
                if not shown_s:
                    raise
                self._note(
                    f"The file is cut short: {count} frames are declared, {number} are there ({error})."
                )
                break
            shown_s.append(max(float(image.info.get("duration", 0)) / 1000, _LEAST_SHOWN_S))
        return shown_s

    def _decode(self, wanted: list[int], deadline: Deadline) -> Generator[Frame]:
        source = self.info.source
        with _opened(self._path, source, self._limits) as image:
            for index in wanted:
                deadline.check()
                try:
                    image.seek(index)
                    pixels = _upright(image, turn=self.info.frame_count == 1)
                except _PILLOW_ERRORS as error:
                    self._note(f"Frame {index} is damaged: {error}.")
                    continue
                yield Frame(index, float(self.timeline[index]), pixels)


class FolderReader(VideoReader):
    """Reads the images of a folder as a video of one frame per second, in natural order of their names.

    Hidden files, other kinds of files and links that lead out of the folder are left out. Images may differ
    in size; ``info`` has the size of the first one that can be opened.

    Args:
        path: the folder.
        source: what the user typed.
        limits: what the images may cost together.

    Raises VideoUnreadable when there is no image, VideoTooLarge when a limit is met.
    """

    def __init__(self, path: Path, *, source: str, limits: Limits) -> None:
        super().__init__(limits)
        self._files = self._images_in(path)
        if not self._files:
            raise VideoUnreadable(
                f"The folder {source} holds no images.", hint=f"Images are {', '.join(_SUFFIXES)} files."
            )
        limits.check_decoded(len(self._files), source)
        size_bytes = sum(file.stat().st_size for file in self._files)
        limits.check_file(size_bytes, source)
        kind, (width, height) = self._first_size(source)
        count = len(self._files)
        self.timeline = np.arange(count, dtype=np.float64) * STILL_S
        self.info = VideoInfo(
            source=source,
            container="folder",
            codec=kind,
            width=width,
            height=height,
            rotation=0,
            duration_s=count * STILL_S,
            frame_count=count,
            average_fps=1 / STILL_S,
            variable_rate=False,
            size_bytes=size_bytes,
            decoder="pillow",
        )

    def _images_in(self, folder: Path) -> list[Path]:
        files = []
        inside = folder.resolve()
        for file in sorted(folder.iterdir(), key=lambda file: _natural(file.name)):
            if file.name.startswith(".") or file.suffix.lower() not in _SUFFIXES or not file.is_file():
                continue
            if file.resolve().is_relative_to(inside):
                files.append(file)
            else:
                self._note(f"{file.name} is left out: it is a link that leads out of the folder.")
        return files

    def _first_size(self, source: str) -> tuple[str, tuple[int, int]]:
        problem: VideoUnreadable | None = None
        for file in self._files:
            try:
                with _opened(file, file.name, self._limits) as image:
                    return str(image.format).lower(), _upright_size(image)
            except VideoUnreadable as error:
                problem = problem or error
        raise VideoUnreadable(f"None of the images of {source} can be opened.", hint=str(problem))

    def _decode(self, wanted: list[int], deadline: Deadline) -> Generator[Frame]:
        for index in wanted:
            deadline.check()
            file = self._files[index]
            try:
                with _opened(file, file.name, self._limits) as image:
                    pixels = _upright(image, turn=True)
            except VideoUnreadable as error:
                self._note(error.message)
                continue
            yield Frame(index, float(self.timeline[index]), pixels)


def _natural(name: str) -> list[tuple[int, int, str]]:
    """A key that sorts img2 before img10."""
    return [
        (0, int(part), "") if part.isdigit() else (1, 0, part)
        for part in re.split(r"([0-9]+)", name.casefold())
        if part
    ]


@contextlib.contextmanager
def _opened(path: Path, source: str, limits: Limits) -> Generator[Image.Image]:
    """The image, with its size checked; closed at the end of the block. Maps Pillow's errors."""
    try:
        with warnings.catch_warnings():
            # Our own limit decides, and says so, instead of Pillow's warning.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(path, formats=_FORMATS)
        with image:
            limits.check_frame(*image.size, source)
            yield image
    except (Image.DecompressionBombError, MemoryError) as error:
        reason = str(error).rstrip(".") or "no memory"
        raise VideoTooLarge(f"{source} is too large to open: {reason}.", hint="Scale it down.") from None
    except _PILLOW_ERRORS as error:
        raise VideoUnreadable(
            f"{source} cannot be read as an image: {error}.",
            hint="The file is damaged; make or copy it again.",
        ) from None


def _turn(image: Image.Image) -> int:
    """Degrees counter-clockwise that make the image upright."""
    return _TURNS_BY_ORIENTATION.get(image.getexif().get(ExifTags.Base.Orientation, 1), 0)


def _upright_size(image: Image.Image) -> tuple[int, int]:
    width, height = image.size
    return (height, width) if _turn(image) % 180 else (width, height)


def _upright(image: Image.Image, *, turn: bool) -> NDArray[np.uint8]:
    """The current frame as uint8 (height, width, 3), RGB."""
    picture = ImageOps.exif_transpose(image) if turn else image
    if picture.mode.startswith("I;16"):
        grey = (np.asarray(picture).astype(np.uint16) >> 8).astype(np.uint8)
        return np.repeat(grey[:, :, np.newaxis], 3, axis=2)
    return np.array(picture.convert("RGB"), dtype=np.uint8)
