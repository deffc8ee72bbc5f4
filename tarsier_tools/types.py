"""The values that pass between the parts: what goes in, what the seam carries, what comes out.

Times are seconds (float) from the first frame shown; ranges are half-open, ``[start_s, end_s)``.
Results are frozen pydantic models, so that every front end gets their JSON and its schema for free.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from numpy.typing import NDArray

Progress = Callable[[int, int, str], None]
"""Called as ``on_progress(done, total, message)``; raising :class:`Cancelled` from it stops the work."""

SamplingMethod = Literal["uniform", "time", "fps"]
"""How frames are chosen: Tarsier2's rule by frame index, evenly in time, or at a fixed rate."""


def no_progress(done: int, total: int, message: str) -> None:
    """The progress callback that does nothing."""


# ---------------------------------------------------------------- the seam: what a backend sees


@dataclass(frozen=True, slots=True, eq=False)
class Clip:
    """The frames of one video that a model is shown, after the pixel budget's resize.

    Attributes:
        frames: the pictures in the order of time, each uint8 (height, width, 3), RGB, upright.
        indices: the number of each frame in the video, from 0, in the order of presentation.
        times_s: the presentation time of each frame, seconds from the video's first frame.
        fingerprint: hex SHA-256 over frames, indices and sizes; backends key their caches on it.
    """

    frames: tuple[NDArray[np.uint8], ...]
    indices: tuple[int, ...]
    times_s: tuple[float, ...]
    fingerprint: str

    def __post_init__(self) -> None:
        if not self.frames:
            raise ValueError("a clip needs at least one frame")
        if not len(self.frames) == len(self.indices) == len(self.times_s):
            raise ValueError("frames, indices and times_s differ in length")
        for frame in self.frames:
            if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
                raise ValueError(f"a frame must be uint8 (height, width, 3), got {frame.dtype} {frame.shape}")

    def __len__(self) -> int:
        return len(self.frames)

    def __repr__(self) -> str:
        height, width, _ = self.frames[0].shape
        return (
            f"Clip({len(self)} frames of {width}x{height}, "
            f"{self.times_s[0]:.2f}-{self.times_s[-1]:.2f} s, {self.fingerprint[:12]})"
        )


@dataclass(frozen=True, slots=True)
class Request:
    """One text to be generated about one clip.

    Attributes:
        clip: what the model is shown; always before the prompt.
        prompt: the user's turn, plain text. Special tokens in it are text, never control.
        reply_prefix: how the model's reply is begun for it, "" for not at all.
        max_new_tokens: at least 1.
    """

    clip: Clip
    prompt: str
    reply_prefix: str = ""
    max_new_tokens: int = 512


@dataclass(frozen=True, slots=True)
class ScoreRequest:
    """Candidate replies whose log-likelihood is wanted after the same clip and prompt.

    Attributes:
        candidates: at least one, none empty.
        end_of_turn: count the end-of-turn token as part of each candidate.
    """

    clip: Clip
    prompt: str
    candidates: tuple[str, ...]
    reply_prefix: str = ""
    end_of_turn: bool = False


class Usage(BaseModel):
    """What one request cost, in tokens."""

    model_config = ConfigDict(frozen=True)

    prompt_tokens: int = Field(ge=0, description="Tokens of the prompt, those of the video included.")
    vision_tokens: int = Field(ge=0, description="Tokens of the video alone.")
    cached_tokens: int = Field(ge=0, description="Prompt tokens that came from the prefix cache.")
    completion_tokens: int = Field(ge=0, description="Tokens generated or scored.")


