"""What a page says about each kind of result. Pure."""

from __future__ import annotations

import base64
from collections.abc import Sequence

from tarsier_tools.reporting.chart import Bar, lanes_chart, legend, points, score_chart, span
from tarsier_tools.reporting.evidence import Pictures, moment, moments
from tarsier_tools.reporting.markup import Child, Markup, join, tag
from tarsier_tools.results import Caption, Localization, Segment, Statement, Timeline
from tarsier_tools.text import clean, format_time

MAX_ROWS = 300
"""Windows in the table of a result; of more, those with the highest scores are listed."""
_MARKS = {"supported": "✓", "doubtful": "?", "unsupported": "✗"}
_LANES = 3
"""Lanes that segments of a timeline take in turn, so that neighbours are told apart."""


def localization_section(result: Localization, pictures: Pictures, ident: str) -> Markup:
    """The verdict, the score over time, the segments with their frames, and every window in a table."""
    count = len(result.segments)
    calibrated = result.best_confidence is not None
    best = result.best_confidence if calibrated else result.best_score
    what = "confidence" if calibrated else "score"
    times = f"Found {count} time{'s' if count != 1 else ''}" if result.found else "Not found"
    beside = f"; best {what} {best:.2f}, needed {result.threshold:.2f}" if best is not None else ""
    figures = [
        _card(pictures, moment(result.coverage, segment), segment, _numbers(segment))
        for segment in result.segments
    ]
    if not result.segments:
        figures = [_best_window(pictures, time_s) for time_s in moments(result) if pictures.at(time_s)]
    return tag(
        "section",
        tag("h2", tag("bdi", result.event, lang=result.language)),
        tag(
            "p",
            tag("strong", times, class_="found" if result.found else "missing"),
            f"{beside}. Boundaries are known to {result.resolution_s:.2f} s; method {result.method}.",
        ),
        score_chart(result, ident),
        legend(
            [
                (
                    "curve",
                    f"{what}: the best window at each moment" if result.curve else "no windows were scored",
                ),
                ("threshold", f"needed: {result.threshold:.2f}"),
                ("segment", "found"),
                ("seen", "frames seen"),
            ]
        ),
        tag("div", *figures, class_="cards") if figures else None,
        _windows(result),
        class_="result",
        id=ident,
    )


def caption_section(result: Caption, pictures: Pictures, ident: str) -> Markup:
    """The text with its flags, each statement and event with time and frame."""
    parts: list[Child] = []
    if result.statements:
        counts = dict.fromkeys(_MARKS, 0)
        for statement in result.statements:
            counts[statement.verdict] += 1
        told = ", ".join(f"{number} {verdict}" for verdict, number in counts.items() if number)
        checked = f"Each statement was looked for again in the video: {told}. Nothing was taken out."
        parts += [tag("p", checked), _lanes(result, ident)]
    parts.append(tag("div", *_caption_cards(result, pictures), class_="cards"))
    return tag(
        "section",
        tag("h2", "What happens"),
        tag("p", *flagged(result), class_="caption", dir="auto", lang=result.language),
        *parts,
        class_="result",
        id=ident,
    )


def timeline_section(result: Timeline, pictures: Pictures, ident: str) -> Markup:
    """Chapters and segments on one axis, then each chapter with its segments."""
    count = len(result.segments)
    kept = f" {result.resumed_segments} were kept from an earlier run." if result.resumed_segments else ""
    cut = "at cuts" if result.segmentation == "shots" else "evenly"
    lanes = [
        [
            Bar(segment.start_s, segment.end_s, "plain", f"{number}. {segment.text}")
            for number, segment in enumerate(result.segments, 1)
            if number % _LANES == lane
        ]
        for lane in ([1, 2, 0] if count >= _LANES else [1, 2][:count])
    ]
    chapters = [Bar(chapter.start_s, chapter.end_s, "chapter", chapter.title) for chapter in result.chapters]
    cards = [
        _card(pictures, moment(result.coverage, segment), segment, _numbers(segment), number)
        for number, segment in enumerate(result.segments, 1)
    ]
    body: list[Child] = []
    listed: set[int] = set()
    for chapter in result.chapters:
        mine = [number for number in chapter.segments if number < count]
        listed |= set(mine)
        body.append(tag("h3", tag("bdi", chapter.title), tag("small", span(chapter.start_s, chapter.end_s))))
        body.append(tag("div", *(cards[number] for number in mine), class_="cards"))
    rest = [card for number, card in enumerate(cards) if number not in listed]
    if rest:
        body.append(tag("div", *rest, class_="cards"))
    title = f"{count} segments" + (f" in {len(chapters)} chapters" if chapters else "") + " over time"
    return tag(
        "section",
        tag("h2", "What happens, and when"),
        tag("p", f"{count} segment{'s' if count != 1 else ''}, divided {cut}.{kept}"),
        lanes_chart(result.coverage.asked, [*([chapters] if chapters else []), *lanes], ident, title),
        *body,
        class_="result",
        id=ident,
    )


