"""How much of a claim a clip explains, for models that can do nothing but describe."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tarsier_tools import prompts
from tarsier_tools.errors import ReplyError
from tarsier_tools.locating.scorers import Ask, Scorer, blank
from tarsier_tools.types import Clip, ScoreRequest


class Explained(Scorer):
    """1 less the ratio of a claim's log-likelihoods as the caption of a clip and of a blank clip.

    It has the form of McFadden's pseudo-R2: 1 when the clip makes the claim certain, 0 when it helps no more
    than a grey one, below 0 when it speaks against it; it is cut at -1. The nats that ``locate`` goes by grow
    with the length of a sentence; this does not, so that one limit does for claims of any length.
    """

    name = "likelihood"
    kind = "share of the claim's log-likelihood that the clip explains, from 0 to 1, not calibrated"
    threshold = 0.9

    def prompt(self, event: str) -> str:  # noqa: ARG002  (the same for every claim)
        return prompts.caption(self.language)

    def evidence(self, clips: Sequence[Clip], events: Sequence[str], ask: Ask) -> list[list[float]]:
        sentences = tuple(event[0].upper() + event[1:] for event in events)
        sizes = {_size(clip): clip for clip in clips}
        shown = [*clips, *(blank(clip) for clip in sizes.values())]
        prompt = prompts.caption(self.language)
        scored = [each.logprobs for each in ask([ScoreRequest(clip, prompt, sentences) for clip in shown])]
        unseen = dict(zip(sizes, scored[len(clips) :], strict=True))
        return [
            [_explained(*pair) for pair in zip(seen, unseen[_size(clip)], strict=True)]
            for clip, seen in zip(clips, scored, strict=False)
        ]

    def score(self, evidence: float) -> float:
        return evidence

    def least(self, score: float) -> float:
        return score


def _size(clip: Clip) -> tuple[int, tuple[int, ...]]:
    return len(clip), clip.frames[0].shape


def _explained(seen: float, unseen: float) -> float:
    if unseen == 0:
        return 0.0
    share = 0.0 if seen == unseen else 1 - seen / unseen
    if math.isnan(share):
        raise ReplyError(
            "The model's scores are no numbers.", hint="Use dtype=float32, or leave verify away."
        )
    return max(-1.0, share)
