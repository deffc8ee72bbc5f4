"""The vectors of a library in LanceDB.

They have a table of their own, as they are made later than segments and may be made anew: to write them
beside the texts would write the texts again too. Each embedder has its own, so that none are ever mixed.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from tarsier_tools.library.lance_conditions import equal, one_of
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
    """(uuid, text) of segments that have no vector yet, so many at a time."""
    name = table_of(embedder)
    there = tables.has(name)
    have: Counter[str] = Counter()
    for batch in tables.batches(name, ["edition"]) if there else ():
        have.update(batch["edition"])
    collected: list[tuple[str, str]] = []
    for video in tables.rows("videos", ["edition", "segments"]):
        if have[video["edition"]] == video["segments"]:
            continue
        which = equal("edition", video["edition"])
        done = {row["uuid"] for row in tables.rows(name, ["uuid"], which)} if there else set()
        rows = sorted(
            tables.rows("segments", ["uuid", "text", "place"], which), key=lambda row: int(row["place"])
        )
        collected += [(row["uuid"], row["text"]) for row in rows if row["uuid"] not in done]
        while len(collected) >= together:
            yield collected[:together]
            collected = collected[together:]
    if collected:
        yield collected


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
