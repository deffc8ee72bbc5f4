"""Writing a benchmark's section: what was run, when, on what, and the table."""

from __future__ import annotations

import platform
import shlex
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

RESULTS = Path(__file__).parent / "RESULTS.md"


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def machine(packages: Sequence[str]) -> str:
    """Processor, cores, Python and the versions of the packages that matter."""
    cpu = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line.split(":", 1)[1] for line in cpuinfo.read_text().splitlines() if "model name" in line]
        cpu = f"{names[0].strip()}, {len(names)} cores" if names else cpu
    found = []
    for name in packages:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(f"{name} not installed")
    return ", ".join([cpu, f"Python {platform.python_version()}", *found])


def publish(title: str, body: str, *, packages: Sequence[str], write: bool) -> None:
    """Print a section, and with ``write`` put it into RESULTS.md in place of the one of the same title."""
    command = shlex.join(["python", *(arg for arg in sys.argv if arg != "--write")])
    when = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    section = f"## {title}\n\n`{command}`, {when}; {machine(packages)}\n\n{body.strip()}\n"
    print(section)
    if not write:
        return
    text = RESULTS.read_text(encoding="utf-8") if RESULTS.exists() else "# Results\n"
    head, *sections = text.split("\n## ")
    kept = [old for old in sections if not old.startswith(f"{title}\n")]
    parts = [head.rstrip() + "\n", *(f"## {old.rstrip()}\n" for old in kept), section]
    RESULTS.write_text("\n".join(parts), encoding="utf-8")
