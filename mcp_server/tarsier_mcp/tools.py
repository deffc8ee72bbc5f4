"""The tools that are offered: those of ``tarsier_tools.tools``, and two for the jobs that they become."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

from mcp.server.context import ServerRequestContext
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.tools import Tool
from mcp.server.mcpserver.utilities.func_metadata import ArgModelBase, FuncMetadata
from mcp_types import ToolAnnotations
from pydantic import BaseModel, ConfigDict, Field

from tarsier_mcp.calls import Calls, Offer
from tarsier_mcp.clients import ClientLimits
from tarsier_mcp.jobs import LaneName, Outcome, Picture
from tarsier_mcp.replies import CANCELLED_SCHEMA, error, output_schema
from tarsier_mcp.sources import PathHider, identity
from tarsier_mcp.telemetry import job_span, step_spans
from tarsier_tools import Cancelled, Progress, Settings, TarsierError, UsageError
from tarsier_tools.text import clean_line
from tarsier_tools.tool_specs import ToolSpec
from tarsier_tools.tools import VideoTools

if TYPE_CHECKING:
    from tarsier_tools import VideoService
    from tarsier_tools.library import VideoLibrary
    from tarsier_tools.library_view import LibraryView

logger = logging.getLogger(__name__)

LIGHT = frozenset({"video_info", "view_frames", "list_videos", "library_status"})
"""Tools that need no model, and so never wait for it."""
SEARCH, INDEX = "search_library", "index_videos"
FOR_ADMINS = frozenset({INDEX})
"""Tools that only callers with the admin scope are offered."""

RESULT_CHARS = 200_000
"""``anthropic/maxResultSizeChars``: below it Claude Code shows a result instead of writing it to a file."""

_LOOKS = ToolAnnotations(
    read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=True
)
_WRITES = ToolAnnotations(
    read_only_hint=False, destructive_hint=False, idempotent_hint=True, open_world_hint=True
)
_ASKS = ToolAnnotations(
    read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False
)
_STOPS = ToolAnnotations(
    read_only_hint=False, destructive_hint=False, idempotent_hint=True, open_world_hint=False
)

Serve = Callable[[dict[str, Any], ServerRequestContext[Any, Any]], Awaitable[BaseModel]]


class ServedTool(Tool):
    """A tool that checks its arguments and shapes its results itself."""

    serve: Serve = Field(exclude=True)

    async def run(
        self,
        arguments: dict[str, Any],
        context: Context[Any, Any],
        convert_result: bool = False,  # noqa: ARG002  (a result of ours needs no conversion)
    ) -> Any:
        """Answer a call; everything that can go wrong is an answer too."""
        return await self.serve(arguments, context.request_context)


class Workshop:
    """Where the work is done: a service behind the tools, opened when it is first needed. Close it.

    Where the settings name a library it is opened at once.

    Args:
        service: who answers, instead of a service with these settings. The caller keeps it and closes it.
        hide_paths: see :class:`~tarsier_mcp.server.ServerOptions`.

    Raises LibraryError and its kinds, and UsageError, when the library cannot be used.
    """

    def __init__(
        self, settings: Settings, service: VideoService | None = None, *, hide_paths: bool = False
    ) -> None:
        self.settings = settings
        self._given = service
        self._opened: VideoService | None = None
        self._lock = threading.Lock()
        self._hider = PathHider(settings) if hide_paths else None
        self._library: VideoLibrary | None = None
        self.view: LibraryView | None = None
        if settings.library is not None:
            from tarsier_tools.library import VideoLibrary
            from tarsier_tools.library_view import LibraryView

            service = self._given or self._service()
            self._library = VideoLibrary(settings.library, service=service)
            self.view = LibraryView(self._library, service)
            if not self._library.stats()["videos"]:  # a mistyped folder is an empty library too
                logger.warning("The library %s is empty", settings.library)

    @property
    def tools(self) -> VideoTools:
        """The tools over the service, and over the library if there is one."""
        service = self._given or self._service()
        # One page holds everything: what is too long for a client is cut into pages where that is known.
        if self._library is None:
            return VideoTools(service, page_chars=RESULT_CHARS)
        from tarsier_tools import LibraryTools

        return LibraryTools(service, self._library, page_chars=RESULT_CHARS)

    @property
    def specs(self) -> tuple[ToolSpec, ...]:
        """What is told of the tools; no service is needed for that."""
        return VideoTools.specs() if self._library is None else self.tools.specs()

    def _service(self) -> VideoService:
        with self._lock:
            if self._opened is None:
                from tarsier_tools import VideoService  # telling of the tools must not wait for it

                self._opened = VideoService(self.settings)
            return self._opened

    def close(self) -> None:
        """Give back what was opened."""
        if self._library is not None:
            self._library.close()
        if self._opened is not None:
            self._opened.close()

    def perform(self, tool: str, arguments: dict[str, Any], on_progress: Progress) -> Outcome:
        """Do what a tool is asked. What goes wrong for a reason becomes a sentence; Cancelled passes."""
        with job_span(tool):
            try:
                reply = self.tools.call(tool, arguments, on_progress=on_progress)
            except Cancelled:
                raise
            except TarsierError as problem:
                again = " The same call may work later." if problem.retryable else ""
                said = clean_line(f"{problem}{again}")  # names of files are strangers' words too
                return self._hidden(Outcome(said, is_error=True, retryable=problem.retryable))
            result = reply.result.model_dump(mode="json")
            step_spans(result, time.time())
        pictures = tuple(
            Picture(
                image.jpeg,
                "All frames, each with its time:" if image.time_s is None else f"{image.time_s:.3f} s:",
            )
            for image in reply.images
        )
        return self._hidden(Outcome(reply.text, result, pictures))

    def _hidden(self, outcome: Outcome) -> Outcome:
        if self._hider is None:
            return outcome
        return Outcome(
            self._hider.text(outcome.text),
            self.hidden(outcome.result),
            outcome.pictures,
            outcome.is_error,
            outcome.retryable,
        )

    def hidden(self, value: Any) -> Any:
        """A JSON value as it may go out: without the paths of this machine, where they are to be hidden."""
        return value if self._hider is None else self._hider.tree(value)

    def identity(self, tool: str, arguments: dict[str, Any]) -> str:
        """See :func:`tarsier_mcp.sources.identity`.

        Never for what is cheap to do again, nor for a library, which changes.
        """
        return (
            ""
            if tool in LIGHT or tool in (SEARCH, INDEX)
            else identity(tool, arguments, self.settings.allowed_roots)
        )


def video_tools(workshop: Workshop, calls: Calls) -> list[Tool]:
    """The tools that look at videos and, where there is a library, into that."""
    tools: list[Tool] = []
    for spec in workshop.specs:
        offer = Offer(
            spec.name,
            lane=partial(_lane, spec.name),
            check=partial(_checked, spec),
            identity=partial(workshop.identity, spec.name),
        )
        tools.append(
            _tool(
                spec,
                partial(calls.call, offer),
                output_schema(spec.result),
                _WRITES if spec.name == INDEX else _LOOKS,
                RESULT_CHARS,
            )
        )
    return tools


def _lane(tool: str, arguments: dict[str, Any]) -> LaneName:
    """Where a call waits."""
    if tool == INDEX:
        return "index"
    looks = arguments["rewatch"] if tool == SEARCH else tool not in LIGHT
    return "model" if looks else "light"


class GetJobArguments(BaseModel):
    """The arguments of ``get_job``."""

    model_config = ConfigDict(extra="forbid")

    job_id: Annotated[str, Field(min_length=1, max_length=100, description="As the reply gave it.")]
    wait_s: Annotated[
        float | None,
        Field(ge=0, le=600, description="Wait for the end so long; null for as long as is safe."),
    ] = None
    page: Annotated[int, Field(ge=1, le=10_000, description="Of a long answer, from 1.")] = 1


class CancelJobArguments(BaseModel):
    """The arguments of ``cancel_job``."""

    model_config = ConfigDict(extra="forbid")

    job_id: Annotated[str, Field(min_length=1, max_length=100, description="As the reply gave it.")]


GET_JOB = ToolSpec(
    "get_job",
    "Get job",
    "Get the answer of a call that became a job, waiting for it a while.\n\n"
    "Not done yet: the reply says how far it is; call again. Done: the reply is what the first call would "
    "have answered. A job is forgotten some time after its end. Long answers have pages.",
    GetJobArguments,
    BaseModel,
)
CANCEL_JOB = ToolSpec(
    "cancel_job",
    "Cancel job",
    "Stop a job whose answer is not needed any more.",
    CancelJobArguments,
    BaseModel,
)


def job_tools(calls: Calls) -> list[Tool]:
    """The tools that look after jobs."""

    async def get_job(arguments: dict[str, Any], request: ServerRequestContext[Any, Any]) -> BaseModel:
        try:
            checked = GET_JOB.check(arguments)
        except UsageError as problem:
            return error(clean_line(str(problem)))
        return await calls.get_job(checked["job_id"], checked["wait_s"], checked["page"], request)

    async def cancel_job(arguments: dict[str, Any], request: ServerRequestContext[Any, Any]) -> BaseModel:
        try:
            checked = CANCEL_JOB.check(arguments)
        except UsageError as problem:
            return error(clean_line(str(problem)))
        return await calls.cancel_job(checked["job_id"], request)

    return [
        _tool(GET_JOB, get_job, output_schema(None), _ASKS, RESULT_CHARS),
        _tool(CANCEL_JOB, cancel_job, CANCELLED_SCHEMA, _STOPS),
    ]


def _checked(spec: ToolSpec, arguments: dict[str, Any], limits: ClientLimits) -> dict[str, Any]:
    """The arguments as the tool takes them, and no images larger than the client takes."""
    checked = spec.check(_unquoted(spec, arguments))
    if "max_side" in checked:
        checked["max_side"] = min(checked["max_side"], limits.image_side)
    return checked


def _unquoted(spec: ToolSpec, arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments with lists and numbers that came as JSON in a string, as some clients send them."""
    properties = spec.schema["properties"]
    found = dict(arguments)
    for name, value in arguments.items():
        if not isinstance(value, str) or name not in properties:
            continue
        types = {form.get("type") for form in properties[name].get("anyOf", [properties[name]])}
        if types & {"string", None}:  # an enum without a type is one of strings
            continue
        try:
            found[name] = json.loads(value)
        except ValueError:
            continue  # what is wrong with it is said by the check
    return found


def _tool(
    spec: ToolSpec,
    serve: Serve,
    result_schema: dict[str, Any],
    annotations: ToolAnnotations,
    result_chars: int | None = None,
) -> Tool:
    return ServedTool(
        fn=serve,
        serve=serve,
        name=spec.name,
        title=spec.title,
        description=spec.description,
        parameters=_without_titles(spec.schema),
        fn_metadata=FuncMetadata(arg_model=ArgModelBase, output_schema=result_schema),
        is_async=True,
        annotations=annotations.model_copy(update={"title": spec.title}),
        meta={"anthropic/maxResultSizeChars": result_chars} if result_chars else None,
    )


def _without_titles(schema: dict[str, Any]) -> dict[str, Any]:
    """Titles that only repeat the names cost every reader of the schema tokens."""
    schema.pop("title", None)
    for value in schema["properties"].values():
        value.pop("title", None)
    return schema
