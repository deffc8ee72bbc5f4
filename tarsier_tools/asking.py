"""One request to the model about what was seen, and its reply."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tarsier_tools import parse
from tarsier_tools.errors import BackendRejected, ReplyError
from tarsier_tools.grounding import Asked
from tarsier_tools.types import Completion, Progress, Request, ScoreRequest, Scores, Usage

WRITTEN_TOKENS = 16
"""Enough for a letter or a word, with what some models put before it."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """Which of several replies the model gives.

    Attributes:
        best: its place among the options.
        shares: the share of probability of each; () when the choice was read from what the model wrote.
        caution: what a reader must know first, "" for nothing.
    """

    best: int
    shares: tuple[float, ...]
    usage: Usage
    warnings: tuple[str, ...] = ()
    caution: str = ""


def generate(asked: Asked, prompt: str, max_new_tokens: int, on_progress: Progress) -> Completion:
    """What the model writes about the clip. Raises BackendError and its kinds."""
    request = Request(asked.seen.decoded.clip, prompt, max_new_tokens=max_new_tokens)
    (completion,) = asked.backend.generate([request], on_progress=on_progress)
    return completion


def score(
    asked: Asked, prompt: str, candidates: tuple[str, ...], prefix: str, on_progress: Progress
) -> tuple[tuple[float, ...], Scores]:
    """The share of probability of each candidate reply, and the scores that it comes from.

    Raises BackendError and its kinds, and ReplyError when the scores are no numbers.
    """
    request = ScoreRequest(asked.seen.decoded.clip, prompt, candidates, reply_prefix=prefix)
    (scores,) = asked.backend.score([request], on_progress=on_progress)
    try:
        return parse.probabilities(scores.logprobs), scores
    except ValueError as error:
        raise ReplyError(
            f"The model's scores cannot be used: {error}.",
            hint="Ask without choices and yes_no, or use dtype=float32.",
        ) from None


def choose(
    asked: Asked,
    prompt: str,
    options: Sequence[str],
    letters: tuple[str, ...],
    prefix: str,
    on_progress: Progress,
) -> Chosen:
    """Which of the options the model answers with: by their probabilities, or in writing without those.

    Args:
        letters: what stands for each option in the reply; () when the options themselves do.
        prefix: how the reply is begun for the model when it is scored.

    Raises as :func:`score`, and ReplyError when what the model wrote names none of the options.
    """
    try:
        shares, scores = score(asked, prompt, letters or tuple(options), prefix, on_progress)
    except BackendRejected:
        if asked.backend.info.scoring == "texts":
            raise
    else:
        best = max(range(len(shares)), key=shares.__getitem__)
        return Chosen(best, shares, scores.usage, caution=scores.caution)
    completion = generate(asked, prompt, WRITTEN_TOKENS, on_progress)
    written = parse.chosen(completion.text, options, letters)
    if written is None:
        raise ReplyError(
            f"The model wrote none of the answers to choose from: {parse.quote(completion.text)}.",
            hint="Ask without choices and yes_no, or use a server that gives probabilities.",
        )
    return Chosen(
        written,
        (),
        completion.usage,
        (f"The server gives no probabilities; the model wrote {parse.quote(completion.text)}.",),
        completion.caution,
    )
