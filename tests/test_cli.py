"""The commands over a scripted model and real files: what is printed, where, and with which exit code."""

from __future__ import annotations

import json
import math
import os
import re
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from tarsier_tools.backends.base import Backend
from tarsier_tools.backends.scripted import ScriptedBackend
from tarsier_tools.cli import Host, app, render, run
from tarsier_tools.cli.models import Models
from tarsier_tools.config import Settings
from tarsier_tools.errors import (
    BackendFailed,
    BackendRejected,
    BackendUnavailable,
    Cancelled,
    ReplyError,
    SourceNotAllowed,
    TarsierError,
    TimeRangeError,
    UsageError,
    VideoNotFound,
    VideoTooLarge,
    VideoUnreadable,
)
from tarsier_tools.results import Answer, Caption, FrameSet, Localization, VideoInfo
from tarsier_tools.service import VideoService
from tarsier_tools.types import Abilities, Completion, Progress, Request, ScoreRequest, Scores, no_progress

VIDEO = str(Path(__file__).parent / "golden" / "videos" / "shapes_320x240_25fps.mp4")
CLEVER = Abilities(languages=("en", "zh-Hans", "zh-Hant"), yes_no=True, choices=True, frames=True, dense=True)
YES, NO = (math.log(0.9), math.log(0.1)), (math.log(0.2), math.log(0.8))


def scripted(
    *replies: str | TarsierError, scores: Sequence[Sequence[float]] = (), abilities: Abilities = CLEVER
) -> ScriptedBackend:
    return ScriptedBackend(replies, scores, abilities=abilities)


def cli(*arguments: str, backend: Backend | None = None, charset: str = "utf-8") -> Result:
    """Run one command as if typed, with this backend instead of the one that the settings say."""
    host = Host(open_service=lambda settings: VideoService(settings, backend))
    return CliRunner(charset=charset).invoke(app, arguments, obj=host)


def document(result: Result) -> Any:
    """The one JSON document on standard output; json.loads refuses a second one."""
    return json.loads(result.stdout)


