"""Videos from http(s) addresses, fetched into the cache.

- Where a download may come from is decided by :mod:`tarsier_tools.media.urls`, at each of at most five
  redirects.
- A file that is in the cache is used after the server has confirmed it (ETag, Last-Modified). When the server
  gave neither, it is used unasked for five minutes and then fetched again; a video fetched from a web page
  of a video site, for a month. When the server cannot be reached the error says so, and where the copy is.
- A download that breaks off is gone on with (Range, If-Range) when the server gave a strong ETag or a
  Last-Modified, at once and in later calls of the next 24 hours; otherwise it begins again.
- Proxies of the environment are used only with ``allow_private_hosts``: a proxy looks names up for itself, so
  that nothing could be promised about where a connection ends.
"""

from __future__ import annotations

import hashlib
import re
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from weakref import WeakValueDictionary

import httpx

from tarsier_tools.config import MiB, Settings
from tarsier_tools.errors import (
    SourceNotAllowed,
    UsageError,
    VideoNotFound,
    VideoTooLarge,
    VideoUnavailable,
    VideoUnreadable,
)
from tarsier_tools.media.download_cache import DownloadCache, Kept, Partial
from tarsier_tools.media.download_transport import BAD_ANSWERS, FAILURES, TIMEOUTS, CheckedTransport, Deadline
from tarsier_tools.media.urls import check_host_form, shown
from tarsier_tools.media.websites import fetch_page, is_video_page
from tarsier_tools.types import Progress, no_progress

MAX_REDIRECTS = 5
TRIES = 3
"""How often a download that breaks off is gone on with in one call."""
UNASKED_S = 300.0
"""How long a file is used unasked when the server gives nothing to ask with."""
PAGE_UNASKED_S = 30 * 24 * 3600.0
"""The same for a video behind a web page: the sites' addresses stand for one video for good."""

_TIMEOUT = httpx.Timeout(30.0, connect=10.0)
_PAGE_TYPES = ("text/html", "application/xhtml+xml")
_PAGE_STARTS = (b"<!doctype html", b"<html")
_REFUSED = {401, 402, 403, 407, 451}
_BUSY = {408, 425, 429}
_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")

_locks: WeakValueDictionary[str, threading.Lock] = WeakValueDictionary()
_locks_lock = threading.Lock()


def fetch(url: str, settings: Settings, *, on_progress: Progress = no_progress) -> Path:
    """The file that an http(s) address stands for, in the cache.

    Args:
        on_progress: called with bytes done and bytes in all (0 when the server does not say). What was
            fetched until it raises is kept for the next call.

    Raises:
        SourceNotAllowed: the policy refuses the address or a redirect, the server refuses access, or the
            address is a page of a video site and yt-dlp is not installed.
        VideoNotFound: the server has no such file.
        VideoUnreadable: the address is a web page, or the answer is encoded.
        VideoTooLarge: max_download_mb or download_timeout_s was met.
        VideoUnavailable: the server cannot be reached, is busy or broke off; may succeed later.
        UsageError: the cache folder cannot be written to.
    """
    address = _parse(url)
    key = hashlib.sha256(str(address).encode()).hexdigest()
    try:
        cache = DownloadCache(settings.cache_dir / "downloads")
        with _alone(key, on_progress):
            kept = cache.kept(key)
            if kept and time.time() < kept.good_until:
                return kept.path
            return _Fetch(address, key, cache, kept, settings, on_progress).run()
    except OSError as error:
        raise UsageError(
            f"The download cannot be kept in {settings.cache_dir}: {error.strerror or error}.",
            hint="Make room there, or set cache_dir (TARSIER_CACHE_DIR) to another folder.",
        ) from error


class _BrokeOffError(Exception):
    """The answer ended early, or cannot be used to go on with what there is: ask again."""


