"""Settings: where values come from, and what a bad one is answered with."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from tarsier_tools import Settings, UsageError

DOCS = Path(__file__).parents[1] / "docs"


def test_an_argument_wins_over_the_environment_and_the_environment_over_the_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert Settings.load().frames == 16
    monkeypatch.setenv("TARSIER_FRAMES", "8")
    assert Settings.load().frames == 8
    assert Settings.load(frames=4).frames == 4


def test_an_argument_of_none_leaves_the_environment_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TARSIER_MODEL", "some/model")
    assert Settings.load(model=None).model == "some/model"


def test_an_empty_variable_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TARSIER_MODEL", "")
    assert Settings.load().model is None


def test_a_list_of_folders_is_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TARSIER_ALLOWED_ROOTS", '["/videos", "/a folder"]')
    assert Settings.load().allowed_roots == (Path("/videos"), Path("/a folder"))


def test_every_bad_value_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TARSIER_FRAMES", "many")
    with pytest.raises(UsageError, match=r"backend: .*frames: ") as refused:
        Settings.load(backend="cloud")
    assert "TARSIER_" in refused.value.hint


def test_a_setting_that_does_not_exist_is_refused() -> None:
    with pytest.raises(UsageError, match="framez"):
        Settings.load(framez=3)


def test_settings_cannot_be_changed_afterwards() -> None:
    settings = Settings.load()
    with pytest.raises(ValueError, match="frozen"):
        settings.frames = 3  # type: ignore[misc]


def test_the_page_of_settings_is_what_the_code_says() -> None:
    spec = importlib.util.spec_from_file_location("make_settings", DOCS / "make_settings.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert (DOCS / "settings.md").read_text("utf-8") == module.settings_md(), "run docs/make_settings.py"
