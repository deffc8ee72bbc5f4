"""List the packets of a video track without decoding, and compare what is there with what is declared."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import av
import numpy as np
from av.container import InputContainer
from av.error import ExitError, FFmpegError
from av.stream import Discard
from av.video.stream import VideoStream
from numpy.typing import NDArray

from tarsier_tools.errors import VideoUnreadable
from tarsier_tools.media.base import Deadline
from tarsier_tools.media.bitstream import is_bidirectional, is_whole_dv, starts_at_idr
from tarsier_tools.media.kinds import RAW
from tarsier_tools.media.losses import find_losses, mark_end, move_behind
from tarsier_tools.media.packets import PacketList, PacketTable
from tarsier_tools.media.pyav_file import codec_of, family_of
from tarsier_tools.media.wholeness import breaks, missing_end

if TYPE_CHECKING:
    from av.packet import Packet

_VP8_SHOWN = 0x10
"""Bit of a VP8 packet's first byte: the frame is shown, not only referred to."""

_ORDER_UNTOLD = ("avi", "asf", "mxf", *RAW)
"""Containers whose times may be those of the order in the file."""

_TELLING = ("h264", "mpeg4", "mpeg1video", "mpeg2video")
"""Codecs whose pictures say themselves whether they are stored out of order."""

_BROKEN = "what follows cannot be read"

_IVF_STEP = 1_000_000_000
"""Ticks; a longer step from frame to frame is noise."""

_CHUNK_HEADER = 8
"""Bytes of an AVI's chunk before its content."""

_NUT_HEADERS = 256
"""Bytes; the headers between two packets of NUT are shorter."""

_RAW_RATE = 25
"""Frames per second of a stream that does not say, as FFmpeg has it."""

_EARLY_S = 1.0
"""A declared duration may be so much longer than what is there."""

_REORDERING = ("h264", "hevc", "mpeg4", "mpeg1video", "mpeg2video", "vc1", "wmv3")
"""Codecs that may show pictures in another order than they are stored in."""


@dataclass(frozen=True, slots=True)
class Track:
    """What a walk through the packets found.

    Attributes:
        table: every packet.
        tick_s: seconds per tick.
        cut_short: why the end of the file is missing, "" when it is not.
        declares_duration: the file says how long it is.
        notes: what is assumed, one sentence each.
        family: the first of FFmpeg's names of the container.
        starts_whole: the first key packet refers to nothing before it, as far as it says.
        passed_over: for NUT with one track, the stretches of the file that are in no packet.
    """

    table: PacketTable
    tick_s: Fraction
    cut_short: str
    declares_duration: bool
    notes: tuple[str, ...]
    family: str
    starts_whole: bool
    passed_over: list[tuple[int, int]]

    def losses(self, path: Path, deadline: Deadline) -> list[str]:
        """Return a sentence for each stretch whose frames a damaged file has lost."""
        with path.open("rb") as file:
            broken = (
                (lambda: self.passed_over)
                if self.family == "nut"
                else (lambda: breaks(file, self.family, deadline))
            )
            return find_losses(self.table, self.family, broken, self.tick_s)

    def timeline(self) -> NDArray[np.float64]:
        """Presentation time of each frame, float64 (frames,), seconds from the first."""
        table = self.table
        ticks = [table.time[packet] for packet in table.packet_of]
        unit = self.tick_s.numerator
        return np.array([(tick - ticks[0]) * unit for tick in ticks], np.float64) / self.tick_s.denominator


