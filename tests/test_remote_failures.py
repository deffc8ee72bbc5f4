"""Servers that fail: what is tried again, what is not, and what the error says."""

from __future__ import annotations

import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import trustme
from openai_server import KEY, MAX_PIXELS, Behaviour, Handler, OpenAIServer, as_clip, serving

from tarsier_tools.backends.remote import RemoteBackend, client, served_models
from tarsier_tools.backends.remote.replies import Reply
from tarsier_tools.config import Settings
from tarsier_tools.errors import (
    BackendError,
    BackendFailed,
    BackendRejected,
    BackendTimeout,
    BackendUnavailable,
    Cancelled,
    UsageError,
)
from tarsier_tools.types import Request, ScoreRequest

pytestmark = pytest.mark.allow_hosts(["127.0.0.1", "localhost"])

CLIP = as_clip(tuple(np.full((56, 56, 3), 40 * index, np.uint8) for index in range(3)))
ASKED = [Request(CLIP, "What moves?", max_new_tokens=4)]
Fault = Callable[[Handler], None]


@pytest.fixture(autouse=True)
def _no_long_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "BACKOFF_S", 0.001)


@contextmanager
def failing(*faults: Fault, **changes: Any) -> Iterator[tuple[OpenAIServer, RemoteBackend]]:
    """A server that was met while it was well, and then fails."""
    with serving(Behaviour(key=KEY)) as server:
        settings = Settings(
            **{
                "base_url": server.url,
                "api_key": KEY,
                "server_max_pixels": MAX_PIXELS,
                "retries": 0,
                **changes,
            }
        )
        with RemoteBackend(settings) as backend:
            backend.capabilities()
            server.requests.clear()
            server.behaviour.faults += faults
            yield server, backend


def status(code: int, body: bytes = b"", kind: str = "application/json", **headers: str) -> Fault:
    return lambda handler: handler.send(code, body, kind, **headers)


def says(code: int, message: str, **headers: str) -> Fault:
    return status(code, json.dumps({"error": {"message": message, "code": code}}).encode(), **headers)


def disconnects(handler: Handler) -> None:
    handler.close_connection = True
    handler.connection.shutdown(socket.SHUT_RDWR)


def breaks_off(handler: Handler) -> None:
    """A stream that ends after its first words."""
    handler.send_response(200)
    handler.send_header("Content-Type", "text/event-stream")
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    handler.event({"choices": [{"index": 0, "delta": {"content": "The"}, "finish_reason": None}]})
    disconnects(handler)


