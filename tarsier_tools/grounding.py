"""What every result carries, made of what was seen and what was said: coverage, model, cost, warnings."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tarsier_tools import languages, parse
from tarsier_tools.backends.base import Backend
from tarsier_tools.languages import Language
from tarsier_tools.results import Coverage, ModelUsed, Segment, Timings
from tarsier_tools.types import Completion, Usage

if TYPE_CHECKING:
    from tarsier_tools.media.clips import ClipSpec, DecodedClip
    from tarsier_tools.media.source import Source


@dataclass(frozen=True, slots=True)
class Seen:
    """A clip that was decoded for a call, and what the call has cost so far."""

    given: str
    source: Source
    decoded: DecodedClip
    cached: bool
    began: float
    video_s: float
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Asked:
    """A call after its clip was decoded: who answers, in which language, and since when."""

    seen: Seen
    backend: Backend
    language: Language
    began: float


def segment(decoded: DecodedClip, span: parse.Span, text: str) -> Segment:
    """A span of the frames shown as a stretch of time, inside what was shown."""
    times, coverage = decoded.clip.times_s, decoded.coverage
    # By Tarsier2's rule the last frame of a range may be the one at its very end: it lasts a little longer.
    last_ends = min(times[-1] + 1 / decoded.info.average_fps, coverage.video_duration_s)
    start_s, end_s = parse.span_seconds(span, times, max(coverage.asked.end_s, last_ends))
    # With other sampling the first picture may have come up before the range.
    return Segment(start_s=max(start_s, coverage.asked.start_s), end_s=end_s, text=text)


def clip_warnings(decoded: DecodedClip, spec: ClipSpec) -> tuple[str, ...]:
    """What the reader of an answer should know about what the model was shown."""
    warnings = list(decoded.coverage.skipped)
    shown = len(decoded.clip)
    if spec.sampling != "fps" and shown < spec.frames and decoded.info.frame_count > 1:
        warnings.append(f"The model was shown {shown} frames; {spec.frames} were asked for.")
    return tuple(warnings)


def reply_warnings(completion: Completion) -> tuple[str, ...]:
    """What the reader of an answer should know about how the reply ended."""
    if completion.finish_reason == "length":
        tokens = completion.usage.completion_tokens
        return (f"The reply was cut after {tokens} tokens; max_new_tokens allows for more.",)
    if not completion.text.strip():
        return ("The model wrote nothing.",)
    return ()


def language_warnings(backend: Backend, language: Language) -> tuple[str, ...]:
    """What the reader of an answer should know about the language that was asked for."""
    warnings = []
    if not languages.has_prompts(language):
        name = languages.english_name(language)
        warnings.append(f"There are no prompts in {name}; the model was asked in English.")
    spoken = backend.info.abilities.languages
    if spoken and not any(languages.same(tag, language) for tag in spoken):
        warnings.append(f"This model answers in {', '.join(spoken)}; {language} was asked for.")
    return tuple(warnings)


def ground(
    asked: Asked, prompt: str, usages: Sequence[Usage], warnings: Sequence[str], cautions: Sequence[str]
) -> dict[str, Any]:
    """What an answer about one clip carries, as keyword arguments of its class."""
    seen, now = asked.seen, time.perf_counter()
    return carried(
        given=seen.given,
        coverage=seen.decoded.coverage,
        backend=asked.backend,
        language=asked.language,
        prompt=prompt,
        usages=usages,
        timings=Timings(
            video_s=seen.video_s,
            model_s=now - asked.began,
            total_s=now - seen.began,
            clip_cached=seen.cached,
            # The second request of one call always finds the first one's clip; that is no news to the user.
            prefix_cached=usages[0].cached_tokens > 0,
        ),
        warnings=(*seen.warnings, *warnings),
        cautions=cautions,
    )


def carried(
    *,
    given: str,
    coverage: Coverage,
    backend: Backend,
    language: Language,
    prompt: str,
    usages: Sequence[Usage],
    timings: Timings,
    warnings: Sequence[str],
    cautions: Iterable[str],
) -> dict[str, Any]:
    """What every answer carries, about one clip or many, as keyword arguments of its class.

    Args:
        cautions: those of all replies that the answer is made of.
    """
    info = backend.info
    caution = next(filter(None, cautions), "")
    return {
        "video": given,
        "prompt": prompt,
        "language": language,
        "prompt_language": languages.prompt_tag(language),
        "coverage": coverage,
        "model": ModelUsed(
            name=info.name,
            backend=info.backend,
            device=info.device,
            dtype=info.dtype,
            note=info.abilities.note,
        ),
        "usage": Usage(
            prompt_tokens=sum(usage.prompt_tokens for usage in usages),
            vision_tokens=sum(usage.vision_tokens for usage in usages),
            cached_tokens=sum(usage.cached_tokens for usage in usages),
            completion_tokens=sum(usage.completion_tokens for usage in usages),
        ),
        "timings": timings,
        "warnings": (*filter(None, [caution]), *warnings, *language_warnings(backend, language)),
        "caution": caution,
    }
