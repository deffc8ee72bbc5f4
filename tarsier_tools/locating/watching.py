"""Takes the windows of a video past the model, a few at a time, and keeps what it says, not what it saw."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

from tarsier_tools import parse, prompts
from tarsier_tools.backends.base import Backend
from tarsier_tools.grounding import reply_warnings, segment
from tarsier_tools.locating.geometry import Window
from tarsier_tools.locating.scorers import Scorer
from tarsier_tools.prompts import Language
from tarsier_tools.results import Coverage, TimeRange
from tarsier_tools.types import Completion, Progress, Request, ScoreRequest, Scores, Usage

if TYPE_CHECKING:
    from tarsier_tools.media.clips import DecodedClip

_TOGETHER = 8
"""Clips that are held at once: enough for a batch, few enough for any memory."""


@dataclass(frozen=True, slots=True)
class Written:
    """Where an event happens, as the model wrote it about one window.

    Attributes:
        spans: stretches of seconds, by the times of the frames shown, in order.
        problems: what in the reply could not be used, a sentence each.
    """

    spans: tuple[Window, ...]
    reply: str
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Look:
    """What the model said of one window.

    Attributes:
        times_s: of the frames that it was shown.
        evidence: nats for each event; empty when it cannot score.
        written: by event, where the model was asked to write.
    """

    window: Window
    times_s: tuple[float, ...]
    evidence: tuple[float, ...]
    written: dict[int, Written]


@dataclass(slots=True)
class Ledger:
    """What a call has looked at and what it has cost so far, over all windows."""

    times: dict[int, float] = field(default_factory=dict)
    skipped: dict[str, None] = field(default_factory=dict)
    usages: list[Usage] = field(default_factory=list)
    cautions: dict[str, None] = field(default_factory=dict)
    first: DecodedClip | None = None
    video_s: float = 0.0
    model_s: float = 0.0

    def saw(self, decoded: DecodedClip) -> None:
        """Count a clip in."""
        self.first = self.first or decoded
        self.times |= zip(decoded.clip.indices, decoded.clip.times_s, strict=True)
        self.skipped |= dict.fromkeys(decoded.coverage.skipped)

    def told(self, replies: Sequence[Completion | Scores]) -> None:
        """Count in what the replies have cost, and their cautions."""
        self.usages += [each.usage for each in replies]
        self.cautions |= dict.fromkeys(each.caution for each in replies if each.caution)

    def coverage(self, asked: TimeRange) -> Coverage:
        """Every frame that was shown, of all windows."""
        from tarsier_tools.media.clips import largest_gap

        assert self.first is not None
        times = tuple(self.times[index] for index in sorted(self.times))
        return self.first.coverage.model_copy(
            update={
                "asked": asked,
                "frame_times_s": times,
                "frame_indices": tuple(sorted(self.times)),
                "largest_gap_s": largest_gap(asked, times),
                "skipped": tuple(self.skipped),
            }
        )


@dataclass(frozen=True)
class Watcher:
    """Asks one model about some events, clip by clip.

    Args:
        scorer: None for a model that cannot score.
        writes: by event, the least evidence from which the model is asked to write where it happens; None for
            a method that does not let it write.
        ledger: is told of all that is done.
    """

    backend: Backend
    language: Language
    events: tuple[str, ...]
    scorer: Scorer | None
    writes: float | None
    max_new_tokens: int
    ledger: Ledger

    def watch(
        self,
        clips: Iterable[tuple[int, DecodedClip]],
        windows: Sequence[Window],
        about: Sequence[Sequence[int]] | None,
        on_progress: Progress,
    ) -> Iterator[tuple[int, Look]]:
        """Show each clip, as they come; yields (number of the window, what the model said of it).

        Args:
            about: numbers of the events that each window is looked at for; None for all of them everywhere.
            on_progress: called with the number of windows done, of all.
        """
        done, total = 0, len(windows)
        coming = iter(clips)
        while batch := self._next(coming):
            message = f"window {done + 1} of {total}" if total > 1 else "looking"

            def tell(_done: int, _total: int, doing: str, at: int = done, message: str = message) -> None:
                on_progress(at, total, f"{message}: {doing}")

            began = time.perf_counter()
            looks = self._look(batch, windows, about, tell)
            self.ledger.model_s += time.perf_counter() - began
            done += len(batch)
            on_progress(done, total, f"window {done} of {total}" if total > 1 else "looked")
            yield from looks

    def _next(self, coming: Iterator[tuple[int, DecodedClip]]) -> list[tuple[int, DecodedClip]]:
        began = time.perf_counter()
        batch = list(islice(coming, _TOGETHER))
        self.ledger.video_s += time.perf_counter() - began
        for _, decoded in batch:
            self.ledger.saw(decoded)
        return batch

    def _look(
        self,
        batch: Sequence[tuple[int, DecodedClip]],
        windows: Sequence[Window],
        about: Sequence[Sequence[int]] | None,
        tell: Progress,
    ) -> list[tuple[int, Look]]:
        everything = range(len(self.events))
        wanted = [everything if about is None else about[number] for number, _ in batch]
        evidence = self._score(batch, wanted, tell)
        written = self._write(batch, wanted, evidence, tell)
        return [
            (number, Look(windows[number], decoded.clip.times_s, tuple(row), replies))
            for (number, decoded), row, replies in zip(batch, evidence, written, strict=True)
        ]

    def _score(
        self, batch: Sequence[tuple[int, DecodedClip]], wanted: Sequence[Sequence[int]], tell: Progress
    ) -> list[list[float]]:
        """A number per event of the call; minus infinity for those that were not asked about."""
        rows = [[float("-inf")] * len(self.events) for _ in batch]
        if self.scorer is None:
            return rows

        def ask(requests: Sequence[ScoreRequest]) -> list[Scores]:
            scores = self.backend.score(requests, on_progress=tell)
            self.ledger.told(scores)
            return scores

        groups: dict[tuple[int, ...], list[int]] = {}
        for place, numbers in enumerate(wanted):
            groups.setdefault(tuple(numbers), []).append(place)
        for numbers, places in groups.items():
            clips = [batch[place][1].clip for place in places]
            found = self.scorer.evidence(clips, [self.events[number] for number in numbers], ask)
            for place, values in zip(places, found, strict=True):
                for number, value in zip(numbers, values, strict=True):
                    rows[place][number] = value
        return rows

    def _write(
        self,
        batch: Sequence[tuple[int, DecodedClip]],
        wanted: Sequence[Sequence[int]],
        evidence: Sequence[Sequence[float]],
        tell: Progress,
    ) -> list[dict[int, Written]]:
        replies: list[dict[int, Written]] = [{} for _ in batch]
        if self.writes is None:
            return replies
        pairs = [
            (place, number)
            for place, numbers in enumerate(wanted)
            for number in numbers
            if self.scorer is None or evidence[place][number] >= self.writes
        ]
        if not pairs:
            return replies
        completions = self.backend.generate(
            [
                Request(
                    batch[place][1].clip,
                    prompts.locate(self.events[number], self.language),
                    max_new_tokens=self.max_new_tokens,
                )
                for place, number in pairs
            ],
            on_progress=tell,
        )
        self.ledger.told(completions)
        for (place, number), completion in zip(pairs, completions, strict=True):
            decoded = batch[place][1]
            read = parse.frame_spans(completion.text, len(decoded.clip))
            stretches = (segment(decoded, span, "") for span in read.spans)
            replies[place][number] = Written(
                tuple(Window(each.start_s, each.end_s) for each in stretches),
                completion.text.strip(),
                (*reply_warnings(completion), *read.problems),
            )
        return replies
