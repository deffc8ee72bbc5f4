"""The numbers behind locating: windows of a range, and stretches made of what was seen in them."""

from __future__ import annotations

import itertools
import math

import pytest

from tarsier_tools.locating.geometry import MAX_WINDOWS, MOST_WINDOWS, Window, around, lay_out, sliding
from tarsier_tools.locating.scorers import logit, sigmoid
from tarsier_tools.locating.segments import Stretch, apart, crossings, hulls, inside, settle

RANGE = Window(0.0, 100.0)


def spans(found: list[Stretch]) -> list[tuple[float, float]]:
    return [(one.start_s, one.end_s) for one in found]


class TestWindows:
    @pytest.mark.parametrize("duration", [0.04, 1.0, 11.9, 15.0, 15.1, 60.0, 1200.0, 7200.0, 100_000.0])
    @pytest.mark.parametrize("frames", [1, 16, 128])
    def test_they_cover_the_range_and_stay_inside_it(self, duration: float, frames: int) -> None:
        layout = lay_out(3.0, 3.0 + duration, frames)
        windows = layout.windows
        assert windows[0].start_s == 3.0
        assert windows[-1].end_s == pytest.approx(3.0 + duration)
        assert all(a.start_s < b.start_s <= a.end_s for a, b in itertools.pairwise(windows))
        assert len(windows) <= MAX_WINDOWS + 1

    def test_they_overlap_by_half(self) -> None:
        layout = lay_out(0, 30, 16)
        assert [(w.start_s, w.end_s) for w in layout.windows] == [(0, 12), (6, 18), (12, 24), (18, 30)]
        assert (layout.length_s, layout.stride_s) == (12, 6)

    def test_the_last_one_is_moved_back_to_the_end(self) -> None:
        assert lay_out(0, 20, 16).windows[-1] == Window(8, 20)

    def test_what_is_hardly_longer_than_a_window_is_one_piece(self) -> None:
        assert lay_out(0, 15, 16).whole
        assert not lay_out(0, 15.01, 16).whole
        assert not lay_out(0, 13, 16, length_s=12).whole

    @pytest.mark.parametrize(
        ("length", "stride"), [(0, None), (-1, None), (math.inf, 1), (4, 5), (4, 0), (math.nan, None)]
    )
    def test_lengths_that_make_no_sense_are_refused(self, length: float, stride: float | None) -> None:
        with pytest.raises(ValueError, match="windows must have"):
            lay_out(0, 10, 16, length, stride)

    def test_lengths_that_would_make_windows_without_end_are_refused(self) -> None:
        assert len(lay_out(0, 5000.5, 16, 1).windows) == MOST_WINDOWS
        with pytest.raises(ValueError, match="more than 10000 windows of 5001"):
            lay_out(0, 5001, 16, 1)
        with pytest.raises(ValueError, match="more than"):
            lay_out(0, 7200, 16, 1e-300)

    @pytest.mark.parametrize("end", [0.0, -1.0])
    def test_an_empty_range_is_refused(self, end: float) -> None:
        with pytest.raises(ValueError, match="empty"):
            lay_out(0, end, 16)

    def test_a_closer_window_keeps_its_length_at_the_ends_of_the_range(self) -> None:
        assert around(40, 44, 10, RANGE) == Window(37, 47)
        assert around(0, 2, 10, RANGE) == Window(0, 10)
        assert around(99, 100, 10, RANGE) == Window(90, 100)
        assert around(1, 2, 10, Window(0, 5)) == Window(0, 5)

    def test_sliding_windows_have_their_middles_from_end_to_end(self) -> None:
        windows = sliding(10, 16, 4, 2, RANGE)
        assert windows == [Window(8, 12), Window(10, 14), Window(12, 16), Window(14, 18)]
        assert sliding(0, 2, 4, 2, RANGE) == [Window(0, 2), Window(0, 4)]


