"""Every example runs as it stands, without a key and without a network, and says what is true of its film."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import openai_server
import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
NOT_RUN = {"film.py"}
"""What the others import."""

SAYS: dict[str, tuple[str, ...]] = {
    "describe_video.py": ("The yellow circle moves right, then the green square shrinks.", "16 frames"),
    "ask_with_choices.py": ("%  yellow", "moves right? Yes", "Tokens that came from the cache"),
    "langchain_agent.py": ("I looked at the video. Found once: the yellow circle moves right.",),
    "langchain_progress.py": ("reading frames: 16 of 16", "The yellow circle moves right"),
    "langchain_rag.py": ("film 1 @ 0:04: The yellow star shrinks.", "What an agent is told:\n[film 1, 4.25"),
    "langchain_stores.py": ("Qdrant: 6 moments, the best in film 1 @ 0:04: The yellow star shrinks.",),
    "llama_index_agent.py": ("I looked at the video. Found once: the yellow circle moves right.",),
    "llama_index_mixed_folder.py": ("notes.pdf: Notes about the films.", "film 1.mp4 @ 0 s: The blue circle"),
    "llama_index_rag.py": ("film 1 @ 00:04-00:07: The yellow star shrinks.",),
    "mcp_client.py": ("ask_video", "the yellow circle moves right", "Segments: [("),
    "remote_backend.py": ("backend: tiny", "The green square shrinks."),
}
"""What each of them must say, besides ending well."""


def run(name: str, *arguments: str, **variables: str) -> str:
    done = subprocess.run(
        [sys.executable, EXAMPLES / name, *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=EXAMPLES.parent,
        env={**os.environ, **variables},
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_every_example_is_tested() -> None:
    assert {path.name for path in EXAMPLES.glob("*.py")} == {*SAYS, *NOT_RUN}


@pytest.mark.parametrize("name", SAYS)
def test_an_example_says_what_is_true(name: str) -> None:
    said = run(name)
    for words in SAYS[name]:
        assert words in said


@pytest.mark.parametrize("name", ["langchain_agent.py", "llama_index_agent.py"])
def test_an_agent_that_is_given_no_video_is_told_so(name: str) -> None:
    assert "There is no file missing.mp4." in run(name, "missing.mp4")


@pytest.mark.enable_socket
def test_the_remote_example_asks_the_server_that_it_is_told_of() -> None:
    with openai_server.serving() as server:
        said = run(
            "remote_backend.py",
            TARSIER_BASE_URL=server.url,
            TARSIER_MODEL=openai_server.NAME,
            TARSIER_API_KEY=openai_server.KEY,
            TARSIER_SERVER_MAX_PIXELS=str(openai_server.MAX_PIXELS),
        )
    assert "backend: remote" in said
    assert "The green square shrinks." in said
    assert openai_server.KEY not in said
