"""A library out into a table that anything reads, and back: JSON lines, or Parquet (the extra ``parquet``).

One row per segment, with all that is known about its video; thumbnails and vectors stay behind, as both can
be made again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from tarsier_tools.errors import LibraryError, UsageError
from tarsier_tools.library.stores import Entry, Store
from tarsier_tools.passages import Passage
from tarsier_tools.results import VideoInfo
from tarsier_tools.types import Progress, no_progress

ENDINGS = (".jsonl", ".parquet")


class Line(BaseModel):
    """One segment in a file. Times are seconds from the video's first frame."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    content: str
    sources: tuple[str, ...]
    info: VideoInfo
    passage: Passage
    prompt: str


def export_to(store: Store, path: Path) -> int:
    """Write all segments; the number of them.

    Raises UsageError for another ending, a file that is there, one that cannot be written, or when Parquet is
    asked for and pyarrow is not there.
    """
    _check_ending(path)
    if path.exists():
        raise UsageError(f"{path} is there already.", hint="Give another path, or delete it first.")
    videos = {row.uuid: row for row in store.videos()}
    lines = (
        Line(
            content=videos[entry.passage.video_id].content,
            sources=videos[entry.passage.video_id].sources,
            info=videos[entry.passage.video_id].info,
            passage=entry.passage,
            prompt=entry.prompt,
        )
        for entry in store.entries()
    )
    try:
        return _write_parquet(lines, path) if path.suffix == ".parquet" else _write_jsonl(lines, path)
    except OSError as error:
        raise UsageError(
            f"{path} cannot be written: {error.strerror or error}.", hint="Give another path."
        ) from error


def import_from(store: Store, path: Path, *, on_progress: Progress = no_progress) -> int:
    """Take in the videos of a file that are not known yet; the number of them.

    A file that cannot be read whole changes nothing.

    Raises UsageError when the file cannot be read; LibraryError when a line of it is not what it should be.
    """
    _check_ending(path)
    try:
        rows = _read_parquet(path) if path.suffix == ".parquet" else _read_jsonl(path)
        by_content: dict[str, list[Line]] = {}
        for number, row in enumerate(rows, start=1):
            try:
                line = Line.model_validate_json(row)
            except ValidationError as error:
                what = error.errors()[0]
                raise LibraryError(
                    f"Line {number} of {path.name} is no segment: {what['msg']}.",
                    hint="Import only what a library has exported.",
                ) from None
            by_content.setdefault(line.content, []).append(line)
            on_progress(0, 1, f"reading line {number}")
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}.", hint="Check it.") from error
    taken = 0
    for done, (content, lines) in enumerate(by_content.items()):
        on_progress(done, len(by_content), "taking in videos")
        if store.video(content) is not None:
            continue
        first = lines[0]
        for source in first.sources:
            store.put_video(
                content,
                source,
                "",
                first.info,
                [Entry(line.passage, line.prompt) for line in lines],
                language=first.passage.language,
                model=first.passage.model,
            )
        taken += 1
    return taken


def _check_ending(path: Path) -> None:
    if path.suffix not in ENDINGS:
        raise UsageError(f"{path.name} is of no known kind.", hint=f"Use one of {', '.join(ENDINGS)}.")


def _write_jsonl(lines: Iterable[Line], path: Path) -> int:
    count = 0
    with path.open("x", encoding="utf-8") as file:
        for line in lines:
            file.write(line.model_dump_json() + "\n")
            count += 1
    return count


def _read_jsonl(path: Path) -> Iterator[str]:
    with path.open(encoding="utf-8", errors="replace") as file:
        yield from (line for line in file if line.strip())


def _write_parquet(lines: Iterable[Line], path: Path) -> int:
    """Flat columns for whoever reads it, and the whole line as JSON for :func:`import_from`."""
    arrow, parquet = _pyarrow()
    rows = [
        {**line.passage.metadata(), "text": line.passage.text, "line": line.model_dump_json()}
        for line in lines
    ]
    parquet.write_table(arrow.Table.from_pylist(rows), path)
    return len(rows)


def _read_parquet(path: Path) -> Iterator[str]:
    _, parquet = _pyarrow()
    try:
        table = parquet.read_table(path, columns=["line"])
    except (ValueError, KeyError) as error:
        raise LibraryError(
            f"{path.name} is no exported library: {error}.", hint="Import only what a library has exported."
        ) from None
    yield from (json_text for json_text in table.column("line").to_pylist() if json.loads(json_text))


def _pyarrow() -> tuple[Any, Any]:
    try:
        return import_module("pyarrow"), import_module("pyarrow.parquet")
    except ImportError as error:
        raise UsageError(
            "Parquet needs the pyarrow package.",
            hint='Type: pip install "tarsier-tools[parquet]", or use .jsonl.',
        ) from error
