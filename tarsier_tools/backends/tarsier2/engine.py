"""The forward passes: clips to prefixes, prefixes and questions to next tokens, candidates to probabilities.

A prompt is run in two parts, always. The prefix (system turn and vision block) depends on the clip alone
and can be kept; the rest is run on top of it, batched over questions of different lengths. In a batch the
slots of the cache are ``[padding, prefix][padding, question][reply ...]``: padding is masked, and rotary
positions are passed for every token, so that where a token sits makes no difference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

import numpy as np
import torch
from transformers import Qwen2VLForConditionalGeneration
from transformers.cache_utils import Cache, DynamicCache

from tarsier_tools.backends.tarsier2.inputs import Grid, prefix_positions
from tarsier_tools.backends.tarsier2.memory import out_of_memory
from tarsier_tools.backends.tarsier2.prefix_cache import Prefix, joined
from tarsier_tools.errors import BackendFailed

_P = ParamSpec("_P")
_R = TypeVar("_R")


@dataclass
class Decoding:
    """A batch in the middle of its replies.

    Attributes:
        logits: float32 (rows, vocabulary) for the next token of each row.
        positions: int64 (rows,), the rotary position of the next token.
        mask: bool (rows, slots so far), False for padding; None when there is none.
    """

    cache: Cache
    logits: torch.Tensor
    positions: torch.Tensor
    mask: torch.Tensor | None


@dataclass(frozen=True)
class ScoreRow:
    """Candidates that are scored together: one prefix, one question, several replies.

    Attributes:
        suffix: ids between the vision block and the candidates.
        candidates: ids of each candidate, none empty.
    """

    prefix: Prefix
    suffix: Sequence[int]
    candidates: Sequence[Sequence[int]]

    @property
    def width(self) -> int:
        """Tokens that are fed: of a candidate all but the last, which is only predicted."""
        return len(self.suffix) + sum(len(ids) - 1 for ids in self.candidates)


def _on_device(
    method: Callable[Concatenate[Engine, _P], _R],
) -> Callable[Concatenate[Engine, _P], _R]:
    """Run without gradients, and turn what torch raises into BackendFailed."""

    @wraps(method)
    def run(self: Engine, /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        try:
            with torch.inference_mode():
                return method(self, *args, **kwargs)
        except (RuntimeError, MemoryError) as error:
            if out_of_memory(error):
                raise BackendFailed(
                    f"The memory of {self.device} ran out while the model worked.",
                    hint="Use fewer frames, a smaller TARSIER_MAX_PIXELS or fewer requests at once.",
                ) from error
            raise BackendFailed(
                f"The model failed on {self.device}: {str(error).splitlines()[0]}",
                hint="Try TARSIER_DEVICE=cpu; report it if that works.",
            ) from error

    return run


class Engine:
    """A loaded model. Not safe for several threads at once; the backend holds a lock."""

    def __init__(self, model: Qwen2VLForConditionalGeneration) -> None:
        self._model = model
        self._text = model.model.language_model
        self._config: Any = model.config.text_config
        self.device = self._text.embed_tokens.weight.device
        self.dtype: torch.dtype = self._text.norm.weight.dtype

    @property
    def kv_bytes_per_token(self) -> int:
        """Bytes of the cache that one token takes in all layers."""
        config = self._config
        head = config.hidden_size // config.num_attention_heads
        return int(2 * config.num_hidden_layers * config.num_key_value_heads * head * self.dtype.itemsize)

    @_on_device
    def vision_features(self, pixels: np.ndarray, grids: Sequence[Grid]) -> torch.Tensor:
        """Vision tokens (tokens of all grids, hidden) of patches float32 (patches of all grids, 1176)."""
        visual = self._model.model.visual
        where = next(visual.parameters()).device
        shape = torch.tensor([(grid.t, grid.h, grid.w) for grid in grids], device=where)
        output = visual(torch.from_numpy(pixels).to(where), grid_thw=shape)
        features: torch.Tensor = output.pooler_output
        return features

    @_on_device
    def prefill(
        self, pixels: np.ndarray, grid: Grid, head: Sequence[int], ids: Sequence[int]
    ) -> list[Prefix]:
        """The prefixes of clips that share one grid.

        Args:
            pixels: float32 (clips * patches, 1176).
            head: the ids before the vision tokens.
            ids: all ids of the prefix, the same for every clip.
        """
        clips = len(pixels) // grid.patches
        features = self.vision_features(pixels, [grid] * clips)
        tokens = torch.tensor([list(ids)] * clips, device=self.device)
        embeds = self._text.embed_tokens(tokens)
        start = len(head)
        embeds[:, start : start + grid.tokens] = features.view(clips, grid.tokens, -1).to(embeds)
        positions = prefix_positions(start, grid, len(ids) - start - grid.tokens)
        cache = DynamicCache()
        self._text(
            inputs_embeds=embeds,
            position_ids=torch.from_numpy(positions).to(self.device)[:, None].expand(3, clips, -1),
            past_key_values=cache,
            use_cache=True,
        )
        following = int(positions.max()) + 1
        layers: list[Any] = cache.layers
        if clips == 1:
            return [Prefix(tuple((layer.keys, layer.values) for layer in layers), following)]
        # Cloned: a row that is kept must not keep the whole batch.
        return [
            Prefix(
                tuple((layer.keys[i : i + 1].clone(), layer.values[i : i + 1].clone()) for layer in layers),
                following,
            )
            for i in range(clips)
        ]

    @_on_device
    def start(self, prefixes: Sequence[Prefix], suffixes: Sequence[Sequence[int]], room: int) -> Decoding:
        """Run the questions on top of their prefixes; ``room`` is for the tokens that will be stepped."""
        width = max(len(ids) for ids in suffixes)
        longest = max(prefix.length for prefix in prefixes)
        rows = len(prefixes)
        tokens = np.zeros((rows, width), np.int64)
        positions = np.zeros((rows, width), np.int64)
        mask = np.zeros((rows, longest + width), bool)
        for row, (prefix, ids) in enumerate(zip(prefixes, suffixes, strict=True)):
            tokens[row, width - len(ids) :] = ids
            positions[row, width - len(ids) :] = prefix.next_position + np.arange(len(ids))
            mask[row, longest - prefix.length : longest] = True
            mask[row, longest + width - len(ids) :] = True
        cache = joined(list(prefixes), width + room)
        padding = None if mask.all() else torch.from_numpy(mask).to(self.device)
        hidden = self._forward(tokens, positions, cache, padding)
        following = torch.from_numpy(positions[:, -1] + 1).to(self.device)
        return Decoding(cache, self._logits(hidden[:, -1]), following, padding)

    @_on_device
    def step(self, state: Decoding, tokens: torch.Tensor) -> None:
        """Feed one token per row, int64 (rows,), and put the logits of the next into ``state``."""
        if state.mask is not None:
            state.mask = torch.cat([state.mask, state.mask.new_ones(len(tokens), 1)], dim=1)
        hidden = self._text(
            input_ids=tokens[:, None],
            position_ids=state.positions[None, :, None].expand(3, -1, -1),
            attention_mask=state.mask,
            past_key_values=state.cache,
            use_cache=True,
        ).last_hidden_state
        state.positions = state.positions + 1
        state.logits = self._logits(hidden[:, -1])

    @_on_device
    def greedy(self, state: Decoding) -> tuple[torch.Tensor, list[int], list[float]]:
        """The likeliest next token of each row: on the device, as ids, and its natural-log probability."""
        best = state.logits.argmax(dim=-1)
        logprobs = state.logits.log_softmax(dim=-1).gather(1, best[:, None])[:, 0]
        return best, best.tolist(), logprobs.tolist()

    @_on_device
    def score(self, rows: Sequence[ScoreRow]) -> list[list[float]]:
        """The log-likelihood of each candidate of each row, natural log, in one pass.

        The candidates of a row stand one after the other behind its question; each sees the question and
        itself, and its positions go on from the question's end.
        """
        width = max(row.width for row in rows)
        longest = max(row.prefix.length for row in rows)
        tokens = np.zeros((len(rows), width), np.int64)
        positions = np.zeros((len(rows), width), np.int64)
        seen = np.zeros((len(rows), width, longest + width), bool)
        picks: list[tuple[int, int]] = []  # (row, slot) whose output predicts ...
        targets: list[int] = []  # ... this id
        for index, row in enumerate(rows):
            length, start = len(row.suffix), row.prefix.next_position
            tokens[index, :length] = row.suffix
            positions[index, :length] = start + np.arange(length)
            seen[index, :, longest - row.prefix.length : longest] = True
            seen[index, :length, longest : longest + length] = np.tri(length, dtype=bool)
            at = length
            for candidate in row.candidates:
                fed = len(candidate) - 1
                tokens[index, at : at + fed] = candidate[:-1]
                positions[index, at : at + fed] = start + length + np.arange(fed)
                seen[index, at : at + fed, longest : longest + length] = True
                own = slice(longest + at, longest + at + fed)
                seen[index, at : at + fed, own] = np.tri(fed, dtype=bool)
                picks += [(index, slot) for slot in (length - 1, *range(at, at + fed))]
                targets += candidate
                at += fed
        cache = joined([row.prefix for row in rows], width)
        with self._dense_attention():
            hidden = self._forward(tokens, positions, cache, self._dense_mask(seen))
        chosen = torch.tensor(picks, device=hidden.device)
        logprobs = torch.log_softmax(self._logits(hidden[chosen[:, 0], chosen[:, 1]]), dim=-1)
        wanted = torch.tensor(targets, device=logprobs.device)[:, None]
        values = iter(logprobs.gather(1, wanted)[:, 0].tolist())
        return [[sum(next(values) for _ in candidate) for candidate in row.candidates] for row in rows]

    def _forward(
        self, tokens: np.ndarray, positions: np.ndarray, cache: Cache, mask: torch.Tensor | None
    ) -> torch.Tensor:
        """Hidden states (rows, width, hidden) of ids and text positions, both int64 (rows, width)."""
        output = self._text(
            input_ids=torch.from_numpy(tokens).to(self.device),
            position_ids=torch.from_numpy(positions).to(self.device).expand(3, *positions.shape),
            attention_mask=mask,
            past_key_values=cache,
            use_cache=True,
        )
        hidden: torch.Tensor = output.last_hidden_state
        return hidden

    def _logits(self, hidden: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self._model.lm_head(hidden)
        return logits.float()

    def _dense_mask(self, seen: np.ndarray) -> torch.Tensor:
        """The mask (rows, 1, queries, keys) as the attention takes it: bool for sdpa, added for eager."""
        allowed = torch.from_numpy(seen).to(self.device)[:, None]
        if self._config._attn_implementation != "eager":
            return allowed
        lowest = torch.finfo(self.dtype).min
        return torch.zeros(allowed.shape, dtype=self.dtype, device=self.device).masked_fill(~allowed, lowest)

    @contextmanager
    def _dense_attention(self) -> Iterator[None]:
        """Flash attention takes no mask of this shape: one short pass goes through sdpa instead."""
        before = self._config._attn_implementation
        if not before.startswith("flash"):
            yield
            return
        self._config._attn_implementation = "sdpa"
        try:
            yield
        finally:
            self._config._attn_implementation = before
