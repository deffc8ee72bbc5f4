"""Do checked captions catch what is wrong in them? Errors planted in true captions of known films.

    python benchmarks/verify.py [--films N] [--write]

Films of the shapes world that no model was trained on, 4 to 12 s, written as H.264. Of each film a true
caption and captions with one error each are checked through ``VideoService.caption(verify=True)``, the
bundled model being the judge and a script the writer.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import report

from tarsier_tools import Abilities, Backend, Settings, Statement, VideoService
from tarsier_tools.backends import open_backend
from tarsier_tools.media.writer import write_mp4
from tarsier_tools.selfcheck import language as words
from tarsier_tools.selfcheck.world import ACTIONS, COLORS, SHAPES, Fact, Scene, Truth, random_scene
from tarsier_tools.types import (
    Completion,
    ModelInfo,
    Progress,
    Request,
    ScoreRequest,
    Scores,
    Usage,
    no_progress,
)

LANGUAGES: tuple[words.Language, ...] = ("en", "zh-Hant")
KINDS = ("wrong colour", "wrong action", "invented object", "wrong order")
SHARES = (0.1, 0.25, 0.5, 0.75, 0.9)
EXPLAINED = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
FPS = 20


class Prompter(Backend):
    """Says the caption that it is told to say; judges as the model behind it does."""

    def __init__(self, judge: Backend, abilities: Abilities) -> None:
        self.judge = judge
        self.text = ""
        self._info = replace(judge.info, abilities=abilities)

    @property
    def info(self) -> ModelInfo:
        return self._info

    def generate(
        self, requests: Sequence[Request], *, on_progress: Progress = no_progress
    ) -> list[Completion]:
        on_progress(1, 1, "written")
        usage = Usage(prompt_tokens=0, vision_tokens=0, cached_tokens=0, completion_tokens=0)
        return [Completion(self.text, "stop", (), (), usage) for _ in requests]

    def score(self, requests: Sequence[ScoreRequest], *, on_progress: Progress = no_progress) -> list[Scores]:
        return self.judge.score(requests, on_progress=on_progress)


@dataclass(frozen=True, slots=True)
class Told:
    """One statement that was checked.

    Attributes:
        kind: of the error in it; "" for a true one in a true caption, None for a true one beside an error.
        inside: the evidence frame is from the event, for true statements.
    """

    kind: str | None
    statement: Statement
    inside: bool


def pick(rng: np.random.Generator, options: Sequence[Fact]) -> Fact:
    return options[int(rng.integers(len(options)))]


def planted(truth: Truth, rng: np.random.Generator) -> Iterator[tuple[str, list[Fact], int]]:
    """Captions with one error: (kind, what is told of, place of the wrong statement)."""
    facts = [event.fact for event in truth.events]
    place = int(rng.integers(len(facts)))
    color, shape, action = facts[place]
    wrong = [(other, shape, action) for other in COLORS if (other, shape, action) not in facts]
    yield "wrong colour", [*facts[:place], pick(rng, wrong), *facts[place + 1 :]], place
    wrong = [(color, shape, other) for other in ACTIONS if (color, shape, other) not in facts]
    yield "wrong action", [*facts[:place], pick(rng, wrong), *facts[place + 1 :]], place
    absent = [(c, s) for c in COLORS for s in SHAPES if (c, s) not in truth.objects]
    wrong = [(*item, other) for item in absent for other in ACTIONS]
    yield "invented object", [*facts[:place], pick(rng, wrong), *facts[place:]], place
    if len(facts) > 1:
        place = int(rng.integers(1, len(facts)))
        swapped = [*facts[: place - 1], facts[place], facts[place - 1], *facts[place + 1 :]]
        yield "wrong order", swapped, place


def film(scene: Scene, folder: Path) -> Path:
    path = folder / "film.mp4"
    write_mp4(path, scene.render(np.arange(0, scene.duration_s, 1 / FPS), (224, 224)), fps=FPS)
    return path


def run(n_films: int, seed: int, judge: Backend, abilities: Abilities, tag: words.Language) -> list[Told]:
    """Every statement that was checked in one language."""
    rng = np.random.default_rng(seed)
    writer = Prompter(judge, abilities)
    told: list[Told] = []
    with VideoService(Settings(backend="tiny"), writer) as videos, tempfile.TemporaryDirectory() as folder:
        for _ in range(n_films):
            length = float(rng.uniform(4, 12))
            scene = random_scene(rng, duration_s=length, n_events=int(rng.integers(1, 4)))
            truth, path = scene.truth(), film(scene, Path(folder))
            facts = [event.fact for event in truth.events]
            when = {event.fact: event for event in truth.events}
            for kind, said, place in [("", facts, -1), *planted(truth, rng)]:
                writer.text = words.caption(said, tag)
                statements = videos.caption(path, language=tag, verify=True).statements
                assert len(statements) == len(said), (writer.text, statements)
                for number, (fact, statement) in enumerate(zip(said, statements, strict=True)):
                    at = statement.evidence_s
                    inside = fact in when and when[fact].start_s <= at <= when[fact].end_s
                    told.append(Told(kind if number == place or not kind else None, statement, inside))
    return told


def auroc(true: Sequence[float], false: Sequence[float]) -> float:
    """Chance that a true statement has a higher score than a false one."""
    above = np.subtract.outer(np.array(true), np.array(false))
    return float(((above > 0) + 0.5 * (above == 0)).mean())


def share(part: Sequence[bool]) -> str:
    return f"{np.mean(part):.3f}"


def kinds_table(told: Sequence[Told]) -> str:
    """Per kind of statement: how it was judged, and how well its scores tell it from true ones."""
    true = [each.statement for each in told if each.kind == ""]
    rows = []
    for kind in ("", *KINDS):
        group = [each.statement for each in told if each.kind == kind]
        verdicts = [statement.verdict for statement in group]
        apart = ["", ""]
        if kind and kind != "wrong order":
            apart = [
                f"{auroc([getattr(s, name) for s in true], [getattr(s, name) for s in group]):.3f}"
                for name in ("score", "whole_score")
            ]
        row = [
            share([verdict == name for verdict in verdicts])
            for name in ("unsupported", "doubtful", "supported")
        ]
        rows.append([kind or "true", len(group), *row, *apart])
    return report.table(
        [
            "statements",
            "number",
            "unsupported",
            "doubtful",
            "supported",
            "AUROC, best window",
            "AUROC, whole",
        ],
        rows,
    )


def precision(told: Sequence[Told], flags: Sequence[str]) -> str:
    """Of the statements flagged in captions with an error, the share that is the planted one."""
    flagged = [each for each in told if each.kind != "" and each.statement.verdict in flags]
    return share([each.kind is not None for each in flagged])


def limits_table(told: Sequence[Told], limits: Sequence[float]) -> str:
    """What other limits would give, order and denials aside."""
    rows = []
    for limit in limits:
        row: list[object] = [limit]
        for kinds in (("",), KINDS[:3]):
            votes = [
                (each.statement.score >= limit) + (each.statement.whole_score >= limit)
                for each in told
                if each.kind in kinds
            ]
            row += [share([vote == 0 for vote in votes]), share([vote == 1 for vote in votes])]
        rows.append(row)
    return report.table(
        ["limit", "true: unsupported", "true: doubtful", "wrong: unsupported", "wrong: doubtful"], rows
    )


def below_table(told: Sequence[Told]) -> str:
    """How many statements of each kind a limit of the best window's score would leave below it."""
    scores = {kind: [each.statement.score for each in told if each.kind == kind] for kind in ("", *KINDS[:3])}
    rows = [[limit, *(share([s < limit for s in group]) for group in scores.values())] for limit in EXPLAINED]
    return report.table(["limit", "true", *KINDS[:3]], rows)


