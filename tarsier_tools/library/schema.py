"""The library's file: one SQLite database, and how older ones are brought up to date.

A migration, once released, is never changed; new ones are appended. ``user_version`` counts those that a file
has had.
"""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

from tarsier_tools.errors import LibraryError, LibraryLocked, LibraryTooNew

APPLICATION_ID = 0x54415253  # "TARS", so that no other program's database is taken for a library

MIGRATIONS: tuple[str, ...] = (
    """
    CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

    CREATE TABLE videos (          -- one row per content, however many files have it
        id INTEGER PRIMARY KEY,
        uuid TEXT NOT NULL UNIQUE,
        content TEXT NOT NULL UNIQUE,      -- hex SHA-256 of the bytes
        duration_s REAL NOT NULL,
        info TEXT NOT NULL,                -- a VideoInfo as JSON
        language TEXT NOT NULL,            -- of the captions
        model TEXT NOT NULL,
        look BLOB,                         -- perceptual hash, see likeness.py
        added_at TEXT NOT NULL
    );
    CREATE TABLE files (           -- where videos lie
        source TEXT PRIMARY KEY,
        video INTEGER NOT NULL REFERENCES videos (id) ON DELETE CASCADE,
        stamp TEXT NOT NULL                -- size and time of change when it was last hashed
    ) WITHOUT ROWID;
    CREATE INDEX files_video ON files (video);
    CREATE TABLE failures (        -- files that could not be taken in
        source TEXT PRIMARY KEY,
        stamp TEXT NOT NULL,
        kind TEXT NOT NULL,
        message TEXT NOT NULL,
        hint TEXT NOT NULL,
        attempts INTEGER NOT NULL,
        failed_at TEXT NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE claims (          -- videos that some process is working on
        content TEXT PRIMARY KEY,
        owner TEXT NOT NULL,
        until REAL NOT NULL                -- seconds since 1970
    ) WITHOUT ROWID;
    CREATE TABLE segments (
        id INTEGER PRIMARY KEY,
        uuid TEXT NOT NULL UNIQUE,
        video INTEGER NOT NULL REFERENCES videos (id) ON DELETE CASCADE,
        number INTEGER NOT NULL,
        kind TEXT NOT NULL,
        start_s REAL NOT NULL,
        end_s REAL NOT NULL,
        text TEXT NOT NULL,
        language TEXT NOT NULL,
        model TEXT NOT NULL,
        prompt TEXT NOT NULL,
        thumbnail TEXT NOT NULL            -- a file in the library's folder of thumbnails; "" for none
    );
    CREATE INDEX segments_video ON segments (video, start_s);
    CREATE TABLE vectors (
        segment INTEGER PRIMARY KEY REFERENCES segments (id) ON DELETE CASCADE,
        vector BLOB NOT NULL               -- float32, little-endian, of length 1
    );
    CREATE VIRTUAL TABLE terms USING fts5 (body, tokenize = 'porter unicode61 remove_diacritics 2');
    CREATE TRIGGER segments_deleted AFTER DELETE ON segments BEGIN
        DELETE FROM terms WHERE rowid = old.id;
    END;
    """,
)

_BUSY_S = 30.0
_RETRY_S = 0.02


def connect(path: Path) -> sqlite3.Connection:
    """An open library, made when it is not there, brought up to date when it is older than this code.

    Readers and writers of several processes may share the file (WAL). Autocommit: begin transactions by hand.

    Raises LibraryTooNew for one of a later version; LibraryLocked when another process holds it for long;
    LibraryError when the file is something else, is damaged or cannot be written.
    """
    connection = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
    try:
        _prepare(connection, path)
    except sqlite3.DatabaseError as error:
        connection.close()
        raise failure(error, path) from error
    except BaseException:
        connection.close()
        raise
    return connection


def failure(error: sqlite3.DatabaseError, path: Path) -> LibraryError:
    """What SQLite says, as an error of ours."""
    if isinstance(error, sqlite3.OperationalError) and "locked" in str(error):
        return LibraryLocked(
            f"Another process has been writing to {path.name} for more than {_BUSY_S:.0f} s.",
            hint="Try again when it is done.",
        )
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    damaged = code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB) or "vtable constructor" in str(error)
    return LibraryError(
        f"{path.name} cannot be used as a library: {error}.",
        hint="It is damaged, or something else: take a copy from before, or add the videos to a new library."
        if damaged
        else "Check the path, the disk and the rights; a library is written to while it is searched, too.",
    )


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    connection.execute("BEGIN")  # another process may be making it: all is read as of one moment
    (known,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    filled = connection.execute("SELECT 1 FROM sqlite_master").fetchone()
    connection.execute("COMMIT")
    if known != APPLICATION_ID and (known or version or filled):
        raise LibraryError(f"{path.name} is another program's database.", hint="Give another path.")
    if version > len(MIGRATIONS):
        raise LibraryTooNew(
            f"{path.name} was written by a later version of tarsier-tools (its form is {version}, this one "
            f"knows up to {len(MIGRATIONS)}).",
            hint="Type: pip install --upgrade tarsier-tools",
        )
    _write_ahead(connection)
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA foreign_keys = ON")
    if version == len(MIGRATIONS):
        return
    connection.execute("BEGIN IMMEDIATE")  # of several processes that open it, one brings it up to date
    try:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        for number, script in enumerate(MIGRATIONS[version:], start=version + 1):
            for statement in statements(script):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {number:d}")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID:d}")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Let readers and writers share the file.

    While another process does the same SQLite says at once that the file is locked, instead of waiting as
    everywhere else.
    """
    until = time.monotonic() + _BUSY_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError:
            if time.monotonic() > until:
                raise
            time.sleep(_RETRY_S)


def statements(script: str) -> list[str]:
    """The statements of a script one by one: ``executescript`` would commit the transaction it is in."""
    found, part = [], ""
    for line in script.splitlines(keepends=True):
        part += line
        if sqlite3.complete_statement(part):
            found.append(part)
            part = ""
    return found
