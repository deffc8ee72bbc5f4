"""Frames that a damaged file has lost: found where a gap in time meets a break in the container.

A long gap alone means nothing, as screen recordings and slide shows have them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction

from tarsier_tools.media.packets import MOST_REORDERED, PacketList, PacketTable

Breaks = Callable[[], Sequence[tuple[int, int]] | None]
"""Return the stretches of bytes that are broken, None where the container cannot tell."""

_MISSED_BEAT = 1.9

_ASTRAY = {"nut": 2}
"""Packets that may have been made of noise before the container was found to be broken."""

_REORDERED = 4
"""Packets; encoders hold pictures back for hardly more."""


def find_losses(table: PacketTable, family: str, breaks: Breaks, tick: Fraction) -> list[str]:
    """Return a sentence for each stretch whose frames are lost, and mark what it leaves damaged.

    The packet before a loss may be cut and those up to the next key packet may refer to what is lost, so
    that packet is marked as corrupt in the table.

    Args:
        table: every packet of the track.
        family: the first of FFmpeg's names of the container.
        breaks: called only when there are gaps, as it reads the file.
        tick: seconds per tick.
    """
    gaps = table.gaps()
    if not gaps:
        return []
    transport = family == "mpegts"  # has no structure that tells: a gap in an even beat has to do
    broken = None if transport else breaks()
    even = table.is_steady()
    beats = {frame for frame, _, _ in table.gaps(_MISSED_BEAT)} if transport and even else set()
    lost: list[tuple[int, int]] = []
    for frame, first, last in gaps:
        packet = int(table.packet_of[frame])
        if broken is not None:
            places = [place for place in table.position[first : last + 1] if place >= 0]
            hit = [end for start, end in broken if places and start <= max(places) and end > min(places)]
            if not hit:
                continue
            before = [number for number in range(first, last + 1) if 0 <= table.position[number] < max(hit)]
            packet = min(max(before, default=packet), int(table.packet_of[frame : frame + 2].max()))
            packet -= _ASTRAY.get(family, 0)
        elif frame not in beats and not (transport and table.corrupt[first : last + 1].any()):
            continue
        # Counted frames have moved in time by as much as pictures are reordered.
        table.corrupt[max(0, packet - _REORDERED if table.in_order else packet)] = True
        if lost and frame - lost[-1][1] <= MOST_REORDERED:
            lost[-1] = (lost[-1][0], frame + 1)
        else:
            lost.append((frame, frame + 1))
    return [_sentence(table, start, end, tick) for start, end in lost]


def mark_end(table: PacketTable, *, reordered: bool) -> None:
    """Mark the last picture of a file that ends too early; where times are counted, those near it too."""
    table.corrupt[max(0, len(table) - (_REORDERED if reordered else 1))] = True


def move_behind(packets: PacketList, shift: Sequence[int]) -> None:
    """Move the times of packets that a container counts by the ticks that were lost before each."""
    packets.pts = [None if pts is None else pts + by for pts, by in zip(packets.pts, shift, strict=True)]
    packets.dts = [None if dts is None else dts + by for dts, by in zip(packets.dts, shift, strict=True)]


def _sentence(table: PacketTable, before: int, after: int, tick: Fraction) -> str:
    zero = table.time[table.packet_of[0]]
    start, end = (float((table.time[table.packet_of[frame]] - zero) * tick) for frame in (before, after))
    return f"Frames between {start:.2f} and {end:.2f} s are missing: the file is damaged there."
