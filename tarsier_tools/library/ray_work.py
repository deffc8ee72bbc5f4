"""One video on its way through a Ray job, and what is kept of it until it is in the library."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import tarsier_tools
from tarsier_tools.errors import TarsierError
from tarsier_tools.library.ray_stages import Done, Failed, Job, Kept, Missing, Plan, Video
from tarsier_tools.media import shots
from tarsier_tools.results import TimeRange
from tarsier_tools.timelines.journal import Journal, Stretch

_FOLDER = "ray"


class Planned(Stretch):
    """The segments of a video, by where they begin, and where the last one ends."""

    edges: tuple[float, ...]


class Work:
    """What is known of a video so far; the plan and each description are on the disk at once.

    Attributes:
        sources: where it lies; the first is the one that is read.
        stretches: its segments; empty until they are planned.
        new: those that were described in this run.
        completing: all segments are described, and the rest is being seen to.
        over: it is in the library, or noted as failed.
    """

    def __init__(self, content: str, sources: Sequence[str], job: Job) -> None:
        self.content, self.sources = content, sources
        self.new, self.completing, self.over = 0, False, False
        self._failed: TarsierError | None = None
        self._unread: TarsierError | None = None
        self._done: dict[tuple[float, float], Kept | None] = {}
        settings = job.settings
        key = {
            "content": content,
            "decoder": settings.decoder,
            "hdr": settings.hdr,
            "pixel_aspect": settings.pixel_aspect,
            "version": tarsier_tools.__version__,
        }
        folder = settings.cache_dir / _FOLDER
        self._plans = Journal(folder, {**key, "detector": shots.DETECTOR}, Planned, keep=True)
        self._kept = Journal(folder, {**key, "kind": "segments"}, Kept, keep=True)
        edges = next((each.edges for each in self._plans.records()), ())
        self.stretches = tuple(TimeRange(start_s=start, end_s=end) for start, end in pairwise(edges))

    @property
    def done(self) -> int:
        """Segments that are described, or cannot be decoded."""
        return len(self._done)

    @property
    def complete(self) -> bool:
        """Whether all segments are."""
        return bool(self.stretches) and self.done == len(self.stretches)

    @property
    def error(self) -> TarsierError | None:
        """Why it cannot be taken in; None as far as is known."""
        return self._failed or (self._unread if self.complete and not self.segments() else None)

    def video(self) -> Video:
        """What workers are told of it."""
        return Video(self.sources[0], self.content, self.stretches, tuple(self._kept.records()))

    def segments(self) -> list[Kept]:
        """Those that are described, in the order of time."""
        found = (self._done.get((each.start_s, each.end_s)) for each in self.stretches)
        return [each for each in found if each is not None]

    def take(self, item: Plan | Done | Missing | Failed) -> None:
        """Something that a worker found out about it."""
        match item:
            case Plan(stretches=stretches) if not self.stretches:
                edges = (stretches[0].start_s, *(each.end_s for each in stretches))
                self._plans.add(Planned(start_s=edges[0], end_s=edges[-1], edges=edges))
                self.stretches = stretches
            case Done(kept=kept):
                if not item.again:
                    self._kept.add(kept)
                    self.new += 1
                self._done[kept.start_s, kept.end_s] = kept
            case Missing(stretch=stretch):
                self._done[stretch.start_s, stretch.end_s] = None
                self._unread = item.error
            case Failed():
                self._failed = self._failed or item.error

    def forget(self) -> None:
        """Keep nothing of it any longer."""
        self._plans.remove()
        self._kept.remove()
