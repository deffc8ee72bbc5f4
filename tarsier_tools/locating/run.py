"""One call: from a video and some events to where they happen.

First the range is looked at in windows, in one pass. Then each place where something was found is looked at
again, more closely, in a second pass over just those places.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from tarsier_tools import prompts
from tarsier_tools.errors import UsageError
from tarsier_tools.grounding import Seen, carried, language_warnings
from tarsier_tools.locating import calibration, refining
from tarsier_tools.locating.geometry import Layout, Window, lay_out
from tarsier_tools.locating.methods import Chosen, Judge, choose, judge
from tarsier_tools.locating.refining import Closer
from tarsier_tools.locating.segments import Stretch, hulls, inside, settle
from tarsier_tools.locating.wanted import Wanted
from tarsier_tools.locating.watching import Ledger, Look, Watcher
from tarsier_tools.media.clips import ClipSpec, asked_range
from tarsier_tools.media.source import Source
from tarsier_tools.results import Localization, Segment, TimeRange, Timings, WindowScore
from tarsier_tools.types import Progress
from tarsier_tools.workbench import Workbench

if TYPE_CHECKING:
    from tarsier_tools.backends.base import Backend
    from tarsier_tools.media.clips import DecodedClip


def locate(
    bench: Workbench, video: str | Path, wanted: Wanted, on_progress: Progress
) -> tuple[Localization, ...]:
    """Where each event happens, in the order of the events.

    Raises as ``VideoService.locate``.
    """
    began = time.perf_counter()
    source = bench.resolve(video, on_progress)
    info = bench.decoding.info(source)
    asked, notes = asked_range(wanted.spec, info)
    layout = layout_of(wanted, asked)
    ledger = Ledger(skipped=dict.fromkeys(notes), video_s=time.perf_counter() - began)
    seen, clips = clips_of(bench, source, wanted, layout, began, on_progress)
    shown = next(clips)  # what cannot be decoded raises before a model is opened
    ledger.video_s = time.perf_counter() - began
    opening = time.perf_counter()
    backend = bench.backend(on_progress)
    ledger.model_s = time.perf_counter() - opening
    method = choose(wanted.method, backend.info)
    court = judge(method, wanted.threshold, bench.settings, backend.info, wanted.language)
    watcher = Watcher(
        backend=backend,
        language=wanted.language,
        events=wanted.events,
        scorer=court.scorer,
        # One look at the whole is always written about: what the model says is worth knowing.
        writes=None if method != "frames" else -math.inf if layout.whole else court.least,
        max_new_tokens=wanted.max_new_tokens,
        ledger=ledger,
    )
    looked = dict(watcher.watch(chain([shown], clips), layout.windows, None, on_progress))
    looks = [looked[number] for number in sorted(looked)]
    search = _Search(wanted, Window(asked.start_s, asked.end_s), layout, method, court)
    places = [search.places(looks, number) for number in range(len(wanted.events))]
    closer = search.closer(places, looks)
    if closer.windows:
        specs = [_spec(wanted, window, closer.frames) for window in closer.windows]
        again = bench.windows(source, specs, _reading(on_progress, "looking closer"))
        # What is written of a place moves its boundaries; how sure it is was found out before.
        nearer = watcher if method != "frames" else replace(watcher, scorer=None, writes=-math.inf)
        fine = dict(nearer.watch(again, closer.windows, closer.about, _saying(on_progress, "looking closer")))
        places = [refining.refined(found, closer, fine, number) for number, found in enumerate(places)]
    total = time.perf_counter() - began
    timings = Timings(
        video_s=ledger.video_s,
        model_s=ledger.model_s,
        total_s=total,
        clip_cached=seen is not None and seen.cached,
        prefix_cached=layout.whole and ledger.usages[0].cached_tokens > 0,
    )
    coverage = ledger.coverage(asked)
    lost = len(layout.windows) - len(looks)
    missed = (
        (f"{lost} of {len(layout.windows)} windows could not be decoded and were not looked at.",)
        if lost
        else ()
    )
    common = (*(seen.warnings if seen else coverage.skipped), *missed, *court.found.warnings)
    if court.found.fit is not None:
        common += calibration.geometry_warnings(court.found.fit, layout.length_s, wanted.spec.frames)
    return tuple(
        Localization(
            **search.outcome(number, places[number], looks, closer),
            **carried(
                given=source.given,
                coverage=coverage,
                backend=backend,
                language=wanted.language,
                prompt=_prompt(method, court, event, wanted.language),
                usages=ledger.usages,
                timings=timings,
                warnings=(*common, *search.warnings(number, places[number], looks, backend)),
                cautions=ledger.cautions,
            ),
        )
        for number, event in enumerate(wanted.events)
    )


@dataclass(frozen=True)
class _Search:
    """Makes places of looks, event by event.

    Attributes:
        within: the range asked for.
    """

    wanted: Wanted
    within: Window
    layout: Layout
    method: Chosen
    court: Judge

    def places(self, looks: Sequence[Look], event: int) -> list[Stretch]:
        """Where the event was found, in the order of time."""
        least = self.court.least
        if self.method != "frames":
            return hulls([(look.window, look.evidence[event]) for look in looks], least)
        found = [
            inside(span, look.window, self.within, look.evidence[event])
            for look in looks
            if event in look.written and (self.court.scorer is None or look.evidence[event] >= least)
            for span in look.written[event].spans
        ]
        return settle(found, self._step(looks))

    def closer(self, places: Sequence[Sequence[Stretch]], looks: Sequence[Look]) -> Closer:
        """The second look at what was found, of the best places only."""
        best = [sorted(found, key=lambda one: -one.evidence)[: self.wanted.top_k] for found in places]
        frames = self.wanted.spec.frames
        if self.method == "frames":
            return refining.by_frames(best, self.layout, self.within, frames)
        return refining.by_scores(best, self.layout, self.within, frames, self._step(looks))

    def outcome(
        self, event: int, places: Sequence[Stretch], looks: Sequence[Look], closer: Closer
    ) -> dict[str, object]:
        """What a result says of its event, as keyword arguments."""
        court = self.court
        evidence = max((look.evidence[event] for look in looks), default=-math.inf)
        best = max(looks, key=lambda look: (event in look.written, look.evidence[event]))
        kept = sorted(
            sorted(places, key=lambda one: -one.evidence)[: self.wanted.top_k], key=lambda one: one.start_s
        )
        return {
            "event": self.wanted.events[event],
            "found": bool(kept),
            "segments": tuple(self._segment(place, event, looks) for place in kept),
            "method": self.method,
            "best_score": court.score(evidence),
            "best_confidence": court.confidence(evidence),
            "threshold": court.threshold,
            "score_kind": court.kind,
            "calibration": court.found.fitted_on,
            "resolution_s": closer.resolution_s.get(event, self._coarse(looks)),
            "curve": () if court.scorer is None else tuple(self._point(look, event) for look in looks),
            "reply": best.written[event].reply if event in best.written else "",
        }

    def warnings(
        self, event: int, places: Sequence[Stretch], looks: Sequence[Look], backend: Backend
    ) -> list[str]:
        """What to know about one event's result."""
        warnings = list(language_warnings(backend, self.wanted.language))
        left_out = len(places) - self.wanted.top_k
        if left_out > 0:
            warnings.append(
                f"{left_out} more places pass the threshold; top_k allows for {self.wanted.top_k}."
            )
        if self.method != "frames":
            return warnings
        written = [(look, look.written[event]) for look in looks if event in look.written]
        warnings += dict.fromkeys(problem for _, one in written for problem in one.problems)
        doubted = [
            look
            for look, one in written
            if one.spans and self.court.scorer and look.evidence[event] < self.court.least
        ]
        passing = [look for look, _ in written if look not in doubted]
        if places:
            return warnings
        if doubted:
            sure = max(self.court.score(look.evidence[event]) or 0.0 for look in doubted)
            warnings.append(
                f"The frames in the reply are left out: yes has a probability of only {sure:.2f}."
            )
        elif not backend.info.abilities.frames:
            warnings.append("The model wrote no frame numbers; this checkpoint is not known to write them.")
        elif passing and max(look.evidence[event] for look in passing) >= self.court.least:
            sure = max(self.court.score(look.evidence[event]) or 0.0 for look in passing)
            warnings.append(
                f"No frames in the reply can be used, though yes has a probability of {sure:.2f}."
            )
        return warnings

    def _segment(self, place: Stretch, event: int, looks: Sequence[Look]) -> Segment:
        middle = (place.start_s + place.end_s) / 2
        times = chain.from_iterable(look.times_s for look in looks)
        return Segment(
            start_s=place.start_s,
            end_s=place.end_s,
            text=self.wanted.events[event],
            score=self.court.score(place.evidence),
            confidence=self.court.confidence(place.evidence),
            evidence_s=min(times, key=lambda time: abs(time - middle)),
        )

    def _point(self, look: Look, event: int) -> WindowScore:
        evidence = look.evidence[event]
        score = self.court.score(evidence)
        assert score is not None
        return WindowScore(
            start_s=look.window.start_s,
            end_s=look.window.end_s,
            score=score,
            confidence=self.court.confidence(evidence),
        )

    def _step(self, looks: Iterable[Look]) -> float:
        """The most seconds between two frames that followed each other in a window."""
        steps = (later - earlier for look in looks for earlier, later in pairwise(look.times_s))
        return max(steps, default=self.layout.length_s)

    def _coarse(self, looks: Sequence[Look]) -> float:
        """How finely boundaries are known without a closer look."""
        return self._step(looks) if self.method == "frames" else self.layout.stride_s


