"""The pictures of a page: which moments of the video are worth showing, and their frames."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tarsier_tools.reporting.chart import points
from tarsier_tools.results import Caption, Coverage, Localization, Picture, Segment, Timeline
from tarsier_tools.types import Progress

if TYPE_CHECKING:
    from tarsier_tools.service import VideoService

Reportable = Caption | Timeline | Localization

MAX_PICTURES = 40
MAX_SIDE = 320
"""Pixels of a picture's longer side."""
MAX_BYTES = 720_000
"""Of all pictures together, so that a page stays below one megabyte: a third more in base64, and the text."""
_OF_A_CAPTION = 8
"""Pictures of a caption that names no moments."""
_FRAME_S = 1.0
"""A frame that came up more than this before a moment is not its picture: the right one was damaged."""


@dataclass(frozen=True, slots=True)
class Pictures:
    """The frames of a page by the moments that they stand for, and what to say about those not there."""

    frames: Mapping[float, Picture] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def at(self, time_s: float) -> Picture | None:
        """What was on the screen at that moment, if the page has it."""
        return self.frames.get(time_s)


def moments(result: Reportable) -> list[float]:
    """The times whose frames show what a result says, in the order of time."""
    coverage = result.coverage
    if isinstance(result, Localization):
        segments: Sequence[Segment] = result.segments
        best = max(points(result), key=lambda window: window.value, default=None)
        if not segments and best:
            return [seen_within(coverage, best.start_s, best.end_s)]
        times = {moment(coverage, segment) for segment in segments}
    elif isinstance(result, Timeline):
        times = {moment(coverage, segment) for segment in result.segments}
    else:
        times = {statement.evidence_s for statement in result.statements}
        times |= {moment(coverage, event) for event in result.events}
        if not times:
            return spread(coverage.frame_times_s, _OF_A_CAPTION)
    return sorted(times)


def moment(coverage: Coverage, segment: Segment) -> float:
    """The time of the frame that stands for a segment: the evidence, else a frame seen near its middle."""
    if segment.evidence_s is not None:
        return segment.evidence_s
    return seen_within(coverage, segment.start_s, segment.end_s)


def seen_within(coverage: Coverage, start_s: float, end_s: float) -> float:
    """The frame that the model was shown nearest to the middle of a stretch, or the middle itself."""
    middle = (start_s + end_s) / 2
    inside = [time_s for time_s in coverage.frame_times_s if start_s <= time_s < end_s]
    return min(inside, key=lambda time_s: abs(time_s - middle), default=middle)


def spread(times_s: Sequence[float], most: int) -> list[float]:
    """At most ``most`` of the times, evenly chosen, the first and the last among them."""
    if len(times_s) <= most:
        return list(times_s)
    return [times_s[round(number * (len(times_s) - 1) / (most - 1))] for number in range(most)]


def read_pictures(
    service: VideoService, video: str, times_s: Iterable[float], on_progress: Progress
) -> Pictures:
    """The frames on the screen at these times, shrunk, at most :data:`MAX_PICTURES` of them.

    Raises VideoError as :meth:`VideoService.view`.
    """
    wanted = sorted(set(times_s))
    chosen = spread(wanted, MAX_PICTURES)
    if not chosen:
        return Pictures()
    notes = []
    if len(chosen) < len(wanted):
        notes.append(f"Pictures are shown for {len(chosen)} of {len(wanted)} moments.")
    seen = service.view(
        video, times_s=chosen, max_side=MAX_SIDE, max_bytes=MAX_BYTES, on_progress=on_progress
    )
    found = {moment: picture for moment in chosen if (picture := _on_screen(seen.pictures, moment))}
    return Pictures(found, (*notes, *seen.coverage.skipped))


def _on_screen(pictures: Sequence[Picture], time_s: float) -> Picture | None:
    """The last picture that came up before the moment, if that was not long ago."""
    times = [picture.time_s or 0.0 for picture in pictures]
    after = bisect_right(times, time_s + 0.001)
    return pictures[after - 1] if after and time_s - times[after - 1] <= _FRAME_S else None
