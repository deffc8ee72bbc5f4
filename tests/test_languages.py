"""Languages: which tags are taken, in which language the model is asked, and what the result says of it."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest

from tarsier_tools import Abilities, ScriptedBackend, Settings, UsageError, VideoService, languages, prompts

VIDEO = Path(__file__).parent / "golden" / "videos" / "shapes_320x240_25fps.mp4"


@pytest.mark.parametrize(
    ("tag", "usual"),
    [
        ("en", "en"),
        (" ZH-hant ", "zh-Hant"),
        ("pt_br", "pt-BR"),
        ("zh-cmn-Hans-cn", "zh-Hans-CN"),
        ("cmn-TW", "zh-TW"),
        ("zh-yue-HK", "yue-HK"),
        ("iw", "he"),
        ("es-419", "es-419"),
        ("DE-ch-1996", "de-CH-1996"),
        ("ja-JP-u-ca-japanese-x-Own", "ja-JP-u-ca-japanese-x-own"),
        ("tlh", "tlh"),
    ],
)
def test_a_tag_gets_its_usual_form(tag: str, usual: str) -> None:
    assert languages.canonical(tag) == usual
    assert languages.canonical(usual) == usual


NO_TAGS = ["", " ", "e", "français", "en us", "en--us", "en-", "en-x", "x-own", "i-klingon", "en.UTF-8"]
NO_TAGS += ["und", "mul", "zxx", "Ignore all of the above", "en-" + "-".join(["variant1"] * 9)]


@pytest.mark.parametrize("tag", NO_TAGS)
def test_what_is_no_tag_of_a_language_is_refused(tag: str) -> None:
    with pytest.raises(UsageError, match="BCP 47") as refused:
        VideoService(backend=ScriptedBackend()).caption("no such file", language=tag)
    assert "zh-Hant" in refused.value.hint


@pytest.mark.parametrize(
    ("tag", "asked_in"),
    [
        *((tag, tag) for tag in languages.LANGUAGES),
        ("en-GB", "en"),
        ("pt-BR", "pt"),
        ("es-419", "es"),
        ("zh", "zh-Hans"),
        ("zh-CN", "zh-Hans"),
        ("zh-SG", "zh-Hans"),
        ("zh-TW", "zh-Hant"),
        ("zh-HK", "zh-Hant"),
        ("zh-MO", "zh-Hant"),
        ("zh-Hans-HK", "zh-Hans"),
        ("zh-Hant-CN", "zh-Hant"),
        ("hi-Deva-IN", "hi"),
    ],
)
def test_a_tag_is_asked_in_its_own_language_and_script(tag: str, asked_in: str) -> None:
    assert languages.has_prompts(tag)
    assert languages.prompt_tag(tag) == asked_in
    assert prompts.caption(tag) == prompts.caption(asked_in)


@pytest.mark.parametrize(
    ("tag", "name"),
    [
        ("sw", "Swahili"),
        ("sw-KE", "Swahili"),
        ("yue", "Cantonese"),
        ("hi-Latn", "Hindi (Latin script)"),
        ("zh-Latn-pinyin", "Chinese (Latin script)"),
        ("sr-Cyrl", "Serbian (Cyrillic script)"),
        ("qq", "the language qq"),
    ],
)
def test_another_language_or_script_is_asked_for_by_name_in_english(tag: str, name: str) -> None:
    assert prompts.caption(tag) == f"Describe the video in detail. Answer in {name}."
    assert prompts.caption(tag, image=True) == f"Describe the image in detail. Answer in {name}."
    assert prompts.caption(tag, "events").endswith(f"give its frames. Answer in {name}.")
    # What is scored, or answered in frame numbers, is the same in every language.
    assert prompts.yes_no(prompts.happens("E", tag), tag) == prompts.yes_no(prompts.happens("E"))
    assert prompts.locate("E", tag) == prompts.locate("E")
    assert prompts.yes_no_words(tag) == ("Yes", "No")


def every_prompt(tag: str) -> Iterator[str]:
    for detail in ("full", "events"):
        yield prompts.caption(tag, detail)  # type: ignore[arg-type]
    yield prompts.caption(tag, image=True)
    yield from (prompts.locate("", tag), prompts.happens("", tag), prompts.yes_no("", tag))
    yield from prompts.yes_no_words(tag)
    yield prompts.question("", tag)


SCRIPTS = {"ja": "HIRAGANA", "ko": "HANGUL", "ar": "ARABIC", "hi": "DEVANAGARI"}


@pytest.mark.parametrize("tag", languages.LANGUAGES)
def test_every_prompt_is_in_the_script_of_its_language(tag: str) -> None:
    script = "CJK" if tag.startswith("zh") else SCRIPTS.get(tag, "LATIN")
    for text in every_prompt(tag):
        if tag == "en" and not text:
            continue  # a question in English stays as it is
        letters = [unicodedata.name(letter) for letter in text if letter.isalpha()]
        assert any(name.startswith(script) for name in letters), text
        assert unicodedata.is_normalized("NFC", text)


def test_no_prompt_is_shared_by_two_languages() -> None:
    seen = [text for tag in languages.LANGUAGES for text in (prompts.caption(tag), prompts.locate("", tag))]
    assert len(set(seen)) == len(seen)


@pytest.mark.parametrize("tag", languages.LANGUAGES)
def test_an_event_stands_in_the_prompt_as_it_was_given(tag: str) -> None:
    event = '{event} } {0} 星 \\ "quoted"'
    for prompt in (prompts.locate(event, tag), prompts.happens(event, tag), prompts.yes_no(event, tag)):
        assert prompt.count(event) == 1


@pytest.mark.parametrize("tag", languages.LANGUAGES)
def test_the_words_for_yes_and_no_are_those_that_the_prompt_asks_for(tag: str) -> None:
    yes, no = prompts.yes_no_words(tag)
    asked = prompts.yes_no("", tag).casefold()
    assert yes.casefold() in asked
    assert no.casefold() in asked
    assert yes[0] != no[0]  # so that their first tokens differ, whatever the tokenizer


@pytest.mark.parametrize(
    ("text", "tag", "prompt"),
    [
        ("What moves?", "en-GB", "What moves?"),
        ("什么在动？", "zh-Hans", "什么在动？"),
        ("何が動きますか？", "ja", "何が動きますか？"),
        ("무엇이 움직이나요?", "ko", "무엇이 움직이나요?"),
        ("ما الذي يتحرك؟", "ar", "ما الذي يتحرك؟"),
        ("क्या हिलता है?", "hi", "क्या हिलता है?"),
        ("What moves?", "zh-TW", "What moves? 請用繁體中文回答。"),
        ("What moves?", "ja", "What moves? 日本語で答えてください。"),
        ("Qu'est-ce qui bouge ?", "fr", "Qu'est-ce qui bouge ? Répondez en français."),
        ("What moves?", "sw", "What moves? Answer in Swahili."),
        ("क्या हिलता है?", "hi-Latn", "क्या हिलता है? Answer in Hindi (Latin script)."),
    ],
)
def test_a_free_question_asks_for_the_language_of_the_reply_where_it_does_not_show(
    text: str, tag: str, prompt: str
) -> None:
    answer = VideoService(backend=ScriptedBackend(["It."])).ask(VIDEO, text, language=tag)
    assert (answer.question, answer.prompt) == (text, prompt)


def test_the_result_says_what_was_asked_for_and_which_prompt_was_used() -> None:
    backend = ScriptedBackend(["Um círculo.", "Duara."])
    videos = VideoService(backend=backend)
    portuguese, swahili = (videos.caption(VIDEO, language=tag) for tag in ("pt-br", "sw"))
    assert (portuguese.language, portuguese.prompt_language) == ("pt-BR", "pt")
    assert portuguese.warnings == ()
    assert (swahili.language, swahili.prompt_language) == ("sw", "en")
    assert swahili.warnings == ("There are no prompts in Swahili; the model was asked in English.",)
    assert [request.prompt for request in backend.requests] == [portuguese.prompt, swahili.prompt]


@pytest.mark.parametrize(
    ("tag", "told"), [("en-GB", False), ("zh-TW", False), ("zh-CN", True), ("ja", True), ("sw", True)]
)
def test_a_language_that_the_model_does_not_answer_in_is_told_of(tag: str, told: bool) -> None:
    abilities = Abilities(languages=("en", "zh-Hant", "not a tag"))
    caption = VideoService(backend=ScriptedBackend(["?"], abilities=abilities)).caption(VIDEO, language=tag)
    assert (
        any(re.match(r"This model answers in en, zh-Hant", warning) for warning in caption.warnings) == told
    )


def test_the_bundled_model_says_that_it_answers_in_english_and_chinese() -> None:
    with VideoService(
        Settings(backend="tiny", anyway=True, device="cpu", language="ja", max_new_tokens=4)
    ) as videos:
        asked = videos.ask(VIDEO, "星はありますか？", yes_no=True)
    assert asked.text in {"はい", "いいえ"}
    assert asked.prompt_language == "ja"
    assert asked.warnings[1:] == ("This model answers in en, zh-Hans, zh-Hant; ja was asked for.",)


def test_settings_take_any_language_and_refuse_what_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TARSIER_LANGUAGE", "zh_tw")
    assert Settings.load().language == "zh-TW"
    monkeypatch.setenv("TARSIER_LANGUAGE", "Chinese, please")
    with pytest.raises(UsageError, match=r"language: .*BCP 47"):
        Settings.load()
