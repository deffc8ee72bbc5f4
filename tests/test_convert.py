"""Checkpoints in Tarsier2's layout become plain Qwen2-VL's; what cannot be converted says why."""

from __future__ import annotations

import hashlib
import json
import shutil
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
from filelock import FileLock
from safetensors.torch import load_file, save_file
from tarsier2_kit import CHECKPOINT, clip, settings, variant
from test_tarsier2_hub import hub  # noqa: F401  (a fixture)
from transformers import AutoConfig, Qwen2VLForConditionalGeneration

from tarsier_tools.backends import TINY_FOLDER
from tarsier_tools.backends.tarsier2 import Tarsier2Backend
from tarsier_tools.backends.tarsier2 import convert as module
from tarsier_tools.backends.tarsier2.chat import TextCodec, read_chat_form
from tarsier_tools.backends.tarsier2.checkpoint import CAPTIONER_NOTE, read_checkpoint
from tarsier_tools.backends.tarsier2.convert import convert
from tarsier_tools.backends.tarsier2.convert_check import compare_logits
from tarsier_tools.backends.tarsier2.convert_config import Source
from tarsier_tools.backends.tarsier2.convert_shapes import expected_shapes
from tarsier_tools.backends.tarsier2.inputs import PixelRules
from tarsier_tools.cli import run
from tarsier_tools.errors import BackendFailed, BackendUnavailable, Cancelled, TarsierError, UsageError
from tarsier_tools.types import ScoreRequest

Tensors = dict[str, torch.Tensor]
WEIGHTS = "model.safetensors"
NORM = "language_model.model.norm.weight"


def read(path: Path) -> Any:
    return json.loads(path.read_text("utf-8"))


def sharded(folder: Path, *, copied: str = "") -> Path:
    """The checkpoint in three files of very different sizes; ``copied`` is in two of them."""
    folder = variant(folder)
    tensors = load_file(folder / WEIGHTS)
    (folder / WEIGHTS).unlink()
    names = sorted(tensors)
    parts = {
        f"model-0000{number}-of-00003.safetensors": part
        for number, part in enumerate((names[:1], names[1:30], names[30:]), 1)
    }
    for file, part in parts.items():
        keys = {*part, copied} if copied else part
        save_file({key: tensors[key] for key in keys}, folder / file, metadata={"format": "pt"})
    index = {"metadata": {}, "weight_map": {key: file for file, part in parts.items() for key in part}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), "utf-8")
    return folder


def scores(folder: Path) -> tuple[float, ...]:
    """Something that depends on every weight, the tokenizer and the preprocessor."""
    with Tarsier2Backend(folder, settings(anyway=True)) as backend:  # about noise
        (result,) = backend.score([ScoreRequest(clip(), "What moves?", ("a red circle", "nothing"))])
    return result.logprobs


