"""Tasks that belong together: a result that many want and one fetches, many that fail as one."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Hashable, Sequence
from typing import Any, Generic, TypeVar

_T = TypeVar("_T")


class Memo(Generic[_T]):
    """The results of coroutines by key, the last ``limit`` of them. A failure is not kept.

    Belongs to one event loop. Whoever asks while a result is on its way waits for it; a task that is
    cancelled meanwhile does not take it from the others.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._tasks: OrderedDict[Hashable, asyncio.Task[_T]] = OrderedDict()

    async def get(self, key: Hashable, make: Callable[[], Coroutine[Any, Any, _T]]) -> _T:
        """The result for a key, from ``make()`` when there is none. Raises what that raises."""
        task = self._tasks.get(key)
        if task is None:
            task = self._tasks[key] = asyncio.ensure_future(make())
            task.add_done_callback(lambda done: self._drop_failure(key, done))
        self._tasks.move_to_end(key)
        while len(self._tasks) > self._limit:
            self._tasks.popitem(last=False)
        return await asyncio.shield(task)

    def clear(self) -> None:
        self._tasks.clear()

    def _drop_failure(self, key: Hashable, task: asyncio.Task[_T]) -> None:
        if (task.cancelled() or task.exception() is not None) and self._tasks.get(key) is task:
            del self._tasks[key]


async def together(works: Sequence[Coroutine[Any, Any, _T]]) -> list[_T]:
    """Run all at once and return what they return; the first failure cancels the others and is raised."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(work) for work in works]
    except BaseExceptionGroup as failures:
        first = failures.exceptions[0]
        raise first from first.__cause__
    return [task.result() for task in tasks]
