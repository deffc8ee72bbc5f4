"""What a library is kept in: the operations that indexing and searching need, and where they are found.

:class:`~tarsier_tools.library.sqlite_store.SqliteStore` is one file on one machine;
:class:`~tarsier_tools.library.lance_store.LanceStore` a LanceDB database on a disk or in a bucket.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from tarsier_tools.errors import (
    BackendTimeout,
    BackendUnavailable,
    LibraryError,
    NotUnderstood,
    TarsierError,
    UsageError,
)
from tarsier_tools.passages import Kind, Passage, title
from tarsier_tools.results import VideoInfo

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Key = int | str
"""What a store calls a segment by; of no meaning outside of it."""


@dataclass(frozen=True, slots=True)
class Filters:
    """Which segments may be found; None lets all pass.

    Attributes:
        videos: the uuids of videos.
        language: a BCP 47 tag; "zh" lets "zh-Hans" pass too.
        start_s, end_s: segments that touch this range of their video.
    """

    videos: tuple[str, ...] | None = None
    kinds: tuple[Kind, ...] | None = None
    language: str | None = None
    start_s: float | None = None
    end_s: float | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """One video.

    Attributes:
        uuid: the same for the same bytes everywhere.
        content: hex SHA-256 of its bytes.
        language, model: of the captions.
        sources: where it lies, as it was given; the first is shown.
    """

    uuid: str
    content: str
    info: VideoInfo
    language: str
    model: str
    added_at: str
    sources: tuple[str, ...]

    @property
    def title(self) -> str:
        """The name of its first file."""
        return title(self.sources[0])


@dataclass(frozen=True, slots=True)
class Failure:
    """A file that could not be taken in, and why."""

    source: str
    kind: str
    message: str
    hint: str
    attempts: int
    failed_at: str


@dataclass(frozen=True, slots=True)
class Entry:
    """A passage with what only a library knows about it.

    Attributes:
        prompt: what the model was asked.
        jpeg: a small picture, where it is to be written; :meth:`Store.thumbnail` reads it.
    """

    passage: Passage
    prompt: str = ""
    jpeg: bytes = b""


class Store(Protocol):
    """The rows of a library. Safe to use from several threads and beside other processes; close it.

    Each method that writes does all of it or nothing, also when the process is killed. All raise LibraryError
    and its kinds.
    """

    # ------------------------------------------------------------ settings of the library

    def meta(self, key: str) -> str | None:
        """A setting of the library; None when it is not set."""

    def set_meta(self, key: str, value: str) -> None:
        """Set a setting of the library."""

    # ------------------------------------------------------------ videos and their files

    def stamp(self, source: str) -> tuple[str, str] | None:
        """(stamp, content) of a file that is in the library; None when it is not."""

    def video(self, name: str) -> Row | None:
        """The video of this uuid, content hash or source."""

    def videos(self) -> Iterator[Row]:
        """All videos, in the order in which they were added."""

    def put_video(
        self,
        content: str,
        source: str,
        stamp: str,
        info: VideoInfo,
        entries: Sequence[Entry],
        *,
        language: str,
        model: str,
        look: bytes = b"",
    ) -> None:
        """Take a video in with all its segments, in place of what the file held before.

        A video of the same content that another process put in meanwhile stays as it is.
        """

    def put_file(self, content: str, source: str, stamp: str, *, gone: Sequence[str] = ()) -> None:
        """A file holds this video now, whatever it held before; the files ``gone`` are forgotten."""

    def remove(self, name: str) -> bool:
        """Forget a file, and its video when it lies nowhere else; or a video by its uuid, wherever it lies.

        Whether it was there.
        """

    def looks(self) -> list[tuple[str, float, bytes]]:
        """(uuid, seconds, hashes of its pictures) of all videos."""

    # ------------------------------------------------------------ failures and claims

    def put_failure(self, source: str, stamp: str, error: TarsierError) -> None:
        """Note why a file could not be taken in, under the :func:`stamp_of_failure`."""

    def failures(self) -> list[Failure]:
        """All files that could not be taken in, by name."""

    def failed_before(self, source: str, stamp: str) -> bool:
        """Whether this very file failed."""

    def claim(self, content: str, owner: str, until: float) -> bool:
        """Take a video for oneself until a time in seconds since 1970, or longer when it is one's own.

        False when somebody else has it.
        """

    def release(self, content: str, owner: str) -> None:
        """Give a claim back."""

    # ------------------------------------------------------------ segments

    def entries(self, video: str | None = None) -> Iterator[Entry]:
        """All segments, or those of the video of this uuid, by video and time; without their pictures."""

    def thumbnail(self, segment: str) -> bytes | None:
        """The small picture (JPEG) of the segment of this id; None when there is none."""

    def find_words(self, query: str, limit: int, filters: Filters | None) -> list[Key]:
        """The segments that share words with the query, by BM25, the best first."""

    def nearest(self, vector: NDArray[np.float32], limit: int, filters: Filters | None) -> list[Key]:
        """The segments whose vectors are most like this one, float32 (dimensions,), the best first."""

    def passages(self, keys: Sequence[Key]) -> dict[Key, Passage]:
        """These segments; one that was deleted meanwhile is missing."""

    # ------------------------------------------------------------ vectors

    def without_vector(self, together: int) -> Iterator[list[tuple[Key, str]]]:
        """(key, text) of segments that have no vector yet, so many at a time."""

    def put_vectors(self, embedder: str, vectors: Iterable[tuple[Key, NDArray[np.float32]]]) -> None:
        """Keep the vectors of segments; one that was deleted meanwhile is passed over.

        Raises LibraryError when the library has gone over to another embedder: vectors are never mixed.
        """

    def drop_vectors(self, embedder: str) -> None:
        """Forget all vectors, and go over to this embedder."""

    # ------------------------------------------------------------ the whole

    def counts(self) -> dict[str, int]:
        """How many videos, files, failures, segments and vectors there are, and segments by kind."""

    def size_bytes(self) -> int:
        """What is kept on the disk, without pictures."""

    def problems(self) -> list[str]:
        """What is wrong, one sentence each; none when all is well. Videos that moved are not looked for."""

    def vacuum(self) -> None:
        """Give room that is no longer needed back to the disk."""

    def close(self) -> None:
        """Close it."""


def not_there(address: str | Path) -> UsageError:
    """The error for a place without a library."""
    return UsageError(
        f"There is no library at {address}.",
        hint=f"Check the place, or begin one there: tarsier-tools library add VIDEOS --library {address}",
    )


def stamp_of_failure(stamp: str, error: TarsierError) -> str:
    """What a file that failed is known by, to be passed over; "" where it was not the file's fault.

    A server that is down or a full disk is no reason to pass over what is waiting, once it is back; nor is a
    model that understands only drawn shapes, once there is another.
    """
    again = BackendUnavailable | BackendTimeout | NotUnderstood | LibraryError
    return "" if isinstance(error, again) else stamp


def open_store(address: str | Path, *, create: bool = True) -> Store:
    """The store in a folder (SQLite), or at ``lance://FOLDER`` or ``lance+s3://BUCKET/PREFIX`` (LanceDB).

    Args:
        create: make it when it is not there.

    Raises UsageError for another kind of address, and when it is not there and shall not be made;
    LibraryError and its kinds when it cannot be used.
    """
    kind, mark, _ = str(address).partition("://")
    if not mark:
        from tarsier_tools.library.sqlite_store import SqliteStore

        return SqliteStore(Path(address).expanduser(), create=create)
    if kind in ("lance", "lance+s3"):
        from tarsier_tools.library.lance_store import LanceStore

        return LanceStore(str(address), create=create)
    raise UsageError(
        f"There is no library of the kind {kind}://.",
        hint="Give a folder, lance://FOLDER or lance+s3://BUCKET/PREFIX.",
    )
