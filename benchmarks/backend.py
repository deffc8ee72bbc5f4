"""Speed and memory of the local backend on a random checkpoint in which the video dominates.

    python benchmarks/backend.py [--write]     about 300 million parameters, 16 frames of 720p
                                               (half an hour on two idle cores, a minute on a GPU)
    python benchmarks/backend.py --small       a smoke run in seconds; its numbers mean nothing

Measured side by side in one run, in turns, medians: the second question about a clip against the first, eight
clips as a batch against one by one, and this backend against a plain ``model.generate`` of transformers.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from report import publish, table
from transformers import Qwen2VLConfig, Qwen2VLForConditionalGeneration

from tarsier_tools.backends import TINY_FOLDER
from tarsier_tools.backends.tarsier2 import Tarsier2Backend
from tarsier_tools.backends.tarsier2.chat import TextCodec, read_chat_form
from tarsier_tools.backends.tarsier2.checkpoint import read_checkpoint
from tarsier_tools.backends.tarsier2.inputs import PixelRules, prefix_positions
from tarsier_tools.backends.tarsier2.loading import load_model
from tarsier_tools.config import Settings
from tarsier_tools.media.transform import fit_size, frame_budget
from tarsier_tools.types import Clip, Request

QUESTIONS = ("Describe the video in detail.", "What is the largest object in the video?")
# The bundled model's preprocessor_config is left out: it would shrink every clip to a small picture.
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
)


def build_checkpoint(folder: Path, *, small: bool) -> int:
    """Write a random Qwen2-VL checkpoint with the bundled model's tokenizer; returns its parameters."""
    for name in TOKENIZER_FILES:
        shutil.copy(TINY_FOLDER / name, folder / name)
    codec = TextCodec(folder)
    tokens = {
        "image_token_id": codec.special("<|image_pad|>"),
        "video_token_id": codec.special("<|video_pad|>"),
        "vision_start_token_id": codec.special("<|vision_start|>"),
        "vision_end_token_id": codec.special("<|vision_end|>"),
    }
    hidden = 64 if small else 1024
    text = {
        "vocab_size": max(tokens.values()) + 1,
        "hidden_size": hidden,
        "intermediate_size": 4 * hidden,
        "num_hidden_layers": 2 if small else 14,
        "num_attention_heads": 4 if small else 16,
        "num_key_value_heads": 2 if small else 4,
        "max_position_embeddings": 32_768,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 1e6,
            "mrope_section": [2, 3, 3] if small else [8, 12, 12],
        },
        "bos_token_id": None,
        "eos_token_id": codec.special("<|im_end|>"),
    }
    vision = {
        "depth": 2 if small else 12,
        "embed_dim": 64 if small else 768,
        "num_heads": 4 if small else 12,
        "hidden_size": hidden,
    }
    torch.manual_seed(0)
    model = Qwen2VLForConditionalGeneration(Qwen2VLConfig(text_config=text, vision_config=vision, **tokens))
    model.save_pretrained(folder)
    shutil.copy(TINY_FOLDER / "generation_config.json", folder)
    return sum(parameter.numel() for parameter in model.parameters())


def make_clip(name: str, frames: int, width: int, height: int) -> Clip:
    """Noise after resize 1, under a fingerprint of its own."""
    width, height = fit_size(width, height, frame_budget(frames))
    random = np.random.default_rng(0)
    images = tuple(random.integers(0, 256, (height, width, 3), np.uint8) for _ in range(frames))
    return Clip(images, tuple(range(frames)), tuple(map(float, range(frames))), name)


def timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def seconds(times: Sequence[float]) -> str:
    return f"{statistics.median(times):.3f} s ({min(times):.3f}-{max(times):.3f})"


def ratio(slow: Sequence[float], fast: Sequence[float]) -> str:
    return f"{statistics.median(slow) / statistics.median(fast):.1f}x"


def second_question(
    backend: Tarsier2Backend, size: tuple[int, int], frames: int, repeats: int
) -> list[object]:
    """Time to the first token of two questions about one new clip, the second from the cache."""
    first: list[float] = []
    second: list[float] = []
    backend.generate([Request(make_clip("warm up", 2, 84, 84), QUESTIONS[0], max_new_tokens=1)])
    for turn in range(repeats):
        shown = make_clip(f"second question {turn}", frames, *size)
        for times, question in zip((first, second), QUESTIONS, strict=True):
            (reply,) = backend.generate([Request(shown, question, max_new_tokens=1)])
            assert (reply.usage.cached_tokens > 0) == (times is second)
            times.append(reply.prefill_s)
    tokens = reply.usage.vision_tokens
    label = f"first token, {frames} frames of {size[0]}x{size[1]} ({tokens} vision tokens)"
    return [label, f"first question {seconds(first)}", f"second {seconds(second)}", ratio(first, second)]


