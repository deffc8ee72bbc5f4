"""tarsier-mcp in real clients, each in an environment of its own.

    python tests/clients/run.py [--cache DIR] [NAME ...]

Installs what a client needs (npm or pip, versions pinned below) into the cache folder, starts this checkout's
server over stdio and HTTP on loopback, and lets the client use it. A line for every check; the exit code is
the number of checks that failed.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import venv
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
VIDEOS = HERE.parent / "golden" / "videos"
VIDEO = "short10_256x192.mp4"
SHAPES = "shapes_320x240_25fps.mp4"
TOOLS = {"ask_video", "caption_video", "get_job", "list_videos", "locate_event", "view_frames"}
LIBRARY_TOOLS = {"index_videos", "library_status", "search_library"}

NODE = ("node@22.23.3",)  # the conformance suite needs 22, and none of the system's is counted on
INSPECTOR = "@modelcontextprotocol/inspector@2.12.0"
CONFORMANCE = "@modelcontextprotocol/conformance@0.1.16"
CONFORMANCE_NEXT = "@modelcontextprotocol/conformance@0.2.0-alpha.12"
CLAUDE = "@anthropic-ai/claude-code@2.1.330"
MCPB = "@anthropic-ai/mcpb@2.1.2"

ON_OURS = {
    # Scenarios that ask for nothing a server of ours does not have.
    CONFORMANCE: {
        "": [
            "server-initialize",
            "ping",
            "tools-list",
            "resources-list",
            "completion-complete",
            "prompts-list",
            "dns-rebinding-protection",
            "server-sse-multiple-streams",
        ]
    },
    CONFORMANCE_NEXT: {
        "2025-11-25": [
            "server-initialize",
            "ping",
            "tools-list",
            "resources-list",
            "prompts-list",
            "completion-complete",
            "dns-rebinding-protection",
        ],
        "2026-07-28": [
            "tools-list",
            "resources-list",
            "prompts-list",
            "completion-complete",
            "dns-rebinding-protection",
            "caching",
            "http-header-validation",
            "sep-2164-resource-not-found",
        ],
    },
}


class Failed(Exception):
    """A check went wrong; the message says how."""


@dataclass
class Bench:
    """Environments and servers that the checks share."""

    cache: Path
    stack: ExitStack
    servers: dict[str, str] = field(default_factory=dict)
    token: str = field(default_factory=lambda: secrets.token_urlsafe(24))

    @property
    def command(self) -> list[str]:
        """The server over stdio, whose bundled model answers about the golden videos, which are no shapes."""
        python = ["env", "TARSIER_ANYWAY=1", sys.executable]
        return [*python, "-m", "tarsier_mcp", "--allow", str(VIDEOS), "--inline-seconds", "120"]

    def server(self, kind: str) -> str:
        """The address of a server: "open", "token" with a bearer token, "fixtures" of the suite."""
        if kind not in self.servers:
            self.servers[kind] = self.stack.enter_context(self._serving(kind))
        return self.servers[kind]

    @contextmanager
    def _serving(self, kind: str) -> Iterator[str]:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = str(probe.getsockname()[1])
        environment = {**os.environ, **({"TARSIER_MCP_TOKEN": self.token} if kind == "token" else {})}
        command = [*self.command, "--http", "--port", port, "--no-isolate"]
        if kind == "fixtures":
            command = [sys.executable, str(HERE / "fixtures.py"), port]
        process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
        try:
            _wait_for(f"http://127.0.0.1:{port}/healthz", process)
            if kind != "fixtures":
                _load_model(f"http://127.0.0.1:{port}/mcp", self.token)
            yield f"http://127.0.0.1:{port}/mcp"
        finally:
            process.terminate()
            process.wait(20)

    def npm(self, *packages: str) -> Path:
        """The programs of npm packages, installed once per set of versions."""
        folder = self.cache / ("npm-" + "-".join(p.rpartition("/")[2] for p in packages).replace("@", "_"))
        if not (folder / "done").exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            (folder / "package.json").write_text("{}")
            run(["npm", "install", "--no-audit", "--no-fund", *NODE, *packages], cwd=folder, timeout=900)
            (folder / "done").touch()
        return folder / "node_modules" / ".bin"

    def pip(self, *packages: str) -> Path:
        """A Python with these packages and nothing of ours."""
        folder = self.cache / ("pip-" + "-".join(packages).replace("[", "_").replace("]", ""))
        python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
        if not (folder / "done").exists():
            shutil.rmtree(folder, ignore_errors=True)
            venv.create(folder, with_pip=True)
            run([python, "-m", "pip", "install", "--quiet", *packages], timeout=900)
            (folder / "done").touch()
        return python


def run(
    command: list[str | Path],
    *,
    cwd: Path | None = None,
    programs: Path | None = None,
    home: Path | None = None,
    timeout: float = 300,
    expected: int = 0,
) -> str:
    """Run a program to its end; what it printed. Failed when it ends otherwise than expected."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TARSIER_")}
    if programs is not None:
        environment["PATH"] = f"{programs}{os.pathsep}{environment['PATH']}"
    if home is not None:
        environment["HOME"] = str(home)
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    if done.returncode != expected:
        raise Failed(f"{command[0]} ended with {done.returncode}: {(done.stdout + done.stderr)[-1500:]}")
    return done.stdout + done.stderr


