"""The bundled model answers films that it never saw, as files, through the service.

The bars are far below the training report's figures, and far above chance: a broken input recipe, an
untrained checkpoint or a wrong chat form falls below them, a little luck does not.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tarsier_tools import Settings, VideoService, prompts
from tarsier_tools.media.writer import write_mp4
from tarsier_tools.selfcheck import language as words
from tarsier_tools.selfcheck.scoring import events_in_common, overlap
from tarsier_tools.selfcheck.world import Scene, random_scene

FILMS = 10
FPS = 16


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Path, Scene]]:
    folder = tmp_path_factory.mktemp("films")
    made = []
    for number in range(FILMS):
        rng = np.random.default_rng((4711, number))
        scene = random_scene(rng, duration_s=8.0, n_events=1 + number % 3)
        path = folder / f"{number}.mp4"
        times_s = np.arange(round(scene.duration_s * FPS)) / FPS
        write_mp4(path, scene.render(times_s, (252, 252)), FPS, (252, 252))
        made.append((path, scene))
    return made


@pytest.fixture(scope="module")
def service() -> Iterator[VideoService]:
    with VideoService(Settings(backend="tiny")) as opened:
        yield opened


@pytest.mark.parametrize("language", words.LANGUAGES)
def test_captions_tell_what_happens(language, films, service) -> None:
    told = right = happened = 0
    for path, scene in films:
        true = [event.fact for event in scene.events]
        read = words.parse_caption(service.caption(path, language=language).text)
        told, happened = told + len(read), happened + len(true)
        right += events_in_common(read, true)
    assert right / happened >= 0.7
    assert right / told >= 0.7


def test_questions_are_answered_by_yes_where_the_event_happens_and_by_no_where_it_does_not(
    films, service
) -> None:
    right = asked = 0
    for number, (path, scene) in enumerate(films):
        truth, rng = scene.truth(), np.random.default_rng(number)
        true = truth.events[0].fact
        for fact, answer in ((true, "Yes"), (words.hard_negative(true, truth, rng), "No")):
            question = prompts.happens(words.event_phrase(fact))
            right += service.ask(path, question, yes_no=True).text == answer
            asked += 1
    assert right / asked >= 0.7  # chance is one half


def test_choices_find_the_action(films, service) -> None:
    right = asked = 0
    for number, (path, scene) in enumerate(films):
        for question in words.choice_questions(scene.truth(), np.random.default_rng(number)):
            reply = service.ask(path, question.text, choices=question.options)
            right += reply.text == question.answer
            asked += 1
    assert right / asked >= 0.5  # chance is one in four


def test_events_are_located(films, service) -> None:
    overlaps = []
    for path, scene in films:
        event = scene.events[0]
        found = service.locate(path, words.event_phrase(event.fact))
        overlaps.append(
            max(
                (overlap((s.start_s, s.end_s), (event.start_s, event.end_s)) for s in found.segments),
                default=0.0,
            )
        )
    assert float(np.mean(overlaps)) >= 0.4  # the middle half of a film would have about 0.25
