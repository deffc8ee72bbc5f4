"""Moments of all videos in a library, found by what is said about them and, if wanted, looked at again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from pydantic import ConfigDict, Field, PrivateAttr

from langchain_tarsier.documents import found_document
from langchain_tarsier.progress import reporter
from tarsier_tools import Progress, Settings, UsageError, VideoService, in_thread
from tarsier_tools.library import VideoLibrary, open_library
from tarsier_tools.passages import Kind

_FILTERS = ("videos", "kinds", "language", "path", "start_s", "end_s")


class TarsierLibraryRetriever(BaseRetriever):
    """Finds moments in a library of videos, filled by ``tarsier-tools library add`` or ``VideoLibrary.add``.

    The Documents are those of :class:`~langchain_tarsier.TarsierLibraryLoader`, with a ``score`` that is
    comparable within one query. Each field from ``k`` to ``end_s`` can also be given to ``invoke``, where
    None lifts a filter.

    Args:
        library: an open library, or the folder or address of one.
        k: Documents to return at most.
        rewatch: show the model the best candidates again, ask whether the query happens there, and return the
            k surest: ``rewatched`` is the raw probability of yes. Takes an event in words.
        videos: only these, by source or id.
        kinds: only these kinds of text: "caption", "event", "chapter", "subtitle".
        language: only texts in it, as a BCP 47 tag.
        path: only files that match this pattern of the shell, such as ``*.mkv`` or ``*/2024/*``.
        start_s, end_s: only what touches this range of its video, in seconds.
        settings, service: who looks at hits again where ``library`` is a folder or an address; by default a
            service of the retriever's own, of the settings. An open library has its own.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    library: VideoLibrary | str | Path
    k: int = Field(default=4, ge=1)
    rewatch: bool = False
    videos: list[str] | None = None
    kinds: list[Kind] | None = None
    language: str | None = None
    path: str | None = None
    start_s: float | None = Field(default=None, ge=0)
    end_s: float | None = Field(default=None, gt=0)
    settings: Settings = Field(default_factory=Settings.load)
    service: VideoService | None = Field(default=None, exclude=True, repr=False)

    _library: VideoLibrary = PrivateAttr()

    def model_post_init(self, context: Any, /) -> None:
        """Open the library; a model is loaded when it is needed."""
        super().model_post_init(context)
        given = self.library
        if not isinstance(given, VideoLibrary) and self.service is None:
            self.service = VideoService(self.settings)
        self._library = open_library(given, service=self.service)

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, **asked: Any
    ) -> list[Document]:
        report = reporter(self.get_name(), {"callbacks": run_manager.get_child()})
        return self._find(query, asked, report)

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun, **asked: Any
    ) -> list[Document]:
        tell = reporter(self.get_name(), {"callbacks": run_manager.get_child()})
        return await in_thread(lambda report: self._find(query, asked, report), tell)

    def _find(self, query: str, asked: dict[str, Any], on_progress: Progress) -> list[Document]:
        names = ("k", "rewatch", *_FILTERS)
        if strange := sorted(asked.keys() - set(names)):
            raise UsageError(f"A search takes no {', '.join(strange)}.", hint=f"Use {', '.join(names)}.")
        given = {name: value for name, value in asked.items() if value is not None or name in _FILTERS}
        wanted = {name: getattr(self, name) for name in names} | given
        found = self._library.search(
            query, merged=False, rewatch_hits=wanted.pop("rewatch"), on_progress=on_progress, **wanted
        )
        return [found_document(hit) for hit in found.hits]
