"""A range of a video as a clip: which pictures, what is said about them, and what is refused."""

from __future__ import annotations

import hashlib
import json
import pickle
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tarsier_tools.errors import Cancelled, TimeRangeError, UsageError, VideoTooLarge, VideoUnreadable
from tarsier_tools.media.clips import ClipSpec, DecodedClip, largest_gap, read_clip, read_clip_isolated
from tarsier_tools.media.reader import Limits
from tarsier_tools.media.transform import fit_size, frame_budget
from tarsier_tools.media.worker import DecodeWorker
from tarsier_tools.results import TimeRange
from tests.corpus import GOOD, Track, picture, read_number, steady, write
from tests.corpus_bad import BAD

GOLDEN = Path(__file__).parent / "golden"
# The corpus's file of this name, kept: which pictures its noise destroys differs from encoding to encoding.
NOISE_INSIDE = Path(__file__).parent / "data" / "noise_inside.ts"
SHAPES = GOLDEN / "videos" / "shapes_320x240_25fps.mp4"
CASES = ["anim_200x150_gif", "hd_1280x720_30fps", "shapes_320x240_25fps", "short10_256x192"]
FILES = {file.name: file for file in (*GOOD, *BAD)}


def clip_of(path: Path, **spec: object) -> DecodedClip:
    return read_clip(path, source=str(path), spec=ClipSpec(**spec))


def numbers(decoded: DecodedClip) -> list[int | None]:
    """What the pictures of a corpus video say about themselves."""
    return [read_number(frame) for frame in decoded.clip.frames]


@pytest.fixture
def make(tmp_path: Path):
    def made(name: str) -> Path:
        FILES[name].make(tmp_path / name)
        return tmp_path / name

    return made


# ---------------------------------------------------------------- as the reference


@pytest.mark.parametrize("case", CASES)
def test_a_whole_video_gives_the_frames_of_the_reference_byte_by_byte(case):
    truth = json.loads((GOLDEN / "given" / f"{case}.json").read_text())
    clip = clip_of(GOLDEN / "videos" / truth["file"]).clip
    assert list(clip.indices) == truth["frame_indices"]
    digests = [hashlib.sha256(frame.tobytes()).hexdigest() for frame in clip.frames]
    assert digests == truth["resize1_frames_sha256"]


def test_a_range_gives_the_frames_of_the_reference_where_that_drops_none():
    rows = json.loads((GOLDEN / "given" / "tables.json").read_text())["clips"]
    for row in rows:
        decoded = clip_of(SHAPES, start_s=row["start_time"], end_s=row["end_time"], frames=row["n_frames"])
        if row["n_returned"] == len(row["frame_indices"]) and row["end_time"] <= 3:
            assert list(decoded.clip.indices) == row["frame_indices"], row
        else:
            assert len(decoded.clip) == row["n_frames"]
            assert decoded.coverage.skipped == (
                "The range asked for ends at 10 s, after the video: it was cut at 3.000 s.",
            )


def test_many_frames_share_the_pixel_budget():
    hd = GOLDEN / "videos" / "hd_1280x720_30fps.mp4"
    decoded = clip_of(hd, frames=64)
    assert len(decoded.clip) == 30  # all there are: the budget goes by what is really shown
    assert decoded.coverage.frame_size == fit_size(1280, 720, frame_budget(30)) == (747, 420)
    assert clip_of(hd, frames=4, max_pixels=10_000).coverage.frame_size == (133, 75)


# ---------------------------------------------------------------- what is said about it


def test_coverage_tells_what_was_asked_and_what_was_shown():
    coverage = clip_of(SHAPES, start_s=1, end_s=2, frames=3).coverage
    assert coverage.video_duration_s == pytest.approx(3.0)
    assert (coverage.asked.start_s, coverage.asked.end_s) == (1.0, 2.0)
    assert coverage.frame_indices == (25, 37, 50)
    assert coverage.frame_times_s == pytest.approx((1.0, 1.48, 2.0))
    assert coverage.frame_size == (320, 240)
    assert coverage.largest_gap_s == pytest.approx(0.52)
    assert (coverage.sampling, coverage.decoder, coverage.skipped) == ("uniform", "pyav", ())


@pytest.mark.parametrize(
    ("start_s", "end_s", "asked"),
    [
        (None, None, (0, 3)),
        (0, 99, (0, 3)),
        (2.5, None, (2.5, 3)),
        (None, 0.5, (0, 0.5)),
        (2.999, 3, (2.999, 3)),
    ],
)
def test_the_range_asked_for_is_clamped_to_the_video(start_s, end_s, asked):
    decoded = clip_of(SHAPES, start_s=start_s, end_s=end_s)
    assert (decoded.coverage.asked.start_s, decoded.coverage.asked.end_s) == pytest.approx(asked)
    assert bool(decoded.coverage.skipped) == (end_s == 99)


