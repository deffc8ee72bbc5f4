"""The right frame comes out of every good file of the corpus: by number, by time, in any selection."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tarsier_tools.errors import Cancelled, UsageError, VideoNotFound, VideoTooLarge
from tarsier_tools.media import pyav_feed
from tarsier_tools.media.reader import Frame, Limits, open_video
from tests.corpus import GOOD, Good, Track, read_number, steady, write

GOLDEN = Path(__file__).parent / "golden"
CASES = [
    json.loads(path.read_text())
    for path in sorted((GOLDEN / "given").glob("*.json"))
    if "decoded_frames_sha256" in path.read_text()
]


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("videos")


@pytest.fixture(scope="session")
def long_video(folder: Path) -> Path:
    """600 frames in groups of 30, with a B-frame pattern: enough to seek in."""
    path = folder / "long.mp4"
    write(path, Track(range(600), steady(600), gop=30, width=96, height=72))
    return path


def made(video: Good, folder: Path) -> Path:
    path = folder / video.name
    if not path.exists():
        video.make(path)
    return path


def numbers(frames: list[Frame]) -> list[int | None]:
    return [read_number(frame.image) for frame in frames]


@pytest.mark.parametrize("video", GOOD, ids=lambda video: video.name)
def test_every_frame_of_a_good_video_is_the_right_one(video: Good, folder: Path) -> None:
    with open_video(made(video, folder)) as reader:
        frames = list(reader.read(range(len(reader.timeline))))
        assert numbers(frames) == list(video.numbers)
        assert [frame.index for frame in frames] == list(range(len(video.numbers)))
        assert {frame.index for frame in frames if frame.damaged} <= video.torn
        assert bool(reader.skipped) == bool(video.torn)


@pytest.mark.parametrize("video", GOOD, ids=lambda video: video.name)
def test_any_selection_of_frames_of_a_good_video_is_the_right_one(video: Good, folder: Path) -> None:
    count = len(video.numbers)
    with open_video(made(video, folder)) as reader:
        for step in (7, 40, 97):
            wanted = list(range(step // 3, count, step)) or [0]
            frames = list(reader.read(wanted))
            assert [frame.index for frame in frames] == wanted
            assert numbers(frames) == [video.numbers[index] for index in wanted]
        assert numbers(list(reader.read([count - 1]))) == [video.numbers[-1]]


@pytest.mark.parametrize("video", GOOD, ids=lambda video: video.name)
def test_the_times_and_facts_of_a_good_video_are_right(video: Good, folder: Path) -> None:
    with open_video(made(video, folder), source="as typed") as reader:
        info = reader.info
        # Matroska and FLV count in milliseconds, and times before 0 are not in Matroska at all.
        np.testing.assert_allclose(reader.timeline, video.times, atol=0.006)
        assert reader.timeline.dtype == np.float64
        assert np.all(np.diff(reader.timeline) > 0)
        assert (info.width, info.height) == video.size
        assert (info.container, info.codec, info.rotation) == (video.container, video.codec, video.rotation)
        assert info.frame_count == len(video.numbers)
        assert info.source == "as typed"
        assert info.duration_s >= video.times[-1]
        assert info.variable_rate == (
            "vfr" in video.name or ("animation." in video.name and len(video.times) == 12)
        )
        for index in range(0, len(video.times), 11):
            assert reader.index_at(float(reader.timeline[index])) == index
            assert reader.index_at(float(reader.timeline[index]) + 0.009) == index


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["file"])
def test_frames_counts_and_rates_are_those_of_the_reference(case: dict[str, object]) -> None:
    with open_video(GOLDEN / "videos" / str(case["file"])) as reader:
        frames = reader.read(case["frame_indices"])  # type: ignore[arg-type]
        digests = [hashlib.sha256(frame.image.tobytes()).hexdigest() for frame in frames]
        assert reader.info.frame_count == case["total_frames"]
        assert reader.info.average_fps == case["avg_fps"]
        assert digests == case["decoded_frames_sha256"]


def test_golden_cases_are_there() -> None:
    assert len(CASES) == 4


def test_frames_come_once_and_ascending_whatever_was_asked(long_video: Path) -> None:
    with open_video(long_video) as reader:
        frames = list(reader.read([400, 3, 3, 17, 400, 599]))
        assert [frame.index for frame in frames] == [3, 17, 400, 599] == numbers(frames)
        assert [frame.time_s for frame in frames] == pytest.approx([0.1, 17 / 30, 400 / 30, 599 / 30])


def test_a_long_video_is_decoded_only_where_frames_are_wanted(
    long_video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fed = 0
    decode = pyav_feed.Feed._decode

    def counted(self: pyav_feed.Feed, packet: object, number: int) -> object:
        nonlocal fed
        fed += packet is not None
        return decode(self, packet, number)  # type: ignore[arg-type]

    monkeypatch.setattr(pyav_feed.Feed, "_decode", counted)
    with open_video(long_video) as reader:
        fed = 0
        assert numbers(list(reader.read([5, 310, 590]))) == [5, 310, 590]
    assert fed < 60


def test_a_seek_that_lands_elsewhere_is_noticed(long_video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = pyav_feed.opened
    seeks = 0

    class Astray:
        """A container whose index is wrong by four seconds."""

        def __init__(self, container: object) -> None:
            self._container = container

        def __getattr__(self, name: str) -> object:
            return getattr(self._container, name)

        def seek(self, offset: int, **options: object) -> None:
            nonlocal seeks
            seeks += 1
            self._container.seek(offset + 4_000_000, **options)  # type: ignore[attr-defined]

    @contextlib.contextmanager
    def opened_astray(*arguments: Any) -> Iterator[tuple[object, object]]:
        with opened(*arguments) as (container, stream):
            yield Astray(container), stream

    monkeypatch.setattr(pyav_feed, "opened", opened_astray)
    with open_video(long_video) as reader:
        assert numbers(list(reader.read([310, 500]))) == [310, 500]
    assert seeks == 1


def test_frames_stay_what_they_were_while_the_reader_goes_on(long_video: Path) -> None:
    with open_video(long_video) as reader:
        frames = list(reader.read([0, 1, 2]))
        list(reader.read([300]))
        assert numbers(frames) == [0, 1, 2]
        assert all(frame.image.flags.c_contiguous for frame in frames)


@pytest.mark.skipif(not Path("/dev/fd").exists(), reason="open files are counted in /dev/fd")
def test_no_file_stays_open_behind_a_closed_reader(long_video: Path) -> None:
    before = len(list(Path("/dev/fd").iterdir()))
    for _ in range(3):
        with open_video(long_video) as reader:
            abandoned = reader.read([1, 2, 3])
            next(abandoned)
            list(reader.read([5]))
            abandoned.close()  # type: ignore[attr-defined]
        with pytest.raises(VideoTooLarge):
            open_video(long_video, limits=Limits(max_frame_pixels=10))
    assert len(list(Path("/dev/fd").iterdir())) == before


def test_two_reads_at_a_time_do_not_disturb_each_other(long_video: Path) -> None:
    with open_video(long_video) as reader:
        pairs = list(zip(reader.read(range(0, 60, 10)), reader.read(range(300, 360, 10)), strict=True))
    assert [read_number(first.image) for first, _ in pairs] == list(range(0, 60, 10))
    assert [read_number(second.image) for _, second in pairs] == list(range(300, 360, 10))


def test_the_picture_at_a_time_is_the_last_one_that_has_started(long_video: Path) -> None:
    with open_video(long_video) as reader:
        asked = (-1.0, 0.0, 0.0333, 0.033333, 0.034, 0.99, 1.0, 1e9)
        assert [reader.index_at(time) for time in asked] == [0, 0, 0, 1, 1, 29, 30, 599]


def test_progress_is_told_and_may_stop_the_reading(long_video: Path) -> None:
    told: list[tuple[int, int]] = []

    def stop_at_two(done: int, total: int, message: str) -> None:
        told.append((done, total))
        if done == 2:
            raise Cancelled("Enough.")

    with open_video(long_video) as reader, pytest.raises(Cancelled):
        list(reader.read([1, 2, 3], on_progress=stop_at_two))
    assert told == [(1, 3), (2, 3)]


@pytest.mark.parametrize("wanted", [[], [600], [-1], [0, 10_000]])
def test_frames_that_are_not_there_are_refused_at_once(long_video: Path, wanted: list[int]) -> None:
    with open_video(long_video) as reader, pytest.raises(UsageError):
        reader.read(wanted)


@pytest.mark.parametrize(
    ("limits", "says"),
    [
        (Limits(max_file_bytes=1000), "over the limit of 0 MiB"),
        (Limits(max_frame_pixels=96 * 72 - 1), "over the limit of 0.006911"),
        (Limits(timeout_s=0.0), "longer than the limit of 0 s"),
    ],
)
def test_opening_keeps_the_limits_and_says_them(long_video: Path, limits: Limits, says: str) -> None:
    with pytest.raises(VideoTooLarge, match=says):
        open_video(long_video, limits=limits)


def test_a_request_for_too_much_decoding_is_refused(long_video: Path) -> None:
    with open_video(long_video, limits=Limits(max_decoded_frames=100)) as reader:
        assert numbers(list(reader.read([0, 99]))) == [0, 99]
        with pytest.raises(VideoTooLarge, match="limit of 100"):
            list(reader.read(range(0, 600, 20)))


def test_a_read_in_stretches_may_take_long_in_all_but_not_for_one_frame(long_video: Path) -> None:
    with open_video(long_video, limits=Limits(max_decoded_frames=40)) as reader:
        assert numbers(list(reader.read(range(0, 600, 20), in_stretches=True))) == list(range(0, 600, 20))
    few = Limits(max_decoded_frames=15)
    with open_video(long_video, limits=few) as reader, pytest.raises(VideoTooLarge, match="limit of 15"):
        list(reader.read([25], in_stretches=True))


def test_the_time_for_a_stretch_starts_anew_with_each_frame(
    long_video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0

    def ticking() -> float:
        nonlocal now
        now += 0.05
        return now

    monkeypatch.setattr("tarsier_tools.media.base.time.monotonic", ticking)
    with open_video(long_video, limits=Limits(timeout_s=40)) as reader:
        assert len(list(reader.read(range(0, 600, 2), in_stretches=True))) == 300
        assert now > 40 + 40
        with pytest.raises(VideoTooLarge, match="longer than the limit of 40 s"):
            list(reader.read(range(600)))


def test_the_time_that_the_caller_takes_does_not_count(
    long_video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr("tarsier_tools.media.base.time.monotonic", lambda: now)
    with open_video(long_video, limits=Limits(timeout_s=5)) as reader:
        frames = reader.read([0, 100, 200])
        for _ in range(3):
            next(frames)
            now += 100.0
        assert next(frames, None) is None


def test_a_file_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(VideoNotFound, match=r"There is no file .*missing\.mp4"):
        open_video(tmp_path / "missing.mp4")
