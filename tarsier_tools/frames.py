"""Frames of a video for looking at: as JPEG files, as pictures in memory, and many on one sheet.

Functions of a path and plain values, so that they can run in the decoding worker as well as here.
"""

from __future__ import annotations

import io
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from tarsier_tools.errors import TimeRangeError, UsageError, VideoTooLarge, VideoUnreadable
from tarsier_tools.media.clips import Chosen, ClipSpec, Decoder, check_spec, choose_frames, largest_gap
from tarsier_tools.media.reader import Frame, Limits, Rendering, VideoReader, open_video
from tarsier_tools.media.sheet import contact_sheet, save_jpeg
from tarsier_tools.media.transform import resize
from tarsier_tools.results import Coverage, FrameImage, FrameSet, FrameView, Picture, VideoInfo
from tarsier_tools.types import Progress, SamplingMethod, no_progress

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SHEET_NAME = "sheet.jpg"
MAX_PICTURE_SIDE = 2000
"""Pixels of the longer side of a picture in memory: some clients drop larger ones without a word."""
_SHEET_FRAME_SIDE = 640
"""Pixels of the longer side of a frame kept for the sheet, so that many large frames need little memory."""
_SHEET_CELL = 240
"""Pixels of a frame's width on a sheet in memory at least."""
_QUALITIES = (90, 80, 70, 60)
"""JPEG qualities that are tried, in this order, before pictures are made smaller to meet a limit of bytes."""
_SMALLEST_SIDE = 64


@dataclass(frozen=True, slots=True)
class FramesWanted:
    """Which frames, and how.

    Attributes:
        times_s: the moments whose pictures are wanted, in seconds; None for what ``spec`` says.
        spec: the range and the number of frames when there are no times; its max_pixels is not used.
        sheet: also make a contact sheet, or for pictures in memory only that.
        max_side: pixels of a picture's longer side at most; None for as it is.
    """

    times_s: tuple[float, ...] | None
    spec: ClipSpec
    sheet: bool
    max_side: int | None

    @property
    def sampling(self) -> SamplingMethod:
        return self.spec.sampling if self.times_s is None else "time"

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


def frames_wanted(
    times_s: Sequence[float] | None,
    count: int | None,
    start_s: float | None,
    end_s: float | None,
    sheet: bool,
    max_side: int | None,
    *,
    default: int,
) -> FramesWanted:
    """The frames at some times, or ``count`` of a range (``default`` for None); checked.

    Raises UsageError or TimeRangeError for what no video could satisfy.
    """
    if times_s is not None and count is not None:
        raise UsageError("Both times_s and count are given.", hint="Leave one of them away.")
    wanted = FramesWanted(
        times_s=None if times_s is None else tuple(times_s),
        spec=ClipSpec(start_s, end_s, default if count is None else count),
        sheet=sheet,
        max_side=max_side,
    )
    wanted.check()
    return wanted


def probe(path: Path, source: str, decoder: Decoder, limits: Limits, rendering: Rendering) -> VideoInfo:
    """Return the facts of a video, with what is wrong with the file. Raises VideoError and its kinds."""
    with open_video(path, source=source, decoder=decoder, limits=limits, rendering=rendering) as reader:
        return reader.info.model_copy(update={"warnings": tuple(reader.skipped)})


