"""What langchain-mcp-adapters shows of the server; see run.py for the arguments."""

import asyncio
import json
import sys

from langchain_mcp_adapters.client import MultiServerMCPClient

command, url, token, video = json.loads(sys.argv[1]), *sys.argv[2:]
CLIENT = MultiServerMCPClient(
    {
        "stdio": {"transport": "stdio", "command": command[0], "args": command[1:]},
        "http": {
            "transport": "streamable_http",
            "url": url,
            "headers": {"Authorization": f"Bearer {token}"},
        },
    }
)


def shown(answer: object) -> str:
    if isinstance(answer, str):
        return answer
    return "\n".join(block.get("text", "") for block in answer)


async def main() -> None:
    for transport in ("stdio", "http"):
        tools = {tool.name: tool for tool in await CLIENT.get_tools(server_name=transport)}
        caption = shown(await tools["caption_video"].ainvoke({"video": video}))
        try:
            error = shown(await tools["caption_video"].ainvoke({"video": "nothing.mp4"}))
        except Exception as raised:
            error = str(raised)
        print(
            json.dumps({"transport": transport, "tools": sorted(tools), "caption": caption, "error": error})
        )


asyncio.run(main())
