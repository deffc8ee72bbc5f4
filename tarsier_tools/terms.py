"""What texts are compared and searched by: words, and pairs of characters in scripts without spaces. Pure."""

from __future__ import annotations

import re

_NO_SPACES = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"  # Thai and Lao, Burmese, Khmer
    "\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U000323af"  # kana, Chinese characters
    "\uac00-\ud7af"  # Hangul has spaces, but particles stick to its words
)
_RUNS = re.compile(rf"[{_NO_SPACES}]+|[^\W{_NO_SPACES}]+")
_WITHOUT_SPACES = re.compile(f"[{_NO_SPACES}]")


def terms(text: str, *, single: bool = False) -> list[str]:
    """Words in lower case; of a run of characters without spaces each pair of neighbours.

    Args:
        single: also the characters of such runs one by one, for an index in which one alone is to be found.
    """
    found: list[str] = []
    for run in _RUNS.findall(text.casefold()):
        if len(run) > 1 and _WITHOUT_SPACES.match(run):
            found += [run[place : place + 2] for place in range(len(run) - 1)]
            found += run if single else ""
        else:
            found.append(run)
    return found