class TestCaption:
    def test_the_reply_is_printed_with_what_it_rests_on_below(self) -> None:
        result = cli("caption", VIDEO, backend=scripted("A red circle moves left."))
        assert result.exit_code == 0
        first, *details = result.stdout.splitlines()
        assert first == "A red circle moves left."
        assert [line.split()[0] for line in details] == ["model", "seen", "time", "tokens"]
        assert "scripted" in details[0]
        assert "given by the caller" in details[0]
        assert "16 frames of " in details[1]
        assert "the whole video" in details[1]

    def test_what_was_left_out_is_said_once(self) -> None:
        result = cli("caption", VIDEO, "--end", "99", backend=scripted("A red circle moves left."))
        assert result.stdout.count("was cut at") == 1
        assert "skipped" in result.stdout

    def test_the_backend_and_the_reason_go_to_standard_error(self) -> None:
        result = cli("caption", VIDEO, backend=scripted("A circle."))
        assert result.stderr == "backend: scripted (given by the caller)\n"

    def test_json_is_the_result_and_nothing_else(self) -> None:
        result = cli("caption", VIDEO, "--json", backend=scripted("红色圆形向左移动。"))
        caption = Caption.model_validate(document(result))
        assert caption.text == "红色圆形向左移动。"
        assert "红色" in result.stdout

    def test_events_are_printed_with_their_times(self) -> None:
        backend = scripted("<frame: 1-4> A circle moves.\n<frame: 15-16> A star grows.")
        result = cli("caption", VIDEO, "--detail", "events", backend=backend)
        first, second, *_ = result.stdout.splitlines()
        assert first.startswith("0:00.0 - ")
        assert first.endswith("  A circle moves.")
        assert second.endswith("  A star grows.")

    def test_warnings_and_the_models_note_are_printed(self) -> None:
        abilities = Abilities(note="It knows shapes only.")
        result = cli("caption", VIDEO, backend=scripted("", abilities=abilities))
        assert "It knows shapes only." in result.stdout
        assert "warning   The model wrote nothing." in result.stdout

    def test_a_long_reply_is_one_line_where_there_is_no_terminal(self) -> None:
        text = "A red circle moves left, then a star grows, " * 20
        assert cli("caption", VIDEO, backend=scripted(text)).stdout.splitlines()[0] == text.strip()

    def test_on_a_terminal_details_are_broken_at_its_width_and_indented(self) -> None:
        backend = scripted(
            "A circle.", abilities=Abilities(note="It knows coloured shapes and nothing else.")
        )
        caption = VideoService(backend=backend).caption(VIDEO)
        _, *details = render.caption(caption, render.Look(width=40, wrap=True))
        lines = [line for detail in details for line in detail.plain.splitlines()]
        assert len(lines) > len(details)
        assert all(len(line) <= 40 for line in lines)
        names = {line[:10].strip() for line in lines}
        assert names == {"model", "seen", "time", "tokens", ""}

    def test_markup_and_terminal_sequences_of_the_model_are_neither_obeyed_nor_kept(self) -> None:
        reply = "[bold red]A[/] \x1b[31mred\x1b]0;owned\x07 :smile: \u202ecircle\x9b2J"
        assert cli("caption", VIDEO, backend=scripted(reply)).stdout.splitlines()[0] == (
            "[bold red]A[/] red :smile: circle"
        )

    def test_json_keeps_the_models_words_and_holds_nothing_a_terminal_obeys(self) -> None:
        reply = "\x1b[31mred\x1b[0m \u202e\x9b2J."
        result = cli("caption", VIDEO, "--json", backend=scripted(reply))
        assert document(result)["text"] == reply
        assert not set(result.stdout) & set("\x1b\x9b\u202e")

    def test_the_options_reach_the_model(self) -> None:
        backend = scripted("Un")
        options = ["--start", "0:00.5", "--end", "1", "--frames", "4", "--sampling", "time"]
        result = cli(
            "caption", VIDEO, *options, "--language", "zh-Hant", "--max-new-tokens", "7", backend=backend
        )
        assert result.exit_code == 0
        (request,) = backend.requests
        assert isinstance(request, Request)
        assert request.prompt == "請詳細描述這段影片。"
        assert request.max_new_tokens == 7
        assert len(request.clip) == 4
        assert all(0.47 < time_s < 1 for time_s in request.clip.times_s)
        assert "0:00.5 - 0:01.0 of " in result.stdout

    def test_a_rate_of_frames_is_kept(self) -> None:
        backend = scripted("A circle.")
        result = cli("caption", VIDEO, "--sampling", "fps", "--fps", "5", "--end", "1", backend=backend)
        assert result.exit_code == 0
        (request,) = backend.requests
        assert len(request.clip) == 5

    def test_the_model_options_become_settings(self) -> None:
        seen: list[Settings] = []

        def open_service(settings: Settings) -> VideoService:
            seen.append(settings)
            return VideoService(settings, scripted("A circle."))

        options = ["--backend", "local", "--model", "org/name", "--revision", "v1"]
        options += ["--device", "cpu", "--dtype", "float32"]
        assert run(["caption", VIDEO, *options], Host(open_service)) == 0
        (settings,) = seen
        chosen = (settings.backend, settings.model, settings.revision, settings.device, settings.dtype)
        assert chosen == ("local", "org/name", "v1", "cpu", "float32")


class TestAsk:
    def test_one_question_is_answered_by_one_document(self) -> None:
        result = cli("ask", VIDEO, "What moves?", "--json", backend=scripted("A circle."))
        answer = Answer.model_validate(document(result))
        assert (answer.question, answer.text, answer.method) == ("What moves?", "A circle.", "generated")

    def test_several_questions_are_answered_in_order_from_one_decoded_clip(self) -> None:
        result = cli("ask", VIDEO, "What moves?", "What grows?", "--json", backend=scripted("Red.", "Blue."))
        answers = [Answer.model_validate(item) for item in document(result)]
        assert [(answer.question, answer.text) for answer in answers] == [
            ("What moves?", "Red."),
            ("What grows?", "Blue."),
        ]
        assert [answer.timings.clip_cached for answer in answers] == [False, True]

    def test_several_questions_are_printed_above_their_answers(self) -> None:
        result = cli("ask", VIDEO, "What moves?", "What grows?", backend=scripted("Red.", "Blue."))
        lines = result.stdout.splitlines()
        assert lines[:3] == ["", "What moves?", "Red."]
        second = lines.index("What grows?")
        assert lines[second + 1] == "Blue."
        assert "clip from cache" in result.stdout

    def test_an_answer_that_was_given_is_printed_though_the_next_one_fails(self) -> None:
        backend = scripted("Red.", BackendRejected("Too long."))
        result = cli("ask", VIDEO, "What moves?", "What grows?", backend=backend)
        assert result.exit_code == 4
        assert "Red." in result.stdout
        assert "Error: Too long." in result.stderr

    def test_choices_are_shown_with_their_probabilities(self) -> None:
        backend = scripted(scores=[(math.log(0.2), math.log(0.6), math.log(0.2))])
        arguments = ["--choice", "red", "--choice", "blue", "--choice", "green"]
        result = cli("ask", VIDEO, "Which color?", *arguments, backend=backend)
        first, *rows = result.stdout.splitlines()[:4]
        assert first == "blue  (60%, raw)"
        assert [row.split()[0] for row in rows] == ["20.0%", "60.0%", "20.0%"]
        assert rows[1].endswith("(B) blue")
        assert rows[1].count("█") == 12

    def test_a_yes_no_question_is_scored(self) -> None:
        result = cli("ask", VIDEO, "Is it red?", "--yes-no", "--json", backend=scripted(scores=[NO]))
        answer = Answer.model_validate(document(result))
        assert (answer.text, answer.method) == ("No", "yes_no")
        assert answer.score == pytest.approx(0.8)

    def test_choices_and_yes_no_together_are_refused_before_the_video_is_opened(self) -> None:
        result = cli("ask", "nowhere.mp4", "Is it?", "--yes-no", "--choice", "a", "--choice", "b")
        assert result.exit_code == 2
        assert "--choice and --yes-no cannot go together." in result.stderr


