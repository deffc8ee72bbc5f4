"""All video tools over one service, and over one library if there is one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool, BaseToolkit
from pydantic import ConfigDict, Field

from langchain_tarsier.tools import (
    AskVideoTool,
    CaptionVideoTool,
    DescribeTimelineTool,
    IndexVideosTool,
    LibraryStatusTool,
    LibraryTool,
    ListVideosTool,
    LocateEventTool,
    SearchLibraryTool,
    TarsierTool,
    VideoInfoTool,
    ViewFramesTool,
)
from tarsier_tools import Settings, VideoService
from tarsier_tools.library import VideoLibrary, open_library

_TOOLS: tuple[type[TarsierTool], ...] = (
    CaptionVideoTool,
    AskVideoTool,
    LocateEventTool,
    DescribeTimelineTool,
    VideoInfoTool,
    ViewFramesTool,
    ListVideosTool,
)
_LIBRARY_TOOLS: tuple[type[LibraryTool], ...] = (SearchLibraryTool, IndexVideosTool, LibraryStatusTool)


class TarsierToolkit(BaseToolkit):
    """The video tools, sharing one service: one model, one cache of clips.

    Args:
        service, settings, service_for: see :class:`~langchain_tarsier.tools.TarsierTool`.
        images: also give the tool that puts pictures into its message. Not every model takes pictures there.
        library: also give the tools that search a library of videos; see
            :class:`~langchain_tarsier.tools.LibraryTool`.
        indexing: with a library, also give the tool that takes videos into it: that can work for long, and
            writes.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    settings: Settings = Field(default_factory=Settings.load)
    service: VideoService | None = Field(default=None, exclude=True, repr=False)
    service_for: Callable[[RunnableConfig], VideoService] | None = Field(
        default=None, exclude=True, repr=False
    )
    images: bool = False
    library: VideoLibrary | str | Path | None = Field(default=None, exclude=True, repr=False)
    indexing: bool = False

    def get_tools(self) -> list[BaseTool]:
        """The tools, in the order in which the agent should be told of them."""
        if self.service is None and self.service_for is None:
            self.service = VideoService(self.settings)
        shared: dict[str, Any] = {
            "settings": self.settings,
            "service": self.service,
            "service_for": self.service_for,
        }
        tools: list[BaseTool] = [
            kind(**shared) for kind in _TOOLS if self.images or kind is not ViewFramesTool
        ]
        if self.library is not None:
            self.library = open_library(self.library, service=self.service)
            tools += [
                kind(library=self.library, **shared)
                for kind in _LIBRARY_TOOLS
                if self.indexing or kind is not IndexVideosTool
            ]
        return tools