def expect(text: str, *parts: str) -> None:
    for part in parts:
        if part not in text:
            raise Failed(f"{part!r} is not in what the client shows: {text[-1500:]}")


def _wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        if process.poll() is not None:
            raise Failed("the server ended before it answered")
        try:
            with urllib.request.urlopen(url, timeout=1):
                return
        except OSError:
            time.sleep(0.1)
    raise Failed("the server does not answer")


def _load_model(url: str, token: str) -> None:
    """One call, so that no client's patience is tried by the time that libraries take to load."""
    call = {"name": "caption_video", "arguments": {"video": VIDEO}}
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call}).encode()
    headers = {
        "Accept": "application/json, text/event-stream",
        "Content-Type": "application/json",
        "Authorization": f"Bearer {token}",
    }
    with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=300) as answer:
        answer.read()


# The checks


def inspector(bench: Bench) -> None:
    """The official Inspector: strict lint, a call over each transport and era, a tool error."""
    programs = bench.npm(INSPECTOR)
    cli = [programs / "mcp-inspector", "--cli"]
    call = ["--method", "tools/call", "--tool-name", "caption_video", "--format", "json"]
    url = bench.server("open")

    listed = run([*cli, *bench.command, "--method", "tools/list", "--strict"], programs=programs)
    expect(listed, *TOOLS)
    facts = [*call[:3], "video_info", *call[4:], "--tool-arg", f"video={VIDEO}"]
    expect(run([*cli, *bench.command, *facts], programs=programs), "256x192 pixels")
    for era in ("legacy", "modern"):
        way = [*cli, url, "--transport", "http", "--protocol-era", era]
        expect(
            run([*way, *call, "--tool-arg", f"video={VIDEO}"], programs=programs),
            "10 frames",
            "coloured shapes",
        )
    refused = run(
        [*cli, *bench.command, *call, "--tool-arg", "video=nothing.mp4"], programs=programs, expected=5
    )
    expect(refused, "There is no file nothing.mp4")


def inspector_library(bench: Bench) -> None:
    """The Inspector with a library: strict lint, a video taken in, found by two ways of asking, resources."""
    programs = bench.npm(INSPECTOR)
    with tempfile.TemporaryDirectory() as library:
        cli = [programs / "mcp-inspector", "--cli", *bench.command, "--library", library]

        def call(tool: str, **arguments: object) -> str:
            told = ["--format", "json", "--tool-args-json", json.dumps(arguments)]
            return run([*cli, "--method", "tools/call", "--tool-name", tool, *told], programs=programs)

        expect(run([*cli, "--method", "tools/list", "--strict"], programs=programs), *TOOLS, *LIBRARY_TOOLS)
        expect(call("index_videos", videos=[SHAPES]), f"1 watched and described: {SHAPES}")
        for asked in ({"query": "a circle moves", "rewatch": True}, {"query": "圆形移动"}):
            expect(call("search_library", **asked), f"1. {SHAPES} @ 00:00-00:03")
        expect(call("library_status"), "1 video in 1 file")
        read = [*cli, "--method", "resources/read", "--uri", "library://videos"]
        expect(run(read, programs=programs), SHAPES)


def conformance(bench: Bench) -> None:
    """The conformance suite, released and next, on our server: scenarios that need no fixtures."""
    url = bench.server("open")
    for package, versions in ON_OURS.items():
        programs = bench.npm(package)
        for version, scenarios in versions.items():
            for scenario in scenarios:
                _conforms(programs, url, scenario, version)


def _conforms(programs: Path, url: str, scenario: str, version: str = "") -> None:
    dated = ["--spec-version", version] if version else []
    command = [programs / "conformance", "server", "--url", url, "--scenario", scenario, *dated]
    with tempfile.TemporaryDirectory() as folder:
        try:
            told = run(command, programs=programs, cwd=Path(folder), timeout=120)
        except Failed as problem:
            raise Failed(f"{scenario} {version}: {problem}") from None
    if " 0 failed" not in told:
        raise Failed(f"{scenario} {version}: {told[-1500:]}")


def conformance_fixtures(bench: Bench) -> None:
    """The whole suite, its fixtures on our factory, middleware and transport, and the tasks extension."""
    from baseline import NOT_DONE, TASKS  # beside this file

    url = bench.server("fixtures")
    programs = bench.npm(CONFORMANCE_NEXT)
    for version, scenarios in NOT_DONE.items():
        with tempfile.TemporaryDirectory() as folder:
            expected = Path(folder) / "expected.yml"
            expected.write_text(json.dumps({"server": scenarios}))  # JSON is YAML too
            suite = ["--suite", "all", "--spec-version", version, "--expected-failures", expected]
            run(
                [programs / "conformance", "server", "--url", url, *suite],
                programs=programs,
                cwd=Path(folder),
                timeout=900,
            )
    for scenario in TASKS:
        _conforms(programs, url, scenario)


