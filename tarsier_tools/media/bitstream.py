"""What the first bits of a coded picture say, for containers that do not say it themselves. Pure."""

from __future__ import annotations

import re

_DV_BLOCK = 80
_DV_SEQUENCE = bytes([0, 1, 1, 2, 2, 2, *[3, *[4] * 15] * 9])
"""Kinds of the 150 blocks of 80 bytes that DV repeats (IEC 61834): header, subcode, VAUX, audio, video."""

_START = re.compile(b"\0\0\1")
_SLICE, _IDR = 1, 5
_H264_B = 1
_HEAD = 32


def is_bidirectional(data: memoryview, codec: str, *, prefixed: bool) -> bool:
    """Return whether a picture refers to one that is shown later, so that it is stored out of order.

    Args:
        data: a packet, one picture.
        codec: h264, mpeg4, mpeg1video or mpeg2video; for others the answer is False.
        prefixed: H.264 in which each unit is preceded by its length (as in MP4), without start codes.

    The types are those of H.264 table 7-6, MPEG-4 part 2 (vop_coding_type) and MPEG-2 table 6-12.
    """
    if codec == "h264":
        return _h264_slice_type(data, prefixed=prefixed) % 5 == _H264_B
    if codec not in ("mpeg4", "mpeg1video", "mpeg2video"):
        return False
    wanted = 0xB6 if codec == "mpeg4" else 0x00
    for start in _START.finditer(data):
        head = bytes(data[start.end() : start.end() + 3])
        if len(head) == 3 and head[0] == wanted:
            return head[1] >> 6 == 2 if codec == "mpeg4" else head[2] >> 3 & 7 == 3
    return False


def starts_at_idr(data: memoryview, *, prefixed: bool) -> bool:
    """Return whether an H.264 packet is an IDR picture, which nothing after it reaches over."""
    head = _h264_slice(data, prefixed=prefixed)
    return bool(head) and head[0] & 0x1F == _IDR


def _h264_slice_type(data: memoryview, *, prefixed: bool) -> int:
    """Return slice_type of the first slice, 0 (P) when there is none."""
    head = _h264_slice(data, prefixed=prefixed)
    if not head:
        return 0
    _, bits = _exp_golomb("".join(f"{byte:08b}" for byte in head[1:]))  # first_mb_in_slice
    return _exp_golomb(bits)[0]


def _h264_slice(data: memoryview, *, prefixed: bool) -> bytes:
    """Return the first bytes of the first slice (table 7-1: types 1 and 5), empty when there is none."""
    place = 0
    while place + 4 < len(data):
        if prefixed:
            length = int.from_bytes(data[place : place + 4], "big")
            unit, place = place + 4, place + 4 + length
        else:
            start = _START.search(data, place)
            if start is None:
                break
            unit = place = start.end()
        head = bytes(data[unit : unit + _HEAD])
        if head and head[0] & 0x1F in (_SLICE, _IDR):
            return head
    return b""


def _exp_golomb(bits: str) -> tuple[int, str]:
    """Return an unsigned number of H.264 section 9.1 and what follows it."""
    zeros = len(bits) - len(bits.lstrip("0"))
    end = 2 * zeros + 1
    return int(bits[zeros:end] or "1", 2) - 1, bits[end:]


def is_whole_dv(data: memoryview) -> bool:
    """Return whether all blocks of a DV frame are those that should be there."""
    kinds = bytes(first >> 5 for first in bytes(data[::_DV_BLOCK]))
    numbers = bytes(second >> 4 for second in bytes(data[1 :: _DV_BLOCK * len(_DV_SEQUENCE)]))
    count = 12 if len(data) % 144_000 == 0 else 10  # sequences of 625 and of 525 lines
    return (
        kinds == _DV_SEQUENCE * len(numbers)
        and len(numbers) % count == 0
        and all(number == place % count for place, number in enumerate(numbers))
    )
