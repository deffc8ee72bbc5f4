"""Videos whose pixels are stored in ways that a player undoes: HDR, colour tags, mirrors, pixels not square.

The colours of HDR are worked out here from the standards, apart from the code under test.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import av
import numpy as np
from av.bitstream import BitStreamFilterContext
from numpy.typing import NDArray

CHART = (
    ((255, 255, 255), (0, 0, 0), (128, 128, 128), (255, 0, 0), (0, 255, 0), (0, 0, 255)),
    ((255, 255, 0), (0, 255, 255), (255, 0, 255), (200, 120, 60), (60, 120, 200), (90, 160, 70)),
)
"""The colours of :func:`chart`, from left to right in two rows."""

BT709, UNKNOWN, PQ, HLG, BT2020 = 1, 2, 16, 18, 9
"""Numbers of ITU-T H.273."""

TO_BT2020 = np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]])
"""Linear BT.709 to linear BT.2020, ITU-R BT.2087 table 1."""


def chart(width: int = 192, height: int = 112) -> NDArray[np.uint8]:
    """Patches of known colours, uint8 (height, width, 3), sRGB."""
    rows, columns = len(CHART), len(CHART[0])
    return np.array(CHART, np.uint8).repeat(height // rows, axis=0).repeat(width // columns, axis=1)


def patches(image: NDArray[np.uint8]) -> list[tuple[int, int, int]]:
    """The colours in the middle of the patches of :func:`chart`, at any size."""
    height, width, _ = image.shape
    rows, columns = len(CHART), len(CHART[0])
    return [
        tuple(
            int(value)
            for value in image[height * (2 * y + 1) // 2 // rows, width * (2 * x + 1) // 2 // columns]
        )
        for y in range(rows)
        for x in range(columns)
    ]


def hdr_codes(image: NDArray[np.uint8], transfer: Literal["HLG", "PQ"]) -> NDArray[np.float64]:
    """An sRGB picture as HDR shows it with white at 203 cd/m2: R'G'B' from 0 to 1 in BT.2020.

    PQ as in ITU-R BT.2100 table 4; HLG as in table 5, for a screen of 1000 cd/m2 whose gamma of 1.2 is
    undone per channel.
    """
    code = image / 255.0
    linear = np.where(code <= 0.04045, code / 12.92, ((code + 0.055) / 1.055) ** 2.4)
    nits = np.clip(linear @ TO_BT2020.T, 0, None) * 203
    if transfer == "PQ":
        powered = (nits / 10_000) ** 0.1593017578125
        return ((0.8359375 + 18.8515625 * powered) / (1 + 18.6875 * powered)) ** 78.84375
    scene = (nits / 1000) ** (1 / 1.2)
    bright = 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073
    return np.where(scene <= 1 / 12, np.sqrt(3 * scene), bright)


def to_yuv(codes: NDArray[np.float64], red: float, blue: float, bits: int) -> NDArray[np.uint16]:
    """R'G'B' from 0 to 1 as Y'CbCr of limited range, (3, height, width), by two luma weights."""
    luma = codes @ np.array([red, 1 - red - blue, blue])
    cb, cr = (codes[..., 2] - luma) / (2 - 2 * blue), (codes[..., 0] - luma) / (2 - 2 * red)
    unit = 1 << (bits - 8)
    return np.rint(np.stack([luma * 219 + 16, cb * 224 + 128, cr * 224 + 128]) * unit).astype(np.uint16)


def encode(
    path: Path,
    planes: Iterable[NDArray[np.uint16]],
    *,
    bits: int = 8,
    codec: str = "libx264",
    tags: tuple[int, int, int] = (UNKNOWN, UNKNOWN, UNKNOWN),
    rate: int = 30,
    aspect: Fraction | None = None,
    matrix: Sequence[int] | None = None,
    pixels: str = "",
    options: dict[str, str] | None = None,
    container: str | None = None,
) -> None:
    """Write pictures given as Y'CbCr 4:4:4, each (3, height, width), as 4:2:0 unless ``pixels`` says other.

    Args:
        tags: transfer, primaries and matrix of the stream, as ITU-T H.273 numbers them.
        aspect: width to height of a pixel.
        matrix: nine numbers of a display matrix.
    """
    # With B-frames x265 gives wrong times to a film of two or three pictures.
    quiet = {"x265-params": "log-level=none:pools=1:bframes=0", "preset": "ultrafast", "crf": "1"}
    if codec == "libx264":
        quiet = {"preset": "ultrafast", "crf": "1"}
    wide = "le" if bits > 8 else ""
    depth = str(bits) if bits > 8 else ""
    with av.open(str(path), "w", format=container) as output:
        stream: Any = output.add_stream(codec, rate=rate, options=quiet if options is None else options)
        stream.pix_fmt = pixels or f"yuv420p{depth}{wide}"
        context = stream.codec_context
        context.thread_count = 1
        context.color_trc, context.color_primaries, context.colorspace = tags
        context.color_range = 1
        if aspect:
            context.sample_aspect_ratio = aspect
        if matrix:
            stream.set_display_matrix(matrix)
        for number, picture in enumerate(planes):
            if not number:
                _, stream.height, stream.width = picture.shape
            frame = _frame(picture, bits).reformat(format=stream.pix_fmt)
            frame.pts, frame.time_base = number, Fraction(1, rate)
            frame.color_trc, frame.color_primaries, frame.colorspace = tags
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))


def _frame(picture: NDArray[np.uint16], bits: int) -> av.VideoFrame:
    """A 4:4:4 frame of these planes."""
    _, height, width = picture.shape
    frame = av.VideoFrame(width, height, f"yuv444p{bits}le" if bits > 8 else "yuv444p")
    kind = np.uint16 if bits > 8 else np.uint8
    for plane, values in zip(frame.planes, picture, strict=True):
        rows = np.zeros((height, plane.line_size // np.dtype(kind).itemsize), kind)
        rows[:, :width] = values
        plane.update(rows.tobytes())
    frame.color_range = 1
    return frame


def write_hdr(
    path: Path, images: Iterable[NDArray[np.uint8]], transfer: Literal["HLG", "PQ"], **changes: Any
) -> None:
    """Encode sRGB pictures as HDR in BT.2020 with 10 bits: HEVC, tagged, unless ``changes`` say other."""
    tags = (PQ if transfer == "PQ" else HLG, BT2020, BT2020)
    bits = changes.get("bits", 10)
    planes = (to_yuv(hdr_codes(image, transfer), 0.2627, 0.0593, bits) for image in images)
    encode(path, planes, **{"bits": 10, "codec": "libx265", "tags": tags, **changes})


def write_sdr(path: Path, images: Iterable[NDArray[np.uint8]], **changes: Any) -> None:
    """Encode sRGB pictures as SDR with the matrix of BT.709: H.264, tagged, unless ``changes`` say other."""
    planes = (to_yuv(image / 255.0, 0.2126, 0.0722, changes.get("bits", 8)) for image in images)
    encode(path, planes, **{"tags": (BT709, BT709, BT709), **changes})


def retagged(path: Path, target: Path, filter_: str) -> None:
    """Copy a video with its stream's headers changed, e.g. by ``h264_metadata=matrix_coefficients=14``."""
    with av.open(str(path)) as source, av.open(str(target), "w") as output:
        stream = source.streams.video[0]
        copy = output.add_stream_from_template(stream)
        edit = BitStreamFilterContext(filter_, stream, copy)
        for packet in (*source.demux(stream), None):
            if packet is not None and not packet.size:
                continue
            for edited in edit.filter(packet):
                edited.stream = copy
                output.mux(edited)


def tagged_by_container(path: Path, target: Path, tags: tuple[int, int, int]) -> None:
    """Copy a video with colour tags (transfer, primaries, matrix) in the container, not in the stream."""
    with av.open(str(path)) as source, av.open(str(target), "w") as output:
        stream = source.streams.video[0]
        copy: Any = output.add_stream_from_template(stream)
        context = copy.codec_context
        context.color_trc, context.color_primaries, context.colorspace = tags
        for packet in source.demux(stream):
            if packet.size:
                packet.stream = copy
                output.mux(packet)
