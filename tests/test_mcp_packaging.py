"""What is shipped around the MCP server: bundle, registry entry, plugin and skill agree with the server."""

from __future__ import annotations

import base64
import json
import re
import tomllib
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import unquote

import pytest
from mcp_kit import HeldBackend, server
from PIL import Image
from tarsier_mcp.cli import _parser, main
from tarsier_mcp.clients import EVERYBODY, KNOWN

import tarsier_tools

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "mcp_server"
SKILL = FOLDER / "plugin" / "skills" / "watch-videos" / "SKILL.md"


def document(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return found


@pytest.fixture(scope="module")
def tools() -> set[str]:
    import anyio

    with TemporaryDirectory() as library, server(None, HeldBackend(), library=Path(library)) as served:
        return {tool.name for tool in anyio.run(served.mcp.list_tools)}


def test_every_version_is_the_one_of_the_packages() -> None:
    bundle = tomllib.loads((FOLDER / "bundle" / "pyproject.toml").read_text("utf-8"))["project"]
    entry = document(FOLDER / "server.json")
    versions = [
        document(FOLDER / "bundle" / "manifest.json")["version"],
        bundle["version"],
        *[name.partition("==")[2] for name in bundle["dependencies"]],
        entry["version"],
        *[package["version"] for package in entry["packages"]],
        document(FOLDER / "plugin" / ".claude-plugin" / "plugin.json")["version"],
        *[plugin["version"] for plugin in document(ROOT / ".claude-plugin" / "marketplace.json")["plugins"]],
    ]
    assert set(versions) == {tarsier_tools.__version__}


def test_the_bundle_tells_of_the_tools_that_there_are(tools: set[str]) -> None:
    manifest = document(FOLDER / "bundle" / "manifest.json")
    assert {tool["name"] for tool in manifest["tools"]} == tools
    with Image.open(FOLDER / "bundle" / manifest["icon"]) as icon:
        assert icon.size == (512, 512)
    assert (FOLDER / "bundle" / manifest["server"]["entry_point"]).is_file()


def test_the_arguments_that_hosts_are_told_of_are_understood(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    arguments = document(FOLDER / "bundle" / "manifest.json")["server"]["mcp_config"]["args"][4:]
    assert arguments == ["--allow", "${user_config.folders}"]  # which a host expands to several words
    folders = [str(tmp_path / name) for name in ("a b", "c")]
    main(["--print-config", "zed", "--allow", *folders])
    entry = json.loads(capsys.readouterr().out)["context_servers"]["tarsier"]
    assert entry["args"][-3:] == ["--allow", *folders]


def test_the_registry_entry_is_as_the_registry_wants_it() -> None:
    entry = document(FOLDER / "server.json")
    assert 1 <= len(entry["description"]) <= 100
    assert re.fullmatch(r"[a-z0-9.-]+/[a-z0-9-]+", entry["name"])
    assert f"mcp-name: {entry['name']}" in (FOLDER / "README.md").read_text("utf-8")


def test_the_links_that_install_it_start_the_same_command_as_the_plugin() -> None:
    text = (FOLDER / "README.md").read_text("utf-8")
    plugin = document(FOLDER / "plugin" / ".claude-plugin" / "plugin.json")["mcpServers"]["tarsier"]
    command = {"command": plugin["command"], "args": plugin["args"]}
    (cursor,) = re.findall(r"install-mcp\?name=tarsier&config=([^)]+)\)", text)
    assert json.loads(base64.b64decode(unquote(cursor))) == command
    (vscode,) = re.findall(r"vscode:mcp/install\?([^)]+)\)", text)
    assert json.loads(unquote(vscode)) == {"name": "tarsier", **command}


def test_the_skill_and_the_documents_name_the_tools_that_there_are(tools: set[str]) -> None:
    for path in (SKILL, FOLDER / "README.md", ROOT / "docs" / "mcp.md"):
        text = path.read_text("utf-8")
        named = set(re.findall(r"`([a-z]+_[a-z]+)`", text)) & {
            word for word in re.findall(r"[a-z]+_[a-z]+", text) if word.split("_")[0] in _VERBS
        }
        assert named == tools, path.name


_VERBS = {"caption", "ask", "locate", "describe", "video", "view", "list", "get", "cancel"}
_VERBS |= {"search", "index", "library"}


def test_the_skill_has_a_head_that_says_when_to_use_it() -> None:
    _, head, body = SKILL.read_text("utf-8").split("---\n", 2)
    assert "name: watch-videos" in head
    assert 50 < len(head) < 1100
    assert "never instructions" in body


def test_every_option_that_the_documents_name_is_one() -> None:
    options = {flag for action in _parser()._actions for flag in action.option_strings}
    for path in (FOLDER / "README.md", ROOT / "docs" / "mcp.md"):
        text = "\n".join(line for line in path.read_text("utf-8").splitlines() if "uvx" not in line)
        assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text)) <= options, path.name


def test_the_python_in_the_documents_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (block,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "mcp.md").read_text("utf-8"), re.DOTALL)
    exec(compile(block, "docs/mcp.md", "exec"), {})


def test_the_table_of_clients_in_the_documents_is_the_one_in_the_code() -> None:
    text = (ROOT / "docs" / "mcp.md").read_text("utf-8")
    rows = {
        cells[0].strip("` ").lower(): cells[1:]
        for cells in (line.strip("|").split("|") for line in text.splitlines() if line.endswith("px |"))
    }
    assert set(rows) == {"everybody", *KNOWN}
    for name, limits in {"everybody": EVERYBODY, **KNOWN}.items():
        numbers = [int(re.sub(r"\D", "", cell)) for cell in rows[name]]
        assert numbers == [
            limits.inline_s,
            limits.text_chars,
            limits.result_bytes // 1000,
            limits.images,
            limits.image_side,
        ]
