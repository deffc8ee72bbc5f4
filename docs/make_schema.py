"""Write schema.md, the JSON of every result, from the models themselves: python docs/make_schema.py"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel

from tarsier_tools import (
    Answer,
    Caption,
    Chapter,
    Choice,
    Coverage,
    FrameImage,
    FrameSet,
    FrameView,
    Hit,
    Localization,
    LocatedEvents,
    ModelUsed,
    Passage,
    Segment,
    Statement,
    Timeline,
    TimeRange,
    Timings,
    TrackInfo,
    Usage,
    VideoFile,
    VideoFolder,
    VideoInfo,
    WindowScore,
)
from tarsier_tools.library import Found
from tarsier_tools.library_tools import FailedVideo, IndexedVideos, LibraryStatus

OUT = Path(__file__).with_name("schema.md")

RESULTS: dict[type[BaseModel], str] = {
    Caption: "`caption`",
    Answer: "`ask`",
    Localization: "`locate`",
    Timeline: "`timeline`",
    VideoInfo: "`info`",
    FrameSet: "`frames`",
    LocatedEvents: "`locate_event` (tools)",
    FrameView: "`view` (Python), `view_frames` (tools)",
    VideoFolder: "`videos` (Python), `list_videos` (tools)",
    Found: "`library search`, `VideoLibrary.search` (Python), `search_library` (tools)",
    IndexedVideos: "`index_videos` (tools)",
    LibraryStatus: "`library_status` (tools)",
}
PARTS: tuple[type[BaseModel], ...] = (
    Chapter,
    Choice,
    Coverage,
    FailedVideo,
    FrameImage,
    Hit,
    ModelUsed,
    Passage,
    Segment,
    Statement,
    TimeRange,
    Timings,
    TrackInfo,
    Usage,
    VideoFile,
    WindowScore,
)

HEAD = """# The JSON of results

Written by `python docs/make_schema.py`; a test keeps it equal to the code.

Every result is a frozen pydantic model: `result.model_dump_json()` gives this JSON, the command line prints
it with `--json`, and `Answer.model_json_schema()` gives its JSON Schema. Times are seconds from the video's
first frame, ranges exclude their end, and every field is always there (`null` where it says so).

A `score` or `probability` is the model's own, raw and not calibrated: it says how strongly the model leans to
an answer, not how often such answers are right.
"""


def page() -> str:
    """The text of schema.md."""
    parts = [HEAD]
    parts += [_section(model, f"What {name} gives. {_summary(model)}") for model, name in RESULTS.items()]
    parts += ["## Parts of results\n"]
    parts += [_section(model, _summary(model), level=3) for model in PARTS]
    return "\n".join(parts)


def _section(model: type[BaseModel], text: str, *, level: int = 2) -> str:
    schema = model.model_json_schema(mode="serialization")
    lines = [
        f"{'#' * level} {model.__name__}",
        "",
        text,
        "",
        "| field | type | meaning |",
        "| --- | --- | --- |",
    ]
    for name, field in schema["properties"].items():
        lines.append(f"| `{name}` | {_kind(field)} | {_cell(field.get('description', ''))} |")
    return "\n".join([*lines, ""])


def _summary(model: type[BaseModel]) -> str:
    assert model.__doc__, model
    return " ".join(model.__doc__.split()).replace("``", "`")


def _kind(field: dict[str, Any]) -> str:
    """A JSON Schema's type in words."""
    if "$ref" in field:
        name = field["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in field:
        return " or ".join(_kind(option) for option in field["anyOf"])
    if "enum" in field:
        return " or ".join(f'`"{value}"`' for value in field["enum"])
    if "prefixItems" in field:
        return "[" + ", ".join(_kind(item) for item in field["prefixItems"]) + "]"
    if field["type"] == "array":
        return f"array of {_kind(field['items'])}"
    return str(field["type"])


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    OUT.write_text(page(), encoding="utf-8")
