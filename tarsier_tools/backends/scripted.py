"""A backend that says what it was told to say, and remembers what it was asked. For tests and examples."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from typing import TypeVar

from tarsier_tools.backends.base import Backend
from tarsier_tools.errors import BackendRejected, TarsierError
from tarsier_tools.types import (
    Abilities,
    Completion,
    ModelInfo,
    Progress,
    Request,
    ScoreRequest,
    Scores,
    Usage,
    no_progress,
)

_T = TypeVar("_T")


class ScriptedBackend(Backend):
    """Answers from two queues, in order.

    Args:
        replies: what ``generate`` answers, one per request: a text, or an error to raise.
        scores: what ``score`` answers, one per request: a log-likelihood per candidate, or an error.
        abilities: what the model claims to be able to do.

    Attributes:
        requests: every request received, of both kinds, in order.

    Raises BackendRejected when a queue is empty: a test that asks once too often should fail.
    """

    def __init__(
        self,
        replies: Iterable[str | TarsierError] = (),
        scores: Iterable[Sequence[float] | TarsierError] = (),
        *,
        abilities: Abilities | None = None,
    ) -> None:
        self._replies = list(replies)
        self._scores = list(scores)
        self._abilities = abilities or Abilities()
        self._lock = threading.Lock()
        self.requests: list[Request | ScoreRequest] = []

    @property
    def info(self) -> ModelInfo:
        return ModelInfo(name="scripted", backend="scripted", abilities=self._abilities)

    def generate(
        self, requests: Sequence[Request], *, on_progress: Progress = no_progress
    ) -> list[Completion]:
        completions = []
        for done, request in enumerate(requests):
            on_progress(done, len(requests), "generating")
            text = self._next(request, self._replies, "reply")
            completions.append(
                Completion(text=text, finish_reason="stop", token_ids=(), logprobs=(), usage=_usage(request))
            )
        return completions

    def score(self, requests: Sequence[ScoreRequest], *, on_progress: Progress = no_progress) -> list[Scores]:
        results = []
        for done, request in enumerate(requests):
            on_progress(done, len(requests), "scoring")
            values = self._next(request, self._scores, "score")
            if len(values) != len(request.candidates):
                raise BackendRejected(
                    f"{len(values)} scores are scripted for {len(request.candidates)} candidates."
                )
            counts = tuple(len(text.split()) or 1 for text in request.candidates)
            results.append(Scores(logprobs=tuple(values), token_counts=counts, usage=_usage(request)))
        return results

    def _next(self, request: Request | ScoreRequest, queue: list[_T | TarsierError], kind: str) -> _T:
        with self._lock:
            self.requests.append(request)
            if not queue:
                raise BackendRejected(f"No {kind} is left in the script.", hint="Give ScriptedBackend more.")
            value = queue.pop(0)
        if isinstance(value, TarsierError):
            raise value
        return value


def _usage(request: Request | ScoreRequest) -> Usage:
    """One vision token per frame and one token per word: enough to see that something was counted."""
    vision = len(request.clip)
    words = len(request.prompt.split())
    return Usage(prompt_tokens=vision + words, vision_tokens=vision, cached_tokens=0, completion_tokens=0)