def write_frames(
    path: Path,
    source: str,
    wanted: FramesWanted,
    out_dir: Path,
    overwrite: bool,
    decoder: Decoder,
    limits: Limits,
    rendering: Rendering,
    on_progress: Progress = no_progress,
) -> FrameSet:
    """Write frames to ``frame_<seconds>s.jpg`` and, if wanted, a contact sheet to ``sheet.jpg``.

    Damaged frames are left out, and the coverage says so. Nothing is written when one of the files is there
    already, unless they may be overwritten; a call that is stopped or fails leaves what it had written.

    Args:
        out_dir: the folder for the files; made when it is not there.

    Raises:
        TimeRangeError: a time or the range is not in the video.
        UsageError: a file is there already or cannot be written.
        VideoUnreadable, VideoTooLarge: as the reader.
    """
    with open_video(path, source=source, decoder=decoder, limits=limits, rendering=rendering) as reader:
        chosen = _choose(reader, wanted)
        names = _names(reader, chosen.indices)
        files = [*names.values(), *([SHEET_NAME] if wanted.sheet else [])]
        _make_room(out_dir, files, overwrite=overwrite)
        written: list[FrameImage] = []
        shown: list[tuple[NDArray[np.uint8], float]] = []
        taken = _Taken()
        for frame in _sound(reader, chosen, "writing frames", on_progress):
            image = _squared(frame, wanted.max_side)
            file = out_dir / names[frame.index]
            save_jpeg(Image.fromarray(image), file)
            written.append(FrameImage(index=frame.index, time_s=frame.time_s, path=str(file)))
            taken.add(frame, image)
            if wanted.sheet:
                shown.append((_shrink(image, _SHEET_FRAME_SIDE), frame.time_s))
        coverage = taken.coverage(reader, chosen, source, wanted)
    if wanted.sheet:
        save_jpeg(contact_sheet(shown), out_dir / SHEET_NAME)
    sheet = str(out_dir / SHEET_NAME) if wanted.sheet else None
    return FrameSet(video=source, frames=tuple(written), sheet=sheet, coverage=coverage)


def view_frames(
    path: Path,
    source: str,
    wanted: FramesWanted,
    max_bytes: int | None,
    decoder: Decoder,
    limits: Limits,
    rendering: Rendering,
    on_progress: Progress = no_progress,
) -> FrameView:
    """Frames as JPEG pictures in memory: one per frame, or with ``sheet`` one of them all.

    Damaged frames are left out, and the coverage says so.

    Args:
        max_bytes: of all pictures together; None for any. To keep to it their quality is lowered first, then
            their size.

    Raises:
        TimeRangeError: a time or the range is not in the video.
        VideoUnreadable, VideoTooLarge: as the reader; VideoTooLarge also when max_bytes cannot be kept.
    """
    side = _SHEET_FRAME_SIDE if wanted.sheet else wanted.max_side
    with open_video(path, source=source, decoder=decoder, limits=limits, rendering=rendering) as reader:
        chosen = _choose(reader, wanted)
        shown: list[tuple[NDArray[np.uint8], float]] = []
        taken = _Taken()
        for frame in _sound(reader, chosen, "reading frames", on_progress):
            shown.append((_squared(frame, side), frame.time_s))
            taken.add(frame, shown[-1][0])
        coverage = taken.coverage(reader, chosen, source, wanted)
    times_s: list[float | None] = [time_s for _, time_s in shown]
    pictures = [Image.fromarray(image) for image, _ in shown]
    if wanted.sheet:
        # As large as its frames are: enlarging them shows nothing more, but the times must stay legible.
        columns = math.ceil(math.sqrt(len(shown)))
        width = columns * max(shown[0][0].shape[1], _SHEET_CELL)
        times_s, pictures = [None], [contact_sheet(shown, columns=columns, width=width)]
        _limit(pictures[0], wanted.max_side)
    jpegs = _encode(pictures, max_bytes)
    return FrameView(
        video=source,
        sheet=wanted.sheet,
        coverage=coverage,
        pictures=tuple(
            Picture(jpeg=jpeg, time_s=time_s, width=picture.width, height=picture.height)
            for jpeg, time_s, picture in zip(jpegs, times_s, pictures, strict=True)
        ),
    )


