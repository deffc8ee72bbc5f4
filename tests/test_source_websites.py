"""Pages of video sites: handed to yt-dlp, which a stand-in on PATH plays here."""

from __future__ import annotations

import json
import os
import stat
import sys
import textwrap
from pathlib import Path

import pytest
from source_server import VIDEO, redirects, running

from tarsier_tools.config import Settings
from tarsier_tools.errors import Cancelled, SourceNotAllowed, VideoTooLarge, VideoUnavailable
from tarsier_tools.media import urls
from tarsier_tools.media.source import resolve
from tarsier_tools.media.websites import is_video_page

PAGE = "https://www.youtube.com/watch?v=abc&key=s3cret"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(cache_dir=tmp_path / "cache", max_download_mb=1, download_timeout_s=20)


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Puts a program called yt-dlp first on PATH; it notes how it was called, then does what it is told."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    noted = tmp_path / "noted.json"

    def install(does: str) -> Path:
        program = folder / "yt-dlp"
        start = f"""\
            #!{sys.executable}
            import json, os, pathlib, subprocess, sys, time
            note = dict(argv=sys.argv[1:], cwd=os.getcwd(), files=os.listdir(), stdin=sys.stdin.read())
            pathlib.Path({str(noted)!r}).write_text(json.dumps(note))
            """
        program.write_text(textwrap.dedent(start) + textwrap.dedent(does))
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        return noted

    return install


WRITES = f"pathlib.Path('video.mp4').write_bytes({VIDEO[:256]!r})"


@pytest.mark.parametrize(
    ("host", "path", "page"),
    [
        ("www.youtube.com", "/watch", True),
        ("YOUTUBE.com.", "/shorts/x", True),
        ("youtu.be", "/abc", True),
        ("player.vimeo.com", "/video/1", True),
        ("player.vimeo.com", "/external/1.hd.MP4", False),
        ("notyoutube.com", "/watch", False),
        ("youtube.com.evil.example", "/watch", False),
        ("videos.example", "/youtube.com", False),
    ],
)
def test_a_page_of_a_video_site_is_known_by_its_host(host, path, page):
    assert is_video_page(host, path) == page


