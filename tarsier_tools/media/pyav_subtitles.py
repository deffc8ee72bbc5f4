"""Subtitle tracks and files read with FFmpeg's demuxers and decoders, styles taken off."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
from av.container import InputContainer
from av.error import ExitError, FFmpegError
from av.stream import Discard
from av.subtitles.subtitle import AssSubtitle

from tarsier_tools.errors import VideoUnreadable
from tarsier_tools.media.base import Deadline, Limits
from tarsier_tools.media.kinds import CONTAINERS
from tarsier_tools.media.pyav_file import TAGS, language_of, mapped_errors
from tarsier_tools.media.subtitles import Cue, Subtitles, sidecar_text, sidecars

if TYPE_CHECKING:
    from av.packet import Packet
    from av.subtitles.stream import SubtitleStream

MAX_CUES = 100_000
"""Of one track; what comes after is left out."""

_TAG = re.compile(r"\{[^{}]*\}|<[^<>]*>")


def read_subtitles(path: Path, source: str, limits: Limits) -> tuple[Subtitles, ...]:
    """The subtitles of a video that are texts, in its tracks and beside it; those that are pictures are not.

    A track or a file that cannot be decoded, or that holds no text, is left out.

    Raises VideoUnreadable when the video itself cannot be opened; VideoTooLarge when a limit is met.
    """
    found = [] if path.is_dir() else list(_tracks(path, source, limits))
    try:
        beside = sidecars(path)
    except OSError:  # a folder that may not be listed
        beside = []
    for sidecar, language in beside:
        try:
            text = sidecar_text(sidecar)
        except OSError:
            continue
        cues = _sidecar_cues(text, sidecar.suffix.lower(), limits)
        found.append(Subtitles(origin=sidecar.name, language=language, cues=cues))
    return tuple(subtitles for subtitles in found if subtitles.cues)


def _tracks(path: Path, source: str, limits: Limits) -> Iterator[Subtitles]:
    try:
        with mapped_errors(source, limits):
            container = av.open(
                str(path.absolute()),
                container_options={"format_whitelist": CONTAINERS, "protocol_whitelist": "file"},
                options={"max_pixels": str(limits.max_frame_pixels)},
                **TAGS,
                timeout=limits.timeout_s,
            )
    except VideoUnreadable:  # a still picture, which has no tracks
        return
    with container, mapped_errors(source, limits):
        streams = [stream for stream in container.streams.subtitles if stream.codec_context is not None]
        if not streams:
            return
        for stream in container.streams:
            stream.discard = Discard.default if stream in streams else Discard.all
        found: dict[int, list[Cue]] = {stream.index: [] for stream in streams}
        zero_s, deadline = _zero(container), Deadline(limits.timeout_s, source)
        for index, cue in _cues(container, streams, zero_s, deadline):
            if len(found[index]) < MAX_CUES:
                found[index].append(cue)
        for stream in streams:
            yield Subtitles(
                origin=f"track {stream.index}",
                language=language_of(stream),
                cues=tuple(sorted(found[stream.index], key=lambda cue: cue.start_s)),
            )


def _sidecar_cues(text: str, suffix: str, limits: Limits) -> tuple[Cue, ...]:
    """The cues of a subtitle file; none when it is not what its name says."""
    name = {".srt": "srt", ".vtt": "webvtt"}[suffix]
    try:
        data = io.BytesIO(text.encode("utf-8", errors="replace"))
        with av.open(data, "r", format=name) as container:
            streams = list(container.streams.subtitles)
            deadline = Deadline(limits.timeout_s, "the subtitle file")
            cues = (cue for _, cue in _cues(container, streams, 0.0, deadline))
            return tuple(sorted(islice(cues, MAX_CUES), key=lambda cue: cue.start_s))
    except (FFmpegError, ValueError):
        return ()


def _cues(
    container: InputContainer, streams: list[SubtitleStream], zero_s: float, deadline: Deadline
) -> Iterator[tuple[int, Cue]]:
    """(number of the stream, cue), up to where the file can be read."""
    try:
        for packet in container.demux(*streams):
            deadline.check()
            if packet.size and packet.pts is not None and packet.time_base is not None:
                start_s = max(float(packet.pts * packet.time_base) - zero_s, 0.0)
                length_s = float((packet.duration or 0) * packet.time_base)
                text = _text(packet)
                if text and length_s > 0:
                    yield packet.stream.index, Cue(start_s, start_s + length_s, text)
    except ExitError:
        raise
    except FFmpegError:
        return


def _text(packet: Packet[Any]) -> str:
    """The words of one packet without styles; "" for pictures and for what cannot be decoded.

    FFmpeg turns every kind of text into ASS.
    """
    try:
        lines = [
            part.dialogue.decode("utf-8", errors="replace")
            for part in packet.decode()
            if isinstance(part, AssSubtitle)
        ]
    except ExitError:
        raise
    except FFmpegError:
        return ""
    words = _TAG.sub("", "\n".join(lines).replace("\\N", "\n").replace("\\n", "\n").replace("\\h", " "))
    return "\n".join(line for line in map(str.strip, words.splitlines()) if line)


def _zero(container: InputContainer) -> float:
    """When the first frame of the video is shown, by the container's clock, seconds."""
    video = container.streams.best("video")
    if video is None or video.start_time is None or video.time_base is None:
        return 0.0
    return float(video.start_time * video.time_base)
