"""A LangChain agent that looks at videos.

    python examples/langchain_agent.py [VIDEO [EVENT]]

The model that drives the agent is scripted here, so that this runs without a key: it calls locate_event and
says what it was told. Put any tool-calling model in its place, for example
``init_chat_model("anthropic:claude-...")``. Real eyes: see describe_video.py.
"""

from typing import Any

from film import watched
from langchain.agents import create_agent
from langchain_core.language_models.fake_chat_models import FakeMessagesListChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_tarsier import TarsierToolkit

video, event = watched()


class Scripted(FakeMessagesListChatModel):
    """First look, then say what was seen."""

    def bind_tools(self, *_: Any, **__: Any) -> "Scripted":
        return self

    def _generate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        if isinstance(messages[-1], ToolMessage):
            said = AIMessage(f"I looked at the video. {messages[-1].content}")
        else:
            arguments = {"video": video, "event": event}
            said = AIMessage("", tool_calls=[{"name": "locate_event", "args": arguments, "id": "1"}])
        return ChatResult(generations=[ChatGeneration(message=said)])


agent = create_agent(
    Scripted(responses=[]),
    TarsierToolkit().get_tools(),
    system_prompt="You answer questions about videos. Say the times that your tools give you.",
)
state = agent.invoke({"messages": [HumanMessage(f"When does this happen in {video}: {event}?")]})
for message in state["messages"]:
    if isinstance(message, ToolMessage) and message.status == "success":
        (found,) = message.artifact.events  # the typed result, not only the text
        print("The tool found:", [(segment.start_s, segment.end_s) for segment in found.segments])
print(state["messages"][-1].content)
