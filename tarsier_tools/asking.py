"""One request to the model about what was seen, and its reply."""

from __future__ import annotations

from tarsier_tools import parse
from tarsier_tools.errors import ReplyError
from tarsier_tools.grounding import Asked
from tarsier_tools.types import Completion, Progress, Request, ScoreRequest, Usage


def generate(asked: Asked, prompt: str, max_new_tokens: int, on_progress: Progress) -> Completion:
    """What the model writes about the clip. Raises BackendError and its kinds."""
    request = Request(asked.seen.decoded.clip, prompt, max_new_tokens=max_new_tokens)
    (completion,) = asked.backend.generate([request], on_progress=on_progress)
    return completion


def score(
    asked: Asked, prompt: str, candidates: tuple[str, ...], prefix: str, on_progress: Progress
) -> tuple[tuple[float, ...], Usage]:
    """The share of probability of each candidate reply, and what it cost.

    Raises BackendError and its kinds, and ReplyError when the scores are no numbers.
    """
    request = ScoreRequest(asked.seen.decoded.clip, prompt, candidates, reply_prefix=prefix)
    (scores,) = asked.backend.score([request], on_progress=on_progress)
    try:
        return parse.probabilities(scores.logprobs), scores.usage
    except ValueError as error:
        raise ReplyError(
            f"The model's scores cannot be used: {error}.",
            hint="Ask without choices and yes_no, or use dtype=float32.",
        ) from None
