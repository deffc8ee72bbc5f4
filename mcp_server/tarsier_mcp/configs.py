"""What to write into the configuration of a client, so that it starts this server.

Only data: the command and its arguments are a list, so that paths with spaces need no quoting.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

Client = str
NAME = "tarsier"


def command() -> list[str]:
    """How this very installation is started from anywhere: clients do not inherit the shell's PATH."""
    script = Path(sys.argv[0]).resolve() if sys.argv else Path()
    if script.name in ("tarsier-mcp", "tarsier-mcp.exe") and script.is_file():
        return [str(script)]
    found = shutil.which("tarsier-mcp", path=str(Path(sys.executable).parent))
    return [found] if found else [sys.executable, "-m", "tarsier_mcp"]


def _mcp_servers(run: Sequence[str]) -> dict[str, Any]:
    return {"mcpServers": {NAME: {"command": run[0], "args": list(run[1:])}}}


def _typed(run: Sequence[str]) -> dict[str, Any]:
    return {"mcpServers": {NAME: {"type": "stdio", "command": run[0], "args": list(run[1:])}}}


def _vscode(run: Sequence[str]) -> dict[str, Any]:
    return {"servers": {NAME: {"type": "stdio", "command": run[0], "args": list(run[1:])}}}


def _zed(run: Sequence[str]) -> dict[str, Any]:
    return {"context_servers": {NAME: {"command": run[0], "args": list(run[1:]), "env": {}}}}


CLIENTS: dict[Client, tuple[str, Callable[[Sequence[str]], dict[str, Any]]]] = {
    "claude-desktop": ("claude_desktop_config.json, from Settings > Developer > Edit Config", _mcp_servers),
    "claude-code": (".mcp.json in the project's folder", _typed),
    "cursor": (".cursor/mcp.json in the project's folder, or ~/.cursor/mcp.json", _mcp_servers),
    "vscode": (".vscode/mcp.json in the project's folder", _vscode),
    "zed": ("settings.json, from the command zed: open settings", _zed),
}
"""Where each client keeps its servers, and in which form."""


def config(client: Client, run: Sequence[str]) -> str:
    """The JSON document that makes a client start the server with this command line."""
    return json.dumps(CLIENTS[client][1](run), indent=2, ensure_ascii=False)
