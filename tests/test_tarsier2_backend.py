"""Generation, scoring and the prefix cache, each against a slower way to the same numbers."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from tarsier2_kit import CHECKPOINT, clip, settings, variant

from tarsier_tools.backends.tarsier2 import Tarsier2Backend
from tarsier_tools.backends.tarsier2 import model as backend_module
from tarsier_tools.backends.tarsier2.chat import TextCodec, read_chat_form
from tarsier_tools.backends.tarsier2.checkpoint import read_checkpoint
from tarsier_tools.backends.tarsier2.inputs import PixelRules, prefix_positions
from tarsier_tools.backends.tarsier2.loading import load_model
from tarsier_tools.errors import BackendFailed, BackendRejected, BackendUnavailable, Cancelled, UsageError
from tarsier_tools.types import Clip, Completion, Request, ScoreRequest

TOLERANCE = 1e-4
QUESTION = "What is the largest object in the video, and which way does it move?"


@pytest.fixture
def backend() -> Iterator[Tarsier2Backend]:
    with Tarsier2Backend(CHECKPOINT, settings()) as opened:
        yield opened


@pytest.fixture
def uncached() -> Iterator[Tarsier2Backend]:
    with Tarsier2Backend(CHECKPOINT, settings(prefix_cache_mb=0)) as opened:
        yield opened


class Plain:
    """The model by one ordinary forward pass over the whole prompt: no cache, no batch, no parts."""

    def __init__(self, folder: Path) -> None:
        checkpoint = read_checkpoint(folder)
        self.codec = TextCodec(folder)
        self.form = read_chat_form(self.codec, folder)
        self.rules = PixelRules.read(checkpoint.preprocessor)
        self.model = load_model(checkpoint, settings())

    def logits(self, shown: Clip, question: str, reply: list[int], prefix: str = "") -> torch.Tensor:
        """float32 (len(reply) + 1, vocabulary): for each token of the reply, and for the one after it."""
        grid = self.rules.grid(shown)
        ids = [*self.form.prefix_ids(grid.tokens), *self.form.suffix_ids(question, prefix), *reply]
        after = len(ids) - len(self.form.head) - grid.tokens
        positions = prefix_positions(len(self.form.head), grid, after)
        with torch.inference_mode():
            output = self.model(
                input_ids=torch.tensor([ids]),
                pixel_values=torch.from_numpy(self.rules.pixel_values(shown, grid)),
                image_grid_thw=torch.tensor([(grid.t, grid.h, grid.w)]),
                position_ids=torch.from_numpy(positions)[:, None],
                use_cache=False,
            )
        return output.logits[0, -len(reply) - 1 :]

    def score(self, shown: Clip, question: str, ids: list[int], prefix: str = "") -> float:
        logprobs = self.logits(shown, question, ids, prefix)[:-1].log_softmax(-1)
        return float(logprobs.gather(1, torch.tensor(ids)[:, None]).sum())


@pytest.fixture(scope="module")
def plain() -> Plain:
    return Plain(CHECKPOINT)


def watch_vision(backend: Tarsier2Backend) -> list[int]:
    """Grows by the number of clips at every pass of the vision tower."""
    passes: list[int] = []
    tower = backend._loaded()._model.model.visual
    tower.register_forward_pre_hook(
        lambda _, args, kwargs: passes.append(len(kwargs["grid_thw"])), with_kwargs=True
    )
    return passes


def same(ours: Completion, theirs: Completion) -> None:
    assert ours.token_ids == theirs.token_ids
    assert ours.text == theirs.text
    assert ours.logprobs == pytest.approx(theirs.logprobs, abs=TOLERANCE)


MIXED = [
    Request(clip(4, 84, 56, seed=1), QUESTION, max_new_tokens=12),
    Request(clip(1, 56, 56, seed=2), "Why?", max_new_tokens=5),
    Request(clip(9, 56, 140, seed=3), "Describe the video in detail.", max_new_tokens=9),
    Request(clip(4, 84, 56, seed=4), "Question: a?\n(A) b\n(B) c", " Answer: (", max_new_tokens=1),
    Request(clip(4, 84, 56, seed=1), "And then?", max_new_tokens=12),
]


class TestGenerate:
    def test_each_token_is_the_likeliest_of_one_whole_forward_pass(
        self, backend: Tarsier2Backend, plain: Plain
    ) -> None:
        for request in MIXED:
            (reply,) = backend.generate([request])
            logits = plain.logits(request.clip, request.prompt, list(reply.token_ids), request.reply_prefix)
            best = logits[:-1].log_softmax(-1).max(dim=-1)
            assert best.indices.tolist() == list(reply.token_ids)
            assert best.values.tolist() == pytest.approx(reply.logprobs, abs=TOLERANCE)

    def test_a_batch_of_different_clips_and_questions_is_like_one_by_one(
        self, backend: Tarsier2Backend, uncached: Tarsier2Backend
    ) -> None:
        together = backend.generate(MIXED)
        for request, reply in zip(MIXED, together, strict=True):
            same(reply, uncached.generate([request])[0])
            assert len(reply.token_ids) == request.max_new_tokens
            assert reply.finish_reason == "length"

    def test_a_batch_is_split_when_memory_is_short(
        self, backend: Tarsier2Backend, uncached: Tarsier2Backend, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        starts = count_calls(uncached, "start", monkeypatch)
        monkeypatch.setattr(backend_module, "available_bytes", lambda device: 1)
        split = uncached.generate(MIXED)
        assert len(starts) == len(MIXED)
        for ours, theirs in zip(split, backend.generate(MIXED), strict=True):
            same(ours, theirs)

    def test_eager_attention_gives_the_same(self, backend: Tarsier2Backend) -> None:
        with Tarsier2Backend(CHECKPOINT, settings(attention="eager")) as eager:
            for ours, theirs in zip(eager.generate(MIXED), backend.generate(MIXED), strict=True):
                same(ours, theirs)
            request = ScoreRequest(clip(), QUESTION, ("a red circle", "a square moves", "no"))
            ours, theirs = eager.score([request])[0], backend.score([request])[0]
            assert ours.logprobs == pytest.approx(theirs.logprobs, abs=TOLERANCE)

    def test_where_flash_attention_cannot_take_the_mask_scores_are_the_same(
        self, backend: Tarsier2Backend
    ) -> None:
        request = ScoreRequest(clip(), QUESTION, ("a red circle", "no"))
        (expected,) = backend.score([request])
        config = backend._loaded()._config
        config._attn_implementation = "flash_attention_2"  # would fail on a CPU if it were used
        (scores,) = backend.score([request])
        assert config._attn_implementation == "flash_attention_2"
        assert scores.logprobs == pytest.approx(expected.logprobs, abs=TOLERANCE)

    def test_a_stop_token_ends_the_reply_and_is_not_part_of_the_text(
        self, backend: Tarsier2Backend, tmp_path: Path
    ) -> None:
        (free,) = backend.generate([MIXED[0]])
        stop = next(i for i, token in enumerate(free.token_ids) if i and token not in free.token_ids[:i])
        folder = variant(tmp_path, generation_config={"eos_token_id": [free.token_ids[stop]]})
        with Tarsier2Backend(folder, settings()) as stopping:
            short, other = stopping.generate([MIXED[0], MIXED[2]])
        assert short.finish_reason == "stop"
        assert short.token_ids == free.token_ids[: stop + 1]
        assert len(short.logprobs) == stop + 1
        assert short.text == TextCodec(CHECKPOINT).decode(short.token_ids[:-1])
        assert free.text.startswith(short.text)
        same(other, backend.generate([MIXED[2]])[0])  # a neighbour that stops early changes nothing

    def test_the_usual_end_tokens_stop_a_reply_whatever_the_configuration_says(self, tmp_path: Path) -> None:
        codec = TextCodec(CHECKPOINT)
        assert codec.stop_ids() == {codec.special("<|im_end|>"), codec.special("<|endoftext|>")}
        folder = variant(tmp_path, without=("generation_config.json",))
        with Tarsier2Backend(folder, settings()) as backend:
            assert backend._stop_ids == codec.stop_ids()

    def test_usage_and_times_are_told(self, backend: Tarsier2Backend) -> None:
        (reply,) = backend.generate([MIXED[0]])
        assert reply.usage.vision_tokens == 4 * 3 * 2
        prompt = backend._form.prefix_ids(24) + backend._form.suffix_ids(QUESTION)
        assert reply.usage.prompt_tokens == len(prompt)
        assert reply.usage.completion_tokens == 12
        assert reply.usage.cached_tokens == 0
        assert reply.prefill_s > 0
        assert reply.decode_s > 0

    def test_bfloat16_generates_and_scores(self) -> None:
        with Tarsier2Backend(CHECKPOINT, settings(dtype="bfloat16")) as half:
            assert len(half.generate(MIXED)) == len(MIXED)
            (scores,) = half.score([ScoreRequest(clip(), QUESTION, ("Yes", "No"))])
            assert np.isfinite(scores.logprobs).all()

    def test_no_requests_are_no_work(self, backend: Tarsier2Backend) -> None:
        assert backend.generate([]) == []
        assert backend.score([]) == []

    def test_a_reply_of_no_tokens_is_refused(self, backend: Tarsier2Backend) -> None:
        with pytest.raises(UsageError, match="at least 1"):
            backend.generate([Request(clip(), "Why?", max_new_tokens=0)])


def count_calls(backend: Tarsier2Backend, name: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Grows at every call of a method of the engine."""
    calls: list[str] = []
    engine = backend._loaded()
    method = getattr(engine, name)

    def counted(*args: object, **kwargs: object) -> object:
        calls.append(name)
        return method(*args, **kwargs)

    monkeypatch.setattr(engine, name, counted)
    return calls


