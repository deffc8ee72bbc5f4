"""Which process works on which video, so that several may fill one library without doing work twice."""

from __future__ import annotations

import secrets
import time
from collections.abc import Generator
from contextlib import contextmanager

from tarsier_tools.library.stores import Store
from tarsier_tools.types import Progress

LEASE_S = 60.0
"""A claim that nobody renews for so long is void: its process was killed."""


@contextmanager
def claimed(store: Store, content: str, on_progress: Progress) -> Generator[Progress | None]:
    """Work on a video alone. Gives a progress callback that keeps the claim, or None when another has it."""
    owner = secrets.token_hex(8)
    if not store.claim(content, owner, time.time() + LEASE_S):
        yield None
        return
    renewed = time.monotonic()

    def renewing(done: int, total: int, message: str) -> None:
        nonlocal renewed
        if time.monotonic() - renewed > LEASE_S / 4:
            renewed = time.monotonic()
            store.claim(content, owner, time.time() + LEASE_S)
        on_progress(done, total, message)

    try:
        yield renewing
    finally:
        store.release(content, owner)
