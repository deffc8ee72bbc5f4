"""Locating over a model that tells the truth and real files: what is looked at, and what becomes of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tarsier_tools import (
    Abilities,
    Cancelled,
    Settings,
    TimeRangeError,
    UsageError,
    VideoNotFound,
    VideoService,
    VideoUnreadable,
)
from tarsier_tools.media.base import VideoReader
from tests.corpus import Track, steady, write
from tests.locate_kit import Oracle, Spans

METHODS = ("frames", "yes_no", "likelihood")
BOW, WAVE, NAP = "a bow", "a wave", "a nap"


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hundred seconds at 5 frames a second: seventeen windows of 12 s."""
    path = tmp_path_factory.mktemp("locate") / "film.mp4"
    write(path, Track(range(500), steady(500, 5), width=64, height=48, gop=25))
    return path


def locate(path: Path, truth: dict[str, Spans], event: str, **options: object):  # type: ignore[no-untyped-def]
    with VideoService(Settings(), Oracle(truth)) as videos:
        return videos.locate(path, event, **options)  # type: ignore[arg-type, call-overload]


def close(found: Spans, true: Spans, within_s: float) -> bool:
    """Whether every stretch is there, and nothing else, with no boundary farther off than that."""
    return len(found) == len(true) and all(
        abs(one - other) <= within_s
        for pair, expected in zip(found, true, strict=True)
        for one, other in zip(pair, expected, strict=True)
    )


def spans(result) -> list[tuple[float, float]]:  # type: ignore[no-untyped-def]
    return [(segment.start_s, segment.end_s) for segment in result.segments]


class TestPlaces:
    @pytest.mark.parametrize("method", METHODS)
    def test_every_occurrence_in_a_long_video_is_found_to_the_stated_resolution(
        self, film: Path, method: str
    ) -> None:
        true = [(8.0, 12.0), (41.0, 45.0), (80.0, 86.0)]
        found = locate(film, {BOW: true}, BOW, method=method)
        assert found.found
        assert found.method == method
        assert close(spans(found), true, found.resolution_s + 0.2)
        assert found.resolution_s <= (1.0 if method == "frames" else 1.5)

    @pytest.mark.parametrize("method", METHODS)
    @pytest.mark.parametrize(
        "true", [[(0.0, 3.0)], [(97.0, 100.0)], [(0.0, 2.0), (98.0, 100.0)]], ids=["start", "end", "both"]
    )
    def test_events_at_the_very_start_and_end_are_found(
        self, film: Path, method: str, true: list[tuple[float, float]]
    ) -> None:
        found = locate(film, {BOW: true}, BOW, method=method)
        assert close(spans(found), true, found.resolution_s + 0.2)

    @pytest.mark.parametrize("method", METHODS)
    def test_an_event_longer_than_a_window_is_one_stretch(self, film: Path, method: str) -> None:
        found = locate(film, {NAP: [(20.0, 75.0)]}, NAP, method=method)
        assert close(spans(found), [(20.0, 75.0)], 1.8)

    def test_an_event_that_fills_the_whole_range_is_found_as_that(self, film: Path) -> None:
        assert spans(locate(film, {NAP: [(0.0, 100.0)]}, NAP, start_s=10, end_s=90)) == [(10.0, 90.0)]

    def test_events_that_overlap_do_not_disturb_each_other(self, film: Path) -> None:
        truth: dict[str, Spans] = {BOW: [(30.0, 36.0)], WAVE: [(33.0, 40.0)]}
        with VideoService(Settings(), Oracle(truth)) as videos:
            bow, wave = videos.locate(film, [BOW, WAVE])
        assert close(spans(bow), [(30.0, 36.0)], 1.0)
        assert close(spans(wave), [(33.0, 40.0)], 1.0)

    def test_occurrences_close_to_each_other_stay_apart(self, film: Path) -> None:
        true = [(20.0, 23.0), (25.0, 28.0), (31.0, 33.0)]
        assert close(spans(locate(film, {BOW: true}, BOW)), true, 1.0)

    @pytest.mark.parametrize("method", METHODS)
    def test_what_never_happens_is_not_found_and_its_best_score_is_told(
        self, film: Path, method: str
    ) -> None:
        found = locate(film, {}, BOW, method=method)
        assert (found.found, found.segments) == (False, ())
        assert found.best_score == max(point.score for point in found.curve)
        assert found.best_score < found.threshold
        assert len(found.curve) == 16

    def test_a_segment_carries_its_score_and_a_frame_inside_it_that_was_shown(self, film: Path) -> None:
        found = locate(film, {BOW: [(40.0, 44.0)]}, BOW)
        (segment,) = found.segments
        assert segment.score == pytest.approx(1 / (1 + np.exp(-4)))
        assert segment.confidence is None
        assert segment.evidence_s in found.coverage.frame_times_s
        assert segment.start_s <= segment.evidence_s < segment.end_s


