"""What fastmcp's client shows of the server; see run.py for the arguments."""

import asyncio
import json
import sys

from fastmcp import Client
from fastmcp.client.transports import StdioTransport, StreamableHttpTransport

command, url, token, video = json.loads(sys.argv[1]), *sys.argv[2:]


async def main() -> None:
    transports = {
        "stdio": StdioTransport(command[0], command[1:]),
        "http": StreamableHttpTransport(url, headers={"Authorization": f"Bearer {token}"}),
    }
    for name, transport in transports.items():
        async with Client(transport) as client:
            tools = sorted(tool.name for tool in await client.list_tools())
            caption = await client.call_tool("caption_video", {"video": video})
            failed = await client.call_tool("caption_video", {"video": "nothing.mp4"}, raise_on_error=False)
        shown = {"caption": caption.content[0].text, "error": failed.content[0].text}
        print(json.dumps({"transport": name, "tools": tools, **shown}))


asyncio.run(main())
