"""Locating with the bundled model in a film of a minute: bars far below what benchmarks/RESULTS.md says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tarsier_tools import Settings, VideoService
from tarsier_tools.media.writer import write_mp4
from tarsier_tools.selfcheck import language
from tarsier_tools.selfcheck.scoring import overlap
from tarsier_tools.selfcheck.world import Scene, random_scene

EVENTS = 6


@pytest.fixture(scope="module")
def videos() -> Iterator[VideoService]:
    with VideoService(Settings(backend="tiny", device="cpu")) as service:
        yield service


@pytest.fixture(scope="module")
def minute(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Scene]:
    scene = random_scene(np.random.default_rng(60), duration_s=60, n_events=EVENTS)
    path = tmp_path_factory.mktemp("minute") / "minute.mp4"
    write_mp4(path, scene.render(np.arange(0, 60, 1 / 8), (168, 168)), fps=8)
    return path, scene


def test_events_in_a_minute_are_found_where_they_happen_and_others_are_not(
    videos: VideoService, minute: tuple[Path, Scene]
) -> None:
    path, scene = minute
    facts = list(dict.fromkeys(event.fact for event in scene.events))
    rng = np.random.default_rng(1)
    absent = [language.hard_negative(fact, scene.truth(), rng) for fact in facts[:3]]
    results = videos.locate(path, [language.event_phrase(fact) for fact in (*facts, *absent)])
    there, not_there = results[: len(facts)], results[len(facts) :]
    shares = [
        max(
            (overlap((one.start_s, one.end_s), (event.start_s, event.end_s)) for one in result.segments),
            default=0.0,
        )
        for fact, result in zip(facts, there, strict=True)
        for event in scene.events
        if event.fact == fact
    ]
    assert sum(share > 0.4 for share in shares) >= EVENTS - 2
    assert sum(result.found for result in not_there) <= 1
    assert all(len(result.curve) == 9 for result in results)
    assert min(result.best_confidence or 0 for result in there) < 1
    surest = [result.best_confidence for result in (*there, *not_there)]
    assert np.mean(surest[: len(facts)]) > np.mean(surest[len(facts) :]) + 0.4  # type: ignore[arg-type]


def test_ten_events_are_scored_on_one_look_at_each_window(
    videos: VideoService, minute: tuple[Path, Scene]
) -> None:
    path, _ = minute
    words = [f"the {color} circle grows" for color in ("red", "blue", "green", "white", "yellow")]
    one = videos.locate(path, words[:1], method="yes_no", threshold=1.0, window_s=11)[0].usage
    five = videos.locate(path, words, method="yes_no", threshold=1.0, window_s=10)[0].usage
    assert one.cached_tokens == 0  # each window was new to the model
    assert five.cached_tokens / five.prompt_tokens > 0.5  # four of the five found theirs looked at


def test_the_methods_agree_on_an_event_that_happens_once(
    videos: VideoService, minute: tuple[Path, Scene]
) -> None:
    path, scene = minute
    facts = [event.fact for event in scene.events]
    event = next(event for event in scene.events if facts.count(event.fact) == 1)
    for method in ("frames", "yes_no"):
        found = videos.locate(path, language.event_phrase(event.fact), method=method)  # type: ignore[call-overload]
        assert found.method == method
        assert any(one.start_s < event.end_s and one.end_s > event.start_s for one in found.segments)
