"""Timelines: are the cuts found, what does looking for them cost, and does memory grow with the video?

    python benchmarks/timeline.py [--films 20] [--hours 2] [--write]

Cuts: films of the shapes world joined by hard cuts and by dissolves of known lengths. Cost: CPU seconds
beside decoding the same video and doing nothing with it, taking turns, medians. Memory: each length in a
process of its own, with a backend that says a fixed sentence, so that it is the timeline's own memory.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from report import publish, table  # noqa: E402

from tarsier_tools.media.shots import find_cuts, stretches  # noqa: E402
from tarsier_tools.media.writer import write_mp4  # noqa: E402
from tarsier_tools.results import TimeRange  # noqa: E402
from tarsier_tools.selfcheck.world import random_scene  # noqa: E402

FPS = 12
SHOTS = 8
DISSOLVES_S = (0.0, 0.25, 0.5, 1.0, 2.0)

Picture = NDArray[np.uint8]

CHILD = """
import sys, time
from pathlib import Path
from tarsier_tools import Completion, ScriptedBackend, Settings, Usage, VideoService

class Parrot(ScriptedBackend):
    def generate(self, requests, *, on_progress):
        on_progress(0, 1, "generating")
        usage = Usage(prompt_tokens=1, vision_tokens=1, cached_tokens=0, completion_tokens=1)
        return [Completion("A red circle moves left.", "stop", (), (), usage) for _ in requests]

def peak():
    # Not ru_maxrss, which begins with what the parent had when this process was started.
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))

import scenedetect, av, PIL.Image, tarsier_tools.service  # what is loaded once does not grow
base = peak()
began = time.process_time()
with VideoService(Settings(cache_dir=Path(sys.argv[2])), Parrot()) as service:
    result = service.timeline(sys.argv[1], summarize=True)
