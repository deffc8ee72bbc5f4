"""Choose the frames of a video that a model is shown. Pure functions of numbers.

Two families:

- **By frame number**, the rule Tarsier2 was trained with (:func:`uniform_indices`): equal steps in frame
  numbers, the first and the last frame included. In a range, the frames are first found by their times
  (:func:`range_bounds`). Where the frame rate is constant, these are the frames that the reference takes
  (:func:`clip_bounds`); where it varies, the reference's average rate leads out of the range.
- **By time** (:func:`time_indices`, :func:`fps_indices`), ours, for long videos and variable frame rates:
  the picture on screen at a moment is the last one whose presentation time is not after it.

Every function returns distinct frame numbers in ascending order, all of them inside the video.

One deviation from the reference: for a clip that ends after the video, the reference first spreads the
frames over the range asked for and then drops those that do not exist, which may leave 2 of 16. Here the
end is clamped to the last frame first, and all the frames asked for are spread over the frames there are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tarsier_tools.types import SamplingMethod

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SLACK_S = 1e-6
"""Times that differ by less are the same moment: presentation times are rounded to a time base."""


_TICK_S = 1e-3
"""The coarsest tick of a common container (Matroska, FLV): times nearer to each other may be the same."""


def uniform_indices(frame_count: int, n: int) -> tuple[int, ...]:
    """Tarsier2's rule: n of frame_count frames in equal steps, the first and the last included.

    All frames when there are no more than n; frame 0 when n is 1. Halves are rounded to the even number.
    Raises ValueError when frame_count or n is below 1.
    """
    _at_least_one("frame_count", frame_count)
    _at_least_one("n", n)
    if frame_count <= n:
        return tuple(range(frame_count))
    if n == 1:
        return (0,)
    return tuple(round(i * (frame_count - 1) / (n - 1)) for i in range(n))


def clip_bounds(frame_count: int, avg_fps: float, start_s: float, end_s: float) -> tuple[int, int]:
    """Return the first and the last frame (inclusive) of a range by the reference's rule.

    Both are ``round(seconds * avg_fps)``, clamped to the video before any frame is chosen. The rule holds
    only where the frame rate is constant; :func:`range_bounds` is the one that holds everywhere. This one
    is kept to be compared with the reference's recorded clips (``benchmarks/parity.py``).

    Raises ValueError when frame_count is below 1.
    """
    _at_least_one("frame_count", frame_count)
    last = min(round(end_s * avg_fps), frame_count - 1)
    first = min(round(start_s * avg_fps), last)
    return first, last


def range_bounds(
    timeline: NDArray[np.float64], average_fps: float, start_s: float, end_s: float, *, variable_rate: bool
) -> tuple[int, int]:
    """Return the first and the last frame (inclusive) of a range by the frames' own times.

    At a constant rate each end goes to the nearest frame, as in :func:`clip_bounds`. At a variable rate no
    frame that starts at ``end_s`` or later is taken; the picture on screen at ``start_s`` is, unless it gives
    way within half an average frame to another one in the range.

    Args:
        timeline: float64 (frame_count,), presentation time of each frame in seconds, ascending.
        average_fps: of the whole video.
        start_s, end_s: seconds, start_s below end_s.
        variable_rate: the frames are not evenly spaced in time.

    Raises ValueError when the timeline is empty.
    """
    if not variable_rate:
        first, last = clip_bounds(len(timeline), average_fps, start_s, end_s)
        last = _nearest(timeline, end_s, last)
        return min(_nearest(timeline, start_s, first), last), last
    shown, times = _shown(timeline, start_s, end_s)
    came_before = timeline[shown[0]] < start_s
    gives_way = len(times) > 1 and times[1] - start_s < 0.5 / average_fps
    return int(shown[1 if came_before and gives_way else 0]), int(shown[-1])


def time_indices(timeline: NDArray[np.float64], start_s: float, end_s: float, n: int) -> tuple[int, ...]:
    """n frames evenly in time from ``[start_s, end_s)``, the first and the last shown in it included.

    Where one picture stays on the screen for several of the moments it is taken once, and the frames that
    this leaves over go, one by one, where the distance in time to the nearest chosen frame is largest. So
    fewer than n come back only when the range shows no more.

    Args:
        timeline: float64 (frame_count,), presentation time of each frame in seconds, ascending.

    Raises ValueError when the timeline is empty or n is below 1.
    """
    _at_least_one("n", n)
    shown, times = _shown(timeline, start_s, end_s)
    if len(shown) <= n:
        return tuple(shown.tolist())
    moments = np.linspace(times[0], times[-1], n)
    positions = np.unique(np.searchsorted(times, moments + _SLACK_S, side="right") - 1)
    if len(positions) < n:
        positions = _fill_gaps(times, positions, n)
    return tuple(shown[positions].tolist())


def fps_indices(
    timeline: NDArray[np.float64], start_s: float, end_s: float, fps: float, n_max: int
) -> tuple[int, ...]:
    """The pictures on the screen every ``1 / fps`` seconds of ``[start_s, end_s)``, from start_s on.

    When those are more than n_max, n_max are taken evenly in time instead: the whole range is seen more
    coarsely, rather than its beginning finely.

    Args:
        timeline: float64 (frame_count,), presentation time of each frame in seconds, ascending.

    Raises ValueError when the timeline is empty, fps is not positive or n_max is below 1.
    """
    _at_least_one("n_max", n_max)
    if not 0 < fps < float("inf"):
        raise ValueError(f"fps must be a positive number, got {fps}")
    shown, times = _shown(timeline, start_s, end_s)
    # A picture is wanted when a moment falls into the time it is on the screen. Counting the moments
    # before each change of picture finds those without a list of all moments, which may be millions.
    changes = np.append(times, max(end_s, times[-1] + _SLACK_S))
    moments_before = np.ceil((changes - start_s - _SLACK_S) * fps)
    wanted = shown[moments_before[:-1] < moments_before[1:]]
    if len(wanted) > n_max:
        return time_indices(timeline, start_s, end_s, n_max)
    return tuple(wanted.tolist())


@dataclass(frozen=True, slots=True)
class Plan:
    """The frames to read, ascending and distinct, and what to say about them, a sentence each."""

    indices: tuple[int, ...]
    notes: tuple[str, ...] = ()


def plan(
    timeline: NDArray[np.float64],
    *,
    duration_s: float,
    average_fps: float,
    variable_rate: bool,
    n: int,
    method: SamplingMethod = "uniform",
    start_s: float | None = None,
    end_s: float | None = None,
    fps: float | None = None,
) -> Plan:
    """At most n frames of a video, or of a stretch of it, by one of the methods.

    Args:
        timeline: float64 (frame_count,), presentation time of each frame in seconds, ascending.
        duration_s, average_fps: of the whole video.
        variable_rate: the video's frames are not evenly spaced in time.
        start_s, end_s: the stretch, inside the video; None for the video's own start or end.
        fps: frames per second wanted; for the method "fps" and for no other.

    Raises ValueError when n is below 1 or fps does not go with the method.
    """
    if (fps is not None) != (method == "fps"):
        raise ValueError("fps goes with the sampling method 'fps', and with no other")
    start = 0.0 if start_s is None else start_s
    end = max(duration_s, float(timeline[-1]) + 2 * _SLACK_S) if end_s is None else end_s
    if fps is not None:
        indices = fps_indices(timeline, start, end, fps, len(timeline))
        if len(indices) > n:
            indices = time_indices(timeline, start, end, n)
            note = f"{fps:g} frames a second would be more than {n} frames: {n} were spread over the range."
            return Plan(indices, (note,))
        return Plan(indices)
    if method == "time":
        return Plan(time_indices(timeline, start, end, n))
    if start_s is None and end_s is None:
        return Plan(uniform_indices(len(timeline), n))
    first, last = range_bounds(timeline, average_fps, start, end, variable_rate=variable_rate)
    return Plan(tuple(first + index for index in uniform_indices(last - first + 1, n)))


def _nearest(timeline: NDArray[np.float64], time_s: float, counted: int) -> int:
    """Return the frame that starts nearest to a time: the one counted by the rate, if none is nearer."""
    after = min(int(np.searchsorted(timeline, time_s)), len(timeline) - 1)
    nearest = min((after, max(after - 1, 0)), key=lambda index: abs(timeline[index] - time_s))
    further_s = abs(timeline[counted] - time_s) - abs(timeline[nearest] - time_s)
    return counted if further_s <= _TICK_S else nearest


def _shown(
    timeline: NDArray[np.float64], start_s: float, end_s: float
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """The frames on the screen in ``[start_s, end_s)`` and since when; at least one.

    The first may have come up before the range: it counts from the start of the range.
    """
    _at_least_one("the number of frames", len(timeline))
    on_screen = max(int(np.searchsorted(timeline, start_s + _SLACK_S, side="right")) - 1, 0)
    first = int(np.searchsorted(timeline, timeline[on_screen], side="left"))
    stop = max(int(np.searchsorted(timeline, end_s - _SLACK_S, side="left")), first + 1)
    return np.arange(first, stop), np.maximum(timeline[first:stop], start_s)


def _fill_gaps(times: NDArray[np.float64], positions: NDArray[np.intp], n: int) -> NDArray[np.intp]:
    """n positions in times, ascending: those given, and each further one farthest from all before it."""
    chosen = np.zeros(len(times), dtype=bool)
    chosen[positions] = True
    after = np.searchsorted(positions, np.arange(len(times)))
    to_next = np.abs(times[positions[np.minimum(after, len(positions) - 1)]] - times)
    to_previous = np.abs(times - times[positions[np.maximum(after - 1, 0)]])
    distance = np.minimum(to_next, to_previous)
    for _ in range(n - len(positions)):
        # Frames that share a presentation time are at distance 0 from each other, and still distinct.
        furthest = int(np.where(chosen, -1.0, distance).argmax())
        chosen[furthest] = True
        distance = np.minimum(distance, np.abs(times - times[furthest]))
    return np.flatnonzero(chosen)


def _at_least_one(name: str, value: int) -> None:
    if value < 1:
        raise ValueError(f"{name} must be at least 1, got {value}")
