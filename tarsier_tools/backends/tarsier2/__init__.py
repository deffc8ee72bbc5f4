"""Tarsier2 (and Qwen2-VL) checkpoints, run in this process. The only package here that imports torch."""

from tarsier_tools.backends.tarsier2.model import Tarsier2Backend

__all__ = ["Tarsier2Backend"]
