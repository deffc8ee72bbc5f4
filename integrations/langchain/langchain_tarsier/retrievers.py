"""Moments of a few videos, found by what is said about them and, if wanted, looked at again."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.retrievers import BaseRetriever
from pydantic import ConfigDict, Field, PrivateAttr

from langchain_tarsier.documents import found_document
from langchain_tarsier.progress import reporter
from tarsier_tools import (
    By,
    MemoryIndex,
    Passage,
    Progress,
    Settings,
    UsageError,
    VideoService,
    in_thread,
    read_passages,
    rewatch,
)

_REACH = 2
"""How many times ``k`` candidates are looked at again."""


class TarsierVideoRetriever(BaseRetriever):
    """Finds moments in a few videos. They are watched at the first query, and kept in memory.

    Without ``embeddings`` texts are searched by their words; with them by their meaning too, both rankings
    fused. The Documents are as of :class:`~langchain_tarsier.TarsierVideoLoader`, with a ``score`` that is
    comparable within one query.

    Args:
        videos: paths, URLs or folders of images.
        k: Documents to return at most; also an argument of ``invoke``.
        by: how a video is divided: ``"segments"`` of a timeline, ``"events"``, ``"subtitles"``, ``"video"``.
        embeddings: any LangChain embedder.
        rewatch: show the model twice as many candidates again, ask whether the query happens there, and
            return the k surest: ``rewatched`` is the raw probability of yes. Takes an event in words.
        filter: metadata that Documents must have, for example ``{"title": "lecture"}``; also of ``invoke``.
        language: of the texts and of looking again, as a BCP 47 tag.
        service: who watches the videos; by default a service of the retriever's own, of the settings.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    videos: list[str | Path] = Field(min_length=1)
    k: int = Field(default=4, ge=1)
    by: By = "segments"
    embeddings: Embeddings | None = None
    rewatch: bool = False
    filter: dict[str, str | int | float] | None = None
    language: str | None = None
    settings: Settings = Field(default_factory=Settings.load)
    service: VideoService | None = Field(default=None, exclude=True, repr=False)

    _index: MemoryIndex | None = PrivateAttr(default=None)
    _lock: threading.Lock = PrivateAttr(default_factory=threading.Lock)

    def model_post_init(self, context: Any, /) -> None:
        """Open a service where none was given; its model is loaded when it is needed."""
        super().model_post_init(context)
        if self.service is None:
            self.service = VideoService(self.settings)

    def _get_relevant_documents(
        self,
        query: str,
        *,
        run_manager: CallbackManagerForRetrieverRun,
        k: int | None = None,
        filter: dict[str, Any] | None = None,  # noqa: A002  (the word that LangChain's stores use)
    ) -> list[Document]:
        report = reporter(self.get_name(), {"callbacks": run_manager.get_child()})
        return self._find(query, self._many(k), self._wanted(filter), report)

    async def _aget_relevant_documents(
        self,
        query: str,
        *,
        run_manager: AsyncCallbackManagerForRetrieverRun,
        k: int | None = None,
        filter: dict[str, Any] | None = None,  # noqa: A002
    ) -> list[Document]:
        many, wanted = self._many(k), self._wanted(filter)
        tell = reporter(self.get_name(), {"callbacks": run_manager.get_child()})
        return await in_thread(lambda report: self._find(query, many, wanted, report), tell)

    def _many(self, k: int | None) -> int:
        if k is not None and (not isinstance(k, int) or k < 1):
            raise UsageError(f"k is {k!r}.", hint="Give 1 or more, or leave it away.")
        return self.k if k is None else k

    def _wanted(self, filter: dict[str, Any] | None) -> dict[str, Any]:  # noqa: A002
        return (self.filter or {}) if filter is None else filter

    def _find(self, query: str, k: int, wanted: dict[str, Any], on_progress: Progress) -> list[Document]:
        def fits(passage: Passage) -> bool:
            return wanted.items() <= passage.metadata().items()

        assert self.service is not None
        index = self._watched(self.service, on_progress)
        hits = index.search(query, k * _REACH if self.rewatch else k, where=fits)
        if self.rewatch:
            language = self.language or self.service.settings.language
            hits = rewatch(self.service, hits, query, language=language, on_progress=on_progress)
        return [found_document(hit) for hit in hits[:k]]

    def _watched(self, service: VideoService, on_progress: Progress) -> MemoryIndex:
        """The index of all videos, made when it is first needed."""
        with self._lock:
            if self._index is None:
                passages = [
                    passage
                    for video in self.videos
                    for passage in read_passages(
                        service, str(video), self.by, language=self.language, on_progress=on_progress
                    )
                ]
                embed = self.embeddings
                self._index = MemoryIndex(
                    passages,
                    embed_passages=None if embed is None else lambda texts: embed.embed_documents([*texts]),
                    embed_query=None if embed is None else embed.embed_query,
                )
            return self._index
