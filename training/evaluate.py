"""Held-out accuracy of a checkpoint through the public API: mp4 files in, answers out.

    python training/evaluate.py --clips 200 --seed 1 --json result.json

Every clip is a fresh film of the shapes world, encoded as H.264 and decoded again. Seeds of films are
three numbers here and four in training, so no film was ever trained on.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np

from tarsier_tools import Settings, VideoService
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


def film(seed: int, clip: int) -> tuple[Scene, tuple[int, int]]:
    """A held-out film of 4 to 12 s, and the size of its file's picture."""
    rng = np.random.default_rng((DOMAIN, seed, clip))
    size = SIZES[rng.choice(len(SIZES), p=SIZE_SHARES)]
    count = int(rng.choice(4, p=[0.07, 0.31, 0.31, 0.31]))
    return random_scene(rng, duration_s=rng.uniform(4, 12), n_events=count, aspect=size[0] / size[1]), size


def write(scene: Scene, size: tuple[int, int], path: Path) -> None:
    times_s = np.arange(round(scene.duration_s * FPS)) / FPS
    write_mp4(path, scene.render(times_s, size), FPS, size)


def judge(
    service: VideoService, path: Path, scene: Scene, tally: Tally, clip: int, rng: np.random.Generator
) -> list[dict[str, str]]:
    """Asks everything about a clip and counts what is right; what was wrong, for reading."""
    truth = scene.truth()
    facts = [event.fact for event in truth.events]
    wrong: list[dict[str, str]] = []

    def count(name: str, tag: str, topic: str, asked: str, reply: str, answer: str, right: float) -> None:
        tally.add(f"{tag} {name}", clip, right)
        if topic:
            tally.add(f"{tag} {name}: {topic}", clip, right)
        if right < 0.5:
            wrong.append(
                {"clip": str(clip), "task": f"{tag} {name}", "asked": asked, "reply": reply, "answer": answer}
            )

    for tag in words.LANGUAGES:
        few = tag != "en"
        caption = service.caption(path, language=tag).text
        told, answer = words.parse_caption(caption), words.caption(facts, tag)
        common = events_in_common(told, facts)
        for name, total in (("recall", len(facts)), ("precision", len(told))):
            tally.add(f"{tag} caption {name}", clip, common, total)
            if not few:
                tally.add(f"{tag} caption {name}: {len(facts)} events", clip, common, total)
        count(
            "caption exact",
            tag,
            f"{len(facts)} events",
            "",
            caption,
            answer,
            float(same_text(caption, answer)),
        )
        if not few:
            for place, part in enumerate(("color", "shape", "action")):
                hits = sum(one[place] == two[place] for one, two in zip(told, facts, strict=False))
                tally.add(f"{tag} caption {part}", clip, hits, min(len(told), len(facts)))
        asked = words.open_questions(truth, rng, tag)
        for question in _some(rng, asked, 1 if few else 3):
            reply = service.ask(path, question.text, language=tag).text
            count("open", tag, "" if few else question.topic, question.text, reply, question.answer,
                  float(same_text(reply, question.answer)))  # fmt: skip
        for question in _some(rng, words.yes_no_questions(truth, rng, tag), 2 if few else 5):
            text = question.text if question.kind != "happens" else words_happens(question.text, tag)
            reply = service.ask(path, text, yes_no=True, language=tag).text
            count("yes/no", tag, "" if few else question.topic, text, reply, question.answer,
                  float(reply == question.answer))  # fmt: skip
        for question in _some(rng, words.choice_questions(truth, rng, tag), 1 if few else 3):
            reply = service.ask(path, question.text, choices=question.options, language=tag).text
            count("choice", tag, "" if few else question.topic, question.text, reply, question.answer,
                  float(reply == question.answer))  # fmt: skip
        for event in _some(rng, [event for event in truth.events if facts.count(event.fact) == 1], 1):
            phrase = words.event_phrase(event.fact, tag)
            found = service.locate(path, phrase, language=tag)
            # The frames that the model wrote are judged; whether it would call the event found is yes/no.
            spans = words.parse_spans(found.reply)
            score = max(
                (overlap(_seconds(span, found), (event.start_s, event.end_s)) for span in spans[:1]),
                default=0.0,
            )
            count("locate IoU", tag, "", phrase, found.reply, f"{event.start_s:.2f}-{event.end_s:.2f}", score)
            tally.add(f"{tag} locate found", clip, float(found.found))
        if not few:
            events = service.caption(path, language=tag, detail="events").events
            read = [(words.parse_caption(segment.text), segment) for segment in events]
            for true in truth.events:
                best = max((overlap((s.start_s, s.end_s), (true.start_s, true.end_s)) for told, s in read
                            if told == [true.fact]), default=0.0)  # fmt: skip
                tally.add(f"{tag} dense recall at IoU 0.5", clip, float(best >= 0.5))
    return wrong


def words_happens(phrase: str, tag: words.Language) -> str:
    """The question whether an event happens, as the service itself puts it."""
    from tarsier_tools import prompts

    return prompts.happens(phrase, tag)


def _seconds(span: tuple[int, int], found: object) -> tuple[float, float]:
    """First to last frame, counted from 1, as seconds: up to the frame after the last."""
    times = found.coverage.frame_times_s  # type: ignore[attr-defined]
    first, last = min(span[0], len(times)) - 1, min(span[1], len(times))
    return times[max(first, 0)], times[last] if last < len(times) else times[-1] + 1 / FPS


def _some(rng: np.random.Generator, items: list, count: int) -> list:  # type: ignore[type-arg]
    return [items[index] for index in rng.permutation(len(items))[:count].tolist()]


def table(rates: dict[str, Rate]) -> str:
    """The rates as a Markdown table, goals beside them."""
    lines = ["| task | value | 95 % interval | of | clips | goal |", "|---|---|---|---|---|---|"]
    for name, rate in rates.items():
        goal = GOALS.get(name.split(" ", 1)[1])
        mark = "" if goal is None else f"{goal:.2f} {'met' if rate.value >= goal else 'missed'}"
        lines.append(
            f"| {name} | {rate.value:.3f} | {rate.low:.3f} to {rate.high:.3f} | {rate.count:.0f} "
            f"| {rate.clips} | {mark} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clips", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--model", type=Path, help="a checkpoint folder; the bundled one by default")
    parser.add_argument("--json", type=Path, help="where to write the numbers and the mistakes")
    options = parser.parse_args()
    settings = (
        Settings(backend="local", model=str(options.model)) if options.model else Settings(backend="tiny")
    )
    tally, wrong, start = Tally(), [], time.monotonic()
    with VideoService(settings) as service, tempfile.TemporaryDirectory() as folder:
        for clip in range(options.clips):
            scene, size = film(options.seed, clip)
            path = Path(folder) / f"{clip}.mp4"
            write(scene, size, path)
            wrong += judge(
                service, path, scene, tally, clip, np.random.default_rng((DOMAIN, options.seed, clip, 1))
            )
            path.unlink()
            if (clip + 1) % 20 == 0:
                print(
                    f"{clip + 1} clips, {(time.monotonic() - start) / (clip + 1):.1f} s each", file=sys.stderr
                )
    rates = dict(sorted(tally.rates().items()))
    print(table(rates))
    if options.json:
        result = {
            "clips": options.clips,
            "seed": options.seed,
            "rates": {k: asdict(v) for k, v in rates.items()},
        }
        options.json.write_text(json.dumps({**result, "mistakes": wrong}, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    main()
