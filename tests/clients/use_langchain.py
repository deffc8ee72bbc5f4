"""What langchain's own MCP adapter shows of the server; see run.py for the arguments."""

import asyncio
import json
import sys

from fastmcp.client.transports import StdioTransport, StreamableHttpTransport
from langchain.mcp import MCPAdapter

command, url, token, video = json.loads(sys.argv[1]), *sys.argv[2:]


def shown(answer: object) -> str:
    if isinstance(answer, str):
        return answer
    return "\n".join(block.get("text", "") for block in answer)


async def main() -> None:
    transports = {
        "stdio": StdioTransport(command[0], command[1:]),
        "http": StreamableHttpTransport(url, headers={"Authorization": f"Bearer {token}"}),
    }
    for name, transport in transports.items():
        async with MCPAdapter(transport) as adapter:
            tools = {tool.name: tool for tool in await adapter.list_tools()}
            caption = shown(await tools["caption_video"].ainvoke({"video": video}))
            try:
                error = shown(await tools["caption_video"].ainvoke({"video": "nothing.mp4"}))
            except Exception as raised:
                error = str(raised)
        print(json.dumps({"transport": name, "tools": sorted(tools), "caption": caption, "error": error}))


asyncio.run(main())
