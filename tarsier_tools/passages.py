"""Videos as texts with times: what loaders, readers, retrievers and the library are made of."""

from __future__ import annotations

import math
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Literal, get_args
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel, ConfigDict, Field

from tarsier_tools import arguments
from tarsier_tools.media.subtitles import Subtitles
from tarsier_tools.results import Segment
from tarsier_tools.text import clean_line, format_range, format_time
from tarsier_tools.types import Progress, no_progress

if TYPE_CHECKING:
    from tarsier_tools.service import VideoService

Kind = Literal["caption", "event", "chapter", "subtitle"]
"""Where a passage's text comes from: a model (caption, event), captions (chapter), or the file (subtitle)."""

By = Literal["video", "segments", "events", "subtitles"]
"""How a video is divided into passages."""

_NAMESPACE = uuid.UUID("6f6a6d0c-5f0e-5c55-9d0b-0b1b5f6d8b57")


class Passage(BaseModel):
    """A stretch of a video and a text about it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(description="A UUID: the same for the same stretch of the same bytes and the same kind.")
    video_id: str = Field(description="A UUID of the video's bytes.")
    source: str = Field(description="The path or URL as it was given.")
    title: str = Field(description="The file's name without its ending.")
    duration_s: float = Field(ge=0, description="Of the whole video.")
    number: int = Field(ge=0, description="Which passage of the video, in the order of time, from 0.")
    start_s: float = Field(ge=0, description="Seconds from the video's first frame.")
    end_s: float = Field(gt=0, description="Seconds from the video's first frame; the end is excluded.")
    kind: Kind = Field(description="Where the text comes from.")
    text: str = Field(description="What is said about the stretch.")
    language: str = Field(default="", description="Of the text, as a BCP 47 tag; empty when not known.")
    model: str = Field(default="", description="Which model wrote it; empty for none.")

    @property
    def citation(self) -> str:
        """``file @ MM:SS-MM:SS``: the file's name and the stretch in whole seconds, to look it up by."""
        name = _path(self.source).name or self.source
        return f"{clean_line(name)} @ {format_range(self.start_s, self.end_s)}"

    def metadata(self) -> dict[str, str | int | float]:
        """Flat scalars without None, which every vector store takes; times in seconds."""
        return {
            "source": self.source,
            "video_id": self.video_id,
            "title": self.title,
            "start": round(self.start_s, 3),
            "end": round(self.end_s, 3),
            "start_timestamp": format_time(self.start_s, 0),
            "citation": self.citation,
            "duration": round(self.duration_s, 3),
            "segment": self.number,
            "type": self.kind,
            "language": self.language,
            "model": self.model,
        }


