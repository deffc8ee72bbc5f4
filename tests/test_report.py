"""Reports: what is on the page, that nothing on it is obeyed, and where its pictures come from."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import report_kit as kit
from PIL import Image
from typer.testing import CliRunner

from tarsier_tools import (
    BackendUnavailable,
    Cancelled,
    ModelUsed,
    ScriptedBackend,
    UsageError,
    VideoService,
    write_plot,
    write_report,
)
from tarsier_tools.cli import Host, app
from tarsier_tools.media.reader import Limits, open_video
from tarsier_tools.media.writer import write_mp4
from tarsier_tools.reporting import plot
from tarsier_tools.reporting.evidence import MAX_PICTURES, moments
from tarsier_tools.reporting.sections import MAX_ROWS

HOSTILE = (
    "</title></style><script>alert(1)</script><img src=x onerror=alert(1)>\"' onload='x' \x1b[31m\u202e&amp;"
)


class Page(HTMLParser):
    """A page as a browser reads it: elements with attributes, and the text of each."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: list[tuple[tuple[str, ...], str]] = []
        self._open: list[tuple[str, str]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.elements.append((tag, found))
        if tag not in {"meta", "img"}:
            self._open.append((tag, found.get("class", "")))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop()[0] == tag

    def handle_data(self, data: str) -> None:
        self.texts.append((tuple(name for name, _ in self._open), data))

    def all(self, tag: str, class_: str = "") -> list[dict[str, str]]:
        return [found for name, found in self.elements if name == tag and class_ in found.get("class", "")]

    def text(self, *inside: str) -> str:
        return "".join(data for names, data in self.texts if set(inside) <= set(names))


@pytest.fixture
def service() -> Iterator[VideoService]:
    with VideoService(backend=ScriptedBackend(())) as opened:
        yield opened


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "out.html"


def written(result, service: VideoService, target: Path) -> Page:
    write_report(result, service, target)
    return Page(target.read_text("utf-8"))


class TestEveryPage:
    @pytest.fixture(params=("checked_caption", "plain_caption", "localization", "timeline"))
    def result(self, request: pytest.FixtureRequest, shapes_film):
        return getattr(kit, request.param)(shapes_film.path)

    def test_it_loads_nothing_and_runs_nothing(self, result, service, target) -> None:
        page = written(result, service, target)
        policy = next(meta["content"] for meta in page.all("meta") if "http-equiv" in meta)
        assert policy.startswith("default-src 'none'; img-src data:; style-src 'sha256-")
        assert not page.all("script") + page.all("link") + page.all("iframe") + page.all("a")
        for _, attributes in page.elements:
            for name, value in attributes.items():
                assert not name.startswith("on")
                assert name != "style"  # the policy would refuse it
                assert name not in {"href", "src"} or value.startswith("data:image/jpeg;base64,")
        assert "url(" not in page.text("style")
        assert "@import" not in page.text("style")

    def test_it_says_what_it_rests_on(self, result, service, target) -> None:
        told = written(result, service, target).text("dl")
        for part in ("tarsier2-tiny (tiny, cpu, float32)", "16 frames of 224x224", "largest gap 0.50 s"):
            assert part in told
        assert result.prompt in told
        assert "400 in (380 of the video" in told

    def test_every_picture_has_words_for_it(self, result, service, target) -> None:
        page = written(result, service, target)
        assert page.all("img")
        assert all(image["alt"].startswith("Frame of the video at 0:0") for image in page.all("img"))
        named = [image for image in page.all("svg") if image.get("role") == "img"]
        idents = {found["id"] for _, found in page.elements if "id" in found}
        assert all(set(image["aria-labelledby"].split()) <= idents for image in named)
        assert len(named) == (0 if not page.all("svg") else 1)

    def test_it_is_the_same_every_time(self, result, service, target) -> None:
        write_report(result, service, target)
        first = target.read_bytes()
        write_report(result, service, target)
        assert target.read_bytes() == first

    def test_warnings_stand_above_the_result(self, result, service, target) -> None:
        write_report(result.model_copy(update={"warnings": ("It was dark.",)}), service, target)
        text = target.read_text("utf-8")
        assert text.index("It was dark.") < text.index('class="result"')


def test_text_of_strangers_stays_text(shapes_film, service, target) -> None:
    honest = kit.checked_caption(shapes_film.path)
    statements = tuple(s.model_copy(update={"text": HOSTILE}) for s in honest.statements)
    carried = {
        "warnings": (HOSTILE,),
        "prompt": HOSTILE,
        "language": HOSTILE,
        "model": ModelUsed(name=HOSTILE, backend="tiny", note=HOSTILE),
        "coverage": honest.coverage.model_copy(update={"skipped": (HOSTILE,)}),
    }
    told = kit.timeline(shapes_film.path)
    results = [
        honest.model_copy(update={"text": HOSTILE, "statements": statements, **carried}),
        kit.localization(shapes_film.path, HOSTILE).model_copy(update=carried),
        told.model_copy(
            update={
                "segments": tuple(s.model_copy(update={"text": HOSTILE}) for s in told.segments),
                "chapters": tuple(c.model_copy(update={"title": HOSTILE}) for c in told.chapters),
            }
        ),
    ]
    page = written(results, service, target)
    benign = written([honest, kit.localization(shapes_film.path), told], service, target)
    allowed = {"aside", "ul", "li"}  # warnings, and what was left out
    assert {name for name, _ in page.elements} <= {name for name, _ in benign.elements} | allowed
    assert not [name for _, found in page.elements for name in found if name.startswith("on")]
    for element in ("h2", "h3", "mark", "figcaption", "dd", "aside", "desc", "title"):
        if element != "desc":
            assert "<script>alert(1)</script>" in page.text(element), element
    assert "\x1b" not in page.text()
    assert "\u202e" not in page.text()
    assert "&amp;" in page.text("mark")  # an entity in the text is text too


def test_a_hostile_name_of_the_video_stays_text(shapes_film, service, tmp_path, target) -> None:
    video = tmp_path / "<script>alert(1)<script>.mp4"
    video.write_bytes(shapes_film.path.read_bytes())
    page = written(kit.plain_caption(video), service, target)
    assert "<script>alert(1)<script>.mp4" in page.text("h1")
    assert page.all("img")
    assert not page.all("script")


class TestCaption:
    def test_flags_leave_every_word_in_its_place(self, shapes_film, service, target) -> None:
        write_report(kit.checked_caption(shapes_film.path), service, target)
        text = target.read_text("utf-8")
        start = text.index('<p class="caption"')
        page = Page(text[start : text.index("</p>", start) + 4])
        words = [data for names, data in page.texts if not {"sup", "span"} & set(names)]
        assert "".join(words) == kit.TEXT
        assert [mark["class"] for mark in page.all("mark")] == ["supported", "doubtful", "unsupported"]
        assert page.text("mark", "span") == " (supported) (doubtful) (unsupported)"

    def test_every_statement_has_its_verdict_time_and_score(self, shapes_film, service, target) -> None:
        page = written(kit.checked_caption(shapes_film.path), service, target)
        told = page.text("figcaption")
        assert "✓ 1 supported" in told
        assert "✗ 4 unsupported" in told  # also the one that is not in the text as it stands
        assert "0:03.0 – 0:05.0; score 0.52, whole video 0.52" in told
        assert "1 supported, 1 doubtful, 2 unsupported" in page.text("p")

    def test_without_statements_the_page_shows_frames_across_the_range(
        self, shapes_film, service, target
    ) -> None:
        result = kit.plain_caption(shapes_film.path)
        assert moments(result) == [0.0, 1.0, 2.0, 3.0, 4.5, 5.5, 6.5, 7.5]
        assert len(written(result, service, target).all("img")) == 8

    def test_the_text_says_its_language_and_runs_in_its_own_direction(
        self, shapes_film, service, target
    ) -> None:
        result = kit.plain_caption(shapes_film.path, "شكل أحمر يتحرك", language="ar", prompt_language="ar")
        (text,) = written(result, service, target).all("p", "caption")
        assert (text["lang"], text["dir"]) == ("ar", "auto")


class TestLocalization:
    def test_several_events_share_a_page_in_the_order_asked(self, shapes_film, service, target) -> None:
        events = ("the circle moves", "the star grows", "the square vanishes")
        found = [kit.localization(shapes_film.path, event) for event in events]
        page = written(found, service, target)
        headings = [data for names, data in page.texts if {"h2", "bdi"} <= set(names)]
        assert headings == list(events)
        assert page.text("h2").count("How this was found") == 1  # the same for all, so told once

    def test_what_was_not_found_shows_the_best_there_is(self, shapes_film, service, target) -> None:
        result = kit.localization(shapes_film.path, segments=(), values=(0.1, 0.2, 0.1, 0.1, 0.4, 0.1))
        page = written(result, service, target)
        assert "Not found; best confidence 0.40, needed 0.50" in page.text("p")
        assert moments(result) == [5.0]  # the frame in the middle of the best window
        assert len(page.all("img")) == 1
        assert not page.all("rect", "segment")

    def test_scores_without_a_calibration_are_called_scores(self, shapes_film, service, target) -> None:
        page = written(kit.localization(shapes_film.path, calibrated=False), service, target)
        assert "best score 2.20" in page.text("p")
        assert "confidence" not in page.text("main")

    def test_the_windows_stand_in_a_table_too(self, shapes_film, service, target) -> None:
        page = written(kit.localization(shapes_film.path, values=(0.1, 0.3, 0.9)), service, target)
        assert page.text("tbody") == "0:00.000:02.000.1000:01.000:03.000.3000:02.000:04.000.900"

    def test_a_long_table_keeps_the_highest_windows_and_says_so(self, shapes_film, service, target) -> None:
        values = [number / 1000 for number in range(MAX_ROWS + 100)]
        page = written(kit.localization(shapes_film.path, values=values), service, target)
        assert f"the {MAX_ROWS} highest of {MAX_ROWS + 100}" in page.text("summary")
        assert len(page.all("tr")) == MAX_ROWS + 1
        assert "0.099" not in page.text("tbody")
        assert "0.100" in page.text("tbody")

    def test_a_result_without_windows_is_shown_too(self, shapes_film, service, target) -> None:
        page = written(kit.localization(shapes_film.path, values=()), service, target)
        assert len(page.all("rect", "segment")) == 2
        assert not page.all("polyline")
        assert not page.all("table")


class TestTimeline:
    def test_segments_stand_under_their_chapters(self, shapes_film, service, target) -> None:
        write_report(kit.timeline(shapes_film.path), service, target)
        text = target.read_text("utf-8")
        places = [text.index(f'<p dir="auto">In part {number} a') for number in range(8)]
        assert places == sorted(places)
        assert places[3] < text.index("<bdi>结尾</bdi>") < places[4]
        assert "2 were kept from an earlier run" in text

    def test_every_segment_is_listed_when_there_are_no_chapters(self, shapes_film, service, target) -> None:
        page = written(kit.timeline(shapes_film.path, chapters=False), service, target)
        assert len(page.all("figure")) == 8
        assert not page.all("h3")


class TestPictures:
    def test_they_are_the_frames_of_the_video_at_those_times(self, shapes_film, service, target) -> None:
        result = kit.checked_caption(shapes_film.path)
        page = written(result, service, target)
        with open_video(shapes_film.path, source="film", decoder="pyav", limits=Limits()) as reader:
            for statement, image in zip(result.statements, page.all("img"), strict=True):
                data = base64.b64decode(image["src"].partition(",")[2])
                shown = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"), dtype=float)
                (true,) = reader.read([reader.index_at(statement.evidence_s)])
                assert np.abs(shown - true.image).mean() < 3
                assert image["alt"].endswith(f"0:{statement.evidence_s:05.2f}")

    def test_they_are_bounded_in_number_and_bytes(self, service, tmp_path, target) -> None:
        noise = np.random.default_rng(0).integers(0, 255, (120, 180, 320, 3), dtype=np.uint8)
        video = tmp_path / "noise.mp4"  # what compresses worst
        write_mp4(video, noise, fps=2)
        page = written(kit.timeline(video, 60, chapters=False), service, target)
        assert len(page.all("img")) == MAX_PICTURES
        assert f"Pictures are shown for {MAX_PICTURES} of 60 moments." in page.text("aside")
        assert target.stat().st_size < 1_000_000

    def test_a_video_that_has_gone_leaves_a_page_that_says_so(self, service, tmp_path, target) -> None:
        page = written(kit.plain_caption(tmp_path / "gone.mp4"), service, target)
        assert not page.all("img")
        assert "There are no pictures: " in page.text("aside")
        assert "A red circle moves left." in page.text("p")


class TestWriting:
    @pytest.mark.parametrize("name", ["out.txt", "out", "missing/out.html", "folder.html"])
    def test_a_path_that_makes_no_sense_is_refused_with_a_hint(
        self, name, shapes_film, service, tmp_path
    ) -> None:
        (tmp_path / "folder.html").mkdir()
        with pytest.raises(UsageError) as refused:
            write_report(kit.plain_caption(shapes_film.path), service, tmp_path / name)
        assert refused.value.hint

    def test_results_of_different_videos_do_not_share_a_page(self, shapes_film, service, target) -> None:
        with pytest.raises(UsageError, match="different videos"):
            write_report([kit.localization(shapes_film.path), kit.localization("other.mp4")], service, target)
        with pytest.raises(UsageError, match="no results"):
            write_report([], service, target)
        assert not target.exists()

    def test_a_call_that_is_stopped_leaves_the_old_file(self, shapes_film, service, target) -> None:
        target.write_text("before")

        def stop(done: int, total: int, message: str) -> None:
            raise Cancelled("enough")

        with pytest.raises(Cancelled):
            write_report(kit.plain_caption(shapes_film.path), service, target, on_progress=stop)
        assert target.read_text() == "before"
        assert [path.name for path in target.parent.iterdir()] == ["out.html"]


class TestPlot:
    def test_each_event_gets_its_axes(self, shapes_film, tmp_path) -> None:
        heights = []
        for count in (1, 3):
            events = [kit.localization(shapes_film.path, f"event {n}") for n in range(count)]
            write_plot(events, tmp_path / "out.png")
            with Image.open(tmp_path / "out.png") as picture:
                heights.append(picture.height)
                assert np.asarray(picture.convert("L")).std() > 5  # not blank
        assert heights[1] > 2 * heights[0]

    def test_segments_are_drawn_where_they_are_in_time(self, shapes_film) -> None:
        pytest.importorskip("matplotlib")
        from matplotlib.figure import Figure

        axes = Figure().subplots()
        plot._draw(axes, kit.localization(shapes_film.path))
        spans = [(patch.get_x(), patch.get_x() + patch.get_width()) for patch in axes.patches[:2]]
        assert spans == [(1.5, 3.0), (5.0, 6.25)]
        assert axes.get_xlim() == (0, kit.DURATION_S)
        stairs = next(patch for patch in axes.patches if patch.get_label() == "confidence")
        values, edges, _ = stairs.get_data()
        assert edges[np.argmax(values)] == pytest.approx(2.0)

    @pytest.mark.parametrize(
        "event", ["costs $5 and $6_", "红色圆形", "شكل أحمر", "x" * 500, "\x1b[31m\\frac"]
    )
    @pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
    def test_any_event_can_be_drawn_in_every_format(self, event, suffix, shapes_film, tmp_path) -> None:
        found = kit.localization(shapes_film.path, event, values=(), segments=())
        write_plot(found, tmp_path / f"out{suffix}")
        start = {".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}[suffix]
        assert (tmp_path / f"out{suffix}").read_bytes().startswith(start)

    def test_without_matplotlib_the_error_says_what_to_type(self, shapes_film, tmp_path, monkeypatch) -> None:
        monkeypatch.setattr(plot, "find_spec", lambda name: None)
        with pytest.raises(BackendUnavailable, match="matplotlib") as missing:
            write_plot(kit.localization(shapes_film.path), tmp_path / "out.png")
        assert "tarsier-tools[plot]" in missing.value.hint


class TestCommands:
    def run(self, *arguments: str, replies=("A red circle moves left.",)):
        backend = ScriptedBackend(replies)
        host = Host(open_service=lambda settings: VideoService(settings, backend))
        return CliRunner().invoke(app, arguments, obj=host), backend

    def test_caption_writes_a_report_and_still_prints_one_json_document(self, shapes_film, target) -> None:
        result, _ = self.run("caption", str(shapes_film.path), "--json", "--report", str(target))
        assert result.exit_code == 0
        assert json.loads(result.stdout)["text"] == "A red circle moves left."
        assert f"report: {target}" in result.stderr
        assert "A red circle moves left." in Page(target.read_text("utf-8")).text("p")

    @pytest.mark.parametrize("option", ["--report", "--plot"])
    def test_a_bad_path_is_an_error_before_any_work(self, option, shapes_film, tmp_path) -> None:
        bad = str(tmp_path / "no" / "out.html")
        result, backend = self.run("locate", str(shapes_film.path), "a circle moves", option, bad)
        assert result.exit_code == 2
        assert option in result.stderr
        assert not backend.requests
