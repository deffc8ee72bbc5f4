"""What the tests of the local backend share: the small random checkpoint, its variants, and clips."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from tarsier_tools.config import Settings
from tarsier_tools.types import Clip

# Several threads that wait for each other on a busy machine are many times slower than one.
torch.set_num_threads(1)

GOLDEN = Path(__file__).parent / "golden"
CHECKPOINT = GOLDEN / "tiny-tarsier2"


def settings(**changes: Any) -> Settings:
    """The local backend on the CPU in float32."""
    return Settings(**{"backend": "local", "model": str(CHECKPOINT), "device": "cpu", **changes})


def clip(frames: int = 4, width: int = 84, height: int = 56, seed: int = 0) -> Clip:
    """Noise, the same for the same seed; one vision token per 28x28 pixels and frame."""
    random = np.random.default_rng(seed)
    images = tuple(random.integers(0, 256, (height, width, 3), np.uint8) for _ in range(frames))
    digest = hashlib.sha256(b"".join(image.tobytes() for image in images) + f"{width}x{height}".encode())
    return Clip(images, tuple(range(frames)), tuple(i / 4 for i in range(frames)), digest.hexdigest())


def variant(
    folder: Path,
    *,
    tensors: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]] | None = None,
    without: tuple[str, ...] = (),
    **json_changes: Mapping[str, Any] | None,
) -> Path:
    """A copy of the checkpoint with other weights, without some files, or with keys of a JSON changed.

    ``config={"model_type": "x"}`` changes config.json; a value of None removes the key.
    """
    shutil.copytree(CHECKPOINT, folder, dirs_exist_ok=True)
    if tensors is not None:
        path = folder / "model.safetensors"
        save_file(tensors(dict(load_file(path))), path, metadata={"format": "pt"})
    for name in without:
        (folder / name).unlink()
    for name, changes in json_changes.items():
        path = folder / f"{name}.json"
        value = json.loads(path.read_text("utf-8")) if path.exists() else {}
        value.update(changes or {})
        path.write_text(json.dumps({k: v for k, v in value.items() if v is not None}), "utf-8")
    return folder
