"""The vectors of a library in LanceDB.

They have a table of their own, as they are made later than segments and may be made anew: to write them
beside the texts would write the texts again too. Each embedder has its own, so that none are ever mixed.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tarsier_tools.library.claims import LEASE_S
from tarsier_tools.library.lance_conditions import equal, one_of, unclaimed
from tarsier_tools.library.lance_tables import LanceTables

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_COPIED = ["uuid", "edition", "video", "kind", "start_s", "end_s", "language"]
"""What filters ask for."""


def table_of(embedder: str) -> str:
    """The table of an embedder's vectors."""
    return f"vectors_{hashlib.sha256(embedder.encode()).hexdigest()[:16]}"


def all_tables(tables: LanceTables) -> list[str]:
    """The tables of vectors that are there."""
    return [name for name in tables.names() if name.startswith("vectors_")]


def waiting(tables: LanceTables, embedder: str, together: int) -> Iterator[list[tuple[str, str]]]:
    """(uuid, text) of segments that have no vector yet, so many at a time.

    Their videos are claimed until the next ones are asked for; those that another process has are left to it.
    """
    name = table_of(embedder)
    have: Counter[str] = Counter()
    for batch in tables.batches(name, ["edition"]) if tables.has(name) else ():
        have.update(batch["edition"])
    videos = tables.rows("videos", ["edition", "segments"])
    lacking = [(row["edition"], row["segments"]) for row in videos if have[row["edition"]] != row["segments"]]
    while lacking:
        some, count = [], 0
        while lacking and count < together:
            edition, segments = lacking.pop()
            some.append(edition)
            count += segments
        with _claimed(tables, some) as (mine, renew):
            texts = _without(tables, name, mine)
            for first in range(0, len(texts), together):
                renew()
                yield texts[first : first + together]


def _without(tables: LanceTables, name: str, editions: Sequence[str]) -> list[tuple[str, str]]:
    """(uuid, text) of the segments of these editions that have no vector in the table of this name."""
    which = one_of("edition", editions)
    done = {row["uuid"] for row in tables.rows(name, ["uuid"], which)} if tables.has(name) else set()
    rows = tables.rows("segments", ["uuid", "edition", "text", "place"], which)
    rows.sort(key=lambda row: (row["edition"], row["place"]))
    return [(row["uuid"], row["text"]) for row in rows if row["uuid"] not in done]


@contextmanager
def _claimed(
    tables: LanceTables, editions: Sequence[str]
) -> Generator[tuple[list[str], Callable[[], object]]]:
    """Those of these editions that no other process makes vectors for, and what keeps the claim to them."""
    owner = secrets.token_hex(8)

    def claim(claimed: Iterable[str]) -> None:
        until = time.time() + LEASE_S
        rows = [{"content": f"vectors {each}", "owner": owner, "until": until} for each in claimed]
        tables.merge("claims", rows, replace=unclaimed())

    claim(editions)
    try:
        rows = tables.rows("claims", ["content"], equal("owner", owner))
        mine = [row["content"].removeprefix("vectors ") for row in rows]
        yield mine, lambda: claim(mine)
    finally:
        tables.delete("claims", equal("owner", owner))


def put(tables: LanceTables, embedder: str, vectors: Mapping[str, NDArray[np.float32]]) -> None:
    """Keep the vectors of these segments, but for those that are gone or that another process put in."""
    name, which = table_of(embedder), one_of("uuid", vectors)
    done: Iterable[dict[str, Any]] = ()
    if tables.has(name):
        done = tables.rows(name, ["uuid", "edition"], which)
    known = {(row["uuid"], row["edition"]) for row in done}
    rows = tables.rows("segments", _COPIED, which)
    living = tables.living({row["edition"] for row in rows})
    new = [
        {**row, "vector": vectors[row["uuid"]]}
        for row in rows
        if row["edition"] in living and (row["uuid"], row["edition"]) not in known
    ]
    if new:
        tables.append(name, new, dimensions=len(new[0]["vector"]))
