"""The texts that come with a video: its subtitle tracks, and the .srt and .vtt files beside it."""

from __future__ import annotations

import codecs
from dataclasses import dataclass
from pathlib import Path

from tarsier_tools.errors import VideoTooLarge

SIDECARS = (".srt", ".vtt")
MAX_SIDECAR_BYTES = 16 << 20
_MAX_SIDECARS = 32
_LONGEST_TAG = 20


@dataclass(frozen=True, slots=True)
class Cue:
    """One text and when it is shown, seconds from the video's first frame; lines are kept, styles are not."""

    start_s: float
    end_s: float
    text: str


@dataclass(frozen=True, slots=True)
class Subtitles:
    """One track or file.

    Attributes:
        origin: "track 2", or the name of the file.
        language: as the container or the file's name has it; "" when neither says.
        cues: in the order of time, none empty.
    """

    origin: str
    language: str
    cues: tuple[Cue, ...]


def sidecars(video: Path) -> list[tuple[Path, str]]:
    """The files beside a video that are its subtitles, and their languages: ``film.srt``, ``film.de.vtt``."""
    if video.is_dir():
        return []
    found: list[tuple[Path, str]] = []
    for path in sorted(video.parent.iterdir()):
        if path.suffix.lower() not in SIDECARS or not path.is_file():
            continue
        if path.stem == video.stem:
            found.append((path, ""))
        elif path.stem.startswith(f"{video.stem}."):
            tag = path.stem.removeprefix(f"{video.stem}.")
            if len(tag) <= _LONGEST_TAG and tag.replace("-", "").replace("_", "").isalnum():
                found.append((path, tag.replace("_", "-")))
    return found[:_MAX_SIDECARS]


def sidecar_text(path: Path) -> str:
    """A subtitle file's text: UTF-8, UTF-16 with a mark, or else Windows-1252, as most old files are.

    Raises OSError; VideoTooLarge above MAX_SIDECAR_BYTES.
    """
    if path.stat().st_size > MAX_SIDECAR_BYTES:
        raise VideoTooLarge(
            f"The subtitle file {path.name} has more than {MAX_SIDECAR_BYTES >> 20} MiB.",
            hint="Move it away from the video; it is hardly one.",
        )
    data = path.read_bytes()
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16", errors="replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", errors="replace")
