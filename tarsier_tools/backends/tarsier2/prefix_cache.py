"""What is kept of a clip that the model has seen, so that the next question pays for its own tokens only."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from transformers.cache_utils import Cache, DynamicLayer

PrefixKey = tuple[str, tuple[int, ...]]
"""The clip's fingerprint, and (text before the block, patches along time, height and width)."""


@dataclass(frozen=True)
class Prefix:
    """Keys and values of a prompt up to and including the vision block, one pair per layer. Never changed.

    Attributes:
        layers: (keys, values), each (1, key-value heads, length, head size), in the model's dtype.
        next_position: the rotary position of the token that follows, the same on all three axes.
    """

    layers: tuple[tuple[torch.Tensor, torch.Tensor], ...]
    next_position: int

    @property
    def length(self) -> int:
        return int(self.layers[0][0].shape[2])

    @cached_property
    def nbytes(self) -> int:
        return sum(tensor.numel() * tensor.element_size() for pair in self.layers for tensor in pair)


class PrefixCache:
    """The prefixes used last, as many as fit into ``max_bytes``. Safe to use from several threads."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._entries: OrderedDict[PrefixKey, Prefix] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def get(self, key: PrefixKey) -> Prefix | None:
        with self._lock:
            prefix = self._entries.get(key)
            if prefix is not None:
                self._entries.move_to_end(key)
            return prefix

    def put(self, key: PrefixKey, prefix: Prefix) -> None:
        """Keep a prefix; the ones unused for longest go. One that is larger than the cache is not kept."""
        if prefix.nbytes > self._max_bytes:
            return
        with self._lock:
            old = self._entries.pop(key, None)
            self._bytes += prefix.nbytes - (old.nbytes if old else 0)
            self._entries[key] = prefix
            while self._bytes > self._max_bytes:
                _, dropped = self._entries.popitem(last=False)
                self._bytes -= dropped.nbytes

    def clear(self) -> None:
        with self._lock:
            self._entries.clear()
            self._bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def nbytes(self) -> int:
        return self._bytes


class _BufferLayer(DynamicLayer):  # type: ignore[no-untyped-call]  # a hook of transformers
    """One layer's keys and values in memory taken once: a token costs no copy of all that came before."""

    def __init__(self, keys: torch.Tensor, values: torch.Tensor, filled: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._keys, self._values, self._filled = keys, values, filled
        self.keys, self.values = keys[:, :, :filled], values[:, :, :filled]
        self.dtype, self.device, self.is_initialized = keys.dtype, keys.device, True

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: object, **__: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        start, self._filled = self._filled, self._filled + key_states.shape[2]
        self._keys[:, :, start : self._filled] = key_states
        self._values[:, :, start : self._filled] = value_states
        self.keys, self.values = self._keys[:, :, : self._filled], self._values[:, :, : self._filled]
        return self.keys, self.values


def joined(prefixes: list[Prefix], room: int) -> Cache:
    """A cache with one row per prefix, copied, right-aligned, with room for more tokens after them."""
    longest = max(prefix.length for prefix in prefixes)
    layers: list[Any] = []
    for pairs in zip(*(prefix.layers for prefix in prefixes), strict=True):
        buffers = []
        for rows in zip(*pairs, strict=True):  # the rows' keys, then the rows' values
            _, heads, _, size = rows[0].shape
            # zeros, because a masked place still takes part in sums, and 0 * NaN is NaN
            buffer = rows[0].new_zeros((len(rows), heads, longest + room, size))
            for index, row in enumerate(rows):
                buffer[index, :, longest - row.shape[2] : longest] = row[0]
            buffers.append(buffer)
        layers.append(_BufferLayer(buffers[0], buffers[1], longest))
    return Cache(layers=layers)
