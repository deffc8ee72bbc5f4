"""Every example runs as it stands, without a key and without a network, and says what is true of its film."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path

import openai_server
import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
NOT_RUN = {"film.py"}
"""What the others import."""

ANSWERS = (
    "a stand-in repeats",
    "When does this happen: the yellow star shrinks?\n"
    "  The blue circle moves down, then the yellow star shrinks. [film 0.mp4 @ 00:08-00:16]\n",
    "什么时候绿色方形向左移动？\n"
    "  The blue star moves left, then the green square moves left. [film 1.mp4 @ 00:16-00:24]\n",
)
"""To the questions over a library, with the scene that each is from."""

SAYS: dict[str, tuple[str, ...]] = {
    "describe_video.py": ("The yellow circle moves right, then the green square shrinks.", "16 frames"),
    "ask_with_choices.py": ("%  yellow", "moves right? Yes", "Tokens that came from the cache"),
    "langchain_agent.py": ("I looked at the video. Found once: the yellow circle moves right.",),
    "langchain_library.py": ANSWERS,
    "langchain_progress.py": ("reading frames: 16 of 16", "The yellow circle moves right"),
    "langchain_rag.py": (
        "film 1.mp4 @ 00:04-00:08: The yellow star shrinks.",
        "What an agent is told:\n[film 1.mp4 @ 00:04-00:08]",
    ),
    "langchain_stores.py": (
        "Qdrant: 6 moments, the best is film 1.mp4 @ 00:04-00:08: The yellow star shrinks.",
    ),
    "llama_index_agent.py": ("I looked at the video. Found once: the yellow circle moves right.",),
    "llama_index_library.py": ANSWERS,
    "llama_index_mixed_folder.py": ("notes.pdf: Notes about the films.", "film 1.mp4 @ 0 s: The blue circle"),
    "llama_index_rag.py": ("film 1.mp4 @ 00:04-00:08: The yellow star shrinks.",),
    "mcp_client.py": ("ask_video", "the yellow circle moves right", "Segments: [("),
    "remote_backend.py": ("backend: tiny", "The green square shrinks."),
}
"""What each of them must say, besides ending well."""


def run(name: str, *arguments: str, **variables: str) -> str:
    done = start(name, *arguments, **variables)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def start(name: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, EXAMPLES / name, *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=EXAMPLES.parent,
        env={**os.environ, **variables},
        check=False,
    )


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


@pytest.mark.parametrize("name", ["langchain_library.py", "llama_index_mixed_folder.py"])
def test_a_folder_that_is_not_there_is_told_in_a_sentence(name: str) -> None:
    done = start(name, "missing")
    assert (done.returncode, done.stderr) == (1, "There is no folder missing.\n")


@pytest.mark.parametrize("name", ["langchain_library", "llama_index_library"])
def test_a_model_cannot_make_up_a_citation(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    cited = importlib.import_module(name).cited
    hits = ["a.mp4 @ 00:01-00:02", "b.mp4 @ 00:03-00:04"]
    assert cited("A cat [2] and a dog [1].", hits) == f"A cat [{hits[1]}] and a dog [{hits[0]}]."
    assert cited("A cat [3], a dog [0].", hits) == "A cat [NOT FROM ANY VIDEO], a dog [NOT FROM ANY VIDEO]."
    assert cited("A cat.", hits) == "A cat. [NOT FROM ANY VIDEO]"


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
