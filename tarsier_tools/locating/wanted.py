"""What a call of locate wants: its options, checked before any work is done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypedDict, get_args

from tarsier_tools import arguments
from tarsier_tools.config import Settings
from tarsier_tools.errors import UsageError
from tarsier_tools.locating.methods import Method
from tarsier_tools.media.clips import ClipSpec, check_spec
from tarsier_tools.prompts import Language
from tarsier_tools.types import Progress, SamplingMethod


class Options(TypedDict, total=False):
    """The keywords of ``VideoService.locate``, for its overloads."""

    start_s: float | None
    end_s: float | None
    top_k: int
    threshold: float | None
    method: Method
    window_s: float | None
    stride_s: float | None
    language: str | None
    frames: int | None
    sampling: SamplingMethod | None
    fps: float | None
    max_new_tokens: int | None
    on_progress: Progress


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be found, and how.

    Attributes:
        spec: the range, and the frames of each window; its sampling holds for a range that is looked at in
            one piece, and for windows when ``sampled`` says that it was asked for.
    """

    events: tuple[str, ...]
    spec: ClipSpec
    sampled: bool
    window_s: float | None
    stride_s: float | None
    top_k: int
    threshold: float | None
    method: Method
    language: Language
    max_new_tokens: int


def want(
    settings: Settings,
    events: str | Sequence[str],
    *,
    start_s: float | None,
    end_s: float | None,
    top_k: int,
    threshold: float | None,
    method: Method,
    window_s: float | None,
    stride_s: float | None,
    language: str | None,
    frames: int | None,
    sampling: SamplingMethod | None,
    fps: float | None,
    max_new_tokens: int | None,
) -> Wanted:
    """The arguments of ``VideoService.locate``; raises UsageError or TimeRangeError for nonsense."""
    texts = arguments.events(events)
    if top_k < 1:
        raise UsageError(f"top_k is {top_k}.", hint="Ask for 1 place or more.")
    arguments.one_of("method", method, get_args(Method))
    kind = sampling or "uniform"
    arguments.one_of("sampling", kind, get_args(SamplingMethod))
    shown = arguments.frames(frames, settings.frames)
    spec = ClipSpec(start_s, end_s, shown, kind, fps, settings.max_pixels)
    check_spec(spec)
    return Wanted(
        events=texts,
        spec=spec,
        sampled=sampling is not None,
        window_s=window_s,
        stride_s=stride_s,
        top_k=top_k,
        threshold=threshold,
        method=method,
        language=arguments.language(language, settings.language),
        max_new_tokens=arguments.new_tokens(max_new_tokens, settings.max_new_tokens),
    )
