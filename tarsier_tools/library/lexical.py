"""Search by words in SQLite's full-text index (FTS5, BM25), in any language.

English words are found by their stems (Porter). Scripts without spaces are stored as pairs of characters,
which FTS5's own tokenizers do not do: ``unicode61`` takes a whole sentence for a word, and ``trigram`` finds
no word of two characters, as most Chinese words are.

Two neighbours of a query count as a term of their own where they stand together in a text too, so that "a
red circle moves" is not found first where a red square is and another circle: the sequential dependence of
Metzler and Croft, "A Markov Random Field Model for Term Dependencies", SIGIR 2005, with BM25.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from itertools import pairwise

from tarsier_tools.library.conditions import Where
from tarsier_tools.terms import terms

MAX_QUERY_TERMS = 64
"""A longer query is searched by its first terms."""
MAX_SCORED = 10_000
"""Of more texts that share a term with the query, those that have only its commonest terms are left out: to
score them takes most of the time, and they would come last."""


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


def find(
    connection: sqlite3.Connection, query: str, limit: int, where: Where | None = None
) -> list[tuple[int, float]]:
    """(number, score) of the texts that share a word with the query, the best first.

    The score is BM25's: above 0, the higher the better, comparable within one search only.
    """
    found = terms(query)[:MAX_QUERY_TERMS]
    wanted = list(dict.fromkeys(found))
    if not wanted:
        return []
    phrases = dict.fromkeys(" ".join(pair) for pair in pairwise(found))
    rarest, texts = _rarest(connection, wanted)
    if len(rarest) < len(wanted) and texts >= limit:
        best = _scored(connection, [*wanted, *phrases], limit, where, having=rarest)
        if len(best) == limit:
            return best
    return _scored(connection, [*wanted, *phrases], limit, where)


def _scored(
    connection: sqlite3.Connection,
    wanted: Sequence[str],
    limit: int,
    where: Where | None,
    having: Sequence[str] = (),
) -> list[tuple[int, float]]:
    """The best by all terms, of those texts that have one of ``having``."""
    tables, condition, values = "terms", "terms MATCH ?", [_any(wanted)]
    if having:
        condition += " AND +terms.rowid IN (SELECT rowid FROM terms WHERE terms MATCH ?)"
        values.append(_any(having))
    if where:  # CROSS: words first, then a look at each row that has them
        tables += " CROSS JOIN segments ON segments.id = terms.rowid"
        condition += f" AND {where.condition}"
    rows = connection.execute(
        f"SELECT terms.rowid, -bm25(terms) FROM {tables} WHERE {condition} ORDER BY 2 DESC, 1 LIMIT ?",  # noqa: S608
        (*values, *(where.values if where else ()), limit),
    )
    return [(int(number), float(score)) for number, score in rows]


def _rarest(connection: sqlite3.Connection, wanted: Sequence[str]) -> tuple[list[str], int]:
    """(terms, texts): the rarest that together are in at most MAX_SCORED texts, but at least one."""
    counts = {term: _count(connection, term) for term in wanted}
    kept: list[str] = []
    texts = 0
    for term in sorted(wanted, key=lambda term: counts[term]):
        if texts and texts + counts[term] > MAX_SCORED:
            break
        kept.append(term)
        texts += counts[term]
    return kept, texts


def _count(connection: sqlite3.Connection, term: str) -> int:
    (count,) = connection.execute(
        "SELECT count(*) FROM terms WHERE terms MATCH ?", (_any([term]),)
    ).fetchone()
    return int(count)


def _any(wanted: Sequence[str]) -> str:
    return " OR ".join(f'"{term}"' for term in wanted)  # no quotes in a term: it is letters and digits
