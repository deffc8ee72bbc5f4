"""The results: what the user gets. Frozen pydantic models, so that each front end has JSON and a schema.

Times are seconds (float) from the first frame shown; ranges are half-open, ``[start_s, end_s)``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from tarsier_tools.types import SamplingMethod, Usage


class _Result(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TimeRange(_Result):
    """A half-open stretch of time, ``[start_s, end_s)``."""

    start_s: float = Field(ge=0, description="Seconds from the video's first frame.")
    end_s: float = Field(gt=0, description="Seconds from the video's first frame; the end is excluded.")

    @property
    def duration_s(self) -> float:
        return self.end_s - self.start_s


class TrackInfo(_Result):
    """One audio or subtitle track."""

    kind: Literal["audio", "subtitle"] = Field(description="What the track holds.")
    codec: str = Field(description="As FFmpeg names it, for example aac.")
    language: str = Field(default="", description="As the container gives it, mostly ISO 639-2; often empty.")


class VideoInfo(_Result):
    """What is known of a video without decoding it."""

    source: str = Field(description="The path or URL as it was given.")
    container: str = Field(description="The container found in the bytes, not in the file's name.")
    codec: str = Field(description="As FFmpeg names it, for example h264.")
    width: int = Field(description="Pixels of a picture as it is shown: upright, with square pixels.")
    height: int = Field(description="Pixels of a picture as it is shown: upright, with square pixels.")
    rotation: int = Field(
        description="Degrees that the picture is turned by for showing, counter-clockwise: 0, 90, 180 or 270."
    )
    mirrored: bool = Field(
        default=False, description="For showing, the picture is also mirrored left to right, once turned."
    )
    stored_size: tuple[int, int] | None = Field(
        default=None, description="Width and height of a picture as it is stored; None for images."
    )
    pixel_aspect: str = Field(
        default="1:1", description="Width to height of a stored pixel, as the file declares it."
    )
    bit_depth: int | None = Field(
        default=None, description="Bits of a sample of a picture as it is stored; None for images."
    )
    hdr: Literal["", "HLG", "PQ", "Dolby Vision"] = Field(
        default="", description="The kind of high dynamic range; empty for SDR."
    )
    transfer: str = Field(
        default="", description="Transfer function, as FFmpeg names it, e.g. bt709; empty when not declared."
    )
    primaries: str = Field(default="", description="Colour primaries, as FFmpeg names them, in the same way.")
    matrix: str = Field(default="", description="Matrix to RGB, as FFmpeg names it, in the same way.")
    adjusted: tuple[str, ...] = Field(
        default=(), description="What is done to the pictures before they are shown, one sentence each."
    )
    duration_s: float = Field(ge=0, description="From the first frame to the end of the last.")
    frame_count: int = Field(ge=1, description="Frames that are shown.")
    average_fps: float = Field(gt=0, description="Frames per second over the whole video.")
    variable_rate: bool = Field(description="Frames are not evenly spaced in time.")
    size_bytes: int = Field(ge=0, description="Of the file.")
    tracks: tuple[TrackInfo, ...] = Field(
        default=(), description="Audio and subtitle tracks; the model is not given them."
    )
    decoder: str = Field(description="Which decoder reads it: pyav, decord or pillow.")
    offset_s: float = Field(
        default=0.0,
        ge=0,
        description="Seconds from a player's 0:00, where the first track starts, to the first frame. Times "
        "here count from the first frame: subtract this from a player's time.",
    )

    warnings: tuple[str, ...] = Field(
        default=(), description="Damage that shows without decoding, such as a missing end; sentences."
    )

    @property
    def storage(self) -> str:
        """How pictures are stored, in a few words; empty for images."""
        if self.stored_size is None:
            return ""
        width, height = self.stored_size
        parts = [f"{width}x{height}", f"pixels {self.pixel_aspect}", f"{self.bit_depth} bits"]
        parts.append(f"HDR ({self.hdr})" if self.hdr else "SDR")
        declared = {"transfer": self.transfer, "primaries": self.primaries, "matrix": self.matrix}
        parts += [f"{name} {value}" for name, value in declared.items() if value]
        return ", ".join(parts)


class Coverage(_Result):
    """What the model was really shown."""

    video_duration_s: float = Field(description="Of the whole video.")
    asked: TimeRange = Field(description="The range asked for, clamped to the video.")
    frame_times_s: tuple[float, ...] = Field(description="Presentation times of the frames shown.")
    frame_indices: tuple[int, ...] = Field(description="Numbers of the frames shown, from 0.")
    frame_size: tuple[int, int] = Field(description="Width and height of the frames shown, pixels.")
    largest_gap_s: float = Field(description="The longest stretch in the range of which nothing was seen.")
    sampling: SamplingMethod = Field(description="How the frames were chosen.")
    decoder: str = Field(description="What decoded them: pyav, decord or pillow.")
    adjusted: tuple[str, ...] = Field(
        default=(), description="What was done to the pictures before they were shown, one sentence each."
    )
    skipped: tuple[str, ...] = Field(default=(), description="What was left out, one sentence each.")
    offset_s: float = Field(
        default=0.0,
        ge=0,
        description="Seconds from a player's 0:00 to the first frame; subtract it from a player's time.",
    )


class ModelUsed(_Result):
    """Which model answered, and how."""

    name: str = Field(description="Which checkpoint.")
    backend: str = Field(description="What ran it: tiny, local, remote or scripted.")
    device: str = Field(default="", description="Where it ran, for example cpu or cuda; empty when nowhere.")
    dtype: str = Field(default="", description="The numbers it ran in, for example bfloat16.")
    note: str = Field(default="", description="What to know about this model before trusting the answer.")


class Timings(_Result):
    """Where the time went, in seconds."""

    video_s: float = Field(description="Finding, decoding and resizing; near 0 when the clip was cached.")
    model_s: float = Field(description="The model, opening it the first time included.")
    total_s: float = Field(description="From the call to the result.")
    clip_cached: bool = Field(description="The decoded clip came from the cache.")
    prefix_cached: bool = Field(
        description="The model had seen the clip before and did not pay for it again."
    )


class _Grounded(_Result):
    """What every answer carries."""

    video: str = Field(description="The path or URL as it was given.")
    prompt: str = Field(description="The prompt that the model was given.")
    language: str = Field(description="What was asked for, as a BCP-47 tag.")
    prompt_language: str = Field(description="Of the prompt: the nearest there is, else en.")
    coverage: Coverage = Field(description="What of the video the model was shown.")
    model: ModelUsed = Field(description="Which model answered.")
    usage: Usage = Field(description="Tokens of all requests that this call made.")
    timings: Timings = Field(description="Where the time went, and what came from a cache.")
    warnings: tuple[str, ...] = Field(default=(), description="What to know before trusting it; sentences.")
    caution: str = Field(
        default="",
        description="What to know before reading it: the model was never taught such videos. Mostly empty; "
        "otherwise also the first of the warnings.",
    )


class Segment(_Result):
    """A stretch of the video with what was found in it."""

    start_s: float = Field(ge=0, description="Seconds from the video's first frame.")
    end_s: float = Field(gt=0, description="Seconds from the video's first frame; the end is excluded.")
    text: str = Field(default="", description="What happens, in words.")
    score: float | None = Field(
        default=None, description="See score_kind of the result; None for not scored."
    )
    confidence: float | None = Field(
        default=None, ge=0, le=1, description="Calibrated probability; None without a calibration."
    )
    evidence_s: float | None = Field(
        default=None, description="Time of the frame that shows it best; None when none was singled out."
    )


class Statement(_Result):
    """One event that a caption claims, checked against the video."""

    text: str = Field(description="The statement, in the caption's own words.")
    verdict: Literal["supported", "doubtful", "unsupported"] = Field(
        description="What looking again says of it; nothing is taken out of the caption."
    )
    score: float = Field(description="Of the window where it fits best; see score_kind of the result.")
    whole_score: float = Field(description="The same for the whole range in one look.")
    confidence: float | None = Field(
        default=None, ge=0, le=1, description="Calibrated probability; None without a calibration."
    )
    start_s: float = Field(ge=0, description="Where it fits best, seconds from the video's first frame.")
    end_s: float = Field(gt=0, description="Where it fits best; the end is excluded.")
    evidence_s: float = Field(description="Time of a frame from the middle of where it fits.")
    note: str = Field(default="", description="What else speaks against it, a sentence; empty for nothing.")


class Caption(_Grounded):
    """A description of a video."""

    text: str = Field(description="What the model wrote.")
    events: tuple[Segment, ...] = Field(
        default=(), description="With detail='events': each event and its time."
    )
    statements: tuple[Statement, ...] = Field(
        default=(), description="With verify=True: each statement of the text, checked."
    )
    checked: Coverage | None = Field(
        default=None,
        description="With verify=True: what the model was shown in all, to write the text and to check it.",
    )
    score_kind: str = Field(default="", description="What the statements' scores are; empty for none.")
    calibration: str = Field(default="", description="What the confidences were fitted on; empty for none.")
    finish_reason: Literal["stop", "length"] = Field(description="length: the reply was cut.")


class Choice(_Result):
    """One of the answers to choose from."""

    letter: str = Field(description="A, B, C...; empty for yes and no, which have none.")
    text: str = Field(description="The choice as it was given.")
    probability: float = Field(ge=0, le=1, description="Share of the model's probability; not calibrated.")


class Answer(_Grounded):
    """An answer to a question about a video."""

    question: str = Field(description="As it was asked.")
    text: str = Field(description="What the model wrote, or the reply that it gives the highest probability.")
    method: Literal["generated", "choices", "yes_no"] = Field(
        description="generated: the model wrote it, also a choice where a server gives no probabilities; "
        "otherwise the replies offered were scored."
    )
    choices: tuple[Choice, ...] = Field(default=(), description="All choices with their probabilities.")
    score: float | None = Field(
        default=None, description="Probability of the answer given, among the choices; raw, not calibrated."
    )
    finish_reason: Literal["stop", "length"] = Field(default="stop", description="length: the reply was cut.")


class WindowScore(_Result):
    """How well an event fits one stretch of the video that the model was shown."""

    start_s: float = Field(ge=0, description="Seconds from the video's first frame.")
    end_s: float = Field(gt=0, description="Seconds from the video's first frame; the end is excluded.")
    score: float = Field(description="See score_kind of the result.")
    confidence: float | None = Field(
        default=None, ge=0, le=1, description="Calibrated probability; None without a calibration."
    )


class Localization(_Grounded):
    """When an event happens."""

    event: str = Field(description="As it was asked for.")
    found: bool = Field(description="Some stretch of the video passes the threshold.")
    segments: tuple[Segment, ...] = Field(description="In the order of time; empty when nothing was found.")
    method: Literal["likelihood", "yes_no", "frames"] = Field(description="How windows were scored.")
    best_score: float | None = Field(description="The highest score of any window, found or not.")
    best_confidence: float | None = Field(
        default=None, ge=0, le=1, description="best_score, calibrated; None without a calibration."
    )
    threshold: float = Field(
        description="What a segment had to reach: of the confidence with a calibration, else of the score."
    )
    score_kind: str = Field(description="What the scores are.")
    calibration: str = Field(default="", description="What the confidences were fitted on; empty for none.")
    resolution_s: float = Field(description="No boundary is known more finely than this.")
    curve: tuple[WindowScore, ...] = Field(
        default=(), description="The windows that were looked at and their scores, in the order of time."
    )
    reply: str = Field(default="", description="What the model wrote, for the method that lets it write.")


class Chapter(_Result):
    """Several segments of a timeline that belong together."""

    start_s: float = Field(ge=0, description="Seconds from the video's first frame.")
    end_s: float = Field(gt=0, description="Seconds from the video's first frame; the end is excluded.")
    title: str = Field(description="Made of the captions of its segments.")
    segments: tuple[int, ...] = Field(description="Numbers of its segments in the timeline, from 0.")


class Timeline(_Grounded):
    """A long video, segment by segment."""

    segments: tuple[Segment, ...] = Field(description="In the order of time; each with its caption.")
    segmentation: Literal["shots", "windows"] = Field(
        description="Where segments begin: at cuts, or evenly where no cuts were found."
    )
    chapters: tuple[Chapter, ...] = Field(default=(), description="With summarize=True.")
    resumed_segments: int = Field(default=0, description="Segments kept from an earlier run.")


class FrameImage(_Result):
    """One frame written to a file."""

    index: int = Field(description="Number of the frame in the video, from 0.")
    time_s: float = Field(description="Its presentation time.")
    path: str = Field(description="The JPEG file.")


class FrameSet(_Result):
    """Frames taken from a video."""

    video: str = Field(description="The path or URL as it was given.")
    frames: tuple[FrameImage, ...] = Field(description="In the order of time.")
    sheet: str | None = Field(default=None, description="Path of the contact sheet.")
    coverage: Coverage = Field(description="Which frames were written, and which could not be.")


@dataclass(frozen=True, slots=True)
class Picture:
    """A JPEG picture in memory.

    Attributes:
        jpeg: the file's bytes.
        time_s: when the frame comes up, seconds from the video's first frame; None for a sheet of many.
        width, height: pixels.
    """

    jpeg: bytes
    time_s: float | None
    width: int
    height: int

    def __repr__(self) -> str:
        time = "sheet" if self.time_s is None else f"{self.time_s:.3f} s"
        return f"Picture({time}, {self.width}x{self.height}, {len(self.jpeg)} bytes)"


class FrameView(_Result):
    """Frames of a video as pictures in memory. The pictures are not part of its JSON."""

    video: str = Field(description="The path or URL as it was given.")
    sheet: bool = Field(description="There is one picture with all frames; otherwise one for each.")
    coverage: Coverage = Field(description="Which frames are shown, and which could not be.")
    pictures: tuple[Picture, ...] = Field(default=(), exclude=True, description="In the order of time.")


class VideoFile(_Result):
    """A file that looks like a video by its name."""

    path: str = Field(description="What to give as the video of a call.")
    size_bytes: int = Field(ge=0, description="Of the file.")


class VideoFolder(_Result):
    """Videos in a folder that may be read, and the folders in it."""

    folder: str = Field(description="As it was given; empty for all folders that may be read.")
    videos: tuple[VideoFile, ...] = Field(description="In the order of their names.")
    folders: tuple[str, ...] = Field(description="Folders inside, to be listed in turn.")
    skipped: tuple[str, ...] = Field(default=(), description="What was left out, one sentence each.")
