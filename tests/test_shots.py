"""Where shots begin: found on the very frame, the same in stretches as in one go, quiet about damage."""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path

import pytest
from conftest import ShapesFilm

from tarsier_tools.errors import Cancelled, UsageError, VideoUnreadable
from tarsier_tools.media import shots
from tarsier_tools.media.reader import open_video
from tarsier_tools.media.worker import DecodeWorker
from tarsier_tools.results import TimeRange
from tests.shots_kit import film, with_noise


def cuts(path: Path, end_s: float, *, length_s: float | None = None, **changes: object) -> list[float]:
    """All cuts of the first seconds of a video, looked for in stretches of this length."""
    length_s = length_s or end_s
    count = int(-(-end_s // length_s))
    marks = [*(length_s * number for number in range(count)), end_s]
    stretches = [TimeRange(start_s=a, end_s=b) for a, b in pairwise(marks)]
    found = shots.find_cuts(path, source="film", stretches=stretches, **changes)
    return [cut for _, some in found for cut in some]


@pytest.fixture(scope="module")
def three_cuts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return film(tmp_path_factory.mktemp("film") / "cuts.mp4", [20, 15, 30, 10])


def test_a_cut_is_the_time_of_the_first_frame_of_a_shot(three_cuts: Path) -> None:
    assert cuts(three_cuts, 7.5) == pytest.approx([2.0, 3.5, 6.5])


@pytest.mark.parametrize("length_s", [0.5, 1.0, 2.0, 3.5, 6.5])
def test_stretches_find_what_one_pass_finds_also_a_cut_where_they_meet(
    three_cuts: Path, length_s: float
) -> None:
    assert cuts(three_cuts, 7.5, length_s=length_s) == cuts(three_cuts, 7.5)


def test_motion_is_no_cut(shapes_film: ShapesFilm) -> None:
    assert cuts(shapes_film.path, shapes_film.scene.duration_s) == []


def test_times_are_those_of_the_frames_also_at_a_varying_rate(tmp_path: Path) -> None:
    times = [0.0]
    for step in range(44):
        times.append(round(times[-1] + (0.04, 0.3, 0.1)[step % 3], 3))
    path = film(tmp_path / "vfr.mp4", [20, 25], times=times)
    with open_video(path) as reader:
        first = float(reader.timeline[20])
    assert cuts(path, 7.0) == [first] == [pytest.approx(times[20])]


def test_at_a_high_rate_a_cut_is_known_to_a_thirtieth_of_a_second(tmp_path: Path) -> None:
    path = film(tmp_path / "fast.mp4", [61, 60], rate=120)
    (cut,) = cuts(path, 1.0)
    assert 61 / 120 <= cut < 61 / 120 + 1 / 30


def test_where_the_size_of_the_picture_changes_cuts_are_found_all_the_same(tmp_path: Path) -> None:
    first = film(tmp_path / "a.ts", [20, 20])
    second = film(tmp_path / "b.ts", [20, 20], width=256, height=144)
    joined = tmp_path / "joined.ts"
    joined.write_bytes(first.read_bytes() + second.read_bytes())
    assert 2.0 in [pytest.approx(cut, abs=0.05) for cut in cuts(joined, 8.0)]


def test_only_the_stretch_that_is_asked_for_is_looked_at(three_cuts: Path) -> None:
    looked: list[str] = []
    found = shots.find_cuts(
        three_cuts,
        source="film",
        stretches=[TimeRange(start_s=3.0, end_s=4.0)],
        on_progress=lambda done, total, message: looked.append(message),
    )
    assert [some for _, some in found] == [(pytest.approx(3.5),)]
    assert 10 <= len(looked) < 20


def test_a_stretch_that_cannot_be_decoded_has_no_cuts_and_ends_nothing(tmp_path: Path) -> None:
    whole = film(tmp_path / "film.mp4", [20, 20, 20, 20], gop=5)
    noisy = with_noise(whole, 0.4, 0.7)
    with open_video(noisy) as reader, pytest.raises(VideoUnreadable):
        list(reader.read(range(35, 45)))
    found = cuts(noisy, 8.0, length_s=1.0)
    assert found[0] == pytest.approx(2.0)
    assert found[-1] == pytest.approx(6.0)


def test_the_worker_process_finds_the_same(three_cuts: Path) -> None:
    stretches = [TimeRange(start_s=0, end_s=4), TimeRange(start_s=4, end_s=7.5)]
    with DecodeWorker() as worker:
        found = shots.find_cuts_isolated(worker, three_cuts, source="film", stretches=stretches, timeout_s=60)
        assert [cut for _, some in found for cut in some] == cuts(three_cuts, 7.5)


def test_the_work_can_be_stopped_at_any_frame(three_cuts: Path) -> None:
    calls = 0

    def stop(done: int, total: int, message: str) -> None:
        nonlocal calls
        calls += 1
        if calls == 5:
            raise Cancelled("enough")

    with pytest.raises(Cancelled):
        cuts(three_cuts, 7.5, on_progress=stop)
    assert calls == 5


def test_without_the_extra_the_message_says_what_to_install(
    three_cuts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "scenedetect.detectors", None)
    assert "pip install 'tarsier-tools[shots]'" in shots.missing_detector()
    with pytest.raises(UsageError, match="PySceneDetect cannot be loaded") as caught:
        cuts(three_cuts, 7.5)
    assert "windows" in caught.value.hint


@pytest.mark.parametrize(
    ("start_s", "end_s", "expected"),
    [
        (0, 30, [(0, 30)]),
        (0, 60, [(0, 60)]),
        (0, 61, [(0, 60), (60, 61)]),
        (59, 61, [(59, 60), (60, 61)]),
        (70.5, 90, [(70.5, 90)]),
        (60, 180, [(60, 120), (120, 180)]),
    ],
)
def test_stretches_begin_at_whole_minutes(
    start_s: float, end_s: float, expected: list[tuple[float, float]]
) -> None:
    made = shots.stretches(TimeRange(start_s=start_s, end_s=end_s))
    assert [(each.start_s, each.end_s) for each in made] == expected
