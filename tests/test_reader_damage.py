"""Damage of any kind is told, in every container: no crash, no hang, no wrong frame that passes for right."""

from __future__ import annotations

import contextlib
import random
from pathlib import Path

import pytest

from tarsier_tools.backends.scripted import ScriptedBackend
from tarsier_tools.cli.render import video_info
from tarsier_tools.errors import VideoTooLarge, VideoUnreadable
from tarsier_tools.media.reader import Limits, open_video
from tarsier_tools.service import VideoService
from tarsier_tools.tool_text import info as info_text
from tests.corpus import Good, Pipe, Track, _quick, _track, read_number, steady, write
from tests.corpus_damage import DAMAGES, EVERY, TIMED, Damage, cut, damaged, flips, gone, zeros

LIMITS = Limits(timeout_s=30)


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
@pytest.mark.parametrize("video", TIMED, ids=lambda video: video.name)
def test_what_survives_is_right_and_what_is_lost_is_told(video: Good, damage: Damage, tmp_path: Path) -> None:
    path = tmp_path / video.name
    damaged(video, damage, 0, path)
    rate = 1 / (video.times[1] - video.times[0])
    with open_video(path, limits=LIMITS) as reader:
        told_at_once = list(reader.skipped)
        whole = [frame for frame in reader.read(range(len(reader.timeline))) if not frame.damaged]
        assert [read_number(frame.image) for frame in whole] == [round(f.time_s * rate) for f in whole]
        assert len(whole) >= 10
        assert len(whole) < len(video.numbers)
        assert reader.skipped
        assert told_at_once or len(reader.timeline) == len(video.numbers)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("video", EVERY, ids=lambda video: video.name)
def test_flipped_bits_neither_crash_nor_hang(video: Good, seed: int, tmp_path: Path) -> None:
    path = tmp_path / video.name
    damaged(video, flips, seed, path)
    # What the decoder or the container cannot notice may pass; anything but a refusal with a reason may not.
    with (
        contextlib.suppress(VideoUnreadable, VideoTooLarge),
        open_video(path, limits=LIMITS) as reader,
    ):
        frames = list(reader.read(range(len(reader.timeline))))
        assert len(frames) <= len(reader.timeline)


def test_a_matroska_file_that_is_cut_off_says_how_much_of_it_is_there(tmp_path: Path) -> None:
    path = tmp_path / "video.mkv"
    write(path, _track(120))
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[: size // 2])
    with open_video(path) as reader:
        assert reader.skipped == [
            f"The file is cut short: {size // 2} of the {size} bytes that it declares are there."
        ]


def test_info_says_that_a_file_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "video.mkv"
    write(path, _track(120))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with VideoService(backend=ScriptedBackend([])) as service:
        info = service.info(path)
    (warning,) = info.warnings
    assert "cut short" in warning
    assert warning in list(info_text(info))
    assert any(warning in line.plain for line in video_info(info))


def test_a_hole_says_between_which_times_frames_are_missing(tmp_path: Path) -> None:
    path = tmp_path / "video.webm"
    write(path, _track(300, **_quick("libvpx-vp9")))
    data = bytearray(path.read_bytes())
    zeros(data, random.Random(0))
    path.write_bytes(data)
    with open_video(path) as reader:
        (note,) = reader.skipped
        before = max(time for time in reader.timeline if time < 5.0)
        after = min(time for time in reader.timeline if time > before)
        assert after - before > 0.5
        assert (
            note == f"Frames between {before:.2f} and {after:.2f} s are missing: the file is damaged there."
        )


def test_a_live_recording_that_is_cut_off_says_so(tmp_path: Path) -> None:
    pipe = Pipe()
    write(pipe, _track(**_quick("libvpx-vp9")), container="webm", options={"live": "1"})
    path = tmp_path / "live.webm"
    path.write_bytes(bytes(pipe.data[: len(pipe.data) * 2 // 3]))
    with open_video(path) as reader:
        assert reader.skipped == ["The file is cut short: it ends in the middle of its data."]


def test_a_flash_video_cut_between_two_frames_is_short_of_its_declared_duration(tmp_path: Path) -> None:
    path = tmp_path / "video.flv"
    write(path, _track(120))
    data = path.read_bytes().replace(b"filesize", b"fileSIZE")
    path.write_bytes(data)
    with open_video(path) as reader:
        assert reader.skipped == []
        place = reader.track.table.position[60]  # type: ignore[attr-defined]
    path.write_bytes(data[:place])
    with open_video(path) as reader:
        assert reader.info.frame_count == 60
        assert "s that it declares are there" in reader.skipped[0]


@pytest.mark.parametrize("container", ["mp4", "matroska", "flv", "nut"])
def test_long_still_stretches_are_no_holes(container: str, tmp_path: Path) -> None:
    path = tmp_path / "slides"
    times = [*steady(40), *(3.0 + 4.0 * slide for slide in range(6)), *steady(40, start=30.0)]
    write(path, Track(range(len(times)), times), container=container)
    with open_video(path) as reader:
        assert [read_number(frame.image) for frame in reader.read(range(86))] == list(range(86))
        assert reader.skipped == []


def test_sound_that_goes_on_after_the_picture_is_no_missing_end(tmp_path: Path) -> None:
    for container in ("matroska", "flv", "mp4"):
        path = tmp_path / container
        write(path, Track(range(10), steady(10)), container=container, audio=True)
        with open_video(path) as reader:
            assert reader.skipped == []


def test_an_mp4_in_fragments_that_is_cut_off_says_so(tmp_path: Path) -> None:
    path = tmp_path / "video.mp4"
    write(path, _track(120, gop=15), options={"movflags": "frag_keyframe+empty_moov"})
    data = bytearray(path.read_bytes())
    cut(data, random.Random(0))
    path.write_bytes(data)
    with open_video(path) as reader:
        assert reader.skipped[0].startswith("The file is cut short: ")


def test_bytes_taken_out_of_fragments_are_told(tmp_path: Path) -> None:
    path = tmp_path / "video.mp4"
    write(path, _track(120, gop=15), options={"movflags": "frag_keyframe+empty_moov"})
    data = bytearray(path.read_bytes())
    gone(data, random.Random(0))
    path.write_bytes(data)
    with open_video(path) as reader:
        assert "cannot be read" in reader.skipped[0]


def test_a_trimmed_mp4_that_is_cut_off_still_counts_what_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "video.mp4"
    write(path, _track(90, start=-0.5), options={"movflags": "+faststart"})
    path.write_bytes(path.read_bytes()[:-6000])
    with open_video(path) as reader:
        assert "declared frames are there" in reader.skipped[0]
