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
from tarsier_tools.media.kinds import refusal
from tarsier_tools.media.wholeness import lacks_index

__all__ = ["DEFAULT_RENDERING", "Frame", "Limits", "Rendering", "VideoReader", "open_video"]

Decoder = Literal["pyav", "decord"]

_DEFAULT_LIMITS = Limits()

_GIF_HEADER = 10
"""Bytes up to the size of the picture."""


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

    from tarsier_tools.media.picture_heads import is_image

    if is_image(path, head):
        from tarsier_tools.media.stills import ImageReader

        return ImageReader(path, source=source, size_bytes=status.st_size, limits=limits)
    _check_head(head, path, source, limits)
    if decoder == "decord":
        from tarsier_tools.media.decord_reader import DecordReader

        return DecordReader(path, source=source, limits=limits)
    from tarsier_tools.media.pyav_reader import PyAVReader

    return PyAVReader(path, source=source, limits=limits, rendering=rendering)


def _check_head(head: bytes, path: Path, source: str, limits: Limits) -> None:
    """Raise VideoUnreadable for files that are often given by mistake; the decoder's own words say less."""
    refused = refusal(head)
    if refused is not None:
        reason, hint = refused
        raise VideoUnreadable(f"{source} {reason}.", hint=hint)
    if head.startswith(b"GIF8") and len(head) >= _GIF_HEADER:
        width, height = struct.unpack_from("<HH", head, 6)
        limits.check_frame(width, height, source)
    with path.open("rb") as file:
        if lacks_index(file):
            raise VideoUnreadable(
                f"{source} cannot be read as a video, as the index at the end is missing: the recording or "
                "download was interrupted.",
                hint="Copy or download it again. If the camera itself was interrupted, a repair tool such as "
                "untrunc can rebuild the file with the help of an intact one of the same camera.",
            )
