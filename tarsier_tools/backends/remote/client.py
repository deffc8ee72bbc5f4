"""HTTP to one server: pooled connections, tries, time limits, and every failure as one of our errors.

Proxies (``HTTPS_PROXY``, ``NO_PROXY``) and certificates (``SSL_CERT_FILE``) of the environment hold, as
httpx reads them. Redirects are never followed, so that the key goes to the address that was given and to no
other. The key is in a header of the client and nowhere else, and is cut out of what the server says.
"""

from __future__ import annotations

import asyncio
import random
import ssl
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TypeVar

import httpx

from tarsier_tools.backends.remote.address import Address
from tarsier_tools.backends.remote.refusals import BUSY, GATEWAY, Refused, error_for
from tarsier_tools.backends.remote.replies import Reply, ServerTrouble
from tarsier_tools.errors import (
    BackendError,
    BackendFailed,
    BackendRejected,
    BackendTimeout,
    BackendUnavailable,
)

MAX_ANSWER_BYTES = 128 << 20
"""Of one answer; a prompt's log-probabilities are the longest, at about 100 bytes a token."""

MAX_RETRY_AFTER_S = 60.0
"""The longest that a server may ask to be waited for; above this the call fails at once."""

BACKOFF_S = 0.5
"""Before the first repetition; doubled for each further one, and spread by half to and fro."""

DRAIN_S = 0.5

FAILURES_TO_OPEN = 3
COOL_S = 5.0
MAX_COOL_S = 60.0

OnEvent = Callable[[Reply], None]
clock = time.monotonic
"""Seconds from some moment; by what a server is left alone."""

