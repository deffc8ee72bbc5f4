"""Open a video file with PyAV under limits, pick its track, and list the track's packets without decoding.

Errors of FFmpeg are mapped to ours here.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Generator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import av
import numpy as np
from av.container import InputContainer
from av.error import ExitError, FFmpegError
from av.stream import Discard, Disposition, Stream
from av.video.stream import VideoStream
from numpy.typing import NDArray

from tarsier_tools.errors import VideoTooLarge, VideoUnreadable
from tarsier_tools.media.base import Deadline, Limits, too_slow
from tarsier_tools.media.bitstream import is_bidirectional, starts_at_idr
from tarsier_tools.media.kinds import RAW, demuxers, how_to_convert
from tarsier_tools.media.losses import find_losses
from tarsier_tools.media.packets import PacketList, PacketTable
from tarsier_tools.media.wholeness import breaks, missing_end
from tarsier_tools.results import TrackInfo, VideoInfo

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

_RAW_RATE = 25
"""Frames per second of a stream that does not say, as FFmpeg has it."""

_LEAST_OFFSET_S = 0.0015
"""Less is the rounding of the containers' clocks."""

_EARLY_S = 1.0
"""A declared duration may be so much longer than what is there."""

_REORDERING = ("h264", "hevc", "mpeg4", "mpeg1video", "mpeg2video", "vc1", "wmv3")
"""Codecs that may show pictures in another order than they are stored in."""


