"""What ``tarsier-tools library`` shows: its results as JSON, and as lines to read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pydantic import BaseModel
from rich.text import Text

from tarsier_tools.passages import Hit, Passage
from tarsier_tools.results import VideoInfo
from tarsier_tools.text import clean, clean_line, format_range, format_time

if TYPE_CHECKING:
    from tarsier_tools.library import Added, Duplicates, VideoLibrary


class Known(BaseModel):
    """All that a library knows about a video."""

    video_id: str
    content: str
    sources: tuple[str, ...]
    info: VideoInfo
    language: str
    model: str
    added_at: str
    passages: tuple[Passage, ...]


class Listed(BaseModel):
    """A video of a library, briefly."""

    video_id: str
    sources: tuple[str, ...]
    duration_s: float


class Listing(BaseModel):
    """Which videos a library holds, in the order in which they were added."""

    videos: tuple[Listed, ...]


class Problem(BaseModel):
    """A file that could not be taken in."""

    source: str
    kind: str
    message: str
    hint: str
    attempts: int
    failed_at: str


class Status(BaseModel):
    """What a library holds."""

    library: str
    counts: dict[str, int]
    notice: str
    failures: tuple[Problem, ...]


class Count(BaseModel):
    """How many were written or taken in."""

    count: int


class Room(BaseModel):
    """Bytes on the disk, before and after."""

    before: int
    after: int


class Verdict(BaseModel):
    """What is wrong with a library's files; nothing when all is well."""

    problems: tuple[str, ...]


def show_added(added: Added, library: VideoLibrary) -> Iterator[Text]:
    """What became of each video, and why some failed."""
    for name, words in (
        ("described", "described"),
        ("known", "known by their bytes, under another name"),
        ("unchanged", "unchanged"),
        ("passed_over", "passed over: they failed before (--retry-failed), or another process has them"),
    ):
        count = len(getattr(added, name))
        if count:
            yield Text(f"{count} {words}")
    reasons = {each.source: each for each in library.failures()}
    for source in added.failed:
        reason = reasons.get(source)
        why = f"{reason.message} {reason.hint}" if reason else ""
        yield Text(f"failed: {clean_line(source)}: {clean_line(why)}", style="red")


def show_hits(hits: tuple[Hit, ...], notice: str) -> Iterator[Text]:
    """Hits with where they are and why they were found."""
    if not hits:
        yield Text("Nothing was found.")
    for hit in hits:
        passage = hit.passage
        times = format_range(passage.start_s, passage.end_s)
        seen = "" if hit.rewatched is None else f"  seen {hit.rewatched:.0%}, raw"
        places = ", ".join(f"{name} #{place}" for name, place in hit.ranks.items())
        yield Text.assemble(
            (f"{clean_line(passage.source)} @ {times}", "cyan"), (f"  {passage.kind}, {places}{seen}", "dim")
        )
        yield Text(f"  {clean(hit.snippet)}")
    if notice:
        yield Text(notice, style="dim")


def show_duplicates(found: Duplicates) -> Iterator[Text]:
    """Groups of the same, and of what looks the same."""
    for sources in found.same:
        yield Text("the same bytes:", style="dim")
        yield from (Text(f"  {clean_line(source)}", style="cyan") for source in sources)
    for group in found.alike:
        yield Text("look the same, the best first:", style="dim")
        for each in group:
            facts = f"{each.width}x{each.height}, {format_time(each.duration_s)}, {each.likeness:.0%} alike"
            yield Text.assemble((f"  {clean_line(each.source)}", "cyan"), (f"  {facts}", "dim"))
    if not found.same and not found.alike:
        yield Text("No video is there twice.")
    if found.not_compared:
        yield Text(f"{found.not_compared} could not be compared: their pictures are not known.", style="dim")


def show_known(known: Known) -> Iterator[Text]:
    """The facts of a video, then its texts."""
    info = known.info
    for source in known.sources:
        yield Text(clean_line(source), style="bold")
    facts = f"{format_time(info.duration_s)}, {info.width}x{info.height}, {clean_line(info.codec)}"
    yield Text(f"{facts}, {info.size_bytes / 1e6:.1f} MB; added {known.added_at}", style="dim")
    if known.model:
        yield Text(f"described by {clean_line(known.model)}, language {known.language}", style="dim")
    yield Text(f"id {known.video_id}", style="dim")
    yield from (_passage(each) for each in known.passages)


def show_listing(listing: Listing) -> Iterator[Text]:
    """A line for each file of each video."""
    for video in listing.videos:
        for source in video.sources:
            yield Text.assemble((clean_line(source), "cyan"), (f"  {format_time(video.duration_s)}", "dim"))


def _passage(passage: Passage) -> Text:
    times = f"{format_time(passage.start_s)}-{format_time(passage.end_s)}"
    return Text.assemble((f"{times}  ", "cyan"), (f"{passage.kind}  ", "dim"), clean_line(passage.text))


def show_status(state: Status) -> Iterator[Text]:
    """Counts, then failures."""
    yield Text(clean_line(state.library), style="bold")
    for name, count in state.counts.items():
        yield Text(f"  {name:20} {count:,}")
    for each in state.failures:
        yield Text(f"failed: {clean_line(each.source)}: {clean_line(each.message)}", style="red")
    if state.notice:
        yield Text(state.notice, style="dim")
