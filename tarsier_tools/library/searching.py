"""Search over a library: words and meanings, fused, filtered, merged and explained."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Mapping, Sequence

from tarsier_tools.library.embedders import Embedder
from tarsier_tools.library.ranking import fuse
from tarsier_tools.library.stores import Filters, Store
from tarsier_tools.passages import Hit, Passage
from tarsier_tools.terms import terms

MERGE_GAP_S = 1.0
"""Hits of one video that are no further apart than this may become one."""
MERGED_S = 60.0
"""No hit grows longer than this by merging: a hit is a place to look at, not the whole video."""
_REACH = 5
"""Each search gives so many times the hits wanted, for fusion and merging to choose from."""
_SNIPPET = 160


def search(
    store: Store,
    embedder: Embedder | None,
    query: str,
    k: int,
    *,
    filters: Filters | None,
    merged: bool = True,
) -> list[Hit]:
    """The k best hits, the best first; neighbours ``merged`` into one."""
    reach = k * _REACH
    rankings = {"words": store.find_words(query, reach, filters)}
    if embedder is not None:
        rankings["meaning"] = store.nearest(embedder.query(query), reach, filters)
    fused = fuse(list(rankings.values()))
    places = {name: {key: place for place, key in enumerate(keys, 1)} for name, keys in rankings.items()}
    passages = store.passages([key for key, _ in fused])
    hits = [
        Hit(
            passage=passages[key],
            score=score,
            ranks={name: place[key] for name, place in places.items() if key in place},
        )
        for key, score in fused
        if key in passages
    ]
    if merged:
        hits = merge(hits, query)
    return [hit.model_copy(update={"snippet": snippet(hit.passage.text, query)}) for hit in hits[:k]]


def merge(hits: Sequence[Hit], query: str) -> list[Hit]:
    """Hits that are neighbours in one video become one where both are about the same: the better, with the
    range of both.

    About the same is what has all the words of the query that the better one has. Of what was found by its
    meaning alone every neighbour is near to the query in some degree, so that nothing is joined.
    """
    asked = set(terms(query))
    has = {hit.passage.id: asked.intersection(terms(hit.passage.text)) for hit in hits}
    before, kept = len(hits) + 1, list(hits)
    while len(kept) < before:  # what was joined may have new neighbours
        before, kept = len(kept), _merged(kept, has)
    return kept


def _merged(hits: Sequence[Hit], has: Mapping[str, set[str]]) -> list[Hit]:
    kept: list[Hit] = []
    places: dict[tuple[str, str], list[int]] = {}
    for hit in hits:
        of_video = places.setdefault((hit.passage.video_id, hit.passage.kind), [])
        for place in of_video:
            better = kept[place].passage
            shared = has[better.id]
            if shared and shared <= has[hit.passage.id] and _neighbours(better, hit.passage):
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
    return better.model_copy(
        update={"passage": passage, "merged": (*better.merged, other.passage.id, *other.merged)}
    )


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
