"""A LlamaIndex agent that looks at videos.

    python examples/llama_index_agent.py [VIDEO [EVENT]]

The model that drives the agent is scripted here, so that this runs without a key: it calls locate_event and
says what it was told. Put any function-calling LLM in its place, for example ``OpenAI(model="...")`` of
llama-index-llms-openai. Real eyes: see describe_video.py.
"""

import asyncio

from film import watched
from llama_index.core.agent.workflow import FunctionAgent, ToolCallResult
from llama_index.core.base.llms.types import ChatMessage, ToolCallBlock
from llama_index.core.llms.mock import MockFunctionCallingLLM
from llama_index.tools.tarsier import TarsierToolSpec

video, event = watched()


def scripted(messages: list[ChatMessage], **_: object) -> ChatMessage:
    """First look, then say what was seen."""
    if messages[-1].role != "tool":
        arguments = {"video": video, "event": event}
        call = ToolCallBlock(tool_call_id="1", tool_name="locate_event", tool_kwargs=arguments)
        return ChatMessage(role="assistant", blocks=[call])
    return ChatMessage(role="assistant", content=f"I looked at the video. {messages[-1].content}")


async def main() -> None:
    agent = FunctionAgent(
        tools=TarsierToolSpec().to_tool_list(),
        llm=MockFunctionCallingLLM(response_generator=scripted),
        system_prompt="You answer questions about videos. Say the times that your tools give you.",
        streaming=False,
    )
    handler = agent.run(f"When does this happen in {video}: {event}?")
    async for step in handler.stream_events():
        if isinstance(step, ToolCallResult) and not step.tool_output.is_error:
            (found,) = step.tool_output.raw_output.result.events  # the typed result, not only the text
            print("The tool found:", [(segment.start_s, segment.end_s) for segment in found.segments])
    print(await handler)


asyncio.run(main())
