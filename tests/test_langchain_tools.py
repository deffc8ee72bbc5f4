"""The LangChain tools: the framework's own suites, real agents on the bundled model, errors and progress."""

from __future__ import annotations

import ast
import asyncio
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from conftest import ShapesFilm
from langchain.agents import create_agent
from langchain_core.language_models.fake_chat_models import FakeMessagesListChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool
from langchain_tarsier import (
    AskVideoTool,
    CaptionVideoTool,
    DescribeTimelineTool,
    IndexVideosTool,
    LibraryStatusTool,
    ListVideosTool,
    LocateEventTool,
    SearchLibraryTool,
    TarsierTool,
    TarsierToolkit,
    VideoInfoTool,
    ViewFramesTool,
)
from langchain_tarsier.tools import LibraryTool
from langchain_tests.integration_tests import ToolsIntegrationTests
from langchain_tests.unit_tests import ToolsUnitTests
from langgraph.checkpoint.memory import InMemorySaver

from tarsier_tools import (
    Cancelled,
    Caption,
    LocatedEvents,
    ScriptedBackend,
    Settings,
    VideoInfo,
    VideoService,
)
from tarsier_tools.library import VideoLibrary
from tarsier_tools.selfcheck.language import event_phrase

VIDEO = str(Path(__file__).parent / "golden" / "videos" / "shapes_320x240_25fps.mp4")
EXAMPLES: dict[type[TarsierTool], dict[str, Any]] = {
    CaptionVideoTool: {"video": VIDEO, "end_s": 2.0, "detail": "events"},
    AskVideoTool: {"video": VIDEO, "question": "What moves?", "choices": ["a circle", "a star"]},
    LocateEventTool: {"video": VIDEO, "event": ["the red circle moves", "the blue star vanishes"]},
    DescribeTimelineTool: {"video": VIDEO, "end_s": 2.0},
    VideoInfoTool: {"video": VIDEO},
    ViewFramesTool: {"video": VIDEO, "times_s": [0.5, 1.0]},
    ListVideosTool: {"folder": str(Path(VIDEO).parent)},
    SearchLibraryTool: {"query": "a red circle", "k": 3},
    IndexVideosTool: {"videos": [VIDEO]},
    LibraryStatusTool: {},
}


@cache
def tiny() -> VideoService:
    return VideoService(Settings(backend="tiny", anyway=True, max_new_tokens=24))


@pytest.fixture(scope="module", autouse=True)
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VideoLibrary]:
    with VideoLibrary(tmp_path_factory.mktemp("library"), service=tiny()) as opened:
        _Suite.opened = opened
        yield opened


class _Suite:
    """What the framework's suites ask about one tool."""

    kind: type[TarsierTool]
    opened: VideoLibrary

    @property
    def tool_constructor(self) -> type[BaseTool]:
        return self.kind

    @property
    def tool_constructor_params(self) -> dict[str, Any]:
        return {"service": tiny(), **self.library}

    @property
    def library(self) -> dict[str, Any]:
        return {"library": self.opened} if issubclass(self.kind, LibraryTool) else {}

    @property
    def tool_invoke_params_example(self) -> dict[str, Any]:
        return EXAMPLES[self.kind]

    @property
    def init_from_env_params(self) -> tuple[dict[str, str], dict[str, Any], dict[str, Any]]:
        return {"TARSIER_MODEL": "some/folder"}, self.library, {"settings": Settings(model="some/folder")}


for _kind in EXAMPLES:
    for _base in (ToolsUnitTests, ToolsIntegrationTests):
        _name = f"Test{_kind.__name__}{_base.__name__}"
        globals()[_name] = type(_name, (_Suite, _base), {"kind": _kind})


class ScriptedChatModel(FakeMessagesListChatModel):
    """A chat model that says what it was given, tool calls included."""

    def bind_tools(self, tools: Any, *, tool_choice: Any = None, **kwargs: Any) -> ScriptedChatModel:
        return self


def calling(name: str, **arguments: Any) -> AIMessage:
    call = {"name": name, "args": arguments, "id": f"call-{name}", "type": "tool_call"}
    return AIMessage(content="", tool_calls=[call])


def run_agent(tools: list[BaseTool], *messages: AIMessage) -> list[BaseMessage]:
    agent = create_agent(ScriptedChatModel(responses=list(messages)), tools)
    return agent.invoke({"messages": [HumanMessage("When does it happen?")]})["messages"]


