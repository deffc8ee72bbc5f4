"""``tarsier-tools calibrate``: what turns the scores of locate into confidences, for one's own checkpoint."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast, get_args

import typer
from rich.text import Text

from tarsier_tools.cli import options
from tarsier_tools.cli.session import session
from tarsier_tools.config import Settings
from tarsier_tools.errors import UsageError
from tarsier_tools.locating.scorers import ScorerName
from tarsier_tools.text import clean_line

if TYPE_CHECKING:
    from tarsier_tools.calibrating import Example
    from tarsier_tools.locating.calibration import Calibration


@options.expand
def calibrate(
    context: typer.Context,
    out: Annotated[
        Path,
        typer.Option(
            "--out", metavar="FILE", help="The file to write; used from beside the checkpoint, or by setting."
        ),
    ],
    output: options.Output,
    labels: Annotated[
        Path | None,
        typer.Argument(metavar="[LABELS.jsonl]", help="Videos, events, and when they happen: one a line."),
    ] = None,
    shapes: Annotated[
        int | None,
        typer.Option("--shapes", metavar="N", help="Instead of labels: N films of coloured shapes."),
    ] = None,
    method: Annotated[
        list[str] | None,
        typer.Option(
            "--method",
            parser=options.one_of(get_args(ScorerName)),
            metavar="|".join(get_args(ScorerName)),
            autocompletion=lambda: list(get_args(ScorerName)),
            help="What to fit, once or twice [what goes with the model].",
        ),
    ] = None,
    backend: options.Backend = None,
    model: options.Model = None,
    base_url: options.BaseUrl = None,
    revision: options.Revision = None,
    device: options.Device = None,
    dtype: options.Dtype = None,
    frames: options.Frames = None,
) -> None:
    """Fit what turns the scores of locate into confidences."""
    if (labels is None) == (shapes is None):
        raise UsageError(
            "Labels or --shapes are needed, and not both.",
            hint="Give a file with one example a line, or --shapes 100.",
        )
    if not out.absolute().parent.is_dir() or out.is_dir():
        raise UsageError(f"{out} cannot be written.", hint="Give a file in a folder that exists.")
    from tarsier_tools.calibrating import read_examples

    settings = Settings.load(
        backend=backend, model=model, base_url=base_url, revision=revision, device=device, dtype=dtype
    )
    with (
        session(context, settings, as_json=output.as_json) as here,
        tempfile.TemporaryDirectory() as folder,
    ):
        here.say_which_model()
        if labels is not None:
            examples, fitted_on = read_examples(labels), f"{labels.name}"
        else:
            examples, fitted_on = _films(Path(folder), shapes or 0), f"{shapes} films of the shapes world"
        result = here.work(
            lambda progress: here.service.calibrate(
                examples,
                fitted_on=fitted_on,
                methods=cast("list[ScorerName]", method or []),  # typer knows no lists of literals
                frames=frames,
                on_progress=progress,
            )
        )
        result.save(out)
        here.show(result, _lines(result, out))


def _films(folder: Path, count: int) -> list[Example]:
    from tarsier_tools.calibrating import Example
    from tarsier_tools.selfcheck.labelled import labelled_films

    return [
        Example(video=str(film.path), event=event, segments=segments, language=film.language)
        for film in labelled_films(folder, 1, count)
        for event, segments in film.events
    ]


def _lines(result: Calibration, out: Path) -> Iterator[Text]:
    yield Text.assemble(("Fitted: ", "bold green"), clean_line(f"{result.model}, on {result.fitted_on}"))
    for fit in result.fits:
        error = "not known, too few videos" if fit.expected_error is None else f"{fit.expected_error:.3f}"
        yield Text(
            f"  {fit.method}: {fit.windows} windows, {fit.positives} with the event; "
            f"expected calibration error on videos left out: {error}"
        )
    yield Text(f"Written to {clean_line(str(out))}", style="dim")
