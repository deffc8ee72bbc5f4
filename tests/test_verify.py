"""Checked captions: every claim is looked for again, flagged by what is seen, and never taken out."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import ShapesFilm
from typer.testing import CliRunner, Result

from tarsier_tools import (
    Abilities,
    Backend,
    BackendRejected,
    Cancelled,
    Caption,
    Completion,
    ModelInfo,
    Progress,
    ReplyError,
    Request,
    ScoreRequest,
    Scores,
    ScriptedBackend,
    Settings,
    VideoService,
)
from tarsier_tools.backends import open_backend
from tarsier_tools.cli import Host, app
from tarsier_tools.media.writer import write_mp4
from tarsier_tools.selfcheck import language as words
from tarsier_tools.selfcheck.world import Fact, random_scene
from tarsier_tools.types import Scoring, Usage, no_progress
from tests.corpus import Track, write

VIDEOS = Path(__file__).parent / "golden" / "videos"
VIDEO = VIDEOS / "shapes_320x240_25fps.mp4"  # 3 s
ASKED = Abilities(yes_no=True)
TAGS = words.LANGUAGES


class Teller(Backend):
    """Says what it is told to say about a video; the bundled model judges it."""

    def __init__(self, judge: Backend, abilities: Abilities) -> None:
        self.judge = judge
        self.abilities = abilities
        self.text = ""

    @property
    def info(self) -> ModelInfo:
        return replace(self.judge.info, abilities=self.abilities)

    def generate(
        self, requests: Sequence[Request], *, on_progress: Progress = no_progress
    ) -> list[Completion]:
        usage = Usage(prompt_tokens=0, vision_tokens=0, cached_tokens=0, completion_tokens=0)
        return [Completion(self.text, "stop", (), (), usage) for _ in requests]

    def score(self, requests: Sequence[ScoreRequest], *, on_progress: Progress = no_progress) -> list[Scores]:
        return self.judge.score(requests, on_progress=on_progress)


@pytest.fixture(scope="module")
def judge() -> Iterator[Backend]:
    with open_backend(Settings(backend="tiny", device="cpu")) as judge:
        yield judge


@pytest.fixture
def teller(judge: Backend) -> Teller:
    return Teller(judge, judge.info.abilities)


@pytest.fixture
def captioner(judge: Backend) -> Teller:
    return Teller(judge, Abilities())


def facts_of(film: ShapesFilm) -> list[Fact]:
    return [event.fact for event in film.scene.events]


class TestWithTheBundledModel:
    @pytest.mark.parametrize("tag", TAGS)
    def test_a_true_caption_is_supported_each_part_at_its_own_time(
        self, shapes_film: ShapesFilm, teller: Teller, tag: words.Language
    ) -> None:
        events = shapes_film.scene.events
        teller.text = words.caption(facts_of(shapes_film), tag)
        caption = VideoService(backend=teller).caption(shapes_film.path, language=tag, verify=True)
        assert caption.text == teller.text
        assert [statement.verdict for statement in caption.statements] == ["supported"] * len(events)
        for statement, event in zip(caption.statements, events, strict=True):
            assert event.start_s - 0.6 <= statement.evidence_s <= event.end_s + 0.6  # to the next frame
            assert statement.start_s < event.end_s
            assert statement.end_s > event.start_s
            assert min(statement.score, statement.whole_score) >= 0.5

    @pytest.mark.parametrize("tag", TAGS)
    @pytest.mark.parametrize(
        "error",
        [("blue", "triangle", "move_up"), ("red", "triangle", "shrink"), ("green", "square", "grow")],
        ids=["colour", "action", "object"],
    )
    def test_a_planted_error_is_flagged_and_what_is_true_beside_it_is_not(
        self, shapes_film: ShapesFilm, teller: Teller, tag: words.Language, error: Fact
    ) -> None:
        first, _, last = facts_of(shapes_film)
        teller.text = words.caption([first, error, last], tag)
        caption = VideoService(backend=teller).caption(shapes_film.path, language=tag, verify=True)
        assert caption.text == teller.text
        assert [each.verdict for each in caption.statements] == ["supported", "unsupported", "supported"]
        assert all(each.text in caption.text for each in caption.statements)

    def test_a_model_that_only_describes_checks_captions_too(
        self, shapes_film: ShapesFilm, captioner: Teller
    ) -> None:
        first, _, last = facts_of(shapes_film)
        captioner.text = words.caption([first, ("green", "square", "grow"), last])
        caption = VideoService(backend=captioner).caption(shapes_film.path, verify=True)
        assert [each.verdict for each in caption.statements] == ["supported", "unsupported", "supported"]
        assert "explains" in caption.score_kind

    def test_events_told_in_the_wrong_order_are_doubtful_and_a_note_says_why(
        self, shapes_film: ShapesFilm, teller: Teller
    ) -> None:
        first, second, third = facts_of(shapes_film)
        teller.text = words.caption([third, first, second])
        caption = VideoService(backend=teller).caption(shapes_film.path, verify=True)
        assert [each.verdict for each in caption.statements] == ["supported", "doubtful", "supported"]
        assert caption.statements[1].note == (
            f"The caption has it after “T{words.event_phrase(third)[1:]}”, but it fits best before that."
        )
        assert caption.statements[0].note == caption.statements[2].note == ""

    def test_the_same_events_in_sentences_of_their_own_are_in_no_order(
        self, shapes_film: ShapesFilm, teller: Teller
    ) -> None:
        teller.text = " ".join(words.event_sentence(fact) for fact in reversed(facts_of(shapes_film)))
        caption = VideoService(backend=teller).caption(shapes_film.path, verify=True)
        assert [each.verdict for each in caption.statements] == ["supported"] * 3

    def test_nothing_happens_is_neither_supported_nor_called_false(
        self, tmp_path: Path, teller: Teller
    ) -> None:
        scene = random_scene(np.random.default_rng(3), duration_s=4, n_events=0, n_idle=2)
        write_mp4(tmp_path / "idle.mp4", scene.render(np.arange(0, 4, 1 / 8), (112, 112)), fps=8)
        with VideoService(Settings(backend="tiny", device="cpu"), teller.judge) as videos:
            caption = videos.caption(tmp_path / "idle.mp4", verify=True)
        assert caption.text == "Nothing happens."
        (statement,) = caption.statements
        assert (statement.verdict, statement.note) == (
            "doubtful",
            "What does not happen cannot be looked for.",
        )

    def test_the_models_own_look_at_the_clip_is_not_paid_for_again(self, shapes_film: ShapesFilm) -> None:
        with VideoService(Settings(backend="tiny", device="cpu")) as videos:
            caption = videos.caption(shapes_film.path, verify=True)
        windows, seen_again = 4, len(caption.statements) + 1
        tokens = caption.usage.vision_tokens
        per_frame = tokens / (16 * seen_again + windows * 8 * len(caption.statements))
        assert per_frame == int(per_frame)
        # The caption pays for the clip, the first claim for each window; all other looks are cached.
        assert caption.usage.cached_tokens >= tokens - per_frame * (16 + windows * 8)

    def test_a_range_is_checked_inside_the_range_only(self, shapes_film: ShapesFilm, teller: Teller) -> None:
        first, _, third = facts_of(shapes_film)
        teller.text = words.caption([first, third])
        caption = VideoService(backend=teller).caption(shapes_film.path, end_s=5.2, verify=True)
        assert [each.verdict for each in caption.statements] == ["supported", "unsupported"]
        assert all(0 <= each.start_s < each.end_s <= 5.2 for each in caption.statements)
        assert all(each.evidence_s <= 5.2 for each in caption.statements)


YES, NO = (math.log(0.9), math.log(0.1)), (math.log(0.2), math.log(0.8))
SURE = (math.log(0.95), math.log(0.05))


def checked(
    text: str, scores: Sequence[Sequence[float]], **options: object
) -> tuple[Caption, ScriptedBackend]:
    backend = ScriptedBackend([text], scores, abilities=ASKED)
    return VideoService(backend=backend).caption(VIDEO, verify=True, **options), backend  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("whole", "windows", "verdict"),
    [
        (YES, [NO, NO, YES, NO], "supported"),
        (YES, [NO, NO, NO, NO], "doubtful"),
        (NO, [NO, YES, NO, NO], "doubtful"),
        (NO, [NO, NO, NO, NO], "unsupported"),
    ],
)
def test_a_verdict_counts_the_votes_of_the_whole_clip_and_of_the_best_window(
    whole: tuple[float, float], windows: list[tuple[float, float]], verdict: str
) -> None:
    caption, _ = checked("A dog runs.", [whole, *windows])
    (statement,) = caption.statements  # type: ignore[attr-defined]
    assert statement.verdict == verdict
    assert statement.whole_score == pytest.approx(0.9 if whole is YES else 0.2)
    assert statement.score == pytest.approx(0.9 if YES in windows else 0.2)
    if YES in windows:
        assert statement.start_s == pytest.approx(0.6 * windows.index(YES))
        assert statement.end_s == pytest.approx(0.6 * windows.index(YES) + 1.2)
        assert statement.start_s <= statement.evidence_s <= statement.end_s


def test_all_claims_about_one_stretch_are_asked_in_one_go() -> None:
    caption, backend = checked("A dog runs. A cat sleeps! Rain falls.", [YES] * 15)
    asked = [request for request in backend.requests if isinstance(request, ScoreRequest)]
    fingerprints = [request.clip.fingerprint for request in asked]
    assert fingerprints == [each for each in dict.fromkeys(fingerprints) for _ in range(3)]
    assert fingerprints[0] == backend.requests[0].clip.fingerprint  # the caption's own clip
    assert [len(request.clip) for request in asked] == [16] * 3 + [8] * 12
    assert [request.prompt for request in asked[:3]] == [
        f'Does this happen in the video: "{text}"? Answer yes or no.'
        for text in ("A dog runs", "A cat sleeps", "Rain falls")
    ]
    assert len(caption.statements) == 3  # type: ignore[attr-defined]
    assert caption.usage.vision_tokens == 16 * 4 + 8 * 12  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("first", "second", "verdict"),
    [
        ([NO, NO, NO, YES], [YES, NO, NO, NO], "doubtful"),  # seen in the opposite order
        ([NO, NO, YES, NO], [YES, NO, NO, YES], "supported"),  # the second happens once more at the end
        ([YES, NO, NO, SURE], [NO, YES, NO, NO], "supported"),  # the first happens at the start, too
        ([NO, YES, NO, NO], [NO, YES, NO, NO], "supported"),  # nobody can tell
        ([YES, NO, NO, NO], [NO, NO, NO, YES], "supported"),  # as told
        ([NO, NO, NO, NO], [YES, NO, NO, NO], "supported"),  # the first is never seen
    ],
)
def test_only_an_order_that_no_window_allows_is_doubted(
    first: list[tuple[float, float]], second: list[tuple[float, float]], verdict: str
) -> None:
    windows = [score for pair in zip(first, second, strict=True) for score in pair]
    caption, _ = checked("A dog runs, then a cat sleeps.", [YES, YES, *windows])
    assert caption.statements[1].verdict == verdict  # type: ignore[attr-defined]
    assert bool(caption.statements[1].note) == (verdict == "doubtful")  # type: ignore[attr-defined]


def test_without_verify_nothing_is_scored() -> None:
    backend = ScriptedBackend(["A dog runs."])
    caption = VideoService(backend=backend).caption(VIDEO)
    assert caption.statements == ()
    assert caption.score_kind == ""
    assert len(backend.requests) == 1


def test_an_empty_caption_has_nothing_to_check() -> None:
    caption, backend = checked(" ", [])
    assert caption.statements == ()  # type: ignore[attr-defined]
    assert len(backend.requests) == 1


@pytest.mark.parametrize(
    ("window", "score", "verdict"),
    [
        (-0.5, 0.95, "supported"),
        (-2.0, 0.8, "doubtful"),
        (-5.0, 0.5, "unsupported"),
        (-90.0, -1.0, "unsupported"),
    ],
)
def test_a_captioner_is_judged_by_how_much_its_best_window_explains(
    window: float, score: float, verdict: str
) -> None:
    whole, blank = -6.0, -10.0
    nats = [whole, -99.0, window, -99.0, -99.0, blank, blank]
    backend = ScriptedBackend(["A dog runs."], [(value,) for value in nats])
    caption = VideoService(backend=backend).caption(VIDEO, verify=True)
    (statement,) = caption.statements
    assert (statement.whole_score, statement.score) == pytest.approx((0.4, score))
    assert statement.verdict == verdict
    assert "explains" in caption.score_kind
    for request, frames in zip(backend.requests[-2:], (16, 8), strict=True):
        assert len(request.clip) == frames
        assert all((frame == request.clip.frames[0][0, 0]).all() for frame in request.clip.frames)
    candidates = {request.candidates for request in backend.requests if isinstance(request, ScoreRequest)}
    assert candidates == {("A dog runs",)}


def test_a_single_picture_is_looked_at_as_a_whole_only(tmp_path: Path) -> None:
    from PIL import Image

    Image.new("RGB", (64, 48), "red").save(tmp_path / "red.png")
    backend = ScriptedBackend(["A red wall."], [YES], abilities=ASKED)
    caption = VideoService(backend=backend).caption(tmp_path / "red.png", verify=True)
    (statement,) = caption.statements
    assert statement.verdict == "supported"
    assert statement.score == statement.whole_score
    assert statement.evidence_s == 0
    assert len(backend.requests) == 2


def test_windows_of_a_long_range_grow_so_that_they_stay_few(tmp_path: Path) -> None:
    frames = np.random.default_rng(0).integers(0, 255, (240, 32, 32, 3), dtype=np.uint8)
    write_mp4(tmp_path / "long.mp4", frames, fps=1)
    backend = ScriptedBackend(["A dog runs."], [NO] * 32 + [YES], abilities=ASKED)
    caption = VideoService(backend=backend).caption(tmp_path / "long.mp4", verify=True)
    (statement,) = caption.statements
    assert statement.end_s == pytest.approx(240)
    assert statement.end_s - statement.start_s == pytest.approx(2 * 240 / 33)
    shown = {request.clip.fingerprint for request in backend.requests}
    assert len(shown) == 33


def test_the_coverage_is_that_of_the_look_the_caption_was_written_from() -> None:
    plain = VideoService(backend=ScriptedBackend(["A dog."])).caption(VIDEO)
    caption, _ = checked("A dog runs.", [YES] * 5)
    assert caption.coverage == plain.coverage
    assert plain.checked is None


def test_what_was_looked_at_to_check_it_is_told_too() -> None:
    caption, backend = checked("A dog runs.", [YES] * 5)
    shown = {time_s for request in backend.requests for time_s in request.clip.times_s}
    assert caption.checked is not None
    assert caption.checked.frame_times_s == tuple(sorted(shown))
    assert len(caption.checked.frame_times_s) > len(caption.coverage.frame_times_s)
    assert caption.checked.largest_gap_s < caption.coverage.largest_gap_s
    assert caption.checked.asked == caption.coverage.asked


def test_where_the_frame_rate_varies_evidence_is_a_frame_that_there_is(tmp_path: Path) -> None:
    # Ten frames a second for 8 s, then one a second: the last window has the last four frames only.
    times = [*(n / 10 for n in range(80)), *(8.0 + n for n in range(8))]
    write(tmp_path / "vfr.mkv", Track(range(88), times, width=64, height=48, gop=20))
    for best, expected in ((0, times[:40]), (6, times[-4:])):
        scores = [NO, *(YES if number == best else NO for number in range(7))]
        backend = ScriptedBackend(["A dog runs."], scores, abilities=ASKED)
        caption = VideoService(backend=backend).caption(tmp_path / "vfr.mkv", verify=True)
        (statement,) = caption.statements
        assert statement.start_s <= statement.evidence_s < statement.end_s
        assert min(abs(statement.evidence_s - time_s) for time_s in expected) < 1e-3
        assert caption.checked is not None
        assert statement.evidence_s in caption.checked.frame_times_s
        assert set(times[-4:]) <= {round(time_s, 3) for time_s in caption.checked.frame_times_s}


def test_claims_are_asked_in_the_language_of_the_caption() -> None:
    _, backend = checked("犬が走る。次に猫が寝る。", [YES] * 10, language="ja")
    asked = backend.requests[2]
    assert isinstance(asked, ScoreRequest)
    assert asked.prompt == "動画の中で「猫が寝る」は起きていますか？「はい」か「いいえ」で答えてください。"
    assert asked.candidates == ("はい", "いいえ")


def test_frame_numbers_of_events_are_no_part_of_a_statement() -> None:
    text = "<frame: 1-4> A dog runs.\n<frame: 5-9> A cat sleeps."
    caption, _ = checked(text, [YES] * 10, detail="events")
    assert [each.text for each in caption.statements] == ["A dog runs", "A cat sleeps"]  # type: ignore[attr-defined]
    assert len(caption.events) == 2  # type: ignore[attr-defined]


def test_scores_that_are_no_numbers_are_no_verdict() -> None:
    with pytest.raises(ReplyError, match="no numbers"):
        checked("A dog runs.", [(math.nan, math.nan)] * 5)
    captioner = ScriptedBackend(["A dog runs."], [(math.nan,)] * 7)
    with pytest.raises(ReplyError, match="no numbers"):
        VideoService(backend=captioner).caption(VIDEO, verify=True)


def test_a_model_without_probabilities_is_refused_before_it_writes() -> None:
    class Mute(ScriptedBackend):
        @property
        def info(self) -> ModelInfo:
            none: Scoring = "none"
            return ModelInfo(name="mute", backend="remote", scoring=none)

    backend = Mute(["A dog runs."])
    with pytest.raises(BackendRejected, match="mute gives no probabilities") as refused:
        VideoService(backend=backend).caption(VIDEO, verify=True)
    assert "verify" in refused.value.hint
    assert backend.requests == []


@pytest.mark.parametrize("step", [1, 3])
def test_checking_can_be_stopped_between_steps(step: int) -> None:
    told: list[str] = []

    def stop(done: int, total: int, message: str) -> None:
        if message.startswith("checking statements"):
            told.append(message)
            if len(told) == step:
                raise Cancelled("enough")

    backend = ScriptedBackend(["A dog runs."], [YES] * 5, abilities=ASKED)
    with pytest.raises(Cancelled):
        VideoService(backend=backend).caption(VIDEO, verify=True, on_progress=stop)
    assert len(told) == step
    assert len(backend.requests) < 6


class TestOnTheCommandLine:
    def shown(self, *options: str, charset: str = "utf-8") -> Result:
        text = "A dog runs. A \x1b[31mcat sleeps. It rains."
        scores = [YES, YES, NO, *[YES, NO, NO] * 4]
        backend = ScriptedBackend([text], scores, abilities=ASKED)
        host = Host(open_service=lambda settings: VideoService(settings, backend))
        line = ["caption", str(VIDEO), "--verify", *options]
        return CliRunner(charset=charset).invoke(app, line, obj=host)

    def test_each_statement_is_shown_with_its_verdict_and_where_it_fits(self) -> None:
        result = self.shown()
        assert result.exit_code == 0
        lines = result.stdout.splitlines()
        assert lines[0] == "A dog runs. A cat sleeps. It rains."
        assert [line[:13] for line in lines[2:5]] == ["✓ supported  ", "? doubtful   ", "✗ unsupported"]
        assert "0:00.0 - 0:01.2  A dog runs  (0.90, in the whole 0.90)" in lines[2]
        assert "A cat sleeps  (0.20, in the whole 0.90)" in lines[3]
        assert lines[5].startswith("scores    raw probability of yes")
        assert re.fullmatch(r"checked   on \d\d frames in all; largest gap 0\.\d\d s", lines[6])
        assert "\x1b" not in result.stdout

    def test_the_marks_are_plain_where_the_terminal_knows_no_others(self) -> None:
        lines = self.shown(charset="ascii").stdout.splitlines()
        assert [line[0] for line in lines[2:5]] == ["+", "?", "x"]

    def test_json_holds_the_statements_and_what_the_scores_are(self) -> None:
        document = json.loads(self.shown("--json").stdout)
        verdicts = [statement["verdict"] for statement in document["statements"]]
        assert verdicts == ["supported", "doubtful", "unsupported"]
        assert document["score_kind"] == "raw probability of yes, not calibrated"
        assert document["statements"][0]["confidence"] is None
