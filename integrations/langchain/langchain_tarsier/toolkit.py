"""All video tools over one service."""

from __future__ import annotations

from collections.abc import Callable

from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool, BaseToolkit
from pydantic import ConfigDict, Field

from langchain_tarsier.tools import (
    AskVideoTool,
    CaptionVideoTool,
    DescribeTimelineTool,
    ListVideosTool,
    LocateEventTool,
    TarsierTool,
    VideoInfoTool,
    ViewFramesTool,
)
from tarsier_tools import Settings, VideoService

_TOOLS: tuple[type[TarsierTool], ...] = (
    CaptionVideoTool,
    AskVideoTool,
    LocateEventTool,
    DescribeTimelineTool,
    VideoInfoTool,
    ViewFramesTool,
    ListVideosTool,
)


class TarsierToolkit(BaseToolkit):
    """The video tools, sharing one service: one model, one cache of clips.

    Args:
        service, settings, service_for: see :class:`~langchain_tarsier.tools.TarsierTool`.
        images: also give the tool that puts pictures into its message. Not every model takes pictures there.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    settings: Settings = Field(default_factory=Settings.load)
    service: VideoService | None = Field(default=None, exclude=True, repr=False)
    service_for: Callable[[RunnableConfig], VideoService] | None = Field(
        default=None, exclude=True, repr=False
    )
    images: bool = False

    def get_tools(self) -> list[BaseTool]:
        """The tools, in the order in which the agent should be told of them."""
        if self.service is None and self.service_for is None:
            self.service = VideoService(self.settings)
        return [
            kind(settings=self.settings, service=self.service, service_for=self.service_for)
            for kind in _TOOLS
            if self.images or kind is not ViewFramesTool
        ]
