"""How often a model is right about the shapes world, through the public API: mp4 files in, answers out.

Every clip is a fresh film, encoded as H.264 and decoded again. Seeds of films are three numbers here and four
where the bundled model was trained, so it has seen none of them.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from tarsier_tools import prompts
from tarsier_tools.doctor.findings import Accuracy, Finding
from tarsier_tools.media.writer import write_mp4
from tarsier_tools.selfcheck import language as words
from tarsier_tools.selfcheck.scoring import Rate, Tally, events_in_common, overlap, same_text
from tarsier_tools.selfcheck.world import Scene, random_scene
from tarsier_tools.types import Progress

if TYPE_CHECKING:
    from tarsier_tools.service import VideoService

DOMAIN = 77
FPS = 20
SIZES: tuple[tuple[int, int], ...] = ((336, 336), (400, 300), (480, 270))
SIZE_SHARES = (0.8, 0.1, 0.1)
TASKS = ("caption recall", "caption precision", "yes/no", "open", "choice", "locate IoU")
"""What the doctor reports; the tally has more."""
T = TypeVar("T")
Count = tuple[str, int, float, float]
"""Name of the rate, number of the clip, hits, out of how many."""


class Judge:
    """Asks a service everything about a clip; collects counts, and the mistakes for reading."""

    def __init__(self, service: VideoService, languages: Sequence[words.Language] = words.LANGUAGES) -> None:
        self.service = service
        self.languages = languages
        self.counts: list[Count] = []
        self.mistakes: list[dict[str, str]] = []

    def clip(self, number: int, path: Path, scene: Scene, rng: np.random.Generator) -> None:
        for tag in self.languages:
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
            best = max(found.segments, key=lambda segment: segment.score or 0.0, default=None)
            share = overlap((best.start_s, best.end_s), (event.start_s, event.end_s)) if best else 0.0
            true = f"{event.start_s:.2f}-{event.end_s:.2f}"
            told = f"{best.start_s:.2f}-{best.end_s:.2f}" if best else "not found"
            self._note(clip, tag, "locate IoU", "", phrase, told, true, share)
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


def _some(rng: np.random.Generator, items: Sequence[T], count: int) -> list[T]:
    return [items[index] for index in rng.permutation(len(items))[:count].tolist()]


def measure(
    service: VideoService,
    clips: int,
    *,
    seed: int = 1,
    languages: Sequence[words.Language] = ("en",),
    stated: dict[str, float] | None = None,
    on_progress: Progress,
) -> tuple[Accuracy, ...]:
    """The accuracy in every one of :data:`TASKS`, by language, on the first ``clips`` films of a seed.

    Intervals are Wilson's, at 95 %, with the clip as the unit: wide, and never empty for few clips.

    Args:
        stated: what the checkpoint's makers say, by name of the rate.
    """
    judge = Judge(service, languages)
    with tempfile.TemporaryDirectory(prefix="tarsier-doctor-") as folder:
        for number in range(clips):
            on_progress(number, clips, "asking about films")
            scene, size = film(seed, number)
            path = Path(folder) / f"{number}.mp4"
            write(scene, size, path)
            judge.clip(number, path, scene, np.random.default_rng((DOMAIN, seed, number, 1)))
            path.unlink()
    tally = Tally()
    for count in judge.counts:
        tally.add(*count)
    rates = tally.rates(draws=1)
    names = [f"{tag} {task}" for tag in languages for task in TASKS]
    return tuple(
        _accuracy(name, rates[name], (stated or {}).get(name))
        for name in names
        if name in rates and rates[name].count
    )


def judged(accuracy: Sequence[Accuracy]) -> Finding:
    """Whether the figures are those that the checkpoint's makers state, or at least no worse."""
    told = ", ".join(f"{each.task} {each.value:.2f}" for each in accuracy)
    worse = [each for each in accuracy if each.stated is not None and each.high < each.stated]
    if worse:
        missed = ", ".join(f"{each.task} {each.value:.2f} of {each.stated:.2f}" for each in worse)
        return Finding(
            name="quality",
            status="fail",
            detail=f"Accuracy is below what its makers state, beyond chance: {missed}.",
            hint="Something on the way spoils it: quantisation, chat template, preprocessing.",
        )
    compared = any(each.stated is not None for each in accuracy)
    return Finding(
        name="quality",
        status="ok",
        detail=f"{told}; {'as its makers state' if compared else 'nothing is stated to compare it with'}.",
    )


def stated_by(folder: Path) -> dict[str, float]:
    """What a checkpoint's ``tarsier.json`` says of its accuracy; nothing when it has none."""
    try:
        card = json.loads((folder / "tarsier.json").read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    found = card.get("accuracy") if isinstance(card, dict) else None
    if not isinstance(found, dict):
        return {}
    return {str(name): float(value) for name, value in found.items() if isinstance(value, int | float)}


def wilson(share: float, count: int) -> tuple[float, float]:
    """The 95 % score interval of a share of ``count`` (E. B. Wilson, JASA 22, 1927)."""
    z = 1.96
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    reach = z / (1 + z * z / count) * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return max(0.0, middle - reach), min(1.0, middle + reach)


def _accuracy(name: str, rate: Rate, stated: float | None) -> Accuracy:
    low, high = wilson(rate.value, rate.clips)
    return Accuracy(task=name, value=rate.value, low=low, high=high, clips=rate.clips, stated=stated)