class _Fetch:
    def __init__(
        self,
        address: httpx.URL,
        key: str,
        cache: DownloadCache,
        kept: Kept | None,
        settings: Settings,
        on_progress: Progress,
    ) -> None:
        self._address = address
        self._key = key
        self._cache = cache
        self._kept = kept
        self._settings = settings
        self._limit = settings.max_download_mb * MiB
        self._deadline = Deadline(settings.download_timeout_s)
        self._on_progress = on_progress

    def run(self) -> Path:
        try:
            with self._client() as client, self._cache.partial(self._key) as partial:
                for _ in range(TRIES):
                    try:
                        return self._try(client, partial)
                    except _BrokeOffError:
                        continue
                raise VideoUnavailable(
                    f"The download of {shown(str(self._address))} broke off {TRIES} times.",
                    hint="Try again later.",
                )
        except VideoUnavailable as error:
            raise VideoUnavailable(error.message, hint=" ".join([error.hint, *self._ways_out()])) from error
        except TIMEOUTS as error:
            if self._deadline.passed:
                raise self._too_long() from error
            raise VideoUnavailable(
                f"{shown(str(self._address))} did not answer in time.", hint="Try again later."
            ) from error

    def _client(self) -> httpx.Client:
        if self._settings.allow_private_hosts and urllib.request.getproxies():
            return httpx.Client(timeout=_TIMEOUT)
        transport = CheckedTransport(self._deadline, allow_private=self._settings.allow_private_hosts)
        return httpx.Client(transport=transport, timeout=_TIMEOUT, trust_env=False)

    def _try(self, client: httpx.Client, partial: Partial) -> Path:
        answer = self._open(client, partial)
        if isinstance(answer, httpx.URL):
            return self._from_page(answer, partial)
        try:
            if answer.status_code == 304 and self._kept:
                return self._kept.path
            if answer.status_code == 416:
                partial.restart("")
                raise _BrokeOffError
            if answer.status_code not in (200, 206):
                raise _refusal(answer)
            return self._save(answer, partial)
        finally:
            answer.close()

    def _open(self, client: httpx.Client, partial: Partial) -> httpx.Response | httpx.URL:
        """The answer behind all redirects, its body not yet read; or the page of a video site."""
        headers = self._headers(partial)
        address = self._address
        for _ in range(MAX_REDIRECTS + 1):
            self._check(address)
            if is_video_page(address.host, address.path):
                return address
            try:
                answer = client.send(client.build_request("GET", address, headers=headers), stream=True)
            except TIMEOUTS:
                raise
            except FAILURES as error:
                raise _unreachable(address, error) from error
            if not answer.has_redirect_location:
                return answer
            answer.close()
            target = _parse(answer.headers["location"], base=address)
            if address.scheme == "https" and target.scheme == "http":
                raise SourceNotAllowed(
                    f"{shown(str(address))} redirects from https to http, which is refused.",
                    hint="Download the video yourself and give its path.",
                )
            address = target
        raise SourceNotAllowed(
            f"{shown(str(self._address))} redirects more than {MAX_REDIRECTS} times.",
            hint="Give the address that it ends at.",
        )

    def _check(self, address: httpx.URL) -> None:
        """Refuse what can be refused without looking the host up; the transport does the rest."""
        if address.scheme == "http" and not self._settings.allow_http:
            raise SourceNotAllowed(
                f"{shown(str(address))} is not encrypted (http), which is refused.",
                hint="Use https, or set allow_http (TARSIER_ALLOW_HTTP=1).",
            )
        if address.scheme not in ("http", "https"):
            raise SourceNotAllowed(
                f"Videos cannot be fetched from an address that begins with {address.scheme[:20]}:.",
                hint="Give an https address or a path.",
            )
        if address.userinfo:
            raise SourceNotAllowed(
                f"The address of {address.host} holds a user name or password, which is refused.",
                hint="Download the video yourself and give its path.",
            )
        if address.port is not None and not 0 < address.port < 1 << 16:
            raise SourceNotAllowed(
                f"The address of {address.host} names an impossible port.", hint="Leave the port out."
            )
        check_host_form(address.host)

    def _headers(self, partial: Partial) -> dict[str, str]:
        # Compressed answers could neither be counted against the limit beforehand nor gone on with.
        headers = {"User-Agent": "tarsier-tools", "Accept": "*/*", "Accept-Encoding": "identity"}
        if self._kept and self._kept.etag:
            headers["If-None-Match"] = self._kept.etag
        if self._kept and self._kept.last_modified:
            headers["If-Modified-Since"] = self._kept.last_modified
        if partial.size and partial.validator:
            headers["Range"] = f"bytes={partial.size}-"
            headers["If-Range"] = partial.validator
        return headers

    def _save(self, answer: httpx.Response, partial: Partial) -> Path:
        """Write the body to the partial download, and that to the cache when it is whole."""
        _check_content(answer)
        etag, last_modified = answer.headers.get("etag", ""), answer.headers.get("last-modified", "")
        total = int(answer.headers.get("content-length", 0))
        if answer.status_code == 206:
            total = _total_of_rest(answer, partial)
        else:
            partial.restart(last_modified if not etag or etag.startswith("W/") else etag)
        done, digest = partial.size, partial.digest()
        self._check_size(max(total, done), partial)
        with partial.data.open("ab") as data:
            for chunk in _body(answer):
                if not done and chunk.lstrip().lower().startswith(_PAGE_STARTS):
                    raise _web_page(answer)
                done += len(chunk)
                self._check_size(done, partial)
                data.write(chunk)
                digest.update(chunk)
                self._on_progress(done, max(total, 0), "downloading")
                if self._deadline.passed:
                    raise self._too_long()
        if total and done != total:
            raise _BrokeOffError
        good_until = 0.0 if etag or last_modified else time.time() + UNASKED_S
        return self._cache.keep(
            self._key,
            partial.data,
            digest.hexdigest(),
            etag=etag,
            last_modified=last_modified,
            good_until=good_until,
        )

    def _from_page(self, page: httpx.URL, partial: Partial) -> Path:
        file = fetch_page(
            str(page),
            page.host,
            partial.folder,
            max_bytes=self._limit,
            timeout_s=self._settings.download_timeout_s,
            on_progress=self._on_progress,
        )
        with file.open("rb") as data:
            content = hashlib.file_digest(data, "sha256").hexdigest()
        return self._cache.keep(self._key, file, content, good_until=time.time() + PAGE_UNASKED_S)

    def _check_size(self, size: int, partial: Partial) -> None:
        if size > self._limit:
            partial.restart("")
            raise VideoTooLarge(
                f"{shown(str(self._address))} is larger than the limit of {self._limit // MiB} MiB.",
                hint="Raise max_download_mb (TARSIER_MAX_DOWNLOAD_MB).",
            )

    def _too_long(self) -> VideoTooLarge:
        return VideoTooLarge(
            f"{shown(str(self._address))} was not downloaded within {self._settings.download_timeout_s:g} s.",
            hint="Raise download_timeout_s (TARSIER_DOWNLOAD_TIMEOUT_S), or call again to go on with it.",
        )

    def _ways_out(self) -> Iterator[str]:
        if self._kept and self._settings.allowed_roots is None:
            yield f"A copy fetched earlier may be out of date, but is there: {self._kept.path}"
        if not self._settings.allow_private_hosts and urllib.request.getproxies():
            yield (
                "The proxy of the environment is not used, because it would look up hosts unchecked; "
                "TARSIER_ALLOW_PRIVATE_HOSTS=1 permits that."
            )