@contextlib.contextmanager
def mapped_errors(source: str, limits: Limits) -> Generator[None]:
    """Turn what FFmpeg raises into our errors."""
    try:
        yield
    except MemoryError:
        raise VideoTooLarge(
            f"Reading {source} takes more memory than there is.", hint="Scale the video down or cut it."
        ) from None
    except ExitError:  # FFmpeg was reading for longer than it was given
        raise too_slow(source, limits.timeout_s) from None
    except (FFmpegError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise VideoUnreadable(
            f"{source} cannot be read as a video: {reason}.",
            hint=f"It is damaged, or of a kind that is not read. {how_to_convert()}",
        ) from None


@contextlib.contextmanager
def opened(path: Path, source: str, limits: Limits) -> Generator[tuple[InputContainer, VideoStream]]:
    """The file's container and its main video track; closed at the end of the block.

    Raises VideoUnreadable or VideoTooLarge with the reason.
    """
    with mapped_errors(source, limits):
        with path.open("rb") as file:
            head = file.read(64)
        container = av.open(
            str(path.absolute()),
            container_options={"format_whitelist": demuxers(head), "protocol_whitelist": "file"},
            # FFmpeg decodes a first picture to find the format out; this bounds that one.
            options={"max_pixels": str(limits.max_frame_pixels)},
            metadata_errors="replace",
            timeout=limits.timeout_s,
        )
    with container:
        stream = _main_track(container, source)
        context = stream.codec_context
        limits.check_frame(context.width, context.height, source)
        context.options = {"max_pixels": str(limits.max_frame_pixels)}
        for other in container.streams:
            if other.index != stream.index:
                other.discard = Discard.all
        yield container, stream


def _main_track(container: InputContainer, source: str) -> VideoStream:
    """The track that players show: the one that FFmpeg calls best, still pictures of covers left out."""
    tracks = [track for track in container.streams.video if not track.disposition & Disposition.attached_pic]
    if not tracks:
        if container.streams.video:
            reason, hint = "has a cover picture but no video", "Give a video; a cover is not one."
        elif container.streams.audio:
            reason, hint = "has sound but no video", "Give a file with a video track."
        else:
            reason, hint = "has no video track", "Give a file with a video track."
        raise VideoUnreadable(f"{source} {reason}.", hint=hint)
    decodable = [track for track in tracks if track.codec_context is not None]
    if not decodable:
        raise VideoUnreadable(
            f"The codec of {source} is not known to the decoder.", hint="Convert the file to H.264 in MP4."
        )
    best = container.streams.best("video")
    for track in decodable:
        if best is not None and track.index == best.index:
            return track
    return max(decodable, key=lambda track: track.codec_context.width * track.codec_context.height)


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
    """

    table: PacketTable
    tick_s: Fraction
    cut_short: str
    declares_duration: bool
    notes: tuple[str, ...]
    family: str
    starts_whole: bool

    def losses(self, path: Path, deadline: Deadline) -> list[str]:
        """Return a sentence for each stretch whose frames a damaged file has lost."""
        with path.open("rb") as file:
            return find_losses(
                self.table, self.family, lambda: breaks(file, self.family, deadline), self.tick_s
            )

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
    family = _family(container)
    tick = stream.time_base or Fraction(1, 90_000)
    walk = _Walk(container, stream, deadline)
    packets = walk.packets
    cut_short = walk.stopped or _uncounted(stream, family, len(packets))
    if not any(packets.shown):
        raise VideoUnreadable(
            f"The video track of {source} holds no frames{f' ({cut_short})' if cut_short else ''}.",
            hint="The file is cut short or damaged; make or copy it again.",
        )
    notes = []
    if family in RAW:
        rate = packets.count_times(tick, Fraction(stream.average_rate or _RAW_RATE))
        notes.append(f"The stream holds no times: they are counted at {float(rate):.4g} frames per second.")
    elif family == "mpegts" and any(pts is not None for pts in packets.pts):
        packets.mark_losses()
    in_order = _only_counting_tells(packets, codec_of(stream), family, reordered=walk.reordered)
    if in_order and family == "asf":
        packets.pts = packets.dts  # FFmpeg puts the delay of the order into the times of showing
    table = packets.table(second=max(1, round(1 / tick)), in_order=in_order)
    with path.open("rb") as file:
        cut_short = cut_short or missing_end(
            file, family, packet_bytes=packets.size[-1], last_end=packets.position[-1] + packets.size[-1]
        )
    cut_short = cut_short or _early_end(container, stream, max(table.time) * tick)
    return Track(
        table, tick, cut_short, container.duration is not None, tuple(notes), family, walk.starts_whole
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
        self._family = _family(container)
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
        return True


def _follows(before: int | None, time: int | None) -> bool:
    return time is not None and (before is None or before < time < before + _IVF_STEP)


def _family(container: InputContainer) -> str:
    """The first of FFmpeg's names of the container."""
    return container.format.name.split(",")[0]


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


def _uncounted(stream: VideoStream, family: str, found: int) -> str:
    """Compare the frames found with those that the container declares; elsewhere its number is a guess."""
    if family == "mov":
        # The table that FFmpeg made of the index and the edits: what a trim leaves out is not in it.
        declared = len(stream.index_entries)
    elif family in ("avi", "ivf"):
        declared = stream.frames
    elif family == "mxf" and stream.time_base == 1 / (stream.average_rate or 1):
        declared = stream.duration or 0
    else:
        return ""
    return f"{found} of {declared} declared frames are there" if declared > found else ""


def _early_end(container: InputContainer, stream: VideoStream, end_s: Fraction) -> str:
    """Compare the declared duration with the last packet of every track, where no structure tells."""
    if _family(container) not in ("matroska", "flv", "nut") or container.duration is None:
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


def describe(container: InputContainer, stream: VideoStream, track: Track, source: str) -> VideoInfo:
    """What is known of the video. Width and height are as coded, before any rotation."""
    timeline = track.timeline()
    table = track.table
    first, last = int(table.packet_of[0]), int(table.packet_of[-1])
    span = float((table.time[last] - table.time[first]) * track.tick_s)
    end = float((table.time[last] - table.time[first] + table.duration[last]) * track.tick_s)
    average = float(stream.average_rate or 0)
    if end == span:  # nothing says how long the last frame is shown
        end += span / (len(timeline) - 1) if span else (1 / average if average else 0.0)
    measured = len(timeline) / end if end else 0.0
    if not average or (measured and not 0.5 < average / measured < 2):
        average = measured or 1.0
    return VideoInfo(
        source=source,
        container=_container_name(container),
        codec=stream.codec_context.codec.canonical_name,
        width=stream.codec_context.width,
        height=stream.codec_context.height,
        rotation=0,
        duration_s=end,
        frame_count=len(timeline),
        average_fps=average,
        variable_rate=_varies(timeline, float(track.tick_s)),
        size_bytes=container.size,
        tracks=tuple(_other_tracks(container)),
        decoder="pyav",
        offset_s=_offset(container, track),
    )


def _offset(container: InputContainer, track: Track) -> float:
    """Return how many seconds after a player's 0:00 the first frame is shown.

    Players count from the start of the first track (FFmpeg's ``start_time``); an empty stretch before all
    tracks is not shown. AVI has no times: its first frame is at 0, whatever FFmpeg adds for reordering.
    """
    if container.start_time is None or track.family == "avi" or track.family in RAW:
        return 0.0
    first = track.table.time[track.table.packet_of[0]] * track.tick_s
    offset = float(first - Fraction(container.start_time, av.time_base))
    return offset if offset >= _LEAST_OFFSET_S else 0.0


def _container_name(container: InputContainer) -> str:
    """One word for the container; FFmpeg names families."""
    name = _family(container)
    if name == "mov":
        return "mov" if container.metadata.get("major_brand", "").strip() == "qt" else "mp4"
    if name == "matroska":
        codecs = {codec_of(stream) for stream in container.streams.video}
        return "webm" if codecs <= {"vp8", "vp9", "av1"} else "matroska"
    return name


def codec_of(stream: Stream) -> str:
    """Return FFmpeg's name of the track's codec; "unknown" for one that FFmpeg does not know."""
    context = stream.codec_context
    return "unknown" if context is None else str(context.codec.canonical_name)


def _other_tracks(container: InputContainer) -> Generator[TrackInfo]:
    for stream in (*container.streams.audio, *container.streams.subtitles):
        yield TrackInfo(
            kind="audio" if stream.type == "audio" else "subtitle",
            codec=codec_of(stream),
            language=stream.language or "",
        )


def _varies(timeline: NDArray[np.float64], tick_s: float) -> bool:
    """Whether frames are shown for different times, rounding to the container's ticks left aside."""
    gaps = np.diff(timeline)
    if len(gaps) < 2:
        return False
    usual = float(np.median(gaps))
    return bool(np.any(np.abs(gaps - usual) > max(2 * tick_s, usual / 10)))
