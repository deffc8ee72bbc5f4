"""Exports, read back by the parsers of other people: what was said comes out, whatever it is made of."""

from __future__ import annotations

import csv
import html
import io
import json
import re
from collections.abc import Callable
from datetime import date
from typing import Any

import jsonschema
import pytest
import srt
import webvtt
from markdown_it import MarkdownIt
from pyld import jsonld

from tarsier_tools import Caption, Chapter, Localization, Segment, Timeline, exports
from tarsier_tools.exports import FORMATS
from tarsier_tools.text import clean_line
from tests import report_kit as kit

HOSTILE = (
    "00:00:01.000 --> 00:00:02.000",
    "first\n\n2\n00:00:05.000 --> 00:00:06.000\nnot a cue",
    "first\r\n\r\n2\r\n00:00:05,000 --> 00:00:06,000\r\nnot a cue",
    "WEBVTT",
    "NOTE this",
    "STYLE\n::cue { color: red }",
    "<script>alert(1)</script><!--",
    "</script ]]> &lt;b&gt; &#x202e; <b>bold</b> <00:00:01.000>",
    "{\\an8}{\\pos(1,1)} a\\Nb",
    "=1+1",
    "+cmd|' /C calc'!A0",
    "-2+3",
    "@SUM(A1:A9)",
    "\t=1+1",
    'a, "b", c;d',
    "# a heading ##",
    "> a quotation",
    "- a bullet",
    "12) twelve",
    "1. first",
    "---",
    "===",
    "```\ncode\n```",
    "    code",
    "[text](javascript:alert(1)) ![i](https://evil.example/i.png) [r][] <https://evil.example>",
    "https://evil.example www.evil.example a@evil.example",
    "`code` *a* **b** _c_ ~~d~~ | e | \\f \\",
    "\x1b[31mred\x1b]0;title\x07 \x00\x08\x9b",
    "\u202egnp.exe \u2066\u2069 \ufeff",
    "كلب يقفز فوق السور، ثم يركض.",
    "הכלב רץ (מהר) abc 12",
    "狗跳过栅栏，然后跑开。",
    "犬が走る。",
    "कुत्ता कूदता है।",
    "👩‍👩‍👧‍👦 می‌خواهم",
    "a\u2028b\u2029c\x85d",
    "lone \ud800 surrogate",
)


def timeline(*texts: str, summarize: bool = False, video: str = "talk.mp4", **changes: Any) -> Timeline:
    """A segment of a second and a bit for each text, and with ``summarize`` a chapter for each as well."""
    segments = tuple(
        Segment(start_s=number + 0.25, end_s=number + 1.25, text=text) for number, text in enumerate(texts)
    )
    chapters = tuple(
        Chapter(start_s=each.start_s, end_s=each.end_s, title=each.text, segments=(number,))
        for number, each in enumerate(segments)
    )
    return Timeline(
        segments=segments,
        segmentation="shots",
        chapters=chapters if summarize else (),
        **kit.grounds(video, **changes),
    )


def shown(texts: tuple[str, ...]) -> list[str]:
    """What is left of texts that a terminal or a file may be shown."""
    return [clean_line(text) for text in texts]


# ---------------------------------------------------------------- WebVTT


def vtt(text: str) -> list[tuple[float, float, str]]:
    """The cues, as a strict parser sees them."""
    cues = webvtt.from_string(text, strict=True)
    return [(cue.start_in_seconds, cue.end_in_seconds, html.unescape(cue.raw_text)) for cue in cues]


def test_the_parser_that_judges_refuses_what_is_no_webvtt() -> None:
    with pytest.raises(webvtt.errors.MalformedFileError):
        webvtt.from_string("WEBVT\n\n00:00:01.000 --> 00:00:02.000\nx", strict=True)


