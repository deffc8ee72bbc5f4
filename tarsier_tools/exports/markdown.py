"""Markdown (CommonMark) to read or to keep beside a video. Pure."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence

from tarsier_tools.exports.cues import Exportable, results, video_name
from tarsier_tools.results import Caption, Localization, Segment, Timeline
from tarsier_tools.text import clean, clean_line, format_time

_INLINE = re.compile(r"([\\`*_\[\]<>&~|@#])")
_LINK = re.compile(r"://|\bwww\.", re.IGNORECASE)  # what some dialects make a link of, without being asked
_LINE_START = re.compile(r"^([+=:-]|\d{1,9}(?=[.)]))")


def to_markdown(result: Exportable) -> str:
    """A heading, what was found with its times, and what to know before trusting it."""
    all_ = results(result)
    lines = [f"# {_inline(video_name(all_[0].video))}", ""]
    for each in all_:
        if isinstance(each, Timeline):
            lines += _timeline(each)
        elif isinstance(each, Localization):
            lines += _localization(each)
        else:
            lines += _caption(each)
    lines += _footer(all_)
    return "\n".join(lines).rstrip("\n") + "\n"


def _caption(result: Caption) -> Iterator[str]:
    if result.events:
        yield from _bullets(result.events)
    else:
        for line in clean(result.text).splitlines():
            if line.strip():
                yield _paragraph(line)
                yield ""
    for statement in result.statements:
        span = _span(statement.start_s, statement.end_s)
        yield f"- {statement.verdict} ({span}): {_inline(statement.text)}"
    if result.statements or result.events:
        yield ""


def _timeline(result: Timeline) -> Iterator[str]:
    if not result.chapters:
        yield from _bullets(result.segments)
        yield ""
    for chapter in result.chapters:
        yield f"## {format_time(chapter.start_s, 0)} {_inline(chapter.title)}"
        yield ""
        yield from _bullets([result.segments[number] for number in chapter.segments])
        yield ""


def _localization(result: Localization) -> Iterator[str]:
    yield f"## {_inline(result.event)}"
    yield ""
    if result.segments:
        yield from _bullets(result.segments, texts=False)
    else:
        best = "" if result.best_score is None else f"; the best score is {result.best_score:.3g}"
        yield f"Not found{best}."
    yield ""


def _bullets(segments: Sequence[Segment], *, texts: bool = True) -> Iterator[str]:
    for segment in segments:
        text = f" {_inline(segment.text)}" if texts else ""
        yield f"- **{_span(segment.start_s, segment.end_s)}**{text}{_score(segment)}"


def _score(segment: Segment) -> str:
    if segment.confidence is not None:
        return f" (confidence {segment.confidence:.0%})"
    return "" if segment.score is None else f" (score {segment.score:.3g})"


def _footer(all_: Sequence[Caption | Timeline | Localization]) -> Iterator[str]:
    first = all_[0]
    asked = first.coverage.asked
    shown = len({index for each in all_ for index in each.coverage.frame_indices})
    yield "---"
    yield ""
    yield (
        f"{_inline(first.model.name)} was shown {shown} frames of {_span(asked.start_s, asked.end_s)}; "
        f"the video has {format_time(first.coverage.video_duration_s)}. {_inline(first.model.note)}".rstrip()
    )
    warnings = list(dict.fromkeys(warning for each in all_ for warning in each.warnings))
    if warnings:
        yield ""
        yield from (f"- {_inline(warning)}" for warning in warnings)


def _span(start_s: float, end_s: float) -> str:
    return f"{format_time(start_s)}–{format_time(end_s)}"


def _paragraph(text: str) -> str:
    return _LINE_START.sub(_escape_last, _inline(text))


def _inline(text: str) -> str:
    """The text on one line, with every character of it standing for itself."""
    escaped = _INLINE.sub(r"\\\1", clean_line(text))
    escaped = _LINK.sub(lambda match: match[0].replace(".", r"\.").replace("/", r"\/"), escaped)
    return f"\u2068{escaped}\u2069" if _runs_right_to_left(escaped) else escaped


def _escape_last(match: re.Match[str]) -> str:
    """``+`` becomes ``\\+``; a number keeps its digits and has the mark after it escaped."""
    return match[0] + "\\" if match[0][0].isdigit() else "\\" + match[0]


def _runs_right_to_left(text: Iterable[str]) -> bool:
    """Such a text is isolated, or the times and marks around it would be drawn in its order."""
    return any(unicodedata.bidirectional(character) in {"R", "AL"} for character in text)
