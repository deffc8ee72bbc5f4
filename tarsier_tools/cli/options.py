"""The arguments and options of the commands, each defined once.

Options that belong together are fields of a dataclass; ``expand`` turns a parameter of such a class into
one option per field, so that commands that ask a model all take the same ones.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args, get_type_hints

import typer

from tarsier_tools.config import BackendName, Settings
from tarsier_tools.errors import UsageError
from tarsier_tools.exports import FORMATS
from tarsier_tools.prompts import LANGUAGES, Detail
from tarsier_tools.reporting import PLOT_SUFFIXES, REPORT_SUFFIXES, checked_path
from tarsier_tools.text import parse_time
from tarsier_tools.types import SamplingMethod

TIME_FORMS = "12.5, MM:SS or H:MM:SS"

_DTYPES = get_args(Settings.model_fields["dtype"].annotation)
_DEVICES = ("auto", "cpu", "cuda", "mps")
_RANGE = "Range"
_MODEL = "Model"
_SEEN = "What the model sees"
_OUTPUT = "Output"


def _time(text: str) -> float:
    try:
        return parse_time(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def one_of(values: Sequence[str]) -> Callable[[str], str]:
    """A parser that takes these values only, and names them when it is given another."""

    def parse(text: str) -> str:
        if text not in values:
            raise typer.BadParameter(f"{text!r} is not one of {', '.join(values)}.")
        return text

    return parse


def _file(suffixes: tuple[str, ...]) -> Callable[[str], Path]:
    def parse(text: str) -> Path:
        try:
            return checked_path(text, suffixes)
        except UsageError as error:
            raise typer.BadParameter(str(error)) from None

    return parse


Video = Annotated[
    str, typer.Argument(metavar="VIDEO", help="A video file, an animation, a folder of images, or a URL.")
]
Question = Annotated[
    list[str],
    typer.Argument(metavar="QUESTION...", help="What to ask. Several questions pay for the video once."),
]
Event = Annotated[str, typer.Argument(metavar="EVENT", help="What happens, for example 'a dog jumps'.")]

Start = Annotated[
    float | None,
    typer.Option(
        "--start", parser=_time, metavar="TIME", help=f"Begin here: {TIME_FORMS}.", rich_help_panel=_RANGE
    ),
]
End = Annotated[
    float | None,
    typer.Option(
        "--end",
        parser=_time,
        metavar="TIME",
        help=f"Stop before this time: {TIME_FORMS}.",
        rich_help_panel=_RANGE,
    ),
]

Backend = Annotated[
    str | None,
    typer.Option(
        "--backend",
        metavar="|".join(get_args(BackendName)),
        autocompletion=lambda: list(get_args(BackendName)),
        help="What runs the model. auto: remote with a base URL, local with a model, else the bundled one.",
        rich_help_panel=_MODEL,
    ),
]
Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="DIR|HUB-ID|NAME",
        help="A Tarsier2 or Qwen2-VL checkpoint; with a server the name of a model there.",
        rich_help_panel=_MODEL,
    ),
]
# There is no option for the key: the command line is seen by every process and kept by shells.
BaseUrl = Annotated[
    str | None,
    typer.Option(
        "--base-url",
        metavar="URL",
        help="An OpenAI-compatible server, such as http://127.0.0.1:8000/v1. Its key: TARSIER_API_KEY.",
        rich_help_panel=_MODEL,
    ),
]
Revision = Annotated[
    str | None,
    typer.Option(
        "--revision",
        metavar="REV",
        help="Commit, tag or branch of a hub checkpoint.",
        rich_help_panel=_MODEL,
    ),
]
Device = Annotated[
    str | None,
    typer.Option(
        "--device",
        metavar="DEVICE",
        autocompletion=lambda: list(_DEVICES),
        help="cpu, cuda, cuda:1 or mps; auto takes the best there is.",
        rich_help_panel=_MODEL,
    ),
]
Dtype = Annotated[
    str | None,
    typer.Option(
        "--dtype",
        metavar="|".join(_DTYPES),
        autocompletion=lambda: list(_DTYPES),
        help="Number format of the weights.",
        rich_help_panel=_MODEL,
    ),
]
Anyway = Annotated[
    bool,
    typer.Option(
        "--anyway",
        help="Let the bundled model, which understands only drawn shapes, answer about any video.",
        rich_help_panel=_MODEL,
    ),
]
MaxNewTokens = Annotated[
    int | None,
    typer.Option(
        "--max-new-tokens", metavar="N", help="The longest reply, in tokens.", rich_help_panel=_MODEL
    ),
]
Language = Annotated[
    str | None,
    typer.Option(
        "--language",
        metavar="TAG",
        autocompletion=lambda: list(LANGUAGES),
        help="Language of the prompts, and so of the reply: a BCP 47 tag, for example zh-Hant or pt-BR.",
        rich_help_panel=_MODEL,
    ),
]

Frames = Annotated[
    int | None,
    typer.Option("--frames", metavar="N", help="Frames shown to the model at most.", rich_help_panel=_SEEN),
]
Sampling = Annotated[
    SamplingMethod | None,
    typer.Option(
        "--sampling",
        parser=one_of(get_args(SamplingMethod)),
        metavar="|".join(get_args(SamplingMethod)),
        autocompletion=lambda: list(get_args(SamplingMethod)),
        help="Which frames: Tarsier2's rule, evenly in time, or at a fixed rate (see --fps).",
        rich_help_panel=_SEEN,
    ),
]
Fps = Annotated[
    float | None,
    typer.Option(
        "--fps", metavar="RATE", help="Frames a second, with --sampling fps.", rich_help_panel=_SEEN
    ),
]

CaptionDetail = Annotated[
    Detail,
    typer.Option(
        "--detail",
        parser=one_of(get_args(Detail)),
        metavar="|".join(get_args(Detail)),
        autocompletion=lambda: list(get_args(Detail)),
        help="full: flowing text. events: each event with its time.",
    ),
]
Verify = Annotated[
    bool,
    typer.Option("--verify", help="Look again for each statement of the description, and flag the doubtful."),
]
Choices = Annotated[
    list[str] | None,
    typer.Option(
        "--choice", metavar="TEXT", help="An answer to choose from; give it once per answer, 2 to 26 times."
    ),
]
YesNo = Annotated[
    bool, typer.Option("--yes-no", help="A yes/no question: answer with the probability of yes.")
]

At = Annotated[
    list[float] | None,
    typer.Option("--at", parser=_time, metavar="TIME", help=f"The frame shown at this time: {TIME_FORMS}."),
]
Count = Annotated[
    int | None, typer.Option("--count", metavar="N", help="This many frames, spread over the range.")
]
Out = Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the pictures; made if missing.")]
Sheet = Annotated[bool, typer.Option("--sheet", help="Also write a contact sheet with the times burned in.")]
MaxSide = Annotated[
    int | None, typer.Option("--max-side", metavar="PIXELS", help="Longest side of the pictures.")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace pictures that are already there.")]

Report = Annotated[
    Path | None,
    typer.Option(
        "--report",
        parser=_file(REPORT_SUFFIXES),
        metavar="FILE.html",
        help="Also write a page with charts and frames: one file, no network.",
        rich_help_panel=_OUTPUT,
    ),
]
Plot = Annotated[
    Path | None,
    typer.Option(
        "--plot",
        parser=_file(PLOT_SUFFIXES),
        metavar="FILE.png",
        help='Also draw the score over time; .svg and .pdf too. Needs the extra "plot".',
        rich_help_panel=_OUTPUT,
    ),
]

Format = Annotated[
    str | None,
    typer.Option(
        "--format",
        parser=one_of(list(FORMATS)),
        metavar="|".join(FORMATS),
        autocompletion=lambda: list(FORMATS),
        help="Write this format instead: to standard output, or to --out.",
        rich_help_panel=_OUTPUT,
    ),
]
OutFile = Annotated[
    Path | None,
    typer.Option(
        "--out", metavar="FILE", help="Where --format goes; replaced if there.", rich_help_panel=_OUTPUT
    ),
]

AsJson = Annotated[
    bool,
    typer.Option("--json", help="One JSON document on standard output, errors too.", rich_help_panel=_OUTPUT),
]
Debug = Annotated[
    bool, typer.Option("--debug", help="Show the traceback of an error.", rich_help_panel=_OUTPUT)
]


@dataclass(frozen=True, slots=True)
class Output:
    """How results and errors are shown. ``debug`` is read where errors are told, see ``failures``."""

    as_json: AsJson = False
    debug: Debug = False


@dataclass(frozen=True, slots=True)
class Export:
    """A result as a file for other programs; see ``exporting``."""

    format: Format = None
    out: OutFile = None


@dataclass(frozen=True, slots=True)
class Asking:
    """What every command takes that asks a model."""

    start: Start = None
    end: End = None
    backend: Backend = None
    model: Model = None
    base_url: BaseUrl = None
    revision: Revision = None
    device: Device = None
    dtype: Dtype = None
    anyway: Anyway = False
    language: Language = None
    max_new_tokens: MaxNewTokens = None
    frames: Frames = None
    sampling: Sampling = None
    fps: Fps = None

    def settings(self) -> Settings:
        """Settings with the model chosen here. Raises UsageError."""
        return Settings.load(
            backend=self.backend,
            model=self.model,
            base_url=self.base_url,
            revision=self.revision,
            device=self.device,
            dtype=self.dtype,
            anyway=self.anyway or None,
        )

    def call(self) -> dict[str, Any]:
        """The keywords that caption, ask and locate of the service have in common, where they are given."""
        keywords = {
            "start_s": self.start,
            "end_s": self.end,
            "language": self.language,
            "max_new_tokens": self.max_new_tokens,
            "frames": self.frames,
            "sampling": self.sampling,
            "fps": self.fps,
        }
        return {name: value for name, value in keywords.items() if value is not None}


Command = TypeVar("Command", bound=Callable[..., None])


def expand(command: Command) -> Command:
    """The command with each parameter that is a dataclass replaced by the fields of that class."""
    hints = get_type_hints(command, include_extras=True)
    grouped: dict[str, Any] = {name: hint for name, hint in hints.items() if is_dataclass(hint)}
    parameters: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(command).parameters.items():
        if name not in grouped:
            parameters.append(parameter.replace(annotation=hints[name], kind=parameter.KEYWORD_ONLY))
            continue
        types = get_type_hints(grouped[name], include_extras=True)
        parameters += [
            inspect.Parameter(
                field.name, parameter.KEYWORD_ONLY, default=field.default, annotation=types[field.name]
            )
            for field in fields(grouped[name])
        ]

    @wraps(command)
    def run(**values: Any) -> None:
        groups = {
            name: kind(**{field.name: values.pop(field.name) for field in fields(kind)})
            for name, kind in grouped.items()
        }
        command(**values, **groups)

    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run  # type: ignore[return-value]