@pytest.mark.parametrize("write", [exports.to_webvtt, exports.to_webvtt_chapters])
def test_every_text_is_a_cue_of_its_own_in_webvtt(write: Callable[[Any], str]) -> None:
    written = write(timeline(*HOSTILE, summarize=True))
    assert [cue for _, _, cue in vtt(written)] == shown(HOSTILE)
    assert written.count("-->") == len(HOSTILE)
    assert not re.search(r"<(?!/?v)", written)


def test_times_in_webvtt_are_exact_to_the_millisecond_and_go_beyond_a_day() -> None:
    segments = ((0.0, 0.0004), (59.9996, 61.0), (3599.9994, 3600.0), (90_000.5, 90_001.25))
    result = timeline("x").model_copy(
        update={"segments": tuple(Segment(start_s=a, end_s=b, text="x") for a, b in segments)}
    )
    times = re.findall(r"^(\S+) --> (\S+)$", exports.to_webvtt(result), re.MULTILINE)
    assert times == [
        ("00:00:00.000", "00:00:00.001"),
        ("00:01:00.000", "00:01:01.000"),
        ("00:59:59.999", "01:00:00.000"),
        ("25:00:00.500", "25:00:01.250"),
    ]


def test_a_file_name_cannot_write_cues_either() -> None:
    written = exports.to_webvtt(timeline("x", video="a\n\n00:01.000 --> 00:02.000\n<b>.mp4"))
    assert [cue for _, _, cue in vtt(written)] == ["x"]


def test_chapters_without_any_are_the_segments_under_short_titles() -> None:
    result = timeline("A dog runs, then a cat jumps.", "A bird sings. It flies.")
    assert [cue for _, _, cue in vtt(exports.to_webvtt_chapters(result))] == ["A dog runs", "A bird sings"]


# ---------------------------------------------------------------- SubRip


def test_every_text_is_a_subtitle_of_its_own_in_subrip() -> None:
    subtitles = list(srt.parse(exports.to_srt(timeline(*HOSTILE))))
    assert [each.index for each in subtitles] == list(range(1, len(HOSTILE) + 1))
    harmless = str.maketrans("<>\\", "‹›/")
    assert [each.content for each in subtitles] == [text.translate(harmless) for text in shown(HOSTILE)]
    assert [each.start.total_seconds() for each in subtitles] == [n + 0.25 for n in range(len(HOSTILE))]
    assert [each.end.total_seconds() for each in subtitles] == [n + 1.25 for n in range(len(HOSTILE))]


def test_nothing_found_is_a_subtitle_file_without_subtitles() -> None:
    nothing = kit.localization("talk.mp4", segments=())
    assert list(srt.parse(exports.to_srt(nothing))) == []
    assert vtt(exports.to_webvtt(nothing)) == []


# ---------------------------------------------------------------- CSV


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline=""), strict=True))


def test_every_text_is_one_cell_and_none_is_a_formula() -> None:
    written = exports.to_csv(timeline(*HOSTILE))
    cells = [row["text"] for row in rows(written)]
    assert [cell.removeprefix("'") for cell in cells] == [text.removeprefix("'") for text in shown(HOSTILE)]
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]
    assert written.endswith("\r\n")
    assert "\n" not in written.replace("\r\n", "")


def test_rows_hold_times_scores_and_chapters() -> None:
    found = rows(exports.to_csv(kit.localization("talk.mp4")))
    assert [(row["kind"], row["start_s"], row["end_s"]) for row in found] == [
        ("event", "1.500", "3.000"),
        ("event", "5.000", "6.250"),
    ]
    assert [(float(row["score"]), float(row["confidence"])) for row in found] == [(2, 0.9), (2, 0.9)]
    kinds = [row["kind"] for row in rows(exports.to_csv(timeline("a", "b", summarize=True)))]
    assert kinds == ["segment", "segment", "chapter", "chapter"]
    plain = rows(exports.to_csv(timeline("a")))
    assert [(row["score"], row["evidence_s"]) for row in plain] == [("", "")]


# ---------------------------------------------------------------- Markdown


