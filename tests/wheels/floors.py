"""Make pip constraints that hold each direct dependency of the four packages at the oldest version it allows.

What these depend on in turn stays free.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
PROJECTS = (".", "mcp_server", "integrations/langchain", "integrations/llama_index")


def declared(project: Path) -> Iterator[Requirement]:
    """Yield what a package requires, its extras included."""
    table = tomllib.loads((project / "pyproject.toml").read_text("utf-8"))["project"]
    for lines in (table["dependencies"], *table.get("optional-dependencies", {}).values()):
        yield from map(Requirement, lines)


def floor(requirement: Requirement) -> str:
    """Return the version after ``>=``. Raise ValueError where there is none."""
    found = [part.version for part in requirement.specifier if part.operator == ">="]
    if len(found) != 1:
        raise ValueError(f"{requirement} has no lower bound; write NAME>=VERSION")
    return found[0]


def floors() -> Iterator[str]:
    """Yield one pip constraint for each requirement of the four packages."""
    for project in PROJECTS:
        for requirement in declared(ROOT / project):
            marker = f"; {requirement.marker}" if requirement.marker else ""
            yield f"{requirement.name}=={floor(requirement)}{marker}"
