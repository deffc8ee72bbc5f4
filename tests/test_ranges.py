"""A range of a film shows the model that range, whatever the film's frame rate does and declares."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import accumulate, pairwise
from pathlib import Path

import numpy as np
import pytest

from tarsier_tools.backends.scripted import ScriptedBackend
from tarsier_tools.media.clips import ClipSpec, read_clip
from tarsier_tools.media.reader import open_video
from tarsier_tools.media.sampling import clip_bounds, plan, range_bounds, uniform_indices
from tarsier_tools.service import VideoService
from tests.corpus import Track, read_number, steady, write


def paced(*stretches: tuple[int, float]) -> list[float]:
    """Times of frames that are shown for the seconds given: (how many, seconds each)."""
    return list(accumulate((gap for count, gap in stretches for _ in range(count)), initial=0.0))


SCREEN = [(20, 1 / 30), (1, 2.5), (45, 1 / 30), (4, 0.7), (30, 1 / 60), (1, 3.0), (60, 1 / 30), (2, 1.2)]
"""Bursts while something moves on the screen, and stills in between."""

SMALL = {"width": 96, "height": 72}
VP9 = {"codec": "libvpx-vp9", "bit_rate": 300_000, "options": {"deadline": "realtime", "cpu-used": "8"}}

FILMS: dict[str, tuple[Track, str | None]] = {
    "constant.mp4": (Track(range(300), steady(300), **SMALL), None),
    "phone.mp4": (Track(range(301), paced((180, 1 / 30), (120, 1 / 24)), **SMALL), None),
    "webcam.mp4": (Track(range(301), paced((200, 1 / 30), (100, 1 / 15)), **SMALL), None),
    "screen.mp4": (Track(range(164), paced(*SCREEN), **SMALL), None),
    "screen.mkv": (Track(range(164), paced(*SCREEN), **SMALL), "matroska"),
    # These declare twice or half the rate that they have.
    "declares_60.avi": (
        Track(range(300), steady(300), rate=Fraction(60), tick=Fraction(1, 60), **SMALL),
        "avi",
    ),
    "declares_60.mkv": (Track(range(300), steady(300), rate=Fraction(60), **SMALL), "matroska"),
    "declares_15.webm": (Track(range(300), steady(300), rate=Fraction(15), **SMALL, **VP9), "webm"),
    "declares_60.flv": (Track(range(300), steady(300), rate=Fraction(60), **SMALL), "flv"),
}


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    folder = tmp_path_factory.mktemp("ranges")

    def made(name: str) -> Path:
        track, container = FILMS[name]
        if not (folder / name).exists():
            write(folder / name, track, container=container)
        return folder / name

    return made


def on_screen(times: Sequence[float], end_s: float, start_s: float, stop_s: float) -> set[int]:
    """The numbers of the pictures on the screen at some moment from start_s to stop_s, as encoded."""
    until = [*times[1:], end_s]
    return {
        number
        for number, (since, gone) in enumerate(zip(times, until, strict=True))
        if since <= stop_s and gone >= start_s
    }


@pytest.mark.parametrize("name", FILMS)
def test_every_frame_of_a_range_is_on_the_screen_in_that_range(
    name: str, film: Callable[[str], Path]
) -> None:
    track, _ = FILMS[name]
    path = film(name)
    with open_video(path) as reader:
        info = reader.info
    # Matroska and FLV count in milliseconds; at a constant rate the ends go to the nearest frame.
    slack = 0.002 + (0 if info.variable_rate else 0.5 / 30)
    for start in np.linspace(0, info.duration_s - 2.0, 20):
        spec = ClipSpec(start_s=float(start), end_s=float(start) + 2.0)
        clip = read_clip(path, source=name, spec=spec).clip
        seen = [read_number(frame) for frame in clip.frames]
        assert len(seen) == len(set(seen))
        assert set(seen) <= on_screen(track.times, info.duration_s, start - slack, start + 2.0 + slack)


@pytest.mark.parametrize("name", FILMS)
def test_the_average_rate_is_counted_not_declared(name: str, film: Callable[[str], Path]) -> None:
    track, _ = FILMS[name]
    with open_video(film(name)) as reader:
        info = reader.info
    assert info.frame_count == len(track.times)
    assert info.average_fps == pytest.approx(len(track.times) / info.duration_s, rel=1e-3)
    assert info.variable_rate == (name.split(".")[0] in ("phone", "webcam", "screen"))


def test_a_declared_rate_that_agrees_is_kept_exactly(tmp_path: Path) -> None:
    film = Fraction(24_000, 1001)
    times = [float(index / film) for index in range(48)]
    write(tmp_path / "film.mkv", Track(range(48), times, rate=film, **SMALL), container="matroska")
    with open_video(tmp_path / "film.mkv") as reader:
        assert reader.info.average_fps == float(film)
        assert not reader.info.variable_rate


@pytest.mark.parametrize("fps", [1.0, 8.0, 24.0, 25.0, 30.0, 24_000 / 1001, 30_000 / 1001, 59.94])
def test_at_a_constant_rate_the_frames_of_a_range_are_those_of_the_reference(fps: float) -> None:
    count = 400
    timeline = np.arange(count) / fps
    ends = np.random.default_rng(3).uniform(0, count / fps, 2000).tolist()
    ends += [index / fps for index in range(0, count, 7)] + [
        step / 20 for step in range(int(20 * count / fps))
    ]
    for start, end in pairwise(ends):
        if start < end:
            theirs = clip_bounds(count, fps, start, end)
            assert range_bounds(timeline, fps, start, end, variable_rate=False) == theirs, (start, end)


def test_at_a_constant_rate_halves_go_to_the_even_frame_as_in_the_reference() -> None:
    timeline = np.arange(75) / 25.0
    for start, end in [(0.1, 0.3), (0.02, 0.5), (0.5, 2.5), (2.98, 3.0)]:
        assert range_bounds(timeline, 25.0, start, end, variable_rate=False) == clip_bounds(
            75, 25.0, start, end
        )


def test_a_recorded_clip_of_the_reference_is_shown_with_the_same_frames() -> None:
    golden = Path(__file__).parent / "golden"
    rows = json.loads((golden / "given" / "tables.json").read_text())["clips"]
    timeline = np.arange(75) / 25.0
    for row in rows:
        if row["end_time"] <= 3:
            chosen = plan(
                timeline,
                duration_s=3.0,
                average_fps=25.0,
                variable_rate=False,
                n=row["n_frames"],
                start_s=row["start_time"],
                end_s=row["end_time"],
            )
            assert list(chosen.indices) == row["frame_indices"], row


def test_at_a_variable_rate_the_frames_are_spread_by_number_over_those_of_the_range() -> None:
    timeline = np.array(paced(*SCREEN))
    first, last = range_bounds(timeline, 12.0, 3.2, 6.0, variable_rate=True)
    assert timeline[first] >= 3.2 - 1 / 30
    assert timeline[last] < 6.0 <= timeline[last + 1]
    chosen = plan(
        timeline, duration_s=20.0, average_fps=12.0, variable_rate=True, n=8, start_s=3.2, end_s=6.0
    )
    assert chosen.indices == tuple(first + index for index in uniform_indices(last - first + 1, 8))


def test_a_range_in_which_nothing_changes_shows_the_picture_on_the_screen() -> None:
    timeline = np.array([0.0, 0.1, 0.2, 5.0, 5.1])
    assert range_bounds(timeline, 1.0, 1.0, 4.0, variable_rate=True) == (2, 2)
    assert range_bounds(timeline, 1.0, 1.0, 5.05, variable_rate=True) == (2, 3)
    assert range_bounds(timeline, 1.0, 5.2, 9.0, variable_rate=True) == (4, 4)


def test_a_picture_that_gives_way_at_once_is_not_taken_for_the_range() -> None:
    timeline = np.array([0.0, 3.0, 3.1, 3.2, 3.3])
    assert range_bounds(timeline, 1.0, 2.9, 3.25, variable_rate=True) == (1, 3)
    assert range_bounds(timeline, 1.0, 1.0, 3.25, variable_rate=True) == (0, 3)


def test_every_way_to_a_range_takes_the_same_frames(tmp_path: Path, film: Callable[[str], Path]) -> None:
    path = film("webcam.mp4")
    with VideoService(backend=ScriptedBackend(["A caption.", "An answer."])) as service:
        captioned = service.caption(path, start_s=8.0, end_s=10.0).coverage
        asked = service.ask(path, "What?", start_s=8.0, end_s=10.0).coverage
        written = service.frames(path, tmp_path / "out", count=16, start_s=8.0, end_s=10.0).coverage
        viewed = service.view(path, count=16, start_s=8.0, end_s=10.0).coverage
    assert captioned.frame_indices == asked.frame_indices == written.frame_indices == viewed.frame_indices
    assert min(captioned.frame_times_s) > 8.0 - 1 / 30
    assert max(captioned.frame_times_s) < 10.0


def test_the_caption_of_a_range_tells_what_happens_in_it() -> None:
    # At this film's average rate the frames would be those of 10.8 to 17.9 s, where a triangle moves.
    with VideoService() as service:
        caption = service.caption(
            Path(__file__).parent / "data" / "shapes_variable_rate.mp4", start_s=7.3, end_s=12.7
        )
    assert caption.text == "The white star appears."
    assert caption.coverage.frame_times_s[0] <= 7.4
    assert 12.0 < caption.coverage.frame_times_s[-1] < 12.7
