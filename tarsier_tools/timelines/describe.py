"""A long video, described segment by segment; what is described is kept at once, and not done again.

Two journals (see :mod:`~tarsier_tools.timelines.journal`) hold what a run has found out: the cuts of each
stretch of the video, and the caption of each segment. They are known by the video's bytes and by all that
their content depends on, so that another model, prompt or number of frames never meets them, and a segment
that two different ranges have in common is described once.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Literal, NamedTuple

import tarsier_tools
from tarsier_tools import arguments, prompts
from tarsier_tools.backends.base import Backend
from tarsier_tools.config import Settings
from tarsier_tools.errors import UsageError, VideoUnreadable
from tarsier_tools.grounding import carried
from tarsier_tools.languages import Language
from tarsier_tools.locating.calibration import fingerprint
from tarsier_tools.media import shots
from tarsier_tools.media.clips import ClipSpec, DecodedClip, asked_range, largest_gap
from tarsier_tools.media.source import Source
from tarsier_tools.results import Coverage, Segment, Timeline, TimeRange, Timings, VideoInfo
from tarsier_tools.text import clean_line, format_time
from tarsier_tools.timelines.chapters import chapters
from tarsier_tools.timelines.journal import Journal, R, Stretch
from tarsier_tools.timelines.segments import MAX_SEGMENT_S, Segmentation, divide, lengths
from tarsier_tools.types import Completion, Partial, Progress, Request, Usage
from tarsier_tools.workbench import Workbench

_FOLDER = "timelines"
TOGETHER = 8
"""Segments that a model describes at once, but on a CPU, where one at a time is as fast and loses less."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked for, checked already; see :meth:`~tarsier_tools.service.VideoService.timeline`."""

    spec: ClipSpec
    """The range, and how each segment in it is shown."""
    language: Language
    segmentation: Segmentation
    lengths_s: tuple[float, float]
    """Of a segment: the shortest and the longest."""
    max_new_tokens: int
    summarize: bool = False
    resume: bool = True

    @classmethod
    def of_all(cls, settings: Settings, language: str | None) -> Wanted:
        """The whole of a video by the defaults of the service."""
        return cls(
            ClipSpec(None, None, settings.frames, "time", None, settings.max_pixels),
            arguments.language(language, settings.language),
            "auto",
            lengths(None, MAX_SEGMENT_S),
            settings.max_new_tokens,
        )


class Cuts(Stretch):
    """The cuts in a stretch of a video, seconds."""

    cuts: tuple[float, ...]


class Described(Stretch):
    """A segment that a model has described, and what it was shown."""

    text: str
    finish_reason: Literal["stop", "length"]
    frame_times_s: tuple[float, ...]
    frame_indices: tuple[int, ...]
    frame_size: tuple[int, int]
    skipped: tuple[str, ...]
    caution: str = ""


class Batch(NamedTuple):
    """Segments that a model has described together, with what that took."""

    records: list[Described]
    usages: list[Usage]
    model_s: float


def describe(bench: Workbench, video: str | Path, wanted: Wanted, on_progress: Progress) -> Timeline:
    """The timeline of a video, or of a range of it.

    Raises VideoError and BackendError and their kinds; UsageError when PySceneDetect is asked for and is not
    there, when there would be too many segments, or when nothing can be kept in ``settings.cache_dir``.
    """
    return _Work(bench, video, wanted, on_progress).run()


def describe_stretches(
    bench: Workbench,
    source: Source,
    wanted: Wanted,
    prompt: str,
    stretches: Sequence[TimeRange],
    on_progress: Progress,
    *,
    resumed: bool = False,
) -> Iterator[Batch]:
    """Stretches of one video, each as soon as it is described; one that cannot be decoded is left out.

    Raises VideoUnreadable when not one can be decoded, unless ``resumed``: others were in an earlier run;
    BackendError and its kinds.
    """
    backend = bench.backend(on_progress)
    specs = [replace(wanted.spec, start_s=each.start_s, end_s=each.end_s) for each in stretches]
    together = 1 if backend.info.device == "cpu" else TOGETHER
    clips = _those_that_decode(bench.windows(source, specs, on_progress), resumed=resumed)
    while batch := list(islice(clips, together)):
        began = time.perf_counter()
        requests = [Request(clip.clip, prompt, max_new_tokens=wanted.max_new_tokens) for _, clip in batch]
        completions = backend.generate(requests, on_progress=on_progress)
        model_s = time.perf_counter() - began
        described = zip(batch, completions, strict=True)
        records = [_record(stretches[number], clip, completion) for (number, clip), completion in described]
        yield Batch(records, [completion.usage for completion in completions], model_s)


