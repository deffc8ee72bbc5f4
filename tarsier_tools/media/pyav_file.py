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
from typing import TYPE_CHECKING, Any

import av
import numpy as np
from av.container import InputContainer
from av.error import ExitError, FFmpegError
from av.stream import Discard, Disposition
from av.video.stream import VideoStream
from numpy.typing import NDArray

from tarsier_tools.errors import VideoTooLarge, VideoUnreadable
from tarsier_tools.media.base import Deadline, Limits, too_slow
from tarsier_tools.media.packets import PacketList, PacketTable
from tarsier_tools.results import TrackInfo, VideoInfo

if TYPE_CHECKING:
    from av.packet import Packet
    from av.stream import Stream

DEMUXERS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,flv,live_flv,ogg,gif"
"""What may be opened, by FFmpeg's names: containers only, nothing that names other files."""

TAGS: dict[str, Any] = (
    {"metadata_errors": "surrogateescape"} if hasattr(InputContainer, "metadata_errors") else {}
)
"""Arguments of av.open for files whose tags are not UTF-8. PyAV 19 always reads them like this and knows no
such argument; 17 and 18 refuse such files by default."""

_VP8_SHOWN = 0x10
"""Bit of a VP8 packet's first byte: the frame is shown, not only referred to."""

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
            hint="It is damaged or of a kind that is not read; try to play it, or convert it to MP4.",
        ) from None


@contextlib.contextmanager
def opened(path: Path, source: str, limits: Limits) -> Generator[tuple[InputContainer, VideoStream]]:
    """The file's container and its main video track; closed at the end of the block.

    Raises VideoUnreadable or VideoTooLarge with the reason.
    """
    with mapped_errors(source, limits):
        container = av.open(
            str(path.absolute()),
            container_options={"format_whitelist": DEMUXERS, "protocol_whitelist": "file"},
            # FFmpeg decodes a first picture to find the format out; this bounds that one.
            options={"max_pixels": str(limits.max_frame_pixels)},
            **TAGS,
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
        cut_short: why the walk ended before the end of the file, "" when it did not.
        declares_duration: the file says how long it is.
    """

    table: PacketTable
    tick_s: Fraction
    cut_short: str
    declares_duration: bool

    def timeline(self) -> NDArray[np.float64]:
        """Presentation time of each frame, float64 (frames,), seconds from the first."""
        table = self.table
        ticks = [table.time[packet] for packet in table.packet_of]
        unit = self.tick_s.numerator
        return np.array([(tick - ticks[0]) * unit for tick in ticks], np.float64) / self.tick_s.denominator


def scan(container: InputContainer, stream: VideoStream, source: str, deadline: Deadline) -> Track:
    """List the track's packets. The container stands at its end afterwards.

    Raises VideoUnreadable when the track is empty, VideoTooLarge when the time is up.
    """
    packets = PacketList()
    codec = stream.codec_context.codec.canonical_name
    cut_short = ""
    try:
        for packet in container.demux(stream):
            if packet.size:
                _append(packets, packet, codec)
                if len(packets) % 256 == 0:
                    deadline.check()
    except (ExitError, MemoryError):
        raise
    except FFmpegError as error:
        cut_short = error.strerror or str(error)
    tick = Fraction(stream.time_base or Fraction(1, 90_000))
    declared = stream.frames if container.format.name.startswith("mov") else 0  # elsewhere a guess
    if not cut_short and declared > len(packets):
        cut_short = f"{len(packets)} of {declared} declared frames are there"
    if container.format.name == "mpegts" and any(pts is not None for pts in packets.pts):
        packets.mark_losses()
    if not any(packets.shown):
        raise VideoUnreadable(
            f"The video track of {source} holds no frames{f' ({cut_short})' if cut_short else ''}.",
            hint="The file is cut short or damaged; make or copy it again.",
        )
    in_order = _only_counting_tells(packets, codec, container.format.name)
    table = packets.table(second=max(1, round(1 / tick)), in_order=in_order)
    return Track(table, tick, cut_short, container.duration is not None)


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


def _only_counting_tells(packets: PacketList, codec: str, container: str) -> bool:
    """Whether the times do not tell which packet is shown when.

    Matroska drops times before 0, and AVI has none: its frames are numbered in the order of the file.
    """
    if any(pts is None and shown for pts, shown in zip(packets.pts, packets.shown, strict=True)):
        return True
    times = [pts for pts in packets.pts if pts is not None]
    ascending = all(earlier < later for earlier, later in itertools.pairwise(times))
    return container == "avi" and codec in _REORDERING and ascending


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
    )


def _container_name(container: InputContainer) -> str:
    """One word for the container; FFmpeg names families."""
    name = container.format.name
    if name.startswith("mov"):
        return "mov" if container.metadata.get("major_brand", "").strip() == "qt" else "mp4"
    if name.startswith("matroska"):
        codecs = {stream.codec_context.codec.canonical_name for stream in container.streams.video}
        return "webm" if codecs <= {"vp8", "vp9", "av1"} else "matroska"
    return name.split(",")[0]


def language_of(stream: Stream) -> str:
    """Return the track's language tag, "" without one; bytes that are not UTF-8 become U+FFFD."""
    return (stream.language or "").encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _other_tracks(container: InputContainer) -> Generator[TrackInfo]:
    for stream in (*container.streams.audio, *container.streams.subtitles):
        context = stream.codec_context
        yield TrackInfo(
            kind="audio" if stream.type == "audio" else "subtitle",
            codec="unknown" if context is None else context.codec.canonical_name,
            language=language_of(stream),
        )


def _varies(timeline: NDArray[np.float64], tick_s: float) -> bool:
    """Whether frames are shown for different times, rounding to the container's ticks left aside."""
    gaps = np.diff(timeline)
    if len(gaps) < 2:
        return False
    usual = float(np.median(gaps))
    return bool(np.any(np.abs(gaps - usual) > max(2 * tick_s, usual / 10)))
