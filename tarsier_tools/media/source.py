"""Where a video may come from: files, folders of images and http(s) addresses, and which of them are allowed.

Whatever is given becomes the real path of something that exists. What kind of video it is, if any, is found
out from its bytes later, by the reader: a file's name tells nothing.
"""

from __future__ import annotations

import difflib
import errno
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote
from urllib.request import url2pathname

from tarsier_tools.config import Settings
from tarsier_tools.errors import SourceNotAllowed, UsageError, VideoNotFound, VideoUnreadable
from tarsier_tools.media.urls import shown
from tarsier_tools.types import Progress, no_progress

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):", re.ASCII)
_LISTED = 2000
"""Names of a folder that are looked at for close matches."""
_LONGEST_NAME = 255
_SANDBOXES = ("/mnt/user-data/", "/mnt/data/", "/home/claude/", "/tmp/outputs/")  # noqa: S108 (compared only)


@dataclass(frozen=True, slots=True)
class Source:
    """A video that was found and may be used.

    Attributes:
        path: the real path, symbolic links resolved, of a regular file or a folder.
        given: what the caller wrote, for results.
        name: the same for messages: one line, not too long, and of an address only what holds no secret.
    """

    path: Path
    given: str
    name: str

    def __fspath__(self) -> str:
        return str(self.path)


def resolve(video: str | Path, settings: Settings, *, on_progress: Progress = no_progress) -> Source:
    """Find a video: a path (``~`` allowed), a ``file://`` URL, a folder of images, an http(s) address.

    With ``settings.allowed_roots``, only what lies inside one of those folders after all symbolic links are
    followed is used, and a relative path is looked for in the current folder and then in each of them.
    Downloads are kept in ``settings.cache_dir``; see :mod:`tarsier_tools.media.download`.

    Raises:
        VideoNotFound: nothing is there.
        VideoUnreadable: it is neither a file nor a folder, or access is denied.
        SourceNotAllowed: outside the allowed folders, or the address is refused.
        UsageError: nothing was given.
        And, for addresses, what :func:`tarsier_tools.media.download.fetch` raises.
    """
    given = str(video)
    if not given.strip():
        raise UsageError("No video was given.", hint="Give a path or an https address.")
    name = _named(given)
    scheme = _scheme(given) if isinstance(video, str) else ""
    if scheme in ("http", "https"):
        return Source(_fetched(given.strip(), settings, on_progress), given, _named(shown(given.strip())))
    if scheme == "file":
        return Source(_found(_path_of_url(given.strip()), name, settings), given, name)
    if scheme == "data":
        raise SourceNotAllowed(
            "Videos are not taken as data: URLs.",
            hint="Save the video and give its path, or give its address.",
        )
    if scheme:
        raise SourceNotAllowed(
            f"Videos cannot be fetched from an address that begins with {scheme}:.",
            hint="Give a path, a file:// URL or an https address.",
        )
    return Source(_found(Path(video), name, settings), given, name)


def resolve_folder(folder: str | Path, settings: Settings) -> Source:
    """Find a folder that is to be listed, by its path only. Links in it may lead anywhere: check each entry.

    Raises VideoNotFound, VideoUnreadable and SourceNotAllowed as :func:`resolve`; UsageError for a file.
    """
    given = str(folder)
    name = _named(given)
    path = _found(Path(folder), name, settings, check_links=False)
    if not path.is_dir():
        raise UsageError(f"{name} is not a folder.", hint="Give a folder, or use it as a video.")
    return Source(path, given, name)


def _named(given: str) -> str:
    """What was given, as it may appear in a message: one line, not too long."""
    line = "".join(letter if letter.isprintable() else "?" for letter in given)
    return line if len(line) <= 200 else f"{line[:197]}..."


def _scheme(given: str) -> str:
    """The scheme of a URL in lower case, "" for a path. ``C:`` is a drive, ``a:b.mp4`` a file."""
    match = _SCHEME.match(given.strip())
    if match is None:
        return ""
    scheme, rest = match[1].lower(), given.strip()[match.end() :]
    return scheme if rest.startswith("//") or scheme in ("file", "data", "http", "https") else ""


def _fetched(url: str, settings: Settings, on_progress: Progress) -> Path:
    if not settings.allow_urls:
        raise SourceNotAllowed(
            "Videos from web addresses are turned off.",
            hint="Give a path, or set allow_urls (TARSIER_ALLOW_URLS=1).",
        )
    from tarsier_tools.media.download import fetch  # the HTTP client is slow to import, and paths need none

    return fetch(url, settings, on_progress=on_progress)


