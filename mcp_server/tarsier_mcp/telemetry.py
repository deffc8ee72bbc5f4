"""OpenTelemetry spans below the one that the SDK makes for each message: decode and inference.

The API alone is used: without an SDK and an exporter in the process it does nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from opentelemetry import trace

_TRACER = trace.get_tracer("tarsier_mcp")
_S = 1_000_000_000


@contextmanager
def job_span(tool: str) -> Iterator[trace.Span]:
    """The work of one job, in its own thread; a child of the call that began it."""
    with _TRACER.start_as_current_span(f"job {tool}", attributes={"gen_ai.tool.name": tool}) as span:
        yield span


def step_spans(result: dict[str, Any], ended_at: float) -> None:
    """Two children of the current span, from the timings that a result carries.

    Finding and decoding come first in every call, the model last, so that the two lie at the two ends.
    """
    timings = result.get("timings")
    if not isinstance(timings, dict):
        return
    began = ended_at - timings["total_s"]
    model = result.get("model") or {}
    _span("decode", began, began + timings["video_s"], {"tarsier.clip_cached": timings["clip_cached"]})
    _span(
        "inference",
        ended_at - timings["model_s"],
        ended_at,
        {
            "gen_ai.request.model": str(model.get("name", "")),
            "tarsier.backend": str(model.get("backend", "")),
            "tarsier.prefix_cached": timings["prefix_cached"],
        },
    )


def _span(name: str, start_s: float, end_s: float, attributes: dict[str, Any]) -> None:
    span = _TRACER.start_span(name, start_time=round(start_s * _S), attributes=attributes)
    span.end(round(end_s * _S))
