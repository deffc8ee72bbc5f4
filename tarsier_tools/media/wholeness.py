"""What the structure of a container says about whether a file is whole.

Only the headers of boxes, elements, tags, pages and chunks are read, each with one small read; nothing is
decoded. Where a container has no structure that tells, nothing is claimed.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Generator
from typing import BinaryIO

from tarsier_tools.media.base import Deadline

_CHUNK = 1 << 16

_INSIDE = "it ends in the middle of its data"

_Step = Callable[["_Bytes", int], int | None]


class _Bytes:
    """Reads numbers out of a file at any place; past the end there is nothing."""

    def __init__(self, file: BinaryIO, deadline: Deadline | None = None) -> None:
        self._file = file
        self._deadline = deadline
        self._reads = 0
        self.size = file.seek(0, 2)

    def at(self, place: int, count: int) -> bytes:
        self._reads += 1
        if self._deadline is not None and self._reads % 1024 == 0:
            self._deadline.check()
        if not 0 <= place < self.size:
            return b""
        self._file.seek(place)
        return self._file.read(count)

    def number(self, place: int, form: str) -> int:
        """Return the integer of this struct format, 0 past the end."""
        data = self.at(place, struct.calcsize(form))
        return int(struct.unpack(form, data)[0]) if len(data) == struct.calcsize(form) else 0

    def find(self, pattern: re.Pattern[bytes], place: int, end: int | None = None) -> int:
        """Return where the pattern (at most 64 bytes) is found next, or the end of the file."""
        end = self.size if end is None else end
        while place < end:
            found = pattern.search(self.at(place, _CHUNK + 64))
            if found is not None:
                return place + found.start()
            place += _CHUNK
        return self.size


def _walk(
    data: _Bytes, step: _Step, place: int, again: re.Pattern[bytes]
) -> Generator[tuple[int, int, bool]]:
    """Yield (start, end, whole) of each element; where one is broken, up to the next that can be read."""
    while place < data.size:
        end = step(data, place)
        if end is not None and end > place:
            yield place, end, True
        else:
            end = data.find(again, place + 1)
            yield place, end, False
        place = end


# ---------------------------------------------------------------- one step from element to element

_EBML_HEADER, _SEGMENT, _CLUSTER = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67", b"\x1f\x43\xb6\x75"
_EBML_PARENTS = {_SEGMENT, _CLUSTER}
_EBML_IDS = {
    *map(bytes.fromhex, ("1a45dfa3", "114d9b74", "1549a966", "1654ae6b", "1043a770", "1c53bb6b", "1941a469")),
    *map(bytes.fromhex, ("1254c367", "ec", "bf")),  # the last ones of a segment
    *map(bytes.fromhex, ("e7", "a3", "a0", "a7", "ab", "5854", "af", "a2", "a1")),  # of a cluster
}


def _ebml(data: _Bytes, place: int) -> tuple[bytes, int, int | None] | None:
    """Return (id, where the content starts, its length or None for unknown) of an element."""
    head = data.at(place, 12)
    width = _leading_zeros(head, 0) + 1
    if width > 4 or len(head) <= width:
        return None
    length = _leading_zeros(head, width) + 1
    if length > 8 or len(head) < width + length:
        return None
    value = int.from_bytes(head[width : width + length], "big") & ((1 << 7 * length) - 1)
    unknown = value == (1 << 7 * length) - 1
    return head[:width], place + width + length, None if unknown else value


def _leading_zeros(head: bytes, place: int) -> int:
    return 8 - head[place].bit_length() if place < len(head) else 8


def _ebml_step(data: _Bytes, place: int) -> int | None:
    element = _ebml(data, place)
    if element is None:
        return None
    name, content, length = element
    if name in _EBML_PARENTS:
        return content
    return content + length if name in _EBML_IDS and length is not None else None


def _box_step(data: _Bytes, place: int) -> int | None:
    head = data.at(place, 16)
    if len(head) < 8:
        return data.size + 1 if head.strip(b"\0") else data.size  # zeros may fill the end up
    length = int.from_bytes(head[:4], "big")
    if not re.fullmatch(rb"[ -~\xa9]{4}", head[4:8]):
        return data.size if not data.at(place, _CHUNK).strip(b"\0") and length == 0 else None
    if length == 0:
        return data.size
    if length == 1:
        length = int.from_bytes(head[8:16], "big")
    return place + length if length >= 8 else None


def _flv_step(data: _Bytes, place: int) -> int | None:
    head = data.at(place, 11)
    if len(head) < 11 or head[0] & 0x1F not in (8, 9, 18):
        return None
    length = 11 + int.from_bytes(head[1:4], "big")
    end = place + length + 4
    return end if end > data.size or data.number(end - 4, ">I") == length else None


def _ogg_step(data: _Bytes, place: int) -> int | None:
    head = data.at(place, 27 + 255)
    if not head.startswith(b"OggS") or len(head) < 27:
        return None
    return place + 27 + head[26] + sum(head[27 : 27 + head[26]])


def _klv_step(data: _Bytes, place: int) -> int | None:
    head = data.at(place, 25)
    if not head.startswith(b"\x06\x0e\x2b\x34") or len(head) < 17:
        return None
    if head[16] < 0x80:
        return place + 17 + head[16]
    width = head[16] & 0x7F
    return place + 17 + width + int.from_bytes(head[17 : 17 + width], "big") if 0 < width <= 8 else None


def _dhav_step(data: _Bytes, place: int) -> int | None:
    head = data.at(place, 16)
    length = int.from_bytes(head[12:16], "little")
    return place + length if head.startswith(b"DHAV") and length >= 32 else None


def _ps_step(data: _Bytes, place: int) -> int | None:
    head = data.at(place, 14)
    if head[:3] != b"\0\0\1" or len(head) < 4:
        return None
    if head[3] == 0xBA:
        return place + (14 + (head[13] & 7) if len(head) > 13 and head[4] & 0xC0 == 0x40 else 12)
    if head[3] == 0xB9:
        return place + 4
    return place + 6 + int.from_bytes(head[4:6], "big") if head[3] >= 0xBB else None


_WALKS: dict[str, tuple[_Step, re.Pattern[bytes]]] = {
    "matroska": (_ebml_step, re.compile(re.escape(_CLUSTER))),
    "mov": (_box_step, re.compile(rb"(?s)....moof")),
    "flv": (_flv_step, re.compile(rb"(?s)[\x08\x09\x12].{7}\0\0\0")),
    "ogg": (_ogg_step, re.compile(rb"OggS\0")),
    "mxf": (_klv_step, re.compile(rb"\x06\x0e\x2b\x34")),
    "dhav": (_dhav_step, re.compile(rb"DHAV")),
    "mpeg": (_ps_step, re.compile(b"\0\0\1\xba")),
}
"""For each family of containers: from one element to the next, and what a readable one starts with."""


def _start(data: _Bytes, family: str) -> int:
    """Return where the elements begin."""
    if family == "flv":
        return data.number(5, ">I") + 4
    step, again = _WALKS[family]
    return 0 if step(data, 0) is not None else data.find(again, 0)


# ---------------------------------------------------------------- what is asked


def lacks_index(file: BinaryIO) -> bool:
    """Return whether this is an MP4 or MOV file whose index (``moov``) was never written or is cut off."""
    data = _Bytes(file)
    if data.at(4, 4) not in (b"ftyp", b"mdat", b"wide", b"skip", b"free"):
        return False
    place, media = 0, False
    while place < data.size:
        kind = data.at(place + 4, 4)
        if kind in (b"moov", b"moof", b"meta"):
            return False
        media = media or kind == b"mdat"
        end = _box_step(data, place)
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
    data = _Bytes(file)
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
    data = _Bytes(file, deadline)
    if family == "asf":
        return _asf_breaks(data)
    if family not in _WALKS:
        return None
    found: list[tuple[int, int]] = []
    pages: dict[int, int] = {}
    step, again = _WALKS[family]
    for start, end, whole in _walk(data, step, _start(data, family), again):
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


def _incomplete(family: str) -> Callable[[_Bytes], str]:
    """Return a check that walks to the end of the file."""

    def check(data: _Bytes) -> str:
        step, again = _WALKS[family]
        ends = [end for _, end, _ in _walk(data, step, _start(data, family), again) if end > data.size]
        return _INSIDE if ends else ""

    return check


def _mov_end(data: _Bytes) -> str:
    """Check recordings in fragments; otherwise the index says more exactly which pictures are there."""
    step, again = _WALKS["mov"]
    fragments = False
    for start, end, whole in _walk(data, step, 0, again):
        if not whole and fragments:
            return f"what follows byte {start} cannot be read"
        fragments = fragments or data.at(start + 4, 4) == b"moof"
        if fragments and end > data.size:
            return _INSIDE
    return ""


def _matroska_end(data: _Bytes) -> str:
    header = _ebml_step(data, 0)
    segment = None if header is None else _ebml(data, header)
    if segment is None or segment[0] != _SEGMENT:
        return ""
    _, content, length = segment
    if length is None:  # a live recording
        return _incomplete("matroska")(data)
    return _cut(data.size, content + length)


def _flv_end(data: _Bytes) -> str:
    head = data.at(0, _CHUNK)
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


def _ogg_end(data: _Bytes) -> str:
    first = max(0, data.size - 2 * _CHUNK)
    tail = data.at(first, 2 * _CHUNK)
    page = tail.rfind(b"OggS\0")
    end = None if page < 0 else _ogg_step(data, first + page)
    if end is None:
        return ""
    if end > data.size:
        return _INSIDE
    return "" if tail[page + 5] & 4 else "its last page is not marked as the end"


def _avi_end(data: _Bytes) -> str:
    place = 0
    while data.at(place, 4) == b"RIFF":
        length = data.number(place + 4, "<I")
        if length in (0, 0xFFFF_FFFF):  # never closed; only a repair tool knows more
            return ""
        place += 8 + length + length % 2
    return _cut(data.size, place - 1) if place > data.size + 1 else ""


_ASF_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_ASF_DATA = bytes.fromhex("3626b2758e66cf11a6d900aa0062ce6c")


def _asf_packets(data: _Bytes) -> tuple[int, int, int] | None:
    """Return (start, size, declared number) of the data packets; None when the header does not say."""
    head = data.at(0, _CHUNK)
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


def _asf_end(data: _Bytes) -> str:
    packets = _asf_packets(data)
    if packets is None:
        return ""
    start, size, count = packets
    return _cut(data.size, start + size * count)


def _asf_breaks(data: _Bytes) -> list[tuple[int, int]] | None:
    """Data packets have one size, and each begins with the same flags of error correction."""
    packets = _asf_packets(data)
    if packets is None or data.at(packets[0], 3) != b"\x82\0\0":
        return None
    start, size, count = packets
    places = range(start, min(start + size * count, data.size), size)
    return [(place, place + size) for place in places if data.at(place, 3) != b"\x82\0\0"]


def _mxf_end(data: _Bytes) -> str:
    start = _start(data, "mxf")
    head = data.at(start, 25)
    value = start + 17 + (head[16] & 0x7F if len(head) > 16 and head[16] & 0x80 else 0)
    footer = data.number(value + 24, ">Q")
    if footer:
        return "" if start + footer < data.size else "its footer is missing"
    return _incomplete("mxf")(data)


def _ts_end(data: _Bytes) -> str:
    head = data.at(0, 5 * 204)
    for size, offset in ((188, 0), (192, 4), (204, 0)):
        if all(head[place : place + 1] == b"G" for place in range(offset, len(head), size)):
            return "it ends in the middle of a packet" if data.size % size else ""
    return ""


def _ps_end(data: _Bytes) -> str:
    """Follow the last packs to the end of the file; a system start code never appears inside a picture."""
    place = data.find(_WALKS["mpeg"][1], max(0, data.size - 4 * _CHUNK))
    while place < data.size:
        end = _ps_step(data, place)
        if end is None:
            return ""
        place = end
    return "it ends in the middle of a packet" if place > data.size else ""


def _gif_end(data: _Bytes) -> str:
    return "" if b"\x3b" in data.at(data.size - 16, 16) else "its end mark is missing"


_ENDS: dict[str, Callable[[_Bytes], str]] = {
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
}
