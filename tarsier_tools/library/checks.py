"""Whether a library's SQLite file is whole."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tarsier_tools.library.sqlite_file import SqliteFile

_UNINDEXED = "SELECT count(*) FROM segments WHERE id NOT IN (SELECT rowid FROM terms)"
_TOO_MANY = "SELECT count(*) FROM terms WHERE rowid NOT IN (SELECT id FROM segments)"
_UNKNOWN_MANY = "SELECT count(*) FROM vectors WHERE segment NOT IN (SELECT id FROM segments)"


def problems(file: SqliteFile, thumbnails: Path) -> list[str]:
    """What is wrong, one sentence each; none when all is well. Files that moved are not looked for."""
    said = [str(row[0]) for row in file.all("PRAGMA integrity_check")]
    found = [f"The file is damaged: {words}." for words in said if words != "ok"]
    found += [f"A row of {row[0]} refers to nothing." for row in file.all("PRAGMA foreign_key_check")]
    for statement, words in (
        (_UNINDEXED, "segments are missing from the word index"),
        (_TOO_MANY, "entries of the word index have no segment"),
        (_UNKNOWN_MANY, "vectors have no segment"),
    ):
        (count,) = file.one(statement) or (0,)
        if count:
            found.append(f"{count} {words}.")
    named = {str(name) for (name,) in file.all("SELECT thumbnail FROM segments WHERE thumbnail <> ''")}
    missing = sum(not (thumbnails / name).is_file() for name in named)
    if missing:
        found.append(f"{missing} of {len(named)} thumbnails are missing.")
    return found
