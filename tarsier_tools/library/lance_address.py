"""Where a library in LanceDB is, and what LanceDB says when it cannot be used."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit

from tarsier_tools import config
from tarsier_tools.errors import LibraryError, LibraryLocked, UsageError

BUSY_S = 30.0
"""So long a writer tries again while others are faster."""


def location(address: str) -> tuple[str, dict[str, str]]:
    """Where LanceDB finds it, and the options of its storage. Raises UsageError for what is no place."""
    kind, _, place = address.partition("://")
    if not place.strip("/"):
        raise UsageError(
            f"{address} names no place.", hint="Give lance://FOLDER or lance+s3://BUCKET/PREFIX."
        )
    if kind == "lance":
        return str(Path(place).expanduser()), {}
    options = {}
    endpoint = config.s3_endpoint()
    if endpoint is not None:
        parts = urlsplit(endpoint)
        if parts.scheme not in ("http", "https") or not parts.hostname or " " in endpoint:
            raise UsageError("AWS_ENDPOINT_URL is no URL.", hint="Set it to https://HOST, or unset it.")
        options["aws_endpoint"] = endpoint
        if parts.hostname in ("127.0.0.1", "::1", "localhost"):
            options["allow_http"] = "true"
    return f"s3://{place}", options


def has_files(place: str) -> bool:
    """Whether there is a folder with something in it."""
    return "://" not in place and Path(place).is_dir() and any(Path(place).iterdir())


def failure(error: Exception, address: str) -> LibraryError:
    """What LanceDB says, as an error of ours: without the places in its source, and in one line."""
    words = " ".join(str(error).split())
    if "conflict" in words.lower():
        return LibraryLocked(
            f"Other processes have been writing to {address} for more than {BUSY_S:.0f} s.",
            hint="Try again when they are done.",
        )
    answer = re.search(r"<Code>(\w+)</Code>.*?<Message>(.*?)</Message>", words)
    if answer:
        words = f"{answer[2].rstrip('.')} ({answer[1]})"
    if "BadScheme" in words:
        return LibraryError(
            "The connection to the bucket is not encrypted.",
            hint="Give https:// in AWS_ENDPOINT_URL, or set AWS_ALLOW_HTTP=true in a network that you trust.",
        )
    said = re.sub(r",? ?(location: Location \{|/\S+\.rs:\d).*", "", words).removeprefix("lance error: ")
    hint = "Check the path, the disk and the rights."
    if address.startswith("lance+s3:"):
        hint = "Check the bucket, and AWS_ENDPOINT_URL, AWS_REGION, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY."
    return LibraryError(f"{address} cannot be used as a library: {said[:300]}.", hint=hint)
