"""The video tools as LangChain tools. What they are and do is defined in ``tarsier_tools``.

See ``VideoTools`` there, and ``LibraryTools`` for those over a library.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Literal

from langchain_core.messages.content import create_image_block, create_text_block
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool, ToolException
from langchain_core.tools.base import ArgsSchema
from pydantic import BaseModel, Field, ValidationError

from langchain_tarsier.progress import reporter
from tarsier_tools import (
    LibraryTools,
    Settings,
    TarsierError,
    ToolReply,
    ToolSpec,
    VideoService,
    VideoTools,
)
from tarsier_tools.library import VideoLibrary, open_library


class TarsierTool(BaseTool):
    """Base of the video tools.

    The model gets a short text; the program gets the typed result as the artifact of the ToolMessage. What is
    wrong with a video, an argument or the model that watches reaches the agent as a ToolMessage with status
    "error" that says what to do next.

    Args:
        service: who watches the videos. Tools that share one share its model and its caches.
        settings: for a service of the tool's own; by default from the ``TARSIER_*`` variables.
        service_for: takes the service of each call from the config of the run, for example by tenant.
    """

    spec: ClassVar[ToolSpec]

    name: str = ""
    description: str = ""
    response_format: Literal["content", "content_and_artifact"] = "content_and_artifact"
    handle_tool_error: Any = True
    settings: Settings = Field(default_factory=Settings.load)
    service: VideoService | None = Field(default=None, exclude=True, repr=False)
    service_for: Callable[[RunnableConfig], VideoService] | None = Field(
        default=None, exclude=True, repr=False
    )

    def model_post_init(self, context: Any, /) -> None:
        """Fill in what depends on other fields. The model is not loaded before the first call."""
        super().model_post_init(context)
        if self.service is None and self.service_for is None:
            self.service = VideoService(self.settings)
        if not self.handle_validation_error:
            self.handle_validation_error = self._refusal

    def _run(self, *, config: RunnableConfig, **arguments: Any) -> tuple[Any, BaseModel]:
        report = reporter(self.name, config)
        try:
            reply = self._tools(config).call(self.spec.name, arguments, on_progress=report)
        except TarsierError as error:
            raise ToolException(str(error)) from error
        return self._content(reply), reply.result

    async def _arun(self, *, config: RunnableConfig, **arguments: Any) -> tuple[Any, BaseModel]:
        report = reporter(self.name, config)
        try:
            reply = await self._tools(config).acall(self.spec.name, arguments, on_progress=report)
        except TarsierError as error:
            raise ToolException(str(error)) from error
        return self._content(reply), reply.result

    def _tools(self, config: RunnableConfig) -> VideoTools:
        return VideoTools(self._watcher(config))

    def _watcher(self, config: RunnableConfig) -> VideoService:
        service = self.service_for(config) if self.service_for is not None else self.service
        assert service is not None
        return service

    def _content(self, reply: ToolReply[BaseModel]) -> Any:
        return reply.text

    def _refusal(self, error: Any) -> str:
        return str(self.spec.refusal(error)) if isinstance(error, ValidationError) else str(error)


class CaptionVideoTool(TarsierTool):
    """Describes what happens; the artifact is a ``Caption``."""

    spec: ClassVar[ToolSpec] = VideoTools.spec("caption_video")
    name: str = spec.name
    description: str = spec.description
    args_schema: ArgsSchema | None = spec.arguments


class AskVideoTool(TarsierTool):
    """Answers a question; the artifact is an ``Answer``."""

    spec: ClassVar[ToolSpec] = VideoTools.spec("ask_video")
    name: str = spec.name
    description: str = spec.description
    args_schema: ArgsSchema | None = spec.arguments


class LocateEventTool(TarsierTool):
    """Finds when something happens; the artifact is ``LocatedEvents``."""

    spec: ClassVar[ToolSpec] = VideoTools.spec("locate_event")
    name: str = spec.name
    description: str = spec.description
    args_schema: ArgsSchema | None = spec.arguments


class DescribeTimelineTool(TarsierTool):
    """Describes a long video segment by segment; the artifact is a ``Timeline``."""

    spec: ClassVar[ToolSpec] = VideoTools.spec("describe_timeline")
    name: str = spec.name
    description: str = spec.description
    args_schema: ArgsSchema | None = spec.arguments


class VideoInfoTool(TarsierTool):
    """Tells length and format; the artifact is a ``VideoInfo``."""

    spec: ClassVar[ToolSpec] = VideoTools.spec("video_info")
    name: str = spec.name
    description: str = spec.description
    args_schema: ArgsSchema | None = spec.arguments


class ViewFramesTool(TarsierTool):
    """Shows frames to a model that takes pictures; the artifact is a ``FrameView``."""

    spec: ClassVar[ToolSpec] = VideoTools.spec("view_frames")
    name: str = spec.name
    description: str = spec.description
    args_schema: ArgsSchema | None = spec.arguments

    def _content(self, reply: ToolReply[BaseModel]) -> Any:
        pictures = [
            create_image_block(base64=base64.b64encode(picture.jpeg).decode(), mime_type="image/jpeg")
            for picture in reply.images
        ]
        return [create_text_block(reply.text), *pictures]


class ListVideosTool(TarsierTool):
    """Lists the videos that may be used; the artifact is a ``VideoFolder``."""

    spec: ClassVar[ToolSpec] = VideoTools.spec("list_videos")
    name: str = spec.name
    description: str = spec.description
    args_schema: ArgsSchema | None = spec.arguments


class LibraryTool(TarsierTool):
    """Base of the tools over a library of videos.

    Only videos that the service may read (``Settings.allowed_roots``) are found.

    Args:
        library: an open library, or the folder or address of one that is there. The caller closes an open
            one; the tools of a toolkit share it.
    """

    library: VideoLibrary | str | Path = Field(exclude=True, repr=False)

    def model_post_init(self, context: Any, /) -> None:
        """Open the library.

        Raises UsageError where there is none; LibraryError and its kinds when it cannot be used.
        """
        super().model_post_init(context)
        self.library = open_library(self.library, service=self.service)

    def _tools(self, config: RunnableConfig) -> VideoTools:
        assert isinstance(self.library, VideoLibrary)
        return LibraryTools(self._watcher(config), self.library)


class SearchLibraryTool(LibraryTool):
    """Finds moments in all videos of a library; the artifact is a ``tarsier_tools.library.Found``."""

    spec: ClassVar[ToolSpec] = LibraryTools.spec("search_library")
    name: str = spec.name
    description: str = spec.description
    args_schema: ArgsSchema | None = spec.arguments


class IndexVideosTool(LibraryTool):
    """Takes videos into a library; the artifact says what became of them.

    The library must have been opened with a service, or be given by its address.
    """

    spec: ClassVar[ToolSpec] = LibraryTools.spec("index_videos")
    name: str = spec.name
    description: str = spec.description
    args_schema: ArgsSchema | None = spec.arguments


class LibraryStatusTool(LibraryTool):
    """Tells what a library holds, and what could not be taken in; the artifact has it in numbers."""

    spec: ClassVar[ToolSpec] = LibraryTools.spec("library_status")
    name: str = spec.name
    description: str = spec.description
    args_schema: ArgsSchema | None = spec.arguments
