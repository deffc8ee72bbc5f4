"""docs/cli.md says what the program does: every command, option, exit code and JSON field, and no others."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import typer
from pydantic import BaseModel

from tarsier_tools.cli import app
from tarsier_tools.cli.convert import Checked, Converted
from tarsier_tools.cli.failures import EXIT_CODES
from tarsier_tools.cli.models import Models, ModelStatus
from tarsier_tools.doctor import Accuracy, Diagnosis, Finding

DOCS = (Path(__file__).parents[1] / "docs" / "cli.md").read_text("utf-8")
SCHEMA = (Path(__file__).parents[1] / "docs" / "schema.md").read_text("utf-8")
SECTIONS = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", DOCS, re.MULTILINE | re.DOTALL))
GROUP = typer.main.get_command(app)
COMMANDS = GROUP.commands  # type: ignore[attr-defined]
ASKING = {"caption", "ask", "locate", "timeline"}
EXPORTING = {"caption", "locate", "timeline"}
RESULTS: list[type[BaseModel]] = [Models, ModelStatus, Converted, Checked, Diagnosis, Finding, Accuracy]


def documented_options(command: str) -> set[str]:
    """The options in the tables of a command's own section and of the shared ones that hold for it."""
    sections = [SECTIONS[f"tarsier-tools {command}"], SECTIONS["Options of every command"]]
    if command in ASKING:
        sections.append(SECTIONS["Options of caption, ask, locate and timeline"])
    if command in EXPORTING:
        sections.append(SECTIONS["Options of caption, locate and timeline"])
    rows = [row for section in sections for row in re.findall(r"^\| (`-.*?) \|", section, re.MULTILINE)]
    return {option for row in rows for option in re.findall(r"(?<![\w-])-{1,2}[a-z][a-z-]*", row)}


def with_subcommands(command: str) -> list[Any]:
    """The command, and for a group of commands each of them."""
    return [COMMANDS[command], *getattr(COMMANDS[command], "commands", {}).values()]


def real_options(command: str) -> set[str]:
    parameters = [each for one in with_subcommands(command) for each in one.params]
    options = {name for parameter in parameters for name in parameter.opts if name.startswith("-")}
    return options | {"--help", "-h"}


def test_every_command_has_a_section_and_every_section_a_command() -> None:
    documented = {title.split()[1] for title in SECTIONS if title.startswith("tarsier-tools ")}
    assert documented == set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_is_documented_and_every_documented_option_exists(command: str) -> None:
    assert documented_options(command) == real_options(command)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_and_argument_has_help(command: str) -> None:
    for one in with_subcommands(command):
        assert one.help
        for parameter in one.params:
            assert getattr(parameter, "help", None), f"{one.name} {parameter.name}"


def test_the_commands_that_ask_a_model_take_the_same_options() -> None:
    own = {
        "caption": {"--detail", "--verify", "--report"},
        "ask": {"--choice", "--yes-no"},
        "locate": {"--report", "--plot", "--top-k", "--threshold", "--method", "--window", "--stride"},
        "timeline": {
            "--summarize",
            "--segmentation",
            "--min-segment",
            "--max-segment",
            "--fresh",
            "--report",
        },
    }
    shared = {frozenset(real_options(command) - own[command] - {"--format", "--out"}) for command in ASKING}
    assert len(shared) == 1


def test_what_can_be_exported_can_be_from_every_command_that_has_it() -> None:
    with_format = {command for command in COMMANDS if {"--format", "--out"} <= real_options(command)}
    assert with_format == EXPORTING


def test_every_exit_code_is_in_the_table_and_in_the_help() -> None:
    table = {int(code) for code in re.findall(r"^\| (\d+) \|", DOCS, re.MULTILINE)}
    assert table == {0, 1, *(code for _, code in EXIT_CODES)}
    assert {int(code) for code in re.findall(r"\b\d+\b", app.info.epilog or "")} == table


@pytest.mark.parametrize("result", RESULTS)
def test_every_json_field_is_documented_in_order(result: type[BaseModel]) -> None:
    section = re.search(rf"^### {result.__name__}\n(.*?)(?=^### |\Z)", DOCS, re.MULTILINE | re.DOTALL)
    assert section, f"no section for {result.__name__}"
    rows = re.findall(r"^\| `(\w+)` \| (.+?) \| (.+) \|$", section[1], re.MULTILINE)
    assert [name for name, _, _ in rows] == list(result.model_fields)


def test_every_type_that_a_table_links_to_has_a_table() -> None:
    for page, text in (("", DOCS), ("schema.md", SCHEMA)):
        linked = set(re.findall(rf"\]\({page}#([a-z]+)\)", DOCS))
        titled = {title.lower() for title in re.findall(r"^#{2,3} `?(\w+)`?$", text, re.MULTILINE)}
        assert linked <= titled
