"""Search by words in SQLite's full-text index (FTS5, BM25), in any language.

English words are found by their stems (Porter). Scripts without spaces are stored as pairs of characters,
which FTS5's own tokenizers do not do: ``unicode61`` takes a whole sentence for a word, and ``trigram`` finds
no word of two characters, as most Chinese words are.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from tarsier_tools.terms import terms

MAX_QUERY_TERMS = 64
"""A longer query is searched by its first terms."""


def create(connection: sqlite3.Connection) -> None:
    """Make the index, if it is not there."""
    connection.execute(
        "CREATE VIRTUAL TABLE IF NOT EXISTS terms USING "
        "fts5(body, tokenize='porter unicode61 remove_diacritics 2')"
    )


def add(connection: sqlite3.Connection, texts: Iterable[tuple[int, str]]) -> None:
    """Put texts into the index under their numbers."""
    connection.executemany(
        "INSERT INTO terms (rowid, body) VALUES (?, ?)",
        ((number, " ".join(terms(text, single=True))) for number, text in texts),
    )


def remove(connection: sqlite3.Connection, numbers: Iterable[int]) -> None:
    """Take the texts of these numbers out of the index."""
    connection.executemany("DELETE FROM terms WHERE rowid = ?", ((number,) for number in numbers))


def find(connection: sqlite3.Connection, query: str, limit: int) -> list[tuple[int, float]]:
    """(number, score) of the texts that share a word with the query, the best first.

    The score is BM25's: above 0, the higher the better, comparable within one search only.
    """
    wanted = list(dict.fromkeys(terms(query)))[:MAX_QUERY_TERMS]
    if not wanted:
        return []
    expression = " OR ".join(f'"{term}"' for term in wanted)  # no quotes in a term: it is letters and digits
    rows = connection.execute(
        "SELECT rowid, -bm25(terms) FROM terms WHERE terms MATCH ? ORDER BY 2 DESC, 1 LIMIT ?",
        (expression, limit),
    )
    return [(int(number), float(score)) for number, score in rows]
