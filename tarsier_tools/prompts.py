"""Every prompt sent to a model, as pure functions of their arguments.

The English caption prompt and the form of multiple choice are the ones Tarsier2 was trained with
(bytedance/tarsier); the other texts are ours, and the bundled model is trained on exactly those in English
and Chinese. A language is a BCP 47 tag, see :mod:`tarsier_tools.languages`: any is taken, and where there are
no prompts in it the English ones are used, which ask for a reply in it. Every function with a language raises
ValueError for what is no such tag.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tarsier_tools import languages
from tarsier_tools.languages import LANGUAGES, Language

__all__ = [
    "ANSWER_PREFIX", "LANGUAGES", "LETTERS", "Detail", "Language", "caption", "choices", "happens", "locate",
    "question", "yes_no", "yes_no_words",
]  # fmt: skip

Detail = Literal["full", "events"]
"""What a caption is: flowing text, or one ``<frame: i-j>`` line per event."""

ANSWER_PREFIX = " Answer: ("
"""How the model's reply to a multiple-choice question is begun for it (with the leading space)."""

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True, slots=True)
class _Texts:
    """The prompts in one language.

    Attributes:
        yes_no: ends with the words that :attr:`words` offer.
        words: yes and no as a reply begins. Their first tokens differ with every tokenizer that does not
            mix letters, so scoring them compares yes with no, however many tokens each of them has.
        reply: asks for a reply in this language.
    """

    caption: str
    image: str
    events: str
    locate: str
    happens: str
    yes_no: str
    words: tuple[str, str]
    reply: str


_TEXTS: dict[Language, _Texts] = {
    "en": _Texts(
        caption="Describe the video in detail.",
        image="Describe the image in detail.",
        events="Describe each event in the video and give its frames.",
        locate='In which frames does this happen: "{event}"?',
        happens='Does this happen in the video: "{event}"?',
        yes_no="{question} Answer yes or no.",
        words=("Yes", "No"),
        reply="Answer in {name}.",
    ),
    "zh-Hans": _Texts(
        caption="请详细描述这段视频。",
        image="请详细描述这张图片。",
        events="请描述视频中的每个事件，并给出对应的帧。",
        locate="“{event}”发生在哪些帧？",
        happens="视频中是否发生了“{event}”？",
        yes_no="{question}请回答是或否。",
        words=("是", "否"),
        reply="请用简体中文回答。",
    ),
    "zh-Hant": _Texts(
        caption="請詳細描述這段影片。",
        image="請詳細描述這張圖片。",
        events="請描述影片中的每個事件，並給出對應的影格。",
        locate="「{event}」發生在哪些影格？",
        happens="影片中是否發生了「{event}」？",
        yes_no="{question}請回答是或否。",
        words=("是", "否"),
        reply="請用繁體中文回答。",
    ),
    "ja": _Texts(
        caption="この動画の内容を詳しく説明してください。",
        image="この画像の内容を詳しく説明してください。",
        events="動画の中の出来事を一つずつ説明し、それぞれのフレームを示してください。",
        locate="「{event}」はどのフレームで起きていますか？",
        happens="動画の中で「{event}」は起きていますか？",
        yes_no="{question}「はい」か「いいえ」で答えてください。",
        words=("はい", "いいえ"),
        reply="日本語で答えてください。",
    ),
    "ko": _Texts(
        caption="이 동영상을 자세히 설명해 주세요.",
        image="이 이미지를 자세히 설명해 주세요.",
        events="동영상에 나오는 사건을 하나씩 설명하고 각 사건의 프레임을 알려 주세요.",
        locate='다음 일은 어느 프레임에서 일어나나요: "{event}"?',
        happens='동영상에서 다음 일이 일어나나요: "{event}"?',
        yes_no="{question} 예 또는 아니요로 대답해 주세요.",
        words=("예", "아니요"),
        reply="한국어로 대답해 주세요.",
    ),
    "es": _Texts(
        caption="Describe el video en detalle.",
        image="Describe la imagen en detalle.",
        events="Describe cada evento del video e indica sus fotogramas.",
        locate="¿En qué fotogramas ocurre esto: «{event}»?",
        happens="¿Ocurre esto en el video: «{event}»?",
        yes_no="{question} Responde sí o no.",
        words=("Sí", "No"),
        reply="Responde en español.",
    ),
    "fr": _Texts(
        caption="Décrivez la vidéo en détail.",
        image="Décrivez l'image en détail.",
        events="Décrivez chaque événement de la vidéo et indiquez ses images (frames).",
        locate="Dans quelles images (frames) cela se produit-il : « {event} » ?",
        happens="Est-ce que cela se produit dans la vidéo : « {event} » ?",
        yes_no="{question} Répondez par oui ou par non.",
        words=("Oui", "Non"),
        reply="Répondez en français.",
    ),
    "de": _Texts(
        caption="Beschreibe das Video im Detail.",
        image="Beschreibe das Bild im Detail.",
        events="Beschreibe jedes Ereignis im Video und gib seine Frames an.",
        locate="In welchen Frames geschieht das: „{event}“?",
        happens="Geschieht das im Video: „{event}“?",
        yes_no="{question} Antworte mit Ja oder Nein.",
        words=("Ja", "Nein"),
        reply="Antworte auf Deutsch.",
    ),
    "pt": _Texts(
        caption="Descreva o vídeo em detalhes.",
        image="Descreva a imagem em detalhes.",
        events="Descreva cada evento do vídeo e indique os seus quadros.",
        locate='Em que quadros isto acontece: "{event}"?',
        happens='Isto acontece no vídeo: "{event}"?',
        yes_no="{question} Responda sim ou não.",
        words=("Sim", "Não"),
        reply="Responda em português.",
    ),
    "ar": _Texts(
        caption="صف الفيديو بالتفصيل.",
        image="صف الصورة بالتفصيل.",
        events="صف كل حدث في الفيديو واذكر إطاراته.",
        locate="في أي إطارات يحدث هذا: «{event}»؟",
        happens="هل يحدث هذا في الفيديو: «{event}»؟",
        yes_no="{question} أجب بنعم أو لا.",
        words=("نعم", "لا"),
        reply="أجب باللغة العربية.",
    ),
    "hi": _Texts(
        caption="वीडियो का विस्तार से वर्णन करें।",
        image="चित्र का विस्तार से वर्णन करें।",
        events="वीडियो की हर घटना का वर्णन करें और उसके फ़्रेम बताएँ।",
        locate='यह किन फ़्रेमों में होता है: "{event}"?',
        happens='क्या वीडियो में यह होता है: "{event}"?',
        yes_no="{question} हाँ या नहीं में उत्तर दें।",
        words=("हाँ", "नहीं"),
        reply="हिन्दी में उत्तर दें।",
    ),
}

