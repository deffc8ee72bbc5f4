"""Vectors from an OpenAI-compatible server."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx
import numpy as np

from tarsier_tools.backends.remote.refusals import BUSY, Refused
from tarsier_tools.errors import (
    BackendError,
    BackendFailed,
    BackendRejected,
    BackendTimeout,
    BackendUnavailable,
    UsageError,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

_TOGETHER = 64


class ServedEmbedder:
    """Asks ``POST {base_url}/embeddings``. Safe to use from several threads.

    Args:
        base_url: with its ``/v1``; redirects are not followed.
        model: as the server names it; by default the first that it lists.
        api_key: sent as a bearer token; never shown.
        timeout_s: how long the server may say nothing.

    Raises UsageError for what is no address; BackendUnavailable when the server cannot be reached or refuses
    access; BackendRejected when it refuses the texts; BackendTimeout and BackendFailed, after which the same
    may succeed later.
    """

    def __init__(self, base_url: str, *, model: str = "", api_key: str = "", timeout_s: float = 60.0) -> None:
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
            raise UsageError(
                "The address of the embedding server is not http(s)://HOST/PATH.",
                hint="Give one like http://127.0.0.1:8000/v1; a key is given apart from it.",
            )
        self._base_url = base_url.rstrip("/")
        self._server = f"The embedding server {self._base_url}"
        self._key, self._timeout_s = api_key, timeout_s
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._client = httpx.Client(headers=headers, timeout=timeout_s)
        weakref.finalize(self, self._client.close)  # its connections live as long as whoever asks
        self._model = model or self._first_model()
        self.name = f"served:{self._model}"

    def __reduce__(self) -> tuple[object, ...]:
        # In another process: connections of its own.
        again = partial(
            ServedEmbedder, self._base_url, model=self._model, api_key=self._key, timeout_s=self._timeout_s
        )
        return again, ()

    def passages(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors of texts, float32 (texts, dimensions), of length 1."""
        if not texts:
            return np.zeros((0, 0), np.float32)
        rows: list[Any] = []
        for first in range(0, len(texts), _TOGETHER):
            some = list(texts[first : first + _TOGETHER])
            data = self._data(
                "/embeddings", self._ask("POST", "/embeddings", {"model": self._model, "input": some})
            )
            if len(data) != len(some):
                raise self._unreadable("/embeddings", f"{len(data)} vectors for {len(some)} texts")
            rows += sorted(data, key=lambda row: row.get("index", 0))
        try:
            matrix = np.array([row["embedding"] for row in rows], np.float32)
        except (KeyError, TypeError, ValueError):
            raise self._unreadable("/embeddings", "vectors that are none") from None
        if matrix.ndim != 2 or not matrix.shape[1] or not np.isfinite(matrix).all():
            raise self._unreadable("/embeddings", "vectors that are none")
        lengths = np.linalg.norm(matrix, axis=1, keepdims=True)
        unit: NDArray[np.float32] = matrix / np.maximum(lengths, np.float32(1e-12))
        return unit

    def query(self, text: str) -> NDArray[np.float32]:
        """The vector of a text to search by, float32 (dimensions,), of length 1."""
        vector: NDArray[np.float32] = self.passages([text])[0]
        return vector

    def _first_model(self) -> str:
        for row in self._data("/models", self._ask("GET", "/models")):
            if row.get("id"):
                return str(row["id"])
        raise BackendUnavailable(f"{self._server} lists no model.", hint="Name one: URL#MODEL.")

    def _data(self, path: str, answer: Any) -> list[dict[str, Any]]:
        """The rows of an answer."""
        rows = answer.get("data") if isinstance(answer, dict) else None
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise self._unreadable(path, "something else")
        return rows

    def _ask(self, method: str, path: str, body: object = None) -> Any:
        try:
            answer = self._client.request(method, f"{self._base_url}{path}", json=body)
        except httpx.TimeoutException:
            raise BackendTimeout(
                f"{self._server} said nothing for {self._timeout_s:g} s.",
                hint="Look at its log, or check the address and what lies in between.",
            ) from None
        except httpx.ConnectError as error:
            raise BackendUnavailable(
                f"{self._server} cannot be reached: {self._safe(str(error))}.",
                hint="Start it, or check its address.",
            ) from None
        except httpx.HTTPError as error:
            words = self._safe(str(error) or type(error).__name__)
            raise BackendFailed(f"{self._server} broke off: {words}.", hint="Look at its log.") from None
        if answer.status_code != 200:
            raise self._refused(path, answer)
        try:
            return answer.json()
        except ValueError:
            raise self._unreadable(path, "something that is no JSON") from None

    def _refused(self, path: str, answer: httpx.Response) -> BackendError:
        """The error for an answer that is none, with the server's words in it."""
        status = answer.status_code
        said = self._safe(Refused(status, answer.headers, answer.content, self._base_url).said)
        what = f"{self._server} answered {status} to {path}" + (f": {said.rstrip('.')}." if said else ".")
        if status in (401, 403):
            return BackendUnavailable(what, hint="Set TARSIER_EMBEDDER_API_KEY to a key that it takes.")
        if status in (404, 405) or 300 <= status < 400:
            return BackendUnavailable(
                what, hint="Check its address, which usually ends in /v1, and its model: URL#MODEL."
            )
        if status in BUSY:
            return BackendFailed(what, hint="Try again later; what is done is kept.")
        if status < 500:
            return BackendRejected(what, hint=f"Check that {self._model or 'its model'} makes embeddings.")
        return BackendFailed(what, hint="Look at its log.")

    def _unreadable(self, path: str, what: str) -> BackendFailed:
        return BackendFailed(
            f"{self._server} answered {path} with {what}.",
            hint="Check that it is OpenAI-compatible and that its model makes embeddings: URL#MODEL.",
        )

    def _safe(self, text: str) -> str:
        return text.replace(self._key, "***") if self._key else text