class TestLocate:
    def test_a_found_event_is_drawn_over_the_range(self) -> None:
        backend = scripted("<frame: 5-8>", "Nothing closer.", scores=[YES])
        result = cli("locate", VIDEO, "a circle moves", backend=backend)
        assert result.exit_code == 0
        lines = result.stdout.splitlines()
        assert lines[0] == "Found: a circle moves"
        assert re.fullmatch(r"  0:00\.\d - 0:01\.\d  \(0\.\d s, yes 90%, raw\)", lines[1])
        (bar,) = [line for line in lines if line.startswith("├")]
        assert bar.endswith("┤")
        filled = [place for place, cell in enumerate(bar) if cell == "█"]
        assert filled == list(range(filled[0], filled[-1] + 1))
        assert 0.2 < filled[0] / len(bar) < 0.3
        assert 0.45 < filled[-1] / len(bar) < 0.55
        assert lines[lines.index(bar) + 1].count("╵") > 16  # those of the closer look too

    def test_an_event_that_is_not_found_is_an_answer(self) -> None:
        backend = scripted("<frame: 5-8>", scores=[NO])
        result = cli("locate", VIDEO, "a cow flies", backend=backend)
        assert result.exit_code == 0
        assert result.stdout.startswith("Not found: a cow flies  (at best yes 20%, raw)\n")
        assert "█" not in result.stdout

    def test_not_found_in_json_is_false_and_exit_code_0(self) -> None:
        backend = scripted("<frame: 5-8>", scores=[NO])
        result = cli("locate", VIDEO, "a cow flies", "--json", backend=backend)
        assert result.exit_code == 0
        found = Localization.model_validate(document(result))
        assert (found.found, found.segments) == (False, ())

    def test_several_events_are_an_array_and_their_details_are_told_once(self) -> None:
        def backend() -> ScriptedBackend:
            return scripted("<frame: 5-8>", "no", "Nothing closer.", scores=[YES, NO])

        result = cli("locate", VIDEO, "a circle moves", "a cow flies", "--json", backend=backend())
        found = [Localization.model_validate(one) for one in json.loads(result.stdout)]
        assert [one.found for one in found] == [True, False]
        shown = cli("locate", VIDEO, "a circle moves", "a cow flies", backend=backend()).stdout
        assert shown.startswith("Found: a circle moves\n")
        assert "\nNot found: a cow flies  (at best yes 20%, raw)\n" in shown
        assert shown.count("\nmodel ") == 1

    def test_without_box_characters_the_timeline_is_ascii(self) -> None:
        backend = scripted("<frame: 5-8>", "Nothing closer.", scores=[YES])
        result = cli("locate", VIDEO, "a circle moves", backend=backend, charset="ascii")
        assert result.exit_code == 0
        assert "?" not in result.stdout
        (bar,) = [line for line in result.stdout.splitlines() if line.startswith("|")]
        assert "##" in bar


