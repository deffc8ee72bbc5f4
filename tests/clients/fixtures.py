"""The conformance suite's fixtures on our own server: factory, middleware, job store, tasks and transport.

    python tests/clients/fixtures.py PORT

The names and words are those that the suite asks for. Not part of the product.
"""

from __future__ import annotations

import asyncio
import base64
import io
import sys
import time
from pathlib import Path
from typing import Any

import anyio
from asking import add_asking
from mcp.server.context import ServerRequestContext
from mcp.server.mcpserver import Context, Image
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.prompts.base import UserMessage
from mcp.server.mcpserver.server import require_client_extension
from mcp.server.mcpserver.utilities.func_metadata import ArgModelBase, FuncMetadata
from mcp_types import (
    AudioContent,
    EmbeddedResource,
    ImageContent,
    TextContent,
    TextResourceContents,
    ToolAnnotations,
)
from PIL import Image as Pillow
from pydantic import BaseModel
from tarsier_mcp import calls as calls_module
from tarsier_mcp.calls import Offer
from tarsier_mcp.http import HttpOptions, listener, make_app
from tarsier_mcp.jobs import Outcome
from tarsier_mcp.server import ServerOptions, TarsierServer
from tarsier_mcp.tasks import IDENTIFIER
from tarsier_mcp.tools import ServedTool, Workshop

from tarsier_tools import Progress, Settings

calls_module.TASK_GRACE_S = 0.0  # the suite wants a task at once


def _png() -> bytes:
    file = io.BytesIO()
    Pillow.new("RGB", (1, 1), (255, 0, 0)).save(file, "PNG")
    return file.getvalue()


PNG = _png()
WAV = "UklGRiQAAABXQVZFZm10IBAAAAABAAEARKwAAIhYAQACABAAZGF0YQAAAAA="  # no samples at all
PICTURE = ImageContent(type="image", data=base64.b64encode(PNG).decode(), mime_type="image/png")


class FixtureWorkshop(Workshop):
    """Does the long work that the suite asks for, besides ours."""

    def perform(self, tool: str, arguments: dict[str, Any], on_progress: Progress) -> Outcome:
        if tool == "slow_compute":
            end = time.monotonic() + float(arguments.get("seconds", 1))
            while time.monotonic() < end:
                on_progress(0, 1, "computing")
                time.sleep(0.02)
            return Outcome(f"done: {arguments.get('label', '')}", {})
        if tool == "failing_job":
            time.sleep(1)
            return Outcome("This tool always fails.", is_error=True)
        if tool == "protocol_error_job":
            raise RuntimeError("as the suite wants it")
        return super().perform(tool, arguments, on_progress)


def add_tasks(served: TarsierServer) -> None:
    """Tools whose calls go through the job store, as ours do."""
    for name, properties in {
        "slow_compute": {"seconds": {"type": "number"}, "label": {"type": "string"}},
        "failing_job": {},
        "protocol_error_job": {},
    }.items():
        offer = Offer(
            name,
            lane=lambda _: "light",
            check=lambda arguments, _: arguments,
            identity=lambda _: "",
        )

        async def serve(
            arguments: dict[str, Any], request: ServerRequestContext[Any, Any], offer: Offer = offer
        ) -> BaseModel:
            if offer.name == "failing_job":  # registered as one that needs a task
                require_client_extension(request, IDENTIFIER)
            return await served.calls.call(offer, arguments, request)

        served.mcp._tool_manager._tools[name] = ServedTool(
            fn=serve,
            serve=serve,
            name=name,
            description="A fixture of the conformance suite.",
            parameters={"type": "object", "properties": properties},
            fn_metadata=FuncMetadata(arg_model=ArgModelBase),
            is_async=True,
            annotations=ToolAnnotations(read_only_hint=True),
        )