@pytest.mark.parametrize(
    ("times", "gap"),
    [((0, 5, 10), 5), ((2, 3), 7), ((9,), 9), ((), 10), ((4, 4.5), 5.5), ((-1, 20), 10), ((10, 0), 10)],
)
def test_the_largest_gap_counts_the_ends_of_the_range(times, gap):
    assert largest_gap(TimeRange(start_s=0, end_s=10), times) == gap


def test_times_are_those_of_the_pictures_where_the_frame_rate_varies(make):
    truth = FILES["vfr.mp4"]
    decoded = clip_of(make("vfr.mp4"), frames=10)
    assert numbers(decoded) == list(decoded.clip.indices)
    assert decoded.clip.times_s == pytest.approx(
        [truth.times[index] for index in decoded.clip.indices], abs=1e-3
    )
    assert decoded.info.variable_rate


def test_a_range_keeps_to_its_frames_where_nearly_all_others_come_at_once(tmp_path):
    # All of 60 frames but the last come in the first 2 s of 20.
    times = [*steady(59), 19.9]
    write(tmp_path / "a.mp4", Track(range(60), times))
    still = clip_of(tmp_path / "a.mp4", start_s=5, end_s=15, frames=4)
    assert numbers(still) == [58]
    by_number = clip_of(tmp_path / "a.mp4", start_s=1.5, end_s=15, frames=4)
    by_time = clip_of(tmp_path / "a.mp4", start_s=1.5, end_s=15, frames=4, sampling="time")
    assert numbers(by_number) == [45, 49, 54, 58]
    assert numbers(by_time) == [45, 49, 53, 58]
    assert by_time.coverage.skipped == by_number.coverage.skipped == ()
    assert by_time.coverage.largest_gap_s == pytest.approx(15 - 58 / 30, abs=0.01)


def test_a_rate_is_kept_or_the_coverage_says_not(make):
    path = make("plain.mp4")  # 75 frames at 30 a second
    kept = clip_of(path, sampling="fps", fps=5.0, frames=50)
    assert numbers(kept) == list(range(0, 75, 6))
    assert kept.coverage.skipped == ()
    capped = clip_of(path, sampling="fps", fps=5.0, frames=4)
    assert numbers(capped) == [0, 24, 49, 74]
    assert capped.coverage.skipped == (
        "5 frames a second would be more than 4 frames: 4 were spread over the range.",
    )


def test_damaged_pictures_are_left_out_and_told():
    decoded = clip_of(NOISE_INSIDE, frames=120)
    (sentence,) = [text for text in decoded.coverage.skipped if "are damaged in the file" in text]
    left_out = int(sentence.split()[0])
    assert left_out >= 10
    assert len(decoded.clip) + left_out <= decoded.info.frame_count
    assert numbers(decoded) == sorted(set(numbers(decoded)))  # each can be read, so none is damaged


def test_a_video_cut_short_shows_what_is_there_and_tells_what_is_not(make):
    decoded = clip_of(make("cut.mp4"), frames=16)
    assert numbers(decoded) == list(decoded.clip.indices)
    assert decoded.coverage.skipped != ()


def test_a_clip_of_damage_alone_is_refused():
    whole = clip_of(NOISE_INSIDE, frames=120)
    damaged = set(range(max(whole.clip.indices))) - set(whole.clip.indices)
    middle = sorted(damaged)[len(damaged) // 2] / whole.info.average_fps
    with pytest.raises(VideoUnreadable, match="can be decoded undamaged"):
        clip_of(NOISE_INSIDE, start_s=middle, end_s=middle + 0.01, frames=1)


def test_where_the_size_changes_all_frames_get_the_size_of_the_first(make):
    decoded = clip_of(make("size_changes.ts"), frames=12)
    assert {frame.shape for frame in decoded.clip.frames} == {(112, 192, 3)}
    assert numbers(decoded) == list(decoded.clip.indices)
    (sentence,) = [text for text in decoded.coverage.skipped if "size of the picture changes" in text]
    assert "6 of 12 frames" in sentence or "5 of 11 frames" in sentence


@pytest.mark.parametrize("name", ["folder", "still.png", "animation.webp", "one_frame.mp4"])
def test_whatever_can_be_opened_can_be_shown(make, name):
    decoded = clip_of(make(name), frames=16)
    assert numbers(decoded) == list(FILES[name].numbers)
    assert decoded.coverage.asked.start_s == 0
    assert decoded.coverage.largest_gap_s >= 0


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("start_s", "end_s", "text"),
    [
        (3.0, None, "from 0 to 3.000 s"),
        (30.0, 40.0, "from 0 to 3.000 s"),
        (-0.5, None, "from 0 to 3.000 s"),
        (1.0, 1.0, "is empty"),
        (2.0, 1.0, "is empty"),
        (0.0, 0.0, "is empty"),
        (0.0, -1.0, "is empty"),
        (None, -1.0, "is empty"),
        (float("nan"), None, "is no time"),
        (0.0, float("inf"), "is no time"),
        (float("-inf"), 1.0, "is no time"),
    ],
)
def test_a_range_that_is_not_in_the_video_is_refused(start_s, end_s, text):
    with pytest.raises(TimeRangeError, match=text) as caught:
        clip_of(SHAPES, start_s=start_s, end_s=end_s)
    assert caught.value.hint


