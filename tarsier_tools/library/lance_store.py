"""The rows of a library in LanceDB tables, on a disk or in a bucket.

No commit spans two tables, so one row decides: that of a video. Its segments and pictures are written before
it, under the name of this attempt (its edition), and are of no account until the video's row names that
edition. Of two processes that write the same video one gets its row in, and the other takes its segments
back. What a killed process leaves behind is never found, ``problems`` counts it, and the next attempt at the
same video or ``vacuum`` deletes it. A file's row is written last: without one a video counts for nothing.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from tarsier_tools.errors import LibraryError, TarsierError
from tarsier_tools.library import lance_upkeep, lance_vectors
from tarsier_tools.library.lance_conditions import condition, equal, one_of, unclaimed
from tarsier_tools.library.lance_tables import LanceTables
from tarsier_tools.library.lexical import MAX_QUERY_TERMS
from tarsier_tools.library.stores import Entry, Failure, Filters, Key, Row, stamp_of_failure
from tarsier_tools.passages import Passage
from tarsier_tools.results import VideoInfo
from tarsier_tools.terms import terms

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_VIDEO = ["content", "uuid", "edition", "info", "language", "model", "added_at"]
_SEGMENT = ["uuid", "edition", "video", "place", "number", "kind", "start_s", "end_s", "text", "language"]
_SEGMENT += ["model", "prompt"]
_VIDEOS_TOGETHER = 100


class LanceStore:
    """A :class:`~tarsier_tools.library.stores.Store` at ``lance://FOLDER`` or ``lance+s3://BUCKET/PREFIX``.

    Raises what :class:`~tarsier_tools.library.lance_tables.LanceTables` raises.
    """

    def __init__(self, address: str, *, create: bool = True) -> None:
        self._tables = LanceTables(address, create=create)

    def close(self) -> None:
        """Let go of the tables."""
        self._tables.close()

    # ------------------------------------------------------------ settings of the library

    def meta(self, key: str) -> str | None:
        """A setting of the library; None when it is not set."""
        rows = self._tables.rows("meta", ["value"], equal("key", key))
        return str(rows[0]["value"]) if rows else None

    def set_meta(self, key: str, value: str) -> None:
        """Set a setting of the library."""
        self._tables.merge("meta", [{"key": key, "value": value}])

    # ------------------------------------------------------------ videos and their files

    def stamp(self, source: str) -> tuple[str, str] | None:
        """(stamp, content) of a file that is in the library; None when it is not."""
        rows = self._tables.rows("files", ["stamp", "content"], equal("source", source))
        return (rows[0]["stamp"], rows[0]["content"]) if rows else None

    def video(self, name: str) -> Row | None:
        """The video of this uuid, content hash or source."""
        found = self._videos(f"{equal('uuid', name)} OR {equal('content', name)}")
        if not found and (file := self.stamp(name)) is not None:
            found = self._videos(equal("content", file[1]))
        return next((row for row, _ in found), None)

    def videos(self) -> Iterator[Row]:
        """All videos, in the order in which they were added."""
        return (row for row, _ in self._videos(""))

    def _videos(self, which: str) -> list[tuple[Row, str]]:
        """(video, edition) of those that lie somewhere, in the order in which they were added."""
        rows = sorted(self._tables.rows("videos", _VIDEO, which), key=lambda row: str(row["edition"]))
        within = one_of("content", [row["content"] for row in rows]) if which else ""
        files: dict[str, list[str]] = {}
        for file in self._tables.rows("files", ["source", "content"], within) if rows else ():
            files.setdefault(file["content"], []).append(file["source"])
        return [
            (_row(row, tuple(sorted(files[row["content"]]))), row["edition"])
            for row in rows
            if row["content"] in files
        ]

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
        if not self._tables.count("videos", equal("content", content)):
            uuid = entries[0].passage.video_id if entries else content
            edition = f"{time.time_ns():016x}-{secrets.token_hex(4)}"
            self._put_segments(edition, entries)
            row = {
                "content": content,
                "uuid": uuid,
                "edition": edition,
                "segments": len(entries),
                "duration_s": info.duration_s,
                "info": info.model_dump_json(),
                "language": language,
                "model": model,
                "look": look,
                "added_at": _now(),
            }
            if self._tables.merge("videos", [row], replace=None):
                others = f"{equal('video', uuid)} AND edition <> '{edition}'"
                left = self._tables.rows("segments", ["edition"], others)
                self._drop_editions({each["edition"] for each in left})
            else:  # another process was faster
                self._drop_editions({edition})
        self.put_file(content, source, stamp)

    def _put_segments(self, edition: str, entries: Sequence[Entry]) -> None:
        pictures = [
            {"uuid": entry.passage.id, "edition": edition, "jpeg": entry.jpeg}
            for entry in entries
            if entry.jpeg
        ]
        if pictures:
            self._tables.append("thumbnails", pictures)
        rows = [
            {
                "uuid": entry.passage.id,
                "edition": edition,
                "video": entry.passage.video_id,
                "place": place,
                "terms": " ".join(terms(entry.passage.text, single=True)),
                "prompt": entry.prompt,
                **entry.passage.model_dump(
                    include={"number", "kind", "start_s", "end_s", "text", "language", "model"}
                ),
            }
            for place, entry in enumerate(entries)
        ]
        if rows:
            self._tables.append("segments", rows)

    def put_file(self, content: str, source: str, stamp: str, *, gone: Sequence[str] = ()) -> None:
        """A file holds this video now, whatever it held before; the files ``gone`` are forgotten."""
        before = self._contents([source, *gone])
        self._tables.merge("files", [{"source": source, "content": content, "stamp": stamp}])
        if not self._tables.count("videos", equal("content", content)):  # removed by another process
            self._tables.delete("files", f"{equal('source', source)} AND {equal('content', content)}")
        if gone:
            self._tables.delete("files", one_of("source", gone))
        self._tables.delete("failures", one_of("source", [source, *gone]))
        self._drop_homeless(before - {content})
        self._tables.keep_tidy()

    def remove(self, name: str) -> bool:
        """Forget a file, and its video when it lies nowhere else; or a video by its uuid."""
        before = self._contents([name])
        known = self._tables.delete("files", equal("source", name))
        known += self._tables.delete("failures", equal("source", name))
        if not known:
            before = {row["content"] for row in self._tables.rows("videos", ["content"], equal("uuid", name))}
            known = sum(self._tables.delete("files", equal("content", content)) for content in before)
        self._drop_homeless(before)
        return bool(known)

    def _contents(self, sources: Sequence[str]) -> set[str]:
        """What is in these files."""
        rows = self._tables.rows("files", ["content"], one_of("source", sources))
        return {row["content"] for row in rows}

    def _drop_homeless(self, contents: Iterable[str]) -> None:
        """Forget those of these videos that lie nowhere any more."""
        for content in contents:
            if self._tables.count("files", equal("content", content)):
                continue
            rows = self._tables.rows("videos", ["edition"], equal("content", content))
            self._tables.delete("videos", equal("content", content))
            self._tables.delete("files", equal("content", content))  # that came between
            self._drop_editions({row["edition"] for row in rows})

    def _drop_editions(self, editions: Iterable[str]) -> None:
        names = ["segments", "thumbnails", *lance_vectors.all_tables(self._tables)]
        for name in names if (wanted := list(editions)) else ():
            self._tables.delete(name, one_of("edition", wanted))

    def looks(self) -> list[tuple[str, float, bytes]]:
        """(uuid, seconds, hashes of its pictures) of all videos."""
        rows = self._tables.rows("videos", ["uuid", "edition", "duration_s", "look"])
        rows.sort(key=lambda row: str(row["edition"]))
        return [(row["uuid"], row["duration_s"], row["look"] or b"") for row in rows]

    # ------------------------------------------------------------ failures and claims

    def put_failure(self, source: str, stamp: str, error: TarsierError) -> None:
        """Note why a file could not be taken in."""
        before = self._tables.rows("failures", ["attempts"], equal("source", source))
        row = {
            "source": source,
            "stamp": stamp_of_failure(stamp, error),
            "kind": type(error).__name__,
            "message": error.message,
            "hint": error.hint,
            "attempts": 1 + sum(each["attempts"] for each in before),
            "failed_at": _now(),
        }
        self._tables.merge("failures", [row])
        self._tables.keep_tidy()

    def failures(self) -> list[Failure]:
        """All files that could not be taken in, by name."""
        rows = self._tables.rows("failures", list(Failure.__dataclass_fields__))
        return sorted((Failure(**row) for row in rows), key=lambda failure: failure.source)

    def failed_before(self, source: str, stamp: str) -> bool:
        """Whether this very file failed."""
        return bool(self._tables.count("failures", f"{equal('source', source)} AND {equal('stamp', stamp)}"))

    def claim(self, content: str, owner: str, until: float) -> bool:
        """Take a video for oneself until a time, or longer when it is one's own; False when it is taken."""
        row = {"content": content, "owner": owner, "until": until}
        return bool(self._tables.merge("claims", [row], replace=unclaimed()))

    def release(self, content: str, owner: str) -> None:
        """Give a claim back."""
        self._tables.delete("claims", f"{equal('content', content)} AND {equal('owner', owner)}")

    # ------------------------------------------------------------ segments

    def entries(self, video: str | None = None) -> Iterator[Entry]:
        """All segments, or those of one video, by video and time; without their pictures."""
        videos = self._videos("" if video is None else equal("uuid", video))
        for first in range(0, len(videos), _VIDEOS_TOGETHER):
            some = videos[first : first + _VIDEOS_TOGETHER]
            found: dict[str, list[dict[str, Any]]] = {}
            within = one_of("edition", [edition for _, edition in some])
            for row in self._tables.rows("segments", _SEGMENT, within):
                found.setdefault(row["edition"], []).append(row)
            for owner, edition in some:
                for row in sorted(found.get(edition, ()), key=lambda row: (row["start_s"], row["place"])):
                    yield Entry(_passage(row, owner), row["prompt"])

    def thumbnail(self, segment: str) -> bytes | None:
        """The small picture (JPEG) of a segment; None when there is none."""
        rows = self._tables.rows("thumbnails", ["edition", "jpeg"], equal("uuid", segment))
        alive = self._tables.living({row["edition"] for row in rows})
        return next((bytes(row["jpeg"]) for row in rows if row["edition"] in alive), None)

    def find_words(self, query: str, limit: int, filters: Filters | None) -> list[Key]:
        """The segments that share words with the query, by BM25, the best first."""
        found = terms(query)[:MAX_QUERY_TERMS]
        words, phrases = list(dict.fromkeys(found)), list(dict.fromkeys(map(" ".join, pairwise(found))))
        if not words:
            return []

        def find(count: int) -> list[dict[str, Any]]:
            rows = self._tables.find_words(words, phrases, condition(filters), count)
            return sorted(rows, key=lambda row: (-row["_score"], row["edition"], row["place"]))

        return self._living(find, limit)

    def nearest(self, vector: NDArray[np.float32], limit: int, filters: Filters | None) -> list[Key]:
        """The segments whose vectors are most like this one, the best first."""
        name = lance_vectors.table_of(self._embedder())
        if not self._tables.has(name):
            return []
        return self._living(
            lambda count: self._tables.nearest(name, vector, condition(filters), count), limit
        )

    def _living(self, find: Callable[[int], list[dict[str, Any]]], limit: int) -> list[Key]:
        """The best segments of videos that are in the library: more are asked for when some found are not."""
        count = limit
        while True:
            rows = find(count)
            alive = self._tables.living({row["edition"] for row in rows})
            keys: dict[Key, None] = {row["uuid"]: None for row in rows if row["edition"] in alive}
            if len(keys) >= limit or len(rows) < count:
                return list(keys)[:limit]
            count *= 2

    def passages(self, keys: Sequence[Key]) -> dict[Key, Passage]:
        """These segments; one that was deleted meanwhile is missing."""
        if not keys:
            return {}
        rows = self._tables.rows("segments", _SEGMENT, one_of("uuid", [str(key) for key in keys]))
        videos = self._videos(one_of("uuid", {row["video"] for row in rows})) if rows else []
        owners = {edition: owner for owner, edition in videos}
        return {
            row["uuid"]: _passage(row, owners[row["edition"]]) for row in rows if row["edition"] in owners
        }

    # ------------------------------------------------------------ vectors

    def without_vector(self, together: int) -> Iterator[list[tuple[Key, str]]]:
        """(key, text) of segments that have no vector yet, so many at a time."""
        for batch in lance_vectors.waiting(self._tables, self._embedder(), together):
            yield [*batch]

    def put_vectors(self, embedder: str, vectors: Iterable[tuple[Key, NDArray[np.float32]]]) -> None:
        """Keep the vectors of segments; one that was deleted meanwhile is passed over."""
        if self._embedder() != embedder:
            raise LibraryError(
                f"Meanwhile another process gave the library another embedder than {embedder}.",
                hint="Open it again.",
            )
        lance_vectors.put(self._tables, embedder, {str(key): vector for key, vector in vectors})
        self._tables.keep_tidy()

    def drop_vectors(self, embedder: str) -> None:
        """Forget all vectors, and go over to this embedder."""
        self.set_meta("embedder", embedder)
        for name in lance_vectors.all_tables(self._tables):
            self._tables.delete(name, "true")

    def _embedder(self) -> str:
        return self.meta("embedder") or ""

    # ------------------------------------------------------------ the whole

    def counts(self) -> dict[str, int]:
        """How many rows there are of each kind, by table, and segments by kind."""
        return lance_upkeep.counts(self._tables, lance_vectors.table_of(self._embedder()))

    def size_bytes(self) -> int:
        """What the latest versions of the tables take with their indexes, without pictures."""
        return lance_upkeep.size_bytes(self._tables)

    def problems(self) -> list[str]:
        """What is wrong, one sentence each; none when all is well."""
        return lance_upkeep.problems(self._tables)

    def vacuum(self) -> None:
        """Delete what is no longer needed, and bring the indexes up to date."""
        lance_upkeep.vacuum(self._tables, lance_vectors.table_of(self._embedder()))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _row(row: dict[str, Any], sources: tuple[str, ...]) -> Row:
    return Row(
        uuid=row["uuid"],
        content=row["content"],
        info=VideoInfo.model_validate_json(row["info"]),
        language=row["language"],
        model=row["model"],
        added_at=row["added_at"],
        sources=sources,
    )


def _passage(row: dict[str, Any], owner: Row) -> Passage:
    return Passage(
        id=row["uuid"],
        video_id=owner.uuid,
        source=owner.sources[0],
        title=owner.title,
        duration_s=owner.info.duration_s,
        number=row["number"],
        start_s=row["start_s"],
        end_s=row["end_s"],
        kind=row["kind"],
        text=row["text"],
        language=row["language"],
        model=row["model"],
    )
