"""What each client can take: how long a call may last, how much a result may hold.

Clients cut calls and results without saying so, each at another place. The table holds what is known of
them, by the name that they give of themselves; everybody else gets what every client is known to take.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from tarsier_tools import UsageError


@dataclass(frozen=True, slots=True)
class ClientLimits:
    """Limits on the calls of one client.

    Attributes:
        inline_s: a call that lasts longer returns a job instead of the answer.
        text_chars: characters of text in one result; the rest is on further pages.
        result_bytes: bytes of a whole result on the wire, images in base64 included.
        images: images in one result.
        image_side: pixels of the longer side of an image.
    """

    inline_s: float = 25.0
    text_chars: int = 20_000
    result_bytes: int = 900_000
    images: int = 12
    image_side: int = 1568


MAX_IMAGE_SIDE = 2000
"""Larger images are dropped by some clients, unsaid."""

EVERYBODY = ClientLimits()
"""25 s because some clients cut at 60 s and grow unreliable from 30 s on; 900 kB because some refuse 1 MiB;
20,000 characters because some refuse 25,000 tokens, and a Chinese character can be one."""

KNOWN: dict[str, ClientLimits] = {
    # Puts a call into the background after 120 s, and waits on as long as progress comes.
    "claude-code": replace(EVERYBODY, inline_s=100.0, images=8),
    # Gives up after 10 s unless its user changed that.
    "kilo-code": replace(EVERYBODY, inline_s=8.0),
}
"""By the name in ``clientInfo``, in lower case."""


class ClientTable:
    """The limits of a client, by its name.

    Args:
        inline_s: instead of every ``inline_s`` of the table.
        changes: limits by client name, ``"*"`` for everybody, on top of the table.
    """

    def __init__(
        self, *, inline_s: float | None = None, changes: dict[str, dict[str, Any]] | None = None
    ) -> None:
        changes = {name.lower(): change for name, change in (changes or {}).items()}
        for_all = changes.pop("*", {})
        if inline_s is not None:
            for_all = {**for_all, "inline_s": inline_s}
        self._everybody = _changed(EVERYBODY, for_all, "*")
        self._known = {name: _changed(limits, for_all, name) for name, limits in KNOWN.items()}
        for name, change in changes.items():
            self._known[name] = _changed(self._known.get(name, self._everybody), change, name)

    def of(self, name: str) -> ClientLimits:
        """The limits of the client that gives this name, ``""`` when it gives none."""
        return self._known.get(name.lower(), self._everybody)


def load_changes(path: Path) -> dict[str, dict[str, Any]]:
    """Read the ``changes`` of a :class:`ClientTable` from a JSON file.

    Raises UsageError when the file cannot be read or holds something else.
    """
    try:
        document = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(
            f"The limits of clients cannot be read from {path}: {error}.", hint="Give a JSON file."
        ) from None
    if not isinstance(document, dict) or not all(isinstance(value, dict) for value in document.values()):
        raise UsageError(
            f"{path} does not hold limits of clients.",
            hint='Write it like {"claude-code": {"inline_s": 60}, "*": {"images": 4}}.',
        )
    return document


def _changed(limits: ClientLimits, change: dict[str, Any], name: str) -> ClientLimits:
    allowed = {field.name for field in fields(ClientLimits)}
    for key, value in change.items():
        if key not in allowed:
            raise UsageError(
                f"There is no limit {key!r} (client {name!r}).",
                hint=f"There are: {', '.join(sorted(allowed))}.",
            )
        if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
            raise UsageError(f"The limit {key} of client {name!r} must be a number above 0, not {value!r}.")
        if key != "inline_s" and not isinstance(value, int):
            raise UsageError(f"The limit {key} of client {name!r} must be a whole number, not {value!r}.")
    changed = replace(limits, **change)
    if changed.image_side > MAX_IMAGE_SIDE:
        raise UsageError(
            f"image_side of client {name!r} is above {MAX_IMAGE_SIDE}.",
            hint="Some clients drop larger images without a word.",
        )
    return changed
