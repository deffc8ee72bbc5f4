"""The bundled model refuses videos that are not drawn shapes; told to answer anyway, it warns first."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from corpus_other import generated
from mcp_kit import client, server, structured, text_of
from typer.testing import CliRunner

from tarsier_tools import NotUnderstood, Settings, VideoService, VideoTools, tool_text
from tarsier_tools.backends import TINY_FOLDER, open_backend
from tarsier_tools.backends.scripted import ScriptedBackend
from tarsier_tools.calibrating import Example
from tarsier_tools.cli.app import app
from tarsier_tools.library import VideoLibrary
from tarsier_tools.media.writer import write_mp4
from tarsier_tools.selfcheck.world import random_scene

CAUTION = (
    "This answer is made up: the bundled model tarsier2-tiny understands only films of drawn shapes, "
    "and this video is not one."
)

WAYS: dict[str, Callable[[VideoService, Path], Any]] = {
    "caption": lambda videos, path: videos.caption(path),
    "caption of a part": lambda videos, path: videos.caption(path, start_s=0.2, end_s=0.5),
    "events": lambda videos, path: videos.caption(path, detail="events"),
    "checked caption": lambda videos, path: videos.caption(path, verify=True),
    "question": lambda videos, path: videos.ask(path, "What happens?"),
    "yes or no": lambda videos, path: videos.ask(path, "Does a circle move?", yes_no=True),
    "choices": lambda videos, path: videos.ask(path, "What moves?", choices=["A circle", "A car"]),
    "locate": lambda videos, path: videos.locate(path, "the red circle moves left"),
    "locate by likelihood": lambda videos, path: videos.locate(path, "a car", method="likelihood"),
    "locate in windows": lambda videos, path: videos.locate(path, "a car", window_s=0.4),
    "timeline": lambda videos, path: videos.timeline(path, segmentation="windows"),
}


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clip of one second that is not a film of shapes."""
    path = tmp_path_factory.mktemp("other") / "other.mp4"
    write_mp4(path, generated("testsrc2=size=320x240:rate=10"), 10)
    return path


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VideoService]:
    cache_dir = tmp_path_factory.mktemp("cache")
    with VideoService(Settings(backend="tiny", device="cpu", cache_dir=cache_dir)) as opened:
        yield opened


@pytest.fixture(scope="module")
def careless(videos: VideoService) -> Iterator[VideoService]:
    """Told to answer anyway; it shares its folder with the other one."""
    settings = Settings(
        backend="tiny", device="cpu", cache_dir=videos.settings.cache_dir, anyway=True, max_new_tokens=12
    )
    with VideoService(settings) as opened:
        yield opened


@pytest.mark.parametrize("way", WAYS)
def test_the_bundled_model_refuses_another_video(way: str, videos: VideoService, other: Path) -> None:
    with pytest.raises(NotUnderstood, match="Any answer would be made up") as caught:
        WAYS[way](videos, other)
    for help_ in ("TARSIER_MODEL", "TARSIER_BASE_URL", "--anyway", "TARSIER_ANYWAY"):
        assert help_ in caught.value.hint


@pytest.mark.parametrize("way", WAYS)
def test_told_to_answer_anyway_it_says_first_that_it_is_made_up(
    way: str, careless: VideoService, other: Path
) -> None:
    result = WAYS[way](careless, other)
    assert result.caution.startswith(CAUTION)
    assert result.warnings[0] == result.caution


def test_what_an_agent_reads_begins_with_the_warning(careless: VideoService, other: Path) -> None:
    for lines in (
        tool_text.caption(careless.caption(other)),
        tool_text.answer(careless.ask(other, "What happens?")),
        tool_text.localizations([careless.locate(other, "a car moves")]),
        tool_text.timeline(careless.timeline(other, segmentation="windows")),
    ):
        told = list(lines)
        assert told[0].startswith(f"WARNING: {CAUTION}")
        assert not any(CAUTION in line for line in told[1:])


def test_the_tools_of_agents_refuse_with_the_way_to_a_real_model(videos: VideoService, other: Path) -> None:
    with pytest.raises(NotUnderstood, match="TARSIER_MODEL"):
        VideoTools(videos).caption_video(str(other))


def test_a_timeline_made_anyway_is_not_given_to_who_did_not_ask_for_it(
    videos: VideoService, careless: VideoService, other: Path
) -> None:
    careless.timeline(other, segmentation="windows", max_segment_s=0.5)
    again = careless.timeline(other, segmentation="windows", max_segment_s=0.5)
    assert again.resumed_segments == len(again.segments)
    assert again.caution.startswith(CAUTION)
    with pytest.raises(NotUnderstood):
        videos.timeline(other, segmentation="windows", max_segment_s=0.5, max_new_tokens=12)