@dataclass(slots=True)
class _Taken:
    """Which frames were taken, for the account of them."""

    indices: list[int] = field(default_factory=list)
    times_s: list[float] = field(default_factory=list)
    size: tuple[int, int] = (0, 0)

    def add(self, frame: Frame, image: NDArray[np.uint8]) -> None:
        """Note one frame and the picture that was made of it."""
        self.indices.append(frame.index)
        self.times_s.append(frame.time_s)
        self.size = self.size if any(self.size) else (image.shape[1], image.shape[0])

    def coverage(self, reader: VideoReader, chosen: Chosen, source: str, wanted: FramesWanted) -> Coverage:
        """What was taken of the video. Raises VideoUnreadable for nothing."""
        if not self.indices:
            raise VideoUnreadable(
                f"None of the {len(chosen.indices)} frames wanted of {source} can be decoded undamaged.",
                hint="Ask for other times, or convert the video with ffmpeg first.",
            )
        return Coverage(
            video_duration_s=reader.info.duration_s,
            asked=chosen.asked,
            frame_times_s=tuple(self.times_s),
            frame_indices=tuple(self.indices),
            frame_size=self.size,
            largest_gap_s=largest_gap(chosen.asked, self.times_s),
            sampling=wanted.sampling,
            decoder=reader.info.decoder,
            offset_s=reader.info.offset_s,
            adjusted=reader.info.adjusted,
            skipped=(*chosen.notes, *reader.skipped),
        )


def _sound(reader: VideoReader, chosen: Chosen, message: str, on_progress: Progress) -> Iterator[Frame]:
    """The chosen frames that are not damaged."""
    for done, frame in enumerate(reader.read(chosen.indices), start=1):
        if not frame.damaged:
            yield frame
        on_progress(done, len(chosen.indices), message)


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


def _make_room(out_dir: Path, names: Iterable[str], *, overwrite: bool) -> None:
    """Make the folder, and see that nothing in it would be replaced unasked."""
    try:
        out_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"The folder {out_dir} cannot be made: {error.strerror}.",
            hint="Give another folder to write to.",
        ) from error
    there = [file for name in names if (file := out_dir / name).exists()]
    if there and not overwrite:
        raise UsageError(
            f"{there[0]} is there already.", hint="Give another folder, or overwrite=True (--overwrite)."
        )


def _shrink(image: NDArray[np.uint8], max_side: int | None) -> NDArray[np.uint8]:
    """The image with its longer side at most max_side pixels."""
    height, width, _ = image.shape
    return resize(image, _shrunk((width, height), max_side))


def _squared(frame: Frame, max_side: int | None) -> NDArray[np.uint8]:
    """The frame's image with square pixels, and its longer side at most max_side of them."""
    return resize(frame.image, _shrunk(frame.size, max_side))


def _shrunk(size: tuple[int, int], max_side: int | None) -> tuple[int, int]:
    """(width, height) with the longer one at most max_side."""
    width, height = size
    if max_side is None or max(size) <= max_side:
        return size
    scale = max_side / max(size)
    return max(1, round(width * scale)), max(1, round(height * scale))


def _limit(picture: Image.Image, max_side: int | None) -> None:
    """Make the picture smaller in place, its longer side at most max_side pixels."""
    if max_side is not None:
        picture.thumbnail((max_side, max_side), Image.Resampling.LANCZOS)


def _encode(pictures: Sequence[Image.Image], max_bytes: int | None) -> list[bytes]:
    """The pictures as JPEG, of at most max_bytes together; they are made smaller in place to get there."""
    qualities = _QUALITIES[:1] if max_bytes is None else _QUALITIES
    while True:
        for quality in qualities:
            jpegs = [_jpeg(picture, quality) for picture in pictures]
            if max_bytes is None or sum(map(len, jpegs)) <= max_bytes:
                return jpegs
        side = max(max(picture.size) for picture in pictures) * 3 // 4
        if side < _SMALLEST_SIDE:
            raise VideoTooLarge(
                f"{len(pictures)} pictures do not fit into {max_bytes} bytes.", hint="Ask for fewer frames."
            )
        for picture in pictures:
            _limit(picture, side)


def _jpeg(picture: Image.Image, quality: int) -> bytes:
    file = io.BytesIO()
    picture.save(file, format="JPEG", quality=quality)
    return file.getvalue()