@pytest.fixture
def toolkit() -> Iterator[TarsierToolkit]:
    with VideoService(
        Settings(backend="tiny", anyway=True)
    ) as service:  # the golden video is not of its world
        yield TarsierToolkit(service=service)


def true_event(film: ShapesFilm) -> tuple[str, float, float]:
    event = film.scene.truth().events[0]
    return event_phrase(event.fact), event.start_s, event.end_s


def test_an_agent_gets_the_true_time_of_an_event_from_the_bundled_model(
    toolkit: TarsierToolkit, shapes_film: ShapesFilm
) -> None:
    phrase, start_s, end_s = true_event(shapes_film)

    class Repeating(ScriptedChatModel):
        """Calls the tool, then answers with what the tool said."""

        def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> Any:
            if isinstance(messages[-1], ToolMessage):
                self.responses = [AIMessage(f"The tool says: {messages[-1].content}")]
            return super()._generate(messages, *args, **kwargs)

    model = Repeating(responses=[calling("locate_event", video=str(shapes_film.path), event=phrase)])
    agent = create_agent(model, toolkit.get_tools())
    *_, told, answer = agent.invoke({"messages": [HumanMessage(f"When: {phrase}?")]})["messages"]
    assert isinstance(told, ToolMessage)
    assert told.status == "success"
    assert isinstance(told.artifact, LocatedEvents)
    (found,) = told.artifact.events
    (segment,) = found.segments
    assert abs(segment.start_s - start_s) <= 0.7
    assert abs(segment.end_s - end_s) <= 0.7
    assert f"Found once: {phrase}" in answer.content
    assert "understands coloured shapes" in answer.content.lower()


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("caption_video", {"video": "none.mp4"}, "There is no file none.mp4"),
        ("caption_video", {"video": VIDEO, "start_s": 99}, "starts at 99 s"),
        ("caption_video", {"vide": VIDEO}, "Did you mean video?"),
        ("ask_video", {"video": VIDEO}, "ask_video needs question"),
        ("locate_event", {"video": VIDEO, "event": " "}, "The event is empty"),
        ("describe_timeline", {"video": VIDEO, "page": 0}, "page is 0"),
        ("list_videos", {"folder": VIDEO}, "is not a folder"),
    ],
)
def test_the_agent_is_told_what_went_wrong_and_goes_on(
    toolkit: TarsierToolkit, name: str, arguments: dict[str, Any], said: str
) -> None:
    *_, told, answer = run_agent(toolkit.get_tools(), calling(name, **arguments), AIMessage("I see."))
    assert isinstance(told, ToolMessage)
    assert told.status == "error"
    assert said in told.content
    assert answer.content == "I see."


def test_a_model_that_cannot_be_opened_is_an_error_that_the_agent_survives() -> None:
    with VideoService(Settings(backend="local", model="/no/such/folder")) as service:
        tools = TarsierToolkit(service=service).get_tools()
        *_, told, answer = run_agent(tools, calling("caption_video", video=VIDEO), AIMessage("Too bad."))
    assert told.status == "error"
    assert "/no/such/folder" in told.content
    assert answer.content == "Too bad."


@pytest.mark.allow_hosts(["127.0.0.1"])
def test_a_server_that_is_down_is_an_error_that_the_agent_survives() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    settings = Settings(base_url=f"http://127.0.0.1:{port}/v1", model="tarsier2", retries=0)
    with VideoService(settings) as service:
        tools = TarsierToolkit(service=service).get_tools()
        *_, told, answer = run_agent(tools, calling("caption_video", video=VIDEO), AIMessage("Too bad."))
    assert told.status == "error"
    assert f"127.0.0.1:{port}" in told.content
    assert answer.content == "Too bad."


def test_importing_the_package_loads_no_model_no_graph_and_no_server() -> None:
    code = "import langchain_tarsier, sys; print({name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=True
    )
    loaded = set(ast.literal_eval(done.stdout))
    assert "langchain_core" in loaded
    assert loaded & {"torch", "transformers", "av", "langgraph", "langchain", "openai", "mcp"} == set()


def test_a_direct_call_gives_text_and_a_tool_call_gives_the_typed_result_too() -> None:
    service = VideoService(backend=ScriptedBackend(["A circle."] * 2))
    tool = CaptionVideoTool(service=service)
    assert tool.invoke({"video": VIDEO}).startswith("A circle.\nSeen: 16 frames of 0-")
    message = tool.invoke({"name": tool.name, "args": {"video": VIDEO}, "id": "1", "type": "tool_call"})
    assert isinstance(message.artifact, Caption)
    assert message.artifact.text == "A circle."


