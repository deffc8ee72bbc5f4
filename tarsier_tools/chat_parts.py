"""A video as a part of a chat message, for those who talk to a Tarsier2 server by themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tarsier_tools import arguments
from tarsier_tools.config import Settings
from tarsier_tools.decoding import Decoding
from tarsier_tools.media.clips import ClipSpec, check_spec
from tarsier_tools.media.source import resolve
from tarsier_tools.types import no_progress


def chat_video(
    video: str | Path,
    settings: Settings,
    *,
    start_s: float | None = None,
    end_s: float | None = None,
    frames: int | None = None,
) -> dict[str, Any]:
    """A ``video_url`` part of a message of the OpenAI chat API: the frames that Tarsier2 wants, as pictures.

    The video is found and decoded here, by the rules of the settings, so that the server fetches nothing and
    chooses no frames: it gets them as ``data:video/jpeg;base64,...``, which vLLM understands.

    Args:
        video: a path, a ``file://`` or http(s) URL, or a folder of images.
        start_s, end_s: the range shown, in seconds.
        frames: how many; by default ``settings.frames``.

    Raises VideoError and its kinds, and UsageError for an argument that makes no sense.
    """
    from tarsier_tools.backends.remote.messages import video_part
    from tarsier_tools.backends.remote.pictures import Encoding, prepare

    shown = arguments.frames(frames, settings.frames)
    spec = ClipSpec(start_s, end_s, shown, max_pixels=settings.max_pixels)
    check_spec(spec)
    source = resolve(video, settings)
    decoding = Decoding(settings)
    try:
        clip = decoding.clip(source, spec, no_progress).clip
    finally:
        decoding.close()
    encoding = Encoding(settings.picture_format, settings.jpeg_quality, settings.server_max_pixels)
    pictures = prepare(clip, encoding)
    return video_part(pictures.encode(), pictures.media_id)
