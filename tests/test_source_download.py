"""Downloads over a real connection: kept, confirmed, gone on with, limited, and every way to go wrong."""

from __future__ import annotations

import hashlib
import os
import socket
import threading
import time
from pathlib import Path

import pytest
from source_server import VIDEO, Breaking, Request, Server, drips, running, sends

from tarsier_tools.config import MiB, Settings
from tarsier_tools.errors import (
    Cancelled,
    SourceNotAllowed,
    UsageError,
    VideoNotFound,
    VideoTooLarge,
    VideoUnavailable,
    VideoUnreadable,
)
from tarsier_tools.media import download
from tarsier_tools.media.source import resolve

pytestmark = pytest.mark.enable_socket


@pytest.fixture
def server():
    with running() as server:
        yield server


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    return Settings(allow_http=True, allow_private_hosts=True, cache_dir=tmp_path / "cache")


def left_over(settings: Settings) -> list[Path]:
    return [path for path in (settings.cache_dir / "downloads" / "partial").rglob("*") if path.is_file()]


def with_etag(request: Request) -> None:
    if request.headers.get("If-None-Match") == '"one"':
        request.answer(304, ETag='"one"')
    else:
        request.answer(200, VIDEO, ETag='"one"')


def with_date(request: Request) -> None:
    date = "Mon, 01 Jan 2024 00:00:00 GMT"
    if request.headers.get("If-Modified-Since") == date:
        request.answer(304)
    else:
        request.answer(200, VIDEO, Last_Modified=date)


def test_a_file_is_kept_under_the_hash_of_its_bytes(server, settings):
    server.routes |= {"/a.mp4": sends(), "/same.mp4": sends()}
    path = resolve(server.url("/a.mp4"), settings).path
    assert path.name == hashlib.sha256(VIDEO).hexdigest()
    assert path.read_bytes() == VIDEO
    assert resolve(server.url("/same.mp4"), settings).path == path
    assert left_over(settings) == []


def test_the_query_reaches_the_server_and_nothing_of_it_the_disk(server, settings):
    server.routes["/a.mp4"] = sends()
    resolve(server.url("/a.mp4?signature=s3cret#t=5"), settings)
    assert server.paths == ["/a.mp4?signature=s3cret"]
    for path in settings.cache_dir.rglob("*"):
        assert "s3cret" not in str(path)
        assert path.is_dir() or b"s3cret" not in path.read_bytes()


def test_progress_tells_bytes_done_and_bytes_in_all(server, settings):
    server.routes |= {"/a.mp4": sends(), "/b.mp4": drips}
    seen: list[tuple[int, int, str]] = []
    resolve(server.url("/a.mp4"), settings, on_progress=lambda *step: seen.append(step))
    assert seen[-1] == (len(VIDEO), len(VIDEO), "downloading")
    assert [done for done, _, _ in seen] == sorted(done for done, _, _ in seen)
    seen.clear()
    resolve(server.url("/b.mp4"), settings, on_progress=lambda *step: seen.append(step))
    assert seen[-1] == (len(VIDEO), 0, "downloading")


# ---------------------------------------------------------------- the second time


@pytest.mark.parametrize("route", [with_etag, with_date])
def test_the_second_use_is_served_from_the_cache_when_the_server_confirms_it(server, settings, route):
    server.routes["/a.mp4"] = route
    seen: list[object] = []
    first = resolve(server.url("/a.mp4"), settings)
    second = resolve(server.url("/a.mp4"), settings, on_progress=lambda *step: seen.append(step))
    assert first == second
    assert len(server.requests) == 2
    assert seen == []  # nothing was downloaded


def test_a_file_that_has_changed_is_fetched_again(server, settings):
    server.routes["/a.mp4"] = with_etag
    old = resolve(server.url("/a.mp4"), settings).path
    server.routes["/a.mp4"] = sends(VIDEO[::-1], ETag='"two"')
    new = resolve(server.url("/a.mp4"), settings).path
    assert (old.read_bytes(), new.read_bytes()) == (VIDEO, VIDEO[::-1])


def test_a_file_that_cannot_be_confirmed_is_used_unasked_for_five_minutes(server, settings, monkeypatch):
    server.routes["/a.mp4"] = sends()
    resolve(server.url("/a.mp4"), settings)
    resolve(server.url("/a.mp4"), settings)
    assert len(server.requests) == 1
    later = time.time() + download.UNASKED_S + 1
    monkeypatch.setattr(time, "time", lambda: later)
    resolve(server.url("/a.mp4"), settings)
    assert len(server.requests) == 2