def batch_of_eight(
    backend: Tarsier2Backend, size: tuple[int, int], frames: int, new_tokens: int, repeats: int
) -> list[object]:
    """Eight different clips, one question each, nothing kept."""
    requests = [
        Request(make_clip(f"batch {i}", frames, *size), QUESTIONS[0], max_new_tokens=new_tokens)
        for i in range(8)
    ]
    together: list[float] = []
    apart: list[float] = []
    for _ in range(repeats + 1):
        together.append(timed(lambda: backend.generate(requests)))
        apart.append(timed(lambda: [backend.generate([request]) for request in requests]))
    del together[0], apart[0]
    label = f"8 clips, {frames} frames of {size[0]}x{size[1]}, {new_tokens} tokens each"
    return [label, f"one by one {seconds(apart)}", f"batch {seconds(together)}", ratio(apart, together)]


class PlainLoop:
    """What one would write with transformers alone: the whole prompt through ``model.generate``."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        checkpoint = read_checkpoint(folder)
        self.codec = TextCodec(folder)
        self.form = read_chat_form(self.codec, folder)
        self.rules = PixelRules.read(checkpoint.preprocessor)
        self.model = load_model(checkpoint, settings)
        self.stop = sorted(checkpoint.stop_ids | self.codec.stop_ids())

    def generate(self, request: Request) -> list[int]:
        grid = self.rules.grid(request.clip)
        ids = [*self.form.prefix_ids(grid.tokens), *self.form.suffix_ids(request.prompt)]
        positions = prefix_positions(len(self.form.head), grid, len(ids) - len(self.form.head) - grid.tokens)
        device = self.model.device
        output = self.model.generate(
            input_ids=torch.tensor([ids], device=device),
            attention_mask=torch.ones(1, len(ids), dtype=torch.long, device=device),
            pixel_values=torch.from_numpy(self.rules.pixel_values(request.clip, grid)).to(device),
            image_grid_thw=torch.tensor([(grid.t, grid.h, grid.w)], device=device),
            position_ids=torch.from_numpy(positions)[:, None].to(device),
            max_new_tokens=request.max_new_tokens,
            do_sample=False,
            eos_token_id=self.stop,
            pad_token_id=self.stop[0],
        )
        return list(output[0, len(ids) :].tolist())


def against_plain_loop(
    backend: Tarsier2Backend,
    loop: PlainLoop,
    size: tuple[int, int],
    frames: int,
    new_tokens: int,
    repeats: int,
) -> list[object]:
    """One whole request through either, nothing kept."""
    request = Request(make_clip("loop", frames, *size), QUESTIONS[0], max_new_tokens=new_tokens)
    ours: list[float] = []
    theirs: list[float] = []
    for _ in range(repeats + 1):
        ours.append(timed(lambda: backend.generate([request])))
        theirs.append(timed(lambda: loop.generate(request)))
    del ours[0], theirs[0]
    reply = list(backend.generate([request])[0].token_ids)
    expected = loop.generate(request)
    same = "same tokens" if reply == expected else f"OTHER TOKENS ({reply[:5]} and {expected[:5]} ...)"
    label = f"{len(reply)} tokens about {frames} frames of {size[0]}x{size[1]}, {same}"
    return [label, f"model.generate {seconds(theirs)}", f"this backend {seconds(ours)}", ratio(theirs, ours)]


def peak_memory(device: torch.device) -> str:
    if device.type == "cuda":
        return (
            f"{torch.cuda.max_memory_allocated(device) / 1e9:.2f} GB on {torch.cuda.get_device_name(device)}"
        )
    import resource  # not on Windows

    unit = 1 if sys.platform == "darwin" else 1024
    return f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9:.2f} GB resident"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--small", action="store_true", help="a tiny model and clip, to see that it runs")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--write", action="store_true", help="put the section into benchmarks/RESULTS.md")
    options = parser.parse_args()
    frames, new_tokens = (4, 4) if options.small else (16, 32)
    large, middle = ((168, 112), (84, 84)) if options.small else ((1280, 720), (168, 168))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        parameters = build_checkpoint(folder, small=options.small)
        common = {"backend": "local", "model": name, "device": options.device, "dtype": options.dtype}
        settings = Settings.load(**common, prefix_cache_mb=4096)
        with Tarsier2Backend(folder, settings) as backend:
            info = backend.info
            rows = [second_question(backend, large, frames, options.repeats)]
            peak = peak_memory(torch.device(info.device))
        with Tarsier2Backend(folder, Settings.load(**common, prefix_cache_mb=0)) as backend:
            rows.append(batch_of_eight(backend, (84, 84), frames, new_tokens, options.repeats))
            rows.append(batch_of_eight(backend, middle, frames, new_tokens, options.repeats))
            loop = PlainLoop(folder, settings)
            rows.append(against_plain_loop(backend, loop, middle, frames, new_tokens, options.repeats))
    weights = parameters * torch.empty(0, dtype=getattr(torch, info.dtype)).element_size() / 1e9
    note = (
        f"A random model of {parameters / 1e6:.0f} million parameters in {info.dtype} on {info.device}; "
        f"medians of {options.repeats} turns (least-most). Peak memory of the first row: {peak}, of which "
        f"weights {weights:.2f} GB."
    )
    body = f"{note}\n\n{table(('what', 'slow way', 'fast way', 'ratio'), rows)}"
    publish("Local backend", body, packages=("torch", "transformers"), write=options.write)


if __name__ == "__main__":
    main()