def scan(
    container: InputContainer, stream: VideoStream, path: Path, source: str, deadline: Deadline
) -> Track:
    """List the track's packets. The container stands at its end afterwards.

    Raises VideoUnreadable when the track is empty, VideoTooLarge when the time is up.
    """
    family = family_of(container)
    tick = Fraction(stream.time_base or Fraction(1, 90_000))
    walk = _Walk(container, stream, deadline)
    packets = walk.packets
    cut_short = walk.stopped or _uncounted(
        stream, family, len(packets), lambda: _is_broken(path, family, deadline)
    )
    if not any(packets.shown):
        raise VideoUnreadable(
            f"The video track of {source} holds no frames{f' ({cut_short})' if cut_short else ''}.",
            hint="The file is cut short or damaged; make or copy it again.",
        )
    notes = []
    if family in RAW:
        rate = packets.count_times(tick, Fraction(stream.average_rate or _RAW_RATE))
        notes.append(f"The stream holds no times: they are counted at {float(rate):.4g} frames per second.")
    elif family == "dv":
        packets.count_times(tick, Fraction(stream.average_rate or _RAW_RATE))
    elif family == "mpegts" and any(pts is not None for pts in packets.pts):
        packets.mark_losses()
    elif cut_short and family in ("avi", "mxf"):
        move_behind(packets, _lost_before(stream, family, packets, path, deadline))
    in_order = _only_counting_tells(packets, codec_of(stream), family, reordered=walk.reordered)
    if family == "asf" and (in_order or not walk.reordered) and None not in packets.dts:
        packets.pts = packets.dts  # FFmpeg puts the delay of the order into the times of showing
    table = packets.table(
        # Two edits of one MP4 may overlap in its clock, which never starts again.
        second=None if family == "mov" else max(1, round(1 / tick)),
        in_order=in_order,
    )
    with path.open("rb") as file:
        end_gone = walk.stopped or missing_end(
            file, family, packet_bytes=packets.size[-1], last_end=packets.position[-1] + packets.size[-1]
        )
    if walk.stopped or (end_gone and (walk.reordered or family in ("gif", "dv"))):
        mark_end(table, reordered=walk.reordered)
    cut_short = cut_short or end_gone or _early_end(container, stream, max(table.time) * tick)
    single = family == "nut" and len(container.streams) == 1
    return Track(
        table=table,
        tick_s=tick,
        cut_short=cut_short,
        declares_duration=container.duration is not None,
        notes=tuple(notes),
        family=family,
        starts_whole=walk.starts_whole,
        passed_over=packets.passed_over(_NUT_HEADERS) if single else [],
    )


class _Walk:
    """One pass through the packets of a track.

    Attributes:
        packets: all of them.
        stopped: why FFmpeg stopped before the end of the file, "" when it did not.
        reordered: some picture is stored out of order; known only where the container does not tell.
        starts_whole: the first key packet refers to nothing before it, as far as it says.
    """

    def __init__(self, container: InputContainer, stream: VideoStream, deadline: Deadline) -> None:
        context = stream.codec_context
        self._codec = codec_of(stream)
        self._family = family_of(container)
        self._prefixed = bytes(context.extradata or b"")[:1] == b"\1"
        self._looks_into = self._family in _ORDER_UNTOLD
        self.packets = PacketList()
        self.reordered = self._looks_into and self._codec not in _TELLING and bool(context.has_b_frames)
        self.starts_whole = True
        self._latest: int | None = None
        self.stopped = ""
        try:
            for packet in container.demux(stream):
                if packet.size and not self._add(packet):
                    self.stopped = _BROKEN
                    return
                if len(self.packets) % 256 == 0:
                    deadline.check()
        except ExitError:
            raise
        except (FFmpegError, MemoryError) as error:
            if not isinstance(error, MemoryError):
                self.stopped = error.strerror or str(error)
            elif self._family == "ivf":  # noise where the size of a frame should be
                self.stopped = _BROKEN
            else:
                raise

    def _add(self, packet: Packet[VideoStream]) -> bool:
        """Whether it can be one: frames of IVF have no marks, so noise may be taken for some."""
        if self._family == "ivf":
            if packet.is_corrupt or not _follows(self._latest, packet.pts):
                return False
            self._latest = packet.pts
        data = memoryview(packet)
        if self._looks_into and not self.reordered:
            self.reordered = is_bidirectional(data, self._codec, prefixed=self._prefixed)
        if self._codec == "h264" and packet.is_keyframe and not any(self.packets.key):
            self.starts_whole = starts_at_idr(data, prefixed=self._prefixed)
        _append(self.packets, packet, self._codec)
        if self._family == "dv" and not is_whole_dv(data):
            self.packets.corrupt[-1] = True
        return True


def _follows(before: int | None, time: int | None) -> bool:
    return time is not None and (before is None or before < time < before + _IVF_STEP)


