"""Videos made for the tests: every picture carries its own number, so that a test can tell which one it got.

:data:`GOOD` lists the files that must be read right, :data:`BAD` those that must be refused or reported.
Making one takes milliseconds to a second; nothing but PyAV, Pillow and numpy is needed.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

BITS = 10
"""Bits of the number on a picture: numbers go up to 1023."""

MICROSECONDS = Fraction(1, 1_000_000)


# ---------------------------------------------------------------- pictures that say their number


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
    grey = image.astype(np.float32).mean(axis=2)
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
    """How one video track is encoded. ``numbers[i]`` is drawn on the picture shown at ``times[i]`` seconds."""

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
            _mux_silence(output)
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
    if track.aspect:
        context.sample_aspect_ratio = track.aspect
    if track.rotation:
        stream.set_display_rotation(track.rotation)
    return stream


def _mux_silence(output: Any, seconds: float = 1.0) -> None:
    stream = output.add_stream("aac", rate=16_000, layout="mono")
    for start in range(0, int(16_000 * seconds), 1024):
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 16_000, start, Fraction(1, 16_000)
        output.mux(stream.encode(frame))
    output.mux(stream.encode(None))
