"""Every recorded run of the reference code, and that the comparison sees each kind of difference."""

from __future__ import annotations

import functools
import importlib.util
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from tarsier2_kit import CHECKPOINT, GOLDEN, variant

GIVEN, VIDEOS = GOLDEN / "given", GOLDEN / "videos"
CASE = "short10_256x192"


@pytest.fixture(scope="module")
def parity() -> ModuleType:
    path = Path(__file__).parents[1] / "benchmarks" / "parity.py"
    spec = importlib.util.spec_from_file_location("parity", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["parity"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    module.Model.load = functools.cache(module.Model.load)  # one checkpoint for nearly all tests
    return module


@pytest.fixture
def compare(parity: ModuleType, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    def run(cases: Path, checkpoint: Path = CHECKPOINT, videos: Path = VIDEOS) -> tuple[int, str]:
        arguments = ["--checkpoint", str(checkpoint), "--cases", str(cases), "--videos", str(videos)]
        status = parity.main(arguments)
        return status, capsys.readouterr().out

    return run


def one_case() -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    case = json.loads((GIVEN / f"{CASE}.json").read_text("utf-8"))
    return case, dict(np.load(GIVEN / f"{CASE}.npz"))


def write_case(folder: Path, case: dict[str, Any], arrays: dict[str, np.ndarray]) -> Path:
    (folder / f"{CASE}.json").write_text(json.dumps(case), "utf-8")
    np.savez(folder / f"{CASE}.npz", **arrays)
    return folder


def test_every_recorded_run_of_the_reference_is_reproduced(compare: Callable[..., tuple[int, str]]) -> None:
    status, output = compare(GIVEN)
    assert status == 0, output
    lines = output.splitlines()
    assert len([line for line in lines if line.startswith("ok ")]) == 7
    for stage in (
        "decoded frames",
        "resize1 frames",
        "resize2 frames",
        "pixel_values",
        "positions",
        "greedy ids",
    ):
        assert sum(stage in line for line in lines) == 4, stage
    assert any("133 rows" in line for line in lines)
    assert any("84 rows" in line for line in lines)
    assert any("12 rows" in line for line in lines)


def nudge(
    name: str, where: tuple[int, ...], by: float
) -> Callable[[dict[str, Any], dict[str, np.ndarray]], None]:
    def change(case: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        arrays[name] = arrays[name].copy()
        arrays[name][where] += by

    return change


def replace(name: str, value: Any) -> Callable[[dict[str, Any], dict[str, np.ndarray]], None]:
    def change(case: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        case[name] = value

    return change


def other_prompt(case: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    case["runs"][0]["prompt"] = "Describe the video in detail"


@pytest.mark.parametrize(
    ("change", "stage"),
    [
        (nudge("p0_step_logits", (31, 5), 2e-4), "step logits"),
        (nudge("p1_prefill_last_logits", (7,), -2e-4), "prefill logits"),
        (nudge("p1_step_logits", (3, 3), float("nan")), "step logits"),
        (nudge("p0_generated_ids", (31,), 1), "greedy ids"),
        (nudge("p1_position_ids", (650, 1), 1), "positions"),
        (nudge("vision_features_last4", (0, 0), 1e-3), "vision features"),
        (nudge("resize2_mid", (5, 5, 0), 1), "resize2 picture"),
        (other_prompt, "ids"),
        (replace("pixel_values_sha256", "0" * 64), "pixel_values"),
        (replace("decoded_frames_sha256", []), "decoded frames"),
        (replace("resize1_frames_sha256", []), "resize1 frames"),
        (replace("resize2_frames_sha256", []), "resize2 frames"),
        (replace("frame_indices", [0, 1]), "sampling"),
        (replace("total_frames", 11), "frame count"),
        (replace("file_sha256", "0" * 64), "video file"),
        (replace("file", "none.mp4"), "VideoNotFound"),
    ],
)
def test_a_difference_in_any_stage_is_found(
    change: Callable[..., None], stage: str, tmp_path: Path, compare: Callable[..., tuple[int, str]]
) -> None:
    case, arrays = one_case()
    change(case, arrays)
    status, output = compare(write_case(tmp_path, case, arrays))
    assert status == 1
    assert f"DIFFERS  {CASE}" in output
    assert stage in output.partition("DIFFERS")[2]


def test_a_different_weight_is_found(tmp_path: Path, compare: Callable[..., tuple[int, str]]) -> None:
    def nudged(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        name = "language_model.model.norm.weight"
        return {**tensors, name: tensors[name] * 1.01}

    checkpoint = variant(tmp_path / "checkpoint", tensors=nudged)
    (tmp_path / "cases").mkdir()
    status, output = compare(write_case(tmp_path / "cases", *one_case()), checkpoint)
    assert status == 1
    assert "step logits" in output


@pytest.mark.parametrize("table", ["sampler_v1", "sizes", "clips"])
def test_a_different_row_of_a_table_is_found(
    table: str, tmp_path: Path, compare: Callable[..., tuple[int, str]]
) -> None:
    write_case(tmp_path, *one_case())
    tables = json.loads((GIVEN / "tables.json").read_text("utf-8"))
    row = tables[table][-1]
    key = {"sampler_v1": "indices", "sizes": "resize2_wh", "clips": "frame_indices"}[table]
    row[key] = [row[key][0] + 1, *row[key][1:]]
    (tmp_path / "tables.json").write_text(json.dumps(tables), "utf-8")
    status, output = compare(tmp_path)
    assert status == 1
    assert output.count("DIFFERS") == 1


def test_a_folder_without_cases_does_not_pass(
    tmp_path: Path, compare: Callable[..., tuple[int, str]]
) -> None:
    shutil.copy(GIVEN / "tables.json", tmp_path)
    status, output = compare(tmp_path)
    assert status == 1
    assert "no case" in output


def test_a_case_that_only_the_index_knows_is_said_to_be_absent(
    tmp_path: Path, compare: Callable[..., tuple[int, str]]
) -> None:
    write_case(tmp_path, *one_case())
    shutil.copy(GIVEN / "index.json", tmp_path)
    status, output = compare(tmp_path)
    assert status == 0
    assert output.count("absent ") == 3


@pytest.mark.parametrize("half", ["json", "npz"])
def test_half_a_case_does_not_pass(
    half: str, tmp_path: Path, compare: Callable[..., tuple[int, str]]
) -> None:
    write_case(tmp_path, *one_case())
    (tmp_path / f"{CASE}.{half}").unlink()
    status, output = compare(tmp_path)
    assert status == 1
    assert f"DIFFERS  {CASE}" in output


def test_a_checkpoint_that_cannot_be_loaded_does_not_pass(
    tmp_path: Path, compare: Callable[..., tuple[int, str]]
) -> None:
    status, output = compare(GIVEN, tmp_path)
    assert status == 1
    assert "config.json" in output
