"""The score of one or more events over time as a picture file, drawn with matplotlib."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from tarsier_tools.errors import BackendUnavailable
from tarsier_tools.reporting.chart import bounds, outline
from tarsier_tools.results import Localization
from tarsier_tools.text import clean_line, format_time

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_FONTS = (
    "DejaVu Sans",
    "Noto Sans CJK SC",
    "Noto Sans",
    "Hiragino Sans",
    "Microsoft YaHei",
    "Arial Unicode MS",
)
"""Tried in this order for each letter; those that are not installed are passed over."""
_TITLE_CHARS = 90


def draw(results: Sequence[Localization], path: Path) -> None:
    """Draw the events below each other on one time axis; the file's format is that of its suffix.

    Raises BackendUnavailable without matplotlib, OSError when the file cannot be written.
    """
    check_library()
    from matplotlib import rc_context
    from matplotlib.figure import Figure
    from matplotlib.font_manager import get_font_names

    fonts = [name for name in _FONTS if name in set(get_font_names())]
    with rc_context({"font.family": fonts or ["sans-serif"]}), warnings.catch_warnings():
        # A letter that no font has is drawn as a box; there is nobody here to read a warning about it.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure = Figure(figsize=(10, 0.6 + 2.2 * len(results)), layout="constrained")
        for axes, result in zip(figure.subplots(len(results), squeeze=False)[:, 0], results, strict=True):
            _draw(axes, result)
        axes.set_xlabel("time in the video")
        figure.savefig(path, format=path.suffix[1:].lower(), dpi=120)


def check_library() -> None:
    """Raise BackendUnavailable, which says what to type, when matplotlib is not installed."""
    if find_spec("matplotlib") is None:
        raise BackendUnavailable(
            "Plots need matplotlib, which is not installed.",
            hint="Install it: pip install 'tarsier-tools[plot]'; a report in HTML needs nothing more.",
        )


def _draw(axes: Axes, result: Localization) -> None:
    asked, runs = result.coverage.asked, outline(result)
    title = clean_line(result.event)
    if len(title) > _TITLE_CHARS:
        title = f"{title[: _TITLE_CHARS - 1]}…"
    axes.set_title(f"{title} ({'found' if result.found else 'not found'})", loc="left", parse_math=False)
    axes.axhline(result.threshold, color="#855300", linestyle="--", linewidth=1, label="needed")
    for number, segment in enumerate(result.segments):
        axes.axvspan(
            segment.start_s,
            segment.end_s,
            color="#0b6b4b",
            alpha=0.25,
            linewidth=0,
            label=None if number else "found",
        )
    if any(run.best for run in runs):
        what = "confidence" if result.best_confidence is not None else "score"
        edges = [runs[0].start_s, *(run.end_s for run in runs)]
        values = [math.nan if run.best is None else run.best.value for run in runs]
        axes.stairs(values, edges, baseline=None, color="#1a5fb4", linewidth=1.5, label=what)
        axes.set_ylabel(what)
    axes.set_xlim(asked.start_s, asked.end_s)
    axes.set_ylim(*bounds(result))
    digits = 1 if asked.duration_s < 10 else 0
    axes.xaxis.set_major_formatter(lambda seconds, _: format_time(max(seconds, 0), digits))
    axes.legend(loc="upper right", fontsize="small", framealpha=0.8)
