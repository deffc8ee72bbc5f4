"""What llama-index-tools-mcp shows of the server; see run.py for the arguments."""

import asyncio
import json
import sys

from llama_index.tools.mcp import BasicMCPClient, McpToolSpec

command, url, token, video = json.loads(sys.argv[1]), *sys.argv[2:]


async def main() -> None:
    clients = {
        "stdio": BasicMCPClient(command[0], args=command[1:], timeout=300),
        "http": BasicMCPClient(url, headers={"Authorization": f"Bearer {token}"}),
    }
    for name, client in clients.items():
        tools = {tool.metadata.name: tool for tool in await McpToolSpec(client=client).to_tool_list_async()}
        shown = {}
        for what, given in (("caption", video), ("error", "nothing.mp4")):
            try:
                shown[what] = (await tools["caption_video"].acall(video=given)).content
            except Exception as raised:
                shown[what] = str(raised)
        print(json.dumps({"transport": name, "tools": sorted(tools), **shown}))


asyncio.run(main())