@pytest.mark.parametrize("source", [CHECKPOINT, TINY_FOLDER], ids=["golden", "bundled"])
class TestAConvertedCheckpoint:
    @pytest.fixture
    def plain(self, source: Path, tmp_path: Path) -> Path:
        return convert(str(source), tmp_path / "new" / "plain").folder

    def test_is_loaded_by_transformers_alone_with_every_weight_in_its_place(
        self, source: Path, plain: Path
    ) -> None:
        factory: Any = Qwen2VLForConditionalGeneration
        model, report = factory.from_pretrained(plain, output_loading_info=True)
        assert {kind: list(keys) for kind, keys in report.items() if keys} == {}
        assert model.dtype == torch.bfloat16
        assert isinstance(AutoConfig.from_pretrained(plain), type(read_checkpoint(source).config))

    def test_computes_the_very_same_logits(self, source: Path, plain: Path) -> None:
        compared = compare_logits(source, plain, settings())
        assert compared.max_difference == 0
        assert compared.tokens > 100

    def test_answers_here_like_the_source(self, source: Path, plain: Path) -> None:
        assert read_checkpoint(plain).layout == "qwen2-vl"
        assert scores(plain) == scores(source)

    def test_has_the_same_architecture_limits_and_stop_tokens(self, source: Path, plain: Path) -> None:
        before, after = read_checkpoint(source), read_checkpoint(plain)
        for part in ("text_config", "vision_config"):
            old, new = (getattr(checkpoint.config, part).to_dict() for checkpoint in (before, after))
            same = set(new) - {"max_position_embeddings", "dtype"}
            assert {key: old[key] for key in same} == {key: new[key] for key in same}
        assert after.context_tokens == before.context_tokens == 16_384
        assert after.stop_ids >= before.stop_ids
        assert PixelRules.read(before.preprocessor) == PixelRules.read(after.preprocessor)

    def test_asks_in_the_same_chat_form(self, source: Path, plain: Path) -> None:
        forms = [read_chat_form(TextCodec(folder), folder) for folder in (source, plain)]
        assert forms[0].suffix_ids("Why?", "Because") == forms[1].suffix_ids("Why?", "Because")
        assert forms[0].prefix_ids(9) == forms[1].prefix_ids(9)
        assert forms[1].source == "template"

    def test_names_neither_code_nor_classes_that_others_do_not_have(self, source: Path, plain: Path) -> None:
        for path in plain.glob("*.json"):
            text = path.read_text("utf-8")
            if path.name != "tarsier.json":
                assert "Tarsier" not in text
            assert "auto_map" not in text
            assert "llava" not in text
        assert read(plain / "config.json")["architectures"] == ["Qwen2VLForConditionalGeneration"]
        assert read(plain / "preprocessor_config.json")["processor_class"] == "Qwen2VLProcessor"

    def test_carries_checksums_that_anybody_can_verify(self, source: Path, plain: Path) -> None:
        for line in (plain / "SHA256SUMS").read_text("ascii").splitlines():
            digest, name = line.split("  ")
            assert hashlib.sha256((plain / name).read_bytes()).hexdigest() == digest
            assert name == WEIGHTS

    def test_leaves_nothing_else_behind(self, source: Path, plain: Path) -> None:
        assert [path.name for path in plain.parent.iterdir()] == ["plain"]


def test_the_chat_template_writes_whole_conversations(tmp_path: Path) -> None:
    plain = convert(str(CHECKPOINT), tmp_path / "plain").folder
    tokenizer: Any = TextCodec(plain)._tokenizer
    chat = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "video"}, {"type": "text", "text": "Who?"}, {"type": "image"}]},
        {"role": "assistant", "content": "A man."},
        {"role": "user", "content": "Why?"},
    ]
    block = "<|vision_start|><|{}_pad|><|vision_end|>"
    assert tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n"
        f"<|im_start|>user\n{block.format('video')}Who?{block.format('image')}<|im_end|>\n"
        "<|im_start|>assistant\nA man.<|im_end|>\n<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\n"
    )


@pytest.mark.parametrize("system", ['Say "yes"\\no.\n{{ 1 }} {% x %} 你好 😀', None])
def test_a_checkpoints_own_system_turn_is_kept_whatever_it_says(system: str | None, tmp_path: Path) -> None:
    own = read(CHECKPOINT / "tokenizer_config.json")["chat_template"]
    start = own.index("{% if loop.first")
    turn = own[start : own.index("{% endif %}", start) + len("{% endif %}")]
    said = json.dumps(f"<|im_start|>system\n{system}<|im_end|>\n", ensure_ascii=False)
    changed = own.replace(
        turn, "" if system is None else f"{{% if loop.first %}}{{{{ {said} }}}}{{% endif %}}"
    )
    assert changed != own
    source = variant(tmp_path / "source", tokenizer_config={"chat_template": changed})
    plain = convert(str(source), tmp_path / "plain").folder
    codec = TextCodec(plain)
    rendered = codec.render(codec.template)
    assert rendered.startswith(
        "<|im_start|>user" if system is None else f"<|im_start|>system\n{system}<|im_end|>"
    )
    assert scores(plain) == scores(source)


