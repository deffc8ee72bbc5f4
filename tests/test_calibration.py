"""Confidences: the curve, the file, which model it is for, and making one's own."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from tarsier_tools import Settings, UsageError, VideoService
from tarsier_tools.backends import TINY_FOLDER
from tarsier_tools.calibrating import Example, read_examples, shows
from tarsier_tools.cli import Host, app
from tarsier_tools.locating import calibration
from tarsier_tools.locating.calibration import Calibration, Fit, expected_error, platt
from tarsier_tools.locating.geometry import Window
from tarsier_tools.types import ModelInfo
from tests.corpus import Track, steady, write
from tests.locate_kit import Oracle

BOW = "a bow"


def fit(**changes: object) -> Fit:
    values: dict[str, object] = {
        "method": "yes_no",
        "slope": 0.5,
        "intercept": -1.0,
        "languages": ("en",),
        "prompts": calibration.prompt_version("yes_no", ("en",)),
        "frames": 16,
        "window_s": (6.0, 12.0),
        "windows": 100,
        "positives": 20,
        "expected_error": 0.02,
        **changes,
    }
    return Fit.model_validate(values)


def saved(path: Path, info: ModelInfo, *fits: Fit) -> Path:
    Calibration(
        model=info.name, fingerprint=calibration.fingerprint(info), fitted_on="a test set", fits=fits
    ).save(path)
    return path


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("calibration") / "film.mp4"
    write(path, Track(range(200), steady(200, 5), width=64, height=48, gop=25))
    return path


class TestTheCurve:
    def test_it_recovers_the_curve_that_the_cases_were_drawn_from(self) -> None:
        rng = np.random.default_rng(0)
        evidence = rng.normal(0, 4, 20_000)
        there = rng.random(20_000) < 1 / (1 + np.exp(-(0.7 * evidence - 1.5)))
        slope, intercept = platt(evidence.tolist(), there.tolist())
        assert slope == pytest.approx(0.7, abs=0.04)
        assert intercept == pytest.approx(-1.5, abs=0.1)

    def test_cases_without_a_single_error_give_no_certainty(self) -> None:
        slope, intercept = platt([-3.0, -2.0, 2.0, 3.0], [False, False, True, True])
        assert 0.6 < 1 / (1 + math.exp(-(slope * 3 + intercept))) < 0.95

    def test_large_numbers_do_not_overflow(self) -> None:
        slope, _ = platt([-1000.0, -900.0, 900.0, 1000.0], [False, False, True, True])
        assert 0 < slope < 1

    @pytest.mark.parametrize(
        ("evidence", "there"), [([1.0, 2.0], [True, True]), ([1.0, 2.0], [False, False])]
    )
    def test_cases_of_one_kind_are_refused(self, evidence: list[float], there: list[bool]) -> None:
        with pytest.raises(ValueError, match="some of both"):
            platt(evidence, there)

    def test_evidence_that_speaks_against_the_event_is_refused(self) -> None:
        with pytest.raises(ValueError, match="does not speak for"):
            platt([3.0, 2.0, -2.0, -3.0], [False, False, True, True])

    def test_confidence_and_evidence_are_two_sides_of_one_curve(self) -> None:
        curve = fit()
        for confidence in (0.1, 0.5, 0.9):
            assert curve.confidence(curve.least(confidence)) == pytest.approx(confidence)

    def test_the_expected_error_is_the_gap_between_said_and_true(self) -> None:
        assert expected_error([0.8] * 10, [True] * 8 + [False] * 2) == pytest.approx(0.0)
        assert expected_error([0.9] * 10, [True] * 5 + [False] * 5) == pytest.approx(0.4)
        assert expected_error([0.05, 0.95], [False, True]) == pytest.approx(0.05)
        assert expected_error([1.0, 0.0], [True, False]) == 0.0

    @pytest.mark.parametrize(
        ("segments", "there"),
        [
            ([], False),
            ([(12.0, 14.0)], True),
            ([(9.0, 11.5)], True),  # half of it and more
            ([(8.0, 11.0)], False),
            ([(0.0, 60.0)], True),  # longer than the window
            ([(0.0, 15.9)], False),
            ([(30.0, 31.0), (20.0, 22.5)], True),
            ([(13.0, 13.0)], False),
        ],
    )
    def test_a_window_shows_an_event_by_half_of_it_or_of_the_window(
        self, segments: list[tuple[float, float]], there: bool
    ) -> None:
        assert shows(Window(10.0, 22.0), segments) is there


class TestTheFile:
    def test_the_bundled_model_has_one_for_its_own_weights_and_prompts(self) -> None:
        file = calibration.load(TINY_FOLDER / calibration.NAME)
        info = ModelInfo(name="tarsier2-tiny", backend="tiny", folder=str(TINY_FOLDER))
        assert file.fingerprint == calibration.fingerprint(info), "run training/calibrate.py"
        assert {fit.method for fit in file.fits} == {"yes_no", "likelihood"}
        for one in file.fits:
            assert one.prompts == calibration.prompt_version(one.method, one.languages)
            assert one.positives > 100
            assert one.expected_error is not None
            assert one.expected_error < 0.06

    def test_a_result_of_the_bundled_model_has_confidences_and_says_where_from(
        self, shapes_film: object
    ) -> None:
        with VideoService(Settings(backend="tiny")) as videos:
            found = videos.locate(shapes_film.path, "the red circle moves left")  # type: ignore[attr-defined]
            other = videos.locate(shapes_film.path, "der rote Kreis", language="de")  # type: ignore[attr-defined]
        assert found.best_confidence is not None
        assert "films of the shapes world" in found.calibration
        assert found.curve[0].confidence == found.best_confidence
        assert other.best_confidence is None
        assert any("not for de" in warning for warning in other.warnings)

    def test_confidence_decides_what_is_found(self, film: Path, tmp_path: Path) -> None:
        backend = Oracle({BOW: [(10.0, 14.0)]})
        strict = saved(tmp_path / "strict.json", backend.info, fit(slope=1.0, intercept=-5.0))
        with VideoService(Settings(calibration=strict), backend) as videos:
            missed = videos.locate(film, BOW)
            found = videos.locate(film, BOW, threshold=0.2)
        assert not missed.found
        assert missed.best_score == pytest.approx(1 / (1 + math.exp(-4)))
        assert missed.best_confidence == pytest.approx(1 / (1 + math.exp(1)))
        assert found.segments[0].confidence == missed.best_confidence
        assert found.threshold == 0.2
        assert "a test set (100 windows, 20 with the event; en)" in found.calibration

    @pytest.mark.parametrize(
        ("changes", "says"),
        [
            ({"fingerprint": "0" * 64}, "other weights"),
            ({"fits": [json.loads(fit(method="likelihood").model_dump_json())]}, "not for the method yes_no"),
            ({"fits": [json.loads(fit(prompts="x").model_dump_json())]}, "other prompts"),
            ({"fits": []}, "for nothing, not for the method"),
            ({"format": 2}, "no calibration file"),
            ({"fits": [{"method": "yes_no"}]}, "no calibration file"),
        ],
    )
    def test_a_file_for_something_else_is_refused(
        self, film: Path, tmp_path: Path, changes: dict[str, object], says: str
    ) -> None:
        backend = Oracle({})
        path = saved(tmp_path / "a.json", backend.info, fit())
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))
        with (
            VideoService(Settings(calibration=path), backend) as videos,
            pytest.raises(UsageError, match=says),
        ):
            videos.locate(film, BOW)

    @pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b"[" * 100_000])
    def test_a_file_of_something_else_is_refused(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "a.json").write_bytes(content)
        with pytest.raises(UsageError, match="no calibration file"):
            calibration.load(tmp_path / "a.json")
        with pytest.raises(UsageError, match="cannot be read"):
            calibration.load(tmp_path / "none.json")

    def test_beside_other_weights_it_is_left_aside_and_told_of(self, film: Path, tmp_path: Path) -> None:
        folder = tmp_path / "model"
        shutil.copytree(TINY_FOLDER, folder)
        weights = folder / "model.safetensors"
        data = bytearray(weights.read_bytes())
        data[-1] ^= 1
        weights.write_bytes(data)
        settings = Settings(backend="local", model=str(folder), device="cpu", anyway=True)
        with VideoService(settings) as videos:
            found = videos.locate(film, BOW, end_s=8)
        assert found.best_confidence is None
        assert "not calibrated" in found.score_kind
        (told,) = [warning for warning in found.warnings if "fitted for other weights" in warning]
        assert told.startswith("The calibration was")
        assert told.endswith("So scores are raw.")

    def test_windows_unlike_those_of_the_set_are_told_of(self, film: Path, tmp_path: Path) -> None:
        backend = Oracle({})
        path = saved(tmp_path / "a.json", backend.info, fit(window_s=(3.0, 5.0)))
        with VideoService(Settings(calibration=path), backend) as videos:
            assert any("may be off" in warning for warning in videos.locate(film, BOW).warnings)
            assert not any("may be off" in warning for warning in videos.locate(film, BOW, end_s=8).warnings)

    def test_models_elsewhere_are_told_apart_by_their_names(self) -> None:
        names = ("a", "b")
        prints = {calibration.fingerprint(ModelInfo(name=name, backend="remote")) for name in names}
        assert len(prints) == 2


class TestMakingOne:
    def test_labels_become_a_file_that_is_used(self, film: Path, tmp_path: Path) -> None:
        shutil.copy(film, tmp_path / "film.mp4")
        lines = [
            {"video": "film.mp4", "event": "a bow", "segments": [[10.0, 14.0]]},
            {"video": "film.mp4", "event": "a nap", "segments": []},
        ]
        labels = tmp_path / "labels.jsonl"
        labels.write_text("\n".join(map(json.dumps, lines)) + "\n\n")
        backend = Oracle({BOW: [(10.0, 14.0)]})
        out = tmp_path / "calibration.json"
        result = CliRunner().invoke(
            app,
            ["calibrate", str(labels), "--out", str(out)],
            obj=Host(open_service=lambda settings: VideoService(settings, backend)),
        )
        assert result.exit_code == 0, result.output
        assert "Fitted: oracle, on labels.jsonl" in result.stdout
        file = calibration.load(out)
        (one,) = file.fits
        assert (one.method, one.windows, one.positives) == ("yes_no", 12, 3)
        with VideoService(Settings(calibration=out), backend) as videos:
            found = videos.locate(film, BOW, threshold=0.3)
        assert found.segments[0].confidence is not None

    def test_films_of_shapes_need_no_labels(self, tmp_path: Path) -> None:
        out = tmp_path / "calibration.json"
        options = ["--shapes", "6", "--out", str(out), "--backend", "tiny", "--json"]
        result = CliRunner().invoke(app, ["calibrate", *options])
        assert result.exit_code == 0, result.output
        assert json.loads(result.stdout) == json.loads(out.read_text())
        file = calibration.load(out)
        assert file.fingerprint == calibration.load(TINY_FOLDER / calibration.NAME).fingerprint
        assert file.fits[0].languages == ("en", "zh-Hans", "zh-Hant")

    @pytest.mark.parametrize(
        ("line", "says"),
        [
            ("{", "Line 2 .* not JSON"),
            ('{"video": "a.mp4", "event": "x"}', "segments: Field required"),
            ('{"video": "a.mp4", "event": "x", "segments": [[1]]}', "Line 2"),
            ('{"video": "a.mp4", "event": "x", "segments": [[-1, 2]]}', "Line 2"),
            (
                '{"video": "a.mp4", "event": "x", "segments": [[3, 1]]}',
                "Line 2 .*segments.0: .*after the start",
            ),
            ('{"video": "a.mp4", "event": "x", "segments": [[3, 3]]}', "Line 2 .*after the start"),
            ('{"video": "", "event": "x", "segments": []}', "Line 2"),
        ],
    )
    def test_a_line_that_is_no_example_is_named(self, tmp_path: Path, line: str, says: str) -> None:
        path = tmp_path / "labels.jsonl"
        path.write_text('{"video": "a.mp4", "event": "x", "segments": [[0, 1]]}\n' + line)
        with pytest.raises(UsageError, match=says):
            read_examples(path)

    def test_urls_stay_and_paths_count_from_the_file(self, tmp_path: Path) -> None:
        path = tmp_path / "labels.jsonl"
        path.write_text(
            '{"video": "https://example.org/a.mp4", "event": "x", "segments": []}\n'
            '{"video": "b.mp4", "event": "x", "segments": []}'
        )
        assert [one.video for one in read_examples(path)] == [
            "https://example.org/a.mp4",
            str(tmp_path / "b.mp4"),
        ]

    @pytest.mark.parametrize(
        "segments", [(), ((0.0, 40.0),)], ids=["of what never happens", "of what always does"]
    )
    def test_examples_of_one_kind_alone_are_refused(
        self, film: Path, segments: tuple[tuple[float, float], ...]
    ) -> None:
        with (
            VideoService(Settings(), Oracle({})) as videos,
            pytest.raises(UsageError, match="some of both are needed"),
        ):
            videos.calibrate([Example(video=str(film), event=BOW, segments=segments)], fitted_on="one")

    def test_nothing_to_fit_on_and_nothing_to_fit_are_refused(self, film: Path) -> None:
        with VideoService(Settings(), Oracle({}, scoring="none")) as videos:
            with pytest.raises(UsageError, match="no examples"):
                videos.calibrate([], fitted_on="nothing")
            with pytest.raises(UsageError, match="nothing to calibrate"):
                videos.calibrate([Example(video=str(film), event=BOW, segments=())], fitted_on="one")

    @pytest.mark.parametrize(
        "arguments", [[], ["labels.jsonl", "--shapes", "3"], ["--shapes", "3", "--method", "frames"]]
    )
    def test_a_command_line_that_makes_no_sense_is_refused(
        self, tmp_path: Path, arguments: list[str]
    ) -> None:
        out = ["--out", str(tmp_path / "out.json")]
        assert CliRunner().invoke(app, ["calibrate", *arguments, *out]).exit_code == 2
        assert not (tmp_path / "out.json").exists()