def test_pictures_are_for_those_who_ask_for_them(toolkit: TarsierToolkit) -> None:
    assert "view_frames" not in [tool.name for tool in toolkit.get_tools()]
    tools = TarsierToolkit(service=toolkit.service, images=True).get_tools()
    *_, told, _ = run_agent(tools, calling("view_frames", video=VIDEO, times_s=[0.5, 1]), AIMessage("Nice."))
    assert [block["type"] for block in told.content] == ["text", "image", "image"]
    assert told.content[0]["text"].startswith("2 pictures, in the order of time: 0.48, 1 s")
    assert told.content[1]["mime_type"] == "image/jpeg"


def test_the_results_survive_a_checkpoint(toolkit: TarsierToolkit) -> None:
    model = ScriptedChatModel(responses=[calling("video_info", video=VIDEO), AIMessage("Short.")])
    agent = create_agent(model, toolkit.get_tools(), checkpointer=InMemorySaver())
    config: RunnableConfig = {"configurable": {"thread_id": "1"}}
    agent.invoke({"messages": [HumanMessage("How long?")]}, config)
    *_, told, answer = agent.get_state(config).values["messages"]
    assert "3 s" in told.content
    assert VideoInfo.model_validate(told.artifact).frame_count == 75
    assert answer.content == "Short."


async def test_progress_reaches_the_stream_of_a_graph_and_the_events_of_runs(
    toolkit: TarsierToolkit,
) -> None:
    responses = [calling("caption_video", video=VIDEO), AIMessage("Seen.")]
    ask = {"messages": [HumanMessage("What is it?")]}
    agent = create_agent(ScriptedChatModel(responses=responses), toolkit.get_tools())
    streamed = [
        part["tarsier_progress"]
        async for mode, part in agent.astream(ask, stream_mode=["custom", "updates"])
        if mode == "custom"
    ]
    assert {part["tool"] for part in streamed} == {"caption_video"}
    assert any(part["message"] == "reading frames" and part["done"] == 16 for part in streamed)
    agent = create_agent(ScriptedChatModel(responses=responses), toolkit.get_tools())
    events = [
        event["data"]
        async for event in agent.astream_events(ask, version="v2")
        if event["event"] == "on_custom_event" and event["name"] == "tarsier_progress"
    ]
    assert events
    assert set(events[0]) == {"tool", "done", "total", "message"}


async def test_the_loop_stays_free_and_cancelling_a_call_stops_the_work() -> None:
    began = threading.Event()
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()

    class Slow(ScriptedBackend):
        def generate(self, requests: Any, *, on_progress: Any = None) -> Any:
            began.set()
            try:
                for _ in range(3000):  # half a minute: a test that fails must end as well
                    time.sleep(0.01)
                    on_progress(0, 1, "thinking")
            except Cancelled:
                loop.call_soon_threadsafe(stopped.set)
                raise

    tool = CaptionVideoTool(service=VideoService(backend=Slow(["A circle."])))
    call = asyncio.create_task(tool.ainvoke({"video": VIDEO}))
    while not began.is_set():  # only a free loop gets here
        assert not call.done()
        await asyncio.sleep(0.01)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await asyncio.wait_for(stopped.wait(), 60)


def test_the_config_of_a_run_can_choose_the_service() -> None:
    services = {name: VideoService(backend=ScriptedBackend([f"Seen for {name}."])) for name in ("ada", "bob")}
    toolkit = TarsierToolkit(service_for=lambda config: services[config["configurable"]["tenant"]])
    (tool, *_) = toolkit.get_tools()
    for name in services:
        said = tool.invoke({"video": VIDEO}, {"configurable": {"tenant": name}})
        assert said.startswith(f"Seen for {name}.")


def test_tools_of_one_toolkit_share_a_service_and_open_no_model_before_a_call() -> None:
    tools = TarsierToolkit(settings=Settings(backend="local", model="/no/such/folder")).get_tools()
    assert len({id(tool.service) for tool in tools}) == 1
    assert tools[3].name == "describe_timeline"
    info = {tool.name: tool for tool in tools}["video_info"]
    assert "320x240" in info.invoke({"video": VIDEO})
