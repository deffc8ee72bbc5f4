"""How far the work is, as events of LlamaIndex's instrumentation."""

from __future__ import annotations

from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.instrumentation.events import BaseEvent

from tarsier_tools import Progress

_dispatcher = get_dispatcher("llama_index.tools.tarsier")


class TarsierProgressEvent(BaseEvent):
    """One step of a call.

    Attributes:
        work: the tool, or "reader" or "retriever".
        done, total: steps.
        message: what is being done, a few words.
    """

    work: str
    done: int
    total: int
    message: str

    @classmethod
    def class_name(cls) -> str:
        """The name of this class in serialised events."""
        return "TarsierProgressEvent"


def reporter(work: str) -> Progress:
    """A progress callback that dispatches an event for every step."""

    def report(done: int, total: int, message: str) -> None:
        _dispatcher.event(TarsierProgressEvent(work=work, done=done, total=total, message=message))

    return report