def describer(backend: Backend, prompt: str, wanted: Wanted, settings: Settings) -> dict[str, object]:
    """All that the text of a segment depends on but the video, and whether there may be one at all."""
    spec, info = wanted.spec, backend.info
    return {
        "model": [info.name, info.backend, info.revision, info.dtype, fingerprint(info)],
        "prompt": prompt,
        "shown": [spec.frames, spec.sampling, spec.fps, spec.max_pixels],
        "max_new_tokens": wanted.max_new_tokens,
        "anyway": settings.anyway,
    }


def looks_for_cuts(wanted: Wanted, asked: TimeRange) -> tuple[bool, str]:
    """(whether cuts are to be looked for, why they cannot be although they should).

    Raises UsageError when they are asked for by name and cannot be looked for.
    """
    if wanted.segmentation == "windows":
        return False, ""
    if problem := shots.missing_detector():
        if wanted.segmentation == "shots":
            raise UsageError(f"Cuts cannot be looked for: {problem}.", hint="Or use segmentation='windows'.")
        return False, f"The segments are even, as cuts cannot be looked for: {problem}."
    return asked.duration_s >= 2 * wanted.lengths_s[0], ""  # in a shorter range no cut would count


class _Work:
    """One call: what it is about, and what it has cost so far."""

    def __init__(self, bench: Workbench, video: str | Path, wanted: Wanted, on_progress: Progress) -> None:
        self._began = time.perf_counter()
        self._bench, self._wanted, self._on_progress = bench, wanted, on_progress
        self._source: Source = bench.resolve(video, on_progress)
        self._info: VideoInfo = bench.decoding.info(self._source)
        self._asked, self._notes = asked_range(wanted.spec, self._info)
        self._content = bench.content(self._source, on_progress)
        self._usages: list[Usage] = []
        self._model_s = 0.0

    def run(self) -> Timeline:
        wanted = self._wanted
        warnings: list[str] = []
        cuts = self._cuts(warnings)
        stretches = divide(self._asked, cuts, *wanted.lengths_s)
        opened = time.perf_counter()
        backend = self._bench.backend(self._on_progress)
        prompt = prompts.caption(wanted.language, image=self._info.frame_count == 1)
        self._model_s += time.perf_counter() - opened
        journal = self._journal(Described, describer(backend, prompt, self._wanted, self._bench.settings))
        left = [each for each in stretches if journal.get(each.start_s, each.end_s) is None]
        for each in stretches:
            if (known := journal.get(each.start_s, each.end_s)) is not None:
                self._on_progress(len(stretches) - len(left), len(stretches), _so_far(known))
        self._describe(prompt, journal, stretches, left)

        found = [journal.get(each.start_s, each.end_s) for each in stretches]
        described = [each for each in found if each is not None]
        missing = [each for each, record in zip(stretches, found, strict=True) if record is None]
        segments = tuple(
            Segment(start_s=each.start_s, end_s=each.end_s, text=each.text) for each in described
        )
        coverage = self._coverage(described, missing)
        now = time.perf_counter()
        return Timeline(
            segments=segments,
            segmentation="shots" if {each.start_s for each in stretches[1:]} & {*cuts} else "windows",
            chapters=chapters(segments, wanted.language) if wanted.summarize else (),
            resumed_segments=len(stretches) - len(left),
            **carried(
                given=self._source.given,
                coverage=coverage,
                backend=backend,
                language=wanted.language,
                prompt=prompt,
                usages=self._usages,
                timings=Timings(
                    video_s=now - self._began - self._model_s,
                    model_s=self._model_s,
                    total_s=now - self._began,
                    clip_cached=False,
                    prefix_cached=any(usage.cached_tokens for usage in self._usages[:1]),
                ),
                warnings=(*coverage.skipped, *warnings, *_reply_warnings(described)),
                cautions=(each.caution for each in described),
            ),
        )

    def _cuts(self, warnings: list[str]) -> list[float]:
        """All cuts in the range, ascending; from the journal those that are known."""
        look, warning = looks_for_cuts(self._wanted, self._asked)
        if warning:
            warnings.append(warning)
        if not look:
            return []
        journal = self._journal(Cuts, {"detector": shots.DETECTOR})
        stretches = shots.stretches(self._asked)
        left = [each for each in stretches if journal.get(each.start_s, each.end_s) is None]
        for stretch, cuts in self._bench.decoding.cuts(self._source, left, self._on_progress):
            journal.add(Cuts(start_s=stretch.start_s, end_s=stretch.end_s, cuts=cuts))
        known = (journal.get(each.start_s, each.end_s) for each in stretches)
        return [cut for each in known if each is not None for cut in each.cuts]

    def _describe(
        self,
        prompt: str,
        journal: Journal[Described],
        stretches: Sequence[TimeRange],
        left: Sequence[TimeRange],
    ) -> None:
        """Have every segment described that is not in the journal, and put it there."""
        total = len(stretches)
        done = total - len(left)

        def tell(*_: object) -> None:
            self._on_progress(done, total, f"describing segment {min(done + 1, total)} of {total}")

        tell()
        for batch in describe_stretches(
            self._bench, self._source, self._wanted, prompt, left, tell, resumed=bool(done)
        ):
            self._model_s += batch.model_s
            self._usages += batch.usages
            for record in batch.records:
                journal.add(record)
                done += 1
                self._on_progress(done, total, _so_far(record))
            tell()

    def _journal(self, kind: type[R], parameters: dict[str, object]) -> Journal[R]:
        key = {
            "content": self._content,
            "kind": kind.__name__,
            "decoder": self._bench.settings.decoder,
            "hdr": self._bench.settings.hdr,
            "pixel_aspect": self._bench.settings.pixel_aspect,
            "version": tarsier_tools.__version__,
            **parameters,
        }
        return Journal(self._bench.settings.cache_dir / _FOLDER, key, kind, keep=self._wanted.resume)

    def _coverage(self, described: Sequence[Described], missing: Sequence[TimeRange]) -> Coverage:
        """What the model was shown of the range, in this run and in those before."""
        frames = dict(
            sorted(
                (index, time_s)
                for each in described
                for index, time_s in zip(each.frame_indices, each.frame_times_s, strict=True)
            )
        )
        notes = dict.fromkeys([*self._notes, *(note for each in described for note in each.skipped)])
        return Coverage(
            video_duration_s=self._info.duration_s,
            asked=self._asked,
            frame_times_s=tuple(frames.values()),
            frame_indices=tuple(frames),
            frame_size=described[0].frame_size,
            largest_gap_s=largest_gap(self._asked, frames.values()),
            sampling=self._wanted.spec.sampling,
            decoder=self._info.decoder,
            offset_s=self._info.offset_s,
            adjusted=self._info.adjusted,
            skipped=(*notes, *_missing_note(missing)),
        )


