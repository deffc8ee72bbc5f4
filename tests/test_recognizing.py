"""Films of drawn shapes are told from everything else, whatever the codec has done to them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from corpus_other import Frames, others
from PIL import Image

from tarsier_tools.config import Settings
from tarsier_tools.decoding import Decoding
from tarsier_tools.doctor.quality import FPS, film
from tarsier_tools.media.clips import ClipSpec
from tarsier_tools.media.source import resolve
from tarsier_tools.media.writer import write_mp4
from tarsier_tools.selfcheck.recognizing import LIMITS, broken, measure, shows_shapes
from tarsier_tools.selfcheck.world import BACKDROPS, random_scene
from tarsier_tools.types import no_progress

OTHERS = {f"{kind}: {name}": frames for kind, name, frames in others()}


def through_h264(frames: Frames, folder: Path, crf: int, fps: float = 10) -> Frames:
    path = folder / "clip.mp4"
    write_mp4(path, frames, fps, crf=crf)
    decoding = Decoding(Settings())
    clip = decoding.clip(resolve(path, Settings()), ClipSpec(None, None, 8), no_progress).clip
    decoding.close()
    return list(clip.frames)


@pytest.mark.parametrize("crf", [10, 28, 40])
@pytest.mark.parametrize("number", [0, 9, 42])
def test_a_shapes_film_is_recognised_at_every_quality(number: int, crf: int, tmp_path: Path) -> None:
    scene, size = film(3, number)
    frames = list(scene.render(np.arange(round(scene.duration_s * FPS)) / FPS, size))
    assert shows_shapes(through_h264(frames, tmp_path, crf, FPS))


@pytest.mark.parametrize("aspect", [0.5625, 1.0, 16 / 9])
def test_every_ground_and_proportion_of_the_world_is_recognised(aspect: float) -> None:
    seen = set()
    for seed in range(12):
        scene = random_scene(np.random.default_rng((5, seed)), aspect=aspect)
        seen.add(scene.backdrop)
        width, height = round(300 * max(aspect, 1)), round(300 * max(1 / aspect, 1))
        for frame in scene.render(np.linspace(0, scene.duration_s, 12), (width, height)):
            assert shows_shapes([frame])
    assert seen == set(BACKDROPS)


@pytest.mark.parametrize("size", [(64, 64), (98, 98), (224, 224), (1080, 1080)])
def test_the_size_makes_no_difference(size: tuple[int, int]) -> None:
    scene, _ = film(3, 2)
    for frame in scene.render([0.0, scene.duration_s / 2], (336, 336)):
        assert shows_shapes([np.asarray(Image.fromarray(frame).resize(size))])


@pytest.mark.parametrize("squeezed", [(480, 240), (240, 480), (960, 1080)])
def test_a_picture_squeezed_or_mirrored_is_still_one_of_shapes(squeezed: tuple[int, int]) -> None:
    scene, _ = film(3, 2)
    (frame,) = scene.render([1.0], (336, 336))
    assert shows_shapes([np.asarray(Image.fromarray(frame[:, ::-1]).resize(squeezed))])


def test_a_shape_that_just_appears_is_no_reason_to_refuse() -> None:
    wanted = 40
    for seed in range(400):
        scene = random_scene(np.random.default_rng((6, seed)))
        appears = [event for event in scene.events if event.action in ("appear", "disappear")]
        for event in appears:
            times_s = np.linspace(event.start_s, event.end_s, 9)
            assert shows_shapes(list(scene.render(times_s, (224, 224))))
            wanted -= 1
        if wanted <= 0:
            return
    raise AssertionError("too few shapes appeared")


def test_a_moment_without_any_shape_passes() -> None:
    scene = random_scene(np.random.default_rng(1), n_events=0, n_idle=0)
    assert shows_shapes(list(scene.render([0.0, 1.0], (224, 224))))


@pytest.mark.parametrize("name", OTHERS)
def test_any_other_kind_of_video_is_not_taken_for_shapes(name: str, tmp_path: Path) -> None:
    assert not shows_shapes(OTHERS[name])
    assert not shows_shapes(through_h264(OTHERS[name], tmp_path, 28))


def test_one_picture_of_something_else_is_enough() -> None:
    scene, _ = film(3, 2)
    frames = list(scene.render([0.0, 1.0, 2.0], (320, 240)))
    assert shows_shapes(frames)
    assert not shows_shapes([*frames, OTHERS["animated: cartoon by day"][0]])


@pytest.mark.parametrize("name", ["fade of plain grey", "flickering light"])
def test_a_ground_that_changes_is_refused_though_each_frame_could_be_one(name: str) -> None:
    frames = OTHERS[f"faint: {name}"]
    assert all(shows_shapes([frame]) for frame in frames)
    assert not shows_shapes(frames)


def test_a_slow_change_is_refused_though_neighbouring_frames_hardly_differ() -> None:
    frames = [np.full((90, 160, 3), level, np.uint8) for level in range(50, 65)]
    assert all(shows_shapes(frames[start : start + 3]) for start in range(13))
    assert not shows_shapes(frames)


def test_every_measure_has_a_limit_and_every_limit_is_measured() -> None:
    scene, size = film(3, 2)
    _, later = measure(scene.render([0.0, scene.duration_s / 2], size))
    assert set(later) == set(LIMITS)
    assert broken(later) == []


def test_a_cut_between_two_films_of_shapes_is_no_reason_to_refuse() -> None:
    (one, size), (other, _) = film(3, 2), film(5, 2)
    first = list(one.render(np.linspace(0, 1.9, 8), size))
    second = list(other.render(np.linspace(0, 1.9, 8), size))
    assert shows_shapes([*first, *second])
    assert shows_shapes([*first, second[0]])
    assert not shows_shapes([frame for pair in zip(first, second, strict=True) for frame in pair])
