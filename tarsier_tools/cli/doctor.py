"""``tarsier-tools doctor``: is this deployment right?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from tarsier_tools.cli import options
from tarsier_tools.cli.session import Screen, interruptible
from tarsier_tools.config import Settings
from tarsier_tools.text import clean_line

if TYPE_CHECKING:
    from tarsier_tools.doctor import Diagnosis

_STYLES = {"ok": "bold green", "warn": "bold yellow", "fail": "bold red"}
_VERDICTS = {
    "ok": "Everything is right.",
    "warn": "It works; read the warnings.",
    "fail": "Something is wrong: do not trust its answers.",
}


@options.expand
def doctor(
    context: typer.Context,
    output: options.Output,
    backend: options.Backend = None,
    model: options.Model = None,
    base_url: options.BaseUrl = None,
    revision: options.Revision = None,
    device: options.Device = None,
    dtype: options.Dtype = None,
    compare_with: Annotated[
        str | None,
        typer.Option(
            "--compare-with",
            metavar="DIR|HUB-ID|tiny",
            help="Also run this checkpoint here, and compare its replies: for a server that serves the same.",
        ),
    ] = None,
    quality: Annotated[
        bool, typer.Option("--quality", help="Also measure how often the model is right about drawn films.")
    ] = False,
    clips: Annotated[
        int, typer.Option("--clips", metavar="N", min=1, help="Films for --quality; more make it surer.")
    ] = 30,
) -> None:
    """Check that this deployment is right: frames, order, times, probabilities, speed.

    Exit code: 0 right, 1 works with warnings, 2 wrong.
    """
    from tarsier_tools.doctor import examine  # loads the decoder, which --help does without

    settings = Settings.load(
        backend=backend, model=model, base_url=base_url, revision=revision, device=device, dtype=dtype
    )
    with interruptible():
        screen = Screen(context, as_json=output.as_json)
        diagnosis = screen.work(
            lambda progress: examine(
                settings, compare_with=compare_with, clips=clips if quality else 0, on_progress=progress
            )
        )
        screen.show(diagnosis, render(diagnosis))
    raise typer.Exit(diagnosis.exit_code)


def render(diagnosis: Diagnosis) -> Iterator[Text]:
    """A line for each check, what to do below it, the accuracy as a table, and the verdict."""
    yield Text(f"{diagnosis.backend}: {clean_line(diagnosis.reason)}", style="dim")
    for finding in diagnosis.findings:
        yield Text.assemble(
            (f"{finding.status:<5}", _STYLES[finding.status]),
            (f"{finding.name:<20}", "bold"),
            clean_line(finding.detail),
        )
        if finding.hint:
            yield Text(f"{'':<25}-> {clean_line(finding.hint)}", style="yellow")
    if diagnosis.accuracy:
        yield Text(f"\n{'':<5}{'accuracy':<26}{'right':>6}   95 % interval    stated", style="bold")
    for each in diagnosis.accuracy:
        stated = "" if each.stated is None else f"{each.stated:.3f}"
        yield Text(f"{'':<5}{each.task:<26}{each.value:>6.3f}   {each.low:.3f} to {each.high:.3f}   {stated}")
    yield Text(_VERDICTS[diagnosis.status], style=_STYLES[diagnosis.status])
