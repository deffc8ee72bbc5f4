"""``make demo``: a fresh clip of the shapes world, asked about through the command line, beside the truth.

The commands run in this process, so that the model is loaded once; what is printed is what can be typed.
"""

from __future__ import annotations

import argparse
import secrets
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from pydantic import BaseModel
from rich.text import Text

from tarsier_tools import cli
from tarsier_tools.cli.failures import report, survive_any_encoding
from tarsier_tools.cli.session import make_console
from tarsier_tools.config import Settings
from tarsier_tools.errors import TarsierError, UsageError
from tarsier_tools.media.writer import write_mp4
from tarsier_tools.results import Localization, Segment
from tarsier_tools.selfcheck import language
from tarsier_tools.selfcheck.world import Event, Scene, Truth, random_scene
from tarsier_tools.service import VideoService

T = TypeVar("T")

FPS = 25
SIZE = (448, 448)
DURATION_S = 8.0
OVERLAP = 0.5
"""A place in time counts as right from this intersection over union on."""


@dataclass(frozen=True)
class Expected:
    """What is true, in words, and whether a result agrees with it."""

    truth: str
    agrees: Callable[[Any], bool]


@dataclass(frozen=True)
class Step:
    """One command, and what is expected of each of its results."""

    title: str
    arguments: tuple[str, ...]
    expected: tuple[Expected, ...] = ()


