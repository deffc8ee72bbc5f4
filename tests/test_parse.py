"""Reading replies: a table of what models write, and what may be made of it."""

from __future__ import annotations

import math

import pytest

from tarsier_tools.parse import Event, Span, chosen, frame_events, frame_spans, probabilities, span_seconds


@pytest.mark.parametrize(
    ("reply", "spans"),
    [
        ("<frame: 1-4>", [(0, 3)]),
        ("<frame: 16>", [(15, 15)]),
        ("It happens in <frame: 3-5>.", [(2, 4)]),
        ("<frame:3-5>", [(2, 4)]),
        ("<Frames: 3 - 5>", [(2, 4)]),
        ("<frame：3–5>", [(2, 4)]),
        ("<frame: 9-10> and <frame: 1-2>", [(0, 1), (8, 9)]),
        ("<frame: 1-4><frame: 3-6>", [(0, 5)]),
        ("<frame: 1-6><frame: 2-3>", [(0, 5)]),
        ("<frame: 1-2><frame: 3-4>", [(0, 1), (2, 3)]),
        ("", []),
        ("No, it does not happen.", []),
        ("frames 3 to 5", []),
        ("<frame: three-five>", []),
        ("<frame: -3>", []),
        ("<frame: 1.5-2.5>", []),
        (f"<frame: 1-{'9' * 5000}>", []),
    ],
)
def test_frames_are_read_only_where_they_are_written(reply: str, spans: list[tuple[int, int]]) -> None:
    read = frame_spans(reply, 16)
    assert [(span.first, span.last) for span in read.spans] == spans
    assert read.problems == ()


@pytest.mark.parametrize(
    ("reply", "spans", "problem"),
    [
        ("<frame: 0-3>", [(0, 2)], "<frame: 0-3> was cut to the 16 frames shown."),
        ("<frame: 12-99>", [(11, 15)], "<frame: 12-99> was cut to the 16 frames shown."),
        ("<frame: 17-20>", [], "<frame: 17-20> is outside the 16 frames shown and was left out."),
        ("<frame: 0>", [], "<frame: 0> is outside the 16 frames shown and was left out."),
        ("<frame: 5-3>", [], "<frame: 5-3> ends before it starts and was left out."),
        ("<frame: 99-3>", [], "<frame: 99-3> ends before it starts and was left out."),
    ],
)
def test_frames_that_cannot_be_meant_are_told_of(
    reply: str, spans: list[tuple[int, int]], problem: str
) -> None:
    read = frame_spans(reply, 16)
    assert [(span.first, span.last) for span in read.spans] == spans
    assert read.problems == (problem,)


def test_each_line_with_frames_is_an_event() -> None:
    read = frame_events("<frame: 1-4> A red circle moves.\n\n<frame: 6-9>: A star grows.\r\n", 16)
    assert read.events == (Event(Span(0, 3), "A red circle moves."), Event(Span(5, 8), "A star grows."))
    assert read.problems == ()


def test_several_events_on_one_line_are_told_apart() -> None:
    read = frame_events("<frame: 1-4> 红色圆形移动。<frame: 6-9> 星形变大。", 16)
    assert read.events == (Event(Span(0, 3), "红色圆形移动。"), Event(Span(5, 8), "星形变大。"))


def test_a_line_without_frames_is_no_event_but_is_named() -> None:
    read = frame_events("First,\n<frame: 1-4> a circle moves.", 16)
    assert [event.text for event in read.events] == ["a circle moves."]
    assert read.problems == ("No frames are given for: 'First,'.",)


def test_a_reply_without_any_frames_is_named_as_a_whole() -> None:
    read = frame_events("A man walks.\nHe sits down.\n", 16)
    assert read.events == ()
    assert read.problems == ("The reply gives no frames, so nothing in it has a time.",)
    assert frame_events(" \n", 16).problems == ()


def test_frames_without_words_are_no_event_but_are_named() -> None:
    read = frame_events("<frame: 1-4>\n<frame: 5-8><frame: 9-9> ends", 16)
    assert read.events == (Event(Span(8, 8), "ends"),)
    assert read.problems == ("Nothing is said about <frame: 1-4>.", "Nothing is said about <frame: 5-8>.")


def test_an_event_outside_the_clip_is_left_out_and_named() -> None:
    read = frame_events("<frame: 20-22> a circle moves.", 16)
    assert read.events == ()
    assert "outside the 16 frames" in read.problems[0]


def test_a_model_that_repeats_itself_tells_of_one_event() -> None:
    read = frame_events("<frame: 1-4> A circle moves.\n" * 40, 16)
    assert read.events == (Event(Span(0, 3), "A circle moves."),)


def test_a_long_line_is_quoted_in_part() -> None:
    (problem,) = frame_events("word " * 500 + "<frame: 1-2> ends", 16).problems
    assert len(problem) < 130
    assert problem.endswith("…'.")


def test_a_span_ends_where_the_next_frame_begins() -> None:
    times = (0.0, 0.5, 1.0, 1.5)
    assert span_seconds(Span(1, 2), times, end_s=2.0) == (0.5, 1.5)
    assert span_seconds(Span(0, 0), times, end_s=2.0) == (0.0, 0.5)


def test_a_span_with_the_last_frame_ends_with_the_range() -> None:
    assert span_seconds(Span(2, 3), (0.0, 0.5, 1.0, 1.5), end_s=1.9) == (1.0, 1.9)


def test_probabilities_are_shares_of_the_candidates() -> None:
    shares = probabilities([math.log(0.3), math.log(0.1)])
    assert shares == pytest.approx((0.75, 0.25))
    assert sum(probabilities([-1000.0, -1001.0, -1200.0])) == pytest.approx(1.0)
    assert probabilities([0.0, -math.inf]) == (1.0, 0.0)


@pytest.mark.parametrize("logprobs", [[math.nan, 0.0], [-math.inf, -math.inf], [math.inf, 0.0]])
def test_no_probabilities_are_made_of_what_are_no_numbers(logprobs: list[float]) -> None:
    with pytest.raises(ValueError, match="no probabilities"):
        probabilities(logprobs)


@pytest.mark.parametrize(
    ("reply", "place"),
    [
        ("Yes", 0),
        ("no.", 1),
        (' "No", it does not.', 1),
        ("Answer: Yes, twice", 0),
        ("The answer is no", 1),
        ("Nothing happens.", None),
        ("Not at all", None),
        ("Perhaps", None),
        ("", None),
    ],
)
def test_a_written_yes_or_no_is_read_from_its_beginning(reply: str, place: int | None) -> None:
    assert chosen(reply, ("Yes", "No")) == place


def test_words_of_scripts_without_spaces_are_read_too() -> None:
    assert chosen("是的。", ("是", "否")) == 0
    assert chosen("いいえ、違います", ("はい", "いいえ")) == 1


@pytest.mark.parametrize(
    ("reply", "place"),
    [
        ("B", 1),
        ("(B) a cat", 1),
        ("b) a cat", 1),
        ("**B**", 1),
        ("Answer: (A)", 0),
        ("a cat", 1),
        ("A cat and a dog", 2),
        ("A dog runs", 0),
        ("D", None),
        ("Because", None),
    ],
)
def test_a_written_choice_is_read_by_its_letter_or_its_longest_words(reply: str, place: int | None) -> None:
    assert chosen(reply, ("a dog", "a cat", "a cat and a dog"), ("A", "B", "C")) == place
