"""Checkpoints that load, and every way in which one does not."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tarsier2_kit import CHECKPOINT, clip, settings, variant

from tarsier_tools import backends
from tarsier_tools.backends import choose_backend, open_backend
from tarsier_tools.backends.tarsier2 import Tarsier2Backend, hub, loading
from tarsier_tools.backends.tarsier2.checkpoint import read_checkpoint
from tarsier_tools.config import Settings
from tarsier_tools.errors import BackendUnavailable, UsageError
from tarsier_tools.types import ScoreRequest

Tensors = dict[str, torch.Tensor]


def scores(folder: Path) -> tuple[float, ...]:
    """Something that depends on every weight."""
    with Tarsier2Backend(folder, settings()) as backend:
        (result,) = backend.score([ScoreRequest(clip(), "What moves?", ("a red circle", "nothing"))])
    return result.logprobs


def renamed(*pairs: tuple[str, str]) -> Callable[[Tensors], Tensors]:
    def rename(tensors: Tensors) -> Tensors:
        result = {}
        for name, tensor in tensors.items():
            old, new = next((old, new) for old, new in pairs if name.startswith(old))
            result[new + name.removeprefix(old)] = tensor
        return result

    return rename


def plain_config() -> dict[str, object]:
    """config.json as Qwen2-VL writes it: the text model's keys at the top."""
    config = json.loads((CHECKPOINT / "config.json").read_text("utf-8"))
    text = {key: value for key, value in config["text_config"].items() if key != "auto_map"}
    gone = dict.fromkeys(set(config) - set(text))
    return {**gone, **text, "vision_config": config["vision_config"], "text_config": None}


OLD_NAMES = renamed(("vision_tower.", "visual."), ("language_model.", ""))
NEW_NAMES = renamed(
    ("vision_tower.", "model.visual."),
    ("language_model.model.", "model.language_model."),
    ("language_model.", ""),
)


@pytest.mark.parametrize("names", [OLD_NAMES, NEW_NAMES], ids=["transformers 4", "transformers 5"])
def test_the_plain_qwen2_vl_layout_answers_like_tarsiers(
    names: Callable[[Tensors], Tensors], tmp_path: Path
) -> None:
    folder = variant(tmp_path, tensors=names, config=plain_config())
    assert read_checkpoint(folder).layout == "qwen2-vl"
    assert read_checkpoint(folder).context_tokens == 32_768
    assert scores(folder) == scores(CHECKPOINT)