def tree(text: str) -> list[Any]:
    """The tokens of a page, those inside of lines too, with tables and strikethrough on."""
    parser = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    return [child for token in parser.parse(text) for child in (token, *(token.children or ()))]


def read(text: str) -> list[str]:
    """What a reader sees, a line for each heading, paragraph and bullet."""
    parser = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    lines = ["".join(c.content for c in t.children) for t in parser.parse(text) if t.type == "inline"]
    return [line.replace("\u2068", "").replace("\u2069", "") for line in lines]


@pytest.mark.parametrize("summarize", [False, True])
def test_a_page_shows_every_text_as_it_is_and_obeys_none(summarize: bool) -> None:
    written = exports.to_markdown(timeline(*HOSTILE, summarize=summarize))
    lines = read(written)
    for text in shown(HOSTILE):
        assert any(line.endswith(f" {text}") for line in lines), text
    kinds = {token.type for token in tree(written)}
    assert (
        kinds & {"html_block", "html_inline", "link_open", "image", "code_inline", "fence", "code_block"}
        == set()
    )
    assert kinds & {"em_open", "s_open", "table_open", "blockquote_open", "ordered_list_open"} == set()
    headings = [token for token in tree(written) if token.type == "heading_open"]
    assert len(headings) == 1 + len(HOSTILE) * summarize


def test_a_caption_of_several_lines_is_as_many_paragraphs_and_no_markup() -> None:
    text = "\n".join(HOSTILE)
    lines = read(exports.to_markdown(kit.plain_caption("talk.mp4", text=text)))
    for line in clean_lines(text):
        assert line in lines, line
    kinds = {token.type for token in tree(exports.to_markdown(kit.plain_caption("talk.mp4", text=text)))}
    assert (
        kinds & {"html_block", "link_open", "fence", "code_block", "bullet_list_open", "table_open"} == set()
    )


def clean_lines(text: str) -> list[str]:
    return [clean_line(line) for line in re.split(r"[\n\r\u2028\u2029]+", text) if clean_line(line)]


def test_addresses_are_not_made_links_where_a_dialect_would() -> None:
    written = exports.to_markdown(timeline("https://evil.example www.evil.example a@evil.example"))
    assert "://" not in written
    assert not re.search(r"www\.", written)
    assert "a@" not in written


def test_a_page_says_what_was_found_where_and_how_sure() -> None:
    found = kit.localization("films/talk.mp4", event="a *dog* runs")
    missing = kit.localization("films/talk.mp4", event="a cat", segments=(), warnings=("Mind the gap.",))
    lines = read(exports.to_markdown([found, missing]))
    assert lines[:4] == [
        "talk.mp4",
        "a *dog* runs",
        "0:01.5–0:03.0 (confidence 90%)",
        "0:05.0–0:06.2 (confidence 90%)",
    ]
    assert lines[4:6] == ["a cat", "Not found; the best score is 2.2."]
    assert any(line.startswith("tarsier2-tiny was shown 16 frames of 0:00.0–0:08.0") for line in lines)
    assert lines[-1] == "Mind the gap."


def test_a_page_of_a_checked_caption_has_the_verdicts() -> None:
    lines = read(exports.to_markdown(kit.checked_caption("talk.mp4")))
    assert kit.TEXT in lines
    assert "unsupported (0:05.0–0:07.0): a dog barks" in lines


def test_text_from_right_to_left_does_not_pull_the_times_along() -> None:
    written = exports.to_markdown(timeline("كلب يقفز", "a dog"))
    assert "\u2068كلب يقفز\u2069" in written
    assert written.count("\u2068") == written.count("\u2069") == 1


# ---------------------------------------------------------------- JSON


