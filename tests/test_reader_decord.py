"""decord gives the very same frames where it is let, and is refused where it is known to give others."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

import numpy as np
import pytest

from tarsier_tools.errors import UsageError, VideoTooLarge
from tarsier_tools.media.reader import Limits, open_video
from tests.corpus import GOOD, read_number

BY_NAME = {video.name: video for video in GOOD}
TAKEN = [
    "plain.mp4",
    "short_groups.mp4",
    "vfr.mp4",
    "rotated_90.mp4",
    "plain.mkv",
    "with_sound.mp4",
    "one_frame.mp4",
]
REFUSED = {
    "hevc.mp4": "the codec hevc",
    "av1.mp4": "the codec av1",
    "plain.ts": "files of the kind mpegts",
    "mpeg4.avi": "files of the kind avi",
    "animation.gif": "files of the kind gif",
    "edit_list.mp4": "an edit list",
    "open_groups.mp4": "open groups",
    "live.webm": "do not declare a duration",
}


@pytest.fixture
def decord() -> None:
    pytest.importorskip("decord", reason="decord is an extra, with wheels for x86-64 only")


@pytest.mark.usefixtures("decord")
@pytest.mark.parametrize("name", TAKEN)
def test_decord_and_pyav_give_the_same_pixels(name: str, tmp_path: Path) -> None:
    BY_NAME[name].make(tmp_path / name)
    with open_video(tmp_path / name) as pyav, open_video(tmp_path / name, decoder="decord") as reader:
        assert reader.info == pyav.info.model_copy(update={"decoder": "decord"})
        wanted = list(range(0, len(reader.timeline), 9))
        for mine, other in zip(reader.read(wanted), pyav.read(wanted), strict=True):
            assert mine.index == other.index == read_number(mine.image)
            assert mine.time_s == other.time_s
            np.testing.assert_array_equal(mine.image, other.image)


@pytest.mark.usefixtures("decord")
@pytest.mark.parametrize("name", REFUSED)
def test_decord_is_refused_where_it_gives_wrong_frames(name: str, tmp_path: Path) -> None:
    BY_NAME[name].make(tmp_path / name)
    with pytest.raises(UsageError, match=REFUSED[name]) as caught:
        open_video(tmp_path / name, decoder="decord")
    assert 'decoder="pyav"' in caught.value.hint


@pytest.mark.usefixtures("decord")
def test_a_batch_over_the_output_limit_is_refused(tmp_path: Path) -> None:
    BY_NAME["plain.mp4"].make(tmp_path / "plain.mp4")
    limits = Limits(max_output_bytes=192 * 112 * 3 * 4)
    with open_video(tmp_path / "plain.mp4", decoder="decord", limits=limits) as reader:
        assert len(list(reader.read(range(4)))) == 4
        with pytest.raises(VideoTooLarge, match="5 frames"):
            list(reader.read(range(5)))


def _installed(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    def distribution(name: str) -> str:
        if name not in names:
            raise importlib.metadata.PackageNotFoundError(name)
        return name

    monkeypatch.setattr(importlib.metadata, "distribution", distribution)


@pytest.mark.parametrize(
    ("installed", "line"),
    [((), 'pip install "tarsier-tools[decord]"'), (("decord", "decord2"), "pip uninstall decord2")],
)
def test_a_missing_or_other_decord_says_what_to_type(
    installed: tuple[str, ...], line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    BY_NAME["one_frame.mp4"].make(tmp_path / "video.mp4")
    _installed(monkeypatch, *installed)
    with pytest.raises(UsageError) as caught:
        open_video(tmp_path / "video.mp4", decoder="decord")
    assert line in caught.value.hint
