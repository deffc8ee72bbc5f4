"""Blocking work awaited: the bridge from the synchronous core to the event loops of the frameworks."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar

from tarsier_tools.errors import Cancelled
from tarsier_tools.types import Progress, no_progress

T = TypeVar("T")


async def in_thread(work: Callable[[Progress], T], on_progress: Progress = no_progress) -> T:
    """Await ``work(progress)``, done in a thread. When the awaiting is cancelled, it stops at its next step.

    Args:
        work: takes the progress callback that it is to call.
        on_progress: called from the thread, with the caller's context variables.
    """
    stopped = threading.Event()

    def watched(done: int, total: int, message: str) -> None:
        if stopped.is_set():
            raise Cancelled("The caller cancelled the call.")
        on_progress(done, total, message)

    try:
        return await asyncio.to_thread(work, watched)
    finally:
        stopped.set()
