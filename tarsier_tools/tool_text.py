"""Results as short texts that alone carry the answer, for models that read nothing else. Pure.

Every line is ours: what a model, a file or its name says is cleaned and stays within its own line, so that it
cannot pass for what we say about it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from tarsier_tools.results import (
    Answer,
    Caption,
    Coverage,
    FrameView,
    Localization,
    ModelUsed,
    Segment,
    Statement,
    Timeline,
    VideoFolder,
    VideoInfo,
)
from tarsier_tools.text import clean_line, format_range, format_time

if TYPE_CHECKING:
    from tarsier_tools.library import Found
    from tarsier_tools.library_tools import FailedVideo, IndexedVideos, LibraryStatus
    from tarsier_tools.passages import Hit

_NAMED = 20
"""Names of videos of one kind that a reply holds at most."""


def caption(result: Caption) -> Iterator[str]:
    """The description or its events, the statements that are in doubt, and what was seen."""
    yield from _cautions(result.caution)
    if result.events:
        for event in result.events:
            yield f"{span(event.start_s, event.end_s)}: {clean_line(event.text)}"
    else:
        yield clean_line(result.text) or "(The model wrote nothing.)"
    if result.statements:
        yield from _checked(result.statements, result.score_kind)
    yield from _grounds(result.coverage, result.model, result.warnings, result.caution)


def answer(result: Answer) -> Iterator[str]:
    """The answer, the probabilities of the choices, and what was seen."""
    yield from _cautions(result.caution)
    yield clean_line(result.text) or "(The model wrote nothing.)"
    if result.choices:
        shares = ", ".join(f"{clean_line(choice.text)} {choice.probability:.2f}" for choice in result.choices)
        yield f"Share of the model's probability, not calibrated: {shares}."
    yield from _grounds(result.coverage, result.model, result.warnings, result.caution)


def localizations(results: Sequence[Localization]) -> Iterator[str]:
    """For each event when it happens, or that it was not found; then what was seen."""
    yield from _cautions(results[0].caution)
    for result in results:
        yield from _localization(result)
    first = results[0]
    known = max(result.resolution_s for result in results)
    scored = "; ".join(dict.fromkeys(result.score_kind for result in results))
    yield f"Boundaries are known to {seconds(known)} s. Scores: {scored}."
    if first.calibration:
        yield f"Confidences are calibrated on {clean_line(first.calibration)}."
    warnings = dict.fromkeys(warning for result in results for warning in result.warnings)
    # Each event had its own second looks; of all of them at least this was seen.
    least = min((result.coverage for result in results), key=lambda coverage: len(coverage.frame_indices))
    yield from _grounds(least, first.model, tuple(warnings), first.caution)


def timeline(result: Timeline) -> Iterator[str]:
    """What was seen, the chapters, and each segment with its caption on a line."""
    yield from _cautions(result.caution)
    asked = result.coverage.asked
    where = "shot by shot" if result.segmentation == "shots" else "in even parts"
    count = len(result.segments)
    parts = "1 segment" if count == 1 else f"{count} segments"
    yield f"{parts} of {span(asked.start_s, asked.end_s)}, {where}."
    yield from _grounds(result.coverage, result.model, result.warnings, result.caution)
    for chapter in result.chapters:
        first, last = chapter.segments[0] + 1, chapter.segments[-1] + 1
        numbers = f"segment {first}" if first == last else f"segments {first} to {last}"
        yield f"Chapter {span(chapter.start_s, chapter.end_s)}, {numbers}: {clean_line(chapter.title)}"
    for number, segment in enumerate(result.segments, start=1):
        yield f"{number}. {span(segment.start_s, segment.end_s)}: {clean_line(segment.text)}"


def info(result: VideoInfo) -> Iterator[str]:
    """Length, picture and tracks."""
    rate = "variable" if result.variable_rate else "constant"
    yield (
        f"{clean_line(result.source)}: {seconds(result.duration_s)} s"
        f"{_clock(result.duration_s)}, {result.width}x{result.height} pixels, {result.frame_count} frames, "
        f"{result.average_fps:.3g} a second ({rate}), {clean_line(result.codec)} in "
        f"{clean_line(result.container)}, {result.size_bytes:,} bytes."
    )
    if result.offset_s:
        yield (
            f"The first frame is shown {seconds(result.offset_s)} s after a player's 0:00; times here count "
            "from the first frame, so subtract that from a time read off a player."
        )
    if result.storage:
        yield f"Pictures are stored as {result.storage}."
    yield from result.adjusted
    yield from result.warnings
    for track in result.tracks:
        language = f" ({clean_line(track.language)})" if track.language else ""
        yield f"A track of {track.kind}, not given to the model: {clean_line(track.codec)}{language}."


def frame_view(result: FrameView) -> Iterator[str]:
    """Which pictures there are, and of which times."""
    times = ", ".join(seconds(time_s) for time_s in result.coverage.frame_times_s)
    count = len(result.coverage.frame_times_s)
    many = "One picture" if count == 1 else f"{count} pictures"
    what = f"One sheet of {count} frames" if result.sheet else f"{many}, in the order of time"
    yield f"{what}: {times} s of {seconds(result.coverage.video_duration_s)} s."
    for note in result.coverage.skipped:
        yield f"Note: {clean_line(note)}"


def folder(result: VideoFolder) -> Iterator[str]:
    """The paths of the videos and folders, one a line."""
    where = f"in {clean_line(result.folder)}" if result.folder else "here"
    if not result.videos:
        yield f"There are no videos {where}."
    else:
        yield f"{len(result.videos)} videos {where}:" if len(result.videos) > 1 else f"1 video {where}:"
    for video in result.videos:
        yield f"{clean_line(video.path)} ({_size(video.size_bytes)})"
    if result.folders:
        yield "Folders, to be listed in turn:"
    for inner in result.folders:
        yield f"{clean_line(inner)}/"
    for note in result.skipped:
        yield f"Note: {clean_line(note)}"


def hits(result: Found, there: Sequence[bool], advice: str) -> Iterator[str]:
    """Each hit on two lines: where it is, and what makes it one; ``advice`` when there are none.

    ``there`` says of each hit whether its file is there now.
    """
    count = len(result.hits)
    if not count:
        yield f"Nothing in the library fits: {clean_line(result.query)}. {advice}"
    else:
        order = ", the best first" if count > 1 else ""
        yield f"{_count(count, 'hit')}{order}: {clean_line(result.query)}."
    for number, (hit, is_there) in enumerate(zip(result.hits, there, strict=True), start=1):
        passage = hit.passage
        where = f"{clean_line(passage.source)} @ {format_range(passage.start_s, passage.end_s)}"
        exact = f"{seconds(passage.start_s)}-{seconds(passage.end_s)} s of {seconds(passage.duration_s)} s"
        yield f"{number}. {where} ({exact}), {passage.kind}: {clean_line(hit.snippet)}"
        yield f"   {_why(hit)}{'' if is_there else ' The file is not there now.'}"
    if result.notice:
        yield f"Note: {clean_line(result.notice)}"
    if count:
        yield (
            "A hit is a text that fits, no proof. To look, give its video (what is before the @), start_s "
            "and end_s to ask_video, caption_video or view_frames."
        )


def indexed(result: IndexedVideos) -> Iterator[str]:
    """What became of the videos, and why some failed."""
    for names, said in (
        (result.described, "watched and described"),
        (result.known, "known by their bytes, under another name"),
    ):
        if names:
            yield f"{len(names)} {said}: {_named(names)}"
    if result.unchanged:
        yield f"{result.unchanged} unchanged since the last time."
    if result.passed_over:
        yield (
            f"{result.passed_over} passed over: they failed before and are unchanged (retry_failed=true "
            "tries them again), or are being described elsewhere."
        )
    yield from _failed(result.failed)
    if not (result.described or result.known or result.unchanged):
        yield "Nothing of it is in the library."


def library_status(result: LibraryStatus) -> Iterator[str]:
    """How much there is, how it is searched, and what failed."""
    segments = sum(result.segments.values())
    kinds = ", ".join(f"{count} {kind}" for kind, count in result.segments.items())
    of = f" ({kinds})" if kinds else ""
    held = f"{_count(result.videos, 'video')} in {_count(result.files, 'file')}"
    yield f"{held}, {_count(segments, 'text')} about what happens{of}."
    if result.hidden:
        yield f"Videos that may not be read from here, and so are not found: {result.hidden}."
    if result.searches == "words":
        yield "Only words are searched, not meanings."
    else:
        waiting = segments - result.vectors
        left = f"; {_count(waiting, 'text')} by their words only so far" if waiting > 0 else ""
        yield f"Words and meanings are searched{left}."
    if result.notice:
        yield f"Note: {clean_line(result.notice)}"
    yield from _failed(result.failures, len(result.failures))


def page(lines: Iterator[str], number: int, max_chars: int) -> tuple[str, int, int]:
    """One page of a text, and how many there are.

    Lines are kept whole, but for one longer than a page, which is cut.

    Returns:
        The text of page ``number`` (from 1; of the last page where there are not so many), its number, and
        the number of pages.
    """
    found: list[list[str]] = [[]]
    room = max_chars
    for line in lines:
        whole = line if len(line) <= max_chars else f"{line[: max_chars - 15]}... (cut here)"
        if found[-1] and len(whole) + 1 > room:
            found.append([])
            room = max_chars
        found[-1].append(whole)
        room -= len(whole) + 1
    number = min(number, len(found))
    return "\n".join(found[number - 1]), number, len(found)


def seconds(time_s: float) -> str:
    """A time in seconds, to hundredths at most: ``12.5``."""
    return f"{time_s:.2f}".rstrip("0").rstrip(".")


def span(start_s: float, end_s: float) -> str:
    """A stretch of time in seconds, from one minute on also as a clock shows it."""
    clock = f" ({format_time(start_s)}-{format_time(end_s)})" if end_s >= 60 else ""
    return f"{seconds(start_s)}-{seconds(end_s)} s{clock}"


def _clock(time_s: float) -> str:
    return f" ({format_time(time_s)})" if time_s >= 60 else ""


def _why(hit: Hit) -> str:
    """What makes it a hit, in words."""
    places = " and ".join(f"place {place} by its {name}" for name, place in hit.ranks.items())
    alone = " alone" if len(hit.ranks) == 1 else ""
    joined = f", joined with {len(hit.merged)} beside it" if hit.merged else ""
    seen = ""
    if hit.rewatched is not None:
        seen = f" Looked at again: {hit.rewatched:.2f} that it happens there, raw probability of the model."
    return f"{places[:1].upper()}{places[1:]}{alone}{joined}.{seen}"


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{', '.join(clean_line(name) for name in names[:_NAMED])}{more}."


def _failed(failures: Sequence[FailedVideo], most: int = _NAMED) -> Iterator[str]:
    if failures:
        yield f"{len(failures)} could not be taken in:"
    for each in failures[:most]:
        yield f"- {clean_line(each.video)}: {clean_line(f'{each.message} {each.hint}')}"
    if len(failures) > most:
        yield f"- {len(failures) - most} more; see library_status."


def _localization(result: Localization) -> Iterator[str]:
    event = clean_line(result.event)
    asked = result.coverage.asked
    if not result.found:
        kind, value = "score", result.best_score
        if result.best_confidence is not None:
            kind, value = "confidence", result.best_confidence
        needed = f"{result.threshold:.2f} was needed"
        best = "" if value is None else f" The best {kind} was {value:.2f}; {needed}."
        yield f"Not found between {span(asked.start_s, asked.end_s)}: {event}.{best}"
        return
    times = "once" if len(result.segments) == 1 else f"{len(result.segments)} times"
    yield f"Found {times}: {event}."
    for segment in result.segments:
        yield f"- {span(segment.start_s, segment.end_s)}{_certainty(segment)}"


def _certainty(segment: Segment) -> str:
    parts = []
    if segment.confidence is not None:
        parts.append(f"confidence {segment.confidence:.2f}")
    elif segment.score is not None:
        parts.append(f"score {segment.score:.2f}")
    if segment.evidence_s is not None:
        parts.append(f"seen best at {seconds(segment.evidence_s)} s")
    return "".join(f", {part}" for part in parts)


def _checked(statements: Sequence[Statement], score_kind: str) -> Iterator[str]:
    """How many statements hold, and each one that does not."""
    count = dict.fromkeys(("supported", "doubtful", "unsupported"), 0)
    for statement in statements:
        count[statement.verdict] += 1
    said = ", ".join(f"{number} {verdict}" for verdict, number in count.items())
    yield f"Checked against the video: {said}. Scores: {score_kind}."
    for statement in statements:
        if statement.verdict != "supported":
            fits = f"score {statement.score:.2f} at {span(statement.start_s, statement.end_s)}"
            yield f"- {statement.verdict} ({fits}): {clean_line(statement.text)}"


def _cautions(caution: str) -> Iterator[str]:
    """What is read before anything else: who reads one line reads this."""
    if caution:
        yield f"WARNING: {clean_line(caution)}"


def _grounds(coverage: Coverage, model: ModelUsed, warnings: Sequence[str], caution: str) -> Iterator[str]:
    """What was seen and who answered in one line, and what to know before trusting it."""
    asked = coverage.asked
    whole = asked.start_s == 0 and asked.end_s == coverage.video_duration_s
    of = "the whole video" if whole else f"of {seconds(coverage.video_duration_s)} s"
    count = len(coverage.frame_indices)
    frames = "1 frame" if count == 1 else f"{count} frames"
    note = f": {clean_line(model.note)}" if model.note else ""
    yield (
        f"Seen: {frames} of {span(asked.start_s, asked.end_s)}, {of}; largest gap "
        f"{seconds(coverage.largest_gap_s)} s. Model: {clean_line(model.name)}{note}"
    )
    for warning in warnings:
        if warning != caution:
            yield f"Note: {clean_line(warning)}"


def _size(size_bytes: int) -> str:
    mib = size_bytes / (1 << 20)
    return f"{mib:.1f} MiB" if mib >= 1 else f"{size_bytes / 1024:.0f} KiB"