class TestInfoAndFrames:
    def test_info_is_printed_as_a_table(self) -> None:
        result = cli("info", VIDEO)
        assert result.exit_code == 0
        assert "picture   320x240" in result.stdout
        assert result.stderr == ""

    def test_info_in_json_is_the_result(self) -> None:
        info = VideoInfo.model_validate(document(cli("info", VIDEO, "--json")))
        assert (info.width, info.height, info.source) == (320, 240, VIDEO)

    def test_frames_are_written_at_the_times_asked_for(self, tmp_path: Path) -> None:
        arguments = ["--out", str(tmp_path / "new"), "--at", "0.5", "--at", "0:01", "--json"]
        result = cli("frames", VIDEO, *arguments)
        frames = FrameSet.model_validate(document(result))
        assert [frame.time_s for frame in frames.frames] == pytest.approx([0.48, 1.0], abs=0.041)
        for frame in frames.frames:
            assert Path(frame.path).read_bytes()[:2] == b"\xff\xd8"
        assert frames.sheet is None

    def test_a_contact_sheet_is_written_and_named(self, tmp_path: Path) -> None:
        result = cli("frames", VIDEO, "--out", str(tmp_path), "--count", "4", "--sheet", "--max-side", "100")
        assert result.exit_code == 0
        assert (tmp_path / "sheet.jpg").is_file()
        assert len(list(tmp_path.glob("*.jpg"))) == 5
        assert "sheet.jpg" in result.stdout

    def test_pictures_that_are_there_are_replaced_only_when_asked(self, tmp_path: Path) -> None:
        arguments = ["frames", VIDEO, "--out", str(tmp_path), "--count", "2"]
        assert cli(*arguments).exit_code == 0
        assert cli(*arguments).exit_code == 2
        assert cli(*arguments, "--overwrite").exit_code == 0

    def test_times_and_a_count_together_are_refused(self, tmp_path: Path) -> None:
        result = cli("frames", VIDEO, "--out", str(tmp_path), "--count", "2", "--at", "1")
        assert result.exit_code == 2
        assert list(tmp_path.iterdir()) == []


