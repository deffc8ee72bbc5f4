"""Which frames: the reference's tables row by row, and hand-made timelines for what is ours."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tarsier_tools.media.sampling import (
    clip_bounds,
    fps_indices,
    plan,
    range_bounds,
    time_indices,
    uniform_indices,
)

TABLES = json.loads((Path(__file__).parent / "golden" / "given" / "tables.json").read_text())
STEADY = np.arange(300) / 30.0
"""10 seconds at 30 frames a second."""

CLUSTERED = np.concatenate([[0.0, 20.0, 40.0], 50.0 + np.arange(180) / 30.0, [70.0, 90.0]])
"""100 seconds of which 6 hold nearly all frames, as in a recording of a screen."""


def test_uniform_indices_are_those_of_the_reference_in_every_row():
    assert len(TABLES["sampler_v1"]) == 133
    for row in TABLES["sampler_v1"]:
        assert list(uniform_indices(row["total_frames"], row["n_frames"])) == row["indices"], row


def clip_of_75_frames(row):
    first, last = clip_bounds(75, 25.0, row["start_time"], row["end_time"])
    return [first + index for index in uniform_indices(last - first + 1, row["n_frames"])]


def test_clips_inside_the_video_are_those_of_the_reference_in_every_row():
    inside = [row for row in TABLES["clips"] if row["end_time"] <= 3]
    assert len(inside) == 10
    for row in inside:
        assert clip_of_75_frames(row) == row["frame_indices"], row


def test_a_clip_that_ends_after_the_video_keeps_all_its_frames_where_the_reference_drops_most():
    beyond = [row for row in TABLES["clips"] if row["end_time"] > 3]
    assert [row["n_returned"] for row in beyond] == [1, 2]
    assert [len(clip_of_75_frames(row)) for row in beyond] == [4, 16]
    assert all(clip_of_75_frames(row)[-1] == 74 for row in beyond)


@pytest.mark.parametrize(
    ("start_s", "end_s", "bounds"),
    [
        (0.0, 1.0, (0, 25)),
        (0.5, 2.5, (12, 62)),  # 12.5 and 62.5: halves go to the even number
        (2.99, 3.0, (74, 74)),
        (2.0, 1e12, (50, 74)),
        (100.0, 200.0, (74, 74)),
    ],
)
def test_clip_bounds_round_and_clamp(start_s, end_s, bounds):
    assert clip_bounds(75, 25.0, start_s, end_s) == bounds


def test_time_sampling_of_a_steady_video_takes_equal_steps_and_both_ends():
    assert time_indices(STEADY, 0, 10, 2) == (0, 299)
    assert time_indices(STEADY, 0, 10, 4) == (0, 99, 199, 299)
    assert time_indices(STEADY, 2, 4, 3) == (60, 89, 119)


def test_time_sampling_sees_all_of_a_video_whose_frames_cluster():
    by_index = CLUSTERED[list(uniform_indices(len(CLUSTERED), 16))]
    assert np.diff([0, *by_index, 100]).max() >= 40
    by_time = CLUSTERED[list(time_indices(CLUSTERED, 0, 100, 16))]
    assert len(by_time) == 16
    assert np.diff([0, *by_time, 100]).max() == 20  # the recording itself has no finer steps
    assert {0.0, 20.0, 40.0, 70.0, 90.0} <= set(by_time)


def test_frames_that_time_sampling_has_left_over_split_the_widest_gaps():
    timeline = np.array([0.0, 1.0, 2.0, 3.0, 4.0, 100.0])
    assert time_indices(timeline, 0, 101, 3) == (0, 4, 5)
    assert time_indices(timeline, 0, 101, 4) == (0, 2, 4, 5)
    assert time_indices(timeline, 0, 101, 5) == (0, 1, 2, 4, 5)
    timeline = np.array([*range(9), 100.0])
    assert time_indices(timeline, 0, 101, 5) == (0, 2, 4, 8, 9)


def test_frames_that_share_a_time_are_taken_once_each():
    assert time_indices(np.zeros(10), 0, 1, 4) == (0, 1, 2, 9)
    assert time_indices(np.zeros(3), 0, 1, 4) == (0, 1, 2)


def test_a_short_stretch_gives_every_frame_it_shows_and_no_other():
    assert time_indices(STEADY, 1.0, 1.2, 16) == tuple(range(30, 36))
    assert time_indices(STEADY, 1.01, 1.02, 16) == (30,)


def test_the_picture_that_came_up_before_the_range_is_part_of_it():
    assert time_indices(CLUSTERED, 25, 39, 4) == (1,)
    assert time_indices(CLUSTERED, 25, 41, 4) == (1, 2)


def test_the_end_of_the_range_is_excluded():
    assert time_indices(STEADY, 0, 1.0, 300)[-1] == 29
    assert fps_indices(STEADY, 0, 1.0, 30, 300)[-1] == 29


@pytest.mark.parametrize(
    ("timeline", "start_s", "end_s", "fps", "indices"),
    [
        (STEADY, 0, 10, 1, tuple(range(0, 300, 30))),
        (STEADY, 0, 2, 30, tuple(range(60))),
        (STEADY, 0, 2, 1000, tuple(range(60))),
        (STEADY, 0.5, 2.5, 2, (15, 30, 45, 60)),
        (STEADY, 0, 10, 0.1, (0,)),
        (STEADY, 0, 10, 0.001, (0,)),
        (CLUSTERED, 0, 100, 0.1, (0, 1, 2, 3, 182, 183, 184)),
        (CLUSTERED, 49, 52, 1, (2, 3, 33)),
    ],
)
def test_fps_sampling_takes_the_picture_on_the_screen_at_each_tick(timeline, start_s, end_s, fps, indices):
    assert fps_indices(timeline, start_s, end_s, fps, 1000) == indices


def test_fps_sampling_agrees_with_looking_up_every_tick():
    for timeline in (STEADY, CLUSTERED):
        for start_s, end_s, fps in [(0.0, 9.3, 7.0), (1.7, 8.0, 24.0), (45.0, 75.0, 3.0)]:
            if end_s > timeline[-1]:
                continue
            ticks = np.arange(start_s, end_s - 1e-9, 1 / fps)
            looked_up = np.unique(np.searchsorted(timeline, ticks + 1e-6, side="right") - 1)
            assert fps_indices(timeline, start_s, end_s, fps, 1000) == tuple(looked_up)


def test_fps_sampling_over_its_limit_spreads_over_the_whole_range():
    capped = fps_indices(STEADY, 0, 10, 15, 16)
    assert capped == time_indices(STEADY, 0, 10, 16)
    assert capped[-1] == 299


def test_a_rate_far_above_the_videos_needs_no_memory_for_it():
    assert len(fps_indices(STEADY, 0, 10, 1e9, 512)) == 300


def test_a_plan_without_a_range_covers_the_whole_video():
    whole = plan(STEADY, duration_s=10, average_fps=30, variable_rate=False, n=16)
    assert whole.indices == uniform_indices(300, 16)
    assert whole.notes == ()
    assert (
        plan(STEADY, duration_s=10, average_fps=30, variable_rate=False, n=16, start_s=0, end_s=10) == whole
    )


def test_a_plan_goes_by_its_method():
    frames = {"duration_s": 100, "average_fps": 1.85, "variable_rate": True, "start_s": 10.0, "end_s": 52.0}
    first, last = range_bounds(CLUSTERED, 1.85, 10, 52, variable_rate=True)
    uniform = plan(CLUSTERED, n=8, **frames).indices
    assert (uniform[0], uniform[-1], len(uniform)) == (first, last, 8)
    assert plan(CLUSTERED, n=8, method="time", **frames).indices == time_indices(CLUSTERED, 10, 52, 8)
    by_fps = plan(CLUSTERED, n=50, method="fps", fps=0.5, **frames)
    assert by_fps.indices == fps_indices(CLUSTERED, 10, 52, 0.5, 50)
    assert by_fps.notes == ()


def test_a_plan_says_when_the_rate_asked_for_is_not_the_one_used():
    capped = plan(STEADY, duration_s=10, average_fps=30, variable_rate=False, n=16, method="fps", fps=10)
    assert len(capped.indices) == 16
    assert capped.notes == (
        "10 frames a second would be more than 16 frames: 16 were spread over the range.",
    )


def test_a_plan_reaches_the_last_frame_when_the_container_understates_the_duration():
    assert (
        plan(STEADY, duration_s=9.0, average_fps=30, variable_rate=False, n=16, method="time").indices[-1]
        == 299
    )


@pytest.mark.parametrize("method", ["uniform", "time", "fps"])
def test_every_method_gives_distinct_frames_of_the_video_in_order(method):
    generator = np.random.default_rng(7)
    for count in (1, 2, 3, 17, 400):
        timeline = np.concatenate([[0.0], np.cumsum(generator.exponential(0.2, count - 1))])
        duration = float(timeline[-1]) + 0.1
        for n in (1, 2, 16, 64):
            for start_s, end_s in [(None, None), (duration / 3, None), (0.0, duration / 2)]:
                chosen = plan(
                    timeline,
                    duration_s=duration,
                    average_fps=count / duration,
                    variable_rate=True,
                    n=n,
                    method=method,
                    start_s=start_s,
                    end_s=end_s,
                    fps=5.0 if method == "fps" else None,
                ).indices
                assert 1 <= len(chosen) <= n
                assert list(chosen) == sorted(set(chosen))
                assert 0 <= chosen[0] <= chosen[-1] < count


def test_senseless_numbers_are_refused():
    with pytest.raises(ValueError, match="frame_count must be at least 1"):
        uniform_indices(0, 16)
    with pytest.raises(ValueError, match="n must be at least 1"):
        time_indices(STEADY, 0, 1, 0)
    with pytest.raises(ValueError, match="number of frames must be at least 1"):
        time_indices(np.empty(0), 0, 1, 4)
    for fps in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="fps must be a positive number"):
            fps_indices(STEADY, 0, 1, fps, 16)
    with pytest.raises(ValueError, match="and with no other"):
        plan(STEADY, duration_s=10, average_fps=30, variable_rate=False, n=16, fps=2.0)
    with pytest.raises(ValueError, match="and with no other"):
        plan(STEADY, duration_s=10, average_fps=30, variable_rate=False, n=16, method="fps")