def add_tools(served: TarsierServer) -> None:
    """The plain fixtures of tools."""
    mcp = served.mcp

    @mcp.tool(description="Greets.")
    def greet(name: str) -> str:
        return f"Hello, {name}!"

    @mcp.tool(description="Returns a text.")
    def test_simple_text() -> str:
        return "This is a simple text response for testing."

    @mcp.tool(description="Returns an image.")
    def test_image_content() -> Image:
        return Image(data=PNG, format="png")

    @mcp.tool(description="Returns a sound.")
    def test_audio_content() -> AudioContent:
        return AudioContent(type="audio", data=WAV, mime_type="audio/wav")

    @mcp.tool(description="Returns a resource.")
    def test_embedded_resource() -> EmbeddedResource:
        return EmbeddedResource(
            type="resource",
            resource=TextResourceContents(
                uri="test://embedded-resource",
                mime_type="text/plain",
                text="This is an embedded resource content.",
            ),
        )

    @mcp.tool(description="Returns several kinds of content.")
    def test_multiple_content_types() -> list[TextContent | ImageContent | EmbeddedResource]:
        return [
            TextContent(type="text", text="Multiple content types test:"),
            PICTURE,
            EmbeddedResource(
                type="resource",
                resource=TextResourceContents(
                    uri="test://mixed-content-resource",
                    mime_type="application/json",
                    text='{"test":"data","value":123}',
                ),
            ),
        ]

    @mcp.tool(description="Fails.")
    def test_error_handling() -> str:
        raise ToolError("This tool intentionally returns an error for testing")

    @mcp.tool(description="Tells its progress.")
    async def test_tool_with_progress(context: Context) -> str:
        for done in (0, 50, 100):
            await context.report_progress(done, 100, f"Completed step {done} of 100")
            await anyio.sleep(0.05)
        return "done"

    @mcp.tool(name="json_schema_2020_12_tool", description="Tool with JSON Schema 2020-12 features.")
    def json_schema_tool(name: str = "", address: dict[str, Any] | None = None) -> str:
        return f"{name} {address}"

    schema = mcp._tool_manager._tools["json_schema_2020_12_tool"].parameters
    schema.clear()
    schema.update(
        {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "$defs": {
                "address": {
                    "$anchor": "addressDef",
                    "type": "object",
                    "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
                }
            },
            "properties": {
                "name": {"type": "string"},
                "address": {"$ref": "#/$defs/address"},
                "contactMethod": {"type": "string", "enum": ["phone", "email"]},
                "phone": {"type": "string"},
                "email": {"type": "string"},
            },
            "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
            "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
            "then": {"required": ["phone"]},
            "else": {"required": ["email"]},
            "additionalProperties": False,
        }
    )


def add_resources_and_prompts(served: TarsierServer) -> None:
    """The fixtures of resources and prompts."""
    mcp = served.mcp

    @mcp.resource("test://static-text", name="Static text", mime_type="text/plain")
    def static_text() -> str:
        return "This is the content of the static text resource."

    @mcp.resource("test://static-binary", name="Static binary", mime_type="image/png")
    def static_binary() -> bytes:
        return PNG

    @mcp.resource("test://template/{id}/data", name="Template", mime_type="application/json")
    def template(id: str) -> str:  # noqa: A002
        return f'{{"id":"{id}","templateTest":true,"data":"Data for ID: {id}"}}'

    @mcp.prompt(description="A simple prompt.")
    def test_simple_prompt() -> str:
        return "This is a simple prompt for testing."

    @mcp.prompt(description="A prompt with arguments.")
    def test_prompt_with_arguments(arg1: str, arg2: str) -> str:
        return f"Prompt with arguments: arg1='{arg1}', arg2='{arg2}'"

    @mcp.prompt(description="A prompt with a resource.")
    def test_prompt_with_embedded_resource(resourceUri: str) -> list[UserMessage]:  # noqa: N803
        contents = TextResourceContents(
            uri=resourceUri, mime_type="text/plain", text="Embedded resource content for testing."
        )
        return [
            UserMessage(EmbeddedResource(type="resource", resource=contents)),
            UserMessage("Please process the embedded resource above."),
        ]

    @mcp.prompt(description="A prompt with an image.")
    def test_prompt_with_image() -> list[UserMessage]:
        return [UserMessage(PICTURE), UserMessage("Please analyze the image above.")]


def main(port: int) -> None:
    settings = Settings(allowed_roots=(Path(__file__).parents[1] / "golden" / "videos",), allow_urls=False)
    with TarsierServer(ServerOptions(settings), workshop=FixtureWorkshop(settings)) as served:
        add_tasks(served)
        add_tools(served)
        add_resources_and_prompts(served)
        add_asking(served.mcp)
        options = HttpOptions(port=port)
        asyncio.run(listener(make_app(served.mcp, options), options).serve())


if __name__ == "__main__":
    main(int(sys.argv[1]))
