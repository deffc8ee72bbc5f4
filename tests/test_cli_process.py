"""The command line as a process of its own: what it loads, what it does to pipes, terminals and signals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import tarsier_tools
from tarsier_tools.errors import VideoNotFound

ROOT = Path(tarsier_tools.__file__).parents[1]
VIDEO = str(Path(__file__).parent / "golden" / "videos" / "shapes_320x240_25fps.mp4")

unix = pytest.mark.skipif(os.name == "nt", reason="Windows has neither pseudo-terminals nor these signals")

SCRIPTED = """
import sys, time
from tarsier_tools.backends.scripted import ScriptedBackend
from tarsier_tools.cli import Host, run
from tarsier_tools.service import VideoService

class Slow(ScriptedBackend):
    def generate(self, requests, *, on_progress):
        for step in range(int(sys.argv[1])):
            on_progress(step, 3000, "looking hard")
            time.sleep(0.01)
        return super().generate(requests, on_progress=on_progress)

host = Host(lambda settings: VideoService(settings, Slow(["红色 circle"] * 9)))
sys.exit(run(sys.argv[2:], host))
"""
"""A program that runs a command over a scripted model; its first argument is how many steps that takes."""


def python(*arguments: str, **variables: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        timeout=600,
        check=False,
        cwd=ROOT,
        env={**os.environ, **variables},
    )


@pytest.mark.parametrize("arguments", [["--help"], ["caption", "--help"], ["--version"], ["models"]])
def test_what_needs_no_video_loads_neither_a_decoder_nor_a_model_nor_the_network(
    arguments: list[str],
) -> None:
    code = (
        "import sys; from tarsier_tools.cli import run; code = run(sys.argv[1:]);"
        "print('loaded:', *{name.partition('.')[0] for name in sys.modules}); sys.exit(code)"
    )
    done = python("-c", code, *arguments)
    assert done.returncode == 0, done.stderr.decode()
    loaded = set(done.stdout.decode().rpartition("loaded:")[2].split())
    assert {"typer", "rich", "pydantic"} <= loaded
    assert loaded & {"av", "decord", "torch", "transformers", "httpx", "PIL"} == set()


def test_python_dash_m_is_the_command_line() -> None:
    done = python("-m", "tarsier_tools", "--version")
    assert done.stdout.decode().split() == ["tarsier-tools", tarsier_tools.__version__]
    assert done.returncode == 0


def test_a_bad_file_ends_the_process_with_its_code_and_no_traceback() -> None:
    done = python("-m", "tarsier_tools", "caption", "nowhere.mp4", "--json")
    assert done.returncode == 3
    assert json.loads(done.stdout)["error"]["type"] == VideoNotFound.__name__
    assert b"Traceback" not in done.stdout + done.stderr


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_an_output_that_cannot_take_a_character_does_not_end_the_process(encoding: str) -> None:
    arguments = ("-c", SCRIPTED, "1", "caption", VIDEO)
    done = python(*arguments, PYTHONIOENCODING=encoding)
    assert done.returncode == 0, done.stderr.decode(encoding)
    assert done.stdout.startswith(b"?? circle")
    done = python(*arguments, "--json", PYTHONIOENCODING=encoding)
    assert json.loads(done.stdout)["text"] == "红色 circle"


@unix
def test_a_reader_that_leaves_early_gets_no_traceback() -> None:
    command = [sys.executable, "-m", "tarsier_tools", "info", VIDEO]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT)
    assert child.stdout is not None
    assert child.stderr is not None
    child.stdout.close()  # as `| head -0` does, before anything is written
    errors = child.stderr.read().decode()
    assert child.wait(timeout=300) == 1
    child.stderr.close()
    assert errors == ""


def test_the_shell_can_complete_commands_and_values() -> None:
    def complete(words: str) -> set[str]:
        done = python(
            "-m",
            "tarsier_tools",
            _TARSIER_TOOLS_COMPLETE="complete_bash",
            COMP_WORDS=words,
            COMP_CWORD=str(len(words.split(" ")) - 1),
        )
        return set(done.stdout.decode().split())

    assert {"caption", "ask", "locate", "frames", "info", "models"} <= complete("tarsier-tools ")
    assert complete("tarsier-tools caption --language zh") == {"zh-Hans", "zh-Hant"}


def on_a_terminal(steps: int, *arguments: str) -> tuple[str, str, int]:
    """Standard output, what a terminal on standard error received, and the exit code."""
    import pty

    ours, theirs = pty.openpty()
    child = subprocess.Popen(
        [sys.executable, "-c", SCRIPTED, str(steps), *arguments],
        stdout=subprocess.PIPE,
        stderr=theirs,
        cwd=ROOT,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "100"},
    )
    os.close(theirs)
    received = b""
    try:
        while chunk := os.read(ours, 65536):
            received += chunk
    except OSError:  # how Linux says that the other end of a terminal was closed
        pass
    finally:
        os.close(ours)
    output, _ = child.communicate(timeout=300)
    return output.decode(), received.decode(), child.returncode


@unix
def test_progress_is_drawn_on_a_terminal_and_only_there() -> None:
    output, terminal, code = on_a_terminal(60, "caption", VIDEO)
    assert code == 0
    assert "looking hard" in terminal
    assert "/3000" in terminal
    assert output.startswith("红色 circle")
    assert "looking hard" not in output
    piped = python("-c", SCRIPTED, "60", "caption", VIDEO)
    assert b"looking hard" not in piped.stdout + piped.stderr
    assert len(piped.stderr.splitlines()) == 1


@unix
def test_ctrl_c_in_a_shell_stops_the_work_and_leaves_one_json_document() -> None:
    child = subprocess.Popen(
        [sys.executable, "-u", "-c", SCRIPTED, "3000", "caption", VIDEO, "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
        # As from a terminal: whatever runs the tests in the background may have told them to ignore it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert child.stderr is not None
    with child:
        try:
            assert b"backend: " in child.stderr.readline()  # from here on the signal may come at any time
            child.send_signal(signal.SIGINT)
            output, errors = child.communicate(timeout=300)
        finally:
            child.kill()
    assert child.returncode == 130
    assert json.loads(output)["error"]["type"] == "Cancelled"
    assert b"Traceback" not in errors
