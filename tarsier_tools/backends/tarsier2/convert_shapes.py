"""Which weights a checkpoint in Tarsier2's layout has, by its configuration: names and shapes."""

from __future__ import annotations

from collections.abc import Iterator

from tarsier_tools.backends.tarsier2.convert_config import Source

Shape = tuple[int, ...]
HEAD = "language_model.lm_head.weight"


def expected_shapes(source: Source) -> dict[str, Shape]:
    """The shape of every weight by its name; the output weights also where they are tied.

    Raises BackendUnavailable where the configuration lacks a size.
    """
    return dict(_vision(source)) | dict(_text(source))


def _vision(source: Source) -> Iterator[tuple[str, Shape]]:
    def number(key: str) -> int:
        return source.number("vision", key)

    width, out = number("embed_dim"), number("hidden_size")
    inner, merged = width * number("mlp_ratio"), width * number("spatial_merge_size") ** 2
    patch = number("patch_size")
    channels = number("in_channels" if "in_channels" in source.vision else "in_chans")
    root = "vision_tower"
    yield f"{root}.patch_embed.proj.weight", (width, channels, number("temporal_patch_size"), patch, patch)
    for layer in range(number("depth")):
        block = f"{root}.blocks.{layer}"
        for norm in ("norm1", "norm2"):
            yield f"{block}.{norm}.weight", (width,)
            yield f"{block}.{norm}.bias", (width,)
        yield from _linear(f"{block}.attn.qkv", width, 3 * width)
        yield from _linear(f"{block}.attn.proj", width, width)
        yield from _linear(f"{block}.mlp.fc1", width, inner)
        yield from _linear(f"{block}.mlp.fc2", inner, width)
    yield f"{root}.merger.ln_q.weight", (width,)
    yield f"{root}.merger.ln_q.bias", (width,)
    yield from _linear(f"{root}.merger.mlp.0", merged, merged)
    yield from _linear(f"{root}.merger.mlp.2", merged, out)


def _text(source: Source) -> Iterator[tuple[str, Shape]]:
    def number(key: str) -> int:
        return source.number("text", key)

    width, inner, words = number("hidden_size"), number("intermediate_size"), number("vocab_size")
    kept = width // number("num_attention_heads") * number("num_key_value_heads")
    root = "language_model.model"
    yield f"{root}.embed_tokens.weight", (words, width)
    for layer in range(number("num_hidden_layers")):
        block = f"{root}.layers.{layer}"
        yield f"{block}.input_layernorm.weight", (width,)
        yield f"{block}.post_attention_layernorm.weight", (width,)
        yield from _linear(f"{block}.self_attn.q_proj", width, width)
        yield from _linear(f"{block}.self_attn.k_proj", width, kept)
        yield from _linear(f"{block}.self_attn.v_proj", width, kept)
        yield f"{block}.self_attn.o_proj.weight", (width, width)
        yield f"{block}.mlp.gate_proj.weight", (inner, width)
        yield f"{block}.mlp.up_proj.weight", (inner, width)
        yield f"{block}.mlp.down_proj.weight", (width, inner)
    yield f"{root}.norm.weight", (width,)
    yield HEAD, (words, width)


def _linear(name: str, inputs: int, outputs: int) -> Iterator[tuple[str, Shape]]:
    yield f"{name}.weight", (outputs, inputs)
    yield f"{name}.bias", (outputs,)