def test_a_checkpoint_without_a_card_is_still_known_as_a_captioner(tmp_path: Path) -> None:
    with Tarsier2Backend(convert(str(CHECKPOINT), tmp_path / "plain").folder, settings()) as backend:
        assert backend.info.abilities.note == CAPTIONER_NOTE


def test_the_licence_goes_with_the_weights(tmp_path: Path) -> None:
    source = variant(tmp_path / "source")
    (source / "LICENSE.txt").write_text("yours", "utf-8")
    assert (convert(str(source), tmp_path / "plain").folder / "LICENSE.txt").read_text("utf-8") == "yours"


def test_weights_in_several_files_stay_in_several_files(tmp_path: Path) -> None:
    source = sharded(tmp_path / "source")
    made = convert(str(source), tmp_path / "plain")
    index = read(made.folder / "model.safetensors.index.json")
    assert set(index["weight_map"].values()) == set(made.sha256)
    assert len(made.sha256) == 3
    for name, file in index["weight_map"].items():
        assert name in load_file(made.folder / file)
    assert index["metadata"]["total_size"] == sum(
        tensor.nbytes for file in made.sha256 for tensor in load_file(made.folder / file).values()
    )
    assert compare_logits(source, made.folder, settings()).max_difference == 0
    assert scores(made.folder) == scores(CHECKPOINT)


def test_output_weights_tied_to_the_input_ones_stay_tied(tmp_path: Path) -> None:
    def without_head(tensors: Tensors) -> Tensors:
        return {name: tensor for name, tensor in tensors.items() if "lm_head" not in name}

    text = read(CHECKPOINT / "config.json")["text_config"] | {"tie_word_embeddings": True}
    source = variant(tmp_path / "source", tensors=without_head, config={"text_config": text})
    plain = convert(str(source), tmp_path / "plain").folder
    assert compare_logits(source, plain, settings()).max_difference == 0


def test_without_limits_of_its_own_the_preprocessor_gets_one_that_no_frame_meets(tmp_path: Path) -> None:
    source = variant(tmp_path / "source", without=("preprocessor_config.json",))
    plain = convert(str(source), tmp_path / "plain").folder
    rules = PixelRules.read(read(plain / "preprocessor_config.json"))
    assert (rules.min_pixels, rules.max_pixels) == (3136, 2_073_600)


@pytest.mark.allow_hosts(["127.0.0.1"])
def test_a_hub_id_is_downloaded_and_converted(hub: ThreadingHTTPServer, tmp_path: Path) -> None:  # noqa: F811
    made = convert("someone/tiny", tmp_path / "plain", revision="v1")
    assert read(made.folder / "tarsier.json")["name"] == "someone/tiny"
    assert scores(made.folder) == scores(CHECKPOINT)


