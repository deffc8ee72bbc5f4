"""Does a converted checkpoint compute the same? Both are loaded, one after the other, and shown one clip."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import Qwen2VLForConditionalGeneration

from tarsier_tools import prompts
from tarsier_tools.backends.tarsier2.chat import IMAGE_PAD, VIDEO_PAD, TextCodec, read_chat_form
from tarsier_tools.backends.tarsier2.checkpoint import read_checkpoint
from tarsier_tools.backends.tarsier2.inputs import PixelRules, prefix_positions
from tarsier_tools.backends.tarsier2.loading import (
    choose_attention,
    choose_device,
    choose_dtype,
    load_model,
    without_progress_bar,
)
from tarsier_tools.backends.tarsier2.memory import out_of_memory, release
from tarsier_tools.config import Settings
from tarsier_tools.errors import BackendFailed, BackendUnavailable
from tarsier_tools.types import Clip, Progress, no_progress

TOLERANCE = 1e-4
"""Of a logit. The same weights in the same kernels; 0 is what was seen."""
FRAMES, WIDTH, HEIGHT = 8, 112, 84


@dataclass(frozen=True)
class Comparison:
    """What two checkpoints said about one clip.

    Attributes:
        max_difference: of any logit at any place of the prompt.
        tokens: places of the prompt.
        device, dtype: what both ran on.
    """

    max_difference: float
    tokens: int
    device: str
    dtype: str


def compare_logits(
    source: Path, plain: Path, settings: Settings, *, on_progress: Progress = no_progress
) -> Comparison:
    """Run a clip through the source and, as transformers loads it by itself, through the plain checkpoint.

    Args:
        settings: device, dtype and attention of both.

    Raises BackendFailed when they differ, BackendUnavailable when one cannot be loaded.
    """
    device = choose_device(settings.device)
    dtype = choose_dtype(settings.dtype, device)
    on_progress(0, 2, "asking the source")
    before = _logits(load_model(read_checkpoint(source), settings), source, IMAGE_PAD)
    release(device)
    on_progress(1, 2, "asking the conversion")
    after = _logits(_load_plain(plain, device, dtype, settings), plain, VIDEO_PAD)
    on_progress(2, 2, "compared")
    if before.shape != after.shape or not bool((before - after).abs().max() <= TOLERANCE):
        raise BackendFailed(
            f"{plain} computes something else than {source}.",
            hint="Remove it and convert again; report it if that does not help.",
        )
    difference = float((before - after).abs().max())
    return Comparison(difference, len(before), str(device), str(dtype).removeprefix("torch."))


def _load_plain(plain: Path, device: torch.device, dtype: torch.dtype, settings: Settings) -> Any:
    """As anybody would load it: no configuration and no names of ours."""
    factory: Any = Qwen2VLForConditionalGeneration
    try:
        with without_progress_bar():
            model = factory.from_pretrained(
                plain,
                dtype=dtype,
                attn_implementation=choose_attention(settings.attention, device),
                use_safetensors=True,
                local_files_only=True,
            )
        return model.to(device).eval()
    except Exception as error:  # transformers raises of many unrelated classes
        raise BackendUnavailable(
            f"{plain.name} cannot be loaded: {error}.",
            hint="Check the free memory; TARSIER_DTYPE=bfloat16 takes half of it.",
        ) from error


def _logits(model: Any, folder: Path, pad: str) -> torch.Tensor:
    """float32 (tokens of the prompt, vocabulary), on the CPU, for the clip with the folder's own rules."""
    codec = TextCodec(folder)
    form = read_chat_form(codec, folder)
    rules = PixelRules.read(read_checkpoint(folder).preprocessor)
    clip = _clip()
    grid = rules.grid(clip)
    head, vision = len(form.head), grid.tokens
    ids = form.prefix_ids(vision) + form.suffix_ids(prompts.caption())
    ids[head : head + vision] = [codec.special(pad)] * vision
    positions = prefix_positions(head, grid, len(ids) - head - vision)
    kind = "image" if pad == IMAGE_PAD else "video"
    pixels = {"image": "pixel_values", "video": "pixel_values_videos"}[kind]
    device = model.device
    try:
        with torch.inference_mode():
            output = model(
                input_ids=torch.tensor([ids], device=device),
                position_ids=torch.from_numpy(positions)[:, None].to(device),
                **{
                    pixels: torch.from_numpy(rules.pixel_values(clip, grid)).to(device),
                    f"{kind}_grid_thw": torch.tensor([[grid.t, grid.h, grid.w]], device=device),
                },
            )
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        raise BackendFailed(
            f"The memory of {device} ran out.", hint="Use TARSIER_DTYPE=bfloat16 or another device."
        ) from error
    logits: torch.Tensor = output.logits[0].float().cpu()
    return logits


def _clip() -> Clip:
    """A bright square on a gradient that moves to the right."""
    across, down = np.meshgrid(np.linspace(0, 255, WIDTH), np.linspace(0, 255, HEIGHT))
    frames = []
    for index in range(FRAMES):
        frame = np.stack([across, down, 255 - across], axis=2).astype(np.uint8)
        left = index * (WIDTH - 20) // (FRAMES - 1)
        frame[30:50, left : left + 20] = 255
        frames.append(frame)
    return Clip(tuple(frames), tuple(range(FRAMES)), tuple(map(float, range(FRAMES))), "moving square")
