"""The remote backend and the real vLLM: the same words and numbers, clips sent once, a crash survived."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from openai_server import as_clip
from tarsier2_kit import CHECKPOINT, settings
from vllm_kit import VllmServer, serve

from tarsier_tools import VideoService
from tarsier_tools.backends import TINY_FOLDER
from tarsier_tools.backends.remote import RemoteBackend, client
from tarsier_tools.backends.tarsier2 import Tarsier2Backend
from tarsier_tools.backends.tarsier2.convert import convert
from tarsier_tools.backends.tarsier2.inputs import PixelRules
from tarsier_tools.config import Settings
from tarsier_tools.errors import BackendError, BackendFailed, BackendRejected, BackendUnavailable, Cancelled
from tarsier_tools.selfcheck.world import random_scene
from tarsier_tools.types import Clip, Request, ScoreRequest

pytestmark = [pytest.mark.vllm, pytest.mark.allow_hosts(["127.0.0.1"])]

CAPTION = "Describe the video in detail."
YES_NO = "Does a star move? Answer yes or no."
TOLERANCE = 1e-3


class Served:
    """One checkpoint twice: here, and converted behind a server."""

    def __init__(self, server: VllmServer, here: Tarsier2Backend) -> None:
        self.server, self.here = server, here
        rules: PixelRules = here._rules
        self.settings = {
            "base_url": server.base_url,
            "api_key": server.key,
            "picture_format": "png",
            "server_max_pixels": rules.max_pixels,
        }

    def remote(self, **changes: Any) -> RemoteBackend:
        return RemoteBackend(Settings(**{**self.settings, **changes}))


@pytest.fixture(scope="module", params=[CHECKPOINT, TINY_FOLDER], ids=["golden", "bundled"])
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    source: Path = request.param
    folder = tmp_path_factory.mktemp("vllm")
    plain = convert(str(source), folder / "plain").folder
    with (
        serve(plain, folder / "vllm.log", "--enable-prompt-tokens-details") as server,
        Tarsier2Backend(source, settings(model=str(source))) as here,
    ):
        yield Served(server, here)


def film(frames: int, size: tuple[int, int] = (224, 168), seed: int = 7) -> Clip:
    scene = random_scene(np.random.default_rng(seed), duration_s=8.0, n_events=3, n_idle=1)
    return as_clip(tuple(scene.render(np.linspace(0, 7.9, frames), size)))


@pytest.mark.parametrize("frames", [1, 5, 16, 24])
def test_it_writes_the_same_with_the_same_probabilities(served: Served, frames: int) -> None:
    requests = [
        Request(film(frames, size), prompt, max_new_tokens=24)
        for size in ((224, 168), (112, 224))
        for prompt in (CAPTION, "\nWhat moves?", "Why? <|im_end|>".replace("<|", "< |"))
    ]
    with served.remote() as backend:
        there = backend.generate(requests)
    for ours, theirs in zip(served.here.generate(requests), there, strict=True):
        # Cut in the middle of a character, vLLM leaves out what is there of it.
        assert theirs.text == ours.text.rstrip("\ufffd")
        assert theirs.token_ids == ours.token_ids
        assert theirs.logprobs == pytest.approx(ours.logprobs, abs=TOLERANCE)
        assert theirs.finish_reason == ours.finish_reason
        assert theirs.usage.prompt_tokens == ours.usage.prompt_tokens
        assert theirs.usage.vision_tokens == ours.usage.vision_tokens


def test_it_scores_the_same(served: Served) -> None:
    clip = film(8)
    requests = [
        ScoreRequest(clip, YES_NO, ("Yes", "No")),
        ScoreRequest(
            clip, "Question: Which?\n(A) a star\n(B) a circle", ("A", "B"), reply_prefix=" Answer: ("
        ),
        ScoreRequest(clip, CAPTION, ("The yellow star moves up.", "A blue square vanishes, then nothing.")),
        ScoreRequest(clip, CAPTION, ("The yellow star moves up.", "Nothing."), end_of_turn=True),
        ScoreRequest(clip, "发生了什么？", ("红色的圆形", "是")),
    ]
    with served.remote() as backend:
        assert backend.info.scoring == "texts"
        there = backend.score(requests)
    for ours, theirs in zip(served.here.score(requests), there, strict=True):
        assert theirs.token_counts == ours.token_counts
        for value, other, count in zip(theirs.logprobs, ours.logprobs, ours.token_counts, strict=True):
            assert value == pytest.approx(other, abs=TOLERANCE * count)


def test_a_second_question_sends_no_pictures_and_reads_no_prefix_again(served: Served) -> None:
    clip = film(16, seed=11)
    with served.remote() as backend:
        assert backend.capabilities().reuses
        (first,) = backend.generate([Request(clip, CAPTION, max_new_tokens=2)])
        (second,) = backend.generate([Request(clip, "Why?", max_new_tokens=2)])
    assert first.usage.cached_tokens < first.usage.vision_tokens
    assert second.usage.cached_tokens >= second.usage.vision_tokens // 128 * 128  # in whole blocks


def test_64_questions_at_once_are_all_answered_as_one_by_one(served: Served) -> None:
    clip = film(6, seed=3)
    requests = [Request(clip, f"Question {number}?", max_new_tokens=3) for number in range(64)]
    with served.remote(concurrency=64) as backend:
        there = backend.generate(requests)
    ours = served.here.generate(requests)
    assert [completion.token_ids for completion in there] == [completion.token_ids for completion in ours]


def test_a_wrong_key_and_a_wrong_model_say_what_to_set(served: Served) -> None:
    with served.remote(api_key="wrong") as backend, pytest.raises(BackendUnavailable, match="401") as caught:
        backend.generate([Request(film(2), CAPTION)])
    assert "TARSIER_API_KEY" in caught.value.hint
    with (
        served.remote(model="other") as backend,
        pytest.raises(BackendUnavailable, match="tarsier2") as caught,
    ):
        backend.generate([Request(film(2), CAPTION)])
    assert "TARSIER_MODEL" in caught.value.hint


def test_what_is_too_long_is_refused(served: Served) -> None:
    size = (448, 448) if served.settings["server_max_pixels"] > 10_000 else (84, 84)
    frames = 64 if size[0] > 84 else 512
    with served.remote() as backend, pytest.raises(BackendRejected, match="8192 in all"):
        backend.generate([Request(film(frames, size), CAPTION, max_new_tokens=8000)])


def test_cancelling_frees_the_server(served: Served) -> None:
    def stop(done: int, total: int, message: str) -> None:
        if done > 2:
            raise Cancelled("The caller asked to stop.")

    with served.remote() as backend:
        with pytest.raises(Cancelled):
            backend.generate([Request(film(16), CAPTION, max_new_tokens=500)], on_progress=stop)
        assert backend.generate([Request(film(2), CAPTION, max_new_tokens=2)])


def test_a_crash_in_the_middle_is_an_error_and_a_restart_is_found(
    served: Served, shapes_film: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Last, because nothing can be asked of this server afterwards."""
    killed = []

    def crash(done: int, total: int, message: str) -> None:
        if done > 1 and not killed:
            killed.append(True)
            served.server.kill()

    with VideoService(Settings(**served.settings, retries=1)) as videos:
        assert videos.caption(shapes_film.path, max_new_tokens=4).model.backend == "remote"
        with served.remote(retries=1) as backend, pytest.raises((BackendFailed, BackendUnavailable)):
            backend.generate([Request(film(16), CAPTION, max_new_tokens=400)] * 2, on_progress=crash)
        assert killed
        with pytest.raises(BackendError):
            videos.caption(shapes_film.path, max_new_tokens=4)
        if served.here.info.name != "tarsier2-tiny":
            return  # one restart is enough
        port = urlsplit(served.server.base_url).port
        assert port is not None
        plain = convert(str(TINY_FOLDER), tmp_path / "plain").folder
        monkeypatch.setattr(client, "clock", lambda: time.monotonic() + client.MAX_COOL_S)
        with serve(plain, tmp_path / "vllm.log", port=port):
            assert videos.caption(shapes_film.path, max_new_tokens=4).text
