"""From an answer that is no answer to an error that says what to do. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from tarsier_tools.errors import BackendError, BackendFailed, BackendRejected, BackendUnavailable
from tarsier_tools.text import clean_line

MAX_QUOTED = 300
"""Characters of a server's message that are shown; some repeat the whole request."""

BUSY = frozenset({408, 425, 429, 502, 503, 504})
"""Statuses after which the same request may succeed; 500 is not one of them."""

GATEWAY = frozenset({502, 504})
"""Those of them that tell of a server behind a proxy that does not answer."""


class MediaForgotten(BackendRejected):
    """The server no longer has the clip that was named by its id alone."""


@dataclass(frozen=True, slots=True)
class Refused:
    """An answer with a status other than 200.

    Attributes:
        body: its first bytes.
        server: its address, for messages.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    server: str

    @property
    def said(self) -> str:
        """The server's own words: one line, cut, without control characters; "" for none."""
        text = self.body.decode("utf-8", "replace")
        if self.is_page:
            return ""
        with suppress(ValueError, RecursionError):
            text = _message(json.loads(text))
        words = clean_line(text)
        return words if len(words) <= MAX_QUOTED else words[: MAX_QUOTED - 1] + "…"

    @property
    def is_page(self) -> bool:
        """A web page came, as from a proxy or a wrong address."""
        return "html" in self.headers.get("content-type", "") or self.body.lstrip()[:1] == b"<"


def error_for(refused: Refused, model: str) -> BackendError:
    """The error for an answer, with the server's words in it where it has any."""
    status, server, said = refused.status, refused.server, refused.said
    quoted = f": {said.rstrip('.')}." if said else "."
    if status in (401, 403):
        return BackendUnavailable(
            f"{server} refuses access ({status}){quoted}",
            hint="Set TARSIER_API_KEY to a key that this server takes.",
        )
    if 300 <= status < 400:
        return BackendUnavailable(
            f"{server} sends elsewhere ({status}), and a key is not taken along.",
            hint="Set TARSIER_BASE_URL to the address that it leads to.",
        )
    if status in (404, 405) and "model" in said.lower():
        return BackendUnavailable(
            f"{server} has no model {model}{quoted}", hint="Set TARSIER_MODEL to a name that it serves."
        )
    if status in (404, 405):
        return BackendUnavailable(
            f"{server} has no such API ({status}){quoted}",
            hint="Check TARSIER_BASE_URL; it usually ends in /v1.",
        )
    if status == 413:
        return BackendRejected(
            f"{server} does not take requests of this size (413){quoted}",
            hint="Raise the limit of the proxy before it, or show fewer frames or pixels.",
        )
    if status == 400 and "cache miss" in said.lower():
        return MediaForgotten(f"{server} no longer has the clip.")
    if status < 500 and status not in BUSY:
        return BackendRejected(f"{server} refuses the request ({status}){quoted}")
    if status in BUSY:
        return BackendFailed(f"{server} is busy or not ready ({status}){quoted}", hint="Try again later.")
    return BackendFailed(f"{server} failed ({status}){quoted}", hint="Look at the server's log.")


def _message(value: object) -> str:
    """The text in ``{"error": {"message": ...}}`` and its many relatives."""
    for key in ("error", "message", "detail", "msg"):
        if isinstance(value, dict) and value.get(key):
            return _message(value[key])
    if isinstance(value, list) and value:
        return _message(value[0])
    return value if isinstance(value, str) else json.dumps(value)
