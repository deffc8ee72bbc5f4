"""Fixtures of the conformance suite that ask the client for something before they answer (2026-07-28)."""

from __future__ import annotations

from typing import Annotated, Any

from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.server import MissingRequiredClientCapabilityErrorData
from mcp.shared.exceptions import MCPError
from mcp_types import MISSING_REQUIRED_CLIENT_CAPABILITY, ClientCapabilities, InputRequiredResult
from pydantic import Field


def elicit(message: str, field: str, kind: str = "string") -> dict[str, Any]:
    schema = {"type": "object", "properties": {field: {"type": kind}}, "required": [field]}
    return {"method": "elicitation/create", "params": {"message": message, "requestedSchema": schema}}


def sample(text: str, tokens: int) -> dict[str, Any]:
    message = {"role": "user", "content": {"type": "text", "text": text}}
    return {"method": "sampling/createMessage", "params": {"messages": [message], "maxTokens": tokens}}


ROOTS = {"method": "roots/list", "params": {}}
NAME = {"user_name": elicit("What is your name?", "name")}
SEVERAL = {**NAME, "greeting": sample("Generate a greeting", 50), "client_roots": ROOTS}
STEPS = (
    {"step1": elicit("Step 1: What is your name?", "name")},
    {"step2": elicit("Step 2: What is your favorite color?", "color")},
)


def ask(requests: dict[str, Any], state: str | None = None) -> InputRequiredResult:
    return InputRequiredResult.model_validate(
        {"resultType": "input_required", "inputRequests": requests, "requestState": state}
    )


def answered(context: Context, requests: dict[str, Any]) -> dict[str, Any] | None:
    """The client's answers, None while one is missing."""
    given = context.input_responses or {}
    if not set(requests) <= set(given):
        return None
    return {key: _plain(given[key]) for key in requests}


def _plain(answer: Any) -> dict[str, Any]:
    return dict(answer) if isinstance(answer, dict) else dict(answer.model_dump(by_alias=True, mode="json"))


def add_asking(mcp: MCPServer[Any]) -> None:
    """Offer the fixtures."""

    @mcp.tool(description="Asks for a name.")
    def test_input_required_result_elicitation(context: Context) -> str | InputRequiredResult:
        answers = answered(context, NAME)
        return ask(NAME) if answers is None else f"Hello, {answers['user_name']['content']['name']}!"

    @mcp.tool(description="Asks the client's model.")
    def test_input_required_result_sampling(context: Context) -> str | InputRequiredResult:
        wanted = {"capital_question": sample("What is the capital of France?", 100)}
        answers = answered(context, wanted)
        return ask(wanted) if answers is None else str(answers["capital_question"]["content"])

    @mcp.tool(description="Asks for roots.")
    def test_input_required_result_list_roots(context: Context) -> str | InputRequiredResult:
        wanted = {"client_roots": ROOTS}
        answers = answered(context, wanted)
        return ask(wanted) if answers is None else str(answers["client_roots"]["roots"])

    @mcp.tool(description="Asks, and gives a state to bring back.")
    def test_input_required_result_request_state(context: Context) -> str | InputRequiredResult:
        wanted = {"confirm": elicit("Please confirm", "ok", "boolean")}
        if answered(context, wanted) is None or context.request_state != "asked":
            return ask(wanted, "asked")
        return "state-ok"

    @mcp.tool(description="Asks several things.")
    def test_input_required_result_multiple_inputs(context: Context) -> str | InputRequiredResult:
        return ask(SEVERAL, "asked") if answered(context, SEVERAL) is None else "thank you"

    @mcp.tool(description="Asks twice.")
    def test_input_required_result_multi_round(context: Context) -> str | InputRequiredResult:
        first, second = STEPS
        if context.request_state == "second" and answered(context, second) is not None:
            return "thank you"
        if context.request_state == "first" and answered(context, first) is not None:
            return ask(second, "second")
        return ask(first, "first")

    @mcp.tool(description="Asks, with a state that must come back as it was.")
    def test_input_required_result_tampered_state(context: Context) -> str | InputRequiredResult:
        wanted = {"confirm": elicit("Please confirm", "ok", "boolean")}
        return ask(wanted, "sealed") if answered(context, wanted) is None else "state-ok"

    @mcp.tool(description="Asks only for what the client can do.")
    def test_input_required_result_capabilities(context: Context) -> str | InputRequiredResult:
        has = context.client_capabilities or ClientCapabilities()
        wanted = {
            **(NAME if has.elicitation is not None else {}),
            **({"greeting": sample("Generate a greeting", 50)} if has.sampling is not None else {}),
            **({"client_roots": ROOTS} if has.roots is not None else {}),
        }
        return ask(wanted) if answered(context, wanted) is None else "thank you"

    @mcp.prompt(description="A prompt that asks first.")
    def test_input_required_result_prompt(context: Context) -> str | InputRequiredResult:
        wanted = {"user_context": elicit("What context should the prompt use?", "context")}
        answers = answered(context, wanted)
        return ask(wanted) if answers is None else f"In the context {answers['user_context']}"

    @mcp.tool(description="Needs a client that can sample.")
    def test_missing_capability(context: Context) -> str:
        has = context.client_capabilities
        if has is None or has.sampling is None:
            needed = MissingRequiredClientCapabilityErrorData.model_validate(
                {"requiredCapabilities": {"sampling": {}}}
            )
            raise MCPError(
                MISSING_REQUIRED_CLIENT_CAPABILITY,
                "Client did not declare sampling",
                needed.model_dump(by_alias=True, mode="json", exclude_none=True),
            )
        return "thank you"

    @mcp.tool(description="Asks for a name, on the stream of the call.")
    def test_streaming_elicitation(context: Context) -> str | InputRequiredResult:
        return ask(NAME) if answered(context, NAME) is None else "thank you"

    @mcp.tool(description="Sends no log messages to the client, as nothing of ours does.")
    def test_logging_tool() -> str:
        return "done"

    @mcp.tool(description="Has an argument that is also a header.")
    def test_custom_header(
        region: Annotated[str, Field(description="Where.", json_schema_extra={"x-mcp-header": "Region"})],
    ) -> str:
        return region
