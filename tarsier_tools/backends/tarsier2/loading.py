"""Putting a checkpoint on a device. All that can be missing is said with what to type."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

import torch
from transformers import BitsAndBytesConfig, Qwen2VLForConditionalGeneration
from transformers.utils import logging as transformers_logging

from tarsier_tools.backends.tarsier2.checkpoint import Checkpoint
from tarsier_tools.backends.tarsier2.memory import available_bytes, gigabytes, out_of_memory
from tarsier_tools.config import Settings
from tarsier_tools.errors import BackendUnavailable

_BITS = {"none": None, "8bit": 8, "4bit": 4}


def choose_device(name: str) -> torch.device:
    """The device asked for; "auto" takes CUDA, then MPS, then the CPU. Raises BackendUnavailable."""
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda", torch.cuda.current_device())
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise BackendUnavailable(
            f"There is no device {name!r}.", hint="Give auto, cpu, cuda, cuda:1 or mps."
        ) from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise BackendUnavailable(
            f"This torch ({torch.__version__}) sees {torch.cuda.device_count()} CUDA devices, not {name}.",
            hint="Use --device cpu, or install a CUDA build of torch.",
        )
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise BackendUnavailable("This machine has no MPS device.", hint="Use --device cpu.")
    if device.type not in ("cpu", "cuda", "mps"):
        raise BackendUnavailable(f"The device {name!r} is not supported.", hint="Give cpu, cuda or mps.")
    return torch.device("cuda", 0) if name == "cuda" else device


def choose_dtype(name: str, device: torch.device) -> torch.dtype:
    """bfloat16 on an accelerator and float32 on a CPU, unless told otherwise."""
    if name == "auto":
        return torch.float32 if device.type == "cpu" else torch.bfloat16
    return {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}[name]


def choose_attention(name: str, device: torch.device) -> str:
    """flash_attention_2 where it is installed and can run, else sdpa, unless told otherwise."""
    if name != "auto":
        return name
    return "flash_attention_2" if device.type == "cuda" and find_spec("flash_attn") else "sdpa"


def load_model(checkpoint: Checkpoint, settings: Settings) -> Qwen2VLForConditionalGeneration:
    """The model on its device, checked to have every weight and no other. Raises BackendUnavailable."""
    device = choose_device(settings.device)
    dtype = choose_dtype(settings.dtype, device)
    bits = _BITS[settings.quantization]
    _check_memory(checkpoint, settings, device, bits or dtype.itemsize * 8)
    options: dict[str, Any] = {}
    factory: Any = Qwen2VLForConditionalGeneration  # its stubs know no loading report
    quantization: Any = BitsAndBytesConfig
    if bits is not None:
        _require("bitsandbytes", f"{bits}-bit weights")
        options["quantization_config"] = quantization(
            load_in_8bit=bits == 8, load_in_4bit=bits == 4, bnb_4bit_compute_dtype=dtype
        )
    if settings.device_map is not None or bits is not None:
        _require("accelerate", "device_map and quantization")
        options["device_map"] = settings.device_map or {"": device}
    try:
        with without_progress_bar():
            model, report = factory.from_pretrained(
                checkpoint.folder,
                config=checkpoint.config,
                key_mapping=checkpoint.key_mapping,
                dtype=dtype,
                attn_implementation=choose_attention(settings.attention, device),
                use_safetensors=True,
                local_files_only=True,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # reported below, with the other faults
                **options,
            )
        _check_report(checkpoint, report)
        if "device_map" not in options:
            model = model.to(device)
    except BackendUnavailable:
        raise
    except Exception as error:
        if out_of_memory(error):
            raise _too_little(checkpoint, str(device), None, None) from error
        raise BackendUnavailable(
            f"{checkpoint.folder.name} cannot be loaded: {_first_line(error)}.",
            hint="Check that the download is complete and the settings fit this machine.",
        ) from error
    loaded: Qwen2VLForConditionalGeneration = model.eval()
    return loaded


@contextmanager
def without_progress_bar() -> Iterator[None]:
    """transformers draws a bar on stderr for every file it loads; front ends draw their own."""
    bars: Any = transformers_logging
    was_enabled = bars.is_progress_bar_enabled()
    bars.disable_progress_bar()
    try:
        yield
    finally:
        if was_enabled:
            bars.enable_progress_bar()


def _require(package: str, purpose: str) -> None:
    if find_spec(package) is None:
        raise BackendUnavailable(
            f"The {package} package is needed for {purpose}.", hint=f"Type: pip install {package}"
        )


def _check_report(checkpoint: Checkpoint, report: dict[str, Any]) -> None:
    problems = []
    for kind in ("missing", "unexpected", "mismatched"):
        keys = sorted(str(key) for key in report.get(f"{kind}_keys") or ())
        if keys:
            problems.append(f"{len(keys)} {kind} ({', '.join(keys[:3])}{', ...' if len(keys) > 3 else ''})")
    if problems:
        raise BackendUnavailable(
            f"The weights of {checkpoint.folder.name} do not fit its config.json: {'; '.join(problems)}.",
            hint="Download the checkpoint again; adapters and partial checkpoints cannot be loaded.",
        )


def _check_memory(checkpoint: Checkpoint, settings: Settings, device: torch.device, bits: int) -> None:
    if settings.device_map is not None:
        return  # it may spread over devices and the disk
    needed, free = checkpoint.parameters * bits // 8, available_bytes(device)
    if free is not None and needed > free:
        raise _too_little(checkpoint, str(device), needed, free)


def _too_little(
    checkpoint: Checkpoint, device: str, needed: int | None, free: int | None
) -> BackendUnavailable:
    numbers = f": {gigabytes(needed)} needed, {gigabytes(free)} free" if needed and free is not None else ""
    return BackendUnavailable(
        f"{checkpoint.folder.name} does not fit into the memory of {device}{numbers}.",
        hint="Use TARSIER_DTYPE=bfloat16, TARSIER_QUANTIZATION=4bit or TARSIER_DEVICE_MAP=auto, "
        "or close what else uses the memory.",
    )


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
