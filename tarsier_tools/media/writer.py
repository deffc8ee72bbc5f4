"""Writes pictures to a video file."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from itertools import chain
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray


def write_mp4(
    path: str | Path,
    frames: Iterable[NDArray[np.uint8]],
    fps: float,
    size: tuple[int, int] | None = None,
    *,
    crf: int = 18,
) -> int:
    """Encode frames as H.264 in an mp4 file, yuv420p so that everything plays it.

    Args:
        frames: pictures, each (height, width, 3), uint8 RGB; consumed one at a time.
        fps: pictures per second.
        size: width and height of the pictures, both even; by default the first picture's.
        crf: quality; lower is better and larger.

    Returns:
        How many frames were written.

    Raises ValueError for an odd size, a picture of another size, or no picture at all.
    """
    pictures = iter(frames)
    first = next(pictures, None)
    if first is None:
        raise ValueError("there are no frames to write")
    width, height = size or (first.shape[1], first.shape[0])
    if width % 2 or height % 2:
        raise ValueError(f"yuv420p needs an even width and height, got {width}x{height}")
    with av.open(str(path), "w", format="mp4") as container:
        rate = Fraction(fps).limit_denominator(1001)
        stream = container.add_stream("libx264", rate=rate, options={"crf": str(crf)})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        count = 0
        for picture in chain([first], pictures):
            if picture.shape != (height, width, 3):
                raise ValueError(f"frame {count} is {picture.shape}, not {(height, width, 3)}")
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            count += 1
        container.mux(stream.encode())
    return count
