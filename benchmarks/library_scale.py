"""A library from hundreds of segments to millions, in SQLite and in LanceDB; and what many hours take.

    python benchmarks/library_scale.py --stores sqlite lance --segments 50000 500000 [--queries 40]
    python benchmarks/library_scale.py --table [--write]

Made-up segments as in library_search.py. SQLite, and LanceDB up to 50,000 segments, are filled through the
library's own code; more are appended in bulk to the tables that the store reads, with the columns that it
writes. Filling and searching are processes of their own. What is measured is kept in library_scale.json by
store and size; ``--table`` prints it, and what 1 to 1,000,000 hours take by it (scale_table.py).
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from library_search import (  # noqa: E402
    DIMENSIONS,
    PER_VIDEO,
    VOCABULARY,
    Fixed,
    Words,
    facts,
    fill,
    memory_mib,
    segments,
)
from report import publish  # noqa: E402
from scale_table import hours, runs  # noqa: E402

from tarsier_tools.library import VideoLibrary  # noqa: E402
from tarsier_tools.library.lance_store import LanceStore  # noqa: E402
from tarsier_tools.library.lance_tables import LanceTables  # noqa: E402
from tarsier_tools.library.lance_vectors import table_of  # noqa: E402
from tarsier_tools.library.stores import Store  # noqa: E402
from tarsier_tools.terms import terms  # noqa: E402

Figures = dict[str, Any]
KEPT = Path(__file__).with_suffix(".json")
THROUGH_STORE = 50_000
EXACT = 12
"""Queries whose nearest segments are also looked for among all."""
REACH = 50
"""Rows that a search for ten hits asks each index for."""


# ---------------------------------------------------------------- filling


def bulk(store: LanceStore, words: Words, embedder: Fixed, total: int) -> None:
    """The rows that ``fill`` would write, without a commit for each video."""
    import pyarrow

    tables = store._tables
    videos: list[dict[str, Any]] = []

    def texts() -> Iterator[Any]:
        for first in range(0, total, PER_VIDEO):
            video, count = f"video-{first:07d}", min(PER_VIDEO, total - first)
            edition = f"{time.time_ns():016x}-{secrets.token_hex(4)}"
            rows = [
                {
                    **entry.passage.model_dump(),
                    "uuid": entry.passage.id,
                    "edition": edition,
                    "video": video,
                    "place": entry.passage.number,
                    "terms": " ".join(terms(entry.passage.text, single=True)),
                    "prompt": entry.prompt,
                }
                for entry in segments(words, video, count)
            ]
            info = facts(video, count)
            videos.append(
                {
                    "content": video,
                    "uuid": video,
                    "edition": edition,
                    "segments": count,
                    "duration_s": info.duration_s,
                    "info": info.model_dump_json(),
                    "language": "en",
                    "model": "made up",
                    "look": bytes(32 * count),
                    "added_at": datetime.now(UTC).isoformat(timespec="seconds"),
                }
            )
            yield pyarrow.RecordBatch.from_pylist(rows, schema=table.schema)

    table = tables._table("segments")
    table.add(pyarrow.RecordBatchReader.from_batches(table.schema, texts()), write_parallelism=1)
    tables.merge("videos", videos)
    files = ({"source": f"{row['uuid']}.mp4", "content": row["content"], "stamp": ""} for row in videos)
    tables.merge("files", list(files))
    store.set_meta("embedder", embedder.name)
    vectors = tables._table(table_of(embedder.name), DIMENSIONS)
    copied = [name for name in vectors.schema.names if name != "vector"]

    def meanings() -> Iterator[Any]:
        for batch in table.search().select(copied).to_batches(8192):
            made = embedder.passages([""] * batch.num_rows).ravel()
            column = pyarrow.FixedSizeListArray.from_arrays(made, DIMENSIONS)
            yield pyarrow.RecordBatch.from_arrays(
                [*(batch[name] for name in copied), column], schema=vectors.schema
            )

    vectors.add(pyarrow.RecordBatchReader.from_batches(vectors.schema, meanings()), write_parallelism=1)


def timed(call: Callable[[], object]) -> tuple[float, float]:
    """(seconds, most MiB of memory on the way) of a call."""
    Path("/proc/self/clear_refs").write_text("5")
    began = time.perf_counter()
    call()
    return time.perf_counter() - began, memory_mib("VmHWM")


def vacuumed(library: VideoLibrary, tables: LanceTables) -> dict[str, Figures]:
    """Put all in order as ``vacuum`` does: for each table the seconds, in all and by index, and memory."""
    told: dict[str, Figures] = {}
    tidy = tables.tidy

    def measured(name: str, **options: bool) -> None:
        table, indexes = tables._table(name), {}
        make = table.create_index

        def create(column: str, **options: Any) -> None:
            began = time.perf_counter()
            make(column, **options)
            indexes[column] = time.perf_counter() - began

        table.create_index = create
        before = memory_mib("VmRSS")
        seconds, most = timed(partial(tidy, name, **options))
        told[name] = {"s": seconds, "indexes": indexes, "memory": most - before}

    tables.tidy = measured  # type: ignore[method-assign]
    library.vacuum()
    return {name.partition("_")[0]: {**told[name], "bytes": tables.size_bytes(name)} for name in told}


def filled(address: str, total: int) -> Figures:
    rng = np.random.default_rng(1)
    words, embedder = Words(rng), Fixed(rng)
    figures: Figures = {"segments": total, "when": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")}
    with VideoLibrary(address, embedder=embedder) as library:
        store = library._store
        through = bulk if isinstance(store, LanceStore) and total > THROUGH_STORE else fill
        figures["bulk"] = through is bulk
        figures["filled_s"], figures["filling memory"] = timed(
            lambda: through(store, words, embedder, total)  # type: ignore[arg-type]
        )
        if isinstance(store, LanceStore):
            figures["tidy"] = {}
            figures["vacuum_s"] = timed(lambda: figures["tidy"].update(vacuumed(library, store._tables)))[0]
        else:
            figures["vacuum_s"] = timed(library.vacuum)[0]
        figures["bytes"] = library.stats()["bytes"]
    return figures


# ---------------------------------------------------------------- searching


def percentiles(calls: Sequence[Callable[[], object]]) -> list[float]:
    """p50 and p95 of the time, and p50 of the processor's time in all threads, in ms."""
    taken, worked = [], []
    for call in calls:
        began, busy = time.perf_counter(), time.process_time()
        call()
        taken.append((time.perf_counter() - began) * 1000)
        worked.append((time.process_time() - busy) * 1000)
    return [*np.percentile(taken, (50, 95)).tolist(), statistics.median(worked)]


