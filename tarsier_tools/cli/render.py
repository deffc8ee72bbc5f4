"""Results as lines for a terminal. Pure: a result and a look in, styled text out.

Model-written text and file names pass through ``clean`` on their way; nothing is read as markup.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.text import Text

from tarsier_tools.cli.bar import ASCII, UNICODE, draw
from tarsier_tools.results import (
    Answer,
    Caption,
    Coverage,
    FrameSet,
    Localization,
    ModelUsed,
    Timeline,
    TimeRange,
    Timings,
    VideoInfo,
)
from tarsier_tools.text import clean, clean_line, format_time
from tarsier_tools.types import Usage

_VERDICTS = {
    "supported": ("✓", "+", "green"),
    "doubtful": ("?", "?", "yellow"),
    "unsupported": ("✗", "x", "bold red"),
}
"""For each verdict its mark, the same in ASCII, and its colour."""

_LABEL = 10  # cells for the name of a detail
_MAX_TIMELINE = 100  # cells; a longer bar is no easier to read


@dataclass(frozen=True, slots=True)
class Look:
    """What the terminal can show, and what is known besides the result.

    Attributes:
        width: cells of a line.
        wrap: break details to that width, the following lines indented; false where nobody reads columns.
        ascii_only: draw without box characters.
        why: why this backend answers; "" when that is not known.
    """

    width: int = 80
    wrap: bool = False
    ascii_only: bool = False
    why: str = ""


def caption(result: Caption, look: Look) -> Iterator[Text]:
    """The description, the events and checked statements if there are any, and the details."""
    yield from _caution(result)
    if not result.events:
        yield Text(clean(result.text))
    for event in result.events:
        yield Text.assemble((f"{_span(event.start_s, event.end_s)}  ", "cyan"), clean_line(event.text))
    if result.statements:
        yield Text("")
    for statement in result.statements:
        mark, ascii_mark, style = _VERDICTS[statement.verdict]
        scores = f"({statement.score:.2f}, in the whole {statement.whole_score:.2f})"
        yield Text.assemble(
            (f"{ascii_mark if look.ascii_only else mark} {statement.verdict:<12}", style),
            (f"{_span(statement.start_s, statement.end_s)}  ", "cyan"),
            clean_line(statement.text),
            (f"  {scores}", "dim"),
        )
        if statement.note:
            yield _detail("", clean_line(statement.note), look)
    if result.statements:
        yield _detail("scores", result.score_kind, look)
    if result.checked is not None:
        count, gap = len(result.checked.frame_indices), result.checked.largest_gap_s
        yield _detail("checked", f"on {_frames(count)} in all; largest gap {gap:.2f} s", look)
        for skipped in result.checked.skipped:
            if skipped not in result.coverage.skipped:
                yield _detail("skipped", clean_line(skipped), look)
    yield from _details(result, look)


def answer(result: Answer, look: Look, *, show_question: bool = False) -> Iterator[Text]:
    """The answer, the probabilities of the choices, and the details; as one of several below its question."""
    if show_question:
        yield Text("")
        yield Text(clean_line(result.question), style="bold cyan")
    yield from _caution(result)
    score = f"  ({result.score:.0%}, raw)" if result.score is not None else ""
    yield Text.assemble(clean(result.text), (score, "dim"))
    for choice in result.choices:
        filled = round(choice.probability * 20)
        bar = ("#" if look.ascii_only else "█") * filled
        label = f"({choice.letter}) " if choice.letter else ""
        yield Text.assemble(
            f"  {choice.probability:6.1%}  ", (f"{bar:<20}", "green"), f"  {label}{clean_line(choice.text)}"
        )
    yield from _details(result, look)


def localizations(results: Sequence[Localization], look: Look) -> Iterator[Text]:
    """Each event with its places on a timeline; the details, which they share, once."""
    yield from _caution(results[0])
    for number, result in enumerate(results):
        if number:
            yield Text("")
        yield from _places(result, look)
    told = dict.fromkeys(warning for result in results for warning in result.warnings)
    yield from _details(results[0].model_copy(update={"warnings": tuple(told)}), look)


def _places(result: Localization, look: Look) -> Iterator[Text]:
    verdict = ("Found: ", "bold green") if result.found else ("Not found: ", "bold yellow")
    best = "" if result.found else _sure(result.best_score, result.best_confidence, result)
    yield Text.assemble(verdict, clean_line(result.event), (f"  (at best {best})" if best else "", "dim"))
    for segment in result.segments:
        sure = _sure(segment.score, segment.confidence, result)
        yield Text.assemble(
            (f"  {_span(segment.start_s, segment.end_s)}", "cyan"),
            (f"  ({segment.end_s - segment.start_s:.1f} s{', ' if sure else ''}{sure})", "dim"),
        )
    width = min(look.width, _MAX_TIMELINE)
    glyphs = ASCII if look.ascii_only else UNICODE
    seen = result.coverage.frame_times_s
    labels, bar, *marks = draw(
        result.coverage.asked, result.segments, seen_s=seen, width=width, glyphs=glyphs
    )
    yield Text("")
    yield Text(labels, style="dim", no_wrap=True)
    yield Text(bar, style="green" if result.found else "dim", no_wrap=True)
    for line in marks:
        yield Text(line, style="dim", no_wrap=True)
    yield _detail("boundary", f"known to {result.resolution_s:.2f} s; method {result.method}", look)
    basis = f"calibrated on {clean_line(result.calibration)}" if result.calibration else result.score_kind
    yield _detail("scores", basis, look)


def _sure(score: float | None, confidence: float | None, result: Localization) -> str:
    """How sure it is, in words; a number that is not calibrated is called raw."""
    if confidence is not None:
        return f"{confidence:.0%} sure"
    if score is None:
        return ""
    return f"{score:.1f} nats, raw" if result.method == "likelihood" else f"yes {score:.0%}, raw"


def timeline(result: Timeline, look: Look) -> Iterator[Text]:
    """The segments below their chapters, if there are any, and the details."""
    yield from _caution(result)
    begins = {chapter.segments[0]: chapter for chapter in result.chapters}
    for number, segment in enumerate(result.segments):
        if number in begins:
            yield Text("")
            yield Text(clean_line(begins[number].title), style="bold")
        yield Text.assemble((f"{_span(segment.start_s, segment.end_s)}  ", "cyan"), clean_line(segment.text))
    yield Text("")
    where = "at cuts" if result.segmentation == "shots" else "evenly"
    kept = f", {result.resumed_segments} kept from an earlier run" if result.resumed_segments else ""
    yield _detail("segments", f"{len(result.segments)}, divided {where}{kept}", look)
    yield from _details(result, look)


def frame_set(result: FrameSet, look: Look) -> Iterator[Text]:
    """The pictures and when they are shown."""
    for frame in result.frames:
        yield Text.assemble(
            (f"{format_time(frame.time_s, 3):>12}", "cyan"),
            (f"  frame {frame.index:<6}", "dim"),
            f"  {clean_line(frame.path)}",
        )
    if result.sheet:
        yield Text.assemble(("       sheet  ", "cyan"), clean_line(result.sheet))
    yield from _coverage(result.coverage, look)


def video_info(result: VideoInfo) -> Iterator[Text]:
    """A table of what is known of a video."""
    kind = "variable" if result.variable_rate else "constant"
    rate = f"{result.average_fps:.3f} frames/s on average, {kind}"
    turned = f", turned by {result.rotation} degrees" if result.rotation else ""
    turned += ", mirrored" if result.mirrored else ""
    rows = [
        ("video", clean_line(result.source)),
        ("container", clean_line(result.container)),
        ("codec", clean_line(result.codec)),
        ("picture", f"{result.width}x{result.height}{turned}"),
        *([("stored", result.storage)] if result.storage else []),
        *(("", note) for note in result.adjusted),
        ("duration", f"{format_time(result.duration_s, 3)} ({result.duration_s:.3f} s)"),
        ("frames", f"{result.frame_count}, {rate}"),
        ("size", f"{result.size_bytes:,} bytes"),
    ]
    if result.offset_s:
        rows.append(
            ("first frame", f"{result.offset_s:.3f} s after a player's 0:00; times here start with it")
        )
    for track in result.tracks:
        language = f" ({clean_line(track.language)})" if track.language else ""
        rows.append((track.kind, f"{clean_line(track.codec)}{language}"))
    rows.append(("decoder", result.decoder))
    rows += [("warning", clean_line(warning)) for warning in result.warnings]
    for name, value in rows:
        yield Text.assemble((f"{name:<{_LABEL}}", "cyan"), value)


def _span(start_s: float, end_s: float) -> str:
    return f"{format_time(start_s)} - {format_time(end_s)}"


def _caution(result: Caption | Answer | Localization | Timeline) -> Iterator[Text]:
    if result.caution:
        yield Text(f"Warning: {clean_line(result.caution)}", style="bold yellow")


def _details(result: Caption | Answer | Localization | Timeline, look: Look) -> Iterator[Text]:
    yield from _model(result.model, look)
    yield from _coverage(result.coverage, look)
    yield from _cost(result.timings, result.usage, look)
    for warning in result.warnings:
        if warning in (*result.coverage.skipped, result.caution):  # shown above
            continue
        yield _detail("warning", clean_line(warning), look, style="yellow")


def _model(model: ModelUsed, look: Look) -> Iterator[Text]:
    where = ", ".join(part for part in (model.backend, model.device, model.dtype) if part)
    reason = f"; {clean_line(look.why)}" if look.why else ""
    yield _detail("model", f"{clean_line(model.name)} ({where}){reason}", look)
    if model.note:
        yield _detail("", clean_line(model.note), look)


def _frames(count: int) -> str:
    return f"{count} frame{'s' if count != 1 else ''}"


def _coverage(coverage: Coverage, look: Look) -> Iterator[Text]:
    width, height = coverage.frame_size
    count = len(coverage.frame_indices)
    frames = f"{_frames(count)} of {width}x{height}"
    whole = TimeRange(start_s=0, end_s=coverage.video_duration_s) == coverage.asked
    asked = _span(coverage.asked.start_s, coverage.asked.end_s)
    scope = f"{asked}, the whole video" if whole else f"{asked} of {format_time(coverage.video_duration_s)}"
    gap = f"largest gap {coverage.largest_gap_s:.2f} s"
    yield _detail(
        "seen", f"{frames} from {scope}; {gap}; {coverage.sampling} sampling, {coverage.decoder}", look
    )
    for adjusted in coverage.adjusted:
        yield _detail("adjusted", adjusted, look)
    for skipped in coverage.skipped:
        yield _detail("skipped", clean_line(skipped), look)


def _cost(timings: Timings, usage: Usage, look: Look) -> Iterator[Text]:
    clip = "clip from cache" if timings.clip_cached else "clip decoded"
    prefix = f"{usage.cached_tokens} from cache" if timings.prefix_cached else "none from cache"
    parts = f"video {timings.video_s:.2f} ({clip}), model {timings.model_s:.2f}"
    yield _detail("time", f"{timings.total_s:.2f} s: {parts}", look)
    yield _detail("tokens", f"{usage.prompt_tokens} in ({prefix}), {usage.completion_tokens} out", look)


def _detail(name: str, value: str, look: Look, style: str = "dim") -> Text:
    label = f"{name:<{_LABEL}}"
    if not look.wrap:
        return Text(label + value, style=style)
    wrapped = textwrap.fill(
        value,
        max(look.width, 2 * _LABEL),
        initial_indent=label,
        subsequent_indent=" " * _LABEL,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return Text(wrapped, style=style)