class TestModels:
    def test_without_a_model_the_bundled_one_answers(self) -> None:
        models = Models.model_validate(document(cli("models", "--json")))
        tiny, local, remote = models.models
        assert models.chosen == "tiny"
        assert (tiny.backend, tiny.model, tiny.usable, tiny.chosen) == ("tiny", "tarsier2-tiny", True, True)
        assert "shapes" in tiny.about
        assert (local.usable, local.chosen, local.missing) == (False, False, ("a model",))
        assert "TARSIER_MODEL" in local.hint
        assert (remote.usable, remote.missing) == (False, ("the address of a server",))
        assert "--base-url" in remote.hint

    def test_a_hub_id_is_used_though_it_cannot_be_checked(self) -> None:
        models = Models.model_validate(document(cli("models", "--model", "org/name", "--json")))
        assert models.chosen == "local"
        assert models.models[1].usable
        assert "org/name" in models.reason

    def test_a_folder_that_is_no_checkpoint_says_what_is_missing(self, tmp_path: Path) -> None:
        models = Models.model_validate(document(cli("models", "--model", str(tmp_path), "--json")))
        assert not models.models[1].usable
        assert models.models[1].missing == (f"config.json in {tmp_path}",)

    def test_the_accuracy_on_a_card_is_shown(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "config.json").write_text("{}")
        (tmp_path / "tarsier.json").write_text('{"name": "small", "accuracy": {"yes/no": 0.9375}}')
        monkeypatch.setattr("tarsier_tools.cli.models.TINY_FOLDER", tmp_path)
        result = cli("models")
        assert " 93.8%  yes/no" in result.stdout
        assert "small" in result.stdout

    def test_packages_that_are_missing_come_with_the_line_to_type(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("tarsier_tools.cli.models.EXTRA", ("torch", "no_such_package"))
        models = Models.model_validate(document(cli("models", "--json")))
        assert not models.models[0].usable
        assert models.models[0].missing == ("package no_such_package",)
        assert "pip install 'tarsier-tools[local]'" in models.models[0].hint


def broken_files(folder: Path) -> dict[str, str]:
    """Kind -> path of a file that is no video."""
    (folder / "zero.mp4").write_bytes(b"")
    (folder / "text.mp4").write_text("This is a text.\n" * 100)
    (folder / "cut.mp4").write_bytes(Path(VIDEO).read_bytes()[:900])
    return {name: str(folder / f"{name}.mp4") for name in ("zero", "text", "cut", "missing")}


@pytest.mark.parametrize("kind", ["zero", "text", "cut", "missing"])
@pytest.mark.parametrize("command", ["caption", "ask", "locate", "info", "frames"])
def test_a_bad_file_ends_with_a_message_a_hint_and_exit_code_3(
    command: str, kind: str, tmp_path: Path
) -> None:
    rest = {"ask": ["What?"], "locate": ["it moves"], "frames": ["--out", str(tmp_path / "out")]}
    arguments = [command, broken_files(tmp_path)[kind], *rest.get(command, [])]
    backend = scripted("never asked")
    result = cli(*arguments, backend=backend)
    assert result.exit_code == 3
    assert result.stdout == ""
    lines = [line for line in result.stderr.splitlines() if not line.startswith("backend: ")]
    assert [line.split(":")[0] for line in lines] == ["Error", "Hint"]
    error = document(cli(*arguments, "--json", backend=backend))["error"]
    assert error["type"] == ("VideoNotFound" if kind == "missing" else "VideoUnreadable")
    assert error["message"]
    assert error["hint"]
    assert backend.requests == []


BAD_LINES: dict[str, tuple[list[str], int, str]] = {
    "an unknown command": (["describe", VIDEO], 2, "No such command 'describe'."),
    "an unknown option": (["caption", VIDEO, "--speed", "2"], 2, "No such option: --speed"),
    "no video": (["caption"], 2, "Missing argument 'VIDEO'."),
    "no question": (["ask", VIDEO], 2, "Missing argument 'QUESTION...'."),
    "an empty question": (["ask", VIDEO, " "], 2, "The question is empty."),
    "one choice": (["ask", VIDEO, "What?", "--choice", "a"], 2, "between 2 and 26"),
    "a bad time": (["caption", VIDEO, "--start", "1:75"], 2, "'1:75' is not a time"),
    "a negative time": (["caption", VIDEO, "--start", "-5"], 2, "'-5' is not a time"),
    "a bad backend": (["caption", VIDEO, "--backend", "cloud"], 2, "backend: Input should be 'auto'"),
    "local without a model": (["caption", VIDEO, "--backend", "local"], 2, "needs a model"),
    "a bad dtype": (["caption", VIDEO, "--dtype", "int3"], 2, "dtype"),
    "a bad detail": (["caption", VIDEO, "--detail", "short"], 2, "not one of full, events"),
    "a bad sampling": (["caption", VIDEO, "--sampling", "random"], 2, "not one of uniform, time, fps"),
    "a bad language": (["caption", VIDEO, "--language", "e"], 2, "The language 'e' cannot be used"),
    "no frames": (["caption", VIDEO, "--frames", "0"], 2, "frames"),
    "frames in words": (["caption", VIDEO, "--frames", "many"], 2, "--frames"),
    "a rate without its sampling": (["caption", VIDEO, "--fps", "2"], 2, "fps"),
    "too many tokens": (["caption", VIDEO, "--max-new-tokens", "999999"], 2, "from 1 to 8192"),
    "a range past the end": (["caption", VIDEO, "--start", "1:00:00"], 3, "3600"),
    "an empty range": (["caption", VIDEO, "--start", "2", "--end", "1"], 3, "range"),
    "frames without a folder": (["frames", VIDEO], 2, "Missing option '--out'"),
    "a missing model folder": (["caption", VIDEO, "--model", "./nowhere"], 4, "nowhere"),
}


@pytest.mark.parametrize(("arguments", "code", "words"), BAD_LINES.values(), ids=BAD_LINES)
def test_a_bad_command_line_ends_with_one_line_and_its_exit_code(
    arguments: list[str], code: int, words: str
) -> None:
    result = cli(*arguments)
    assert result.exit_code == code
    assert "Traceback" not in result.output
    assert words in result.stderr
    error = document(cli(*arguments, "--json"))["error"]
    assert words in error["message"] + error["hint"]
    assert error["hint"]


def test_no_command_shows_the_help_and_counts_as_a_bad_line() -> None:
    result = cli()
    assert result.exit_code == 2
    assert all(command in result.stdout for command in ("caption", "ask", "locate", "frames", "info"))


ERRORS = [
    (UsageError, 2),
    (VideoNotFound, 3),
    (VideoUnreadable, 3),
    (VideoTooLarge, 3),
    (SourceNotAllowed, 3),
    (TimeRangeError, 3),
    (BackendUnavailable, 4),
    (BackendRejected, 4),
    (BackendFailed, 4),
    (ReplyError, 5),
    (Cancelled, 130),
]


@pytest.mark.parametrize(("kind", "code"), ERRORS)
def test_each_error_has_its_exit_code_and_says_whether_to_try_again(
    kind: type[TarsierError], code: int
) -> None:
    def fails() -> ScriptedBackend:
        return scripted(kind("It broke\x1b[2J.", hint="Mend it."))

    result = cli("caption", VIDEO, backend=fails())
    assert result.exit_code == code
    assert result.stderr.endswith("Error: It broke.\nHint: Mend it.\n")
    result = cli("caption", VIDEO, "--json", backend=fails())
    assert result.exit_code == code
    assert document(result)["error"] == {
        "type": kind.__name__,
        "message": "It broke\x1b[2J.",
        "hint": "Mend it.",
        "retryable": kind.retryable,
    }


class Broken(ScriptedBackend):
    """A backend with a bug."""

    def generate(
        self, requests: Sequence[Request], *, on_progress: Progress = no_progress
    ) -> list[Completion]:
        raise ZeroDivisionError("division by zero")


def test_an_unexpected_error_is_one_line_and_the_way_to_its_traceback() -> None:
    result = cli("caption", VIDEO, backend=Broken())
    assert result.exit_code == 1
    assert result.stderr.splitlines()[1:] == [
        "Error: ZeroDivisionError: division by zero",
        "Hint: This should not happen; run it again with --debug for the traceback.",
    ]


def test_debug_shows_the_traceback_and_leaves_json_alone() -> None:
    result = cli("caption", VIDEO, "--debug", "--json", backend=Broken())
    assert result.exit_code == 1
    assert document(result)["error"]["type"] == "UnexpectedError"
    assert "Traceback (most recent call last)" in result.stderr


def test_a_question_may_be_the_word_of_an_option() -> None:
    result = cli("ask", VIDEO, "--", "--json", backend=scripted("An option."))
    assert result.exit_code == 0
    assert result.stdout.startswith("An option.\n")
    result = cli("ask", VIDEO, "--", "--json", backend=scripted(BackendRejected("Too long.")))
    assert (result.stdout, result.exit_code) == ("", 4)


class Interrupted(ScriptedBackend):
    """A backend during whose work Ctrl-C is pressed, once or more often, before it reports its next step."""

    def __init__(self, times: int) -> None:
        super().__init__(["A circle."])
        self.times = times
        self.finished = False

    def generate(
        self, requests: Sequence[Request], *, on_progress: Progress = no_progress
    ) -> list[Completion]:
        for _ in range(self.times):
            os.kill(os.getpid(), signal.SIGINT)
        on_progress(1, 2, "generating")
        self.finished = True
        return super().generate(requests)

    def score(self, requests: Sequence[ScoreRequest], *, on_progress: Progress = no_progress) -> list[Scores]:
        raise AssertionError("not asked for")


@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_stops_the_work_and_ends_with_130(times: int, capfd: pytest.CaptureFixture[str]) -> None:
    before = signal.getsignal(signal.SIGINT)
    backend = Interrupted(times)
    result = cli("caption", VIDEO, "--json", backend=backend)
    assert result.exit_code == 130
    assert document(result)["error"]["type"] == "Cancelled"
    assert not backend.finished
    assert signal.getsignal(signal.SIGINT) is before
    assert "press Ctrl-C again" in capfd.readouterr().err


@pytest.mark.parametrize("charset", ["ascii", "cp1252"])
def test_a_terminal_that_cannot_show_a_character_shows_a_question_mark(charset: str) -> None:
    result = cli("caption", VIDEO, backend=scripted("红色 circle"), charset=charset)
    assert result.exit_code == 0
    assert result.stdout.startswith("?? circle\n")


@pytest.mark.parametrize("charset", ["ascii", "cp1252"])
def test_json_loses_nothing_where_the_stream_cannot_take_a_character(charset: str) -> None:
    result = cli("caption", VIDEO, "--json", backend=scripted("红色 circle"), charset=charset)
    assert document(result)["text"] == "红色 circle"


def test_a_file_name_cannot_write_to_the_terminal(tmp_path: Path) -> None:
    name = tmp_path / "a[red]\x1b[31m\u202eb.mp4"
    name.write_bytes(Path(VIDEO).read_bytes())
    result = cli("info", str(name))
    assert result.exit_code == 0
    assert "a[red]b.mp4" in result.stdout
    assert not set(cli("info", str(tmp_path / "gone\x1b[31m.mp4")).output) & {"\x1b"}
