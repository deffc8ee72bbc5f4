"""A library of videos: described once, searched for ever, looked at again."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from stat import S_ISDIR
from types import TracebackType
from typing import TYPE_CHECKING, Self, get_args

from pydantic import BaseModel, ConfigDict, Field

from tarsier_tools import arguments
from tarsier_tools.errors import UnknownVideo, UsageError
from tarsier_tools.library.embedders import Embedder, open_embedder
from tarsier_tools.library.indexing import Added, Indexer, absolute, found, mode_of
from tarsier_tools.library.likeness import Duplicates, duplicates
from tarsier_tools.library.ray_cluster import RayEngine
from tarsier_tools.library.searching import path_filter, search
from tarsier_tools.library.stores import Failure, Filters, Row, open_store
from tarsier_tools.library.transfer import export_to, import_from
from tarsier_tools.passages import Hit, Kind, Passage
from tarsier_tools.rewatching import CANDIDATES, rewatch
from tarsier_tools.types import Progress, no_progress

if TYPE_CHECKING:
    from tarsier_tools.service import VideoService

_TICK_S = 0.2
_TOGETHER = 128
"""Texts that are given to an embedder at once."""
_UNSEEN = (
    "Hits that could not be looked at again, and come last: {}. Their files are gone or cannot be read, or "
    "the model gives no probabilities."
)


class Found(BaseModel):
    """What a search found."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    query: str = Field(description="What was searched for.")
    hits: tuple[Hit, ...] = Field(description="The best first.")
    notice: str = Field(default="", description="What to know about how it was searched; empty for nothing.")


