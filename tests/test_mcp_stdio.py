"""The command tarsier-mcp as a process of its own, on the bundled model: stdio, HTTP, configurations."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from conftest import ShapesFilm
from mcp import Client, StdioServerParameters
from mcp_kit import ERAS, SOON, http_client, structured, text_of, until
from mcp_types import Implementation
from tarsier_mcp.cli import main
from tarsier_mcp.configs import CLIENTS

TOKEN = "t" * 32
COMMAND = [sys.executable, "-m", "tarsier_mcp"]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def folder(tmp_path: Path, shapes_film: ShapesFilm) -> Path:
    """A folder with a space and more in its name, and a film in it."""
    place = tmp_path / "my videos (new) & ä"
    place.mkdir()
    shutil.copy(shapes_film.path, place / "a film.mp4")
    return place


def process(*arguments: str, cwd: Path) -> StdioServerParameters:
    return StdioServerParameters(
        command=COMMAND[0], args=[*COMMAND[1:], *arguments], cwd=cwd, env=_environment()
    )


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("TARSIER_")}


# stdio


def rpc(number: int, method: str, **params: object) -> str:
    return json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params}) + "\n"


ME = {"name": "raw", "version": "1"}
HELLO = rpc(1, "initialize", protocolVersion="2025-11-25", capabilities={}, clientInfo=ME)
READY = '{"jsonrpc": "2.0", "method": "notifications/initialized"}\n'


def talk(sent: str, count: int, *command: str, cwd: Path) -> tuple[dict[int, dict[str, Any]], str]:
    """Write lines to a server, read so many, end its input; answers by number, and what it wrote besides."""
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=cwd,
        env=_environment(),
        text=True,
        encoding="utf-8",
    ) as running:
        assert running.stdin is not None
        assert running.stdout is not None
        running.stdin.write(sent)
        running.stdin.flush()
        answers = [json.loads(running.stdout.readline()) for _ in range(count)]
        rest, errors = running.communicate(timeout=SOON)
    assert rest == "", "standard output belongs to the protocol"
    assert running.returncode == 0
    return {answer["id"]: answer for answer in answers}, errors


def test_the_bundled_model_answers_on_standard_output_which_holds_the_protocol_and_nothing_else(
    folder: Path, shapes_film: ShapesFilm
) -> None:
    sent = HELLO + READY + rpc(2, "tools/call", name="caption_video", arguments={"video": "a film.mp4"})
    answers, _ = talk(sent, 2, *COMMAND, "--inline-seconds", "100", "--log-level", "debug", cwd=folder)
    result = answers[2]["result"]
    text, caption = result["content"][0]["text"], result["structuredContent"]["result"]
    assert caption["model"]["backend"] == "tiny"
    assert caption["text"] in text
    assert "coloured shapes" in text
    assert {event.color for event in shapes_film.scene.events} & set(text.lower().split())


def test_a_line_that_is_no_request_does_no_harm(folder: Path) -> None:
    sent = HELLO + READY + "this is no JSON\n" + rpc(2, "no/such") + rpc(3, "tools/list")
    answers, errors = talk(sent, 3, *COMMAND, cwd=folder)
    assert answers[2]["error"]["code"] == -32601
    assert answers[3]["result"]["tools"]
    assert "Traceback" not in errors


@pytest.mark.anyio
async def test_a_job_goes_on_in_the_next_process(folder: Path, tmp_path: Path) -> None:
    parameters = process("--state", str(tmp_path / "state"), "--inline-seconds", "0.01", cwd=folder)
    async with Client(parameters) as connected:
        early = await connected.call_tool("caption_video", {"video": "a film.mp4"})
        job = structured(early)["job_id"]
        assert job
    async with Client(parameters) as connected:  # the client's exit ended the first process
        with anyio.fail_after(2 * SOON):
            late = await connected.call_tool("get_job", {"job_id": job})
            while structured(late)["status"] != "completed":
                late = await connected.call_tool("get_job", {"job_id": job, "wait_s": 1})
    assert "coloured shapes" in text_of(late)


# HTTP


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.anyio
@pytest.mark.allow_hosts(["127.0.0.1"])
async def test_the_bundled_model_answers_over_http_and_a_signal_ends_the_server(folder: Path) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}/mcp"
    arguments = ["--http", "--port", str(port), "--allow", str(folder)]
    environment = {**_environment(), "TARSIER_MCP_TOKEN": TOKEN}
    with subprocess.Popen(
        [*COMMAND, *arguments], stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, env=environment, text=True
    ) as running:
        try:
            await until(lambda: _answers(url.replace("/mcp", "/healthz")))
            for era in ERAS:
                client_info = Implementation(name="claude-code", version="1")
                async with http_client(url, era, TOKEN, client_info=client_info) as connected:
                    told = await connected.call_tool("caption_video", {"video": "a film.mp4"})
                    assert "coloured shapes" in text_of(told)
                    assert str(folder) not in told.model_dump_json()
            refused = httpx2.post(url, json={}, headers={"Authorization": "Bearer nothing"})
            assert refused.status_code == 401
        finally:
            running.send_signal(signal.SIGINT)
            _, errors = running.communicate(timeout=SOON)
    assert "Traceback" not in errors
    assert TOKEN not in errors


def _answers(url: str) -> bool:
    try:
        return httpx2.get(url, timeout=1).status_code == 200
    except httpx2.HTTPError:
        return False


# The command line


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--http", "--host", "0.0.0.0"], "no --token-file"),
        (["--http", "--oauth-issuer", "https://a.example.com"], "needs --oauth-keys"),
        (["--allow", "nowhere"], "no folder"),
        (["--client-limits", "nowhere.json"], "cannot be read"),
        (["--backend", "gpt"], "backend"),
        (["--inline-seconds", "0"], "above 0"),
        (["--inline-seconds", "soon"], "a number above 0, not 'soon'"),
        (["--parallel", "none"], "a whole number of at least 1, not 'none'"),
        (["--http", "--port", "99999"], "from 1 to 65535, not '99999'"),
        (["--http", "--path", "mcp"], "must begin with /"),
        (["--http", "--public-url", "video.example.com"], "must be like https://"),
        (["--no-such-option"], "unrecognized"),
    ],
)
def test_a_command_line_that_makes_no_sense_is_refused_in_a_sentence(
    arguments: list[str],
    said: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert said in capsys.readouterr().err


@pytest.mark.allow_hosts(["127.0.0.1"])
def test_a_port_that_somebody_else_has_is_refused_in_a_sentence(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other, pytest.raises(SystemExit):
        main(["--http", "--allow", str(tmp_path), "--port", str(other.getsockname()[1])])
    assert "Give another --host or --port." in capsys.readouterr().err


def test_the_version_and_the_help_need_no_model(capsys: pytest.CaptureFixture[str]) -> None:
    for flag in ("--version", "--help"):
        with pytest.raises(SystemExit) as caught:
            main([flag])
        assert caught.value.code == 0
        assert "tarsier-mcp" in capsys.readouterr().out


@pytest.mark.parametrize("name", sorted(CLIENTS))
def test_a_configuration_holds_whole_paths_and_settings_but_no_secrets(
    name: str, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder.parent)
    monkeypatch.setenv("TARSIER_FRAMES", "4")
    monkeypatch.setenv("TARSIER_API_KEY", "a secret")
    main(["--print-config", name, "--allow", folder.name, "--inline-seconds=60"])
    printed = capsys.readouterr()
    (servers,) = json.loads(printed.out).values()
    entry = servers["tarsier"]
    assert Path(entry["command"]).is_absolute()
    assert entry["args"][-4:] == ["--allow", str(folder), "--inline-seconds", "60"]
    assert entry["env"] == {"TARSIER_FRAMES": "4"}
    assert "TARSIER_API_KEY is set here but not written" in printed.err
    assert "a secret" not in printed.out + printed.err


@pytest.mark.anyio
async def test_a_configuration_starts_the_server_from_anywhere(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["--print-config", "claude-desktop", "--allow", str(folder)])
    entry = json.loads(capsys.readouterr().out)["mcpServers"]["tarsier"]
    parameters = StdioServerParameters(command=entry["command"], args=entry["args"], cwd=tmp_path)
    async with Client(parameters) as connected:
        told = await connected.call_tool("video_info", {"video": "a film.mp4"})
    assert not told.is_error, text_of(told)


def test_starting_loads_no_model_and_no_decoder(folder: Path) -> None:
    heavy = ["torch", "transformers", "av", "langchain_core", "typer"]
    code = f"""
import sys
sys.argv = ["tarsier-mcp"]
from tarsier_mcp.cli import main
main([])
print(sorted(set({heavy}) & set(sys.modules)), file=sys.stderr)
"""
    answers, errors = talk(HELLO + READY + rpc(2, "tools/list"), 2, sys.executable, "-c", code, cwd=folder)
    assert answers[2]["result"]["tools"]
    assert errors.splitlines()[-1] == "[]"
