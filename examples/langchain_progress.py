"""A LangGraph graph that shows how far the watching is while it goes on.

    python examples/langchain_progress.py [VIDEO]

The tools write their progress to the graph's stream (mode "custom") and dispatch it as LangChain's custom
event "tarsier_progress". No model drives this graph; in an agent it is the same. Real eyes: see
describe_video.py.
"""

import asyncio
from typing import TypedDict

from film import watched
from langchain_core.runnables import RunnableConfig
from langchain_tarsier import CaptionVideoTool
from langgraph.graph import END, START, StateGraph


class State(TypedDict, total=False):
    video: str
    caption: str


tool = CaptionVideoTool()


async def look(state: State, config: RunnableConfig) -> State:
    return {"caption": await tool.ainvoke({"video": state["video"]}, config)}


async def main() -> None:
    builder = StateGraph(State)
    builder.add_node("look", look)
    builder.add_edge(START, "look")
    builder.add_edge("look", END)
    graph = builder.compile()
    async for mode, part in graph.astream({"video": watched()[0]}, stream_mode=["custom", "updates"]):
        if mode == "custom":
            step = part["tarsier_progress"]
            print(f"{step['message']}: {step['done']} of {step['total']}")
        else:
            print(part["look"]["caption"])


asyncio.run(main())
