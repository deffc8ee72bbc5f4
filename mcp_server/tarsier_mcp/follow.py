"""Waiting for a job: telling the client how far it is, and letting go when the client goes away."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

import anyio

from tarsier_mcp.jobs import Job, JobStore

Report = Callable[[float, str], Awaitable[None]]
"""Tells the client: seconds since the call began (each call more than the one before), and a sentence."""

STEP_S = 0.5
"""News are told no more often than this."""
SILENCE_S = 10.0
"""Without news the same is told again after this long: clients give up on calls that are silent."""
LINE_CHARS = 200
"""Clients cut longer messages."""


async def follow(store: JobStore, job: Job, seconds: float, report: Report) -> bool:
    """Wait until the job ends, at most so many seconds; True when it has ended."""
    loop = asyncio.get_running_loop()
    ended = anyio.Event()

    def at_the_end() -> None:  # from the thread of the job
        with suppress(RuntimeError):  # the loop is closed: nobody is left to be told
            loop.call_soon_threadsafe(ended.set)

    began = told_at = time.monotonic()
    told = ""
    with store.told(job, at_the_end):
        while not job.done:
            left = seconds - (time.monotonic() - began)
            if left <= 0:
                return False
            with anyio.move_on_after(min(STEP_S, left)):
                await ended.wait()
            now, news = time.monotonic(), how_far(store, job)
            if not job.done and (news != told or now - told_at >= SILENCE_S):
                told, told_at = news, now
                await report(now - began, f"{news} ({_age(job):.0f} s)"[:LINE_CHARS])
    return True


def how_far(store: JobStore, job: Job) -> str:
    """One line on where a job is."""
    if job.done:
        return job.status
    if job.stop.is_set():
        return "stopping"
    if job.status == "queued":
        ahead = store.ahead_of(job)
        return f"waiting, {ahead} ahead" if ahead else "about to begin"
    step = job.step
    message = step.message or "working"
    counts = step.total > 1 and f" of {step.total}" not in message  # some say themselves how many there are
    return f"{message} {step.done} of {step.total}" if counts else message


def _age(job: Job) -> float:
    return time.time() - job.created_at
