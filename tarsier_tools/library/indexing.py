"""Taking videos into a library: found, recognised by their bytes, described, and written all at once."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field

from tarsier_tools.errors import Cancelled, TarsierError, UsageError
from tarsier_tools.library.claims import claimed
from tarsier_tools.library.describing import Described, describe
from tarsier_tools.library.stores import Store
from tarsier_tools.media.listing import ENDINGS
from tarsier_tools.types import Progress

if TYPE_CHECKING:
    from tarsier_tools.service import VideoService


class Added(BaseModel):
    """What became of the videos that were to be taken in."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    described: tuple[str, ...] = Field(default=(), description="New or changed: watched and described.")
    known: tuple[str, ...] = Field(default=(), description="Their bytes were known: renamed or copied.")
    unchanged: tuple[str, ...] = Field(default=(), description="Not touched since the last time.")
    failed: tuple[str, ...] = Field(default=(), description="See failures for the reasons.")
    passed_over: tuple[str, ...] = Field(
        default=(), description="Failed the last time and unchanged since, or another process has them."
    )


def found(given: str | Path, *, empty: bool = False) -> Iterator[str]:
    """The videos that a path or URL stands for; of a folder all in it and below, by name. Paths are absolute.

    Raises UsageError for a folder without a video, unless it may be ``empty``.
    """
    source = absolute(given)
    path = Path(source)
    if "://" in source or not S_ISDIR(mode_of(path)):
        yield source
        return
    files = sorted(
        str(each)
        for each in path.rglob("*")
        if each.suffix.lower() in ENDINGS and S_ISREG(mode_of(each)) and not each.name.startswith(".")
    )
    if not files and not empty:
        raise UsageError(
            f"There are no videos in {path.name or path}.",
            hint="Give another folder, or files. What may not be read is passed over.",
        )
    yield from files


def mode_of(path: Path) -> int:
    """What kind of file it is, as ``stat`` says; 0 for what is not there or may not be looked at."""
    try:
        return path.stat().st_mode
    except (OSError, ValueError):
        return 0


def absolute(given: str | Path) -> str:
    """A path as it is found from every working directory; a URL as it is."""
    return str(given) if "://" in str(given) else str(Path(given).expanduser().absolute())


class Indexer:
    """Takes videos into a store, one after the other.

    Args:
        language: of the captions.
    """

    def __init__(self, store: Store, service: VideoService, *, language: str | None) -> None:
        self._store, self._service, self._language = store, service, language

    def add(self, sources: Sequence[str], *, retry_failed: bool, on_progress: Progress) -> Added:
        """Take them in. What fails is noted and does not stop the others; Cancelled does."""
        outcome: dict[str, list[str]] = {name: [] for name in Added.model_fields}
        began = time.monotonic()
        for done, source in enumerate(sources):
            watched = len(outcome["described"])
            left = ""
            if watched:
                seconds = (time.monotonic() - began) / watched * (len(sources) - done)
                left = f", about {duration(seconds)} left"

            def tell(part: int, parts: int, message: str, done: int = done, left: str = left) -> None:
                text = f"video {done + 1} of {len(sources)}: {message}"
                if parts > 1:
                    text += f" {part}/{parts}"
                on_progress(done, len(sources), text + left)

            tell(0, 1, Path(source).name)
            try:
                outcome[self._add_one(source, retry_failed, tell)].append(source)
            except Cancelled:
                raise
            except TarsierError as error:
                self._store.put_failure(source, stamp_of(source), error)
                outcome["failed"].append(source)
        on_progress(len(sources), len(sources), "done")
        return Added(**{name: tuple(each) for name, each in outcome.items()})

    def _add_one(self, source: str, retry_failed: bool, on_progress: Progress) -> str:
        """What became of it: a field of Added."""
        stamp = stamp_of(source)
        if outcome := self.untouched(source, stamp, retry_failed=retry_failed):
            return outcome
        content = self._service.identify(source, on_progress=on_progress)
        if outcome := self.recognised(source, stamp, content):
            return outcome
        with claimed(self._store, content, on_progress) as claim:
            if claim is None:
                return "passed_over"
            described = describe(self._service, source, language=self._language, on_progress=claim)
            self.put(source, stamp, content, described)
        return "described"

    def untouched(self, source: str, stamp: str, *, retry_failed: bool) -> str:
        """What becomes of a file that need not even be read: a field of Added; "" for one that must."""
        before = self._store.stamp(source)
        if before is not None and stamp and before[0] == stamp:
            return "unchanged"
        if not retry_failed and stamp and self._store.failed_before(source, stamp):
            return "passed_over"
        return ""

    def recognised(self, source: str, stamp: str, content: str) -> str:
        """What became of a file whose bytes are known: a field of Added; "" for one to be described."""
        known = self._store.video(content)
        if known is None:
            return ""
        before = self._store.stamp(source)
        renamed = [  # not copied
            other
            for other in known.sources
            if other != source and "://" not in other and _gone(Path(other).expanduser())
        ]
        self._store.put_file(content, source, stamp, gone=renamed)
        return "unchanged" if before is not None and before[1] == content else "known"

    def put(self, source: str, stamp: str, content: str, described: Described) -> None:
        """Take in a video that was described."""
        self._store.put_video(
            content,
            source,
            stamp,
            described.info,
            described.entries,
            language=described.language,
            model=described.model,
            look=described.look,
        )


def _gone(path: Path) -> bool:
    """Whether a file is not there, which is not the same as that it may not be looked at."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def stamp_of(source: str) -> str:
    """Size and time of change of a file; "" for what is no file here, as a URL."""
    try:
        status = Path(source).expanduser().stat()
    except (OSError, ValueError):
        return ""
    return f"{status.st_size}-{status.st_mtime_ns}"


def duration(seconds: float) -> str:
    """A time to wait, in words."""
    minutes = round(seconds / 60)
    if minutes < 1:
        return "a minute"
    return f"{minutes} min" if minutes < 90 else f"{minutes / 60:.1f} h"