def searched(address: str, total: int, queries: int) -> Figures:
    rng = np.random.default_rng(1)
    words, embedder = Words(rng), Fixed(rng)
    common = [words.text(words.draw(3), chinese=each % 4 == 0) for each in range(queries)]
    ranks = rng.integers(2_000, VOCABULARY, (queries, 3)).tolist()
    rare = [words.text(three, chinese=each % 4 == 0) for each, three in enumerate(ranks)]
    one = f"video-{total // 2 // PER_VIDEO * PER_VIDEO:07d}"
    before = memory_mib("VmRSS")
    figures: Figures = {"load": os.getloadavg()[0]}
    with VideoLibrary(address, embedder=embedder) as both:
        figures["first"] = percentiles([lambda: both.search("warm")])[0]
        for name, texts, filters in (
            ("common", common, {}),
            ("rare", rare, {}),
            ("one video", common, {"videos": [one]}),
            ("language", common, {"language": "zh"}),
            ("range", common, {"start_s": 600.0, "end_s": 1200.0}),
        ):
            figures[name] = percentiles([partial(both.search, text, **filters) for text in texts])
        figures["memory"] = memory_mib("VmRSS") - before
        if isinstance(both._store, LanceStore):
            figures |= recall(both._store, embedder)
    with VideoLibrary(address, embedder="none") as lexical:
        lexical.search("warm")
        figures["words, common"] = percentiles([partial(lexical.search, text) for text in common])
        figures["words, rare"] = percentiles([partial(lexical.search, text) for text in rare])
    with VideoLibrary(address, embedder=embedder) as both:
        both.search("warm")
        figures |= one_more(both._store, words, embedder)
        figures["after one more"] = percentiles([partial(both.search, text) for text in common])
        began = time.perf_counter()
    return {**figures, "one more, closing": time.perf_counter() - began}


