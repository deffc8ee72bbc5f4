"""What a reader of videos is: its limits, its frames, and what it promises.

A reader numbers the frames that are shown from 0 in the order of presentation. It never makes a frame up:
one that cannot be decoded is left out and named in ``skipped``, and a file none of whose frames can be
decoded raises.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self

import numpy as np

from tarsier_tools.errors import UsageError, VideoTooLarge, VideoUnreadable
from tarsier_tools.results import VideoInfo
from tarsier_tools.types import Progress, no_progress

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tarsier_tools.config import Settings

MiB = 1 << 20

_CLOCK_SLACK_S = 5e-7
"""Less than any tick of a container's clock: a time that was printed and typed again finds its frame."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on what one file may cost. The defaults are those of :class:`~tarsier_tools.config.Settings`.

    Attributes:
        max_file_bytes: size of the file.
        max_frame_pixels: width times height of one decoded frame.
        max_decoded_frames: frames decoded for one request, those in between included.
        max_output_bytes: memory for the frames that are held at the same time.
        timeout_s: seconds of work for one request; the time that the caller takes between frames is free.

    A read in stretches (see :meth:`VideoReader.read`) is a request for one frame after the other: it may
    take hours in all, as long as it keeps moving.
    """

    max_file_bytes: int = 4096 * MiB
    max_frame_pixels: int = 40_000_000
    max_decoded_frames: int = 200_000
    max_output_bytes: int = 2048 * MiB
    timeout_s: float = 120.0

    @classmethod
    def of(cls, settings: Settings) -> Limits:
        """The limits that the settings ask for."""
        return cls(
            max_file_bytes=settings.max_file_mb * MiB,
            max_frame_pixels=round(settings.max_frame_megapixels * 1e6),
            max_decoded_frames=settings.max_decoded_frames,
            max_output_bytes=settings.max_output_mb * MiB,
            timeout_s=settings.decode_timeout_s,
        )

    def check_file(self, size_bytes: int, source: str) -> None:
        """Raise VideoTooLarge when the file is over the limit."""
        if size_bytes > self.max_file_bytes:
            raise VideoTooLarge(
                f"{source} has {size_bytes / MiB:.0f} MiB, over the limit of "
                f"{self.max_file_bytes / MiB:.0f} MiB.",
                hint="Raise max_file_mb (TARSIER_MAX_FILE_MB), or cut the file.",
            )

    def check_frame(self, width: int, height: int, source: str) -> None:
        """Raise VideoTooLarge when a picture of this size is over the limit."""
        if width * height > self.max_frame_pixels:
            raise VideoTooLarge(
                f"A picture of {source} is {width}x{height}, {width * height / 1e6:.1f} megapixels, over the "
                f"limit of {self.max_frame_pixels / 1e6:g}.",
                hint="Raise max_frame_megapixels (TARSIER_MAX_FRAME_MEGAPIXELS), or scale the video down.",
            )

    def check_decoded(self, frames: int, source: str) -> None:
        """Raise VideoTooLarge when a request would decode this many frames."""
        if frames > self.max_decoded_frames:
            raise VideoTooLarge(
                f"{frames} frames of {source} would have to be decoded, over the limit of "
                f"{self.max_decoded_frames}.",
                hint="Raise max_decoded_frames (TARSIER_MAX_DECODED_FRAMES), or ask for a shorter range.",
            )

    def check_output(self, frames: int, width: int, height: int, source: str) -> None:
        """Raise VideoTooLarge when this many pictures would be held in memory at once."""
        size = frames * width * height * 3
        if size > self.max_output_bytes:
            raise VideoTooLarge(
                f"{frames} frames of {width}x{height} of {source} take {size / MiB:.0f} MiB, over the limit "
                f"of {self.max_output_bytes / MiB:.0f} MiB.",
                hint="Raise max_output_mb (TARSIER_MAX_OUTPUT_MB), or ask for fewer frames.",
            )


@dataclass(frozen=True, slots=True)
class Rendering:
    """How stored pictures become the ones that are shown. The defaults are those of Settings.

    Attributes:
        hdr: "tonemap" maps HDR (HLG, PQ) to SDR; "raw" takes its numbers for SDR.
        pixel_aspect: "square" shows pictures as players do; "stored" takes pixels for square that are not.
    """

    hdr: Literal["tonemap", "raw"] = "tonemap"
    pixel_aspect: Literal["square", "stored"] = "square"

    @classmethod
    def of(cls, settings: Settings) -> Rendering:
        """The rendering that the settings ask for."""
        return cls(hdr=settings.hdr, pixel_aspect=settings.pixel_aspect)


DEFAULT_RENDERING = Rendering()
AS_STORED = Rendering(hdr="raw", pixel_aspect="stored")
"""The numbers of the file, as Tarsier2's own code takes them."""


def too_slow(source: str, limit_s: float) -> VideoTooLarge:
    """The error for a time limit that was met."""
    return VideoTooLarge(
        f"Reading {source} takes longer than the limit of {limit_s:g} s.",
        hint="Raise decode_timeout_s (TARSIER_DECODE_TIMEOUT_S), or ask for a shorter range.",
    )


