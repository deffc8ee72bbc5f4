"""How well replies about the shapes world agree with what really happens in it; numpy only, no model."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .world import Fact


@dataclass(frozen=True)
class Rate:
    """A rate over clips, with the 95 % interval from drawing the clips anew (bootstrap)."""

    value: float
    low: float
    high: float
    count: float
    """What the rate is a share of: questions, or events."""
    clips: int


class Tally:
    """Counts per clip, by name. What belongs to one clip is not independent, so clips are the unit."""

    def __init__(self) -> None:
        self._counts: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(lambda: [0.0, 0.0]))

    def add(self, name: str, clip: int, hits: float, total: float = 1.0) -> None:
        """Count ``hits`` out of ``total`` for a clip; hits may be fractions, as an overlap is."""
        counts = self._counts[name][clip]
        counts[0] += hits
        counts[1] += total

    def rates(self, draws: int = 1000) -> dict[str, Rate]:
        """The rate of every name, in the order in which they came."""
        return {name: _rate(list(clips.values()), draws) for name, clips in self._counts.items()}


def _rate(counts: list[list[float]], draws: int) -> Rate:
    hits, total = np.asarray(counts).T
    if not total.sum():
        return Rate(math.nan, math.nan, math.nan, 0.0, len(counts))
    drawn = np.random.default_rng(0).integers(len(counts), size=(draws, len(counts)))
    rates = hits[drawn].sum(axis=1) / np.maximum(total[drawn].sum(axis=1), 1e-9)
    low, high = np.quantile(rates, [0.025, 0.975])
    return Rate(float(hits.sum() / total.sum()), float(low), float(high), float(total.sum()), len(counts))


def events_in_common(told: Sequence[Fact], true: Sequence[Fact]) -> int:
    """How many events of a caption happen, order left aside; an event told twice is right at most as often
    as it happens. Divided by ``len(true)`` it is recall, by ``len(told)`` precision.
    """
    return sum((Counter(told) & Counter(true)).values())


def overlap(one: tuple[float, float], other: tuple[float, float]) -> float:
    """Intersection over union of two half-open ranges of seconds, 0 to 1."""
    inter = max(0.0, min(one[1], other[1]) - max(one[0], other[0]))
    union = (one[1] - one[0]) + (other[1] - other[0]) - inter
    return inter / union if union > 0 else 0.0


def same_text(reply: str, answer: str) -> bool:
    """Whether a free reply says what the right one says: case, spaces and the final stop do not count."""
    return _plain(reply) == _plain(answer)


def _plain(text: str) -> str:
    return "".join(text.split()).rstrip(".。").casefold()
