"""A stretch of time drawn with characters: where the segments are, and where the model looked. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tarsier_tools.results import Segment, TimeRange
from tarsier_tools.text import format_time

MIN_WIDTH = 16


@dataclass(frozen=True, slots=True)
class Glyphs:
    """The characters of a drawing, each one cell wide."""

    left: str
    right: str
    empty: str
    filled: str
    seen: str


UNICODE = Glyphs(left="├", right="┤", empty="─", filled="█", seen="╵")
ASCII = Glyphs(left="|", right="|", empty="-", filled="#", seen="'")


def draw(
    asked: TimeRange,
    segments: Sequence[Segment],
    *,
    seen_s: Sequence[float] = (),
    width: int = 72,
    glyphs: Glyphs = UNICODE,
) -> list[str]:
    """Lines of at most ``width`` cells (at least 16): labels, the bar, and marks under the frames seen.

    Every segment that touches the range fills at least one cell, however short it is.
    """
    cells = max(width, MIN_WIDTH) - 2
    bar = [glyphs.empty] * cells
    for segment in segments:
        first, last = _cell(segment.start_s, asked, cells), _last_cell(segment.end_s, asked, cells)
        if segment.end_s > asked.start_s and segment.start_s < asked.end_s:
            bar[first : max(first, last) + 1] = [glyphs.filled] * (max(first, last) - first + 1)
    lines = [_labels(asked, cells + 2), glyphs.left + "".join(bar) + glyphs.right]
    if seen_s:
        marks = {_cell(time_s, asked, cells) for time_s in seen_s}
        under = "".join(glyphs.seen if cell in marks else " " for cell in range(cells))
        lines.append(f" {under}".rstrip())
    return lines


def _cell(time_s: float, asked: TimeRange, cells: int) -> int:
    position = int((time_s - asked.start_s) / asked.duration_s * cells)
    return min(max(position, 0), cells - 1)


def _last_cell(end_s: float, asked: TimeRange, cells: int) -> int:
    """The last cell of a half-open range: one that ends where a cell begins does not fill that cell."""
    exact = (end_s - asked.start_s) / asked.duration_s * cells
    return min(max(-int(-exact // 1) - 1, 0), cells - 1)


def _labels(asked: TimeRange, width: int) -> str:
    """Start and end, and times between where there is room for them."""
    line = [" "] * width
    digits = 1 if asked.duration_s >= 10 else 2
    start, end = format_time(asked.start_s, digits), format_time(asked.end_s, digits)
    _write(line, 0, start)
    _write(line, max(width - len(end), 0), end)
    for quarter in (0.5, 0.25, 0.75):
        label = format_time(asked.start_s + asked.duration_s * quarter, digits)
        at = round((width - 1) * quarter) - len(label) // 2
        room = line[max(at - 3, 0) : at + len(label) + 3]
        if all(character == " " for character in room):
            _write(line, at, label)
    return "".join(line).rstrip()


def _write(line: list[str], at: int, label: str) -> None:
    line[at : at + len(label)] = label[: len(line) - at]
