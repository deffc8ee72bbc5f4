"""The packets of a video track as a table, and what to decode for the frames that are wanted. Pure.

Rows are in the order of the file, which is the order of decoding. A frame that is shown is numbered by its
place in the order of presentation.
"""

from __future__ import annotations

import itertools
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_REORDERED = 17
"""No codec that is read holds a frame back for more packets than this."""

_STEADY = 0.9
"""A stream is steady when so many of the steps from packet to packet are equal."""

_SLOWEST, _FASTEST = 1, 240
"""Frames per second that are believed of a stream that holds no times."""

_GAP = 1.5
"""Frames may be missing where the step to the next one is longer than so many usual ones."""


@dataclass(slots=True)
class PacketList:
    """Packets as they are met in the file; :meth:`table` makes a :class:`PacketTable` of them.

    Attributes:
        pts, dts, duration: in ticks; pts and dts may be None.
        key: decoding can start here. shown: gives a frame that is shown. corrupt: known to be damaged.
        position: offset in the file in bytes, -1 when the container does not say.
        size: in bytes.
    """

    pts: list[int | None] = field(default_factory=list)
    dts: list[int | None] = field(default_factory=list)
    duration: list[int] = field(default_factory=list)
    key: list[bool] = field(default_factory=list)
    shown: list[bool] = field(default_factory=list)
    corrupt: list[bool] = field(default_factory=list)
    position: list[int] = field(default_factory=list)
    size: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.pts)

    def count_times(self, tick: Fraction, usual: Fraction) -> Fraction:
        """Give each packet the time that counting gives, for streams that hold no times.

        Args:
            tick: seconds per tick.
            usual: frames per second when the packets' durations are not believable.

        Returns the frames per second.
        """
        steps = Counter(step for step in self.duration if step > 0).most_common(1)
        rate = 1 / (steps[0][0] * tick) if steps else usual
        if not _SLOWEST <= rate <= _FASTEST:
            rate = usual
        step = max(1, round(1 / (rate * tick)))
        self.pts = self.dts = [step * number for number in range(len(self))]
        self.duration = [step] * len(self)
        return rate

    def passed_over(self, least: int) -> list[tuple[int, int]]:
        """Return the stretches of the file, ``[start, end)``, of at least so many bytes between packets."""
        ends = [place + size for place, size in zip(self.position, self.size, strict=True)]
        between = zip(ends, self.position[1:], strict=False)
        return [(end, start) for end, start in between if start - end >= least]

    def mark_losses(self) -> None:
        """Find out what was lost on the way; for transport streams, which have no index and no checksums.

        A packet that lost its time is not shown. Where the beat of an otherwise steady stream has a gap,
        packets are missing: the one before may be cut, and what follows may refer to what is not there. Both
        kinds count as damaged, up to the next key packet.
        """
        for number, (pts, dts) in enumerate(zip(self.pts, self.dts, strict=True)):
            if pts is None and dts is None:
                self.shown[number], self.corrupt[number] = False, True
        timed = [(number, dts) for number, dts in enumerate(self.dts) if dts is not None]
        steps = [(number, dts - before) for (_, before), (number, dts) in itertools.pairwise(timed)]
        if not steps:
            return
        beat, times = Counter(step for _, step in steps).most_common(1)[0]
        if beat <= 0 or times < _STEADY * len(steps):
            return
        for number, step in steps:
            if step >= 2 * beat and number:
                self.corrupt[number - 1] = True

    def table(self, *, second: int | None, in_order: bool) -> PacketTable:
        """The finished table.

        Args:
            second: ticks in one second; None when the clock never starts again.
            in_order: the times are those of the shown frames, in ascending order, and do not say which
                packet is shown when; only counting the decoded pictures does.
        """
        times = self._times(second)
        if in_order:
            times = sorted(times)
        return PacketTable(
            time=times,
            raw_pts=self.pts,
            key=np.array(self.key, bool),
            shown=np.array(self.shown, bool),
            corrupt=np.array(self.corrupt, bool),
            position=self.position,
            duration=self.duration,
            in_order=in_order,
        )

    def _times(self, second: int | None) -> list[int]:
        """Presentation times without gaps in knowledge, and without the jumps back of joined streams."""
        times: list[int] = []
        untimed = 0  # packets before the first that has a time
        shift = end = gap = 0
        before: int | None = None  # dts of the packet before, as the file has it
        for pts, dts, duration in zip(self.pts, self.dts, self.duration, strict=True):
            if dts is not None:
                if before is not None and second is not None and dts < before - second:
                    # The clock starts again, as where recordings were joined: go on where the last one ended.
                    shift = end - (dts if pts is None else pts)
                elif before is not None and dts > before:
                    gap = dts - before
                before = dts
            gap = duration or gap
            raw = pts if pts is not None else dts
            if raw is None and not times:
                untimed += 1
                continue
            time = end if raw is None else raw + shift
            end = max(end, time + gap) if times else time + gap
            times.append(time)
        first = min(times, default=0)
        return [first - (untimed - place) * max(gap, 1) for place in range(untimed)] + times