@pytest.mark.parametrize("spoil", ["content", "record", "nonsense"])
def test_a_cache_that_somebody_spoiled_is_filled_again(server, settings, spoil):
    server.routes["/a.mp4"] = with_etag
    path = resolve(server.url("/a.mp4"), settings).path
    (record,) = (settings.cache_dir / "downloads" / "urls").iterdir()
    if spoil == "content":
        path.write_bytes(VIDEO[:100])
    else:
        record.write_text('{"content": "../../x"}' if spoil == "record" else "{")
    assert resolve(server.url("/a.mp4"), settings).path.read_bytes() == VIDEO


def test_without_the_server_the_error_says_so_and_where_the_copy_is(settings):
    with running() as server:
        server.routes["/a.mp4"] = with_etag
        url = server.url("/a.mp4")
        path = resolve(url, settings).path
    with pytest.raises(VideoUnavailable, match="cannot be reached") as caught:
        resolve(url, settings)
    assert str(path) in caught.value.hint
    assert caught.value.retryable
    strangers = settings.model_copy(update={"allowed_roots": ()})
    with pytest.raises(VideoUnavailable) as caught:
        resolve(url, strangers)
    assert str(path) not in str(caught.value)


def test_questions_asked_at_once_about_one_address_download_it_once(server, settings):
    entered, go_on = threading.Event(), threading.Event()

    def slowly(request: Request) -> None:
        entered.set()
        assert go_on.wait(60)
        with_etag(request)

    server.routes["/a.mp4"] = slowly
    found: list[Path] = []
    waiting = threading.Event()

    def ask(message: str = "") -> None:
        def on_progress(done: int, total: int, message: str) -> None:
            if message.startswith("waiting"):
                waiting.set()

        found.append(resolve(server.url("/a.mp4"), settings, on_progress=on_progress).path)

    threads = [threading.Thread(target=ask) for _ in range(2)]
    threads[0].start()
    assert entered.wait(60)
    threads[1].start()
    assert waiting.wait(60)
    go_on.set()
    for thread in threads:
        thread.join(60)
    assert len(set(found)) == 1
    assert [("If-None-Match" in headers) for _, headers in server.requests] == [False, True]


# ---------------------------------------------------------------- broken off


@pytest.mark.parametrize("validator", [{"ETag": '"one"'}, {"Last_Modified": "Mon, 01 Jan 2024 00:00:00 GMT"}])
def test_a_download_that_breaks_off_goes_on_where_it_stopped(server, settings, validator):
    server.routes["/a.mp4"] = Breaking(after=30_000, times=2, **validator)
    assert resolve(server.url("/a.mp4"), settings).path.read_bytes() == VIDEO
    assert [headers.get("Range") for _, headers in server.requests] == [None, "bytes=30000-", "bytes=60000-"]
    assert left_over(settings) == []


def test_a_download_that_keeps_breaking_off_is_gone_on_with_by_the_next_call(server, settings):
    server.routes["/a.mp4"] = Breaking(after=10_000, times=4, ETag='"one"')
    with pytest.raises(VideoUnavailable, match="broke off 3 times") as caught:
        resolve(server.url("/a.mp4"), settings)
    assert caught.value.retryable
    assert left_over(settings) != []
    assert resolve(server.url("/a.mp4"), settings).path.read_bytes() == VIDEO
    assert server.requests[3][1]["Range"] == "bytes=30000-"
    assert left_over(settings) == []


def test_a_cancelled_download_is_gone_on_with_by_the_next_call(server, settings):
    server.routes["/a.mp4"] = Breaking(after=0, times=0, ETag='"one"')

    def stop(done: int, total: int, message: str) -> None:
        raise Cancelled("Enough.")

    with pytest.raises(Cancelled):
        resolve(server.url("/a.mp4"), settings, on_progress=stop)
    assert resolve(server.url("/a.mp4"), settings).path.read_bytes() == VIDEO
    assert server.requests[1][1]["Range"].startswith("bytes=")


@pytest.mark.parametrize("validator", [{}, {"ETag": 'W/"weak"'}])
def test_without_a_strong_validator_a_broken_download_begins_again(server, settings, validator):
    server.routes["/a.mp4"] = Breaking(after=30_000, times=1, **validator)
    assert resolve(server.url("/a.mp4"), settings).path.read_bytes() == VIDEO
    assert ["Range" in headers for _, headers in server.requests] == [False, False]
    assert left_over(settings) == []


def test_what_cannot_be_gone_on_with_is_not_kept(server, settings):
    server.routes["/a.mp4"] = Breaking(after=10_000, times=9)
    with pytest.raises(VideoUnavailable, match="broke off"):
        resolve(server.url("/a.mp4"), settings)
    assert left_over(settings) == []


