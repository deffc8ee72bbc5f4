"""Many ranges of one video in one pass: the same clips as one by one, within the same limits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tarsier_tools.errors import Cancelled, TimeRangeError, VideoTooLarge, VideoUnreadable
from tarsier_tools.media import windows
from tarsier_tools.media.base import VideoReader
from tarsier_tools.media.clips import ClipSpec, read_clip
from tarsier_tools.media.reader import Limits
from tarsier_tools.media.windows import read_clips, read_clips_isolated
from tarsier_tools.media.worker import DecodeWorker
from tests.corpus import Track, steady, write

NOISE_INSIDE = Path(__file__).parent / "data" / "noise_inside.ts"

SPECS = (
    ClipSpec(4, 8, frames=6),
    ClipSpec(0, 5, frames=8),
    ClipSpec(2, 7, frames=8),
    ClipSpec(0, 10, frames=3, max_pixels=3000),
    ClipSpec(9.9, 30),
)


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten seconds at 30 frames a second, each frame with its number, key frames a second apart."""
    path = tmp_path_factory.mktemp("windows") / "film.mp4"
    write(path, Track(range(300), steady(300), width=160, height=120, gop=30))
    return path


def test_each_clip_is_the_one_that_reading_it_alone_gives(film: Path) -> None:
    clips = dict(read_clips(film, source="film", specs=SPECS))
    assert list(clips) == [1, 2, 0, 3, 4]  # by the end of the last frame
    for number, spec in enumerate(SPECS):
        alone = read_clip(film, source="film", spec=spec)
        assert clips[number].clip.fingerprint == alone.clip.fingerprint
        assert clips[number].coverage == alone.coverage


def test_the_file_is_read_once_and_a_shared_frame_is_shrunk_once(
    film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = 0
    shrunk: list[tuple[int, int]] = []
    read, resize = VideoReader.read, windows.resize

    def counted(self: VideoReader, *args: object, **kwargs: object) -> object:
        nonlocal reads
        reads += 1
        return read(self, *args, **kwargs)  # type: ignore[arg-type]

    def noted(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        shrunk.append(size)
        return resize(image, size)

    monkeypatch.setattr(VideoReader, "read", counted)
    monkeypatch.setattr(windows, "resize", noted)
    specs = [ClipSpec(start, start + 4.0, frames=5, max_pixels=3000) for start in (0, 1, 2, 3)]
    clips = dict(read_clips(film, source="film", specs=specs))
    assert reads == 1
    assert len(shrunk) == len({index for found in clips.values() for index in found.clip.indices}) < 20
    one, other = clips[0].clip, clips[1].clip
    (shared, *_) = set(one.indices) & set(other.indices)
    assert one.frames[one.indices.index(shared)] is other.frames[other.indices.index(shared)]


def test_windows_that_are_open_together_share_the_limit_on_memory(film: Path) -> None:
    room = Limits(max_output_bytes=160 * 120 * 3 * 8)
    apart = [ClipSpec(start, start + 1, frames=8) for start in range(10)]
    assert len(list(read_clips(film, source="film", specs=apart, limits=room))) == 10
    together = [ClipSpec(0, 10, frames=5), ClipSpec(0.5, 9.5, frames=6)]
    with pytest.raises(VideoTooLarge, match="10 frames of 160x120"):
        list(read_clips(film, source="film", specs=together, limits=room))


def test_limits_hold_from_frame_to_frame_not_for_the_whole_video(film: Path) -> None:
    few = Limits(max_decoded_frames=35)
    specs = [ClipSpec(start, start + 1, frames=4) for start in range(10)]
    assert len(list(read_clips(film, source="film", specs=specs, limits=few))) == 10
    with pytest.raises(VideoTooLarge, match="limit of 35"):
        read_clip(film, source="film", spec=ClipSpec(frames=40), limits=few)


def test_progress_is_told_with_each_frame_and_may_stop_the_reading(film: Path) -> None:
    told: list[tuple[int, int]] = []

    def stop(done: int, total: int, message: str) -> None:
        told.append((done, total))
        if done == 1:
            raise Cancelled("Enough.")

    specs = [ClipSpec(start, start + 2, frames=4) for start in (0, 2, 4)]
    with pytest.raises(Cancelled):
        list(read_clips(film, source="film", specs=specs, on_progress=stop))
    assert told == [(0, 3)] * 4 + [(1, 3)]


def test_a_range_that_is_not_in_the_video_is_refused_before_anything_is_read(film: Path) -> None:
    with pytest.raises(TimeRangeError, match="starts at 12 s"):
        next(read_clips(film, source="film", specs=[ClipSpec(0, 1), ClipSpec(12, 13)]))


def test_no_windows_are_no_clips(film: Path) -> None:
    assert list(read_clips(film, source="film", specs=[])) == []


def test_a_window_of_damage_alone_is_left_out_and_nothing_but_damage_is_refused() -> None:
    whole = read_clip(NOISE_INSIDE, source="noise", spec=ClipSpec(frames=120))
    damaged = sorted(set(range(max(whole.clip.indices))) - set(whole.clip.indices))
    middle = damaged[len(damaged) // 2] / whole.info.average_fps
    bad, good = ClipSpec(middle, middle + 0.01, frames=1), ClipSpec(0, 0.5, frames=2)
    assert list(dict(read_clips(NOISE_INSIDE, source="noise", specs=[bad, good]))) == [1]
    with pytest.raises(VideoUnreadable, match="undamaged"):
        list(read_clips(NOISE_INSIDE, source="noise", specs=[bad]))


def test_the_worker_gives_the_same_clips_in_batches(film: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows, "_BATCH_BYTES", 20 * 1_400_000)
    told: list[tuple[int, int]] = []
    with DecodeWorker() as worker:
        isolated = dict(
            read_clips_isolated(
                worker,
                film,
                source="film",
                specs=SPECS,
                timeout_s=60,
                on_progress=lambda done, total, message: told.append((done, total)),
            )
        )
        with pytest.raises(TimeRangeError):
            list(read_clips_isolated(worker, film, source="film", specs=[ClipSpec(start_s=99)], timeout_s=60))
    here = dict(read_clips(film, source="film", specs=SPECS))
    assert sorted(isolated) == sorted(here)
    assert all(isolated[n].clip.fingerprint == here[n].clip.fingerprint for n in here)
    assert len(set(told)) > 2
    assert told[-1] == (5, 5)
