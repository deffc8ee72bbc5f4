"""Which models can be used here: looked up without loading any of them or asking one anything."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from rich.text import Text

from tarsier_tools.backends import TINY_FOLDER, choose_backend
from tarsier_tools.config import Settings
from tarsier_tools.errors import BackendError
from tarsier_tools.text import clean_line

INSTALL = "pip install 'tarsier-tools[local]'"
EXTRA = ("torch", "transformers", "tokenizers", "safetensors", "huggingface_hub")
CARD = "tarsier.json"

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)


class _Card(BaseModel):
    """The part of ``tarsier.json`` that is shown here."""

    name: str = ""
    description: str = ""
    accuracy: dict[str, float] = {}


class ModelStatus(BaseModel):
    """One model and whether it can be used here."""

    model_config = ConfigDict(frozen=True)

    backend: str = Field(description="The value for --backend: tiny, local or remote.")
    model: str = Field(description="Name, folder or hub id; empty when none is set.")
    usable: bool = Field(description="All that it needs is here, as far as can be told without loading it.")
    chosen: bool = Field(description="It is the one that answers.")
    about: str = Field(description="What to know about it.")
    accuracy: dict[str, float] = Field(description="Held-out results that its card states, 0 to 1.")
    missing: tuple[str, ...] = Field(description="What is not here, one phrase each.")
    hint: str = Field(description="What to do or type to use it; empty when nothing is needed.")


class Models(BaseModel):
    """What can answer here, and what does."""

    model_config = ConfigDict(frozen=True)

    chosen: str = Field(description="The backend that answers with these options and variables.")
    reason: str = Field(description="Why that one.")
    models: tuple[ModelStatus, ...]


def survey(settings: Settings) -> Models:
    """What is here, and what these settings choose of it. Raises UsageError as ``choose_backend`` does."""
    chosen, reason = choose_backend(settings)
    packages = tuple(f"package {name}" for name in EXTRA if find_spec(name) is None)
    # With a server the model's name is the server's, and no folder or hub id.
    model = None if chosen == "remote" else settings.model
    return Models(
        chosen=chosen,
        reason=reason,
        models=(
            _tiny(packages, chosen=chosen == "tiny"),
            _local(model, packages, chosen=chosen == "local"),
            _remote(settings, chosen=chosen == "remote"),
        ),
    )


def render_models(result: Models) -> Iterator[Text]:
    """The models, and below them the choice with its reason."""
    for status in result.models:
        mark = ("usable   ", "bold green") if status.usable else ("missing  ", "bold yellow")
        name = clean_line(status.model) or "(no model is set)"
        yield Text.assemble(f"{status.backend:<8}", mark, name)
        lines = [status.about, *(f"missing: {what}" for what in status.missing), status.hint]
        for line in lines:
            if line:
                yield Text(f"        {clean_line(line)}", style="dim")
        for task, value in status.accuracy.items():
            yield Text(f"        {value:6.1%}  {clean_line(task)}", style="dim")
    yield Text.assemble(("answers: ", "bold"), result.chosen, f" ({clean_line(result.reason)})")


def _tiny(packages: tuple[str, ...], *, chosen: bool) -> ModelStatus:
    missing = packages
    hint = f"Install what is missing: {INSTALL}" if packages else ""
    if not (TINY_FOLDER / "config.json").is_file():
        missing += ("the bundled checkpoint",)
        hint = hint or "Install tarsier-tools again; this copy lacks its checkpoint."
    card = _card(TINY_FOLDER)
    return ModelStatus(
        backend="tiny",
        model=card.name or TINY_FOLDER.name,
        usable=not missing,
        chosen=chosen,
        about=card.description,
        accuracy=card.accuracy,
        missing=missing,
        hint=hint,
    )


def _local(model: str | None, packages: tuple[str, ...], *, chosen: bool) -> ModelStatus:
    missing = packages
    hint = f"Install what is missing: {INSTALL}" if packages else ""
    about = ""
    if model is None:
        about = "Any Tarsier2 or Qwen2-VL checkpoint: a folder or a hub id."
        hint = hint or "Name one with --model, or in TARSIER_MODEL."
        missing += ("a model",)
    elif (folder := Path(model).expanduser()).is_dir():
        about = _card(folder).description or "A checkpoint in a folder."
        if not (folder / "config.json").is_file():
            missing += (f"config.json in {model}",)
            hint = hint or "Give the folder that holds config.json and the *.safetensors files."
    elif _HUB_ID.fullmatch(model):
        about = "A checkpoint of the hub: fetched when it is first used, then kept by huggingface_hub."
    else:
        missing += (f"folder {model}",)
        hint = hint or "Check the path."
    return ModelStatus(
        backend="local",
        model=model or "",
        usable=not missing,
        chosen=chosen,
        about=about,
        accuracy={},
        missing=missing,
        hint=hint,
    )


def _remote(settings: Settings, *, chosen: bool) -> ModelStatus:
    """The server is asked for its list of models, and nothing else."""
    about = "Any OpenAI-compatible server; vLLM sees the video as the model was trained to."
    hint, names = "", []
    if settings.base_url is None:
        missing: tuple[str, ...] = ("the address of a server",)
        hint = "Give one with --base-url, or in TARSIER_BASE_URL; its key in TARSIER_API_KEY."
    else:
        from tarsier_tools.backends.remote import served_models  # loads the HTTP library

        try:
            names = [served.name for served in served_models(settings)]
        except BackendError as error:
            missing, hint = (error.message,), error.hint
        else:
            about = f"The server offers: {', '.join(names) or 'nothing'}."
            wanted = settings.model or (names[0] if len(names) == 1 else "")
            missing = () if wanted in names else (f"model {wanted}" if wanted else "the name of a model",)
            hint = "" if wanted in names else "Name one of them with --model, or in TARSIER_MODEL."
    return ModelStatus(
        backend="remote",
        model=(settings.model or "".join(names[:1])) if settings.base_url else "",
        usable=not missing,
        chosen=chosen,
        about=about,
        accuracy={},
        missing=missing,
        hint=hint,
    )


def _card(folder: Path) -> _Card:
    """What a checkpoint says about itself; an empty card where loading it would fail."""
    try:
        return _Card.model_validate_json((folder / CARD).read_bytes())
    except (OSError, ValidationError):
        return _Card()
