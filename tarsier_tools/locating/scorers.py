"""How much a clip speaks for an event: a number of nats, 0 for neither way, larger for yes.

One small interface; ``yes_no`` asks a question, ``likelihood`` uses what a captioner is good at.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np

from tarsier_tools import prompts
from tarsier_tools.errors import ReplyError
from tarsier_tools.prompts import Language
from tarsier_tools.types import Clip, ScoreRequest, Scores

ScorerName = Literal["yes_no", "likelihood"]

Ask = Callable[[Sequence[ScoreRequest]], list[Scores]]
"""Has the model score requests."""

_GREY = 128


class Scorer(ABC):
    """A way to score events against clips.

    Attributes:
        name: of the method.
        kind: what :meth:`score` gives, in words.
        threshold: of the score, where there is no calibration.
    """

    name: ScorerName
    kind: str
    threshold: float

    def __init__(self, language: Language) -> None:
        self.language = language

    @abstractmethod
    def prompt(self, event: str) -> str:
        """What the model is asked about an event."""

    @abstractmethod
    def evidence(self, clips: Sequence[Clip], events: Sequence[str], ask: Ask) -> list[list[float]]:
        """Nats for each event in each clip: a row per clip, a number per event.

        Raises ReplyError when the model gives no numbers; whatever ``ask`` raises goes through.
        """

    @abstractmethod
    def score(self, evidence: float) -> float:
        """The number that results carry."""

    @abstractmethod
    def least(self, score: float) -> float:
        """The evidence that has this score."""


class YesNo(Scorer):
    """The log-odds of yes against no to "does this happen", asked in the event's language."""

    name = "yes_no"
    kind = "raw probability of yes, not calibrated"
    threshold = 0.5

    def prompt(self, event: str) -> str:
        return prompts.yes_no(prompts.happens(event, self.language), self.language)

    def evidence(self, clips: Sequence[Clip], events: Sequence[str], ask: Ask) -> list[list[float]]:
        words = prompts.yes_no_words(self.language)
        # All questions about a clip stand together: the model looks at it once.
        asked = [ScoreRequest(clip, self.prompt(event), words) for clip in clips for event in events]
        odds = [_number(scores.logprobs[0] - scores.logprobs[1]) for scores in ask(asked)]
        return _rows(odds, len(events))

    def score(self, evidence: float) -> float:
        return sigmoid(evidence)

    def least(self, score: float) -> float:
        return logit(score)


class Likelihood(Scorer):
    """How much likelier the event is as a caption of the clip than of a blank clip of the same size.

    That difference of log-likelihoods is the pointwise mutual information of clip and event, in nats. It
    takes no question, so it works with models that can do nothing but describe.
    """

    name = "likelihood"
    kind = "log-likelihood as a caption less that on a blank clip, in nats, not calibrated"
    threshold = 5.0

    def __init__(self, language: Language) -> None:
        super().__init__(language)
        self._blank: dict[tuple[int, tuple[int, ...], tuple[str, ...]], tuple[float, ...]] = {}

    def prompt(self, event: str) -> str:  # noqa: ARG002  (the same for every event)
        return prompts.caption(self.language)

    def evidence(self, clips: Sequence[Clip], events: Sequence[str], ask: Ask) -> list[list[float]]:
        sentences = tuple(event[0].upper() + event[1:].rstrip(".。") for event in events)
        blanks = {self._key(clip, sentences): clip for clip in clips}
        shown = [*clips, *(blank(clip) for key, clip in blanks.items() if key not in self._blank)]
        prompt = prompts.caption(self.language)
        scored = ask([ScoreRequest(clip, prompt, sentences) for clip in shown])
        for clip, scores in zip(shown[len(clips) :], scored[len(clips) :], strict=True):
            self._blank[self._key(clip, sentences)] = scores.logprobs
        return [
            [
                _number(seen - unseen)
                for seen, unseen in zip(scores.logprobs, self._blank[self._key(clip, sentences)], strict=True)
            ]
            for clip, scores in zip(clips, scored, strict=False)
        ]

    def score(self, evidence: float) -> float:
        return evidence

    def least(self, score: float) -> float:
        return score

    @staticmethod
    def _key(clip: Clip, sentences: tuple[str, ...]) -> tuple[int, tuple[int, ...], tuple[str, ...]]:
        return len(clip), clip.frames[0].shape, sentences


SCORERS: dict[ScorerName, type[Scorer]] = {"yes_no": YesNo, "likelihood": Likelihood}


def blank(clip: Clip) -> Clip:
    """A clip like this one that shows nothing: grey from the first frame to the last."""
    grey = np.full_like(clip.frames[0], _GREY)
    name = f"blank {len(clip)} {grey.shape}"
    return Clip((grey,) * len(clip), clip.indices, clip.times_s, name)


def sigmoid(value: float) -> float:
    """1 / (1 + exp(-value)) without overflow."""
    if value >= 0:
        return 1 / (1 + math.exp(-value))
    power = math.exp(value)
    return power / (1 + power)


def logit(share: float) -> float:
    """The inverse of :func:`sigmoid`; 0 and 1 are taken for numbers very close to them."""
    bounded = min(max(share, 1e-300), 1 - 1e-16)
    return math.log(bounded) - math.log1p(-bounded)


def _number(value: float) -> float:
    """The evidence, bounded; minus infinity less minus infinity is no number."""
    if math.isnan(value):
        raise ReplyError("The model's scores are no numbers.", hint="Use dtype=float32, or another method.")
    return max(-1000.0, min(value, 1000.0))


def _rows(values: Sequence[float], width: int) -> list[list[float]]:
    return [list(values[start : start + width]) for start in range(0, len(values), width)]
