"""What a checkpoint folder holds: which layout, which configuration, which tokens, how many bytes.

Two layouts are read. Tarsier2's is a llava wrapper (``vision_tower.*``, ``language_model.*``) around two
Qwen2-VL sub-configurations; the plain one is Qwen2-VL's, with the weight names of transformers 4 or 5.
Nothing here runs code from the checkpoint or loads a pickle.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError, safe_open
from transformers import Qwen2VLConfig

from tarsier_tools.errors import BackendUnavailable
from tarsier_tools.types import Abilities

Layout = Literal["tarsier2", "qwen2-vl"]

TARSIER_KEY_MAPPING = {
    r"^vision_tower\.": "model.visual.",
    r"^language_model\.model\.": "model.language_model.",
    r"^language_model\.lm_head\.": "lm_head.",
}
TARSIER_CONTEXT_TOKENS = 16_384
"""What Tarsier2 was trained and is run with; its text model's own limit is higher."""

CAPTIONER_NOTE = (
    "The released Tarsier2 checkpoints are captioners: descriptions are strong, "
    "other instructions are hardly followed."
)
_LAYOUT_HINT = "Give a Tarsier2 or Qwen2-VL checkpoint."
_REPAIR_HINT = "Download the checkpoint again: every *.safetensors and *.json file is needed."
_TOKEN_IDS = ("image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id")
_NOT_ARCHITECTURE = (
    "auto_map",
    "architectures",
    "attn_implementation",
    "_attn_implementation",
    "torch_dtype",
)


class _AbilitiesFile(BaseModel):
    model_config = ConfigDict(extra="forbid")

    languages: tuple[str, ...] = ()
    yes_no: bool = False
    choices: bool = False
    frames: bool = False
    dense: bool = False


class Card(BaseModel):
    """``tarsier.json`` beside a checkpoint: what its makers declare about it."""

    model_config = ConfigDict(extra="ignore")

    name: str = ""
    description: str = ""
    abilities: _AbilitiesFile = _AbilitiesFile()


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
            f"{folder.name} uses sliding-window attention, which is not supported.", hint=_LAYOUT_HINT
        )
    weights = _weight_files(folder)
    card = read_json(folder, "tarsier.json")
    generation = read_json(folder, "generation_config.json")
    stop = generation.get("eos_token_id", [])
    context = int(text.max_position_embeddings)
    return Checkpoint(
        folder=folder,
        layout=layout,
        config=config,
        stop_ids=frozenset(stop if isinstance(stop, list) else [stop]),
        weights=weights,
        parameters=sum(_count_parameters(path) for path in weights),
        context_tokens=min(TARSIER_CONTEXT_TOKENS, context) if layout == "tarsier2" else context,
        preprocessor=read_json(folder, "preprocessor_config.json"),
        card=_card(card) if card else None,
    )


def _configuration(raw: dict[str, Any]) -> tuple[Layout, Qwen2VLConfig]:
    kind = raw.get("model_type")
    text, vision = raw.get("text_config"), raw.get("vision_config")
    try:
        if kind == "qwen2_vl":
            return "qwen2-vl", Qwen2VLConfig.from_dict(_architecture(raw))
        if kind == "llava" and isinstance(text, dict) and text.get("model_type") == "qwen2_vl":
            if not isinstance(vision, dict):
                raise KeyError("vision_config")
            # The token ids sit in text_config; the wrapper's own "image_token_index" is the image token's.
            tokens = {name: text[name] for name in _TOKEN_IDS if name in text}
            tokens.setdefault("image_token_id", raw.get("image_token_index"))
            return "tarsier2", Qwen2VLConfig(
                text_config=_architecture(text, without=("model_type", *_TOKEN_IDS)),
                vision_config=_architecture(vision, without=("model_type",)),
                tie_word_embeddings=bool(raw.get("tie_word_embeddings", False)),
                **tokens,
            )
    except Exception as error:  # validation of configurations has errors of many unrelated classes
        raise BackendUnavailable(
            f"config.json describes no Qwen2-VL model: {error}.", hint=_LAYOUT_HINT
        ) from error
    raise BackendUnavailable(f"The checkpoint's model_type is {kind!r}, not Tarsier2's.", hint=_LAYOUT_HINT)


def _architecture(config: Mapping[str, Any], *, without: tuple[str, ...] = ()) -> dict[str, Any]:
    """The configuration less what names code, machines or dtypes of the one who saved it, at every depth."""
    return {
        key: _architecture(value) if isinstance(value, Mapping) else value
        for key, value in config.items()
        if key not in _NOT_ARCHITECTURE and key not in without
    }


def _weight_files(folder: Path) -> tuple[Path, ...]:
    index = read_json(folder, "model.safetensors.index.json")
    if index:
        names = sorted(set(index.get("weight_map", {}).values()))
        if any(Path(name).name != name for name in names):
            raise BackendUnavailable("The weight index names files outside its folder.", hint=_REPAIR_HINT)
        files = tuple(folder / name for name in names)
    else:
        files = (folder / "model.safetensors",)
    missing = [path.name for path in files if not path.is_file()]
    if not missing and files:
        return files
    pickles = [path.name for pattern in ("*.bin", "*.pt", "*.pth") for path in folder.glob(pattern)]
    if pickles and not any(folder.glob("*.safetensors")):
        raise BackendUnavailable(
            f"{folder.name} holds its weights only as pickles ({pickles[0]}), which can run code.",
            hint="Convert them to safetensors, or take a checkpoint that has model.safetensors.",
        )
    raise BackendUnavailable(
        f"{folder.name} lacks {len(missing) or 'all'} weight file(s): {', '.join(missing[:3])}.",
        hint=_REPAIR_HINT,
    )


def _count_parameters(path: Path) -> int:
    total = 0
    try:
        with safe_open(path, framework="numpy") as tensors:
            for name in tensors.keys():  # noqa: SIM118  (not a mapping)
                count = 1
                for size in tensors.get_slice(name).get_shape():
                    count *= size
                total += count
    except (SafetensorError, OSError) as error:
        raise BackendUnavailable(
            f"{path.name} is damaged or cut short: {error}.", hint=_REPAIR_HINT
        ) from error
    return total


def _card(raw: dict[str, Any]) -> Card:
    try:
        return Card.model_validate(raw)
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(str(part) for part in problem["loc"])
        raise BackendUnavailable(
            f"tarsier.json is not as it should be at {where}: {problem['msg']}.",
            hint="Correct the file or remove it.",
        ) from error


def read_json(folder: Path, name: str, *, required: bool = False) -> dict[str, Any]:
    """A JSON object of a folder; {} without the file. Raises BackendUnavailable."""
    path = folder / name
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if not required:
            return {}
        raise BackendUnavailable(f"{folder} has no {name}.", hint=_REPAIR_HINT) from None
    except (OSError, ValueError) as error:
        raise BackendUnavailable(
            f"{name} of {folder.name} cannot be read: {error}.", hint=_REPAIR_HINT
        ) from error
    if not isinstance(value, dict):
        raise BackendUnavailable(f"{name} of {folder.name} is not a JSON object.", hint=_REPAIR_HINT)
    return value