class TestRanges:
    def test_no_stretch_leaves_the_range(self, film: Path) -> None:
        for method in METHODS:
            found = locate(film, {NAP: [(5.0, 60.0)]}, NAP, start_s=20.3, end_s=50.7, method=method)
            assert close(spans(found), [(20.3, 50.7)], 1.8)
            assert all(20.3 <= start < end <= 50.7 for start, end in spans(found))
            assert all(20.3 <= point.start_s < point.end_s <= 50.7 for point in found.curve)

    @pytest.mark.parametrize(("start_s", "end_s"), [(5, 5), (6, 5), (100, None), (-1, 5), (0, 0)])
    def test_a_range_without_length_or_outside_the_video_is_refused(
        self, film: Path, start_s: float, end_s: float | None
    ) -> None:
        with pytest.raises(TimeRangeError):
            locate(film, {}, BOW, start_s=start_s, end_s=end_s)

    def test_a_range_past_the_end_is_cut_and_told_of(self, film: Path) -> None:
        found = locate(film, {BOW: [(95.0, 100.0)]}, BOW, start_s=60, end_s=500)
        assert found.coverage.asked.end_s == pytest.approx(found.coverage.video_duration_s)
        assert any("after the video" in warning for warning in found.warnings)
        assert close(spans(found), [(95.0, 100.0)], 1.0)

    def test_a_short_range_is_looked_at_in_one_piece(self, film: Path) -> None:
        found = locate(film, {BOW: [(12.0, 14.0)]}, BOW, start_s=5, end_s=19)
        assert [(point.start_s, point.end_s) for point in found.curve] == [(5.0, 19.0)]
        assert found.coverage.sampling == "uniform"

    def test_windows_can_be_asked_for(self, film: Path) -> None:
        found = locate(film, {}, BOW, window_s=20, stride_s=16, end_s=52)
        assert [(point.start_s, point.end_s) for point in found.curve] == [(0, 20), (16, 36), (32, 52)]

    @pytest.mark.parametrize("options", [{"window_s": 0}, {"window_s": 4, "stride_s": 5}, {"stride_s": -1}])
    def test_windows_that_make_no_sense_are_refused(self, film: Path, options: dict[str, float]) -> None:
        with pytest.raises(UsageError, match="window_s"):
            locate(film, {}, BOW, **options)


class TestOddVideos:
    def test_a_single_picture_is_looked_at_once(self, tmp_path: Path) -> None:
        path = tmp_path / "one.png"
        Image.new("RGB", (64, 48), "red").save(path)
        for method in METHODS:
            found = locate(path, {BOW: [(0.0, 1.0)]}, BOW, method=method)
            ((start, end),) = spans(found)
            assert 0 == start < end <= found.coverage.asked.end_s
            assert not locate(path, {}, BOW, method=method).found

    def test_times_hold_where_the_frame_rate_varies(self, tmp_path: Path) -> None:
        # Ten frames a second for 20 s, then one a second for 40 s.
        times = [*(n / 10 for n in range(200)), *(20.0 + n for n in range(40))]
        path = tmp_path / "vfr.mkv"
        write(path, Track(range(240), times, width=64, height=48, gop=20))
        true = [(6.0, 9.0), (40.0, 46.0)]
        found = locate(path, {BOW: true}, BOW)
        assert close(spans(found), true, 1.2)

    def test_a_video_that_cannot_be_read_never_reaches_the_model(self, tmp_path: Path) -> None:
        (tmp_path / "bad.mp4").write_bytes(b"no video at all")
        backend = Oracle({})
        with VideoService(Settings(), backend) as videos:
            with pytest.raises(VideoUnreadable):
                videos.locate(tmp_path / "bad.mp4", BOW)
            with pytest.raises(VideoNotFound):
                videos.locate(tmp_path / "none.mp4", BOW)
        assert backend.asked == []


