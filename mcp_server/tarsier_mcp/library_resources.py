"""The library's videos as resources: what is known of each, and a small picture of each stretch."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import anyio
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ResourceError, ResourceNotFoundError
from mcp_types import Resource

from tarsier_mcp.tools import Workshop
from tarsier_tools import TarsierError, UnknownVideo
from tarsier_tools.library_view import LibraryView
from tarsier_tools.text import clean_line

VIDEOS = "library://videos"
VIDEO = "library://{id}"
SEGMENT = "library://{id}/segment/{segment}"

LISTED = 100
"""Videos in a list of resources, and values in a completion (the protocol's own limit)."""
MOST_VIDEOS = 1000
MOST_SEGMENTS = 2000
"""What one resource tells of at most; it says how many it leaves out."""

Answer = TypeVar("Answer")


class LibraryResources:
    """Resources over the library of a workshop, which must have one."""

    def __init__(self, workshop: Workshop, view: LibraryView) -> None:
        self._workshop = workshop
        self._view = view

    def add_to(self, server: MCPServer[Any]) -> None:
        """Offer them."""
        server.resource(
            VIDEOS,
            name="library",
            title="The library's videos",
            description="The videos that search_library searches, with their ids.",
            mime_type="application/json",
        )(self._videos)
        server.resource(
            VIDEO,
            name="library_video",
            title="A video of the library",
            description="Its facts, and every text about a stretch of it with start_s and end_s.",
            mime_type="application/json",
        )(self._video)
        server.resource(
            SEGMENT,
            name="library_segment",
            title="A picture of a stretch",
            description="A small JPEG from the middle of a segment of a video.",
            mime_type="image/jpeg",
        )(self._segment)

    async def listed(self) -> list[Resource]:
        """The list of videos, and the first of them."""
        videos = await _in_thread(lambda: list(self._entries(LISTED)))
        return [
            Resource(
                uri=VIDEOS,
                name="The library's videos",
                description="The videos that search_library searches, with their ids.",
                mime_type="application/json",
            ),
            *(
                Resource(
                    uri=f"library://{each['id']}",
                    name=clean_line(each["video"]),
                    description="What the library knows of a video.",
                    mime_type="application/json",
                )
                for each in videos
            ),
        ]

    async def completed(self, argument: str, typed: str, given: dict[str, str]) -> list[str]:
        """Ids that begin with what was typed, or whose video has it in its name; and of its segments."""
        if argument == "segment":
            return await _in_thread(lambda: self._segment_ids(given.get("id", ""), typed))
        return await _in_thread(lambda: self._video_ids(typed.casefold()))

    async def _videos(self) -> str:
        def told() -> dict[str, Any]:
            every = list(self._entries())
            return {"videos": every[:MOST_VIDEOS], "left_out": len(every[MOST_VIDEOS:])}

        return self._written(await _in_thread(told))

    async def _video(self, id: str) -> str:  # noqa: A002 (named by the address)
        return self._written(await _in_thread(lambda: self._facts(id)))

    async def _segment(self, id: str, segment: str) -> bytes:  # noqa: A002
        def picture() -> bytes | None:
            ids = {each.id for each in self._view.passages(self._view.row(id))}
            return self._view.library.thumbnail(segment) if segment in ids else None

        found = await _in_thread(picture)
        if found is None:
            raise ResourceNotFoundError("The library has no picture of such a segment.")
        return found

    def _entries(self, most: int | None = None) -> Iterator[dict[str, Any]]:
        for number, (row, place) in enumerate(self._view.rows()):
            if number == most:
                return
            yield {
                "id": row.uuid,
                "video": place.name,
                "is_there": place.there,
                "duration_s": row.info.duration_s,
                "language": row.language,
                "added_at": row.added_at,
            }

    def _facts(self, name: str) -> dict[str, Any]:
        row = self._view.row(name)
        place = self._view.place(row.sources)
        if place is None:
            raise UnknownVideo("This video may not be read any more.")
        passages = self._view.passages(row)
        kept = {"id", "start_s", "end_s", "kind", "text", "language", "model"}
        return {
            "id": row.uuid,
            "video": place.name,
            "is_there": place.there,
            "added_at": row.added_at,
            "info": row.info.model_copy(update={"source": place.name}).model_dump(mode="json"),
            "segments": [each.model_dump(mode="json", include=kept) for each in passages[:MOST_SEGMENTS]],
            "left_out": len(passages[MOST_SEGMENTS:]),
        }

    def _video_ids(self, typed: str) -> list[str]:
        found: list[str] = []
        for row, place in self._view.rows():
            if typed in place.name.casefold() or row.uuid.startswith(typed):
                found.append(row.uuid)
            if len(found) == LISTED:
                break
        return found

    def _segment_ids(self, video: str, typed: str) -> list[str]:
        try:
            passages = self._view.passages(self._view.row(video))
        except UnknownVideo:
            return []
        return [each.id for each in passages if each.id.startswith(typed)][:LISTED]

    def _written(self, value: dict[str, Any]) -> str:
        return json.dumps(self._workshop.hidden(value), ensure_ascii=False)


async def _in_thread(work: Callable[[], Answer]) -> Answer:
    """Do what may take a while. What is not in the library is a resource that is not there."""
    try:
        return await anyio.to_thread.run_sync(work, abandon_on_cancel=True)
    except UnknownVideo as problem:
        raise ResourceNotFoundError(clean_line(str(problem))) from None
    except TarsierError as problem:
        raise ResourceError(clean_line(str(problem))) from None
