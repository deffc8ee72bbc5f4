"""Times count from the first frame; where a player's 0:00 lies before it, info and coverage say how far."""

from __future__ import annotations

from pathlib import Path

import pytest

from tarsier_tools.cli.render import video_info
from tarsier_tools.media.clips import ClipSpec, read_clip
from tarsier_tools.media.reader import open_video
from tarsier_tools.tool_text import info as info_text
from tests.corpus import GOOD
from tests.corpus_containers import CONTAINERS, late_picture


@pytest.mark.parametrize("container", ["mp4", "matroska", "mov", "flv", "mpegts"])
def test_a_picture_track_that_starts_after_the_sound_tells_by_how_much(
    container: str, tmp_path: Path
) -> None:
    path = tmp_path / "video"
    late_picture(path, container)
    with open_video(path) as reader:
        assert reader.timeline[0] == 0
        assert reader.info.offset_s == pytest.approx(0.5, abs=0.05)  # the sound starts with its padding


@pytest.mark.parametrize(
    "name",
    [
        "plain.mp4",
        "with_sound.mp4",
        "starts_at_5s.mp4",
        "starts_at_5s.mkv",
        "plain.ts",
        "plain.flv",
        "h264.avi",
        "edit_list.mp4",
        "still.png",
        "animation.gif",
    ],
)
def test_a_video_that_starts_with_its_first_frame_has_no_offset(name: str, tmp_path: Path) -> None:
    video = next(video for video in GOOD if video.name == name)
    video.make(tmp_path / name)
    with open_video(tmp_path / name) as reader:
        assert reader.info.offset_s == 0


@pytest.mark.parametrize("name", ["h264_reordered.asf", "mpeg2.mxf", "h264.nut", "pal.dv", "leading_hevc.ts"])
def test_other_containers_have_no_offset_either(name: str, tmp_path: Path) -> None:
    video = next(video for video in CONTAINERS if video.name == name)
    video.make(tmp_path / name)
    with open_video(tmp_path / name) as reader:
        assert reader.info.offset_s == 0


def test_coverage_and_texts_tell_the_offset_only_where_there_is_one(tmp_path: Path) -> None:
    late_picture(tmp_path / "late.mp4")
    CONTAINERS[0].make(tmp_path / "plain")
    for name, starts in (("late.mp4", True), ("plain", False)):
        clip = read_clip(tmp_path / name, source=name, spec=ClipSpec(frames=4))
        assert clip.coverage.offset_s == clip.info.offset_s
        assert bool(clip.info.offset_s) == starts
        assert ("player's 0:00" in " ".join(info_text(clip.info))) == starts
        assert ("player's 0:00" in " ".join(map(str, video_info(clip.info)))) == starts
