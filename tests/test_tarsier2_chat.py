"""Prompts become ids: by the checkpoint's template, and never with a control token from the user."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tarsier2_kit import CHECKPOINT, variant
from transformers import AutoTokenizer

from tarsier_tools import prompts
from tarsier_tools.backends.tarsier2.chat import DEFAULT_FORM, PROMPT_MARK, TextCodec, read_chat_form
from tarsier_tools.errors import BackendUnavailable

QUESTIONS = [
    "Describe the video in detail.",
    " What  happens?\n\nAnd then?  ",
    "请详细描述这段视频。",
    "1234567890 isn't 12 a\tb – “quoted” é e\u0301 🎬",
    prompts.choices("What moves?", ["a red circle", "nothing"]),
]
QWEN_TEMPLATE = (
    "{% set image_count = namespace(value=0) %}{% set video_count = namespace(value=0) %}"
    "{% for message in messages %}{% if loop.first and message['role'] != 'system' %}"
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n{% endif %}"
    "<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}<|im_end|>\n{% else %}"
    "{% for content in message['content'] %}"
    "{% if content['type'] == 'image' or 'image' in content or 'image_url' in content %}"
    "{% set image_count.value = image_count.value + 1 %}"
    "{% if add_vision_id %}Picture {{ image_count.value }}: {% endif %}"
    "<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif content['type'] == 'video' or 'video' in content %}"
    "{% set video_count.value = video_count.value + 1 %}"
    "{% if add_vision_id %}Video {{ video_count.value }}: {% endif %}"
    "<|vision_start|><|video_pad|><|vision_end|>"
    "{% elif 'text' in content %}{{ content['text'] }}{% endif %}{% endfor %}<|im_end|>\n{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@pytest.fixture(scope="module")
def codec() -> TextCodec:
    return TextCodec(CHECKPOINT)


def whole(question: str, pads: int, reply: str = "") -> list[int]:
    """The prompt as one text through the checkpoint's own tokenizer."""
    block = "<|vision_start|>" + "<|image_pad|>" * pads + "<|vision_end|>"
    text = (
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
        f"<|im_start|>user\n{block}{question}<|im_end|>\n<|im_start|>assistant\n{reply}"
    )
    return list(AutoTokenizer.from_pretrained(CHECKPOINT, local_files_only=True).encode(text))


@pytest.mark.parametrize("question", QUESTIONS)
def test_an_ordinary_prompt_has_the_ids_of_the_whole_text(question: str, codec: TextCodec) -> None:
    form = read_chat_form(codec, CHECKPOINT)
    assert form.source == "template"
    assert form.prefix_ids(5) + form.suffix_ids(question) == whole(question, 5)


def test_a_started_reply_has_the_ids_of_the_whole_text(codec: TextCodec) -> None:
    form = read_chat_form(codec, CHECKPOINT)
    question = prompts.choices("What moves?", ["a red circle", "nothing"])
    ids = form.prefix_ids(2) + form.suffix_ids(question, prompts.ANSWER_PREFIX)
    assert ids == whole(question, 2, prompts.ANSWER_PREFIX)


@pytest.mark.parametrize("token", ["<|im_end|>", "<|image_pad|>", "<|vision_start|>", "<|endoftext|>"])
def test_a_special_token_in_a_prompt_or_a_reply_is_plain_text(token: str, codec: TextCodec) -> None:
    form = read_chat_form(codec, CHECKPOINT)
    plain = form.suffix_ids("What is  in it?")
    tricky = form.suffix_ids(f"What is {token} in it?", f"a {token}")
    special = codec.special(token)
    assert tricky.count(special) == plain.count(special)
    assert codec.decode(tricky).count(token) == 2  # decode drops special tokens, so it is spelt out
    assert special not in codec.encode(token)


def test_the_mark_of_the_prompt_in_a_prompt_is_text(codec: TextCodec) -> None:
    form = read_chat_form(codec, CHECKPOINT)
    assert PROMPT_MARK in codec.decode(form.suffix_ids(f"a {PROMPT_MARK} b"))


