"""How well drawn shapes are told from every other kind of video, by kind and by quality of the encoding.

``python training/recognition.py --filmed VIDEO ...`` measures ``selfcheck/recognizing.py`` on the held-out
films of ``evaluate.py`` and on clips of other kinds (``tests/corpus_other.py``, and ranges of the videos
given), all through H.264 in mp4. Prints the tables of REPORT.md: clips recognised, how far the measures of
shapes films reach and where the limits are, and what a clip costs.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from corpus_other import others

from tarsier_tools.config import Settings
from tarsier_tools.decoding import Decoding
from tarsier_tools.doctor.quality import FPS, film
from tarsier_tools.media.clips import ClipSpec
from tarsier_tools.media.source import resolve
from tarsier_tools.media.writer import write_mp4
from tarsier_tools.selfcheck.recognizing import LIMITS, broken, measure, shows_shapes
from tarsier_tools.types import no_progress

QUALITIES = (18, 28, 40)
"""Of H.264, as crf: 18 looks like the original, 28 is what web sites send, 40 is ugly."""
FRAMES = 16
Row = tuple[str, str, int, bool]
"""Kind, name, quality, whether it was taken for shapes."""
Extremes = dict[str, tuple[float, float]]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clips", type=int, default=300, help="shapes films")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--filmed", type=Path, nargs="*", default=[], help="videos of the real world")
    parser.add_argument("--crf", type=int, nargs="+", default=QUALITIES, help="of the encodings")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    options = parser.parse_args()
    rows: list[Row] = []
    reach: Extremes = {}
    spent: list[float] = []
    for kind, name, frames in (*others(), *filmed(options.filmed)):
        for crf in options.crf:
            (clip,) = through(frames, crf, 10, ((None, None),))
            rows.append((kind, name, crf, shows_shapes(clip)))
    with ProcessPoolExecutor(options.workers, mp_context=get_context("spawn")) as pool:
        try:
            for some, extremes, seconds in pool.map(
                partial(shapes, options.seed, options.crf), range(options.clips)
            ):
                rows += some
                spent += seconds
                for name, (low, high) in extremes.items():
                    reach[name] = _wider(reach.get(name), low, high)
        except KeyboardInterrupt:  # what is measured by then is worth knowing
            pool.shutdown(wait=False, cancel_futures=True)
    print(tables(options.crf, rows, reach, spent), flush=True)


def shapes(seed: int, qualities: Sequence[int], number: int) -> tuple[list[Row], Extremes, list[float]]:
    """One film, whole and a moment of it, at every quality."""
    rows: list[Row] = []
    reach: Extremes = {}
    seconds: list[float] = []
    scene, size = film(seed, number)
    frames = list(scene.render(np.arange(round(scene.duration_s * FPS)) / FPS, size))
    start = float(np.random.default_rng(number).uniform(0, scene.duration_s - 0.2))
    ranges = ((None, None), (start, start + 1.5 / FPS))
    for crf in qualities:
        for part, clip in zip(("whole", "a moment"), through(frames, crf, FPS, ranges), strict=True):
            began = time.process_time()
            measures = list(measure(clip))
            if part == "whole":
                seconds.append(time.process_time() - began)
            right = not any(map(broken, measures))
            rows.append((f"shapes, {part}", str(number), crf, right))
            if not right:
                worst = next(each for each in measures if broken(each))
                told = {name: worst[name] for name in broken(worst)}
                print(f"refused: film {number}, {part}, crf {crf}: {told}", file=sys.stderr, flush=True)
            for each in measures:
                for name, value in each.items():
                    reach[name] = _wider(reach.get(name), value, value)
    print(f"film {number}", file=sys.stderr, flush=True)
    return rows, reach, seconds


def through(
    frames: Sequence[NDArray[np.uint8]],
    crf: int,
    fps: float,
    ranges: Sequence[tuple[float | None, float | None]],
) -> Iterator[list[NDArray[np.uint8]]]:
    """The frames as a model would be shown them, range by range, after H.264 of this quality."""
    settings = Settings()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.mp4"
        write_mp4(path, frames, fps, crf=crf)
        decoding = Decoding(settings)
        for start_s, end_s in ranges:
            spec = ClipSpec(start_s, end_s, FRAMES, max_pixels=settings.max_pixels)
            yield list(decoding.clip(resolve(path, settings), spec, no_progress).clip.frames)
        decoding.close()


def filmed(videos: Sequence[Path]) -> Iterator[tuple[str, str, list[NDArray[np.uint8]]]]:
    """Eight ranges of each video: as they are, smaller, darker, lighter, in grey, blurred, misty, fading."""
    settings = Settings(max_pixels=90_000)
    decoding = Decoding(settings)
    for path in videos:
        source = resolve(path, settings)
        length = decoding.info(source).duration_s / 8
        for part in range(8):
            spec = ClipSpec(part * length, (part + 1) * length, 10, max_pixels=settings.max_pixels)
            shown = decoding.clip(source, spec, no_progress).clip.frames
            even = [frame[: len(frame) // 2 * 2, : frame.shape[1] // 2 * 2] for frame in shown]
            small = [_resized(frame, (160, 90)) for frame in even]
            for name, frames in (
                ("as it is", even),
                ("small", small),
                ("dark", [(frame * 0.35).astype(np.uint8) for frame in small]),
                ("light", [(255 - (255 - frame) * 0.5).astype(np.uint8) for frame in small]),
                ("dark grey", [_grey(frame) for frame in small]),
                ("blurred", [_resized(_resized(frame, (16, 9)), (160, 90)) for frame in small]),
                ("misty", [(frame * 0.12 + 70).astype(np.uint8) for frame in small]),
                ("nearly gone in mist", [(frame * 0.05 + 70).astype(np.uint8) for frame in small]),
                (
                    "fading",
                    [(frame * 0.05 + 80 - 5 * step).astype(np.uint8) for step, frame in enumerate(small)],
                ),
            ):
                yield "filmed", f"{path.stem} {part}, {name}", frames
    decoding.close()


def _grey(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return (frame.mean(axis=2, keepdims=True) * 0.4 + 20).astype(np.uint8).repeat(3, axis=2)


def _resized(frame: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    return np.asarray(Image.fromarray(frame).resize(size, Image.Resampling.BICUBIC))


def _wider(known: tuple[float, float] | None, low: float, high: float) -> tuple[float, float]:
    return (low, high) if known is None else (min(known[0], low), max(known[1], high))


def tables(qualities: Sequence[int], rows: Sequence[Row], reach: Extremes, spent: Sequence[float]) -> str:
    """Everything as Markdown."""
    heads = " | ".join(f"crf {crf}" for crf in qualities)
    lines = [f"| taken for shapes | {heads} |", "|---|" + "---|" * len(qualities)]
    for kind in dict.fromkeys(row[0] for row in rows):
        cells = []
        for crf in qualities:
            found = [right for a_kind, _, quality, right in rows if (a_kind, quality) == (kind, crf)]
            cells.append(f"{sum(found)} of {len(found)}")
        lines.append(f"| {kind} | {' | '.join(cells)} |")
    wrong = [
        f"{kind}: {name}, crf {crf}" for kind, name, crf, right in rows if right and "shapes," not in kind
    ]
    lines += ["", "Taken for shapes and none: " + ("; ".join(wrong) or "nothing") + "."]
    lines += ["", "| measure | shapes films | limits |", "|---|---|---|"]
    for name, (low, high) in LIMITS.items():
        least, most = reach.get(name, (float("nan"), float("nan")))
        lines.append(f"| {name} | {least:.3g} to {most:.3g} | {low:g} to {high:g} |")
    milliseconds = 1000 * float(np.median(spent)) if spent else float("nan")
    lines += ["", f"A clip of {FRAMES} frames takes {milliseconds:.1f} ms of one core (median)."]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