@contextmanager
def _alone(key: str, on_progress: Progress) -> Iterator[None]:
    """One thread at a time per address: agents ask several questions about one video at once."""
    with _locks_lock:
        lock = _locks.setdefault(key, threading.Lock())
    while not lock.acquire(timeout=0.2):
        on_progress(0, 0, "waiting for the same download")
    try:
        yield
    finally:
        lock.release()


def _parse(url: str, base: httpx.URL | None = None) -> httpx.URL:
    """An address, or the target of a redirect, without its fragment."""
    try:
        address = httpx.URL(url) if base is None else base.join(url)
        return address.copy_with(fragment=None)
    except (httpx.InvalidURL, UnicodeError, ValueError):
        # The text of these errors may quote the address with all that it holds.
        raise SourceNotAllowed(
            "The address is not a valid URL.", hint="Give a whole address: https://host/file.mp4"
        ) from None


def _body(answer: httpx.Response) -> Iterator[bytes]:
    try:
        yield from answer.iter_raw()
    except TIMEOUTS:
        raise
    except FAILURES as error:
        raise _BrokeOffError from error


def _check_content(answer: httpx.Response) -> None:
    if answer.headers.get("content-type", "").partition(";")[0].strip().lower() in _PAGE_TYPES:
        raise _web_page(answer)
    if answer.headers.get("content-encoding", "identity").lower() not in ("", "identity"):
        raise VideoUnreadable(
            f"The server sends {shown(str(answer.url))} compressed, though it was asked not to.",
            hint="Download the video yourself and give its path.",
        )


def _web_page(answer: httpx.Response) -> VideoUnreadable:
    return VideoUnreadable(
        f"{shown(str(answer.url))} is a web page, not a video file.",
        hint="Give the address of the video file itself; pages of well-known video sites can be used with "
        'pip install "tarsier-tools[web]".',
    )


def _total_of_rest(answer: httpx.Response, partial: Partial) -> int:
    """Bytes of the whole file, by an answer that goes on where the partial download ends."""
    told = _CONTENT_RANGE.fullmatch(answer.headers.get("content-range", ""))
    if told is None or int(told[1]) != partial.size:
        partial.restart("")
        raise _BrokeOffError
    return 0 if told[2] == "*" else int(told[2])


def _refusal(answer: httpx.Response) -> VideoNotFound | SourceNotAllowed | VideoUnavailable:
    status, where = answer.status_code, shown(str(answer.url))
    if status in _REFUSED:
        return SourceNotAllowed(
            f"The server refuses access to {where} (status {status}).",
            hint="It may need a login, or the link may have run out: download the video and give its path.",
        )
    if status in _BUSY or status >= 500:
        return VideoUnavailable(
            f"The server cannot give {where} now (status {status}).", hint="Try again later."
        )
    return VideoNotFound(f"There is no video at {where} (status {status}).", hint="Check the address.")


def _unreachable(address: httpx.URL, error: Exception) -> VideoUnavailable:
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return VideoUnavailable(
            f"The certificate of {address.host} cannot be verified.",
            hint="If your network has a certificate authority of its own, set SSL_CERT_FILE to it.",
        )
    if isinstance(error, BAD_ANSWERS):
        return VideoUnavailable(
            f"The server gives no valid answer for {shown(str(address))}.",
            hint="Check the address, and that it belongs to a web server.",
        )
    return VideoUnavailable(
        f"{shown(str(address))} cannot be reached.", hint="Check the address and the network connection."
    )
