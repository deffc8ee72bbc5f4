"""An agent meets the same tools everywhere: names, descriptions, arguments, defaults, answers and refusals.

Each framework is asked for what it would send to a model, not for what it was given.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import ToolMessage
from langchain_core.utils.function_calling import convert_to_openai_tool
from langchain_tarsier import TarsierToolkit
from llama_index.core.tools import FunctionTool
from llama_index.core.tools.calling import call_tool
from llama_index.tools.tarsier import TarsierToolSpec
from mcp import Client
from tarsier_mcp.server import ServerOptions, TarsierServer

from tarsier_tools import Settings, TarsierError, VideoService, VideoTools

VIDEO = Path(__file__).parent / "golden" / "videos" / "shapes_320x240_25fps.mp4"
Told = dict[str, tuple[str, dict[str, Any]]]
"""By the name of each tool its description and the schema of its arguments."""


@pytest.fixture(scope="module")
def service() -> Iterator[VideoService]:
    with VideoService(Settings(backend="tiny", max_new_tokens=32)) as opened:
        yield opened


def defined() -> Told:
    return {spec.name: (spec.description, plain(spec.schema)) for spec in VideoTools.specs()}


def plain(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema without the refusal of unknown arguments, which LangChain and LlamaIndex do not pass on."""
    return {name: value for name, value in schema.items() if name != "additionalProperties"}


def langchain_tools(service: VideoService) -> dict[str, Any]:
    return {tool.name: tool for tool in TarsierToolkit(service=service, images=True).get_tools()}


def llama_tools(service: VideoService) -> dict[str, FunctionTool]:
    tools = TarsierToolSpec(service, images=True).to_tool_list()
    return {str(tool.metadata.name): tool for tool in tools}


@contextmanager
def mcp_server(service: VideoService) -> Iterator[TarsierServer]:
    with TarsierServer(ServerOptions(service.settings), service) as served:
        yield served


async def test_mcp_tells_of_the_tools_as_they_are_defined(service: VideoService) -> None:
    with mcp_server(service) as served:
        async with Client(served.mcp) as client:
            tools = (await client.list_tools()).tools
    assert {tool.name for tool in tools} - defined().keys() == {"get_job", "cancel_job"}
    assert all(tool.input_schema["additionalProperties"] is False for tool in tools)
    told = {tool.name: (tool.description, plain(tool.input_schema)) for tool in tools}
    assert {name: told[name] for name in defined()} == defined()


def test_langchain_tells_of_the_tools_as_they_are_defined(service: VideoService) -> None:
    told = {}
    for name, tool in langchain_tools(service).items():
        function = convert_to_openai_tool(tool)["function"]
        assert function["name"] == name
        told[name] = (function["description"], function["parameters"])
    assert told == defined()


def test_llama_index_tells_of_the_tools_as_they_are_defined(service: VideoService) -> None:
    told = {}
    for name, tool in llama_tools(service).items():
        function = tool.metadata.to_openai_tool()["function"]
        assert function["name"] == name
        told[name] = (function["description"], function["parameters"])
    assert told == defined()


CALLS: list[tuple[str, dict[str, Any]]] = [
    ("caption_video", {"video": str(VIDEO), "end_s": 2}),
    ("ask_video", {"video": str(VIDEO), "question": "What moves?", "choices": ["a circle", "a star"]}),
    ("locate_event", {"video": str(VIDEO), "event": ["the red circle moves", "the blue star vanishes"]}),
    ("describe_timeline", {"video": str(VIDEO), "summarize": True}),
    ("video_info", {"video": str(VIDEO)}),
    ("view_frames", {"video": str(VIDEO), "times_s": [0.5, 1.5]}),
    ("list_videos", {"folder": str(VIDEO.parent)}),
]
WRONG: list[tuple[str, dict[str, Any]]] = [
    ("caption_video", {"video": "none.mp4"}),
    ("caption_video", {"video": str(VIDEO), "start_s": 99}),
    ("ask_video", {"video": str(VIDEO), "question": " "}),
    ("view_frames", {"video": str(VIDEO), "count": 33}),
]
WRONG_ARGUMENTS: list[tuple[str, dict[str, Any]]] = [
    ("caption_video", {"vide": str(VIDEO)}),
    ("ask_video", {"video": str(VIDEO)}),
    ("locate_event", {"video": str(VIDEO), "event": "it moves", "top_k": 0}),
]


def langchain_says(service: VideoService, name: str, arguments: dict[str, Any]) -> tuple[str, bool]:
    call = {"type": "tool_call", "name": name, "args": arguments, "id": "1"}
    message = langchain_tools(service)[name].invoke(call)
    assert isinstance(message, ToolMessage)
    text = message.content if isinstance(message.content, str) else message.content[0]["text"]
    return text, message.status == "error"


def llama_says(service: VideoService, name: str, arguments: dict[str, Any]) -> tuple[str, bool]:
    output = call_tool(llama_tools(service)[name], arguments)
    return output.blocks[0].text, output.is_error


async def mcp_says(service: VideoService, name: str, arguments: dict[str, Any]) -> tuple[str, bool]:
    with mcp_server(service) as served:
        async with Client(served.mcp) as client:
            result = await client.call_tool(name, arguments)
    return result.content[0].text, bool(result.is_error)


@pytest.mark.parametrize(("name", "arguments"), CALLS, ids=[name for name, _ in CALLS])
async def test_a_model_is_told_the_same_by_each(
    service: VideoService, name: str, arguments: dict[str, Any]
) -> None:
    said = VideoTools(service).call(name, arguments).text
    assert langchain_says(service, name, arguments) == (said, False)
    assert llama_says(service, name, arguments) == (said, False)
    assert await mcp_says(service, name, arguments) == (said, False)


@pytest.mark.parametrize(("name", "arguments"), [*WRONG, *WRONG_ARGUMENTS])
async def test_what_went_wrong_is_said_in_the_same_words_by_each(
    service: VideoService, name: str, arguments: dict[str, Any]
) -> None:
    with pytest.raises(TarsierError) as caught:
        VideoTools(service).call(name, arguments)
    said = str(caught.value)
    assert langchain_says(service, name, arguments) == (said, True)
    assert await mcp_says(service, name, arguments) == (said, True)
    text, is_error = llama_says(service, name, arguments)
    assert is_error
    assert said in text
