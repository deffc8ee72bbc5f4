"""From errors to what the user sees: one line, a hint, an exit code, and JSON when it was asked for."""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Sequence
from typing import Any

import typer
from rich.console import Console
from rich.text import Text
from typer.core import TyperGroup

from tarsier_tools.errors import (
    BackendError,
    Cancelled,
    LibraryError,
    ReplyError,
    TarsierError,
    UsageError,
    VideoError,
)
from tarsier_tools.text import clean_line, escape_json

EXIT_CODES: tuple[tuple[type[TarsierError], int], ...] = (
    (UsageError, 2),
    (VideoError, 3),
    (BackendError, 4),
    (ReplyError, 5),
    (LibraryError, 6),
    (Cancelled, 130),
)
EXIT_UNEXPECTED = 1

# What typer raises for a command line it cannot read. Its public name changed more than once, its place
# as the grandparent of BadParameter did not.
_ParserError: type[Exception] = typer.BadParameter.__mro__[2]


class CommandGroup(TyperGroup):
    """A group of commands whose every error ends as a message and an exit code, never as a traceback."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Run; in standalone mode leave by SystemExit, otherwise return the exit code (an int)."""
        survive_any_encoding()
        flags = _flags(sys.argv[1:] if args is None else args)
        try:
            code = super().main(args, prog_name, complete_var, False, windows_expand_args, **extra)
        except Exception as error:  # noqa: BLE001  (the outermost place: an error is told here, or nowhere)
            code = report(error, as_json="--json" in flags, debug="--debug" in flags)
        code = code or 0  # commands return None
        if standalone_mode:
            sys.exit(code)
        return code


def report(error: Exception, *, as_json: bool, debug: bool) -> int:
    """Tell of the error, on standard output with ``as_json``, else on standard error; the exit code."""
    kind, message, hint, retryable, code = _describe(error)
    if as_json:
        print_json({"error": {"type": kind, "message": message, "hint": hint, "retryable": retryable}})
    else:
        stderr = Console(stderr=True, markup=False, highlight=False, emoji=False)
        stderr.print(Text.assemble(("Error: ", "bold red"), clean_line(message)), soft_wrap=True)
        if hint:
            stderr.print(Text.assemble(("Hint: ", "bold"), clean_line(hint)), soft_wrap=True)
    if debug:
        traceback.print_exception(error)
    return code


def print_json(document: object) -> None:
    """Write one JSON document to standard output, in ASCII where the stream cannot take more."""
    ascii_only = not (sys.stdout.encoding or "").lower().startswith("utf")
    sys.stdout.write(escape_json(json.dumps(document, ensure_ascii=ascii_only, indent=2)) + "\n")
    sys.stdout.flush()


def _describe(error: Exception) -> tuple[str, str, str, bool, int]:
    """Type, message, hint, retryable, exit code."""
    if isinstance(error, TarsierError):
        code = next((code for kind, code in EXIT_CODES if isinstance(error, kind)), EXIT_UNEXPECTED)
        return type(error).__name__, error.message, error.hint, error.retryable, code
    if isinstance(error, _ParserError):
        context = getattr(error, "ctx", None)
        command = context.command_path if context else "tarsier-tools"
        message = error.format_message()  # type: ignore[attr-defined]
        return "UsageError", message, f"See {command} --help.", False, 2
    message = f"{type(error).__name__}: {error}".rstrip(": ")
    hint = "This should not happen; run it again with --debug for the traceback."
    return "UnexpectedError", message, hint, False, EXIT_UNEXPECTED


def _flags(args: Sequence[str]) -> set[str]:
    """The arguments before ``--``. A line that cannot be parsed has its options nowhere else."""
    words = list(args)
    return set(words[: words.index("--")] if "--" in words else words)


def survive_any_encoding() -> None:
    """A terminal that cannot show a character gets a question mark for it instead of a crash."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="replace")
