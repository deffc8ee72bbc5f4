"""A library as agents see it: only videos that may be read, under the names that the other tools take."""

from __future__ import annotations

import bisect
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from tarsier_tools.errors import SourceNotAllowed, UnknownVideo, UsageError, VideoError
from tarsier_tools.library import Failure, Row, VideoLibrary
from tarsier_tools.library.indexing import found
from tarsier_tools.library.ranking import K
from tarsier_tools.media.source import resolve, resolve_folder
from tarsier_tools.passages import Hit, Passage

if TYPE_CHECKING:
    from tarsier_tools.service import VideoService

_WEB = ("http://", "https://")
_MOST_HITS = 2000
"""Of a library most of which may not be read, so many hits are looked through."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a video lies.

    Attributes:
        name: what to give as ``video`` to the tools.
        there: the file is there now.
    """

    name: str
    there: bool


@dataclass(frozen=True, slots=True)
class ViewedHits:
    """What a search found.

    Attributes:
        there: of each hit, whether its file is there now.
        notice: what to know about how it was searched; empty for nothing.
    """

    hits: tuple[Hit, ...]
    there: tuple[bool, ...]
    notice: str


class LibraryView:
    """A library by the rules of a service for where videos may come from (``Settings.allowed_roots``, ...).

    What may not be read is treated as if it were not in the library. Safe to use from several threads.
    """

    def __init__(self, library: VideoLibrary, service: VideoService) -> None:
        self.library = library
        self._service = service
        self._settings = service.settings

    def place(self, sources: Sequence[str]) -> Place | None:
        """The first place of a video that may be read, rather one that is there; None when there is none."""
        missing: Place | None = None
        for source in sources:
            place = self._place(source)
            if place is not None and place.there:
                return place
            missing = missing or place
        return missing

    def row(self, name: str) -> Row:
        """The video of this id, or of this name as the tools take it. Raises UnknownVideo."""
        for candidate in self._names(name):
            try:
                row = self.library.video(candidate)
            except UnknownVideo:
                continue
            if self.place(row.sources) is not None:
                return row
        raise UnknownVideo(
            f"{name} is not in the library.",
            hint="Leave it away to search all videos, or look with list_videos.",
        )

    def rows(self) -> Iterator[tuple[Row, Place]]:
        """All videos and where they lie, in the order in which they were added."""
        for row in self.library.videos():
            place = self.place(row.sources)
            if place is not None:
                yield row, place

    def passages(self, row: Row) -> list[Passage]:
        """All that is known about a video, in the order of time, under the name that the tools take."""
        place = self.place(row.sources)
        if place is None:
            return []
        return [each.model_copy(update={"source": place.name}) for each in self.library.passages(row.uuid)]

    def search(self, query: str, k: int, **options: Any) -> ViewedHits:
        """The k best hits that may be read.

        ``options`` are those of :meth:`~tarsier_tools.library.VideoLibrary.search`, which says what is
        raised; ``videos`` and ``path`` go by names as the tools take them.
        """
        path = options.get("path")
        if self._settings.allowed_roots is not None and path and "/" in path and path[0] not in "/*":
            options["path"] = f"*/{path}"  # names begin inside an allowed folder, what is kept does not
        if options.get("videos") is not None:
            options["videos"] = [self.row(name).uuid for name in options["videos"]]
        reach = k
        while True:
            result = self.library.search(query, k=reach, **options)
            hits = list(self._readable(result.hits))
            if len(hits) >= min(k, len(result.hits)) or reach == _MOST_HITS:
                break
            reach = min(4 * reach, _MOST_HITS)
        if len(hits) < len(result.hits):
            hits = _among_themselves(hits)
        return ViewedHits(
            tuple(hit for hit, _ in hits[:k]), tuple(there for _, there in hits[:k]), result.notice
        )

    def failures(self) -> list[Failure]:
        """What could not be taken in, and why, under the names of the tools."""
        named = ((each, self._place(each.source)) for each in self.library.failures())
        return [replace(each, source=place.name) for each, place in named if place is not None]

    def failed(self, sources: Sequence[str]) -> list[Failure]:
        """Why these sources could not be taken in; also those that turned out to be not allowed."""
        return [
            replace(each, source=place.name if place is not None else _bare(each.source))
            for each in self.library.failures()
            if each.source in sources
            for place in [self._place(each.source)]
        ]

    def names(self, sources: Sequence[str]) -> tuple[str, ...]:
        """What the tools call these sources."""
        return tuple(place.name for each in sources if (place := self._place(each)) is not None)

    def to_add(self, given: str) -> str:
        """A file, folder or address as the library is to know it, checked to be allowed.

        Raises what :func:`~tarsier_tools.media.source.resolve` raises.
        """
        if given.startswith(_WEB):
            return given  # the service applies its rules before it fetches anything
        if not given.startswith("file:"):
            try:
                return str(resolve_folder(given, self._settings).path)
            except UsageError:
                pass  # a file
        return str(resolve(given, self._settings).path)

    def everything(self) -> list[str]:
        """The folders that may be read and have videos in them; without a rule the current one."""
        roots = self._settings.allowed_roots
        if roots is None:
            return ["."]
        return [str(root) for root in roots if next(found(root, empty=True), None) is not None]

    def _readable(self, hits: Sequence[Hit]) -> Iterator[tuple[Hit, bool]]:
        """The hits that may be read, under the names that the tools take; whether their file is there."""
        places: dict[str, Place | None] = {}
        for hit in hits:
            passage = hit.passage
            if passage.video_id not in places:
                places[passage.video_id] = self._place_of(passage)
            place = places[passage.video_id]
            if place is not None:
                named = passage.model_copy(update={"source": place.name})
                yield hit.model_copy(update={"passage": named}), place.there

    def _place(self, source: str) -> Place | None:
        if source.startswith(_WEB):
            allowed = self._settings.allow_urls and (
                self._settings.allow_http or source.startswith("https://")
            )
            return Place(source, there=True) if allowed else None
        try:
            path = resolve(source, self._settings).path
        except SourceNotAllowed:
            return None
        except VideoError:
            return Place(_bare(source), there=False)
        return Place(self._shortest(source, path), there=True)

    def _place_of(self, passage: Passage) -> Place | None:
        """As :meth:`place`, of all places of a video where the first will not do."""
        place = self._place(passage.source)
        if place is not None and place.there:
            return place
        try:
            return self.place(self.library.video(passage.video_id).sources)
        except UnknownVideo:
            return None  # removed meanwhile

    def _shortest(self, source: str, path: Path) -> str:
        """The name that list_videos has for a path: from its allowed folder on, where that is enough."""
        roots = self._settings.allowed_roots
        if roots is None:
            return source
        for root in roots:
            real = Path(os.path.realpath(root.expanduser()))
            if path.is_relative_to(real):
                short = str(path.relative_to(real))
                try:
                    if resolve(short, self._settings).path == path:
                        return short
                except VideoError:
                    continue
        return str(path)

    def _names(self, name: str) -> Iterator[str]:
        """What the library may know a video by that the tools know by this name, the cheapest first."""
        yield name
        if name.startswith(_WEB):
            return
        try:
            path = resolve(name, self._settings).path
            yield str(path)
            yield from (str(root.expanduser() / name) for root in self._settings.allowed_roots or ())
            yield self._service.identify(name)
        except (VideoError, UsageError):
            return


def _bare(source: str) -> str:
    """The name of a file without its folders; an address as it is."""
    return source if source.startswith(_WEB) else PurePath(source).name or source


def _among_themselves(hits: Sequence[tuple[Hit, bool]]) -> list[tuple[Hit, bool]]:
    """The hits as if there were no others: a gap between places would tell what is in hidden videos."""
    order: dict[str, list[int]] = {}
    for hit, _ in hits:
        for name, rank in hit.ranks.items():
            bisect.insort(order.setdefault(name, []), rank)
    placed = []
    for hit, there in hits:
        ranks = {name: 1 + order[name].index(rank) for name, rank in hit.ranks.items()}
        score = sum(1 / (K + rank) for rank in ranks.values())
        placed.append((hit.model_copy(update={"ranks": ranks, "score": score}), there))
    return sorted(placed, key=lambda pair: -pair[0].score)
