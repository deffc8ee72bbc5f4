"""JSON documents: the whole result, and schema.org's VideoObject for search engines. Pure."""

from __future__ import annotations

import json
from datetime import date
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from tarsier_tools.exports.cues import Exportable, chapters, cues, results, video_name
from tarsier_tools.results import Caption, Localization, Timeline
from tarsier_tools.text import escape_json

MAX_DESCRIPTION_CHARS = 5000


def to_json(result: Exportable) -> str:
    """The whole result, as ``--json`` prints it; an array when there are several."""
    if isinstance(result, Caption | Timeline | Localization):
        return _dumped(result.model_dump(mode="json"))
    return _dumped([each.model_dump(mode="json") for each in results(result)])


def to_jsonld(
    result: Exportable,
    *,
    name: str | None = None,
    description: str | None = None,
    page_url: str | None = None,
    content_url: str | None = None,
    thumbnail_url: str | None = None,
    upload_date: date | None = None,
) -> str:
    """A schema.org VideoObject with a Clip for each chapter (else segment or event), as JSON-LD.

    It can be put into a page as it is, in ``<script type="application/ld+json">``. Search engines that show
    key moments want what no model can know: the address of the page, when the video was published, and a
    picture for it. Give it here, or add it to the document.

    Args:
        name: the video's title; the name of its file when None.
        description: what it shows; the captions when None.
        page_url: the page that plays the video from ``?t=<seconds>`` on; the clips link there.
        content_url: the video file itself; taken from the result when it is an address without a query, which
            may hold a secret.
    """
    first = results(result)[0]
    clips = [
        {
            "@type": "Clip",
            "name": cue.text,
            "startOffset": _offset(cue.start_s),
            "endOffset": _offset(cue.end_s),
            "url": page_url and _at(page_url, cue.start_s),
        }
        for cue in chapters(result)
    ]
    if isinstance(first, Caption) and not first.events:
        clips = []  # it is about the whole video, and described by that
    document = {
        "@context": "https://schema.org",
        "@type": "VideoObject",
        "name": name or PurePosixPath(video_name(first.video)).stem or "video",
        "description": description or _description(result),
        "inLanguage": first.language,
        "duration": _duration(first.coverage.video_duration_s),
        "url": page_url,
        "contentUrl": content_url or _public_address(first.video),
        "thumbnailUrl": thumbnail_url,
        "uploadDate": upload_date and upload_date.isoformat(),
        "hasPart": [_given(clip) for clip in clips],
    }
    text = _dumped(_given(document))
    for character in "<>&":  # inside a string of JSON; so that no page ends the script there
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _given(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value not in (None, "", [])}


def _description(result: Exportable) -> str:
    texts = dict.fromkeys(cue.text for cue in cues(result))
    text = " ".join(texts)
    return text if len(text) <= MAX_DESCRIPTION_CHARS else text[: MAX_DESCRIPTION_CHARS - 1] + "…"


def _offset(seconds: float) -> float | int:
    value = round(seconds, 3)
    return int(value) if value == int(value) else value


def _at(url: str, seconds: float) -> str:
    """The page's address with the time added to its query."""
    parts = urlsplit(url)
    query = f"{parts.query}&t={int(seconds)}" if parts.query else f"t={int(seconds)}"
    return parts._replace(query=query).geturl()


def _duration(seconds: float) -> str:
    """ISO 8601, for example ``PT1H2M3.5S``."""
    minutes, second = divmod(round(seconds, 3), 60)
    hours, minute = divmod(int(minutes), 60)
    head = f"{hours}H" * bool(hours) + f"{minute}M" * bool(minute)
    return f"PT{head}{_offset(second)}S"


def _public_address(video: str) -> str | None:
    parts = urlsplit(video) if video.startswith(("http://", "https://")) else None
    if parts is None or parts.query or parts.username or parts.password:
        return None
    return video


def _dumped(document: object) -> str:
    return escape_json(json.dumps(document, ensure_ascii=False, indent=2)) + "\n"