def section(name: str, told: Sequence[Told]) -> str:
    true = [each for each in told if each.kind == ""]
    beside = [each.statement.verdict != "supported" for each in told if each.kind is None]
    return "\n\n".join(
        (
            f"**{name}**",
            kinds_table(told),
            f"Precision of flags in captions with an error: unsupported {precision(told, ['unsupported'])}, "
            f"unsupported or doubtful {precision(told, ['unsupported', 'doubtful'])}. True statements beside "
            f"an error that were flagged: {share(beside)} of {len(beside)}. The evidence frame is from the "
            f"event for {share([each.inside for each in true])} of the true statements.",
        )
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--films", type=int, default=60)
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--write", action="store_true", help="put the section into RESULTS.md")
    options = parser.parse_args()
    with open_backend(Settings(backend="tiny", device="cpu")) as judge:
        asking = judge.info.abilities
        captioner = Abilities(languages=asking.languages)
        told = {tag: run(options.films, options.seed, judge, asking, tag) for tag in LANGUAGES}
        likely = run(options.films, options.seed, judge, captioner, "en")
    parts = [
        f"{options.films} films, the same in each part. A true caption of each, and one with each error that "
        "fits: a colour or an action of one statement changed to one that does not happen, a statement about "
        "an object that is not there put in, two neighbours swapped (the second one counts as wrong).",
        *(section(f"{tag}, asked yes or no", told[tag]) for tag in LANGUAGES),
        "Limits of the verdicts, wrong colours, actions and objects together, both languages:",
        limits_table([each for tag in LANGUAGES for each in told[tag]], SHARES),
        section("en, by likelihood, as for a captioner", likely),
        "Share of the statements whose best window explains less than the limit:",
        below_table(likely),
    ]
    report.publish(
        "Checked captions", "\n\n".join(parts), packages=["torch", "transformers"], write=options.write
    )


if __name__ == "__main__":
    main()
