"""What the arguments of a call must be, checked before any work is done. Pure; raises UsageError."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from tarsier_tools import languages, prompts
from tarsier_tools.errors import UsageError
from tarsier_tools.languages import Language

T = TypeVar("T", bound=str)

MAX_TEXT_CHARS = 2000
"""The longest question, event or choice, in characters."""
MAX_NEW_TOKENS = 8192
"""The longest reply, in tokens."""
MAX_EVENTS = 100
"""The most events that are looked for in one call."""
MAX_FRAMES = 512
"""The most frames that a model is shown at once."""


def words(name: str, value: str) -> str:
    """A question, event or choice without the white space around it.

    Raises UsageError when nothing is left, or more than MAX_TEXT_CHARS, and for what is not Unicode, as bytes
    of a command line may be.
    """
    text = value.strip()
    if not text:
        raise UsageError(f"The {name} is empty.", hint=f"Say in words what the {name} is.")
    if len(text) > MAX_TEXT_CHARS:
        raise UsageError(
            f"The {name} has {len(text)} characters; at most {MAX_TEXT_CHARS} are allowed.",
            hint="Say it in fewer words, or ask several times.",
        )
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UsageError(f"The {name} is not valid Unicode text.", hint="Give it in UTF-8.") from None
    return text


def events(value: str | Sequence[str]) -> tuple[str, ...]:
    """One event or several, each as from :func:`words`. Raises UsageError for none and for too many."""
    texts = (value,) if isinstance(value, str) else tuple(value)
    if not 1 <= len(texts) <= MAX_EVENTS:
        raise UsageError(
            f"{len(texts)} events are given; between 1 and {MAX_EVENTS} are needed.",
            hint="Look for the others in another call.",
        )
    return tuple(words("event", text) for text in texts)


def options(choices: Sequence[str]) -> tuple[str, ...]:
    """The choices of a question, each as from :func:`words`.

    Raises UsageError for a single text instead of several, for fewer than 2 or more than 26, for an empty
    one, and for two that are equal but for case and white space around them.
    """
    if isinstance(choices, str):
        raise UsageError("The choices are one text.", hint="Give a list with one text per choice.")
    most = len(prompts.LETTERS)
    if not 2 <= len(choices) <= most:
        raise UsageError(
            f"{len(choices)} choices are given; between 2 and {most} are needed.",
            hint="Leave the choices away for a free answer.",
        )
    texts = tuple(words("choice", choice) for choice in choices)
    seen: set[str] = set()
    for text in texts:
        if text.casefold() in seen:
            raise UsageError(f"The choice {text!r} is given twice.", hint="Give each choice once.")
        seen.add(text.casefold())
    return texts


def language(tag: str | None, default: Language) -> Language:
    """A BCP 47 tag in its usual form, or the default for None. Raises UsageError for what is no such tag.

    The result goes to the functions of :mod:`~tarsier_tools.prompts`, which take any language.
    """
    if tag is None:
        return default
    try:
        return languages.canonical(tag)
    except ValueError as error:
        raise UsageError(
            f"The language {tag[: languages.MAX_TAG_CHARS]!r} cannot be used: {error}.",
            hint=f"There are prompts in {', '.join(languages.LANGUAGES)}; others are asked for in English.",
        ) from None


def one_of(name: str, value: str, allowed: Sequence[str]) -> None:
    """Raise UsageError, naming what is allowed, when the value is not."""
    if value not in allowed:
        raise UsageError(f"{name} is {value!r}.", hint=f"Use one of {', '.join(allowed)}.")


def several(value: T | Sequence[T] | None) -> tuple[T, ...] | None:
    """One text or several as a tuple; None stays None."""
    return value if value is None else (value,) if isinstance(value, str) else tuple(value)


def frames(value: int | None, default: int) -> int:
    """How many frames to show; the default for None. Raises UsageError outside 1 to MAX_FRAMES."""
    return _within("frames", value, default, MAX_FRAMES)


def new_tokens(value: int | None, default: int) -> int:
    """The most tokens of a reply; the default for None. Raises UsageError outside 1 to MAX_NEW_TOKENS."""
    return _within("max_new_tokens", value, default, MAX_NEW_TOKENS)


def _within(name: str, value: int | None, default: int, most: int) -> int:
    if value is None:
        return default
    if not 1 <= value <= most:
        raise UsageError(
            f"{name} is {value}; it must be from 1 to {most}.",
            hint=f"Leave it away for the default, {default}.",
        )
    return value
