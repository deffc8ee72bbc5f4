"""Chapters of a timeline, made of nothing but the captions of its segments. Pure.

A chapter begins where the captions before and after a segment's start have the least in common, and its
title is taken from one of its captions, word for word: nothing is written that no model has said about the
pictures, and no model has to follow an instruction.

The places are found by TextTiling (Hearst, "TextTiling: Segmenting Text into Multi-paragraph Subtopic
Passages", Computational Linguistics 23:1, 1997), with captions for its blocks of words. Captions are compared
by their words (in scripts without spaces: pairs of characters), weighted by how rare they are in this
timeline.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise, takewhile

from tarsier_tools.languages import Language
from tarsier_tools.results import Chapter, Segment
from tarsier_tools.splitting import claims
from tarsier_tools.terms import terms

MAX_CHAPTERS = 30
"""More are no help in finding one's way."""

MAX_TITLE_CHARS = 80

_BLOCK = 2  # captions on either side of a place that are compared
_CUTOFF = 0.5  # standard deviations above the mean depth; Hearst goes below it, for longer texts than these

Weights = Mapping[str, float]


def chapters(segments: Sequence[Segment], language: Language = "en") -> tuple[Chapter, ...]:
    """At most MAX_CHAPTERS chapters: each segment is in one, and each holds neighbours.

    Args:
        language: of the captions, to tell where what they say first ends.
    """
    if not segments:
        return ()
    weights = _weigh([terms(segment.text) for segment in segments])
    edges = [0, *_places(weights), len(segments)]
    made = []
    for first, stop in pairwise(edges):
        whole = _sum(weights[first:stop])
        central = max(range(first, stop), key=lambda number: _cosine(weights[number], whole))
        made.append(
            Chapter(
                start_s=segments[first].start_s,
                end_s=segments[stop - 1].end_s,
                title=title(segments[central].text, language) or "…",
                segments=tuple(range(first, stop)),
            )
        )
    return tuple(made)


def title(caption: str, language: Language = "en") -> str:
    """The first thing that a caption tells of, in its own words, cut between words when it is long."""
    told = claims(" ".join(caption.split()), language)
    text = told[0].text if told else ""
    if len(text) <= MAX_TITLE_CHARS:
        return text
    head = text[: MAX_TITLE_CHARS - 1]
    return (head.rpartition(" ")[0] or head).rstrip(" ,，、;；:") + "…"


def _places(weights: Sequence[Weights]) -> list[int]:
    """The numbers of the captions that begin a chapter, but for the first, ascending."""
    alike = [
        _cosine(_sum(weights[max(0, place - _BLOCK) : place]), _sum(weights[place : place + _BLOCK]))
        for place in range(1, len(weights))
    ]
    depths = [_depth(alike, place) for place in range(len(alike))]
    if not depths:
        return []
    cutoff = statistics.fmean(depths) + _CUTOFF * statistics.pstdev(depths) + 1e-9
    deep = sorted((depth, place + 1) for place, depth in enumerate(depths) if depth > cutoff)
    return sorted(place for _, place in deep[-(MAX_CHAPTERS - 1) :])


def _depth(alike: Sequence[float], place: int) -> float:
    """How far it is up from this valley of likeness to the peaks on either side."""
    return _climb(alike[place::-1]) + _climb(alike[place:])


def _climb(values: Sequence[float]) -> float:
    """From the first value up to where the values stop rising."""
    steps = takewhile(lambda pair: pair[1] >= pair[0], pairwise(values))
    return max((after for _, after in steps), default=values[0]) - values[0]


def _weigh(documents: Sequence[Sequence[str]]) -> list[Weights]:
    """The weight of each term of each caption: ``ln((n + 1) / (df + 0.5))``, the rarer the heavier.

    That is the inverse document frequency of BM25 as Lucene has it. Words that all captions share weigh next
    to nothing, so that "the video shows a man" makes no two captions alike.
    """
    frequency = Counter(term for document in documents for term in set(document))
    most = len(documents) + 1
    return [
        {term: math.log(most / (frequency[term] + 0.5)) for term in dict.fromkeys(document)}
        for document in documents
    ]


def _sum(weights: Sequence[Weights]) -> Weights:
    total: dict[str, float] = {}
    for each in weights:
        for term, weight in each.items():
            total[term] = total.get(term, 0.0) + weight
    return total


def _cosine(left: Weights, right: Weights) -> float:
    """From 0 to 1; 0 where one of them is empty."""
    if len(left) > len(right):
        left, right = right, left
    dot = sum(weight * right[term] for term, weight in left.items() if term in right)
    norms = math.sqrt(sum(w * w for w in left.values()) * sum(w * w for w in right.values()))
    return dot / norms if norms else 0.0
