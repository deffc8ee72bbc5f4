"""What the tests of the MCP server share: a backend that can be held up, servers in memory and on HTTP."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import anyio
import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import CallToolResult, Implementation, TextContent
from tarsier_mcp.clients import ClientTable
from tarsier_mcp.http import HttpOptions, listener, make_app
from tarsier_mcp.server import ServerOptions, TarsierServer

from tarsier_tools import Settings, VideoService
from tarsier_tools.backends.base import Backend
from tarsier_tools.types import (
    Abilities,
    Completion,
    ModelInfo,
    Progress,
    Request,
    ScoreRequest,
    Scores,
    Usage,
)

ERAS = ("auto", "legacy")
"""Modes of the SDK's client: auto finds 2026-07-28, legacy shakes hands as before it."""
SNAPSHOT = Path(__file__).parent / "data" / "mcp_tools.json"
LIBRARY_SNAPSHOT = SNAPSHOT.with_name("mcp_library_tools.json")
"""The tools that there are besides where a library is given."""
SOON = 90.0
"""Seconds that nothing takes: loading libraries on a machine with much else to do comes nearest."""


class HeldBackend(Backend):
    """Says the same of every clip, once it is let go; counts what it was asked and what was stopped.

    Attributes:
        gate: open from the start unless ``held``; while it is closed, work goes on step by step.
    """

    def __init__(self, reply: str = "A red circle moves left.", *, held: bool = False) -> None:
        self.reply = reply
        self.gate = threading.Event()
        if not held:
            self.gate.set()
        self.begun = 0
        self.stopped = 0

    @property
    def info(self) -> ModelInfo:
        return ModelInfo(name="held", backend="scripted", abilities=Abilities(yes_no=True))

    def generate(self, requests: Sequence[Request], *, on_progress: Progress) -> list[Completion]:  # type: ignore[override]
        self._hold(on_progress)
        return [Completion(self.reply, "stop", (), (), _COST) for _ in requests]

    def score(self, requests: Sequence[ScoreRequest], *, on_progress: Progress) -> list[Scores]:  # type: ignore[override]
        self._hold(on_progress)
        return [
            Scores(tuple(-1.0 - n for n in range(len(one.candidates))), (1,) * len(one.candidates), _COST)
            for one in requests
        ]

    def _hold(self, on_progress: Progress) -> None:
        self.begun += 1
        step = 0
        try:
            on_progress(0, 1, "watching")
            while not self.gate.wait(0.01):
                step += 1
                on_progress(step, 10_000, "watching closely")
        except BaseException:
            self.stopped += 1
            raise


_COST = Usage(prompt_tokens=1, vision_tokens=1, cached_tokens=0, completion_tokens=1)


@contextmanager
def server(
    folder: Path | None,
    backend: Backend | None,
    *,
    inline_s: float | None = None,
    allow_urls: bool = False,
    library: Path | None = None,
    **options: Any,
) -> Iterator[TarsierServer]:
    """A server over the videos of a folder, and a library if one is given, whose model is the backend."""
    settings = Settings(
        allowed_roots=() if folder is None else (folder,),
        allow_urls=allow_urls,
        library=None if library is None else str(library),
    )
    chosen = replace(ServerOptions(settings, clients=ClientTable(inline_s=inline_s)), **options)
    with VideoService(settings, backend=backend) as service, TarsierServer(chosen, service) as served:
        yield served


def client(served: TarsierServer, era: str, name: str = "a test", **options: Any) -> Client:
    """A client in the same process."""
    return Client(served.mcp, mode=era, client_info=Implementation(name=name, version="1"), **options)


@asynccontextmanager
async def listening(served: TarsierServer, **options: Any) -> AsyncIterator[str]:
    """The server over HTTP on a free port of loopback; gives the address of its endpoint."""
    http = HttpOptions(**{"port": 0, **options})
    running = listener(make_app(served.mcp, http), http)
    async with anyio.create_task_group() as group:
        group.start_soon(running.serve)
        await until(lambda: running.started)
        try:
            yield f"http://127.0.0.1:{running.servers[0].sockets[0].getsockname()[1]}{http.path}"
        finally:
            running.should_exit = True


@asynccontextmanager
async def http_client(url: str, era: str, token: str = "", **options: Any) -> AsyncIterator[Client]:
    """A client over HTTP, with a bearer token when one is given."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=SOON) as http,
        Client(streamable_http_client(url, http_client=http), mode=era, **options) as connected,
    ):
        yield connected


def text_of(result: CallToolResult) -> str:
    """All the text of a result, which is what many clients show of it."""
    return "\n".join(block.text for block in result.content if isinstance(block, TextContent))


def structured(result: CallToolResult) -> dict[str, Any]:
    """The structured content, which must be there."""
    assert result.structured_content is not None
    return result.structured_content


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that happens elsewhere."""
    deadline = time.monotonic() + SOON
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        await anyio.sleep(0.005)


def without_results(tools: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The tools as they go over the wire, but for the schemas of results, which the core describes."""
    for tool in tools:
        tool["outputSchema"].pop("$defs", None)
        tool["outputSchema"]["properties"].pop("result", None)
    return tools


async def offered(served: TarsierServer) -> list[dict[str, Any]]:
    """The tools of a server as the snapshots have them."""
    tools = [tool.model_dump(by_alias=True, exclude_none=True) for tool in await served.mcp.list_tools()]
    return without_results(tools)


if __name__ == "__main__":  # writes the snapshots again, after a change that was meant

    async def main() -> None:
        with server(None, HeldBackend()) as served:
            tools = await offered(served)
        with TemporaryDirectory() as library, server(None, HeldBackend(), library=Path(library)) as served:
            more = [tool for tool in await offered(served) if tool not in tools]
        for path, told in ((SNAPSHOT, tools), (LIBRARY_SNAPSHOT, more)):
            path.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", "utf-8")

    anyio.run(main)