def _record(stretch: TimeRange, clip: DecodedClip, completion: Completion) -> Described:
    coverage = clip.coverage
    return Described(
        start_s=stretch.start_s,
        end_s=stretch.end_s,
        text=completion.text.strip(),
        finish_reason=completion.finish_reason,
        frame_times_s=coverage.frame_times_s,
        frame_indices=coverage.frame_indices,
        frame_size=coverage.frame_size,
        skipped=coverage.skipped,
        caution=completion.caution,
    )


def _those_that_decode(
    clips: Iterator[tuple[int, DecodedClip]], *, resumed: bool
) -> Iterator[tuple[int, DecodedClip]]:
    """The clips. That not one can be decoded is no error when others were in an earlier run."""
    some = False
    try:
        for clip in clips:
            some = True
            yield clip
    except VideoUnreadable:
        if some or not resumed:
            raise


def _missing_note(missing: Sequence[TimeRange], most: int = 5) -> Iterator[str]:
    if missing:
        spans = ", ".join(f"{format_time(each.start_s)}-{format_time(each.end_s)}" for each in missing[:most])
        more = f" and {len(missing) - most} more" if len(missing) > most else ""
        count = "1 segment" if len(missing) == 1 else f"{len(missing)} segments"
        yield f"{count} could not be decoded and are left out: {spans}{more}."


def _so_far(record: Described) -> Partial:
    """A segment as one line, told as soon as it is described."""
    times = f"{format_time(record.start_s)}-{format_time(record.end_s)}"
    return Partial(f"{times} {clean_line(record.text)}")


def _reply_warnings(described: Sequence[Described]) -> Iterator[str]:
    cut = sum(each.finish_reason == "length" for each in described)
    if cut:
        yield f"{cut} of {len(described)} captions were cut; max_new_tokens allows for more."
    empty = sum(not each.text for each in described)
    if empty:
        yield f"The model wrote nothing about {empty} of {len(described)} segments."
