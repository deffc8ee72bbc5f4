"""What happens to one call of a tool: checked, queued, followed, answered in time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import anyio
from mcp.server.context import ServerRequestContext
from mcp_types import CallToolResult, RequestId

from tarsier_mcp import replies
from tarsier_mcp.callers import Allowance, Caller, address_of
from tarsier_mcp.clients import ClientLimits, ClientTable
from tarsier_mcp.follow import follow, how_far
from tarsier_mcp.jobs import Busy, Job, JobStore, LaneName, UnknownJob
from tarsier_mcp.tasks import CreateTaskResult, as_task, wants_tasks
from tarsier_tools import TarsierError
from tarsier_tools.text import clean_line

TASK_GRACE_S = 2.0
"""A client that can follow tasks gets one after this long; what is quicker is answered at once."""


@dataclass(frozen=True, slots=True)
class Offer:
    """A tool, as far as calls of it go.

    Attributes:
        lane: of a call with these arguments: "model" for work that needs the model.
        check: gives the arguments back as they are meant, within the client's limits. Raises UsageError.
        identity: what makes two calls the same; "" to never join them. May block.
    """

    name: str
    lane: Callable[[dict[str, Any]], LaneName]
    check: Callable[[dict[str, Any], ClientLimits], dict[str, Any]]
    identity: Callable[[dict[str, Any]], str]


class Calls:
    """Answers calls of tools. Used on one event loop at a time; the work is done in the store's threads."""

    def __init__(self, store: JobStore, clients: ClientTable, allowance: Allowance) -> None:
        self._store = store
        self._clients = clients
        self._allowance = allowance
        self._scopes: dict[tuple[str, RequestId], list[anyio.CancelScope]] = {}

    async def call(
        self, offer: Offer, arguments: dict[str, Any], request: ServerRequestContext[Any, Any]
    ) -> CallToolResult | CreateTaskResult:
        """Do what a tool is asked, or hand out a job when that takes longer than the client waits.

        When the call is cancelled or its connection drops, the work stops, unless its job was handed out or
        another call waits for the same.
        """
        caller = Caller.of(request)
        limits = self._clients.of(caller.client)
        with self._cancellable(request, address_of(request, caller)) as scope:
            return await self._call(offer, arguments, request, caller, limits)
        assert scope.cancelled_caught
        return replies.error("Cancelled.")

    async def _call(
        self,
        offer: Offer,
        arguments: dict[str, Any],
        request: ServerRequestContext[Any, Any],
        caller: Caller,
        limits: ClientLimits,
    ) -> CallToolResult | CreateTaskResult:
        try:
            checked = offer.check(arguments, limits)
        except TarsierError as error:
            return replies.error(clean_line(str(error)))
        identity = await anyio.to_thread.run_sync(offer.identity, checked)
        with self._allowance.call(address_of(request, caller)) as allowed:
            if not allowed:
                return replies.error("Too many calls at once. Wait for one of them to end, then try again.")
            try:
                job = self._store.start(
                    caller.owner, offer.name, checked, lane=offer.lane(checked), key=identity
                )
            except Busy:
                return replies.error("The server has too much to do. Try again in a minute.")
            as_a_task = wants_tasks(request)
            seconds = min(limits.inline_s, TASK_GRACE_S) if as_a_task else limits.inline_s
            try:
                if not await self._follow(job, seconds, request):
                    self._store.keep(job)
            finally:
                self._store.leave(job)
        if not job.done and as_a_task:
            return as_task(self._store, job)
        return self._answer(job, limits, 1)

    def cancelled(self, request: ServerRequestContext[Any, Any]) -> None:
        """The client of stateless HTTP of the old era says that it does not wait for a call any more.

        Its message comes by a way of its own and names the call by a number that the client chose, so that
        it counts only when just one call of this caller has the number.
        """
        who = address_of(request, Caller.of(request))
        scopes = self._scopes.get((who, (request.params or {}).get("requestId", "")), [])
        if len(scopes) == 1:
            scopes[0].cancel()

    @contextmanager
    def _cancellable(self, request: ServerRequestContext[Any, Any], who: str) -> Iterator[anyio.CancelScope]:
        """A call at work that :meth:`cancelled` can find."""
        key = (who, request.request_id or "")
        with anyio.CancelScope() as scope:
            scopes = self._scopes.setdefault(key, [])
            scopes.append(scope)
            try:
                yield scope
            finally:
                scopes.remove(scope)
                if not scopes:
                    self._scopes.pop(key, None)

    async def get_job(
        self, job_id: str, wait_s: float | None, page: int, request: ServerRequestContext[Any, Any]
    ) -> CallToolResult:
        """Wait for a job, at most as long as the client waits, and tell how far it is or what came of it."""
        caller = Caller.of(request)
        limits = self._clients.of(caller.client)
        try:
            job = self._store.get(job_id, None if caller.admin else caller.owner)
        except UnknownJob:
            return replies.error(_UNKNOWN)
        seconds = limits.inline_s if wait_s is None else min(wait_s, limits.inline_s)
        await self._follow(job, seconds, request)
        return self._answer(job, limits, page)

    async def cancel_job(self, job_id: str, request: ServerRequestContext[Any, Any]) -> CallToolResult:
        """Stop a job."""
        caller = Caller.of(request)
        try:
            job = self._store.get(job_id, None if caller.admin else caller.owner)
        except UnknownJob:
            return replies.error(_UNKNOWN)
        if job.done:
            return replies.told(
                job, f"The job had ended before: {job.status}. get_job gives what came of it."
            )
        self._store.cancel(job)
        return replies.told(job, "The job is stopped." if job.done else "The job stops at its next step.")

    def result_of(self, job: Job, request: ServerRequestContext[Any, Any]) -> CallToolResult:
        """The result of a job that has ended, as this client takes it."""
        return self._answer(job, self._clients.of(Caller.of(request).client), 1)

    def _answer(self, job: Job, limits: ClientLimits, page: int) -> CallToolResult:
        if not job.done:
            return replies.unfinished(job, how_far(self._store, job), limits)
        answer = replies.finished(job, limits, page)
        more = (answer.structured_content or {}).get("next_page") is not None
        if more:
            self._store.keep(job)
        elif job.lane == "light" and not job.kept:
            self._store.forget(job)  # cheap to do again, and images take room
        return answer

    async def _follow(self, job: Job, seconds: float, request: ServerRequestContext[Any, Any]) -> bool:
        async def report(elapsed_s: float, message: str) -> None:
            await request.session.report_progress(round(elapsed_s, 3), None, message)

        return await follow(self._store, job, seconds, report)


_UNKNOWN = "There is no such job, or it has expired. Call the tool again."
