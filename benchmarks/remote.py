"""What sending frames as JPEG does to the model's numbers, and what the second question to a server costs.

    python benchmarks/remote.py [--write]                       the effect of JPEG, on the local backend
    python benchmarks/remote.py --checkpoint DIR [--write]      the same with another checkpoint
    python benchmarks/remote.py --base-url URL [--write]        also the second question, to a vLLM server

For the effect of JPEG no server is needed: the frames go through the very encoder that requests go through,
are decoded again, and the local backend is asked about both. The server's questions are asked in turns and
reported as medians; ``TARSIER_API_KEY`` and ``TARSIER_SERVER_MAX_PIXELS`` hold as elsewhere.
"""

from __future__ import annotations

import argparse
import base64
import io
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from PIL import Image
from report import publish, table

from tarsier_tools import prompts
from tarsier_tools.backends import TINY_FOLDER
from tarsier_tools.backends.remote import RemoteBackend
from tarsier_tools.backends.remote.pictures import Encoding, PictureFormat, prepare
from tarsier_tools.backends.tarsier2 import Tarsier2Backend
from tarsier_tools.backends.tarsier2.checkpoint import read_checkpoint
from tarsier_tools.backends.tarsier2.inputs import PixelRules
from tarsier_tools.config import Settings
from tarsier_tools.media.transform import fit_size, frame_budget
from tarsier_tools.selfcheck.world import random_scene
from tarsier_tools.types import Clip, Request, ScoreRequest

FRAMES = 16
QUALITIES = (75, 85, 90, 95, 98, 100)


def film(seed: int, size: tuple[int, int]) -> Clip:
    """A clip of the shapes world, after resize 1."""
    scene = random_scene(np.random.default_rng(seed), duration_s=8.0, n_events=3, n_idle=1)
    times = np.linspace(0, 7.9, FRAMES)
    images = tuple(scene.render(times, fit_size(*size, frame_budget(FRAMES))))
    return Clip(images, tuple(range(FRAMES)), tuple(map(float, times)), f"benchmark {seed} {size}")


def sent(clip: Clip, encoding: Encoding) -> tuple[Clip, int]:
    """The clip as it arrives, and the bytes of its files."""
    files = [base64.b64decode(text) for text in prepare(clip, encoding).encode()]
    frames = tuple(np.asarray(Image.open(io.BytesIO(file))) for file in files)
    name = f"{clip.fingerprint} {encoding.format} {encoding.quality}"
    return Clip(frames, clip.indices, clip.times_s, name), sum(map(len, files))


def jpeg(checkpoint: Path, clips: Sequence[Clip]) -> str:
    """A table: size, and how far the numbers move, for each way of sending."""
    max_pixels = PixelRules.read(read_checkpoint(checkpoint).preprocessor).max_pixels
    yes_no = prompts.yes_no("Does a circle move?")
    rows = []
    with Tarsier2Backend(checkpoint, Settings(device="cpu", dtype="float32")) as backend:

        def answers(shown: Sequence[Clip]) -> tuple[list[str], np.ndarray, np.ndarray]:
            captions = backend.generate(
                [Request(clip, prompts.caption(), max_new_tokens=48) for clip in shown]
            )
            scores = backend.score([ScoreRequest(clip, yes_no, prompts.yes_no_words()) for clip in shown])
            ratios = np.array([score.logprobs[0] - score.logprobs[1] for score in scores])
            return [c.text for c in captions], np.array([c.logprobs[0] for c in captions]), ratios

        texts, firsts, ratios = answers(clips)
        ways: list[tuple[PictureFormat, int]] = [*(("jpeg", quality) for quality in QUALITIES), ("png", 0)]
        for kind, quality in ways:
            arrived = [sent(clip, Encoding(kind, quality or 95, max_pixels)) for clip in clips]
            new_texts, new_firsts, new_ratios = answers([clip for clip, _ in arrived])
            same = sum(a == b for a, b in zip(texts, new_texts, strict=True))
            first, ratio = np.abs(new_firsts - firsts), np.abs(new_ratios - ratios)
            rows.append(
                (
                    f"JPEG {quality}" if quality else "PNG",
                    f"{sum(size for _, size in arrived) / len(clips) / FRAMES / 1024:.1f}",
                    f"{first.mean():.4f} ({first.max():.4f})",
                    f"{ratio.mean():.4f} ({ratio.max():.4f})",
                    f"{same} of {len(clips)}",
                )
            )
    return table(("sent as", "KiB a frame", "first token's logprob", "log-odds of yes", "same caption"), rows)


def second_question(settings: Settings, size: tuple[int, int], repeats: int) -> str:
    """A table: time to the first token of a new clip, of one sent again, and of one named by its id."""
    names = ("first question, pictures sent", "second, pictures sent again", "second, clip named by its id")
    times: dict[str, list[float]] = {name: [] for name in names}
    began = int(time.time())  # clips that no earlier run has shown to the server
    with RemoteBackend(settings) as backend:
        model = backend.info.name
        for turn in range(repeats):
            clip = film(began + turn, size)
            for name, question in zip(
                (names[0], names[2]), (prompts.caption(), "What moves first?"), strict=True
            ):
                (completion,) = backend.generate([Request(clip, question, max_new_tokens=1)])
                times[name].append(completion.prefill_s)
            with RemoteBackend(settings) as stranger:  # does not know that the clip was sent
                stranger.capabilities()
                (completion,) = stranger.generate([Request(clip, "What moves last?", max_new_tokens=1)])
                times[names[1]].append(completion.prefill_s)
    first = statistics.median(times[names[0]])
    rows = [
        (
            name,
            f"{statistics.median(values):.3f} s ({min(values):.3f}-{max(values):.3f})",
            f"{first / statistics.median(values):.1f}x",
        )
        for name, values in times.items()
    ]
    return f"{model}, {FRAMES} frames of {size[0]}x{size[1]}, {repeats} clips.\n\n" + table(
        ("time to the first token", "median (range)", "sooner"), rows
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--checkpoint", type=Path, default=TINY_FOLDER)
    parser.add_argument("--base-url")
    parser.add_argument("--clips", type=int, default=40)
    parser.add_argument("--size", type=int, nargs=2, default=(448, 336), metavar=("WIDTH", "HEIGHT"))
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    size = tuple(arguments.size)
    clips = [film(seed, size) for seed in range(arguments.clips)]
    body = (
        f"{arguments.checkpoint.name}, {len(clips)} films of the shapes world of {size[0]}x{size[1]}, "
        f"{FRAMES} frames each, float32. Differences to the frames as they are: mean (largest).\n\n"
        + jpeg(arguments.checkpoint, clips)
    )
    publish(
        f"Frames sent as JPEG ({arguments.checkpoint.name})",
        body,
        packages=("pillow", "torch"),
        write=arguments.write,
    )
    if arguments.base_url:
        settings = Settings.load(base_url=arguments.base_url)
        publish(
            "The second question to a server",
            second_question(settings, size, repeats=7),
            packages=("httpx",),
            write=arguments.write,
        )


if __name__ == "__main__":
    main()
