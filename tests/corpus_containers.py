"""More kinds of files for the corpus: other containers, bare streams, trims, recordings begun in mid-stream.

:data:`CONTAINERS` are read right without a note, :data:`COUNTED` with one that says that times are counted.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from tests.corpus import Good, Track, _quick, _track, _x264, picture, steady, write

_RATE: dict[str, Any] = {"rate": Fraction(25), "tick": Fraction(1, 25)}
_TICK: dict[str, Any] = {"tick": Fraction(1, 30)}
_OPEN_GROUPS = _x264("open-gop=1:bframes=3:b-pyramid=normal:b-adapt=0:repeat-headers=1")


def dhav(path: Path) -> None:
    """Write a recording of 75 frames as Dahua's recorders export it, H.264 at 25 frames per second."""
    source = path.with_suffix(".h264")
    write(source, _track(**_RATE, options=_x264("bframes=0:repeat-headers=1")), container="h264")
    data = b""
    with av.open(str(source)) as container:
        for number, packet in enumerate(p for p in container.demux(video=0) if p.size):
            content = bytes(packet)
            # Extension 0x81: frame rate and codec; 0x80: the size of the picture in steps of 8 pixels.
            extra = bytes([0x81, 0, 0x02, 25, 0x80, 0, 192 // 8, 112 // 8])
            length = 24 + len(extra) + len(content) + 8
            seconds, milliseconds = divmod(number * 40, 1000)
            date = (24 << 26) | (5 << 22) | (17 << 17) | (12 << 12) | (30 << 6) | seconds
            data += b"DHAV" + struct.pack(
                "<BBBBIIIHBB",
                0xFD if packet.is_keyframe else 0xFC,
                0,
                1,
                0,
                number,
                length,
                date,
                milliseconds,
                len(extra),
                0,
            )
            data += extra + content + b"dhav" + struct.pack("<I", length)
    source.unlink()
    path.write_bytes(data)


def from_key(
    track: Track, container: str, *, plus: int = 0, source: str = "matroska"
) -> Callable[[Path], None]:
    """Return what writes the packets from the second key packet on (and ``plus`` more are dropped)."""

    def make(path: Path) -> None:
        whole = path.with_name(f"whole_of_{path.name}")
        write(whole, track, container=source)
        with av.open(str(whole)) as given, av.open(str(path), "w", format=container) as output:
            stream = given.streams.video[0]
            target = output.add_stream_from_template(stream)
            packets = [packet for packet in given.demux(stream) if packet.size]
            keys = [number for number, packet in enumerate(packets) if packet.is_keyframe]
            for packet in packets[keys[1] + plus :]:
                packet.stream = target
                output.mux(packet)
        whole.unlink()

    return make


def cut_transport(track: Track, *, key: int) -> Callable[[Path], None]:
    """Return what writes a transport stream that begins with the tables and this key packet."""

    def make(path: Path) -> None:
        write(path, track, container="mpegts")
        with av.open(str(path)) as container:
            places = [p.pos for p in container.demux(video=0) if p.size and p.is_keyframe and p.pos]
        data = path.read_bytes()
        path.write_bytes(data[: 3 * 188] + data[places[key] // 188 * 188 :])

    return make


def edit_list(path: Path, edits: list[tuple[float, float | None]], track: Track) -> None:
    """Write an MP4 and replace its edit list by (seconds, where they start in the media; None: nothing)."""
    write(path, track, container="mp4")
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        base = container.streams.video[0].time_base
    assert base is not None
    place = data.index(b"elst") - 4
    (length,) = struct.unpack_from(">I", data, place)
    (first,) = struct.unpack_from(">i", data, place + 20)  # where the media's time 0 is
    entries = b"".join(
        struct.pack(
            ">IiHH", round(seconds * 1000), -1 if start is None else round(start / base) + first, 1, 0
        )
        for seconds, start in edits
    )
    new = struct.pack(">I4sII", 16 + len(entries), b"elst", 0, len(edits)) + entries
    data[place : place + length] = new
    for box in (b"edts", b"trak", b"moov"):  # the index lies behind the media, so nothing else moves
        start = data.index(box) - 4
        (size,) = struct.unpack_from(">I", data, start)
        struct.pack_into(">I", data, start, size + len(new) - length)
    path.write_bytes(data)


def _trimmed(name: str, edits: list[tuple[float, float | None]], numbers: list[int], **changes: Any) -> Good:
    track = _track(90, **changes)
    return Good(name, lambda path: edit_list(path, edits, track), tuple(numbers), tuple(steady(len(numbers))))


def unknown_second_track(path: Path) -> None:
    """Write an MKV of two video tracks and change the second one's codec to one that nobody knows."""
    write(path, _track(40), _track(40, **_quick("libvpx-vp9")), container="matroska")
    data = path.read_bytes()
    assert data.count(b"V_VP9") == 1
    path.write_bytes(data.replace(b"V_VP9", b"V_XYZ"))


def late_picture(path: Path, container: str = "mp4") -> None:
    """Write 2 s of silence whose pictures start after 0.5 s."""
    with av.open(str(path), "w", format=container) as output:
        video: Any = output.add_stream("libx264", rate=30, options={"preset": "veryfast"})
        video.width, video.height, video.pix_fmt = 192, 112, "yuv420p"
        sound = output.add_stream("aac", rate=48_000, layout="mono")
        for start in range(0, 96_000, 1024):
            silence = av.AudioFrame.from_ndarray(
                np.zeros((1, 1024), np.float32), format="fltp", layout="mono"
            )
            silence.sample_rate, silence.pts, silence.time_base = 48_000, start, Fraction(1, 48_000)
            output.mux(sound.encode(silence))
        for number in range(45):
            frame = av.VideoFrame.from_ndarray(picture(number), format="rgb24").reformat(format="yuv420p")
            frame.time_base, frame.pts = Fraction(1, 30), number + 15
            output.mux(video.encode(frame))
        output.mux(video.encode(None))
        output.mux(sound.encode(None))


def _good(
    name: str, track: Track, *, container: str, codec: str = "h264", size: tuple[int, int] | None = None
) -> Good:
    """A file of one track; the name does not say what it is."""
    return Good(
        name,
        lambda path: write(path, track, container=container),
        tuple(track.numbers),
        tuple(time - track.times[0] for time in track.times),
        size=size or (track.width, track.height),
        container=container,
        codec=codec,
    )


_DV = _track(25, **_RATE, codec="dvvideo", width=720, height=576)

CONTAINERS: tuple[Good, ...] = (
    _good(
        "wmv2.wmv",
        _track(codec="wmv2", bit_rate=2_000_000, **_TICK),
        container="asf",
        codec="wmv2",
    ),
    _good("h264.asf", _track(options=_x264("bframes=0")), container="asf"),
    _good("h264_reordered.asf", _track(), container="asf"),
    _good(
        "mpeg2.mxf",
        _track(**_RATE, codec="mpeg2video", bit_rate=4_000_000, options={"bf": "2"}),
        container="mxf",
        codec="mpeg2video",
    ),
    _good("h264.mxf", _track(**_RATE), container="mxf"),
    _good(
        "dnxhd.mxf",
        _track(
            25,
            **_RATE,
            codec="dnxhd",
            pixels="yuv422p",
            options={"profile": "dnxhr_lb"},
            width=256,
            height=128,
        ),
        container="mxf",
        codec="dnxhd",
    ),
    _good("h264.nut", _track(), container="nut"),
    _good("mpeg4.nut", _track(**_quick("mpeg4")), container="nut", codec="mpeg4"),
    _good("vp9.ivf", _track(**_quick("libvpx-vp9")), container="ivf", codec="vp9"),
    _good("vp8.ivf", _track(**_quick("libvpx")), container="ivf", codec="vp8"),
    _good("av1.ivf", _track(**_quick("libsvtav1")), container="ivf", codec="av1"),
    _good(
        "plain.y4m",
        _track(30, codec="rawvideo", **_TICK),
        container="yuv4mpegpipe",
        codec="rawvideo",
    ),
    _good("pal.dv", _DV, container="dv", codec="dvvideo", size=(768, 576)),  # pixels of 16:15
    Good("recorder.dav", dhav, tuple(range(75)), tuple(steady(75, 25)), container="dhav"),
    _trimmed("trimmed_early.mp4", [(1.0, 0.5)], list(range(15, 45))),
    _trimmed("trimmed_in_two.mp4", [(0.5, 0.0), (0.5, 2.0)], [*range(15), *range(60, 75)]),
    _trimmed("trimmed_empty_first.mp4", [(0.5, None), (1.0, 0.5)], list(range(15, 45))),
    _trimmed("trimmed_no_b_frames.mp4", [(1.0, 0.5)], list(range(15, 45)), options=_x264("bframes=0")),
    Good(
        "unknown_second_track.mkv",
        unknown_second_track,
        tuple(range(40)),
        tuple(steady(40)),
        container="matroska",
    ),
    Good(
        "leading_h264.ts",
        cut_transport(_track(120, gop=24, options=_OPEN_GROUPS), key=1),
        tuple(range(24, 120)),
        tuple(steady(96)),
        container="mpegts",
    ),
    Good(
        "leading_mpeg2.ts",
        cut_transport(_track(120, **{**_quick("mpeg2video"), "gop": 24}), key=1),
        tuple(range(24, 120)),
        tuple(steady(96)),
        container="mpegts",
        codec="mpeg2video",
    ),
    *(
        Good(
            f"leading_hevc.{extension}",
            from_key(
                _track(
                    120,
                    codec="libx265",
                    options={
                        "preset": "ultrafast",
                        "x265-params": "log-level=none:bframes=3:b-adapt=0:pools=1:open-gop=1:keyint=24"
                        ":min-keyint=24:repeat-headers=1",
                    },
                ),
                container,
            ),
            tuple(range(24, 120)),
            tuple(steady(96)),
            container=container,
            codec="hevc",
        )
        for extension, container in (("ts", "mpegts"), ("mkv", "matroska"))
    ),
    Good("late_picture.mp4", late_picture, tuple(range(45)), tuple(steady(45))),
    Good(
        "late_picture.mkv",
        lambda path: late_picture(path, "matroska"),
        tuple(range(45)),
        tuple(steady(45)),
        container="matroska",
    ),
)

DIFFERENT = frozenset(
    video.name for video in CONTAINERS if video.name.startswith(("trimmed", "leading", "late", "unknown"))
)
"""Those that are not there for their container."""

COUNTED: tuple[Good, ...] = (
    _good("bare.h264", _track(**_TICK, options=_x264("bframes=0")), container="h264"),
    _good("bare_reordered.h264", _track(**_TICK), container="h264"),
    _good("bare_named.mp4", _track(**_TICK), container="h264"),
    _good("bare.hevc", _track(**_quick("libx265")), container="hevc", codec="hevc"),
    _good("bare.obu", _track(rate=Fraction(25), **_quick("libsvtav1")), container="obu", codec="av1"),
    _good("bare.m4v", _track(**_quick("mpeg4")), container="m4v", codec="mpeg4"),
)
