"""A SQLite database for several threads, with its errors as ours."""

from __future__ import annotations

import sqlite3
import threading
import weakref
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tarsier_tools.errors import LibraryError
from tarsier_tools.library.schema import connect, failure


class SqliteFile:
    """An open library file; its statements are this package's own. One thread at a time uses it.

    Raises what :func:`~tarsier_tools.library.schema.connect` raises, and so does each method.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection = connect(path)
        # Tools of agent frameworks have no end of their own: what holds this may just be dropped.
        weakref.finalize(self, self._connection.close)
        self._lock = threading.RLock()

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    @contextmanager
    def connection(self) -> Generator[sqlite3.Connection]:
        """The connection, for the block alone."""
        with self._lock:
            try:
                yield self._connection
            except sqlite3.ProgrammingError as error:
                raise LibraryError("The library is closed.", hint="Open it again.") from error
            except sqlite3.DatabaseError as error:
                raise failure(error, self._path) from error

    @contextmanager
    def transaction(self) -> Generator[None]:
        """All that is written in the block is written at its end, or nothing of it."""
        with self.connection() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")

    @contextmanager
    def snapshot(self) -> Generator[sqlite3.Connection]:
        """The connection for reading: all that is read in the block is as of one moment."""
        with self.connection() as connection:
            connection.execute("BEGIN")
            try:
                yield connection
            finally:
                connection.execute("COMMIT")

    def run(self, statement: str, *values: Any) -> sqlite3.Cursor:
        """Run a statement."""
        with self.connection() as connection:
            return connection.execute(statement, values)

    def run_many(self, statement: str, rows: Iterable[tuple[Any, ...]]) -> None:
        """Run a statement for each of some rows of values."""
        with self.connection() as connection:
            connection.executemany(statement, rows)

    def all(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """All rows of a query."""
        with self.connection() as connection:
            return connection.execute(statement, values).fetchall()

    def one(self, statement: str, *values: Any) -> tuple[Any, ...] | None:
        """The first row of a query; None when there is none."""
        with self.connection() as connection:
            row: tuple[Any, ...] | None = connection.execute(statement, values).fetchone()
            return row

    def state(self) -> tuple[int, int]:
        """Changes whenever anything in the file does, by this connection or another."""
        with self.connection() as connection:
            (version,) = connection.execute("PRAGMA data_version").fetchone()
            return int(version), connection.total_changes
