"""Reading what a model wrote. Pure: text and numbers in, values out; nothing is ever invented.

Tarsier2 writes times as ``<frame: i-j>``: 1-based, inclusive, over the frames that it was shown.
:class:`Span` holds the same numbers from 0, for use as indices.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

# Bounded digits: a model can write a number of any length, and Python refuses to read the longest ones.
_TAG = re.compile(r"<\s*frames?\s*[:：]?\s*([0-9]{1,9})(?:\s*[-–—~]\s*([0-9]{1,9}))?\s*>", re.IGNORECASE)
_BEFORE_CHOICE = re.compile(r"^(?:(?:the\s+)?answer\s*(?:is\b)?\s*[:：]?\s*)?[\s\"'“”‘’「『(（\[*]*")
_QUOTED = 80
"""Characters of the model's text that a problem quotes at most."""


@dataclass(frozen=True, slots=True)
class Span:
    """Frames of a clip: indices from 0, both included."""

    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that the model says happens, and in which frames."""

    span: Span
    text: str


@dataclass(frozen=True, slots=True)
class Spans:
    """Frames that a reply names, in the order of time, and what in it could not be used."""

    spans: tuple[Span, ...]
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Events:
    """Events that a reply names, in the order written, and what in it could not be used."""

    events: tuple[Event, ...]
    problems: tuple[str, ...]


def frame_spans(text: str, n_frames: int) -> Spans:
    """Every ``<frame: i-j>`` in a reply about a clip of ``n_frames`` frames.

    Numbers beyond the clip are clamped to it; a tag wholly outside, or that ends before it starts, is left
    out. Both are told of in ``problems``. Overlapping spans are merged.
    """
    problems: list[str] = []
    found = [_span(match, n_frames, problems) for match in _TAG.finditer(text)]
    spans: list[Span] = []
    for span in sorted((span for span in found if span), key=lambda span: (span.first, span.last)):
        if spans and span.first <= spans[-1].last:
            spans[-1] = Span(spans[-1].first, max(spans[-1].last, span.last))
        else:
            spans.append(span)
    return Spans(tuple(spans), tuple(problems))


def frame_events(text: str, n_frames: int) -> Events:
    """Lines of ``<frame: i-j> sentence``, as a model writes them when asked for each event.

    A line may hold several tags; each takes the words up to the next tag. Words without a tag, tags without
    words and tags that :func:`frame_spans` would not take become problems; a line said twice counts once.
    """
    if not _TAG.search(text):
        return Events(
            (), ("The reply gives no frames, so nothing in it has a time.",) if text.strip() else ()
        )
    problems: list[str] = []
    events: dict[Event, None] = {}
    for line in filter(None, (line.strip() for line in text.splitlines())):
        tags = list(_TAG.finditer(line))
        before = line[: tags[0].start()] if tags else line
        if before.strip():
            problems.append(f"No frames are given for: {quote(before)}.")
        ends = (*(tag.start() for tag in tags[1:]), len(line))
        for tag, end in zip(tags, ends, strict=False):  # a line without tags has an end all the same
            words = line[tag.end() : end].strip(" \t:：-–—")
            if not words:
                problems.append(f"Nothing is said about {tag.group(0)}.")
            elif span := _span(tag, n_frames, problems):
                events[Event(span, words)] = None
    return Events(tuple(events), tuple(problems))


def span_seconds(span: Span, times_s: Sequence[float], end_s: float) -> tuple[float, float]:
    """When a span begins and ends, seconds: from its first frame's time to the time of the frame after it.

    Args:
        times_s: the presentation time of each frame of the clip.
        end_s: where the clip's range ends, for a span that holds the last frame.
    """
    start = times_s[span.first]
    after = span.last + 1
    return start, times_s[after] if after < len(times_s) else end_s


def chosen(text: str, options: Sequence[str], letters: Sequence[str] = ()) -> int | None:
    """Which option a written reply gives, by its letter or in its words; None when it gives none.

    A letter counts where a mark or nothing follows it, so that ``A dog runs`` is no choice of A.
    """
    said = _BEFORE_CHOICE.sub("", text.strip().casefold())
    for index, letter in enumerate(letters):
        if re.match(rf"{re.escape(letter.casefold())}(?:$|[)\]）.,:：、*\n])", said):
            return index
    ends = {index: _word_end(said, option.strip().casefold()) for index, option in enumerate(options)}
    best = max(ends, key=ends.__getitem__)
    return best if ends[best] else None


def probabilities(logprobs: Sequence[float]) -> tuple[float, ...]:
    """Log-likelihoods of candidates as shares that sum to 1 (a softmax over the candidates).

    Raises ValueError when they are not numbers or no candidate is possible at all.
    """
    best = max(logprobs)
    if any(math.isnan(value) for value in logprobs) or math.isinf(best):
        raise ValueError(f"no probabilities can be made of {list(logprobs)}")
    weights = [math.exp(value - best) for value in logprobs]
    total = math.fsum(weights)
    return tuple(weight / total for weight in weights)


def _span(tag: re.Match[str], n_frames: int, problems: list[str]) -> Span | None:
    first = int(tag.group(1))
    last = int(tag.group(2)) if tag.group(2) else first
    if last < first:
        problems.append(f"{tag.group(0)} ends before it starts and was left out.")
        return None
    if first > n_frames or last < 1:
        problems.append(f"{tag.group(0)} is outside the {n_frames} frames shown and was left out.")
        return None
    if first < 1 or last > n_frames:
        problems.append(f"{tag.group(0)} was cut to the {n_frames} frames shown.")
    return Span(max(first, 1) - 1, min(last, n_frames) - 1)


def _word_end(said: str, word: str) -> int:
    """The length of a word that a text begins with; 0 when it does not, or only as part of another word."""
    if not word or not said.startswith(word):
        return 0
    joined = said[len(word) : len(word) + 1]
    return 0 if word[-1].isascii() and word[-1].isalnum() and joined.isalnum() else len(word)


def quote(text: str) -> str:
    """The beginning of a text, on one line and in quotation marks, for a message."""
    words = " ".join(text.split())
    return repr(words if len(words) <= _QUOTED else f"{words[: _QUOTED - 1]}…")
