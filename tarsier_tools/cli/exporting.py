"""A result in another program's format, on standard output or in a file."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Iterable
from pathlib import Path

from pydantic import BaseModel
from rich.text import Text

from tarsier_tools.cli.options import Export
from tarsier_tools.cli.session import Session
from tarsier_tools.errors import UsageError
from tarsier_tools.exports import FORMATS, Exportable


def check(export: Export, *, as_json: bool) -> None:
    """Raise UsageError for what cannot be done, before any work is."""
    if export.out is not None and export.format is None:
        raise UsageError("--out needs a format.", hint=f"Add --format {'|'.join(FORMATS)}.")
    if export.format is not None and export.out is None and as_json:
        raise UsageError(
            "--json and --format both write to standard output.", hint="Add --out FILE, or leave one away."
        )
    if export.out is not None and (export.out.is_dir() or not export.out.absolute().parent.is_dir()):
        raise UsageError(
            f"{export.out} cannot be written: it is a folder, or in one that is not there.",
            hint="Give a file in a folder that exists.",
        )


def show(
    here: Session,
    export: Export,
    exported: Exportable,
    result: BaseModel,
    lines: Iterable[Text],
) -> None:
    """Show a result, or write it in the format that was asked for.

    Args:
        exported: what is written; ``result`` and ``lines`` are what is shown, see :meth:`Session.show`.
    """
    if export.format is None:
        here.show(result, lines)
        return
    text = FORMATS[export.format](exported)
    if export.out is not None:
        _write(export.out, text.encode("utf-8"))
        here.show(result, lines)
        here.say_where(export.format, export.out)
        return
    here.host.on_result(result)
    if not hasattr(sys.stdout, "buffer"):  # something in this process that collects text
        sys.stdout.write(text)
        return
    sys.stdout.flush()
    sys.stdout.buffer.write(text.encode("utf-8"))  # formats have an encoding and line ends of their own
    sys.stdout.buffer.flush()


def _write(path: Path, content: bytes) -> None:
    """Replace the file as a whole, so that nobody ever reads half of it."""
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        part.write_bytes(content)
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise UsageError(
            f"{path} cannot be written: {error.strerror}.", hint="Give another file to write to."
        ) from error
