"""A web server on loopback for tests: it does what a test tells it to, and remembers what it was asked."""

from __future__ import annotations

import re
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

VIDEO = bytes(range(256)) * 400
"""What is served as a video: 100 KiB that are different everywhere."""


class Request(BaseHTTPRequestHandler):
    """One request; routes write the answer with its methods."""

    server: Server

    def do_GET(self) -> None:
        self.server.requests.append((self.path, dict(self.headers)))
        route = self.server.routes.get(self.path.partition("?")[0], not_there)
        with suppress(BrokenPipeError, ConnectionResetError):  # the client has seen enough
            route(self)
        self.close_connection = True

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        """The whole answer; header names with _ for -, and a Content-Length unless one is given."""
        headers = {"Content_Length": str(len(body))} | headers
        self.send_response(status)
        for name, value in headers.items():
            if value:
                self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Server(ThreadingHTTPServer):
    """Listens on a free port of 127.0.0.1.

    Attributes:
        routes: what to do, by path without the query.
        requests: (path with query, headers) of each request, in order.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Request)
        self.routes: dict[str, Callable[[Request], None]] = {}
        self.requests: list[tuple[str, dict[str, str]]] = []

    def url(self, path: str, host: str = "127.0.0.1", scheme: str = "http") -> str:
        return f"{scheme}://{host}:{self.server_port}{path}"

    @property
    def paths(self) -> list[str]:
        return [path for path, _ in self.requests]

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away is no error of the server."""


@contextmanager
def running(tls: ssl.SSLContext | None = None) -> Iterator[Server]:
    server = Server()
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def not_there(request: Request) -> None:
    request.answer(404, b"no such page", Content_Type="text/plain")


def sends(body: bytes = VIDEO, status: int = 200, **headers: str) -> Callable[[Request], None]:
    return lambda request: request.answer(status, body, **headers)


def redirects(target: str, status: int = 302) -> Callable[[Request], None]:
    return lambda request: request.answer(status, Location=target)


def drips(request: Request, body: bytes = VIDEO) -> None:
    """The body in small chunks, without saying how long it is."""
    request.send_response(200)
    request.end_headers()
    for start in range(0, len(body), 4096):
        request.wfile.write(body[start : start + 4096])


class Breaking:
    """A file server that knows ranges, and breaks off after so many bytes, so many times."""

    def __init__(self, *, after: int, times: int, body: bytes = VIDEO, **validators: str) -> None:
        self.after, self.left, self.body, self.validators = after, times, body, validators

    def __call__(self, request: Request) -> None:
        begin = 0
        wanted = re.fullmatch(r"bytes=(\d+)-", request.headers.get("Range", ""))
        if wanted and request.headers.get("If-Range") in self.validators.values():
            begin = int(wanted[1])
        total = len(self.body)
        if begin >= total:
            request.answer(416, Content_Range=f"bytes */{total}")
            return
        extra = dict(self.validators, Content_Length=str(total - begin))
        if begin:
            extra["Content_Range"] = f"bytes {begin}-{total - 1}/{total}"
        body = self.body[begin:]
        if self.left:
            self.left -= 1
            body = body[: self.after]
        request.answer(206 if begin else 200, body, **extra)
