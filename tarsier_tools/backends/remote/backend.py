"""The backend: requests in, conversations with a server, completions and scores out."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

from tarsier_tools.backends.base import Backend
from tarsier_tools.backends.remote.address import Address, parse_address
from tarsier_tools.backends.remote.capabilities import Capabilities, detect, list_models
from tarsier_tools.backends.remote.client import Client, Patience
from tarsier_tools.backends.remote.loop import Loop, Step
from tarsier_tools.backends.remote.pictures import Encoding
from tarsier_tools.backends.remote.replies import ServedModel
from tarsier_tools.backends.remote.scoring import score
from tarsier_tools.backends.remote.server import Server
from tarsier_tools.backends.remote.tasks import Memo, together
from tarsier_tools.config import Settings
from tarsier_tools.errors import BackendUnavailable, UsageError
from tarsier_tools.types import (
    Abilities,
    Completion,
    ModelInfo,
    Progress,
    Request,
    ScoreRequest,
    Scores,
    no_progress,
)

LOOK_UP = Patience(connect_s=3, silence_s=10, total_s=10, retries=0)
"""For a look at what a server offers: somebody waits for it who has asked for nothing of the model."""

_T = TypeVar("_T")


class RemoteBackend(Backend):
    """A model on a server that speaks the OpenAI API: vLLM best, others as far as they go.

    Nothing is asked of the server before the first call; then it is probed once, see
    :mod:`~tarsier_tools.backends.remote.capabilities`, and again after it was out of reach.

    Args:
        settings: base_url, api_key, model, connect_timeout_s, read_timeout_s, request_timeout_s, retries,
            concurrency, picture_format, jpeg_quality and server_max_pixels are used.

    Raises UsageError for a base URL that is none.
    """

    def __init__(self, settings: Settings) -> None:
        self._address = _address(settings)
        self._key = _key(settings)
        self._model = settings.model
        self._patience = Patience(
            connect_s=settings.connect_timeout_s,
            silence_s=settings.read_timeout_s,
            total_s=settings.request_timeout_s,
            retries=settings.retries,
        )
        self._encoding = Encoding(settings.picture_format, settings.jpeg_quality, settings.server_max_pixels)
        self._concurrency = settings.concurrency
        self._loop = Loop()
        self._closed = False
        self._client: Client | None = None  # these three are touched in the loop's thread only
        self._server: Memo[Server] = Memo(1)
        self._info: ModelInfo | None = None

    @property
    def info(self) -> ModelInfo:
        """Which model answers; asks the server the first time. Raises BackendError."""
        if self._info is None:
            self.capabilities()
        assert self._info is not None
        return self._info

    def capabilities(self) -> Capabilities:
        """What the server can do; asks it when that is not known. Raises BackendError."""

        async def read(server: Server, _: Callable[[Step], None]) -> Capabilities:
            return server.capabilities

        return self._run(read, (0, 1, "asking the server"), no_progress)

    def generate(
        self, requests: Sequence[Request], *, on_progress: Progress = no_progress
    ) -> list[Completion]:
        """One completion per request, greedily decoded and streamed; ``concurrency`` of them at once.

        Raises BackendError and its kinds; the first failure ends the others. Cancelled and other errors of
        on_progress close the connections, so that the server stops working.
        """
        for request in requests:
            if request.max_new_tokens < 1:
                raise UsageError(f"max_new_tokens must be at least 1, got {request.max_new_tokens}.")
        if not requests:
            return []
        steps = _Steps([1 + request.max_new_tokens for request in requests], "answering")

        async def work(server: Server, tell: Callable[[Step], None]) -> list[Completion]:
            async def one(index: int) -> Completion:
                completion = await server.generate(
                    requests[index], lambda tokens: tell(steps.reached(index, 1 + tokens))
                )
                tell(steps.finished(index))
                return completion

            return await together([one(index) for index in range(len(requests))])

        return self._run(work, (0, steps.total, "sending"), on_progress)

    def score(self, requests: Sequence[ScoreRequest], *, on_progress: Progress = no_progress) -> list[Scores]:
        """The log-likelihood of each candidate of each request; errors as :meth:`generate`.

        Raises BackendRejected when the server gives no such probabilities; see ``info.scoring``.
        """
        for request in requests:
            if not request.candidates or not all(request.candidates):
                raise UsageError("At least one candidate is needed, and none may be empty.")
        if not requests:
            return []
        steps = _Steps([1] * len(requests), "scoring")

        async def work(server: Server, tell: Callable[[Step], None]) -> list[Scores]:
            async def one(index: int) -> Scores:
                scores = await score(server, requests[index])
                tell(steps.finished(index))
                return scores

            return await together([one(index) for index in range(len(requests))])

        return self._run(work, (0, steps.total, "sending"), on_progress)

    def close(self) -> None:
        self._closed = True
        self._loop.close(self._hang_up)

    def __repr__(self) -> str:
        return f"RemoteBackend({self._address.api})"

    # ------------------------------------------------------------ in the loop's thread

    def _run(
        self,
        work: Callable[[Server, Callable[[Step], None]], Coroutine[Any, Any, _T]],
        first: Step,
        on_progress: Progress,
    ) -> _T:
        if self._closed:
            raise BackendUnavailable("The backend is closed.", hint="Open it again.")

        async def whole(tell: Callable[[Step], None]) -> _T:
            try:
                return await work(await self._server.get("server", self._meet), tell)
            except BackendUnavailable:
                self._server.clear()  # it may come back as another one
                raise

        return self._loop.run(whole, on_progress, first)

    async def _meet(self) -> Server:
        if self._client is None:
            self._client = Client(self._address, self._key, self._patience)
        found = await detect(self._client, self._model, self._encoding)
        self._info = ModelInfo(
            name=found.model,
            backend="remote",
            context_tokens=found.context_tokens,
            abilities=Abilities(note=found.note),
            scoring=found.scoring,
        )
        return Server(self._client, found, self._encoding, self._concurrency)

    async def _hang_up(self) -> None:
        if self._client is not None:
            await self._client.close()


def served_models(settings: Settings) -> list[ServedModel]:
    """What the server of ``settings.base_url`` offers, from one request; nothing is asked of a model.

    Raises UsageError for a base URL that is none, BackendError and its kinds within ten seconds.
    """
    loop = Loop()
    client: Client | None = None

    async def ask(_: Callable[[Step], None]) -> list[ServedModel]:
        nonlocal client
        client = Client(_address(settings), _key(settings), LOOK_UP)
        return await list_models(client)

    async def hang_up() -> None:
        if client is not None:
            await client.close()

    try:
        return loop.run(ask, no_progress, (0, 1, "asking the server"))
    finally:
        loop.close(hang_up)


def _address(settings: Settings) -> Address:
    if settings.base_url is None:
        raise UsageError(
            "The remote backend needs the address of a server.",
            hint="Set TARSIER_BASE_URL to something like http://127.0.0.1:8000/v1.",
        )
    return parse_address(settings.base_url)


def _key(settings: Settings) -> str:
    return settings.api_key.get_secret_value() if settings.api_key else ""


class _Steps:
    """How far several requests have come, as one number that never falls."""

    def __init__(self, sizes: Sequence[int], message: str) -> None:
        self._sizes, self._message = list(sizes), message
        self._done = [0] * len(sizes)
        self.total = sum(sizes)

    def reached(self, index: int, done: int) -> Step:
        self._done[index] = max(self._done[index], min(done, self._sizes[index]))
        return sum(self._done), self.total, self._message

    def finished(self, index: int) -> Step:
        return self.reached(index, self._sizes[index])
