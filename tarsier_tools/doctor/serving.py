"""Checks of how a model is served: probabilities, determinism, reuse of what was seen, length, speed."""

from __future__ import annotations

import time

from tarsier_tools import prompts
from tarsier_tools.backends.base import Backend
from tarsier_tools.config import Settings
from tarsier_tools.doctor.films import film, shown
from tarsier_tools.doctor.findings import Finding
from tarsier_tools.media.transform import GRID, fit_size, frame_budget, grid_size
from tarsier_tools.types import Request

FIRST_TOKEN_S = 20.0
"""A client that gives up after 30 s must get an answer to a new clip before."""
TOKENS_PER_S = 5.0
"""Below this a caption of 150 tokens takes more than half a minute."""
_DRIFT = 0.5
"""Natural-log units of a token's log-probability; rounding in batches stays far below it."""
_LARGE = (1280, 720)
_REPEATS = 4


def check_probabilities(backend: Backend) -> Finding:
    """What can be scored: it decides how questions are answered and events are found."""
    scoring = backend.info.scoring
    if scoring == "texts":
        return Finding(name="probabilities", status="ok", detail="Any reply can be scored.")
    lost = (
        "only single words can be scored: checked captions and locating ask yes or no instead"
        if scoring == "words"
        else "none are given: yes/no, choices and locating fall back to what the model writes"
    )
    return Finding(
        name="probabilities",
        status="warn",
        detail=f"Of the probabilities of replies {lost}.",
        hint="Serve the model with vLLM, which gives logprobs and prompt_logprobs.",
    )


def check_determinism(backend: Backend) -> Finding:
    """The same request gives the same reply, alone and several at once."""
    request = Request(film(1).clip, prompts.caption(), max_new_tokens=48)
    (alone,) = backend.generate([request])
    together = backend.generate([request] * _REPEATS)
    different = [reply.text for reply in together if reply.text != alone.text]
    drift = max(
        (
            abs(one - other)
            for reply in together
            for one, other in zip(alone.logprobs[:1], reply.logprobs[:1], strict=False)
        ),
        default=0.0,
    )
    figures = {"first_token_logprob_drift": drift}
    if not different and drift <= _DRIFT:
        return Finding(
            name="greedy",
            status="ok",
            detail=f"{_REPEATS + 1} equal requests, {_REPEATS} of them at once, gave one reply.",
            figures=figures,
        )
    if drift <= _DRIFT:
        return Finding(
            name="greedy",
            status="warn",
            detail=f"{len(different)} of {_REPEATS} equal requests gave another reply; the first token's "
            f"log-probability moved by {drift:.3f}, as rounding can do.",
            hint="Answers near a tie may vary. Serve in float32, or one request at a time, to be sure.",
            figures=figures,
        )
    return Finding(
        name="greedy",
        status="fail",
        detail=f"Equal requests gave different replies: {alone.text[:60]!r} and "
        f"{(different or [alone.text])[0][:60]!r} (log-probability moved by {drift:.2f}).",
        hint="The server samples, or mixes requests up: check its default sampling parameters, its version, "
        "and its prefix cache.",
        figures=figures,
    )


def check_reuse(backend: Backend) -> Finding:
    """A second question about a clip does not pay for the clip again."""
    assert backend.info  # a server is asked what it can do now, and not within the first question
    clip = shown(film(2).scene, 16, (336, 336))
    spent: list[float] = []
    cached = 0
    for event in ("a circle moves", "a square grows"):
        request = Request(clip, prompts.happens(event), max_new_tokens=1)
        began = time.perf_counter()
        (completion,) = backend.generate([request])
        spent.append(time.perf_counter() - began)
        cached = completion.usage.cached_tokens
    cold, warm = spent
    figures = {"cold_s": cold, "warm_s": warm, "cached_tokens": float(cached)}
    told = f"first question {cold:.2f} s, second {warm:.2f} s"
    if cached:
        return Finding(
            name="reuse",
            status="ok",
            detail=f"{told}; {cached} tokens came from the cache.",
            figures=figures,
        )
    if warm < cold / 2:
        return Finding(
            name="reuse", status="ok", detail=f"{told}; the server does not count them.", figures=figures
        )
    return Finding(
        name="reuse",
        status="warn",
        detail=f"Nothing tells that the second question about a clip is cheaper: {told}.",
        hint="For vLLM: --enable-prefix-caching, and --enable-prompt-tokens-details to see it. Here: "
        "TARSIER_PREFIX_CACHE_MB above 0.",
        figures=figures,
    )


def check_length(backend: Backend, settings: Settings) -> Finding:
    """A clip as large as the settings allow fits, with its reply."""
    needed = largest_clip_tokens(settings) + settings.max_new_tokens
    limit = backend.info.context_tokens
    told = (
        f"{settings.frames} frames of any size and {settings.max_new_tokens} new tokens take up to {needed}"
    )
    figures = {"needed_tokens": float(needed)}
    if limit is None:
        return Finding(
            name="context",
            status="warn",
            detail=f"{told} tokens; the server does not say how many it takes.",
            hint="See to it that it takes as many.",
            figures=figures,
        )
    figures["context_tokens"] = float(limit)
    if needed <= limit:
        return Finding(name="context", status="ok", detail=f"{told} of {limit} tokens.", figures=figures)
    return Finding(
        name="context",
        status="warn",
        detail=f"{told} tokens, and {limit} is the limit: large videos will be refused.",
        hint="Raise the server's limit (vLLM: --max-model-len), or lower TARSIER_FRAMES or "
        "TARSIER_MAX_PIXELS.",
        figures=figures,
    )


def check_speed(backend: Backend, settings: Settings) -> Finding:
    """How fast a new clip of the largest size is read, and a reply written."""
    budget = frame_budget(settings.frames, settings.max_pixels)
    clip = shown(film(3).scene, settings.frames, fit_size(*_LARGE, budget))
    (completion,) = backend.generate([Request(clip, prompts.caption(), max_new_tokens=64)])
    usage = completion.usage
    reading = usage.vision_tokens / max(completion.prefill_s, 1e-6)
    writing = max(usage.completion_tokens - 1, 0) / max(completion.decode_s, 1e-6)
    figures = {
        "first_token_s": completion.prefill_s,
        "vision_tokens": float(usage.vision_tokens),
        "vision_tokens_per_s": reading,
        "output_tokens_per_s": writing,
    }
    told = (
        f"{settings.frames} frames ({usage.vision_tokens} tokens) are read in {completion.prefill_s:.1f} s, "
        f"{reading:.0f} vision tokens/s; replies come at {writing:.1f} tokens/s"
    )
    slow = completion.prefill_s > FIRST_TOKEN_S
    problem = "clients may give up before the first word" if slow else "long replies take long"
    if not slow and (writing >= TOKENS_PER_S or usage.completion_tokens < 2):
        return Finding(name="speed", status="ok", detail=f"{told}.", figures=figures)
    return Finding(
        name="speed",
        status="warn",
        detail=f"{told}: {problem}.",
        hint="Use a GPU or a smaller checkpoint, lower TARSIER_MAX_PIXELS or TARSIER_FRAMES, and raise the "
        "time limits of clients.",
        figures=figures,
    )


def largest_clip_tokens(settings: Settings) -> int:
    """Vision tokens of the largest clip that the settings allow, and some for the text."""
    budget = min(frame_budget(settings.frames, settings.max_pixels), settings.server_max_pixels)
    side = int(budget**0.5)
    width, height = grid_size(side, side)
    return settings.frames * (width // GRID) * (height // GRID) + 200
