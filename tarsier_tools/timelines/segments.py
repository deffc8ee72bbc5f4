"""How a range of a video is divided into segments, given its cuts. Pure functions of numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

from tarsier_tools.errors import UsageError
from tarsier_tools.results import TimeRange

Segmentation = Literal["auto", "shots", "windows"]
"""Where segments begin: at cuts where they can be looked for, at cuts, or evenly."""

MIN_SEGMENT_S = 1.0
"""By default a shot shorter than this is joined to a neighbour."""

MAX_SEGMENT_S = 15.0
"""By default a shot longer than this is divided evenly: 16 frames then are at most a second apart."""

MAX_SEGMENTS = 20_000
"""More than a video of three days has by default."""


def lengths(min_s: float | None, max_s: float) -> tuple[float, float]:
    """The shortest and the longest segment, seconds; for None MIN_SEGMENT_S, or less where max_s needs it.

    Raises UsageError when no video can be divided like this.
    """
    if not 0 < max_s < math.inf:
        raise UsageError(
            f"max_segment_s is {max_s:g}; it must be a positive number of seconds.",
            hint=f"Leave it away for the default, {MAX_SEGMENT_S:g}.",
        )
    if min_s is None:
        return min(MIN_SEGMENT_S, max_s / 2), max_s
    if not 0 <= min_s <= max_s / 2:
        raise UsageError(
            f"min_segment_s is {min_s:g}; it must be from 0 to half of max_segment_s ({max_s:g}).",
            hint="Long shots are divided evenly, and their parts may be half as long as the longest allowed.",
        )
    return min_s, max_s


def divide(asked: TimeRange, cuts: Sequence[float], min_s: float, max_s: float) -> tuple[TimeRange, ...]:
    """Segments that follow each other and together are the range, in the order of time.

    They begin at cuts. A cut that would make a segment shorter than ``min_s`` is passed over, so that a tiny
    shot belongs to the segment before it (at the beginning of the range: after it). A segment longer than
    ``max_s`` is divided into as few equal parts as are no longer. Only a range that is itself shorter than
    ``min_s`` gives a segment that short.

    Args:
        cuts: seconds, ascending; those outside the range do not count.

    Raises UsageError when there would be more than MAX_SEGMENTS.
    """
    marks = [asked.start_s]
    for cut in cuts:
        if cut - marks[-1] >= max(min_s, 1e-6) and asked.end_s - cut >= max(min_s, 1e-6):
            marks.append(cut)
    shots = list(pairwise([*marks, asked.end_s]))
    parts = [max(1, math.ceil((end - start) / max_s - 1e-9)) for start, end in shots]
    if sum(parts) > MAX_SEGMENTS:
        raise UsageError(
            f"The video would be divided into {sum(parts)} segments; at most {MAX_SEGMENTS} are made.",
            hint="Raise max_segment_s and min_segment_s, or give a shorter range.",
        )
    edges = [
        start + (end - start) * number / count
        for (start, end), count in zip(shots, parts, strict=True)
        for number in range(count)
    ]
    return tuple(TimeRange(start_s=start, end_s=end) for start, end in pairwise([*edges, asked.end_s]))
