"""docs/python.md runs, and docs/schema.md is what the models say."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
from pathlib import Path
from types import ModuleType

import pytest
from conftest import ShapesFilm

from tarsier_tools import Answer, Choice, ScriptedBackend, VideoService, arguments, prompts

ROOT = Path(__file__).parent.parent
VIDEO = ROOT / "tests" / "golden" / "videos" / "shapes_320x240_25fps.mp4"
EXAMPLES = re.findall(
    r"^```python\n(.*?)^```$", (ROOT / "docs" / "python.md").read_text("utf-8"), re.M | re.S
)


@pytest.fixture(scope="module")
def schema() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_schema", ROOT / "docs" / "make_schema.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_example_in_the_page_runs(
    shapes_film: ShapesFilm,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.copy(shapes_film.path, tmp_path / "clip.mp4")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TARSIER_MAX_NEW_TOKENS", "4")
    assert len(EXAMPLES) > 10
    names: dict[str, object] = {}
    for number, example in enumerate(EXAMPLES):
        exec(compile(example, f"docs/python.md, example {number}", "exec"), names)
    assert "tiny" in capsys.readouterr().out
    assert (tmp_path / "sheet" / "sheet.jpg").exists()


def test_the_limits_in_the_page_are_those_of_the_code() -> None:
    text = " ".join((ROOT / "docs" / "python.md").read_text("utf-8").split())
    assert f"at most {arguments.MAX_TEXT_CHARS} characters" in text
    assert f"(2 to {len(prompts.LETTERS)})" in text
    assert ", ".join(f"`{tag}`" for tag in prompts.LANGUAGES) in text


def test_the_page_of_results_is_written_from_the_models(schema: ModuleType) -> None:
    assert (ROOT / "docs" / "schema.md").read_text("utf-8") == schema.page(), "run docs/make_schema.py"


def test_every_field_of_a_result_is_explained(schema: ModuleType) -> None:
    for model in (*schema.RESULTS, *schema.PARTS):
        for name, field in model.model_json_schema(mode="serialization")["properties"].items():
            assert field.get("description"), f"{model.__name__}.{name}"


def test_every_model_that_a_result_refers_to_has_a_section(schema: ModuleType) -> None:
    text = schema.page()
    for name in re.findall(r"\(#(\w+)\)", text):
        assert re.search(rf"^##+ {name}$", text, re.MULTILINE | re.IGNORECASE), name


def test_the_json_of_a_result_reads_back_as_the_same_result() -> None:
    backend = ScriptedBackend(scores=[(-1.0, -2.0)])
    answer = VideoService(backend=backend).ask(VIDEO, "Which?", choices=["red", "blue"])
    text = answer.model_dump_json()
    assert Answer.model_validate_json(text) == answer
    assert set(json.loads(text)) == set(Answer.model_json_schema(mode="serialization")["properties"])
    assert isinstance(answer.choices[0], Choice)
