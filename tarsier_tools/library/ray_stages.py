"""What the workers of a Ray job do: recognise a video, plan it, describe its segments, complete it, embed.

Nothing here knows Ray or the library: each stage takes rows and gives rows, and what is wrong with one video
is a row too. A row has one column, ``item``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np

import tarsier_tools
from tarsier_tools import prompts
from tarsier_tools.config import Settings
from tarsier_tools.errors import TarsierError, UsageError, VideoUnreadable
from tarsier_tools.library import describing
from tarsier_tools.library.embedders import Embedder
from tarsier_tools.media import shots
from tarsier_tools.media.clips import asked_range
from tarsier_tools.passages import caption_passages
from tarsier_tools.results import Segment, TimeRange
from tarsier_tools.service import VideoService
from tarsier_tools.timelines.describe import (
    Described,
    Wanted,
    describe_stretches,
    describer,
    looks_for_cuts,
)
from tarsier_tools.timelines.segments import divide
from tarsier_tools.types import no_progress
from tarsier_tools.workbench import Workbench

Rows = Mapping[str, Any]
"""A row, or a batch of rows, by column."""
Spread = Callable[[Sequence[tuple[Any, ...]]], list[Any]]
"""Runs one function with each of these arguments, anywhere, and gives what it returned, in their order."""

_PART = 10
"""Stretches, of a minute each, that one worker looks for cuts in."""


@dataclass(frozen=True)
class Job:
    """What every worker is told."""

    settings: Settings
    language: str | None
    version: str = tarsier_tools.__version__

    def check(self) -> None:
        """Raises UsageError where another version is installed than on the machine that began the job."""
        if self.version != tarsier_tools.__version__:
            raise UsageError(
                f"A node has tarsier-tools {tarsier_tools.__version__}, not {self.version}.",
                hint="Install the same version on all nodes, for example with a runtime_env.",
            )


class Kept(Described):
    """A described segment as the driver keeps it."""

    model: str
    """The name of the model."""
    describer: str
    """A hash of all that the text depends on but the video."""


@dataclass(frozen=True, slots=True)
class Identified:
    """A source and the hex SHA-256 of its bytes."""

    source: str
    content: str


@dataclass(frozen=True, slots=True)
class Video:
    """A video to be described, with what an earlier run has found out."""

    source: str
    content: str
    stretches: tuple[TimeRange, ...] = ()
    kept: tuple[Kept, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """The segments that a video is divided into."""

    content: str
    stretches: tuple[TimeRange, ...]


@dataclass(frozen=True, slots=True)
class Piece:
    """A segment to be described, with its description by an earlier run, if any."""

    source: str
    content: str
    stretch: TimeRange
    kept: Kept | None


@dataclass(frozen=True, slots=True)
class Done:
    """A segment that is described, in this run or (``again``) in an earlier one."""

    content: str
    kept: Kept
    again: bool


@dataclass(frozen=True, slots=True)
class Missing:
    """A segment that cannot be decoded."""

    content: str
    stretch: TimeRange
    error: TarsierError


@dataclass(frozen=True, slots=True)
class Failed:
    """A video that cannot be taken in, and why; its content is "" while that is not known."""

    source: str
    content: str
    error: TarsierError


def identify(row: Rows, job: Job) -> dict[str, Any]:
    """A source as Identified or Failed."""
    source = row["item"]
    try:
        job.check()
        with VideoService(job.settings) as service:
            return {"item": Identified(source, service.identify(source))}
    except TarsierError as error:
        return {"item": Failed(source, "", error)}


def plan(row: Rows, job: Job, spread: Spread) -> Iterator[dict[str, Any]]:
    """A Video as a Plan and its Pieces, or as Failed.

    Args:
        spread: runs calls of :func:`cuts`, of which a long video needs several.
    """
    video: Video = row["item"]
    try:
        job.check()
        stretches = video.stretches or _stretches(video.source, job, spread)
    except TarsierError as error:
        yield {"item": Failed(video.source, video.content, error)}
        return
    yield {"item": Plan(video.content, stretches)}
    kept = {(each.start_s, each.end_s): each for each in video.kept}
    for each in stretches:
        yield {"item": Piece(video.source, video.content, each, kept.get((each.start_s, each.end_s)))}


def _stretches(video: str, job: Job, spread: Spread) -> tuple[TimeRange, ...]:
    wanted = Wanted.of_all(job.settings, job.language)
    with closing(Workbench(job.settings)) as bench:
        asked, _ = asked_range(wanted.spec, bench.decoding.info(bench.resolve(video, no_progress)))
    looks, _ = looks_for_cuts(wanted, asked)
    parts = shots.stretches(asked) if looks else ()
    calls = [(video, parts[first : first + _PART], job) for first in range(0, len(parts), _PART)]
    found: list[float] = []
    for some in spread(calls) if len(calls) > 1 else [cuts(*call) for call in calls]:
        if isinstance(some, TarsierError):
            raise some
        found += some
    return divide(asked, found, *wanted.lengths_s)


def cuts(video: str, parts: Sequence[TimeRange], job: Job) -> list[float] | TarsierError:
    """The cuts in some stretches of a video, seconds, ascending."""
    try:
        with closing(Workbench(job.settings)) as bench:
            source = bench.resolve(video, no_progress)
            return [cut for _, some in bench.decoding.cuts(source, parts, no_progress) for cut in some]
    except TarsierError as error:
        return error


class Describer:
    """Describes Pieces with a model, opened with the first of them; lets all else pass."""

    def __init__(self, job: Job) -> None:
        self._job, self._bench = job, Workbench(job.settings)
        self._wanted = Wanted.of_all(job.settings, job.language)

    def __call__(self, rows: Rows) -> dict[str, Any]:
        items = list(rows["item"])
        pieces = [each for each in items if isinstance(each, Piece)]
        told: list[object] = [each for each in items if not isinstance(each, Piece)]
        for source, some in groupby(pieces, lambda piece: piece.source):
            told += self._of_one(source, list(some))
        return column(told)

    def _of_one(self, video: str, pieces: Sequence[Piece]) -> Iterator[Done | Missing | Failed]:
        content = pieces[0].content
        left = {(each.stretch.start_s, each.stretch.end_s): each for each in pieces}
        try:
            self._job.check()
            source = self._bench.resolve(video, no_progress)
            image = self._bench.decoding.info(source).frame_count == 1
            prompt = prompts.caption(self._wanted.language, image=image)
            backend = self._bench.backend(no_progress)
            key = json.dumps(describer(backend, prompt, self._wanted, self._job.settings), sort_keys=True)
            mine = hashlib.sha256(key.encode()).hexdigest()
            for place, piece in list(left.items()):
                if piece.kept is not None and piece.kept.describer == mine:
                    del left[place]
                    yield Done(content, piece.kept, again=True)
            stretches = [each.stretch for each in left.values()]
            for batch in (
                describe_stretches(self._bench, source, self._wanted, prompt, stretches, no_progress)
                if stretches
                else ()
            ):
                for record in batch.records:
                    del left[record.start_s, record.end_s]
                    kept = Kept(**record.model_dump(), model=backend.info.name, describer=mine)
                    yield Done(content, kept, again=False)
            unread = VideoUnreadable("No frame of it can be decoded.", hint="Check the file.")
        except VideoUnreadable as error:
            unread = error
        except TarsierError as error:
            yield Failed(video, content, error)
            return
        for piece in left.values():
            yield Missing(content, piece.stretch, unread)


def complete(video: Video, segments: Sequence[Kept], job: Job) -> describing.Described | TarsierError:
    """All that a library keeps of a video whose segments are described, in the order of time."""
    try:
        with VideoService(job.settings) as service:
            captions = caption_passages(
                video.content,
                video.source,
                service.info(video.source).duration_s,
                [Segment(start_s=each.start_s, end_s=each.end_s, text=each.text) for each in segments],
                language=Wanted.of_all(job.settings, job.language).language,
                model=segments[0].model,
                caution=next((each.caution for each in segments if each.caution), ""),
            )
            return describing.complete(
                service, video.source, captions, language=job.language, on_progress=no_progress
            )
    except TarsierError as error:
        return error


class Embedding:
    """Makes vectors of texts: (number, texts) becomes (number, vectors)."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder

    def __call__(self, rows: Rows) -> dict[str, Any]:
        return column([(number, self._embedder.passages(texts)) for number, texts in rows["item"]])


def column(items: Sequence[object]) -> dict[str, Any]:
    """Rows of any objects: NumPy is not to look into them."""
    made = np.empty(len(items), object)
    for place, item in enumerate(items):
        made[place] = item
    return {"item": made}
