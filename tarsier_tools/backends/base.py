"""The contract between the service and whatever runs a model.

A backend is given decoded clips, never paths: every backend sees the same frames, and tests can count
them. It is synchronous, takes batches, and answers in the order of the requests. ``close`` may be called
more than once; a backend is a context manager for free.

What a backend promises:

- It never answers without having seen every frame of the clip.
- Its errors are those of :mod:`tarsier_tools.errors`; nothing of a third party gets through.
- It is safe to call from several threads.
- It calls ``on_progress`` between steps and lets :class:`~tarsier_tools.errors.Cancelled` through.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from tarsier_tools.types import Completion, ModelInfo, Progress, Request, ScoreRequest, Scores, no_progress


class Backend(ABC):
    """Something that runs a model over clips."""

    @property
    @abstractmethod
    def info(self) -> ModelInfo:
        """Which model answers; may load the model."""

    @abstractmethod
    def generate(
        self, requests: Sequence[Request], *, on_progress: Progress = no_progress
    ) -> list[Completion]:
        """One completion per request, greedily decoded.

        Raises BackendError and its kinds; Cancelled when on_progress does.
        """

    @abstractmethod
    def score(self, requests: Sequence[ScoreRequest], *, on_progress: Progress = no_progress) -> list[Scores]:
        """The log-likelihood of each candidate of each request.

        Raises BackendRejected when the model behind it gives no probabilities; otherwise as generate.
        """

    def close(self) -> None:  # noqa: B027  (nothing to give back by default)
        """Give back memory, connections and threads."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