def test_a_file_that_changed_while_the_download_was_broken_off_is_not_mixed(server, settings):
    server.routes["/a.mp4"] = Breaking(after=10_000, times=9, ETag='"one"')
    with pytest.raises(VideoUnavailable):
        resolve(server.url("/a.mp4"), settings)
    server.routes["/a.mp4"] = Breaking(after=0, times=0, body=VIDEO[::-1], ETag='"two"')
    assert resolve(server.url("/a.mp4"), settings).path.read_bytes() == VIDEO[::-1]


@pytest.mark.parametrize(
    "answer",
    [
        lambda request: request.answer(416, Content_Range="bytes */5"),
        lambda request: request.answer(
            206, VIDEO[5:], Content_Range=f"bytes 5-{len(VIDEO) - 1}/{len(VIDEO)}"
        ),
        lambda request: request.answer(206, VIDEO[5:]),
    ],
    ids=["unsatisfiable", "another part", "an unnamed part"],
)
def test_an_answer_that_cannot_be_used_to_go_on_makes_it_begin_again(server, settings, answer):
    server.routes["/a.mp4"] = Breaking(after=10_000, times=9, ETag='"one"')
    with pytest.raises(VideoUnavailable):
        resolve(server.url("/a.mp4"), settings)
    server.routes["/a.mp4"] = lambda request: (
        answer(request) if "Range" in request.headers else request.answer(200, VIDEO)
    )
    assert resolve(server.url("/a.mp4"), settings).path.read_bytes() == VIDEO


def test_a_server_that_always_answers_with_a_part_is_never_taken_for_the_whole(server, settings):
    server.routes["/a.mp4"] = lambda request: request.answer(
        206, VIDEO[:1000], Content_Range=f"bytes 0-999/{len(VIDEO)}"
    )
    with pytest.raises(VideoUnavailable, match="broke off"):
        resolve(server.url("/a.mp4"), settings)


def test_what_a_day_long_nobody_went_on_with_is_removed(server, settings):
    server.routes |= {"/a.mp4": Breaking(after=10_000, times=9, ETag='"one"'), "/b.mp4": sends()}
    with pytest.raises(VideoUnavailable):
        resolve(server.url("/a.mp4"), settings)
    for path in left_over(settings):
        os.utime(path, (0, 0))
    resolve(server.url("/b.mp4"), settings)
    assert left_over(settings) == []


# ---------------------------------------------------------------- limits


@pytest.mark.parametrize("says_its_size", [True, False])
def test_a_file_over_the_limit_is_refused_whether_it_says_its_size_or_not(server, settings, says_its_size):
    big = bytes(MiB + 1)
    server.routes["/a.mp4"] = sends(big) if says_its_size else lambda request: drips(request, big)
    seen: list[int] = []
    with pytest.raises(VideoTooLarge, match="larger than the limit of 1 MiB") as caught:
        resolve(
            server.url("/a.mp4"),
            settings.model_copy(update={"max_download_mb": 1}),
            on_progress=lambda done, total, message: seen.append(done),
        )
    assert "TARSIER_MAX_DOWNLOAD_MB" in caught.value.hint
    assert (seen == []) == says_its_size  # not a byte is fetched when the size is known beforehand
    assert left_over(settings) == []


def test_a_file_of_just_the_limit_is_fetched(server, settings):
    server.routes["/a.mp4"] = sends(bytes(MiB))
    path = resolve(server.url("/a.mp4"), settings.model_copy(update={"max_download_mb": 1})).path
    assert path.stat().st_size == MiB


def test_the_rest_of_a_broken_download_counts_with_what_there_is(server, settings):
    big = bytes(MiB + 1000)
    server.routes["/a.mp4"] = Breaking(after=10_000, times=9, body=big, ETag='"one"')
    with pytest.raises(VideoUnavailable):
        resolve(server.url("/a.mp4"), settings)
    with pytest.raises(VideoTooLarge):
        resolve(server.url("/a.mp4"), settings.model_copy(update={"max_download_mb": 1}))


@pytest.mark.parametrize("silent_in", ["headers", "body", "a line of the headers"])
def test_a_server_that_never_ends_is_left_when_the_time_is_up(server, settings, silent_in):
    done = threading.Event()

    def endless(request: Request) -> None:
        if silent_in == "body":
            request.send_response(200)
            request.send_header("Content-Length", "100000")
            request.end_headers()
        for _ in range(1000):  # not for good, so that a client without a clock of its own is found out
            if done.wait(0.02):
                break
            if silent_in != "headers":
                request.wfile.write(b"x" if silent_in == "body" else b"H")

    server.routes["/a.mp4"] = endless
    try:
        with pytest.raises(VideoTooLarge, match=r"not downloaded within 0[.]5 s") as caught:
            resolve(server.url("/a.mp4"), settings.model_copy(update={"download_timeout_s": 0.5}))
    finally:
        done.set()
    assert "TARSIER_DOWNLOAD_TIMEOUT_S" in caught.value.hint