class Deadline:
    """A limit on seconds of work, checked between steps.

    Args:
        limit_s: seconds.
        source: the video, as the user named it.
        in_stretches: the limit starts anew with each :meth:`moved`.
    """

    def __init__(self, limit_s: float, source: str, *, in_stretches: bool = False) -> None:
        self.in_stretches = in_stretches
        self._limit_s = limit_s
        self._source = source
        self._end = time.monotonic() + limit_s

    def moved(self) -> None:
        """Something came out of the work."""
        if self.in_stretches:
            self._end = time.monotonic() + self._limit_s

    def check(self) -> None:
        """Raise VideoTooLarge when the time is up."""
        if time.monotonic() > self._end:
            raise too_slow(self._source, self._limit_s)

    @contextmanager
    def paused(self) -> Generator[None]:
        """The time inside does not count."""
        start = time.monotonic()
        try:
            yield
        finally:
            self._end += time.monotonic() - start


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One decoded picture.

    Attributes:
        index: its number in the video, from 0, in the order of presentation.
        time_s: its presentation time, seconds from the first frame shown.
        image: uint8 (height, width, 3), RGB, upright, contiguous.
        damaged: the data it was decoded from is corrupt, so parts of it may be wrong.
        square_size: (width, height) that the image must be brought to for its pixels to be square; None for
            the size that it has.
    """

    index: int
    time_s: float
    image: NDArray[np.uint8]
    damaged: bool = False
    square_size: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if self.image.dtype != np.uint8 or self.image.ndim != 3 or self.image.shape[2] != 3:
            kind = f"{self.image.dtype} {self.image.shape}"
            raise ValueError(f"a frame must be uint8 (height, width, 3), got {kind}")

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the picture with square pixels."""
        height, width, _ = self.image.shape
        return self.square_size or (width, height)

    def __repr__(self) -> str:
        height, width, _ = self.image.shape
        return (
            f"Frame({self.index}, {self.time_s:.3f} s, {width}x{height}{', damaged' if self.damaged else ''})"
        )


class VideoReader(ABC):
    """Reads one video. Close it, or use it in a ``with`` block.

    Attributes:
        info: what is known of the video.
        timeline: float64 (frame_count,), presentation time of every frame, seconds from the first, ascending.
        skipped: one sentence for everything that could not be decoded or is damaged, so far.
    """

    info: VideoInfo
    timeline: NDArray[np.float64]
    skipped: list[str]

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.skipped = []

    @property
    def limits(self) -> Limits:
        """The limits that this reader keeps."""
        return self._limits

    @abstractmethod
    def _decode(self, wanted: list[int], deadline: Deadline) -> Generator[Frame]:
        """The frames of these numbers (ascending, distinct, in range), less those that cannot be decoded.

        Calls ``deadline.check`` between steps. Raises VideoError and its kinds only.
        """

    def read(
        self, indices: Sequence[int], *, in_stretches: bool = False, on_progress: Progress = no_progress
    ) -> Iterator[Frame]:
        """Decode the frames of these numbers in one pass, and give each as soon as it is there.

        Args:
            indices: in any order, with duplicates if need be; each distinct frame comes once, ascending.
            in_stretches: the limits on time and on decoded frames hold from one frame to the next instead of
                for all of them, for videos of any length whose caller can be stopped.
            on_progress: called with the number of frames done and wanted.

        Raises UsageError at once for no indices or one that is not in the video; while reading,
        VideoTooLarge when a limit is met and VideoUnreadable when not one frame can be decoded.
        """
        wanted = sorted({int(index) for index in indices})
        if not wanted:
            raise UsageError("No frames were asked for.", hint="Give at least one frame number.")
        count = len(self.timeline)
        for index in (wanted[0], wanted[-1]):
            if not 0 <= index < count:
                raise UsageError(
                    f"Frame {index} is not in {self.info.source}.", hint=f"Its frames are 0 to {count - 1}."
                )
        deadline = Deadline(self._limits.timeout_s, self.info.source, in_stretches=in_stretches)
        return self._read(wanted, deadline, on_progress)

    def _read(self, wanted: list[int], deadline: Deadline, on_progress: Progress) -> Iterator[Frame]:
        got: set[int] = set()
        damaged: list[int] = []
        with closing(self._decode(wanted, deadline)) as frames:
            for frame in frames:
                got.add(frame.index)
                if frame.damaged:
                    damaged.append(frame.index)
                with deadline.paused():
                    on_progress(len(got), len(wanted), "decoding")
                    yield frame
                deadline.moved()
        lost = [index for index in wanted if index not in got]
        if lost:
            self._note(f"{_count(lost)} could not be decoded: {_listed(lost)}.")
        if damaged:
            self._note(f"{_count(damaged)} decoded from damaged data: {_listed(damaged)}.")
        if not got:
            raise VideoUnreadable(
                f"Not one of the {len(wanted)} frames asked for of {self.info.source} can be decoded.",
                hint=" ".join(self.skipped),
            )

    def index_at(self, time_s: float) -> int:
        """The number of the picture on screen at that time: the last one that starts at or before it.

        Times before the first frame give 0.
        """
        return max(0, int(np.searchsorted(self.timeline, time_s + _CLOCK_SLACK_S, side="right")) - 1)

    def close(self) -> None:  # noqa: B027  (nothing to give back by default)
        """Give back files and memory; may be called more than once."""

    def _note(self, sentence: str) -> None:
        if sentence not in self.skipped:
            self.skipped.append(sentence)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _count(indices: list[int]) -> str:
    return "1 frame" if len(indices) == 1 else f"{len(indices)} frames"


def _listed(indices: list[int], most: int = 12) -> str:
    names = ", ".join(str(index) for index in indices[:most])
    return names if len(indices) <= most else f"{names} and {len(indices) - most} more"
