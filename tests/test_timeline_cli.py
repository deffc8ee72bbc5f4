"""``tarsier-tools timeline``, and the exports of every command: what goes where, what is refused."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
import srt
import webvtt
from typer.testing import CliRunner, Result

from tarsier_tools import ScriptedBackend, Timeline, VideoService
from tarsier_tools.backends.base import Backend
from tarsier_tools.cli import Host, app, run
from tarsier_tools.exports import FORMATS
from tests.shots_kit import Namer, film

ROOT = Path(__file__).parents[1]
ARABIC = "كلب يقفز <b>فوق</b> السور."


@pytest.fixture(scope="module")
def rooms(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(film(tmp_path_factory.mktemp("film") / "rooms.mp4", [20, 30, 15]))


def cli(*arguments: str, backend: Backend | None = None) -> Result:
    host = Host(open_service=lambda settings: VideoService(settings, backend or Namer()))
    return CliRunner().invoke(app, arguments, obj=host)


def test_a_timeline_is_printed_segment_by_segment_with_what_it_rests_on(rooms: str) -> None:
    result = cli("timeline", rooms)
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[:3] == [
        "0:00.0 - 0:02.0  A red room.",
        "0:02.0 - 0:05.0  A blue room.",
        "0:05.0 - 0:06.5  A green room.",
    ]
    assert [line.split()[0] for line in lines[4:]] == ["segments", "model", "seen", "time", "tokens"]
    assert "3, divided at cuts" in lines[4]


def test_a_second_run_says_what_was_kept_and_fresh_begins_anew(rooms: str) -> None:
    cli("timeline", rooms)
    assert "3 kept from an earlier run" in cli("timeline", rooms).stdout
    assert "kept" not in cli("timeline", rooms, "--fresh").stdout


def test_chapters_are_headings_over_their_segments(rooms: str) -> None:
    lines = cli("timeline", rooms, "--summarize", "--max-segment", "2").stdout.splitlines()
    assert lines[0] == ""
    assert lines[1].endswith("room")
    assert lines[2].startswith("0:00.0 - ")


def test_the_options_reach_the_service(rooms: str) -> None:
    result = cli(
        "timeline", rooms, "--segmentation", "windows", "--min-segment", "0.5", "--max-segment", "4",
        "--start", "0:01", "--end", "6", "--frames", "3", "--language", "fr", "--json",
    )  # fmt: skip
    told = Timeline.model_validate_json(result.stdout)
    assert [(each.start_s, each.end_s) for each in told.segments] == [(1, 3.5), (3.5, 6)]
    assert len(told.coverage.frame_indices) == 6
    assert told.language == "fr"


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--start", "99"], 3),
        (["--max-segment", "0"], 2),
        (["--min-segment", "9"], 2),
        (["--segmentation", "scenes"], 2),
    ],
)
def test_what_makes_no_sense_ends_with_its_exit_code(rooms: str, arguments: list[str], code: int) -> None:
    result = cli("timeline", rooms, *arguments)
    assert (result.exit_code, result.stdout) == (code, "")
    assert "Hint: " in result.stderr


@pytest.mark.parametrize("form", FORMATS)
def test_a_format_is_all_that_standard_output_gets(rooms: str, form: str) -> None:
    result = cli("timeline", rooms, "--format", form)
    assert result.exit_code == 0, result.stderr
    told = Timeline.model_validate_json(cli("timeline", rooms, "--json").stdout)
    if form == "json":
        assert Timeline.model_validate_json(result.stdout).segments == told.segments
    else:
        assert result.stdout_bytes == FORMATS[form](told).encode("utf-8")


def test_a_file_is_written_whole_and_the_terminal_gets_what_it_always_gets(
    rooms: str, tmp_path: Path
) -> None:
    out = tmp_path / "talk.vtt"
    out.write_text("what was there before")
    result = cli("timeline", rooms, "--format", "vtt", "--out", str(out))
    assert result.stdout.startswith("0:00.0 - 0:02.0  A red room.")
    assert str(out) in result.stderr
    assert [cue.text for cue in webvtt.read(str(out))] == ["A red room.", "A blue room.", "A green room."]
    assert [path.name for path in tmp_path.iterdir()] == ["talk.vtt"]


def test_json_on_standard_output_goes_with_a_file_in_another_format(rooms: str, tmp_path: Path) -> None:
    result = cli("timeline", rooms, "--json", "--format", "csv", "--out", str(tmp_path / "talk.csv"))
    assert len(json.loads(result.stdout)["segments"]) == 3
    text = (tmp_path / "talk.csv").read_bytes().decode("utf-8")
    assert len(list(csv.DictReader(io.StringIO(text, newline="")))) == 3


def test_a_caption_in_any_script_is_written_as_it_was_said(rooms: str, tmp_path: Path) -> None:
    out = tmp_path / "caption.srt"
    result = cli("caption", rooms, "--format", "srt", "--out", str(out), backend=ScriptedBackend([ARABIC]))
    assert result.exit_code == 0, result.stderr
    (subtitle,) = srt.parse(out.read_text("utf-8"))
    assert subtitle.content == ARABIC.replace("<", "‹").replace(">", "›")
    assert subtitle.end.total_seconds() == 6.5


def test_the_encoding_of_a_pipe_does_not_change_a_file_format(rooms: str) -> None:
    code = (
        "import sys\nfrom tarsier_tools import ScriptedBackend, VideoService\n"
        "from tarsier_tools.cli import Host, run\n"
        f"backend = ScriptedBackend([{ARABIC!r}])\n"
        "sys.exit(run(sys.argv[1:], Host(lambda settings: VideoService(settings, backend))))"
    )
    done = subprocess.run(
        [sys.executable, "-X", "utf8=0", "-c", code, "caption", rooms, "--format", "csv"],
        capture_output=True,
        timeout=300,
        check=True,
        cwd=ROOT,
        env={"PYTHONIOENCODING": "ascii", "PATH": "", "PYTHONPATH": str(ROOT)},
    )
    (row,) = csv.DictReader(io.StringIO(done.stdout.decode("utf-8"), newline=""))
    assert row["text"] == ARABIC


def test_a_program_that_collects_the_output_gets_it_too(rooms: str) -> None:
    collected = io.StringIO()
    with contextlib.redirect_stdout(collected):
        code = run(
            ["caption", rooms, "--format", "vtt"],
            Host(lambda settings: VideoService(settings, ScriptedBackend([ARABIC]))),
        )
    assert code == 0
    assert len(webvtt.from_string(collected.getvalue())) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--out", "x.vtt"], "--out needs a format"),
        (["--json", "--format", "csv"], "both write to standard output"),
        (["--format", "doc"], "is not one of json, md"),
        (["--format", "csv", "--out", "."], "it is a folder"),
        (["--format", "csv", "--out", "no/such/folder/x.csv"], "in one that is not there"),
    ],
)
@pytest.mark.parametrize("command", [["timeline"], ["caption"], ["locate"]])
def test_what_cannot_be_written_is_refused_before_any_work(
    rooms: str, command: list[str], arguments: list[str], said: str
) -> None:
    backend = Namer()
    event = ["a dog runs"] if command == ["locate"] else []
    result = cli(*command, rooms, *event, *arguments, backend=backend)
    assert result.exit_code == 2
    assert said in result.stdout + result.stderr
    assert backend.requests == []
