"""Packets of one track from any number on, and the pictures decoded from them.

Every packet gets its number in place of its time before it is decoded, so each decoded picture says which
packet it came from, whatever the file's own times are.
"""

from __future__ import annotations

import contextlib
import itertools
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from av.error import ExitError, FFmpegError

from tarsier_tools.media.base import Deadline, Limits
from tarsier_tools.media.packets import PacketTable, Run
from tarsier_tools.media.pyav_file import opened

if TYPE_CHECKING:
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

    _Outcome = tuple[VideoFrame | None, int]

_SKIPS_UNREFERENCED = {"h264", "hevc", "mpeg1video", "mpeg2video", "mpeg4"}
"""Codecs whose decoder leaves out unreferenced pictures packet by packet; others ignore it or keep to it."""

_SEEKABLE = ("mov", "matroska", "avi")
"""Demuxers with an index of key packets worth using, by a part of their name."""

_WORTH_SEEKING = 100
"""Packets; a shorter gap is read past, which costs no more than a seek."""


class _Damage:
    """Which packets an error may have spoilt: those from it to the next key packet."""

    def __init__(self, table: PacketTable) -> None:
        self._table = table
        self._ranges: list[tuple[int, int | None]] = []  # first packet, time at which it is over

    def add(self, packet: int) -> None:
        over = self._table.next_key_time(packet)
        if not self._ranges or self._ranges[-1][1] != over:
            self._ranges.append((packet, over))

    def covers(self, packet: int) -> bool:
        time = self._table.time[packet]
        return any(packet >= first and (over is None or time < over) for first, over in self._ranges)


class Feed:
    """Reads and decodes one file; close it.

    Args:
        path: the file.
        source: what the user typed.
        limits: what the file may cost.
        table: the track's packets, as a scan of the same file found them.
        strict: report every error in the data. Otherwise the decoder paints over the smaller ones and says
            nothing; that is for files whose maker was careless but whose pictures are whole.

    Attributes:
        strict, table: as given.
        errors: packets of the current run that were refused by the decoder or known to be cut.
    """

    def __init__(self, path: Path, source: str, limits: Limits, table: PacketTable, *, strict: bool) -> None:
        self._path = path
        self._source = source
        self._limits = limits
        self.table = table
        self.strict = strict
        self._landings = {
            (table.raw_pts[number], table.position[number]): number
            for number in table.keys
            if table.position[number] > 0
        }
        self._stack = contextlib.ExitStack()
        self.errors = 0
        self._open()
        self._seekable = any(name in self._container.format.name for name in _SEEKABLE)

    def close(self) -> None:
        """Close the file."""
        self._stack.close()

    def _open(self) -> None:
        self._stack.close()
        self._container, self._stream = self._stack.enter_context(
            opened(self._path, self._source, self._limits)
        )
        self._context = self._stream.codec_context
        self._context.thread_type = "AUTO"
        if self.strict:
            self._context.options |= {"err_detect": "explode"}
        self._context.open()  # before anything is skipped: some decoders keep what they are opened with
        self._skips = self._context.codec.canonical_name in _SKIPS_UNREFERENCED and not self.table.in_order
        self._packets = self._container.demux(self._stream)
        self._held: Packet[VideoStream] | None = None
        self._next = 0

    def pictures(self, run: Run, deadline: Deadline) -> Iterator[tuple[int, VideoFrame, bool]]:
        """Decode a run. Yields (number of the frame, picture, damaged) in the order of presentation.

        Frames between the wanted ones come too, where the decoder could not leave them out. Damaged is
        every picture that the decoder calls so, and those from an error up to the next key picture.
        """
        table = self.table
        self.errors = 0
        damage = _Damage(table)
        # A picture is held until those it may refer to have come out too, as these may prove to be damaged.
        held: deque[tuple[int, int, VideoFrame]] = deque()
        settled = list(itertools.accumulate(table.time[run.start : run.end + 1], max))
        counted = -1
        for picture, failed in self._decoded(run, deadline):
            if picture is None:
                self.errors += 1
                if table.in_order:
                    break  # what comes now cannot be numbered
                if not table.leads(run.start, failed, failed + self._context.thread_count):
                    damage.add(failed)
                continue
            packet = picture.pts
            if packet is None or not run.start <= packet <= run.end:
                continue
            if picture.is_corrupt:
                damage.add(packet)
            counted += 1
            index = counted if table.in_order else int(table.frame_of[packet])
            if index >= 0:
                held.append((packet, index, picture))
            while held and settled[held[0][0] - run.start] <= table.time[packet]:
                packet_held, index, picture = held.popleft()
                yield index, picture, damage.covers(packet_held)
        for packet_held, index, picture in held:
            yield index, picture, damage.covers(packet_held)

    def _decoded(self, run: Run, deadline: Deadline) -> Iterator[_Outcome]:
        """(picture, 0) for each picture, (None, packet) where something failed at that packet or after it."""
        table = self.table
        targets = {int(table.packet_of[frame]) for frame in run.frames}
        self._go_to(run.start)
        self._context.flush_buffers()
        skipping: bool | None = None
        number = run.start
        for number in range(run.start, run.end + 1):
            deadline.check()
            packet = self._take()
            if packet is None:
                break
            if self._skips and skipping != (number not in targets):
                skipping = number not in targets
                self._context.skip_frame = "NONREF" if skipping else "DEFAULT"
            if table.corrupt[number]:
                yield None, number
            packet.pts = number
            yield from self._decode(packet, number)
        yield from self._decode(None, number)

    def _decode(self, packet: Packet[VideoStream] | None, number: int) -> Iterator[_Outcome]:
        try:
            for picture in self._context.decode(packet):
                yield picture, 0
        except (MemoryError, ExitError):
            raise
        except FFmpegError:
            # With several threads the error is that of a packet given to another one a moment before.
            yield None, max(0, number - self._context.thread_count)

    def _go_to(self, number: int) -> None:
        """Make the packet of this number the next one."""
        gap = number - self._next
        if self._seekable and (gap < 0 or gap > _WORTH_SEEKING):
            self._seek(number)
        elif gap < 0:
            self._open()
        while self._next < number and self._take() is not None:
            pass

    def _seek(self, number: int) -> None:
        """Go to the packet or before it: by the demuxer's index if that keeps its word, else to the start."""
        pts = self.table.raw_pts[number]
        if pts is not None:
            with contextlib.suppress(FFmpegError):  # an index that leads nowhere
                self._container.seek(pts, stream=self._stream, backward=True)
                self._packets = self._container.demux(self._stream)
                self._held = self._pull()
                if self._held is not None:
                    landing = self._landings.get((self._held.pts, self._held.pos or 0))
                    if landing is not None and landing <= number:
                        self._next = landing
                        return
        self._seekable = False
        self._open()

    def _take(self) -> Packet[VideoStream] | None:
        """The next packet; None at the end of the file, or of what can be read of it."""
        packet, self._held = self._held or self._pull(), None
        self._next += 1
        return packet

    def _pull(self) -> Packet[VideoStream] | None:
        try:
            return next((packet for packet in self._packets if packet.size), None)
        except (MemoryError, ExitError):
            raise
        except FFmpegError:
            return None
