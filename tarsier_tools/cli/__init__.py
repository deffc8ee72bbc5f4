"""The command line: ``tarsier-tools caption|ask|locate|info|frames|models|convert``."""

from __future__ import annotations

from collections.abc import Sequence

from tarsier_tools.cli.app import app
from tarsier_tools.cli.session import Host

__all__ = ["Host", "app", "main", "run"]


def main() -> None:
    """The console script: run the command line of this process and leave with its exit code."""
    app(prog_name="tarsier-tools")


def run(arguments: Sequence[str], host: Host | None = None) -> int:
    """Run one command in this process, print as it would, and return its exit code."""
    code = app(args=list(arguments), prog_name="tarsier-tools", standalone_mode=False, obj=host)
    return int(code)
