"""Open a video file with PyAV under limits, pick its track, and describe it.

Errors of FFmpeg are mapped to ours here.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import numpy as np
from av.container import InputContainer
from av.error import ArgumentError, ExitError, FFmpegError
from av.stream import Discard, Disposition, Stream
from av.video.stream import VideoStream
from numpy.typing import NDArray

from tarsier_tools.errors import VideoTooLarge, VideoUnreadable
from tarsier_tools.media.base import Limits, too_slow
from tarsier_tools.media.kinds import MOTION_JPEG, RAW, demuxers, how_to_convert
from tarsier_tools.results import TrackInfo, VideoInfo

if TYPE_CHECKING:
    from tarsier_tools.media.pyav_scan import Track

TAGS: dict[str, Any] = (
    {"metadata_errors": "surrogateescape"} if hasattr(InputContainer, "metadata_errors") else {}
)
"""Arguments of av.open for files whose tags are not UTF-8. PyAV 19 always reads them like this and knows no
such argument; 17 and 18 refuse such files by default."""

_LEAST_OFFSET_S = 0.05
"""Less is the rounding of clocks, or the padding that encoders of sound put before it."""


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
    except (FFmpegError, OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        if isinstance(error, ArgumentError):  # the demuxer that FFmpeg would take is not one of ours
            reason = "its kind is not one of those that are read"
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
        allowed = demuxers(head)
        container = av.open(
            str(path.absolute()),
            # FFmpeg's guess takes some of these streams for one picture.
            format=MOTION_JPEG if allowed == MOTION_JPEG else None,
            container_options={"format_whitelist": allowed, "protocol_whitelist": "file"},
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
            f"The codec of {source} is not known to the decoder.",
            hint="Convert the file to H.264 in MP4. Raw recordings of cameras need the maker's software for "
            "that, for example DaVinci Resolve for Blackmagic RAW.",
        )
    best = container.streams.best("video")
    for track in decodable:
        if best is not None and track.index == best.index:
            return track
    return max(decodable, key=lambda track: track.codec_context.width * track.codec_context.height)


def describe(container: InputContainer, stream: VideoStream, track: Track, source: str) -> VideoInfo:
    """What is known of the video. Width and height are as coded, before any rotation."""
    timeline = track.timeline()
    table = track.table
    first, last = int(table.packet_of[0]), int(table.packet_of[-1])
    span = float((table.time[last] - table.time[first]) * track.tick_s)
    end = float((table.time[last] - table.time[first] + table.duration[last]) * track.tick_s)
    declared = float(stream.average_rate or 0)
    if end == span:  # nothing says how long the last frame is shown
        end += span / (len(timeline) - 1) if span else (1 / declared if declared else 0.0)
    return VideoInfo(
        source=source,
        container=_container_name(container),
        codec=stream.codec_context.codec.canonical_name,
        width=stream.codec_context.width,
        height=stream.codec_context.height,
        rotation=0,
        duration_s=end,
        frame_count=len(timeline),
        average_fps=_average_rate(len(timeline), end, declared, 2 * float(track.tick_s)),
        variable_rate=_varies(timeline, float(track.tick_s)),
        size_bytes=container.size,
        tracks=tuple(_other_tracks(container)),
        decoder="pyav",
        offset_s=_offset(container, track),
    )


def _average_rate(frames: int, duration_s: float, declared: float, rounding_s: float) -> float:
    """Return frames per second as counted; the declared rate where it says the same, since it is exact.

    Containers round times to their ticks, and many declare a rate that is not the average.
    """
    if not duration_s:
        return declared or 1.0
    if declared and abs(frames / declared - duration_s) <= rounding_s:
        return declared
    return frames / duration_s


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
    name = family_of(container)
    if name == "mov":
        return "mov" if container.metadata.get("major_brand", "").strip() == "qt" else "mp4"
    if name == "matroska":
        codecs = {codec_of(stream) for stream in container.streams.video}
        return "webm" if codecs <= {"vp8", "vp9", "av1"} else "matroska"
    return name


def family_of(container: InputContainer) -> str:
    """Return the first of FFmpeg's names of the container."""
    return container.format.name.split(",")[0]


def codec_of(stream: Stream) -> str:
    """Return FFmpeg's name of the track's codec; "unknown" for one that FFmpeg does not know."""
    context = stream.codec_context
    return "unknown" if context is None else str(context.codec.canonical_name)


def language_of(stream: Stream) -> str:
    """Return the track's language tag, "" without one; bytes that are not UTF-8 become U+FFFD."""
    return (stream.language or "").encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _other_tracks(container: InputContainer) -> Generator[TrackInfo]:
    for stream in (*container.streams.audio, *container.streams.subtitles):
        yield TrackInfo(
            kind="audio" if stream.type == "audio" else "subtitle",
            codec=codec_of(stream),
            language=language_of(stream),
        )


def _varies(timeline: NDArray[np.float64], tick_s: float) -> bool:
    """Whether frames are shown for different times, rounding to the container's ticks left aside."""
    gaps = np.diff(timeline)
    if len(gaps) < 2:
        return False
    usual = float(np.median(gaps))
    return bool(np.any(np.abs(gaps - usual) > max(2 * tick_s, usual / 10)))
