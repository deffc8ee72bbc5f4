"""Taking videos into a library: found, recognised by their bytes, described, and written all at once."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field

from tarsier_tools import prompts
from tarsier_tools.errors import Cancelled, TarsierError, UsageError
from tarsier_tools.library.claims import claimed
from tarsier_tools.library.likeness import picture_hash, places
from tarsier_tools.library.store import Entry, Store
from tarsier_tools.media.listing import ENDINGS
from tarsier_tools.passages import Passage, read_passages
from tarsier_tools.results import Picture
from tarsier_tools.types import Progress

if TYPE_CHECKING:
    from tarsier_tools.service import VideoService

THUMBNAIL_SIDE = 320
_THUMBNAILS_TOGETHER = 64


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
    """The videos that a path or URL stands for; of a folder all in it and below, by name.

    Raises UsageError for a folder without a video, unless it may be ``empty``.
    """
    path = Path(given).expanduser()
    if not path.is_dir():
        yield str(given)
        return
    files = sorted(
        str(each)
        for each in path.rglob("*")
        if each.suffix.lower() in ENDINGS and each.is_file() and not each.name.startswith(".")
    )
    if not files and not empty:
        raise UsageError(
            f"There are no videos in {path.name or path}.", hint="Give another folder, or files."
        )
    yield from files


class Indexer:
    """Takes videos into a store, one after the other.

    Args:
        thumbnails: the folder for a small picture of each segment.
        language: of the captions.
    """

    def __init__(
        self, store: Store, service: VideoService, thumbnails: Path, *, language: str | None
    ) -> None:
        self._store, self._service, self._thumbnails = store, service, thumbnails
        self._language = language

    def add(self, sources: Sequence[str], *, retry_failed: bool, on_progress: Progress) -> Added:
        """Take them in. What fails is noted and does not stop the others; Cancelled does."""
        outcome: dict[str, list[str]] = {name: [] for name in Added.model_fields}
        began = time.monotonic()
        for done, source in enumerate(sources):
            watched = len(outcome["described"])
            left = ""
            if watched:
                seconds = (time.monotonic() - began) / watched * (len(sources) - done)
                left = f", about {_duration(seconds)} left"

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
                self._store.put_failure(source, _stamp(source), error)
                outcome["failed"].append(source)
        on_progress(len(sources), len(sources), "done")
        return Added(**{name: tuple(each) for name, each in outcome.items()})

    def _add_one(self, source: str, retry_failed: bool, on_progress: Progress) -> str:
        """What became of it: a field of Added."""
        stamp = _stamp(source)
        before = self._store.stamp(source)
        if before is not None and stamp and before[0] == stamp:
            return "unchanged"
        if not retry_failed and stamp and self._store.failed_before(source, stamp):
            return "passed_over"
        content = self._service.identify(source, on_progress=on_progress)
        known = self._store.video(content)
        if known is not None:
            with self._store.transaction():
                self._store.put_file(content, source, stamp)
                for other in known.sources:  # renamed, not copied
                    if other != source and "://" not in other and not Path(other).expanduser().exists():
                        self._store.remove_file(other)
            return "unchanged" if before is not None and before[1] == content else "known"
        with claimed(self._store, content, on_progress) as claim:
            if claim is None:
                return "passed_over"
            self._describe(content, source, stamp, claim)
        return "described"

    def _describe(self, content: str, source: str, stamp: str, on_progress: Progress) -> None:
        info = self._service.info(source, on_progress=on_progress)
        captions = read_passages(
            self._service, source, "segments", language=self._language, on_progress=on_progress
        )
        subtitles = read_passages(self._service, source, "subtitles", on_progress=on_progress)
        thumbnails, look = self._pictures(source, captions, on_progress)
        prompt = prompts.caption(self._language or self._service.settings.language)
        entries = [
            *(Entry(each, prompt, name) for each, name in zip(captions, thumbnails, strict=True)),
            *(Entry(each) for each in subtitles),
        ]
        with self._store.transaction():
            self._store.put_video(
                content,
                source,
                stamp,
                info,
                entries,
                language=captions[0].language if captions else "",
                model=captions[0].model if captions else "",
                look=look,
            )

    def _pictures(
        self, source: str, captions: Sequence[Passage], on_progress: Progress
    ) -> tuple[list[str], bytes]:
        """(names of thumbnails, look): one name for the middle of each segment, "" where there is no picture;
        and the hashes that the video is known by when it comes again in other bytes."""
        names, look = [], b""
        for first in range(0, len(captions), _THUMBNAILS_TOGETHER):
            some = captions[first : first + _THUMBNAILS_TOGETHER]
            times_s = [t for each in some for t in places(each.start_s, each.end_s, len(captions))]
            view = self._service.view(
                source, times_s=times_s, max_side=THUMBNAIL_SIDE, on_progress=on_progress
            )
            look += b"".join(picture_hash(picture.jpeg) for picture in view.pictures)
            names += [self._thumbnail(each, view.pictures) for each in some]
        return names, look

    def _thumbnail(self, segment: Passage, pictures: Sequence[Picture]) -> str:
        """Keep the picture from nearest the middle of a segment; its name, or "" for none of it."""
        middle = (segment.start_s + segment.end_s) / 2

        def distance(picture: Picture) -> float:
            return abs((picture.time_s or 0.0) - middle)

        picture = min(pictures, key=distance, default=None)
        if picture is None or distance(picture) > (segment.end_s - segment.start_s) / 2:
            return ""
        folder = segment.video_id[:2]
        name = f"{folder}/{segment.id}.jpg"
        (self._thumbnails / folder).mkdir(parents=True, exist_ok=True)
        (self._thumbnails / name).write_bytes(picture.jpeg)
        return name


def _stamp(source: str) -> str:
    """Size and time of change of a file; "" for what is no file here, as a URL."""
    try:
        status = Path(source).expanduser().stat()
    except (OSError, ValueError):
        return ""
    return f"{status.st_size}-{status.st_mtime_ns}"


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    if minutes < 1:
        return "a minute"
    return f"{minutes} min" if minutes < 90 else f"{minutes / 60:.1f} h"