class TestStoppingAndGoingOn:
    def test_what_was_stopped_is_not_there_under_its_name_and_is_gone_on_with(self, tmp_path: Path) -> None:
        source, plain = sharded(tmp_path / "source"), tmp_path / "plain"

        def stop(done: int, total: int, message: str) -> None:
            if "00003-of" in message:
                raise Cancelled("enough")

        with pytest.raises(Cancelled):
            convert(str(source), plain, on_progress=stop)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["plain.partial", "source"]
        kept = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "plain.partial").glob("model-*")}
        assert len(kept) == 2
        made = convert(str(source), plain)
        assert made.made
        assert {name: (plain / name).stat().st_mtime_ns for name in kept} == kept
        assert not (tmp_path / "plain.partial").exists()
        assert scores(plain) == scores(CHECKPOINT)

    def test_a_finished_conversion_is_recognised_and_left_alone(self, tmp_path: Path) -> None:
        first = convert(str(CHECKPOINT), tmp_path / "plain")
        before = {path: path.stat().st_mtime_ns for path in (tmp_path / "plain").iterdir()}
        again = convert(str(CHECKPOINT), tmp_path / "plain")
        assert (first.made, again.made) == (True, False)
        assert again.sha256 == first.sha256
        assert {path: path.stat().st_mtime_ns for path in (tmp_path / "plain").iterdir()} == before

    def test_an_empty_folder_is_filled(self, tmp_path: Path) -> None:
        (tmp_path / "plain").mkdir()
        assert convert(str(CHECKPOINT), tmp_path / "plain").made

    @pytest.mark.parametrize("name", ["notes.txt", "config.json", "SHA256SUMS"])
    def test_a_folder_that_holds_something_else_is_refused_and_not_touched(
        self, name: str, tmp_path: Path
    ) -> None:
        made = convert(str(CHECKPOINT), tmp_path / "plain")
        if name == "notes.txt":
            shutil.rmtree(made.folder)
            made.folder.mkdir()
        (made.folder / name).write_text("mine", "utf-8")
        with pytest.raises(UsageError, match="is there already and is not this conversion"):
            convert(str(CHECKPOINT), made.folder)
        assert (made.folder / name).read_text("utf-8") == "mine"

    def test_a_strangers_file_in_the_partial_folder_is_not_removed(self, tmp_path: Path) -> None:
        (tmp_path / "plain.partial").mkdir()
        (tmp_path / "plain.partial" / "thesis.tex").write_text("mine", "utf-8")
        with pytest.raises(UsageError, match=r"not part of this conversion: thesis\.tex"):
            convert(str(CHECKPOINT), tmp_path / "plain")
        assert (tmp_path / "plain.partial" / "thesis.tex").exists()

    def test_the_checkpoint_itself_is_no_destination(self, tmp_path: Path) -> None:
        source = variant(tmp_path / "all" / "source")
        for destination in (source, source.parent):
            with pytest.raises(UsageError, match="holds the checkpoint itself"):
                convert(str(source), destination)

    def test_two_conversions_do_not_write_to_one_place(self, tmp_path: Path) -> None:
        with FileLock(tmp_path / "plain.lock"), pytest.raises(UsageError, match="Another conversion"):
            thread_safe(lambda: convert(str(CHECKPOINT), tmp_path / "plain"))
        assert convert(str(CHECKPOINT), tmp_path / "plain").made

    def test_too_little_room_is_said_before_anything_is_written(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        usage = shutil.disk_usage(tmp_path)._replace(free=1_000_000)
        monkeypatch.setattr(module.shutil, "disk_usage", lambda _: usage)
        with pytest.raises(BackendUnavailable, match="GB are needed"):
            convert(str(CHECKPOINT), tmp_path / "plain")
        assert list((tmp_path / "plain.partial").iterdir()) == []

    def test_a_place_that_cannot_be_written_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("", "utf-8")
        with pytest.raises(BackendUnavailable, match=r"file.* cannot be read or written") as caught:
            convert(str(CHECKPOINT), tmp_path / "file" / "plain")
        assert "Check the permissions" in caught.value.hint


def thread_safe(call: Callable[[], object]) -> None:
    """Run in another thread, since a lock file may be taken twice by one; raise what it raises."""
    raised: list[Exception] = []

    def work() -> None:
        try:
            call()
        except TarsierError as error:
            raised.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    for error in raised:
        raise error


class TestWhatCannotBeConverted:
    def refused(self, source: Path, tmp_path: Path, match: str, kind: type[TarsierError]) -> str:
        with pytest.raises(kind, match=match) as caught:
            convert(str(source), tmp_path / "plain")
        assert not (tmp_path / "plain").exists()
        assert not list(tmp_path.glob("plain.partial/model*"))
        assert caught.value.hint
        return caught.value.hint

    def test_plain_qwen2_vl_is_recognised(self, tmp_path: Path) -> None:
        plain = convert(str(CHECKPOINT), tmp_path / "first").folder
        self.refused(plain, tmp_path, "in the plain Qwen2-VL layout already", UsageError)

    @pytest.mark.parametrize(
        ("damage", "match"),
        [
            (lambda data: data[:-1], "damaged or cut short"),
            (lambda data: data[:9], "damaged or cut short"),
            (lambda data: b"", "damaged or cut short"),
            (lambda data: struct.pack("<Q", 1 << 40) + data[8:], "damaged or cut short"),
            (lambda data: data.replace(b'"BF16"', b'"BF61"', 1), "damaged or cut short"),
            (lambda data: data.replace(b'"shape":[128]', b'"shape":[129]', 1), "damaged or cut short"),
            (lambda data: data + b"more", "damaged or cut short"),
            (lambda data: b"<!DOCTYPE html><title>Sign in</title>", "damaged or cut short"),
        ],
    )
    def test_a_damaged_weight_file_is_named(
        self, damage: Callable[[bytes], bytes], match: str, tmp_path: Path
    ) -> None:
        source = variant(tmp_path / "source")
        data = (source / WEIGHTS).read_bytes()
        assert damage(data) != data
        (source / WEIGHTS).write_bytes(damage(data))
        self.refused(source, tmp_path, match, BackendUnavailable)

    @pytest.mark.parametrize(
        ("change", "match"),
        [
            (lambda tensors: {k: v for k, v in tensors.items() if k != NORM}, rf"1 missing \({NORM}\)"),
            (lambda tensors: {**tensors, NORM: torch.zeros(2)}, rf"1 of another shape \({NORM}\)"),
            (
                lambda tensors: {**tensors, "language_model.model.extra": torch.zeros(2)},
                r"1 unexpected \(language_model\.model\.extra\)",
            ),
            (lambda tensors: {**tensors, "base_model.lora_A": torch.zeros(2)}, "name that is not Tarsier2's"),
            (lambda tensors: {k: v.to(torch.int8) for k, v in tensors.items()}, "stored as I8"),
        ],
    )
    def test_weights_that_do_not_fit_the_configuration_are_named(
        self, change: Callable[[Tensors], Tensors], match: str, tmp_path: Path
    ) -> None:
        source = variant(tmp_path / "source", tensors=change)
        self.refused(source, tmp_path, match, BackendUnavailable)

    def test_a_weight_in_two_files_is_named(self, tmp_path: Path) -> None:
        source = sharded(tmp_path / "source", copied=NORM)
        self.refused(source, tmp_path, rf"2? in several files \({NORM}\)", BackendUnavailable)

    def test_an_index_that_points_elsewhere_is_refused(self, tmp_path: Path) -> None:
        source = sharded(tmp_path / "source")
        index = {"weight_map": {"a": "../secret.safetensors"}}
        (source / "model.safetensors.index.json").write_text(json.dumps(index), "utf-8")
        self.refused(source, tmp_path, "outside its folder", BackendUnavailable)

    def test_a_template_of_another_form_is_refused_with_the_way_out(self, tmp_path: Path) -> None:
        own = read(CHECKPOINT / "tokenizer_config.json")["chat_template"]
        source = variant(
            tmp_path / "source", tokenizer_config={"chat_template": own.replace("user", "x") + "Answer: "}
        )
        hint = self.refused(source, tmp_path, "chat template is not of Qwen's form", BackendUnavailable)
        assert "Remove the chat template" in hint

    def test_rotary_settings_of_another_kind_are_refused(self, tmp_path: Path) -> None:
        text = read(CHECKPOINT / "config.json")["text_config"]
        text["rope_scaling"] = {**text["rope_scaling"], "type": "yarn", "factor": 4.0}
        source = variant(tmp_path / "source", config={"text_config": text})
        self.refused(source, tmp_path, "rotary settings|describes no Qwen2-VL", BackendUnavailable)

    def test_token_ids_of_another_tokenizer_are_refused(self, tmp_path: Path) -> None:
        text = read(CHECKPOINT / "config.json")["text_config"] | {"image_token_id": 5}
        source = variant(tmp_path / "source", config={"text_config": text})
        self.refused(source, tmp_path, "image_token_id is 5, the tokenizer says 998", BackendUnavailable)

    @pytest.mark.parametrize(
        ("part", "key", "value"),
        [
            ("text_config", "hidden_size", None),
            ("text_config", "num_hidden_layers", 1 << 40),
            ("text_config", "num_attention_heads", 0),
            ("vision_config", "depth", "two"),
            ("vision_config", "embed_dim", -1),
        ],
    )
    def test_a_configuration_without_a_sensible_size_is_refused(
        self, part: str, key: str, value: object, tmp_path: Path
    ) -> None:
        changed = read(CHECKPOINT / "config.json")[part] | {key: value}
        source = variant(tmp_path / "source", config={part: changed})
        self.refused(source, tmp_path, rf"no {key} between 1 and", BackendUnavailable)

    def test_a_configuration_without_a_vision_tower_is_refused(self, tmp_path: Path) -> None:
        source = variant(tmp_path / "source", config={"vision_config": None})
        self.refused(source, tmp_path, "no vision_config", BackendUnavailable)


@pytest.mark.parametrize("folder", [CHECKPOINT, TINY_FOLDER], ids=["golden", "bundled"])
def test_the_expected_weights_are_those_of_the_real_model(folder: Path) -> None:
    with torch.device("meta"):
        model = Qwen2VLForConditionalGeneration(read_checkpoint(folder).config)
    expected = expected_shapes(Source.read(folder, read(folder / "config.json")))
    prefixes = {"vision_tower.": "model.visual.", "language_model.model.": "model.language_model."}
    prefixes["language_model.lm_head."] = "lm_head."
    renamed = {
        next(new + name.removeprefix(old) for old, new in prefixes.items() if name.startswith(old)): shape
        for name, shape in expected.items()
    }
    assert renamed == {name: tuple(weight.shape) for name, weight in model.state_dict().items()}


def test_converting_loads_no_torch() -> None:
    code = "import sys, tarsier_tools.backends.tarsier2.convert; print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=True
    )
    assert done.stdout.strip() == "False"


