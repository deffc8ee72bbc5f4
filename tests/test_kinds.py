"""What a file is, is told by its bytes; what is not read is named, with what to do about it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tarsier_tools.errors import VideoUnreadable
from tarsier_tools.media.kinds import CONTAINERS, RAW, demuxers, refusal
from tarsier_tools.media.reader import open_video
from tests.corpus import _track, write

COMMAND = "ffmpeg -i INPUT -c:v libx264 -crf 18 -c:a aac output.mp4"


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b".RMF\0\0\0\x12\0\0", "a RealMedia file"),
        (b"BIKi" + bytes(60), "a Bink video"),
        (b"KB2j" + bytes(60), "a Bink 2 video"),
        (b"SMK4" + bytes(60), "a Smacker video"),
        (b"CWS\x0a" + bytes(60), "a Flash animation (SWF)"),
        (b"NSVf" + bytes(60), "a Nullsoft video (NSV)"),
        (b"\xb7\xd8\x00\x20\x37\x49\xda\x11" + bytes(60), "a Windows TV recording (WTV)"),
        (b"IMKH" + bytes(60), "a Hikvision recording"),
        (bytes(4) + b"\x12\xaf" + bytes(60), "a FLIC animation"),
    ],
)
def test_what_ffmpeg_converts_is_named_with_the_command(head: bytes, kind: str, tmp_path: Path) -> None:
    path = tmp_path / "video.mp4"
    path.write_bytes(head + bytes(1000))
    with pytest.raises(VideoUnreadable) as caught:
        open_video(path, source="video.mp4")
    assert caught.value.message == f"video.mp4 is {kind}, which is not read."
    assert COMMAND in str(caught.value.hint)


def test_raw_recordings_of_a_camera_need_the_software_of_its_maker(tmp_path: Path) -> None:
    path = tmp_path / "clip.mov"
    path.write_bytes(b"\0\0\1\0RED1" + bytes(1000))
    with pytest.raises(VideoUnreadable, match="RED camera") as caught:
        open_video(path)
    assert "REDCINE-X PRO" in str(caught.value.hint)
    assert "ffmpeg" not in str(caught.value.hint)


def test_a_codec_that_nobody_knows_is_said_to_be_unknown(tmp_path: Path) -> None:
    path = tmp_path / "clip.mkv"
    write(path, _track(10))
    path.write_bytes(path.read_bytes().replace(b"V_MPEG4/ISO/AVC", b"V_XPEG4/ISO/AVC"))
    with pytest.raises(VideoUnreadable, match="not known to the decoder") as caught:
        open_video(path)
    assert "DaVinci Resolve" in str(caught.value.hint)


def test_a_container_that_is_not_read_says_that(tmp_path: Path) -> None:
    path = tmp_path / "sound.mp4"
    path.write_bytes(b".snd" + (24).to_bytes(4, "big") + bytes(2000))
    with pytest.raises(VideoUnreadable) as caught:
        open_video(path, source="sound.mp4")
    assert COMMAND in str(caught.value.hint)


@pytest.mark.parametrize(
    "name", ["notes.h264", "notes.hevc", "notes.obu", "notes.dv", "notes.m4v", "notes.ivf"]
)
def test_a_text_is_no_video_whatever_its_name(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text("This is not a video.\n" * 50)
    with pytest.raises(VideoUnreadable, match="cannot be read as a video"):
        open_video(path)


def test_bare_streams_are_tried_only_where_the_first_bytes_are_those_of_one() -> None:
    assert demuxers(b"This is not a video.") == CONTAINERS
    assert demuxers(b"\0\0\0\1\x67").endswith(",".join(RAW))
    assert demuxers(b"\x12\x00\x0a\x0b").endswith(",".join(RAW))
    assert demuxers(b"\x1f\x07\x00\xbf").endswith(",dv")
    assert not {"concat", "hls", "dash", "image2", "sdp", "rtsp"} & set(CONTAINERS.split(","))


def test_a_kind_that_is_read_is_not_refused() -> None:
    for head in (b"\0\0\0\x18ftypisom", b"\x1a\x45\xdf\xa3", b"RIFF\0\0\0\0AVI ", b"OggS", b"FLV\1"):
        assert refusal(head) is None


@pytest.mark.parametrize("share", [0.3, 0.97])
def test_an_mp4_without_its_index_says_that_it_was_interrupted(share: float, tmp_path: Path) -> None:
    path = tmp_path / "video.mp4"
    write(path, _track(60))
    data = path.read_bytes()
    path.write_bytes(data[: int(data.index(b"moov") * share)])
    with pytest.raises(VideoUnreadable) as caught:
        open_video(path, source="video.mp4")
    assert "the index at the end is missing: the recording or download was interrupted" in str(caught.value)
    assert "again" in str(caught.value.hint)


def test_a_recording_that_was_never_closed_lacks_its_index_too(tmp_path: Path) -> None:
    path = tmp_path / "video.mov"
    write(path, _track(60))
    data = bytearray(path.read_bytes())
    place = data.index(b"mdat") - 4
    data[place : place + 4] = bytes(4)  # its length is written last
    path.write_bytes(data[: data.index(b"moov") - 4])
    with pytest.raises(VideoUnreadable, match="the index at the end is missing"):
        open_video(path)


def test_a_gif_of_a_few_bytes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "video.gif"
    path.write_bytes(b"GIF89a")
    with pytest.raises(VideoUnreadable):
        open_video(path)