def recall(store: LanceStore, embedder: Fixed) -> Figures:
    """How many of the ten nearest the store finds, and how long looking at all vectors takes."""
    table = store._tables._table(table_of(embedder.name))

    def compare(vector: NDArray[np.float32]) -> None:
        search = table.search(vector, vector_column_name="vector").distance_type("cosine")
        rows = search.bypass_vector_index().select(["uuid", "_distance"]).limit(10).to_list()
        truth.append({row["uuid"] for row in rows})

    asked = [embedder.query("") for _ in range(EXACT)]
    truth: list[set[str]] = []
    every = percentiles([partial(compare, vector) for vector in asked])
    near = [partial(store.nearest, vector, REACH, None) for vector in asked]
    found = sum(len(nearest & set(call()[:10])) for nearest, call in zip(truth, near, strict=True))
    return {"recall": found / (10 * EXACT), "vectors alone": percentiles(near), "all vectors": every}


def one_more(store: Store, words: Words, embedder: Fixed) -> Figures:
    """An hour more: how long its texts and its vectors take to add, and whether both are found at once."""
    entries = list(segments(words, "one-more", PER_VIDEO))
    unique = "zyzzyva"
    entries[7] = type(entries[7])(entries[7].passage.model_copy(update={"text": f"A {unique} jumps."}))
    info = facts("one-more", PER_VIDEO)
    began = time.perf_counter()
    store.put_video("one-more", "one-more.mp4", "", info, entries, language="en", model="made up")
    texts_s = time.perf_counter() - began
    for rows in store.without_vector(PER_VIDEO):
        vectors = embedder.passages([text for _, text in rows])
        store.put_vectors(embedder.name, zip((key for key, _ in rows), vectors, strict=True))
    vectors_s = time.perf_counter() - began - texts_s
    [word] = store.find_words(unique, 1, None)
    found = store.nearest(vectors[7], 1, None) == [word] == [key for key, _ in rows[7:8]]
    return {"one more, texts": texts_s, "one more, vectors": vectors_s, "one more found": found}


def measured(kind: str, total: int, queries: int) -> Figures:
    """One library, filled and searched by two processes."""
    folder = tempfile.mkdtemp()
    address = f"lance://{folder}/library" if kind == "lance" else f"{folder}/library"
    figures: Figures = {}
    try:
        for part in ("--fill", "--search"):
            command = [sys.executable, __file__, part, address, "--segments", str(total)]
            done = subprocess.run(
                [*command, "--queries", str(queries)], stdout=subprocess.PIPE, text=True, check=True, cwd=ROOT
            )
            figures |= json.loads(done.stdout)
            print(kind, total, part, done.stdout, flush=True)
    finally:
        shutil.rmtree(folder)
    return figures


def keep(name: str, figures: Figures) -> None:
    kept = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    KEPT.write_text(json.dumps({**kept, name: figures}, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--stores", nargs="+", choices=("sqlite", "lance"), default=["sqlite", "lance"])
    parser.add_argument("--segments", type=int, nargs="+", default=[])
    parser.add_argument("--queries", type=int, default=40)
    parser.add_argument("--table", action="store_true", help="print what was measured")
    parser.add_argument("--write", action="store_true", help="write the section in RESULTS.md")
    parser.add_argument("--fill", help=argparse.SUPPRESS)
    parser.add_argument("--search", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.fill:
        print(json.dumps(filled(options.fill, options.segments[0])))
        return
    if options.search:
        print(json.dumps(searched(options.search, options.segments[0], options.queries)))
        return
    for total in options.segments:
        for kind in options.stores:
            keep(f"{kind} {total}", measured(kind, total, options.queries))
    if options.table:
        kept = json.loads(KEPT.read_text())
        print(hours(kept), end="\n\n")
        publish("Library: scale", runs(kept), packages=("numpy", "lancedb", "pylance"), write=options.write)


if __name__ == "__main__":
    main()
