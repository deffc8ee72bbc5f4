"""Weights under other names: a new header before the very same bytes, copied without being loaded.

A safetensors file is 8 bytes of length, a JSON header, and the data of all tensors. New names change the
header alone. It is padded with spaces (which the format allows) so that the data starts at the same place
within a block of the file system as before: where blocks can be shared, as on btrfs and XFS, the kernel then
shares them and copies nothing.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any

from tarsier_tools.errors import BackendFailed, BackendUnavailable

BLOCK = 4096
"""What file systems share blocks in; a multiple of the 8 bytes that safetensors aligns data to."""
PIECE = 16 << 20
"""Bytes that are copied, compared and hashed in one go; a multiple of BLOCK."""
_CHUNK = 512 << 10  # two of them stay in a core's cache while they are compared and hashed

_LENGTH_BYTES = 8
_NO_KERNEL_COPY = {errno.ENOSYS, errno.EXDEV, errno.EINVAL, errno.EOPNOTSUPP, errno.EPERM}

OnBytes = Callable[[int], None]
"""Is told how many bytes were dealt with since the last call; may raise to stop."""


@dataclass(frozen=True)
class Shard:
    """One safetensors file and its copy to be.

    Attributes:
        source: the file as it is.
        data_start: where its data begins, bytes.
        size: bytes of the whole source.
        header: the first bytes of the copy, up to its data: length, JSON, padding.
        tensors: (dtype, shape) by the name in the source.
        names: name in the copy by name in the source.
    """

    source: Path
    data_start: int
    size: int
    header: bytes
    tensors: Mapping[str, tuple[str, tuple[int, ...]]]
    names: Mapping[str, str]

    @property
    def name(self) -> str:
        """The file's name, in the index and as a copy."""
        return self.source.name

    @property
    def data_bytes(self) -> int:
        return self.size - self.data_start

    @property
    def new_size(self) -> int:
        """Bytes of the copy."""
        return len(self.header) + self.data_bytes


def read_shard(path: Path, rename: Callable[[str], str]) -> Shard:
    """Plan a file's copy from its header, which the caller has had validated by safetensors.

    Raises BackendUnavailable for a file that cannot be read, and what ``rename`` raises.
    """
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
            header: dict[str, dict[str, Any]] = json.loads(file.read(length))
        size = path.stat().st_size
    except (OSError, ValueError) as error:
        raise BackendUnavailable(
            f"{path.name} cannot be read: {error}.", hint="Download the checkpoint again."
        ) from error
    metadata = header.pop("__metadata__", None)
    names = {name: rename(name) for name in header}
    renamed: dict[str, Any] = {} if metadata is None else {"__metadata__": metadata}
    renamed |= {names[name]: entry for name, entry in header.items()}
    start = _LENGTH_BYTES + length
    return Shard(
        source=path,
        data_start=start,
        size=size,
        header=_encode_header(renamed, start),
        tensors={name: (entry["dtype"], tuple(entry["shape"])) for name, entry in header.items()},
        names=names,
    )


def _encode_header(header: Mapping[str, Any], data_start: int) -> bytes:
    """Length and JSON, padded so that the data lies as far into a block as at ``data_start``."""
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * ((data_start - _LENGTH_BYTES - len(text)) % BLOCK)
    return len(text).to_bytes(_LENGTH_BYTES, "little") + text