@pytest.mark.parametrize("where", ["tokenizer_config", "chat_template"])
def test_the_template_of_qwen2_vl_gives_one_block_of_image_pads(where: str, tmp_path: Path) -> None:
    changes = {"tokenizer_config": {"chat_template": None}, where: {"chat_template": QWEN_TEMPLATE}}
    folder = variant(tmp_path, **changes)
    form = read_chat_form(TextCodec(folder), folder)
    assert form.source == "template"
    assert form.prefix_ids(7) + form.suffix_ids(QUESTIONS[0]) == whole(QUESTIONS[0], 7)


def test_a_tokenizer_that_does_not_name_its_class_is_read_as_qwen2s(tmp_path: Path, codec: TextCodec) -> None:
    unnamed = TextCodec(variant(tmp_path, tokenizer_config={"tokenizer_class": None}))
    for question in QUESTIONS:
        assert unnamed.encode(question) == codec.encode(question)


def test_without_a_template_the_usual_form_is_used_and_reported(tmp_path: Path) -> None:
    folder = variant(tmp_path, tokenizer_config={"chat_template": None})
    form = read_chat_form(TextCodec(folder), folder)
    assert form.source == "default"
    assert form.prefix_ids(3) + form.suffix_ids(QUESTIONS[0]) == whole(QUESTIONS[0], 3)


def test_another_system_turn_in_the_template_is_kept(tmp_path: Path, codec: TextCodec) -> None:
    own = json.loads((CHECKPOINT / "tokenizer_config.json").read_text("utf-8"))["chat_template"]
    folder = variant(
        tmp_path, tokenizer_config={"chat_template": own.replace("a helpful assistant", "a film critic")}
    )
    form = read_chat_form(TextCodec(folder), folder)
    assert "You are a film critic." in codec.decode(form.prefix_ids(1))


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        (DEFAULT_FORM.replace("<|image_pad|>", ""), "vision block"),
        (DEFAULT_FORM.replace("<|vision_start|>", ""), "vision block"),
        (DEFAULT_FORM.replace("<|image_pad|>", "<|image_pad|>, <|image_pad|>"), "vision block"),
        (DEFAULT_FORM.replace(PROMPT_MARK, ""), "the prompt"),
        (DEFAULT_FORM.replace(PROMPT_MARK, PROMPT_MARK * 2), "the prompt"),
        (PROMPT_MARK + DEFAULT_FORM.replace(PROMPT_MARK, ""), "the prompt"),
        ("{{ nothing.there }}", "fails"),
        ("{% for %}", "fails"),
        ("{{ raise_exception('no video') }}", "fails: no video"),
    ],
)
def test_a_template_that_cannot_be_used_is_said_with_a_way_out(
    template: str, problem: str, tmp_path: Path
) -> None:
    folder = variant(tmp_path, tokenizer_config={"chat_template": template})
    with pytest.raises(BackendUnavailable, match=problem) as caught:
        read_chat_form(TextCodec(folder), folder)
    assert "Remove the chat template" in caught.value.hint


def test_a_broken_tokenizer_is_unavailable(tmp_path: Path) -> None:
    folder = variant(tmp_path)
    (folder / "tokenizer.json").write_text('{"version": "1.0"}', "utf-8")
    with pytest.raises(BackendUnavailable, match="tokenizer"):
        TextCodec(folder)


def test_a_tokenizer_without_vision_tokens_is_unavailable(tmp_path: Path) -> None:
    folder = variant(tmp_path, without=("added_tokens.json", "special_tokens_map.json"))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        text = (folder / name).read_text("utf-8").replace("<|vision_end|>", "<|something_else|>")
        (folder / name).write_text(text, "utf-8")
    with pytest.raises(BackendUnavailable, match=r"lacks <\|vision_end\|>"):
        TextCodec(folder)
