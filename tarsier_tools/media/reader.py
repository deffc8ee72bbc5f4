"""Open a video, whatever it is: a video file, an animation, a still image, or a folder of images.

What a file is, is decided by its first bytes, never by its name.
"""

from __future__ import annotations

import stat
import struct
from pathlib import Path
from typing import Literal

from tarsier_tools.errors import VideoNotFound, VideoUnreadable
from tarsier_tools.media.base import DEFAULT_RENDERING, Frame, Limits, Rendering, VideoReader

__all__ = ["DEFAULT_RENDERING", "Frame", "Limits", "Rendering", "VideoReader", "open_video"]

Decoder = Literal["pyav", "decord"]

_DEFAULT_LIMITS = Limits()

_NOT_VIDEOS: tuple[tuple[bytes, str], ...] = (
    (b"#EXTM3U", "a playlist (playlists are never followed)"),
    (b"ffconcat", "a playlist (playlists are never followed)"),
    (b"[playlist]", "a playlist (playlists are never followed)"),
    (b"<?xml", "an XML text (a manifest, an SVG picture or a web page)"),
    (b"<MPD", "a manifest (manifests are never followed)"),
    (b"<svg", "an SVG picture"),
    (b"<!DOCTYPE", "a web page"),
    (b"<!doctype", "a web page"),
    (b"<html", "a web page"),
    (b"%PDF", "a PDF document"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"ID3", "an audio file"),
    (b"fLaC", "an audio file"),
)

_CONTAINERS_READ = "MP4, MOV, Matroska, WebM, AVI, MPEG-TS, MPEG-PS, FLV, Ogg and GIF"


def open_video(
    path: Path,
    *,
    source: str | None = None,
    decoder: Decoder = "pyav",
    limits: Limits = _DEFAULT_LIMITS,
    rendering: Rendering = DEFAULT_RENDERING,
) -> VideoReader:
    """Open a video file, an animation, a still image or a folder of images.

    Args:
        path: on this machine.
        source: what the user typed, for messages and results; the path when None.
        decoder: what decodes video files; images always go through Pillow.
        limits: what the file may cost.
        rendering: what is done to the pictures of video files; decord always gives them as stored.

    Still images are videos of one frame; the images of a folder, sorted as people count (2 before 10),
    are shown for one second each.

    Raises VideoNotFound; VideoUnreadable for what is no video or cannot be decoded; VideoTooLarge when a
    limit is met; UsageError when decord is asked for and is missing or would give wrong frames.
    """
    source = str(path) if source is None else source
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            from tarsier_tools.media.stills import FolderReader

            return FolderReader(path, source=source, limits=limits)
        if not stat.S_ISREG(status.st_mode):
            raise VideoUnreadable(f"{source} is not a regular file.", hint="Give a video file.")
        limits.check_file(status.st_size, source)
        if status.st_size == 0:
            raise VideoUnreadable(
                f"{source} is empty (0 bytes).", hint="Check how the file was made or copied."
            )
        with path.open("rb") as file:
            head = file.read(64)
    except FileNotFoundError:
        raise VideoNotFound(f"There is no file {source}.", hint="Check the path.") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise VideoUnreadable(f"{source} cannot be opened: {reason}.", hint="Check the path.") from None

    from tarsier_tools.media.stills import ImageReader, is_image

    if is_image(head):
        return ImageReader(path, source=source, size_bytes=status.st_size, limits=limits)
    _check_head(head, source, limits)
    if decoder == "decord":
        from tarsier_tools.media.decord_reader import DecordReader

        return DecordReader(path, source=source, limits=limits)
    from tarsier_tools.media.pyav_reader import PyAVReader

    return PyAVReader(path, source=source, limits=limits, rendering=rendering)


def _check_head(head: bytes, source: str, limits: Limits) -> None:
    """A clear word on files that are often given by mistake; the decoder would only say 'invalid data'."""
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    kind = next((kind for magic, kind in _NOT_VIDEOS if text.startswith(magic)), None)
    if kind is None and head[:4] == b"RIFF" and head[8:12] == b"WAVE":
        kind = "an audio file"
    if head.startswith(b"GIF8"):
        width, height = struct.unpack_from("<HH", head, 6)
        limits.check_frame(width, height, source)
    if kind is not None:
        raise VideoUnreadable(f"{source} is {kind}, not a video.", hint=f"Read are {_CONTAINERS_READ}.")
