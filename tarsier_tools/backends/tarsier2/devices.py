"""What there is to run a model on."""

from __future__ import annotations

import torch

from tarsier_tools.backends.tarsier2.loading import choose_device
from tarsier_tools.backends.tarsier2.memory import available_bytes


def look_at(name: str) -> tuple[str, int | None]:
    """A device in words and the bytes that are free on it, None where the system does not tell.

    Args:
        name: as ``TARSIER_DEVICE``.

    Raises BackendUnavailable when there is no such device.
    """
    device = choose_device(name)
    told = f"{device}, {torch.get_num_threads()} threads"
    if device.type == "cuda":
        told = f"{device}, {torch.cuda.get_device_name(device)}"
    elif device.type == "mps":
        told = "mps, Apple GPU"
    return told, available_bytes(device)
