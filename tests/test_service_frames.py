"""Frames of a video written to files for people to look at."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tarsier_tools import frames as frames_module
from tarsier_tools.backends.scripted import ScriptedBackend
from tarsier_tools.config import Settings
from tarsier_tools.errors import Cancelled, TarsierError, TimeRangeError, UsageError, VideoUnreadable
from tarsier_tools.media.reader import open_video
from tarsier_tools.media.sheet import contact_sheet
from tarsier_tools.media.writer import write_mp4
from tarsier_tools.service import VideoService

VIDEO = Path(__file__).parent / "golden" / "videos" / "shapes_320x240_25fps.mp4"


@pytest.fixture(params=[False, True], ids=["here", "in the worker"], scope="module")
def videos(request: pytest.FixtureRequest) -> Iterator[VideoService]:
    with VideoService(Settings(isolate=request.param), ScriptedBackend()) as service:
        yield service


@pytest.fixture
def here() -> VideoService:
    return VideoService(backend=ScriptedBackend())


def pixels(path: str | Path) -> NDArray[np.float64]:
    with Image.open(path) as picture:
        return np.asarray(picture, dtype=np.float64)


def test_frames_are_the_ones_on_the_screen_at_the_times_and_are_named_by_them(
    videos: VideoService, tmp_path: Path
) -> None:
    written = videos.frames(VIDEO, tmp_path / "out", times_s=[2.01, 0.5, 0.51])
    assert [frame.index for frame in written.frames] == [12, 50]
    assert [Path(frame.path).name for frame in written.frames] == [
        "frame_000000.480s.jpg",
        "frame_000002.000s.jpg",
    ]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        Path(frame.path).name for frame in written.frames
    ]
    with open_video(VIDEO) as reader:
        for frame, true in zip(written.frames, reader.read([12, 50]), strict=True):
            picture = pixels(frame.path)
            assert picture.shape == true.image.shape
            assert np.abs(picture - true.image).mean() < 4


def test_frames_of_the_same_millisecond_have_files_of_their_own(here: VideoService, tmp_path: Path) -> None:
    pictures = np.random.default_rng(1).integers(0, 256, (4, 64, 64, 3), dtype=np.uint8)
    write_mp4(tmp_path / "fast.mp4", pictures, fps=4000)
    written = here.frames(tmp_path / "fast.mp4", tmp_path / "out", count=4)
    assert len({frame.path for frame in written.frames}) == 4
    assert all(Path(frame.path).exists() for frame in written.frames)


def test_a_count_gives_the_frames_that_a_model_would_be_shown(here: VideoService, tmp_path: Path) -> None:
    backend = ScriptedBackend(["A circle."])
    shown = VideoService(backend=backend).caption(VIDEO, frames=5, start_s=1, end_s=3).coverage
    written = here.frames(VIDEO, tmp_path, count=5, start_s=1, end_s=3)
    assert written.coverage.frame_indices == shown.frame_indices
    assert written.coverage.asked == shown.asked
    assert written.coverage.largest_gap_s == shown.largest_gap_s
    assert len(list(tmp_path.iterdir())) == 5


def test_without_a_count_the_settings_say_how_many(tmp_path: Path) -> None:
    videos = VideoService(Settings(frames=3), ScriptedBackend())
    assert len(videos.frames(VIDEO, tmp_path).frames) == 3


def test_a_sheet_shows_all_frames(videos: VideoService, tmp_path: Path) -> None:
    written = videos.frames(VIDEO, tmp_path, count=4, sheet=True)
    assert written.sheet == str(tmp_path / "sheet.jpg")
    with Image.open(written.sheet) as sheet:
        assert sheet.format == "JPEG"
        assert sheet.width > 320
    assert len(list(tmp_path.glob("frame_*.jpg"))) == 4


def test_a_sheet_of_large_frames_keeps_small_ones_in_memory(
    here: VideoService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[tuple[int, ...]] = []

    def record(shown: list[tuple[NDArray[np.uint8], float]]) -> Image.Image:
        sizes.extend(image.shape for image, _ in shown)
        return contact_sheet(shown)

    monkeypatch.setattr(frames_module, "contact_sheet", record)
    here.frames(VIDEO.with_name("hd_1280x720_30fps.mp4"), tmp_path, count=3, sheet=True)
    assert sizes == [(360, 640, 3)] * 3


def test_without_a_sheet_there_is_none(here: VideoService, tmp_path: Path) -> None:
    assert here.frames(VIDEO, tmp_path, count=1).sheet is None
    assert not (tmp_path / "sheet.jpg").exists()


def test_large_frames_are_made_smaller_and_keep_their_shape(here: VideoService, tmp_path: Path) -> None:
    written = here.frames(VIDEO, tmp_path, count=1, max_side=160)
    assert pixels(written.frames[0].path).shape == (120, 160, 3)
    assert written.coverage.frame_size == (160, 120)


def test_small_frames_are_not_enlarged(here: VideoService, tmp_path: Path) -> None:
    written = here.frames(VIDEO, tmp_path, count=1, max_side=5000)
    assert pixels(written.frames[0].path).shape == (240, 320, 3)


def test_files_that_are_there_are_not_replaced_unasked(here: VideoService, tmp_path: Path) -> None:
    first = Path(here.frames(VIDEO, tmp_path, times_s=[1.0]).frames[0].path)
    first.write_text("mine")
    with pytest.raises(UsageError, match="is there already") as caught:
        here.frames(VIDEO, tmp_path, times_s=[0.0, 1.0])
    assert "overwrite" in caught.value.hint
    assert first.read_text() == "mine"
    assert list(tmp_path.iterdir()) == [first]
    here.frames(VIDEO, tmp_path, times_s=[1.0], overwrite=True)
    assert pixels(first).shape == (240, 320, 3)


def test_a_sheet_that_is_there_is_not_replaced_unasked(here: VideoService, tmp_path: Path) -> None:
    (tmp_path / "sheet.jpg").write_text("mine")
    with pytest.raises(UsageError, match=r"sheet\.jpg is there already"):
        here.frames(VIDEO, tmp_path, count=1, sheet=True)
    assert (tmp_path / "sheet.jpg").read_text() == "mine"


def test_a_folder_that_cannot_be_made_is_named(here: VideoService, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(UsageError, match="cannot be made"):
        here.frames(VIDEO, tmp_path / "file" / "out", count=1)


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ({"times_s": [99.0]}, TimeRangeError, "no picture at 99 s"),
        ({"times_s": [-1.0]}, TimeRangeError, "-1.0 is no time"),
        ({"times_s": [math.nan]}, TimeRangeError, "nan is no time"),
        ({"times_s": []}, UsageError, "No times"),
        ({"times_s": [1.0], "start_s": 0.5}, UsageError, "Both times and a range"),
        ({"times_s": [1.0], "count": 2}, UsageError, "Both times_s and count"),
        ({"count": 0}, UsageError, "at least 1"),
        ({"max_side": 0}, UsageError, "max_side must be at least 1"),
        ({"start_s": 99.0}, TimeRangeError, "starts at 99 s"),
    ],
)
def test_what_makes_no_sense_writes_nothing(
    here: VideoService, tmp_path: Path, arguments: dict[str, object], kind: type[TarsierError], message: str
) -> None:
    with pytest.raises(kind, match=message) as caught:
        here.frames(VIDEO, tmp_path / "out", **arguments)  # type: ignore[arg-type]
    assert caught.value.hint
    assert not (tmp_path / "out").exists()


def test_a_file_that_is_no_video_writes_nothing(videos: VideoService, tmp_path: Path) -> None:
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    with pytest.raises(VideoUnreadable):
        videos.frames(tmp_path / "bad.mp4", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_progress_is_told_of_and_can_stop_the_work(here: VideoService, tmp_path: Path) -> None:
    def stop(done: int, total: int, message: str) -> None:
        if message == "writing frames" and done == 2:
            assert total == 6
            raise Cancelled("Enough.")

    with pytest.raises(Cancelled):
        here.frames(VIDEO, tmp_path, count=6, on_progress=stop)
    assert len(list(tmp_path.iterdir())) == 2


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    """The film with a hole in its middle, which spoils what is decoded after it."""
    whole = VIDEO.read_bytes()
    start = whole.index(b"mdat") + 4
    middle = start + (len(whole) - start) // 2
    video = tmp_path / "damaged.mp4"
    video.write_bytes(whole[:middle] + bytes(6000) + whole[middle + 6000 :])
    return video


def test_damaged_frames_are_left_out_and_told_of(here: VideoService, damaged: Path, tmp_path: Path) -> None:
    with open_video(damaged) as reader:
        sound = [frame.index for frame in reader.read(range(75)) if not frame.damaged]
    written = here.frames(damaged, tmp_path / "out", count=75)
    assert 20 < len(sound) < 70
    assert list(written.coverage.frame_indices) == sound
    assert len(list((tmp_path / "out").iterdir())) == len(sound)
    assert any("damaged" in sentence for sentence in written.coverage.skipped)


def test_when_all_frames_wanted_are_damaged_nothing_is_written(
    here: VideoService, damaged: Path, tmp_path: Path
) -> None:
    with pytest.raises(VideoUnreadable, match="None of the 1 frames"):
        here.frames(damaged, tmp_path / "out", times_s=[2.0], sheet=True)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_model_is_not_shown_damaged_frames(damaged: Path) -> None:
    backend = ScriptedBackend(["A circle."])
    caption = VideoService(backend=backend).caption(damaged)
    assert len(backend.requests[0].clip) == len(caption.coverage.frame_indices) < 16
    assert set(caption.coverage.skipped) <= set(caption.warnings)
    assert any("damaged" in warning for warning in caption.warnings)


def test_a_home_folder_is_understood(
    here: VideoService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    shutil.copy(VIDEO, tmp_path / "clip.mp4")
    written = here.frames("~/clip.mp4", "~/out", count=1)
    assert Path(written.frames[0].path).parent == tmp_path / "out"
