"""Vectors from an OpenAI-compatible server."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np

from tarsier_tools.errors import BackendFailed, BackendUnavailable

if TYPE_CHECKING:
    from numpy.typing import NDArray

_TOGETHER = 64
_TIMEOUT_S = 60.0


class ServedEmbedder:
    """Asks ``POST {base_url}/embeddings``.

    Args:
        base_url: with its ``/v1``.
        model: as the server names it; by default the first that it lists.
        api_key: sent as a bearer token; never shown.

    Raises BackendUnavailable when the server cannot be reached or refuses; BackendFailed when it breaks.
    """

    def __init__(self, base_url: str, *, model: str = "", api_key: str = "") -> None:
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._base_url = base_url.rstrip("/")
        self._client = httpx.Client(headers=headers, timeout=_TIMEOUT_S)
        self._model = model or str(self._ask("GET", "/models")["data"][0]["id"])
        self.name = f"served:{self._model}"

    def passages(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors of texts, float32 (texts, dimensions), of length 1."""
        vectors: list[list[float]] = []
        for first in range(0, len(texts), _TOGETHER):
            body = {"model": self._model, "input": list(texts[first : first + _TOGETHER])}
            data = sorted(self._ask("POST", "/embeddings", body)["data"], key=lambda each: each["index"])
            vectors += [each["embedding"] for each in data]
        matrix = np.asarray(vectors, np.float32)
        lengths = np.linalg.norm(matrix, axis=1, keepdims=True) if len(matrix) else np.ones((0, 1))
        return (matrix / np.maximum(lengths, 1e-12)).astype(np.float32)

    def query(self, text: str) -> NDArray[np.float32]:
        """The vector of a text to search by, float32 (dimensions,), of length 1."""
        vector: NDArray[np.float32] = self.passages([text])[0]
        return vector

    def _ask(self, method: str, path: str, body: object = None) -> Any:
        try:
            answer = self._client.request(method, f"{self._base_url}{path}", json=body)
            answer.raise_for_status()
            return answer.json()
        except httpx.HTTPStatusError as error:
            code = error.response.status_code
            kind = BackendFailed if code >= 500 else BackendUnavailable
            raise kind(
                f"The embedding server answered {code} to {path}.", hint="Check its model and the API key."
            ) from None
        except (httpx.HTTPError, ValueError, KeyError) as error:
            raise BackendUnavailable(
                f"The embedding server cannot be used: {type(error).__name__}.",
                hint="Check its address and that it is running.",
            ) from None
