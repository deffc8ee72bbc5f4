"""Conditions of SQL on the tables of a library in LanceDB, which takes no values beside them."""

from __future__ import annotations

import time
from collections.abc import Iterable

from tarsier_tools.library.stores import Filters


def quoted(text: str) -> str:
    """Any text as a literal."""
    return "'" + text.replace("'", "''") + "'"


def equal(column: str, text: str) -> str:
    """A column is this text."""
    return f"{column} = {quoted(text)}"


def one_of(column: str, texts: Iterable[str]) -> str:
    """A column is one of these texts."""
    literals = ", ".join(map(quoted, texts))
    return f"{column} IN ({literals})" if literals else "false"


def unclaimed() -> str:
    """A claim that may be taken over: one's own, or void by now."""
    return f"target.owner = source.owner OR target.until < {time.time():f}"


def condition(filters: Filters | None) -> str:
    """What segments pass; empty when all do."""
    if filters is None:
        return ""
    parts: list[str] = []
    if filters.videos is not None:
        parts.append(one_of("video", filters.videos))
    if filters.kinds is not None:
        parts.append(one_of("kind", filters.kinds))
    if filters.language is not None:
        tag = filters.language
        parts.append(f"({equal('language', tag)} OR starts_with(language, {quoted(f'{tag}-')}))")
    if filters.start_s is not None:
        parts.append(f"end_s > {filters.start_s!r}")
    if filters.end_s is not None:
        parts.append(f"start_s < {filters.end_s!r}")
    return " AND ".join(parts)
