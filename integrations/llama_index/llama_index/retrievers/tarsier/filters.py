"""LlamaIndex' metadata filters as what a library can be asked for. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from llama_index.core.vector_stores import FilterCondition, FilterOperator, MetadataFilter, MetadataFilters

from tarsier_tools import UsageError

_OPERATORS = {
    "video_id": (FilterOperator.EQ, FilterOperator.IN),
    "source": (FilterOperator.EQ, FilterOperator.IN),
    "type": (FilterOperator.EQ, FilterOperator.IN),
    "language": (FilterOperator.EQ,),
    "path": (FilterOperator.TEXT_MATCH,),
    "end": (FilterOperator.GT, FilterOperator.GTE),
    "start": (FilterOperator.LT, FilterOperator.LTE),
}
"""What each key of the metadata can be compared by; ``path`` is the source as a pattern."""

_ARGUMENTS = {
    "video_id": "videos",
    "source": "videos",
    "type": "kinds",
    "end": "start_s",
    "start": "end_s",
}
"""What of :meth:`tarsier_tools.library.VideoLibrary.search` a key is given as, where the name differs."""


def as_search(filters: MetadataFilters | None) -> dict[str, Any]:
    """The arguments of ``VideoLibrary.search`` that let pass what these filters do.

    Raises UsageError for a filter that a library cannot honour.
    """
    asked: dict[str, Any] = {}
    for each in _flat(filters):
        argument = _ARGUMENTS.get(each.key, each.key)
        if argument in asked:
            raise UsageError(
                f"Two filters are about the same: {each.key} {each.operator.value} {each.value!r} is one.",
                hint="Give one; several values go into one filter with the operator in.",
            )
        asked[argument] = _value(each)
    return asked


def _flat(filters: MetadataFilters | None) -> Iterator[MetadataFilter]:
    if filters is None:
        return
    if filters.condition not in (None, FilterCondition.AND) and (
        len(filters.filters) > 1 or filters.condition is FilterCondition.NOT
    ):
        raise UsageError(
            f"A library cannot be filtered by {filters.condition.value.upper()}.",
            hint="Give filters that all hold, or search once for each.",
        )
    for each in filters.filters:
        if isinstance(each, MetadataFilters):
            yield from _flat(each)
        else:
            yield each


def _value(given: MetadataFilter) -> Any:
    operator, value = given.operator, given.value
    if operator not in _OPERATORS.get(given.key, ()):
        known = ", ".join(
            f"{key} ({', '.join(each.value for each in some)})" for key, some in _OPERATORS.items()
        )
        raise UsageError(
            f"A library cannot be filtered by {given.key} {operator.value} {value!r}.",
            hint=f"It can by {known}.",
        )
    wanted = list if operator is FilterOperator.IN else (int, float) if given.key in ("start", "end") else str
    if not isinstance(value, wanted):
        raise UsageError(
            f"The value of the filter {given.key} {operator.value} is {value!r}.",
            hint="Give a list for in, a number of seconds for start and end, else a text.",
        )
    # The search itself takes what ends after one time and starts before another.
    if isinstance(value, (int, float)) and operator in (FilterOperator.GTE, FilterOperator.LTE):
        return math.nextafter(value, -math.inf if operator is FilterOperator.GTE else math.inf)
    return value
