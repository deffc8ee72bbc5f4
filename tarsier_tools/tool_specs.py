"""From a method to a tool: name, title, description, arguments and defaults, each taken from its signature.

The frameworks' adapters all build their tools from these, so that an agent meets the same ones everywhere.
"""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args, get_type_hints

from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from tarsier_tools.errors import UsageError

HIDDEN = ("self", "on_progress")
"""Parameters of a method that are no arguments of its tool."""
_SHOWN = 80
"""Characters of a wrong value that a message quotes at most."""


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """What an agent is told of one tool.

    Attributes:
        name: of the tool and of the method, for example ``ask_video``.
        title: for people, for example ``Ask video``.
        description: for the model; below 1024 characters.
        arguments: a pydantic model of them, which refuses unknown ones.
        result: the class of :attr:`~tarsier_tools.tools.ToolReply.result`.
    """

    name: str
    title: str
    description: str
    arguments: type[BaseModel]
    result: type[BaseModel]

    @property
    def schema(self) -> dict[str, Any]:
        """The JSON schema of the arguments, an object without additional properties."""
        return self.arguments.model_json_schema()

    def check(self, arguments: Mapping[str, object]) -> dict[str, Any]:
        """The arguments as the method takes them, defaults filled in.

        Raises UsageError in one sentence that a model can act on.
        """
        try:
            checked = self.arguments.model_validate(dict(arguments))
        except ValidationError as error:
            raise self.refusal(error) from None
        return {name: getattr(checked, name) for name in self.arguments.model_fields}

    def refusal(self, error: ValidationError) -> UsageError:
        """What is wrong with the arguments, as an error of ours."""
        issues: dict[str, list[Mapping[str, Any]]] = {}
        for issue in error.errors(include_url=False):
            issues.setdefault(str(issue["loc"][0]), []).append(issue)
        said = " ".join(self._sentence(name, found) for name, found in issues.items())
        return UsageError(said, hint=f"{self.name} takes: {', '.join(self.arguments.model_fields)}.")

    def _sentence(self, name: str, issues: Sequence[Mapping[str, Any]]) -> str:
        """What is wrong with one argument; one of several types has an issue for each of them."""
        field = self.arguments.model_fields.get(name)
        if field is None:
            close = difflib.get_close_matches(name, self.arguments.model_fields, n=1)
            meant = f" Did you mean {close[0]}?" if close else ""
            return f"{self.name} has no argument {_quote(name)}.{meant}"
        if issues[0]["type"] == "missing":
            return f"{self.name} needs {name}: {field.description}"
        wanted = " or ".join(dict.fromkeys(_wanted(issue) for issue in issues))
        return f"{name} is {_quote(issues[0]['input'])}; it should {wanted}."


def derive(method: Callable[..., Any]) -> ToolSpec:
    """The tool that a method is.

    Its parameters are ``Annotated[..., Field(description=...)]``, its docstring is written for the model, and
    it returns ``ToolReply[Result]``.
    """
    hints = get_type_hints(method, include_extras=True)
    fields: dict[str, Any] = {}
    for name, parameter in inspect.signature(method).parameters.items():
        if name not in HIDDEN:
            default = ... if parameter.default is parameter.empty else parameter.default
            fields[name] = (hints[name], default)
    words = method.__name__.split("_")
    return ToolSpec(
        name=method.__name__,
        title=" ".join(words).capitalize(),
        description=inspect.cleandoc(method.__doc__ or ""),
        arguments=create_model(
            "".join(map(str.capitalize, words)) + "Arguments",
            __config__=ConfigDict(extra="forbid", json_schema_extra=_without_titles),
            **fields,
        ),
        result=get_args(hints["return"])[0],
    )


def _without_titles(schema: dict[str, Any]) -> None:
    """Titles that only repeat the names cost every reader of the schema tokens."""
    schema.pop("title", None)
    for field in schema.get("properties", {}).values():
        field.pop("title", None)


def _wanted(issue: Mapping[str, Any]) -> str:
    """What pydantic says after "should", without its own words for our values."""
    if issue["type"] in ("too_short", "string_too_short") and issue["ctx"]["min_length"] == 1:
        return "not be empty"
    said = re.sub(r"^\w+ should ", "", issue["msg"])
    return re.sub(r" after validation, not \d+$", "", said)


def _quote(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."
