"""Compare this project with recorded runs of the reference code, stage by stage.

    python benchmarks/parity.py --checkpoint DIR --cases DIR --videos DIR [--dtype bfloat16]

A case is ``NAME.json`` with ``NAME.npz`` beside it: a video, its sampled frames, and runs of prompts over it.
``float64/NAME.npz``, made by ``record_float64.py``, holds the same numbers computed in float64; a folder of
cases may come without it. ``tables.json`` holds rows of the sampler, of sizes and of clips.

Everything up to ``pixel_values`` must be equal to the bit. Every processor rounds float32 differently, so
what the model computes must be near: within ``BOUNDS`` of the recorded numbers, and in float32 no further
from float64 than the reference is, within a slack. One line is printed per case and table; the exit status
is 1 when anything differs or when no case is found.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tarsier_tools.backends.tarsier2.chat import ChatForm, TextCodec, read_chat_form
from tarsier_tools.backends.tarsier2.checkpoint import read_checkpoint
from tarsier_tools.backends.tarsier2.engine import Engine
from tarsier_tools.backends.tarsier2.inputs import MERGE, PixelRules, prefix_positions
from tarsier_tools.backends.tarsier2.loading import load_model
from tarsier_tools.config import Settings
from tarsier_tools.errors import TarsierError
from tarsier_tools.media.base import AS_STORED
from tarsier_tools.media.reader import open_video
from tarsier_tools.media.sampling import clip_bounds, uniform_indices
from tarsier_tools.media.transform import MAX_PIXELS, fit_size, frame_budget, grid_size, resize
from tarsier_tools.types import Clip


@dataclass(frozen=True)
class Bounds:
    """The largest absolute differences allowed, by kind of number: logits, features, sums of features.

    Attributes:
        off: in float32 from the reference's recorded numbers; otherwise from float64 where that is recorded.
        slack: how much further from float64 than the reference's float32 we may be; empty for another dtype.
        greedy: whether greedy ids must be equal.
    """

    off: Mapping[str, float]
    slack: Mapping[str, float]
    greedy: bool


# Measured in benchmarks/RESULTS.md: the reference's own float32 logits are up to 2.5e-4 from float64.
BOUNDS = {
    "float32": Bounds(
        off={"logits": 3e-4, "features": 2e-5, "sums": 2e-4},
        slack={"logits": 1e-4, "features": 5e-6, "sums": 5e-5},
        greedy=True,
    ),
    "bfloat16": Bounds(off={"logits": 1.5, "features": 0.1, "sums": 0.5}, slack={}, greedy=False),
}


@dataclass
class Report:
    """What was compared in one case: stages that are equal, numbers that are close, and what is not.

    Attributes:
        largest: the largest difference by stage.
        from_float64: by kind of number, how far we and the reference are from float64 at most.
    """

    name: str
    bounds: Bounds = BOUNDS["float32"]
    equal: list[str] = field(default_factory=list)
    largest: dict[str, float] = field(default_factory=dict)
    from_float64: dict[str, tuple[float, float]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    def same(self, stage: str, ours: object, theirs: object) -> None:
        """The stage must be equal."""
        if ours == theirs:
            if stage not in self.equal:
                self.equal.append(stage)
            return
        self.faults.append(f"{stage}: {_short(ours)} instead of {_short(theirs)}")

    def same_array(self, stage: str, ours: np.ndarray, theirs: np.ndarray) -> None:
        self.same(stage, ours.shape, theirs.shape)
        if ours.shape == theirs.shape and (different := int((ours != theirs).sum())):
            self.faults.append(f"{stage}: {different} of {ours.size} numbers differ")

    def close(self, stage: str, ours: np.ndarray, theirs: np.ndarray, tolerance: float) -> None:
        """No number may be further off than the tolerance."""
        if ours.shape != theirs.shape:
            self.faults.append(f"{stage}: shape {ours.shape} instead of {theirs.shape}")
            return
        off = _distance(ours, theirs)
        self.largest[stage] = max(off, self.largest.get(stage, 0.0))
        if not off <= tolerance:  # also when it is not a number
            self.faults.append(f"{stage}: off by {off:.3g}")

    def near(
        self, kind: str, stage: str, ours: np.ndarray, theirs: np.ndarray, exact: np.ndarray | None
    ) -> None:
        """Compare what the model computed, where it is recorded also with float64.

        Args:
            kind: what ``Bounds`` call it.
            theirs: float32, the reference's recorded numbers.
            exact: float64, the same computed exactly; None when that is not recorded.
        """
        as_reference = exact is None or kind in self.bounds.slack
        self.close(stage, ours, theirs if as_reference else exact, self.bounds.off[kind])
        if exact is None or ours.shape != theirs.shape:
            return
        mine, reference = self.from_float64.get(kind, (0.0, 0.0))
        mine, reference = max(mine, _distance(ours, exact)), max(reference, _distance(theirs, exact))
        self.from_float64[kind] = mine, reference

    def finish(self) -> None:
        """Compare the distances from float64, over all runs and steps of the case."""
        for kind, (ours, theirs) in self.from_float64.items():
            if not theirs <= BOUNDS["float32"].off[kind]:
                self.faults.append(f"float64 {kind}: {theirs:.3g} from the reference, which is another model")
            elif kind in self.bounds.slack and not ours <= theirs + self.bounds.slack[kind]:
                self.faults.append(f"float64 {kind}: {ours:.3g} off, the reference {theirs:.3g}")

    def line(self) -> str:
        numbers = [f"{stage} within {off:.1e}" for stage, off in self.largest.items()]
        numbers += [
            f"float64 {kind} within {ours:.1e} (the reference {theirs:.1e})"
            for kind, (ours, theirs) in self.from_float64.items()
        ]
        if not self.faults:
            return f"ok       {self.name}: {', '.join([*self.equal, *numbers])}"
        more = f" (and {len(self.faults) - 6} more)" if len(self.faults) > 6 else ""
        return f"DIFFERS  {self.name}: {'; '.join(self.faults[:6])}{more}; {', '.join(numbers)}"


def _distance(ours: np.ndarray, theirs: np.ndarray) -> float:
    return float(np.abs(ours.astype(np.float64) - theirs).max(initial=0.0))


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


@dataclass(frozen=True)
class Model:
    """The parts of the local backend that a case goes through one by one."""

    engine: Engine
    form: ChatForm
    rules: PixelRules

    @classmethod
    def load(cls, folder: Path, device: str, dtype: str = "float32") -> Model:
        checkpoint = read_checkpoint(folder)
        settings = Settings.load(backend="local", model=str(folder), dtype=dtype, device=device)
        form = read_chat_form(TextCodec(folder), folder)
        rules = PixelRules.read(checkpoint.preprocessor)
        return cls(Engine(load_model(checkpoint, settings)), form, rules)


def compare_case(model: Model, path: Path, videos: Path, base_pixels: int, bounds: Bounds) -> Report:
    """Run one case and compare every stage."""
    report = Report(path.stem, bounds)
    try:
        case = json.loads(path.read_text("utf-8"))
        arrays = np.load(path.with_suffix(".npz"))
        recorded = float64_file(path)
        exact = np.load(recorded) if recorded.is_file() else {}
        clip = case_clip(report, case, arrays, videos, base_pixels)
        if clip is not None:
            _model_stages(report, case, arrays, exact, model, clip)
        report.finish()
    except (TarsierError, KeyError, OSError, ValueError) as error:  # a case that cannot be compared differs
        report.faults.append(f"{type(error).__name__}: {error}")
    return report


def float64_file(case: Path) -> Path:
    """Return where the float64 numbers of a case (the path of its JSON) are kept."""
    return case.parent / "float64" / f"{case.stem}.npz"


def case_clip(
    report: Report, case: dict[str, Any], arrays: Any, videos: Path, base_pixels: int
) -> Clip | None:
    """The video's sampled frames after resize 1; None when they are not those of the reference."""
    video = videos / case["file"]
    if "file_sha256" in case and video.is_file():
        report.same("video file", hashlib.sha256(video.read_bytes()).hexdigest(), case["file_sha256"])
    with open_video(video, rendering=AS_STORED) as reader:
        info = reader.info
        report.same("frame count", info.frame_count, case["total_frames"])
        fps = declared_fps(video)
        if "avg_fps" in case:
            report.close("fps", np.array(fps), np.array(case["avg_fps"]), 1e-3)
        indices = _sampled(case, info.frame_count, fps)
        report.same("sampling", list(indices), list(case["frame_indices"]))
        if report.faults:
            return None
        decoded = [frame.image for frame in reader.read(indices)]
    _hashes(report, "decoded", decoded, case)
    height, width, _ = decoded[0].shape
    budget = frame_budget(len(indices), base_pixels)
    if "image_processing_config" in case:
        report.same("budget", budget, case["image_processing_config"]["max_pixels"])
    size = fit_size(width, height, budget)
    report.same("size 1", [size[1], size[0]], list(case["resize1_hw"]))
    frames = [resize(image, size) for image in decoded]
    _hashes(report, "resize1", frames, case)
    for stage, images in (("decoded", decoded), ("resize1", frames)):
        if f"{stage}_mid" in arrays:
            report.same_array(f"{stage} picture", images[case["mid_frame"]], arrays[f"{stage}_mid"])
    return Clip(tuple(frames), tuple(indices), tuple(map(float, indices)), case["file"])


