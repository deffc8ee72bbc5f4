"""From a prompt to ids: the checkpoint's chat form around one vision block and the user's text.

The form is rendered once per checkpoint, with a mark where the prompt goes. A prompt is never parsed for
special tokens: ``<|im_end|>`` in a question is eight characters and more, not the end of the turn.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tokenizers import Tokenizer
from transformers import Qwen2Tokenizer

from tarsier_tools.errors import BackendUnavailable

logger = logging.getLogger(__name__)

IMAGE_PAD, VIDEO_PAD = "<|image_pad|>", "<|video_pad|>"
VISION_START, VISION_END = "<|vision_start|>", "<|vision_end|>"
END_OF_TURN, END_OF_TEXT = "<|im_end|>", "<|endoftext|>"
REQUIRED = (IMAGE_PAD, VISION_START, VISION_END, END_OF_TURN)

PROMPT_MARK = "\ue000prompt\ue000"  # private use: no template and no vocabulary has it

DEFAULT_FORM = (
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n"
    f"{VISION_START}{IMAGE_PAD}{VISION_END}{PROMPT_MARK}<|im_end|>\n<|im_start|>assistant\n"
)
_TEMPLATE_HINT = "Remove the chat template from the checkpoint to use Tarsier2's own form."
_TOKENIZER_HINT = "tokenizer.json and tokenizer_config.json of a Qwen2-VL checkpoint are needed."


class TextCodec:
    """The checkpoint's tokenizer, with special tokens apart from text. Raises BackendUnavailable."""

    def __init__(self, folder: Path) -> None:
        try:
            # By name: the automatic choice goes by model_type, which in Tarsier2's layout is llava.
            self._tokenizer: Any = Qwen2Tokenizer.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False
            )
            state = json.loads(self._tokenizer.backend_tokenizer.to_str())
            self._special: dict[str, int] = {token["content"]: token["id"] for token in state["added_tokens"]}
            self._plain = Tokenizer.from_str(json.dumps({**state, "added_tokens": []}))
        except Exception as error:  # tokenizers raises bare Exception for a bad file
            raise BackendUnavailable(
                f"The tokenizer cannot be loaded: {error}.", hint=_TOKENIZER_HINT
            ) from error
        missing = [token for token in REQUIRED if token not in self._special]
        if missing:
            raise BackendUnavailable(f"The tokenizer lacks {', '.join(missing)}.", hint=_TOKENIZER_HINT)
        longest_first = sorted(self._special, key=len, reverse=True)
        self._pattern = re.compile("(" + "|".join(re.escape(token) for token in longest_first) + ")")

    def special(self, token: str) -> int:
        """The id of a special token. Raises KeyError when there is none."""
        return int(self._special[token])

    def stop_ids(self) -> frozenset[int]:
        """The tokens that end a reply in every Qwen2 chat."""
        return frozenset(self._special[t] for t in (END_OF_TURN, END_OF_TEXT) if t in self._special)

    def encode(self, text: str) -> list[int]:
        """Ids of plain text; special tokens in it are spelt out like any other characters."""
        return list(self._plain.encode(text, add_special_tokens=False).ids)

    def decode(self, ids: Sequence[int]) -> str:
        """Text of ids, without special tokens."""
        text = self._tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return str(text)

    def split(self, text: str) -> list[int | str]:
        """Text cut at special tokens, which become ids. Tokenizers cut there too, so ids stay the same."""
        known: dict[str, int | str] = {**self._special}
        return [known.get(part, part) for part in self._pattern.split(text) if part]

    def render(self, template: str | None) -> str:
        """The chat form of one video and the prompt's mark, up to where the reply starts."""
        content = [{"type": "video", "num_vision_tokens": 1}, {"type": "text", "text": PROMPT_MARK}]
        text = self._tokenizer.apply_chat_template(
            [{"role": "user", "content": content}],
            chat_template=template,
            tokenize=False,
            add_generation_prompt=True,
            strip_final_eos=True,
        )
        return str(text)

    @property
    def template(self) -> str | None:
        """The chat template that came with the tokenizer."""
        template = self._tokenizer.chat_template
        return template if isinstance(template, str) else None


