"""Times as people write them, text made safe for a terminal, and the timeline: pure functions."""

from __future__ import annotations

import json

import pytest

from tarsier_tools.cli.bar import ASCII, draw
from tarsier_tools.results import Segment, TimeRange
from tarsier_tools.text import clean, clean_line, escape_json, format_range, format_time, parse_time

TIMES = {
    "0": 0.0,
    "12.5": 12.5,
    "90": 90.0,
    "0:05": 5.0,
    "1:02.250": 62.25,
    "75:00": 4500.0,
    "1:00:00": 3600.0,
    "2:03:04.5": 7384.5,
    " 1:30 ": 90.0,
}


@pytest.mark.parametrize(("text", "seconds"), TIMES.items())
def test_a_time_is_read_as_seconds_minutes_or_hours(text: str, seconds: float) -> None:
    assert parse_time(text) == seconds


@pytest.mark.parametrize(
    "text",
    ["", "-5", "abc", "1:60", "1:99.5", "1:60:00", "1:2:3:4", ":30", "1:", "1e3", "nan", "inf", "5s", "１２"],
)
def test_what_is_no_time_is_refused_with_the_forms_there_are(text: str) -> None:
    with pytest.raises(ValueError, match=r"write seconds \(12\.5\), MM:SS or H:MM:SS"):
        parse_time(text)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00.0"), (59.96, "1:00.0"), (62.25, "1:02.2"), (3599.99, "1:00:00.0")]
)
def test_a_time_is_rounded_before_it_is_cut_into_minutes(seconds: float, text: str) -> None:
    assert format_time(seconds) == text


@pytest.mark.parametrize("seconds", [0.0, 7.125, 61.5, 3600.0, 7384.5])
def test_a_time_that_was_written_reads_back_the_same(seconds: float) -> None:
    assert parse_time(format_time(seconds, 3)) == seconds


@pytest.mark.parametrize(
    ("start_s", "end_s", "text"),
    [
        (4.25, 7.1, "00:04-00:07"),
        (4.99, 7.2, "00:04-00:08"),
        (0, 10.04, "00:00-00:10"),
        (5, 5.05, "00:05-00:06"),
        (3599.5, 3723, "59:59-1:02:03"),
    ],
)
def test_a_range_is_written_in_the_whole_seconds_that_hold_it(
    start_s: float, end_s: float, text: str
) -> None:
    assert format_range(start_s, end_s) == text


HOSTILE = {
    "\x1b[31mred\x1b[0m": "red",
    "\x1b]0;title\x07text": "text",
    "\x1b]8;;http://x.example\x1b\\link\x1b]8;;\x1b\\": "link",
    "\x9b2Jgone": "gone",
    "\x1bPq#0\x1b\\sixel": "sixel",
    "bell\x07 back\x08 nul\x00 del\x7f": "bell back nul del",
    "\x1b]0;never ends": "0;never ends",
    "over\u202etxt.exe\u2066\u2069\u200f": "overtxt.exe",
    "one\r\ntwo\ttab\rback": "one\ntwo\ttabback",
    "one\u2028two": "one\ntwo",
    "caf\udce9.mp4": "caf\ufffd.mp4",
    "红色圆形 [bold]é🙂[/bold]": "红色圆形 [bold]é🙂[/bold]",
}


@pytest.mark.parametrize(("text", "shown"), HOSTILE.items())
def test_nothing_that_a_terminal_obeys_is_left_in_a_text(text: str, shown: str) -> None:
    assert clean(text) == shown


def test_a_line_stays_a_line() -> None:
    assert clean_line("a\nb\r\n\tc\u2029d") == "a b c d"


def test_an_escaped_json_document_reads_back_the_same_and_holds_nothing_a_terminal_obeys() -> None:
    value = {"text": "\x1b[31m \x9b2J \u202e \u2028 \udce9 红 \x7f"}
    document = escape_json(json.dumps(value, ensure_ascii=False))
    assert json.loads(document) == value
    assert "红" in document
    assert all(character >= " " for character in document)
    assert not set(document) & set("\x7f\x9b\u202e\u2028\udce9")


def segment(start_s: float, end_s: float) -> Segment:
    return Segment(start_s=start_s, end_s=end_s)


def bar(asked: tuple[float, float], *segments: Segment, width: int = 22) -> str:
    asked_range = TimeRange(start_s=asked[0], end_s=asked[1])
    return draw(asked_range, segments, width=width, glyphs=ASCII)[1]


BARS = [
    ((0, 10), [], "|--------------------|"),
    ((0, 10), [(0, 10)], "|####################|"),
    ((0, 10), [(2, 5)], "|----######----------|"),
    ((0, 10), [(2, 5), (8, 9)], "|----######------##--|"),
    ((0, 10), [(9.99, 10)], "|-------------------#|"),
    ((0, 10), [(3.01, 3.02)], "|------#-------------|"),
    ((5, 15), [(0, 6), (14, 99)], "|##----------------##|"),
    ((5, 15), [(0, 5), (15, 20)], "|--------------------|"),
]


@pytest.mark.parametrize(("asked", "segments", "drawn"), BARS)
def test_the_bar_is_filled_where_a_segment_is(
    asked: tuple[float, float], segments: list[tuple[float, float]], drawn: str
) -> None:
    assert bar(asked, *(segment(*span) for span in segments)) == drawn


def test_the_timeline_is_labelled_and_shows_where_the_model_looked() -> None:
    asked = TimeRange(start_s=60, end_s=80)
    labels, drawn, marks = draw(asked, [segment(65, 70)], seen_s=(60, 70, 79.9), width=62, glyphs=ASCII)
    assert labels.split() == ["1:00.0", "1:05.0", "1:10.0", "1:15.0", "1:20.0"]
    assert labels.startswith("1:00.0")
    assert len(labels) == len(drawn) == 62
    assert [position for position, mark in enumerate(marks) if mark == "'"] == [1, 31, 60]


@pytest.mark.parametrize("width", [1, 16, 17, 30, 41, 79])
def test_a_narrow_timeline_keeps_its_ends_and_its_width(width: int) -> None:
    labels, drawn, _ = draw(TimeRange(start_s=0, end_s=9), [], seen_s=(1,), width=width)
    assert labels.startswith("0:00.00")
    assert labels.endswith("0:09.00")
    assert len(drawn) == max(width, 16) >= len(labels)
