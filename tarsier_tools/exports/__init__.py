"""Results in the formats of other programs: a result in, a text out.

::

    from tarsier_tools import VideoService, exports

    with VideoService() as videos:
        print(exports.to_webvtt(videos.timeline("talk.mp4")))

Pure functions of captions, timelines and places found (one :class:`~tarsier_tools.Localization` or several).
What a model wrote is data in every format, never markup: it can neither end a cue, start a script nor
compute a spreadsheet's cell, and it comes without control characters and direction overrides. Texts end with
a newline and are to be written as UTF-8, without translating line ends (CSV has its own).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tarsier_tools.exports.cues import Exportable
from tarsier_tools.exports.documents import to_json, to_jsonld
from tarsier_tools.exports.markdown import to_markdown
from tarsier_tools.exports.subtitles import to_srt, to_webvtt, to_webvtt_chapters
from tarsier_tools.exports.table import to_csv

__all__ = [
    "FORMATS",
    "Exportable",
    "to_csv",
    "to_json",
    "to_jsonld",
    "to_markdown",
    "to_srt",
    "to_webvtt",
    "to_webvtt_chapters",
]

FORMATS: Mapping[str, Callable[[Exportable], str]] = {
    "json": to_json,
    "md": to_markdown,
    "vtt": to_webvtt,
    "vtt-chapters": to_webvtt_chapters,
    "srt": to_srt,
    "csv": to_csv,
    "jsonld": to_jsonld,
}
"""Every format by its short name."""
