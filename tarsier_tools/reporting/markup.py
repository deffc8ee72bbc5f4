"""HTML and SVG that cannot be broken out of: every text is escaped unless it is markup already. Pure."""

from __future__ import annotations

import html
from collections.abc import Iterable

from tarsier_tools.text import clean

_VOID = {"br", "img", "meta", "link"}


class Markup(str):
    """Text that is HTML already; made by :func:`tag` and :func:`join`."""

    __slots__ = ()


Child = str | None
Value = str | float | bool | None


def tag(name: str, /, *children: Child, **attributes: Value) -> Markup:
    """An element with its attributes and children.

    Texts are cleaned of control characters and direction overrides, then escaped; markup stays as it is;
    None is left out. In names of attributes ``_`` stands for ``-``, and one at the end is dropped
    (``class_``). None and False leave an attribute out, True gives it no value, numbers keep two decimals.
    """
    opened = name + "".join(_attribute(key, value) for key, value in attributes.items())
    if name in _VOID:
        return Markup(f"<{opened}>")
    return Markup(f"<{opened}>{join(children)}</{name}>")


def join(children: Iterable[Child]) -> Markup:
    """Several pieces one after the other, escaped as by :func:`tag`."""
    return Markup("".join(escape(child) for child in children if child is not None))


def escape(text: str) -> Markup:
    """The text as it can stand in an element or a quoted attribute."""
    return text if isinstance(text, Markup) else Markup(html.escape(clean(text)))


def _attribute(key: str, value: Value) -> str:
    if value is None or value is False:
        return ""
    key = key.rstrip("_").replace("_", "-")
    if value is True:
        return f" {key}"
    text = f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
    return f' {key}="{escape(text)}"'