def declared_fps(video: Path) -> float:
    """Return the average rate that the file declares (FFmpeg's ``avg_frame_rate``).

    The reference turns seconds into frame numbers by this rate, also where the real one is another. Results
    carry the rate counted from the frames, and ranges are found by the frames' times.
    """
    with av.open(str(video)) as container:
        rate = container.streams.best("video").average_rate
    if not rate:
        raise ValueError(f"{video.name} declares no frame rate")
    return float(rate)


def _sampled(case: dict[str, Any], frame_count: int, fps: float) -> Sequence[int]:
    """Choose frames by the reference's rule; n_sampled does for the number asked for: fewer are all taken."""
    first, last = 0, frame_count - 1
    if case.get("start_time") is not None or case.get("end_time") is not None:
        end = case.get("end_time")
        first, last = clip_bounds(
            frame_count, fps, case.get("start_time") or 0.0, frame_count / fps if end is None else end
        )
    wanted = case.get("n_frames") or case["n_sampled"]
    return [first + index for index in uniform_indices(last - first + 1, wanted)]


def _hashes(report: Report, stage: str, images: Iterable[np.ndarray], case: dict[str, Any]) -> None:
    ours = [hashlib.sha256(np.ascontiguousarray(image).tobytes()).hexdigest() for image in images]
    report.same(f"{stage} frames", ours, list(case[f"{stage}_frames_sha256"]))


