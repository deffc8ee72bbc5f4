"""The tokenizer of the bundled model: byte-level BPE in Qwen2's form over the words of the shapes world.

Every word that the prompts and replies use is one token; anything else falls back to pieces and bytes.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from tokenizers.trainers import BpeTrainer

from tarsier_tools import prompts
from tarsier_tools.selfcheck import language as words
from tarsier_tools.selfcheck.world import random_scene

SPECIALS = (  # noqa: SIM905
    "<|endoftext|> <|im_start|> <|im_end|> <|object_ref_start|> <|object_ref_end|> <|box_start|> <|box_end|> "
    "<|quad_start|> <|quad_end|> <|vision_start|> <|vision_end|> <|vision_pad|> <|image_pad|> <|video_pad|>"
).split()
VOCAB = 848
"""Size of the embedding; a few rows at its end are spare."""
SYSTEM = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"

_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"
)
_CHINESE = (  # noqa: SIM905  (words inside unbroken runs of characters; longest match wins)
    "请 請 详细 詳細 描述 这段 這段 视频 影片 中的 每个 每個 事件 并 並 给出 給出 对应 對應 的 帧 影格 "
    "发生 發生 在 哪些 中 是否 了 回答 是 或 否 什么 什麼 颜色 顏色 图形 圖形 东西 東西 哪个 哪個 首先 "
    "最后 最後 几个 幾個 有 吗 嗎 做了 保持 不动 不動 也 没有 沒有 然后 然後 这张 這張 图片 圖片 零个 "
    "零個 一个 一個 两个 兩個 三个 三個 红色 紅色 绿色 綠色 蓝色 藍色 黄色 黃色 白色 圆形 圓形 方形 "
    "三角形 星形 向左 向右 向上 向下 移动 移動 变大 變大 变小 變小 出现 出現 消失"
).split()


def corpus() -> list[str]:
    """Every prompt and every kind of question and reply, often enough that no word is missing."""
    texts = [
        prompts.choices("", ["", ""]),
        SYSTEM,
        "<|im_start|>user\n",
        "<|im_start|>assistant\n",
        prompts.ANSWER_PREFIX,
        "<frame: 1-2> ",
    ]
    for tag in words.LANGUAGES:
        texts += [prompts.caption(tag), prompts.caption(tag, "events"), prompts.caption(tag, image=True)]
        texts += [prompts.locate("", tag), prompts.happens("", tag), prompts.yes_no("", tag)]
        texts += [*prompts.yes_no_words(tag), words.caption([], tag)]
        for seed in range(200):
            rng = np.random.default_rng(seed)
            truth = random_scene(rng, n_events=seed % 3, n_idle=1).truth()
            asked = words.open_questions(truth, rng, tag) + words.yes_no_questions(truth, rng, tag)
            texts += [words.caption([event.fact for event in truth.events], tag)]
            for question in asked + words.choice_questions(truth, rng, tag):
                texts += [question.text, question.answer, *question.options]
    return texts


def units(texts: list[str]) -> list[str]:
    """The words to make tokens of: English ones with and without a space before, Chinese ones as listed."""
    found: set[str] = set(_CHINESE)
    for text in texts:
        for word in re.findall(r"[A-Za-z]+", re.sub(r"<\|[a-z_]+\|>", "", text)):
            found |= {word, f" {word}"} if len(word) > 1 else {word}
    found |= {" (", ' "', ".\n", "?\n", '"?', " -", "：", "？", "。", "，", "“", "”", "「", "」", "\n\n"}
    missed = set("".join(texts)) - set("".join(found))
    return sorted(found | {character for character in missed if ord(character) > 0x7F})


def build() -> Tokenizer:
    """The tokenizer, always the same; ids of the specials end the vocabulary, as in Qwen2."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    trainer = BpeTrainer(
        vocab_size=VOCAB - len(SPECIALS),  # more than are needed: training ends when every word is whole
        min_frequency=1,
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator(units(corpus()), trainer)
    tokenizer.add_special_tokens(
        [AddedToken(special, special=True, normalized=False) for special in SPECIALS]
    )
    return tokenizer


def save(tokenizer: Tokenizer, folder: Path) -> None:
    """All tokenizer files of a Tarsier2 checkpoint."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    tokenizer.model.save(str(folder))  # vocab.json and merges.txt
    ids = {special: tokenizer.token_to_id(special) for special in SPECIALS}
    form = {"lstrip": False, "normalized": False, "rstrip": False, "single_word": False}
    extra = [special for special in SPECIALS if special != "<|endoftext|>" and special != "<|im_end|>"]
    write_json(folder / "added_tokens.json", ids)
    write_json(
        folder / "special_tokens_map.json",
        {
            "additional_special_tokens": [{"content": special, **form} for special in extra],
            "eos_token": {"content": "<|im_end|>", **form},
            "pad_token": {"content": "<|endoftext|>", **form},
        },
    )
    write_json(
        folder / "tokenizer_config.json",
        {
            "added_tokens_decoder": {
                str(ids[special]): {"content": special, **form, "special": True} for special in SPECIALS
            },
            "additional_special_tokens": extra,
            "bos_token": None,
            "chat_template": (Path(__file__).parent / "chat_template.jinja")
            .read_text(encoding="utf-8")
            .strip(),
            "clean_up_tokenization_spaces": False,
            "eos_token": "<|im_end|>",
            "extra_special_tokens": {},
            "model_max_length": 32768,
            "pad_token": "<|endoftext|>",
            "padding_side": "left",
            "split_special_tokens": False,
            "tokenizer_class": "Qwen2Tokenizer",
            "unk_token": None,
        },
    )


def write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
