"""What a checkpoint is: its configuration for transformers, and what is known of it besides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import Qwen2VLConfig

from tarsier_tools.backends.tarsier2.files import (
    CAPTIONER_NOTE,
    LAYOUT_HINT,
    TARSIER_CONTEXT_TOKENS,
    Card,
    Layout,
    count_parameters,
    layout_of,
    read_card,
    read_json,
    stop_ids,
    weight_files,
)
from tarsier_tools.errors import BackendUnavailable
from tarsier_tools.types import Abilities

TARSIER_KEY_MAPPING = {
    r"^vision_tower\.": "model.visual.",
    r"^language_model\.model\.": "model.language_model.",
    r"^language_model\.lm_head\.": "lm_head.",
}
_TOKEN_IDS = ("image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id")
_NOT_ARCHITECTURE = (
    "auto_map",
    "architectures",
    "attn_implementation",
    "_attn_implementation",
    "torch_dtype",
)


@dataclass(frozen=True)
class Checkpoint:
    """A folder that can be loaded.

    Attributes:
        folder: where the files are.
        config: for Qwen2VLForConditionalGeneration.
        stop_ids: ids of generation_config.json that end a reply.
        weights: the safetensors files.
        parameters: numbers in all weights together.
        context_tokens: the longest prompt plus reply.
        preprocessor: preprocessor_config.json, {} when there is none.
        card: tarsier.json, None when there is none.
    """

    folder: Path
    layout: Layout
    config: Qwen2VLConfig
    stop_ids: frozenset[int]
    weights: tuple[Path, ...]
    parameters: int
    context_tokens: int
    preprocessor: Mapping[str, Any]
    card: Card | None

    @property
    def key_mapping(self) -> dict[str, str] | None:
        return TARSIER_KEY_MAPPING if self.layout == "tarsier2" else None

    @property
    def abilities(self) -> Abilities:
        """What the card says; without one, what is known of the released checkpoints."""
        if self.card is not None:
            return Abilities(**self.card.abilities.model_dump(), note=self.card.description)
        return Abilities(note=CAPTIONER_NOTE if self.layout == "tarsier2" else "")


def read_checkpoint(folder: Path) -> Checkpoint:
    """Read everything but the weights themselves. Raises BackendUnavailable when something is missing."""
    raw = read_json(folder, "config.json", required=True)
    layout, config = _configuration(raw)
    text: Any = config.text_config
    if text.use_sliding_window:
        raise BackendUnavailable(
            f"{folder.name} uses sliding-window attention, which is not supported.", hint=LAYOUT_HINT
        )
    weights = weight_files(folder)
    context = int(text.max_position_embeddings)
    return Checkpoint(
        folder=folder,
        layout=layout,
        config=config,
        stop_ids=stop_ids(folder),
        weights=weights,
        parameters=sum(count_parameters(path) for path in weights),
        context_tokens=min(TARSIER_CONTEXT_TOKENS, context) if layout == "tarsier2" else context,
        preprocessor=read_json(folder, "preprocessor_config.json"),
        card=read_card(folder),
    )


def _configuration(raw: dict[str, Any]) -> tuple[Layout, Qwen2VLConfig]:
    layout = layout_of(raw)
    try:
        if layout == "qwen2-vl":
            return layout, Qwen2VLConfig.from_dict(_architecture(raw))
        text, vision = raw["text_config"], raw["vision_config"]
        # The token ids sit in text_config; the wrapper's own "image_token_index" is the image token's.
        tokens = {name: text[name] for name in _TOKEN_IDS if name in text}
        tokens.setdefault("image_token_id", raw.get("image_token_index"))
        return layout, Qwen2VLConfig(
            text_config=_architecture(text, without=("model_type", *_TOKEN_IDS)),
            vision_config=_architecture(vision, without=("model_type",)),
            tie_word_embeddings=bool(raw.get("tie_word_embeddings", False)),
            **tokens,
        )
    except Exception as error:  # validation of configurations has errors of many unrelated classes
        raise BackendUnavailable(
            f"config.json describes no Qwen2-VL model: {error}.", hint=LAYOUT_HINT
        ) from error


def _architecture(config: Mapping[str, Any], *, without: tuple[str, ...] = ()) -> dict[str, Any]:
    """The configuration less what names code, machines or dtypes of the one who saved it, at every depth."""
    return {
        key: _architecture(value) if isinstance(value, Mapping) else value
        for key, value in config.items()
        if key not in _NOT_ARCHITECTURE and key not in without
    }