class TestStretches:
    def test_a_stretch_is_clamped_to_the_range_and_may_be_cut_by_its_window(self) -> None:
        window = Window(10, 22)
        assert inside(Window(12, 15), window, RANGE, 1) == Stretch(12, 15, 1)
        assert inside(Window(10, 15), window, RANGE, 1).cut
        assert inside(Window(12, 22), window, RANGE, 1).cut
        assert not inside(Window(10, 15), window, Window(10, 100), 1).cut  # nothing lies before it
        assert inside(Window(8, 25), window, Window(10, 22), 1) == Stretch(10, 22, 1)

    def test_what_lies_at_the_very_end_of_the_range_keeps_a_length(self) -> None:
        assert inside(Window(22, 22.04), Window(10, 22), Window(10, 22), 1).length_s == pytest.approx(0.04)

    def test_a_whole_one_speaks_for_those_that_were_cut(self) -> None:
        found = [Stretch(9, 12, 5.0, cut=True), Stretch(9.5, 13, 4.0), Stretch(12, 13, 1.0, cut=True)]
        assert spans(settle(found, 0.5)) == [(9.5, 13)]

    def test_of_two_whole_ones_the_surer_stays(self) -> None:
        assert spans(settle([Stretch(9, 12, 1.0), Stretch(9.5, 13, 4.0)], 0.5)) == [(9.5, 13)]

    def test_whole_ones_beside_each_other_stay_apart(self) -> None:
        assert spans(settle([Stretch(9, 12, 1.0), Stretch(12, 15, 4.0)], 0.5)) == [(9, 12), (12, 15)]

    def test_parts_that_every_window_cut_make_a_long_one(self) -> None:
        found = [Stretch(5, 12, 2.0, cut=True), Stretch(6, 18, 3.0, cut=True), Stretch(18.4, 20, 1, cut=True)]
        assert settle(found, 0.5) == [Stretch(5, 20, 3.0, cut=True)]
        assert spans(settle(found, 0.1)) == [(5, 18), (18.4, 20)]

    def test_nothing_makes_nothing(self) -> None:
        assert settle([], 1.0) == []
        assert hulls([], 0.0) == []

    def test_windows_with_enough_evidence_join_where_they_touch(self) -> None:
        windows = [(Window(start, start + 12), evidence) for start, evidence in
                   ((0, -3), (6, 2), (12, 5), (18, -1), (24, -2), (30, 1))]  # fmt: skip
        assert hulls(windows, 0.0) == [Stretch(6, 24, 5), Stretch(30, 42, 1)]

    def test_the_better_of_two_that_are_the_same_is_kept(self) -> None:
        assert apart([Stretch(0, 4, 1), Stretch(1, 4, 2), Stretch(5, 5, 9)]) == [Stretch(1, 4, 2)]

    def test_a_curve_is_cut_at_half_its_height(self) -> None:
        place = Stretch(0, 10, 7.0)
        curve = [(0.0, 0.0), (2.0, 0.0), (4.0, 4.0), (6.0, 4.0), (8.0, 0.0), (10.0, 0.0)]
        assert crossings(curve, place) == [Stretch(3, 7, 7.0)]
        assert spans(crossings([(0.0, 4.0), (4.0, 0.0), (10.0, 4.0)], place)) == [(0, 2), (7, 10)]

    def test_a_flat_curve_says_nothing(self) -> None:
        place = Stretch(0, 10, 7.0)
        assert crossings([(0.0, 2.0), (10.0, 2.0)], place) == [place]


@pytest.mark.parametrize("value", [-300.0, -3.0, 0.0, 3.0, 30.0])
def test_logit_undoes_sigmoid(value: float) -> None:
    assert logit(sigmoid(value)) == pytest.approx(value, abs=0.05)


def test_certainty_stays_a_number() -> None:
    assert math.isfinite(logit(0.0))
    assert math.isfinite(logit(1.0))
    assert (sigmoid(-1e6), sigmoid(1e6)) == (0.0, 1.0)
