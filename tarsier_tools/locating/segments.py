"""From what was seen in windows to stretches of time. Pure functions of numbers; seconds everywhere."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from tarsier_tools.locating.geometry import Window

_EDGE_S = 1e-3
"""Closer than this to the border of a window is at it."""

_SAME = 0.5
"""Intersection over the shorter one from which two stretches are taken for one and the same."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """A place where an event may be.

    Attributes:
        evidence: nats, of the window that it was found in.
        cut: it reaches the border of its window, on a side where the range goes on: there may be more of it.
    """

    start_s: float
    end_s: float
    evidence: float
    cut: bool = False

    @property
    def length_s(self) -> float:
        return self.end_s - self.start_s


def inside(stretch: Window, window: Window, within: Window, evidence: float) -> Stretch:
    """A stretch that was found in a window, clamped to the range; told whether the window may have cut it."""
    left = stretch.start_s <= window.start_s + _EDGE_S and window.start_s > within.start_s + _EDGE_S
    right = stretch.end_s >= window.end_s - _EDGE_S and window.end_s < within.end_s - _EDGE_S
    start, end = max(stretch.start_s, within.start_s), min(stretch.end_s, within.end_s)
    if start >= end:  # by Tarsier2's rule the last frame shown may be the one at the very end of the range
        start = max(within.start_s, end - stretch.length_s)
    return Stretch(start, end, evidence, left or right)


def settle(found: Iterable[Stretch], gap_s: float) -> list[Stretch]:
    """One stretch for each place, of those that several windows gave for it; in the order of time.

    Those that overlap are about the same thing. One that lies whole in its window speaks for itself, the one
    with the most evidence first; stretches that all their windows cut are parts of a longer one.

    Args:
        gap_s: parts with no more than this between them belong together.
    """
    settled: list[Stretch] = []
    for cluster in _clusters(sorted(found, key=lambda one: (one.start_s, one.end_s)), gap_s):
        left = sorted(cluster, key=lambda one: (one.cut, -one.evidence))
        while left and not left[0].cut:
            best = left[0]
            settled.append(best)
            left = [one for one in left[1:] if shared(one, best) < _SAME]
        settled += [
            Stretch(
                parts[0].start_s,
                max(part.end_s for part in parts),
                max(part.evidence for part in parts),
                cut=True,
            )
            for parts in _clusters(sorted(left, key=lambda one: (one.start_s, one.end_s)), gap_s)
        ]
    return apart(settled)


def apart(found: Iterable[Stretch]) -> list[Stretch]:
    """The stretches that are not the same as a better one (non-maximum suppression), in the order of time."""
    kept: list[Stretch] = []
    for one in sorted(found, key=lambda one: (-one.evidence, one.start_s)):
        if one.length_s > 0 and all(shared(one, other) < _SAME for other in kept):
            kept.append(one)
    return sorted(kept, key=lambda one: (one.start_s, one.end_s))


def hulls(windows: Sequence[tuple[Window, float]], least: float) -> list[Stretch]:
    """Where windows with enough evidence overlap or touch: from the first one's start to the last one's end.

    Args:
        windows: in the order of time, each with its evidence.
    """
    passing = [
        Stretch(window.start_s, window.end_s, evidence) for window, evidence in windows if evidence >= least
    ]
    return [
        Stretch(run[0].start_s, max(one.end_s for one in run), max(one.evidence for one in run))
        for run in _clusters(passing, 0.0)
    ]


def crossings(curve: Sequence[tuple[float, float]], around: Stretch) -> list[Stretch]:
    """Where a curve of evidence over time is in the upper half of its own height.

    Args:
        curve: (seconds, evidence) of short windows by their middles, in the order of time.
        around: where it was drawn, and the evidence that the stretches found get.

    Between two points the curve is a straight line. Without any height it says nothing, and ``around`` itself
    comes back.
    """
    high, low = max(value for _, value in curve), min(value for _, value in curve)
    level = (high + low) / 2
    if high - low <= 0:
        return [around]
    found: list[Stretch] = []
    start: float | None = around.start_s if curve[0][1] >= level else None
    for (time, value), (later, following) in pairwise(curve):
        if (value >= level) == (following >= level):
            continue
        crossing = time + (later - time) * (level - value) / (following - value)
        if start is None:
            start = crossing
        else:
            found.append(replace(around, start_s=start, end_s=crossing))
            start = None
    if start is not None:
        found.append(replace(around, start_s=start, end_s=around.end_s))
    return [one for one in found if one.length_s > 0]


def shared(one: Stretch | Window, other: Stretch | Window) -> float:
    """What two stretches have in common, as a share of the shorter one: 0 to 1."""
    common = min(one.end_s, other.end_s) - max(one.start_s, other.start_s)
    shorter = min(one.length_s, other.length_s)
    return max(0.0, common) / shorter if shorter > 0 else 0.0


def _clusters(ordered: Sequence[Stretch], gap_s: float) -> list[list[Stretch]]:
    """Runs of stretches, sorted by their starts, with no more than gap_s between one and those before it."""
    runs: list[list[Stretch]] = []
    reach = 0.0
    for one in ordered:
        if runs and one.start_s <= reach + gap_s:
            runs[-1].append(one)
            reach = max(reach, one.end_s)
        else:
            runs.append([one])
            reach = one.end_s
    return runs