@pytest.mark.parametrize(
    "result",
    [timeline(*HOSTILE), kit.checked_caption("talk.mp4"), kit.localization("talk.mp4")],
    ids=["timeline", "caption", "localization"],
)
def test_json_is_the_whole_result_and_fits_its_schema(result: Timeline | Caption | Localization) -> None:
    text = exports.to_json(result)
    text.encode("utf-8")
    document = json.loads(text)
    jsonschema.validate(document, type(result).model_json_schema(mode="serialization"))
    if "surrogate" not in text:
        assert type(result).model_validate(document) == result


def test_several_places_found_are_an_array() -> None:
    both = [kit.localization("talk.mp4", event="a"), kit.localization("talk.mp4", event="b")]
    assert [each["event"] for each in json.loads(exports.to_json(both))] == ["a", "b"]


# ---------------------------------------------------------------- schema.org

_TEXT = {"type": "string", "minLength": 1}
VIDEO_OBJECT = {
    "type": "object",
    "required": ["@context", "@type", "name", "description", "duration", "hasPart"],
    "additionalProperties": False,
    "properties": {
        "@context": {"const": "https://schema.org"},
        "@type": {"const": "VideoObject"},
        "name": _TEXT,
        "description": {**_TEXT, "maxLength": 5000},
        "inLanguage": _TEXT,
        "duration": {"type": "string", "pattern": r"^PT(\d+H)?(\d+M)?\d+(\.\d+)?S$"},
        "url": {"type": "string", "format": "uri", "pattern": "^https?://"},
        "contentUrl": {"type": "string", "format": "uri", "pattern": "^https?://"},
        "thumbnailUrl": {"type": "string", "format": "uri"},
        "uploadDate": {"type": "string", "pattern": r"^\d{4}-\d\d-\d\d$"},
        "hasPart": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "required": ["@type", "name", "startOffset", "endOffset"],
                "additionalProperties": False,
                "properties": {
                    "@type": {"const": "Clip"},
                    "name": _TEXT,
                    "startOffset": {"type": "number", "minimum": 0},
                    "endOffset": {"type": "number", "exclusiveMinimum": 0},
                    "url": {"type": "string", "pattern": r"^https?://.*[?&]t=\d+(#.*)?$"},
                },
            },
        },
    },
}
"""What schema.org says of these properties, and which of them search engines that show key moments want."""


def linked(text: str) -> dict[str, Any]:
    """The document as linked data: expanded by a JSON-LD processor with schema.org's vocabulary."""

    def load(url: str, options: object) -> dict[str, Any]:
        assert url.rstrip("/") == "https://schema.org"
        context = {"@vocab": "https://schema.org/", "url": {"@type": "@id"}, "contentUrl": {"@type": "@id"}}
        return {"contextUrl": None, "documentUrl": url, "document": {"@context": context}}

    (expanded,) = jsonld.expand(json.loads(text), {"documentLoader": load})
    return expanded  # type: ignore[no-any-return]


def test_json_ld_is_a_video_object_with_clips() -> None:
    text = exports.to_jsonld(
        timeline(*HOSTILE, summarize=True),
        page_url="https://example.org/watch?v=7#top",
        thumbnail_url="https://example.org/7.jpg",
        upload_date=date(2026, 3, 1),
    )
    document = json.loads(text)
    jsonschema.validate(document, VIDEO_OBJECT, format_checker=jsonschema.FormatChecker())
    assert document["name"] == "talk"
    assert document["duration"] == "PT8S"
    assert document["uploadDate"] == "2026-03-01"
    assert [clip["name"] for clip in document["hasPart"]] == shown(HOSTILE)
    assert document["hasPart"][3]["startOffset"] == 3.25
    assert document["hasPart"][3]["url"] == "https://example.org/watch?v=7&t=3#top"

    expanded = linked(text)
    assert expanded["@type"] == ["https://schema.org/VideoObject"]
    clips = expanded["https://schema.org/hasPart"]
    assert {kind for clip in clips for kind in clip["@type"]} == {"https://schema.org/Clip"}
    assert [clip["https://schema.org/name"][0]["@value"] for clip in clips] == shown(HOSTILE)


