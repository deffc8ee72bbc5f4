"""A result as one HTML page that needs nothing else: no network, no script. Pure.

The content security policy forbids everything but the page's own style sheet and pictures in the page itself,
so that nothing a model or a file name says could load or run anything.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from tarsier_tools.reporting.evidence import Pictures, Reportable
from tarsier_tools.reporting.markup import Child, Markup, join, tag
from tarsier_tools.reporting.sections import caption_section, localization_section, timeline_section
from tarsier_tools.results import Caption, Coverage, Localization, Timeline
from tarsier_tools.text import clean_line, format_time

_STYLE = Path(__file__).with_name("page.css")


def page(results: Sequence[Reportable], pictures: Pictures) -> str:
    """The whole document for results about one video, in the order given.

    Raises nothing; texts of strangers are escaped.
    """
    first, style = results[0], _style()
    name = clean_line(first.video).rstrip("/").replace("\\", "/").rpartition("/")[2] or "video"
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode("ascii")
    policy = f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; base-uri 'none'"
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("meta", name="referrer", content="no-referrer"),
        tag("title", f"{_kind(first)}: {name}"),
        tag("style", Markup(style)),
    )
    parts = [_section(result, pictures, f"r{number}") for number, result in enumerate(results, 1)]
    main = tag(
        "main",
        tag(
            "header",
            tag("p", _kind(first), class_="kind"),
            tag("h1", tag("bdi", name)),
            tag("p", tag("bdi", first.video), class_="address") if name != first.video else None,
        ),
        _warnings([*dict.fromkeys(note for result in results for note in result.warnings), *pictures.notes]),
        *parts,
        *_grounds(results),
        tag("footer", "Made by tarsier-tools. Times count from the video's first frame; ends are excluded."),
    )
    return f"<!doctype html>\n{tag('html', head, tag('body', main), lang='en')}\n"


@cache
def _style() -> str:
    return _STYLE.read_text("utf-8")


def _kind(result: Reportable) -> str:
    if isinstance(result, Localization):
        return "When does it happen?"
    return "Timeline" if isinstance(result, Timeline) else "Description"


def _section(result: Reportable, pictures: Pictures, ident: str) -> Markup:
    if isinstance(result, Localization):
        return localization_section(result, pictures, ident)
    if isinstance(result, Timeline):
        return timeline_section(result, pictures, ident)
    return caption_section(result, pictures, ident)


def _warnings(notes: Sequence[str]) -> Markup | None:
    if not notes:
        return None
    items = [tag("li", note, dir="auto") for note in notes]
    return tag(
        "aside", tag("h2", "Before you trust it"), tag("ul", *items), class_="warnings", aria_label="Warnings"
    )


def _grounds(results: Sequence[Reportable]) -> list[Markup]:
    """How each result came about; told once where it is the same for all, the prompt aside."""
    shared = all(
        (other.coverage, other.model) == (results[0].coverage, results[0].model) for other in results
    )
    told = results[:1] if shared else results
    prompts = [result.prompt for result in results] if shared else []
    return [
        _ground(result, tuple(dict.fromkeys(prompts)) or (result.prompt,), of=len(told)) for result in told
    ]


def _ground(result: Reportable, prompts: Sequence[str], of: int) -> Markup:
    model, coverage, cost, usage = result.model, result.coverage, result.timings, result.usage
    where = ", ".join(part for part in (model.backend, model.device, model.dtype) if part)
    language = result.language
    if result.prompt_language != language:
        language += f" (prompt in {result.prompt_language})"
    rows: list[tuple[str, Child]] = [
        ("Model", f"{model.name} ({where})"),
        ("About it", model.note or None),
        ("Seen", _seen(coverage)),
        (
            "Adjusted",
            tag("ul", *(tag("li", note) for note in coverage.adjusted)) if coverage.adjusted else None,
        ),
        (
            "Left out",
            tag("ul", *(tag("li", note) for note in coverage.skipped)) if coverage.skipped else None,
        ),
        ("Prompt", join(tag("p", prompt, dir="auto", lang=result.prompt_language) for prompt in prompts)),
        ("Language", language),
        ("Scores", _score_kind(result)),
        ("Time", f"{cost.total_s:.2f} s: video {cost.video_s:.2f} s, model {cost.model_s:.2f} s"),
        (
            "Tokens",
            f"{usage.prompt_tokens} in ({usage.vision_tokens} of the video, {usage.cached_tokens} from "
            f"cache), {usage.completion_tokens} out",
        ),
    ]
    title = "How this was found"
    if of > 1 and isinstance(result, Localization):
        title += f": {result.event}"
    listed = [join((tag("dt", name), tag("dd", text))) for name, text in rows if text]
    return tag("section", tag("h2", title), tag("dl", *listed), class_="ground")


def _seen(coverage: Coverage) -> str:
    width, height = coverage.frame_size
    count, asked = len(coverage.frame_times_s), coverage.asked
    return (
        f"{count} frame{'s' if count != 1 else ''} of {width}x{height} from {format_time(asked.start_s)} to "
        f"{format_time(asked.end_s)} of {format_time(coverage.video_duration_s)}; largest gap "
        f"{coverage.largest_gap_s:.2f} s; {coverage.sampling} sampling, decoded by {coverage.decoder}"
    )


def _score_kind(result: Reportable) -> str | None:
    if isinstance(result, Localization | Caption) and result.score_kind:
        fitted = f"; confidence fitted on {result.calibration}" if result.calibration else ""
        return f"{result.score_kind}{fitted}"
    return None
