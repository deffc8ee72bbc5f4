"""HTTP connections that go only to IP addresses that were checked, and end when their time is up.

The check is made where the connection is made: the name is looked up once, every address it stands for is
checked, and the socket is opened to one of those. TLS and the Host header go on using the name. A name that
stands for something else the next moment, or a client and a check that read an address differently, make no
way around it.

Proxies from the environment are not used here: a proxy looks names up for itself, so nothing could be
promised about where the connection ends.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import httpcore
import httpx

from tarsier_tools.media.urls import checked_addresses

if TYPE_CHECKING:
    import ssl

FAILURES = (
    httpx.HTTPError,
    httpx.InvalidURL,  # a redirect to something that is no address
    httpcore.TimeoutException,
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.UnsupportedProtocol,
)
"""Everything that a connection which goes wrong raises."""

BAD_ANSWERS = (httpx.ProtocolError, httpx.InvalidURL, httpcore.ProtocolError)

TIMEOUTS = (httpx.TimeoutException, httpcore.TimeoutException)


class Deadline:
    """A moment after which a download is given up."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    @property
    def passed(self) -> bool:
        return time.monotonic() >= self._end

    def within(self, timeout: float | None) -> float:
        """The timeout, or what is left until the deadline when that is less.

        Raises httpcore.ReadTimeout when nothing is left.
        """
        left = self._end - time.monotonic()
        if left <= 0:
            raise httpcore.ReadTimeout("the deadline has passed")
        return left if timeout is None else min(timeout, left)


class CheckedTransport(httpx.BaseTransport):
    """An HTTP/1.1 transport of httpx whose connections are checked and pinned.

    Raises SourceNotAllowed for a host that the policy refuses, VideoUnavailable for one that is not known,
    and one of FAILURES for everything else.
    """

    def __init__(self, deadline: Deadline, *, allow_private: bool) -> None:
        # Its own TLS context knows the authorities of certifi, of the system and of SSL_CERT_FILE.
        self._pool = httpcore.ConnectionPool(
            network_backend=_CheckedNetwork(deadline, allow_private=allow_private)
        )

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        assert isinstance(request.stream, httpx.SyncByteStream)
        url = httpcore.URL(
            scheme=request.url.raw_scheme,
            host=request.url.raw_host,
            port=request.url.port,
            target=request.url.raw_path,
        )
        response = self._pool.handle_request(
            httpcore.Request(
                method=request.method,
                url=url,
                headers=request.headers.raw,
                content=request.stream,
                extensions=request.extensions,
            )
        )
        assert isinstance(response.stream, Iterable)
        return httpx.Response(
            response.status,
            headers=response.headers,
            stream=_Body(response.stream),
            extensions=response.extensions,
        )

    def close(self) -> None:
        self._pool.close()


class _Body(httpx.SyncByteStream):
    def __init__(self, stream: Iterable[bytes]) -> None:
        self._stream = stream

    def __iter__(self) -> Iterator[bytes]:
        yield from self._stream

    def close(self) -> None:
        close = getattr(self._stream, "close", None)
        if close is not None:
            close()


class _CheckedNetwork(httpcore.NetworkBackend):
    def __init__(self, deadline: Deadline, *, allow_private: bool) -> None:
        self._inner = httpcore.SyncBackend()
        self._deadline = deadline
        self._allow_private = allow_private

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        failure: Exception = httpcore.ConnectError("the host has no address")
        for address in checked_addresses(host, port, allow_private=self._allow_private):
            try:
                stream = self._inner.connect_tcp(
                    address, port, self._deadline.within(timeout), local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
            else:
                return _TimedStream(stream, self._deadline)
        raise failure


class _TimedStream(httpcore.NetworkStream):
    """A stream of which no single step outlives the deadline, however slowly the bytes drip in."""

    def __init__(self, inner: httpcore.NetworkStream, deadline: Deadline) -> None:
        self._inner = inner
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, self._deadline.within(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, self._deadline.within(timeout))

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        secured = self._inner.start_tls(ssl_context, server_hostname, self._deadline.within(timeout))
        return _TimedStream(secured, self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)
