"""A library that is there already: what searches or reads one begins with it."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from tarsier_tools.library.library import VideoLibrary

if TYPE_CHECKING:
    from tarsier_tools.service import VideoService

_log = logging.getLogger(__name__)


def open_library(given: VideoLibrary | str | Path, *, service: VideoService | None = None) -> VideoLibrary:
    """The library itself, or the one at a folder or address.

    A mistyped folder does not become a new library, in which nothing would ever be found.
    What there is to know about how it is searched is logged as a warning.

    Args:
        service: who looks at hits again; an open library has its own.

    Raises UsageError where there is none; LibraryError and its kinds when it cannot be used.
    """
    if isinstance(given, VideoLibrary):
        return given
    library = VideoLibrary(given, service=service, create=False)
    if library.notice:
        _log.warning("%s", library.notice)
    return library
