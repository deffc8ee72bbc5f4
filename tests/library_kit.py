"""What the tests of a library's tools share: films of which all is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tarsier_tools.media.writer import write_mp4
from tarsier_tools.selfcheck.language import caption, event_phrase
from tarsier_tools.selfcheck.world import Scene, random_scene

NAMES = ("a.mp4", "b.mp4", "deep/c.mp4")
SUBTITLE = "黑猫跳上窗台"


def scene(number: int) -> Scene:
    """What happens in a film: one event in four seconds."""
    return random_scene(np.random.default_rng(number), duration_s=4.0, n_events=1, n_idle=1)


def event(number: int) -> str:
    """The event of a film as a search says it."""
    return event_phrase(scene(number).truth().events[0].fact)


def said(number: int) -> str:
    """The caption that the bundled model gives a film."""
    return caption([each.fact for each in scene(number).truth().events])


def write_film(path: Path, number: int) -> None:
    """One film."""
    path.parent.mkdir(parents=True, exist_ok=True)
    shown = scene(number)
    write_mp4(path, shown.render(np.arange(0, shown.duration_s, 1 / 10), (224, 224)), fps=10)


def write_films(folder: Path) -> None:
    """The films 0 to 2, the last one deeper down and with Chinese subtitles beside it."""
    for number, name in enumerate(NAMES):
        write_film(folder / name, number)
    (folder / "deep" / "c.zh-Hans.srt").write_text(f"1\n00:00:01,000 --> 00:00:02,000\n{SUBTITLE}\n", "utf-8")
