"""Videos as resources: their facts, their frames, the timelines that were made of them, the library."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import anyio
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ResourceError, ResourceNotFoundError
from mcp.server.mcpserver.resources import ResourceSecurity
from mcp_types import (
    Completion,
    CompletionArgument,
    CompletionContext,
    PromptReference,
    Resource,
    ResourceTemplateReference,
)

from tarsier_mcp.callers import Caller
from tarsier_mcp.jobs import JobStore, Outcome
from tarsier_mcp.library_resources import LibraryResources
from tarsier_mcp.prompts import VIDEO_ARGUMENTS
from tarsier_mcp.sources import name_of, video_uri
from tarsier_mcp.tools import Workshop
from tarsier_tools.types import no_progress

LISTED = 100
"""Videos in a list of resources, and names in a completion (the protocol's own limit)."""

INFO = "video://{id}"
FRAME = "video://{id}/frame/{seconds}"
TIMELINE = "video://{id}/timeline"


class VideoResources(MCPServer[Any]):
    """An MCP server whose resources are the videos that may be read.

    The id of a video is its name as ``list_videos`` gives it, percent-encoded; in the library it is a UUID.
    """

    def __init__(self, workshop: Workshop, store: JobStore, **options: Any) -> None:
        super().__init__(**options)
        self._workshop = workshop
        self._store = store
        # The name goes to the tools only, which refuse every path that is not allowed.
        named = ResourceSecurity(exempt_params={"id"})
        self.resource(
            INFO,
            name="video",
            title="Facts of a video",
            description="Length, picture size, frame rate and tracks, as video_info gives them.",
            mime_type="application/json",
            security=named,
        )(self._info)
        self.resource(
            FRAME,
            name="frame",
            title="A frame of a video",
            description="The frame on the screen at a time in seconds, as JPEG.",
            mime_type="image/jpeg",
            security=named,
        )(self._frame)
        self.resource(
            TIMELINE,
            name="timeline",
            title="The timeline of a video",
            description="What describe_timeline found, once it was called; not before.",
            mime_type="application/json",
            security=named,
        )(self._timeline)
        self._library = None if workshop.view is None else LibraryResources(workshop, workshop.view)
        if self._library is not None:
            self._library.add_to(self)
        self.completion()(self._complete)  # type: ignore[no-untyped-call]

    async def list_resources(self) -> list[Resource]:
        """The videos in the folders that may be read, the first of them; and those of the library."""
        videos = [
            Resource(
                uri=video_uri(name),
                name=name,
                description="A video. Give its name to the tools.",
                mime_type="application/json",
            )
            for name in await self._names()
        ]
        return videos if self._library is None else [*videos, *await self._library.listed()]

    async def _info(self, id: str) -> str:  # noqa: A002 (named by the address)
        outcome = await self._do("video_info", {"video": name_of(id)})
        return json.dumps(outcome.result, ensure_ascii=False)

    async def _frame(self, id: str, seconds: str) -> bytes:  # noqa: A002
        try:
            time_s = float(seconds)
        except ValueError:
            raise ResourceNotFoundError("The time of a frame is a number of seconds.") from None
        outcome = await self._do("view_frames", {"video": name_of(id), "times_s": [time_s]})
        return outcome.pictures[0].jpeg

    async def _timeline(self, id: str, context: Context) -> str:  # noqa: A002
        owner = Caller.of(context.request_context).owner
        for job in self._store.finished(owner, "describe_timeline"):
            if job.arguments.get("video") == name_of(id) and job.outcome is not None:
                return json.dumps(job.outcome.result, ensure_ascii=False)
        raise ResourceNotFoundError("There is no timeline of this video yet: call describe_timeline.")

    async def _do(self, tool: str, arguments: dict[str, Any]) -> Outcome:
        """Use one of the light tools. A video that cannot be used is a resource that is not there."""
        work = partial(self._workshop.perform, tool, arguments, no_progress)
        outcome = await anyio.to_thread.run_sync(work, abandon_on_cancel=True)
        if outcome.is_error and outcome.retryable:
            raise ResourceError(outcome.text)
        if outcome.is_error:
            raise ResourceNotFoundError(outcome.text)
        return outcome

    async def _names(self) -> list[str]:
        """Names of videos, of the folders that may be read and one level of those inside."""
        outcome = await anyio.to_thread.run_sync(self._workshop.perform, "list_videos", {}, no_progress)
        if outcome.result is None:
            return []
        names = [str(video["path"]) for video in outcome.result["videos"]]
        for folder in outcome.result["folders"]:
            if len(names) >= LISTED:
                break
            inner = await anyio.to_thread.run_sync(
                self._workshop.perform, "list_videos", {"folder": folder}, no_progress
            )
            names += [str(video["path"]) for video in (inner.result or {"videos": []})["videos"]]
        return names[:LISTED]

    async def _complete(
        self,
        ref: PromptReference | ResourceTemplateReference,
        argument: CompletionArgument,
        context: CompletionContext | None,
    ) -> Completion | None:
        """Names of videos that hold what was typed, for prompts and addresses; ids in the library."""
        if isinstance(ref, ResourceTemplateReference) and ref.uri.startswith("library://"):
            if self._library is None:
                return None
            given = (context and context.arguments) or {}
            ids = await self._library.completed(argument.name, argument.value, given)
            return Completion(values=ids, total=len(ids), has_more=False)
        in_address = isinstance(ref, ResourceTemplateReference)
        if argument.name != "id" if in_address else argument.name not in VIDEO_ARGUMENTS:
            return None
        typed = argument.value.casefold()
        found = [name for name in await self._names() if typed in name.casefold()]
        return Completion(values=found, total=len(found), has_more=False)
