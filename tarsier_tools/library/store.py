"""The rows of a library, read and written; what they mean is the library's business."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tarsier_tools.errors import LibraryError, TarsierError
from tarsier_tools.library import lexical
from tarsier_tools.library.lexical import Within
from tarsier_tools.library.schema import connect, failure
from tarsier_tools.passages import Passage, title
from tarsier_tools.results import VideoInfo

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Row:
    """One video.

    Attributes:
        id: in this file; uuid: everywhere.
        content: hex SHA-256 of its bytes.
        sources: where it lies, as it was given; the first is shown.
    """

    id: int
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
    """A passage with what only a library knows about it."""

    passage: Passage
    prompt: str = ""
    thumbnail: str = ""


class Store:
    """One library file. Safe to use from several threads, and beside other processes; close it.

    Raises what :func:`~tarsier_tools.library.schema.connect` raises.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._connection = connect(path)
        self._lock = threading.RLock()

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    @contextmanager
    def transaction(self) -> Generator[None]:
        """All that is written in the block is written at its end, or nothing of it."""
        with self._lock, self._mapped():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    # ------------------------------------------------------------ settings of the file

    def meta(self, key: str) -> str | None:
        """A setting of the file; None when it is not set."""
        row = self.one("SELECT value FROM meta WHERE key = ?", key)
        return None if row is None else str(row[0])

    def set_meta(self, key: str, value: str) -> None:
        """Set a setting of the file."""
        self.run("INSERT OR REPLACE INTO meta VALUES (?, ?)", key, value)

    # ------------------------------------------------------------ videos and their files

    def stamp(self, source: str) -> tuple[str, str] | None:
        """(stamp, content) of a file that is in the library; None when it is not."""
        row = self.one(
            "SELECT files.stamp, content FROM files JOIN videos ON videos.id = video WHERE source = ?", source
        )
        return None if row is None else (str(row[0]), str(row[1]))

    def video(self, name: str) -> Row | None:
        """The video of this uuid, content hash or source."""
        row = self.one(
            "SELECT id FROM videos WHERE uuid = ?1 OR content = ?1 "
            "UNION SELECT video FROM files WHERE source = ?1 LIMIT 1",
            name,
        )
        return None if row is None else next(iter(self.videos([int(row[0])])))

    def videos(self, ids: Sequence[int] | None = None) -> Iterator[Row]:
        """All videos, or those of these ids, in the order in which they were added."""
        files: dict[int, list[str]] = {}
        for source, video in self.all("SELECT source, video FROM files ORDER BY source"):
            files.setdefault(int(video), []).append(str(source))
        wanted = None if ids is None else set(ids)
        rows = self.all("SELECT id, uuid, content, info, language, model, added_at FROM videos ORDER BY id")
        for number, uuid, content, info, language, model, added_at in rows:
            if wanted is None or number in wanted:
                yield Row(
                    id=number,
                    uuid=uuid,
                    content=content,
                    info=VideoInfo.model_validate_json(info),
                    language=language,
                    model=model,
                    added_at=added_at,
                    sources=tuple(files.get(number, ())),
                )

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
        """Take a video in with all its segments, in place of what the file held before. In a transaction.

        A video of the same content that another process put in meanwhile stays as it is.
        """
        if self.one("SELECT 1 FROM videos WHERE content = ?", content) is None:
            first = entries[0].passage if entries else None
            self.run(
                "INSERT INTO videos (uuid, content, duration_s, info, language, model, look, added_at) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                first.video_id if first else content,
                content,
                info.duration_s,
                info.model_dump_json(),
                language,
                model,
                look,
                _now(),
            )
            (video,) = self.one("SELECT id FROM videos WHERE content = ?", content) or (0,)
            self._put_segments(int(video), entries)
        self.put_file(content, source, stamp)

    def looks(self) -> list[tuple[int, float, bytes | None]]:
        """(row, seconds, hashes of its pictures) of all videos."""
        return self.all("SELECT id, duration_s, look FROM videos ORDER BY id")

    def put_file(self, content: str, source: str, stamp: str) -> None:
        """A file holds this video now, whatever it held before. In a transaction."""
        self.run(
            "INSERT INTO files (source, video, stamp) SELECT ?, id, ? FROM videos WHERE content = ? "
            "ON CONFLICT (source) DO UPDATE SET video = excluded.video, stamp = excluded.stamp",
            source,
            stamp,
            content,
        )
        self.run("DELETE FROM failures WHERE source = ?", source)
        self._drop_homeless()

    def remove_file(self, source: str) -> bool:
        """Forget a file, and its video when it lies nowhere else. Whether it was there. In a transaction."""
        known = self.run("DELETE FROM files WHERE source = ?", source).rowcount
        known += self.run("DELETE FROM failures WHERE source = ?", source).rowcount
        self._drop_homeless()
        return bool(known)

    def remove_video(self, uuid: str) -> bool:
        """Forget a video wherever it lies. Whether it was there."""
        return bool(self.run("DELETE FROM videos WHERE uuid = ?", uuid).rowcount)

    def _drop_homeless(self) -> None:
        self.run("DELETE FROM videos WHERE id NOT IN (SELECT video FROM files)")

    # ------------------------------------------------------------ failures

    def put_failure(self, source: str, stamp: str, error: TarsierError) -> None:
        """Note why a file could not be taken in."""
        self.run(
            "INSERT INTO failures VALUES (?, ?, ?, ?, ?, 1, ?) ON CONFLICT (source) DO UPDATE SET "
            "stamp = excluded.stamp, kind = excluded.kind, message = excluded.message, "
            "hint = excluded.hint, attempts = attempts + 1, failed_at = excluded.failed_at",
            source,
            stamp,
            type(error).__name__,
            error.message,
            error.hint,
            _now(),
        )

    def failures(self) -> list[Failure]:
        """All files that could not be taken in, by name."""
        rows = self.all(
            "SELECT source, kind, message, hint, attempts, failed_at FROM failures ORDER BY source"
        )
        return [Failure(*row) for row in rows]

    def failed_before(self, source: str, stamp: str) -> bool:
        """Whether this very file failed."""
        return self.one("SELECT 1 FROM failures WHERE source = ? AND stamp = ?", source, stamp) is not None

    # ------------------------------------------------------------ segments

    def entries(self, where: str = "", *values: Any) -> Iterator[tuple[int, Entry]]:
        """(number of the row, segment), by video and time. ``where`` is a condition of this package's own."""
        rows = self.all(
            "SELECT segments.id, segments.uuid, videos.uuid, duration_s, number, kind, "  # noqa: S608
            "start_s, end_s, text, segments.language, segments.model, prompt, thumbnail, "
            "coalesce((SELECT source FROM files WHERE video = videos.id ORDER BY source LIMIT 1), '') "
            f"FROM segments JOIN videos ON videos.id = video {where} ORDER BY video, start_s, segments.id",
            *values,
        )
        for row in rows:
            id_, uuid, video_id, duration_s, number, kind, start_s, end_s = row[:8]
            text, language, model, prompt, thumbnail, source = row[8:]
            passage = Passage(
                id=uuid,
                video_id=video_id,
                source=source,
                title=title(source),
                duration_s=duration_s,
                number=number,
                start_s=start_s,
                end_s=end_s,
                kind=kind,
                text=text,
                language=language,
                model=model,
            )
            yield id_, Entry(passage, prompt, thumbnail)

    def passages(self, numbers: Sequence[int]) -> dict[int, Passage]:
        """The segments of these rows; one that was deleted meanwhile is missing."""
        marks = ",".join(str(int(number)) for number in numbers)
        return {number: entry.passage for number, entry in self.entries(f"WHERE segments.id IN ({marks})")}

    def numbers(self, within: Within) -> NDArray[np.int64]:
        """The rows of these segments."""
        rows = self.all(within.query, *within.values)
        return np.fromiter((number for (number,) in rows), np.int64, len(rows))

    def _put_segments(self, video: int, entries: Sequence[Entry]) -> None:
        texts: list[tuple[int, str]] = []
        for entry in entries:
            passage = entry.passage
            cursor = self.run(
                "INSERT INTO segments (uuid, video, number, kind, start_s, end_s, text, language, model, "
                "prompt, thumbnail) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                passage.id,
                video,
                passage.number,
                passage.kind,
                passage.start_s,
                passage.end_s,
                passage.text,
                passage.language,
                passage.model,
                entry.prompt,
                entry.thumbnail,
            )
            texts.append((int(cursor.lastrowid or 0), passage.text))
        lexical.add(self._connection, texts)

    def find_words(self, query: str, limit: int, within: Within | None) -> list[tuple[int, float]]:
        """(row, BM25) of the segments that share a word with the query, the best first."""
        with self._lock, self._mapped():
            return lexical.find(self._connection, query, limit, within)

    # ------------------------------------------------------------ vectors

    def without_vector(self, limit: int, *, after: int = 0) -> list[tuple[int, str]]:
        """(row, text) of segments that have no vector yet, of the rows after this one."""
        rows = self.all(
            "SELECT id, text FROM segments "
            "WHERE id > ? AND id NOT IN (SELECT segment FROM vectors) ORDER BY id LIMIT ?",
            after,
            limit,
        )
        return [(int(number), str(text)) for number, text in rows]

    def put_vectors(self, vectors: Iterable[tuple[int, NDArray[np.float32]]]) -> None:
        """Keep the vectors of segments; one that was deleted meanwhile is passed over."""
        with self.transaction():
            self._connection.executemany(
                "INSERT OR REPLACE INTO vectors SELECT id, ? FROM segments WHERE id = ?",
                ((vector.astype("<f4").tobytes(), number) for number, vector in vectors),
            )

    def drop_vectors(self) -> None:
        """Forget all vectors."""
        self.run("DELETE FROM vectors")

    def vectors(self) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """(rows int64 (n,), vectors float32 (n, dimensions)) of all segments that have one."""
        rows = self.all("SELECT segment, vector FROM vectors ORDER BY segment")
        numbers = np.array([number for number, _ in rows], np.int64)
        if not rows:
            return numbers, np.zeros((0, 0), np.float32)
        joined = np.frombuffer(b"".join(vector for _, vector in rows), "<f4")
        return numbers, joined.reshape(len(rows), -1).astype(np.float32, copy=False)

    # ------------------------------------------------------------ the file as a whole

    def state(self) -> tuple[int, int]:
        """Changes whenever anything in the file does, by this connection or another."""
        with self._lock, self._mapped():
            (version,) = self._connection.execute("PRAGMA data_version").fetchone()
            return int(version), self._connection.total_changes

    def counts(self) -> dict[str, int]:
        """How many rows there are of each kind, by table, and segments by kind."""
        counted = {
            name: int(number)
            for name, number in self.all(
                "SELECT 'videos', count(*) FROM videos UNION ALL SELECT 'files', count(*) FROM files "
                "UNION ALL SELECT 'failures', count(*) FROM failures "
                "UNION ALL SELECT 'segments', count(*) FROM segments "
                "UNION ALL SELECT 'vectors', count(*) FROM vectors"
            )
        }
        kinds = self.all("SELECT kind, count(*) FROM segments GROUP BY kind ORDER BY kind")
        return {**counted, **{f"segments: {kind}": int(number) for kind, number in kinds}}

    def vacuum(self) -> None:
        """Give room that is no longer needed back to the disk."""
        self.run("INSERT INTO terms (terms) VALUES ('optimize')")
        self.run("VACUUM")
        self.run("PRAGMA wal_checkpoint (TRUNCATE)")

    # ------------------------------------------------------------ SQLite

    @contextmanager
    def _mapped(self) -> Generator[None]:
        try:
            yield
        except sqlite3.ProgrammingError as error:
            raise LibraryError("The library is closed.", hint="Open it again.") from error
        except sqlite3.DatabaseError as error:
            raise failure(error, self.path) from error

    def run(self, statement: str, *values: Any) -> sqlite3.Cursor:
        """Run a statement of this package's own."""
        with self._lock, self._mapped():
            return self._connection.execute(statement, values)

    def all(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """All rows of a query of this package's own."""
        with self._lock, self._mapped():
            return self._connection.execute(statement, values).fetchall()

    def one(self, statement: str, *values: Any) -> tuple[Any, ...] | None:
        """The first row of a query of this package's own; None when there is none."""
        with self._lock, self._mapped():
            row: tuple[Any, ...] | None = self._connection.execute(statement, values).fetchone()
            return row


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
