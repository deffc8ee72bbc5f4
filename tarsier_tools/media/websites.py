"""Web pages of video sites: not files, but yt-dlp (the extra ``web``) can fetch the video behind them.

It is called as a child process, from an argument list, in an empty folder of its own, with the user's
configuration, ``--exec`` and the extractor for arbitrary pages turned off, and only for the sites named here:
what it fetches by itself does not pass through this package's address policy.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path, PurePosixPath

from tarsier_tools.errors import SourceNotAllowed, VideoTooLarge, VideoUnavailable
from tarsier_tools.types import Progress

SITES = (
    "bilibili.com",
    "dailymotion.com",
    "douyin.com",
    "facebook.com",
    "fb.watch",
    "instagram.com",
    "nicovideo.jp",
    "rumble.com",
    "tiktok.com",
    "twitch.tv",
    "twitter.com",
    "vimeo.com",
    "weibo.com",
    "x.com",
    "youku.com",
    "youtu.be",
    "youtube-nocookie.com",
    "youtube.com",
)
"""Hosts whose pages yt-dlp is trusted with, their subdomains included."""

_FILES = {".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".gif", ".ts"}
_FORMAT = "bv*[height<=720]/b[height<=720]/bv*/b"
"""The best picture up to 720 lines, which is already more than the model is shown."""
_POLL_S = 0.1


def is_video_page(host: str, path: str) -> bool:
    """True when an address of this host and path is a page of a known video site, not a video file."""
    name = host.lower().rstrip(".")
    known = any(name == site or name.endswith(f".{site}") for site in SITES)
    return known and PurePosixPath(path.lower()).suffix not in _FILES


def fetch_page(
    page: str, host: str, folder: Path, *, max_bytes: int, timeout_s: float, on_progress: Progress
) -> Path:
    """The video of a page, as a file in the folder.

    Raises SourceNotAllowed when yt-dlp is not installed, VideoTooLarge when a limit is met, VideoUnavailable
    when yt-dlp fails.
    """
    program = _program()
    if program is None:
        raise SourceNotAllowed(
            f"{host} shows its videos on web pages, which are not video files.",
            hint='To fetch videos from such pages run: pip install "tarsier-tools[web]"',
        )
    work = folder / "page"
    shutil.rmtree(work, ignore_errors=True)  # there is one only when an earlier call was killed
    work.mkdir()
    log = folder / "page.log"
    with log.open("wb") as output:
        child = subprocess.Popen(
            [*program, *_options(max_bytes), "--", page],
            cwd=work,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # so that the programs it starts end with it
        )
        try:
            status = _wait(child, work, max_bytes, timeout_s, on_progress)
        finally:
            _end(child)
    return _result(status, work, log.read_text("utf-8", errors="replace"), max_bytes)


def _program() -> list[str] | None:
    found = shutil.which("yt-dlp")
    if found:
        return [found]
    if importlib.util.find_spec("yt_dlp"):
        return [sys.executable, "-m", "yt_dlp"]
    return None


def _options(max_bytes: int) -> list[str]:
    return [
        "--ignore-config",
        "--no-exec",
        "--no-playlist",
        "--no-cache-dir",
        "--no-progress",
        "--no-part",
        "--no-mtime",
        "--use-extractors",
        "default,-generic",
        "--match-filters",
        "!is_live",
        "--max-filesize",
        str(max_bytes),
        "--socket-timeout",
        "30",
        "--format",
        _FORMAT,
        "--output",
        "video.%(ext)s",
    ]


def _wait(
    child: subprocess.Popen[bytes], work: Path, max_bytes: int, timeout_s: float, on_progress: Progress
) -> int:
    """Wait for the child within its limits: yt-dlp itself checks sizes only where a site tells them."""
    end = time.monotonic() + timeout_s
    while True:
        try:
            return child.wait(_POLL_S)
        except subprocess.TimeoutExpired:
            size = _size(work)
        if size > max_bytes:
            raise _too_large(max_bytes)
        if time.monotonic() > end:
            raise VideoTooLarge(
                f"The video was not downloaded within {timeout_s:g} s.",
                hint="Raise download_timeout_s (TARSIER_DOWNLOAD_TIMEOUT_S).",
            )
        on_progress(size, 0, "downloading with yt-dlp")


def _end(child: subprocess.Popen[bytes]) -> None:
    """Stop the child, with what it started, if it still runs."""
    if child.poll() is not None:
        return
    if sys.platform == "win32":
        child.kill()
    else:
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def _result(status: int, work: Path, log: str, max_bytes: int) -> Path:
    files = sorted(work.glob("video.*"), key=lambda file: file.stat().st_size)
    if "larger than max-filesize" in log or (files and files[-1].stat().st_size > max_bytes):
        raise _too_large(max_bytes)
    if status != 0 or not files:
        raise VideoUnavailable(
            f"yt-dlp did not get the video: {_reason(log)}",
            hint="Try again after pip install -U yt-dlp, or download the video yourself and give its path.",
        )
    return files[-1]


def _size(work: Path) -> int:
    total = 0
    for file in work.iterdir():
        try:
            total += file.stat().st_size
        except FileNotFoundError:
            continue  # renamed by yt-dlp since the folder was listed
    return total


def _reason(log: str) -> str:
    """The last complaint in the log, without addresses, which may hold keys."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    complaints = [line for line in lines if line.startswith("ERROR")] or lines
    text = complaints[-1] if complaints else "it wrote no file and said nothing"
    return re.sub(r"\w+://\S+", "(address)", text)[:300]


def _too_large(max_bytes: int) -> VideoTooLarge:
    return VideoTooLarge(
        f"The video is larger than the limit of {max_bytes >> 20} MiB.",
        hint="Raise max_download_mb (TARSIER_MAX_DOWNLOAD_MB).",
    )