def test_a_server_that_falls_silent_is_unavailable(server, settings, monkeypatch):
    monkeypatch.setattr(download, "_TIMEOUT", download.httpx.Timeout(0.2))
    done = threading.Event()
    server.routes["/a.mp4"] = lambda request: done.wait(60)
    try:
        with pytest.raises(VideoUnavailable, match="did not answer in time") as caught:
            resolve(server.url("/a.mp4"), settings)
    finally:
        done.set()
    assert caught.value.retryable


# ---------------------------------------------------------------- answers that are no video


@pytest.mark.parametrize(
    ("status", "error", "text"),
    [
        (400, VideoNotFound, "status 400"),
        (401, SourceNotAllowed, "refuses access"),
        (403, SourceNotAllowed, "refuses access"),
        (404, VideoNotFound, "There is no video"),
        (410, VideoNotFound, "There is no video"),
        (429, VideoUnavailable, "cannot give"),
        (500, VideoUnavailable, "cannot give"),
        (503, VideoUnavailable, "cannot give"),
        (304, VideoNotFound, "status 304"),
        (302, VideoNotFound, "status 302"),
    ],
)
def test_each_status_has_its_error(server, settings, status, error, text):
    server.routes["/a.mp4"] = sends(b"<html>no</html>", status)
    with pytest.raises(error, match=text) as caught:
        resolve(server.url("/a.mp4?key=s3cret"), settings)
    assert caught.value.retryable == (error is VideoUnavailable)
    assert caught.value.hint
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"<p>hello", "text/html; charset=utf-8"),
        (b"<p>hello", "application/xhtml+xml"),
        (b"\n <!DOCTYPE html><p>hello", "video/mp4"),
        (b"<HTML><body>", ""),
    ],
)
def test_a_web_page_is_refused_by_type_or_by_its_first_bytes(server, settings, body, kind):
    server.routes["/watch"] = sends(body, Content_Type=kind)
    with pytest.raises(VideoUnreadable, match="is a web page, not a video file") as caught:
        resolve(server.url("/watch?v=1"), settings)
    assert 'pip install "tarsier-tools[web]"' in caught.value.hint
    assert left_over(settings) == []


def test_what_kind_of_file_it_is_is_left_to_the_reader(server, settings):
    server.routes["/a.mp4"] = sends(b"just text", Content_Type="text/plain")
    assert resolve(server.url("/a.mp4"), settings).path.read_bytes() == b"just text"


def test_a_compressed_answer_is_refused(server, settings):
    server.routes["/a.mp4"] = sends(b"\x1f\x8b...", Content_Encoding="gzip")
    with pytest.raises(VideoUnreadable, match="compressed"):
        resolve(server.url("/a.mp4"), settings)
    assert server.requests[0][1]["Accept-Encoding"] == "identity"


def test_a_server_that_does_not_speak_http_gives_no_valid_answer(settings):
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def speak() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b"220 mail.example ready\r\n")

        thread = threading.Thread(target=speak)
        thread.start()
        with pytest.raises(VideoUnavailable, match="gives no valid answer"):
            resolve(f"http://127.0.0.1:{listener.getsockname()[1]}/a.mp4", settings)
        thread.join()


def test_a_server_that_is_not_there_cannot_be_reached(settings):
    with running() as gone:
        url = gone.url("/a.mp4?key=s3cret")
    with pytest.raises(VideoUnavailable, match="cannot be reached") as caught:
        resolve(url, settings)
    assert "s3cret" not in str(caught.value)


def test_a_cache_that_cannot_be_written_to_is_named(server, settings, tmp_path):
    server.routes["/a.mp4"] = sends()
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="cannot be kept in") as caught:
        resolve(server.url("/a.mp4"), settings.model_copy(update={"cache_dir": tmp_path / "file"}))
    assert "TARSIER_CACHE_DIR" in caught.value.hint


def test_nothing_is_sent_that_tells_about_the_user(server: Server, settings):
    server.routes["/a.mp4"] = sends()
    resolve(server.url("/a.mp4"), settings)
    ((_, headers),) = server.requests
    assert set(headers) == {"Host", "User-Agent", "Accept", "Accept-Encoding", "Connection"}
    assert headers["User-Agent"] == "tarsier-tools"
