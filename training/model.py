"""Qwen2-VL written out for training: parameter names as in the checkpoint, many questions per video.

A clip's prompt up to ``<|vision_end|>`` is the *prefix*; any number of turns (question and answer) follow
it side by side in one row. A turn sees the prefix and itself, never its neighbours, and its positions
start right after the prefix, so each is exactly the single-turn chat that the service holds.

Turns are packed into *bins* of a fixed length; attention is written out over (prefix, own bin), which on
a CPU in bfloat16 is several times faster than the fused kernel with a mask.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PATCH = 14


@dataclass(frozen=True)
class Size:
    """How large the model is; the defaults are the bundled one's."""

    vocab: int = 848
    vision_depth: int = 3
    vision_dim: int = 128
    vision_heads: int = 4
    vision_mlp_ratio: int = 2
    dim: int = 256
    depth: int = 6
    heads: int = 4
    kv_heads: int = 2
    mlp: int = 512
    rope_theta: float = 10000.0
    mrope_section: tuple[int, int, int] = (8, 12, 12)

    @property
    def head_dim(self) -> int:
        return self.dim // self.heads


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary embedding of x, (..., L, D), by half-split cos and sin, broadcastable (..., L, D)."""
    half = x.shape[-1] // 2
    turned = torch.cat((-x[..., half:], x[..., :half]), dim=-1)
    return x * cos + turned * sin


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    """Grouped attention: q (B, H, L, D) over k, v (B, KV, S, D); mask (B|1, 1, L, M) adds to the last M."""
    b, heads, length, width = q.shape
    groups = b * k.shape[1]
    wide = heads // k.shape[1] * length
    scores = torch.bmm((q * width**-0.5).reshape(groups, wide, width), k.reshape(groups, -1, width).mT)
    scores = scores.view(b, heads, length, -1)
    if mask is not None:
        scores[..., scores.shape[-1] - mask.shape[-1] :] += mask
    weights = scores.softmax(-1).view(groups, wide, -1)
    return torch.bmm(weights, v.reshape(groups, -1, width)).view(b, heads, length, width)


class _Normalize(torch.autograd.Function):
    """RMS normalization with few passes over memory; the stock one is a chain of elementwise kernels."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        square = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32).square() / x.shape[-1]
        scale = torch.rsqrt(square + 1e-6).to(x.dtype)
        normal = x * scale
        ctx.save_for_backward(normal, scale, weight)
        return normal * weight

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        normal, scale, weight = ctx.saved_tensors
        grad_weight = (grad * normal).flatten(0, -2).sum(0)
        grad = grad * weight
        along = (grad * normal).mean(-1, keepdim=True)
        return (grad - normal * along) * scale, grad_weight


class RMSNorm(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        return _Normalize.apply(x, self.weight)


class VisionAttention(nn.Module):
    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:  # x: (frames, patches, dim)
        n, length, dim = x.shape
        q, k, v = self.qkv(x).view(n, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        y = attend(rotate(q, cos, sin), rotate(k, cos, sin), v, None)
        return self.proj(y.transpose(1, 2).reshape(n, length, dim))


class VisionMLP(nn.Module):
    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        x = self.fc1(x)
        return self.fc2(x * torch.sigmoid(1.702 * x))  # quick_gelu


class VisionBlock(nn.Module):
    def __init__(self, size: Size) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(size.vision_dim, eps=1e-6)
        self.norm2 = nn.LayerNorm(size.vision_dim, eps=1e-6)
        self.attn = VisionAttention(size.vision_dim, size.vision_heads)
        self.mlp = VisionMLP(size.vision_dim, size.vision_dim * size.vision_mlp_ratio)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x), cos, sin)
        return x + self.mlp(self.norm2(x))