def test_json_ld_can_stand_in_a_page_as_it_is() -> None:
    text = exports.to_jsonld(timeline(*HOSTILE))
    assert not set(text) & set("<>&")
    page = f'<script type="application/ld+json">{text}</script>'
    (inside,) = re.findall(r"<script[^>]*>(.*?)</script", page, re.DOTALL)
    assert json.loads(inside)["@type"] == "VideoObject"


@pytest.mark.parametrize(
    ("video", "expected"),
    [
        ("https://example.org/films/my%20talk.mp4", "https://example.org/films/my%20talk.mp4"),
        ("https://example.org/talk.mp4?signature=secret", None),
        ("https://user:secret@example.org/talk.mp4", None),
        ("/home/me/private/talk.mp4", None),
    ],
)
def test_json_ld_publishes_no_path_and_no_secret(video: str, expected: str | None) -> None:
    text = exports.to_jsonld(timeline("a dog", video=video))
    assert json.loads(text).get("contentUrl") == expected
    assert "secret" not in text
    assert "private" not in text
    assert json.loads(text)["name"] in {"talk", "my talk"}


@pytest.mark.parametrize(
    ("seconds", "expected"), [(0.04, "PT0.04S"), (60, "PT1M0S"), (3723.5, "PT1H2M3.5S"), (7200, "PT2H0S")]
)
def test_durations_are_written_as_iso_8601(seconds: float, expected: str) -> None:
    coverage = kit.grounds("a")["coverage"].model_copy(update={"video_duration_s": seconds})
    result = timeline("a", coverage=coverage)
    assert json.loads(exports.to_jsonld(result))["duration"] == expected


def test_a_plain_caption_describes_the_video_and_has_no_clips() -> None:
    document = json.loads(exports.to_jsonld(kit.plain_caption("talk.mp4")))
    assert document["description"] == "A red circle moves left."
    assert "hasPart" not in document


# ---------------------------------------------------------------- all of them

RESULTS: dict[str, Any] = {
    "timeline": timeline("A dog runs.", "A cat jumps.", summarize=True),
    "nothing said": timeline("", "  "),
    "caption": kit.plain_caption("talk.mp4"),
    "events": kit.plain_caption("talk.mp4").model_copy(
        update={"events": (Segment(start_s=1, end_s=2, text="A dog runs."),)}
    ),
    "empty caption": kit.plain_caption("talk.mp4", text=""),
    "found": kit.localization("talk.mp4"),
    "several": [
        kit.localization("talk.mp4", event="a"),
        kit.localization("talk.mp4", event="b", segments=()),
    ],
}


@pytest.mark.parametrize("name", RESULTS)
@pytest.mark.parametrize("form", FORMATS)
def test_every_result_has_every_format(form: str, name: str) -> None:
    text = FORMATS[form](RESULTS[name])
    assert text.endswith("\n")
    text.encode("utf-8")
    readers: dict[str, Callable[[str], Any]] = {
        "vtt": vtt,
        "vtt-chapters": vtt,
        "srt": lambda text: list(srt.parse(text)),
        "csv": rows,
        "json": json.loads,
        "jsonld": linked,
        "md": read,
    }
    readers[form](text)


@pytest.mark.parametrize("form", ["vtt", "srt", "csv"])
def test_what_was_said_is_there_in_the_order_of_time(form: str) -> None:
    late, early = (
        kit.localization("talk.mp4", event="late", segments=((4, 5),)),
        kit.localization("talk.mp4", event="early", segments=((1, 2), (6, 7))),
    )
    text = FORMATS[form]([late, early])
    assert re.findall("late|early", text) == ["early", "late", "early"]


def test_results_of_different_videos_are_not_mixed() -> None:
    with pytest.raises(ValueError, match="one video"):
        exports.to_csv([kit.localization("a.mp4"), kit.localization("b.mp4")])
    with pytest.raises(ValueError, match="at least one"):
        exports.to_csv([])
