"""Locating events with the bundled model: how right, how sure, how fast, and in how much memory.

    python benchmarks/locate.py [--write]      about ten minutes on two idle cores
    python benchmarks/locate.py --small        a smoke run; its numbers mean nothing

Films of the shapes world of 10 s, 2 min and 20 min, in none of the sets that the model or its calibration
was fitted on. Of each, events that happen (once or more) and as many that do not are looked for.
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # a small model: threads that wait for each other cost more
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import av
import numpy as np
from report import publish, table

from tarsier_tools import Localization, Settings, VideoService, prompts
from tarsier_tools.calibrating import shows
from tarsier_tools.locating.calibration import expected_error
from tarsier_tools.locating.geometry import Window
from tarsier_tools.media.writer import write_mp4
from tarsier_tools.selfcheck import language
from tarsier_tools.selfcheck.scoring import overlap
from tarsier_tools.selfcheck.world import ACTIONS, COLORS, SHAPES, Fact, Scene, random_scene

DOMAIN = 79
FPS = 8
SIZE = (224, 224)
METHODS = ("frames", "yes_no", "likelihood")
LEVELS = (0.3, 0.5, 0.7)
ASKED = 5  # events that happen, and as many that do not

Span = tuple[float, float]


@dataclass(frozen=True)
class Film:
    """A file, and every occurrence of each event that is looked for in it; none for what never happens."""

    path: Path
    duration_s: float
    truth: dict[str, list[Span]]


@dataclass
class Tally:
    """Counts over films of one length, for one method."""

    ious: list[float] = field(default_factory=list)
    first: list[float] = field(default_factory=list)
    matched: dict[float, int] = field(default_factory=lambda: dict.fromkeys(LEVELS, 0))
    segments: int = 0
    occurrences: int = 0
    alarms: int = 0
    hours: float = 0.0
    present: list[float] = field(default_factory=list)
    absent: list[float] = field(default_factory=list)
    confidences: list[float] = field(default_factory=list)
    there: list[bool] = field(default_factory=list)
    windows: int = 0
    seconds: float = 0.0


def make_film(folder: Path, duration_s: float, events: int, number: int) -> Film:
    rng = np.random.default_rng((DOMAIN, round(duration_s), number))
    scene = random_scene(rng, duration_s=duration_s, n_events=events)
    path = folder / f"{duration_s:.0f}_{number}.mp4"
    write_film(scene, path)
    facts = list(dict.fromkeys(event.fact for event in scene.events))
    asked = [facts[place] for place in rng.permutation(len(facts))[:ASKED].tolist()]
    absent: list[Fact] = []
    while len(absent) < ASKED:
        like = facts and len(absent) % 2 == 0
        fact = (
            language.hard_negative(asked[len(absent) // 2 % len(asked)], scene.truth(), rng)
            if like
            else (COLORS[rng.integers(len(COLORS))], SHAPES[rng.integers(len(SHAPES))],
                  ACTIONS[rng.integers(len(ACTIONS))])
        )  # fmt: skip
        if fact not in facts and fact not in absent:
            absent.append(fact)
    return Film(
        path,
        duration_s,
        {
            language.event_phrase(fact): [(e.start_s, e.end_s) for e in scene.events if e.fact == fact]
            for fact in (*asked, *absent)
        },
    )


def write_film(scene: Scene, path: Path) -> None:
    times = np.arange(0, scene.duration_s, 1 / FPS)
    parts = np.array_split(times, math.ceil(len(times) / 400))
    write_mp4(path, (frame for part in parts for frame in scene.render(part, SIZE)), FPS, SIZE)


def measure(tally: Tally, film: Film, found: Sequence[Localization], seconds: float) -> None:
    tally.seconds += seconds
    tally.windows += len(found[0].curve)
    for result in found:
        true = film.truth[result.event]
        (tally.present if true else tally.absent).append(result.best_score or 0.0)
        tally.hours += film.duration_s / 3600
        spans = [(one.start_s, one.end_s) for one in result.segments]
        tally.segments += len(spans)
        tally.occurrences += len(true)
        tally.ious += [max((overlap(span, one) for span in spans), default=0.0) for one in true]
        tally.alarms += sum(max((overlap(span, one) for one in true), default=0.0) < 0.1 for span in spans)
        for level in LEVELS:
            tally.matched[level] += pairs(spans, true, level)
        if true:
            best = max(result.segments, key=lambda one: one.score or 0.0, default=None)
            span = (best.start_s, best.end_s) if best else (0.0, 0.0)
            tally.first.append(max(overlap(span, one) for one in true))
        for point in result.curve:
            if point.confidence is not None:
                tally.confidences.append(point.confidence)
                tally.there.append(shows(Window(point.start_s, point.end_s), true))


def pairs(spans: Sequence[Span], true: Sequence[Span], level: float) -> int:
    """How many can be matched one to one, the best overlaps first."""
    candidates = sorted(
        ((overlap(span, one), i, j) for i, span in enumerate(spans) for j, one in enumerate(true)),
        reverse=True,
    )
    used: set[tuple[str, int]] = set()
    count = 0
    for share, i, j in candidates:
        if share >= level and ("span", i) not in used and ("true", j) not in used:
            used |= {("span", i), ("true", j)}
            count += 1
    return count


def auroc(present: Sequence[float], absent: Sequence[float]) -> float:
    if not present or not absent:
        return math.nan
    yes, no = np.asarray(present)[:, None], np.asarray(absent)[None]
    return float((yes > no).mean() + 0.5 * (yes == no).mean())


def row(length: str, method: str, tally: Tally) -> list[object]:
    def f1(level: float) -> float:
        return 2 * tally.matched[level] / max(1, tally.segments + tally.occurrences)

    def at(level: float) -> str:
        return f"{np.mean([one >= level for one in tally.first]):.2f}" if tally.first else "-"

    return [
        length,
        method,
        tally.occurrences,
        f"{np.mean(tally.ious):.3f}" if tally.ious else "-",
        " / ".join(at(level) for level in LEVELS),
        " / ".join(f"{f1(level):.2f}" for level in LEVELS),
        f"{tally.alarms / tally.hours:.2f}",
        f"{auroc(tally.present, tally.absent):.3f}",
        f"{expected_error(tally.confidences, tally.there):.3f}" if tally.confidences else "-",
        f"{tally.windows / tally.seconds:.1f}",
    ]


def accuracy(folder: Path, small: bool) -> tuple[str, Film]:
    """The table of all methods and lengths, and the longest film."""
    plan = ((10.0, 3, 3 if small else 24), (120.0, 12, 1 if small else 5), (1200.0, 90, 0 if small else 1))
    rows: list[list[object]] = []
    film = None
    for duration, most, count in plan:
        tallies = {method: Tally() for method in METHODS}
        for number in range(count):
            events = number % (most + 1) if duration < 60 else most
            film = make_film(folder, duration, events, number)
            for method, tally in tallies.items():
                with VideoService(Settings(backend="tiny")) as videos:
                    videos.caption(film.path, frames=4, max_new_tokens=1)  # the model is loaded
                    began = time.perf_counter()
                    found = videos.locate(film.path, list(film.truth), method=method)  # type: ignore[call-overload]
                    measure(tally, film, found, time.perf_counter() - began)
            print(f"{duration:.0f} s, film {number + 1} of {count}", file=sys.stderr)
        name = f"{duration:.0f} s" if duration < 60 else f"{duration / 60:.0f} min"
        rows += [row(f"{name} x {count}", method, tally) for method, tally in tallies.items() if count]
    header = ("films", "method", "occurrences", "mIoU", "R@1 at IoU 0.3 / 0.5 / 0.7",
              "F1 at IoU 0.3 / 0.5 / 0.7", "false alarms per hour and event", "AUROC present/absent",
              "expected calibration error, windows", "windows/s")  # fmt: skip
    assert film is not None
    return table(header, rows), film


def speed(folder: Path, small: bool) -> str:
    """The same questions about the same windows, in one pass and in a loop over windows."""
    film = make_film(folder, 60.0 if small else 120.0, 6 if small else 12, 77)
    events = list(film.truth)
    repeats = 1 if small else 3
    times: dict[str, list[float]] = {"ten": [], "one": [], "loop": [], "kind": [], "decode": [], "video": []}
    windows = 0
    for _ in range(repeats):
        for name, asked in (("ten", events), ("one", events[:1])):
            with VideoService(Settings(backend="tiny")) as videos:
                videos.caption(film.path, frames=4, max_new_tokens=1)
                began = time.perf_counter()
                found = videos.locate(film.path, asked, method="yes_no", threshold=1.0)
                times[name].append(time.perf_counter() - began)
                windows = len(found[0].curve)
                if name == "ten":
                    times["video"].append(found[0].timings.video_s)
        for name, kept in (("loop", {"clip_cache_mb": 0, "prefix_cache_mb": 0}), ("kind", {})):
            with VideoService(Settings(backend="tiny", **kept)) as videos:  # type: ignore[arg-type]
                videos.caption(film.path, frames=4, max_new_tokens=1)
                began = time.perf_counter()
                for point in found[0].curve:
                    for event in events:
                        videos.ask(
                            film.path, prompts.happens(event), yes_no=True,
                            start_s=point.start_s, end_s=point.end_s,
                        )  # fmt: skip
                times[name].append(time.perf_counter() - began)
        began = time.perf_counter()
        with av.open(str(film.path)) as container:
            for _ in container.decode(video=0):
                pass
        times["decode"].append(time.perf_counter() - began)
    middle = {name: statistics.median(values) for name, values in times.items()}
    return "\n".join(
        [
            f"{len(events)} events in {windows} windows of a film of {film.duration_s:.0f} s, medians of "
            f"{repeats} turns:",
            "",
            f"- one call: {middle['ten']:.2f} s; for one event alone {middle['one']:.2f} s, so ten cost "
            f"{middle['ten'] / middle['one']:.1f} times one.",
            f"- a loop that asks window by window and event by event: {middle['loop']:.2f} s "
            f"({middle['loop'] / middle['ten']:.1f}x); with clips and prefixes kept between events "
            f"{middle['kind']:.2f} s ({middle['kind'] / middle['ten']:.1f}x).",
            f"- finding, decoding and shrinking for all windows: {middle['video']:.2f} s; decoding every "
            f"frame once, and nothing else, with PyAV: {middle['decode']:.2f} s.",
        ]
    )


def memory(folder: Path, film: Film, small: bool) -> str:
    """Peak resident memory of processes that locate in films of three lengths."""
    short = make_film(folder, 10.0, 2, 99)
    lengths = [short.path, film.path, folder / "long.mp4"]
    lengthen(film.path, lengths[2], 2 if small else 6)
    lines = []
    for path in lengths:
        command = [sys.executable, __file__, "--memory-of", str(path)]
        told = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
        lines.append(
            [
                f"{float(told[0]) / 60:.1f} min",
                told[1],
                f"{float(told[2]):.0f} MiB",
                f"{float(told[3]):.0f} s",
            ]
        )
    note = (
        "Peak resident memory of a fresh process that looks for three events, with a prefix cache of 64 MiB:"
    )
    return f"{note}\n\n{table(('video', 'windows', 'peak memory', 'time'), lines)}"


def lengthen(path: Path, out: Path, times: int) -> None:
    """The same film several times over, without encoding it again."""
    with av.open(str(path)) as source, av.open(str(out), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        base = source.streams.video[0].time_base
        length = source.streams.video[0].duration
        assert base is not None
        assert length is not None
        for turn in range(times):
            source.seek(0)
            for packet in source.demux(video=0):
                if packet.dts is None or packet.pts is None:
                    continue
                packet.pts, packet.dts = packet.pts + turn * length, packet.dts + turn * length
                packet.stream = stream
                target.mux(packet)


def memory_of(path: Path) -> None:
    import resource  # not on Windows

    with VideoService(Settings(backend="tiny", prefix_cache_mb=64)) as videos:
        began = time.perf_counter()
        found = videos.locate(
            path, ["the red circle grows", "the blue star appears", "the green square moves up"]
        )
        seconds = time.perf_counter() - began
    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20
    print(found[0].coverage.video_duration_s, len(found[0].curve), peak, seconds)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--small", action="store_true", help="a few short films, to see that it runs")
    parser.add_argument("--write", action="store_true", help="put the section into benchmarks/RESULTS.md")
    parser.add_argument("--memory-of", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory_of:
        memory_of(options.memory_of)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        told, longest = accuracy(folder, options.small)
        body = "\n\n".join(
            [
                "The bundled model on a CPU, films of coloured shapes encoded as H.264; of each, up to "
                "five events that happen and five that do not, half of these one attribute away from one "
                "that does. "
                "A false alarm overlaps no occurrence by a tenth. F1 is over segments, matched one to one. "
                "Found is what has a confidence of 0.5.",
                told,
                speed(folder, options.small),
                memory(folder, longest, options.small),
            ]
        )
    publish("Locating", body, packages=("torch", "av", "numpy"), write=options.write)


if __name__ == "__main__":
    main()
