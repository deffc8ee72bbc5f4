"""Ask the MCP server about a video, as any MCP client does, over stdio.

    python examples/mcp_client.py [VIDEO [EVENT]]

The server may read the folder of the video, and nothing else. Real eyes: give it --model or --base-url, see
docs/mcp.md.
"""

import asyncio
import sys
from pathlib import Path

from film import watched
from mcp import Client, StdioServerParameters, stdio_client

video, event = watched()
server = StdioServerParameters(
    command=sys.executable, args=["-m", "tarsier_mcp", "--allow", str(Path(video).resolve().parent)]
)


async def main() -> None:
    async with Client(stdio_client(server)) as client:
        tools = await client.list_tools()
        print("Tools:", ", ".join(tool.name for tool in tools.tools))

        async def progress(done: float, total: float | None, message: str | None) -> None:
            print(f"  {message} {done:g}/{total:g}" if total else f"  {message}")

        reply = await client.call_tool(
            "locate_event", {"video": video, "event": event}, progress_callback=progress
        )
        while reply.structured_content["status"] in ("queued", "running"):  # long work goes on by itself
            job = {"job_id": reply.structured_content["job_id"], "wait_s": 20}
            reply = await client.call_tool("get_job", job)
        print(reply.content[0].text)  # what the model reads
        (found,) = reply.structured_content["result"]["events"]  # what a program reads
        print("Segments:", [(part["start_s"], part["end_s"]) for part in found["segments"]])


asyncio.run(main())
