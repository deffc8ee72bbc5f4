"""The shapes world keeps its promises: films, words, scores, and the layout of the bundled model."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import av
import numpy as np
import pytest

import tarsier_tools
from tarsier_tools import prompts
from tarsier_tools.media.writer import write_mp4
from tarsier_tools.selfcheck import language as words
from tarsier_tools.selfcheck.scoring import Tally, events_in_common, overlap, same_text
from tarsier_tools.selfcheck.world import ACTIONS, COLORS, SHAPES, Event, Scene, Truth, random_scene

ASSETS = Path(tarsier_tools.__file__).parent / "assets" / "tarsier2-tiny"
SEEDS = range(60)


def scene(seed: int, **wanted: object) -> Scene:
    return random_scene(np.random.default_rng(seed), **wanted)  # type: ignore[arg-type]


def facts(truth: Truth) -> list[tuple[str, str, str]]:
    return [event.fact for event in truth.events]


# Films


def test_the_same_seed_makes_the_same_film() -> None:
    one, two = scene(7), scene(7)
    assert one.events == two.events
    assert np.array_equal(one.render([0.0, 4.0], (64, 64)), two.render([0.0, 4.0], (64, 64)))


def test_another_seed_makes_another_film() -> None:
    assert len({scene(seed, n_events=2).events for seed in SEEDS}) == len(SEEDS)


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_a_film_has_as_many_events_as_asked_for_each_by_its_own_shape(count: int) -> None:
    for seed in SEEDS:
        events = scene(seed, n_events=count).events
        assert len(events) == count
        assert len({(event.color, event.shape) for event in events}) == count


def test_events_follow_each_other_inside_the_film() -> None:
    for seed in SEEDS:
        film = scene(seed, n_events=3, duration_s=6.0)
        bounds = [0.0, *itertools.chain(*((e.start_s, e.end_s) for e in film.events)), film.duration_s]
        assert all(early < late for early, late in itertools.pairwise(bounds))


def test_a_long_film_has_idle_stretches_and_actors_who_come_back() -> None:
    film = scene(3, duration_s=180.0, n_events=10)
    assert len(film.events) == 10
    assert len({(event.color, event.shape) for event in film.events}) <= 4
    assert max(event.end_s - event.start_s for event in film.events) < 8
    gaps = [late.start_s - early.end_s for early, late in itertools.pairwise(film.events)]
    assert max(gaps) > 10


def test_more_events_than_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        scene(0, duration_s=8.0, n_events=9)


def test_shapes_stay_in_the_picture_and_never_touch() -> None:
    for seed, aspect in itertools.product(range(20), (1.0, 16 / 9, 3 / 4)):
        film = scene(seed, n_events=3, aspect=aspect)
        states = film.states(np.linspace(0, film.duration_s, 50))
        for state in states:
            for x, y, radius, _ in state:
                assert radius < x < film.extent[0] - radius
                assert radius < y < film.extent[1] - radius
            for one, two in itertools.combinations(state, 2):
                assert np.hypot(*(one[:2] - two[:2])) > one[2] + two[2]


def test_every_action_shape_and_color_is_about_equally_common() -> None:
    events = [event for seed in range(300) for event in scene(seed, n_events=2).events]
    for table, name in ((ACTIONS, "action"), (SHAPES, "shape"), (COLORS, "color")):
        counts = [sum(getattr(event, name) == value for event in events) for value in table]
        assert min(counts) > 0.6 * len(events) / len(table), (name, counts)


# Pictures


def test_pictures_have_the_size_asked_for() -> None:
    frames = scene(1).render([0.0, 1.0, 2.0], (96, 54))
    assert frames.shape == (3, 54, 96, 3)
    assert frames.dtype == np.uint8


def centre(film: Scene, event: Event, time_s: float) -> tuple[float, float, int]:
    """Where in the picture the shape of an event is, and how many pixels it covers."""
    frame = film.render([time_s], (160, 160))[0].astype(int)
    red, green, blue = {
        "red": (225, 45, 45), "green": (40, 175, 70), "blue": (55, 95, 240),
        "yellow": (245, 210, 50), "white": (240, 240, 240),
    }[event.color]  # fmt: skip
    rows, columns = np.nonzero(np.abs(frame - (red, green, blue)).max(axis=-1) < 34)
    return (columns.mean(), rows.mean(), len(rows)) if len(rows) else (0.0, 0.0, 0)


@pytest.mark.parametrize("seed", range(40))
def test_the_pixels_show_what_the_truth_says(seed: int) -> None:
    film = scene(seed, n_events=1, n_idle=0)
    (event,) = film.events
    x0, y0, area0 = centre(film, event, event.start_s)
    x1, y1, area1 = centre(film, event, event.end_s)
    shown = {
        "move_left": x1 < x0 - 30,
        "move_right": x1 > x0 + 30,
        "move_up": y1 < y0 - 30,
        "move_down": y1 > y0 + 30,
        "grow": area1 > 2 * area0,
        "shrink": area0 > 2 * area1,
        "appear": area0 == 0 < area1,
        "disappear": area1 == 0 < area0,
    }
    assert shown[event.action]


def test_nothing_changes_outside_the_events() -> None:
    film = scene(5, n_events=1)
    (event,) = film.events
    before = film.render([0.0, event.start_s], (64, 64))
    after = film.render([event.end_s, film.duration_s], (64, 64))
    assert np.array_equal(before[0], before[1])
    assert np.array_equal(after[0], after[1])
    assert not np.array_equal(before[1], after[0])


# Truth about a range


def test_an_event_outside_the_range_is_not_told_of() -> None:
    film = scene(2, n_events=2, duration_s=12.0)
    first, second = film.events
    truth = film.truth(first.end_s, film.duration_s)
    assert truth.events == (second,)
    assert truth.clear
    assert (first.color, first.shape) in truth.idle or first.action == "disappear"


def test_an_event_cut_in_half_makes_the_range_unclear() -> None:
    film = scene(2, n_events=1)
    (event,) = film.events
    assert not film.truth(0.0, (event.start_s + event.end_s) / 2).clear


def test_events_are_cut_to_the_range() -> None:
    film = scene(2, n_events=1)
    (event,) = film.events
    end = event.start_s + 0.8 * (event.end_s - event.start_s)
    (seen,) = film.truth(0.0, end).events
    assert (seen.start_s, seen.end_s) == (event.start_s, end)


def test_a_shape_that_vanished_before_the_range_is_not_there() -> None:
    seed = next(
        s for s in SEEDS if [e.action for e in scene(s, n_events=1, n_idle=0).events] == ["disappear"]
    )
    film = scene(seed, n_events=1, n_idle=0)
    assert film.truth(film.events[0].end_s, film.duration_s).objects == ()


# Words


@pytest.mark.parametrize("tag", words.LANGUAGES)
def test_a_caption_reads_back_as_the_events_it_tells_of(tag: words.Language) -> None:
    for seed in SEEDS:
        told = facts(scene(seed).truth())
        assert words.parse_caption(words.caption(told, tag)) == told


@pytest.mark.parametrize("tag", words.LANGUAGES)
def test_a_dense_caption_reads_back_with_its_frames(tag: words.Language) -> None:
    times = np.linspace(0, 7.9, 16).tolist()
    for seed in SEEDS:
        events = scene(seed, n_events=3).events
        text = words.dense_caption(events, times, tag)
        assert words.parse_caption(text) == [event.fact for event in events]
        assert words.parse_spans(text) == [words.frame_span(event, times) for event in events]


def test_a_frame_belongs_to_an_event_when_it_is_shown_during_it() -> None:
    event = Event("circle", "red", "grow", 1.0, 3.0)
    assert words.frame_span(event, [0.0, 1.0, 2.0, 3.0]) == (2, 3)
    assert words.frame_span(event, [0.0, 3.5]) == (1, 1) or words.frame_span(event, [0.0, 3.5]) == (2, 2)


def test_the_canonical_sentences() -> None:
    told = [("red", "circle", "move_left"), ("blue", "star", "grow")]
    assert words.caption(told, "en") == "The red circle moves left, then the blue star grows."  # type: ignore[arg-type]
    assert words.caption(told, "zh-Hans") == "红色圆形向左移动，然后蓝色星形变大。"  # type: ignore[arg-type]
    assert words.caption(told, "zh-Hant") == "紅色圓形向左移動，然後藍色星形變大。"  # type: ignore[arg-type]
    assert words.caption([], "en") == "Nothing happens."


@pytest.mark.parametrize("tag", words.LANGUAGES)
def test_yes_is_said_of_true_events_and_no_of_false_ones(tag: words.Language) -> None:
    yes = {"en": "Yes"}.get(tag, "是")
    for seed in SEEDS:
        truth = scene(seed).truth()
        for question in words.yes_no_questions(truth, np.random.default_rng(seed), tag):
            if question.kind == "happens":
                happens = words.parse_caption(question.text)[0] in facts(truth)
                assert (question.answer == yes) == happens, question


def test_hard_negatives_never_happen_and_differ_in_one_attribute() -> None:
    rng = np.random.default_rng(0)
    for seed in SEEDS:
        truth = scene(seed, n_events=3).truth()
        for event in truth.events:
            false = words.hard_negative(event.fact, truth, rng)
            assert false not in facts(truth)
            near = [sum(a != b for a, b in zip(false, fact, strict=True)) for fact in facts(truth)]
            assert min(near) == 1 or false[:2] in truth.objects


def test_yes_and_no_are_about_equally_common() -> None:
    rng = np.random.default_rng(0)
    answers = [q.answer for seed in SEEDS for q in words.yes_no_questions(scene(seed).truth(), rng)]
    assert 0.4 < answers.count("Yes") / len(answers) < 0.6


@pytest.mark.parametrize("tag", words.LANGUAGES)
def test_choices_hold_the_right_answer_once_at_every_place_equally_often(tag: words.Language) -> None:
    places = []
    for seed in range(150):
        truth = scene(seed).truth()
        for question in words.choice_questions(truth, np.random.default_rng(seed), tag):
            assert len(set(question.options)) == 4
            places.append(question.options.index(question.answer))
            if question.topic == "happens":
                said = [words.parse_caption(option)[0] for option in question.options]
                assert sum(fact in facts(truth) for fact in said) == 1
    assert min(places.count(place) for place in range(4)) > 0.18 * len(places)


def test_mentions_are_found_in_order_with_their_ends() -> None:
    text = 'Does this happen: "the red star moves left"?'
    assert [(value, text[:end].split()[-1].strip('"')) for value, end in words.mentions(text)] == [
        ("red", "red"), ("star", "star"), ("move_left", "left"),
    ]  # fmt: skip
    assert [value for value, _ in words.mentions("紅色三角形出現")] == ["red", "triangle", "appear"]


# Scores


def test_events_are_matched_as_often_as_they_happen() -> None:
    one, two = ("red", "circle", "grow"), ("blue", "star", "appear")
    assert events_in_common([one, one, two], [one, two]) == 2  # type: ignore[list-item]
    assert events_in_common([one], [two]) == 0  # type: ignore[list-item]


def test_overlap_of_ranges() -> None:
    assert overlap((0, 2), (1, 3)) == pytest.approx(1 / 3)
    assert overlap((0, 1), (1, 2)) == 0.0


def test_replies_are_compared_without_case_spaces_and_stop() -> None:
    assert same_text(" the red circle ", "The red circle.")
    assert same_text("红色。", "红色")
    assert not same_text("Red.", "Blue.")


def test_rates_count_clips_as_units() -> None:
    tally = Tally()
    for clip in range(20):
        tally.add("right", clip, float(clip % 2), 1)
    rate = tally.rates()["right"]
    assert rate.value == 0.5
    assert (rate.count, rate.clips) == (20, 20)
    assert 0.2 < rate.low < 0.5 < rate.high < 0.8


# Files


def test_a_film_survives_its_file(tmp_path: Path) -> None:
    film = scene(4)
    frames = film.render(np.arange(10) / 10, (96, 64))
    assert write_mp4(tmp_path / "film.mp4", frames, 10, (96, 64)) == 10
    with av.open(str(tmp_path / "film.mp4")) as container:
        decoded = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        assert container.streams.video[0].codec_context.pix_fmt == "yuv420p"
    assert len(decoded) == 10
    assert np.abs(decoded[0].astype(int) - frames[0]).mean() < 6


@pytest.mark.parametrize(
    ("size", "frames"), [((95, 64), 1), ((96, 64), 0), ((64, 64), 1)], ids=["odd", "none", "another size"]
)
def test_what_cannot_be_written_is_refused(size: tuple[int, int], frames: int, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"even|no frames|not"):
        write_mp4(tmp_path / "film.mp4", np.zeros((frames, 64, 96, 3), np.uint8), 10, size)


# The bundled model


def test_the_bundled_model_is_small_and_in_tarsier2s_layout() -> None:
    assert sum(path.stat().st_size for path in ASSETS.iterdir()) <= 12_000_000
    config = json.loads((ASSETS / "config.json").read_text())
    assert config["architectures"] == ["TarsierForConditionalGeneration"]
    assert config["model_type"] == "llava"
    assert config["text_config"]["model_type"] == config["vision_config"]["model_type"] == "qwen2_vl"
    with (ASSETS / "model.safetensors").open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    header.pop("__metadata__")
    assert {entry["dtype"] for entry in header.values()} == {"BF16"}
    roots = ("vision_tower.", "language_model.model.", "language_model.lm_head.weight")
    assert all(name.startswith(roots) for name in header)
    assert "language_model.lm_head.weight" in header


def test_the_bundled_model_says_what_it_can_do() -> None:
    about = json.loads((ASSETS / "tarsier.json").read_text())
    assert about["name"] == "tarsier2-tiny"
    assert about["abilities"]["languages"] == list(words.LANGUAGES)


def test_the_bundled_model_understands_films_it_never_saw(tmp_path: Path) -> None:
    """A smoke test, far below what training/REPORT.md measures on many more films."""
    pytest.importorskip("transformers")
    right = asked = found = happened = 0
    with tarsier_tools.VideoService(tarsier_tools.Settings(backend="tiny")) as service:
        for seed in range(6):
            film = scene(90_000 + seed, n_events=1 + seed % 3)
            path = tmp_path / f"{seed}.mp4"
            write_mp4(path, film.render(np.arange(0, film.duration_s, 0.1), (252, 252)), 10)
            told = words.parse_caption(service.caption(path).text)
            found += events_in_common(told, [event.fact for event in film.events])
            happened += len(film.events)
            for fact, happens in words.claims(film.truth(), np.random.default_rng(seed)):
                question = prompts.happens(words.event_phrase(fact))
                right += (service.ask(path, question, yes_no=True).text == "Yes") == happens
                asked += 1
    assert found >= 0.7 * happened
    assert right >= 0.7 * asked
