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

from tarsier_tools import LibraryTools, Settings, TarsierError, VideoService, VideoTools
from tarsier_tools.library import VideoLibrary

VIDEO = Path(__file__).parent / "golden" / "videos" / "shapes_320x240_25fps.mp4"
Told = dict[str, tuple[str, dict[str, Any]]]
"""By the name of each tool its description and the schema of its arguments."""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VideoService]:
    library = str(tmp_path_factory.mktemp("library"))
    with VideoService(Settings(backend="tiny", anyway=True, max_new_tokens=32, library=library)) as opened:
        yield opened


@pytest.fixture(scope="module")
def library(service: VideoService) -> Iterator[VideoLibrary]:
    """A library with the video in it."""
    with VideoLibrary(service.settings.library or "", service=service) as opened:
        opened.add(VIDEO)
        yield opened


def defined() -> Told:
    return {spec.name: (spec.description, plain(spec.schema)) for spec in LibraryTools.specs()}


def plain(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema without the refusal of unknown arguments, which LangChain and LlamaIndex do not pass on."""
    return {name: value for name, value in schema.items() if name != "additionalProperties"}


def langchain_tools(service: VideoService, library: VideoLibrary) -> dict[str, Any]:
    toolkit = TarsierToolkit(service=service, images=True, library=library, indexing=True)
    return {tool.name: tool for tool in toolkit.get_tools()}


def llama_tools(service: VideoService, library: VideoLibrary) -> dict[str, FunctionTool]:
    tools = TarsierToolSpec(service, images=True, library=library, indexing=True).to_tool_list()
    return {str(tool.metadata.name): tool for tool in tools}


@contextmanager
def mcp_server(service: VideoService) -> Iterator[TarsierServer]:
    """It opens the library that the settings name by itself."""
    with TarsierServer(ServerOptions(service.settings), service) as served:
        yield served


def test_without_a_library_there_are_no_tools_for_one(service: VideoService) -> None:
    names = {spec.name for spec in VideoTools.specs()}
    assert {tool.name for tool in TarsierToolkit(service=service, images=True).get_tools()} == names
    tools = TarsierToolSpec(service, images=True).to_tool_list()
    assert {tool.metadata.name for tool in tools} == names


def test_the_tool_that_writes_is_given_only_when_it_is_asked_for(
    service: VideoService, library: VideoLibrary
) -> None:
    names = defined().keys() - {"index_videos", "view_frames"}
    assert {tool.name for tool in TarsierToolkit(service=service, library=library).get_tools()} == names
    tools = TarsierToolSpec(service, library=library).to_tool_list()
    assert {tool.metadata.name for tool in tools} == names


async def test_mcp_tells_of_the_tools_as_they_are_defined(service: VideoService) -> None:
    with mcp_server(service) as served:
        async with Client(served.mcp) as client:
            tools = (await client.list_tools()).tools
    assert {tool.name for tool in tools} - defined().keys() == {"get_job", "cancel_job"}
    assert all(tool.input_schema["additionalProperties"] is False for tool in tools)
    told = {tool.name: (tool.description, plain(tool.input_schema)) for tool in tools}
    assert {name: told[name] for name in defined()} == defined()


def test_langchain_tells_of_the_tools_as_they_are_defined(
    service: VideoService, library: VideoLibrary
) -> None:
    told = {}
    for name, tool in langchain_tools(service, library).items():
        function = convert_to_openai_tool(tool)["function"]
        assert function["name"] == name
        told[name] = (function["description"], function["parameters"])
    assert told == defined()


def test_llama_index_tells_of_the_tools_as_they_are_defined(
    service: VideoService, library: VideoLibrary
) -> None:
    told = {}
    for name, tool in llama_tools(service, library).items():
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
    ("search_library", {"query": "a red circle", "rewatch": True}),
    ("search_library", {"query": "a zebra", "language": "fr"}),
    ("index_videos", {"videos": [str(VIDEO)]}),
    ("library_status", {}),
]
WRONG: list[tuple[str, dict[str, Any]]] = [
    ("caption_video", {"video": "none.mp4"}),
    ("caption_video", {"video": str(VIDEO), "start_s": 99}),
    ("ask_video", {"video": str(VIDEO), "question": " "}),
    ("view_frames", {"video": str(VIDEO), "count": 33}),
    ("search_library", {"query": "red", "videos": ["none.mp4"]}),
    ("index_videos", {"videos": ["none.mp4"]}),
]
WRONG_ARGUMENTS: list[tuple[str, dict[str, Any]]] = [
    ("caption_video", {"vide": str(VIDEO)}),
    ("ask_video", {"video": str(VIDEO)}),
    ("locate_event", {"video": str(VIDEO), "event": "it moves", "top_k": 0}),
    ("search_library", {"query": "red", "kinds": ["speech"]}),
]


def langchain_says(
    service: VideoService, library: VideoLibrary, name: str, arguments: dict[str, Any]
) -> tuple[str, bool]:
    call = {"type": "tool_call", "name": name, "args": arguments, "id": "1"}
    message = langchain_tools(service, library)[name].invoke(call)
    assert isinstance(message, ToolMessage)
    text = message.content if isinstance(message.content, str) else message.content[0]["text"]
    return text, message.status == "error"


def llama_says(
    service: VideoService, library: VideoLibrary, name: str, arguments: dict[str, Any]
) -> tuple[str, bool]:
    output = call_tool(llama_tools(service, library)[name], arguments)
    return output.blocks[0].text, output.is_error


async def mcp_says(service: VideoService, name: str, arguments: dict[str, Any]) -> tuple[str, bool]:
    with mcp_server(service) as served:
        async with Client(served.mcp) as client:
            result = await client.call_tool(name, arguments)
    return result.content[0].text, bool(result.is_error)


@pytest.mark.parametrize(("name", "arguments"), CALLS, ids=[name for name, _ in CALLS])
async def test_a_model_is_told_the_same_by_each(
    service: VideoService, library: VideoLibrary, name: str, arguments: dict[str, Any]
) -> None:
    said = LibraryTools(service, library).call(name, arguments).text
    assert langchain_says(service, library, name, arguments) == (said, False)
    assert llama_says(service, library, name, arguments) == (said, False)
    assert await mcp_says(service, name, arguments) == (said, False)


@pytest.mark.parametrize(("name", "arguments"), [*WRONG, *WRONG_ARGUMENTS])
async def test_what_went_wrong_is_said_in_the_same_words_by_each(
    service: VideoService, library: VideoLibrary, name: str, arguments: dict[str, Any]
) -> None:
    with pytest.raises(TarsierError) as caught:
        LibraryTools(service, library).call(name, arguments)
    said = str(caught.value)
    assert langchain_says(service, library, name, arguments) == (said, True)
    assert await mcp_says(service, name, arguments) == (said, True)
    text, is_error = llama_says(service, library, name, arguments)
    assert is_error
    assert said in text
