"""What to write into the configuration of a client, so that it starts this server.

Only data: the command and its arguments are a list, so that paths with spaces need no quoting, and the
environment is written out, because clients do not hand on that of the shell.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

NAME = "tarsier"

CLIENTS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "claude-desktop": ("claude_desktop_config.json (Settings > Developer > Edit Config)", "mcpServers", {}),
    "claude-code": (".mcp.json in the project's folder", "mcpServers", {"type": "stdio"}),
    "cursor": (".cursor/mcp.json in the project's folder, or ~/.cursor/mcp.json", "mcpServers", {}),
    "vscode": (".vscode/mcp.json in the project's folder", "servers", {"type": "stdio"}),
    "zed": ("settings.json (the command zed: open settings)", "context_servers", {}),
}
"""For each client: where it keeps its servers, under which name, and what it wants said besides."""


def command() -> list[str]:
    """How this very installation is started from anywhere: clients do not know the shell's PATH."""
    script = Path(sys.argv[0]).absolute()
    if script.stem == "tarsier-mcp" and script.is_file():
        return [str(script)]
    found = shutil.which("tarsier-mcp", path=str(Path(sys.executable).parent))
    return [found] if found else [sys.executable, "-m", "tarsier_mcp"]


def config(client: str, run: Sequence[str], environment: Mapping[str, str]) -> str:
    """The JSON document that makes a client start the server with this command line."""
    _, key, also = CLIENTS[client]
    entry: dict[str, Any] = {**also, "command": run[0], "args": list(run[1:])}
    if environment:
        entry["env"] = dict(environment)
    return json.dumps({key: {NAME: entry}}, indent=2, ensure_ascii=False)
