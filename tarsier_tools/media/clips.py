"""From a video file to the clip that a model is shown, and the account of what was shown.

Memory stays bounded: frames are read one by one and shrunk to the pixel budget as they come, so that only
the small ones are held together.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tarsier_tools.errors import TimeRangeError, UsageError, VideoUnreadable
from tarsier_tools.media.reader import DEFAULT_RENDERING, Frame, Limits, Rendering, VideoReader, open_video
from tarsier_tools.media.sampling import plan
from tarsier_tools.media.transform import MAX_PIXELS, fit_size, frame_budget, resize
from tarsier_tools.results import Coverage, TimeRange, VideoInfo
from tarsier_tools.types import Clip, Progress, SamplingMethod, no_progress

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tarsier_tools.media.worker import DecodeWorker

Decoder = Literal["pyav", "decord"]


@dataclass(frozen=True, slots=True)
class ClipSpec:
    """What is wanted of a video. Hashable: the same spec of the same file gives the same clip.

    Attributes:
        start_s, end_s: the range, seconds from the first frame, the end excluded; None for the video's own
            start or end. An end after the video's is clamped to it.
        frames: how many at most.
        sampling: how they are chosen, see :mod:`tarsier_tools.media.sampling`.
        fps: frames per second for ``sampling="fps"``, None for the other methods.
        max_pixels: per frame at most, before the budget that many frames share.
    """

    start_s: float | None = None
    end_s: float | None = None
    frames: int = 16
    sampling: SamplingMethod = "uniform"
    fps: float | None = None
    max_pixels: int = MAX_PIXELS


@dataclass(frozen=True, slots=True)
class Chosen:
    """Which frames of a video a spec asks for: the range inside the video, their numbers, what to say."""

    asked: TimeRange
    indices: tuple[int, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DecodedClip:
    """A clip, the video that it is from, and what of that was shown."""

    info: VideoInfo
    clip: Clip
    coverage: Coverage


def read_clip(
    path: Path,
    *,
    source: str,
    spec: ClipSpec,
    decoder: Decoder = "pyav",
    limits: Limits | None = None,
    rendering: Rendering = DEFAULT_RENDERING,
    on_progress: Progress = no_progress,
) -> DecodedClip:
    """Read the frames that the spec asks for, each shrunk to the pixel budget (resize 1).

    Damaged pictures are left out, and the coverage says so. Where the size of the picture changes in
    mid-video, all frames get the size of the first one, so that they fit into one clip; the coverage says
    that too.

    Args:
        source: the path or URL as it was given, for results and messages.
        limits: what to decode at most; the reader's own defaults when None.
        rendering: what is done to the pictures.
        on_progress: called after each frame; raising from it stops the reading.

    Raises:
        TimeRangeError: the range is empty, starts before 0 or at the end of the video or after it, or is not
            made of numbers.
        UsageError: frames is below 1, or fps does not go with the sampling.
        VideoUnreadable, VideoTooLarge: as the reader; also when every frame wanted is damaged.
    """
    check_spec(spec)
    with open_video(
        path, source=source, decoder=decoder, limits=limits or Limits(), rendering=rendering
    ) as reader:
        chosen = choose_frames(reader, spec)
        shown = Shown(frame_budget(len(chosen.indices), spec.max_pixels))
        for done, frame in enumerate(reader.read(chosen.indices), start=1):
            shown.add(frame, resize)
            on_progress(done, len(chosen.indices), "reading frames")
        return make_clip(reader, spec, chosen, shown)


def make_clip(reader: VideoReader, spec: ClipSpec, chosen: Chosen, shown: Shown) -> DecodedClip:
    """The clip of the frames that were read; those that were chosen and are missing count as damaged.

    Raises VideoUnreadable when there is none.
    """
    info, asked, wanted = reader.info, chosen.asked, len(chosen.indices)
    notes = [*chosen.notes, *reader.skipped, *shown.notes(wanted)]
    if not shown.images:
        raise nothing_undamaged(wanted, info.source)
    times = tuple(shown.times_s)
    clip = Clip(tuple(shown.images), tuple(shown.indices), times, _fingerprint(shown))
    height, width, _ = clip.frames[0].shape
    coverage = Coverage(
        video_duration_s=info.duration_s,
        asked=asked,
        frame_times_s=times,
        frame_indices=clip.indices,
        frame_size=(width, height),
        largest_gap_s=largest_gap(asked, times),
        sampling=spec.sampling,
        decoder=info.decoder,
        offset_s=info.offset_s,
        adjusted=info.adjusted,
        skipped=tuple(notes),
    )
    return DecodedClip(info, clip, coverage)


def nothing_undamaged(wanted: int, source: str) -> VideoUnreadable:
    """The error for when no frame is left to show."""
    return VideoUnreadable(
        f"None of the {wanted} frames wanted of {source} can be decoded undamaged.",
        hint="Ask for another range, or convert the video with ffmpeg first.",
    )


def read_clip_isolated(
    worker: DecodeWorker,
    path: Path,
    *,
    source: str,
    spec: ClipSpec,
    decoder: Decoder = "pyav",
    limits: Limits | None = None,
    rendering: Rendering = DEFAULT_RENDERING,
    timeout_s: float,
) -> DecodedClip:
    """:func:`read_clip` in the worker process, for files of strangers.

    Raises what read_clip raises, and VideoTooLarge when the worker met its limit of time or memory.
    """
    return worker.call(_read_in_worker, path, source, spec, decoder, limits, rendering, timeout_s=timeout_s)


def choose_frames(reader: VideoReader, spec: ClipSpec) -> Chosen:
    """The frames of an open video that the spec asks for; nothing is decoded.

    Raises TimeRangeError as :func:`read_clip`.
    """
    asked, notes = asked_range(spec, reader.info)
    planned = plan(
        reader.timeline,
        duration_s=reader.info.duration_s,
        average_fps=reader.info.average_fps,
        variable_rate=reader.info.variable_rate,
        n=spec.frames,
        method=spec.sampling,
        start_s=spec.start_s,
        end_s=spec.end_s,
        fps=spec.fps,
    )
    return Chosen(asked, planned.indices, (*notes, *planned.notes))


def largest_gap(asked: TimeRange, times_s: Iterable[float]) -> float:
    """The longest stretch of the range, in seconds, in which no frame came up.

    The stretches before the first frame and after the last one count too.
    """
    inside = sorted(time_s for time_s in times_s if asked.start_s <= time_s <= asked.end_s)
    marks = [asked.start_s, *inside, asked.end_s]
    return max(later - earlier for earlier, later in pairwise(marks))


def _read_in_worker(
    path: Path, source: str, spec: ClipSpec, decoder: Decoder, limits: Limits | None, rendering: Rendering
) -> DecodedClip:
    return read_clip(path, source=source, spec=spec, decoder=decoder, limits=limits, rendering=rendering)


def check_spec(spec: ClipSpec) -> None:
    """Raise UsageError or TimeRangeError for what no video could satisfy."""
    if spec.frames < 1:
        raise UsageError(f"frames must be at least 1, got {spec.frames}.", hint="Ask for 1 frame or more.")
    for name, value in (("start_s", spec.start_s), ("end_s", spec.end_s)):
        if value is not None and not math.isfinite(value):
            raise TimeRangeError(
                f"{name} is {value}, which is no time.",
                hint="Give seconds, or leave it out for the whole video.",
            )
    if (spec.sampling == "fps") != (spec.fps is not None):
        raise UsageError("fps and sampling='fps' go together.", hint="Give both, or neither.")
    if spec.fps is not None and not 0 < spec.fps < math.inf:
        raise UsageError(
            f"fps must be a positive number, got {spec.fps}.", hint="Say how many frames a second, e.g. 2."
        )


def asked_range(spec: ClipSpec, info: VideoInfo) -> tuple[TimeRange, list[str]]:
    """The range inside the video, and what to say about it, a sentence each.

    Raises TimeRangeError when it is empty or starts outside the video.
    """
    # A single picture may have no duration; it is then shown for as long as one frame is.
    duration = info.duration_s or 1 / info.average_fps
    start = 0.0 if spec.start_s is None else spec.start_s
    end = duration if spec.end_s is None else spec.end_s
    if start < 0 or start >= duration:
        raise TimeRangeError(
            f"The range starts at {start:g} s, and the video goes from 0 to {duration:.3f} s.",
            hint=f"Give a start_s from 0 to below {duration:.3f}.",
        )
    if end <= start:
        raise TimeRangeError(
            f"The range from {start:g} to {end:g} s is empty.",
            hint=f"Give an end_s above {start:g}; the video ends at {duration:.3f} s.",
        )
    if end > duration:
        note = f"The range asked for ends at {end:g} s, after the video: it was cut at {duration:.3f} s."
        return TimeRange(start_s=start, end_s=duration), [note]
    return TimeRange(start_s=start, end_s=end), []


@dataclass(slots=True)
class Shown:
    """What was read so far: the shrunk images, which frames they are, and what became of the others.

    Attributes:
        budget: pixels of an image at most.
    """

    budget: int
    images: list[NDArray[np.uint8]] = field(default_factory=list)
    indices: list[int] = field(default_factory=list)
    times_s: list[float] = field(default_factory=list)
    damaged: int = 0
    reshaped: int = 0
    _decoded_size: tuple[int, int] = (0, 0)
    _size: tuple[int, int] = (0, 0)

    def add(
        self, frame: Frame, shrink: Callable[[NDArray[np.uint8], tuple[int, int]], NDArray[np.uint8]]
    ) -> None:
        """Take the next frame in.

        Args:
            shrink: :func:`~tarsier_tools.media.transform.resize`, or something that remembers its results.
        """
        if frame.damaged:
            self.damaged += 1
            return
        height, width, _ = frame.image.shape
        if not self.images:
            self._decoded_size, self._size = (width, height), fit_size(*frame.size, self.budget)
        self.reshaped += (width, height) != self._decoded_size
        self.images.append(shrink(frame.image, self._size))
        self.indices.append(frame.index)
        self.times_s.append(frame.time_s)

    def notes(self, wanted: int) -> list[str]:
        """What to say about it, one sentence each."""
        notes = []
        if self.damaged:
            notes.append(f"{self.damaged} of {wanted} frames are damaged in the file and were left out.")
        if self.reshaped:
            notes.append(
                f"The size of the picture changes in the video: {self.reshaped} of {len(self.images)} frames "
                "were brought to the shape of the first one."
            )
        return notes


def _fingerprint(shown: Shown) -> str:
    digest = hashlib.sha256()
    for image, index in zip(shown.images, shown.indices, strict=True):
        height, width, _ = image.shape
        digest.update(f"{index} {width} {height};".encode())
        digest.update(image.tobytes())
    return digest.hexdigest()
