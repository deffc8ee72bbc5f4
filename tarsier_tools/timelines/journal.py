"""Work on a video that is done, kept in a file as it is done, so that a run that is killed can go on.

A journal is a file of JSON lines, one per stretch of the video, appended in one write and synced before the
next piece of work begins. A line that was cut off by a crash is passed over when the journal is read, and so
is one that another version wrote; what it stood for is done again. Several processes may write the same
journal: the worst that comes of it is a line that is there twice.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from tarsier_tools.errors import UsageError, VideoUnreadable

_BLOCK = 1 << 22


class Stretch(BaseModel):
    """What a journal keeps: something known about one stretch of a video, in seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    start_s: float
    end_s: float


R = TypeVar("R", bound=Stretch)


class Journal(Generic[R]):
    """The records of one kind of work on one video.

    Args:
        folder: where journals are kept; made when it is not there.
        parameters: everything that the records depend on; its hash names the file.
        kind: the class of the records.
        keep: begin with what is there already; otherwise with nothing.

    Raises UsageError when the file cannot be read or written.
    """

    def __init__(self, folder: Path, parameters: dict[str, object], kind: type[R], *, keep: bool) -> None:
        name = hashlib.sha256(json.dumps(parameters, sort_keys=True).encode()).hexdigest()
        self.path = folder / f"{name}.jsonl"
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not keep:
                self.path.unlink(missing_ok=True)
            lines = self.path.read_bytes().split(b"\n") if self.path.exists() else []
        except OSError as error:
            raise self._failed(error) from error
        self._whole = not lines or not lines[-1]  # else a crash has cut the last line off
        records = (_record(kind, line) for line in lines if line)
        self._records = {(each.start_s, each.end_s): each for each in records if each is not None}

    def __len__(self) -> int:
        return len(self._records)

    def get(self, start_s: float, end_s: float) -> R | None:
        """What is known about exactly this stretch."""
        return self._records.get((start_s, end_s))

    def records(self) -> list[R]:
        """All that is known, in the order in which it was kept."""
        return list(self._records.values())

    def add(self, record: R) -> None:
        """Keep a record; when this returns, it is on the disk. Raises UsageError when it cannot be."""
        line = json.dumps(record.model_dump(mode="json")).encode() + b"\n"  # ASCII: takes any text there is
        try:
            descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                os.write(descriptor, line if self._whole else b"\n" + line)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise self._failed(error) from error
        self._whole = True
        self._records[record.start_s, record.end_s] = record

    def remove(self) -> None:
        """Forget everything. Raises UsageError when the file cannot be removed."""
        try:
            self.path.unlink(missing_ok=True)
        except OSError as error:
            raise self._failed(error) from error
        self._records.clear()

    def _failed(self, error: OSError) -> UsageError:
        return UsageError(
            f"What is done cannot be kept in {self.path}: {error.strerror}.",
            hint="Set cache_dir (TARSIER_CACHE_DIR) to a folder that can be written to.",
        )


def content_hash(path: Path, on_block: Callable[[], None]) -> str:
    """Hex SHA-256 of a video's bytes; of a folder of images: of the names and bytes of its files.

    Args:
        on_block: called every few megabytes; raising from it stops the work.

    Raises VideoUnreadable when something cannot be read.
    """
    digest = hashlib.sha256()
    folder = path.is_dir()
    try:
        files = sorted(each for each in path.iterdir() if each.is_file()) if folder else [path]
        for file in files:
            if folder:
                digest.update(f"{file.name}\0{file.stat().st_size}\0".encode(errors="surrogateescape"))
            with file.open("rb") as data:
                while block := data.read(_BLOCK):
                    digest.update(block)
                    on_block()
    except OSError as error:
        raise VideoUnreadable(
            f"{path.name} cannot be read: {error.strerror}.", hint="Check the file."
        ) from error
    return digest.hexdigest()


def _record(kind: type[R], line: bytes) -> R | None:
    try:
        return kind.model_validate_json(line)
    except ValidationError:
        return None
