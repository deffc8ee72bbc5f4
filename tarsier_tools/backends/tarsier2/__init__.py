"""Tarsier2 (and Qwen2-VL) checkpoints, run in this process. The only package here that imports torch.

It does so when the backend is asked for: a checkpoint is converted without.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tarsier_tools.backends.tarsier2.model import Tarsier2Backend

__all__ = ["Tarsier2Backend"]


def __getattr__(name: str) -> object:
    if name == "Tarsier2Backend":
        from tarsier_tools.backends.tarsier2.model import Tarsier2Backend

        return Tarsier2Backend
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
