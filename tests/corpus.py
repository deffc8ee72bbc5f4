"""Videos made for the tests: every picture carries its own number, so that a test can tell which one it got.

:data:`GOOD` lists the files that must be read right, :data:`BAD` those that must be refused or reported.
Making one takes milliseconds to a second; nothing but PyAV, Pillow and numpy is needed.
"""

from __future__ import annotations

import functools
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.stream import Disposition
from numpy.typing import NDArray
from PIL import Image

BITS = 10
"""Bits of the number on a picture: numbers go up to 1023."""

MICROSECONDS = Fraction(1, 1_000_000)


# ---------------------------------------------------------------- pictures that say their number


@functools.lru_cache(maxsize=1024)
def picture(number: int, width: int = 192, height: int = 112) -> NDArray[np.uint8]:
    """Picture ``number``, uint8 (height, width, 3): its number as two strips of cells, and a moving scene.

    The upper strip is white, black, then the bits from the highest; the lower one is its negative.
    """
    y, x = np.mgrid[0:height, 0:width]
    image = np.stack(
        [(x * 2 + number) % 256, (y * 2 + x // 2) % 256, np.full_like(x, 96 + (number * 3) % 64)], axis=2
    ).astype(np.uint8)
    box = max(4, height // 6)
    left = (number * 3) % max(1, width - box)
    top = height // 2 + (number * 2) % max(1, height // 2 - box)
    image[top : top + box, left : left + box] = (240, 200, 30)
    cells = [1, 0, *((number >> bit) & 1 for bit in reversed(range(BITS)))]
    strip = height // 6
    for cell, bit in enumerate(cells):
        start, end = width * cell // len(cells), width * (cell + 1) // len(cells)
        image[:strip, start:end] = 235 if bit else 16
        image[strip : 2 * strip, start:end] = 16 if bit else 235
    return image


def read_number(image: NDArray[np.uint8]) -> int | None:
    """The number on an upright picture of any size; None when the two strips do not agree on one."""
    height, width, _ = image.shape
    grey = image[: height // 3 + 2].astype(np.float32).mean(axis=2)
    count = BITS + 2
    values = []
    for row in (height / 12, height / 4):
        cells = []
        for cell in range(count):
            middle = width * (cell + 0.5) / count
            ys = slice(max(0, round(row - height / 40)), round(row + height / 40) + 1)
            xs = slice(max(0, round(middle - width / 60)), round(middle + width / 60) + 1)
            cells.append(float(grey[ys, xs].mean()))
        values.append(cells)
    upper = [value > 128 for value in values[0]]
    lower = [value <= 128 for value in values[1]]
    certain = all(abs(value - 128) > 40 for row_values in values for value in row_values)
    if upper != lower or not certain or upper[:2] != [True, False]:
        return None
    return sum(bit << place for place, bit in enumerate(reversed(upper[2:])))


# ---------------------------------------------------------------- encoding


@dataclass(frozen=True)
class Track:
    """How one video track is encoded. Picture ``numbers[i]`` is shown at ``times[i]`` seconds."""

    numbers: Sequence[int]
    times: Sequence[float]
    codec: str = "libx264"
    width: int = 192
    height: int = 112
    pixels: str = "yuv420p"
    rate: Fraction = Fraction(30)
    gop: int = 30
    bit_rate: int = 0
    rotation: int = 0
    aspect: Fraction | None = None
    default: bool = False
    tick: Fraction = MICROSECONDS
    options: dict[str, str] = field(default_factory=dict)


def steady(count: int, rate: float = 30.0, start: float = 0.0) -> list[float]:
    """``count`` times, evenly spaced."""
    return [start + index / rate for index in range(count)]


def write(
    target: Path | io.RawIOBase,
    *tracks: Track,
    container: str | None = None,
    options: dict[str, str] | None = None,
    audio: bool = False,
    draw: Callable[[int, int, int], NDArray[np.uint8]] = picture,
) -> None:
    """Encode the tracks into one file, interleaved by time; ``audio`` adds a second of AAC silence."""
    name = str(target) if isinstance(target, Path) else target
    with av.open(name, "w", format=container, options=options or {}) as output:
        streams = [(_add_stream(output, track), track) for track in tracks]
        if audio:
            add_silence(output)
        order = sorted(
            (time, which, number)
            for which, track in enumerate(tracks)
            for time, number in zip(track.times, track.numbers, strict=True)
        )
        for time, which, number in order:
            stream, track = streams[which]
            frame = av.VideoFrame.from_ndarray(draw(number, track.width, track.height), format="rgb24")
            if track.codec != "gif":
                frame = frame.reformat(format=track.pixels)
            else:
                frame = frame.reformat(format="rgb8")
            frame.time_base = track.tick
            frame.pts = round(Fraction(time).limit_denominator(100_000) / track.tick)
            output.mux(stream.encode(frame))
        for stream, _ in streams:
            output.mux(stream.encode(None))


def _add_stream(output: Any, track: Track) -> Any:
    stream = output.add_stream(track.codec, rate=track.rate, options=dict(track.options))
    stream.width, stream.height, stream.pix_fmt = track.width, track.height, track.pixels
    context = stream.codec_context
    context.time_base = track.tick
    context.gop_size = track.gop
    context.thread_count = 1
    if track.bit_rate:
        context.bit_rate = track.bit_rate
    if track.default:
        stream.disposition = Disposition.default
    if track.aspect:
        context.sample_aspect_ratio = track.aspect
    if track.rotation:
        stream.set_display_rotation(track.rotation)
    return stream


def add_silence(output: Any, seconds: float = 1.0) -> None:
    """A mono AAC track."""
    stream = output.add_stream("aac", rate=16_000, layout="mono")
    for start in range(0, int(16_000 * seconds), 1024):
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 16_000, start, Fraction(1, 16_000)
        output.mux(stream.encode(frame))
    output.mux(stream.encode(None))


class Pipe(io.RawIOBase):
    """A file that can only be written from front to back, as a live stream is."""

    def __init__(self) -> None:
        self.data = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.data += bytes(data)
        return len(data)


# ---------------------------------------------------------------- the good ones


@dataclass(frozen=True)
class Good:
    """A file that must be read right.

    Attributes:
        name: of the file, made in a folder by ``make``.
        numbers: what the shown pictures say, in the order of presentation.
        times: when they are shown, seconds from the first.
        size: width and height, upright.
        container, codec: as ``info`` must say.
        torn: numbers of frames that may be called damaged, as where two files were joined.
    """

    name: str
    make: Callable[[Path], None]
    numbers: tuple[int, ...]
    times: tuple[float, ...]
    size: tuple[int, int] = (192, 112)
    container: str = "mp4"
    codec: str = "h264"
    rotation: int = 0
    torn: frozenset[int] = frozenset()


def _video(name: str, track: Track, **changes: Any) -> Good:
    """A good file of one track."""
    fields = {"size": (track.width, track.height)} | {
        key: changes.pop(key) for key in ("size", "container", "codec", "rotation") if key in changes
    }
    shown = sorted((time, number) for time, number in zip(track.times, track.numbers, strict=True))
    if changes.pop("cut_before_zero", False):
        shown = [(time, number) for time, number in shown if time >= 0]
    first = shown[0][0]
    return Good(
        name,
        lambda path: write(path, track, **changes),
        tuple(number for _, number in shown),
        tuple(time - first for time, _ in shown),
        **fields,
    )


def _track(count: int = 75, **changes: Any) -> Track:
    start = changes.pop("start", 0.0)
    rate = float(changes.get("rate", 30))
    return Track(**{"numbers": range(count), "times": steady(count, rate, start), **changes})


def _x264(text: str, **options: str) -> dict[str, str]:
    return {"preset": "veryfast", "x264-params": text, **options}


def _quick(codec: str) -> dict[str, Any]:
    """Settings that encode small pictures in well under a second."""
    return {
        "libx265": {
            "codec": "libx265",
            "options": {"preset": "ultrafast", "x265-params": "log-level=none:bframes=4:b-adapt=0:pools=1"},
        },
        "libvpx-vp9": {
            "codec": "libvpx-vp9",
            "bit_rate": 600_000,
            "options": {"deadline": "realtime", "cpu-used": "8"},
        },
        "libvpx": {
            "codec": "libvpx",
            "bit_rate": 600_000,
            "options": {"deadline": "good", "cpu-used": "5", "auto-alt-ref": "1", "lag-in-frames": "16"},
        },
        "libsvtav1": {
            "codec": "libsvtav1",
            "options": {"preset": "10", "crf": "25", "svtav1-params": "lp=1"},
        },
        "mpeg2video": {
            "codec": "mpeg2video",
            "bit_rate": 2_000_000,
            "tick": Fraction(1, 30),
            "options": {"bf": "2"},
        },
        "mpeg4": {"codec": "mpeg4", "bit_rate": 1_500_000, "tick": Fraction(1, 30), "options": {"bf": "2"}},
    }[codec]


_UNEVEN = [0.0]
for _step in range(74):
    _UNEVEN.append(round(_UNEVEN[-1] + (0.04, 0.04, 0.2, 0.033, 0.5)[_step % 5], 3))
"""Times of a video with a variable frame rate."""


def _live(path: Path) -> None:
    pipe = Pipe()
    write(pipe, _track(**_quick("libvpx-vp9")), container="webm", options={"live": "1"})
    path.write_bytes(bytes(pipe.data))


def _joined(*parts: Track) -> Callable[[Path], None]:
    """Transport streams one after the other, as ``cat a.ts b.ts`` makes them."""

    def make(path: Path) -> None:
        whole = b""
        for part in parts:
            write(path, part, container="mpegts")
            whole += path.read_bytes()
        path.write_bytes(whole)

    return make


def _animation(kind: str) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        images = [Image.fromarray(picture(number)) for number in range(12)]
        options: dict[str, Any] = {"lossless": True} if kind == "WEBP" else {}
        images[0].save(
            path, kind, save_all=True, append_images=images[1:], duration=[100, 300] * 6, loop=0, **options
        )

    return make


def _folder(path: Path) -> None:
    path.mkdir()
    for number in range(12):  # img2 sorts before img10
        Image.fromarray(picture(number)).save(path / f"img{number}.{'PNG' if number % 2 else 'jpg'}")
    (path / "notes.txt").write_text("not an image")
    (path / ".hidden.png").write_bytes(b"not an image")


def _still(path: Path) -> None:
    Image.fromarray(picture(7)).save(path, "PNG")


def _turned_photo(path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright: turn by 90 degrees clockwise to show
    Image.fromarray(np.ascontiguousarray(np.rot90(picture(9), 1))).save(path, "JPEG", quality=95, exif=exif)


def _rotated(number: int, width: int, height: int, degrees: int) -> NDArray[np.uint8]:
    """A picture as the camera's sensor saw it, which is upright once turned by that many degrees."""
    turns = degrees // 90
    upright = picture(number, *((height, width) if turns % 2 else (width, height)))
    return np.ascontiguousarray(np.rot90(upright, -turns))


def _turned_video(degrees: int, **changes: Any) -> Good:
    track = _track(rotation=degrees, **changes)
    size = (track.height, track.width) if degrees % 180 else (track.width, track.height)
    cut = {"cut_before_zero": True} if changes.get("start", 0) < 0 else {}
    name = f"rotated_{degrees}{'_cut' if cut else ''}.mp4"
    draw = lambda number, width, height: _rotated(number, width, height, degrees)  # noqa: E731
    return _video(name, track, size=size, rotation=degrees, draw=draw, **cut)


def _two_tracks(path: Path) -> None:
    small = Track([number + 500 for number in range(40)], steady(40), width=96, height=72, bit_rate=60_000)
    write(path, small, _track(40, default=True))


_STILL_TIMES = tuple(float(second) for second in range(12))
_ANIMATION_TIMES = tuple(round(0.4 * (n // 2) + 0.1 * (n % 2), 3) for n in range(12))
_SMALL: dict[str, Any] = {"width": 96, "height": 72}
_HUNDREDTHS = Fraction(1, 100)

GOOD: tuple[Good, ...] = (
    _video("plain.mp4", _track()),
    _video("faststart.mp4", _track(), options={"movflags": "+faststart"}),
    _video("long_groups.mp4", _track(150, gop=250)),
    _video("short_groups.mp4", _track(400, gop=20, **_SMALL)),
    _video("only_key_pictures.mp4", _track(60, gop=1)),
    _video("no_b_frames.mp4", _track(options=_x264("bframes=0"))),
    _video(
        "open_groups.mp4",
        _track(300, **_SMALL, gop=24, options=_x264("open-gop=1:bframes=4:b-pyramid=normal:b-adapt=0")),
    ),
    _video("intra_refresh.mp4", _track(160, gop=40, options=_x264("intra-refresh=1:bframes=0"))),
    _video(
        "intra_refresh.ts",
        _track(160, gop=40, options=_x264("intra-refresh=1:bframes=0")),
        container="mpegts",
    ),
    _video("fragmented.mp4", _track(300, **_SMALL), options={"movflags": "frag_keyframe+empty_moov"}),
    _video("with_sound.mp4", _track(), audio=True),
    _video("Spaces and ünïcödé 影片.MP4", _track(30)),
    _video("plain.mov", _track(), container="mov"),
    _video("plain.mkv", _track(300, **_SMALL), container="matroska"),
    _video("plain.ts", _track(), container="mpegts"),
    _video("long.ts", _track(300, **_SMALL), container="mpegts"),
    _video("plain.flv", _track(), container="flv"),
    _video("vfr.mp4", _track(times=_UNEVEN)),
    _video("vfr.mkv", _track(times=_UNEVEN), container="matroska"),
    _video("vfr.webm", _track(times=_UNEVEN, **_quick("libvpx-vp9")), container="webm", codec="vp9"),
    _video("edit_list.mp4", _track(start=-0.5), cut_before_zero=True),
    _video("starts_at_5s.mp4", _track(start=5.0)),
    _video("starts_at_5s.mkv", _track(start=5.0), container="matroska"),
    _video(
        "starts_before_0.mkv",
        _track(start=-0.5),
        container="matroska",
        options={"avoid_negative_ts": "disabled"},
    ),
    _turned_video(90),
    _turned_video(180),
    _turned_video(270),
    _turned_video(90, start=-0.5),
    _video("10_bit.mkv", _track(pixels="yuv420p10le"), container="matroska"),
    _video("chroma_444_odd.mp4", _track(pixels="yuv444p", width=193, height=113)),
    _video("full_range.mp4", _track(pixels="yuvj420p")),
    _video("anamorphic.mp4", _track(aspect=Fraction(64, 45)), size=(273, 112)),
    _video("tiny.mp4", _track(width=96, height=72, options=_x264("qp=12"))),
    _video("one_frame.mp4", _track(1)),
    _video("two_frames.mp4", _track(2)),
    Good("two_tracks.mp4", _two_tracks, tuple(range(40)), tuple(steady(40))),
    _video("hevc.mp4", _track(150, **_quick("libx265")), codec="hevc"),
    _video(
        "hevc_10_bit.mkv",
        _track(pixels="yuv420p10le", **_quick("libx265")),
        container="matroska",
        codec="hevc",
    ),
    _video("vp8.webm", _track(**_quick("libvpx")), container="webm", codec="vp8"),
    _video(
        "vp9_odd.webm", _track(width=193, height=113, **_quick("libvpx-vp9")), container="webm", codec="vp9"
    ),
    Good("live.webm", _live, tuple(range(75)), tuple(steady(75)), container="webm", codec="vp9"),
    _video("av1.mp4", _track(**_quick("libsvtav1")), codec="av1"),
    _video("mpeg2.ts", _track(**_quick("mpeg2video")), container="mpegts", codec="mpeg2video"),
    _video("mpeg2.mpg", _track(**_quick("mpeg2video")), container="mpeg", codec="mpeg2video"),
    _video("mpeg4.avi", _track(**_quick("mpeg4")), container="avi", codec="mpeg4"),
    _video("h264.avi", _track(tick=Fraction(1, 30)), container="avi"),
    _video(
        "motion_jpeg.avi",
        _track(30, codec="mjpeg", pixels="yuvj420p", tick=Fraction(1, 30), bit_rate=4_000_000),
        container="avi",
        codec="mjpeg",
    ),
    _video(
        "prores.mov",
        _track(30, codec="prores", pixels="yuv422p10le", options={"profile": "0"}),
        container="mov",
        codec="prores",
    ),
    Good(
        "clock_starts_again.ts",
        _joined(_track(60), Track(range(60, 120), steady(60))),
        tuple(range(120)),
        tuple(steady(120)),
        container="mpegts",
        torn=frozenset({57, 59}),
    ),
    Good(
        "size_changes.ts",
        _joined(_track(60, start=1.0), Track(range(60, 120), steady(60, start=3.0), width=160, height=96)),
        tuple(range(120)),
        tuple(steady(120)),
        container="mpegts",
        torn=frozenset({57, 59}),
    ),
    _video(
        "animation.gif",
        _track(40, codec="gif", pixels="rgb8", rate=Fraction(10), tick=_HUNDREDTHS),
        container="gif",
        codec="gif",
    ),
    Good(
        "animation.webp",
        _animation("WEBP"),
        tuple(range(12)),
        _ANIMATION_TIMES,
        container="webp",
        codec="webp",
    ),
    Good(
        "animation.png", _animation("PNG"), tuple(range(12)), _ANIMATION_TIMES, container="png", codec="png"
    ),
    Good("still.png", _still, (7,), (0.0,), container="png", codec="png"),
    Good("still_named.mp4", _still, (7,), (0.0,), container="png", codec="png"),
    Good("turned.jpg", _turned_photo, (9,), (0.0,), container="jpeg", codec="jpeg", rotation=270),
    Good("folder", _folder, tuple(range(12)), _STILL_TIMES, container="folder", codec="jpeg"),
    Good(
        "video_named.txt",
        lambda path: write(path, _track(30), container="mp4"),
        tuple(range(30)),
        tuple(steady(30)),
    ),
)