def _model_stages(
    report: Report, case: dict[str, Any], arrays: Any, exact: Any, model: Model, clip: Clip
) -> None:
    """From the clip to the greedy reply."""
    grid = model.rules.grid(clip)
    report.same("size 2", [grid.size[1], grid.size[0]], list(case["resize2_hw"]))
    report.same("grid", [[grid.t, grid.h, grid.w]], case["image_grid_thw"])
    resized = model.rules.resized(clip, grid)
    _hashes(report, "resize2", resized, case)
    if "resize2_mid" in arrays:
        report.same_array("resize2 picture", resized[case["mid_frame"]], arrays["resize2_mid"])
    pixels = model.rules.pixel_values(clip, grid)
    report.same("pixel_values shape", list(pixels.shape), case["pixel_values_shape"])
    report.same("pixel_values", hashlib.sha256(pixels.tobytes()).hexdigest(), case["pixel_values_sha256"])
    if "pixel_values_strided" in arrays and pixels.shape == tuple(case["pixel_values_shape"]):
        rows = arrays["pixel_values_stride_rows"]
        report.same_array("pixel rows", pixels[rows], arrays["pixel_values_strided"])
    if "vision_features_rowsum" in arrays:
        features = model.engine.vision_features(pixels, [grid]).double().cpu().numpy()
        for name, ours in feature_samples(features).items():
            part = name.removeprefix("vision_features_")
            kind = "sums" if part == "rowsum" else "features"
            report.near(kind, f"vision features, {part}", ours, arrays[name], _recorded(exact, name))
    prefix_ids = model.form.prefix_ids(grid.tokens)
    prefix = model.engine.prefill(pixels, grid, model.form.head, prefix_ids)[0]
    for number, run in enumerate(case["runs"]):
        suffix = model.form.suffix_ids(run["prompt"])
        ids = np.array([*prefix_ids, *suffix])
        report.same_array("ids", ids, arrays[f"p{number}_input_ids"])
        positions = prefix_positions(len(model.form.head), grid, len(suffix) + 1)
        report.same_array("positions", positions.T, arrays[f"p{number}_position_ids"])
        _compare_run(report, model, prefix, suffix, arrays, exact, f"p{number}_")


def feature_samples(features: np.ndarray) -> dict[str, np.ndarray]:
    """Return what a case keeps of the vision features (rows, hidden), by its name in the file."""
    return {
        "vision_features_first4": features[:4],
        "vision_features_last4": features[-4:],
        "vision_features_rowsum": features.astype(np.float64).sum(axis=1),
    }


def _recorded(arrays: Any, name: str) -> Any:
    """Return an array of the float64 file; None when there is no such file."""
    return arrays[name] if arrays else None


def _compare_run(
    report: Report, model: Model, prefix: Any, suffix: list[int], arrays: Any, exact: Any, run: str
) -> None:
    theirs = arrays[f"{run}generated_ids"].tolist()
    steps = arrays[f"{run}step_logits"]
    exact_steps = _recorded(exact, f"{run}step_logits")
    greedy, logits = replay(model, prefix, suffix, theirs)
    # The first step is predicted by the prompt alone; both are recorded.
    first = None if exact_steps is None else exact_steps[0]
    report.near("logits", "prefill logits", logits[0], arrays[f"{run}prefill_last_logits"], first)
    report.near("logits", "step logits", logits[: len(steps)], steps, exact_steps)
    if report.bounds.greedy:
        report.same("greedy ids", greedy, theirs)