def write_shard(shard: Shard, target: Path, on_bytes: OnBytes) -> str:
    """Write the copy, compare every byte of it with the source, make it durable; hex SHA-256 of the copy.

    What is in ``target`` already and is right is kept, so that a copy that was cut off goes on where it
    stopped. Raises BackendFailed when what was written reads back differently, OSError, and what
    ``on_bytes`` raises; then ``target`` is left as far as it got.
    """
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0)
    shift = len(shard.header) - shard.data_start
    with (
        shard.source.open("rb", buffering=0) as source,
        FileIO(os.open(target, flags, 0o644), "r+b") as copy,
        shard.source.open("rb", buffering=0) as expected,
        target.open("rb", buffering=0) as found,
        ThreadPoolExecutor(1) as thread,
    ):
        there = os.fstat(copy.fileno()).st_size
        if copy.read(len(shard.header)) != shard.header:
            there = 0  # nothing, or the copy of something else
            copy.seek(0)
            copy.write(shard.header)
        check = _Check(expected, found, shard.header, shift)
        waiting: Future[int] | None = None
        for start, end in _pieces(shard.data_start, shard.size):
            if end + shift <= there and check.kept(start, end):
                on_bytes(end - start)
                continue
            there = 0  # from here on nothing is right
            _copy(source, copy, start, end, shift)
            if waiting is not None:
                on_bytes(waiting.result())
            # One piece is compared and hashed while the next one is copied.
            waiting = thread.submit(check.written, start, end)
        if waiting is not None:
            on_bytes(waiting.result())
        if os.fstat(copy.fileno()).st_size > shard.new_size:
            copy.truncate(shard.new_size)
        os.fsync(copy.fileno())
    return check.sha256


class _Check:
    """Compares the copy with the source, range after range, and hashes the copy on the way."""

    def __init__(self, source: FileIO, copy: FileIO, header: bytes, shift: int) -> None:
        self._source, self._copy, self._shift = source, copy, shift
        self._digest = hashlib.sha256(header)
        self._buffers = bytearray(), bytearray()  # kept: new memory costs as much as reading into it

    @property
    def sha256(self) -> str:
        """Of the header and all ranges so far."""
        return self._digest.hexdigest()

    def kept(self, start: int, end: int) -> bool:
        """Whether this range of the source is in the copy already."""
        digest = self._digest.copy()
        self._source.seek(start)
        self._copy.seek(start + self._shift)
        for at in range(start, end, _CHUNK):
            if end - at < _CHUNK:
                self._buffers = bytearray(end - at), bytearray(end - at)
            elif len(self._buffers[0]) < _CHUNK:
                self._buffers = bytearray(_CHUNK), bytearray(_CHUNK)
            expected, found = self._buffers
            whole = _fill(self._source, expected) and _fill(self._copy, found)
            if not whole or expected != found:
                return False
            digest.update(found)
        self._digest = digest
        return True

    def written(self, start: int, end: int) -> int:
        """Bytes of a range that was just written. Raises BackendFailed when it is not in the copy."""
        if not self.kept(start, end):
            raise BackendFailed(
                f"{Path(str(self._copy.name)).name} reads back differently from what was written.",
                hint="The disk or the memory may be faulty; check them, then convert again.",
            )
        return end - start


def _fill(file: FileIO, buffer: bytearray) -> bool:
    """Read until the buffer is full; False where the file ends first."""
    view = memoryview(buffer)
    while view:
        count = file.readinto(view)
        if not count:
            return False
        view = view[count:]
    return True


def _pieces(start: int, end: int) -> Iterator[tuple[int, int]]:
    """The range cut where blocks begin: up to the first block, then by PIECE."""
    edge = min(-(-start // BLOCK) * BLOCK, end)
    if edge > start:
        yield start, edge
    while edge < end:
        start, edge = edge, min(edge + PIECE, end)
        yield start, edge


def _copy(source: FileIO, copy: FileIO, start: int, end: int, shift: int) -> None:
    """Copy a range, by the kernel where it can. Raises OSError, also when the source ends early."""
    while start < end and (done := _kernel_copy(source, copy, start, end, shift)):
        start += done
    source.seek(start)
    copy.seek(start + shift)
    while start < end:
        data = source.read(min(PIECE, end - start))
        if not data:
            raise OSError(errno.EIO, "the file became shorter while it was read", source.name)
        view = memoryview(data)
        while view:
            view = view[copy.write(view) :]
        start += len(data)


def _kernel_copy(source: FileIO, copy: FileIO, start: int, end: int, shift: int) -> int:
    """Bytes copied, or shared, by one call of copy_file_range; 0 where that cannot be done."""
    if not hasattr(os, "copy_file_range"):  # Linux has it
        return 0
    try:
        return os.copy_file_range(source.fileno(), copy.fileno(), end - start, start, start + shift)
    except OSError as error:
        if error.errno in _NO_KERNEL_COPY:
            return 0
        raise