CANDIDATES = ("Yes", "No", "A red circle moves right.", "是", "n")


class TestScore:
    @pytest.mark.parametrize("end_of_turn", [False, True])
    @pytest.mark.parametrize("prefix", ["", " Answer: ("])
    def test_each_score_is_that_of_one_whole_forward_pass(
        self, end_of_turn: bool, prefix: str, backend: Tarsier2Backend, plain: Plain
    ) -> None:
        shown = clip(9, 56, 84)
        request = ScoreRequest(shown, QUESTION, CANDIDATES, prefix, end_of_turn)
        (scores,) = backend.score([request])
        for text, value, count in zip(CANDIDATES, scores.logprobs, scores.token_counts, strict=True):
            ids = plain.codec.encode(text) + [plain.codec.special("<|im_end|>")] * end_of_turn
            assert count == len(ids)
            assert value == pytest.approx(plain.score(shown, QUESTION, ids, prefix), abs=TOLERANCE)

    def test_candidates_together_score_like_candidates_alone(
        self, backend: Tarsier2Backend, uncached: Tarsier2Backend
    ) -> None:
        requests = [
            ScoreRequest(clip(4, 84, 56, seed=1), QUESTION, CANDIDATES),
            ScoreRequest(clip(9, 56, 140, seed=3), "Why?", CANDIDATES[:2]),
            ScoreRequest(clip(1, 56, 56, seed=2), "Is it red?", CANDIDATES[::-1]),
        ]
        for request, scores in zip(requests, backend.score(requests), strict=True):
            for text, value in zip(request.candidates, scores.logprobs, strict=True):
                (alone,) = uncached.score([ScoreRequest(request.clip, request.prompt, (text,))])
                assert value == pytest.approx(alone.logprobs[0], abs=TOLERANCE)

    def test_many_candidates_in_several_passes_need_one_look_at_the_clip(
        self, uncached: Tarsier2Backend, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        request = ScoreRequest(clip(), QUESTION, CANDIDATES)
        (at_once,) = uncached.score([request])
        monkeypatch.setattr(backend_module, "SCORE_TOKENS", 3)
        monkeypatch.setattr(backend_module, "MAX_ROWS", 1)
        looks, passes = watch_vision(uncached), count_calls(uncached, "score", monkeypatch)
        (in_parts,) = uncached.score([request])
        assert looks == [1]
        assert len(passes) > 2
        assert in_parts.logprobs == pytest.approx(at_once.logprobs, abs=TOLERANCE)
        assert in_parts.token_counts == at_once.token_counts

    def test_clips_of_one_size_are_looked_at_together(self, backend: Tarsier2Backend) -> None:
        looks = watch_vision(backend)
        shown = [clip(seed=seed) for seed in range(4)]
        backend.score([ScoreRequest(item, "Is it?", ("Yes", "No")) for item in (*shown, shown[0])])
        assert looks == [4]

    @pytest.mark.parametrize("candidates", [(), ("Yes", "")])
    def test_an_empty_candidate_is_refused(
        self, candidates: tuple[str, ...], backend: Tarsier2Backend
    ) -> None:
        with pytest.raises(UsageError, match="candidate"):
            backend.score([ScoreRequest(clip(), "Why?", candidates)])


class TestPrefixCache:
    def test_the_second_question_about_a_clip_does_not_look_again(
        self, backend: Tarsier2Backend, uncached: Tarsier2Backend
    ) -> None:
        looks = watch_vision(backend)
        shown = clip(6, 84, 84)
        first, second = Request(shown, QUESTION, max_new_tokens=8), Request(shown, "Why?", max_new_tokens=8)
        fresh = backend.generate([first])[0]
        cached = backend.generate([second])[0]
        scored = backend.score([ScoreRequest(shown, QUESTION, ("Yes", "No"))])[0]
        assert looks == [1]
        assert fresh.usage.cached_tokens == 0
        assert cached.usage.cached_tokens == scored.usage.cached_tokens == 15 + 6 * 9 + 1
        same(fresh, uncached.generate([first])[0])
        same(cached, uncached.generate([second])[0])
        unscored = uncached.score([ScoreRequest(shown, QUESTION, ("Yes", "No"))])[0]
        assert scored.logprobs == pytest.approx(unscored.logprobs, abs=TOLERANCE)
        assert unscored.usage.cached_tokens == 0

    def test_in_a_batch_only_the_new_clips_are_looked_at(self, backend: Tarsier2Backend) -> None:
        alone = [backend.generate([request])[0] for request in MIXED[:1]]
        looks = watch_vision(backend)
        together = backend.generate(MIXED)
        assert sum(looks) == 3
        assert [reply.usage.cached_tokens > 0 for reply in together] == [True, False, False, False, True]
        same(together[0], alone[0])

    def test_what_is_kept_is_never_changed(self, backend: Tarsier2Backend) -> None:
        shown = clip()
        backend.generate([Request(shown, "Why?", max_new_tokens=2)])
        (entry,) = backend._cache._entries.values()
        before = [tensor.clone() for pair in entry.layers for tensor in pair]
        backend.generate([Request(shown, QUESTION, max_new_tokens=6)] * 2)
        backend.score([ScoreRequest(shown, QUESTION, CANDIDATES)])
        after = [tensor for pair in entry.layers for tensor in pair]
        assert all(torch.equal(old, new) for old, new in zip(before, after, strict=True))

    def test_a_clip_of_the_same_pixels_and_another_fingerprint_is_another_clip(
        self, backend: Tarsier2Backend
    ) -> None:
        looks = watch_vision(backend)
        one = clip()
        other = Clip(one.frames, one.indices, one.times_s, "another")
        for shown in (one, other, one):
            backend.generate([Request(shown, "Why?", max_new_tokens=1)])
        assert looks == [1, 1]

    def test_turned_off_it_keeps_nothing(self, uncached: Tarsier2Backend) -> None:
        looks = watch_vision(uncached)
        for _ in range(2):
            (reply,) = uncached.generate([Request(clip(), "Why?", max_new_tokens=1)])
            assert reply.usage.cached_tokens == 0
        assert looks == [1, 1]

    def test_many_threads_get_the_answers_of_one(
        self, backend: Tarsier2Backend, uncached: Tarsier2Backend
    ) -> None:
        expected = [uncached.generate([request])[0] for request in MIXED]
        with ThreadPoolExecutor(4) as pool:
            rounds = list(pool.map(lambda i: backend.generate([MIXED[i % len(MIXED)]])[0], range(20)))
        for i, reply in enumerate(rounds):
            same(reply, expected[i % len(MIXED)])


class TestLimits:
    def test_what_is_too_long_is_refused_with_the_numbers_before_any_work(
        self, backend: Tarsier2Backend
    ) -> None:
        looks = watch_vision(backend)
        long = clip(40, 560, 560)  # 400 tokens per frame
        with pytest.raises(BackendRejected) as caught:
            backend.generate([Request(clip(), "Why?"), Request(long, "Why?", max_new_tokens=500)])
        suffix = len(backend._form.suffix_ids("Why?"))
        assert f"{15 + 16_000 + 1 + suffix} tokens (16000 of them for 40 frames)" in caught.value.message
        assert "takes 16384 in all" in caught.value.message
        fitting = (16_384 - 500 - 16 - suffix) // 400
        assert f"At most {fitting} frames" in caught.value.hint
        assert looks == []

    def test_exactly_the_whole_context_is_not_too_long(self, tmp_path: Path) -> None:
        config = json.loads((CHECKPOINT / "config.json").read_text("utf-8"))
        with Tarsier2Backend(CHECKPOINT, settings()) as probe:
            (reply,) = probe.generate([Request(clip(), "Why?", max_new_tokens=3)])
        text = config["text_config"] | {"max_position_embeddings": reply.usage.prompt_tokens + 3}
        with Tarsier2Backend(variant(tmp_path, config={"text_config": text}), settings()) as backend:
            assert len(backend.generate([Request(clip(), "Why?", max_new_tokens=3)])[0].token_ids) == 3
            with pytest.raises(BackendRejected):
                backend.generate([Request(clip(), "Why?", max_new_tokens=4)])
            with pytest.raises(BackendRejected):
                backend.score([ScoreRequest(clip(), "Why?", ("a very long reply, too long",))])

    def test_a_prompt_too_long_for_any_frame_is_told_to_be_shorter(self, backend: Tarsier2Backend) -> None:
        with pytest.raises(BackendRejected) as caught:
            backend.generate([Request(clip(1), "why " * 20_000)])
        assert "Shorten the prompt" in caught.value.hint


class TestProgress:
    def test_progress_rises_to_its_total(
        self, backend: Tarsier2Backend, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(backend_module, "MAX_ROWS", 2)
        for work in (
            lambda report: backend.generate(MIXED, on_progress=report),
            lambda report: backend.score(
                [ScoreRequest(r.clip, r.prompt, ("Yes", "No")) for r in MIXED], on_progress=report
            ),
        ):
            seen: list[tuple[int, int]] = []
            work(lambda done, total, message, seen=seen: seen.append((done, total)))
            dones = [done for done, _ in seen]
            assert dones == sorted(dones)
            assert len({total for _, total in seen}) == 1
            assert seen[-1][0] == seen[-1][1]

    @pytest.mark.parametrize("after", [0, 1, 4])
    def test_cancelled_between_two_steps_it_stops_and_works_again(
        self, after: int, backend: Tarsier2Backend, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        steps = count_calls(backend, "step", monkeypatch)
        calls = 0

        def stop(done: int, total: int, message: str) -> None:
            nonlocal calls
            calls += 1
            if calls > after:
                raise Cancelled("stop")

        with pytest.raises(Cancelled):
            backend.generate([MIXED[0]], on_progress=stop)
        assert calls == after + 1
        assert len(steps) <= after
        assert len(backend.generate([MIXED[0]])[0].token_ids) == 12

    def test_another_threads_work_is_waited_for_not_mixed_up(self, backend: Tarsier2Backend) -> None:
        inside, go_on = threading.Event(), threading.Event()

        def hold(done: int, total: int, message: str) -> None:
            inside.set()
            assert go_on.wait(timeout=300)

        with ThreadPoolExecutor(2) as pool:
            first = pool.submit(backend.generate, [MIXED[0]], on_progress=hold)
            assert inside.wait(timeout=300)
            second = pool.submit(backend.generate, [MIXED[2]])
            go_on.set()
            replies = first.result(timeout=300)[0], second.result(timeout=60)[0]
        same(replies[0], backend.generate([MIXED[0]])[0])
        same(replies[1], backend.generate([MIXED[2]])[0])


class TestFailures:
    @pytest.mark.parametrize(
        ("error", "message", "hint"),
        [
            (torch.OutOfMemoryError("CUDA out of memory."), "memory of cpu ran out", "fewer frames"),
            (RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"), "ran out", "MAX_PIXELS"),
            (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), "ran out", "frames"),
            (MemoryError(), "ran out", "frames"),
            (RuntimeError("device-side assert\nlong stack"), "failed on cpu: device-side assert", "cpu"),
        ],
    )
    @pytest.mark.parametrize("work", ["generate", "score"])
    def test_an_error_of_the_device_is_ours_and_frees_what_was_kept(
        self,
        work: str,
        error: Exception,
        message: str,
        hint: str,
        backend: Tarsier2Backend,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        calls: dict[str, Callable[[], object]] = {
            "generate": lambda: backend.generate([Request(clip(), "Why?", max_new_tokens=2)]),
            "score": lambda: backend.score([ScoreRequest(clip(), "Why?", ("Yes",))]),
        }
        calls[work]()
        assert len(backend._cache) == 1

        def broken(*args: object, **kwargs: object) -> None:
            raise error

        with monkeypatch.context() as patch:
            patch.setattr(backend._loaded()._model.lm_head, "forward", broken)
            with pytest.raises(BackendFailed, match=message) as caught:
                calls[work]()
        assert hint in caught.value.hint
        assert len(backend._cache) == 0
        calls[work]()

    def test_a_closed_backend_says_so_and_closes_twice(self, backend: Tarsier2Backend) -> None:
        backend.close()
        backend.close()
        with pytest.raises(BackendUnavailable, match="closed"):
            backend.generate([Request(clip(), "Why?")])
        assert backend.info.name == "tiny-tarsier2"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
class TestCuda:
    def test_cuda_in_float32_agrees_with_the_cpu(self, backend: Tarsier2Backend) -> None:
        with Tarsier2Backend(CHECKPOINT, settings(device="cuda", dtype="float32")) as cuda:
            assert cuda.info.device == "cuda:0"
            for ours, theirs in zip(cuda.generate(MIXED), backend.generate(MIXED), strict=True):
                assert ours.token_ids == theirs.token_ids
                assert ours.logprobs == pytest.approx(theirs.logprobs, abs=1e-3)
            request = ScoreRequest(clip(), QUESTION, CANDIDATES)
            ours_scores, theirs_scores = cuda.score([request])[0], backend.score([request])[0]
            assert ours_scores.logprobs == pytest.approx(theirs_scores.logprobs, abs=1e-3)

    def test_on_cuda_the_default_is_bfloat16_and_the_cache_serves(self) -> None:
        with Tarsier2Backend(CHECKPOINT, settings(device="auto")) as cuda:
            assert cuda.info.dtype == "bfloat16"
            fresh, cached = (cuda.generate([MIXED[0]])[0] for _ in range(2))
            assert cached.usage.cached_tokens > 0
            assert fresh.token_ids == cached.token_ids