def test_a_conversion_that_computes_something_else_is_found_by_the_check(tmp_path: Path) -> None:
    plain = convert(str(CHECKPOINT), tmp_path / "plain").folder
    tensors = load_file(plain / WEIGHTS)
    tensors["model.norm.weight"][3] += 0.5
    save_file(tensors, plain / WEIGHTS, metadata={"format": "pt"})
    with pytest.raises(BackendFailed, match="computes something else"):
        compare_logits(CHECKPOINT, plain, settings())


class TestTheCommand:
    def test_says_where_and_what_and_that_it_was_checked(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        arguments = ["convert", str(CHECKPOINT), str(tmp_path / "plain"), "--check", "--device", "cpu"]
        assert run(arguments) == 0
        text = capsys.readouterr().out
        assert str(tmp_path / "plain") in text
        assert "58 tensors" in text
        assert "every byte compared" in text
        assert "logits differ by 0 at most" in text
        assert run([*arguments, "--json"]) == 0
        document = json.loads(capsys.readouterr().out)
        assert document["made"] is False
        assert document["check"]["max_difference"] == 0
        assert document["sha256"] == convert(str(CHECKPOINT), tmp_path / "plain").sha256

    @pytest.mark.parametrize(
        ("source", "code", "error"),
        [("no/such/folder", 4, "BackendUnavailable"), (str(TINY_FOLDER.parent), 4, "BackendUnavailable")],
    )
    def test_fails_with_a_message_and_an_exit_code(
        self, source: str, code: int, error: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert run(["convert", source, str(tmp_path / "plain"), "--json"]) == code
        assert json.loads(capsys.readouterr().out)["error"]["type"] == error
