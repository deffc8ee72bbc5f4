"""A few passages searched in memory, without a library: what the retrievers of the frameworks stand on."""

from __future__ import annotations

import sqlite3
import threading
import weakref
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from tarsier_tools.library import lexical
from tarsier_tools.library.ranking import fuse
from tarsier_tools.passages import Hit, Passage

if TYPE_CHECKING:
    from numpy.typing import NDArray

Embed = Callable[[Sequence[str]], Sequence[Sequence[float]]]
"""Texts to vectors, all of the same length."""

_REACH = 5
"""Each of two searches gives so many times the hits wanted, for their fusion to choose from."""


class MemoryIndex:
    """Passages that can be searched by their words, and by their meaning where an embedder is given.

    Safe to use from several threads. A passage that is added again replaces the one of the same id.

    Args:
        embed_passages, embed_query: the two sides of an embedder; both or none.
    """

    def __init__(
        self,
        passages: Sequence[Passage] = (),
        *,
        embed_passages: Embed | None = None,
        embed_query: Callable[[str], Sequence[float]] | None = None,
    ) -> None:
        if (embed_passages is None) != (embed_query is None):
            raise ValueError("embed_passages and embed_query go together")
        self._embed_passages, self._embed_query = embed_passages, embed_query
        self._lock = threading.Lock()
        self._connection = sqlite3.connect(":memory:", check_same_thread=False)
        weakref.finalize(self, self._connection.close)
        lexical.create(self._connection)
        self._passages: dict[int, Passage] = {}
        self._numbers: dict[str, int] = {}
        self._vectors: NDArray[np.float32] = np.zeros((0, 0), np.float32)
        self.add(passages)

    def __len__(self) -> int:
        return len(self._numbers)

    def add(self, passages: Sequence[Passage]) -> None:
        """Put passages into the index."""
        vectors = None
        if self._embed_passages is not None and passages:
            vectors = _unit(self._embed_passages([passage.text for passage in passages]))
        with self._lock:
            first = max(self._passages, default=-1) + 1
            for number, passage in enumerate(passages, start=first):
                old = self._numbers.pop(passage.id, None)
                if old is not None:
                    del self._passages[old]
                    lexical.remove(self._connection, [old])
                self._passages[number] = passage
                self._numbers[passage.id] = number
            lexical.add(
                self._connection, ((first + place, passage.text) for place, passage in enumerate(passages))
            )
            if vectors is not None:
                self._vectors = np.concatenate([self._vectors, vectors]) if first else vectors

    def search(
        self, query: str, k: int = 5, *, where: Callable[[Passage], bool] = lambda _: True
    ) -> list[Hit]:
        """The k best passages, the best first; fewer when fewer have anything to do with the query.

        None for an empty query, to which an embedder would still find something near. The score of a hit is
        BM25's without an embedder, and that of the fusion of both searches with one.

        Args:
            where: leaves out the passages for which it is false.
        """
        if not query.strip():
            return []
        vector = None if self._embed_query is None else _unit([self._embed_query(query)])[0]
        with self._lock:
            allowed = {number for number, passage in self._passages.items() if where(passage)}
            found = lexical.find(self._connection, query, len(self._passages))
            scored = [(number, score) for number, score in found if number in allowed]
            if vector is not None:
                likeness = self._vectors @ vector
                near = [int(number) for number in np.argsort(-likeness, kind="stable") if number in allowed]
                reach = k * _REACH
                scored = fuse([[number for number, _ in scored[:reach]], near[:reach]])
            return [Hit(passage=self._passages[number], score=score) for number, score in scored[:k]]


def _unit(vectors: Sequence[Sequence[float]]) -> NDArray[np.float32]:
    """Rows of length 1, so that their products are cosines."""
    matrix = np.asarray(vectors, np.float32)
    lengths = np.linalg.norm(matrix, axis=1, keepdims=True).astype(np.float32)
    unit: NDArray[np.float32] = matrix / np.maximum(lengths, np.float32(1e-12))
    return unit
