"""Queues in front of the threads that do the work: one for the model, one for what needs no model.

Plain threads rather than an event loop's, so that work outlives the call, the connection and the loop that
it came from, and so that nobody who asks how far it is ever waits for it.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class LaneFull(Exception):
    """As many pieces of work are waiting as may."""


class Lane(Generic[T]):
    """A queue served by up to ``workers`` threads, first come, first served. Safe to use from any thread.

    Args:
        name: of the threads.
        work: what is done with each item. It must not raise.
        waiting: items that may wait at most.
    """

    def __init__(self, name: str, work: Callable[[T], None], *, workers: int, waiting: int) -> None:
        self._name = name
        self._work = work
        self._workers = workers
        self._waiting = waiting
        self._queue: deque[T] = deque()
        self._changed = threading.Condition()
        self._threads: list[threading.Thread] = []
        self._idle = 0
        self._busy = 0
        self._closed = False

    def put(self, item: T) -> None:
        """Add an item to the end of the queue.

        Raises LaneFull when the queue is as long as it may be, or closed.
        """
        with self._changed:
            if self._closed or len(self._queue) >= self._waiting:
                raise LaneFull
            self._queue.append(item)
            if self._idle < len(self._queue) and len(self._threads) < self._workers:
                thread = threading.Thread(
                    target=self._serve, name=f"tarsier-{self._name}-{len(self._threads)}", daemon=True
                )
                self._threads.append(thread)
                thread.start()
            self._changed.notify()

    def ahead_of(self, item: T) -> int:
        """How many items come before this one, those being worked on included; 0 when it is not waiting."""
        with self._changed:
            try:
                return self._queue.index(item) + self._busy
            except ValueError:
                return 0

    def drop(self, item: T) -> bool:
        """Take an item out of the queue; False when it is not waiting any more."""
        with self._changed:
            try:
                self._queue.remove(item)
            except ValueError:
                return False
            return True

    def close(self, timeout_s: float) -> bool:
        """Drop what waits, take nothing new, and wait for what is being worked on. True when all is done."""
        with self._changed:
            self._closed = True
            self._queue.clear()
            self._changed.notify_all()
            threads = list(self._threads)
        deadline = time.monotonic() + timeout_s
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in threads)

    def _serve(self) -> None:
        while True:
            with self._changed:
                self._idle += 1
                while not self._queue and not self._closed:
                    self._changed.wait()
                self._idle -= 1
                if not self._queue:
                    return
                item = self._queue.popleft()
                self._busy += 1
            try:
                self._work(item)
            finally:
                with self._changed:
                    self._busy -= 1
