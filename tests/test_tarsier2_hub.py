"""Checkpoints by hub id, from a small hub on the loopback interface."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

import huggingface_hub.constants
import pytest
from tarsier2_kit import CHECKPOINT, settings

from tarsier_tools.backends.tarsier2 import Tarsier2Backend
from tarsier_tools.backends.tarsier2.hub import find_checkpoint
from tarsier_tools.errors import BackendUnavailable

COMMIT = "0123456789abcdef0123456789abcdef01234567"
FILES = {path.name: path for path in CHECKPOINT.iterdir()}

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])


class Hub(BaseHTTPRequestHandler):
    """The few answers of the hub that a download needs: repository, tree, files."""

    protocol_version = "HTTP/1.1"
    asked: list[str] = []  # noqa: RUF012  (one list for all requests is what is wanted)

    def do_GET(self) -> None:
        self.answer(body=True)

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def answer(self, *, body: bool) -> None:
        path = unquote(self.path.partition("?")[0])
        self.asked.append(f"{self.command} {path}")
        if "/gated" in path:
            self.reply(403, b'{"error": "gated"}', body=body, **{"X-Error-Code": "GatedRepo"})
        elif "/missing" in path:
            self.reply(404, b'{"error": "none"}', body=body, **{"X-Error-Code": "RepoNotFound"})
        elif "/revision/" in path and not path.endswith(("/main", "/v1", COMMIT)):
            self.reply(404, b'{"error": "none"}', body=body, **{"X-Error-Code": "RevisionNotFound"})
        elif "/tree/" in path:
            tree = [
                {
                    "type": "file",
                    "path": name,
                    "size": file.stat().st_size,
                    "oid": name.encode().hex(),
                }
                for name, file in FILES.items()
                if "pickles" not in path or not name.endswith(".safetensors")
            ]
            self.reply(200, json.dumps(tree).encode(), body=body)
        elif path.startswith("/api/models/"):
            repo = "/".join(path.split("/")[3:5])
            self.reply(200, json.dumps({"id": repo, "sha": COMMIT, "siblings": []}).encode(), body=body)
        elif (name := path.rpartition("/")[2]) in FILES:
            headers = {"ETag": f'"{name}"', "X-Repo-Commit": COMMIT}
            self.reply(200, FILES[name].read_bytes(), body=body, **headers)
        else:
            self.reply(404, b"", body=body, **{"X-Error-Code": "EntryNotFound"})

    def reply(self, status: int, content: bytes, *, body: bool, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Nothing on stderr."""


def use_endpoint(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """What HF_ENDPOINT does; the library reads that variable only once."""
    template = url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", url)
    monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    use_endpoint(monkeypatch, f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    Hub.asked.clear()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_hub_id_is_downloaded_once_and_then_opened(hub: ThreadingHTTPServer) -> None:
    with Tarsier2Backend("someone/tiny", settings(model="someone/tiny")) as backend:
        assert backend.info.name == "someone/tiny"
        assert backend.info.revision == COMMIT
    downloads = [line for line in Hub.asked if line.startswith("GET /someone/tiny/resolve")]
    assert sum("model.safetensors" in line for line in downloads) == 1
    Hub.asked.clear()
    find_checkpoint("someone/tiny", None)
    assert not [line for line in Hub.asked if "/resolve/" in line]


def test_a_revision_is_pinned(hub: ThreadingHTTPServer) -> None:
    folder, revision = find_checkpoint("someone/tiny", "v1")
    assert revision == COMMIT == folder.name
    assert any("/revision/v1" in line for line in Hub.asked)


def test_pickles_are_not_even_downloaded(hub: ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FILES, "pytorch_model.bin", FILES["model.safetensors"])
    with pytest.raises(BackendUnavailable, match="lacks 1 weight file"):
        Tarsier2Backend("someone/pickles", settings(model="someone/pickles"))
    assert not [line for line in Hub.asked if line.endswith(".bin")]


@pytest.mark.parametrize(
    ("repo", "revision", "message", "hint"),
    [
        ("someone/gated", None, "is gated", "hf auth login"),
        ("someone/missing", None, "has no someone/missing", "Check the name"),
        ("someone/tiny", "v9", "no revision v9", "commit, tag or branch"),
    ],
)
def test_what_the_hub_refuses_is_said_with_what_to_do(
    repo: str, revision: str | None, message: str, hint: str, hub: ThreadingHTTPServer
) -> None:
    with pytest.raises(BackendUnavailable, match=message) as caught:
        find_checkpoint(repo, revision)
    assert hint in caught.value.hint


def test_without_a_network_the_line_to_type_is_said(
    hub: ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_endpoint(monkeypatch, "http://127.0.0.1:9")  # nobody listens there
    with pytest.raises(BackendUnavailable, match="hub cannot be reached") as caught:
        find_checkpoint("someone/tiny", None)
    assert "hf download someone/tiny" in caught.value.hint


def test_a_downloaded_checkpoint_is_used_without_a_network(
    hub: ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    there, _ = find_checkpoint("someone/tiny", None)
    use_endpoint(monkeypatch, "http://127.0.0.1:9")
    assert find_checkpoint("someone/tiny", None) == (there, COMMIT)