@dataclass(frozen=True, slots=True)
class Completion:
    """A generated text.

    Attributes:
        text: without the reply prefix and without special tokens.
        finish_reason: "stop" at an end token, "length" when max_new_tokens were used up.
        token_ids: the generated ids, the end token included.
        logprobs: natural-log probability of each generated token, same length as token_ids.
        prefill_s: seconds until the first token; decode_s: seconds for the rest.
    """

    text: str
    finish_reason: Literal["stop", "length"]
    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    usage: Usage
    prefill_s: float = 0.0
    decode_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Scores:
    """Log-likelihoods of candidate texts.

    Attributes:
        logprobs: natural log, summed over the tokens of each candidate.
        token_counts: tokens of each candidate, for a mean per token.
    """

    logprobs: tuple[float, ...]
    token_counts: tuple[int, ...]
    usage: Usage
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Abilities:
    """What a checkpoint declares that it can do; the service picks its methods by it.

    Attributes:
        languages: BCP-47 tags it answers in, () when unknown.
        yes_no, choices: trained to answer such questions (scoring works with any model).
        frames: writes ``<frame: i-j>`` when asked when something happens.
        dense: writes one ``<frame: i-j>`` line per event when asked to.
        note: one sentence for the reader of a result, "" for none.
    """

    languages: tuple[str, ...] = ()
    yes_no: bool = False
    choices: bool = False
    frames: bool = False
    dense: bool = False
    note: str = ""


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """Which model answers.

    Attributes:
        name: what to call it in a result ("tarsier2-tiny", a folder's name, a hub id).
        backend: "tiny", "local" or "scripted".
        device, dtype: "" when there is none (the scripted backend).
        context_tokens: the longest prompt plus reply, None when not known.
    """

    name: str
    backend: str
    device: str = ""
    dtype: str = ""
    revision: str = ""
    context_tokens: int | None = None
    abilities: Abilities = field(default_factory=Abilities)


# ---------------------------------------------------------------- results: what the user gets


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
    width: int = Field(description="Pixels, after rotation.")
    height: int = Field(description="Pixels, after rotation.")
    rotation: int = Field(description="Degrees that the picture is turned by for showing: 0, 90, 180 or 270.")
    duration_s: float = Field(ge=0, description="From the first frame to the end of the last.")
    frame_count: int = Field(ge=1, description="Frames that are shown.")
    average_fps: float = Field(gt=0, description="Frames per second over the whole video.")
    variable_rate: bool = Field(description="Frames are not evenly spaced in time.")
    size_bytes: int = Field(ge=0, description="Of the file.")
    tracks: tuple[TrackInfo, ...] = Field(
        default=(), description="Audio and subtitle tracks; the model is not given them."
    )
    decoder: str = Field(description="Which decoder reads it: pyav, decord or pillow.")


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
    skipped: tuple[str, ...] = Field(default=(), description="What was left out, one sentence each.")


class ModelUsed(_Result):
    """Which model answered, and how."""

    name: str = Field(description="Which checkpoint.")
    backend: str = Field(description="What ran it: tiny, local or scripted.")
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
    language: str = Field(description="Of the prompt, as a BCP-47 tag.")
    coverage: Coverage = Field(description="What of the video the model was shown.")
    model: ModelUsed = Field(description="Which model answered.")
    usage: Usage = Field(description="Tokens of all requests that this call made.")
    timings: Timings = Field(description="Where the time went, and what came from a cache.")
    warnings: tuple[str, ...] = Field(default=(), description="What to know before trusting it; sentences.")


class Segment(_Result):
    """A stretch of the video with what was found in it."""

    start_s: float = Field(ge=0, description="Seconds from the video's first frame.")
    end_s: float = Field(gt=0, description="Seconds from the video's first frame; the end is excluded.")
    text: str = Field(default="", description="What happens, in words.")
    score: float | None = Field(
        default=None, description="See score_kind of the result; None for not scored."
    )


class Caption(_Grounded):
    """A description of a video."""

    text: str = Field(description="What the model wrote.")
    events: tuple[Segment, ...] = Field(
        default=(), description="With detail='events': each event and its time."
    )
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
        description="generated: the model wrote it; otherwise the replies offered were scored."
    )
    choices: tuple[Choice, ...] = Field(default=(), description="All choices with their probabilities.")
    score: float | None = Field(
        default=None, description="Probability of the answer given, among the choices; raw, not calibrated."
    )
    finish_reason: Literal["stop", "length"] = Field(default="stop", description="length: the reply was cut.")


class Localization(_Grounded):
    """When an event happens."""

    event: str = Field(description="As it was asked for.")
    found: bool = Field(description="The model says that it happens, and in which frames.")
    segments: tuple[Segment, ...] = Field(description="In the order of time; empty when nothing was found.")
    method: str = Field(description="How it was found: frames (the model wrote frame numbers).")
    score: float | None = Field(description="Probability of yes to 'does this happen'; raw, not calibrated.")
    score_kind: str = Field(
        default="raw probability of yes, not calibrated", description="What the score is."
    )
    resolution_s: float = Field(description="No boundary is known more finely than this.")
    reply: str = Field(description="What the model wrote.")


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