@dataclass(slots=True)
class Run:
    """A stretch of packets to decode without a break.

    Attributes:
        start, end: numbers of the first and the last packet; start is one where decoding can start.
        frames: numbers of the wanted frames that come out of it, ascending.
    """

    start: int
    end: int
    frames: list[int]


class PacketTable:
    """All packets of a track, and which frame each of them gives.

    Attributes:
        frame_of: int64 (packets,), the number of the frame that a packet gives, -1 for none.
        packet_of: int64 (frames,), the packet of each frame, by number.
        time: ticks (int) of each packet, comparable over the whole track.
        in_order: only counting tells which frame is which; see :meth:`PacketList.table`.
    """

    def __init__(
        self,
        *,
        time: list[int],
        raw_pts: list[int | None],
        key: NDArray[np.bool_],
        shown: NDArray[np.bool_],
        corrupt: NDArray[np.bool_],
        position: list[int],
        duration: list[int],
        in_order: bool,
    ) -> None:
        self.time = time
        self.raw_pts = raw_pts
        self.shown = shown
        self.corrupt = corrupt
        self.position = position
        self.duration = duration
        self.in_order = in_order
        self.keys: list[int] = np.flatnonzero(key).tolist()
        self._number()

    def _number(self) -> None:
        """Number the frames that are shown."""
        order = sorted(np.flatnonzero(self.shown).tolist(), key=self.time.__getitem__)
        self.packet_of = np.array(order, np.int64)
        self.frame_of = np.full(len(self), -1, np.int64)
        self.frame_of[self.packet_of] = np.arange(len(order))

    def __len__(self) -> int:
        return len(self.time)

    @property
    def frame_count(self) -> int:
        """Frames that are shown."""
        return len(self.packet_of)

    def begin_at(self, frame: int) -> None:
        """Leave the frames before this one out, as ones that can never be shown; it becomes frame 0."""
        self.shown[self.packet_of[:frame]] = False
        self._number()

    def gaps(self, least: float = _GAP) -> list[tuple[int, int, int]]:
        """Find the frames that stay on screen for unusually long.

        Args:
            least: so many times the usual (median) distance of frames count as unusual.

        Returns (frame, first packet, last packet) for each: the number of the frame, and the packets, both
        included, among which those of lost frames would lie in the file.
        """
        times = np.array([self.time[packet] for packet in self.packet_of], np.float64)
        steps = np.diff(times)
        if not len(steps):
            return []
        long = np.flatnonzero(steps > least * np.median(steps))
        around = MOST_REORDERED
        return [
            (
                int(frame),
                max(0, int(self.packet_of[frame : frame + 2].min()) - around),
                min(len(self) - 1, int(self.packet_of[frame : frame + 2].max()) + around),
            )
            for frame in long
        ]

    def is_steady(self) -> bool:
        """Return whether nearly all frames are evenly spaced."""
        steps = np.diff(np.array([self.time[packet] for packet in self.packet_of], np.float64))
        usual = float(np.median(steps)) if len(steps) else 0.0
        return bool(len(steps)) and float(np.mean(np.abs(steps - usual) <= usual / 5)) >= _STEADY

    def entry(self, frame: int, lead: int = 0) -> int:
        """The packet to start at so that this frame comes out right.

        It is the last key packet before the frame's own in the file, unless that one is shown later: then
        the frame is one of those that lead an open group of pictures and need the group before as well.

        Args:
            lead: so many key packets earlier than that.
        """
        packet = int(self.packet_of[frame])
        place = bisect_right(self.keys, packet) - 1
        while place >= 0 and self.time[self.keys[place]] > self.time[packet]:
            place -= 1
        place -= lead
        return self.keys[place] if place >= 0 else 0

    def has_open_groups(self) -> bool:
        """Whether some frame comes after a key packet in the file and is shown before it."""
        return any(
            self.time[packet] < self.time[key]
            for key, end in itertools.pairwise([*self.keys, len(self)])
            for packet in range(key + 1, min(key + 1 + MOST_REORDERED, end))
        )

    def leads(self, key: int, first: int, last: int) -> bool:
        """Whether one of the packets from first to last is shown before the key packet.

        At the start of a recording such pictures may refer to what was not recorded; no other one needs them.
        """
        return any(self.time[packet] < self.time[key] for packet in range(first, min(last + 1, len(self))))

    def next_key_time(self, packet: int) -> int | None:
        """The time of the first key packet after this one; None when there is none."""
        place = bisect_right(self.keys, packet)
        return self.time[self.keys[place]] if place < len(self.keys) else None

    def plan(self, wanted: Iterable[int], *, lead: int = 0) -> Iterator[Run]:
        """What to decode for these frames (ascending), run by run in the order of the file.

        Two frames share a run when no key packet lies between what the first needs and the second's entry.

        Args:
            lead: start so many key packets earlier than should be needed.
        """
        run: Run | None = None
        for frame in wanted:
            packet = int(self.packet_of[frame])
            start = self.entry(frame, lead)
            if self.in_order:
                start, packet = 0, min(packet + MOST_REORDERED, len(self) - 1)
            if run is not None and start <= run.end:
                run.frames.append(frame)
                run.end = max(run.end, packet)
                continue
            if run is not None:
                yield run
            run = Run(start, packet, [frame])
        if run is not None:
            yield run
