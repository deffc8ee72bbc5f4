"""Films of the shapes world as files, with events that happen in them and events that do not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from tarsier_tools.media.writer import write_mp4
from tarsier_tools.selfcheck import language
from tarsier_tools.selfcheck.world import ACTIONS, COLORS, SHAPES, Fact, Scene, random_scene

T = TypeVar("T")

_DOMAIN = 78
"""Begins the seed of every film here: none of them is in the training or in an evaluation."""

_FPS = 10
_SIZE = (224, 224)


@dataclass(frozen=True, slots=True)
class LabelledFilm:
    """One film, and when each of some events happens in it.

    Attributes:
        events: what one would look for, and every (start, end) in seconds; () for what never happens.
    """

    path: Path
    scene: Scene
    language: language.Language
    events: tuple[tuple[str, tuple[tuple[float, float], ...]], ...]


def labelled_films(folder: Path, seed: int, count: int) -> Iterator[LabelledFilm]:
    """Every other film is 4 to 12 s long and has up to 3 events, the others 30 to 60 s and up to 6.

    Of each, up to three events that happen are asked about and as many that do not, in one of the world's
    languages in turn. The same seed gives the same films.
    """
    for number in range(count):
        rng = np.random.default_rng((_DOMAIN, seed, number))
        short = number % 2 == 0
        duration_s = float(rng.uniform(4, 12) if short else rng.uniform(30, 60))
        scene = random_scene(rng, duration_s=duration_s, n_events=int(rng.integers(0, 4 if short else 7)))
        path = folder / f"shapes_{seed}_{number}.mp4"
        write_mp4(path, scene.render(np.arange(0, duration_s, 1 / _FPS), _SIZE), _FPS)
        yield labelled(path, scene, rng, language.LANGUAGES[number // 2 % len(language.LANGUAGES)])


def labelled(path: Path, scene: Scene, rng: np.random.Generator, tag: language.Language) -> LabelledFilm:
    """Up to three events of a film, and as many that are not in it, half of them very like one that is."""
    facts = list(dict.fromkeys(event.fact for event in scene.events))
    asked = [facts[place] for place in rng.permutation(len(facts))[:3].tolist()]
    truth = scene.truth()
    absent: list[Fact] = []
    while len(absent) < max(len(asked), 1):
        if facts and len(absent) % 2 == 0:
            fact = language.hard_negative(asked[len(absent) // 2 % len(asked)], truth, rng)
        else:
            fact = (_any(rng, COLORS), _any(rng, SHAPES), _any(rng, ACTIONS))
        if fact not in facts and fact not in absent:
            absent.append(fact)
    return LabelledFilm(
        path,
        scene,
        tag,
        tuple(
            (
                language.event_phrase(fact, tag),
                tuple((event.start_s, event.end_s) for event in scene.events if event.fact == fact),
            )
            for fact in (*asked, *absent)
        ),
    )


def _any(rng: np.random.Generator, items: tuple[T, ...]) -> T:
    return items[int(rng.integers(len(items)))]
