"""The jobs as the tasks extension (``io.modelcontextprotocol/tasks``, SEP-2663), for clients that declare it.

Such a client gets, instead of the text that hands a job over to the model, a task that it follows itself.
Version 2026-07-28 only; what the extension says of input for tasks does not come up here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Literal

from mcp.server.context import ServerRequestContext
from mcp.server.extension import Extension, MethodBinding
from mcp.server.mcpserver.server import require_client_extension
from mcp.shared.exceptions import MCPError
from mcp.shared.inbound import MCP_NAME_HEADER, decode_header_value
from mcp_types import HEADER_MISMATCH, INTERNAL_ERROR, INVALID_PARAMS, CallToolResult, RequestParams, Result
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import Field

from tarsier_mcp.callers import Caller
from tarsier_mcp.follow import how_far
from tarsier_mcp.jobs import Job, JobStore, UnknownJob

IDENTIFIER = "io.modelcontextprotocol/tasks"
POLL_MS = 1000

TaskStatus = Literal["working", "completed", "failed", "cancelled"]


class TaskParams(RequestParams):
    """The params of tasks/get and tasks/cancel."""

    task_id: str = Field(alias="taskId")


class TaskUpdateParams(TaskParams):
    """The params of tasks/update."""

    input_responses: dict[str, Any] = Field(default_factory=dict, alias="inputResponses")


class CreateTaskResult(Result):
    """Answers tools/call with a task."""

    result_type: Literal["task"] = Field(default="task", alias="resultType")
    task_id: str = Field(alias="taskId")
    status: TaskStatus
    status_message: str | None = Field(default=None, alias="statusMessage")
    created_at: str = Field(alias="createdAt")
    last_updated_at: str = Field(alias="lastUpdatedAt")
    ttl_ms: int | None = Field(alias="ttlMs")
    poll_interval_ms: int = Field(default=POLL_MS, alias="pollIntervalMs")


def wants_tasks(context: ServerRequestContext[Any, Any]) -> bool:
    """The client has declared that it can follow tasks."""
    capabilities = context.session.client_capabilities
    declared = capabilities.extensions if capabilities else None
    return context.protocol_version in MODERN_PROTOCOL_VERSIONS and IDENTIFIER in (declared or {})


def as_task(store: JobStore, job: Job) -> CreateTaskResult:
    """The answer to tools/call that makes the job a task of the client."""
    return CreateTaskResult(**_facts(store, job))


class Tasks(Extension):
    """Serves ``tasks/get``, ``tasks/update`` and ``tasks/cancel`` from the job store.

    Args:
        result_of: the answer that tools/call would have given for a job that has ended.
    """

    identifier = IDENTIFIER

    def __init__(
        self, store: JobStore, result_of: Callable[[Job, ServerRequestContext[Any, Any]], CallToolResult]
    ) -> None:
        self._store = store
        self._result_of = result_of

    def methods(self) -> Sequence[MethodBinding]:
        """The three methods, at the versions that have the extension."""
        versions = frozenset(MODERN_PROTOCOL_VERSIONS)
        return (
            MethodBinding("tasks/get", TaskParams, self._get, versions),
            MethodBinding("tasks/update", TaskUpdateParams, self._update, versions),
            MethodBinding("tasks/cancel", TaskParams, self._cancel, versions),
        )

    async def _get(self, context: ServerRequestContext[Any, Any], params: TaskParams) -> dict[str, Any]:
        job = self._job(context, params)
        answer = {"resultType": "complete", **_facts(self._store, job)}
        if answer["status"] == "completed":
            result = self._result_of(job, context)
            answer["result"] = result.model_dump(by_alias=True, mode="json", exclude_none=True)
        elif answer["status"] == "failed":
            assert job.outcome is not None
            answer["error"] = {"code": INTERNAL_ERROR, "message": job.outcome.text}
        return answer

    async def _update(
        self, context: ServerRequestContext[Any, Any], params: TaskUpdateParams
    ) -> dict[str, Any]:
        self._job(context, params)
        return {"resultType": "complete"}

    async def _cancel(self, context: ServerRequestContext[Any, Any], params: TaskParams) -> dict[str, Any]:
        job = self._job(context, params)
        if not job.done:
            self._store.cancel(job)
        return {"resultType": "complete"}

    def _job(self, context: ServerRequestContext[Any, Any], params: TaskParams) -> Job:
        """The task that the caller asks about, after the checks that the extension wants."""
        require_client_extension(context, IDENTIFIER)
        headers = getattr(context.request, "headers", None)
        if headers is not None and decode_header_value(headers.get(MCP_NAME_HEADER)) != params.task_id:
            raise MCPError(HEADER_MISMATCH, f"{MCP_NAME_HEADER} header does not match the request's taskId")
        caller = Caller.of(context)
        try:
            return self._store.get(params.task_id, None if caller.admin else caller.owner)
        except UnknownJob:
            raise MCPError(INVALID_PARAMS, "Unknown task") from None


def _facts(store: JobStore, job: Job) -> dict[str, Any]:
    """What every answer says of a task.

    A job that failed for a reason is a completed task whose result is an error; only what nobody thought of
    makes a task fail.
    """
    status: TaskStatus = "working"
    if job.status == "cancelled" or (job.stop.is_set() and not job.done):
        status = "cancelled"
    elif job.outcome is not None:
        status = "failed" if job.outcome.unforeseen else "completed"
    return {
        "taskId": job.id,
        "status": status,
        "statusMessage": how_far(store, job),
        "createdAt": _timestamp(job.created_at),
        "lastUpdatedAt": _timestamp(job.changed_at),
        "ttlMs": round(store.keep_s * 1000),
        "pollIntervalMs": POLL_MS,
    }


def _timestamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