_OWN_SCRIPT = {
    "zh-Hans": "[一-鿿]",
    "zh-Hant": "[一-鿿]",
    "ja": "[ぁ-ヿ]",
    "ko": "[가-힣]",
    "ar": "[؀-ۿ]",
    "hi": "[ऀ-ॿ]",
}
"""Letters by which a question shows that it is in the language already."""


def caption(language: Language = "en", detail: Detail = "full", *, image: bool = False) -> str:
    """The prompt that asks for a description of a video, or of a single image."""
    texts = _texts(language)
    text = texts.events if detail == "events" else texts.image if image else texts.caption
    return text if languages.has_prompts(language) else f"{text} {_reply(language)}"


def question(text: str, language: Language = "en") -> str:
    """A question to be answered freely, with a request for the language of the reply.

    That is left out for English, the models' own, and for a question that shows by its letters that it is in
    the language already.
    """
    own = languages.prompt_tag(language)
    if languages.same(language, "en") or (
        languages.has_prompts(language) and re.search(_OWN_SCRIPT.get(own, "(?!)"), text)
    ):
        return text
    return f"{text} {_reply(language)}"


def locate(event: str, language: Language = "en") -> str:
    """The prompt that asks for the frames of one event; the reply is ``<frame: i-j>``, 1-based."""
    return _texts(language).locate.format(event=event)


def happens(event: str, language: Language = "en") -> str:
    """A yes/no question about one event, to be wrapped by :func:`yes_no`."""
    return _texts(language).happens.format(event=event)


def yes_no(question: str, language: Language = "en") -> str:
    """The question with the request for yes or no; score it against :func:`yes_no_words`."""
    return _texts(language).yes_no.format(question=question)


def yes_no_words(language: Language = "en") -> tuple[str, str]:
    """The two replies to a yes/no question: (yes, no)."""
    return _texts(language).words


def choices(question: str, options: Sequence[str]) -> str:
    """A multiple-choice question in Tarsier's form; begin the reply with :data:`ANSWER_PREFIX`.

    Raises ValueError for fewer than 2 or more than 26 options.
    """
    if not 2 <= len(options) <= len(LETTERS):
        raise ValueError(f"between 2 and {len(LETTERS)} choices are needed, got {len(options)}")
    lines = (f"({letter}) {option}" for letter, option in zip(LETTERS, options, strict=False))
    return "\n".join((f"Question: {question}", *lines))


def _texts(language: Language) -> _Texts:
    return _TEXTS[languages.prompt_tag(language)]


def _reply(language: Language) -> str:
    return _texts(language).reply.format(name=languages.english_name(language))
