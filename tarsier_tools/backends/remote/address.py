"""Where a server is: its base URL in the forms that people write, and what of it may be shown."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from tarsier_tools.errors import UsageError

_VERSION = re.compile(r"v\d+\w*")


@dataclass(frozen=True, slots=True)
class Address:
    """The two places of an OpenAI-compatible server.

    Attributes:
        api: what ``/chat/completions`` is appended to; ends in a version such as ``/v1``.
        root: the same without the version, for what is not part of OpenAI's API.
    """

    api: str
    root: str


def parse_address(base_url: str) -> Address:
    """Read a base URL, with or without ``/v1``.

    Raises UsageError when it is no http(s) address, or holds a user, a password, a query or a fragment.
    """
    try:
        parts = urlsplit(base_url.strip())
        host, _ = parts.hostname, parts.port
    except ValueError:
        host, parts = None, urlsplit("")
    if parts.scheme not in ("http", "https") or not host:
        raise UsageError(
            "The base URL is not an http:// or https:// address.",
            hint="Set TARSIER_BASE_URL to something like http://127.0.0.1:8000/v1.",
        )
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise UsageError(
            "The base URL holds more than a scheme, a host and a path.",
            hint="A key belongs into TARSIER_API_KEY; there it is never shown.",
        )
    whole = f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"
    root, _, last = whole.rpartition("/")
    if any(_VERSION.fullmatch(part) for part in parts.path.split("/")):
        return Address(api=whole, root=root if _VERSION.fullmatch(last) else whole)
    return Address(api=f"{whole}/v1", root=whole)
