"""Time drawn from left to right as SVG: the score of an event, and what lies where. Pure.

Places along the time axis are percentages and heights are pixels, so that a drawing fits any width without a
script and its letters stay as large as those around it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from tarsier_tools.reporting.markup import Markup, join, tag
from tarsier_tools.results import Localization, TimeRange
from tarsier_tools.text import format_time

_TICK_STEPS_S = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400)
_MOST_TICKS = 8
_COLUMNS = 1000
"""Places along the axis that are told apart; of several scores at one place the highest is drawn."""
_ROUNDING = 1e-6
_CURVE_PX, _SEEN_PX, _LABELS_PX = 140, 10, 20
_BAR_PX, _LANE_PX = 16, 24


@dataclass(frozen=True, slots=True)
class Axis:
    """Seconds to percent of the width."""

    shown: TimeRange

    def place(self, time_s: float) -> float:
        """0 to 100; times outside are put at the border."""
        share = (time_s - self.shown.start_s) / self.shown.duration_s
        return 100 * min(max(share, 0.0), 1.0)

    def percent(self, time_s: float) -> str:
        """The place as an attribute's value."""
        return f"{self.place(time_s):.3f}%"

    def ticks(self) -> list[float]:
        """Round times inside the range, at most eight."""
        length = self.shown.duration_s
        step = next((step for step in _TICK_STEPS_S if length / step <= _MOST_TICKS), length / _MOST_TICKS)
        first = -int(-self.shown.start_s // step)
        last = int(self.shown.end_s // step)
        return [number * step for number in range(first, last + 1)]


@dataclass(frozen=True, slots=True)
class Bar:
    """One stretch of time in a lane.

    Attributes:
        kind: a class of the style sheet.
        label: shown when pointed at.
    """

    start_s: float
    end_s: float
    kind: str
    label: str


def score_chart(result: Localization, ident: str) -> Markup:
    """The score over time with the segments found, the threshold, and marks where frames were seen.

    Args:
        ident: unique in the page.
    """
    axis = Axis(result.coverage.asked)
    scale, runs = _Scale(*bounds(result)), outline(result)
    height = _CURVE_PX + _SEEN_PX + _LABELS_PX
    segments = [
        tag(
            "rect",
            tag("title", span(segment.start_s, segment.end_s)),
            **_stretch(axis, segment.start_s, segment.end_s),
            y=0,
            height=_CURVE_PX,
            class_="segment",
        )
        for segment in result.segments
    ]
    level = scale.y(result.threshold)
    drawing = tag(
        "svg",
        tag("title", f"Score of “{result.event}” over time", id=f"{ident}-title"),
        tag("desc", _told(result), id=f"{ident}-desc"),
        _grid(axis, _CURVE_PX),
        *segments,
        _curve(axis, scale, runs),
        tag("line", x1=0, x2="100%", y1=level, y2=level, class_="threshold"),
        _seen(axis, result.coverage.frame_times_s, _CURVE_PX),
        _labels(axis, _CURVE_PX + _SEEN_PX + 14),
        *_hovers(axis, runs),
        class_="plot",
        height=height,
        role="img",
        aria_labelledby=f"{ident}-title {ident}-desc",
    )
    return tag("div", _levels(scale, result.threshold, height), drawing, class_="chart")


def lanes_chart(shown: TimeRange, lanes: Sequence[Sequence[Bar]], ident: str, title: str) -> Markup:
    """Bars on lanes below each other, above one time axis.

    Args:
        ident: unique in the page.
        title: what a reader who cannot see it is told.
    """
    axis = Axis(shown)
    height = _LANE_PX * len(lanes)
    bars = [
        tag(
            "rect",
            tag("title", f"{span(bar.start_s, bar.end_s)}: {bar.label}"),
            **_stretch(axis, bar.start_s, bar.end_s),
            y=_LANE_PX * number + (_LANE_PX - _BAR_PX) / 2,
            height=_BAR_PX,
            rx=3,
            class_=f"bar {bar.kind}",
        )
        for number, lane in enumerate(lanes)
        for bar in lane
    ]
    drawing = tag(
        "svg",
        tag("title", title, id=f"{ident}-title"),
        _grid(axis, height),
        *bars,
        _labels(axis, height + 14),
        class_="plot",
        height=height + _LABELS_PX,
        role="img",
        aria_labelledby=f"{ident}-title",
    )
    return tag("div", drawing, class_="chart lanes")


def span(start_s: float, end_s: float) -> str:
    """A stretch of time as people read it."""
    digits = 2 if end_s - start_s < 1 else 1
    return f"{format_time(start_s, digits)} – {format_time(end_s, digits)}"


@dataclass(frozen=True, slots=True)
class Point:
    """A window as it is drawn: its reach, and the value by which it is judged."""

    start_s: float
    end_s: float
    value: float

    @property
    def middle_s(self) -> float:
        """Half way."""
        return (self.start_s + self.end_s) / 2


@dataclass(frozen=True, slots=True)
class Run:
    """A stretch of time and the best of the windows that cover it, None where none does."""

    start_s: float
    end_s: float
    best: Point | None


def points(result: Localization) -> list[Point]:
    """The windows of a result with what its threshold is compared to: the confidence if there is one."""
    calibrated = any(window.confidence is not None for window in result.curve)
    return [
        Point(window.start_s, window.end_s, value)
        for window in result.curve
        if (value := window.confidence if calibrated else window.score) is not None
    ]


def outline(result: Localization) -> list[Run]:
    """The best score of any window over time, as stretches side by side over the whole range.

    Windows overlap and are longer than what they look for: a moment is as good as the best window that covers
    it. Bounds are rounded outwards to a thousandth of the range, which bounds the number of stretches too.
    """
    asked = result.coverage.asked
    columns: list[Point | None] = [None] * _COLUMNS
    for window in points(result):
        first = math.floor((window.start_s - asked.start_s) / asked.duration_s * _COLUMNS + _ROUNDING)
        last = math.ceil((window.end_s - asked.start_s) / asked.duration_s * _COLUMNS - _ROUNDING)
        for column in range(max(first, 0), min(last, _COLUMNS)):
            there = columns[column]
            if there is None or window.value > there.value:
                columns[column] = window
    width = asked.duration_s / _COLUMNS
    runs: list[Run] = []
    start = 0
    for best, group in groupby(columns):
        end = start + len(list(group))
        runs.append(Run(asked.start_s + start * width, asked.start_s + end * width, best))
        start = end
    return runs


def bounds(result: Localization) -> tuple[float, float]:
    """The lowest and highest value of the drawing: 0 to 1 where all values are, else what there is."""
    values = [point.value for point in points(result)] + [result.threshold]
    low, high = min(values), max(values)
    if low >= 0 and high <= 1:
        return 0.0, 1.0
    room = 0.05 * (high - low) or 1.0
    return low - room, high + room


@dataclass(frozen=True, slots=True)
class _Scale:
    """Values to pixels from the top."""

    low: float
    high: float

    def y(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return round(_CURVE_PX * (1 - min(max(share, 0.0), 1.0)), 2)


def _curve(axis: Axis, scale: _Scale, runs: Sequence[Run]) -> Markup:
    """The outline as steps, with the area below; nothing where no window was."""
    shapes = []
    for seen, group in groupby(runs, key=lambda run: run.best is not None):
        if not seen:
            continue
        steps = [
            f"{axis.place(time_s) * 10:.1f} {scale.y(run.best.value)}"
            for run in group
            if run.best
            for time_s in (run.start_s, run.end_s)
        ]
        start, end = (steps[number].partition(" ")[0] for number in (0, -1))
        area = f"M{start} {_CURVE_PX} L{' '.join(steps)} L{end} {_CURVE_PX}Z"
        shapes += [
            tag("path", d=area, class_="area"),
            tag("polyline", points=" ".join(steps), class_="curve"),
        ]
    return tag(  # a drawing in the drawing: only here is the width not told in percent
        "svg",
        *shapes,
        viewBox=f"0 0 1000 {_CURVE_PX}",
        preserveAspectRatio="none",
        width="100%",
        height=_CURVE_PX,
    )


def _hovers(axis: Axis, runs: Sequence[Run]) -> list[Markup]:
    """Invisible strips, side by side, that tell the best window at the pointer."""
    return [
        tag(
            "rect",
            tag("title", f"{span(run.best.start_s, run.best.end_s)}: {run.best.value:.2f}"),
            **_stretch(axis, run.start_s, run.end_s),
            y=0,
            height=_CURVE_PX,
            class_="hover",
        )
        for run in runs
        if run.best
    ]


def _levels(scale: _Scale, threshold: float, height: int) -> Markup:
    """The values at the top, at the bottom and at the threshold, left of the drawing."""
    texts = [(scale.high, 10.0), (scale.low, float(_CURVE_PX))]
    at = scale.y(threshold) + 4
    if all(abs(at - y) > 14 for _, y in texts):
        texts.append((threshold, at))
    labels = [tag("text", f"{value:.2g}", x=38, y=y, text_anchor="end") for value, y in texts]
    return tag("svg", *labels, width=42, height=height, aria_hidden="true", class_="levels")


def _grid(axis: Axis, height: int) -> Markup:
    lines = [
        tag("line", x1=axis.percent(time_s), x2=axis.percent(time_s), y1=0, y2=height)
        for time_s in axis.ticks()
    ]
    frame = tag("line", x1=0, x2="100%", y1=height, y2=height)
    return tag("g", *lines, frame, class_="grid")


def _labels(axis: Axis, y: int) -> Markup:
    """The times below the grid; every other one may be hidden where there is little room."""
    ticks = axis.ticks()
    short = len(ticks) > 1 and ticks[1] - ticks[0] < 1
    return tag(
        "g",
        *(
            tag(
                "text",
                format_time(time_s, 1 if short else 0),
                x=axis.percent(time_s),
                y=y,
                text_anchor=_anchor(axis.place(time_s)),
                class_="odd" if number % 2 else None,
            )
            for number, time_s in enumerate(ticks)
        ),
        class_="times",
    )


def _anchor(place: float) -> str:
    """Which end of a label stands at its tick, so that none leaves the drawing."""
    return "start" if place < 4 else "end" if place > 96 else "middle"


def _seen(axis: Axis, times_s: Sequence[float], y: int) -> Markup:
    """Short marks below the curve where the model was shown a frame, one per place at most."""
    places = sorted({round(axis.place(time_s) * 10) for time_s in times_s})
    marks = " ".join(f"M{place} 1V7" for place in places)
    return tag(
        "svg",
        tag("path", d=marks, class_="seen"),
        viewBox=f"0 0 1000 {_SEEN_PX}",
        preserveAspectRatio="none",
        width="100%",
        height=_SEEN_PX,
        y=y,
    )


def _stretch(axis: Axis, start_s: float, end_s: float) -> dict[str, str]:
    left, right = axis.place(start_s), axis.place(end_s)
    return {"x": f"{left:.3f}%", "width": f"{right - left:.3f}%"}


def _told(result: Localization) -> str:
    """The drawing in words."""
    windows = points(result)
    if not windows:
        scores = "There are no scores of windows."
    else:
        best = max(windows, key=lambda window: window.value)
        scores = (
            f"{len(windows)} windows were scored; the highest, {best.value:.2f}, "
            f"is at {format_time(best.middle_s)}."
        )
    where = ", ".join(span(segment.start_s, segment.end_s) for segment in result.segments)
    return f"{scores} {f'Found at {where}.' if where else 'Not found.'}"


def legend(entries: Sequence[tuple[str, str]]) -> Markup:
    """What the colours mean: (class of the style sheet, words)."""
    return tag(
        "p",
        join(tag("span", tag("i", class_=f"key {kind}"), words) for kind, words in entries),
        class_="legend",
        aria_hidden="true",
    )
