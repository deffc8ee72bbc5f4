"""What a checkpoint folder holds, without any model library: layout, weights, card, small JSON files.

Two layouts are read. Tarsier2's is a llava wrapper (``vision_tower.*``, ``language_model.*``) around two
Qwen2-VL sub-configurations; the plain one is Qwen2-VL's, with the weight names of transformers 4 or 5.
Nothing here runs code from the checkpoint or loads a pickle.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError, safe_open

from tarsier_tools.errors import BackendUnavailable

Layout = Literal["tarsier2", "qwen2-vl"]

TARSIER_CONTEXT_TOKENS = 16_384
"""What Tarsier2 was trained and is run with; its text model's own limit is higher."""

CAPTIONER_NOTE = (
    "The released Tarsier2 checkpoints are captioners: descriptions are strong, "
    "other instructions are hardly followed."
)
LAYOUT_HINT = "Give a Tarsier2 or Qwen2-VL checkpoint."
REPAIR_HINT = "Download the checkpoint again: every *.safetensors and *.json file is needed."
CARD = "tarsier.json"


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
    knows: Literal["", "shapes"] = ""  # "shapes": films of the shapes world, and nothing else
    abilities: _AbilitiesFile = _AbilitiesFile()


def layout_of(config: Mapping[str, Any]) -> Layout:
    """Which layout a config.json is of. Raises BackendUnavailable for any other model."""
    kind, text = config.get("model_type"), config.get("text_config")
    if kind == "qwen2_vl":
        return "qwen2-vl"
    if kind == "llava" and isinstance(text, dict) and text.get("model_type") == "qwen2_vl":
        return "tarsier2"
    raise BackendUnavailable(f"The checkpoint's model_type is {kind!r}, not Tarsier2's.", hint=LAYOUT_HINT)


def stop_ids(folder: Path) -> frozenset[int]:
    """Ids of generation_config.json that end a reply."""
    stop = read_json(folder, "generation_config.json").get("eos_token_id", [])
    return frozenset(stop if isinstance(stop, list) else [stop])


def weight_files(folder: Path) -> tuple[Path, ...]:
    """The safetensors files, in the order of their names. Raises BackendUnavailable where one is missing."""
    index = read_json(folder, "model.safetensors.index.json")
    if index:
        names = sorted(set(index.get("weight_map", {}).values()))
        if any(Path(name).name != name for name in names):
            raise BackendUnavailable("The weight index names files outside its folder.", hint=REPAIR_HINT)
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
        hint=REPAIR_HINT,
    )


def count_parameters(path: Path) -> int:
    """Numbers in all tensors of a safetensors file. Raises BackendUnavailable where it is damaged."""
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
            f"{path.name} is damaged or cut short: {error}.", hint=REPAIR_HINT
        ) from error
    return total


def read_card(folder: Path) -> Card | None:
    """The card, None when there is none. Raises BackendUnavailable for one that is not as it should be."""
    raw = read_json(folder, CARD)
    if not raw:
        return None
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
        raise BackendUnavailable(f"{folder} has no {name}.", hint=REPAIR_HINT) from None
    except (OSError, ValueError) as error:
        raise BackendUnavailable(
            f"{name} of {folder.name} cannot be read: {error}.", hint=REPAIR_HINT
        ) from error
    if not isinstance(value, dict):
        raise BackendUnavailable(f"{name} of {folder.name} is not a JSON object.", hint=REPAIR_HINT)
    return value