class Hit(BaseModel):
    """A passage that a search found."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    passage: Passage = Field(description="What was found.")
    score: float = Field(description="Of the search, the higher the better; comparable within one search.")
    ranks: dict[str, int] = Field(
        default={}, description="Its place, from 1, in each search that found it: words, meaning."
    )
    snippet: str = Field(default="", description="The part of the text that the query's words are in.")
    merged: tuple[str, ...] = Field(
        default=(), description="Ids of neighbours that were hits too and are part of this one's range."
    )
    rewatched: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Raw probability, from looking again, that it happens there; None for not looked at.",
    )


def read_passages(
    service: VideoService,
    video: str,
    by: By = "segments",
    *,
    start_s: float | None = None,
    end_s: float | None = None,
    language: str | None = None,
    on_progress: Progress = no_progress,
) -> tuple[Passage, ...]:
    """A video as passages, in the order of time.

    Args:
        by: ``video``: one caption of the whole; ``segments``: a caption of each segment of its timeline
            (kept, so that a second reading is quick); ``events``: each event with its time, or the caption
            of the whole where the model gives no times; ``subtitles``: the texts of its subtitle tracks and
            of the .srt and .vtt files beside it, if any.
        start_s, end_s: only this range; of subtitles, those that touch it.

    Raises UsageError for another ``by``; besides that what the service raises.
    """
    arguments.one_of("by", by, get_args(By))
    asked: dict[str, Any] = {"start_s": start_s, "end_s": end_s, "language": language}
    parts: Iterable[_Part]
    if by == "subtitles":
        duration_s = service.info(video, on_progress=on_progress).duration_s
        parts = _of_subtitles(service.subtitles(video, on_progress=on_progress), start_s, end_s)
    elif by == "segments":
        timeline = service.timeline(video, on_progress=on_progress, **asked)
        duration_s = timeline.coverage.video_duration_s
        parts = _written(
            timeline.segments, "caption", timeline.language, timeline.model.name, timeline.caution
        )
    else:
        caption = service.caption(
            video, detail="events" if by == "events" else "full", on_progress=on_progress, **asked
        )
        duration_s, whole = caption.coverage.video_duration_s, caption.coverage.asked
        written = (caption.language, caption.model.name, caption.caution)
        if caption.events:
            parts = _written(caption.events, "event", *written)
        else:
            only = Segment(start_s=whole.start_s, end_s=whole.end_s, text=caption.text)
            parts = _written([only], "caption", *written)
    content = service.identify(video, on_progress=on_progress)
    return tuple(_passages(uuid.uuid5(_NAMESPACE, content), video, duration_s, parts))


def caption_passages(
    content: str,
    video: str,
    duration_s: float,
    segments: Sequence[Segment],
    *,
    language: str,
    model: str,
    caution: str = "",
) -> tuple[Passage, ...]:
    """The captions of segments as :func:`read_passages` gives them, for whoever has them already.

    Args:
        content: the hex SHA-256 of the video's bytes.
        caution: as of the timeline.
    """
    parts = _written(segments, "caption", language, model, caution)
    return tuple(_passages(uuid.uuid5(_NAMESPACE, content), video, duration_s, parts))


@dataclass(frozen=True, slots=True)
class _Part:
    """What makes one passage differ from the next."""

    start_s: float
    end_s: float
    kind: Kind
    text: str
    language: str
    model: str


def _written(
    segments: Sequence[Segment], kind: Kind, language: str, model: str, caution: str
) -> Iterator[_Part]:
    """Make parts of segments; a caution goes before every text, which will be read without the others."""
    for each in segments:
        if each.text:
            text = f"{caution} {each.text}".lstrip()
            yield _Part(each.start_s, each.end_s, kind, text, language, model)


def _of_subtitles(found: Sequence[Subtitles], start_s: float | None, end_s: float | None) -> Iterator[_Part]:
    first, stop = start_s or 0.0, math.inf if end_s is None else end_s
    for subtitles in found:
        for cue in subtitles.cues:
            if cue.end_s > first and cue.start_s < stop:
                yield _Part(cue.start_s, cue.end_s, "subtitle", cue.text, subtitles.language, "")


def _passages(
    video_id: uuid.UUID, source: str, duration_s: float, parts: Iterable[_Part]
) -> Iterator[Passage]:
    before: Counter[str] = Counter()  # several events, or tracks, may have the very same stretch
    ordered = sorted(parts, key=lambda part: (part.start_s, part.end_s))
    for number, part in enumerate(ordered):
        name = f"{part.start_s:.3f}-{part.end_s:.3f}-{part.kind}"
        yield Passage(
            id=str(uuid.uuid5(video_id, f"{name}-{before[name]}" if before[name] else name)),
            video_id=str(video_id),
            source=source,
            title=title(source),
            duration_s=duration_s,
            number=number,
            **asdict(part),
        )
        before[name] += 1


def title(source: str) -> str:
    """The name of the file at a path or URL, without its ending."""
    return _path(source).stem or source


def _path(source: str) -> PurePath:
    return PurePath(unquote(urlsplit(source).path) if "://" in source else source)
