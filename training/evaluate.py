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
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

import numpy as np

from tarsier_tools import Localization, Settings, VideoService, prompts
from tarsier_tools.media.writer import write_mp4
from tarsier_tools.selfcheck import language as words
from tarsier_tools.selfcheck.scoring import Rate, Tally, events_in_common, overlap, same_text
from tarsier_tools.selfcheck.world import Scene, random_scene

DOMAIN = 77
FPS = 20
SIZES: tuple[tuple[int, int], ...] = ((336, 336), (400, 300), (480, 270))
SIZE_SHARES = (0.8, 0.1, 0.1)
GOALS = {
    "caption recall": 0.90,
    "caption precision": 0.90,
    "yes/no": 0.93,
    "open": 0.90,
    "choice": 0.90,
    "locate IoU": 0.70,
}
T = TypeVar("T")
Count = tuple[str, int, float, float]
"""Name of the rate, number of the clip, hits, out of how many."""


class Judge:
    """Asks a service everything about a clip; collects counts, and the mistakes for reading."""

    def __init__(self, service: VideoService) -> None:
        self.service = service
        self.counts: list[Count] = []
        self.mistakes: list[dict[str, str]] = []

    def clip(self, number: int, path: Path, scene: Scene, rng: np.random.Generator) -> None:
        for tag in words.LANGUAGES:
            self._captions(number, path, scene, tag)
            self._questions(number, path, scene, tag, rng)
            self._places(number, path, scene, tag, rng)

    def _captions(self, clip: int, path: Path, scene: Scene, tag: words.Language) -> None:
        facts = [event.fact for event in scene.truth().events]
        text = self.service.caption(path, language=tag).text
        told, answer = words.parse_caption(text), words.caption(facts, tag)
        common = events_in_common(told, facts)
        for name, total in (("recall", len(facts)), ("precision", len(told))):
            self.counts.append((f"{tag} caption {name}", clip, common, total))
            if tag == "en":
                self.counts.append((f"{tag} caption {name}: {len(facts)} events", clip, common, total))
        self._note(
            clip, tag, "caption exact", f"{len(facts)} events", "", text, answer, same_text(text, answer)
        )
        for place, part in enumerate(("color", "shape", "action")):
            hits = sum(one[place] == two[place] for one, two in zip(told, facts, strict=False))
            self.counts.append((f"{tag} caption {part}", clip, hits, min(len(told), len(facts))))

    def _questions(
        self, clip: int, path: Path, scene: Scene, tag: words.Language, rng: np.random.Generator
    ) -> None:
        truth, many = scene.truth(), 3 if tag == "en" else 1
        ask = partial(self.service.ask, path, language=tag)
        for question in _some(rng, words.open_questions(truth, rng, tag), many):
            reply = ask(question.text).text
            self._answered(clip, "open", question, reply, same_text(reply, question.answer))
        for question in _some(rng, words.yes_no_questions(truth, rng, tag), 1 + many):
            text = prompts.happens(question.text, tag) if question.kind == "happens" else question.text
            reply = ask(text, yes_no=True).text
            self._answered(clip, "yes/no", question, reply, reply == question.answer)
        for question in _some(rng, words.choice_questions(truth, rng, tag), many):
            reply = ask(question.text, choices=question.options).text
            self._answered(clip, "choice", question, reply, reply == question.answer)

    def _places(
        self, clip: int, path: Path, scene: Scene, tag: words.Language, rng: np.random.Generator
    ) -> None:
        events = scene.truth().events
        facts = [event.fact for event in events]
        for event in _some(rng, [event for event in events if facts.count(event.fact) == 1], 1):
            phrase = words.event_phrase(event.fact, tag)
            found = self.service.locate(path, phrase, language=tag)
            # The frames that the model wrote are judged; whether it would call the event found is yes/no.
            spans = words.parse_spans(found.reply)
            share = overlap(_seconds(spans[0], found), (event.start_s, event.end_s)) if spans else 0.0
            true = f"{event.start_s:.2f}-{event.end_s:.2f}"
            self._note(clip, tag, "locate IoU", "", phrase, found.reply, true, share)
            self.counts.append((f"{tag} locate found", clip, float(found.found), 1.0))
        dense = self.service.caption(path, language=tag, detail="events").events
        read = [(words.parse_caption(segment.text), segment) for segment in dense]
        for event in events:
            shares = [overlap((s.start_s, s.end_s), (event.start_s, event.end_s)) for told, s in read
                      if told == [event.fact]]  # fmt: skip
            self.counts.append(
                (f"{tag} dense recall at IoU 0.5", clip, float(max(shares, default=0) >= 0.5), 1.0)
            )

    def _answered(self, clip: int, name: str, question: words.Question, reply: str, right: bool) -> None:
        topic = question.topic if question.language == "en" else ""
        self._note(clip, question.language, name, topic, question.text, reply, question.answer, right)

    def _note(
        self, clip: int, tag: str, name: str, topic: str, asked: str, reply: str, answer: str, right: float
    ) -> None:
        self.counts.append((f"{tag} {name}", clip, float(right), 1.0))
        if topic:
            self.counts.append((f"{tag} {name}: {topic}", clip, float(right), 1.0))
        if right < 0.5:
            told = {"asked": asked, "reply": reply, "answer": answer}
            self.mistakes.append({"clip": str(clip), "task": f"{tag} {name}", **told})


def film(seed: int, clip: int) -> tuple[Scene, tuple[int, int]]:
    """A held-out film of 4 to 12 s, and the size of its file's picture."""
    rng = np.random.default_rng((DOMAIN, seed, clip))
    size = SIZES[rng.choice(len(SIZES), p=SIZE_SHARES)]
    count = int(rng.choice(4, p=[0.07, 0.31, 0.31, 0.31]))
    return random_scene(rng, duration_s=rng.uniform(4, 12), n_events=count, aspect=size[0] / size[1]), size


def write(scene: Scene, size: tuple[int, int], path: Path) -> None:
    times_s = np.arange(round(scene.duration_s * FPS)) / FPS
    write_mp4(path, scene.render(times_s, size), FPS, size)


def _seconds(span: tuple[int, int], found: Localization) -> tuple[float, float]:
    """First to last frame, counted from 1, as seconds: up to the frame after the last."""
    times = found.coverage.frame_times_s
    first, last = max(min(span[0], len(times)) - 1, 0), min(span[1], len(times))
    return times[first], times[last] if last < len(times) else times[-1] + 1 / FPS


def _some(rng: np.random.Generator, items: Sequence[T], count: int) -> list[T]:
    return [items[index] for index in rng.permutation(len(items))[:count].tolist()]


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
    if options.json:
        rows = {name: asdict(rate) for name, rate in rates.items()}
        result = {"clips": options.clips, "seed": options.seed, "rates": rows, "mistakes": wrong}
        options.json.write_text(json.dumps(result, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    main()