@dataclass
class LentService:
    """One service for several commands, opened with the settings of the first and closed by none of them."""

    open_service: Callable[[Settings], VideoService]
    _service: VideoService | None = None

    @contextmanager
    def lend(self, settings: Settings) -> Iterator[VideoService]:
        if self._service is None:
            self._service = self.open_service(settings)
        yield self._service

    def close(self) -> None:
        if self._service is not None:
            self._service.close()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; 0 when every command ran, whatever the model said."""
    parser = argparse.ArgumentParser(prog="python -m tarsier_tools.demo", description=__doc__)
    parser.add_argument("--seed", type=int, help="the clip to make; a new one each time by default")
    parser.add_argument("--out", type=Path, default=Path("demo"), help="folder for what is left behind")
    options = parser.parse_args(arguments)
    survive_any_encoding()
    seed = secrets.randbelow(1_000_000) if options.seed is None else options.seed
    try:
        return run(seed, options.out)
    except TarsierError as error:
        return report(error, as_json=False, debug=False)


def run(seed: int, out: Path, open_service: Callable[[Settings], VideoService] = VideoService) -> int:
    """Make the clip of this seed in ``out``, put every question, print the verdicts; the exit code.

    The same seed gives the same film and the same questions. Raises UsageError when ``out`` cannot be
    written to, or when the environment holds a bad setting.
    """
    began = time.perf_counter()
    console = make_console()
    clip = out / "clip.mp4"
    scene, plan = prepare(seed, clip, out / "frames")
    write_clip(scene, clip)
    console.print(Text(f"A fresh film of the shapes world (seed {seed}), {DURATION_S:.0f} s: {clip}", "bold"))
    for event in scene.events:
        console.print(f"  {event.start_s:4.1f} - {event.end_s:4.1f} s  {language.event_sentence(event.fact)}")

    lent = LentService(open_service)
    results: list[BaseModel] = []
    host = cli.Host(open_service=lent.lend, on_result=results.append)
    verdicts: list[bool] = []
    try:
        for step in plan:
            console.print()
            console.print(Text(step.title, "bold magenta"))
            console.print(Text(f"$ tarsier-tools {shlex.join(step.arguments)}", "bold"), soft_wrap=True)
            results.clear()
            code = cli.run(step.arguments, host)
            if code != 0:
                return code
            for expected, result in zip(step.expected, results, strict=bool(step.expected)):
                verdicts.append(expected.agrees(result))
                mark = ("right", "bold green") if verdicts[-1] else ("wrong", "bold red")
                console.print(Text.assemble(mark, f"     the truth: {expected.truth}"), soft_wrap=True)
    finally:
        lent.close()

    console.print()
    seconds = time.perf_counter() - began
    console.print(
        Text(f"{sum(verdicts)} of {len(verdicts)} answers are right; {seconds:.1f} s in all.", "bold")
    )
    console.print(f"Left in {out}: {clip.name}, and frames/ with sheet.jpg, the contact sheet.")
    return 0


def prepare(seed: int, clip: Path, pictures: Path) -> tuple[Scene, list[Step]]:
    """The film of this seed, two or three events long, and what to ask once it lies at ``clip``."""
    rng = np.random.default_rng(seed)
    scene = random_scene(rng, duration_s=DURATION_S, n_events=int(rng.integers(2, 4)), n_idle=1)
    return scene, steps(scene.truth(), rng, clip, pictures)


def write_clip(scene: Scene, path: Path) -> None:
    """Render the film as mp4; the folder is made if it is missing. Raises UsageError when it cannot be."""
    times_s = np.arange(round(scene.duration_s * FPS)) / FPS
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_mp4(path, scene.render(times_s, SIZE), fps=FPS)
    except OSError as error:
        raise UsageError(
            f"{path} cannot be written: {error.strerror}.", hint="Give another folder with --out."
        ) from error


def steps(truth: Truth, rng: np.random.Generator, clip: Path, pictures: Path) -> list[Step]:
    """The commands of the demo, about what this film shows. Raises UsageError for a bad environment."""
    settings = Settings.load()
    bundled_by_default = settings.backend == "auto" and settings.model is None
    video, tiny = str(clip), () if bundled_by_default else ("--backend", "tiny")
    event = _any(rng, truth.events)
    absent = language.event_phrase(language.hard_negative(event.fact, truth, rng))
    questions = language.open_questions(truth, rng)
    opened = [_any(rng, [q for q in questions if q.topic == topic]) for topic in ("action", "last")]
    yes_no = _any(rng, [q for q in language.yes_no_questions(truth, rng) if q.topic == "does"])
    choice = _any(rng, [q for q in language.choice_questions(truth, rng) if q.topic == "happens"])
    chosen = tuple(word for option in choice.options for word in ("--choice", option))
    return [
        Step("What happens?", ("caption", video, *tiny), (_caption(truth, "en"),)),
        Step(
            "发生了什么？",
            ("caption", video, "--language", "zh-Hans", *tiny),
            (_caption(truth, "zh-Hans"),),
        ),
        Step(
            "Two questions: the second does not pay for the video again",
            ("ask", video, *(question.text for question in opened), *tiny),
            tuple(_answer(question.answer, f"{question.text} ") for question in opened),
        ),
        Step(
            "Yes or no, with its probability",
            ("ask", video, yes_no.text, "--yes-no", *tiny),
            (_answer(yes_no.answer),),
        ),
        Step(
            "One of several answers, each with its probability",
            ("ask", video, choice.text, *chosen, *tiny),
            (_answer(choice.answer),),
        ),
        Step(
            "When does it happen?",
            ("locate", video, language.event_phrase(event.fact), *tiny),
            (_place(event),),
        ),
        Step(
            "When does something happen that does not?",
            ("locate", video, absent, *tiny),
            (Expected("it does not happen", lambda result: not result.found),),
        ),
        Step(
            "A contact sheet",
            ("frames", video, "--count", "16", "--out", str(pictures), "--sheet", "--overwrite"),
        ),
    ]


def _caption(truth: Truth, tag: language.Language) -> Expected:
    """A caption is right when it tells of the same events in the same order, and of no others."""
    facts = [event.fact for event in truth.events]
    return Expected(language.caption(facts, tag), lambda result: language.parse_caption(result.text) == facts)


def _answer(text: str, before: str = "") -> Expected:
    """An answer is right when it is the one that the world's language has for it, to the letter."""
    return Expected(f"{before}{text}", lambda result: result.text == text)


def _place(event: Event) -> Expected:
    def agrees(result: Localization) -> bool:
        return any(_overlap(event, segment) >= OVERLAP for segment in result.segments[:1])

    return Expected(f"{event.start_s:.1f} - {event.end_s:.1f} s (right from half an overlap on)", agrees)


def _overlap(event: Event, segment: Segment) -> float:
    """Intersection over union of the two stretches of time."""
    shared = min(event.end_s, segment.end_s) - max(event.start_s, segment.start_s)
    union = max(event.end_s, segment.end_s) - min(event.start_s, segment.start_s)
    return max(shared, 0.0) / union


def _any(rng: np.random.Generator, items: Sequence[T]) -> T:
    return items[int(rng.integers(len(items)))]


if __name__ == "__main__":
    sys.exit(main())
