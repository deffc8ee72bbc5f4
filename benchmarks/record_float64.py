"""Record the cases of ``parity.py`` in float64, and measure how far the reference's numbers are from that.

    python benchmarks/record_float64.py --checkpoint DIR --cases DIR --videos DIR

The model runs with the same weights, frames and replies, and computes in float64 throughout, also where its
code asks for float32 whatever the weights are (norms, rotary frequencies and angles). Writes
``float64/NAME.npz`` in the folder of cases. The exit status is 1 when the reference's recorded numbers are
further from float64 than the bounds of ``parity.py`` allow: then something other than rounding differs.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.overrides import TorchFunctionMode

sys.path.insert(0, str(Path(__file__).resolve().parent))

from parity import BOUNDS, Model, Report, case_clip, feature_samples, find_cases, float64_file, replay

from tarsier_tools.media.transform import MAX_PIXELS


class InFloat64(TorchFunctionMode):
    """Computes in float64 wherever code asks torch for float32."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func is torch.Tensor.float:
            func = torch.Tensor.double
        named = {name: _wider(value) for name, value in (kwargs or {}).items()}
        return func(*map(_wider, args), **named)


def _wider(value: Any) -> Any:
    return torch.float64 if value is torch.float32 else value


def load_exact(checkpoint: Path) -> Model:
    """Load the checkpoint's weights in float64. To be used inside ``InFloat64``."""
    model = Model.load(checkpoint, "cpu")
    network = model.engine._model.double()
    with InFloat64():
        for module in network.modules():
            if hasattr(module, "inv_freq"):  # computed when the model is made, not a weight
                vision = hasattr(module, "compute_axial_rope_parameters")
                rule = (
                    module.compute_axial_rope_parameters if vision else module.compute_default_rope_parameters
                )
                module.inv_freq, _ = rule(module.config)
    model.engine.dtype = torch.float64
    return model


def compute(
    model: Model, case: dict[str, Any], arrays: Any, videos: Path, base_pixels: int
) -> dict[str, Any]:
    """Return the float64 arrays of a case by the names they have in its float32 file.

    Raises:
        ValueError: the frames are not those of the reference.
    """
    report = Report(case["file"])
    clip = case_clip(report, case, arrays, videos, base_pixels)
    if clip is None or report.faults:
        raise ValueError(f"Other frames than the reference's: {'; '.join(report.faults)}")
    grid = model.rules.grid(clip)
    pixels = model.rules.pixel_values(clip, grid).astype(np.float64)
    prefix_ids = model.form.prefix_ids(grid.tokens)
    with InFloat64():
        exact = feature_samples(model.engine.vision_features(pixels, [grid]).numpy())
        prefix = model.engine.prefill(pixels, grid, model.form.head, prefix_ids)[0]
        for number, run in enumerate(case["runs"]):
            reply = arrays[f"p{number}_generated_ids"].tolist()
            logits = replay(model, prefix, model.form.suffix_ids(run["prompt"]), reply)[1]
            exact[f"p{number}_step_logits"] = logits[: len(arrays[f"p{number}_step_logits"])]
    assert all(array.dtype == np.float64 for array in exact.values())
    return exact


def distances(arrays: Any, exact: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Return how far the reference's recorded numbers are from float64, at most, by kind."""
    found = {name: float(np.abs(arrays[name] - array).max()) for name, array in exact.items()}
    logits = max(off for name, off in found.items() if name.endswith("step_logits"))
    features = max(found["vision_features_first4"], found["vision_features_last4"])
    return {"logits": logits, "features": features, "sums": found["vision_features_rowsum"]}


def margin(exact: Mapping[str, np.ndarray]) -> float:
    """Return the smallest distance between the best logit of a step and its second."""
    best = [np.sort(array, axis=1)[:, -2:] for name, array in exact.items() if "logits" in name]
    return float(np.diff(np.concatenate(best), axis=1).min())


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--cases", type=Path, required=True, help="folder of NAME.json with NAME.npz")
    parser.add_argument("--videos", type=Path, required=True)
    options = parser.parse_args(arguments)
    index = options.cases / "index.json"
    recorded = json.loads(index.read_text("utf-8")) if index.is_file() else {}
    base_pixels = recorded.get("data_config", {}).get("max_pixels", MAX_PIXELS)
    model = load_exact(options.checkpoint)
    status = 0
    for path in find_cases(options.cases, recorded):
        case, arrays = json.loads(path.read_text("utf-8")), np.load(path.with_suffix(".npz"))
        exact = compute(model, case, arrays, options.videos, base_pixels)
        off = distances(arrays, exact)
        near = all(off[kind] <= allowed for kind, allowed in BOUNDS["float32"].off.items())
        numbers = ", ".join(f"{kind} {value:.1e}" for kind, value in off.items())
        print(f"{'ok ' if near else 'FAR'} {path.stem}: reference from float64: {numbers}; ", end="")
        print(f"smallest margin of a greedy word {margin(exact):.1e}", flush=True)
        if not near:
            status = 1
            continue
        float64_file(path).parent.mkdir(exist_ok=True)
        np.savez_compressed(float64_file(path), **exact)
    return status


if __name__ == "__main__":
    raise SystemExit(main())
