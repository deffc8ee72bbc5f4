"""Tell image files from films by their bytes, where the first few do not settle it.

A JPEG may be a photo or the first picture of a Motion JPEG stream, and an ISO file (``ftyp``) a film, a HEIC
or AVIF photo, or a sequence of pictures.
"""

from __future__ import annotations

import itertools
import re
import struct
from collections.abc import Iterator
from pathlib import Path

_STILL_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"mif1", b"mif2", b"miaf", b"avif", b"avis")
"""Major brands of pictures, and of AVIF sequences, which are read like other animations."""

_MOST_BOXES = 1000
"""Top-level boxes of an ISO file to look at; fragmented films have more, but far behind their ``moov``."""

_FIRST_PICTURE_BYTES = 32 << 20
"""Of a JPEG file, the part in which a second picture is looked for."""

_MOST_SEGMENTS = 1000
"""Segments of a JPEG before its end; photos have up to about 300, most of them of a large colour profile."""

_MARKER = re.compile(rb"\xff+[^\x00\xff]")
_END_OF_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
"""A marker within entropy-coded data that is neither an escaped 0xFF nor a restart (ITU-T T.81, B.1.1)."""
_PADDING = re.compile(rb"\0*")

_END_OF_IMAGE, _START_OF_SCAN, _APP2 = 0xD9, 0xDA, 0xE2
_FRAME_HEADERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""Second bytes of the SOFn markers, which hold height and width."""


def is_image(path: Path, head: bytes) -> bool:
    """Return whether a file is an image or an animation that Pillow reads, rather than a film.

    Args:
        path: the file, which is read further where its head can be either.
        head: the first 64 bytes of it.
    """
    if head.startswith(b"\xff\xd8\xff"):
        return not _is_stream(path)
    if head[4:8] == b"ftyp":
        return _is_iso_image(path, head[8:12])
    return (
        head.startswith((b"\x89PNG\r\n\x1a\n", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"))
        or (head.startswith(b"BM") and head[6:10] == bytes(4))
        or (head[:4] == b"RIFF" and head[8:12] == b"WEBP")
    )


def _is_iso_image(path: Path, brand: bytes) -> bool:
    """Return whether an ISO file is a picture: by its brand, or because it has pictures but no film."""
    kinds = {kind for kind, _ in top_boxes(path)}
    if b"moov" in kinds:
        return brand in _STILL_BRANDS
    return b"meta" in kinds


def top_boxes(path: Path) -> list[tuple[bytes, int]]:
    """Return type and declared end in bytes of each top-level box of an ISO file (ISO/IEC 14496-12, 4.2)."""
    boxes: list[tuple[bytes, int]] = []
    length = path.stat().st_size
    start = 0
    with path.open("rb") as file:
        while start < length and len(boxes) < _MOST_BOXES:
            file.seek(start)
            header = file.read(16)
            size = int.from_bytes(header[:4], "big")
            if size == 1:
                size = int.from_bytes(header[8:], "big")
            end = start + size if size else length
            boxes.append((header[4:8], end))
            if end < start + 8:
                break
            start = end
    return boxes


def _is_stream(path: Path) -> bool:
    """Return whether a JPEG is directly followed by another one of the same size: Motion JPEG.

    Photos have other things behind them: smaller pictures (previews, depth and gain maps), which most cameras
    announce in an MPF segment, or a film (motion photos).
    """
    with path.open("rb") as file:
        data = file.read(_FIRST_PICTURE_BYTES)
    first, second = itertools.islice(itertools.chain(_pictures(data), (None, None)), 2)
    return first is not None and first == second


def _pictures(data: bytes) -> Iterator[tuple[int, int] | None]:
    """Yield height and width of each of the JPEGs that stand one right behind the other.

    Ends at the first one that is a multi-picture photo, is damaged, or has no end in the data.
    """
    place = 0
    while data.startswith(b"\xff\xd8\xff", place):
        size = None
        place += 2
        for _ in range(_MOST_SEGMENTS):
            marker = _MARKER.match(data, place)
            if marker is None:
                return
            place = marker.end()
            kind = data[place - 1]
            if kind == _END_OF_IMAGE:
                break
            length = int.from_bytes(data[place : place + 2], "big")
            if kind == _APP2 and data.startswith(b"MPF\0", place + 2):
                return
            if kind in _FRAME_HEADERS and place + 7 <= len(data):
                size = struct.unpack_from(">HH", data, place + 3)
            place += length
            if kind == _START_OF_SCAN:
                end = _END_OF_SCAN.search(data, place)
                if end is None:
                    return
                place = end.start()
        else:
            return
        yield size
        padding = _PADDING.match(data, place)
        place = padding.end() if padding else place
