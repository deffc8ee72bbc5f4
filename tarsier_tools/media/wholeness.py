"""What the structure of a container says about whether a file is whole.

Where a container has no structure that tells, nothing is claimed.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import BinaryIO

from tarsier_tools.media.base import Deadline
from tarsier_tools.media.elements import (
    CHUNK,
    SEGMENT,
    WALKS,
    Bytes,
    box_step,
    ebml_element,
    ebml_step,
    gif_step,
    ogg_step,
    ps_step,
    start_of,
    walk,
)

_INSIDE = "it ends in the middle of its data"


def lacks_index(file: BinaryIO) -> bool:
    """Return whether this is an MP4 or MOV file whose index (``moov``) was never written or is cut off."""
    data = Bytes(file)
    if data.at(4, 4) not in (b"ftyp", b"mdat", b"wide", b"skip", b"free"):
        return False
    place, media = 0, False
    while place < data.size:
        kind = data.at(place + 4, 4)
        if kind in (b"moov", b"moof", b"meta"):
            return False
        media = media or kind == b"mdat"
        end = box_step(data, place)
        if end is None:
            break
        place = end
    return media


def missing_end(file: BinaryIO, family: str, *, packet_bytes: int, last_end: int) -> str:
    """Return why the end of the file is missing, as a part of a sentence; "" when nothing says so.

    Args:
        file: open for reading.
        family: the first of FFmpeg's names of the container.
        packet_bytes: size of the last packet of the video track.
        last_end: where that packet ends in the file.
    """
    data = Bytes(file)
    check = _ENDS.get(family)
    if check is not None:
        return check(data)
    if family == "yuv4mpegpipe" and data.size > last_end > packet_bytes:
        return "its last picture is incomplete"
    if family == "dv" and data.size % packet_bytes:
        return "its last picture is incomplete"
    return ""


def breaks(file: BinaryIO, family: str, deadline: Deadline) -> list[tuple[int, int]] | None:
    """Return the stretches of bytes, ``[start, end)``, where the container's elements do not follow.

    None means that the structure of this container cannot tell.
    """
    data = Bytes(file, deadline)
    if family == "asf":
        return _asf_breaks(data)
    if family not in WALKS:
        return None
    found: list[tuple[int, int]] = []
    pages: dict[int, int] = {}
    step, again = WALKS[family]
    for start, end, whole in walk(data, step, start_of(data, family), again):
        if not whole:
            found.append((start, end))
        elif family == "ogg":
            serial, number = struct.unpack("<II", data.at(start + 14, 8))
            if number > pages.get(serial, number) + 1:  # pages are gone without a trace
                found.append((start, start + 1))
            pages[serial] = number
    return found


def _cut(have: int, declared: int) -> str:
    return f"{have} of the {declared} bytes that it declares are there" if have < declared else ""


def _incomplete(family: str) -> Callable[[Bytes], str]:
    """Return a check that walks to the end of the file."""

    def check(data: Bytes) -> str:
        step, again = WALKS[family]
        ends = [end for _, end, _ in walk(data, step, start_of(data, family), again) if end > data.size]
        return _INSIDE if ends else ""

    return check


def _mov_end(data: Bytes) -> str:
    """Check recordings in fragments; otherwise the index says more exactly which pictures are there."""
    step, again = WALKS["mov"]
    fragments = False
    for start, end, whole in walk(data, step, 0, again):
        if not whole and fragments:
            return f"what follows byte {start} cannot be read"
        fragments = fragments or data.at(start + 4, 4) == b"moof"
        if fragments and end > data.size:
            return _INSIDE
    return ""


def _matroska_end(data: Bytes) -> str:
    header = ebml_step(data, 0)
    segment = None if header is None else ebml_element(data, header)
    if segment is None or segment[0] != SEGMENT:
        return ""
    _, content, length = segment
    if length is None:  # a live recording
        return _incomplete("matroska")(data)
    return _cut(data.size, content + length)


def _flv_end(data: Bytes) -> str:
    head = data.at(0, CHUNK)
    name = head.find(b"filesize\0")
    if name >= 0 and len(head) >= name + 17:
        (declared,) = struct.unpack_from(">d", head, name + 9)
        if data.size < declared < 1 << 60:
            return _cut(data.size, int(declared))
    length = data.number(data.size - 4, ">I")
    last = data.at(data.size - 4 - length, 4)
    if len(last) == 4 and last[0] & 0x1F in (8, 9, 18) and int.from_bytes(last[1:4], "big") + 11 == length:
        return ""
    return _incomplete("flv")(data)


def _ogg_end(data: Bytes) -> str:
    first = max(0, data.size - 2 * CHUNK)
    tail = data.at(first, 2 * CHUNK)
    page = tail.rfind(b"OggS\0")
    end = None if page < 0 else ogg_step(data, first + page)
    if end is None:
        return ""
    if end > data.size:
        return _INSIDE
    return "" if tail[page + 5] & 4 else "its last page is not marked as the end"


def _avi_end(data: Bytes) -> str:
    place = 0
    while data.at(place, 4) == b"RIFF":
        length = data.number(place + 4, "<I")
        if length in (0, 0xFFFF_FFFF):  # never closed; only a repair tool knows more
            return ""
        place += 8 + length + length % 2
    return _cut(data.size, place - 1) if place > data.size + 1 else ""


_ASF_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_ASF_DATA = bytes.fromhex("3626b2758e66cf11a6d900aa0062ce6c")


def _asf_packets(data: Bytes) -> tuple[int, int, int] | None:
    """Return (start, size, declared number) of the data packets; None when the header does not say."""
    head = data.at(0, CHUNK)
    place = head.find(_ASF_PROPERTIES)
    if place < 0 or len(head) < place + 104:
        return None
    count, flags, size = (
        *struct.unpack_from("<Q", head, place + 56),
        *struct.unpack_from("<II", head, place + 88),
    )
    first = data.number(16, "<Q")
    if flags & 1 or not size or data.at(first, 16) != _ASF_DATA:  # flag 1: a broadcast, counts are not valid
        return None
    return first + 50, size, count


def _asf_end(data: Bytes) -> str:
    packets = _asf_packets(data)
    if packets is None:
        return ""
    start, size, count = packets
    return _cut(data.size, start + size * count)


def _asf_breaks(data: Bytes) -> list[tuple[int, int]] | None:
    """Data packets have one size, and each begins with the same flags of error correction."""
    packets = _asf_packets(data)
    if packets is None or data.at(packets[0], 3) != b"\x82\0\0":
        return None
    start, size, count = packets
    places = range(start, min(start + size * count, data.size), size)
    return [(place, place + size) for place in places if data.at(place, 3) != b"\x82\0\0"]


_NUT_INDEX = bytes.fromhex("4e58dd672f23e64e")


def _mxf_end(data: Bytes) -> str:
    start = start_of(data, "mxf")
    head = data.at(start, 25)
    value = start + 17 + (head[16] & 0x7F if len(head) > 16 and head[16] & 0x80 else 0)
    footer = data.number(value + 24, ">Q")
    if footer:
        return "" if start + footer < data.size else "its footer is missing"
    return _incomplete("mxf")(data)


def _ts_end(data: Bytes) -> str:
    head = data.at(0, 5 * 204)
    for size, offset in ((188, 0), (192, 4), (204, 0)):
        if all(head[place : place + 1] == b"G" for place in range(offset, len(head), size)):
            return "it ends in the middle of a packet" if data.size % size else ""
    return ""


def _ps_end(data: Bytes) -> str:
    """Follow the last packs to the end of the file; a system start code never appears inside a picture."""
    place = data.find(WALKS["mpeg"][1], max(0, data.size - 4 * CHUNK))
    while place < data.size:
        end = ps_step(data, place)
        if end is None:
            return ""
        place = end
    return "it ends in the middle of a packet" if place > data.size else ""


def _nut_end(data: Bytes) -> str:
    """Look for the index, whose length stands before the last checksum."""
    length = data.number(data.size - 12, ">Q")
    found = data.at(data.size - length, 8) == _NUT_INDEX
    return "" if found else "the index at its end is missing"


def _gif_end(data: Bytes) -> str:
    place = 0
    while place < data.size:
        end = gif_step(data, place)
        if end is None:
            return f"what follows byte {place} cannot be read"
        if end == data.size:
            return "" if data.at(place, 1) == b"\x3b" else "its end mark is missing"
        place = end
    return "it ends in the middle of a picture"


_ENDS: dict[str, Callable[[Bytes], str]] = {
    "matroska": _matroska_end,
    "mov": _mov_end,
    "flv": _flv_end,
    "ogg": _ogg_end,
    "avi": _avi_end,
    "asf": _asf_end,
    "mxf": _mxf_end,
    "mpegts": _ts_end,
    "mpeg": _ps_end,
    "dhav": _incomplete("dhav"),
    "gif": _gif_end,
    "nut": _nut_end,
}
