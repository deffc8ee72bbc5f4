"""Videos as Documents, for any vector store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from functools import partial
from pathlib import Path

from langchain_core.document_loaders import BaseLoader
from langchain_core.documents import Document

from langchain_tarsier.documents import document
from tarsier_tools import By, Progress, Settings, VideoService, in_thread, read_passages
from tarsier_tools.library import VideoLibrary, open_library
from tarsier_tools.passages import Kind
from tarsier_tools.types import no_progress


class TarsierVideoLoader(BaseLoader):
    """Loads videos as Documents with start and end in seconds.

    The ids are UUIDs made from the video's bytes, the stretch of time and the kind of text, so that adding a
    video again replaces what is there. Metadata: ``source, video_id, title, start, end, start_timestamp,
    citation, duration, segment, type, language, model``; ``citation`` is ``file @ MM:SS-MM:SS``.

    Args:
        videos: one or more paths, URLs or folders of images.
        by: ``"segments"`` of a timeline (kept on disk, so that loading again is quick), the whole
            ``"video"``, its ``"events"``, or its ``"subtitles"``, as they are in the file and beside it.
        start_s, end_s: only this range of each video, in seconds.
        language: of the texts, as a BCP 47 tag.
        service: who watches the videos; by default a service of the loader's own, of the settings.
        settings: by default from the ``TARSIER_*`` variables.
        on_progress: called as ``on_progress(done, total, message)``; raising Cancelled from it stops.
    """

    def __init__(
        self,
        videos: str | Path | Sequence[str | Path],
        *,
        by: By = "segments",
        start_s: float | None = None,
        end_s: float | None = None,
        language: str | None = None,
        service: VideoService | None = None,
        settings: Settings | None = None,
        on_progress: Progress = no_progress,
    ) -> None:
        self.videos = [videos] if isinstance(videos, (str, Path)) else list(videos)
        self.service = service or VideoService(settings)
        self._by: By = by
        self._range = (start_s, end_s)
        self._language = language
        self._on_progress = on_progress

    @classmethod
    def from_folder(
        cls, folder: str | Path, *, by: By = "segments", service: VideoService | None = None
    ) -> TarsierVideoLoader:
        """A loader of the videos in a folder, told by the endings of their names."""
        service = service or VideoService()
        return cls([video.path for video in service.videos(folder).videos], by=by, service=service)

    def lazy_load(self) -> Iterator[Document]:
        """The Documents, video after video; each video is watched when its first Document is asked for.

        Raises what the service raises: TarsierError and its kinds.
        """
        for video in self.videos:
            yield from self._documents(video, self._on_progress)

    async def alazy_load(self) -> AsyncIterator[Document]:
        """The same without blocking the event loop; cancelling stops the watching."""
        for video in self.videos:
            documents = await in_thread(partial(self._documents, video), self._on_progress)
            for found in documents:
                yield found

    def _documents(self, video: str | Path, on_progress: Progress) -> list[Document]:
        start_s, end_s = self._range
        passages = read_passages(
            self.service,
            str(video),
            self._by,
            start_s=start_s,
            end_s=end_s,
            language=self._language,
            on_progress=on_progress,
        )
        return [document(passage) for passage in passages]


class TarsierLibraryLoader(BaseLoader):
    """Loads what a library of videos knows: no video is watched.

    The Documents have the ids and metadata of :class:`TarsierVideoLoader`.

    Args:
        library: an open library, or the folder or address of one.
        videos: only these, by source or id.
        kinds: only these kinds of text: "caption", "event", "chapter", "subtitle".
    """

    def __init__(
        self,
        library: VideoLibrary | str | Path,
        *,
        videos: str | Sequence[str] | None = None,
        kinds: Kind | Sequence[Kind] | None = None,
    ) -> None:
        self.library = open_library(library)
        self._videos = [videos] if isinstance(videos, str) else videos
        self._kinds = kinds

    def lazy_load(self) -> Iterator[Document]:
        """The Documents by video and time, read video by video. Raises LibraryError and its kinds."""
        for video in self._names():
            yield from self._documents(video)

    async def alazy_load(self) -> AsyncIterator[Document]:
        """The same without blocking the event loop."""
        for video in await asyncio.to_thread(self._names):
            for found in await asyncio.to_thread(self._documents, video):
                yield found

    def _names(self) -> Sequence[str]:
        return [row.uuid for row in self.library.videos()] if self._videos is None else self._videos

    def _documents(self, video: str) -> list[Document]:
        return [document(passage) for passage in self.library.passages(video, kinds=self._kinds)]