_REFUSAL_BYTES = 64 << 10
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a server is waited for, and how often it is asked again.

    Attributes:
        connect_s: for a connection.
        silence_s: without a byte; a server says nothing while it reads a video.
        total_s: for one request with all its tries.
        retries: repetitions after a failure that may pass.
    """

    connect_s: float
    silence_s: float
    total_s: float
    retries: int


class _MayPass(Exception):  # never leaves this module
    """A failure after which the same request may succeed.

    Attributes:
        busy: the server works, and has no time now.
        wait_s: what it asks to be waited for, None when it does not say.
    """

    def __init__(self, error: BackendError, *, busy: bool = False, wait_s: float | None = None) -> None:
        super().__init__()
        self.error, self.busy, self.wait_s = error, busy, wait_s


class Breaker:
    """Stops asking a server that has failed several times in a row, for a while that doubles each time."""

    def __init__(self, server: str) -> None:
        self._server = server
        self._failures = 0
        self._cool_s = COOL_S
        self._shut_until = 0.0

    def check(self) -> None:
        """Raises BackendUnavailable while the server is left alone. Afterwards one request is let through."""
        left = self._shut_until - clock()
        if left > 0:
            raise BackendUnavailable(
                f"{self._server} failed {self._failures} times in a row; it is left alone for {left:.0f} s.",
                hint="See whether the server runs; a served model that crashed needs a new start.",
            )
        if self._failures >= FAILURES_TO_OPEN:
            self._shut_until = clock() + self._cool_s  # for all but the one that asks now

    def worked(self) -> None:
        self._failures, self._cool_s, self._shut_until = 0, COOL_S, 0.0

    def failed(self) -> None:
        self._failures += 1
        if self._failures > FAILURES_TO_OPEN:
            self._cool_s = min(2 * self._cool_s, MAX_COOL_S)
        if self._failures >= FAILURES_TO_OPEN:
            self._shut_until = clock() + self._cool_s


class Client:
    """Requests to one server. Belongs to one event loop; made, used and closed there.

    Args:
        key: sent as a bearer token; "" for none.
    """

    def __init__(self, address: Address, key: str, patience: Patience) -> None:
        self._address = address
        self._key = key
        self._patience = patience
        self._breaker = Breaker(address.api)
        self._http = httpx.AsyncClient(
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=httpx.Timeout(patience.silence_s, connect=patience.connect_s, pool=None),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=32),
            follow_redirects=False,
        )

    async def close(self) -> None:
        await self._http.aclose()

    async def models(self) -> bytes:
        """The body of ``GET /models``."""
        return await self._request("GET", f"{self._address.api}/models", None, "", _whole)

    async def tokenize(self, body: bytes, model: str) -> bytes:
        """The body of vLLM's ``POST /tokenize``, which is not below ``/v1``."""
        return await self._request("POST", f"{self._address.root}/tokenize", body, model, _whole)

    async def chat(self, body: bytes, model: str, on_event: OnEvent | None = None) -> Reply:
        """A chat completion, streamed or not, as the body asks.

        Args:
            on_event: called with the reply as far as it has come, for each event of it. After a failure in
                the middle the reply begins anew.

        Raises BackendError and its kinds.
        """

        async def read(response: httpx.Response) -> Reply:
            reply = Reply()
            async with aclosing(_events(response)) as events:
                async for data in events:
                    reply.add(data)
                    if on_event is not None:
                        on_event(reply)
            if not reply.finish_reason:
                if not _is_stream(response):
                    raise ValueError("there is no reply in it")
                raise _MayPass(BackendFailed(f"{self._address.api} broke off before the end of its reply."))
            return reply

        return await self._request("POST", f"{self._address.api}/chat/completions", body, model, read)

    async def _request(
        self,
        method: str,
        url: str,
        body: bytes | None,
        model: str,
        read: Callable[[httpx.Response], Awaitable[_T]],
    ) -> _T:
        """One request with its tries."""
        self._breaker.check()
        try:
            async with asyncio.timeout(self._patience.total_s):
                for turn in range(self._patience.retries + 1):
                    try:
                        result = await self._once(method, url, body, model, read)
                    except _MayPass as failure:
                        if not failure.busy:
                            self._breaker.failed()
                        last = turn == self._patience.retries
                        if last or (failure.wait_s or 0) > MAX_RETRY_AFTER_S:
                            raise failure.error from failure.__cause__
                        await asyncio.sleep(_pause(turn) if failure.wait_s is None else failure.wait_s)
                        continue
                    except BackendFailed:
                        self._breaker.failed()
                        raise
                    except BackendRejected:
                        self._breaker.worked()
                        raise
                    self._breaker.worked()
                    return result
        except TimeoutError:
            raise BackendTimeout(
                f"{self._address.api} did not finish within {self._patience.total_s:g} s.",
                hint="Raise TARSIER_REQUEST_TIMEOUT_S, or lower TARSIER_CONCURRENCY when requests queue up.",
            ) from None
        raise AssertionError("the last turn returns or raises")

    async def _once(
        self,
        method: str,
        url: str,
        body: bytes | None,
        model: str,
        read: Callable[[httpx.Response], Awaitable[_T]],
    ) -> _T:
        server = self._address.api
        try:
            request = self._http.build_request(
                method, url, content=body, headers={"Content-Type": "application/json"} if body else {}
            )
            response = await self._http.send(request, stream=True)
            try:
                if response.status_code != 200:
                    await self._refuse(response, model)
                if "html" in response.headers.get("content-type", ""):
                    raise BackendUnavailable(
                        f"{server} answers with a web page.",
                        hint="Check TARSIER_BASE_URL: it must be the API's address, not that of a site.",
                    )
                return await read(response)
            finally:
                await response.aclose()
        except ServerTrouble as trouble:
            raise BackendFailed(
                f"{server} failed in the middle of its reply: {self._safe(str(trouble))}.",
                hint="Look at the server's log.",
            ) from None
        except ValueError as error:  # of Reply.add
            raise BackendFailed(
                f"The answer of {server} cannot be read: {self._safe(str(error))}.",
                hint="Check that TARSIER_BASE_URL is an OpenAI-compatible API.",
            ) from None
        except (httpx.HTTPError, httpx.InvalidURL, ssl.SSLError, OSError) as error:
            raise self._transport_error(error) from error

    async def _refuse(self, response: httpx.Response, model: str) -> None:
        body = b""
        async for part in response.aiter_bytes():
            body += part
            if len(body) > _REFUSAL_BYTES:
                break
        body = body.replace(self._key.encode(), b"***") if self._key else body
        error = error_for(
            Refused(response.status_code, response.headers, body[:_REFUSAL_BYTES], self._address.api), model
        )
        if response.status_code in BUSY:
            wait_s = _retry_after(response.headers.get("retry-after", ""))
            raise _MayPass(error, busy=response.status_code not in GATEWAY, wait_s=wait_s)
        raise error

    def _transport_error(self, error: Exception) -> Exception:
        server = self._address.api
        words = self._safe(str(error) or type(error).__name__)
        if isinstance(error, httpx.ConnectTimeout):
            return _MayPass(
                BackendTimeout(
                    f"{server} gave no connection within {self._patience.connect_s:g} s.",
                    hint="Check the address, and whether a proxy or a firewall is in between.",
                )
            )
        if isinstance(error, httpx.TimeoutException):  # to repeat it would take as long again
            return BackendTimeout(
                f"{server} said nothing for {self._patience.silence_s:g} s.",
                hint="Raise TARSIER_READ_TIMEOUT_S for long videos, or look at the server's log.",
            )
        if _certificate_refused(error):
            return BackendUnavailable(
                f"The certificate of {server} is not trusted: {words}.",
                hint="Set SSL_CERT_FILE to the authority that signed it.",
            )
        if isinstance(error, httpx.ProxyError):
            return BackendUnavailable(
                f"The proxy on the way to {server} refuses: {words}.",
                hint="Check HTTPS_PROXY and HTTP_PROXY; NO_PROXY names hosts that need none.",
            )
        if isinstance(error, httpx.ConnectError):
            return _MayPass(
                BackendUnavailable(
                    f"{server} cannot be reached: {words}.",
                    hint="Start the server, or check TARSIER_BASE_URL.",
                )
            )
        if isinstance(error, httpx.InvalidURL | httpx.UnsupportedProtocol | httpx.DecodingError):
            return BackendFailed(f"{server} cannot be talked to: {words}.")
        return _MayPass(BackendFailed(f"{server} broke off: {words}.", hint="Look at the server's log."))

    def _safe(self, text: str) -> str:
        return text.replace(self._key, "***") if self._key else text


