"""The demo: its film, its commands, and that right and wrong are told apart."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from tarsier_tools import demo
from tarsier_tools.backends.scripted import ScriptedBackend
from tarsier_tools.config import Settings
from tarsier_tools.selfcheck import language
from tarsier_tools.selfcheck.world import Scene
from tarsier_tools.service import VideoService
from tarsier_tools.types import Abilities

CLEVER = Abilities(languages=("en", "zh-Hans"), yes_no=True, choices=True, frames=True, dense=True)
SHOWN_S = [round(index * 199 / 15) / demo.FPS for index in range(16)]


def prepared(seed: int, folder: Path) -> tuple[Scene, list[demo.Step]]:
    return demo.prepare(seed, folder / "clip.mp4", folder / "frames")


def shares(right: int, count: int) -> tuple[float, ...]:
    return tuple(math.log(0.9 if index == right else 0.1 / (count - 1)) for index in range(count))


def likeliest(step: demo.Step, options: list[str], *, right: bool) -> tuple[float, ...]:
    """Log-likelihoods that make the expected option the likeliest one, or another."""
    truth = options.index(step.expected[0].truth)
    return shares(truth if right else (truth + 1) % len(options), len(options))


def offered(step: demo.Step) -> list[str]:
    words = list(step.arguments)
    return [words[index + 1] for index, word in enumerate(words) if word == "--choice"]


def knows_everything(scene: Scene, plan: list[demo.Step]) -> ScriptedBackend:
    """A model that answers every question of the plan as it should."""
    english, chinese, opened, yes_no, choice, place, _ = plan[:7]
    captions = [expected.truth for expected in (*english.expected, *chinese.expected)]
    answers = [expected.truth.partition("? ")[2] for expected in opened.expected]
    event = next(e for e in scene.events if language.event_phrase(e.fact) == place.arguments[2])
    closer = "I cannot tell."
    spans = [language.span_text(language.frame_span(event, SHOWN_S)), closer, "<frame: 1-2>"]
    scores = [
        likeliest(yes_no, ["Yes", "No"], right=True),
        likeliest(choice, offered(choice), right=True),
        shares(0, 2),
        shares(1, 2),
    ]
    return ScriptedBackend([*captions, *answers, *spans], scores, abilities=CLEVER)


def knows_nothing(scene: Scene, plan: list[demo.Step]) -> ScriptedBackend:
    """A model that is wrong each time: the order of events, the answers, the place in time, what happens."""
    backwards = [event.fact for event in reversed(scene.events)]
    captions = [language.caption(backwards, "en"), language.caption(backwards, "zh-Hans")]
    scores = [
        likeliest(plan[3], ["Yes", "No"], right=False),
        likeliest(plan[4], offered(plan[4]), right=False),
        shares(0, 2),
        shares(0, 2),
    ]
    replies = [*captions, "It sleeps.", "The moon rises.", "<frame: 1-1>", "", "<frame: 1-16>", "", ""]
    return ScriptedBackend(replies, scores, abilities=CLEVER)


Model = Callable[[Scene, list[demo.Step]], ScriptedBackend]


@pytest.mark.parametrize(
    ("model", "right"), [(knows_everything, 8), (knows_nothing, 0)], ids=["all right", "all wrong"]
)
def test_what_the_model_says_is_judged_by_the_truth(
    model: Model, right: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    backend = model(*prepared(1, tmp_path))
    assert demo.run(1, tmp_path, lambda settings: VideoService(settings, backend)) == 0
    output = capsys.readouterr().out
    assert f"{right} of 8 answers are right" in output
    verdicts = re.findall(r"^(right|wrong)     the truth: ", output, re.MULTILINE)
    assert verdicts == ["right" if right else "wrong"] * 8


def test_one_service_answers_and_the_film_and_the_pictures_are_left_behind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new" / "demo"
    opened: list[Settings] = []

    def open_service(settings: Settings) -> VideoService:
        opened.append(settings)
        return VideoService(settings, knows_everything(*prepared(3, out)))

    assert demo.run(3, out, open_service) == 0
    assert len(opened) == 1
    assert (out / "frames" / "sheet.jpg").is_file()
    assert len(list((out / "frames").glob("frame_*.jpg"))) == 16
    with VideoService() as videos:
        info = videos.info(out / "clip.mp4")
    assert (info.width, info.height, info.duration_s) == (*demo.SIZE, pytest.approx(demo.DURATION_S))
    typed = re.findall(r"^\$ tarsier-tools (.+)$", capsys.readouterr().out, re.MULTILINE)
    assert [tuple(shlex.split(line)) for line in typed] == [step.arguments for step in prepared(3, out)[1]]


def test_a_seed_names_a_film_and_its_questions(tmp_path: Path) -> None:
    def commands(seed: int) -> list[tuple[str, ...]]:
        return [step.arguments for step in prepared(seed, tmp_path)[1]]

    assert commands(5) == commands(5)
    assert commands(5) != commands(6)


@pytest.mark.parametrize("seed", range(40))
def test_every_seed_has_a_film_to_ask_about(seed: int, tmp_path: Path) -> None:
    scene, plan = prepared(seed, tmp_path)
    assert scene.truth().clear
    assert [step.arguments[0] for step in plan] == ["caption"] * 2 + ["ask"] * 3 + ["locate"] * 2 + ["frames"]
    assert [len(step.expected) for step in plan] == [1, 1, 2, 1, 1, 1, 1, 0]
    assert plan[4].arguments.count(plan[4].expected[0].truth) == 1  # one of the choices, and only one
    assert plan[5].arguments[2] != plan[6].arguments[2]


def test_the_bundled_model_is_named_where_the_environment_would_take_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not any("--backend" in step.arguments for step in prepared(7, tmp_path)[1])
    monkeypatch.setenv("TARSIER_MODEL", "org/name")
    asking = prepared(7, tmp_path)[1][:-1]
    assert all(step.arguments[-2:] == ("--backend", "tiny") for step in asking)


def test_a_command_that_fails_ends_the_demo_with_its_code(tmp_path: Path) -> None:
    nothing_left = ScriptedBackend(abilities=CLEVER)
    assert demo.run(8, tmp_path, lambda settings: VideoService(settings, nothing_left)) == 4


def test_a_folder_that_cannot_be_made_is_told_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert demo.main(["--seed", "1", "--out", str(tmp_path / "file")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("Error: ")
    assert "Hint: Give another folder with --out." in error


def test_the_bundled_model_goes_through_the_whole_demo(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TARSIER_MAX_NEW_TOKENS", "40")  # more than any right answer needs
    assert demo.main(["--seed", "11", "--out", str(tmp_path)]) == 0
    output = capsys.readouterr().out
    assert re.search(r"\d of 8 answers are right", output)
    assert output.count("tarsier2-tiny (tiny, ") == 8
    assert "no model is set, so the bundled one answers" in output
