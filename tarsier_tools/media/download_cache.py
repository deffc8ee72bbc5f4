"""Where downloads are kept.

::

    content/<sha256 of the bytes>      whole files; the same bytes from two addresses are kept once
    urls/<key>.json                    what an address gave last: content, ETag, Last-Modified
    partial/<key>/                     a download that broke off: data, and validator.txt to go on with
    partial/<key>.<token>/             the same, while a process is at work on it

A key is the SHA-256 of an address, so that no address, with what secrets it may hold, is written down. Every
change is one rename, so that readers never see half of anything, and two processes that fetch the same
address at once do not get into each other's way: only one can rename the partial download to its own.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

STALE_S = 24 * 3600
"""Partial downloads that nobody has touched for so long are removed."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A whole file that an address gave before.

    Attributes:
        content: hex SHA-256 of its bytes.
        size: bytes.
        etag, last_modified: the answer's headers, "" where there was none.
        good_until: Unix time until which it is used without asking the server.
        path: where it is.
    """

    content: str
    size: int
    etag: str
    last_modified: str
    good_until: float
    path: Path

    @property
    def validated(self) -> bool:
        """True when the server can be asked whether it is still the same."""
        return bool(self.etag or self.last_modified)


class Partial:
    """A download in the making, in a folder of its own that no other process touches."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        self._validator = folder / "validator.txt"

    @property
    def size(self) -> int:
        """Bytes there are already."""
        return self.data.stat().st_size if self.data.exists() else 0

    @property
    def validator(self) -> str:
        """The strong ETag or the Last-Modified of these bytes, "" when there is none to go on with."""
        return self._validator.read_text("utf-8") if self._validator.exists() else ""

    def restart(self, validator: str) -> None:
        """Forget what there is, and remember what the bytes to come are known by."""
        self.data.unlink(missing_ok=True)
        self._validator.write_text(validator, "utf-8")

    def digest(self) -> hashlib._Hash:
        """SHA-256 of the bytes there are, to be gone on with."""
        digest = hashlib.sha256()
        if self.data.exists():
            with self.data.open("rb") as data:
                while block := data.read(1 << 20):
                    digest.update(block)
        return digest


class DownloadCache:
    """The files under one folder. Every method may raise OSError."""

    def __init__(self, folder: Path) -> None:
        self._content = folder / "content"
        self._urls = folder / "urls"
        self._partial = folder / "partial"
        for each in (self._content, self._urls, self._partial):
            each.mkdir(mode=0o700, parents=True, exist_ok=True)

    def kept(self, key: str) -> Kept | None:
        """What the address gave before, when it is all there still."""
        try:
            fields = json.loads((self._urls / f"{key}.json").read_text("utf-8"))
            kept = Kept(**fields, path=self._content / fields["content"])
            whole = kept.path.stat().st_size == kept.size
        except (FileNotFoundError, ValueError, TypeError, KeyError):
            return None  # never fetched, removed by hand, or written by another version: fetch it again
        return kept if whole else None

    def keep(
        self,
        key: str,
        data: Path,
        content: str,
        *,
        etag: str = "",
        last_modified: str = "",
        good_until: float = 0.0,
    ) -> Path:
        """Move a finished file into the cache; where it is then."""
        kept = Kept(
            content, data.stat().st_size, etag, last_modified, good_until, path=self._content / content
        )
        data.replace(kept.path)
        fields = asdict(kept)
        del fields["path"]
        fresh = self._urls / f"{key}.{secrets.token_hex(8)}"
        fresh.write_text(json.dumps(fields), "utf-8")
        fresh.replace(self._urls / f"{key}.json")
        return kept.path

    @contextmanager
    def partial(self, key: str) -> Iterator[Partial]:
        """The download of this address that broke off, or a new one, for this process alone.

        What is left in it afterwards stays for the next try.
        """
        self._remove_stale()
        home = self._partial / key
        mine = self._partial / f"{key}.{secrets.token_hex(8)}"
        try:
            home.rename(mine)
        except FileNotFoundError:
            mine.mkdir(mode=0o700)
        partial = Partial(mine)
        try:
            yield partial
        finally:
            if partial.size and partial.validator and not home.exists():
                os.utime(mine)
                mine.rename(home)
            else:
                shutil.rmtree(mine)

    def _remove_stale(self) -> None:
        limit = time.time() - STALE_S
        for folder in self._partial.iterdir():
            try:
                data = folder / "data"
                touched = (data if data.exists() else folder).stat().st_mtime
            except FileNotFoundError:
                continue  # another process finished with it meanwhile
            if touched < limit:
                shutil.rmtree(folder, ignore_errors=True)  # another process may be removing it as well
