"""The README of langchain-tarsier runs from top to bottom, as a new user would go through it."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import langchain_tarsier
import pytest
from conftest import ShapesFilm
from langchain_core.language_models.fake_chat_models import FakeMessagesListChatModel
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult

README = Path(__file__).parents[1] / "integrations" / "langchain" / "README.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```$", README.read_text("utf-8"), re.M | re.S)


class Model(FakeMessagesListChatModel):
    """Looks for what the README asks about, then says what it was told."""

    responses: list[BaseMessage] = []  # noqa: RUF012

    def bind_tools(self, *_: Any, **__: Any) -> Model:
        return self

    def _generate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        if isinstance(messages[-1], ToolMessage):
            said = AIMessage(f"So it is: {messages[-1].content}")
        else:
            arguments = {"video": "clip.mp4", "event": "the yellow star moves up"}
            said = AIMessage("", tool_calls=[{"name": "locate_event", "args": arguments, "id": "1"}])
        return ChatResult(generations=[ChatGeneration(message=said)])


def test_every_block_runs_and_says_what_is_true(
    shapes_film: ShapesFilm,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.copy(shapes_film.path, tmp_path / "clip.mp4")
    monkeypatch.chdir(tmp_path)
    assert len(BLOCKS) >= 9
    names: dict[str, Any] = {"model": Model()}
    for number, block in enumerate(BLOCKS, start=1):
        exec(compile(block, f"README.md, block {number}", "exec"), names)
    said = capsys.readouterr().out
    found = r"Found once: the yellow star moves up\.\n- [01]\.\d+-2\.\d+ s, confidence 0\.\d+, seen best at "
    assert re.match(found, said)
    assert "a blue square vanishes []" in said
    assert "So it is: Found once: the yellow star moves up." in said
    assert "reading frames" in said
    assert re.search(r"^1\.\d+ 0\.\d+ The yellow star moves up\.$", said, re.M)
    assert re.search(r"^clip\.mp4 @ 00:00-00:08 The yellow star moves up, then", said, re.M)
    names["library"].close()


def test_every_public_class_is_in_the_overview() -> None:
    overview = README.read_text("utf-8").split("## Setup")[0]
    for name in langchain_tarsier.__all__:
        if name not in ("TarsierTool", "__version__"):
            assert f"`{name}`" in overview, name