def _path_of_url(url: str) -> Path:
    """The path in a file: URL. Whatever follows the host is the path, a bare ``#`` or ``?`` included."""
    rest = url.partition(":")[2]
    if rest.startswith("//"):
        host, slash, path = rest[2:].partition("/")
        if host.lower() not in ("", "localhost"):
            raise SourceNotAllowed(
                "A file: URL that names another host is refused.", hint="Give a path on this machine."
            )
        rest = slash + path
    if not rest.startswith("/"):
        raise UsageError("A file: URL needs a whole path.", hint="Write it like file:///folder/video.mp4")
    return Path(url2pathname(rest) if os.name == "nt" else unquote(rest))


def _found(path: Path, name: str, settings: Settings, *, check_links: bool = True) -> Path:
    """The real path, checked first to be allowed and then to exist.

    Outside the allowed folders nothing is said about what exists.
    """
    try:
        path = path.expanduser()
    except RuntimeError:
        raise VideoNotFound(f"The home folder in {name} is not known.", hint="Give a whole path.") from None
    roots = _real_roots(settings)
    places = [path] if path.is_absolute() or roots is None else [path, *(root / path for root in roots)]
    allowed = [real for place in places if _inside(real := _real(place, name), roots)]
    if not allowed:
        raise SourceNotAllowed(
            f"{name} is outside the folders that videos may be read from.{_sandbox_note(name)}",
            hint=f"Allowed: {', '.join(str(root) for root in roots or ())}.",
        )
    for real in allowed:
        if _is_there(real, name):
            if check_links and roots is not None and real.is_dir():
                _check_links(real, name, roots)
            return real
    raise VideoNotFound(f"There is no file {name}.", hint=_not_found_hint(allowed[0], name))


def _real_roots(settings: Settings) -> list[Path] | None:
    if settings.allowed_roots is None:
        return None
    return [Path(os.path.realpath(root.expanduser())) for root in settings.allowed_roots]


def _real(path: Path, name: str) -> Path:
    """The path with every symbolic link followed, as far as it exists."""
    try:
        return Path(os.path.realpath(path))
    except ValueError:  # a null character
        raise VideoNotFound(f"{name} is not a path.", hint="Check the path.") from None


def _inside(path: Path, roots: list[Path] | None) -> bool:
    return roots is None or any(path.is_relative_to(root) for root in roots)


def _is_there(path: Path, name: str) -> bool:
    """True for a regular file or a folder, False when there is nothing."""
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        if error.errno in (errno.ENAMETOOLONG, errno.ELOOP):
            return False
        raise VideoUnreadable(
            f"{name} cannot be opened: {error.strerror}.", hint="Check the permissions of the file."
        ) from error
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        # Reading a device or a pipe may never end.
        raise VideoUnreadable(f"{name} is neither a file nor a folder.", hint="Give a video file.")
    return True


def _check_links(folder: Path, name: str, roots: list[Path]) -> None:
    """Refuse a folder of images of which one is a way out of the allowed folders."""
    try:
        entries = list(folder.iterdir())
    except OSError as error:
        raise VideoUnreadable(
            f"The folder {name} cannot be listed: {error.strerror}.", hint="Check its permissions."
        ) from error
    for entry in entries:
        if entry.is_symlink() and not _inside(_real(entry, name), roots):
            raise SourceNotAllowed(
                f"The folder {name} holds a link to outside the folders that videos may be read from.",
                hint=f"Allowed: {', '.join(str(root) for root in roots)}.",
            )


def _not_found_hint(path: Path, name: str) -> str:
    note = _sandbox_note(name)
    if note:
        return note.strip()
    if name.lower().startswith(("www.", "youtu.be/", "youtube.com/")):
        return f"If this is a web address, write it in full: https://{name}"
    if len(path.name) > _LONGEST_NAME:
        return "No file can have a name so long."
    if not path.parent.is_dir():
        return f"There is no folder {path.parent} either."
    close = _close_names(path)
    if close:
        return f"Close to it in {path.parent}: {', '.join(close)}."
    return f"Check the name; nothing like it is in {path.parent}."


def _sandbox_note(name: str) -> str:
    if not name.replace("\\", "/").removeprefix("sandbox:").startswith(_SANDBOXES):
        return ""
    return (
        " The path belongs to the sandbox of an assistant, which this program cannot see into. Give the path "
        "of the video on the machine that this program runs on, or an https address."
    )


def _close_names(path: Path) -> list[str]:
    """Names in the path's folder like its own: first those that differ in case or extension only."""
    try:
        with os.scandir(path.parent) as entries:
            names = sorted(entry.name for entry, _ in zip(entries, range(_LISTED), strict=False))
    except OSError:
        return []  # a hint is all that is lost: that the file is not there is said anyway
    stem = path.stem.casefold()
    same = [name for name in names if Path(name).stem.casefold() == stem]
    similar = difflib.get_close_matches(path.name, names, n=3, cutoff=0.6)
    return list(dict.fromkeys([*same, *similar]))[:3]
