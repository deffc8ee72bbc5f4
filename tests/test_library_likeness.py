"""Videos that are in a library more than once: found by their bytes and by what they look like."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from tarsier_tools import Settings, VideoService
from tarsier_tools.cli import app
from tarsier_tools.library import VideoLibrary
from tarsier_tools.library.likeness import NEAR_BITS, Look, alike, picture_hash, places, unpacked
from tarsier_tools.media.writer import write_mp4
from tarsier_tools.selfcheck.world import random_scene

FPS = 8


def shots(seed: int, count: int = 2, size: int = 224) -> list[np.ndarray]:
    """Pictures of a film of several scenes of 4 s."""
    rng = np.random.default_rng(seed)
    scenes = [random_scene(rng, duration_s=4.0, n_events=2, n_idle=2) for _ in range(count)]
    return [picture for scene in scenes for picture in scene.render(np.arange(0, 4.0, 1 / FPS), (size, size))]


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two films; of the first a copy, and one smaller, of bad quality, and without its first second."""
    folder = tmp_path_factory.mktemp("films")
    write_mp4(folder / "film.mp4", shots(1), FPS)
    write_mp4(folder / "poor.mp4", shots(1, size=128)[FPS:], FPS, crf=34)
    write_mp4(folder / "other.mp4", shots(2), FPS)
    shutil.copy(folder / "film.mp4", folder / "copy.mp4")
    return folder


@pytest.fixture(scope="module")
def library(films: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[VideoLibrary]:
    folder = tmp_path_factory.mktemp("library")
    with (
        VideoService(Settings.load(cache_dir=folder / "cache")) as service,
        VideoLibrary(folder / "library", service=service, embedder="none") as filled,
    ):
        filled.add(films)
        yield filled


def test_copies_and_lookalikes_are_found_and_nothing_else(library: VideoLibrary, films: Path) -> None:
    found = library.duplicates()
    assert found.same == ((str(films / "copy.mp4"), str(films / "film.mp4")),)
    (group,) = found.alike
    assert [Path(each.source).name for each in group] == ["copy.mp4", "poor.mp4"]
    assert [(each.width, each.duration_s) for each in group] == [(224, 8.0), (128, 7.0)]
    assert group[0].likeness == 1.0 >= group[1].likeness >= 0.5
    assert found.not_compared == 0


def test_what_was_imported_cannot_be_compared(library: VideoLibrary, tmp_path: Path) -> None:
    library.export(tmp_path / "all.jsonl")
    with VideoLibrary(tmp_path / "other", embedder="none") as other:
        other.import_(tmp_path / "all.jsonl")
        found = other.duplicates()
    assert found.alike == ()
    assert found.not_compared == 3
    assert len(found.same) == 1


def test_the_command_shows_the_best_first(library: VideoLibrary, tmp_path: Path) -> None:
    said = CliRunner().invoke(app, ["library", "duplicates", "--library", library.address])
    assert said.exit_code == 0, said.output
    lines = said.stdout.split("\n")
    assert lines.index("the same bytes:") < lines.index("look the same, the best first:")
    assert "224x224, 0:08.0, 100% alike" in said.stdout
    typed = ["library", "duplicates", "--library", library.address, "--json"]
    assert [len(group) for group in json.loads(CliRunner().invoke(app, typed).stdout)["alike"]] == [2]
    VideoLibrary(tmp_path / "empty", embedder="none").close()
    empty = CliRunner().invoke(app, ["library", "duplicates", "--library", str(tmp_path / "empty")])
    assert "No video is there twice." in empty.stdout


def jpeg(pixels: np.ndarray, quality: int = 90, size: tuple[int, int] = (320, 240)) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC).save(file, "JPEG", quality=quality)
    return file.getvalue()


def distance(one: bytes, other: bytes) -> int:
    return int(np.bitwise_count(unpacked(one) ^ unpacked(other)).sum())


def test_a_hash_outlives_size_and_quality_and_tells_pictures_apart() -> None:
    rng = np.random.default_rng(3)
    hashes = []
    for _ in range(10):
        pixels = rng.integers(0, 255, (12, 16, 3), dtype=np.uint8)
        hashes.append(picture_hash(jpeg(pixels)))
        assert distance(hashes[-1], picture_hash(jpeg(pixels, 30, (160, 120)))) <= NEAR_BITS
    apart = [distance(one, other) for one in hashes for other in hashes if one != other]
    assert min(apart) > NEAR_BITS


def test_the_hash_is_the_one_that_imagehash_makes() -> None:
    """As ``str(imagehash.phash(picture, hash_size=16))`` gives it, ImageHash 4.3.2."""
    x, y = np.meshgrid(np.arange(96), np.arange(64))
    pixels = ((x * 7 + y * y // 3 + x * y // 11) % 256).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    assert (
        picture_hash(file.getvalue()).hex()
        == "819c03ce031e03ce039e03de561af61a543854fa55faff50aa1382f755a7ff0e"
    )


def test_a_picture_that_shows_nothing_has_no_hash() -> None:
    assert picture_hash(jpeg(np.full((8, 8, 3), 40, np.uint8))) == b""


@pytest.mark.parametrize("segments", [1, 2, 3, 5, 11, 12, 500])
def test_a_segment_is_known_by_its_middle_and_few_segments_by_more(segments: int) -> None:
    times = places(10.0, 14.0, segments)
    assert times[len(times) // 2] == 12.0
    assert all(10.0 < time < 14.0 for time in times)
    assert len(times) * segments >= 12


def look(video: int, rng: np.random.Generator, duration_s: float = 60.0) -> Look:
    return Look(video, duration_s, rng.integers(0, 2**64, (20, 4), dtype=np.uint64))


def test_a_copy_is_found_among_many_of_the_same_length() -> None:
    rng = np.random.default_rng(4)
    looks = [look(video, rng) for video in range(300)]
    spoilt = looks[7].hashes.copy()
    spoilt[:8] = rng.integers(0, 2**64, (8, 4), dtype=np.uint64)
    assert list(alike([*looks, Look(300, 61.0, spoilt)])) == [(7, 300, 0.6)]


def test_a_part_of_a_film_is_another_film() -> None:
    rng = np.random.default_rng(5)
    whole = look(1, rng, 600.0)
    assert list(alike([whole, Look(2, 599.0, whole.hashes)])) == [(2, 1, 1.0)]
    assert list(alike([whole, Look(2, 300.0, whole.hashes)])) == []
    assert list(alike([whole, Look(2, 599.0, whole.hashes[:8])])) == []


def test_films_that_share_their_titles_are_not_alike() -> None:
    rng = np.random.default_rng(6)
    first, second = look(1, rng), look(2, rng)
    second.hashes[:8] = first.hashes[:8]
    assert list(alike([first, second])) == []
    assert list(alike([])) == []