def fails_in_the_middle(handler: Handler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Type", "text/event-stream")
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    handler.event({"error": {"message": "EngineCore died.", "code": 500}})
    handler.wfile.write(b"0\r\n\r\n")


def hangs(handler: Handler) -> None:
    handler.server.hung_up.clear()
    handler.connection.settimeout(20)
    if handler.connection.recv(1) == b"":
        handler.server.hung_up.set()
    handler.close_connection = True


REFUSALS: dict[str, tuple[Fault, type[BackendError], str, str]] = {
    "a wrong key": (status(401, b'{"error": "Unauthorized"}'), BackendUnavailable, "Unauthorized", "API_KEY"),
    "a forbidden model": (says(403, "No."), BackendUnavailable, r"refuses access \(403\): No", "API_KEY"),
    "a wrong model": (
        says(404, "The model `x` does not exist."),
        BackendUnavailable,
        "has no model tarsier2",
        "TARSIER_MODEL",
    ),
    "no such path": (status(404, b'{"detail":"Not Found"}'), BackendUnavailable, "no such API", "BASE_URL"),
    "bad media": (says(400, "Failed to load image."), BackendRejected, "Failed to load image", ""),
    "a validation error": (
        status(422, b'{"detail": [{"loc": ["body"], "msg": "field required"}]}'),
        BackendRejected,
        "field required",
        "",
    ),
    "a large request": (status(413, b"<html>too large</html>", "text/html"), BackendRejected, "413", "proxy"),
    "a dead engine": (says(500, "EngineCore died."), BackendFailed, "EngineCore died", "log"),
    "a server that is full": (says(429, "Too many."), BackendFailed, "busy", "later"),
    "a gateway's page": (status(502, b"<html>Bad</html>", "text/html"), BackendFailed, r"\(502\)\.", "later"),
    "a redirect": (
        status(307, Location="http://elsewhere.invalid/v1/chat/completions"),
        BackendUnavailable,
        "sends elsewhere",
        "BASE_URL",
    ),
    "a web page": (status(200, b"<html>Hi</html>", "text/html"), BackendUnavailable, "web page", "BASE_URL"),
    "no JSON": (status(200, b"{"), BackendFailed, "cannot be read", "BASE_URL"),
    "other JSON": (status(200, b'{"choices": {"a": 1}}'), BackendFailed, "choices", "BASE_URL"),
    "no choices": (status(200, b'{"choices": []}'), BackendFailed, "no reply in it", "BASE_URL"),
    "a hang-up": (disconnects, BackendFailed, "broke off", "log"),
    "half a stream": (breaks_off, BackendFailed, "broke off", ""),
    "an error in a stream": (fails_in_the_middle, BackendFailed, "in the middle.*EngineCore died", "log"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_every_failure_is_an_error_of_ours_that_says_what_to_do(name: str) -> None:
    fault, kind, message, hint = REFUSALS[name]
    with failing(fault) as (server, backend):
        with pytest.raises(kind, match=message) as caught:
            backend.generate(ASKED)
        assert type(caught.value) is kind
        assert hint in caught.value.hint
        assert len(server.chats) == 1
        assert backend.generate(ASKED)[0].finish_reason  # and afterwards all is well


@pytest.mark.parametrize(
    ("fault", "again"),
    [
        (says(429, "Too many."), True),
        (says(503, "Loading."), True),
        (status(502), True),
        (disconnects, True),
        (breaks_off, True),
        (says(500, "EngineCore died."), False),
        (says(400, "Bad."), False),
        (status(401, b'{"error": "Unauthorized"}'), False),
        (status(200, b"{"), False),
    ],
    ids=["429", "503", "502", "hang-up", "half a stream", "500", "400", "401", "no JSON"],
)
def test_only_what_may_pass_is_tried_again(fault: Fault, again: bool) -> None:
    with failing(fault, retries=2) as (server, backend):
        if again:
            assert backend.generate(ASKED)[0].finish_reason
            assert len(server.chats) == 2
        else:
            with pytest.raises(BackendError):
                backend.generate(ASKED)
            assert len(server.chats) == 1


def test_after_so_many_repetitions_the_last_failure_is_told() -> None:
    with failing(*[says(429, f"Number {n}.") for n in range(9)], retries=2) as (server, backend):
        with pytest.raises(BackendFailed, match="Number 2"):
            backend.generate(ASKED)
        assert len(server.chats) == 3


@pytest.mark.parametrize("when", ["0.2", formatdate(0, usegmt=True)], ids=["seconds", "a date that is over"])
def test_a_server_says_itself_when_to_try_again(when: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "BACKOFF_S", 1000.0)  # would be the wait without the header
    with failing(says(429, "Later.", Retry_After=when), retries=1) as (_, backend):
        assert backend.generate(ASKED)[0].finish_reason


def test_a_server_that_wants_an_hour_is_not_waited_for() -> None:
    with failing(says(503, "Later.", Retry_After="3600"), retries=3) as (server, backend):
        with pytest.raises(BackendFailed, match="busy"):
            backend.generate(ASKED)
        assert len(server.chats) == 1


def test_a_server_that_is_gone_is_left_alone_for_a_while_and_then_asked_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = time.monotonic()
    monkeypatch.setattr(client, "clock", lambda: now)
    with failing(retries=2) as (server, backend):
        port = server.server_port
        server.die()
        with pytest.raises(BackendUnavailable, match="cannot be reached") as caught:
            backend.generate(ASKED)
        assert "Start the server" in caught.value.hint
        with pytest.raises(BackendUnavailable, match="3 times in a row; it is left alone"):
            backend.generate(ASKED)
        now += client.COOL_S + 0.1
        with serving(Behaviour(key=KEY), port) as restarted:
            assert backend.generate(ASKED)[0].finish_reason
            assert any(part["video_url"] for part in restarted.chats[-1]["messages"][0]["content"][:1])


def test_a_server_that_refuses_is_no_dead_one() -> None:
    with failing(*[says(400, "Bad.")] * 5, *[says(429, "Full.")] * 5) as (_, backend):
        for _ in range(10):
            with pytest.raises((BackendRejected, BackendFailed), match=r"Bad|Full"):
                backend.generate(ASKED)
        assert backend.generate(ASKED)[0].finish_reason


def test_the_first_failure_ends_the_other_requests_and_is_the_one_that_is_raised() -> None:
    with (
        failing(says(400, "This one."), hangs, hangs, hangs, concurrency=4) as (_, backend),
        pytest.raises(BackendRejected, match="This one"),
    ):
        backend.generate([Request(CLIP, f"{n}?", max_new_tokens=1) for n in range(12)])


class TestTime:
    def test_silence_is_not_waited_for_longer_than_allowed_and_not_repeated(self) -> None:
        with failing(hangs, retries=3, read_timeout_s=1.5) as (server, backend):
            with pytest.raises(BackendTimeout, match=r"nothing for 1\.5 s") as caught:
                backend.generate(ASKED)
            assert "TARSIER_READ_TIMEOUT_S" in caught.value.hint
            assert caught.value.retryable
            assert len(server.chats) == 1

    def test_all_tries_together_have_a_limit(self) -> None:
        slow = says(503, "Later.", Retry_After="30")
        with (
            failing(slow, retries=3, request_timeout_s=0.5) as (_, backend),
            pytest.raises(BackendTimeout, match=r"within 0\.5 s"),
        ):
            backend.generate(ASKED)

    def test_a_server_that_is_slow_but_speaks_is_waited_for(self) -> None:
        with failing(read_timeout_s=4.0) as (server, backend):
            server.behaviour.per_token_s = 1.2
            assert (
                len(backend.generate([Request(CLIP, "Describe the video.", max_new_tokens=4)])[0].logprobs)
                == 4
            )


class TestStopping:
    def test_cancelling_during_the_silence_hangs_up_at_once(self) -> None:
        calls = []

        def stop(done: int, total: int, message: str) -> None:
            calls.append(message)
            if len(calls) > 3:
                raise Cancelled("The caller asked to stop.")

        with failing(hangs, request_timeout_s=60) as (server, backend):
            with pytest.raises(Cancelled):
                backend.generate(ASKED, on_progress=stop)
            assert server.hung_up.wait(60)
            assert backend.generate(ASKED)[0].finish_reason

    def test_cancelling_in_the_middle_of_a_reply_closes_the_stream(self) -> None:
        def stop(done: int, total: int, message: str) -> None:
            if done > 1:
                raise Cancelled("The caller asked to stop.")

        with failing() as (server, backend):
            server.behaviour.per_token_s = 0.05
            with pytest.raises(Cancelled):
                backend.generate([Request(CLIP, "Describe the video in detail.")], on_progress=stop)
            assert server.hung_up.wait(60)

    def test_closing_ends_a_call_in_another_thread(self) -> None:
        failures: list[BaseException] = []

        def ask(backend: RemoteBackend) -> None:
            try:
                backend.generate(ASKED)
            except BackendUnavailable as error:
                failures.append(error)

        with failing(hangs) as (server, backend):
            thread = threading.Thread(target=ask, args=(backend,))
            thread.start()
            while not server.chats:
                thread.join(0.01)
            backend.close()
            thread.join(60)
            assert not thread.is_alive()
            assert "closed" in str(failures[0])
            with pytest.raises(BackendUnavailable, match="closed"):
                backend.generate(ASKED)


class TestSecrets:
    @pytest.mark.parametrize("code", [400, 401, 500])
    def test_a_server_that_repeats_the_key_or_writes_kilobytes_is_cut(self, code: int) -> None:
        message = f"Incorrect API key provided: {KEY}. \x1b[31m" + "x" * 9000
        with failing(says(code, message)) as (_, backend):
            with pytest.raises(BackendError) as caught:
                backend.generate(ASKED)
            assert KEY not in str(caught.value)
            assert "***" in str(caught.value)
            assert "\x1b" not in str(caught.value)
            assert len(str(caught.value)) < 600

    def test_no_error_on_the_way_holds_the_key(self) -> None:
        with failing(disconnects) as (_, backend):
            with pytest.raises(BackendFailed) as caught:
                backend.generate(ASKED)
            error: BaseException | None = caught.value
            while error is not None:
                assert KEY not in f"{error!r} {error} {vars(error)}"
                error = error.__cause__ or error.__context__

    def test_a_redirect_is_not_followed_with_the_key(self) -> None:
        with serving() as elsewhere:
            target = f"{elsewhere.url}/chat/completions"
            with (
                failing(status(307, Location=target)) as (_, backend),
                pytest.raises(BackendUnavailable, match="sends elsewhere"),
            ):
                backend.generate(ASKED)
            assert elsewhere.requests == []

    @pytest.mark.parametrize(
        "url", ["http://user:secret@host/v1", "https://host/v1?key=secret", "http://host/#secret"]
    )
    def test_a_secret_in_the_base_url_is_refused_and_not_repeated(self, url: str) -> None:
        with pytest.raises(UsageError, match="more than a scheme") as caught:
            RemoteBackend(Settings(base_url=url))
        assert "secret" not in str(caught.value)
        assert "TARSIER_API_KEY" in caught.value.hint

    @pytest.mark.parametrize("url", ["ftp://host", "host:8000", "http://", "http://[", "http://h:port"])
    def test_what_is_no_address_is_refused(self, url: str) -> None:
        with pytest.raises(UsageError, match="not an http"):
            RemoteBackend(Settings(base_url=url))


class TestTheWayThere:
    def test_a_proxy_of_the_environment_is_used_and_no_proxy_wins_over_it(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Proxy(BaseHTTPRequestHandler):
            asked: ClassVar[list[str]] = []

            def do_GET(self) -> None:
                self.asked.append(self.path)
                self.send_response(503)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        for name in ("NO_PROXY", "no_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"):
            monkeypatch.delenv(name, raising=False)
        with ThreadingHTTPServer(("127.0.0.1", 0), Proxy) as proxy, serving() as server:
            threading.Thread(target=proxy.serve_forever, args=(0.01,)).start()
            monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.server_port}")
            try:
                with pytest.raises(BackendFailed, match="busy or not ready"):
                    served_models(Settings(base_url=server.url))
                assert Proxy.asked == [f"{server.url}/models"]
                monkeypatch.setenv("no_proxy", "127.0.0.1")
                assert [model.name for model in served_models(Settings(base_url=server.url))] == ["tarsier2"]
            finally:
                proxy.shutdown()

    def test_a_certificate_of_ones_own_authority_is_trusted_when_it_is_named(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        signer, context, authority = (
            trustme.CA(),
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER),
            tmp_path / "ca.pem",
        )
        signer.issue_cert("127.0.0.1").configure_cert(context)
        signer.cert_pem.write_to_path(str(authority))
        with serving() as server:
            server.socket = context.wrap_socket(server.socket, server_side=True)
            settings = Settings(base_url=f"https://127.0.0.1:{server.server_port}")
            monkeypatch.delenv("SSL_CERT_DIR", raising=False)
            monkeypatch.delenv("SSL_CERT_FILE", raising=False)
            with pytest.raises(BackendUnavailable, match="not trusted") as caught:
                served_models(settings)
            assert "SSL_CERT_FILE" in caught.value.hint
            monkeypatch.setenv("SSL_CERT_FILE", str(authority))
            assert served_models(settings)

    def test_nobody_there(self) -> None:
        with closing(socket.create_server(("127.0.0.1", 0))) as taken:
            port = taken.getsockname()[1]
        with pytest.raises(BackendUnavailable, match="cannot be reached") as caught:
            served_models(Settings(base_url=f"http://127.0.0.1:{port}/v1"))
        assert "TARSIER_BASE_URL" in caught.value.hint


def test_scoring_fails_in_the_same_words() -> None:
    with (
        failing(says(500, "EngineCore died.")) as (_, backend),
        pytest.raises(BackendFailed, match="EngineCore died"),
    ):
        backend.score([ScoreRequest(CLIP, "Is there a dog?", ("Yes", "No"))])


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (r"a \ud83d b", "a \ufffd b"),
        (r"a \uDE00", "a \ufffd"),
        (r"\ud83d\ude00 \ud800", "\U0001f600 \ufffd"),
        (r"\\ud800 \udfff", r"\ud800" + " \ufffd"),
    ],
)
def test_half_a_character_in_a_reply_is_replaced_and_the_rest_is_kept(written: str, read: str) -> None:
    reply = Reply()
    reply.add(b'{"choices": [{"message": {"content": "%s"}, "finish_reason": "stop"}]}' % written.encode())
    assert reply.text == read
    with pytest.raises(ValueError, match="not an answer"):
        Reply().add(b'{"choices": [{"message": {"content": "\\ud800')