@pytest.mark.parametrize(
    "spec",
    [
        {"frames": 0},
        {"frames": -1},
        {"fps": 2.0},
        {"sampling": "fps"},
        {"sampling": "fps", "fps": 0.0},
        {"sampling": "fps", "fps": float("nan")},
        {"sampling": "fps", "fps": float("inf")},
    ],
)
def test_a_spec_that_makes_no_sense_is_refused(spec):
    with pytest.raises(UsageError) as caught:
        clip_of(SHAPES, **spec)
    assert caught.value.hint


def test_what_is_no_video_is_refused_with_the_name_that_was_given(make):
    with pytest.raises(VideoUnreadable, match="my holiday"):
        read_clip(make("text.mp4"), source="my holiday", spec=ClipSpec())


def test_a_picture_like_a_thread_is_refused(tmp_path):
    Image.fromarray(np.zeros((2, 500, 3), np.uint8)).save(tmp_path / "thread.png")
    with pytest.raises(VideoTooLarge, match="200 times"):
        clip_of(tmp_path / "thread.png")


# ---------------------------------------------------------------- fingerprint, progress, memory, worker


def test_the_fingerprint_tells_clips_apart_and_same_ones_not(tmp_path):
    prints = {
        name: clip_of(SHAPES, **spec).clip.fingerprint
        for name, spec in {
            "whole": {},
            "again": {"start_s": 0.0},
            "fewer": {"frames": 8},
            "later": {"start_s": 1.0},
            "smaller": {"max_pixels": 40_000},
        }.items()
    }
    assert prints["whole"] == prints["again"]
    assert len(set(prints.values())) == 4
    assert all(len(value) == 64 for value in prints.values())


def test_the_same_pictures_at_other_places_have_another_fingerprint(tmp_path):
    for number in range(4):
        Image.fromarray(picture(5)).save(tmp_path / f"{number}.png")
    first = clip_of(tmp_path, start_s=0, end_s=1, frames=1).clip
    second = clip_of(tmp_path, start_s=2, end_s=3, frames=1).clip
    assert np.array_equal(first.frames[0], second.frames[0])
    assert (first.indices, second.indices) == ((0,), (2,))
    assert first.fingerprint != second.fingerprint


def test_progress_counts_every_frame_and_stops_when_asked_to():
    steps: list[tuple[int, int, str]] = []
    read_clip(SHAPES, source="x", spec=ClipSpec(frames=4), on_progress=lambda *step: steps.append(step))
    assert steps == [(done, 4, "reading frames") for done in (1, 2, 3, 4)]

    def stop(done: int, total: int, message: str) -> None:
        steps.append((done, total, message))
        raise Cancelled("Enough.")

    steps.clear()
    with pytest.raises(Cancelled):
        read_clip(SHAPES, source="x", spec=ClipSpec(frames=4), on_progress=stop)
    assert len(steps) == 1


def test_only_the_shrunk_frames_are_held_together(tmp_path):
    for number in range(12):
        Image.new("RGB", (1000, 500), (number, 0, 0)).save(tmp_path / f"{number}.jpg")
    full = 1000 * 500 * 3
    tracemalloc.start()
    try:
        clip_of(tmp_path, max_pixels=20_000)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 5 * full  # all 12 together would be more than 12


def test_the_worker_gives_the_same_clip_and_the_same_errors(make):
    broken = make("text.mp4")
    with DecodeWorker() as worker:
        isolated = read_clip_isolated(worker, SHAPES, source="a", spec=ClipSpec(end_s=1), timeout_s=60)
        with pytest.raises(VideoUnreadable, match="my holiday"):
            read_clip_isolated(worker, broken, source="my holiday", spec=ClipSpec(), timeout_s=60)
        with pytest.raises(TimeRangeError):
            read_clip_isolated(worker, SHAPES, source="a", spec=ClipSpec(start_s=9), timeout_s=60)
        small = Limits(max_frame_pixels=1000)
        with pytest.raises(VideoTooLarge):
            read_clip_isolated(worker, SHAPES, source="a", spec=ClipSpec(), limits=small, timeout_s=60)
    here = read_clip(SHAPES, source="a", spec=ClipSpec(end_s=1))
    assert isolated.clip.fingerprint == here.clip.fingerprint
    assert (isolated.info, isolated.coverage) == (here.info, here.coverage)
    assert all(np.array_equal(a, b) for a, b in zip(isolated.clip.frames, here.clip.frames, strict=True))


def test_clips_and_specs_can_be_sent_to_another_process_and_specs_are_keys():
    decoded = clip_of(SHAPES, frames=2)
    copy = pickle.loads(pickle.dumps(decoded))
    assert copy.clip.fingerprint == decoded.clip.fingerprint
    assert {ClipSpec(1.0, 2.0): "kept"}[ClipSpec(start_s=1.0, end_s=2.0)] == "kept"
