"""Results as pictures: a self-contained HTML page, and a plot of scores over time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from tarsier_tools.errors import UsageError, VideoError
from tarsier_tools.reporting.evidence import Pictures, Reportable, moments, read_pictures
from tarsier_tools.reporting.page import page
from tarsier_tools.results import Localization
from tarsier_tools.types import Progress, no_progress

if TYPE_CHECKING:
    from tarsier_tools.service import VideoService

Kind = TypeVar("Kind", bound=Reportable)

__all__ = ["PLOT_SUFFIXES", "REPORT_SUFFIXES", "Reportable", "checked_path", "write_plot", "write_report"]

REPORT_SUFFIXES = (".html", ".htm")
PLOT_SUFFIXES = (".png", ".svg", ".pdf")


def write_report(
    result: Reportable | Sequence[Reportable],
    service: VideoService,
    path: str | Path,
    *,
    on_progress: Progress = no_progress,
) -> None:
    """Write results about one video as an HTML page: charts, frames of the video, text, and what it rests on.

    The page is one file that loads nothing, runs no script, and holds at most 40 small frames, which are
    read from the video again; when that fails the page says so. A file that is there is replaced.

    Args:
        result: a caption, a timeline or a localization, or several of them, for example of several events.
        service: reads the frames; no model is asked.
        path: ends in .html or .htm.

    Raises UsageError when the path makes no sense or cannot be written, when there are no results, and when
    they are about different videos.
    """
    target, results = checked_path(path, REPORT_SUFFIXES), _several(result)
    wanted = [time_s for one in results for time_s in moments(one)]
    try:
        pictures = read_pictures(service, results[0].video, wanted, on_progress)
    except VideoError as error:  # what the model said is worth a page without them
        pictures = Pictures(notes=(f"There are no pictures: {error.message}",))
    text = page(results, pictures)
    _replace(target, lambda partial: partial.write_text(text, "utf-8", newline="\n"))


def write_plot(result: Localization | Sequence[Localization], path: str | Path) -> None:
    """Draw the score of events over time, with threshold and segments; needs the extra ``plot``.

    Args:
        result: one or more localizations in the same video, drawn below each other.
        path: ends in .png, .svg or .pdf. A file that is there is replaced.

    Raises UsageError as :func:`write_report`, BackendUnavailable when matplotlib is not installed.
    """
    from tarsier_tools.reporting.plot import draw

    target, results = checked_path(path, PLOT_SUFFIXES), _several(result)
    _replace(target, lambda partial: draw(results, partial))


def checked_path(path: str | Path, suffixes: Sequence[str]) -> Path:
    """The path, if a file could be written there; before any work, so that none is lost.

    Raises UsageError.
    """
    target = Path(path).expanduser()
    if target.suffix.lower() not in suffixes:
        raise UsageError(
            f"{target.name!r} does not end in {' or '.join(suffixes)}.", hint="Give the file such a name."
        )
    if target.is_dir() or not target.parent.is_dir():
        wrong = "is a folder" if target.is_dir() else "is in a folder that is not there"
        raise UsageError(f"{target} {wrong}.", hint="Give a file in a folder that exists.")
    return target


def _several(result: Kind | Sequence[Kind]) -> tuple[Kind, ...]:
    results = tuple(result) if isinstance(result, Sequence) else (result,)
    if not results:
        raise UsageError("There are no results to show.", hint="Give at least one.")
    if len({one.video for one in results}) > 1:
        raise UsageError("The results are about different videos.", hint="Write one page for each video.")
    return results


def _replace(target: Path, write: Callable[[Path], object]) -> None:
    """Write beside the file and put it in its place when it is whole."""
    partial = target.with_name(f".partial-{target.name}")
    try:
        write(partial)
        partial.replace(target)
    except OSError as error:
        raise UsageError(
            f"{target} cannot be written: {error.strerror or error}.", hint="Give another place for it."
        ) from error
    finally:
        partial.unlink(missing_ok=True)
