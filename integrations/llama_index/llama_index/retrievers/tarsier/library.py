"""A retriever over all videos of a library."""

from __future__ import annotations

from pathlib import Path

from llama_index.core.callbacks import CallbackManager
from llama_index.core.retrievers import BaseRetriever
from llama_index.core.schema import NodeWithScore, QueryBundle
from llama_index.core.vector_stores import MetadataFilters
from llama_index.readers.tarsier.documents import found_node
from llama_index.retrievers.tarsier.filters import as_search
from llama_index.tools.tarsier.events import reporter

from tarsier_tools import Progress, Settings, UsageError, VideoService, in_thread
from tarsier_tools.library import VideoLibrary, open_library


class TarsierLibraryRetriever(BaseRetriever):
    """Finds the stretches of video in a library that a query is about, by words and by meaning.

    The library is filled by ``tarsier-tools library add`` or ``VideoLibrary.add``. Hits are nodes with the
    ids and metadata of :class:`~llama_index.readers.tarsier.TarsierLibraryReader`.

    Args:
        library: an open library, or the folder or address of one.
        similarity_top_k: hits of a query at most.
        filters: any of these, all of which hold: ``video_id`` or ``source`` (``==``, ``in``); ``type``, the
            kind of text (``==``, ``in``); ``language`` (``==``); ``path`` (``text_match`` with a pattern of
            the shell such as ``*.mkv`` or ``*/2024/*``); ``end`` (``>``, ``>=``) and ``start`` (``<``,
            ``<=``), which together are what touches a range of its video. Any other is refused.
        rewatch: show the model the best candidates again, ask whether the query happens there, and give the
            surest; the score and the ``rewatched`` metadata of a node are the raw probability of yes. Takes
            an event in words.
        service, settings: who looks at hits again where ``library`` is a folder or an address; the caller
            closes the service. By default one of the retriever's own, of the settings. An open library has
            its own.
    """

    def __init__(
        self,
        library: VideoLibrary | str | Path,
        *,
        similarity_top_k: int = 5,
        filters: MetadataFilters | None = None,
        rewatch: bool = False,
        service: VideoService | None = None,
        settings: Settings | None = None,
        callback_manager: CallbackManager | None = None,
    ) -> None:
        super().__init__(callback_manager=callback_manager)
        if similarity_top_k < 1:
            raise UsageError(f"similarity_top_k is {similarity_top_k}.", hint="Give 1 or more.")
        if not isinstance(library, VideoLibrary):
            service = service or VideoService(settings or Settings.load())
        self._library = open_library(library, service=service)
        self._top_k, self._rewatch = similarity_top_k, rewatch
        self._filters = as_search(filters)

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return self._search(query_bundle.query_str, reporter("retriever"))

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return await in_thread(
            lambda progress: self._search(query_bundle.query_str, progress), reporter("retriever")
        )

    def _search(self, query: str, on_progress: Progress) -> list[NodeWithScore]:
        found = self._library.search(
            query,
            k=self._top_k,
            merged=False,
            rewatch_hits=self._rewatch,
            on_progress=on_progress,
            **self._filters,
        )
        return [found_node(hit) for hit in found.hits]
