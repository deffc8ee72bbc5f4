"""Search over a library: words and meanings, fused, filtered, merged and explained."""

from __future__ import annotations

import fnmatch
import re
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from tarsier_tools.library.embedders import Embedder
from tarsier_tools.library.lexical import Within
from tarsier_tools.library.ranking import fuse
from tarsier_tools.library.store import Store
from tarsier_tools.passages import Hit, Passage
from tarsier_tools.terms import terms

if TYPE_CHECKING:
    from numpy.typing import NDArray

MERGE_GAP_S = 1.0
"""Hits of one video that are no further apart than this become one."""
MERGED_S = 60.0
"""No hit grows longer than this by merging: a hit is a place to look at, not the whole video."""
_REACH = 5
"""Each search gives so many times the hits wanted, for fusion and merging to choose from."""
_SNIPPET = 160


class Vectors:
    """The vectors of a library in memory, read again when the file has changed. Safe from several threads."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._state: tuple[int, int] | None = None
        self._numbers: NDArray[np.int64] = np.zeros(0, np.int64)
        self._matrix: NDArray[np.float32] = np.zeros((0, 0), np.float32)

    def nearest(
        self, vector: NDArray[np.float32], allowed: NDArray[np.int64] | None, limit: int
    ) -> list[int]:
        """The rows whose vectors are most like this one, the best first."""
        with self._lock:
            state = self._store.state()
            if state != self._state:
                self._numbers, self._matrix = self._store.vectors()
                self._state = state
            numbers, matrix = self._numbers, self._matrix
        if not len(numbers):
            return []
        likeness = np.vecdot(matrix, vector)  # not @, whose threads wait for each other on a busy machine
        if allowed is not None:
            likeness = np.where(np.isin(numbers, allowed, assume_unique=True), likeness, -np.inf)
        count = min(limit, len(numbers))
        best = np.argpartition(-likeness, count - 1)[:count]
        ordered = best[np.argsort(-likeness[best], kind="stable")]
        return [int(numbers[place]) for place in ordered if np.isfinite(likeness[place])]


def search(
    store: Store,
    vectors: Vectors,
    embedder: Embedder | None,
    query: str,
    k: int,
    *,
    within: Within | None,
) -> list[Hit]:
    """The k best hits, the best first.

    Args:
        within: what passes the filters; None for all.
    """
    reach = k * _REACH
    rankings = {"words": [number for number, _ in store.find_words(query, reach, within)]}
    if embedder is not None:
        allowed = None if within is None else store.numbers(within)
        rankings["meaning"] = vectors.nearest(embedder.query(query), allowed, reach)
    fused = fuse(list(rankings.values()))
    places = {
        name: {number: place for place, number in enumerate(ranking, 1)} for name, ranking in rankings.items()
    }
    passages = store.passages([number for number, _ in fused])
    hits = [
        Hit(
            passage=passages[number],
            score=score,
            ranks={name: place[number] for name, place in places.items() if number in place},
        )
        for number, score in fused
        if number in passages
    ]
    return [hit.model_copy(update={"snippet": snippet(hit.passage.text, query)}) for hit in merge(hits)[:k]]


def merge(hits: Sequence[Hit]) -> list[Hit]:
    """Hits that are neighbours in one video become one: the best of them, with the range of all.

    The score is the best one's, so that two halves of a scene do not crowd others out or get ahead of them.
    """
    kept: list[Hit] = []
    places: dict[tuple[str, str], list[int]] = {}
    for hit in hits:
        of_video = places.setdefault((hit.passage.video_id, hit.passage.kind), [])
        for place in of_video:
            if _neighbours(kept[place].passage, hit.passage):
                kept[place] = _joined(kept[place], hit)
                break
        else:
            of_video.append(len(kept))
            kept.append(hit)
    return kept


def _neighbours(one: Passage, other: Passage) -> bool:
    return (
        one.start_s - MERGE_GAP_S <= other.end_s
        and other.start_s - MERGE_GAP_S <= one.end_s
        and max(one.end_s, other.end_s) - min(one.start_s, other.start_s) <= MERGED_S
    )


def _joined(better: Hit, other: Hit) -> Hit:
    passage = better.passage.model_copy(
        update={
            "start_s": min(better.passage.start_s, other.passage.start_s),
            "end_s": max(better.passage.end_s, other.passage.end_s),
        }
    )
    return better.model_copy(update={"passage": passage, "merged": (*better.merged, other.passage.id)})


def snippet(text: str, query: str) -> str:
    """The part of a text around the first word that the query has too; its beginning when there is none."""
    text = " ".join(text.split())
    if len(text) <= _SNIPPET:
        return text
    places = (text.casefold().find(term[: max(2, len(term) - 2)]) for term in terms(query))
    found = min((place for place in places if place >= 0), default=0)
    start = max(0, min(found - _SNIPPET // 3, len(text) - _SNIPPET))
    end = start + _SNIPPET
    return f"{'…' if start else ''}{text[start:end].strip()}{'…' if end < len(text) else ''}"


def path_filter(pattern: str) -> Callable[[str], bool]:
    """Whether a source matches a pattern as shells have it; one without a slash is for the file's name."""
    regex = re.compile(fnmatch.translate(pattern), re.IGNORECASE)
    if "/" in pattern:
        return lambda source: regex.match(source) is not None
    return lambda source: regex.match(source.rstrip("/").rpartition("/")[2]) is not None
