"""Decoded clips that are kept: how many, how long, and for whom."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import numpy as np
import pytest

from tarsier_tools.clip_cache import ClipCache, file_stamp
from tarsier_tools.errors import VideoUnreadable
from tarsier_tools.media.clips import DecodedClip
from tarsier_tools.results import Coverage, TimeRange, VideoInfo
from tarsier_tools.types import Clip


def decoded(size_bytes: int) -> DecodedClip:
    """A clip of one frame with that many bytes (a multiple of 3)."""
    clip = Clip((np.zeros((1, size_bytes // 3, 3), np.uint8),), (0,), (0.0,), "00")
    info = VideoInfo(
        source="v",
        container="mp4",
        codec="h264",
        width=1,
        height=1,
        rotation=0,
        duration_s=1,
        frame_count=1,
        average_fps=1,
        variable_rate=False,
        size_bytes=1,
        decoder="pyav",
    )
    coverage = Coverage(
        video_duration_s=1,
        asked=TimeRange(start_s=0, end_s=1),
        frame_times_s=(0.0,),
        frame_indices=(0,),
        frame_size=(1, 1),
        largest_gap_s=1,
        sampling="uniform",
        decoder="pyav",
    )
    return DecodedClip(info, clip, coverage)


def never() -> DecodedClip:
    raise AssertionError("decoded again")


def test_a_clip_is_decoded_once() -> None:
    cache, clip = ClipCache(30), decoded(30)
    assert cache.get("a", lambda: clip) == (clip, False)
    assert cache.get("a", never) == (clip, True)
    assert cache.size_bytes == 30


def test_the_clip_used_longest_ago_makes_room() -> None:
    cache = ClipCache(60)
    for key in ("a", "b"):
        cache.get(key, lambda: decoded(30))
    cache.get("a", never)
    cache.get("c", lambda: decoded(30))
    assert cache.size_bytes == 60
    cache.get("a", never)
    cache.get("c", never)
    assert cache.get("b", lambda: decoded(30))[1] is False


def test_a_clip_too_large_is_given_but_not_kept_and_drives_nobody_out() -> None:
    cache = ClipCache(60)
    cache.get("a", lambda: decoded(30))
    assert cache.get("large", lambda: decoded(63))[1] is False
    assert cache.get("large", lambda: decoded(63))[1] is False
    cache.get("a", never)


def test_without_memory_nothing_is_kept() -> None:
    cache = ClipCache(0)
    cache.get("a", lambda: decoded(3))
    assert cache.size_bytes == 0
    assert cache.get("a", lambda: decoded(3))[1] is False


def test_what_is_forgotten_is_decoded_again() -> None:
    cache = ClipCache(60)
    cache.get("a", lambda: decoded(30))
    cache.clear()
    assert cache.size_bytes == 0
    assert cache.get("a", lambda: decoded(30))[1] is False


def test_an_error_goes_through_and_the_next_call_tries_again() -> None:
    cache = ClipCache(60)

    def fail() -> DecodedClip:
        raise VideoUnreadable("It is broken.")

    with pytest.raises(VideoUnreadable):
        cache.get("a", fail)
    assert cache.get("a", lambda: decoded(30))[1] is False


def test_threads_that_want_the_same_clip_wait_for_one_decoding() -> None:
    cache, loads, results = ClipCache(60), [], []
    loading, go = threading.Event(), threading.Event()

    def load() -> DecodedClip:
        loads.append(1)
        loading.set()
        assert go.wait(30)
        return decoded(30)

    threads = [threading.Thread(target=lambda: results.append(cache.get("a", load))) for _ in range(4)]
    for thread in threads:
        thread.start()
    assert loading.wait(30)
    assert cache.get("b", lambda: decoded(30))[1] is False  # another clip is not held up
    go.set()
    for thread in threads:
        thread.join(30)
    assert len(loads) == 1
    assert sorted(cached for _, cached in results) == [False, True, True, True]


def test_a_stamp_changes_with_the_file(tmp_path: Path) -> None:
    video = tmp_path / "a.mp4"
    video.write_bytes(b"one")
    os.utime(video, ns=(1, 1))
    first = file_stamp(video)
    assert file_stamp(video) == first
    os.utime(video, ns=(1, 2))
    later = file_stamp(video)
    video.write_bytes(b"three")
    os.utime(video, ns=(1, 1))
    assert len({first, later, file_stamp(video)}) == 3


def test_the_stamp_of_a_folder_changes_with_an_image_in_it(tmp_path: Path) -> None:
    (tmp_path / "1.png").write_bytes(b"one")
    first = file_stamp(tmp_path)
    (tmp_path / "1.png").write_bytes(b"three")
    second = file_stamp(tmp_path)
    (tmp_path / "2.png").write_bytes(b"two")
    assert len({first, second, file_stamp(tmp_path)}) == 3


def test_what_is_not_there_has_no_stamp(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        file_stamp(tmp_path / "none")
