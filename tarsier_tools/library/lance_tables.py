"""The tables of a library in LanceDB (the extra ``lance``), on a disk or in a bucket.

A commit to one table is all or nothing, and nothing spans two tables; what follows from that is the business
of :mod:`~tarsier_tools.library.lance_store`. Tables whose first column is a key are written by merging:
only with the key declared to Lance, and without an index on the way, does Lance notice that two writers have
added the same key at the same time. Otherwise both rows would stay.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from importlib import import_module
from operator import methodcaller
from typing import TYPE_CHECKING, Any, TypeVar

from tarsier_tools import config
from tarsier_tools.errors import LibraryError, LibraryLocked, LibraryTooNew, UsageError
from tarsier_tools.library.lance_address import BUSY_S, failure, has_files, location
from tarsier_tools.library.lance_conditions import one_of
from tarsier_tools.library.stores import not_there

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FORM = 1
"""Of the tables; a later one is refused."""
APPLICATION = "tarsier-tools library"

_KEYED = {
    "meta": "key value",
    "videos": (
        "content uuid edition segments:int32 duration_s:double info language model look:binary added_at"
    ),
    "files": "source content stamp",
    "failures": "source stamp kind message hint attempts:int32 failed_at",
    "claims": "content owner until:double",
}
_PLAIN = {
    "segments": (
        "uuid edition video place:int32 number:int32 kind start_s:double end_s:double text terms "
        "language model prompt"
    ),
    "thumbnails": "uuid edition jpeg:binary",
    "vectors": "uuid edition video kind start_s:double end_s:double language vector",
}
"""Columns with their types; strings where there is none. The length of vectors is their embedder's."""
_INDEXED = {
    "videos": ("content", "uuid"),
    "files": ("source", "content"),
    "segments": ("uuid", "video", "edition", "kind", "language"),
    "thumbnails": ("uuid", "edition"),
    "vectors": ("uuid", "video", "edition", "kind", "language"),
}
_FEW_VALUES = ("kind", "language")
INDEXED_ROWS = 10_000
"""A table of fewer rows is searched as fast without indexes."""
VECTOR_ROWS = 20_000
"""So many vectors are searched by looking at all; of more by an index that needs 15 of its own to train."""
KEPT = timedelta(minutes=10)
"""Old versions of a table are deleted when nobody can still be reading them."""

_INDEX_CACHE, _METADATA_CACHE = 1 << 30, 1 << 28
"""Bytes; by default several gigabytes, which would fill with parts of versions that are no more."""
_WORDS = "terms"
_PAUSE_S = 0.2
_ATTEMPTS = 5
_COMMITS = 64
_LEFT_ROWS = 200
_MANY_COMMITS = 1024
_GROWTH = 0.05
"""A table is put in order after so many commits that it has grown by this share."""
_FRESH_ROWS, _FRESH_SHARE = 1000, 0.01
"""Words of segments that are not in the index yet are searched 50 times slower: they are taken in sooner."""
_PROBES, _REFINE = 20, 10
"""Parts of the vector index that are looked at, and times the rows wanted that are compared exactly. The
latter counts: of the ten nearest of 5 million made-up vectors 62 % are found when 50 rows are compared, 96 %
when it is 500, in about the same time. A search for ten hits wants 50 rows."""

Result = TypeVar("Result")
_log = logging.getLogger(__name__)


