"""The small files of a checkpoint in Qwen2-VL's own layout, written the way its makers publish theirs.

The oldest spelling of every key is used: all readers of Qwen2-VL know it, from transformers 4.45 to 5, vLLM,
SGLang and llama.cpp.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tarsier_tools.backends.tarsier2.chat import (
    END_OF_TEXT,
    END_OF_TURN,
    IMAGE_PAD,
    VIDEO_PAD,
    VISION_END,
    VISION_START,
    ChatForm,
    TextCodec,
    read_chat_form,
)
from tarsier_tools.backends.tarsier2.files import (
    CAPTIONER_NOTE,
    CARD,
    TARSIER_CONTEXT_TOKENS,
    read_card,
    read_json,
    stop_ids,
)
from tarsier_tools.backends.tarsier2.inputs import MERGE, PATCH, TEMPORAL, PixelRules
from tarsier_tools.errors import BackendUnavailable

DEFAULT_MAX_PIXELS = 2_073_600
"""For a checkpoint that states none. Readers need one, and it must not bite: a frame of Tarsier2's largest,
460800 pixels, becomes larger when its sides are rounded to multiples of 28."""

START_OF_TURN = "<|im_start|>"

MAX_LAYERS, MAX_SIZE = 1000, 10_000_000
"""Far above any Qwen2-VL: a broken file must not make this program count for hours."""

_KEPT = ("tokenizer.json", "vocab.json", "merges.txt", "added_tokens.json", "special_tokens_map.json")
_LICENCES = ("LICENSE*", "NOTICE*")
_TEXT_KEYS = (
    "attention_dropout",
    "bos_token_id",
    "eos_token_id",
    "hidden_act",
    "hidden_size",
    "initializer_range",
    "intermediate_size",
    "max_window_layers",
    "num_attention_heads",
    "num_hidden_layers",
    "num_key_value_heads",
    "rms_norm_eps",
    "use_cache",
    "vocab_size",
)
_VISION_KEYS = (
    "depth",
    "embed_dim",
    "hidden_act",
    "hidden_size",
    "in_channels",
    "in_chans",
    "mlp_ratio",
    "num_heads",
    "patch_size",
    "spatial_merge_size",
    "spatial_patch_size",
    "temporal_patch_size",
)
_ROPE_KEYS = {"rope_type", "type", "rope_theta", "mrope_section"}
_DEFAULT_THETA = 1_000_000.0
_BROKEN_HINT = "Download the checkpoint again; only Tarsier2's own settings can be converted."


@dataclass(frozen=True)
class Source:
    """config.json of a checkpoint in Tarsier2's layout, as it is written.

    Attributes:
        folder: where the checkpoint is.
        text, vision: the two Qwen2-VL configurations.
        tied: whether the output weights are the input ones.
    """

    folder: Path
    text: Mapping[str, Any]
    vision: Mapping[str, Any]
    tied: bool

    @classmethod
    def read(cls, folder: Path, config: Mapping[str, Any]) -> Source:
        """Raises BackendUnavailable where a configuration is missing."""
        text, vision = config.get("text_config"), config.get("vision_config")
        if not isinstance(text, dict) or not isinstance(vision, dict):
            raise BackendUnavailable("config.json has no vision_config.", hint=_BROKEN_HINT)
        tied = bool(config.get("tie_word_embeddings") or text.get("tie_word_embeddings"))
        return cls(folder, text, vision, tied)

    def number(self, part: Literal["text", "vision"], key: str) -> int:
        """A size that the configuration must state. Raises BackendUnavailable."""
        value = (self.text if part == "text" else self.vision).get(key)
        most = MAX_LAYERS if key in ("depth", "num_hidden_layers") else MAX_SIZE
        if type(value) is not int or not 0 < value <= most:
            raise BackendUnavailable(
                f"config.json has no {key} between 1 and {most} in its {part}_config.", hint=_BROKEN_HINT
            )
        return value


def plain_files(source: Source, name: str, dtype: str) -> dict[str, bytes]:
    """Every file of the plain layout but the weights and their index, by name.

    Args:
        name: what to call a checkpoint that has no card.
        dtype: of the weights, as torch names it.

    Raises BackendUnavailable when the layout cannot say what the checkpoint says, and OSError.
    """
    folder = source.folder
    codec = TextCodec(folder)
    template = chat_template(_system_text(read_chat_form(codec, folder)))
    documents: dict[str, dict[str, Any]] = {
        "config.json": _config(source, codec, dtype),
        "generation_config.json": _generation(folder, codec),
        "preprocessor_config.json": _preprocessor(folder),
        "tokenizer_config.json": _tokenizer(folder, template),
        "chat_template.json": {"chat_template": template},
    }
    if read_card(folder) is None:
        documents[CARD] = {"name": name, "description": CAPTIONER_NOTE}
    kept = [folder / kept for kept in (*_KEPT, CARD)]
    kept += [path for pattern in _LICENCES for path in sorted(folder.glob(pattern))]
    files = {path.name: path.read_bytes() for path in kept if path.is_file()}
    for file, document in documents.items():
        files[file] = (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()
    return files


def check_chat_form(checkpoint: Path, plain: Path) -> None:
    """See that both folders turn the same question into the same ids. Raises BackendUnavailable."""
    before, after = (read_chat_form(TextCodec(folder), folder) for folder in (checkpoint, plain))
    if (before.head, before.tail) != (after.head, after.tail):
        raise BackendUnavailable(
            "The checkpoint's chat template is not of Qwen's form, the only one that can be written.",
            hint="Remove the chat template from the checkpoint to use Tarsier2's own form.",
        )


def chat_template(system: str | None) -> str:
    """Qwen2-VL's chat as a Jinja template: one video block per video, wherever it stands.

    Args:
        system: the system turn of a chat that brings none; None for no such turn.
    """
    default = ""
    if system is not None:
        turn = json.dumps(f"<|im_start|>system\n{system}<|im_end|>\n", ensure_ascii=False)
        default = "{% if loop.first and message['role'] != 'system' %}{{ " + turn + " }}{% endif %}"
    return (
        "{% for message in messages %}" + default + "{{ '<|im_start|>' + message['role'] + '\\n' }}"
        "{% if message['content'] is string %}{{ message['content'] }}"
        "{% else %}{% for content in message['content'] %}"
        "{% if content['type'] in ['video', 'video_url'] %}"
        f"{{{{ '{VISION_START}{VIDEO_PAD}{VISION_END}' }}}}"
        "{% elif content['type'] in ['image', 'image_url'] %}"
        f"{{{{ '{VISION_START}{IMAGE_PAD}{VISION_END}' }}}}"
        "{% elif content['type'] == 'text' %}{{ content['text'] }}{% endif %}"
        "{% endfor %}{% endif %}{{ '<|im_end|>\\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
    )


def _system_text(form: ChatForm) -> str | None:
    """What the system turn says, None when the form begins without one."""
    codec, ids = form.codec, list(form.head)
    if ids[0] != codec.special(START_OF_TURN) or codec.special(END_OF_TURN) not in ids:
        return None
    role, _, text = codec.decode(ids[1 : ids.index(codec.special(END_OF_TURN))]).partition("\n")
    return text if role == "system" else None


def _config(source: Source, codec: TextCodec, dtype: str) -> dict[str, Any]:
    text, vision = source.text, source.vision
    tokens = {
        "image_token_id": codec.special(IMAGE_PAD),
        "video_token_id": _special(codec, VIDEO_PAD),
        "vision_start_token_id": codec.special(VISION_START),
        "vision_end_token_id": codec.special(VISION_END),
    }
    for key, token in tokens.items():
        if text.get(key, token) != token:
            raise BackendUnavailable(
                f"config.json says that {key} is {text[key]}, the tokenizer says {token}.",
                hint="Download the checkpoint again: the files are not of one checkpoint.",
            )
    if text.get("use_sliding_window"):
        raise BackendUnavailable("Sliding-window attention is not supported.", hint=_BROKEN_HINT)
    context = source.number("text", "max_position_embeddings")
    return {
        "architectures": ["Qwen2VLForConditionalGeneration"],
        "model_type": "qwen2_vl",
        **{key: text[key] for key in _TEXT_KEYS if text.get(key) is not None},
        "max_position_embeddings": min(context, TARSIER_CONTEXT_TOKENS),
        "use_sliding_window": False,
        **_rope(text),
        "tie_word_embeddings": source.tied,
        "torch_dtype": dtype,
        **tokens,
        "vision_config": {
            "model_type": "qwen2_vl",
            **{key: vision[key] for key in _VISION_KEYS if vision.get(key) is not None},
        },
    }


def _rope(text: Mapping[str, Any]) -> dict[str, Any]:
    """The rotary settings, which transformers 5 writes into one dictionary and 4 into two keys."""
    given = text.get("rope_scaling") or text.get("rope_parameters")
    rope = given if isinstance(given, dict) else {}
    kinds = {rope.get("type", "default"), rope.get("rope_type", "default")}
    if "mrope_section" not in rope or set(rope) - _ROPE_KEYS or kinds - {"default", "mrope"}:
        raise BackendUnavailable(
            f"config.json has rotary settings that are not Tarsier2's: {given}.", hint=_BROKEN_HINT
        )
    return {
        "rope_theta": rope.get("rope_theta") or text.get("rope_theta") or _DEFAULT_THETA,
        "rope_scaling": {"type": "mrope", "mrope_section": rope["mrope_section"]},
    }


def _special(codec: TextCodec, token: str) -> int:
    try:
        return codec.special(token)
    except KeyError:
        raise BackendUnavailable(
            f"The tokenizer lacks {token}, which Qwen2-VL's layout needs.",
            hint="Take the tokenizer files of the original checkpoint.",
        ) from None


def _generation(folder: Path, codec: TextCodec) -> dict[str, Any]:
    """Greedy, as Tarsier2 is run; the checkpoint's own stop tokens and those of every Qwen2 chat."""
    return {
        "do_sample": False,
        "repetition_penalty": 1.0,
        "pad_token_id": _special(codec, END_OF_TEXT),
        "eos_token_id": sorted(stop_ids(folder) | codec.stop_ids()),
    }


def _preprocessor(folder: Path) -> dict[str, Any]:
    rules = PixelRules.read(read_json(folder, "preprocessor_config.json"))
    return {
        "image_processor_type": "Qwen2VLImageProcessor",
        "processor_class": "Qwen2VLProcessor",
        "min_pixels": rules.min_pixels,
        "max_pixels": DEFAULT_MAX_PIXELS if rules.max_pixels == sys.maxsize else rules.max_pixels,
        "patch_size": PATCH,
        "temporal_patch_size": TEMPORAL,
        "merge_size": MERGE,
        "image_mean": list(rules.mean),
        "image_std": list(rules.std),
    }


def _tokenizer(folder: Path, template: str) -> dict[str, Any]:
    own = read_json(folder, "tokenizer_config.json")
    return {
        **{key: value for key, value in own.items() if key not in ("auto_map", "processor_class")},
        "tokenizer_class": "Qwen2Tokenizer",
        "chat_template": template,
    }
