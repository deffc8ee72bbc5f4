"""Fits what turns the scores of locate into confidences, on videos of which it is known what happens when.

The bundled model's file is made by ``training/calibrate.py``, anybody's own by ``tarsier-tools calibrate``.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Annotated, NotRequired, TypedDict

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from tarsier_tools.backends.base import Backend
from tarsier_tools.errors import UsageError
from tarsier_tools.locating.calibration import (
    Calibration,
    Fit,
    expected_error,
    fingerprint,
    platt,
    prompt_version,
)
from tarsier_tools.locating.geometry import Window
from tarsier_tools.locating.methods import choose
from tarsier_tools.locating.run import clips_of, layout_of
from tarsier_tools.locating.scorers import SCORERS, Scorer, ScorerName, sigmoid
from tarsier_tools.locating.segments import shared
from tarsier_tools.locating.wanted import want
from tarsier_tools.locating.watching import Ledger, Watcher
from tarsier_tools.media.clips import asked_range
from tarsier_tools.types import Progress, no_progress
from tarsier_tools.workbench import Workbench

_SHOWN = 0.5
"""A window shows an event when it holds this much of it, or the event fills this much of the window."""

_FOLDS = 5
_SECONDS = Annotated[float, Field(ge=0, allow_inf_nan=False)]


def _ordered(segment: tuple[float, float]) -> tuple[float, float]:
    if not segment[0] < segment[1]:
        raise ValueError("the end must be after the start")
    return segment


_SEGMENT = Annotated[tuple[_SECONDS, _SECONDS], AfterValidator(_ordered)]


class Example(BaseModel):
    """One event, and when it happens in one video."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    video: str = Field(min_length=1, description="A path or URL.")
    event: str = Field(min_length=1, description="In the words that one would look for it with.")
    segments: tuple[_SEGMENT, ...] = Field(
        description="Every start and end, seconds from the first frame; empty when it never happens."
    )
    language: str | None = Field(default=None, description="Of the event, as a BCP 47 tag.")


@dataclass(frozen=True, slots=True)
class _Case:
    """One event in one window: the evidence, whether it is there, and the number of the video."""

    evidence: float
    there: bool
    video: int
    window_s: float


class CalibrateOptions(TypedDict):
    """The keywords of :func:`calibrate`."""

    fitted_on: str
    methods: NotRequired[Sequence[ScorerName]]
    frames: NotRequired[int | None]
    on_progress: NotRequired[Progress]


