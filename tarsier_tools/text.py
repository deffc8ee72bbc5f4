"""Text of strangers made safe to print, and times as people write them. Pure.

What a model writes and what a file is called may hold escape sequences that recolour, retitle or
overwrite a terminal, and marks that turn the reading direction around. None of it reaches the screen.
"""

from __future__ import annotations

import math
import re

_SEQUENCES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor, erasing
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)"  # OSC, DCS, SOS, PM, APC
    r"|\x1b[ -/]*[0-~]"
)
_INVISIBLE = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff"  # direction marks and byte order mark
_CONTROL = re.compile(rf"[\x00-\x08\x0b-\x1f\x7f-\x9f{_INVISIBLE}]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")  # bytes of a file name that are not UTF-8
_UNSAFE_IN_JSON = re.compile(rf"[\x7f-\x9f\u2028\u2029\ud800-\udfff{_INVISIBLE}]")

_TIME = re.compile(
    r"(?:(?:(?P<hours>[0-9]{1,6}):(?=[0-9]{1,2}:))?(?P<minutes>[0-9]{1,6}):(?=[0-9]{1,2}(?:\.|$)))?"
    r"(?P<seconds>[0-9]{1,9}(?:\.[0-9]{1,9})?)"
)


def clean(text: str) -> str:
    """The text without terminal sequences, control characters and direction overrides; lines are kept."""
    text = _SEQUENCES.sub("", text.replace("\r\n", "\n"))
    text = _CONTROL.sub("", re.sub("[\u2028\u2029]", "\n", text))
    return _SURROGATE.sub("\ufffd", text)


def clean_line(text: str) -> str:
    """As :func:`clean`, and on a single line."""
    return " ".join(clean(text).split())


def escape_json(document: str) -> str:
    """A JSON text with what a terminal could obey written as ``\\uXXXX``; it reads back the same."""
    return _UNSAFE_IN_JSON.sub(lambda match: f"\\u{ord(match.group()):04x}", document)


def parse_time(text: str) -> float:
    """Seconds from ``12.5``, ``MM:SS``, ``MM:SS.mmm`` or ``H:MM:SS.mmm``.

    Raises ValueError with a sentence that says which forms there are.
    """
    match = _TIME.fullmatch(text.strip())
    parts = match.groupdict() if match else {}
    hours, minutes, seconds = (float(parts.get(name) or 0) for name in ("hours", "minutes", "seconds"))
    overflow = (parts.get("minutes") and seconds >= 60) or (parts.get("hours") and minutes >= 60)
    if match is None or overflow:
        raise ValueError(f"{clean_line(text)!r} is not a time; write seconds (12.5), MM:SS or H:MM:SS.")
    return hours * 3600 + minutes * 60 + seconds


def format_time(seconds: float, digits: int = 1) -> str:
    """``M:SS.s`` or ``H:MM:SS.s``, in the form that :func:`parse_time` reads."""
    unit = 10**digits
    ticks = round(seconds * unit)  # rounded first, so that 59.96 becomes 1:00.0 and never 0:60.0
    whole, fraction = divmod(ticks, unit)
    minutes, second = divmod(whole, 60)
    hours, minute = divmod(minutes, 60)
    head = f"{hours}:{minute:02d}" if hours else f"{minute}"
    return f"{head}:{second:02d}" + (f".{fraction:0{digits}d}" if digits else "")


def format_range(start_s: float, end_s: float) -> str:
    """``MM:SS-MM:SS``, or ``H:MM:SS-H:MM:SS`` from an hour on: whole seconds that hold all of a stretch.

    An end up to a tenth of a second past a whole one is that one, so that a video of 10.04 s ends at 00:10.
    """
    first = math.floor(start_s)
    return "-".join(_clock(whole) for whole in (first, max(first + 1, math.ceil(end_s - 0.1))))


def _clock(seconds: int) -> str:
    minutes, second = divmod(seconds, 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute:02d}:{second:02d}"
