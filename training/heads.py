"""Training-only heads: they tell the hidden states early what to hold, and are not exported.

Cells of the vision tower say what stands where; the second layer says which of it acts; the third who acts
how in a frame; the fourth what is known so far; the fifth, inside questions, whether what was said is true,
while two of its heads look at the event spoken of; two heads of the last look at the word that decides.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from data import Batch
from labels import IGNORE, SLOTS
from model import RMSNorm, Size, Tarsier, rotate
from torch import Tensor, nn

from tarsier_tools.selfcheck.world import ACTIONS, COLORS, SHAPES

_CELL = {"color": len(COLORS) + 1, "shape": len(SHAPES), "place": 2, "radius": 1, "alpha": 1}
_EVENT = (len(COLORS) + 1, len(SHAPES) + 1, len(ACTIONS) + 1)
_FRAMES = 16


class Heads(nn.Module):
    def __init__(self, size: Size) -> None:
        super().__init__()
        self.norms = nn.ModuleList(RMSNorm(size.dim) for _ in range(size.depth + 1))
        self.cells = nn.Linear(size.dim, 4 * sum(_CELL.values()))
        self.local = nn.Linear(size.dim, 4 * _EVENT[2])
        self.acting = nn.Linear(size.dim, sum(_EVENT) + SLOTS + 1 + _FRAMES)
        self.ordinal = nn.Linear(size.dim, SLOTS + 1)
        self.slots = nn.Linear(size.dim, SLOTS * (sum(_EVENT) + 2 * _FRAMES))
        self.mark = nn.Linear(size.dim, 2)
        self.span = nn.Linear(size.dim, 2 * _FRAMES)

    def vision(self, cells: Tensor, batch: Batch) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Losses and accuracies of the cells, (B, T * C, dim)."""
        truth = {name: tensor.flatten(0, 2).flatten(0, 1) if name == "place" else tensor.flatten()
                 for name, tensor in batch.cells.items()}  # fmt: skip
        out = self.cells(self.norms[0](cells)).float().reshape(len(truth["color"]), -1)
        color, shape, place, radius, alpha = out.split(list(_CELL.values()), dim=-1)
        there = truth["color"] > 0
        weight = torch.tensor([0.3] + [1.0] * len(COLORS))  # most quarters are empty
        losses = {
            "color": F.cross_entropy(color, truth["color"], weight),
            "shape": F.cross_entropy(shape[there], truth["shape"][there]),
            "place": F.smooth_l1_loss(place[there], truth["place"][there], beta=0.3),
            "size": F.smooth_l1_loss(radius[there, 0], truth["radius"][there], beta=0.3),
            "alpha": F.smooth_l1_loss(alpha[there, 0], truth["alpha"][there], beta=0.1),
        }
        solid = there & (truth["alpha"] > 0.5)
        right = {
            "color": (color.argmax(-1) == truth["color"])[solid].float().mean(),
            "empty": (color.argmax(-1) == 0)[~there].float().mean(),
            "shape": (shape.argmax(-1) == truth["shape"])[solid].float().mean(),
            "off": (place - truth["place"])[solid].abs().mean() / 4 * 14,  # pixels
        }
        return losses, right

    def prefix(self, states: list[Tensor], batch: Batch) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Losses and accuracies of what the prefix knows after layers 2, 3 and 4."""
        b, frames = batch.acting.shape[:2]
        span = batch.layout.vision
        losses, right = {}, {}
        local = self.local(self.norms[2](states[2][:, span])).float().reshape(-1, _EVENT[2])
        truth = batch.cells["action"].flatten()
        there = batch.cells["color"].flatten() > 0
        losses["local"] = 3.0 * _cross(local[there], truth[there])  # everything else waits for it
        right["local"] = _accuracy(local[there], truth[there])
        ends = self._ends(states[3], batch)[:, :frames]
        parts = self.acting(self.norms[3](ends)).float().split([*_EVENT, SLOTS + 1, _FRAMES], dim=-1)
        for name, part, number in zip(("who_color", "who_shape", "act"), parts, range(3), strict=False):
            losses[name] = _cross(part, batch.acting[..., number])
            right[name] = _accuracy(part, batch.acting[..., number])
        clock = torch.arange(frames).expand(b, -1)
        losses["clock"] = _cross(parts[4], clock)
        losses["ordinal3"] = 0.3 * _cross(parts[3], batch.acting[..., 3])
        ends = self.norms[4](self._ends(states[4], batch))
        ordinal = self.ordinal(ends[:, :frames]).float()
        losses["ordinal"] = _cross(ordinal, batch.acting[..., 3])
        right["ordinal"] = _accuracy(ordinal, batch.acting[..., 3])
        slots = (
            self.slots(ends).float().view(b, frames + 1, SLOTS, -1).split([*_EVENT, _FRAMES, _FRAMES], dim=-1)
        )
        for name, part, number in zip(
            ("color", "shape", "act", "first", "last"), slots, range(5), strict=True
        ):
            truth = batch.slots[..., number]
            losses[f"slot_{name}"] = 0.6 * (_cross(part, truth) + _cross(part[:, -1], truth[:, -1]))
            known = truth[:, -1] != IGNORE if number > 2 else truth[:, -1] > 0
            right[f"slot_{name}"] = _accuracy(part[:, -1][known], truth[:, -1][known])
        return losses, right

    def _ends(self, x: Tensor, batch: Batch) -> Tensor:
        """Hidden states at the last cell of each frame and at the end of vision, (B, T + 1, dim)."""
        return x[:, self._places(batch)]

    @staticmethod
    def _places(batch: Batch) -> list[int]:
        """Where the last cell of each frame and the end of vision are."""
        frames, span = batch.acting.shape[1], batch.layout.vision
        per_frame = (span.stop - span.start) // frames
        return [*(span.start + per_frame * (number + 1) - 1 for number in range(frames)), span.stop]

    def look(self, states: list[Tensor], batch: Batch, model: Tarsier) -> tuple[Tensor, Tensor]:
        """Loss and mass of two heads of layer 5, which are to look at the event that is spoken of.

        They look at the last cells of its frames, or at the very first token when there is no such event.
        """
        layer, prefix = model.language_model.model.layers[4], batch.layout.prefix
        known = batch.looks != IGNORE
        clip, bits = known.nonzero()[:, 0], batch.looks[known]
        x = layer.input_layernorm(states[4])
        cos, sin = (table[:, 0].to(x.dtype) for table in model.rope(batch.positions))
        width, size = model.size.head_dim, model.size
        q = layer.self_attn.q_proj(x[:, prefix:][known]).view(len(clip), size.heads, width)
        q = rotate(q, cos[:, prefix:][known][:, None], sin[:, prefix:][known][:, None])
        k = layer.self_attn.k_proj(x[:, :prefix]).view(len(x), prefix, size.kv_heads, width)
        k = rotate(k, cos[:, :prefix, None], sin[:, :prefix, None])
        frames = batch.during.shape[2]
        chosen = (bits[:, None] >> torch.arange(SLOTS)) & 1
        during = (chosen[:, :, None].bool() & batch.during[clip]).any(dim=1)
        target = torch.zeros(len(clip), prefix, dtype=torch.bool)
        target[:, self._places(batch)[:frames]] = during
        target[:, 0] = bits == 0
        losses = []
        for group in range(size.kv_heads):
            head = q[:, group * (size.heads // size.kv_heads)]
            scores = torch.einsum("md,mpd->mp", head * width**-0.5, k[clip, :, group]).float()
            mass = scores.log_softmax(-1).masked_fill(~target, -1e9).logsumexp(-1)
            losses.append(-mass.mean())
        return torch.stack(losses).sum(), mass.exp().mean()

    def hop(self, states: list[Tensor], batch: Batch, model: Tarsier) -> tuple[Tensor, Tensor]:
        """Loss and mass of two heads of the last layer, to look at the word that decides a reply."""
        layer, prefix, layout = model.language_model.model.layers[5], batch.layout.prefix, batch.layout
        known = batch.hops != IGNORE
        clip, place = known.nonzero().unbind(1)
        block = place // layout.length
        x = layer.input_layernorm(states[5])
        cos, sin = (table[:, 0].to(x.dtype) for table in model.rope(batch.positions))
        width, size = model.size.head_dim, model.size
        q = layer.self_attn.q_proj(x[clip, prefix + place]).view(len(clip), size.heads, width)
        q = rotate(q, cos[clip, prefix + place][:, None], sin[clip, prefix + place][:, None])
        k = layer.self_attn.k_proj(x).view(*x.shape[:2], size.kv_heads, width)
        k = rotate(k, cos[:, :, None], sin[:, :, None])
        own = prefix + (block * layout.length)[:, None] + torch.arange(layout.length)
        assert layout.mask is not None
        mask = layout.mask[clip * layout.bins + block, 0, place % layout.length].float()
        target = batch.hops[known] - block * layout.length + prefix
        losses = []
        for group in range(size.kv_heads):
            head = q[:, group * (size.heads // size.kv_heads)] * width**-0.5
            film = torch.einsum("md,mpd->mp", head, k[clip, :prefix, group]).float()
            text = torch.einsum("md,mpd->mp", head, k[clip[:, None], own, group]).float() + mask
            losses.append(F.cross_entropy(torch.cat((film, text), dim=1), target))
        return torch.stack(losses).sum(), (-losses[-1]).exp()

    def text(self, states: list[Tensor], batch: Batch) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Losses and accuracies inside questions: truth marks after layer 5, spans after the last."""
        prefix = batch.layout.prefix
        known = batch.marks != IGNORE
        marks = self.mark(self.norms[5](states[5][:, prefix:][known])).float()
        asked = batch.spans[..., 0] != IGNORE
        losses = {"mark": 3.0 * _cross(marks, batch.marks[known])}
        right = {"mark": _accuracy(marks, batch.marks[known])}
        if bool(asked.any()):
            parts = self.span(self.norms[6](states[6][asked])).float().split(_FRAMES, dim=-1)
            for number, name in enumerate(("span_first", "span_last")):
                losses[name] = _cross(parts[number], batch.spans[asked][:, number])
                right[name] = _accuracy(parts[number], batch.spans[asked][:, number])
        return losses, right


def _cross(logits: Tensor, truth: Tensor) -> Tensor:
    """Mean cross entropy over the known; zero, not NaN, when nothing is."""
    loss = F.cross_entropy(
        logits.reshape(-1, logits.shape[-1]), truth.reshape(-1), ignore_index=IGNORE, reduction="sum"
    )
    return loss / (truth != IGNORE).sum().clamp(min=1)


def _accuracy(logits: Tensor, truth: Tensor) -> Tensor:
    known = truth != IGNORE
    return (logits.argmax(-1) == truth)[known].float().mean()
