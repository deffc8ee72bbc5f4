"""Which stretches of a video are looked at. Pure functions of numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass

FRAME_STEP_S = 0.75
"""Seconds between two frames of a window, unless it is asked otherwise: 16 frames make 12 s.

Measured on films of the shapes world with windows of 3 to 12 s (benchmarks/locate.py), and close to the clips
of Tarsier2's own training."""

MAX_WINDOWS = 900
"""Windows over the whole range, unless it is asked otherwise; longer videos get longer windows."""

MOST_WINDOWS = 10_000
"""Windows over the whole range when their length or stride is given; more is a slip of the pen."""

_LOOSE = 1.25
"""A range up to this many windows long is looked at in one piece: a second one would see nearly the same."""


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch that is shown to the model at once, ``[start_s, end_s)``, in seconds."""

    start_s: float
    end_s: float

    @property
    def length_s(self) -> float:
        return self.end_s - self.start_s


@dataclass(frozen=True, slots=True)
class Layout:
    """The windows of a range.

    Attributes:
        windows: in the order of time; together they cover the range, and each begins inside it.
        length_s, stride_s: of the windows; of one window that is the whole range both are its length.
    """

    windows: tuple[Window, ...]
    length_s: float
    stride_s: float

    @property
    def whole(self) -> bool:
        """The range is looked at in one piece."""
        return len(self.windows) == 1


def lay_out(
    start_s: float,
    end_s: float,
    frames: int,
    length_s: float | None = None,
    stride_s: float | None = None,
) -> Layout:
    """Overlapping windows over a range.

    Args:
        frames: shown of each window.
        length_s: of a window; None for FRAME_STEP_S a frame, or as much longer as it takes for MAX_WINDOWS.
        stride_s: from one window's start to the next; None for half the length.

    Raises ValueError when the range is empty, or a length or stride is not positive or leaves gaps,
    and when they make more than MOST_WINDOWS.
    """
    duration = end_s - start_s
    if not duration > 0:
        raise ValueError("the range is empty")
    if length_s is None:
        length = FRAME_STEP_S * frames
        if duration > length * MAX_WINDOWS / 2:
            length = 2 * duration / MAX_WINDOWS
        loose = _LOOSE
    else:
        length, loose = length_s, 1.0
    stride = length / 2 if stride_s is None else stride_s
    if not (0 < length < math.inf and 0 < stride <= length):
        raise ValueError("the windows must have a length, and a stride of at most that")
    if (duration - length) / stride >= MOST_WINDOWS:
        raise ValueError(f"that makes more than {MOST_WINDOWS} windows of {duration:.3f} s")
    if duration <= length * loose:
        return Layout((Window(start_s, end_s),), duration, duration)
    count = 1 + math.ceil((duration - length) / stride - 1e-9)
    starts = [start_s + number * stride for number in range(count)]
    # The last one is moved back to the end of the range: cut short it would show an event's beginning only.
    starts[-1] = min(starts[-1], end_s - length)
    return Layout(tuple(Window(start, start + length) for start in starts), length, stride)


def around(start_s: float, end_s: float, length_s: float, within: Window) -> Window:
    """A window of this length with the stretch in its middle, moved into a range and cut to it."""
    middle = (start_s + end_s) / 2
    first = max(within.start_s, min(middle - length_s / 2, within.end_s - length_s))
    return Window(first, min(first + length_s, within.end_s))


def sliding(start_s: float, end_s: float, length_s: float, stride_s: float, within: Window) -> list[Window]:
    """Windows whose middles go from start_s to end_s in steps of stride_s, cut to a range."""
    count = max(1, round((end_s - start_s) / stride_s)) + 1
    middles = [start_s + (end_s - start_s) * number / (count - 1) for number in range(count)]
    cut = (
        Window(max(middle - length_s / 2, within.start_s), min(middle + length_s / 2, within.end_s))
        for middle in middles
    )
    return [window for window in cut if window.length_s > 0]
