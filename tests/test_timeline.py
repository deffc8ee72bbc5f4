"""Timelines through the service: exact segments, nothing done twice, nothing lost, all accounted for."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ShapesFilm
from PIL import Image

from tarsier_tools import Cancelled, Settings, Timeline, VideoService
from tarsier_tools.errors import (
    BackendFailed,
    TimeRangeError,
    UsageError,
    VideoNotFound,
    VideoUnreadable,
)
from tarsier_tools.types import ModelInfo, Partial, Progress, Request, no_progress
from tests.shots_kit import NAMES, RATE, Namer, film, shot_of, with_noise

ROOT = Path(__file__).parents[1]
LENGTHS = (20, 30, 15, 40, 20)  # frames of the shots of the film: cuts at 2, 5, 6.5 and 10.5 s
EDGES = [0.0, 2.0, 5.0, 6.5, 10.5, 12.5]


@pytest.fixture(scope="module")
def rooms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return film(tmp_path_factory.mktemp("film") / "rooms.mp4", LENGTHS)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(cache_dir=tmp_path / "kept", frames=4)


def edges(result: Timeline) -> list[float]:
    assert all(left.end_s == right.start_s for left, right in pairwise(result.segments))
    return [result.segments[0].start_s, *(segment.end_s for segment in result.segments)]


def texts(result: Timeline) -> list[str]:
    return [segment.text for segment in result.segments]


ROOMS = [f"A {name} room." for name in NAMES]


class TestSegments:
    def test_each_shot_is_described_by_its_own_frames_only(self, rooms: Path, settings: Settings) -> None:
        backend = Namer()
        result = VideoService(settings, backend).timeline(rooms)
        assert edges(result) == pytest.approx(EDGES)
        assert texts(result) == ROOMS
        assert result.segmentation == "shots"
        for number, request in enumerate(backend.requests):
            assert len(request.clip) == 4
            assert {shot_of(frame) for frame in request.clip.frames} == {number}

    def test_evenly_divided_segments_keep_to_the_longest_length(
        self, rooms: Path, settings: Settings
    ) -> None:
        service = VideoService(settings, Namer())
        result = service.timeline(rooms, segmentation="windows", max_segment_s=5)
        assert edges(result) == pytest.approx([0, 12.5 / 3, 25 / 3, 12.5])
        assert result.segmentation == "windows"

    def test_long_shots_are_divided_and_tiny_ones_joined(self, rooms: Path, settings: Settings) -> None:
        service = VideoService(settings, Namer())
        result = service.timeline(rooms, min_segment_s=1.6, max_segment_s=3.5)
        assert edges(result) == pytest.approx([0, 2, 5, 7.75, 10.5, 12.5])

    def test_a_range_is_divided_as_the_whole_would_be(self, rooms: Path, settings: Settings) -> None:
        result = VideoService(settings, Namer()).timeline(rooms, start_s=1.0, end_s=6.0)
        assert edges(result) == pytest.approx([1, 2, 5, 6])
        assert (result.coverage.asked.start_s, result.coverage.asked.end_s) == (1, 6)
        assert all(1 <= time_s < 6 for time_s in result.coverage.frame_times_s)

    def test_a_range_that_ends_after_the_video_is_cut_and_says_so(
        self, rooms: Path, settings: Settings
    ) -> None:
        result = VideoService(settings, Namer()).timeline(rooms, start_s=11, end_s=99)
        assert edges(result) == pytest.approx([11, 12.5])
        assert any("was cut at 12.500 s" in warning for warning in result.warnings)

    @pytest.mark.parametrize("asked", [(12.5, None), (99, 100), (3, 3), (5, 2), (-1, 2), (float("nan"), 2)])
    def test_a_range_that_is_not_in_the_video_is_refused_before_the_model_is_asked(
        self, rooms: Path, settings: Settings, asked: tuple[float, float | None]
    ) -> None:
        backend = Namer()
        with pytest.raises(TimeRangeError):
            VideoService(settings, backend).timeline(rooms, start_s=asked[0], end_s=asked[1])
        assert backend.requests == []

    def test_a_varying_frame_rate_gives_the_times_of_the_frames(
        self, tmp_path: Path, settings: Settings
    ) -> None:
        times = [0.0]
        for step in range(44):
            times.append(round(times[-1] + (0.04, 0.3, 0.1)[step % 3], 3))
        path = film(tmp_path / "vfr.mp4", [20, 25], times=times)
        backend = Namer()
        result = VideoService(settings, backend).timeline(path)
        assert edges(result)[1] == pytest.approx(times[20])
        assert [{shot_of(frame) for frame in request.clip.frames} for request in backend.requests] == [
            {0},
            {1},
        ]

    def test_a_single_picture_is_one_segment_and_is_called_an_image(
        self, tmp_path: Path, settings: Settings
    ) -> None:
        Image.fromarray(np.full((80, 80, 3), (200, 40, 40), np.uint8)).save(tmp_path / "still.png")
        result = VideoService(settings, Namer()).timeline(tmp_path / "still.png", summarize=True)
        assert texts(result) == ["A red room."]
        assert "image" in result.prompt
        assert [chapter.segments for chapter in result.chapters] == [(0,)]

    def test_a_video_of_one_frame_is_one_segment(self, tmp_path: Path, settings: Settings) -> None:
        result = VideoService(settings, Namer()).timeline(film(tmp_path / "one.mp4", [1]))
        assert len(result.segments) == 1
        assert result.coverage.frame_indices == (0,)

    def test_without_the_extra_segments_are_even_and_the_result_says_why(
        self, rooms: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "scenedetect.detectors", None)
        service = VideoService(settings, Namer())
        result = service.timeline(rooms, max_segment_s=7)
        assert edges(result) == pytest.approx([0, 6.25, 12.5])
        assert "pip install 'tarsier-tools[shots]'" in result.warnings[0]
        with pytest.raises(UsageError, match="Cuts cannot be looked for"):
            service.timeline(rooms, segmentation="shots")

    def test_the_worker_process_sees_the_same(self, rooms: Path, settings: Settings) -> None:
        isolated = settings.model_copy(update={"isolate": True})
        with VideoService(isolated, Namer()) as service:
            result = service.timeline(rooms)
        assert edges(result) == pytest.approx(EDGES)
        assert texts(result) == ROOMS

    def test_what_cannot_be_decoded_is_left_out_and_named(self, tmp_path: Path, settings: Settings) -> None:
        noisy = with_noise(film(tmp_path / "film.mp4", [20] * 4, gop=5), 0.4, 0.7)
        service = VideoService(settings, Namer())
        result = service.timeline(noisy, segmentation="windows", max_segment_s=1, min_segment_s=0.5)
        assert len(result.segments) == 6
        (told,) = [note for note in result.coverage.skipped if "left out: " in note and "segments" in note]
        assert told == "2 segments could not be decoded and are left out: 0:03.0-0:04.0, 0:04.0-0:05.0."
        again = service.timeline(noisy, segmentation="windows", max_segment_s=1, min_segment_s=0.5)
        assert again.segments == result.segments
        assert again.resumed_segments == 6

    def test_a_file_that_is_no_video_never_reaches_the_model(
        self, tmp_path: Path, settings: Settings
    ) -> None:
        backend = Namer()
        (tmp_path / "no.mp4").write_bytes(b"not a video" * 100)
        with pytest.raises(VideoUnreadable):
            VideoService(settings, backend).timeline(tmp_path / "no.mp4")
        with pytest.raises(VideoNotFound):
            VideoService(settings, backend).timeline(tmp_path / "nowhere.mp4")
        assert backend.requests == []

    @pytest.mark.parametrize(
        "arguments",
        [
            {"segmentation": "scenes"},
            {"sampling": "random"},
            {"max_segment_s": 0},
            {"min_segment_s": 9},
            {"frames": 0},
            {"fps": 2},
            {"language": "not a tag"},
            {"max_new_tokens": 0},
        ],
    )
    def test_an_argument_that_makes_no_sense_is_refused(
        self, rooms: Path, settings: Settings, arguments: dict[str, Any]
    ) -> None:
        with pytest.raises(UsageError):
            VideoService(settings, Namer()).timeline(rooms, **arguments)


class TestResult:
    def test_it_accounts_for_every_frame_shown_and_every_token(self, rooms: Path, settings: Settings) -> None:
        backend = Namer()
        result = VideoService(settings, backend).timeline(rooms, language="de", summarize=True)
        shown = [index for request in backend.requests for index in request.clip.indices]
        assert list(result.coverage.frame_indices) == sorted(shown)
        assert result.coverage.frame_times_s == pytest.approx([index / RATE for index in sorted(shown)])
        assert result.usage.vision_tokens == len(shown)
        assert result.coverage.largest_gap_s < 1.5
        assert (result.language, result.prompt_language) == ("de", "de")
        assert {request.prompt for request in backend.requests} == {result.prompt}
        assert result.model.name == "namer"
        assert result.timings.total_s >= result.timings.model_s > 0
        assert Timeline.model_validate_json(result.model_dump_json()) == result

    def test_chapters_hold_the_segments_in_order(self, rooms: Path, settings: Settings) -> None:
        result = VideoService(settings, Namer()).timeline(rooms, summarize=True)
        numbers = [number for chapter in result.chapters for number in chapter.segments]
        assert numbers == list(range(len(result.segments)))
        assert {chapter.title + "." for chapter in result.chapters} <= set(texts(result))
        assert VideoService(settings, Namer()).timeline(rooms).chapters == ()

    def test_captions_that_were_cut_or_are_empty_are_counted(self, rooms: Path, settings: Settings) -> None:
        class Brief(Namer):
            def generate(self, requests: Sequence[Request], *, on_progress: Progress = no_progress) -> Any:
                made = super().generate(requests, on_progress=on_progress)
                if len(self.requests) == 2:
                    return [replace(made[0], finish_reason="length")]
                return [replace(made[0], text="  ")] if len(self.requests) == 3 else made

        result = VideoService(settings, Brief()).timeline(rooms)
        assert "1 of 5 captions were cut; max_new_tokens allows for more." in result.warnings
        assert "The model wrote nothing about 1 of 5 segments." in result.warnings
        assert texts(result)[2] == ""

    def test_each_segment_is_told_as_soon_as_it_is_known(self, rooms: Path, settings: Settings) -> None:
        for _ in range(2):  # the second time they are known from the first
            told: list[str] = []

            def on_progress(done: int, total: int, message: str, told: list[str] = told) -> None:
                if isinstance(message, Partial):
                    told.append(message)

            with VideoService(settings, backend=Namer()) as service:
                result = service.timeline(rooms, on_progress=on_progress)
            assert [line.split(" ", 1)[1] for line in told] == texts(result)
            assert told[0].startswith("0:00.0-")

    def test_progress_counts_segments(self, rooms: Path, settings: Settings) -> None:
        steps: list[tuple[int, int, str]] = []
        VideoService(settings, Namer()).timeline(rooms, on_progress=lambda *step: steps.append(step))
        described = [step for step in steps if step[2].startswith("describing")]
        assert [done for done, _, _ in described] == sorted(done for done, _, _ in described)
        assert {total for _, total, _ in described} == {5}
        assert described[-1] == (5, 5, "describing segment 5 of 5")
        assert any(message == "finding cuts" for _, _, message in steps)

    def test_a_model_on_an_accelerator_is_given_several_segments_at_once(
        self, rooms: Path, settings: Settings
    ) -> None:
        sizes: list[int] = []

        class Wide(Namer):
            @property
            def info(self) -> ModelInfo:
                return replace(super().info, device="cuda")

            def generate(self, requests: Sequence[Request], *, on_progress: Progress = no_progress) -> Any:
                sizes.append(len(requests))
                return super().generate(requests, on_progress=on_progress)

        result = VideoService(settings, Wide()).timeline(rooms, segmentation="windows", max_segment_s=1)
        assert sizes == [8, 5]
        assert len(result.segments) == 13

    def test_the_bundled_model_describes_every_shot(self, shapes_film: ShapesFilm, tmp_path: Path) -> None:
        settings = Settings(backend="tiny", device="cpu", cache_dir=tmp_path / "kept", max_new_tokens=24)
        with VideoService(settings) as service:
            result = service.timeline(shapes_film.path, max_segment_s=3)
            again = service.timeline(shapes_film.path, max_segment_s=3)
        assert len(result.segments) == 3
        assert all("The " in text for text in texts(result))
        assert again.segments == result.segments
        assert (result.resumed_segments, again.resumed_segments) == (0, 3)
        assert again.usage.prompt_tokens == 0


class TestResuming:
    def test_after_a_failure_only_what_is_missing_is_done(self, rooms: Path, settings: Settings) -> None:
        with pytest.raises(BackendFailed):
            VideoService(settings, Namer(fail_at=3)).timeline(rooms)
        second = Namer()
        result = VideoService(settings, second).timeline(rooms)
        assert texts(result) == ROOMS
        assert result.resumed_segments == 3
        assert len(second.requests) == 2
        assert result.usage.vision_tokens == 2 * 4
        assert len(result.coverage.frame_indices) == 5 * 4

    @pytest.mark.parametrize("stop_at", [1, 3])
    def test_stopping_loses_nothing_that_was_done(
        self, rooms: Path, settings: Settings, stop_at: int
    ) -> None:
        def stop(done: int, total: int, message: str) -> None:
            if message.startswith("describing") and done == stop_at:
                raise Cancelled("enough")

        with pytest.raises(Cancelled):
            VideoService(settings, Namer()).timeline(rooms, on_progress=stop)
        result = VideoService(settings, Namer()).timeline(rooms)
        assert result.resumed_segments == stop_at
        assert texts(result) == ROOMS

    def test_stopping_while_cuts_are_looked_for_keeps_those_of_whole_minutes(
        self, tmp_path: Path, settings: Settings
    ) -> None:
        path = film(tmp_path / "long.mp4", [200, 250, 190], rate=5)  # 128 s: three stretches

        def stop(done: int, total: int, message: str) -> None:
            if message == "finding cuts" and done == 2:
                raise Cancelled("enough")

        with pytest.raises(Cancelled):
            VideoService(settings, Namer()).timeline(path, on_progress=stop)
        looked: list[int] = []
        result = VideoService(settings, Namer()).timeline(
            path,
            max_segment_s=99,
            on_progress=lambda done, total, message: looked.append(total) if "cuts" in message else None,
        )
        assert set(looked) == {1}
        assert edges(result) == pytest.approx([0, 40, 90, 128])

    def test_a_process_that_is_killed_goes_on_where_it_was(self, rooms: Path, settings: Settings) -> None:
        child = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(rooms), str(settings.cache_dir)],
            stdout=subprocess.PIPE,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        assert child.stdout is not None
        with child:
            try:
                assert child.stdout.readline() == b"at segment 4\n"  # three are done, and it hangs here
            finally:
                child.kill()
        assert child.returncode != 0
        second = Namer()
        result = VideoService(settings, second).timeline(rooms)
        assert texts(result) == ROOMS
        assert result.resumed_segments == 3
        assert len(second.requests) == 2

    def test_a_last_line_cut_off_in_the_middle_costs_one_segment(
        self, rooms: Path, settings: Settings
    ) -> None:
        VideoService(settings, Namer()).timeline(rooms)
        longest = max((settings.cache_dir / "timelines").iterdir(), key=lambda path: path.stat().st_size)
        longest.write_bytes(longest.read_bytes()[:-40])
        result = VideoService(settings, Namer()).timeline(rooms)
        assert result.resumed_segments == 4
        assert texts(result) == ROOMS

    def test_beginning_anew_uses_nothing_and_keeps_what_it_does(
        self, rooms: Path, settings: Settings
    ) -> None:
        VideoService(settings, Namer()).timeline(rooms)
        anew = Namer()
        assert VideoService(settings, anew).timeline(rooms, resume=False).resumed_segments == 0
        assert len(anew.requests) == 5
        assert VideoService(settings, Namer()).timeline(rooms).resumed_segments == 5

    def test_the_same_video_is_known_under_another_name_and_a_changed_one_is_not(
        self, rooms: Path, settings: Settings, tmp_path: Path
    ) -> None:
        service = VideoService(settings, Namer())
        service.timeline(rooms)
        copy = tmp_path / "copy.mp4"
        shutil.copy(rooms, copy)
        assert service.timeline(copy).resumed_segments == 5
        with copy.open("ab") as file:
            file.write(b"\0" * 8)
        assert service.timeline(copy).resumed_segments == 0

    @pytest.mark.parametrize(
        "change",
        [
            {"language": "zh-Hans"},
            {"frames": 3},
            {"max_new_tokens": 7},
            {"sampling": "uniform"},
        ],
    )
    def test_what_was_asked_otherwise_is_another_timeline(
        self, rooms: Path, settings: Settings, change: dict[str, Any]
    ) -> None:
        service = VideoService(settings, Namer())
        service.timeline(rooms)
        assert service.timeline(rooms, **change).resumed_segments == 0

    def test_another_model_is_another_timeline_even_in_the_same_folder(
        self, rooms: Path, settings: Settings, tmp_path: Path
    ) -> None:
        folder = tmp_path / "model"
        folder.mkdir()
        (folder / "config.json").write_text("{}")
        (folder / "model.safetensors").write_bytes(b"first weights")
        VideoService(settings, Namer(folder=str(folder))).timeline(rooms)
        again = VideoService(settings, Namer(folder=str(folder))).timeline(rooms)
        assert again.resumed_segments == 5
        (folder / "model.safetensors").write_bytes(b"other weights")
        assert VideoService(settings, Namer(folder=str(folder))).timeline(rooms).resumed_segments == 0
        assert VideoService(settings, Namer(name="other")).timeline(rooms).resumed_segments == 0

    def test_segments_that_two_ranges_have_in_common_are_described_once(
        self, rooms: Path, settings: Settings
    ) -> None:
        service = VideoService(settings, Namer())
        service.timeline(rooms, end_s=6.5)
        assert service.timeline(rooms).resumed_segments == 3

    def test_where_nothing_can_be_kept_the_call_is_refused_before_the_model_works(
        self, rooms: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "file").write_text("in the way")
        backend = Namer()
        with pytest.raises(UsageError, match="cannot be kept"):
            VideoService(Settings(cache_dir=tmp_path / "file"), backend).timeline(rooms)
        assert backend.requests == []


KILLED = """
import sys, threading
from pathlib import Path
from tarsier_tools import Settings, VideoService
from tests.shots_kit import Namer

def hang(done, total, message):
    if message == "describing segment 4 of 5":
        print("at segment 4", flush=True)
        threading.Event().wait()

settings = Settings(cache_dir=Path(sys.argv[2]), frames=4)
VideoService(settings, Namer()).timeline(sys.argv[1], on_progress=hang)
"""
"""A program that makes a timeline, and hangs when three segments are described."""