def _append(packets: PacketList, packet: Packet[VideoStream], codec: str) -> None:
    packets.pts.append(packet.pts)
    packets.dts.append(packet.dts)
    packets.duration.append(max(packet.duration or 0, 0))
    packets.key.append(packet.is_keyframe)
    packets.shown.append(
        not packet.is_discard and (codec != "vp8" or bool(memoryview(packet)[0] & _VP8_SHOWN))
    )
    packets.corrupt.append(packet.is_corrupt)
    packets.position.append(-1 if packet.pos is None else packet.pos)
    packets.size.append(packet.size)


def _uncounted(stream: VideoStream, family: str, found: int, broken: Callable[[], bool]) -> str:
    """Compare the frames found with those that the container declares.

    Elsewhere its number is a guess; ``broken`` tells whether the structure of the file is.
    """
    if family == "mov":
        # The table that FFmpeg made of the index and the edits: what a trim leaves out is not in it.
        declared = len(stream.index_entries)
    elif family == "avi":
        # Frames that were dropped are declared too, so more must tell of damage.
        declared = stream.frames if stream.frames > found and broken() else found
    elif family == "ivf":
        declared = stream.frames
    elif family == "mxf" and stream.time_base == 1 / (stream.average_rate or 1):
        declared = stream.duration or 0
    else:
        return ""
    return f"{found} of {declared} declared frames are there" if declared > found else ""


def _is_broken(path: Path, family: str, deadline: Deadline) -> bool:
    with path.open("rb") as file:
        return bool(missing_end(file, family, packet_bytes=1, last_end=0) or breaks(file, family, deadline))


def _lost_before(
    stream: VideoStream, family: str, packets: PacketList, path: Path, deadline: Deadline
) -> list[int]:
    """Return how many ticks were lost before each packet, for containers that number frames by counting.

    The index of an AVI has the number of each frame. Otherwise the frames that are missing were lost where
    the file is broken, if it is so at one place only.
    """
    declared = stream.frames if family == "avi" else stream.duration or 0
    numbers = {entry.pos + _CHUNK_HEADER: entry.timestamp for entry in stream.index_entries}
    lost, shifts = 0, []
    for row, position in enumerate(packets.position):
        counted = packets.dts[row] or 0
        lost = max(lost, numbers.get(position, counted) - counted)
        shifts.append(lost)
    if lost:
        return shifts
    with path.open("rb") as file:
        places = breaks(file, family, deadline) or []
    first = packets.dts[0] or 0
    if len(places) != 1 or packets.dts != list(range(first, first + len(packets))):
        return [0] * len(packets)
    missing = declared - len(packets)
    return [missing if position >= places[0][0] else 0 for position in packets.position]


def _early_end(container: InputContainer, stream: VideoStream, end_s: Fraction) -> str:
    """Compare the declared duration with the last packet of every track, where no structure tells."""
    if family_of(container) not in ("matroska", "flv", "nut") or container.duration is None:
        return ""
    declared_s = Fraction(container.duration, av.time_base)
    if declared_s - end_s <= _EARLY_S:
        return ""
    for other in container.streams:
        other.discard = Discard.all if other.index == stream.index else Discard.default
    with contextlib.suppress(FFmpegError):
        container.seek(0)
        for packet in container.demux():
            if packet.pts is not None and packet.time_base:
                end_s = max(end_s, (packet.pts + (packet.duration or 0)) * packet.time_base)
    if declared_s - end_s <= _EARLY_S:
        return ""
    return f"{float(end_s):.1f} of the {float(declared_s):.1f} s that it declares are there"


def _only_counting_tells(packets: PacketList, codec: str, family: str, *, reordered: bool) -> bool:
    """Whether the times do not tell which packet is shown when.

    Matroska drops times before 0; AVI, ASF and MXF may number the frames in the order of the file, and bare
    streams have no times.
    """
    if family in RAW:
        return reordered
    if any(pts is None and shown for pts, shown in zip(packets.pts, packets.shown, strict=True)):
        return True
    times = [pts for pts in packets.pts if pts is not None]
    ascending = all(earlier <= later for earlier, later in itertools.pairwise(times))
    return family in _ORDER_UNTOLD and codec in _REORDERING and ascending and reordered