def replay(model: Model, prefix: Any, suffix: list[int], reply: list[int]) -> tuple[list[int], np.ndarray]:
    """Feed a recorded reply, so that every step can be compared even after one that differs.

    Returns:
        The likeliest id of every step, and the logits (steps, vocabulary) that it was chosen from.
    """
    state = model.engine.start([prefix], [suffix], room=len(reply))
    greedy, logits = [], []
    for token in reply:
        best, ids, _ = model.engine.greedy(state)
        greedy += ids
        logits.append(state.logits[0].cpu().numpy())
        model.engine.step(state, best.new_tensor([token]))
    return greedy, np.array(logits)


def compare_tables(path: Path, videos: Path, rules: PixelRules, base_pixels: int) -> list[Report]:
    """Every row of the sampler, of the sizes and of the clips."""
    tables = json.loads(path.read_text("utf-8"))
    sampler, sizes, clips = Report("table of the sampler"), Report("table of sizes"), Report("table of clips")
    for row in tables.get("sampler_v1", ()):
        ours = list(uniform_indices(row["total_frames"], row["n_frames"]))
        sampler.same(f"{len(tables['sampler_v1'])} rows", ours, row["indices"])
    for row in tables.get("sizes", ()):
        budget = frame_budget(row["n_frames"], base_pixels)
        first = fit_size(*row["wh"], budget)
        second = grid_size(*first, rules.min_pixels, rules.max_pixels)
        grid = [row["n_frames"], second[1] // 14, second[0] // 14]
        tokens = grid[0] * grid[1] * grid[2] // (MERGE * MERGE)
        theirs = (
            row["max_pixels"],
            row["resize1_wh"],
            row["resize2_wh"],
            row["grid_thw"],
            row["n_image_tokens"],
        )
        ours_row = (budget, list(first), list(second), grid, tokens)
        sizes.same(f"{len(tables['sizes'])} rows", ours_row, theirs)
    for row in tables.get("clips", ()):
        _clip_row(clips, row, videos / row["file"], len(tables["clips"]))
    return [report for report in (sampler, sizes, clips) if report.equal or report.faults]


def _clip_row(report: Report, row: dict[str, Any], video: Path, rows: int) -> None:
    try:
        with open_video(video) as reader:
            count, fps = reader.info.frame_count, declared_fps(video)
    except (TarsierError, OSError, ValueError) as error:
        report.faults.append(str(error))
        return
    first, last = clip_bounds(count, fps, row["start_time"], row["end_time"])
    ours = [first + index for index in uniform_indices(last - first + 1, row["n_frames"])]
    if row.get("reference_printed"):
        # The reference drops the frames of a clip that ends after its video; ours ends with the video.
        proper = ours[0] == row["frame_indices"][0] and ours[-1] == count - 1
        report.same("past the end: cut, not dropped", proper and len(ours) > row["n_returned"], True)
    else:
        report.same(f"{rows} rows", ours, row["frame_indices"])


def find_cases(folder: Path, index: dict[str, Any]) -> list[Path]:
    """Every case in the folder, half ones too, as the path of its JSON; says which are absent."""
    found = {path.with_suffix(".json") for path in folder.glob("*.npz")}
    found |= {path for path in folder.glob("*.json") if "runs" in json.loads(path.read_text("utf-8"))}
    for name, entry in index.get("cases", {}).items():
        if folder / entry["json"] not in found:
            print(f"absent   {name}: the index names it")
    return sorted(found)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--cases", type=Path, required=True, help="folder of NAME.json with NAME.npz")
    parser.add_argument("--videos", type=Path, required=True)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", choices=BOUNDS, default="float32", help="what the model computes in")
    options = parser.parse_args(arguments)
    index = options.cases / "index.json"
    recorded = json.loads(index.read_text("utf-8")) if index.is_file() else {}
    cases = find_cases(options.cases, recorded)
    if not cases:
        print(f"DIFFERS  there is no case (NAME.json with NAME.npz) in {options.cases}")
        return 1
    base_pixels = recorded.get("data_config", {}).get("max_pixels", MAX_PIXELS)
    try:
        model = Model.load(options.checkpoint, options.device, options.dtype)
    except TarsierError as error:
        print(f"DIFFERS  the checkpoint cannot be loaded: {error}")
        return 1
    reports = []
    for path in cases:
        reports.append(compare_case(model, path, options.videos, base_pixels, BOUNDS[options.dtype]))
        print(reports[-1].line(), flush=True)
    if (options.cases / "tables.json").is_file():
        for report in compare_tables(options.cases / "tables.json", options.videos, model.rules, base_pixels):
            reports.append(report)
            print(report.line())
    bad = sum(bool(report.faults) for report in reports)
    print(f"{len(reports) - bad} of {len(reports)} are equal" if bad else f"all {len(reports)} are equal")
    return 1 if bad else 0


if __name__ == "__main__":
    raise SystemExit(main())