def _is_stream(response: httpx.Response) -> bool:
    return "text/event-stream" in response.headers.get("content-type", "")


async def _whole(response: httpx.Response) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for part in response.aiter_bytes():
        size += len(part)
        if size > MAX_ANSWER_BYTES:
            raise ValueError(f"it is longer than {MAX_ANSWER_BYTES >> 20} MB")
        parts.append(part)
    return b"".join(parts)


async def _events(response: httpx.Response) -> AsyncGenerator[bytes]:
    """The events of a stream (SSE), or the whole answer of a server that does not stream."""
    if not _is_stream(response):
        yield await _whole(response)
        return
    rest = b""
    size = 0
    parts = response.aiter_bytes()
    async for part in parts:
        size += len(part)
        if size > MAX_ANSWER_BYTES:
            raise ValueError(f"it is longer than {MAX_ANSWER_BYTES >> 20} MB")
        *lines, rest = (rest + part).split(b"\n")
        for line in lines:
            field, _, value = line.strip().partition(b":")
            if field != b"data":  # comments keep the connection alive
                continue
            if value.strip() == b"[DONE]":
                await _drain(parts)
                return
            yield value


async def _drain(parts: AsyncIterator[bytes]) -> None:
    """Read the end of an answer, after which the connection can be used again; it is here, or never comes."""
    with suppress(TimeoutError):
        async with asyncio.timeout(DRAIN_S):
            async for _ in parts:
                pass


def _pause(turn: int) -> float:
    return float(BACKOFF_S * 2**turn * random.uniform(0.5, 1.5))  # noqa: S311  (no secret)


def _retry_after(text: str) -> float | None:
    """Seconds of a Retry-After header, which holds a number or a date."""
    try:
        return max(0.0, float(text))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except ValueError:
        return None


def _certificate_refused(error: BaseException | None) -> bool:
    """httpx wraps what ssl raised, once or twice."""
    while error is not None:
        if isinstance(error, ssl.SSLError):
            return True
        error = error.__cause__ or error.__context__
    return False
