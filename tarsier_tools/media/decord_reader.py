"""Decode with decord, for those who must have the very decoder that a recipe was made with.

Only where it was measured to give the right frames: elsewhere it is refused, with the way out. Facts, times
and packets come from PyAV, as decord reports times that were asked for instead of those it gives. Pictures
come as they are stored: HDR is not tone-mapped and pixels are not made square, and ``skipped`` says so.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np

from tarsier_tools.errors import UsageError, VideoUnreadable
from tarsier_tools.media.base import AS_STORED, Deadline, Frame, Limits, VideoReader
from tarsier_tools.media.pyav_reader import PyAVReader

_CONTAINERS = ("mp4", "mov", "matroska", "webm", "flv")
_CODECS = ("h264", "mpeg4", "vp8", "vp9", "mpeg2video", "mpeg1video")
_MATRICES = ("", "gbr", "bt709", "fcc", "bt470bg", "smpte170m", "smpte240m", "bt2020nc")
_BATCH = 16
"""Frames per call, so that the time limit is looked at in between."""


class DecordReader(VideoReader):
    """Reads a video file with decord.

    Args:
        path: the file.
        source: what the user typed.
        limits: what the file may cost.

    Raises UsageError when decord is not there or gives wrong frames for files of this kind; otherwise as
    :class:`PyAVReader`.
    """

    def __init__(self, path: Path, *, source: str, limits: Limits) -> None:
        super().__init__(limits)
        self._decord = _import_decord()
        self._path = path
        with PyAVReader(path, source=source, limits=limits, rendering=AS_STORED) as facts:
            reason = _reason_to_refuse(facts)
        if reason:
            raise UsageError(
                f"decord gives wrong frames or none for {reason}, so {source} is not read with it.",
                hint='Use decoder="pyav" (TARSIER_DECODER=pyav), whose pixels are the same.',
            )
        self.timeline = facts.timeline
        self.info = facts.info.model_copy(update={"decoder": "decord"})
        self.skipped.extend(facts.skipped)

    def _decode(self, wanted: list[int], deadline: Deadline) -> Generator[Frame]:
        info = self.info
        self._limits.check_output(min(len(wanted), _BATCH), info.width, info.height, info.source)
        try:
            # One thread: with its default number decord fails on VP9, and it takes less time with one.
            video = self._decord.VideoReader(str(self._path), num_threads=1)
            if len(video) != info.frame_count:
                raise VideoUnreadable(
                    f"decord counts {len(video)} frames in {info.source}, there are {info.frame_count}.",
                    hint='Use decoder="pyav".',
                )
            for start in range(0, len(wanted), _BATCH):
                deadline.check()
                indices = wanted[start : start + _BATCH]
                batch = np.array(video.get_batch(indices).asnumpy(), dtype=np.uint8)
                if start + _BATCH >= len(wanted):
                    # Its thread would decode the rest of the video into memory for as long as it lives.
                    del video
                for index, image in zip(indices, batch, strict=True):
                    yield Frame(index, float(self.timeline[index]), image)
        except (RuntimeError, self._decord.DECORDError) as error:
            words = str(error).strip().splitlines() or ["no reason given"]
            raise VideoUnreadable(
                f"decord cannot decode {info.source}: {words[0][:200]}", hint='Use decoder="pyav".'
            ) from None


def _import_decord() -> Any:
    """The decord module; eva-decord is the same for other machines, decord2 is not."""
    for name in ("decord", "eva-decord"):
        try:
            importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        break
    else:
        raise UsageError(
            "The decord decoder is not installed.", hint='Type: pip install "tarsier-tools[decord]"'
        )
    try:
        importlib.metadata.distribution("decord2")
    except importlib.metadata.PackageNotFoundError:
        import decord

        return decord
    raise UsageError(
        "decord2 is installed, which takes decord's name and gives frames from other times.",
        hint='Type: pip uninstall decord2, then pip install --force-reinstall "tarsier-tools[decord]"',
    )


def _reason_to_refuse(facts: PyAVReader) -> str:
    """The kind of file that decord gets wrong and this one is, "" for none."""
    info, table = facts.info, facts.track.table
    if info.container not in _CONTAINERS:
        return f"files of the kind {info.container}"
    if info.codec not in _CODECS:
        return f"the codec {info.codec}"
    if info.mirrored:
        return "mirrored videos"
    if info.matrix not in _MATRICES:
        return f"the colour matrix {info.matrix}"
    if not table.shown.all():
        return "files with an edit list or hidden frames"
    if table.has_open_groups():
        return "videos with open groups of pictures"
    if (table.raw_pts[0] or 0) < 0:
        return "videos that start before time 0"
    if not facts.track.declares_duration:
        return "files that do not declare a duration"
    return ""
