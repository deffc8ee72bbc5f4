"""Where videos are decoded: in this process, or in a worker process with limits for files of strangers."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tarsier_tools.config import Settings
from tarsier_tools.frames import FramesWanted, probe, view_frames, write_frames
from tarsier_tools.media.clips import ClipSpec, DecodedClip, read_clip, read_clip_isolated
from tarsier_tools.media.reader import Limits, Rendering
from tarsier_tools.media.shots import find_cuts, find_cuts_isolated
from tarsier_tools.media.source import Source
from tarsier_tools.media.subtitles import Subtitles
from tarsier_tools.media.windows import read_clips, read_clips_isolated
from tarsier_tools.results import FrameSet, FrameView, TimeRange, VideoInfo
from tarsier_tools.types import Progress

if TYPE_CHECKING:
    from tarsier_tools.media.worker import DecodeWorker


class Decoding:
    """Facts, clips and frames of videos under one set of limits. Safe to use from several threads.

    With ``settings.isolate`` everything that touches the bytes of a video happens in a worker process, which
    is started when first needed and reports no progress while it works.

    Every method raises VideoError and its kinds, and UsageError, as the functions that it calls.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._limits = Limits.of(settings)
        self._rendering = Rendering.of(settings)
        self._lock = threading.Lock()
        self._worker: DecodeWorker | None = None

    def info(self, source: Source) -> VideoInfo:
        """What is known of a video without decoding it."""
        common = (source.path, source.name, self._settings.decoder, self._limits, self._rendering)
        if self._settings.isolate:
            info = self._isolated().call(probe, *common, timeout_s=self._limits.timeout_s)
        else:
            info = probe(*common)
        return info.model_copy(update={"source": source.given})

    def clip(self, source: Source, spec: ClipSpec, on_progress: Progress) -> DecodedClip:
        """The frames of a range of a video, as a model is shown them."""
        how = {**self._how(source), "rendering": self._rendering}
        if self._settings.isolate:
            on_progress(0, 1, "reading frames")
            return read_clip_isolated(
                self._isolated(), source.path, spec=spec, timeout_s=self._limits.timeout_s, **how
            )
        return read_clip(source.path, spec=spec, on_progress=on_progress, **how)

    def clips(
        self, source: Source, specs: Sequence[ClipSpec], on_progress: Progress
    ) -> Iterator[tuple[int, DecodedClip]]:
        """Many ranges of one video, see :func:`~tarsier_tools.media.windows.read_clips`.

        In the worker they come in batches, and progress is told between those.
        """
        wanted: dict[str, Any] = {
            "specs": specs,
            "on_progress": on_progress,
            "rendering": self._rendering,
            **self._how(source),
        }
        if self._settings.isolate:
            timeout_s = self._limits.timeout_s
            yield from read_clips_isolated(self._isolated(), source.path, timeout_s=timeout_s, **wanted)
        else:
            yield from read_clips(source.path, **wanted)

    def cuts(
        self, source: Source, stretches: Sequence[TimeRange], on_progress: Progress
    ) -> Iterator[tuple[TimeRange, tuple[float, ...]]]:
        """The cuts in stretches of a video, see :func:`~tarsier_tools.media.shots.find_cuts`."""
        wanted: dict[str, Any] = {"stretches": stretches, "on_progress": on_progress, **self._how(source)}
        if self._settings.isolate:
            timeout_s = self._limits.timeout_s
            yield from find_cuts_isolated(self._isolated(), source.path, timeout_s=timeout_s, **wanted)
        else:
            yield from find_cuts(source.path, **wanted)

    def frames(
        self, source: Source, wanted: FramesWanted, out_dir: Path, overwrite: bool, on_progress: Progress
    ) -> FrameSet:
        """Write frames of a video to files."""
        how = (self._settings.decoder, self._limits, self._rendering)
        common = (source.path, source.name, wanted, out_dir, overwrite, *how)
        if self._settings.isolate:
            on_progress(0, 1, "writing frames")
            written = self._isolated().call(write_frames, *common, timeout_s=self._limits.timeout_s)
        else:
            written = write_frames(*common, on_progress=on_progress)
        return written.model_copy(update={"video": source.given})

    def view(
        self, source: Source, wanted: FramesWanted, max_bytes: int | None, on_progress: Progress
    ) -> FrameView:
        """Frames of a video as pictures in memory."""
        how = (self._settings.decoder, self._limits, self._rendering)
        common = (source.path, source.name, wanted, max_bytes, *how)
        if self._settings.isolate:
            on_progress(0, 1, "reading frames")
            view = self._isolated().call(view_frames, *common, timeout_s=self._limits.timeout_s)
        else:
            view = view_frames(*common, on_progress=on_progress)
        return view.model_copy(update={"video": source.given})

    def subtitles(self, source: Source) -> tuple[Subtitles, ...]:
        """The texts that come with a video, see :mod:`tarsier_tools.media.subtitles`."""
        from tarsier_tools.media.pyav_subtitles import read_subtitles

        common = (source.path, source.name, self._limits)
        if self._settings.isolate:
            return self._isolated().call(read_subtitles, *common, timeout_s=self._limits.timeout_s)
        return read_subtitles(*common)

    def close(self) -> None:
        """End the worker, if there is one."""
        with self._lock:
            worker, self._worker = self._worker, None
        if worker is not None:
            worker.close()

    def _how(self, source: Source) -> dict[str, Any]:
        """What every reading of a video is told, in this process and in the worker."""
        return {"source": source.name, "decoder": self._settings.decoder, "limits": self._limits}

    def _isolated(self) -> DecodeWorker:
        with self._lock:
            if self._worker is None:
                from tarsier_tools.media.worker import DecodeWorker

                self._worker = DecodeWorker(memory_mb=self._settings.worker_memory_mb)
            return self._worker
