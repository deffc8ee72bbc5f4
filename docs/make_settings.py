"""Write settings.md, one row per setting, from the code itself: python docs/make_settings.py"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args, get_origin

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from tarsier_tools.config import Settings

OUT = Path(__file__).with_name("settings.md")

HEAD = """# Settings

Written by `python docs/make_settings.py`; a test keeps it equal to the code.

Each setting is a field of `tarsier_tools.Settings` and the variable `TARSIER_<NAME>`, in capitals. An
explicit argument wins over the environment, the environment over the default. Lists are JSON:
`TARSIER_ALLOWED_ROOTS='["/videos", "/archive"]'`. `MB` are 2^20 bytes.

| setting | default | values | meaning |
|---|---|---|---|
"""


def _default(name: str, field: FieldInfo) -> str:
    if field.default is PydanticUndefined:
        return "the user's cache folder" if name == "cache_dir" else "computed"
    return "not set" if field.default is None else f"`{field.default}`"


def _values(field: FieldInfo) -> str:
    if get_origin(field.annotation) is Literal:
        return ", ".join(f"`{value}`" for value in get_args(field.annotation))
    bounds = {type(bound).__name__: bound for bound in field.metadata}
    words = []
    for kind, text in (("Ge", "from {}"), ("Gt", "above {}"), ("Le", "to {}")):
        if kind in bounds:
            words.append(text.format(getattr(bounds[kind], kind.lower())))
    return " ".join(words)


def settings_md() -> str:
    """The whole page."""
    rows = (
        f"| `{name}` | {_default(name, field)} | {_values(field)} | {field.description} |"
        for name, field in Settings.model_fields.items()
    )
    return HEAD + "\n".join(rows) + "\n"


if __name__ == "__main__":
    OUT.write_text(settings_md(), encoding="utf-8")
