"""What is kept of a video: looked at and described, not yet written anywhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from tarsier_tools import prompts
from tarsier_tools.library.likeness import picture_hash, places
from tarsier_tools.library.stores import Entry
from tarsier_tools.passages import Passage, read_passages
from tarsier_tools.results import Picture, VideoInfo
from tarsier_tools.types import Progress

if TYPE_CHECKING:
    from tarsier_tools.service import VideoService

THUMBNAIL_SIDE = 320
_THUMBNAILS_TOGETHER = 64


class Described(NamedTuple):
    """All that a library keeps of a video.

    Attributes:
        entries: captions with their pictures, then subtitles.
        language, model: of the captions; "" where there are none.
        look: the hashes that the video is known by when it comes again in other bytes.
    """

    info: VideoInfo
    entries: tuple[Entry, ...]
    language: str
    model: str
    look: bytes


def describe(service: VideoService, source: str, *, language: str | None, on_progress: Progress) -> Described:
    """Look at a video. Raises what the service raises."""
    captions = read_passages(service, source, "segments", language=language, on_progress=on_progress)
    return complete(service, source, captions, language=language, on_progress=on_progress)


def complete(
    service: VideoService,
    source: str,
    captions: Sequence[Passage],
    *,
    language: str | None,
    on_progress: Progress,
) -> Described:
    """What is kept besides the captions of a video, for which no model is needed, together with them."""
    info = service.info(source, on_progress=on_progress)
    subtitles = read_passages(service, source, "subtitles", on_progress=on_progress)
    pictures, look = _pictures(service, source, captions, on_progress)
    prompt = prompts.caption(language or service.settings.language)
    entries = (
        *(Entry(each, prompt, jpeg) for each, jpeg in zip(captions, pictures, strict=True)),
        *(Entry(each) for each in subtitles),
    )
    first = captions[0] if captions else None
    return Described(info, entries, first.language if first else "", first.model if first else "", look)


def _pictures(
    service: VideoService, source: str, captions: Sequence[Passage], on_progress: Progress
) -> tuple[list[bytes], bytes]:
    """(thumbnails, look): one JPEG from the middle of each segment, b"" where there is no picture."""
    thumbnails, look = [], b""
    for first in range(0, len(captions), _THUMBNAILS_TOGETHER):
        some = captions[first : first + _THUMBNAILS_TOGETHER]
        times_s = [t for each in some for t in places(each.start_s, each.end_s, len(captions))]
        view = service.view(source, times_s=times_s, max_side=THUMBNAIL_SIDE, on_progress=on_progress)
        look += b"".join(picture_hash(picture.jpeg) for picture in view.pictures)
        thumbnails += [_nearest_middle(each, view.pictures) for each in some]
    return thumbnails, look


def _nearest_middle(segment: Passage, pictures: Sequence[Picture]) -> bytes:
    """The picture from nearest the middle of a segment; b"" when none is of it."""
    middle = (segment.start_s + segment.end_s) / 2

    def distance(picture: Picture) -> float:
        return abs((picture.time_s or 0.0) - middle)

    picture = min(pictures, key=distance, default=None)
    if picture is None or distance(picture) > (segment.end_s - segment.start_s) / 2:
        return b""
    return picture.jpeg
