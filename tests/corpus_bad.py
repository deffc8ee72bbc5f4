"""Files that are no videos, broken ones, and ones made to do harm. :data:`BAD` lists them."""

from __future__ import annotations

import io
import lzma
import os
import random
import re
import struct
import wave
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import av
import numpy as np
from av.stream import Disposition
from PIL import Image

from tests.corpus import Track, add_silence, picture, steady, write

Outcome = Literal["unreadable", "too large", "survivors"]


@dataclass(frozen=True)
class Bad:
    """A file that must not be taken for a good one.

    Attributes:
        outcome: what opening it or reading it must come to. Survivors: frames come, each of them right or
            called damaged, and what is lost is told.
        says: a part of the message.
        least: for survivors: how many frames must come out right.
        first, rate: for survivors: the number on the first frame, and how many follow in a second.
    """

    name: str
    make: Callable[[Path], None]
    outcome: Outcome
    says: str = ""
    least: int = 0
    first: int = 0
    rate: float = 30.0


FAST_START = {"movflags": "+faststart"}
"""The header comes first, so that it survives what is done to the rest."""

COUNT = 120
"""Frames of the video that the broken ones are made from; picture i shows number i."""


def _changed(
    change: Callable[[bytearray], object], container: str = "mp4", **options: str
) -> Callable[[Path], None]:
    """The good video with its bytes changed."""

    def make(path: Path) -> None:
        tick = Fraction(1, 30) if container == "avi" else Track.tick
        write(path, Track(range(COUNT), steady(COUNT), tick=tick), container=container, options=options)
        data = bytearray(path.read_bytes())
        change(data)
        path.write_bytes(data)

    return make


def _bytes(data: bytes) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(data) and None


def _cut(share: float) -> Callable[[bytearray], None]:
    def change(data: bytearray) -> None:
        del data[int(len(data) * share) :]

    return change


def _overwrite(start: float, end: float, fill: Callable[[int], bytes]) -> Callable[[bytearray], None]:
    def change(data: bytearray) -> None:
        first, last = int(len(data) * start), int(len(data) * end)
        data[first:last] = fill(last - first)

    return change


def _noise(count: int) -> bytes:
    return random.Random(5).randbytes(count)


