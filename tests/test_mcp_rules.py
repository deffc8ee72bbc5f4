"""Rules of the MCP package that a program can check, and its spans."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
import tarsier_mcp
from mcp_kit import HeldBackend, client, server
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider

import tarsier_tools

MODULES = sorted(Path(tarsier_mcp.__file__).parent.glob("*.py"))
VIDEOS = Path(__file__).parent / "golden" / "videos"
VIDEO = "short10_256x192.mp4"

SHARED = {"library", "library_view", "tools", "tool_specs", "text", "types"}
"""Modules of the core, besides its public names, that every front end shares."""


def imported(path: Path) -> Iterator[tuple[str, str]]:
    """Module and name of everything that a file imports."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield from ((node.module, alias.name) for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_a_module_of_the_server_has_at_most_400_lines(path: Path) -> None:
    assert len(path.read_text("utf-8").splitlines()) <= 400


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_the_server_knows_the_core_by_its_public_names_and_what_front_ends_share(path: Path) -> None:
    for module, name in imported(path):
        top, _, inner = module.partition(".")
        if top == "tarsier_tools":
            assert inner in SHARED or (not inner and name in tarsier_tools.__all__), f"{module}.{name}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_only_the_command_line_reads_the_environment(path: Path) -> None:
    tree = ast.walk(ast.parse(path.read_text("utf-8")))
    readers = [
        node for node in tree if isinstance(node, ast.Attribute) and node.attr in {"environ", "getenv"}
    ]
    assert not readers or path.stem == "cli"


class Collector(SpanProcessor):
    """Keeps spans that have ended, until it is closed: a provider lasts as long as its process."""

    def __init__(self) -> None:
        self.ended: dict[str, ReadableSpan] = {}
        self.closed = False

    def on_end(self, span: ReadableSpan) -> None:
        if not self.closed:
            self.ended[span.name] = span


@pytest.fixture(scope="module")
def spans() -> Iterator[Collector]:
    collector = Collector()
    provider = TracerProvider()
    provider.add_span_processor(collector)
    trace.set_tracer_provider(provider)
    yield collector
    collector.closed = True


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_call_has_spans_for_decoding_and_inference_below_its_own(
    spans: Collector, anyio_backend: str
) -> None:
    with server(VIDEOS, HeldBackend("a secret caption")) as served:
        async with client(served, "legacy") as connected:
            await connected.call_tool("ask_video", {"video": VIDEO, "question": "a secret question?"})
    named = spans.ended
    call, job = named["tools/call ask_video"], named["job ask_video"]
    assert call.context is not None
    assert job.context is not None
    assert job.parent is not None
    assert job.parent.span_id == call.context.span_id
    for name in ("decode", "inference"):
        span = named[name]
        assert span.parent is not None
        assert span.parent.span_id == job.context.span_id
        assert span.start_time is not None
        assert span.end_time is not None
        assert call.start_time is not None
        assert call.start_time - 1_000_000 <= span.start_time <= span.end_time
    assert named["inference"].attributes is not None
    assert named["inference"].attributes["gen_ai.request.model"] == "held"
    assert "secret" not in "".join(span.to_json() for span in named.values())
