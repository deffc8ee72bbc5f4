"""Still images, animated WebP, PNG and AVIF, and folders of images, read with Pillow as videos."""

from __future__ import annotations

import re
from collections.abc import Generator
from pathlib import Path

import numpy as np
from PIL import Image

from tarsier_tools.errors import VideoUnreadable
from tarsier_tools.media import pictures
from tarsier_tools.media.base import Deadline, Frame, Limits, VideoReader
from tarsier_tools.results import VideoInfo

STILL_S = 1.0
"""Seconds for which a still image, or one of a folder, is shown."""

_SUFFIXES = (
    ".png",
    ".jpg",
    ".jpeg",
    ".webp",
    ".bmp",
    ".tif",
    ".tiff",
    ".avif",
    ".heic",
    ".heif",
    ".hif",
)
_LEAST_SHOWN_S = 0.01
"""An animation may say 0 ms for a frame; it counts as this much, so that times ascend."""


class ImageReader(VideoReader):
    """Reads one image file: a still one is a video of one frame, an animation has its own times.

    Of a file with several versions of one picture (previews, gain maps, the other eye's view) or with several
    pictures of which it names one as the main one (HEIC), that one is read. The pages of a TIFF are shown for
    one second each, reduced copies left out. TIFF and HEIC are turned by their decoders: their
    ``info.rotation`` is 0.

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
        with pictures.opened(path, source, limits) as image:
            self._places = pictures.places(image, source, limits, deadline)
            image.seek(self._places[0])
            self._orientation = pictures.orientation(image)
            width, height = pictures.upright_size(image.size, self._orientation)
            kind = pictures.kind(image)
            if transfer := pictures.hdr(image):
                self._note(f"The picture is HDR ({transfer}) and is not tone-mapped: its colours look dull.")
            if len(self._places) == 1 or kind == "tiff":
                shown_s = [STILL_S] * len(self._places)
            else:
                shown_s = self._shown_for(image, len(self._places), deadline)
        ends = np.cumsum(np.array(shown_s, np.float64))
        self.timeline = np.concatenate([[0.0], ends[:-1]])
        self.info = VideoInfo(
            source=source,
            container=kind,
            codec=kind,
            width=width,
            height=height,
            rotation=pictures.turn(self._orientation),
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
            except pictures.PILLOW_ERRORS as error:
                if not shown_s:
                    raise
                self._note(
                    f"The file is cut short: {count} frames are declared, {number} are there ({error})."
                )
                break
            shown_s.append(max(float(image.info.get("duration", 0)) / 1000, _LEAST_SHOWN_S))
        return shown_s

    def _decode(self, wanted: list[int], deadline: Deadline) -> Generator[Frame]:
        with pictures.opened(self._path, self.info.source, self._limits) as image:
            for index in wanted:
                deadline.check()
                try:
                    image.seek(self._places[index])
                    pixels = pictures.upright_pixels(image, self._orientation)
                except pictures.PILLOW_ERRORS as error:
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
                with pictures.opened(file, file.name, self._limits) as image:
                    turned = pictures.orientation(image)
                    return pictures.kind(image), pictures.upright_size(image.size, turned)
            except VideoUnreadable as error:
                problem = problem or error
        raise VideoUnreadable(f"None of the images of {source} can be opened.", hint=str(problem))

    def _decode(self, wanted: list[int], deadline: Deadline) -> Generator[Frame]:
        for index in wanted:
            deadline.check()
            file = self._files[index]
            try:
                with pictures.opened(file, file.name, self._limits) as image:
                    pixels = pictures.upright_pixels(image, pictures.orientation(image))
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