def flagged(result: Caption) -> list[Child]:
    """The text with each statement found in it marked by its verdict; nothing is left out or moved."""
    text, at = clean(result.text), 0
    parts: list[Child] = []
    for number, statement in enumerate(result.statements, 1):
        words = clean(statement.text)
        found = text.find(words, at) if words else -1
        if found < 0:
            continue
        verdict = statement.verdict
        parts.append(text[at:found])
        parts.append(
            tag(
                "mark",
                words,
                tag("sup", f"{_MARKS[verdict]}{number}", aria_hidden="true"),
                tag("span", f" ({verdict})", class_="unseen", lang="en"),
                class_=verdict,
            )
        )
        at = found + len(words)
    return [*parts, text[at:]]


def _lanes(result: Caption, ident: str) -> Markup:
    lanes = [
        [Bar(statement.start_s, statement.end_s, statement.verdict, f"{number}. {statement.text}")]
        for number, statement in enumerate(result.statements, 1)
    ]
    title = "Where in time each statement fits best, in their order from top to bottom"
    return join(
        (
            lanes_chart(result.coverage.asked, lanes, ident, title),
            legend([(verdict, f"{mark} {verdict}") for verdict, mark in _MARKS.items()]),
        )
    )


def _caption_cards(result: Caption, pictures: Pictures) -> list[Markup]:
    cards = [_statement(pictures, statement, number) for number, statement in enumerate(result.statements, 1)]
    cards += [_card(pictures, moment(result.coverage, event), event, "") for event in result.events]
    if not cards:
        cards = [
            tag("figure", _image(pictures, time_s), tag("figcaption", tag("b", format_time(time_s))))
            for time_s in moments(result)
            if pictures.at(time_s)
        ]
    return cards


def _statement(pictures: Pictures, statement: Statement, number: int) -> Markup:
    sure = f", confidence {statement.confidence:.2f}" if statement.confidence is not None else ""
    verdict = tag("b", f"{_MARKS[statement.verdict]} {number} {statement.verdict}", class_=statement.verdict)
    scores = f"score {statement.score:.2f}, whole video {statement.whole_score:.2f}{sure}"
    return tag(
        "figure",
        _image(pictures, statement.evidence_s),
        tag(
            "figcaption",
            verdict,
            tag("p", statement.text, dir="auto"),
            tag("small", f"{span(statement.start_s, statement.end_s)}; {scores}"),
        ),
    )


def _card(
    pictures: Pictures, time_s: float, segment: Segment, numbers: str, number: int | None = None
) -> Markup:
    """A stretch of time with its frame, words and numbers."""
    before = f"{number}. " if number else ""
    return tag(
        "figure",
        _image(pictures, time_s),
        tag(
            "figcaption",
            tag("b", f"{before}{span(segment.start_s, segment.end_s)}"),
            tag("p", segment.text, dir="auto") if segment.text else None,
            tag("small", numbers) if numbers else None,
        ),
    )


def _best_window(pictures: Pictures, time_s: float) -> Markup:
    about = tag("figcaption", tag("b", format_time(time_s)), tag("p", "The best there is, and not enough."))
    return tag("figure", _image(pictures, time_s), about)


def _image(pictures: Pictures, time_s: float) -> Markup | None:
    picture = pictures.at(time_s)
    if picture is None:
        return None
    data = base64.b64encode(picture.jpeg).decode("ascii")
    return tag(
        "img",
        src=Markup(f"data:image/jpeg;base64,{data}"),
        width=picture.width,
        height=picture.height,
        alt=f"Frame of the video at {format_time(picture.time_s or 0.0, 2)}",
    )


def _numbers(segment: Segment) -> str:
    parts = []
    if segment.confidence is not None:
        parts.append(f"confidence {segment.confidence:.2f}")
    if segment.score is not None:
        parts.append(f"score {segment.score:.2f}")
    return ", ".join(parts)


def _windows(result: Localization) -> Markup | None:
    """All windows for those who read rather than see, folded up."""
    windows = points(result)
    if not windows:
        return None
    shown = windows
    if len(windows) > MAX_ROWS:
        best = sorted(range(len(windows)), key=lambda number: -windows[number].value)[:MAX_ROWS]
        shown = [windows[number] for number in sorted(best)]
    cut = "" if len(shown) == len(windows) else f", the {len(shown)} highest of {len(windows)}"
    heads: Sequence[str] = ("From", "To", "Value")
    rows = [
        tag(
            "tr",
            tag("td", format_time(window.start_s, 2)),
            tag("td", format_time(window.end_s, 2)),
            tag("td", f"{window.value:.3f}"),
        )
        for window in shown
    ]
    return tag(
        "details",
        tag("summary", f"The scores of the windows looked at{cut}"),
        tag(
            "table",
            tag("thead", tag("tr", *(tag("th", head, scope="col") for head in heads))),
            tag("tbody", *rows),
        ),
    )