def read_examples(path: Path) -> list[Example]:
    """The examples of a file with one JSON object a line; paths in it count from the file's folder.

    Raises UsageError for a file that cannot be read, and for a line that is no example, by its number.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise UsageError(f"The labels {path} cannot be read: {reason}.", hint="Check the path.") from error
    examples = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            example = Example.model_validate(json.loads(line))
        except (ValueError, RecursionError) as error:
            issues = error.errors() if isinstance(error, ValidationError) else []
            told = "; ".join(f"{'.'.join(map(str, issue['loc']))}: {issue['msg']}" for issue in issues[:3])
            raise UsageError(
                f"Line {number} of {path} is no example: {told or 'it is not JSON'}.",
                hint='Like this: {"video": "a.mp4", "event": "a dog jumps", "segments": [[1.5, 4.0]]}',
            ) from None
        if "://" not in example.video:
            example = example.model_copy(update={"video": str(path.parent / example.video)})
        examples.append(example)
    return examples


def calibrate(
    bench: Workbench,
    examples: Sequence[Example],
    *,
    fitted_on: str,
    methods: Sequence[ScorerName] = (),
    frames: int | None = None,
    on_progress: Progress = no_progress,
) -> Calibration:
    """Score every example as :meth:`VideoService.locate` would, window by window, and fit a curve.

    Args:
        examples: of one video one after the other, so that they share its decoding.
        fitted_on: the set, in words; results repeat it.
        methods: one curve for each; by default for the one that goes with the model.
        frames: of each window; the settings' by default.

    Raises UsageError for examples of one kind only, or that the model cannot tell apart; else as locate.
    """
    if not examples:
        raise UsageError("There are no examples.", hint="Give labels, or films of the shapes world.")
    videos = [list(group) for _, group in groupby(examples, key=lambda one: (one.video, one.language))]
    cases: dict[ScorerName, list[_Case]] = {}
    tags: dict[str, None] = {}
    for number, group in enumerate(videos):

        def tell(_done: int, _total: int, message: str, number: int = number) -> None:
            on_progress(number, len(videos), f"video {number + 1} of {len(videos)}: {message}")

        tell(0, 0, "opening")
        backend = bench.backend(tell)
        for method in methods or (_method(backend),):
            language, found = _score(bench, backend, group, method, frames, number, tell)
            tags[language] = None
            cases.setdefault(method, []).extend(found)
    on_progress(len(videos), len(videos), "fitting")
    shown = frames or bench.settings.frames
    return Calibration(
        model=backend.info.name,
        fingerprint=fingerprint(backend.info),
        fitted_on=fitted_on,
        fits=tuple(_fit(method, found, tuple(sorted(tags)), shown) for method, found in cases.items()),
    )


def shows(window: Window, segments: Sequence[tuple[float, float]]) -> bool:
    """Whether a window shows one of the times that an event happens: half of it, or for half its length."""
    return any(shared(window, Window(start, end)) >= _SHOWN for start, end in segments if end > start)


def _method(backend: Backend) -> ScorerName:
    method = choose("auto", backend.info)
    if backend.info.scoring == "none":
        raise UsageError(
            f"{backend.info.name} gives no probabilities, so there is nothing to calibrate.",
            hint="Use a backend that can score.",
        )
    return "yes_no" if method == "frames" else method


def _score(
    bench: Workbench,
    backend: Backend,
    group: Sequence[Example],
    method: ScorerName,
    frames: int | None,
    number: int,
    on_progress: Progress,
) -> tuple[str, Iterator[_Case]]:
    """The language, and a case for each window and event of one video."""
    wanted = want(
        bench.settings, [example.event for example in group], start_s=None, end_s=None, top_k=1,
        threshold=None, method=method, window_s=None, stride_s=None, language=group[0].language,
        frames=frames, sampling=None, fps=None, max_new_tokens=None,
    )  # fmt: skip
    began = time.perf_counter()
    source = bench.resolve(group[0].video, on_progress)
    asked, _ = asked_range(wanted.spec, bench.decoding.info(source))
    layout = layout_of(wanted, asked)
    _, clips = clips_of(bench, source, wanted, layout, began, on_progress)
    scorer: Scorer = SCORERS[method](wanted.language)
    watcher = Watcher(backend, wanted.language, wanted.events, scorer, None, 1, Ledger())
    looks = [look for _, look in watcher.watch(clips, layout.windows, None, on_progress)]
    return wanted.language, (
        _Case(evidence, shows(look.window, example.segments), number, look.window.length_s)
        for look in looks
        for example, evidence in zip(group, look.evidence, strict=True)
    )


def _fit(method: ScorerName, cases: Sequence[_Case], tags: tuple[str, ...], frames: int) -> Fit:
    try:
        slope, intercept = platt([case.evidence for case in cases], [case.there for case in cases])
    except ValueError as error:
        raise UsageError(
            f"No calibration of {method} can be made: {error}.",
            hint="Give more examples, of events that happen and of events that do not.",
        ) from None
    lengths = [case.window_s for case in cases]
    return Fit(
        method=method,
        slope=slope,
        intercept=intercept,
        languages=tags,
        prompts=prompt_version(method, tags),
        frames=frames,
        window_s=(min(lengths), max(lengths)),
        windows=len(cases),
        positives=sum(case.there for case in cases),
        expected_error=_cross_validated(cases),
    )


def _cross_validated(cases: Sequence[_Case]) -> float | None:
    """The expected calibration error on videos that a curve was not fitted on; None with too few of them."""
    confidences: list[float] = []
    there: list[bool] = []
    for fold in range(_FOLDS):
        kept = [case for case in cases if case.video % _FOLDS != fold]
        held_out = [case for case in cases if case.video % _FOLDS == fold]
        try:
            slope, intercept = platt([case.evidence for case in kept], [case.there for case in kept])
        except ValueError:
            return None
        confidences += [sigmoid(slope * case.evidence + intercept) for case in held_out]
        there += [case.there for case in held_out]
    return expected_error(confidences, there)