def test_a_calibration_is_refused(videos: VideoService, other: Path) -> None:
    examples = [Example(video=str(other), event="a car moves", segments=())]
    with pytest.raises(NotUnderstood):
        videos.calibrate(examples, fitted_on="a test")


def test_a_library_notes_the_refusal_and_tries_again_the_next_time(
    videos: VideoService, other: Path, tmp_path: Path
) -> None:
    with VideoLibrary(tmp_path / "library", service=videos, embedder="none") as library:
        for _ in range(2):
            assert library.add(other).failed == (str(other),)
    model = ScriptedBackend(["A test card."])
    with (
        VideoService(videos.settings, model) as real,
        VideoLibrary(tmp_path / "library", service=real, embedder="none") as library,
    ):
        assert library.add(other).described == (str(other),)


def test_a_passage_made_anyway_carries_the_warning_into_every_index(
    careless: VideoService, other: Path, tmp_path: Path
) -> None:
    with VideoLibrary(tmp_path / "library", service=careless, embedder="none") as library:
        library.add(other)
        (hit,) = library.search("made up").hits
    assert hit.passage.text.startswith(CAUTION)


def test_a_copy_of_the_bundled_model_by_its_path_refuses_too(other: Path, tmp_path: Path) -> None:
    shutil.copytree(TINY_FOLDER, tmp_path / "mine")
    for model in (TINY_FOLDER, tmp_path / "mine"):
        with VideoService(Settings(model=str(model), device="cpu")) as service, pytest.raises(NotUnderstood):
            service.caption(other)


def test_a_checkpoint_that_does_not_say_it_knows_shapes_only_is_not_held_back(
    other: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "trained on more"
    shutil.copytree(TINY_FOLDER, folder)
    card = json.loads((folder / "tarsier.json").read_text("utf-8"))
    del card["knows"]
    (folder / "tarsier.json").write_text(json.dumps(card), "utf-8")
    with VideoService(Settings(model=str(folder), device="cpu", max_new_tokens=4)) as service:
        assert service.caption(other).caution == ""


def test_any_other_backend_is_not_held_back(other: Path) -> None:
    assert VideoService(backend=ScriptedBackend(["A test card."])).caption(other).text == "A test card."


def test_a_film_of_shapes_is_answered_without_a_warning(videos: VideoService, tmp_path: Path) -> None:
    scene = random_scene(np.random.default_rng(3), duration_s=3.0, n_events=1)
    path = tmp_path / "shapes.mp4"
    write_mp4(path, scene.render(np.arange(0, 3, 0.1), (224, 224)), 10, crf=35)
    for way in WAYS.values():
        assert way(videos, path).caution == ""


@pytest.mark.parametrize("anyway", [False, True])
async def test_over_mcp_it_refuses_unless_the_setting_says_otherwise(anyway: bool, other: Path) -> None:
    settings = Settings(backend="tiny", device="cpu", anyway=anyway, max_new_tokens=8)
    with open_backend(settings) as model, server(other.parent, model) as served:
        async with client(served, "legacy") as connected:
            result = await connected.call_tool("caption_video", {"video": other.name})
    assert result.is_error is not anyway
    if anyway:
        assert text_of(result).startswith(f"WARNING: {CAUTION}")
        assert structured(result)["result"]["caution"].startswith(CAUTION)
    else:
        assert "Set TARSIER_MODEL to a Tarsier2 checkpoint" in text_of(result)


class TestOnTheCommandLine:
    @pytest.mark.parametrize("command", [["caption"], ["ask"], ["locate"], ["timeline"]])
    def test_the_error_is_like_every_other_of_a_model(self, command: list[str], other: Path) -> None:
        words = {"ask": ["What happens?"], "locate": ["a car moves"]}.get(command[0], [])
        arguments = [*command, str(other), *words, "--backend", "tiny"]
        plain = CliRunner().invoke(app, arguments)
        assert plain.exit_code == 4
        assert plain.stderr.count("Error: ") == 1
        assert "Hint: Set TARSIER_MODEL" in plain.stderr
        told = CliRunner().invoke(app, [*arguments, "--json"])
        assert told.exit_code == 4
        error = json.loads(told.stdout)["error"]
        assert (error["type"], error["retryable"]) == ("NotUnderstood", False)

    def test_anyway_answers_below_the_warning(self, other: Path) -> None:
        result = CliRunner().invoke(
            app, ["caption", str(other), "--backend", "tiny", "--anyway", "--max-new-tokens", "8"]
        )
        assert result.exit_code == 0
        assert result.stdout.startswith(f"Warning: {CAUTION}")
        assert result.stdout.count(CAUTION) == 1

    def test_the_variable_does_the_same(self, other: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TARSIER_ANYWAY", "1")
        result = CliRunner().invoke(app, ["ask", str(other), "What happens?", "--backend", "tiny", "--json"])
        assert json.loads(result.stdout)["caution"].startswith(CAUTION)
