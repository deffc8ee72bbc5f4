"""Writes a trained model as a Tarsier2 checkpoint: the folder that users load."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from model import PATCH, Size, Tarsier
from safetensors.torch import save_file
from tokenizer import SPECIALS, build, save, write_json
from torch import Tensor

ASSETS = Path(__file__).resolve().parents[1] / "tarsier_tools" / "assets" / "tarsier2-tiny"
MIN_PIXELS, MAX_PIXELS = 3136, 9800
"""Bounds of the picture shown to the model: 84x84 for square films, 112x84 for 4:3, 112x56 for 16:9."""
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)


def weights(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The checkpoint's tensors, bfloat16: the patch embedding unfolded into two equal temporal halves."""
    out = {}
    for name, tensor in state.items():
        if name == "vision_tower.patch_embed.weight":
            half = (tensor / 2).view(-1, 3, 1, PATCH, PATCH)
            name, tensor = "vision_tower.patch_embed.proj.weight", torch.cat((half, half), dim=2)
        out[name] = tensor.to(torch.bfloat16).contiguous()
    return out


def config(size: Size, ids: dict[str, int]) -> dict[str, object]:
    """config.json in the layout of the published Tarsier2 checkpoints."""
    return {
        "architectures": ["TarsierForConditionalGeneration"],
        "model_type": "llava",
        "ignore_index": -100,
        "image_newline_idx": ids["<|vision_start|>"],
        "image_new_idx": ids["<|vision_end|>"],
        "image_token_index": ids["<|image_pad|>"],
        "projection_head": None,
        "projector_hidden_act": "gelu",
        "vision_feature_layer": -1,
        "vision_feature_select_strategy": "full",
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
        "text_config": {
            "architectures": ["Qwen2VLForCausalLM"],
            "model_type": "qwen2_vl",
            "attention_dropout": 0.0,
            "hidden_act": "silu",
            "hidden_size": size.dim,
            "initializer_range": 0.02,
            "intermediate_size": size.mlp,
            "max_position_embeddings": 32768,
            "max_window_layers": size.depth,
            "num_attention_heads": size.heads,
            "num_hidden_layers": size.depth,
            "num_key_value_heads": size.kv_heads,
            "rms_norm_eps": 1e-06,
            "rope_scaling": {"type": "mrope", "mrope_section": list(size.mrope_section)},
            "rope_theta": size.rope_theta,
            "sliding_window": 32768,
            "tie_word_embeddings": False,
            "use_cache": True,
            "use_sliding_window": False,
            "vocab_size": size.vocab,
            "spatial_merge_size": 2,
            "torch_dtype": "bfloat16",
            "bos_token_id": ids["<|endoftext|>"],
            "eos_token_id": ids["<|im_end|>"],
            "image_token_id": ids["<|image_pad|>"],
            "video_token_id": ids["<|video_pad|>"],
            "vision_start_token_id": ids["<|vision_start|>"],
            "vision_end_token_id": ids["<|vision_end|>"],
            "vision_token_id": ids["<|vision_pad|>"],
        },
        "vision_config": {
            "model_type": "qwen2_vl",
            "depth": size.vision_depth,
            "embed_dim": size.vision_dim,
            "hidden_size": size.dim,
            "hidden_act": "quick_gelu",
            "mlp_ratio": size.vision_mlp_ratio,
            "num_heads": size.vision_heads,
            "in_channels": 3,
            "in_chans": 3,
            "patch_size": PATCH,
            "spatial_patch_size": PATCH,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
            "torch_dtype": "bfloat16",
        },
    }


def export(state: dict[str, Tensor], size: Size, folder: Path = ASSETS) -> None:
    """All files of the checkpoint."""
    tokenizer = build()
    save(tokenizer, folder)
    ids = {special: tokenizer.token_to_id(special) for special in SPECIALS}
    save_file(weights(state), folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "model.safetensors").chmod(0o644)  # written readable by its owner alone
    write_json(folder / "config.json", config(size, ids))
    end, stop = ids["<|endoftext|>"], ids["<|im_end|>"]
    write_json(
        folder / "generation_config.json",
        {"bos_token_id": end, "pad_token_id": end, "eos_token_id": [stop, end]},
    )
    write_json(
        folder / "preprocessor_config.json",
        {
            "do_convert_rgb": True,
            "do_normalize": True,
            "do_rescale": True,
            "do_resize": True,
            "image_mean": MEAN,
            "image_std": STD,
            "image_processor_type": "Qwen2VLImageProcessor",
            "max_pixels": MAX_PIXELS,
            "merge_size": 2,
            "min_pixels": MIN_PIXELS,
            "patch_size": PATCH,
            "processor_class": "TarsierProcessor",
            "resample": 3,
            "rescale_factor": 1 / 255,
            "size": {"max_pixels": MAX_PIXELS, "min_pixels": MIN_PIXELS},
            "temporal_patch_size": 2,
        },
    )
    write_json(
        folder / "processor_config.json",
        {
            "image_token": "<|image_pad|>",
            "max_seq_len": 8192,
            "merge_size": 2,
            "patch_size": PATCH,
            "processor_class": "TarsierProcessor",
            "temporal_patch_size": 2,
        },
    )
    write_json(
        folder / "tarsier.json",
        {
            "name": "tarsier2-tiny",
            "description": "Understands coloured shapes that move, change and vanish, and nothing else.",
            "knows": "shapes",
            "abilities": {
                "languages": ["en", "zh-Hans", "zh-Hant"],
                "yes_no": True,
                "choices": True,
                "frames": True,
                "dense": True,
            },
        },
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path, nargs="?", help="of a run; random weights without it")
    parser.add_argument("--out", type=Path, default=ASSETS)
    options = parser.parse_args()
    size = Size()
    torch.manual_seed(0)
    model = Tarsier(size)
    model.initialize()
    if options.checkpoint:
        model.load_state_dict(torch.load(options.checkpoint, map_location="cpu")["model"])
    export(model.state_dict(), size, options.out)
    print(f"{options.out}: {sum(path.stat().st_size for path in options.out.iterdir()) / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
