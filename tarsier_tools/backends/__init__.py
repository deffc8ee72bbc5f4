"""Whatever runs a model. Importing this loads no model library; opening a local backend does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tarsier_tools.backends.base import Backend
from tarsier_tools.config import Settings
from tarsier_tools.errors import BackendUnavailable, UsageError
from tarsier_tools.media.urls import shown

__all__ = ["Backend", "choose_backend", "open_backend"]

TINY_FOLDER = Path(__file__).parents[1] / "assets" / "tarsier2-tiny"

_EXTRA = frozenset({"torch", "transformers", "tokenizers", "safetensors", "huggingface_hub", "filelock"})
_INSTALL_HINT = 'Type: pip install "tarsier-tools[local]"'


def choose_backend(settings: Settings) -> tuple[str, str]:
    """The backend that the settings lead to ("remote", "local" or "tiny") and the reason, one phrase.

    Raises UsageError for "remote" without a base URL and "local" without a model.
    """
    if settings.backend == "tiny":
        return "tiny", "asked for by name"
    if settings.backend == "local":
        if settings.model is None:
            raise UsageError(
                "The local backend needs a model.",
                hint="Set TARSIER_MODEL to a folder, or a hub id such as omni-research/Tarsier2-Recap-7b.",
            )
        return "local", "asked for by name"
    if settings.backend == "remote" and settings.base_url is None:
        raise UsageError(
            "The remote backend needs the address of a server.",
            hint="Set TARSIER_BASE_URL to something like http://127.0.0.1:8000/v1.",
        )
    if settings.base_url is not None:
        by_name = settings.backend == "remote"
        return "remote", "asked for by name" if by_name else f"a base URL is set: {shown(settings.base_url)}"
    if settings.model is not None:
        return "local", f"a model is set: {settings.model}"
    return "tiny", "no model is set, so the bundled one answers, which understands only drawn shapes"


def open_backend(settings: Settings) -> Backend:
    """The backend that :func:`choose_backend` names, with its model loaded; a server is asked later.

    Raises BackendUnavailable when the extra, the weights, the device or the memory are missing, and
    UsageError for a base URL that is none.
    """
    name, _ = choose_backend(settings)
    if name == "remote":
        from tarsier_tools.backends.remote import RemoteBackend  # loads the HTTP library

        return RemoteBackend(settings)
    with local_extra():
        from tarsier_tools.backends.tarsier2 import Tarsier2Backend
    if name == "local":
        assert settings.model is not None
        return Tarsier2Backend(settings.model, settings)
    if not TINY_FOLDER.is_dir():
        raise BackendUnavailable(
            "This installation lacks the bundled model.",
            hint="Reinstall tarsier-tools, or set TARSIER_MODEL.",
        )
    return Tarsier2Backend(TINY_FOLDER, settings, kind="tiny")


@contextmanager
def local_extra() -> Iterator[None]:
    """For imports of model libraries. Raises BackendUnavailable where they are missing or do not work."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _EXTRA:
            raise
        raise BackendUnavailable(
            f"Running a model here needs the {error.name} package.", hint=_INSTALL_HINT
        ) from error
    except ImportError as error:  # too old, or installed in part
        raise BackendUnavailable(
            f"The installed model libraries do not work: {error}.", hint=f"{_INSTALL_HINT} --upgrade"
        ) from error
