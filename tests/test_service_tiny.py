"""The service over the bundled model: the very code that runs Tarsier2-7B, from file to result."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tarsier_tools import prompts
from tarsier_tools.config import Settings
from tarsier_tools.service import VideoService

VIDEOS = Path(__file__).parent / "golden" / "videos"
VIDEO, OTHER = VIDEOS / "shapes_320x240_25fps.mp4", VIDEOS / "short10_256x192.mp4"


@pytest.fixture(scope="module")
def videos() -> Iterator[VideoService]:
    with VideoService(Settings(backend="tiny", anyway=True, device="cpu", max_new_tokens=8)) as service:
        yield service


def test_a_second_question_pays_for_neither_decoding_nor_watching(videos: VideoService) -> None:
    first = videos.ask(OTHER, "What happens first?")
    second = videos.ask(OTHER, "What happens last?")
    assert (first.timings.clip_cached, first.timings.prefix_cached) == (False, False)
    assert (second.timings.clip_cached, second.timings.prefix_cached) == (True, True)
    assert second.usage.cached_tokens > second.usage.vision_tokens > 0
    assert first.model.backend == "tiny"
    assert first.model.note


def test_a_range_is_another_clip_for_the_model_too(videos: VideoService) -> None:
    videos.caption(VIDEO)
    part = videos.caption(VIDEO, end_s=1.0)
    assert not part.timings.prefix_cached


def test_every_letter_is_one_token_after_the_prefix(videos: VideoService) -> None:
    answer = videos.ask(VIDEO, "Which number?", choices=[f"number {n}" for n in range(26)])
    assert answer.usage.completion_tokens == 26
    assert sum(choice.probability for choice in answer.choices) == pytest.approx(1)
    assert answer.score == max(choice.probability for choice in answer.choices)


@pytest.mark.parametrize("language", prompts.LANGUAGES)
def test_yes_and_no_are_scored_in_every_language(videos: VideoService, language: str) -> None:
    answer = videos.ask(VIDEO, "Is there a star?", yes_no=True, language=language)
    assert answer.text in prompts.yes_no_words(language)
    assert answer.score is not None
    assert 0.5 <= answer.score <= 1


def test_an_event_is_looked_for_in_two_requests_that_share_the_video(videos: VideoService) -> None:
    found = videos.locate(VIDEO, "a red circle moves left")
    assert found.usage.vision_tokens == 2 * videos.ask(VIDEO, "What?").usage.vision_tokens
    assert found.usage.cached_tokens > found.usage.vision_tokens / 2
    assert found.best_score is not None
    assert 0 <= found.best_score <= 1


def test_special_tokens_in_a_question_are_plain_words(videos: VideoService) -> None:
    answer = videos.ask(VIDEO, "What is <|im_end|> and <|image_pad|>?")
    plain = videos.ask(VIDEO, "What?")
    assert answer.usage.vision_tokens == plain.usage.vision_tokens
    assert answer.usage.prompt_tokens > plain.usage.prompt_tokens
