"""The values that cross the seam between the service and whatever runs a model.

Times are seconds (float) from the first frame shown. What users get is in :mod:`tarsier_tools.results`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Progress = Callable[[int, int, str], None]
"""Called as ``on_progress(done, total, message)``; raising :class:`Cancelled` from it stops the work."""


class Partial(str):
    """A progress message that is a piece of the result already, for whoever shows what is known so far."""

    __slots__ = ()


SamplingMethod = Literal["uniform", "time", "fps"]
"""How frames are chosen: Tarsier2's rule by frame index, evenly in time, or at a fixed rate."""

Scoring = Literal["texts", "words", "none"]
"""What a backend can score: any text, only words among the likeliest next tokens, or nothing."""


def no_progress(done: int, total: int, message: str) -> None:
    """The progress callback that does nothing."""


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
            if frame.dtype != "uint8" or frame.ndim != 3 or frame.shape[2] != 3:
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
        token_ids: the generated ids, the end token included; () when a server does not tell them.
        logprobs: natural-log probability of each generated token, same length as token_ids where those are
            known; () when a server gives none.
        prefill_s: seconds until the first token; decode_s: seconds for the rest.
        caution: what a reader must know before the text, a sentence; "" for nothing.
    """

    text: str
    finish_reason: Literal["stop", "length"]
    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    usage: Usage
    prefill_s: float = 0.0
    decode_s: float = 0.0
    caution: str = ""


@dataclass(frozen=True, slots=True)
class Scores:
    """Log-likelihoods of candidate texts.

    Attributes:
        logprobs: natural log, summed over the tokens of each candidate.
        token_counts: tokens of each candidate, for a mean per token.
        caution: as of a :class:`Completion`.
    """

    logprobs: tuple[float, ...]
    token_counts: tuple[int, ...]
    usage: Usage
    seconds: float = 0.0
    caution: str = ""


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
        backend: "tiny", "local", "remote" or "scripted".
        device, dtype: "" when there is none (the scripted backend).
        folder: where its files are, "" when they are not on this machine.
        context_tokens: the longest prompt plus reply, None when not known.
        scoring: what ``score`` takes; a server may give few probabilities or none.
    """

    name: str
    backend: str
    device: str = ""
    dtype: str = ""
    revision: str = ""
    folder: str = ""
    context_tokens: int | None = None
    abilities: Abilities = field(default_factory=Abilities)
    scoring: Scoring = "texts"