def claude_code(bench: Bench) -> None:
    """Claude Code: connects to the server over stdio and HTTP, and takes the plugin."""
    programs = bench.npm(CLAUDE)
    claude = programs / "claude"
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        run([claude, "plugin", "validate", "--strict", ROOT / "mcp_server" / "plugin"], home=home)
        run([claude, "plugin", "validate", "--strict", ROOT], home=home)
        run([claude, "mcp", "add", "-s", "user", "tarsier", "--", *bench.command], home=home, cwd=home)
        header = f"Authorization: Bearer {bench.token}"
        url = bench.server("token")
        run(
            [claude, "mcp", "add", "-s", "user", "-t", "http", "tarsier-http", url, "-H", header],
            home=home,
            cwd=home,
        )
        listed = run([claude, "mcp", "list"], home=home, cwd=home)
    for name in ("tarsier:", "tarsier-http:"):
        (line,) = [line for line in listed.splitlines() if line.startswith(name)]
        expect(line, "Connected")


def bundle(bench: Bench) -> None:
    """The bundle for Claude Desktop: validated and packed with the official tool."""
    programs = bench.npm(MCPB)
    folder = ROOT / "mcp_server" / "bundle"
    run([programs / "mcpb", "validate", folder / "manifest.json"], programs=programs)
    with tempfile.TemporaryDirectory() as out:
        run([programs / "mcpb", "pack", folder, Path(out) / "tarsier.mcpb"], programs=programs)
        expect(
            run([programs / "mcpb", "info", Path(out) / "tarsier.mcpb"], programs=programs), "tarsier.mcpb"
        )


def metadata(bench: Bench) -> None:
    """server.json, plugin.json and SKILL.md against their published schemas."""
    python = bench.pip("skillsaw==0.22.0")
    with tempfile.TemporaryDirectory() as folder:
        copied = Path(folder) / "mcp_server"
        shutil.copytree(
            ROOT / "mcp_server", copied, ignore=shutil.ignore_patterns("*.egg-info", "__pycache__")
        )
        run([python.parent / "skillsaw", "lint", copied])


def _python_client(script: str, *packages: str) -> Callable[[Bench], None]:
    def check(bench: Bench) -> None:
        python = bench.pip(*packages)
        command = [
            python,
            HERE / script,
            json.dumps(bench.command),
            bench.server("token"),
            bench.token,
            VIDEO,
        ]
        lines = [line for line in run(command).splitlines() if line.startswith('{"transport"')]
        seen = {line["transport"]: line for line in map(json.loads, lines)}
        for transport in ("stdio", "http"):
            shown = seen[transport]
            if not set(shown["tools"]) >= TOOLS:
                raise Failed(f"tools over {transport}: {shown['tools']}")
            expect(shown["caption"], "Seen: 10 frames", "coloured shapes")
            expect(shown["error"], "There is no file nothing.mp4")

    check.__doc__ = f"{packages[0]}: tools, an answer with its coverage, an error, over stdio and HTTP."
    return check


CHECKS: dict[str, Callable[[Bench], None]] = {
    "inspector": inspector,
    "inspector-library": inspector_library,
    "conformance": conformance,
    "conformance-fixtures": conformance_fixtures,
    "claude-code": claude_code,
    "bundle": bundle,
    "metadata": metadata,
    "langchain-mcp-adapters": _python_client("use_langchain_adapters.py", "langchain-mcp-adapters==0.3.2"),
    "langchain": _python_client("use_langchain.py", "langchain[mcp]==1.4.7"),
    "fastmcp": _python_client("use_fastmcp.py", "fastmcp==4.1.2"),
    "llama-index-tools-mcp": _python_client("use_llama_index.py", "llama-index-tools-mcp==0.4.8"),
}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", choices=[[], *CHECKS], metavar="NAME", help=", ".join(CHECKS))
    parser.add_argument(
        "--cache",
        type=Path,
        default=Path.home() / ".cache" / "tarsier-tools" / "clients",
        help="for environments",
    )
    options = parser.parse_args()
    sys.path.insert(0, str(HERE))
    failed = 0
    with ExitStack() as stack:
        bench = Bench(options.cache, stack)
        for name in options.names or CHECKS:
            began = time.monotonic()
            try:
                CHECKS[name](bench)
                told = "ok"
            except (Failed, subprocess.TimeoutExpired, OSError, KeyError, ValueError) as problem:
                failed, told = failed + 1, f"FAILED: {problem}"
            print(f"{name:24} {time.monotonic() - began:6.1f} s  {told}", flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main())
