"""A library in LanceDB as a whole: counted, looked through and cleaned up."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import get_args

from tarsier_tools.errors import LibraryError
from tarsier_tools.library.lance_conditions import equal, one_of
from tarsier_tools.library.lance_tables import LanceTables
from tarsier_tools.library.lance_vectors import all_tables
from tarsier_tools.passages import Kind

UNFINISHED_S = 3600.0
"""What a killed process left is deleted when it is older than this: younger, it may be in the making."""
_TOGETHER = 500


def counts(tables: LanceTables, vectors: str) -> dict[str, int]:
    """How many rows there are of each kind, and segments by kind; ``vectors`` is the table of vectors."""
    counted = {name: tables.count(name) for name in ("videos", "files", "failures", "segments")}
    counted["vectors"] = tables.count(vectors) if tables.has(vectors) else 0
    kinds = {kind: tables.count("segments", equal("kind", kind)) for kind in sorted(get_args(Kind))}
    return {**counted, **{f"segments: {kind}": number for kind, number in kinds.items() if number}}


def size_bytes(tables: LanceTables) -> int:
    """What the latest versions of the tables take with their indexes, without pictures."""
    return sum(tables.size_bytes(name) for name in tables.names() if name != "thumbnails")


def problems(tables: LanceTables) -> list[str]:
    """What is wrong, one sentence each; all is read but pictures."""
    said = []
    for name in tables.names():
        try:
            for _ in tables.batches(name, ["edition"] if name == "thumbnails" else None):
                pass
        except LibraryError as error:
            said.append(f"The table {name} cannot be read: {error.message}")
    if said:
        return said
    found = {name: _editions(tables, name) for name in _parts(tables)}
    lost, homeless = _dangling_files(tables), _homeless(tables)
    expected = {row["edition"]: row["segments"] for row in tables.rows("videos", ["edition", "segments"])}
    short = sum(found["segments"][edition] != number for edition, number in expected.items())
    doubled = len(expected) - len({row["content"] for row in tables.rows("videos", ["content"])})
    twice = len(_overfull(found, expected))
    strangers = {
        name: sum(n for edition, n in found[name].items() if edition not in expected) for name in found
    }
    lacking = {
        f"{short} videos have not the segments that they should have.": short,
        f"{doubled} videos are there twice.": doubled,
        f"{twice} videos have more vectors than segments; vacuum deletes them, to be made again.": twice,
        f"{len(lost)} files refer to a video that is not there.": len(lost),
        f"{len(homeless)} videos have no file: they were not finished.": len(homeless),
    }
    lacking |= {
        f"{number} rows of {name} are of videos that were not finished; they are never found.": number
        for name, number in strangers.items()
    }
    return [sentence for sentence, number in lacking.items() if number]


def vacuum(tables: LanceTables, vectors: str) -> None:
    """Delete what killed processes left, put all tables in order, and train the index of vectors again."""
    before = _edition_before(UNFINISHED_S)
    tables.delete("files", one_of("source", _dangling_files(tables)))
    tables.delete("videos", f"{one_of('content', _homeless(tables))} AND edition < '{before}'")
    tables.delete("claims", f"until < {time.time():f}")
    found = {name: _editions(tables, name) for name in _parts(tables)}
    known = {row["edition"]: row["segments"] for row in tables.rows("videos", ["edition", "segments"])}
    for name, edition in _overfull(found, known):
        tables.delete(name, equal("edition", edition))
    for name, editions in found.items():
        left = sorted(edition for edition in editions if edition not in known and edition < before)
        for first in range(0, len(left), _TOGETHER):
            tables.delete(name, one_of("edition", left[first : first + _TOGETHER]))
    for name in tables.names():
        if name.startswith("vectors_") and name != vectors:
            tables.drop(name)
        else:
            tables.tidy(name, anew=True)


def _parts(tables: LanceTables) -> Iterable[str]:
    """The tables whose rows belong to videos."""
    return ("segments", "thumbnails", *all_tables(tables))


def _editions(tables: LanceTables, name: str) -> Counter[str]:
    """How many rows each edition has."""
    counted: Counter[str] = Counter()
    for batch in tables.batches(name, ["edition"]):
        counted.update(batch["edition"])
    return counted


def _overfull(found: Mapping[str, Mapping[str, int]], expected: Mapping[str, int]) -> list[tuple[str, str]]:
    """(table, edition) where two processes made the same vectors, one of which had been given up for dead."""
    return [
        (name, edition)
        for name in found
        if name.startswith("vectors_")
        for edition, number in found[name].items()
        if number > expected.get(edition, number)
    ]


def _dangling_files(tables: LanceTables) -> list[str]:
    """Files whose video is not there."""
    files = tables.rows("files", ["source", "content"])
    known = {row["content"] for row in tables.rows("videos", ["content"])}
    return [row["source"] for row in files if row["content"] not in known]


def _homeless(tables: LanceTables) -> list[str]:
    """Contents of videos that no file has."""
    videos = tables.rows("videos", ["content"])
    known = {row["content"] for row in tables.rows("files", ["content"])}
    return [row["content"] for row in videos if row["content"] not in known]


def _edition_before(seconds: float) -> str:
    """Editions that are smaller than this were begun longer ago."""
    return f"{time.time_ns() - int(seconds * 1e9):016x}"
