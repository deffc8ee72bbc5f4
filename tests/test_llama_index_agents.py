"""LlamaIndex agents driven to the end by scripted models: the tools are real, and so is the film."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from conftest import ShapesFilm
from llama_index.core.agent.workflow import AgentWorkflow, FunctionAgent, ToolCallResult
from llama_index.core.base.llms.types import ChatMessage, ToolCallBlock
from llama_index.core.llms.mock import MockFunctionCallingLLM
from llama_index.tools.tarsier import TarsierToolSpec

from tarsier_tools import BackendUnavailable, ScriptedBackend, Settings, VideoService
from tarsier_tools.selfcheck import language

pytestmark = pytest.mark.filterwarnings(  # LlamaIndex' workflows look at every attribute of an agent
    "ignore:The `__fields:pydantic.warnings.PydanticDeprecatedSince20",
    "ignore:Accessing the 'model_:pydantic.warnings.PydanticDeprecatedSince211",
)

Step = Callable[[Sequence[ChatMessage]], ChatMessage]


def use(tool: str, **arguments: object) -> Step:
    """A step of the model: call a tool."""
    block = ToolCallBlock(tool_call_id="call", tool_name=tool, tool_kwargs=arguments)
    return lambda _: ChatMessage(role="assistant", blocks=[block])


def repeat(messages: Sequence[ChatMessage]) -> ChatMessage:
    """The last step: say what the tool said, as a model would that believes its eyes."""
    return ChatMessage(role="assistant", content=f"I looked: {messages[-1].content}")


def agent(service: VideoService, *steps: Step, name: str = "watcher") -> FunctionAgent:
    script = iter(steps)

    def generate(messages: Sequence[ChatMessage], **_: Any) -> ChatMessage:
        return next(script)(messages)

    return FunctionAgent(
        name=name,
        description="Watches videos.",
        tools=TarsierToolSpec(service).to_tool_list(),
        llm=MockFunctionCallingLLM(response_generator=generate),
        streaming=False,
    )


async def run(driver: FunctionAgent | AgentWorkflow) -> tuple[str, list[ToolCallResult]]:
    """The agent's last words, and what the tools gave on the way."""
    handler = driver.run("When does it happen?")
    results = [event async for event in handler.stream_events() if isinstance(event, ToolCallResult)]
    return str(await handler), results


@pytest.mark.parametrize("alone", [True, False], ids=["agent", "workflow"])
def test_an_agents_answer_holds_the_true_event_and_its_time(alone: bool, shapes_film: ShapesFilm) -> None:
    event = shapes_film.scene.truth().events[1]
    words = language.event_phrase(event.fact)
    with VideoService() as service:
        locate = use("locate_event", video=str(shapes_film.path), event=words)
        one = agent(service, locate, repeat)
        answer, results = asyncio.run(run(one if alone else AgentWorkflow(agents=[one])))
    assert words in answer
    (result,) = results
    (found,) = result.tool_output.raw_output.result.events
    (segment,) = found.segments
    assert abs(segment.start_s - event.start_s) < 1
    assert abs(segment.end_s - event.end_s) < 1
    assert f"{segment.start_s:.1f}" in answer


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"video": "nothing.mp4"}, "no file"),
        ({"start_s": 99.0}, "start_s"),
        ({"begin": 1}, "no argument"),
    ],
)
def test_what_went_wrong_reaches_the_model_and_the_agent_goes_on(
    wrong: dict[str, object], said: str, shapes_film: ShapesFilm
) -> None:
    good = {"video": str(shapes_film.path)}
    with VideoService() as service:
        steps = use("caption_video", **(good | wrong)), use("caption_video", **good), repeat
        answer, (failed, worked) = asyncio.run(run(agent(service, *steps)))
    assert failed.tool_output.is_error
    assert said in failed.tool_output.content
    assert not worked.tool_output.is_error
    assert worked.tool_output.raw_output.result.text in answer


def test_a_model_that_is_down_is_a_tool_error_too(shapes_film: ShapesFilm) -> None:
    down = ScriptedBackend([BackendUnavailable("The server is gone.", hint="Start it.")])
    with VideoService(Settings.load(), backend=down) as service:
        steps = use("caption_video", video=str(shapes_film.path)), repeat
        answer, (failed,) = asyncio.run(run(agent(service, *steps)))
    assert failed.tool_output.is_error
    assert "The server is gone. Start it." in answer
