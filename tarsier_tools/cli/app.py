"""The commands. Each reads its options, asks the service, and shows the result; nothing else."""

from __future__ import annotations

from typing import Annotated

import typer
from pydantic import RootModel

from tarsier_tools import __version__
from tarsier_tools.cli import exporting, options, render
from tarsier_tools.cli.calibrate import calibrate
from tarsier_tools.cli.convert import convert
from tarsier_tools.cli.doctor import doctor
from tarsier_tools.cli.failures import CommandGroup
from tarsier_tools.cli.library import app as library
from tarsier_tools.cli.locate import locate
from tarsier_tools.cli.models import render_models, survey
from tarsier_tools.cli.session import Screen, session
from tarsier_tools.cli.timeline import timeline
from tarsier_tools.config import Settings
from tarsier_tools.errors import UsageError
from tarsier_tools.results import Answer

app = typer.Typer(
    name="tarsier-tools",
    cls=CommandGroup,
    help="Eyes over video: describe it, ask about it, find when something happens.",
    epilog="Exit codes: 0 done, 1 unexpected, 2 usage, 3 video, 4 model, 5 reply, 6 library, 130 Ctrl-C.",
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(library, name="library")

Answers = RootModel[tuple[Answer, ...]]
"""The JSON document of several questions: an array of answers, in the order asked."""


@app.callback()
def root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Show the version and leave.")] = False,
) -> None:
    """Eyes over video: describe it, ask about it, find when something happens."""
    if version:
        typer.echo(f"tarsier-tools {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit(2)


@app.command()
@options.expand
def caption(
    context: typer.Context,
    video: options.Video,
    asking: options.Asking,
    output: options.Output,
    export: options.Export,
    detail: options.CaptionDetail = "full",
    verify: options.Verify = False,
    report: options.Report = None,
) -> None:
    """Describe a video, or a part of it."""
    exporting.check(export, as_json=output.as_json)
    with session(context, asking.settings(), as_json=output.as_json) as here:
        look = here.say_which_model()
        result = here.work(
            lambda progress: here.service.caption(
                video, detail=detail, verify=verify, on_progress=progress, **asking.call()
            )
        )
        here.report(result, report)
        exporting.show(here, export, result, result, render.caption(result, look))


@app.command()
@options.expand
def ask(
    context: typer.Context,
    video: options.Video,
    question: options.Question,
    asking: options.Asking,
    output: options.Output,
    choice: options.Choices = None,
    yes_no: options.YesNo = False,
) -> None:
    """Ask one or more questions about a video."""
    if choice and yes_no:
        raise UsageError("--choice and --yes-no cannot go together.", hint="Give one of them.")
    with session(context, asking.settings(), as_json=output.as_json) as here:

        def put(text: str) -> Answer:
            return here.work(
                lambda progress: here.service.ask(
                    video,
                    text,
                    choices=choice or None,
                    yes_no=yes_no or None,
                    on_progress=progress,
                    **asking.call(),
                )
            )

        look = here.say_which_model()
        if output.as_json and len(question) > 1:
            here.show(Answers(tuple(put(text) for text in question)), ())
            return
        for text in question:  # each answer is shown as soon as it is known
            answer = put(text)
            here.show(answer, render.answer(answer, look, show_question=len(question) > 1))


app.command()(locate)


@app.command()
@options.expand
def frames(
    context: typer.Context,
    video: options.Video,
    out: options.Out,
    output: options.Output,
    at: options.At = None,
    count: options.Count = None,
    sheet: options.Sheet = False,
    start: options.Start = None,
    end: options.End = None,
    max_side: options.MaxSide = None,
    overwrite: options.Overwrite = False,
) -> None:
    """Write frames of a video as JPEG files, or as a contact sheet. No model is needed."""
    if at and count is not None:
        raise UsageError("--at and --count cannot go together.", hint="Give times, or a number of frames.")
    with session(context, Settings.load(), as_json=output.as_json) as here:
        result = here.work(
            lambda progress: here.service.frames(
                video,
                out,
                times_s=at or None,
                count=count,
                start_s=start,
                end_s=end,
                sheet=sheet,
                max_side=max_side,
                overwrite=overwrite,
                on_progress=progress,
            )
        )
        here.show(result, render.frame_set(result, here.look()))


@app.command()
@options.expand
def info(context: typer.Context, video: options.Video, output: options.Output) -> None:
    """Show what a video is: size, duration, frames, tracks. No model is needed."""
    with session(context, Settings.load(), as_json=output.as_json) as here:
        result = here.work(lambda progress: here.service.info(video, on_progress=progress))
        here.show(result, render.video_info(result))


@app.command()
@options.expand
def models(
    context: typer.Context,
    output: options.Output,
    backend: options.Backend = None,
    model: options.Model = None,
    base_url: options.BaseUrl = None,
) -> None:
    """Show which models can be used here, what is missing, and which one would answer."""
    result = survey(Settings.load(backend=backend, model=model, base_url=base_url))
    Screen(context, as_json=output.as_json).show(result, render_models(result))


app.command()(timeline)
app.command()(convert)
app.command()(doctor)
app.command()(calibrate)
