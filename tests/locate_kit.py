"""A model that always tells the truth about when something happens, and films for it to look at."""

from __future__ import annotations

import re
import weakref
from collections.abc import Sequence

import numpy as np

from tarsier_tools import (
    Abilities,
    Backend,
    Clip,
    Completion,
    ModelInfo,
    Progress,
    Request,
    ScoreRequest,
    Scores,
    Usage,
)
from tarsier_tools.types import Scoring, no_progress

USAGE = Usage(prompt_tokens=1, vision_tokens=1, cached_tokens=0, completion_tokens=1)
WRITES = Abilities(yes_no=True, frames=True)
Spans = Sequence[tuple[float, float]]


class Oracle(Backend):
    """Knows when each event happens, and says so in whichever way it is asked; sees only the frames' times.

    Attributes:
        clips: fingerprints of the clips it was shown, in order, each once.
        asked: (kind of request, event) in order.
        most_alive: the most frames that were in memory at once while it was asked.
    """

    def __init__(
        self, truth: dict[str, Spans], abilities: Abilities = WRITES, scoring: Scoring = "texts"
    ) -> None:
        self.truth = truth
        self.clips: dict[str, Clip | None] = {}
        self.asked: list[tuple[str, str]] = []
        self.most_alive = 0
        self._alive: weakref.WeakValueDictionary[int, np.ndarray] = weakref.WeakValueDictionary()
        self._info = ModelInfo(name="oracle", backend="scripted", abilities=abilities, scoring=scoring)

    @property
    def info(self) -> ModelInfo:
        return self._info

    def generate(
        self, requests: Sequence[Request], *, on_progress: Progress = no_progress
    ) -> list[Completion]:
        on_progress(0, len(requests), "answering")
        return [self._completion(request) for request in requests]

    def score(self, requests: Sequence[ScoreRequest], *, on_progress: Progress = no_progress) -> list[Scores]:
        on_progress(0, len(requests), "scoring")
        return [self._scores(request) for request in requests]

    def shown(self, clip: Clip, event: str) -> list[int]:
        """Numbers, from 1, of the frames of the clip in which the event happens."""
        self.clips[clip.fingerprint] = None
        for frame in clip.frames:
            self._alive[id(frame)] = frame
        self.most_alive = max(self.most_alive, len(self._alive))
        if clip.fingerprint.startswith("blank"):
            return []
        spans = self.truth.get(event.lower(), ())
        return [
            number
            for number, time in enumerate(clip.times_s, 1)
            if any(start <= time < end for start, end in spans)
        ]

    def sees(self, clip: Clip, event: str) -> bool:
        """Whether the clip shows half of an occurrence, or an occurrence for half of its own length."""
        numbers = self.shown(clip, event)
        times = [clip.times_s[number - 1] for number in numbers]
        step = (clip.times_s[-1] - clip.times_s[0]) / max(1, len(clip) - 1)
        return 2 * len(numbers) >= len(clip) or any(
            2 * step * sum(start <= time < end for time in times) >= end - start
            for start, end in self.truth.get(event.lower(), ())
            if times
        )

    def _completion(self, request: Request) -> Completion:
        event = _quoted(request.prompt)
        self.asked.append(("write", event))
        numbers = self.shown(request.clip, event)
        starts = [number for number in numbers if number - 1 not in numbers]
        ends = [number for number in numbers if number + 1 not in numbers]
        tags = (f"<frame: {first}-{last}>" for first, last in zip(starts, ends, strict=True))
        return Completion(" ".join(tags) or "It does not happen.", "stop", (), (), USAGE)

    def _scores(self, request: ScoreRequest) -> Scores:
        if request.candidates == ("Yes", "No"):
            event = _quoted(request.prompt)
            self.asked.append(("yes_no", event))
            sure = 4.0 if self.sees(request.clip, event) else -4.0
            values: tuple[float, ...] = (sure / 2, -sure / 2)
        else:
            self.asked += [("likelihood", event) for event in request.candidates]
            values = tuple(-10.0 if self.sees(request.clip, event) else -40.0 for event in request.candidates)
        return Scores(logprobs=values, token_counts=(1,) * len(values), usage=USAGE)


def _quoted(prompt: str) -> str:
    found = re.search(r'"(.+)"', prompt)
    assert found, prompt
    return found[1]
