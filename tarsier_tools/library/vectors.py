"""The vectors of a SQLite library in memory, and the nearest of them: exact, by looking at all."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np

from tarsier_tools.library.conditions import Where

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tarsier_tools.library.sqlite_file import SqliteFile

_AHEAD = 20
"""So many times the rows wanted are tried against a filter before it is asked for all rows that pass."""

_TOGETHER = 4096
"""Rows that are read at once; all at once would take twice the memory."""


class Vectors:
    """The vectors of a file, read again when it has changed. Safe to use from several threads."""

    def __init__(self, file: SqliteFile) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._state: tuple[int, int] | None = None
        self._numbers: NDArray[np.int64] = np.zeros(0, np.int64)
        self._matrix: NDArray[np.float32] = np.zeros((0, 0), np.float32)

    def nearest(self, vector: NDArray[np.float32], limit: int, where: Where | None) -> list[int]:
        """The rows whose vectors are most like this one, the best first."""
        with self._lock:
            state = self._file.state()
            if state != self._state:
                self._numbers, self._matrix = self._read()
                self._state = state
            numbers, matrix = self._numbers, self._matrix
        if not len(numbers):
            return []
        likeness = np.vecdot(matrix, vector)  # not @, whose threads wait for each other on a busy machine
        if where is None:
            return _best(numbers, likeness, limit)
        first = _best(numbers, likeness, limit * _AHEAD)
        passing = set(self._passing(where, first))
        found = [number for number in first if number in passing][:limit]
        if len(found) == limit or len(first) == len(numbers):
            return found
        allowed = np.isin(numbers, self._passing(where), assume_unique=True)
        return _best(numbers[allowed], likeness[allowed], limit)

    def _read(self) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """(rows int64 (n,), vectors float32 (n, dimensions)) of all segments that have one."""
        with self._file.snapshot() as connection:
            (count, size) = connection.execute(
                "SELECT count(*), coalesce(max(length(vector)), 0) FROM vectors"
            ).fetchone()
            numbers = np.zeros(count, np.int64)
            matrix = np.zeros((count, size // 4), "<f4")
            rows = connection.execute("SELECT segment, vector FROM vectors ORDER BY segment")
            place = 0
            while some := rows.fetchmany(_TOGETHER):
                block = slice(place, place := place + len(some))
                numbers[block] = [number for number, _ in some]
                matrix[block] = np.frombuffer(b"".join(vector for _, vector in some), "<f4").reshape(
                    len(some), -1
                )
        return numbers, matrix.astype(np.float32, copy=False)

    def _passing(self, where: Where, among: list[int] | None = None) -> NDArray[np.int64]:
        """The rows that fulfil a condition: all, or ``among`` these, int64 (rows,)."""
        statement = f"SELECT id FROM segments WHERE {where.condition}"  # noqa: S608
        if among is not None:
            statement += f" AND id IN ({','.join(map(str, among))})"
        rows = self._file.all(statement, *where.values)
        return np.fromiter((number for (number,) in rows), np.int64, len(rows))


def _best(numbers: NDArray[np.int64], likeness: NDArray[np.float32], limit: int) -> list[int]:
    """Return the rows that are most alike; of equals those with the smallest number, on every processor."""
    count = min(limit, len(numbers))
    if not count:
        return []
    distance = -likeness
    # Not argpartition: which of several equals it takes depends on the processor.
    among = np.flatnonzero(distance <= np.partition(distance, count - 1)[count - 1])
    best = among[np.argsort(distance[among], kind="stable")][:count]
    found: list[int] = numbers[best].tolist()
    return found
