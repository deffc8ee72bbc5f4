"""What all formats have in common: a result as stretches of time with a text each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal, TypeAlias
from urllib.parse import unquote, urlsplit

from tarsier_tools.results import Caption, Chapter, Localization, Segment, Timeline
from tarsier_tools.text import clean_line
from tarsier_tools.timelines.chapters import title

Exportable: TypeAlias = Caption | Timeline | Localization | Sequence[Localization]
"""What can be exported. Several places found must be of the same video."""


@dataclass(frozen=True, slots=True)
class Cue:
    """A stretch of the video with what is said about it; texts are cleaned and on one line."""

    kind: Literal["caption", "segment", "event", "chapter"]
    start_s: float
    end_s: float
    text: str
    score: float | None = None
    confidence: float | None = None
    evidence_s: float | None = None


def results(exported: Exportable) -> tuple[Caption | Timeline | Localization, ...]:
    """The results, at least one. Raises ValueError for none, or for several videos at once."""
    if isinstance(exported, Caption | Timeline | Localization):
        return (exported,)
    if len({each.video for each in exported}) != 1:
        raise ValueError("results of one video are exported together, and at least one")
    return tuple(exported)


def cues(exported: Exportable) -> list[Cue]:
    """Everything said about a stretch of the video, in the order of time, without chapters.

    A caption without events is one cue over its whole range. Stretches about which nothing was said are
    left out.
    """
    found = [cue for result in results(exported) for cue in _cues(result)]
    return sorted((cue for cue in found if cue.text), key=lambda cue: (cue.start_s, cue.end_s))


def chapters(exported: Exportable) -> list[Cue]:
    """A timeline's chapters; where there are none, the cues with short titles."""
    made = [
        _cue("chapter", chapter, chapter.title)
        for result in results(exported)
        if isinstance(result, Timeline)
        for chapter in result.chapters
    ]
    language = results(exported)[0].language
    return made or [
        Cue("chapter", cue.start_s, cue.end_s, title(cue.text, language) or cue.text)
        for cue in cues(exported)
    ]


def video_name(video: str) -> str:
    """The last part of a path or URL, cleaned: what it is called, not where it is."""
    path = urlsplit(video).path if "://" in video else video.replace("\\", "/")
    return clean_line(unquote(PurePosixPath(path).name) if "://" in video else PurePosixPath(path).name)


def _cues(result: Caption | Timeline | Localization) -> Iterator[Cue]:
    if isinstance(result, Localization):
        for segment in result.segments:
            yield _cue("event", segment, segment.text or result.event)
    elif isinstance(result, Timeline):
        for segment in result.segments:
            yield _cue("segment", segment, segment.text)
    elif result.events:
        for segment in result.events:
            yield _cue("event", segment, segment.text)
    else:
        asked = result.coverage.asked
        yield Cue("caption", asked.start_s, asked.end_s, clean_line(result.text))


def _cue(kind: Literal["segment", "event", "chapter"], stretch: Segment | Chapter, text: str) -> Cue:
    if isinstance(stretch, Chapter):
        return Cue(kind, stretch.start_s, stretch.end_s, clean_line(text))
    return Cue(
        kind,
        stretch.start_s,
        stretch.end_s,
        clean_line(text),
        stretch.score,
        stretch.confidence,
        stretch.evidence_s,
    )
