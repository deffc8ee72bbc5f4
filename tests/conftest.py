"""What every test gets: a clean environment, a cache of its own, and skips that a full run does not allow."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

if TYPE_CHECKING:
    from tarsier_tools.selfcheck.world import Scene

# Small models on a busy machine: threads that wait for each other are many times slower than one thread.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Read once, before any test wipes the environment.
REQUIRED = {
    "gpu": os.environ.get("TARSIER_REQUIRE_GPU") == "1",
    "": os.environ.get("TARSIER_REQUIRE_ALL") == "1",
}


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "gpu: needs an accelerator; may skip unless TARSIER_REQUIRE_GPU=1")


# torch keeps what it compiles for the next process.
KEPT_BY_OTHERS = ("torchinductor_*",)


@pytest.fixture(scope="session", autouse=True)
def nothing_is_left_behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Give this process and its children a new temporary directory, which must be empty at the end."""
    folder = tmp_path_factory.mktemp("tmp")
    with pytest.MonkeyPatch.context() as patch:
        if "RAY_TMPDIR" not in os.environ:  # the paths of Ray's sockets have to be short
            patch.setenv("RAY_TMPDIR", tempfile.gettempdir())
        for name in ("TMPDIR", "TEMP", "TMP"):
            patch.setenv(name, str(folder))
        patch.setattr(tempfile, "tempdir", str(folder))
        yield
    left = {path.name for path in folder.iterdir() if not any(map(path.match, KEPT_BY_OTHERS))}
    assert not left, f"left in the temporary directory by some test: {sorted(left)}"


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No TARSIER_* variable of the caller reaches a test, and nothing is kept outside its folder."""
    for name in [name for name in os.environ if name.startswith("TARSIER_")]:
        monkeypatch.delenv(name)
    cache = str(tmp_path_factory.mktemp("cache"))
    monkeypatch.setenv("XDG_CACHE_HOME", cache)
    monkeypatch.setenv("LOCALAPPDATA", cache)


@dataclass(frozen=True)
class ShapesFilm:
    """A film of the shapes world as a file, and all that is true of it."""

    path: Path
    scene: Scene


@pytest.fixture(scope="session")
def shapes_film(tmp_path_factory: pytest.TempPathFactory) -> ShapesFilm:
    """Eight seconds with three events, 224x224 at 12 frames a second; the same film every time."""
    from tarsier_tools.media.writer import write_mp4
    from tarsier_tools.selfcheck.world import random_scene

    scene = random_scene(np.random.default_rng(7), duration_s=8.0, n_events=3, n_idle=1)
    path = tmp_path_factory.mktemp("film") / "shapes.mp4"
    write_mp4(path, scene.render(np.arange(0, scene.duration_s, 1 / 12), (224, 224)), fps=12)
    return ShapesFilm(path, scene)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """A skip is a failure where somebody promised that all that is needed is there."""
    report = yield
    kind = "gpu" if item.get_closest_marker("gpu") else ""
    if report.skipped and not hasattr(report, "wasxfail") and REQUIRED[kind]:
        report.outcome = "failed"
        report.longrepr = (
            f"skipped, which TARSIER_REQUIRE_{kind.upper() or 'ALL'}=1 forbids: {report.longrepr}"
        )
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Iterator[None]:
    """The same for a whole module that skips itself."""
    report = yield
    if report.skipped and REQUIRED[""]:
        report.outcome = "failed"
        report.longrepr = f"skipped, which TARSIER_REQUIRE_ALL=1 forbids: {report.longrepr}"
    return report
