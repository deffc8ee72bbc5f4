"""Titles and language tags that are not UTF-8: old programs wrote them in the encoding of their machine."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import pytest

from tarsier_tools.media.base import Limits
from tarsier_tools.media.pyav_subtitles import read_subtitles
from tarsier_tools.media.reader import open_video
from tests.corpus import add_silence, picture, read_number

TITLE = "Caf\xe9 \xfcber alles".encode("latin-1")


def tagged(path: Path) -> Path:
    """Write three frames, a second of sound and one subtitle, with tags in Latin-1."""
    words, beside = "A" * len(TITLE), path.with_suffix(".srt")
    beside.write_text("1\n00:00:00,000 --> 00:00:01,000\nHello\n", encoding="utf-8")
    texts = path.suffix == ".mkv"
    with av.open(str(path), "w") as output, av.open(str(beside)) as lines:
        output.metadata["title"] = words
        video = output.add_stream("mpeg4" if path.suffix == ".avi" else "libx264", rate=Fraction(30))
        video.width, video.height, video.pix_fmt = 192, 112, "yuv420p"
        if texts:
            copied = output.add_stream_from_template(lines.streams.subtitles[0])
            copied.metadata["language"] = "qqq"
        add_silence(output)
        for number in range(3):
            frame = av.VideoFrame.from_ndarray(picture(number), format="rgb24")
            output.mux(video.encode(frame.reformat(format="yuv420p")))
        output.mux(video.encode(None))
        for packet in lines.demux() if texts else ():
            if packet.size:
                packet.stream = copied
                output.mux(packet)
    beside.unlink()
    data = path.read_bytes().replace(words.encode(), TITLE).replace(b"qqq", b"fr\xe9")
    assert TITLE in data
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv", "avi", "flv"])
def test_a_video_whose_title_is_not_utf8_is_read_like_any_other(suffix: str, tmp_path: Path) -> None:
    with open_video(tagged(tmp_path / f"film.{suffix}")) as reader:
        assert [read_number(frame.image) for frame in reader.read(range(3))] == [0, 1, 2]
        assert {track.kind for track in reader.info.tracks} >= {"audio"}
        reader.info.model_dump_json()


def test_a_language_that_is_not_utf8_can_be_shown_and_written(tmp_path: Path) -> None:
    path = tagged(tmp_path / "film.mkv")
    with open_video(path) as reader:
        assert [(track.kind, track.language) for track in reader.info.tracks if track.language] == [
            ("subtitle", "fr\ufffd")
        ]
    (subtitles,) = read_subtitles(path, str(path), Limits())
    assert (subtitles.language, [cue.text for cue in subtitles.cues]) == ("fr\ufffd", ["Hello"])