class VideoLibrary:
    """Videos in a folder of its own, as one SQLite file with small pictures beside it; or in LanceDB.

    ::

        with VideoLibrary("films", service=service) as library:
            library.add("~/Videos")
            for hit in library.search("a dog jumps into the water").hits:
                print(hit.passage.source, hit.passage.start_s, hit.passage.text)

    Several processes may read and write one library. Safe to use from several threads.

    Args:
        address: a folder, or ``lance://FOLDER`` or ``lance+s3://BUCKET/PREFIX``.
        service: who watches videos, for :meth:`add` and ``rewatch``; the caller closes it.
        embedder: how texts are searched by meaning, see
            :func:`~tarsier_tools.library.embedders.open_embedder`; the one that a library was begun with is
            the one it stays with.
        new_embedder: take another embedder than the library was begun with; call :meth:`reembed` then.
        create: begin a library where there is none, instead of raising UsageError.

    Raises LibraryError and its kinds when it cannot be used; UsageError for what is no address or no
    embedder.
    """

    def __init__(
        self,
        address: str | Path,
        *,
        service: VideoService | None = None,
        embedder: object = "auto",
        new_embedder: bool = False,
        create: bool = True,
    ) -> None:
        self.address = str(address)
        self._embedder, self.notice = open_embedder(embedder)
        self._service = service
        self._store = open_store(address, create=create)
        try:
            if not new_embedder:
                self._check_embedder()
        except BaseException:
            self._store.close()
            raise

    # ------------------------------------------------------------ filling it

    def add(
        self,
        videos: str | Path | Sequence[str | Path],
        *,
        language: str | None = None,
        retry_failed: bool = False,
        engine: RayEngine | None = None,
        on_progress: Progress = no_progress,
    ) -> Added:
        """Take in files, folders with all below them, and URLs; here, or with an ``engine`` on Ray.

        A video whose bytes are known is never described again, whatever it is called now; a changed one takes
        the place of what it was. What is done when the work is interrupted, in whatever way, is done: the
        next call goes on. A video that fails is noted, and passed over until it changes or ``retry_failed``
        is set; but not where a server that did not answer, or the library itself, was the reason.

        Raises UsageError when there is nothing to take in; Cancelled; with an engine BackendUnavailable when
        Ray is not installed, and LibraryError when it cannot be reached or the job fails. What is wrong with
        single videos is in :meth:`failures`.
        """
        given = [videos] if isinstance(videos, str | Path) else list(videos)
        sources = list(dict.fromkeys(source for each in given for source in found(each)))
        if not sources:
            raise UsageError("No videos are given.", hint="Give files, folders or URLs.")
        if engine is None:
            indexer = Indexer(self._store, self._watcher(), language=language)
            added = indexer.add(sources, retry_failed=retry_failed, on_progress=on_progress)
            self._embed(on_progress)
            return added
        from tarsier_tools.library.ray_engine import TEXTS, RayIndexer

        with RayIndexer(self._store, self._watcher(), engine, language=language) as many:
            added = many.add(sources, retry_failed=retry_failed, on_progress=on_progress)
            self._embed(on_progress, many.embedder(self._embedder, on_progress), TEXTS)
        return added

    def watch(
        self,
        folders: str | Path | Sequence[str | Path],
        *,
        every_s: float = 10.0,
        language: str | None = None,
        on_added: Callable[[Added], None],
        on_progress: Progress = no_progress,
    ) -> None:
        """Take in what comes new into folders, or changes there, until ``on_progress`` raises Cancelled.

        A file that was written to within the last ``every_s`` seconds is left for the next round. Nothing
        comes of a folder that is away for a time, as an unplugged disk.

        Raises UsageError for what is no folder at the start.
        """
        given = [folders] if isinstance(folders, str | Path) else list(folders)
        for folder in given:
            if not S_ISDIR(mode_of(Path(absolute(folder)))):
                raise UsageError(
                    f"There is no folder {folder}.", hint="Check its name; library add takes files."
                )
        indexer = Indexer(self._store, self._watcher(), language=language)
        while True:
            sources = [
                source
                for folder in given
                for source in found(folder, empty=True)
                if _settled(Path(source), every_s)
            ]
            added = indexer.add(sources, retry_failed=False, on_progress=on_progress)
            if added.described or added.known or added.failed:
                self._embed(on_progress)
                on_added(added)
            until = time.monotonic() + every_s
            while time.monotonic() < until:
                on_progress(0, 1, f"watching {len(sources)} videos")
                time.sleep(_TICK_S)

    def remove(self, video: str) -> None:
        """Forget a video, by its source or its id; files on the disk stay. Raises UnknownVideo."""
        if not (self._store.remove(video) or self._store.remove(absolute(video))):
            raise self._unknown(video)

    def reembed(self, *, on_progress: Progress = no_progress) -> None:
        """Make all vectors anew with this library's embedder."""
        self._store.drop_vectors(self._embedder.name if self._embedder is not None else "")
        self._embed(on_progress)

    def export(self, path: str | Path) -> int:
        """Write all segments to a .jsonl or .parquet file; how many they are."""
        return export_to(self._store, Path(path).expanduser())

    def import_(self, path: str | Path, *, on_progress: Progress = no_progress) -> int:
        """Take in the videos of an exported library that this one does not know; how many."""
        taken = import_from(self._store, Path(path).expanduser(), on_progress=on_progress)
        self._embed(on_progress)
        return taken

    # ------------------------------------------------------------ searching it

    def search(
        self,
        query: str,
        *,
        k: int = 10,
        videos: Sequence[str] | None = None,
        kinds: Sequence[Kind] | Kind | None = None,
        language: str | None = None,
        path: str | None = None,
        start_s: float | None = None,
        end_s: float | None = None,
        merged: bool = True,
        rewatch_hits: bool = False,
        on_progress: Progress = no_progress,
    ) -> Found:
        """The k stretches of video that the query is about.

        Args:
            videos: only these, or only this one, by source or id.
            kinds: only these kinds of text, or only this one.
            language: only texts in it, as a BCP 47 tag.
            path: only files that match this pattern of the shell, such as ``*.mkv`` or ``*/2024/*``.
            start_s, end_s: only stretches that touch this range of their video.
            merged: let neighbouring hits with the same words of the query become one, of at most a minute,
                with the text of the better; False for the segments as they are.
            rewatch_hits: show the best candidates to the model again with the query, each segment by itself,
                and order them by what it sees; those that cannot be seen any more come last.

        Raises UsageError for an empty query, a bad k, no such kind and an empty range; UnknownVideo.
        """
        text = arguments.words("query", query)
        if not isinstance(k, int) or k < 1:
            raise UsageError(f"k is {k!r}; it must be 1 or more.", hint="Leave it away for 10.")
        self._check_embedder()
        filters = self._filters(videos, kinds, language, path, start_s, end_s)
        wanted = k * CANDIDATES if rewatch_hits else k
        merged = merged and not rewatch_hits
        hits = search(self._store, self._embedder, text, wanted, filters=filters, merged=merged)
        if rewatch_hits:
            hits = rewatch(self._watcher(), hits, text, language=language, on_progress=on_progress)
        hits, notice = hits[:k], self.notice
        if rewatch_hits and (unseen := sum(1 for hit in hits if hit.rewatched is None)):
            notice = f"{notice} {_UNSEEN.format(unseen)}".strip()
        return Found(query=text, hits=tuple(hits), notice=notice)

    # ------------------------------------------------------------ knowing it

    @property
    def embedder(self) -> str:
        """The name of what meanings are searched by; empty where only words are."""
        return self._embedder.name if self._embedder is not None else ""

    def videos(self) -> Iterator[Row]:
        """All videos, in the order in which they were added."""
        return self._store.videos()

    def video(self, name: str) -> Row:
        """The video of this source, id or content hash. Raises UnknownVideo."""
        row = self._store.video(name) or self._store.video(absolute(name))
        if row is None:
            raise self._unknown(name)
        return row

    def passages(self, video: str, *, kinds: Sequence[Kind] | Kind | None = None) -> list[Passage]:
        """All that is known about a video, or only these kinds of it, in the order of time.

        Raises UnknownVideo; UsageError for no such kind.
        """
        wanted = _known_kinds(kinds)
        passages = (entry.passage for entry in self._store.entries(self.video(video).uuid))
        return [passage for passage in passages if wanted is None or passage.kind in wanted]

    def thumbnail(self, segment: str) -> bytes | None:
        """The small picture (JPEG) of the segment of this id; None when there is none."""
        return self._store.thumbnail(segment)

    def failures(self) -> list[Failure]:
        """What could not be taken in, and why."""
        return self._store.failures()

    def duplicates(self) -> Duplicates:
        """Which videos are in the library more than once: the same bytes, or other bytes that look the same.

        Encoded again, scaled, or a little shorter is the same; mirrored, cropped or framed is not.
        """
        return duplicates(self._store)

    def stats(self) -> dict[str, int]:
        """Counts of videos, files, failures, segments by kind and vectors, and the bytes on the disk."""
        return {**self._store.counts(), "bytes": self._store.size_bytes()}

    def verify(self) -> list[str]:
        """What is wrong with the library's files, one sentence each; empty when all is well."""
        return self._store.problems()

    def vacuum(self) -> None:
        """Give room that is no longer needed back to the disk."""
        self._store.vacuum()

    def close(self) -> None:
        """Close the file."""
        self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # ------------------------------------------------------------ inside

    def _watcher(self) -> VideoService:
        if self._service is None:
            raise UsageError(
                "This library was opened without a service.", hint="Give VideoLibrary(..., service=...)."
            )
        return self._service

    def _unknown(self, video: str) -> UnknownVideo:
        return UnknownVideo(
            f"{video} is not in the library.", hint="See which there are (library show), or add it."
        )

    def _check_embedder(self) -> None:
        known = self._store.meta("embedder") or ""
        mine = self._embedder.name if self._embedder is not None else ""
        if known and not mine:
            self.notice = (
                f"Only words are searched, not meanings: this library was made with the embedder {known}, "
                "which is not in use."
            )
        elif known and known != mine:
            raise UsageError(
                f"This library was made with the embedder {known}, not with {mine}.",
                hint="Open it with that one (--embedder), or make its vectors anew: library reembed; in "
                "Python new_embedder=True and reembed().",
            )

    def _embed(
        self, on_progress: Progress, embedder: Embedder | None = None, together: int = _TOGETHER
    ) -> None:
        """Give a vector to every segment that has none."""
        embedder = embedder or self._embedder
        if embedder is None:
            return
        if not self._store.meta("embedder"):
            self._store.set_meta("embedder", embedder.name)
        counted = self._store.counts()
        done, total = counted["vectors"], counted["segments"]
        for rows in self._store.without_vector(together):
            on_progress(done, total, "making vectors")
            vectors = embedder.passages([text for _, text in rows])
            self._store.put_vectors(embedder.name, zip((key for key, _ in rows), vectors, strict=True))
            done += len(rows)

    def _filters(
        self,
        videos: Sequence[str] | None,
        kinds: Sequence[Kind] | Kind | None,
        language: str | None,
        path: str | None,
        start_s: float | None,
        end_s: float | None,
    ) -> Filters:
        names, ids = arguments.several(videos), None
        if names is not None or path is not None:
            rows = list(self.videos()) if names is None else [self.video(name) for name in names]
            fits = path_filter(path) if path is not None else (lambda _: True)
            ids = tuple(row.uuid for row in rows if any(fits(source) for source in row.sources))
        if end_s is not None and end_s <= (start_s or 0):
            raise UsageError(
                f"There is nothing between {start_s or 0:g} and {end_s:g} s.",
                hint="Give an end after the start.",
            )
        return Filters(
            videos=ids,
            kinds=_known_kinds(kinds),
            language=language,
            start_s=start_s,
            end_s=end_s,
        )


def _settled(path: Path, seconds: float) -> bool:
    """Whether a file is there and was not written to for so long; times to come are wrong clocks."""
    try:
        return abs(time.time() - path.stat().st_mtime) > seconds
    except OSError:  # it went away meanwhile
        return False


def _known_kinds(kinds: Sequence[Kind] | Kind | None) -> tuple[Kind, ...] | None:
    wanted = arguments.several(kinds)
    for kind in wanted or ():
        arguments.one_of("kind", kind, get_args(Kind))
    return wanted
