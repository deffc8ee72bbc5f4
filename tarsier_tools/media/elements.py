"""From one element of a container to the next: boxes, tags, pages, chunks, packs, key-length-value.

Only their headers are read, each with one small read; nothing is decoded.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Generator
from typing import BinaryIO

from tarsier_tools.media.base import Deadline

CHUNK = 1 << 16

Step = Callable[["Bytes", int], int | None]


class Bytes:
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
            found = pattern.search(self.at(place, CHUNK + 64))
            if found is not None:
                return place + found.start()
            place += CHUNK
        return self.size


def walk(data: Bytes, step: Step, place: int, again: re.Pattern[bytes]) -> Generator[tuple[int, int, bool]]:
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

_EBML_HEADER, SEGMENT, _CLUSTER = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67", b"\x1f\x43\xb6\x75"
_EBML_PARENTS = {SEGMENT, _CLUSTER}
_EBML_IDS = {
    *map(bytes.fromhex, ("1a45dfa3", "114d9b74", "1549a966", "1654ae6b", "1043a770", "1c53bb6b", "1941a469")),
    *map(bytes.fromhex, ("1254c367", "ec", "bf")),  # the last ones of a segment
    *map(bytes.fromhex, ("e7", "a3", "a0", "a7", "ab", "5854", "af", "a2", "a1")),  # of a cluster
}


def ebml_element(data: Bytes, place: int) -> tuple[bytes, int, int | None] | None:
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


def ebml_step(data: Bytes, place: int) -> int | None:
    element = ebml_element(data, place)
    if element is None:
        return None
    name, content, length = element
    if name in _EBML_PARENTS:
        return content
    return content + length if name in _EBML_IDS and length is not None else None


def box_step(data: Bytes, place: int) -> int | None:
    head = data.at(place, 16)
    if len(head) < 8:
        return data.size + 1 if head.strip(b"\0") else data.size  # zeros may fill the end up
    length = int.from_bytes(head[:4], "big")
    if not re.fullmatch(rb"[ -~\xa9]{4}", head[4:8]):
        return data.size if not data.at(place, CHUNK).strip(b"\0") and length == 0 else None
    if length == 0:
        return data.size
    if length == 1:
        length = int.from_bytes(head[8:16], "big")
    return place + length if length >= 8 else None


def _flv_step(data: Bytes, place: int) -> int | None:
    head = data.at(place, 11)
    if len(head) < 11 or head[0] & 0x1F not in (8, 9, 18):
        return None
    length = 11 + int.from_bytes(head[1:4], "big")
    end = place + length + 4
    return end if end > data.size or data.number(end - 4, ">I") == length else None


def ogg_step(data: Bytes, place: int) -> int | None:
    head = data.at(place, 27 + 255)
    if not head.startswith(b"OggS") or len(head) < 27:
        return None
    return place + 27 + head[26] + sum(head[27 : 27 + head[26]])


def _klv_step(data: Bytes, place: int) -> int | None:
    head = data.at(place, 25)
    if not head.startswith(b"\x06\x0e\x2b\x34") or len(head) < 17:
        return None
    if head[16] < 0x80:
        return place + 17 + head[16]
    width = head[16] & 0x7F
    return place + 17 + width + int.from_bytes(head[17 : 17 + width], "big") if 0 < width <= 8 else None


def _riff_step(data: Bytes, place: int) -> int | None:
    head = data.at(place, 12)
    if len(head) < 8:
        return data.size
    if head[:4] == b"RIFF" or (head[:4] == b"LIST" and head[8:12] in (b"movi", b"rec ")):
        return place + 12
    length = int.from_bytes(head[4:8], "little")
    known = re.fullmatch(rb"\d\d(wb|dc|db|pc|tx)|ix\d\d|idx1|JUNK|LIST", head[:4])
    return place + 8 + length + length % 2 if known else None


def gif_step(data: Bytes, place: int) -> int | None:
    """Return where the next block starts; the end of the file for the end mark."""
    head = data.at(place, 13)
    if head.startswith(b"GIF8") and len(head) == 13:
        return place + 13 + _colours(head[10])
    if head.startswith(b"\x3b"):
        return data.size
    if head.startswith(b"\x21"):
        place += 2
    elif head.startswith(b"\x2c") and len(head) >= 10:
        place += 11 + _colours(head[9])
    else:
        return None
    while length := data.number(place, ">B"):
        place += 1 + length
    return place + 1


def _colours(flags: int) -> int:
    """Return the bytes of a GIF's table of colours."""
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _dhav_step(data: Bytes, place: int) -> int | None:
    head = data.at(place, 16)
    length = int.from_bytes(head[12:16], "little")
    return place + length if head.startswith(b"DHAV") and length >= 32 else None


def ps_step(data: Bytes, place: int) -> int | None:
    head = data.at(place, 14)
    if head[:3] != b"\0\0\1" or len(head) < 4:
        return None
    if head[3] == 0xBA:
        return place + (14 + (head[13] & 7) if len(head) > 13 and head[4] & 0xC0 == 0x40 else 12)
    if head[3] == 0xB9:
        return place + 4
    return place + 6 + int.from_bytes(head[4:6], "big") if head[3] >= 0xBB else None


WALKS: dict[str, tuple[Step, re.Pattern[bytes]]] = {
    "matroska": (ebml_step, re.compile(re.escape(_CLUSTER))),
    "mov": (box_step, re.compile(rb"(?s)....moof")),
    "flv": (_flv_step, re.compile(rb"(?s)[\x08\x09\x12].{7}\0\0\0")),
    "ogg": (ogg_step, re.compile(rb"OggS\0")),
    "mxf": (_klv_step, re.compile(rb"\x06\x0e\x2b\x34")),
    "dhav": (_dhav_step, re.compile(rb"DHAV")),
    "avi": (_riff_step, re.compile(rb"(?s)00d[bc]")),
    "mpeg": (ps_step, re.compile(b"\0\0\1\xba")),
}
"""For each family of containers: from one element to the next, and what a readable one starts with."""


def start_of(data: Bytes, family: str) -> int:
    """Return where the elements begin."""
    if family == "flv":
        return data.number(5, ">I") + 4
    step, again = WALKS[family]
    return 0 if step(data, 0) is not None else data.find(again, 0)
