"""Frames of a video as files for people to look at: single JPEGs, and one sheet of them.

Functions of a path and plain values, so that they can run in the decoding worker as well as here.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from tarsier_tools.errors import TimeRangeError, UsageError, VideoUnreadable
from tarsier_tools.media.clips import Chosen, ClipSpec, Decoder, check_spec, choose_frames, largest_gap
from tarsier_tools.media.reader import Limits, VideoReader, open_video
from tarsier_tools.media.sheet import contact_sheet, save_jpeg
from tarsier_tools.media.transform import resize
from tarsier_tools.results import Coverage, FrameImage, FrameSet, VideoInfo
from tarsier_tools.types import Progress, no_progress

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SHEET_NAME = "sheet.jpg"
_SHEET_FRAME_SIDE = 640
"""Pixels of the longer side of a frame kept for the sheet, so that many large frames need little memory."""


@dataclass(frozen=True, slots=True)
class FramesWanted:
    """Which frames to write, and how.

    Attributes:
        out_dir: the folder for the files; made when it is not there.
        times_s: the moments whose pictures are wanted, in seconds; None for what ``spec`` says.
        spec: the range and the number of frames when there are no times; its max_pixels is not used.
        sheet: also write a contact sheet.
        max_side: pixels of a frame's longer side at most; None for as it is.
        overwrite: replace files that are there already.
    """

    out_dir: Path
    times_s: tuple[float, ...] | None
    spec: ClipSpec
    sheet: bool
    max_side: int | None
    overwrite: bool

    def check(self) -> None:
        """Raise UsageError or TimeRangeError for what no video could satisfy."""
        check_spec(self.spec)
        if self.max_side is not None and self.max_side < 1:
            raise UsageError(
                f"max_side must be at least 1, got {self.max_side}.", hint="Leave it away for full size."
            )
        if self.times_s is None:
            return
        if self.spec.start_s is not None or self.spec.end_s is not None:
            raise UsageError(
                "Both times and a range are given.", hint="Give times_s, or count with start_s and end_s."
            )
        if not self.times_s:
            raise UsageError("No times are given.", hint="Give at least one time, or a count.")
        for time_s in self.times_s:
            if not math.isfinite(time_s) or time_s < 0:
                raise TimeRangeError(f"{time_s} is no time in a video.", hint="Give seconds from 0 on.")


def probe(path: Path, source: str, decoder: Decoder, limits: Limits) -> VideoInfo:
    """What is known of a video without decoding it. Raises VideoError and its kinds."""
    with open_video(path, source=source, decoder=decoder, limits=limits) as reader:
        return reader.info


def write_frames(
    path: Path,
    source: str,
    wanted: FramesWanted,
    decoder: Decoder,
    limits: Limits,
    on_progress: Progress = no_progress,
) -> FrameSet:
    """Write frames to ``frame_<seconds>s.jpg`` and, if wanted, a contact sheet to ``sheet.jpg``.

    Damaged frames are left out, and the coverage says so. Nothing is written when one of the files is there
    already, unless overwriting is wanted; a call that is stopped or fails leaves what it had written.

    Raises:
        TimeRangeError: a time or the range is not in the video.
        UsageError: a file is there already or cannot be written.
        VideoUnreadable, VideoTooLarge: as the reader.
    """
    with open_video(path, source=source, decoder=decoder, limits=limits) as reader:
        chosen = _choose(reader, wanted)
        names = _names(reader, chosen.indices)
        _make_room(wanted, names.values())
        written: list[FrameImage] = []
        shown: list[tuple[NDArray[np.uint8], float]] = []
        size = (0, 0)
        for done, frame in enumerate(reader.read(chosen.indices), start=1):
            if not frame.damaged:
                image = _shrink(frame.image, wanted.max_side)
                file = wanted.out_dir / names[frame.index]
                save_jpeg(Image.fromarray(image), file)
                written.append(FrameImage(index=frame.index, time_s=frame.time_s, path=str(file)))
                size = size if any(size) else (image.shape[1], image.shape[0])
                if wanted.sheet:
                    shown.append((_shrink(image, _SHEET_FRAME_SIDE), frame.time_s))
            on_progress(done, len(chosen.indices), "writing frames")
        info, skipped = reader.info, (*chosen.notes, *reader.skipped)
    if not written:
        raise VideoUnreadable(
            f"None of the {len(chosen.indices)} frames wanted of {source} can be decoded undamaged.",
            hint="Ask for other times, or convert the video with ffmpeg first.",
        )
    if wanted.sheet:
        save_jpeg(contact_sheet(shown), wanted.out_dir / SHEET_NAME)
    times = tuple(image.time_s for image in written)
    coverage = Coverage(
        video_duration_s=info.duration_s,
        asked=chosen.asked,
        frame_times_s=times,
        frame_indices=tuple(image.index for image in written),
        frame_size=size,
        largest_gap_s=largest_gap(chosen.asked, times),
        sampling=wanted.spec.sampling if wanted.times_s is None else "time",
        decoder=info.decoder,
        skipped=skipped,
    )
    return FrameSet(
        video=source,
        frames=tuple(written),
        sheet=str(wanted.out_dir / SHEET_NAME) if wanted.sheet else None,
        coverage=coverage,
    )


def _choose(reader: VideoReader, wanted: FramesWanted) -> Chosen:
    chosen = choose_frames(reader, wanted.spec)  # without a range: the whole video
    if wanted.times_s is None:
        return chosen
    end_s = chosen.asked.end_s
    for time_s in wanted.times_s:
        if time_s >= end_s:
            raise TimeRangeError(
                f"There is no picture at {time_s:g} s: the video ends at {end_s:.3f} s.",
                hint=f"Give times from 0 to below {end_s:.3f}.",
            )
    indices = sorted({reader.index_at(time_s) for time_s in wanted.times_s})
    return Chosen(chosen.asked, tuple(indices), ())


def _names(reader: VideoReader, indices: Sequence[int]) -> dict[int, str]:
    """A file name per frame, which sorts by time; the number is added where two share a millisecond."""
    stems = {index: f"frame_{reader.timeline[index]:010.3f}s" for index in indices}
    shared = {stem for stem, count in Counter(stems.values()).items() if count > 1}
    return {
        index: f"{stem}_{index}.jpg" if stem in shared else f"{stem}.jpg" for index, stem in stems.items()
    }


def _make_room(wanted: FramesWanted, names: Iterable[str]) -> None:
    """Make the folder, and see that nothing in it would be replaced unasked."""
    try:
        wanted.out_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"The folder {wanted.out_dir} cannot be made: {error.strerror}.",
            hint="Give another folder to write to.",
        ) from error
    files = [wanted.out_dir / name for name in names]
    if wanted.sheet:
        files.append(wanted.out_dir / SHEET_NAME)
    there = [file for file in files if file.exists()]
    if there and not wanted.overwrite:
        raise UsageError(
            f"{there[0]} is there already.", hint="Give another folder, or overwrite=True (--overwrite)."
        )


def _shrink(image: NDArray[np.uint8], max_side: int | None) -> NDArray[np.uint8]:
    """The image with its longer side at most max_side pixels."""
    height, width, _ = image.shape
    if max_side is None or max(height, width) <= max_side:
        return image
    scale = max_side / max(height, width)
    return resize(image, (max(1, round(width * scale)), max(1, round(height * scale))))
