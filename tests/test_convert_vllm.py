"""A converted checkpoint in the real vLLM says what the source says here: tokens and their probabilities."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from tarsier2_kit import CHECKPOINT, settings
from vllm_kit import VllmServer, serve

from tarsier_tools import prompts
from tarsier_tools.backends import TINY_FOLDER
from tarsier_tools.backends.tarsier2 import Tarsier2Backend
from tarsier_tools.backends.tarsier2.convert import convert
from tarsier_tools.selfcheck.world import random_scene
from tarsier_tools.types import Clip, Completion, Request

pytestmark = [pytest.mark.vllm, pytest.mark.allow_hosts(["127.0.0.1"])]

TOLERANCE = 1e-3
TOKENS = 24


@pytest.fixture(scope="module", params=[CHECKPOINT, TINY_FOLDER], ids=["golden", "bundled"])
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    source: Path = request.param
    folder = tmp_path_factory.mktemp("vllm")
    plain = convert(str(source), folder / "plain").folder
    with (
        serve(plain, folder / "vllm.log") as server,
        Tarsier2Backend(source, settings(model=str(source))) as backend,
    ):
        yield Served(server, backend)


class Served:
    """One checkpoint twice: here as it was, and converted behind a server."""

    def __init__(self, server: VllmServer, backend: Tarsier2Backend) -> None:
        self.server, self.backend = server, backend

    def both(self, clip: Clip, prompt: str) -> tuple[Completion, dict[str, Any]]:
        (here,) = self.backend.generate([Request(clip, prompt, max_new_tokens=TOKENS)])
        grid = self.backend._rules.grid(clip)
        frames = [picture(frame) for frame in self.backend._rules.resized(clip, grid)]
        video = "data:video/jpeg;base64," + ",".join(each for frame in frames for each in (frame, frame))
        reply = httpx.post(
            f"{self.server.base_url}/chat/completions",
            headers={"Authorization": f"Bearer {self.server.key}"},
            json={
                "model": self.server.model,
                "messages": [
                    {
                        "role": "user",
                        "content": [
                            {"type": "video_url", "video_url": {"url": video}},
                            {"type": "text", "text": prompt},
                        ],
                    }
                ],
                "temperature": 0,
                "max_tokens": TOKENS,
                "logprobs": True,
                "return_token_ids": True,
            },
            timeout=600,
        )
        return here, reply.raise_for_status().json()


def picture(frame: np.ndarray) -> str:
    """A frame without loss, in base64."""
    data = io.BytesIO()
    Image.fromarray(frame).save(data, "PNG")
    return base64.b64encode(data.getvalue()).decode()


def shapes_clip(frames: int, size: tuple[int, int]) -> Clip:
    scene = random_scene(np.random.default_rng(7), duration_s=8.0, n_events=2, n_idle=1)
    times = np.linspace(0, 7.9, frames)
    images = tuple(scene.render(times, size))
    return Clip(images, tuple(range(frames)), tuple(map(float, times)), f"{frames} frames of {size}")


@pytest.mark.parametrize("frames", [3, 16, 20])  # 20 are 40 pictures; a server left to itself takes 32
@pytest.mark.parametrize("size", [(84, 84), (112, 56)])
def test_the_server_sees_and_says_the_same(served: Served, frames: int, size: tuple[int, int]) -> None:
    clip = shapes_clip(frames, size)
    for prompt in (prompts.caption(), "What is moving?"):
        here, there = served.both(clip, prompt)
        choice = there["choices"][0]
        assert there["usage"]["prompt_tokens"] == here.usage.prompt_tokens
        assert tuple(choice["token_ids"]) == here.token_ids
        logprobs = [token["logprob"] for token in choice["logprobs"]["content"]]
        assert logprobs == pytest.approx(here.logprobs, abs=TOLERANCE)
        assert choice["finish_reason"] == here.finish_reason


def test_a_question_without_a_video_is_put_in_the_same_chat_form(served: Served) -> None:
    """The template's other branch: content that is a plain string."""
    answers = []
    for content in ("Why?", [{"type": "text", "text": "Why?"}]):
        reply = httpx.post(
            served.server.base_url.removesuffix("/v1") + "/tokenize",
            headers={"Authorization": f"Bearer {served.server.key}"},
            json={"model": served.server.model, "messages": [{"role": "user", "content": content}]},
            timeout=300,
        )
        answers.append(reply.raise_for_status().json()["tokens"])
    form = served.backend._form
    vision = form.prefix_ids(0)[-2:]
    expected = [*form.head[:-1], *form.suffix_ids("Why?")]
    assert vision[0] == form.head[-1]
    # The role's line end and the question are one stretch of text here, and were two around the video.
    assert answers[0] == answers[1]
    assert served.backend._codec.decode(answers[0]) == served.backend._codec.decode(expected)
