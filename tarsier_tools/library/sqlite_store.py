"""The rows of a library in one SQLite file, and small pictures in a folder beside it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tarsier_tools.errors import LibraryError, TarsierError
from tarsier_tools.library import lexical
from tarsier_tools.library.checks import problems
from tarsier_tools.library.conditions import where
from tarsier_tools.library.sqlite_file import SqliteFile
from tarsier_tools.library.stores import Entry, Failure, Filters, Key, Row, not_there, stamp_of_failure
from tarsier_tools.library.vectors import Vectors
from tarsier_tools.passages import Passage, title
from tarsier_tools.results import VideoInfo

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FILE = "library.sqlite"
THUMBNAILS = "thumbnails"
_VIDEO = "id, uuid, content, info, language, model, added_at"


THUMBNAILS_KEPT_S = 3600.0
"""Pictures without a segment that are younger than this may be of a video that is just being taken in."""


class SqliteStore:
    """A :class:`~tarsier_tools.library.stores.Store` in a folder.

    Raises UsageError when there is none and ``create`` is false; besides that what
    :func:`~tarsier_tools.library.schema.connect` raises.
    """

    def __init__(self, folder: Path, *, create: bool = True) -> None:
        if not create and not (folder / FILE).is_file():
            raise not_there(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise LibraryError(
                f"The library's folder cannot be made: {error.strerror}.", hint="Give another path."
            ) from error
        self._path = folder / FILE
        self._thumbnails = folder / THUMBNAILS
        self._file = SqliteFile(self._path)
        self._vectors = Vectors(self._file)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    # ------------------------------------------------------------ settings of the file

    def meta(self, key: str) -> str | None:
        """A setting of the file; None when it is not set."""
        row = self._file.one("SELECT value FROM meta WHERE key = ?", key)
        return None if row is None else str(row[0])

    def set_meta(self, key: str, value: str) -> None:
        """Set a setting of the file."""
        self._file.run("INSERT OR REPLACE INTO meta VALUES (?, ?)", key, value)

    # ------------------------------------------------------------ videos and their files

    def stamp(self, source: str) -> tuple[str, str] | None:
        """(stamp, content) of a file that is in the library; None when it is not."""
        row = self._file.one(
            "SELECT files.stamp, content FROM files JOIN videos ON videos.id = video WHERE source = ?", source
        )
        return None if row is None else (str(row[0]), str(row[1]))

    def video(self, name: str) -> Row | None:
        """The video of this uuid, content hash or source."""
        row = self._file.one(
            f"SELECT {_VIDEO} FROM videos WHERE id = (SELECT id FROM videos WHERE uuid = ?1 OR content = ?1 "  # noqa: S608
            "UNION SELECT video FROM files WHERE source = ?1 LIMIT 1)",
            name,
        )
        if row is None:
            return None
        files = self._file.all("SELECT source FROM files WHERE video = ? ORDER BY source", row[0])
        return _row(row, tuple(str(source) for (source,) in files))

    def videos(self) -> Iterator[Row]:
        """All videos, in the order in which they were added."""
        files: dict[int, list[str]] = {}
        for source, video in self._file.all("SELECT source, video FROM files ORDER BY source"):
            files.setdefault(int(video), []).append(str(source))
        for row in self._file.all(f"SELECT {_VIDEO} FROM videos ORDER BY id"):  # noqa: S608
            yield _row(row, tuple(files.get(row[0], ())))

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
        """Take a video in with all its segments, in place of what the file held before."""
        named = [(entry, self._keep_picture(entry)) for entry in entries]
        with self._file.transaction():
            if self._file.one("SELECT 1 FROM videos WHERE content = ?", content) is None:
                cursor = self._file.run(
                    "INSERT INTO videos (uuid, content, duration_s, info, language, model, look, added_at) "
                    "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    entries[0].passage.video_id if entries else content,
                    content,
                    info.duration_s,
                    info.model_dump_json(),
                    language,
                    model,
                    look,
                    _now(),
                )
                self._put_segments(int(cursor.lastrowid or 0), named)
            self._put_file(content, source, stamp)

    def looks(self) -> list[tuple[str, float, bytes]]:
        """(uuid, seconds, hashes of its pictures) of all videos."""
        rows = self._file.all("SELECT uuid, duration_s, look FROM videos ORDER BY id")
        return [(uuid, duration_s, look or b"") for uuid, duration_s, look in rows]

    def put_file(self, content: str, source: str, stamp: str, *, gone: Sequence[str] = ()) -> None:
        """A file holds this video now, whatever it held before; the files ``gone`` are forgotten."""
        with self._file.transaction():
            self._put_file(content, source, stamp)
            for other in gone:
                self._remove_file(other)

    def remove(self, name: str) -> bool:
        """Forget a file, and its video when it lies nowhere else; or a video by its uuid."""
        with self._file.transaction():
            return self._remove_file(name) or bool(
                self._file.run("DELETE FROM videos WHERE uuid = ?", name).rowcount
            )

    def _put_file(self, content: str, source: str, stamp: str) -> None:
        self._file.run(
            "INSERT INTO files (source, video, stamp) SELECT ?, id, ? FROM videos WHERE content = ? "
            "ON CONFLICT (source) DO UPDATE SET video = excluded.video, stamp = excluded.stamp",
            source,
            stamp,
            content,
        )
        self._file.run("DELETE FROM failures WHERE source = ?", source)
        self._drop_homeless()

    def _remove_file(self, source: str) -> bool:
        known = self._file.run("DELETE FROM files WHERE source = ?", source).rowcount
        known += self._file.run("DELETE FROM failures WHERE source = ?", source).rowcount
        self._drop_homeless()
        return bool(known)

    def _drop_homeless(self) -> None:
        self._file.run("DELETE FROM videos WHERE id NOT IN (SELECT video FROM files)")

    # ------------------------------------------------------------ failures and claims

    def put_failure(self, source: str, stamp: str, error: TarsierError) -> None:
        """Note why a file could not be taken in."""
        self._file.run(
            "INSERT INTO failures VALUES (?, ?, ?, ?, ?, 1, ?) ON CONFLICT (source) DO UPDATE SET "
            "stamp = excluded.stamp, kind = excluded.kind, message = excluded.message, "
            "hint = excluded.hint, attempts = attempts + 1, failed_at = excluded.failed_at",
            source,
            stamp_of_failure(stamp, error),
            type(error).__name__,
            error.message,
            error.hint,
            _now(),
        )

    def failures(self) -> list[Failure]:
        """All files that could not be taken in, by name."""
        rows = self._file.all(
            "SELECT source, kind, message, hint, attempts, failed_at FROM failures ORDER BY source"
        )
        return [Failure(*row) for row in rows]

    def failed_before(self, source: str, stamp: str) -> bool:
        """Whether this very file failed."""
        return (
            self._file.one("SELECT 1 FROM failures WHERE source = ? AND stamp = ?", source, stamp) is not None
        )

    def claim(self, content: str, owner: str, until: float) -> bool:
        """Take a video for oneself until a time, or longer when it is one's own; False when it is taken."""
        changed = self._file.run(
            "INSERT INTO claims VALUES (?1, ?2, ?3) ON CONFLICT (content) DO UPDATE SET "
            "owner = excluded.owner, until = excluded.until WHERE owner = excluded.owner OR until < ?4",
            content,
            owner,
            until,
            time.time(),
        )
        return bool(changed.rowcount)

    def release(self, content: str, owner: str) -> None:
        """Give a claim back."""
        self._file.run("DELETE FROM claims WHERE content = ? AND owner = ?", content, owner)

    # ------------------------------------------------------------ segments

    def entries(self, video: str | None = None) -> Iterator[Entry]:
        """All segments, or those of one video, by video and time; without their pictures."""
        found = self._found("") if video is None else self._found("WHERE videos.uuid = ?", video)
        return (entry for _, entry in found)

    def thumbnail(self, segment: str) -> bytes | None:
        """The small picture (JPEG) of a segment; None when there is none."""
        row = self._file.one("SELECT thumbnail FROM segments WHERE uuid = ?", segment)
        if row is None or not row[0]:
            return None
        try:
            return (self._thumbnails / str(row[0])).read_bytes()
        except OSError:  # deleted by hand; verify tells of it
            return None

    def find_words(self, query: str, limit: int, filters: Filters | None) -> list[Key]:
        """The segments that share words with the query, by BM25, the best first."""
        with self._file.connection() as connection:
            found = lexical.find(connection, query, limit, where(filters))
        return [number for number, _ in found]

    def nearest(self, vector: NDArray[np.float32], limit: int, filters: Filters | None) -> list[Key]:
        """The segments whose vectors are most like this one, the best first."""
        return list(self._vectors.nearest(vector, limit, where(filters)))

    def passages(self, keys: Sequence[Key]) -> dict[Key, Passage]:
        """These segments; one that was deleted meanwhile is missing."""
        marks = ",".join(str(int(key)) for key in keys)
        return {number: entry.passage for number, entry in self._found(f"WHERE segments.id IN ({marks})")}

    def _found(self, condition: str, *values: Any) -> Iterator[tuple[int, Entry]]:
        rows = self._file.all(
            "SELECT segments.id, segments.uuid, videos.uuid, duration_s, number, kind, "  # noqa: S608
            "start_s, end_s, text, segments.language, segments.model, prompt, "
            "coalesce((SELECT source FROM files WHERE video = videos.id ORDER BY source LIMIT 1), '') "
            f"FROM segments JOIN videos ON videos.id = video {condition} "
            "ORDER BY video, start_s, segments.id",
            *values,
        )
        for row in rows:
            id_, uuid, video_id, duration_s, number, kind, start_s, end_s = row[:8]
            text, language, model, prompt, source = row[8:]
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
            yield id_, Entry(passage, prompt)

    def _put_segments(self, video: int, entries: Sequence[tuple[Entry, str]]) -> None:
        texts: list[tuple[int, str]] = []
        for entry, picture in entries:
            passage = entry.passage
            cursor = self._file.run(
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
                picture,
            )
            texts.append((int(cursor.lastrowid or 0), passage.text))
        with self._file.connection() as connection:
            lexical.add(connection, texts)

    def _keep_picture(self, entry: Entry) -> str:
        """Where the picture of a segment lies in the folder of pictures; "" for none."""
        if not entry.jpeg:
            return ""
        name = f"{entry.passage.video_id[:2]}/{entry.passage.id}.jpg"
        try:
            (self._thumbnails / name).parent.mkdir(parents=True, exist_ok=True)
            (self._thumbnails / name).write_bytes(entry.jpeg)
        except OSError as error:
            raise LibraryError(
                f"A picture cannot be written beside {FILE}: {error.strerror}.",
                hint="Check the disk and the rights.",
            ) from error
        return name

    # ------------------------------------------------------------ vectors

    def without_vector(self, together: int) -> Iterator[list[tuple[Key, str]]]:
        """(key, text) of segments that have no vector yet, so many at a time."""
        last = 0
        while rows := self._file.all(
            "SELECT id, text FROM segments "
            "WHERE id > ? AND id NOT IN (SELECT segment FROM vectors) ORDER BY id LIMIT ?",
            last,
            together,
        ):
            last = rows[-1][0]
            yield [(number, text) for number, text in rows]

    def put_vectors(self, embedder: str, vectors: Iterable[tuple[Key, NDArray[np.float32]]]) -> None:
        """Keep the vectors of segments; one that was deleted meanwhile is passed over."""
        with self._file.transaction():
            if self.meta("embedder") != embedder:
                raise LibraryError(
                    f"Meanwhile another process gave the library another embedder than {embedder}.",
                    hint="Open it again.",
                )
            self._file.run_many(
                "INSERT OR REPLACE INTO vectors SELECT id, ? FROM segments WHERE id = ?",
                ((vector.astype("<f4").tobytes(), number) for number, vector in vectors),
            )

    def drop_vectors(self, embedder: str) -> None:
        """Forget all vectors, and go over to this embedder."""
        with self._file.transaction():
            self._file.run("DELETE FROM vectors")
            self.set_meta("embedder", embedder)

    # ------------------------------------------------------------ the whole

    def counts(self) -> dict[str, int]:
        """How many rows there are of each kind, by table, and segments by kind."""
        counted = {
            name: int(number)
            for name, number in self._file.all(
                "SELECT 'videos', count(*) FROM videos UNION ALL SELECT 'files', count(*) FROM files "
                "UNION ALL SELECT 'failures', count(*) FROM failures "
                "UNION ALL SELECT 'segments', count(*) FROM segments "
                "UNION ALL SELECT 'vectors', count(*) FROM vectors"
            )
        }
        kinds = self._file.all("SELECT kind, count(*) FROM segments GROUP BY kind ORDER BY kind")
        return {**counted, **{f"segments: {kind}": int(number) for kind, number in kinds}}

    def size_bytes(self) -> int:
        """What the file takes on the disk, with its journal; without pictures."""
        return sum(each.stat().st_size for each in self._path.parent.glob(f"{FILE}*"))

    def problems(self) -> list[str]:
        """What is wrong, one sentence each; none when all is well."""
        return problems(self._file, self._thumbnails)

    def vacuum(self) -> None:
        """Give room that is no longer needed back to the disk, also that of pictures."""
        self._file.run("INSERT INTO terms (terms) VALUES ('optimize')")
        self._file.run("VACUUM")
        self._file.run("PRAGMA wal_checkpoint (TRUNCATE)")
        named = {str(name) for (name,) in self._file.all("SELECT thumbnail FROM segments")}
        for picture in self._thumbnails.glob("*/*.jpg"):
            old = time.time() - picture.stat().st_mtime > THUMBNAILS_KEPT_S
            if old and picture.relative_to(self._thumbnails).as_posix() not in named:
                picture.unlink(missing_ok=True)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _row(row: tuple[Any, ...], sources: tuple[str, ...]) -> Row:
    _, uuid, content, info, language, model, added_at = row
    return Row(
        uuid=uuid,
        content=content,
        info=VideoInfo.model_validate_json(info),
        language=language,
        model=model,
        added_at=added_at,
        sources=sources,
    )
