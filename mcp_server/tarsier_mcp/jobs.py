"""Jobs: every call of a tool is one, whether its caller waits for the end or asks for it later.

A job goes on when the call that began it is answered early, belongs to whoever began it, is joined by an
identical call, and expires some time after its end.
"""

from __future__ import annotations

import contextvars
import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from tarsier_mcp.lanes import Lane, LaneFull
from tarsier_tools import Cancelled, Progress
from tarsier_tools.types import Partial

logger = logging.getLogger(__name__)

Status = Literal["queued", "running", "completed", "failed", "cancelled"]
LaneName = Literal["model", "light", "index"]


@dataclass(frozen=True, slots=True)
class Picture:
    """A JPEG image and what it shows."""

    jpeg: bytes
    caption: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a job ended with.

    Attributes:
        text: the answer in words; it stands for itself.
        result: the same as a JSON object, None for an error.
        pictures: images, where they were asked for.
        is_error: the text says what went wrong, and what to do next.
        retryable: the same call may succeed later without any change.
        unforeseen: the work failed in a way that nobody thought of.
    """

    text: str
    result: dict[str, Any] | None = None
    pictures: tuple[Picture, ...] = ()
    is_error: bool = False
    retryable: bool = False
    unforeseen: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """How far a job is."""

    done: int = 0
    total: int = 0
    message: str = ""


MOST_PARTIAL = 500
"""Lines of a partial result that are kept."""

Perform = Callable[[str, dict[str, Any], Progress], Outcome]
"""Does the work of a tool: name, checked arguments, progress callback. It may raise Cancelled."""


@dataclass(eq=False, slots=True)
class Job:
    """One call of a tool at work. Written to by the store only.

    Attributes:
        owner: who began it; nobody else is told that it exists.
        key: what an identical call has too; "" for a job that is never joined.
        kept: its id was given out, so that it goes on when nobody waits for it.
        partial: lines of the result that are known already, the newest MOST_PARTIAL of them.
        changed_at: of the last step, by ``time.time``; ``finished_at`` is None until the end.
    """

    id: str
    owner: str
    tool: str
    arguments: dict[str, Any]
    lane: LaneName
    key: str = ""
    created_at: float = field(default_factory=time.time)
    status: Status = "queued"
    step: Step = Step()
    partial: tuple[str, ...] = ()
    outcome: Outcome | None = None
    kept: bool = False
    waiters: int = 0
    changed_at: float = field(default_factory=time.time)
    started_at: float | None = None
    finished_at: float | None = None
    stop: threading.Event = field(default_factory=threading.Event)
    context: contextvars.Context = field(default_factory=contextvars.copy_context)
    listeners: list[Callable[[], None]] = field(default_factory=list)

    @property
    def done(self) -> bool:
        return self.finished_at is not None


class UnknownJob(Exception):
    """There is no such job, not any more, or it belongs to somebody else: nobody is told which."""


class Busy(Exception):
    """Too much is waiting already."""


class JobStore:
    """All jobs of a server. Safe to use from any thread.

    Args:
        perform: does the work.
        model_workers: jobs that use the model at the same time.
        waiting: jobs that may wait in each queue.
        keep_s: how long a job is kept after its end.
        keep_jobs: finished jobs that are kept at most; the oldest go first.
        longest_s: a job that has worked for longer is stopped at its next step, but for those that fill a
            library: what they have done is kept.
        on_change: told of jobs that are to outlive the process, whenever they begin or end, and of those
            that are forgotten (with True).
    """

    def __init__(
        self,
        perform: Perform,
        *,
        model_workers: int = 1,
        waiting: int = 256,
        keep_s: float = 3600.0,
        keep_jobs: int = 256,
        longest_s: float = 6 * 3600.0,
        on_change: Callable[[Job, bool], None] | None = None,
    ) -> None:
        self._perform = perform
        self._keep_s = keep_s
        self._keep_jobs = keep_jobs
        self._longest_s = longest_s
        self._on_change = on_change or _tell_nobody
        self._lock = threading.RLock()
        self._jobs: dict[str, Job] = {}
        self._by_key: dict[tuple[str, str], Job] = {}
        self._closing = False
        self._lanes: dict[LaneName, Lane[Job]] = {
            "model": Lane("model", self._work, workers=model_workers, waiting=waiting),
            "light": Lane("light", self._work, workers=4, waiting=waiting),
            "index": Lane(
                "index", self._work, workers=1, waiting=waiting
            ),  # for hours: nobody waits behind it
        }

    @property
    def keep_s(self) -> float:
        return self._keep_s

    def start(
        self, owner: str, tool: str, arguments: dict[str, Any], *, lane: LaneName, key: str = ""
    ) -> Job:
        """Begin a job, or join the owner's job of the same key that is at work or has succeeded.

        The caller is counted as waiting for it; see :meth:`leave`. Raises Busy when the queue is full.
        """
        with self._lock:
            self._sweep()
            same = self._by_key.get((owner, key)) if key else None
            if same is not None and same.status not in ("failed", "cancelled") and not same.stop.is_set():
                same.waiters += 1
                return same
            job = Job(secrets.token_urlsafe(18), owner, tool, arguments, lane, key, waiters=1)
            self._add(job)
        return job

    def revive(self, job: Job) -> None:
        """Take in a job of an earlier process; one that had not ended begins anew."""
        with self._lock:
            if job.done:
                self._jobs[job.id] = job
                if job.key:
                    self._by_key[job.owner, job.key] = job
            else:
                self._add(job)

    def get(self, job_id: str, owner: str | None) -> Job:
        """The job of this id; ``owner`` None may see everybody's.

        Raises UnknownJob.
        """
        with self._lock:
            self._sweep()
            job = self._jobs.get(job_id)
            if job is None or owner not in (None, job.owner):
                raise UnknownJob
            return job

    def finished(self, owner: str, tool: str) -> list[Job]:
        """The owner's jobs of a tool that have succeeded, the newest first."""
        with self._lock:
            self._sweep()
            found = [
                job
                for job in self._jobs.values()
                if job.owner == owner and job.tool == tool and job.status == "completed"
            ]
        return sorted(found, key=lambda job: job.finished_at or 0.0, reverse=True)

    def ahead_of(self, job: Job) -> int:
        """How many jobs come before this one."""
        return self._lanes[job.lane].ahead_of(job)

    def keep(self, job: Job) -> None:
        """The job's id is given out: it goes on whether somebody waits for it or not."""
        with self._lock:
            if job.kept:
                return
            job.kept = True
        self._on_change(job, False)

    def leave(self, job: Job) -> None:
        """One who waited for the job does so no longer. What nobody waits or can ask for stops."""
        with self._lock:
            job.waiters -= 1
            abandoned = job.waiters <= 0 and not job.kept and not job.done
        if abandoned:
            self.cancel(job)

    def cancel(self, job: Job) -> None:
        """Stop the job: at once when it is waiting, else at its next step."""
        job.stop.set()
        if self._lanes[job.lane].drop(job):
            self._finish(job, "cancelled", Outcome("Cancelled before it began.", is_error=True))

    def forget(self, job: Job) -> None:
        """Drop the job and what it ended with."""
        with self._lock:
            self._jobs.pop(job.id, None)
            if self._by_key.get((job.owner, job.key)) is job:
                del self._by_key[job.owner, job.key]
        if job.kept:
            self._on_change(job, True)

    @contextmanager
    def told(self, job: Job, listener: Callable[[], None]) -> Iterator[None]:
        """``listener`` is called once at the end of the job, from any thread, at once if that is past."""
        with self._lock:
            done = job.done
            if not done:
                job.listeners.append(listener)
        if done:
            listener()
        try:
            yield
        finally:
            with self._lock:
                if listener in job.listeners:
                    job.listeners.remove(listener)

    def close(self, timeout_s: float = 5.0) -> bool:
        """Stop all work and wait for it; True when all of it ended. Kept jobs stay unfinished on disk."""
        with self._lock:
            self._closing = True
            jobs = [job for job in self._jobs.values() if not job.done]
        for job in jobs:
            job.stop.set()
        ended = [lane.close(timeout_s) for lane in self._lanes.values()]
        return all(ended)

    def _add(self, job: Job) -> None:
        self._jobs[job.id] = job
        if job.key:
            self._by_key[job.owner, job.key] = job
        try:
            self._lanes[job.lane].put(job)
        except LaneFull:
            self.forget(job)
            raise Busy from None

    def _work(self, job: Job) -> None:
        """Do a job, in a thread of its lane."""
        with self._lock:
            job.status, job.started_at, job.changed_at = "running", time.time(), time.time()
        began = time.monotonic()

        def on_progress(done: int, total: int, message: str) -> None:
            if job.stop.is_set():
                raise Cancelled("Stopped, as asked.")
            if job.lane != "index" and time.monotonic() - began > self._longest_s:
                raise Cancelled(
                    f"Stopped after {self._longest_s:.0f} s, the longest that a job may take.",
                    hint="Ask for a shorter range of the video.",
                )
            job.step, job.changed_at = Step(done, total, message), time.time()
            if isinstance(message, Partial):
                job.partial = (*job.partial, str(message))[-MOST_PARTIAL:]

        status: Status
        try:
            outcome = job.context.run(self._perform, job.tool, job.arguments, on_progress)
            status = "failed" if outcome.is_error else "completed"
        except Cancelled as error:
            outcome, status = Outcome(str(error), is_error=True), "cancelled"
        except Exception:
            logger.exception("The tool %s failed in a way that nobody thought of", job.tool)
            outcome, status = _UNFORESEEN, "failed"
        self._finish(job, status, outcome)

    def _finish(self, job: Job, status: Status, outcome: Outcome) -> None:
        with self._lock:
            job.outcome, job.status = outcome, status
            job.finished_at = job.changed_at = time.time()
            listeners, job.listeners = job.listeners, []
            stays = job.kept and not (self._closing and status == "cancelled")
        if stays:  # what a shutdown cut short begins anew when the server is back
            self._on_change(job, False)
        for listener in listeners:
            listener()

    def _sweep(self) -> None:
        """Forget what has expired, and of what has not the oldest when there is too much."""
        now = time.time()
        ended = sorted(
            (job for job in self._jobs.values() if job.finished_at is not None and job.waiters <= 0),
            key=lambda job: job.finished_at or 0.0,
        )
        too_many = len(ended) - self._keep_jobs
        for number, job in enumerate(ended):
            if number < too_many or now - (job.finished_at or now) > self._keep_s:
                self.forget(job)


def _tell_nobody(_: Job, __: bool) -> None:
    """The ``on_change`` of a store whose jobs die with it."""


_UNFORESEEN = Outcome(
    "Something went wrong inside the server that should not have. The server's log tells more; "
    "the same call may work on another range of the video.",
    is_error=True,
    unforeseen=True,
)
