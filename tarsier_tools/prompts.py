"""Every prompt sent to a model, as pure functions of their arguments.

The English caption prompt and the form of multiple choice are the ones Tarsier2 was trained with
(bytedance/tarsier); the other texts are ours, and the bundled model is trained on exactly these.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

Language = Literal["en", "zh-Hans", "zh-Hant"]
"""Languages with prompts of their own, as BCP-47 tags."""

Detail = Literal["full", "events"]
"""What a caption is: flowing text, or one ``<frame: i-j>`` line per event."""

LANGUAGES: tuple[Language, ...] = get_args(Language)

ANSWER_PREFIX = " Answer: ("
"""How the model's reply to a multiple-choice question is begun for it (with the leading space)."""

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

_CAPTION: dict[Language, str] = {
    "en": "Describe the video in detail.",
    "zh-Hans": "请详细描述这段视频。",
    "zh-Hant": "請詳細描述這段影片。",
}
_IMAGE_CAPTION: dict[Language, str] = {
    "en": "Describe the image in detail.",
    "zh-Hans": "请详细描述这张图片。",
    "zh-Hant": "請詳細描述這張圖片。",
}
_EVENTS: dict[Language, str] = {
    "en": "Describe each event in the video and give its frames.",
    "zh-Hans": "请描述视频中的每个事件，并给出对应的帧。",
    "zh-Hant": "請描述影片中的每個事件，並給出對應的影格。",
}
_LOCATE: dict[Language, str] = {
    "en": 'In which frames does this happen: "{event}"?',
    "zh-Hans": "“{event}”发生在哪些帧？",
    "zh-Hant": "「{event}」發生在哪些影格？",
}
_HAPPENS: dict[Language, str] = {
    "en": 'Does this happen in the video: "{event}"?',
    "zh-Hans": "视频中是否发生了“{event}”？",
    "zh-Hant": "影片中是否發生了「{event}」？",
}
_YES_NO: dict[Language, str] = {
    "en": "{question} Answer yes or no.",
    "zh-Hans": "{question}请回答是或否。",
    "zh-Hant": "{question}請回答是或否。",
}
_YES_NO_WORDS: dict[Language, tuple[str, str]] = {
    "en": ("Yes", "No"),
    "zh-Hans": ("是", "否"),
    "zh-Hant": ("是", "否"),
}


def caption(language: Language = "en", detail: Detail = "full", *, image: bool = False) -> str:
    """The prompt that asks for a description of a video, or of a single image."""
    if detail == "events":
        return _EVENTS[language]
    return (_IMAGE_CAPTION if image else _CAPTION)[language]


def locate(event: str, language: Language = "en") -> str:
    """The prompt that asks for the frames of one event; the reply is ``<frame: i-j>``, 1-based."""
    return _LOCATE[language].format(event=event)


def happens(event: str, language: Language = "en") -> str:
    """A yes/no question about one event, to be wrapped by :func:`yes_no`."""
    return _HAPPENS[language].format(event=event)


def yes_no(question: str, language: Language = "en") -> str:
    """The question with the request for yes or no; score it against :func:`yes_no_words`."""
    return _YES_NO[language].format(question=question)


def yes_no_words(language: Language = "en") -> tuple[str, str]:
    """The two replies to a yes/no question: (yes, no)."""
    return _YES_NO_WORDS[language]


def choices(question: str, options: Sequence[str]) -> str:
    """A multiple-choice question in Tarsier's form; begin the reply with :data:`ANSWER_PREFIX`.

    Raises ValueError for fewer than 2 or more than 26 options.
    """
    if not 2 <= len(options) <= len(LETTERS):
        raise ValueError(f"between 2 and {len(LETTERS)} choices are needed, got {len(options)}")
    lines = (f"({letter}) {option}" for letter, option in zip(LETTERS, options, strict=False))
    return "\n".join((f"Question: {question}", *lines))
