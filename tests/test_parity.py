"""Every recorded run of the reference code, and that the comparison sees each kind of difference."""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import shutil
import subprocess
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
BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def instruction_sets() -> list[str]:
    """The names by which torch can be told to use less than the processor has, of those that it has."""
    has = torch.cpu.get_capabilities()
    return ["default", *(name for name, flag in (("avx2", "avx2"), ("avx512", "avx512_f")) if has.get(flag))]


@pytest.fixture(scope="module")
def parity() -> ModuleType:
    spec = importlib.util.spec_from_file_location("parity", BENCHMARKS / "parity.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["parity"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    module.Model.load = functools.cache(module.Model.load)  # one checkpoint for nearly all tests
    return module


@pytest.fixture
def compare(parity: ModuleType, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    def run(cases: Path, checkpoint: Path = CHECKPOINT, videos: Path = VIDEOS, *more: str) -> tuple[int, str]:
        arguments = ["--checkpoint", str(checkpoint), "--cases", str(cases), "--videos", str(videos)]
        status = parity.main([*arguments, *more])
        return status, capsys.readouterr().out

    return run


def one_case() -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    case = json.loads((GIVEN / f"{CASE}.json").read_text("utf-8"))
    return case, dict(np.load(GIVEN / f"{CASE}.npz"))


def in_float64() -> dict[str, np.ndarray]:
    return dict(np.load(GIVEN / "float64" / f"{CASE}.npz"))


def write_case(
    folder: Path,
    case: dict[str, Any],
    arrays: dict[str, np.ndarray],
    exact: dict[str, np.ndarray] | None = None,
) -> Path:
    (folder / f"{CASE}.json").write_text(json.dumps(case), "utf-8")
    np.savez(folder / f"{CASE}.npz", **arrays)
    if exact is not None:
        (folder / "float64").mkdir()
        np.savez(folder / "float64" / f"{CASE}.npz", **exact)
    return folder


def run_script(name: str, cases: Path, **environment: str) -> str:
    """What a script of benchmarks/ prints about a folder of cases, in a process of its own."""
    arguments = ["--checkpoint", str(CHECKPOINT), "--cases", str(cases), "--videos", str(VIDEOS)]
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / name), *arguments],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


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
    assert sum("float64 logits within" in line for line in lines) == 4
    assert any("133 rows" in line for line in lines)
    assert any("84 rows" in line for line in lines)
    assert any("12 rows" in line for line in lines)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("instructions", instruction_sets())
def test_the_reference_is_reproduced_with_every_instruction_set_of_this_processor(
    instructions: str, threads: int, tmp_path: Path
) -> None:
    write_case(tmp_path, *one_case(), in_float64())
    output = run_script("parity.py", tmp_path, ATEN_CPU_CAPABILITY=instructions, OMP_NUM_THREADS=str(threads))
    assert output.startswith(f"ok       {CASE}")


def test_the_recorded_float64_can_be_made_again(tmp_path: Path) -> None:
    output = run_script("record_float64.py", write_case(tmp_path, *one_case()))
    assert output.startswith(f"ok  {CASE}: reference from float64: logits 3.8e-05")
    recorded, again = in_float64(), np.load(tmp_path / "float64" / f"{CASE}.npz")
    assert set(again) == set(recorded)
    for name, array in recorded.items():
        np.testing.assert_allclose(again[name], array, rtol=0, atol=1e-9)


def test_a_case_without_float64_is_compared_with_the_reference_alone(
    tmp_path: Path, compare: Callable[..., tuple[int, str]]
) -> None:
    status, output = compare(write_case(tmp_path, *one_case()))
    assert status == 0
    assert "step logits within" in output
    assert "float64" not in output


def test_logits_further_from_float64_than_the_reference_are_found(
    tmp_path: Path, compare: Callable[..., tuple[int, str]]
) -> None:
    case, arrays = one_case()
    exact = in_float64()
    for recorded in (arrays, exact):  # 2e-4 would be allowed if only the reference counted
        recorded["p1_step_logits"][9, 5] += 2e-4
    status, output = compare(write_case(tmp_path, case, arrays, exact))
    assert status == 1
    assert "float64 logits: 0.0002 off, the reference 3.8" in output


def test_a_float64_record_of_something_else_is_found(
    tmp_path: Path, compare: Callable[..., tuple[int, str]]
) -> None:
    exact = in_float64()
    exact["p0_step_logits"][0, 0] += 1.0
    status, output = compare(write_case(tmp_path, *one_case(), exact))
    assert status == 1
    assert "float64 logits: 1 from the reference" in output


def test_bfloat16_is_within_its_own_bound_and_a_difference_is_found_there_too(
    tmp_path: Path, compare: Callable[..., tuple[int, str]]
) -> None:
    case, arrays = one_case()
    exact = in_float64()
    write_case(tmp_path, case, arrays, exact)
    status, output = compare(tmp_path, CHECKPOINT, VIDEOS, "--dtype", "bfloat16")
    assert status == 0, output
    assert "greedy ids" not in output
    exact["p0_step_logits"][3, 3] += 2.5
    np.savez(tmp_path / "float64" / f"{CASE}.npz", **exact)
    status, output = compare(tmp_path, CHECKPOINT, VIDEOS, "--dtype", "bfloat16")
    assert status == 1
    assert "step logits: off by" in output


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
        (nudge("p0_step_logits", (31, 5), 5e-4), "step logits"),
        (nudge("p1_prefill_last_logits", (7,), -5e-4), "prefill logits"),
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


def test_clips_of_a_file_of_variable_rate_follow_the_rate_that_it_declares(
    tmp_path: Path, compare: Callable[..., tuple[int, str]]
) -> None:
    """As the reference: 11.04 frames a second are declared, 12.28 are there."""
    film = Path(__file__).parent / "data" / "shapes_variable_rate.mp4"
    shutil.copy(film, tmp_path)
    shutil.copy(VIDEOS / f"{CASE}.mp4", tmp_path)
    write_case(tmp_path, *one_case())
    row = {"file": film.name, "start_time": 7.3, "end_time": 12.7, "n_frames": 4}
    row |= {"frame_indices": [81, 101, 120, 140], "n_returned": 4}
    (tmp_path / "tables.json").write_text(json.dumps({"clips": [row]}), "utf-8")
    status, output = compare(tmp_path, videos=tmp_path)
    assert status == 0, output
    row["frame_indices"] = [90, 112, 134, 156]  # by the rate that is really there
    (tmp_path / "tables.json").write_text(json.dumps({"clips": [row]}), "utf-8")
    assert compare(tmp_path, videos=tmp_path)[0] == 1


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