def _front_off(data: bytearray) -> None:
    """As a recording that was switched on in the middle of the broadcast."""
    del data[: len(data) // 10 // 188 * 188]


def _sixteen_packets_gone(data: bytearray) -> None:
    """All of the video: their counters go once around, so that only the times of the pictures tell of it."""
    places = range(len(data) // 2 // 188 * 188, len(data), 188)
    video = [place for place in places if data[place + 1] & 0x1F == 1 and data[place + 2] == 0]  # PID 0x100
    for place in reversed(video[:16]):
        del data[place : place + 188]


def _times_gone(data: bytearray) -> None:
    """The headers of two pictures no longer say that they have times."""
    starts = [match.start() for match in re.finditer(b"\0\0\1\xe0", data)]
    for place in (starts[50], starts[53]):
        data[place + 7] &= 0x3F


def _flip_bits(data: bytearray) -> None:
    """A few bytes of one picture are changed, so that its data still begins and ends as it should."""
    middle = int(len(data) * 0.5)
    for place in range(middle, middle + 60, 20):
        data[place] ^= 0x5A


def _box(data: bytearray, kind: bytes) -> int:
    """Where the content of the first box of this kind starts."""
    return data.index(kind) + 4


def _lying_sample_times(data: bytearray) -> None:
    struct.pack_into(">II", data, _box(data, b"stts") + 4, 1, 0x7FFF_FFFF)


def _lying_duration(data: bytearray) -> None:
    for kind, offset in ((b"mvhd", 16), (b"mdhd", 16)):
        struct.pack_into(">I", data, _box(data, kind) + offset, 0xFFFF_FFF0)


def _lying_size(data: bytearray) -> None:
    struct.pack_into(">HH", data, _box(data, b"avc1") + 24, 65535, 65535)


def _lying_sample_sizes(data: bytearray) -> None:
    start = _box(data, b"stsz")
    for number in range(COUNT):
        struct.pack_into(">I", data, start + 12 + 4 * number, 0x7FFF_FFFF)


def _chunks_outside(data: bytearray) -> None:
    start = _box(data, b"stco")
    (count,) = struct.unpack_from(">I", data, start + 4)
    for number in range(count):
        struct.pack_into(">I", data, start + 8 + 4 * number, 0x7FFF_0000)


def _without_slices(data: bytearray) -> None:
    """The headers stay, every picture is noise."""
    start = data.index(b"mdat") + 4
    data[start:] = _noise(len(data) - start)


def _sound_only(path: Path) -> None:
    with av.open(str(path), "w", format="mp4") as output:
        add_silence(output)


def _wave(path: Path) -> None:
    with wave.open(str(path), "wb") as output:
        output.setparams((1, 2, 8000, 0, "NONE", ""))
        output.writeframes(bytes(16000))


def _cover_only(path: Path) -> None:
    with av.open(str(path), "w", format="mp4") as output:
        cover: Any = output.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 192, 112, "yuvj420p"
        cover.disposition = Disposition.attached_pic
        add_silence(output)
        frame = av.VideoFrame.from_ndarray(picture(1), format="rgb24").reformat(format="yuvj420p")
        output.mux(cover.encode(frame))
        output.mux(cover.encode(None))


def _playlist(text: str) -> Callable[[Path], None]:
    """A playlist of a video beside it: following it would show frames that are not in the file."""

    def make(path: Path) -> None:
        secret = path.with_name("secret.ts")
        write(secret, Track(range(10), steady(10)), container="mpegts")
        path.write_text(text.format(path=secret, name=secret.name))

    return make


def _bitmap_bomb(path: Path) -> None:
    """30000x30000 black pixels in about 100 KB of PNG."""
    side = 30_000

    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    pixels = zlib.compress(bytes(side // 8 + 1) * side, 9)
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )


def _huge_gif(path: Path) -> None:
    image = io.BytesIO()
    Image.fromarray(picture(1)).save(image, "GIF")
    data = bytearray(image.getvalue())
    struct.pack_into("<HH", data, 6, 65535, 65535)
    path.write_bytes(data)


def _h264_bomb(path: Path) -> None:
    """One grey picture of 16128x16128; kept packed, as making it takes half a minute."""
    packed = Path(__file__).parent / "data" / "h264_16128x16128.mp4.xz"
    path.write_bytes(lzma.decompress(packed.read_bytes()))


def _endless(container: str) -> Callable[[Path], None]:
    """A video, then a great many zeros that take no room on the disk."""

    def make(path: Path) -> None:
        _changed(lambda data: None, container)(path)
        os.truncate(path, 3 << 30)

    return make


def _cut_image(kind: str) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        image = io.BytesIO()
        Image.fromarray(np.random.default_rng(3).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(
            image, kind
        )
        path.write_bytes(image.getvalue()[: len(image.getvalue()) // 2])

    return make


def _broken_folder(path: Path) -> None:
    path.mkdir()
    (path / "1.png").write_bytes(b"not an image")


def _folder_with_a_broken_image(path: Path) -> None:
    path.mkdir()
    for number in range(5):
        Image.fromarray(picture(number)).save(path / f"{number}.png")
    whole = (path / "2.png").read_bytes()
    (path / "2.png").write_bytes(whole[: len(whole) // 2])


BAD: tuple[Bad, ...] = (
    Bad("empty.mp4", _bytes(b""), "unreadable", "empty"),
    Bad("text.mp4", _bytes(b"This is not a video.\n" * 50), "unreadable", "cannot be read as a video"),
    Bad("noise.mp4", _bytes(_noise(50_000)), "unreadable", "cannot be read as a video"),
    Bad("zeros.mp4", _bytes(bytes(50_000)), "unreadable", "cannot be read as a video"),
    Bad("page.mp4", _bytes(b"<!DOCTYPE html><title>404</title>"), "unreadable", "a web page"),
    Bad("paper.mp4", _bytes(b"%PDF-1.7\n"), "unreadable", "a PDF document"),
    Bad("archive.mp4", _bytes(b"PK\x03\x04" + bytes(100)), "unreadable", "a ZIP archive"),
    Bad("program.mp4", _bytes(b"\x7fELF" + _noise(9000)), "unreadable", "cannot be read as a video"),
    Bad("drawing.mp4", _bytes(b'<svg xmlns="http://www.w3.org/2000/svg"/>'), "unreadable", "an SVG picture"),
    Bad("only_a_header.mp4", _bytes(b"\0\0\0\x18ftypisom\0\0\2\0isomiso2"), "unreadable", "cannot be read"),
    Bad("header_missing.mp4", _changed(_cut(0.9)), "unreadable", "cannot be read as a video"),
    Bad("sound.mp4", _sound_only, "unreadable", "sound but no video"),
    Bad("sound.wav", _wave, "unreadable", "an audio file"),
    Bad("cover.m4a", _cover_only, "unreadable", "cover picture but no video"),
    Bad(
        "hls.mp4",
        _playlist("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{name}\n#EXT-X-ENDLIST\n"),
        "unreadable",
        "playlists are never followed",
    ),
    Bad("concat.mp4", _playlist("ffconcat version 1.0\nfile '{name}'\n"), "unreadable", "never followed"),
    Bad("concat_bare.mp4", _playlist("file '{path}'\n"), "unreadable", "cannot be read as a video"),
    Bad(
        "dash.mp4",
        _playlist('<?xml version="1.0"?><MPD><Period><BaseURL>{name}</BaseURL></Period></MPD>'),
        "unreadable",
        "an XML text",
    ),
    Bad("only_noise_inside.mp4", _changed(_without_slices, **FAST_START), "unreadable", "picture"),
    Bad("chunks_outside.mp4", _changed(_chunks_outside, **FAST_START), "unreadable", "no frames"),
    Bad("sample_sizes.mp4", _changed(_lying_sample_sizes, **FAST_START), "unreadable", ""),
    Bad("cut.png", _cut_image("PNG"), "unreadable", "truncated"),
    Bad("cut.jpg", _cut_image("JPEG"), "unreadable", "truncated"),
    Bad("cut.webp", _cut_image("WEBP"), "unreadable", ""),
    Bad("no_images", lambda path: path.mkdir(), "unreadable", "holds no images"),
    Bad("broken_images", _broken_folder, "unreadable", "None of the images"),
    Bad("pipe.mp4", lambda path: os.mkfifo(path), "unreadable", "not a regular file"),
    Bad("bomb.mp4", _h264_bomb, "too large", "16128x16128"),
    Bad("bomb.png", _bitmap_bomb, "too large", "900000000 pixels"),
    Bad("huge.gif", _huge_gif, "too large", "65535x65535"),
    Bad("size_lie.mp4", _changed(_lying_size), "survivors", "", COUNT),
    Bad("times_lie.mp4", _changed(_lying_sample_times), "survivors", "", COUNT),
    Bad("duration_lie.mp4", _changed(_lying_duration), "survivors", "", COUNT),
    Bad("cut.mp4", _changed(_cut(0.6), **FAST_START), "survivors", "cut short", 50),
    Bad("cut.mkv", _changed(_cut(0.6), "matroska"), "survivors", "", 50),
    Bad("cut.ts", _changed(_cut(0.6), "mpegts"), "survivors", "", 50),
    Bad("cut.avi", _changed(_cut(0.6), "avi"), "survivors", "", 50),
    Bad(
        "noise_inside.mp4",
        _changed(_overwrite(0.45, 0.55, _noise), **FAST_START),
        "survivors",
        "",
        60,
    ),
    Bad("hole_inside.mp4", _changed(_overwrite(0.45, 0.55, bytes), **FAST_START), "survivors", "", 60),
    Bad("noise_inside.mkv", _changed(_overwrite(0.45, 0.55, _noise), "matroska"), "survivors", "", 60),
    Bad("noise_inside.ts", _changed(_overwrite(0.45, 0.55, _noise), "mpegts"), "survivors", "", 40),
    Bad("packets_gone.ts", _changed(_sixteen_packets_gone, "mpegts"), "survivors", "", 40),
    Bad("times_gone.ts", _changed(_times_gone, "mpegts"), "survivors", "damaged", 40),
    Bad("front_cut_off.ts", _changed(_front_off, "mpegts"), "survivors", "", 80, first=30),
    Bad("flipped_bits.mp4", _changed(_flip_bits, **FAST_START), "survivors", "", 90),
    Bad("endless.mkv", _endless("matroska"), "too large", "takes longer than the limit of 2 s"),
    Bad("endless.ts", _endless("mpegts"), "survivors", "", 0),
    Bad("one_broken_image", _folder_with_a_broken_image, "survivors", "2.png", 4, rate=1.0),
)