def layout_of(wanted: Wanted, asked: TimeRange) -> Layout:
    try:
        return lay_out(asked.start_s, asked.end_s, wanted.spec.frames, wanted.window_s, wanted.stride_s)
    except ValueError as error:
        raise UsageError(
            f"window_s={wanted.window_s} and stride_s={wanted.stride_s} cannot be used: {error}.",
            hint="Leave both away, or give lengths of seconds, with a stride no longer than a window.",
        ) from None


def clips_of(
    bench: Workbench, source: Source, wanted: Wanted, layout: Layout, began: float, on_progress: Progress
) -> tuple[Seen | None, Iterator[tuple[int, DecodedClip]]]:
    """The clips of the windows, as they are decoded; of a single one also what is known of having seen it."""
    if layout.whole:
        seen = bench.look(source, wanted.spec, on_progress, began=began)
        return seen, iter([(0, seen.decoded)])
    frames = wanted.spec.frames
    specs = [
        # The same rhythm in all windows: those that overlap share their frames.
        ClipSpec(
            window.start_s, window.end_s, frames, "fps", frames / layout.length_s, wanted.spec.max_pixels
        )
        if not wanted.sampled
        else ClipSpec(
            window.start_s,
            window.end_s,
            frames,
            wanted.spec.sampling,
            wanted.spec.fps,
            wanted.spec.max_pixels,
        )
        for window in layout.windows
    ]
    return None, iter(bench.windows(source, specs, _reading(on_progress, "window")))


def _spec(wanted: Wanted, window: Window, frames: int) -> ClipSpec:
    return ClipSpec(window.start_s, window.end_s, frames, "time", None, wanted.spec.max_pixels)


def _prompt(method: Chosen, court: Judge, event: str, language: prompts.Language) -> str:
    if method == "frames" or court.scorer is None:
        return prompts.locate(event, language)
    return court.scorer.prompt(event)


def _reading(on_progress: Progress, doing: str) -> Progress:
    def tell(done: int, total: int, _message: str) -> None:
        on_progress(done, total, f"{doing} {min(done + 1, total)} of {total}: reading frames")

    return tell


def _saying(on_progress: Progress, doing: str) -> Progress:
    def tell(done: int, total: int, message: str) -> None:
        on_progress(done, total, f"{doing}, {message}")

    return tell
