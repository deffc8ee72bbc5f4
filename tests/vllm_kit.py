"""A real vLLM server on loopback, for the tests marked ``vllm``; ``make test-vllm`` installs and runs it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

# Read once, before any test wipes the environment.
PROGRAM = Path(os.environ.get("TARSIER_TEST_VLLM", Path(__file__).parents[1] / ".venv-vllm/bin/vllm"))
KEY = "a-key-for-tests"
MODEL = "tarsier2"
START_S = 600  # one to two minutes on two idle cores


@dataclass
class VllmServer:
    """A server at work.

    Attributes:
        base_url: with /v1.
        pid: of the server, which leads a process group of its own.
        log: what it prints.
    """

    base_url: str
    pid: int
    log: Path
    model: str = MODEL
    key: str = KEY

    def kill(self) -> None:
        """End it at once, with its engine, as a crash would."""
        os.killpg(self.pid, signal.SIGKILL)


@contextmanager
def serve(checkpoint: Path, log: Path, *flags: str, port: int = 0) -> Iterator[VllmServer]:
    """Serve a converted checkpoint in float32 as docs/serving.md says, until the block ends.

    Args:
        flags: further ones, which win.
        port: 0 for a free one.
    """
    with socket.socket() as free:
        free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port that a server has just left
        free.bind(("127.0.0.1", port))
        port = free.getsockname()[1]
    environment = {
        **os.environ,
        "PATH": f"{PROGRAM.parent}{os.pathsep}{os.environ['PATH']}",
        "HF_HUB_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "VLLM_CPU_KVCACHE_SPACE": "1",
    }
    command = [
        *(str(PROGRAM), "serve", str(checkpoint), "--host", "127.0.0.1", "--port", str(port)),
        *("--served-model-name", MODEL, "--api-key", KEY, "--dtype", "float32", "--enforce-eager"),
        *("--max-model-len", "8192", "--max-num-batched-tokens", "8192"),
        *("--media-io-kwargs", '{"video": {"num_frames": -1}}'),
        *flags,
    ]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, env=environment, start_new_session=True
        )
    try:
        _wait_until_healthy(process, f"http://127.0.0.1:{port}/health", log)
        yield VllmServer(f"http://127.0.0.1:{port}/v1", process.pid, log)
    finally:
        _stop(process)


def _wait_until_healthy(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    end = time.monotonic() + START_S
    while time.monotonic() < end:
        if process.poll() is not None:
            raise RuntimeError(f"vLLM ended while it started:\n{log.read_text('utf-8', 'replace')[-3000:]}")
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)
    raise RuntimeError(f"vLLM was not ready after {START_S} s:\n{log.read_text('utf-8', 'replace')[-3000:]}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    """The whole group: the engine is a child of the server."""
    for how, patience_s in ((signal.SIGTERM, 30), (signal.SIGKILL, 10)):
        try:
            os.killpg(process.pid, how)
        except ProcessLookupError:
            break
        try:
            process.wait(patience_s)
        except subprocess.TimeoutExpired:
            continue
        break
