"""The tests' server is held against answers recorded from vLLM 0.32, so that it cannot drift into fiction."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from openai_server import KEY, Behaviour, serving
from record_vllm import CASES, RECORDED, WRONG_KEY, ask_all, walk

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])

REAL = json.loads(RECORDED.read_text("utf-8"))


@pytest.fixture(scope="module")
def double() -> Iterator[dict[str, Any]]:
    with serving(Behaviour(key=KEY)) as server:
        yield ask_all(server.url.removesuffix("/v1"), KEY)


def kinds(answer: dict[str, Any]) -> dict[str, set[str]]:
    """Every path in a document and the JSON types found there."""
    found: dict[str, set[str]] = {}
    walk(answer, lambda path, value: found.setdefault(path, set()).add(type(value).__name__))
    return found


@pytest.mark.parametrize("case", [*CASES, WRONG_KEY])
def test_it_answers_in_the_shapes_of_the_real_one(case: str, double: dict[str, Any]) -> None:
    assert double[case]["status"] == REAL[case]["status"]
    real = kinds(REAL[case])
    for path, types in kinds(double[case]).items():
        assert path in real, path
        assert types - {"NoneType"} <= real[path], path


def test_it_counts_and_cuts_tokens_like_the_real_one(double: dict[str, Any]) -> None:
    for case in ("tokens of a conversation", "tokens of a text"):
        assert double[case]["body"]["tokens"] == REAL[case]["body"]["tokens"]
    whole, real = double["a whole reply"]["body"], REAL["a whole reply"]["body"]
    assert whole["usage"]["prompt_tokens"] == real["usage"]["prompt_tokens"]
    assert len(whole["prompt_logprobs"]) == len(real["prompt_logprobs"])


def test_it_gives_the_tokens_that_are_named_and_the_one_taken(double: dict[str, Any]) -> None:
    for answers in (double, REAL):
        (token,) = answers["named next tokens"]["body"]["choices"][0]["logprobs"]["content"]
        assert token["top_logprobs"][0]["token"] == token["token"]
        assert len(token["top_logprobs"]) == 4


@pytest.mark.parametrize("case", ["an unknown name", "an unknown model", WRONG_KEY])
def test_it_refuses_in_the_words_of_the_real_one(case: str, double: dict[str, Any]) -> None:
    assert str(double[case]["body"])[:60] == str(REAL[case]["body"])[:60]


def test_a_stream_has_the_same_events(double: dict[str, Any]) -> None:
    ours, real = double["a stream"]["events"], REAL["a stream"]["events"]
    assert len(ours) == len(real)
    for event, other in zip(ours, real, strict=True):
        assert len(event["choices"]) == len(other["choices"])
        assert ("usage" in event) == bool(other.get("usage"))
