"""What the server knows of where videos are: names without this machine's paths, and when one changed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from tarsier_tools import Settings


class PathHider:
    """Replaces the paths of this machine in what goes out to callers on other machines.

    What lies in an allowed folder is named from there on, which is how it can be asked for again.
    """

    def __init__(self, settings: Settings) -> None:
        folders = [*(settings.allowed_roots or ()), settings.cache_dir, Path.cwd(), Path.home()]
        written = {str(form) for folder in folders for form in (folder.absolute(), folder.resolve())}
        self._folders = sorted(written - {"/"}, key=len, reverse=True)  # the innermost first

    def text(self, text: str) -> str:
        """The text with every path made relative to the folder it lies in."""
        for folder in self._folders:
            text = text.replace(f"{folder}/", "").replace(f"{folder}\\", "").replace(folder, "(a folder)")
        return text

    def tree(self, value: Any) -> Any:
        """The same for every string of a JSON value."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {key: self.tree(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.tree(item) for item in value]
        return value


def identity(tool: str, arguments: dict[str, Any], roots: Sequence[Path] | None) -> str:
    """Equal for two calls that must have the same answer: tool, arguments, and the same file unchanged.

    A file counts as unchanged while its real path, size, time of change and number on the disk stay. "" when
    no file can be found, so that nothing is joined.
    """
    video = str(arguments.get("video", ""))
    if video.startswith(("http://", "https://")):
        stamp: list[Any] = [video]
    else:
        stamp = _stamp(video.removeprefix("file://"), roots)
    if not stamp:
        return ""
    written = json.dumps([tool, arguments, stamp], sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(written.encode()).hexdigest()


def _stamp(video: str, roots: Sequence[Path] | None) -> list[Any]:
    """Facts of the file or folder that a path means, [] when there is none."""
    try:
        path = Path(video).expanduser()
        for place in [path, *(root / path for root in roots or ())]:
            if place.exists():
                facts = place.stat()
                return [str(place.resolve()), facts.st_size, facts.st_mtime_ns, facts.st_ino]
    except (OSError, ValueError, RuntimeError):
        pass  # whatever is wrong with it is said when the call is done
    return []


def video_uri(name: str) -> str:
    """``video://...`` for a video, by the name that tools take."""
    return f"video://{quote(name, safe='')}"


def name_of(video_id: str) -> str:
    """The name in a ``video://`` address."""
    return unquote(video_id)