@dataclass(frozen=True)
class ChatForm:
    """How a prompt is laid out: head, vision block, tail with the prompt in it.

    Attributes:
        head: ids up to and including ``<|vision_start|>``.
        tail: what follows ``<|vision_end|>``: ids, and text in which the prompt is marked.
        source: "template" when the checkpoint's own was used, else "default".
    """

    codec: TextCodec
    head: tuple[int, ...]
    tail: tuple[int | str, ...]
    source: Literal["template", "default"]

    def prefix_ids(self, vision_tokens: int) -> list[int]:
        """All ids up to and including ``<|vision_end|>``: the same for every question about a clip."""
        pad, end = self.codec.special(IMAGE_PAD), self.codec.special(VISION_END)
        return [*self.head, *[pad] * vision_tokens, end]

    def suffix_ids(self, prompt: str, reply_prefix: str = "") -> list[int]:
        """The ids after the vision block, up to where the reply goes on."""
        pieces = [p.replace(PROMPT_MARK, prompt) if isinstance(p, str) else p for p in self.tail]
        if reply_prefix and isinstance(pieces[-1], str):
            pieces[-1] += reply_prefix  # one stretch of text is tokenised as one
        elif reply_prefix:
            pieces.append(reply_prefix)
        return _encode(self.codec, pieces)


def read_chat_form(codec: TextCodec, folder: Path) -> ChatForm:
    """The checkpoint's own template when it has one, else Tarsier2's form.

    Raises BackendUnavailable when the template cannot be rendered or writes no single vision block.
    """
    template = codec.template or _template_file(folder)
    if template is None:
        logger.info("no chat template in %s: using Tarsier2's form", folder.name)
        return _form(codec, DEFAULT_FORM, "default")
    try:
        rendered = codec.render(template)
    except Exception as error:  # a template is a program and may raise anything
        raise BackendUnavailable(
            f"The checkpoint's chat template fails: {error}.", hint=_TEMPLATE_HINT
        ) from error
    logger.info("using the chat template of %s", folder.name)
    return _form(codec, rendered, "template")


def _template_file(folder: Path) -> str | None:
    """Processors of Qwen2-VL keep the template in a file of its own."""
    path = folder / "chat_template.json"
    if not path.is_file():
        return None
    try:
        template = json.loads(path.read_text(encoding="utf-8"))["chat_template"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BackendUnavailable(
            f"chat_template.json cannot be read: {error}.", hint=_TEMPLATE_HINT
        ) from error
    return str(template)


def _form(codec: TextCodec, rendered: str, source: Literal["template", "default"]) -> ChatForm:
    pieces = codec.split(rendered)
    pads = {codec.special(IMAGE_PAD)}
    if VIDEO_PAD in rendered:
        pads.add(codec.special(VIDEO_PAD))
    places = [index for index, piece in enumerate(pieces) if piece in pads]
    start, end = codec.special(VISION_START), codec.special(VISION_END)
    one_block = bool(places) and places == list(range(places[0], places[-1] + 1))
    if not (
        one_block
        and pieces[places[0] - 1 : places[0]] == [start]
        and pieces[places[-1] + 1 : places[-1] + 2] == [end]
    ):
        raise BackendUnavailable(
            "The checkpoint's chat template does not write exactly one vision block per video.",
            hint=_TEMPLATE_HINT,
        )
    head, tail = pieces[: places[0]], pieces[places[-1] + 2 :]
    marked = [piece for piece in tail if isinstance(piece, str) and PROMPT_MARK in piece]
    if len(marked) != 1 or marked[0].count(PROMPT_MARK) != 1:
        raise BackendUnavailable(
            "The checkpoint's chat template does not put the prompt once after the video.",
            hint=_TEMPLATE_HINT,
        )
    return ChatForm(codec, tuple(_encode(codec, head)), tuple(tail), source)


def _encode(codec: TextCodec, pieces: Iterable[int | str]) -> list[int]:
    ids: list[int] = []
    for piece in pieces:
        if isinstance(piece, int):
            ids.append(piece)
        else:
            ids.extend(codec.encode(piece))
    return ids
