"""A library that is there already: what searches or reads one begins with it."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from tarsier_tools.errors import UsageError
from tarsier_tools.library.library import VideoLibrary
from tarsier_tools.library.sqlite_store import FILE

if TYPE_CHECKING:
    from tarsier_tools.service import VideoService

_log = logging.getLogger(__name__)


def open_library(given: VideoLibrary | str | Path, *, service: VideoService | None = None) -> VideoLibrary:
    """The library itself, or the one at a folder or address.

    A folder must hold a library: a mistyped one would become a new library in which nothing is ever found.
    What there is to know about how it is searched is logged as a warning.

    Args:
        service: who looks at hits again; an open library has its own.

    Raises UsageError for a folder without a library; LibraryError and its kinds when it cannot be used.
    """
    if isinstance(given, VideoLibrary):
        return given
    if "://" not in str(given) and not (Path(given).expanduser() / FILE).is_file():
        raise UsageError(
            f"There is no library in {given}.",
            hint=f"Check the folder, or make one: tarsier-tools library add --library {given} VIDEOS",
        )
    library = VideoLibrary(given, service=service)
    if library.notice:
        _log.warning("%s", library.notice)
    return library