def test_weights_in_several_files_are_found_by_their_index(tmp_path: Path) -> None:
    folder = variant(tmp_path)
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(tensors)
    parts = {"model-00001-of-00002.safetensors": names[:20], "model-00002-of-00002.safetensors": names[20:]}
    for file, keys in parts.items():
        save_file({key: tensors[key] for key in keys}, folder / file, metadata={"format": "pt"})
    index = {"metadata": {}, "weight_map": {key: file for file, keys in parts.items() for key in keys}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), "utf-8")
    assert scores(folder) == scores(CHECKPOINT)

    (folder / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(BackendUnavailable, match="lacks 1 weight file") as caught:
        read_checkpoint(folder)
    assert "Download the checkpoint again" in caught.value.hint


def test_code_named_by_a_checkpoint_is_not_run(tmp_path: Path) -> None:
    (tmp_path / "evil.py").write_text("raise SystemExit('ran')", "utf-8")
    auto = {"AutoConfig": "evil.Config", "AutoModel": "evil.Model", "AutoTokenizer": ["evil.T", "evil.T"]}
    folder = variant(tmp_path, config={"auto_map": auto}, tokenizer_config={"auto_map": auto})
    assert scores(folder) == scores(CHECKPOINT)


def test_output_weights_tied_to_the_input_ones_are_not_missed(tmp_path: Path) -> None:
    config = json.loads((CHECKPOINT / "config.json").read_text("utf-8"))
    text = config["text_config"] | {"tie_word_embeddings": True}

    def without_head(tensors: Tensors) -> Tensors:
        return {name: tensor for name, tensor in tensors.items() if "lm_head" not in name}

    def same_head(tensors: Tensors) -> Tensors:
        embedding = tensors["language_model.model.embed_tokens.weight"]
        return {**tensors, "language_model.lm_head.weight": embedding.clone()}

    tied = variant(tmp_path / "tied", tensors=without_head, config={"text_config": text})
    untied = variant(tmp_path / "untied", tensors=same_head)
    assert scores(tied) == scores(untied)


def test_a_missing_weight_is_named(tmp_path: Path) -> None:
    def without(tensors: Tensors) -> Tensors:
        return {name: tensor for name, tensor in tensors.items() if "model.norm" not in name}

    folder = variant(tmp_path, tensors=without)
    with pytest.raises(BackendUnavailable, match=r"missing \(model\.language_model\.norm\.weight"):
        Tarsier2Backend(folder, settings())


def test_a_weight_too_many_is_named(tmp_path: Path) -> None:
    folder = variant(tmp_path, tensors=lambda tensors: {**tensors, "projector.weight": torch.zeros(2)})
    with pytest.raises(BackendUnavailable, match=r"1 unexpected \(projector\.weight"):
        Tarsier2Backend(folder, settings())


def test_a_weight_of_another_shape_is_named(tmp_path: Path) -> None:
    def cut(tensors: Tensors) -> Tensors:
        name = "language_model.lm_head.weight"
        return {**tensors, name: tensors[name][:500].clone()}

    folder = variant(tmp_path, tensors=cut)
    with pytest.raises(BackendUnavailable, match=r"mismatched .*lm_head\.weight"):
        Tarsier2Backend(folder, settings())


def test_a_checkpoint_with_pickles_only_is_refused(tmp_path: Path) -> None:
    folder = variant(tmp_path, without=("model.safetensors",))
    torch.save({"a": torch.zeros(2)}, folder / "pytorch_model.bin")
    with pytest.raises(BackendUnavailable, match="only as pickles") as caught:
        Tarsier2Backend(folder, settings())
    assert "safetensors" in caught.value.hint


def test_a_download_cut_short_is_refused_before_it_is_loaded(tmp_path: Path) -> None:
    folder = variant(tmp_path)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    with pytest.raises(BackendUnavailable, match="damaged or cut short"):
        read_checkpoint(folder)


def test_an_index_cannot_name_files_elsewhere(tmp_path: Path) -> None:
    folder = variant(tmp_path, without=("model.safetensors",))
    index = {"weight_map": {"a": "../../other.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), "utf-8")
    with pytest.raises(BackendUnavailable, match="outside its folder"):
        read_checkpoint(folder)


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("config.json", None, "has no config.json"),
        ("config.json", "{", "config.json of .* cannot be read"),
        ("config.json", "[]", "is not a JSON object"),
        ("config.json", '{"model_type": "llama"}', "model_type is 'llama'"),
        (
            "config.json",
            '{"model_type": "llava", "text_config": {"model_type": "qwen2_vl"}}',
            "vision_config",
        ),
        ("model.safetensors", None, "lacks 1 weight file"),
        ("tarsier.json", '{"abilities": {"fly": true}}', "tarsier.json .* abilities.fly"),
    ],
)
def test_a_folder_that_is_no_checkpoint_says_why(
    file: str, text: str | None, message: str, tmp_path: Path
) -> None:
    folder = variant(tmp_path)
    (folder / file).unlink(missing_ok=True)
    if text is not None:
        (folder / file).write_text(text, "utf-8")
    with pytest.raises(BackendUnavailable, match=message) as caught:
        Tarsier2Backend(folder, settings())
    assert caught.value.hint


def test_sliding_window_attention_is_refused_rather_than_ignored(tmp_path: Path) -> None:
    config = json.loads((CHECKPOINT / "config.json").read_text("utf-8"))
    config["text_config"] |= {"use_sliding_window": True}
    folder = variant(tmp_path, config={"text_config": config["text_config"]})
    with pytest.raises(BackendUnavailable, match="sliding-window"):
        read_checkpoint(folder)


def test_too_little_memory_is_said_with_the_numbers_before_loading(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "available_bytes", lambda device: 2_000_000)
    monkeypatch.setattr(loading, "Qwen2VLForConditionalGeneration", None)  # would fail if it were used
    with pytest.raises(BackendUnavailable, match=r"memory of cpu: 0\.0 GB needed, 0\.0 GB free") as caught:
        Tarsier2Backend(CHECKPOINT, settings())
    assert "TARSIER_QUANTIZATION=4bit" in caught.value.hint


@pytest.mark.parametrize(
    ("device", "message"),
    [
        ("toaster", "no device 'toaster'"),
        ("cuda:63", "CUDA devices"),
        ("meta", "not supported"),
    ],
)
def test_a_device_that_is_not_there_is_unavailable(device: str, message: str) -> None:
    with pytest.raises(BackendUnavailable, match=message):
        Tarsier2Backend(CHECKPOINT, settings(device=device))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_cuda_without_cuda_is_unavailable() -> None:
    with pytest.raises(BackendUnavailable, match="sees 0 CUDA devices") as caught:
        Tarsier2Backend(CHECKPOINT, settings(device="cuda"))
    assert "--device cpu" in caught.value.hint


@pytest.mark.parametrize(
    ("change", "package"),
    [({"quantization": "4bit"}, "bitsandbytes"), ({"device_map": "auto"}, "accelerate")],
)
def test_an_option_that_needs_a_package_names_it(
    change: dict[str, str], package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "find_spec", lambda name: None)
    with pytest.raises(BackendUnavailable, match=package) as caught:
        Tarsier2Backend(CHECKPOINT, settings(**change))
    assert caught.value.hint == f"Type: pip install {package}"


def test_the_card_beside_a_checkpoint_names_it_and_its_abilities(tmp_path: Path) -> None:
    card = {
        "name": "my-model",
        "description": "Knows cats.",
        "abilities": {"languages": ["en"], "yes_no": True},
    }
    info = Tarsier2Backend(variant(tmp_path, tarsier=card), settings()).info
    assert info.name == "my-model"
    assert info.abilities.languages == ("en",)
    assert info.abilities.yes_no
    assert not info.abilities.choices
    assert info.abilities.note == "Knows cats."


def test_a_tarsier2_checkpoint_without_a_card_is_called_a_captioner() -> None:
    info = Tarsier2Backend(CHECKPOINT, settings()).info
    assert (info.name, info.backend, info.device, info.dtype) == ("tiny-tarsier2", "local", "cpu", "float32")
    assert info.context_tokens == 16_384
    assert info.abilities.languages == ()
    assert "captioners" in info.abilities.note


def test_a_form_that_is_not_the_checkpoints_own_is_reported(tmp_path: Path) -> None:
    folder = variant(tmp_path, tokenizer_config={"chat_template": None})
    assert "no chat template" in Tarsier2Backend(folder, settings()).info.abilities.note


def test_a_shorter_text_model_shortens_the_context(tmp_path: Path) -> None:
    config = json.loads((CHECKPOINT / "config.json").read_text("utf-8"))
    text = config["text_config"] | {"max_position_embeddings": 1000}
    assert read_checkpoint(variant(tmp_path, config={"text_config": text})).context_tokens == 1000


def test_a_bfloat16_model_says_so(tmp_path: Path) -> None:
    assert Tarsier2Backend(CHECKPOINT, settings(dtype="bfloat16")).info.dtype == "bfloat16"


@pytest.mark.parametrize(
    ("given", "name", "reason"),
    [
        ({}, "tiny", "no model is set"),
        ({"model": "some/where"}, "local", "some/where"),
        ({"backend": "tiny", "model": "some/where"}, "tiny", "asked for"),
        ({"backend": "local", "model": "some/where"}, "local", "asked for"),
    ],
)
def test_the_backend_follows_from_the_settings_with_a_reason(
    given: dict[str, str], name: str, reason: str
) -> None:
    chosen, why = choose_backend(Settings(**given))
    assert chosen == name
    assert reason in why


def test_local_without_a_model_says_what_to_set() -> None:
    with pytest.raises(UsageError, match="needs a model") as caught:
        open_backend(Settings(backend="local"))
    assert "TARSIER_MODEL" in caught.value.hint


@pytest.mark.parametrize("package", ["torch", "transformers", "safetensors"])
def test_without_the_extra_the_line_to_type_is_said(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("tarsier_tools.backends.tarsier2")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr(backends, "tarsier2", raising=False)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(BackendUnavailable, match=f"needs the {package} package") as caught:
        open_backend(settings())
    assert caught.value.hint == 'Type: pip install "tarsier-tools[local]"'


def test_the_bundled_model_is_opened_when_nothing_is_set() -> None:
    with open_backend(Settings(device="cpu")) as backend:
        assert backend.info.backend == "tiny"
        assert "shapes" in backend.info.abilities.note


def test_a_relative_folder_and_a_home_folder_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    variant(tmp_path / "my model")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    for name in ("my model", "~/my model"):
        assert hub.find_checkpoint(name, None)[0].samefile(tmp_path / "my model")


@pytest.mark.parametrize(
    "name", ["/no/such/folder", "./nothing", "nothing", "C:\\models\\x", "a/b/c", "~/none"]
)
def test_a_folder_that_is_not_there_is_unavailable(name: str) -> None:
    with pytest.raises(BackendUnavailable, match="no checkpoint folder"):
        hub.find_checkpoint(name, None)


def test_a_folder_has_no_revisions() -> None:
    with pytest.raises(BackendUnavailable, match="no revision 'v1'"):
        Tarsier2Backend(CHECKPOINT, settings(revision="v1"))
