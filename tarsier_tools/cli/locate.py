"""``tarsier-tools locate``: when something happens."""

from __future__ import annotations

from typing import Annotated, get_args

import typer
from pydantic import RootModel

from tarsier_tools.cli import exporting, options, render
from tarsier_tools.cli.session import session
from tarsier_tools.locating.methods import Method
from tarsier_tools.results import Localization

_LOOKING = "Looking"

Localizations = RootModel[tuple[Localization, ...]]
"""The JSON document of several events: an array, in the order asked."""


@options.expand
def locate(
    context: typer.Context,
    video: options.Video,
    event: Annotated[
        list[str],
        typer.Argument(
            metavar="EVENT...", help="What happens, for example 'a dog jumps'. Several share one pass."
        ),
    ],
    asking: options.Asking,
    output: options.Output,
    export: options.Export,
    top_k: Annotated[int, typer.Option("--top-k", metavar="N", help="The most places for each event.")] = 10,
    threshold: Annotated[
        float | None,
        typer.Option(
            "--threshold",
            metavar="X",
            help="What a place must reach: of the confidence, or of the score where there is none.",
        ),
    ] = None,
    method: Annotated[
        Method,
        typer.Option(
            "--method",
            parser=options.one_of(get_args(Method)),
            metavar="|".join(get_args(Method)),
            autocompletion=lambda: list(get_args(Method)),
            help="How windows are scored; auto takes what goes with the model.",
            rich_help_panel=_LOOKING,
        ),
    ] = "auto",
    window: Annotated[
        float | None,
        typer.Option(
            "--window",
            metavar="SECONDS",
            help="Length of a window [0.75 a frame, or more in a very long video].",
            rich_help_panel=_LOOKING,
        ),
    ] = None,
    stride: Annotated[
        float | None,
        typer.Option(
            "--stride",
            metavar="SECONDS",
            help="From one window's start to the next one's [half a window].",
            rich_help_panel=_LOOKING,
        ),
    ] = None,
    report: options.Report = None,
    plot: options.Plot = None,
) -> None:
    """Find when something happens. Not finding it is an answer too: exit code 0, found is false."""
    exporting.check(export, as_json=output.as_json)
    with session(context, asking.settings(), as_json=output.as_json) as here:
        look = here.say_which_model()
        results = here.work(
            lambda progress: here.service.locate(
                video,
                event,
                top_k=top_k,
                threshold=threshold,
                method=method,
                window_s=window,
                stride_s=stride,
                on_progress=progress,
                **asking.call(),
            )
        )
        here.report(results, report)
        here.plot(results, plot)
        one = results[0] if len(results) == 1 else None
        lines = render.localizations(results, look)
        exporting.show(here, export, one or results, one or Localizations(results), lines)
