"""``tarsier-tools convert``: a checkpoint in the layout that other programs load."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import BaseModel, ConfigDict, Field
from rich.text import Text

from tarsier_tools.backends import local_extra
from tarsier_tools.cli import options
from tarsier_tools.cli.session import Screen, interruptible
from tarsier_tools.config import Settings
from tarsier_tools.text import clean_line

if TYPE_CHECKING:
    from tarsier_tools.backends.tarsier2.convert import Conversion
    from tarsier_tools.backends.tarsier2.convert_check import Comparison


class Checked(BaseModel):
    """What ``--check`` found: both checkpoints were shown one clip."""

    model_config = ConfigDict(frozen=True)

    max_difference: float = Field(description="Of any logit at any place of the prompt.")
    tokens: int = Field(description="Places of the prompt.")
    device: str = Field(description="Where both ran.")
    dtype: str = Field(description="Number format of both.")


class Converted(BaseModel):
    """A checkpoint in plain Qwen2-VL's layout."""

    model_config = ConfigDict(frozen=True)

    folder: str = Field(description="Where it is.")
    made: bool = Field(description="False when all of it was there already.")
    size_bytes: int = Field(description="Of all files.")
    tensors: int = Field(description="Weights, all with new names and the same bytes.")
    sha256: dict[str, str] = Field(description="By weight file; also in SHA256SUMS.")
    check: Checked | None = Field(description="What --check found; null without it.")


@options.expand
def convert(
    context: typer.Context,
    source: Annotated[
        str, typer.Argument(metavar="SRC", help="A Tarsier2 checkpoint: a folder or a hub id.")
    ],
    destination: Annotated[Path, typer.Argument(metavar="DST", help="The folder to make.")],
    output: options.Output,
    check: Annotated[
        bool, typer.Option("--check", help="Load both, show them a clip and compare every logit.")
    ] = False,
    revision: options.Revision = None,
    device: options.Device = None,
    dtype: options.Dtype = None,
) -> None:
    """Write a Tarsier2 checkpoint as plain Qwen2-VL, which vLLM, SGLang and transformers load.

    What was stopped is gone on with by the same command.
    """
    settings = Settings.load(device=device, dtype=dtype)
    with local_extra():
        from tarsier_tools.backends.tarsier2 import convert as work

    with interruptible():
        screen = Screen(context, as_json=output.as_json)
        made = screen.work(
            lambda progress: work.convert(source, destination, revision=revision, on_progress=progress)
        )
        same = None
        if check:
            with local_extra():
                from tarsier_tools.backends.tarsier2.convert_check import compare_logits  # loads torch
            same = screen.work(
                lambda progress: compare_logits(made.source, made.folder, settings, on_progress=progress)
            )
        result = _result(made, same)
        screen.show(result, _lines(result))


def _result(made: Conversion, same: Comparison | None) -> Converted:
    return Converted(
        folder=str(made.folder),
        made=made.made,
        size_bytes=made.size,
        tensors=made.tensors,
        sha256=dict(made.sha256),
        check=None
        if same is None
        else Checked(
            max_difference=same.max_difference, tokens=same.tokens, device=same.device, dtype=same.dtype
        ),
    )


def _lines(result: Converted) -> Iterator[Text]:
    where = clean_line(result.folder)
    yield Text.assemble((where, "bold"), "" if result.made else " (was there already)")
    yield Text(
        f"  {result.tensors} tensors in {len(result.sha256)} file(s), {result.size_bytes / 1e9:.2f} GB; "
        "every byte compared with the source"
        if result.made
        else f"  {result.tensors} tensors in {len(result.sha256)} file(s), {result.size_bytes / 1e9:.2f} GB"
    )
    if result.check is not None:
        yield Text(
            f"  {result.check.tokens} places of a clip's prompt on {result.check.device} in "
            f"{result.check.dtype}: logits differ by {result.check.max_difference:.1g} at most"
        )
    yield Text(f"  serve it: vllm serve {where} --served-model-name tarsier2", style="dim")
