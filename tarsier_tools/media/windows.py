"""Many ranges of one video as clips, in one pass over the file, however long it is.

A frame is decoded once, shrunk once per size, and dropped at once: what is held is the small images of the
windows that are open, so memory does not grow with the length of the video.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tarsier_tools.media.base import MiB
from tarsier_tools.media.clips import (
    Chosen,
    ClipSpec,
    DecodedClip,
    Decoder,
    Shown,
    check_spec,
    choose_frames,
    make_clip,
    nothing_undamaged,
)
from tarsier_tools.media.reader import DEFAULT_RENDERING, Limits, Rendering, VideoReader, open_video
from tarsier_tools.media.transform import fit_size, frame_budget, resize
from tarsier_tools.types import Progress, no_progress

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tarsier_tools.media.worker import DecodeWorker

_BATCH_BYTES = 128 * MiB
"""Pixels that the worker sends at once, at most: they are in memory several times on their way."""


def read_clips(
    path: Path,
    *,
    source: str,
    specs: Sequence[ClipSpec],
    decoder: Decoder = "pyav",
    limits: Limits | None = None,
    rendering: Rendering = DEFAULT_RENDERING,
    on_progress: Progress = no_progress,
) -> Iterator[tuple[int, DecodedClip]]:
    """Many ranges of one video in one pass over the file, which may overlap and come in any order.

    Yields (number of the spec, its clip), each as soon as its last frame is there. Each clip equals what
    :func:`~tarsier_tools.media.clips.read_clip` gives for its spec, but for a clip of which no frame can be
    decoded: it is left out. The limits on time and on decoded frames hold from frame to frame, not for all.

    Args:
        on_progress: called for each frame, with the number of clips that are done.

    Raises as read_clip, when the first clip is asked for; VideoTooLarge also when the open windows would
    hold too much memory, VideoUnreadable when no clip at all can be read.
    """
    read = 0
    for done in _read(path, source, specs, decoder, limits, rendering, on_progress):
        read += 1
        yield done
    _check_any(read, specs, source)


def read_clips_isolated(
    worker: DecodeWorker,
    path: Path,
    *,
    source: str,
    specs: Sequence[ClipSpec],
    decoder: Decoder = "pyav",
    limits: Limits | None = None,
    rendering: Rendering = DEFAULT_RENDERING,
    on_progress: Progress = no_progress,
    timeout_s: float,
) -> Iterator[tuple[int, DecodedClip]]:
    """:func:`read_clips` in the worker process, for files of strangers.

    The specs are sent in batches, in the order of time, each in a call (and an opened file) of its own.

    Args:
        on_progress: called between batches.
        timeout_s: for each batch.

    Raises what read_clips raises, and VideoTooLarge when the worker met its limit of time or memory.
    """
    for spec in specs:
        check_spec(spec)
    read = done = 0
    for numbers in _batches(specs):
        on_progress(done, len(specs), "reading frames")
        batch = [specs[number] for number in numbers]
        clips = worker.call(
            _read_in_worker, path, source, batch, decoder, limits, rendering, timeout_s=timeout_s
        )
        for place, clip in clips:
            read += 1
            yield numbers[place], clip
        done += len(numbers)
        on_progress(done, len(specs), "reading frames")
    _check_any(read, specs, source)


@dataclass(slots=True)
class _Window:
    """A clip in the making."""

    number: int
    chosen: Chosen
    wanted: frozenset[int]
    shown: Shown

    @property
    def first(self) -> int:
        return self.chosen.indices[0]

    @property
    def last(self) -> int:
        return self.chosen.indices[-1]


class _Shrinker:
    """Resizes one frame, each size once: windows that overlap share the image."""

    def __init__(self) -> None:
        self._done: dict[tuple[int, int], NDArray[np.uint8]] = {}

    def __call__(self, image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
        if size not in self._done:
            self._done[size] = resize(image, size)
        return self._done[size]


def _read(
    path: Path,
    source: str,
    specs: Sequence[ClipSpec],
    decoder: Decoder,
    limits: Limits | None,
    rendering: Rendering,
    on_progress: Progress,
) -> Iterator[tuple[int, DecodedClip]]:
    for spec in specs:
        check_spec(spec)
    if not specs:
        return
    with open_video(
        path, source=source, decoder=decoder, limits=limits or Limits(), rendering=rendering
    ) as reader:
        windows = [_window(reader, number, spec) for number, spec in enumerate(specs)]
        _check_memory(reader, windows)
        waiting = deque(sorted(windows, key=lambda window: (window.first, window.last, window.number)))
        del windows  # whoever lists the windows keeps their images
        for window in _fill(reader, waiting, on_progress):
            if window.shown.images:
                yield window.number, make_clip(reader, specs[window.number], window.chosen, window.shown)


def _window(reader: VideoReader, number: int, spec: ClipSpec) -> _Window:
    chosen = choose_frames(reader, spec)
    budget = frame_budget(len(chosen.indices), spec.max_pixels)
    return _Window(number, chosen, frozenset(chosen.indices), Shown(budget))


def _fill(reader: VideoReader, waiting: deque[_Window], on_progress: Progress) -> Iterator[_Window]:
    """Each window when its last frame has come, or when it is known that it will not come.

    Args:
        waiting: the windows by their first frames; they are taken out of it.
    """
    open_: list[_Window] = []
    wanted = sorted(frozenset().union(*(window.wanted for window in waiting)))
    done, total = 0, len(waiting)
    for frame in reader.read(wanted, in_stretches=True):
        on_progress(done, total, "reading frames")
        while waiting and waiting[0].first <= frame.index:
            open_.append(waiting.popleft())
        shrink = _Shrinker()
        for window in open_:
            if frame.index in window.wanted:
                window.shown.add(frame, shrink)
        ended = [window for window in open_ if window.last <= frame.index]
        open_ = [window for window in open_ if window.last > frame.index]
        done += len(ended)
        yield from sorted(ended, key=lambda window: (window.last, window.number))
    yield from sorted([*open_, *waiting], key=lambda window: (window.last, window.number))
    on_progress(total, total, "reading frames")


def _check_memory(reader: VideoReader, windows: list[_Window]) -> None:
    """Raise VideoTooLarge when the windows that are open at once would hold too much."""
    needed_until: dict[int, int] = {}
    for window in windows:
        for index in window.wanted:
            needed_until[index] = max(needed_until.get(index, -1), window.last)
    info = reader.info
    width, height = fit_size(info.width, info.height, max(window.shown.budget for window in windows))
    reader.limits.check_output(_most_held(needed_until), width, height, info.source)


def _most_held(needed_until: dict[int, int]) -> int:
    """How many frames are held at once at most, given the frame up to which each one is needed."""
    most = held = ended = 0
    ends = sorted(needed_until.values())
    for index in sorted(needed_until):
        while ends[ended] < index:
            ended += 1
            held -= 1
        held += 1
        most = max(most, held)
    return most


def _batches(specs: Sequence[ClipSpec]) -> Iterator[list[int]]:
    """Numbers of the specs in the order of time, as many together as may be sent at once, at least one."""
    batch: list[int] = []
    size = 0
    for number in sorted(range(len(specs)), key=lambda number: specs[number].start_s or 0.0):
        spec = specs[number]
        bytes_ = spec.frames * frame_budget(spec.frames, spec.max_pixels) * 3
        if batch and size + bytes_ > _BATCH_BYTES:
            yield batch
            batch, size = [], 0
        batch.append(number)
        size += bytes_
    if batch:
        yield batch


def _read_in_worker(
    path: Path,
    source: str,
    specs: Sequence[ClipSpec],
    decoder: Decoder,
    limits: Limits | None,
    rendering: Rendering,
) -> list[tuple[int, DecodedClip]]:
    return list(_read(path, source, specs, decoder, limits, rendering, no_progress))


def _check_any(read: int, specs: Sequence[ClipSpec], source: str) -> None:
    if specs and not read:
        raise nothing_undamaged(sum(spec.frames for spec in specs), source)
