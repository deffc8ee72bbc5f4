"""Who calls, with which client, and how much of it at once."""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from mcp.server.auth.middleware.auth_context import get_access_token
from mcp.server.auth.provider import principal_components
from mcp.server.context import ServerRequestContext

READ = "video:read"
"""The scope that every call needs."""
ADMIN = "video:admin"
"""The scope whose bearer can see and cancel the jobs of every caller, and fill the library."""

_REMEMBERED = 10_000


@dataclass(frozen=True, slots=True)
class Caller:
    """Whoever sent a request.

    Attributes:
        owner: names the caller as the owner of jobs; the same for every client that one token is used with.
        client: the name that the client gives of itself, "" for none: a hint, never an identity.
        admin: may see the jobs of others, and fill the library: who has the scope for it, and over stdio the
            one caller there is, whose process this is.
    """

    owner: str
    client: str
    admin: bool

    @classmethod
    def of(cls, context: ServerRequestContext[Any, Any]) -> Caller:
        """The caller of this request."""
        token = get_access_token()
        if token is None:
            return cls("local", _client_name(context), context.request is None)
        principal = hashlib.sha256(repr(principal_components(token)).encode()).hexdigest()
        return cls(principal, _client_name(context), ADMIN in token.scopes)


def _client_name(context: ServerRequestContext[Any, Any]) -> str:
    """From the handshake or the request's envelope; stateless HTTP of the old era has only a header."""
    params = context.session.client_params
    if params is not None:
        return params.client_info.name
    headers = getattr(context.request, "headers", None)
    return str(headers.get("user-agent", "")).partition("/")[0] if headers is not None else ""


def address_of(context: ServerRequestContext[Any, Any], caller: Caller) -> str:
    """Whom limits are counted for: the owner, or without one the machine that the request came from."""
    client = getattr(context.request, "client", None)
    if caller.owner == "local" and client is not None:
        return f"host {client.host}"
    return caller.owner


class Allowance:
    """Requests of each caller per minute (a token bucket) and calls at once. Used on one event loop.

    Args:
        per_minute: None for any number.
        at_once: None for any number.
    """

    def __init__(self, per_minute: int | None = None, at_once: int | None = None) -> None:
        self._per_minute = per_minute
        self._at_once = at_once
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # caller: (left, when)
        self._calls: dict[str, int] = {}

    def wait_s(self, caller: str) -> float:
        """Take one request out of the caller's minute; how long to wait when none is left, else 0."""
        if self._per_minute is None:
            return 0.0
        now, rate = time.monotonic(), self._per_minute / 60
        left, then = self._buckets.pop(caller, (float(self._per_minute), now))
        left = min(self._per_minute, left + (now - then) * rate)
        wait = 0.0 if left >= 1 else (1 - left) / rate
        self._buckets[caller] = (left - 1 if wait == 0 else left, now)
        if len(self._buckets) > _REMEMBERED:
            self._buckets.popitem(last=False)
        return wait

    @contextmanager
    def call(self, caller: str) -> Iterator[bool]:
        """One call of the caller at work; False when there are as many as may be."""
        running = self._calls.get(caller, 0)
        if self._at_once is not None and running >= self._at_once:
            yield False
            return
        self._calls[caller] = running + 1
        try:
            yield True
        finally:
            self._calls[caller] -= 1
            if not self._calls[caller]:
                del self._calls[caller]
