"""``tarsier-tools timeline``: a long video, segment by segment."""

from __future__ import annotations

from typing import Annotated, get_args

import typer

from tarsier_tools.cli import exporting, options, render
from tarsier_tools.cli.session import session
from tarsier_tools.timelines.segments import MAX_SEGMENT_S, Segmentation

_SEGMENTS = "Segments"


@options.expand
def timeline(
    context: typer.Context,
    video: options.Video,
    asking: options.Asking,
    output: options.Output,
    export: options.Export,
    summarize: Annotated[
        bool, typer.Option("--summarize", help="Also make chapters, with titles taken from the captions.")
    ] = False,
    segmentation: Annotated[
        Segmentation,
        typer.Option(
            "--segmentation",
            parser=options.one_of(get_args(Segmentation)),
            metavar="|".join(get_args(Segmentation)),
            autocompletion=lambda: list(get_args(Segmentation)),
            help='Where segments begin: at cuts (needs the extra "shots"), evenly, or what can be had.',
            rich_help_panel=_SEGMENTS,
        ),
    ] = "auto",
    min_segment: Annotated[
        float | None,
        typer.Option(
            "--min-segment",
            metavar="SECONDS",
            help="Shorter shots are joined to a neighbour [1, or half of the longest].",
            rich_help_panel=_SEGMENTS,
        ),
    ] = None,
    max_segment: Annotated[
        float,
        typer.Option(
            "--max-segment",
            metavar="SECONDS",
            help="Longer shots are divided evenly.",
            rich_help_panel=_SEGMENTS,
        ),
    ] = MAX_SEGMENT_S,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Begin anew; otherwise a stopped run goes on where it was.")
    ] = False,
    report: options.Report = None,
) -> None:
    """Describe a long video segment by segment. Stopped or killed, it goes on where it was."""
    exporting.check(export, as_json=output.as_json)
    with session(context, asking.settings(), as_json=output.as_json) as here:
        look = here.say_which_model()
        result = here.work(
            lambda progress: here.service.timeline(
                video,
                segmentation=segmentation,
                min_segment_s=min_segment,
                max_segment_s=max_segment,
                summarize=summarize,
                resume=not fresh,
                on_progress=progress,
                **asking.call(),
            )
        )
        here.report(result, report)
        exporting.show(here, export, result, result, render.timeline(result, look))
