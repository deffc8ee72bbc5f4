"""Other containers, bare streams, trims and recordings begun in mid-stream are read right."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tarsier_tools.media.reader import open_video
from tests.corpus import Good, read_number
from tests.corpus_containers import CONTAINERS, COUNTED

EVERY = (*CONTAINERS, *COUNTED)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("containers")


def made(video: Good, folder: Path) -> Path:
    path = folder / video.name
    if not path.exists():
        video.make(path)
    return path


@pytest.mark.parametrize("video", EVERY, ids=lambda video: video.name)
def test_every_frame_is_the_right_one_at_the_right_time(video: Good, folder: Path) -> None:
    with open_video(made(video, folder)) as reader:
        frames = list(reader.read(range(len(reader.timeline))))
        assert [read_number(frame.image) for frame in frames] == list(video.numbers)
        assert not any(frame.damaged for frame in frames)
        np.testing.assert_allclose(reader.timeline, video.times, atol=0.006)
        assert np.all(np.diff(reader.timeline) > 0)
        assert (reader.info.container, reader.info.codec) == (video.container, video.codec)
        assert (reader.info.width, reader.info.height) == video.size


@pytest.mark.parametrize("video", EVERY, ids=lambda video: video.name)
def test_any_selection_of_frames_is_the_right_one(video: Good, folder: Path) -> None:
    count = len(video.numbers)
    with open_video(made(video, folder)) as reader:
        for step in (7, 40):
            wanted = list(range(step // 3, count, step))
            assert [read_number(f.image) for f in reader.read(wanted)] == [video.numbers[i] for i in wanted]
        assert [read_number(frame.image) for frame in reader.read([count - 1])] == [video.numbers[-1]]


@pytest.mark.parametrize("video", CONTAINERS, ids=lambda video: video.name)
def test_nothing_is_said_of_a_whole_file(video: Good, folder: Path) -> None:
    with open_video(made(video, folder)) as reader:
        assert reader.skipped == []


@pytest.mark.parametrize("video", COUNTED, ids=lambda video: video.name)
def test_counted_times_are_said_to_be_counted(video: Good, folder: Path) -> None:
    rate = 25 if video.codec == "av1" else 30
    with open_video(made(video, folder)) as reader:
        assert reader.skipped == [f"The stream holds no times: they are counted at {rate} frames per second."]
