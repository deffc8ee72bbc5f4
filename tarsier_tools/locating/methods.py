"""Which method finds an event with this model, and what counts as found."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from tarsier_tools.config import Settings
from tarsier_tools.errors import UsageError
from tarsier_tools.locating import calibration
from tarsier_tools.locating.scorers import SCORERS, Scorer
from tarsier_tools.prompts import Language
from tarsier_tools.types import ModelInfo

Method = Literal["auto", "frames", "yes_no", "likelihood"]
Chosen = Literal["frames", "yes_no", "likelihood"]

_CONFIDENCE = 0.5
"""The least confidence that counts as found, where nothing else is asked for."""


@dataclass(frozen=True, slots=True)
class Judge:
    """What the evidence for an event is worth.

    Attributes:
        scorer: None for a model that cannot score.
        found: the calibration, if there is one.
        threshold: of the confidence with a calibration, else of the score.
        least: nats from which an event counts as found; minus infinity where the score decides nothing.
    """

    scorer: Scorer | None
    found: calibration.Found
    threshold: float
    least: float

    @property
    def kind(self) -> str:
        """What the scores are, in words."""
        if self.scorer is None:
            return "none: this model gives no probabilities"
        return self.scorer.kind

    def score(self, evidence: float) -> float | None:
        return self.scorer.score(evidence) if self.scorer and math.isfinite(evidence) else None

    def confidence(self, evidence: float) -> float | None:
        fit = self.found.fit
        return fit.confidence(evidence) if fit and math.isfinite(evidence) else None


def choose(method: Method, info: ModelInfo) -> Chosen:
    """The method itself, or for ``auto`` the one that goes with the model's abilities.

    A model that writes frames is let write them, one that answers yes or no (or cannot score whole
    sentences) is asked, and a captioner's likelihoods are taken.

    Raises UsageError for a method that this model cannot be used with.
    """
    scoring, abilities = info.scoring, info.abilities
    if method == "auto":
        if abilities.frames or scoring == "none":
            return "frames"
        return "yes_no" if abilities.yes_no or scoring == "words" else "likelihood"
    if (method == "likelihood" and scoring != "texts") or (method == "yes_no" and scoring == "none"):
        raise UsageError(
            f"The method {method} cannot be used: {info.name} gives no probabilities "
            f"{'of sentences' if scoring == 'words' else 'at all'}.",
            hint="Use method='auto', which takes one that it can.",
        )
    return method


def judge(
    method: Chosen, threshold: float | None, settings: Settings, info: ModelInfo, language: Language
) -> Judge:
    """The scorer of a method, its calibration if there is one, and what counts as found.

    Raises UsageError for a threshold that no score could have, and for a calibration that cannot be used.
    """
    if info.scoring == "none":
        return Judge(None, calibration.Found(), 0.0 if threshold is None else threshold, -math.inf)
    scorer = SCORERS["yes_no" if method == "frames" else method](language)
    found = calibration.find(settings, info, scorer.name, language)
    if found.fit is not None:
        limit = _CONFIDENCE if threshold is None else _share(threshold)
        return Judge(scorer, found, limit, found.fit.least(limit))
    limit = scorer.threshold if threshold is None else threshold
    if scorer.name == "yes_no":
        _share(limit)
    elif not math.isfinite(limit):
        raise UsageError(f"threshold is {limit}.", hint="Give a number of nats, for example 5.")
    # A model that was not trained to answer yes or no still may write frames: those decide then.
    trusted = method != "frames" or info.abilities.yes_no or threshold is not None
    return Judge(scorer, found, limit, scorer.least(limit) if trusted else -math.inf)


def _share(threshold: float) -> float:
    if not 0 <= threshold <= 1:
        raise UsageError(f"threshold is {threshold}.", hint="Give a number from 0 to 1.")
    return threshold
