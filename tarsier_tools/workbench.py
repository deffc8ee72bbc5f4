"""What the calls of a service share: finding and decoding videos, the cache of clips, and the model.

The service checks arguments and names the calls; the modules behind it (locating, timeline, verify) do their
work with this.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Hashable, Iterator, Sequence
from pathlib import Path

from tarsier_tools.backends import choose_backend, open_backend
from tarsier_tools.backends.base import Backend
from tarsier_tools.clip_cache import ClipCache, file_stamp
from tarsier_tools.config import MiB, Settings
from tarsier_tools.decoding import Decoding
from tarsier_tools.errors import UsageError, VideoNotFound, VideoUnreadable
from tarsier_tools.grounding import Asked, Seen, clip_warnings
from tarsier_tools.media import source as sources
from tarsier_tools.media.clips import ClipSpec, DecodedClip, check_spec
from tarsier_tools.prompts import Language
from tarsier_tools.timelines.journal import content_hash
from tarsier_tools.types import Progress

_MOST_CONTENTS = 1024
"""Files whose hash is remembered."""


class Workbench:
    """One set of settings, one model, one cache of clips. Safe to use from several threads.

    Args:
        backend: who answers, instead of what the settings say. The caller keeps it and closes it.

    Attributes:
        decoding: facts, clips and frames of videos.
    """

    def __init__(self, settings: Settings, backend: Backend | None = None) -> None:
        self.settings = settings
        self.decoding = Decoding(settings)
        self._given = backend
        self._opened: Backend | None = None
        self._lock = threading.Lock()
        self._closed = False
        self._contents: dict[Hashable, str] = {}
        self._clips = ClipCache(settings.clip_cache_mb * MiB)

    @property
    def backend_choice(self) -> tuple[str, str]:
        """Which backend answers, and why. Opens nothing."""
        if self._given is not None:
            return self._given.info.backend, "given by the caller"
        return choose_backend(self.settings)

    def resolve(self, video: str | Path, on_progress: Progress) -> sources.Source:
        """The file behind a path or URL, downloaded if need be.

        Raises VideoError and its kinds; UsageError after :meth:`close`.
        """
        self._check_open()
        return sources.resolve(video, self.settings, on_progress=on_progress)

    def look(self, source: sources.Source, spec: ClipSpec, on_progress: Progress, *, began: float) -> Seen:
        """Decode what a call is about, or take it from the cache.

        Args:
            began: when the call came in, by ``time.perf_counter``.
        """
        try:
            key = (source.path, file_stamp(source.path), spec)
        except OSError as error:
            raise VideoNotFound(
                f"{source.name} is no longer there: {error.strerror}.", hint="Check the path."
            ) from error
        decoded, cached = self._clips.get(key, lambda: self.decoding.clip(source, spec, on_progress))
        return Seen(
            given=source.given,
            source=source,
            decoded=decoded,
            cached=cached,
            began=began,
            video_s=time.perf_counter() - began,
            warnings=clip_warnings(decoded, spec),
        )

    def content(self, source: sources.Source, on_progress: Progress) -> str:
        """The hex SHA-256 of a video's bytes, read once for as long as the file stays as it is.

        Raises VideoUnreadable when something cannot be read.
        """
        try:
            key = (source.path, file_stamp(source.path))
        except OSError as error:
            raise VideoUnreadable(
                f"{source.path.name} cannot be read: {error.strerror}.", hint="Check the file."
            ) from error
        with self._lock:
            known = self._contents.pop(key, None)
        if known is None:
            known = content_hash(source.path, lambda: on_progress(0, 1, "reading the file"))
        with self._lock:
            self._contents[key] = known  # the latest used is the last
            while len(self._contents) > _MOST_CONTENTS:
                del self._contents[next(iter(self._contents))]
        return known

    def windows(
        self, source: sources.Source, specs: Sequence[ClipSpec], on_progress: Progress
    ) -> Iterator[tuple[int, DecodedClip]]:
        """Many ranges of one video, decoded in one pass over the file; see :meth:`Decoding.clips`."""
        for spec in specs:
            check_spec(spec)
        return self.decoding.clips(source, specs, on_progress)

    def ask(self, seen: Seen, language: Language, on_progress: Progress) -> Asked:
        """Turn to the model with what was seen, opening the model when this is the first time."""
        began = time.perf_counter()
        return Asked(seen, self.backend(on_progress), language, began)

    def backend(self, on_progress: Progress) -> Backend:
        """The model, opened when this is the first time.

        Raises BackendUnavailable; UsageError after :meth:`close`.
        """
        if self._given is not None:
            return self._given
        if self._opened is None:  # told of outside the lock: a callback may do anything
            on_progress(0, 1, "opening the model")
        with self._lock:
            self._check_open()
            if self._opened is None:
                self._opened = open_backend(self.settings)
            return self._opened

    def close(self) -> None:
        """Give back the model that was opened, the worker and the memory."""
        with self._lock:
            opened, self._opened, self._closed = self._opened, None, True
        self._clips.clear()
        self.decoding.close()
        if opened is not None:
            opened.close()

    def _check_open(self) -> None:
        if self._closed:
            raise UsageError("The service is closed.", hint="Make a new VideoService.")