def test_without_yt_dlp_the_error_says_what_to_install(settings, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(
        SourceNotAllowed, match=r"www[.]youtube[.]com shows its videos on web pages"
    ) as caught:
        resolve(PAGE, settings)
    assert caught.value.hint.endswith('pip install "tarsier-tools[web]"')


def test_the_installed_module_is_used_where_no_program_is_on_the_path(settings, monkeypatch, tmp_path):
    module = tmp_path / "yt_dlp"
    module.mkdir()
    (module / "__init__.py").touch()
    (module / "__main__.py").write_text("import pathlib; " + WRITES)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.syspath_prepend(str(tmp_path))
    assert resolve(PAGE, settings).path.read_bytes() == VIDEO[:256]


@pytest.fixture
def typed_ahead():
    """Something on the standard input of this process, for whoever inherits it."""
    reading, writing = os.pipe()
    os.write(writing, b"typed ahead")
    os.close(writing)
    saved = os.dup(0)
    os.dup2(reading, 0)
    yield
    os.dup2(saved, 0)
    os.close(saved)
    os.close(reading)


@pytest.mark.usefixtures("typed_ahead")
def test_yt_dlp_is_called_with_a_list_of_safe_arguments(settings, stand_in):
    noted = stand_in(WRITES)
    found = resolve(PAGE, settings)
    assert found.path.read_bytes() == VIDEO[:256]
    assert found.given == PAGE
    note = json.loads(noted.read_text())
    arguments = note["argv"]
    assert arguments[-2:] == ["--", PAGE]
    assert {"--ignore-config", "--no-exec", "--no-playlist", "--no-cache-dir"} <= set(arguments)
    assert arguments[arguments.index("--max-filesize") + 1] == str(1 << 20)
    assert arguments[arguments.index("--use-extractors") + 1] == "default,-generic"
    assert arguments[arguments.index("--output") + 1] == "video.%(ext)s"
    assert note["stdin"] == ""
    assert note["files"] == []
    assert Path(note["cwd"]).is_relative_to(settings.cache_dir)


@pytest.mark.parametrize("page", ["https://youtu.be/--exec=touch%20x", "https://youtu.be/$(touch x);`id`"])
def test_an_address_cannot_become_an_option_or_a_command(settings, stand_in, page):
    noted = stand_in(WRITES)
    resolve(page, settings)
    arguments = json.loads(noted.read_text())["argv"]
    assert arguments[-2] == "--"
    assert arguments[-1].startswith("https://youtu.be/")
    assert arguments.count("--") == 1


def test_the_second_use_of_a_page_comes_from_the_cache(settings, stand_in):
    noted = stand_in(WRITES)
    first = resolve(PAGE, settings)
    noted.unlink()
    assert resolve(PAGE, settings) == first
    assert not noted.exists()


@pytest.mark.enable_socket
def test_a_redirect_to_a_video_site_is_followed_to_its_page(settings, stand_in, monkeypatch):
    noted = stand_in(WRITES)
    monkeypatch.setattr(urls, "is_public", lambda address: address == "127.0.0.1")
    with running() as server:
        server.routes["/short"] = redirects("https://youtu.be/abc")
        resolve(server.url("/short"), settings.model_copy(update={"allow_http": True}))
    assert json.loads(noted.read_text())["argv"][-1] == "https://youtu.be/abc"


def test_a_page_is_held_to_the_address_policy_too(settings, stand_in):
    noted = stand_in(WRITES)
    for page in ("http://www.youtube.com/watch?v=abc", "https://me:pa55@youtube.com/watch"):
        with pytest.raises(SourceNotAllowed):
            resolve(page, settings)
    assert not noted.exists()


def test_the_complaint_of_yt_dlp_is_passed_on_without_addresses(settings, stand_in):
    stand_in(f"print('WARNING: old'); sys.exit('ERROR: [youtube] abc: Private video. See {PAGE}')")
    with pytest.raises(VideoUnavailable, match="Private video") as caught:
        resolve(PAGE, settings)
    assert "s3cret" not in str(caught.value)
    assert "pip install -U yt-dlp" in caught.value.hint


@pytest.mark.parametrize("does", ["sys.exit(0)", "print('[download] video does not pass filter (!is_live)')"])
def test_success_without_a_file_is_no_success(settings, stand_in, does):
    stand_in(does)
    with pytest.raises(VideoUnavailable, match="yt-dlp did not get the video"):
        resolve(PAGE, settings)


@pytest.mark.parametrize(
    "does",
    [
        "pathlib.Path('video.mp4').write_bytes(bytes((1 << 20) + 1))",
        "print('[download] File is larger than max-filesize (9 bytes > 1 bytes). Aborting.')",
        "pathlib.Path('video.mp4.part').write_bytes(bytes((1 << 20) + 1)); time.sleep(60)",
    ],
    ids=["after it ended", "by its own check", "while it runs"],
)
def test_a_video_over_the_limit_is_refused(settings, stand_in, does):
    stand_in(does)
    with pytest.raises(VideoTooLarge, match="limit of 1 MiB"):
        resolve(PAGE, settings)


STARTS_ANOTHER = """\
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    pathlib.Path({pids!r}).write_text(f"{{os.getpid()}} {{child.pid}}")
    time.sleep(60)
    """


def alive(pid: int) -> bool:
    """False also for one that has ended and waits for its parent to take notice."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks processes up in /proc")
@pytest.mark.parametrize("how", ["cancelled", "out of time"])
def test_a_call_that_is_stopped_leaves_no_process_behind(settings, stand_in, tmp_path, how):
    pids = tmp_path / "pids"
    stand_in(STARTS_ANOTHER.format(pids=str(pids)))

    def stop(done: int, total: int, message: str) -> None:
        if pids.exists() and len(pids.read_text().split()) == 2:
            if how == "cancelled":
                raise Cancelled("Enough.")
            monkey.setattr("time.monotonic", lambda: float("inf"))

    error = Cancelled if how == "cancelled" else VideoTooLarge
    with pytest.MonkeyPatch.context() as monkey, pytest.raises(error) as caught:
        resolve(PAGE, settings, on_progress=stop)
    if how == "out of time":
        assert "TARSIER_DOWNLOAD_TIMEOUT_S" in caught.value.hint
    started = [int(pid) for pid in pids.read_text().split()]
    assert len(started) == 2
    for _ in range(500):
        if not any(alive(pid) for pid in started):
            break
        os.sched_yield()
    assert not any(alive(pid) for pid in started)
    assert list((settings.cache_dir / "downloads" / "partial").iterdir()) == []