class TestCost:
    def test_several_events_are_looked_for_in_the_same_passes(
        self, film: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        passes: list[int] = []
        read = VideoReader.read

        def counted(self: VideoReader, indices: list[int], **options: object) -> object:
            passes.append(len(set(indices)))
            return read(self, indices, **options)  # type: ignore[arg-type]

        monkeypatch.setattr(VideoReader, "read", counted)
        backend = Oracle({BOW: [(40.0, 44.0)], WAVE: [(60.0, 63.0)]})
        with VideoService(Settings(), backend) as videos:
            videos.locate(film, BOW)
            alone, passes[:] = list(passes), []
            clips = len(backend.clips)
            found = videos.locate(film, [BOW, WAVE, NAP])
        assert [one.found for one in found] == [True, True, False]
        assert len(alone) == len(passes) == 2
        assert passes[0] == alone[0]
        assert len(backend.clips) == clips + 1  # the closer look at the wave
        assert found[0].coverage == found[2].coverage

    def test_overlapping_windows_share_their_frames(self, film: Path) -> None:
        found = locate(film, {}, BOW)
        assert len(found.coverage.frame_times_s) <= 100 / 0.75 + 2 * 16
        assert found.coverage.largest_gap_s < 1.0
        assert found.coverage.sampling == "fps"

    def test_coverage_is_all_that_the_model_was_shown_the_closer_looks_too(self, film: Path) -> None:
        coarse = locate(film, {}, BOW).coverage
        fine = locate(film, {BOW: [(40.0, 44.0)]}, BOW).coverage
        assert set(coarse.frame_times_s) < set(fine.frame_times_s)
        assert list(fine.frame_times_s) == sorted(fine.frame_times_s)
        assert len(fine.frame_times_s) == len(fine.frame_indices)

    def test_what_is_held_does_not_grow_with_the_length(self, film: Path) -> None:
        held = []
        for end_s in (50, 100):
            backend = Oracle({})
            with VideoService(Settings(clip_cache_mb=0), backend) as videos:
                videos.locate(film, BOW, end_s=end_s, window_s=6, frames=8)
            held.append(backend.most_alive)
        assert held[1] <= held[0] + 16
        assert held[1] < 0.75 * 100 / 0.75

    def test_a_worker_process_finds_the_same(self, film: Path) -> None:
        truth: dict[str, Spans] = {BOW: [(8.0, 12.0), (80.0, 86.0)]}
        with VideoService(Settings(isolate=True), Oracle(truth)) as videos:
            isolated = videos.locate(film, BOW)
        here = locate(film, truth, BOW)
        assert isolated.segments == here.segments
        assert isolated.coverage == here.coverage


class TestProgress:
    def test_progress_counts_windows(self, film: Path) -> None:
        told: list[tuple[int, int, str]] = []
        locate(film, {BOW: [(40.0, 44.0)]}, BOW, on_progress=lambda *step: told.append(step))
        assert (16, 16, "window 16 of 16") in told
        assert any(message.startswith("window 9 of 16") for _, _, message in told)
        assert any(message.startswith("looking closer") for _, _, message in told)
        assert all(0 <= done <= total for done, total, _ in told)

    @pytest.mark.parametrize("words", ["window 9 of 16: reading frames", "window 9 of 16: scoring", "closer"])
    def test_a_call_can_be_stopped_in_the_middle(self, film: Path, words: str) -> None:
        def stop(done: int, total: int, message: str) -> None:
            if words in message:
                raise Cancelled("Enough.")

        backend = Oracle({BOW: [(90.0, 93.0)]})
        with VideoService(Settings(), backend) as videos:
            with pytest.raises(Cancelled):
                videos.locate(film, BOW, on_progress=stop)
            before = len(backend.asked)
            assert before < 19
            assert videos.locate(film, BOW).found  # and the service goes on working
        assert ("write", BOW) in backend.asked[before:]


class TestChoices:
    @pytest.mark.parametrize(
        ("abilities", "scoring", "method"),
        [
            (Abilities(), "texts", "likelihood"),
            (Abilities(yes_no=True), "texts", "yes_no"),
            (Abilities(yes_no=True, frames=True), "texts", "frames"),
            (Abilities(), "words", "yes_no"),
            (Abilities(), "none", "frames"),
        ],
    )
    def test_the_method_goes_with_the_model(
        self, film: Path, abilities: Abilities, scoring: str, method: str
    ) -> None:
        backend = Oracle({BOW: [(40.0, 44.0)]}, abilities, scoring)  # type: ignore[arg-type]
        with VideoService(Settings(), backend) as videos:
            found = videos.locate(film, BOW)
        assert found.method == method
        assert close(spans(found), [(40.0, 44.0)], 1.7)
        kinds = {kind for kind, _ in backend.asked}
        assert kinds == {"frames": {"write", "yes_no"} if scoring != "none" else {"write"}}.get(
            method, {method}
        )

    def test_a_model_without_probabilities_has_no_scores(self, film: Path) -> None:
        with VideoService(Settings(), Oracle({BOW: [(40.0, 44.0)]}, scoring="none")) as videos:
            found = videos.locate(film, BOW)
        assert found.found
        assert (found.best_score, found.curve, found.segments[0].score) == (None, (), None)
        assert "no probabilities" in found.score_kind

    @pytest.mark.parametrize(("method", "scoring"), [("likelihood", "words"), ("yes_no", "none")])
    def test_a_method_that_the_model_cannot_do_is_refused(
        self, film: Path, method: str, scoring: str
    ) -> None:
        with (
            VideoService(Settings(), Oracle({}, scoring=scoring)) as videos,  # type: ignore[arg-type]
            pytest.raises(UsageError, match=f"method {method} cannot be used"),
        ):
            videos.locate(film, BOW, method=method)  # type: ignore[call-overload]

    def test_the_best_places_come_first_to_top_k_and_the_rest_is_told_of(self, film: Path) -> None:
        true = [(8.0, 12.0), (41.0, 45.0), (80.0, 86.0)]
        found = locate(film, {BOW: true}, BOW, top_k=2)
        assert len(found.segments) == 2
        assert any("1 more places" in warning for warning in found.warnings)

    def test_a_threshold_that_nothing_reaches_finds_nothing(self, film: Path) -> None:
        truth: dict[str, Spans] = {BOW: [(40.0, 44.0)]}
        found = locate(film, truth, BOW, threshold=0.99)
        assert (found.found, found.threshold) == (False, 0.99)
        assert locate(film, truth, BOW, threshold=0.9).found
        assert not locate(film, truth, BOW, threshold=31.0, method="likelihood").found
        assert locate(film, truth, BOW, threshold=29.0, method="likelihood").found

    @pytest.mark.parametrize(
        "options",
        [{"threshold": 1.5}, {"threshold": -0.1}, {"top_k": 0}, {"method": "magic"}, {"sampling": "random"}],
    )
    def test_arguments_that_make_no_sense_are_refused(self, film: Path, options: dict[str, object]) -> None:
        with pytest.raises(UsageError):
            locate(film, {}, BOW, **options)

    def test_no_events_and_too_many_are_refused(self, film: Path) -> None:
        with VideoService(Settings(), Oracle({})) as videos:
            for events in ([], ["a"] * 101, ["a", " "]):
                with pytest.raises(UsageError):
                    videos.locate(film, events)
            assert len(videos.locate(film, ["a"], end_s=5)) == 1


def test_a_blank_clip_is_scored_once_for_all_windows(film: Path) -> None:
    backend = Oracle({BOW: [(40.0, 44.0)]})
    with VideoService(Settings(), backend) as videos:
        found = videos.locate(film, BOW, method="likelihood", threshold=100)
    assert sum(name.startswith("blank") for name in backend.clips) == 1
    assert sum(kind == "likelihood" for kind, _ in backend.asked) == 16 + 1
    assert found.best_score == pytest.approx(30.0)
    assert "nats" in found.score_kind


@pytest.mark.parametrize("sampling", ["uniform", "time", "fps"])
def test_sampling_can_be_asked_for_of_windows_too(
    film: Path, sampling: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fps = {"fps": 4.0} if sampling == "fps" else {}
    found = locate(film, {BOW: [(40.0, 44.0)]}, BOW, sampling=sampling, **fps)
    assert found.coverage.sampling == sampling
    assert close(spans(found), [(40.0, 44.0)], 1.0)