print(base, peak(), len(result.segments), time.process_time() - began)
"""


def joined(rng: np.random.Generator, dissolve_s: float) -> tuple[list[Picture], list[float]]:
    """Pictures of a film of several shots, and when each shot but the first begins, in the middle of it."""
    overlap = round(dissolve_s * FPS)
    pictures: list[Picture] = []
    cuts: list[float] = []
    for number in range(SHOTS):
        scene = random_scene(rng, duration_s=float(rng.uniform(3, 7)), n_events=2, n_idle=1)
        shot = list(scene.render(np.arange(0, scene.duration_s, 1 / FPS), (224, 224)))
        if number:
            start = len(pictures) - overlap
            for step in range(overlap):
                share = (step + 1) / (overlap + 1)
                mixed = pictures[start + step] * (1 - share) + shot[step] * share
                pictures[start + step] = mixed.astype(np.uint8)
            cuts.append((start + len(pictures)) / 2 / FPS)
        pictures += shot[overlap:]
    return pictures, cuts


def accuracy(films: int, folder: Path) -> str:
    """How many cuts are found within a frame, or within a dissolve, and how many that are none."""
    rows = []
    for dissolve_s in DISSOLVES_S:
        found = missed = wrong = 0
        seconds = 0.0
        for seed in range(films):
            pictures, truth = joined(np.random.default_rng(seed), dissolve_s)
            path = folder / "film.mp4"
            write_mp4(path, pictures, fps=FPS)
            duration_s = len(pictures) / FPS
            cuts = all_cuts(path, duration_s)
            slack = max(dissolve_s / 2, 0) + 0.5 / FPS
            hits = {cut for cut in truth if any(abs(cut - each) <= slack for each in cuts)}
            found += len(hits)
            missed += len(truth) - len(hits)
            wrong += sum(all(abs(cut - each) > slack for cut in truth) for each in cuts)
            seconds += duration_s
        kind = f"dissolve, {dissolve_s:g} s" if dissolve_s else "hard cut"
        rows.append((kind, found + missed, f"{found / (found + missed):.1%}", f"{wrong / seconds * 60:.2f}"))
    return table(("how shots are joined", "places", "found", "false ones a minute"), rows)


def all_cuts(path: Path, end_s: float) -> list[float]:
    asked = stretches(TimeRange(start_s=0, end_s=end_s))
    return [cut for _, cuts in find_cuts(path, source="film", stretches=asked) for cut in cuts]


def detailed(count: int, width: int, height: int) -> Iterator[Picture]:
    """Pictures that cost something to decode: texture that moves, another one every four seconds."""
    rng = np.random.default_rng(1)
    for number in range(count):
        if number % 100 == 0:
            small = rng.integers(0, 255, (height // 40 + 1, width // 40 + 4, 3), dtype=np.uint8)
            ground = np.kron(small, np.ones((40, 40, 1), np.uint8))[:height]
        left = number % 100
        yield np.ascontiguousarray(ground[:, left : left + width])


def cost(folder: Path, rounds: int = 5) -> str:
    """CPU seconds for looking for cuts, beside decoding alone."""
    rows = []
    for width, height in ((640, 360), (1280, 720)):
        path = folder / f"{width}.mp4"
        write_mp4(path, detailed(400, width, height), fps=25)
        taken: dict[str, list[float]] = {"decode": [], "cuts": []}
        for _ in range(rounds):
            taken["decode"].append(cpu(lambda path=path: decode(path)))
            taken["cuts"].append(cpu(lambda path=path: all_cuts(path, 16.0)))
        plain, cuts = (statistics.median(taken[kind]) for kind in ("decode", "cuts"))
        rows.append((f"{width}x{height}", f"{plain / 16:.3f}", f"{cuts / 16:.3f}", f"{cuts / plain:.1f}x"))
    header = (
        "video, 25 frames a second",
        "decoding alone, CPU s per s",
        "finding cuts, CPU s per s",
        "ratio",
    )
    return table(header, rows)


def decode(path: Path) -> None:
    with av.open(str(path)) as container:
        container.streams.video[0].thread_type = "AUTO"
        for _ in container.decode(video=0):
            pass


def cpu(work: object) -> float:
    before = resource.getrusage(resource.RUSAGE_SELF)
    work()  # type: ignore[operator]
    after = resource.getrusage(resource.RUSAGE_SELF)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def repeated(source: Path, target: Path, times: int) -> None:
    """The same pictures again and again, without encoding them again."""
    with av.open(str(target), "w") as output:
        stream = None
        shift = 0
        for _ in range(times):
            with av.open(str(source)) as part:
                track = part.streams.video[0]
                stream = stream or output.add_stream_from_template(track)
                length = int(Fraction(track.frames) / track.average_rate / track.time_base)
                for packet in part.demux(track):
                    if packet.dts is None:
                        continue
                    packet.pts += shift
                    packet.dts += shift
                    packet.stream = stream
                    output.mux(packet)
                shift += length


def memory(hours: float, folder: Path) -> str:
    """Peak memory of a whole timeline over videos of several lengths."""
    minute = folder / "minute.mp4"
    write_mp4(minute, detailed(600, 320, 176), fps=10)
    rows = []
    for minutes in sorted({2, 20, round(hours * 60)}):
        path = folder / f"{minutes}.mp4"
        repeated(minute, path, minutes)
        command = [sys.executable, "-c", CHILD, str(path), str(folder / f"kept-{minutes}")]
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
        base, peak, segments, seconds = done.stdout.split()
        grown = (int(peak) - int(base)) / 1024
        rows.append(
            (
                f"{minutes} min",
                segments,
                f"{int(peak) / 1024:.0f} MiB",
                f"{grown:.0f} MiB",
                f"{float(seconds):.0f} s",
            )
        )
    header = ("video", "segments", "peak", "of which the timeline", "CPU, without a model")
    return table(header, rows)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--films", type=int, default=20, help="of eight shots, for each kind of joint")
    parser.add_argument("--hours", type=float, default=2.0, help="the longest video")
    parser.add_argument("--write", action="store_true", help="write the section in RESULTS.md")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        parts = [
            "Cuts in films of the shapes world, found on the frame or within the dissolve:",
            accuracy(options.films, folder),
            "What looking for them costs:",
            cost(folder),
            "Memory of a whole timeline (320x176, 10 frames a second, a cut every ten seconds):",
            memory(options.hours, folder),
        ]
    packages = ("av", "scenedetect-headless", "opencv-python-headless")
    publish("Timelines", "\n\n".join(parts), packages=packages, write=options.write)


if __name__ == "__main__":
    main()
