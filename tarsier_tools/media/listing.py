"""Which videos there are in a folder, told by the names of its files: nothing is opened."""

from __future__ import annotations

import os
from pathlib import Path

from tarsier_tools.config import Settings
from tarsier_tools.errors import VideoError, VideoUnreadable
from tarsier_tools.media.source import Source, resolve, resolve_folder
from tarsier_tools.results import VideoFile, VideoFolder

ENDINGS = frozenset(
    {".3gp", ".asf", ".avi", ".flv", ".gif", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg"}
    | {".mts", ".mxf", ".ogv", ".ts", ".vob", ".webm", ".wmv"}
)
"""Endings of names that count as videos, in lower case. Any other file can still be given by its path."""
MAX_ENTRIES = 5000
"""Entries of one folder that are looked at."""


def list_videos(folder: str | Path | None, settings: Settings) -> VideoFolder:
    """The videos and folders in a folder, or in all allowed ones for None; hidden names are left out.

    Links that lead out of the allowed folders are left out too, and counted. Without
    ``settings.allowed_roots`` None means the current folder.

    Raises what :func:`~tarsier_tools.media.source.resolve_folder` raises.
    """
    listing = _Listing(settings)
    if folder is not None:
        listing.add(Path(folder), inside=Path(folder))
    elif settings.allowed_roots is None:
        listing.add(Path(), inside=Path())
    else:
        for root in settings.allowed_roots:
            listing.add(root, inside=Path())
    return VideoFolder(
        folder="" if folder is None else str(folder),
        videos=tuple(listing.videos),
        folders=tuple(listing.folders),
        skipped=tuple(listing.skipped),
    )


class _Listing:
    """Several folders as one list."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.videos: list[VideoFile] = []
        self.folders: list[str] = []
        self.skipped: list[str] = []

    def add(self, folder: Path, *, inside: Path) -> None:
        """List one folder.

        Args:
            inside: what its entries are told of as being in: the shortest path by which they may be found.
        """
        source = resolve_folder(folder, self._settings)
        refused = 0
        for name in self._names(source):
            real = source.path / name
            try:
                if real.is_dir():
                    resolve_folder(real, self._settings)
                    self.folders.append(self._shortest(inside / name, real))
                elif real.suffix.lower() in ENDINGS:
                    size = resolve(real, self._settings).path.stat().st_size
                    self.videos.append(VideoFile(path=self._shortest(inside / name, real), size_bytes=size))
            except (VideoError, OSError):
                refused += 1
        if refused:
            self.skipped.append(
                f"{refused} entries of {source.name} lead out of the allowed folders or cannot be read."
            )

    def _names(self, source: Source) -> list[str]:
        try:
            with os.scandir(source.path) as entries:
                names = [entry.name for entry, _ in zip(entries, range(MAX_ENTRIES + 1), strict=False)]
        except OSError as error:
            raise VideoUnreadable(
                f"The folder {source.name} cannot be listed: {error.strerror}.", hint="Check its permissions."
            ) from error
        if len(names) > MAX_ENTRIES:
            self.skipped.append(f"{source.name} has more than {MAX_ENTRIES} entries; not all are listed.")
        return sorted(name for name in names[:MAX_ENTRIES] if not name.startswith("."))

    def _shortest(self, short: Path, real: Path) -> str:
        """The short path where it leads to the same place as the whole one, by the rules for videos."""
        find = resolve_folder if real.is_dir() else resolve
        try:
            same = find(short, self._settings).path == find(real, self._settings).path
        except VideoError:
            same = False
        return str(short if same else real)
