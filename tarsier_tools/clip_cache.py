"""Decoded clips, kept so that the next question about the same stretch of a video decodes nothing."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tarsier_tools.media.clips import DecodedClip


@dataclass(slots=True)
class _Gate:
    """Lets one thread at a time load a key; ``users`` tells when nobody needs it any more."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    users: int = 0


class ClipCache:
    """The clips used last, up to a number of bytes. Safe to use from several threads.

    Args:
        limit_bytes: memory for pixels; 0 keeps nothing. A clip larger than this is not kept.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._lock = threading.Lock()
        self._clips: OrderedDict[Hashable, DecodedClip] = OrderedDict()
        self._gates: dict[Hashable, _Gate] = {}
        self._bytes = 0

    @property
    def size_bytes(self) -> int:
        """Bytes of pixels held now."""
        return self._bytes

    def get(self, key: Hashable, load: Callable[[], DecodedClip]) -> tuple[DecodedClip, bool]:
        """The clip of this key, and whether it was there already.

        Threads that ask for the same key at once decode it once: agents do call tools in parallel. What
        ``load`` raises goes through, and the next thread in line tries for itself.
        """
        with self._lock:
            gate = self._gates.setdefault(key, _Gate())
            gate.users += 1
        try:
            with gate.lock:
                with self._lock:
                    if key in self._clips:
                        self._clips.move_to_end(key)
                        return self._clips[key], True
                decoded = load()
                self._keep(key, decoded)
                return decoded, False
        finally:
            with self._lock:
                gate.users -= 1
                if not gate.users:
                    del self._gates[key]

    def clear(self) -> None:
        """Forget every clip."""
        with self._lock:
            self._clips.clear()
            self._bytes = 0

    def _keep(self, key: Hashable, decoded: DecodedClip) -> None:
        size = _size(decoded)
        if size > self._limit:
            return
        with self._lock:
            self._clips[key] = decoded
            self._bytes += size
            while self._bytes > self._limit:
                _, oldest = self._clips.popitem(last=False)
                self._bytes -= _size(oldest)


def file_stamp(path: Path) -> Hashable:
    """What changes when a file, or a file in a folder of images, is changed: names, sizes and times.

    Raises OSError when it cannot be read.
    """
    files = sorted(entry for entry in path.iterdir() if entry.is_file()) if path.is_dir() else [path]
    stats = ((file, file.stat()) for file in files)
    return tuple((str(file), stat.st_size, stat.st_mtime_ns) for file, stat in stats)


def _size(decoded: DecodedClip) -> int:
    return sum(frame.nbytes for frame in decoded.clip.frames)
