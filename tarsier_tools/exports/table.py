"""CSV (RFC 4180), safe to open in a spreadsheet. Pure."""

from __future__ import annotations

import csv
import io

from tarsier_tools.exports.cues import Cue, Exportable, chapters, cues, results
from tarsier_tools.results import Timeline

COLUMNS = ("kind", "start_s", "end_s", "text", "score", "confidence", "evidence_s")

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""How a cell begins that a spreadsheet computes, after OWASP's "CSV Injection"."""


def to_csv(result: Exportable) -> str:
    """One row for each segment, event or whole caption, then one for each chapter; COLUMNS on top.

    Times are seconds to the millisecond. A text that a spreadsheet would compute has a ``'`` before it.
    """
    rows = cues(result)
    if any(isinstance(each, Timeline) and each.chapters for each in results(result)):
        rows += chapters(result)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    writer.writerows(_row(cue) for cue in rows)
    return out.getvalue()


def _row(cue: Cue) -> tuple[str, ...]:
    return (
        cue.kind,
        f"{cue.start_s:.3f}",
        f"{cue.end_s:.3f}",
        f"'{cue.text}" if cue.text.startswith(_FORMULA) else cue.text,
        _number(cue.score),
        _number(cue.confidence),
        "" if cue.evidence_s is None else f"{cue.evidence_s:.3f}",
    )


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"