class LanceTables:
    """Tables by name, made when they are first needed. Safe to use from several threads; close it.

    Args:
        address: ``lance://FOLDER`` or ``lance+s3://BUCKET/PREFIX``.

    Raises UsageError for another address, where lancedb is not installed, and where there is no library and
    ``create`` is false; LibraryTooNew for a library of a later form; LibraryError for what is no library, or
    cannot be reached.
    """

    def __init__(self, address: str, *, create: bool = True) -> None:
        self._lancedb, self._arrow = _packages()
        self._address = address
        self._open: dict[str, Any] = {}
        self._grown: dict[str, tuple[int, int]] = {}
        self._closed = False
        place, options = location(address)
        if not create and "://" not in place and not has_files(place):
            raise not_there(address)  # to connect would make the folder
        with self._mapped():
            session = self._lancedb.Session(_INDEX_CACHE, _METADATA_CACHE)
            self._connection = self._lancedb.connect(place, storage_options=options, session=session)
        filled = has_files(place)  # before its tables are listed, for another process may be making them
        names = self.names()
        if "meta" not in names and (names or filled):
            raise LibraryError(f"{address} holds something else than a library.", hint="Give another path.")
        if not names and not create:
            raise not_there(address)
        found = {row["key"]: row["value"] for row in self.rows("meta", ["key", "value"])}
        if not found:
            found = {"application": APPLICATION, "form": str(FORM)}
            self.merge("meta", [{"key": key, "value": value} for key, value in found.items()])
        if found.get("application") != APPLICATION:
            raise LibraryError(f"{address} is another program's database.", hint="Give another path.")
        if int(found["form"]) > FORM:
            raise LibraryTooNew(
                f"{address} was written by a later version of tarsier-tools (its form is {found['form']}, "
                f"this one knows up to {FORM}).",
                hint="Type: pip install --upgrade tarsier-tools",
            )

    def close(self) -> None:
        """Let go of the tables; what this process has added is taken into the indexes first."""
        if not self._closed:
            for name, (_, rows) in list(self._grown.items()):
                if rows >= _LEFT_ROWS:
                    with suppress(LibraryError):
                        self.tidy(name)
        self._closed = True
        self._open.clear()

    # ------------------------------------------------------------ reading

    def names(self) -> list[str]:
        """The tables that are there."""
        with self._mapped():
            return list(self._connection.list_tables(limit=1000).tables)

    def has(self, name: str) -> bool:
        """Whether a table is there."""
        return name in self._open or name in self.names()

    def rows(self, name: str, columns: Sequence[str], condition: str = "") -> list[dict[str, Any]]:
        """The rows that fulfil a condition of SQL, in no order."""
        if condition == "false":
            return []
        with self._mapped():
            rows: list[dict[str, Any]] = self._select(name, columns, condition).to_list()
            return rows

    def batches(self, name: str, columns: Sequence[str] | None = None) -> Iterator[dict[str, list[Any]]]:
        """These columns of a table, or all, some thousands of rows at a time."""
        with self._mapped():
            names = columns or self._table(name).schema.names
            yield from (batch.to_pydict() for batch in self._select(name, names, "").to_batches(8192))

    def count(self, name: str, condition: str = "") -> int:
        """How many rows fulfil a condition of SQL."""
        with self._mapped():
            return int(self._table(name).count_rows(condition or None))

    def living(self, editions: Iterable[str]) -> set[str]:
        """Those of these editions that are of videos with a file."""
        rows = self.rows("videos", ["edition", "content"], one_of("edition", editions))
        files = self.rows("files", ["content"], one_of("content", {row["content"] for row in rows}))
        contents = {row["content"] for row in files}
        return {row["edition"] for row in rows if row["content"] in contents}

    def find_words(
        self, words: Sequence[str], phrases: Sequence[str], condition: str, limit: int
    ) -> list[dict[str, Any]]:
        """(uuid, edition, place, _score) of segments by BM25 of words and, if any, of phrases."""
        query = self._lancedb.query
        asked: Any = query.MatchQuery(" ".join(words), _WORDS)
        if phrases:
            should = [asked, *(query.PhraseQuery(phrase, _WORDS) for phrase in phrases)]
            asked = query.BooleanQuery([(query.Occur.SHOULD, each) for each in should])
        with self._mapped():
            search = self._table("segments").search(asked, query_type="fts")
            return self._best(search, ["uuid", "edition", "place", "_score"], condition, limit)

    def nearest(
        self, name: str, vector: NDArray[np.float32], condition: str, limit: int
    ) -> list[dict[str, Any]]:
        """(uuid, edition, _distance) of the rows whose vectors are most like this one."""
        with self._mapped():
            search = self._table(name).search(vector, vector_column_name="vector").distance_type("cosine")
            search = search.nprobes(_PROBES).refine_factor(_REFINE)
            return self._best(search, ["uuid", "edition", "_distance"], condition, limit)

    # ------------------------------------------------------------ writing

    def append(self, name: str, rows: Sequence[dict[str, Any]], *, dimensions: int = 0) -> None:
        """Add rows; of vectors so many ``dimensions``. At most 64k at a time keeps memory small."""
        schema = self._table(name, dimensions).schema
        for first in range(0, len(rows), 65_536):
            some = self._arrow.Table.from_pylist(rows[first : first + 65_536], schema=schema)
            self._commit(name, methodcaller("add", some))
        self._note(name, len(rows))

    def merge(self, name: str, rows: Sequence[dict[str, Any]], *, replace: str | None = "true") -> int:
        """Add rows by their key, in place of those of the same key that fulfil ``replace``; how many were
        written. In conditions the row that is there is ``target``, the new one ``source``."""
        schema = self._table(name).schema
        new = self._arrow.Table.from_pylist(list(rows), schema=schema)

        def merge(table: Any) -> Any:
            merging = table.merge_insert(schema.names[0]).use_index(use_index=False)
            merging = merging.when_not_matched_insert_all()
            if replace is not None:
                merging = merging.when_matched_update_all(where=None if replace == "true" else replace)
            return merging.execute(new)

        done = self._commit(name, merge)
        self._note(name, len(rows))
        return int(done.num_inserted_rows + done.num_updated_rows)

    def delete(self, name: str, condition: str) -> int:
        """Delete the rows that fulfil a condition; how many they were."""
        if not self.count(name, condition):  # a deletion of nothing would be a commit too
            return 0
        done = self._commit(name, methodcaller("delete", condition))
        self._note(name, 0)
        return int(done.num_deleted_rows)

    def drop(self, name: str) -> None:
        """Delete a table."""
        self._open.pop(name, None)
        with self._mapped():
            self._connection.drop_table(name)

    def tidy(self, name: str, *, anew: bool = False) -> None:
        """Join small files, take new rows into the indexes, make indexes that are worth it, delete old
        versions. Left for later when another process is writing. ``anew`` trains the index of vectors again.
        """
        self._grown.pop(name, None)
        table = self._table(name)
        with suppress(LibraryLocked), self._mapped():
            table.optimize(cleanup_older_than=KEPT)
            self._make_indexes(name, table, anew=anew)

    def keep_tidy(self) -> None:
        """Put tables in order from time to time, as each commit makes them a little slower; for a moment at
        which nobody waits for what comes next."""
        for name, (commits, grown) in list(self._grown.items()):
            if self._due(name, commits, grown):
                try:
                    self.tidy(name)
                except LibraryError as error:  # what was written is written
                    _log.warning("%s", error)

    def size_bytes(self, name: str) -> int:
        """What the latest version of a table takes, with its indexes."""
        with self._mapped():
            return int(self._table(name).stats()["total_bytes"])

    # ------------------------------------------------------------ inside

    def _table(self, name: str, dimensions: int = 0) -> Any:
        """A table as it is now: LanceDB would ask for news at every turn, or never."""
        found = self._open.get(name)
        if found is not None:
            with self._mapped():
                found.checkout_latest()
            return found
        table = self._opened(name, dimensions)
        with self._mapped():
            if name == "segments" and not any(_WORDS in index.columns for index in table.list_indices()):
                self._index_words(table)
        self._open[name] = table
        return table

    def _opened(self, name: str, dimensions: int) -> Any:
        """A table, made when it is not there; another process may be making it, or was killed meanwhile."""
        for _ in range(_ATTEMPTS):
            try:
                with self._mapped():
                    return self._connection.open_table(name)
            except LibraryError as error:
                problem = error
            with suppress(LibraryError), self._mapped():
                return self._connection.create_table(name, schema=self._schema(name, dimensions))
            time.sleep(_PAUSE_S)
        raise problem

    def _schema(self, name: str, dimensions: int) -> Any:
        arrow = self._arrow
        kind = name.partition("_")[0]
        fields = []
        for place, column in enumerate((_KEYED.get(name) or _PLAIN[kind]).split()):
            word, _, type_ = column.partition(":")
            made = arrow.type_for_alias(type_ or "string")
            if word == "vector":
                made = arrow.list_(arrow.float32(), dimensions)
            is_key = name in _KEYED and not place
            key = {"lance-schema:unenforced-primary-key:position": "1"} if is_key else None
            fields.append(arrow.field(word, made, nullable=not is_key, metadata=key))
        return arrow.schema(fields)

    def _select(self, name: str, columns: Sequence[str], condition: str) -> Any:
        query = self._table(name).search().select(list(columns))
        return query.where(condition) if condition else query

    def _best(self, search: Any, columns: Sequence[str], condition: str, limit: int) -> list[dict[str, Any]]:
        search = search.select(list(columns)).limit(limit)
        if condition:
            search = search.where(condition, prefilter=True)
        rows: list[dict[str, Any]] = search.to_list()
        return rows

    def _index_words(self, table: Any) -> None:
        """The terms of texts are ours, so the tokenizer has only to split at spaces and to take stems."""
        index = self._lancedb.index.FTS(
            with_position=True,
            base_tokenizer="whitespace",
            max_token_length=None,
            stem=True,
            remove_stop_words=False,
            ascii_folding=True,
        )
        try:
            table.create_index(_WORDS, config=index, name="terms_idx", replace=False)
        except (RuntimeError, ValueError):  # another process was first
            table.checkout_latest()
            if not table.list_indices():
                raise

    def _make_indexes(self, name: str, table: Any, *, anew: bool) -> None:
        index = self._lancedb.index
        rows = table.count_rows()
        there = {column for each in table.list_indices() for column in each.columns}
        kind = name.partition("_")[0]
        for column in _INDEXED.get(kind, ()) if rows >= INDEXED_ROWS else ():
            if column not in there:
                made = index.Bitmap() if column in _FEW_VALUES else index.BTree()
                table.create_index(column, config=made, name=f"{column}_idx")
        if kind == "vectors" and rows >= VECTOR_ROWS and (anew or "vector" not in there):
            table.create_index("vector", config=index.IvfRq(distance_type="cosine"), name="vector_idx")

    def _note(self, name: str, rows: int) -> None:
        commits, grown = self._grown.get(name, (0, 0))
        self._grown[name] = (commits + 1, grown + rows)

    def _due(self, name: str, commits: int, grown: int) -> bool:
        if name == "segments" and grown >= _FRESH_ROWS:
            return grown >= _FRESH_SHARE * self.count(name)
        if commits >= _MANY_COMMITS and name != "thumbnails":  # these are large to write again
            return True
        return commits >= _COMMITS and grown >= _GROWTH * self.count(name)

    def _commit(self, name: str, write: Callable[[Any], Result]) -> Result:
        """Write to a table; again when another process was faster."""
        until = time.monotonic() + BUSY_S
        while True:
            table = self._table(name)
            try:
                with self._mapped():
                    return write(table)
            except LibraryLocked:
                if time.monotonic() > until:
                    raise
            time.sleep(secrets.SystemRandom().uniform(0, _PAUSE_S))

    @contextmanager
    def _mapped(self) -> Generator[None]:
        if self._closed:
            raise LibraryError("The library is closed.", hint="Open it again.")
        try:
            yield
        except LibraryError:
            raise
        except Exception as error:  # LanceDB has no errors of its own, and its panics are of a hidden kind
            raise failure(error, self._address) from error


def _packages() -> tuple[Any, Any]:
    try:
        with config.environment(LANCEDB_LOG="error"):  # else it tells of what it deals with by itself
            import_module("lancedb.index")
        return import_module("lancedb"), import_module("pyarrow")
    except ImportError as error:
        raise UsageError(
            "A library at lance:// needs the lancedb package.",
            hint='Type: pip install "tarsier-tools[lance]"',
        ) from error