class Merger(nn.Module):
    def __init__(self, size: Size) -> None:
        super().__init__()
        wide = 4 * size.vision_dim
        self.ln_q = nn.LayerNorm(size.vision_dim, eps=1e-6)
        self.mlp = nn.Sequential(nn.Linear(wide, wide), nn.GELU(), nn.Linear(wide, size.dim))

    def forward(self, x: Tensor) -> Tensor:  # (frames, patches, vision_dim) -> (frames, patches / 4, dim)
        return self.mlp(self.ln_q(x).reshape(x.shape[0], x.shape[1] // 4, -1))


class Vision(nn.Module):
    """The vision tower over single frames; the two equal halves of the temporal patch are folded into one."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.head_dim = size.vision_dim // size.vision_heads
        self.patch_embed = nn.Linear(3 * PATCH * PATCH, size.vision_dim, bias=False)
        self.blocks = nn.ModuleList(VisionBlock(size) for _ in range(size.vision_depth))
        self.merger = Merger(size)

    def positions(self, rows: int, columns: int) -> tuple[Tensor, Tensor]:
        """cos and sin, (patches, head_dim), of a frame of rows x columns patches in merge order."""
        index = torch.stack(torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij"), -1)
        index = index.view(rows // 2, 2, columns // 2, 2, 2).transpose(1, 2).reshape(-1, 2)
        quarter = self.head_dim // 2
        inverse = 1.0 / 10000.0 ** (torch.arange(0, quarter, 2).float() / quarter)
        angle = (index[:, :, None].float() * inverse).flatten(1)
        angle = torch.cat((angle, angle), dim=-1)
        return angle.cos(), angle.sin()

    def forward(self, frames: Tensor) -> Tensor:
        """(frames, height, width, 3) normalized -> (frames, cells, dim), the cells row by row."""
        n, height, width, _ = frames.shape
        rows, columns = height // PATCH, width // PATCH
        x = frames.view(n, rows // 2, 2, PATCH, columns // 2, 2, PATCH, 3)
        x = x.permute(0, 1, 4, 2, 5, 7, 3, 6).reshape(n, rows * columns, -1)
        x = self.patch_embed(x)
        cos, sin = (table.to(x.dtype) for table in self.positions(rows, columns))
        for block in self.blocks:
            x = block(x, cos, sin)
        return self.merger(x)


@dataclass(frozen=True)
class Layout:
    """Where things are in a row: ``prefix`` tokens, then ``bins`` bins of ``length`` tokens.

    ``vision`` is the place of the cells in the prefix; ``mask`` is additive, (B * bins, 1, length, length).
    """

    prefix: int
    vision: slice
    bins: int = 0
    length: int = 0
    mask: Tensor | None = None

    def with_mask(self, mask: Tensor) -> Layout:
        return replace(self, mask=mask)


class Attention(nn.Module):
    def __init__(self, size: Size) -> None:
        super().__init__()
        self.size = size
        narrow = size.kv_heads * size.head_dim
        self.q_proj = nn.Linear(size.dim, size.dim)
        self.k_proj = nn.Linear(size.dim, narrow)
        self.v_proj = nn.Linear(size.dim, narrow)
        self.o_proj = nn.Linear(size.dim, size.dim, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, layout: Layout, skip: int) -> Tensor:
        """x: (B, prefix + bins * length, dim); the first ``skip`` (0 or prefix) tokens get no output."""
        b, p, width = x.shape[0], layout.prefix, self.size.head_dim
        q = rotate(self.q_proj(x[:, skip:]).view(b, -1, self.size.heads, width).transpose(1, 2),
                   cos[..., skip:, :], sin[..., skip:, :])  # fmt: skip
        k = rotate(self.k_proj(x).view(b, -1, self.size.kv_heads, width).transpose(1, 2), cos, sin)
        v = self.v_proj(x).view(b, -1, self.size.kv_heads, width).transpose(1, 2)
        parts = []
        if not skip:
            causal = torch.full((p, p), -1e9, dtype=x.dtype).triu(1)[None, None]
            parts.append(
                attend(q[:, :, :p], k[:, :, :p], v[:, :, :p], causal).transpose(1, 2).reshape(b, p, -1)
            )
        if layout.bins:
            k, v, q = self._bins(k, layout, True), self._bins(v, layout, True), self._bins(q, layout, False)
            y = attend(q, k, v, layout.mask).transpose(1, 2)
            parts.append(y.reshape(b, layout.bins * layout.length, -1))
        return self.o_proj(torch.cat(parts, dim=1))

    @staticmethod
    def _bins(x: Tensor, layout: Layout, with_prefix: bool) -> Tensor:
        """(B, heads, prefix + bins * length, D) -> (B * bins, heads, [prefix +] length, D)."""
        b, heads, _, width = x.shape
        own = x[:, :, -layout.bins * layout.length :].view(b, heads, layout.bins, layout.length, width)
        own = own.transpose(1, 2)
        if with_prefix:
            shared = x[:, None, :, : layout.prefix].expand(b, layout.bins, heads, layout.prefix, width)
            own = torch.cat((shared, own), dim=3)
        return own.flatten(0, 1)


class MLP(nn.Module):
    def __init__(self, size: Size) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(size.dim, size.mlp, bias=False)
        self.up_proj = nn.Linear(size.dim, size.mlp, bias=False)
        self.down_proj = nn.Linear(size.mlp, size.dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    def __init__(self, size: Size) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(size.dim)
        self.post_attention_layernorm = RMSNorm(size.dim)
        self.self_attn = Attention(size)
        self.mlp = MLP(size)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, layout: Layout, skip: int) -> Tensor:
        x = x[:, skip:] + self.self_attn(self.input_layernorm(x), cos, sin, layout, skip)
        return x + self.mlp(self.post_attention_layernorm(x))


class TextModel(nn.Module):
    def __init__(self, size: Size) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(size.vocab, size.dim)
        self.layers = nn.ModuleList(Layer(size) for _ in range(size.depth))
        self.norm = RMSNorm(size.dim)


class LanguageModel(nn.Module):
    def __init__(self, size: Size) -> None:
        super().__init__()
        self.model = TextModel(size)
        self.lm_head = nn.Linear(size.dim, size.vocab, bias=False)


class Tarsier(nn.Module):
    """The whole model; its state dict has the checkpoint's names except for the folded patch embedding."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.size = size
        self.vision_tower = Vision(size)
        self.language_model = LanguageModel(size)
        section = size.mrope_section
        inverse = 1.0 / size.rope_theta ** (torch.arange(0, size.head_dim, 2).float() / size.head_dim)
        self.register_buffer("inverse", inverse, persistent=False)
        axis = torch.tensor([0] * section[0] + [1] * section[1] + [2] * section[2])
        self.register_buffer("axis", axis, persistent=False)

    def initialize(self) -> None:
        """Small normal weights; the output of every block starts smaller, so that depth does not add up."""
        deep = (2 * self.size.depth) ** -0.5
        for name, parameter in self.named_parameters():
            if parameter.ndim < 2:
                nn.init.zeros_(parameter) if name.endswith("bias") else nn.init.ones_(parameter)
            elif "embed_tokens" in name or "lm_head" in name:
                nn.init.normal_(parameter, std=0.02)
            else:
                gain = deep if name.endswith(("o_proj.weight", "down_proj.weight", "fc2.weight")) else 1.0
                nn.init.normal_(parameter, std=gain * parameter.shape[1] ** -0.5)
        layers = self.language_model.model.layers
        self._look(layers[0], (1, 2, 4, 0), by_content=True)
        for layer in layers[1:4]:
            self._look(layer, (0, 1, 1, 3), by_content=False)

    def _look(self, layer: nn.Module, back: tuple[int, ...], by_content: bool) -> None:
        """Turns each head to the frame so many back, by the biases on the dimensions that turn with time.

        ``by_content`` also ties keys to queries, so that what looks alike is looked at: a shape finds itself
        in the frame before. Seeing what changed needs such heads, and by gradient alone they come late.
        """
        attention, size, half = layer.self_attn, self.size, self.size.head_dim // 2
        strength = torch.where(self.axis == 0, 5.0, 0.0)
        with torch.no_grad():
            attention.k_proj.bias.view(size.kv_heads, 2, half)[:, 0] = strength
            query = attention.q_proj.bias.view(size.heads, 2, half)
            for head, frames in enumerate(back):
                query[head, 0] = strength * (frames * self.inverse).cos()
                query[head, 1] = -strength * (frames * self.inverse).sin()
            if by_content:
                shared = attention.k_proj.weight.view(size.kv_heads, 1, size.head_dim, size.dim)
                groups = attention.q_proj.weight.view(size.kv_heads, -1, size.head_dim, size.dim)
                groups.copy_(shared.expand_as(groups))

    def rope(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """cos and sin, (B, 1, L, head_dim), of positions (3, B, L) on the axes time, height, width."""
        chosen = positions[self.axis].permute(1, 2, 0).float()  # (B, L, head_dim / 2)
        angle = chosen * self.inverse.float()
        angle = torch.cat((angle, angle), dim=-1)[:, None]
        return angle.cos(), angle.sin()

    def forward(
        self, frames: Tensor, ids: Tensor, positions: Tensor, layout: Layout, depth: int | None = None
    ) -> tuple[Tensor, list[Tensor]]:
        """Cells of the vision tower, (B, T * cells, dim), and the hidden state before and after each layer.

        frames: (B, T, height, width, 3) normalized; ids: (B, L); positions: (3, B, L), L = prefix + text.
        ``depth`` stops after that many layers. With bins, the last state has no prefix: nobody reads it.
        """
        cells = self.vision_tower(frames.flatten(0, 1)).reshape(frames.shape[0], -1, self.size.dim)
        x = self.language_model.model.embed_tokens(ids)
        x = torch.cat((x[:, : layout.vision.start], cells, x[:, layout.vision.stop :]), dim=1)
        cos, sin = (table.to(x.dtype) for table in self.rope(positions))
        states = [x]
        for number, layer in enumerate(self.language_model.model.layers[:depth], 1):
            last = layout.bins > 0 and number == self.size.depth
            x = layer(x, cos, sin, layout, layout.prefix if last else 0)
            states.append(x)
        return cells, states

    def logits(self, states: Tensor) -> Tensor:
        """Next-token logits of last hidden states, (N, dim) -> (N, vocab)."""
        return self.language_model.lm_head(self.language_model.model.norm(states))
