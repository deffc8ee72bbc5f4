"""The small files of a checkpoint in Qwen2-VL's own layout, written the way its makers publish theirs.

The oldest spelling of every key is used: all readers of Qwen2-VL know it, from transformers 4.45 to 5, vLLM,
SGLang and llama.cpp.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

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
from tarsier_tools.backends.tarsier2.checkpoint import CAPTIONER_NOTE, Checkpoint, read_json
from tarsier_tools.backends.tarsier2.inputs import MERGE, PATCH, TEMPORAL, PixelRules
from tarsier_tools.errors import BackendUnavailable

REFERENCE_MAX_PIXELS = 460_800
"""Tarsier2's own limit of one frame, for a checkpoint that states none."""

CARD = "tarsier.json"
START_OF_TURN = "<|im_start|>"

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
    "use_sliding_window",
    "vocab_size",
)
_VISION_KEYS = (
    "depth",
    "embed_dim",
    "hidden_act",
    "hidden_size",
    "in_channels",
    "mlp_ratio",
    "num_heads",
    "patch_size",
    "spatial_merge_size",
    "temporal_patch_size",
)
_ROPE_KEYS = {"rope_type", "type", "rope_theta", "mrope_section"}


def plain_files(checkpoint: Checkpoint, name: str, dtype: str) -> dict[str, bytes]:
    """Every file of the plain layout but the weights and their index, by name.

    Args:
        name: what to call a checkpoint that has no card.
        dtype: of the weights, as torch names it.

    Raises BackendUnavailable when the layout cannot say what the checkpoint says, and OSError.
    """
    codec = TextCodec(checkpoint.folder)
    template = chat_template(_system_text(read_chat_form(codec, checkpoint.folder)))
    documents: dict[str, dict[str, Any]] = {
        "config.json": _config(checkpoint, codec, dtype),
        "generation_config.json": _generation(checkpoint, codec),
        "preprocessor_config.json": _preprocessor(checkpoint),
        "tokenizer_config.json": _tokenizer(checkpoint.folder, template),
        "chat_template.json": {"chat_template": template},
    }
    if checkpoint.card is None:
        documents[CARD] = {"name": name, "description": CAPTIONER_NOTE}
    kept = [checkpoint.folder / kept for kept in (*_KEPT, CARD)]
    kept += [path for pattern in _LICENCES for path in sorted(checkpoint.folder.glob(pattern))]
    files = {path.name: path.read_bytes() for path in kept if path.is_file()}
    for name_of_file, document in documents.items():
        files[name_of_file] = (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()
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


def _config(checkpoint: Checkpoint, codec: TextCodec, dtype: str) -> dict[str, Any]:
    config: Any = checkpoint.config
    text, vision = config.text_config, config.vision_config
    rope = dict(text.rope_parameters)
    unknown = sorted(set(rope) - _ROPE_KEYS)
    if unknown or rope.get("rope_type", "default") != "default" or "mrope_section" not in rope:
        raise BackendUnavailable(
            f"config.json has rotary settings that Qwen2-VL's layout cannot hold: {rope}.",
            hint="Only Tarsier2's own settings can be converted.",
        )
    tokens = {
        "image_token_id": codec.special(IMAGE_PAD),
        "video_token_id": _special(codec, VIDEO_PAD),
        "vision_start_token_id": codec.special(VISION_START),
        "vision_end_token_id": codec.special(VISION_END),
    }
    if config.image_token_id != tokens["image_token_id"]:
        raise BackendUnavailable(
            f"config.json says that {IMAGE_PAD} is token {config.image_token_id}, "
            f"the tokenizer says {tokens['image_token_id']}.",
            hint="Download the checkpoint again: the files are not of one checkpoint.",
        )
    return {
        "architectures": ["Qwen2VLForConditionalGeneration"],
        "model_type": "qwen2_vl",
        **{key: value for key in _TEXT_KEYS if (value := getattr(text, key, None)) is not None},
        "max_position_embeddings": checkpoint.context_tokens,
        "rope_theta": rope["rope_theta"],
        "rope_scaling": {"type": "mrope", "mrope_section": rope["mrope_section"]},
        "tie_word_embeddings": config.tie_word_embeddings,
        "torch_dtype": dtype,
        **tokens,
        "vision_config": {
            "model_type": "qwen2_vl",
            **{key: getattr(vision, key) for key in _VISION_KEYS},
            "in_chans": vision.in_channels,
            "spatial_patch_size": vision.patch_size,
        },
    }


def _special(codec: TextCodec, token: str) -> int:
    try:
        return codec.special(token)
    except KeyError:
        raise BackendUnavailable(
            f"The tokenizer lacks {token}, which Qwen2-VL's layout needs.",
            hint="Take the tokenizer files of the original checkpoint.",
        ) from None


def _generation(checkpoint: Checkpoint, codec: TextCodec) -> dict[str, Any]:
    """Greedy, as Tarsier2 is run; the checkpoint's own stop tokens and those of every Qwen2 chat."""
    return {
        "do_sample": False,
        "repetition_penalty": 1.0,
        "pad_token_id": _special(codec, END_OF_TEXT),
        "eos_token_id": sorted(checkpoint.stop_ids | codec.stop_ids()),
    }


def _preprocessor(checkpoint: Checkpoint) -> dict[str, Any]:
    rules = PixelRules.read(checkpoint.preprocessor)
    return {
        "image_processor_type": "Qwen2VLImageProcessor",
        "processor_class": "Qwen2VLProcessor",
        "min_pixels": rules.min_pixels,
        "max_pixels": REFERENCE_MAX_PIXELS if rules.max_pixels == sys.maxsize else rules.max_pixels,
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
