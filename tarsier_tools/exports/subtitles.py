"""WebVTT (W3C, https://www.w3.org/TR/webvtt1/) and SubRip. Pure."""

from __future__ import annotations

import html
from collections.abc import Iterable

from tarsier_tools.exports.cues import Cue, Exportable, chapters, cues, results, video_name
from tarsier_tools.text import clean_line

# SubRip has no way to say that a character is only that: players obey tags like <i> and codes like {\an8}.
_SRT_HARMLESS = str.maketrans({"<": "‹", ">": "›", "\\": "/"})


def to_webvtt(result: Exportable) -> str:
    """Captions for a ``<track kind="captions">``: one cue for each segment, event or whole caption."""
    return _webvtt(result, cues(result))


def to_webvtt_chapters(result: Exportable) -> str:
    """Titles for a ``<track kind="chapters">``: a timeline's chapters, else the cues with short titles."""
    return _webvtt(result, chapters(result))


def to_srt(result: Exportable) -> str:
    """Subtitles in SubRip's format. Angle brackets and backslashes, which players obey, become ‹, › and /."""
    blocks = (
        f"{number}\n{_span(cue, ',')}\n{cue.text.translate(_SRT_HARMLESS)}\n"
        for number, cue in enumerate(cues(result), start=1)
    )
    return "\n".join(blocks) or "\n"


def _webvtt(result: Exportable, shown: Iterable[Cue]) -> str:
    first = results(result)[0]
    note = f"{video_name(first.video)}, described by {clean_line(first.model.name)}"
    blocks = (f"{_span(cue, '.')}\n{_escaped(cue.text)}\n" for cue in shown)
    return "\n".join(["WEBVTT\n", f"NOTE {_escaped(note)}\n", *blocks])


def _escaped(text: str) -> str:
    """``&``, ``<`` and ``>`` as character references, so that neither a tag nor ``-->`` is left."""
    return html.escape(text, quote=False)


def _span(cue: Cue, point: str) -> str:
    start = round(cue.start_s * 1000)
    end = max(round(cue.end_s * 1000), start + 1)  # a cue that ends where it starts is an error
    return f"{_time(start, point)} --> {_time(end, point)}"


def _time(milliseconds: int, point: str) -> str:
    seconds, fraction = divmod(milliseconds, 1000)
    minutes, second = divmod(seconds, 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours:02d}:{minute:02d}:{second:02d}{point}{fraction:03d}"
