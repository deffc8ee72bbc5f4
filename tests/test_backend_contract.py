"""What every backend promises, for every backend. A new one is a line in BACKENDS."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
from openai_server import MAX_PIXELS, serving
from tarsier2_kit import clip, settings

from tarsier_tools.backends import Backend, open_backend
from tarsier_tools.backends.remote import RemoteBackend
from tarsier_tools.backends.scripted import ScriptedBackend
from tarsier_tools.config import Settings
from tarsier_tools.errors import Cancelled
from tarsier_tools.types import Request, ScoreRequest

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])

PLENTY = 50


class OverLoopback(RemoteBackend):
    """A remote backend with its server, which ends with it."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        server = self._stack.enter_context(serving())
        super().__init__(Settings(base_url=server.url, server_max_pixels=MAX_PIXELS))

    def close(self) -> None:
        super().close()
        self._stack.close()


BACKENDS: dict[str, Callable[[], Backend]] = {
    "scripted": lambda: ScriptedBackend(["a reply"] * PLENTY, [(-1.0, -2.0)] * PLENTY),
    "local": lambda: open_backend(settings()),
    "remote": OverLoopback,
}

ASKED = [
    Request(clip(4, seed=1), "What moves?", max_new_tokens=4),
    Request(clip(2, 56, 56, seed=2), "Why?", max_new_tokens=2),
    Request(clip(4, seed=1), "Describe the video in detail.", max_new_tokens=3),
]
SCORED = [ScoreRequest(request.clip, request.prompt, ("Yes", "No")) for request in ASKED]


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> Iterator[Backend]:
    with BACKENDS[request.param]() as opened:
        yield opened


def test_it_says_which_model_answers(backend: Backend) -> None:
    assert backend.info.name
    assert backend.info.backend in {"tiny", "local", "remote", "scripted"}


def test_every_request_gets_one_completion_in_order(backend: Backend) -> None:
    completions = backend.generate(ASKED)
    assert len(completions) == len(ASKED)
    for request, completion in zip(ASKED, completions, strict=True):
        assert completion.finish_reason in {"stop", "length"}
        assert len(completion.token_ids) == len(completion.logprobs) <= request.max_new_tokens
        assert all(value <= 0 for value in completion.logprobs)
        assert "<|" not in completion.text
        assert completion.usage.prompt_tokens > completion.usage.vision_tokens >= len(request.clip)
        assert completion.usage.cached_tokens <= completion.usage.prompt_tokens


def test_the_order_of_the_requests_is_the_order_of_the_answers(backend: Backend) -> None:
    forward = [completion.text for completion in backend.generate(ASKED)]
    backward = [completion.text for completion in backend.generate(ASKED[::-1])]
    assert forward == backward[::-1]


def test_every_candidate_gets_one_score_in_order(backend: Backend) -> None:
    results = backend.score(SCORED)
    assert len(results) == len(SCORED)
    for request, result in zip(SCORED, results, strict=True):
        assert len(result.logprobs) == len(result.token_counts) == len(request.candidates)
        assert all(value <= 0 for value in result.logprobs)
        assert all(count >= 1 for count in result.token_counts)


def test_no_requests_are_no_answers(backend: Backend) -> None:
    assert backend.generate([]) == []
    assert backend.score([]) == []


@pytest.mark.parametrize("work", ["generate", "score"])
def test_progress_never_falls_and_never_passes_its_total(work: str, backend: Backend) -> None:
    seen: list[tuple[int, int, str]] = []
    getattr(backend, work)(
        ASKED if work == "generate" else SCORED, on_progress=lambda *step: seen.append(step)
    )
    assert seen
    assert [done for done, _, _ in seen] == sorted(done for done, _, _ in seen)
    assert all(0 <= done <= total and message for done, total, message in seen)


@pytest.mark.parametrize("work", ["generate", "score"])
def test_cancelled_comes_through_and_the_backend_still_works(work: str, backend: Backend) -> None:
    def stop(done: int, total: int, message: str) -> None:
        raise Cancelled("The caller asked to stop.")

    requests = ASKED if work == "generate" else SCORED
    with pytest.raises(Cancelled):
        getattr(backend, work)(requests, on_progress=stop)
    assert len(getattr(backend, work)(requests)) == len(requests)


def test_an_error_of_the_callback_comes_through_as_it_is(backend: Backend) -> None:
    def fail(done: int, total: int, message: str) -> None:
        raise RuntimeError("the caller's own")

    with pytest.raises(RuntimeError, match="the caller's own"):
        backend.generate(ASKED, on_progress=fail)


def test_several_threads_may_ask_at_once(backend: Backend) -> None:
    expected = [completion.text for completion in backend.generate(ASKED)]
    with ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(lambda _: [c.text for c in backend.generate(ASKED)], range(6)))
    assert answers == [expected] * 6


def test_closing_twice_is_closing_once(backend: Backend) -> None:
    backend.close()
    backend.close()
