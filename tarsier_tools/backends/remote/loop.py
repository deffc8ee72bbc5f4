"""Asynchronous work done for synchronous callers: one event loop in a thread of its own.

A request waits for a server in silence, for minutes sometimes. Here the caller's thread stays free to report
progress, and what it raises from that cancels the work at once, which closes the connections.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from tarsier_tools.errors import BackendUnavailable
from tarsier_tools.types import Progress

POLL_S = 0.1
"""How often the callback is called while nothing happens, so that it can stop the work."""

_T = TypeVar("_T")
Step = tuple[int, int, str]


class Loop:
    """Runs coroutines for any number of threads. The thread is started by the first one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def run(
        self,
        work: Callable[[Callable[[Step], None]], Coroutine[Any, Any, _T]],
        on_progress: Progress,
        first: Step,
    ) -> _T:
        """Run ``work(tell)`` and return what it returns, or raise what it raises.

        Args:
            work: makes the coroutine; it calls ``tell((done, total, message))`` as it goes on.
            on_progress: called in this thread, with ``first`` at the start. What it raises cancels the work
                and comes through when the work has stopped.
        """
        on_progress(*first)
        steps: queue.SimpleQueue[Step | None] = queue.SimpleQueue()
        tasks: list[asyncio.Task[_T]] = []
        loop = self._running()

        def start() -> None:
            tasks.append(loop.create_task(work(steps.put)))
            tasks[0].add_done_callback(lambda _: steps.put(None))

        loop.call_soon_threadsafe(start)
        try:
            _follow(steps, on_progress, first)
        except BaseException:
            # Once only: a second cancel can leave a connection behind (encode/httpx #3782).
            loop.call_soon_threadsafe(lambda: tasks[0].cancel())
            while steps.get() is not None:
                pass
            raise
        if tasks[0].cancelled():
            raise BackendUnavailable("The backend was closed while it worked.", hint="Open it again.")
        return tasks[0].result()

    def close(self, hang_up: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Stop the work and the thread; ``hang_up()`` is the last thing that runs. May be called twice."""
        with self._lock:
            loop, thread = self._loop, self._thread
            self._loop = self._thread = None
        if loop is None or thread is None:
            return
        asyncio.run_coroutine_threadsafe(_end(hang_up), loop)
        thread.join()

    def _running(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(
                    target=_serve, args=(self._loop,), name="tarsier-remote", daemon=True
                )
                self._thread.start()
            return self._loop


def _follow(steps: queue.SimpleQueue[Step | None], on_progress: Progress, last: Step) -> None:
    while True:
        try:
            step = steps.get(timeout=POLL_S)
        except queue.Empty:
            step = last
        if step is None:
            return
        on_progress(*step)
        last = step


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    try:
        loop.run_forever()
    finally:
        loop.close()


async def _end(hang_up: Callable[[], Coroutine[Any, Any, None]]) -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)
    loop = asyncio.get_running_loop()
    try:
        await hang_up()
        await loop.shutdown_default_executor()
    finally:
        loop.stop()
