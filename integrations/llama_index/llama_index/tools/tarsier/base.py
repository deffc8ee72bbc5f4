"""The video tools as a tool spec. What they are and do is defined in ``tarsier_tools``.

See ``VideoTools`` there, and ``LibraryTools`` for those over a library.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from llama_index.core.base.llms.types import ContentBlock, ImageBlock, TextBlock
from llama_index.core.tools import FunctionTool
from llama_index.core.tools.tool_spec.base import SPEC_FUNCTION_TYPE, BaseToolSpec
from llama_index.core.tools.types import ToolMetadata
from llama_index.tools.tarsier.events import reporter
from pydantic import BaseModel

from tarsier_tools import LibraryTools, Settings, ToolReply, VideoService, VideoTools
from tarsier_tools.library import VideoLibrary, open_library


class TarsierReply(list[ContentBlock]):
    """What a tool gives back: the blocks that the model gets.

    Attributes:
        text: of the first block; alone it carries the answer.
        result: for programs, for example a ``tarsier_tools.Caption``.
    """

    def __init__(self, reply: ToolReply[BaseModel], *, images: bool) -> None:
        super().__init__([TextBlock(text=reply.text)])
        if images:
            self += [ImageBlock(image=picture.jpeg, image_mimetype="image/jpeg") for picture in reply.images]
        self.text = reply.text
        self.result = reply.result


class TarsierToolSpec(BaseToolSpec):
    """Describe a video, ask about it, find when an event happens, look at frames: tools over one service.

    Every tool is also a method of its name (``spec.ask_video("clip.mp4", question="...")``) with an awaitable
    twin (``aask_video``). As a tool it gives the model a short text; ``ToolOutput.raw_output.result`` is the
    typed result. What is wrong with a video or an argument is raised as a ``TarsierError``, which an agent
    gets to read as the tool's error, and goes on.

    Args:
        service: who watches the videos; this spec does not close it. By default one of the spec's own.
        settings: for a service of the spec's own; by default from the ``TARSIER_*`` variables.
        images: give the pictures of view_frames to the model. Some model integrations drop or refuse
            pictures in tool messages; without them that tool is left out.
        library: also give the tools that search a library of videos: an open one, which the caller closes, or
            the folder or address of one that is there. Only videos that the service may read are found.
        indexing: with a library, also give the tool that takes videos into it: that can work for long, and
            writes.

    Raises UsageError where there is no library; LibraryError and its kinds when it cannot be used.
    """

    spec_functions: list[SPEC_FUNCTION_TYPE]

    def __init__(
        self,
        service: VideoService | None = None,
        *,
        settings: Settings | None = None,
        images: bool = False,
        library: VideoLibrary | str | Path | None = None,
        indexing: bool = False,
    ) -> None:
        service = service or VideoService(settings or Settings.load())
        self.tools = VideoTools(service)
        if library is not None:
            self.tools = LibraryTools(service, open_library(library, service=service))
        self.images = images
        left_out = {"view_frames": not images, "index_videos": not indexing}
        names = [spec.name for spec in self.tools.specs() if not left_out.get(spec.name)]
        self.spec_functions = [(name, f"a{name}") for name in names]

    def to_tool_list(
        self,
        spec_functions: list[SPEC_FUNCTION_TYPE] | None = None,
        func_to_metadata_mapping: dict[str, ToolMetadata] | None = None,
    ) -> list[FunctionTool]:
        """The tools, with the names, descriptions and argument schemas that they have everywhere.

        LlamaIndex would make schemas from signatures, and lose the bounds of numbers.
        """
        own = {
            spec.name: ToolMetadata(name=spec.name, description=spec.description, fn_schema=spec.arguments)
            for spec in self.tools.specs()
        }
        return super().to_tool_list(spec_functions, {**own, **(func_to_metadata_mapping or {})})

    def call(self, name: str, *args: Any, **arguments: Any) -> TarsierReply:
        """Call a tool by its name. Raises what the tool raises; UsageError for a bad argument."""
        reply = self.tools.call(name, self._named(name, args, arguments), on_progress=reporter(name))
        return TarsierReply(reply, images=self.images)

    async def acall(self, name: str, *args: Any, **arguments: Any) -> TarsierReply:
        """:meth:`call` in a thread. When it is cancelled, the work stops at its next step."""
        reply = await self.tools.acall(name, self._named(name, args, arguments), on_progress=reporter(name))
        return TarsierReply(reply, images=self.images)

    def _named(self, name: str, args: tuple[Any, ...], arguments: dict[str, Any]) -> dict[str, Any]:
        """Arguments given by place take the names that stand there."""
        fields = self.tools.spec(name).arguments.model_fields
        if len(args) > len(fields) or set(list(fields)[: len(args)]) & set(arguments):
            raise TypeError(f"{name} takes {', '.join(fields)}")
        return {**dict(zip(fields, args, strict=False)), **arguments}


def _method(name: str) -> Callable[..., TarsierReply]:
    def tool(self: TarsierToolSpec, *args: Any, **arguments: Any) -> TarsierReply:
        return self.call(name, *args, **arguments)

    return tool


def _async_method(name: str) -> Callable[..., Coroutine[Any, Any, TarsierReply]]:
    async def tool(self: TarsierToolSpec, *args: Any, **arguments: Any) -> TarsierReply:
        return await self.acall(name, *args, **arguments)

    return tool


for _spec in LibraryTools.specs():
    for _name, _make in ((_spec.name, _method), (f"a{_spec.name}", _async_method)):
        _function = _make(_spec.name)
        _function.__name__, _function.__doc__ = _name, _spec.description
        _function.__qualname__ = f"TarsierToolSpec.{_name}"
        setattr(TarsierToolSpec, _name, _function)
