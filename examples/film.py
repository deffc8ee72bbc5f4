"""What the examples watch when they are given nothing: a small film, made on the spot."""

from __future__ import annotations

import atexit
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np

from tarsier_tools.media.writer import write_mp4
from tarsier_tools.selfcheck.language import event_phrase
from tarsier_tools.selfcheck.world import Scene, random_scene


def scene(seed: int) -> Scene:
    """Eight seconds of coloured shapes, of which two do something: all that the bundled model understands."""
    return random_scene(np.random.default_rng(seed), duration_s=8.0, n_events=2, n_idle=1)


def scratch() -> Path:
    """Return a new folder, which is removed when the program ends."""
    made = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return Path(made)


def film(seed: int = 3, path: Path | None = None) -> tuple[str, str]:
    """(path of a film, what happens in it first, in words)."""
    shown = scene(seed)
    path = path or scratch() / "shapes.mp4"
    write_mp4(path, shown.render(np.arange(0, shown.duration_s, 1 / 12), (224, 224)), fps=12)
    return str(path), event_phrase(shown.truth().events[0].fact)


def watched() -> tuple[str, str]:
    """The video and the event on the command line, or a film and what happens in it."""
    if not sys.argv[1:]:
        return film()
    return sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "something moves"


def folder() -> Path:
    """The folder on the command line, or one with three films."""
    if sys.argv[1:]:
        given = Path(sys.argv[1])
        if not given.is_dir():
            sys.exit(f"There is no folder {given}.")
        return given
    made = scratch()
    for seed in range(3):
        film(seed, made / f"film {seed}.mp4")
    return made


def long_films() -> Path:
    """The folder on the command line, or one with two films of three scenes each, numbered on: 0 to 5."""
    if sys.argv[1:]:
        return folder()
    made = scratch()
    for first in (0, 3):
        scenes = [scene(first + number) for number in range(3)]
        times_s = np.arange(0, scenes[0].duration_s, 1 / 12)
        frames = (frame for each in scenes for frame in each.render(times_s, (224, 224)))
        write_mp4(made / f"film {first // 3}.mp4", frames, fps=12)
    return made


def questions() -> tuple[str, ...]:
    """The question on the command line, or two about :func:`long_films`, in English and in Chinese."""
    if sys.argv[2:]:
        return (sys.argv[2],)
    first, second = scene(1).truth().events[1].fact, scene(5).truth().events[1].fact
    return f"When does this happen: {event_phrase(first)}?", f"什么时候{event_phrase(second, 'zh-Hans')}？"
