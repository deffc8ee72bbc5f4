"""How far the work is, told to whoever follows a run: LangGraph's stream and LangChain's custom events."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from langchain_core.callbacks import dispatch_custom_event
from langchain_core.runnables import RunnableConfig

from tarsier_tools import Progress

EVENT = "tarsier_progress"
"""Name of the custom event; its data are ``{"tool", "done", "total", "message"}``."""


def reporter(tool: str, config: RunnableConfig | None) -> Progress:
    """A progress callback that writes to the stream of the graph, if there is one, and dispatches events.

    Make it where the tool is called: the graph's stream is found by the context. It may then be called from
    another thread.
    """
    write = _stream_writer()

    def report(done: int, total: int, message: str) -> None:
        data = {"tool": tool, "done": done, "total": total, "message": message}
        if write is not None:
            write({EVENT: data})
        if config is not None and config.get("callbacks"):
            dispatch_custom_event(EVENT, data, config=config)

    return report


def _stream_writer() -> Callable[[Any], None] | None:
    try:
        from langgraph.config import get_stream_writer
    except ImportError:
        return None
    try:
        return get_stream_writer()
    except (RuntimeError, KeyError):  # not inside a graph
        return None
