"""Filters as a condition of SQL on the table of segments. Pure."""

from __future__ import annotations

import json
from typing import NamedTuple

from tarsier_tools.library.stores import Filters


class Where(NamedTuple):
    """Which rows of ``segments`` pass: an expression of this package's own, and the values for its marks."""

    condition: str
    values: tuple[object, ...]


def where(filters: Filters | None) -> Where | None:
    """The condition; None when all pass."""
    if filters is None or filters == Filters():
        return None
    conditions: list[str] = []
    values: list[object] = []
    if filters.videos is not None:
        conditions.append(
            "segments.video IN (SELECT id FROM videos WHERE uuid IN (SELECT value FROM json_each(?)))"
        )
        values.append(json.dumps(filters.videos))
    if filters.kinds is not None:
        conditions.append(f"segments.kind IN ({','.join('?' * len(filters.kinds))})")
        values += filters.kinds
    if filters.language is not None:
        conditions.append("(segments.language = ? OR segments.language LIKE ? || '-%')")
        values += [filters.language, filters.language]
    if filters.start_s is not None:
        conditions.append("segments.end_s > ?")
        values.append(filters.start_s)
    if filters.end_s is not None:
        conditions.append("segments.start_s < ?")
        values.append(filters.end_s)
    return Where(" AND ".join(conditions), tuple(values))
