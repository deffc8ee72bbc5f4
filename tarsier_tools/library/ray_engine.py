"""Taking videos into a library on Ray: recognised, planned and described by many workers at once.

The driver alone reads and writes the library, and keeps every segment in a journal as it comes in, so that a
run that is killed goes on with the segments that are missing. What comes out is what
:class:`~tarsier_tools.library.indexing.Indexer` makes, row by row.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from tarsier_tools.backends import choose_backend
from tarsier_tools.errors import BackendFailed, TarsierError
from tarsier_tools.library import ray_stages as stages
from tarsier_tools.library.describing import Described
from tarsier_tools.library.indexing import Added, Indexer, duration, stamp_of
from tarsier_tools.library.ray_cluster import CPUS, TICK_S, Cluster, RayEngine, connected
from tarsier_tools.library.ray_work import Work
from tarsier_tools.timelines.describe import TOGETHER
from tarsier_tools.types import Progress

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tarsier_tools.library.embedders import Embedder
    from tarsier_tools.library.stores import Store
    from tarsier_tools.service import VideoService

TEXTS = 20_000
"""Texts that are embedded in one pass, and lost when it is killed."""
_TEXTS_TOGETHER = 128
"""Of them, those that a worker is given at once."""
_WAITING = 64
"""Videos that are being completed at once: their pictures wait in memory."""


class RayIndexer:
    """Takes videos into a store, many at a time, as :class:`Indexer` takes them in one after the other.

    Ray is reached when it is first needed, and left at the end of the ``with`` block, which raises what
    :func:`~tarsier_tools.library.ray_cluster.connected` raises.
    """

    def __init__(
        self, store: Store, service: VideoService, engine: RayEngine, *, language: str | None
    ) -> None:
        self._store, self._engine = store, engine
        self._indexer = Indexer(store, service, language=language)
        self._job = stages.Job(service.settings, language)
        self._stack = ExitStack()
        self._connected: Cluster | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return self._stack.__exit__(kind, error, trace)

    def add(self, sources: Sequence[str], *, retry_failed: bool, on_progress: Progress) -> Added:
        """Take them in. What fails is noted and does not stop the others; Cancelled does."""
        became: dict[str, str] = {}
        unread: dict[str, str] = {}  # and the stamps
        for source in sources:
            stamp = stamp_of(source)
            if outcome := self._indexer.untouched(source, stamp, retry_failed=retry_failed):
                became[source] = outcome
            else:
                unread[source] = stamp
        if unread:
            run = _Run(self._cluster(on_progress), self._store, self._indexer, self._job, unread, on_progress)
            run.describe(run.identify())
            became |= run.became
        on_progress(len(sources), len(sources), "done")
        return Added(
            **{name: tuple(each for each in sources if became[each] == name) for name in Added.model_fields}
        )

    def embedder(self, embedder: Embedder | None, on_progress: Progress) -> Embedder | None:
        """The same embedder, at work on the cluster."""
        return None if embedder is None else _Embedder(embedder, partial(self._cluster, on_progress))

    def _cluster(self, on_progress: Progress) -> Cluster:
        if self._connected is None:
            on_progress(0, 1, "starting Ray")
            settings = self._job.settings
            on_gpu = choose_backend(settings)[0] == "local" and settings.device != "cpu"
            self._connected = self._stack.enter_context(connected(self._engine, gpu_model=on_gpu))
        return self._connected


class _Run:
    """One call of ``add``.

    Attributes:
        became: a field of Added for each source.
    """

    def __init__(
        self,
        cluster: Cluster,
        store: Store,
        indexer: Indexer,
        job: stages.Job,
        stamps: Mapping[str, str],
        on_progress: Progress,
    ) -> None:
        self._cluster, self._store, self._indexer, self._job = cluster, store, indexer, job
        self._stamps, self._on_progress = stamps, on_progress
        self.became: dict[str, str] = {}

    def identify(self) -> dict[str, list[str]]:
        """The sources that are to be described, by their content; what is known is dealt with."""
        fresh: dict[str, list[str]] = {}
        total = len(self._stamps)

        def tell() -> None:
            self._on_progress(0, total, f"recognising videos {len(found)}/{total}")

        dataset = self._cluster.dataset(list(self._stamps))
        dataset = dataset.map(stages.identify, fn_kwargs={"job": self._job}, num_cpus=CPUS)
        found: dict[str, stages.Identified | stages.Failed] = {}
        for item in self._cluster.rows(dataset, tell):
            found[item.source] = item
        for source, stamp in self._stamps.items():
            item = found.get(source)
            if not isinstance(item, stages.Identified):
                self._fail([source], item.error if item is not None else _lost("it was read"))
            elif outcome := self._indexer.recognised(source, stamp, item.content):
                self.became[source] = outcome
            else:
                fresh.setdefault(item.content, []).append(source)
        return fresh

    def describe(self, fresh: Mapping[str, Sequence[str]]) -> None:
        """Have them described, and take each into the library as soon as it is complete."""
        if not fresh:
            return
        works = {content: Work(content, sources, self._job) for content, sources in fresh.items()}
        described = self._described_pieces(works)
        began, completing = time.monotonic(), dict[Any, Work]()
        completed = self._cluster.task(stages.complete)

        def tell() -> None:
            done = sum(work.over for work in works.values())
            self._on_progress(done, len(works), _how_far(works, time.monotonic() - began))

        for item in self._cluster.rows(described, tell):
            work = works[item.content]
            work.take(item)
            if work.error is not None and not work.over:
                self._over(work, work.error)
            elif work.complete and not work.completing:
                work.completing = True
                completing[completed(work.video(), work.segments(), self._job)] = work
            self._collect(completing, TICK_S if len(completing) > _WAITING else 0)
        while completing:
            tell()
            self._collect(completing, TICK_S)
        for work in works.values():
            if not work.over:
                self._over(work, _lost("its segments were described"))

    def _described_pieces(self, works: Mapping[str, Work]) -> Any:
        """The dataset of all that there is to describe, segment by segment."""
        cluster = self._cluster
        shared = choose_backend(self._job.settings)[0] == "remote" or cluster.on_gpu
        planned = cluster.dataset([work.video() for work in works.values()]).flat_map(
            stages.plan, fn_kwargs={"job": self._job, "spread": cluster.spread(stages.cuts)}, num_cpus=CPUS
        )
        together, threads = (TOGETHER, 2) if shared else (1, 1)  # one decodes while the other waits
        return cluster.on_actors(
            planned, stages.Describer, {"job": self._job}, together=together, threads=threads, gpu=True
        )

    def _collect(self, completing: dict[Any, Work], timeout_s: float) -> None:
        """Take videos that are complete into the library."""
        for reference in self._cluster.finished(list(completing), timeout_s):
            work = completing.pop(reference)
            result = self._cluster.result(reference, or_else=_lost("its pictures were taken"))
            self._over(work, result)

    def _over(self, work: Work, result: Described | TarsierError) -> None:
        """A video is described, or not to be had."""
        work.over = True
        if isinstance(result, TarsierError):
            self._fail(work.sources, result)
            return
        first, *others = work.sources
        self._indexer.put(first, self._stamps[first], work.content, result)
        self.became[first] = "described"
        for source in others:
            self.became[source] = self._indexer.recognised(source, self._stamps[source], work.content)
        work.forget()

    def _fail(self, sources: Sequence[str], error: TarsierError) -> None:
        for source in sources:
            self._store.put_failure(source, self._stamps[source], error)
            self.became[source] = "failed"


class _Embedder:
    """An embedder whose passages many workers make."""

    def __init__(self, embedder: Embedder, cluster: Callable[[], Cluster]) -> None:
        self.name, self.query = embedder.name, embedder.query
        self._embedder, self._cluster = embedder, cluster

    def passages(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors of texts, float32 (texts, dimensions)."""
        cluster = self._cluster()
        parts = [
            (first, texts[first : first + _TEXTS_TOGETHER]) for first in range(0, len(texts), _TEXTS_TOGETHER)
        ]
        dataset = cluster.on_actors(cluster.dataset(parts), stages.Embedding, {"embedder": self._embedder})
        made = dict(cluster.rows(dataset, lambda: None))
        if len(made) < len(parts):
            raise _lost("texts were embedded")
        return np.concatenate([made[first] for first, _ in parts])


def _how_far(works: Mapping[str, Work], seconds: float) -> str:
    """How many segments are described, and about how long it takes until all are."""
    planned = [len(work.stretches) for work in works.values() if work.stretches or work.error]
    if not planned:
        return "planning segments"
    total = sum(planned) * len(works) // len(planned)  # going by the videos that are planned
    done = sum(work.done for work in works.values())
    new = sum(work.new for work in works.values())
    text = f"segment {done} of {total if len(planned) == len(works) else f'about {total}'}"
    return f"{text}, about {duration(seconds / new * (total - done))} left" if new else text


def _lost(what: str) -> BackendFailed:
    return BackendFailed(
        f"The workers on Ray died or broke, again and again, while {what}.",
        hint="Ray's logs say why: often memory, a package that a node lacks, or a damaged file "
        "(TARSIER_ISOLATE=1 decodes apart). Then add it with --retry-failed: what is done is kept.",
    )
