"""No bad file crashes or hangs the reader, is taken for a good one, or gives a frame that is not in it."""

from __future__ import annotations

import random
from pathlib import Path

import av
import numpy as np
import pytest

from tarsier_tools.errors import TarsierError, VideoTooLarge, VideoUnreadable
from tarsier_tools.media.reader import Limits, open_video
from tarsier_tools.media.worker import DecodeWorker
from tests.corpus import Track, read_number, steady, write
from tests.corpus_bad import BAD, Bad

LIMITS = Limits(timeout_s=2.0)
KINDS: dict[str, type[TarsierError]] = {"unreadable": VideoUnreadable, "too large": VideoTooLarge}


def cases(*outcomes: str) -> list[Bad]:
    return [bad for bad in BAD if bad.outcome in outcomes]


def read_all(path: Path) -> int:
    """Opens a file and reads its frames; in a worker too, so it returns only a count."""
    with open_video(path, source=path.name, limits=LIMITS) as reader:
        return len(list(reader.read(range(len(reader.timeline)))))


@pytest.mark.parametrize("bad", cases("unreadable", "too large"), ids=lambda bad: bad.name)
def test_a_bad_file_is_refused_with_the_reason(bad: Bad, tmp_path: Path) -> None:
    path = tmp_path / bad.name
    bad.make(path)
    with pytest.raises(KINDS[bad.outcome]) as caught:
        read_all(path)
    assert type(caught.value) is KINDS[bad.outcome]
    assert bad.says in str(caught.value)
    assert bad.name in str(caught.value) or "images" in bad.name
    assert caught.value.hint
    assert str(tmp_path) not in caught.value.message


@pytest.mark.parametrize("step", [1, 9])
@pytest.mark.parametrize("bad", cases("survivors"), ids=lambda bad: bad.name)
def test_what_survives_in_a_broken_file_is_right_and_the_rest_is_told(
    bad: Bad, step: int, tmp_path: Path
) -> None:
    path = tmp_path / bad.name
    bad.make(path)
    with open_video(path, limits=Limits(timeout_s=30)) as reader:
        wanted = range(0, len(reader.timeline), step)
        frames = list(reader.read(wanted))
        whole = [frame for frame in frames if not frame.damaged]
        assert [read_number(frame.image) for frame in whole] == [
            bad.first + round(frame.time_s * bad.rate) for frame in whole
        ]
        assert len(whole) >= bad.least // step
        assert bool(reader.skipped) or len(whole) == len(wanted)
        assert bad.says in " ".join(reader.skipped) or len(whole) == len(wanted)


def test_a_huge_picture_is_refused_before_memory_is_spent_on_it(tmp_path: Path) -> None:
    path = tmp_path / "bomb.mp4"
    next(bad for bad in BAD if bad.name == "bomb.mp4").make(path)
    # Decoding one such picture takes 600 MB; numpy and FFmpeg alone map about 700 MB of addresses.
    with (
        DecodeWorker(memory_mb=1000) as worker,
        pytest.raises(VideoTooLarge, match=r"16128x16128, 260\.1 megapixels"),
    ):
        worker.call(read_all, path, timeout_s=20)


def test_a_picture_with_an_error_inside_is_never_passed_off_as_whole(tmp_path: Path) -> None:
    path = tmp_path / "video.mp4"
    write(path, Track(range(90), steady(90), gop=30), options={"movflags": "+faststart"})
    with open_video(path) as reader:
        clean = {frame.index: frame.image for frame in reader.read(range(90))}
    with av.open(str(path)) as container:
        packets = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    data = path.read_bytes()
    chance = random.Random(1)
    told = 0
    for _ in range(6):
        changed = bytearray(data)
        position, size = chance.choice([packet for packet in packets if packet[1] > 300])
        changed[position + 60 : position + size] = chance.randbytes(size - 60)
        path.write_bytes(changed)
        with open_video(path) as reader:
            frames = {frame.index: frame for frame in reader.read(range(90))}
            altered = [n for n, frame in frames.items() if not np.array_equal(frame.image, clean[n])]
            assert all(frames[index].damaged for index in altered)
            told += bool(altered or len(frames) < 90)
            assert bool(reader.skipped) or not altered
    assert told == 6


def test_a_playlist_cannot_reach_another_file(tmp_path: Path) -> None:
    for bad in BAD:
        if "hls" in bad.name or "concat" in bad.name:
            bad.make(tmp_path / bad.name)
            assert (tmp_path / "secret.ts").exists()
            with pytest.raises(VideoUnreadable):
                read_all(tmp_path / bad.name)


def test_a_file_that_may_not_be_read_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(path: Path, mode: str) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    (tmp_path / "locked.mp4").write_bytes(b"x")
    monkeypatch.setattr(Path, "open", refused)  # the superuser may read everything
    with pytest.raises(VideoUnreadable, match=r"locked\.mp4 cannot be opened: Permission denied"):
        open_video(tmp_path / "locked.mp4")


def test_links_of_a_folder_that_lead_out_are_left_out(tmp_path: Path) -> None:
    next(bad for bad in BAD if bad.name == "one_broken_image").make(tmp_path / "inside")
    (tmp_path / "outside.png").write_bytes((tmp_path / "inside" / "1.png").read_bytes())
    (tmp_path / "inside" / "9.png").symlink_to(tmp_path / "outside.png")
    with open_video(tmp_path / "inside") as reader:
        assert reader.info.frame_count == 5
        assert "9.png is left out" in reader.skipped[0]


def test_a_few_wrong_bytes_are_nearly_always_noticed(tmp_path: Path) -> None:
    path = tmp_path / "video.mp4"
    write(
        path, Track(range(60), steady(60), gop=30, width=384, height=224), options={"movflags": "+faststart"}
    )
    with open_video(path) as reader:
        clean = {frame.index: frame.image for frame in reader.read(range(60))}
    with av.open(str(path)) as container:
        packets = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    data = path.read_bytes()
    unnoticed = 0
    for seed in range(12):
        chance = random.Random(seed)
        changed = bytearray(data)
        position, size = chance.choice([packet for packet in packets[5:] if packet[1] > 200])
        for place in chance.sample(range(position + 40, position + size), 3):
            changed[place] ^= 0x5A
        path.write_bytes(changed)
        with open_video(path) as reader:
            frames = list(reader.read(range(60)))
        unnoticed += any(
            not frame.damaged and not np.array_equal(frame.image, clean[frame.index]) for frame in frames
        )
    assert unnoticed <= 2  # some changes give other data that is just as valid
