"""How long until tarsier-mcp answers? Beside a server of the same SDK that offers nothing.

    python benchmarks/mcp_start.py [--repeats 9] [--write]

Each turn starts a process, shakes hands over stdio, asks for the tools and waits for the answer, taking turns
between the two. Seconds from the start of the process, and the CPU seconds that it used until it ended.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from report import publish, table

EMPTY = """
from mcp.server.mcpserver import MCPServer
MCPServer("empty").run()
"""
SERVERS = {
    "an empty MCPServer": [sys.executable, "-c", EMPTY],
    "tarsier-mcp": [sys.executable, "-m", "tarsier_mcp"],
}
CLIENT = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "b", "version": "1"}}
SENT = "".join(
    json.dumps({"jsonrpc": "2.0", **message}) + "\n"
    for message in (
        {"id": 1, "method": "initialize", "params": CLIENT},
        {"method": "notifications/initialized"},
        {"id": 2, "method": "tools/list", "params": {}},
    )
)


def turn(command: list[str]) -> tuple[float, float]:
    """Seconds until the tools are there, and CPU seconds in all."""
    before, began = os.times(), time.perf_counter()
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(SENT)
        process.stdin.flush()
        answers = [json.loads(process.stdout.readline()) for _ in range(2)]
        seconds = time.perf_counter() - began
        process.stdin.close()
        process.wait(30)
    after = os.times()
    assert "tools" in answers[1]["result"], answers
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return seconds, cpu


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--write", action="store_true", help="into RESULTS.md")
    options = parser.parse_args()
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in SERVERS}
    for command in SERVERS.values():
        turn(command)  # files are in memory and compiled afterwards
    for _ in range(options.repeats):
        for name, command in SERVERS.items():
            taken[name].append(turn(command))
    seconds = {name: statistics.median(wall for wall, _ in turns) for name, turns in taken.items()}
    cpu = {name: statistics.median(used for _, used in turns) for name, turns in taken.items()}
    empty, ours = SERVERS
    rows = [[name, f"{seconds[name]:.2f} s", f"{cpu[name]:.2f} s"] for name in SERVERS]
    rows.append(["ratio", f"{seconds[ours] / seconds[empty]:.2f}", f"{cpu[ours] / cpu[empty]:.2f}"])
    body = (
        f"Medians of {options.repeats} turns.\n\n{table(('', 'until tools/list is answered', 'CPU'), rows)}"
    )
    publish("Start of the MCP server", body, packages=("mcp", "pydantic", "tarsier-mcp"), write=options.write)


if __name__ == "__main__":
    os.chdir(Path(__file__).resolve().parent)
    main()
