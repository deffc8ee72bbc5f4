"""Held-out accuracy of a checkpoint through the public API: mp4 files in, answers out.

    python training/evaluate.py --clips 200 --seed 1 --json result.json

Every clip is a fresh film of the shapes world, encoded as H.264 and decoded again. Seeds of films are
three numbers here and four in training, so no film was ever trained on.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from tarsier_tools import Settings, VideoService
from tarsier_tools.doctor.quality import DOMAIN, Count, Judge, film, write
from tarsier_tools.selfcheck.scoring import Rate, Tally

GOALS = {
    "caption recall": 0.90,
    "caption precision": 0.90,
    "yes/no": 0.93,
    "open": 0.90,
    "choice": 0.90,
    "locate IoU": 0.70,
}


def run(options: argparse.Namespace, worker: int) -> tuple[list[Count], list[dict[str, str]]]:
    """Counts and mistakes of every clip whose turn it is, in a process of its own."""
    os.environ["OMP_NUM_THREADS"] = "1"  # before torch is loaded: the processes share the cores
    settings = Settings(backend="tiny")
    if options.model:
        settings = Settings(backend="local", model=str(options.model))
    with VideoService(settings) as service, tempfile.TemporaryDirectory() as folder:
        judge = Judge(service)
        for number in range(worker, options.clips, options.workers):
            start = time.monotonic()
            scene, size = film(options.seed, number)
            path = Path(folder) / f"{number}.mp4"
            write(scene, size, path)
            judge.clip(number, path, scene, np.random.default_rng((DOMAIN, options.seed, number, 1)))
            path.unlink()
            if number % 20 == 0:
                print(f"clip {number}: {time.monotonic() - start:.1f} s", file=sys.stderr, flush=True)
    return judge.counts, judge.mistakes


def table(rates: dict[str, Rate]) -> str:
    """The rates as a Markdown table, goals beside them."""
    lines = ["| task | value | 95 % interval | of | clips | goal |", "|---|---|---|---|---|---|"]
    for name, rate in rates.items():
        goal = GOALS.get(name.split(" ", 1)[1])
        mark = "" if goal is None else f"{goal:.2f} {'met' if rate.value >= goal else 'missed'}"
        interval = f"{rate.low:.3f} to {rate.high:.3f}"
        lines.append(f"| {name} | {rate.value:.3f} | {interval} | {rate.count:.0f} | {rate.clips} | {mark} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clips", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--model", type=Path, help="a checkpoint folder; the bundled one by default")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    parser.add_argument("--json", type=Path, help="where to write the numbers and the mistakes")
    parser.add_argument("--card", type=Path, help="a tarsier.json to write the figures with a goal into")
    options = parser.parse_args()
    tally = Tally()
    wrong: list[dict[str, str]] = []
    with ProcessPoolExecutor(options.workers, mp_context=get_context("spawn")) as pool:
        for counts, mistakes in pool.map(partial(run, options), range(options.workers)):
            wrong += mistakes
            for count in counts:
                tally.add(*count)
    rates = dict(sorted(tally.rates().items()))
    print(table(rates))
    if options.card:
        card = json.loads(options.card.read_text("utf-8"))
        card["accuracy"] = {
            name: round(rate.value, 3) for name, rate in rates.items() if name.split(" ", 1)[1] in GOALS
        }
        options.card.write_text(json.dumps(card, indent=2, ensure_ascii=False) + "\n", "utf-8")
    if options.json:
        rows = {name: asdict(rate) for name, rate in rates.items()}
        result = {"clips": options.clips, "seed": options.seed, "rates": rows, "mistakes": wrong}
        options.json.write_text(json.dumps(result, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    main()
