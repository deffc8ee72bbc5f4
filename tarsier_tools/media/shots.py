"""Where one shot ends and the next begins: PySceneDetect's adaptive detector over frames of our own reader.

The detector never opens the file: it is fed small copies of the frames, so limits, times and damaged files
are the reader's business as everywhere else. A video is worked through in stretches, whose cuts can be kept
one by one; a stretch begins a few frames early, so that together they give what a single pass would.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from tarsier_tools.errors import UsageError, VideoUnreadable
from tarsier_tools.media.base import AS_STORED
from tarsier_tools.media.clips import Decoder
from tarsier_tools.media.reader import Frame, Limits, VideoReader, open_video
from tarsier_tools.results import TimeRange
from tarsier_tools.types import Progress, no_progress

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tarsier_tools.media.worker import DecodeWorker

DETECTOR = "scenedetect-adaptive-1"
"""Names what finds the cuts, for whoever keeps them; the number changes when the same video gives others."""

STRETCH_S = 60.0
"""Seconds of video that are looked at in one go."""

_MAX_FPS = 30.0  # of the frames that the detector is shown; its defaults are made for such rates
_SIDE = 256  # pixels of a frame's longer side, as PySceneDetect's own downscaling
_LEAD, _TAIL = 4, 2  # frames around a stretch: the detector weighs a frame against two on either side

_INSTALL = "pip install 'tarsier-tools[shots]'"


def missing_detector() -> str:
    """Why cuts cannot be looked for here, as the end of a sentence; "" when they can."""
    try:
        import_module("scenedetect.detectors")
    except ImportError as error:  # also when OpenCV is there and lacks a library of the system
        return f"PySceneDetect cannot be loaded ({error}); {_INSTALL} installs it"
    return ""


def stretches(asked: TimeRange) -> tuple[TimeRange, ...]:
    """The range in pieces of at most STRETCH_S that begin at multiples of it."""
    first, last = int(asked.start_s // STRETCH_S), int(-(-asked.end_s // STRETCH_S))
    marks = [number * STRETCH_S for number in range(first, last + 1)]
    return tuple(
        TimeRange(start_s=max(start, asked.start_s), end_s=min(start + STRETCH_S, asked.end_s))
        for start in marks[:-1]
    )


def find_cuts(
    path: Path,
    *,
    source: str,
    stretches: Sequence[TimeRange],
    decoder: Decoder = "pyav",
    limits: Limits | None = None,
    on_progress: Progress = no_progress,
) -> Iterator[tuple[TimeRange, tuple[float, ...]]]:
    """The cuts in each stretch of a video: times of the first frames of shots, seconds, ascending.

    At more than 30 frames a second only every second (third, ...) frame is looked at. Hard cuts
    are found; most fades and dissolves are not.

    Args:
        source: the path or URL as it was given, for messages.
        on_progress: called for each frame with the stretches that are done; raising from it stops the work.

    Raises UsageError when PySceneDetect is not installed; VideoError and its kinds as the reader.
    """
    # A cut is one in any light and shape, and here every picture would have to be converted.
    with open_video(
        path, source=source, decoder=decoder, limits=limits or Limits(), rendering=AS_STORED
    ) as reader:
        for done, stretch in enumerate(stretches):

            def on_frame(done: int = done) -> None:
                on_progress(done, len(stretches), "finding cuts")

            yield stretch, tuple(_cuts(reader, stretch, on_frame))
        on_progress(len(stretches), len(stretches), "finding cuts")


def find_cuts_isolated(
    worker: DecodeWorker,
    path: Path,
    *,
    source: str,
    stretches: Sequence[TimeRange],
    decoder: Decoder = "pyav",
    limits: Limits | None = None,
    on_progress: Progress = no_progress,
    timeout_s: float,
) -> Iterator[tuple[TimeRange, tuple[float, ...]]]:
    """:func:`find_cuts` in the worker process, for files of strangers; each stretch is a call of its own.

    Args:
        timeout_s: for each stretch.

    Raises what find_cuts raises, and VideoTooLarge when the worker met its limit of time or memory.
    """
    for done, stretch in enumerate(stretches):
        on_progress(done, len(stretches), "finding cuts")
        yield (
            stretch,
            worker.call(_find_in_worker, path, source, stretch, decoder, limits, timeout_s=timeout_s),
        )
    on_progress(len(stretches), len(stretches), "finding cuts")


def _find_in_worker(
    path: Path, source: str, stretch: TimeRange, decoder: Decoder, limits: Limits | None
) -> tuple[float, ...]:
    ((_, cuts),) = find_cuts(path, source=source, stretches=[stretch], decoder=decoder, limits=limits)
    return cuts


def _cuts(reader: VideoReader, stretch: TimeRange, on_frame: Callable[[], None]) -> Iterator[float]:
    timecode, detector = _detector()
    step = max(1, round(reader.info.average_fps / _MAX_FPS))
    times = reader.timeline[::step]
    first, stop = (int(place) for place in np.searchsorted(times, (stretch.start_s, stretch.end_s)))
    lead, tail = max(first - _LEAD, 0), min(stop + _TAIL, len(times))
    if first >= stop:
        return
    frames = reader.read(range(lead * step, (tail - 1) * step + 1, step), in_stretches=True)
    fed: list[float] = []
    size = (0, 0)
    for frame in _those_that_decode(frames):
        on_frame()
        if frame.damaged:  # its picture may be anything, and would look like two cuts
            continue
        size = size if any(size) else _small(frame.image)
        picture = Image.fromarray(frame.image).resize(size, Image.Resampling.BILINEAR, reducing_gap=1.0)
        position = timecode(len(fed), fps=_MAX_FPS)  # counts what it was fed; the times are ours
        fed.append(frame.time_s)
        for cut in detector.process_frame(position, np.asarray(picture)[:, :, ::-1]):
            if stretch.start_s <= fed[cut.frame_num] < stretch.end_s:
                yield fed[cut.frame_num]


def _those_that_decode(frames: Iterator[Frame]) -> Iterator[Frame]:
    """The frames up to where the stretch cannot be decoded: no cuts are known there, which is no error."""
    with contextlib.suppress(VideoUnreadable):
        yield from frames


def _detector() -> tuple[Any, Any]:
    """The class of its clock, and a detector; it finds cuts however close they are, as sorting is ours."""
    if problem := missing_detector():
        raise UsageError(f"Cuts cannot be looked for: {problem}.", hint="Or use segmentation='windows'.")
    from scenedetect.common import FrameTimecode
    from scenedetect.detectors import AdaptiveDetector

    return FrameTimecode, AdaptiveDetector(min_scene_len=0)


def _small(image: NDArray[np.uint8]) -> tuple[int, int]:
    """(width, height) of the copy that the detector is shown."""
    height, width, _ = image.shape
    scale = min(1.0, _SIDE / max(height, width))
    return max(1, round(width * scale)), max(1, round(height * scale))
