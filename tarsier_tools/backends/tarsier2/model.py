"""The backend: requests in, batches through the engine, completions and scores out."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from tarsier_tools.backends.base import Backend
from tarsier_tools.backends.tarsier2.chat import END_OF_TURN, TextCodec, read_chat_form
from tarsier_tools.backends.tarsier2.checkpoint import read_checkpoint
from tarsier_tools.backends.tarsier2.engine import Engine, ScoreRow
from tarsier_tools.backends.tarsier2.generation import Reply, generate_batch
from tarsier_tools.backends.tarsier2.hub import find_checkpoint
from tarsier_tools.backends.tarsier2.inputs import Grid, PixelRules
from tarsier_tools.backends.tarsier2.loading import load_model
from tarsier_tools.backends.tarsier2.memory import available_bytes, release
from tarsier_tools.backends.tarsier2.only_shapes import OnlyShapes
from tarsier_tools.backends.tarsier2.prefix_cache import Prefix, PrefixCache, PrefixKey
from tarsier_tools.config import MiB, Settings
from tarsier_tools.errors import BackendFailed, BackendRejected, BackendUnavailable, UsageError
from tarsier_tools.types import (
    Clip,
    Completion,
    ModelInfo,
    Progress,
    Request,
    ScoreRequest,
    Scores,
    Usage,
    no_progress,
)

PREFILL_TOKENS = 16_384
"""Prompt tokens of clips that go through the model together; above this a batch is no faster."""

SCORE_TOKENS = 1024
"""Tokens of candidates that share one row; the attention mask grows with their square."""

MAX_ROWS = 64
_MEMORY_SHARE = 0.6  # of the free memory for keys and values; the rest is for activations


@dataclass(frozen=True)
class _Job:
    """A request made ready, before any pixel is touched.

    Attributes:
        key: what its prefix is kept under.
        suffix: ids after the vision block.
        reply_tokens: how many may follow.
        caution: what a reader must know first, "" for nothing.
    """

    clip: Clip
    grid: Grid
    key: PrefixKey
    prefix_length: int
    suffix: list[int]
    reply_tokens: int
    caution: str

    @property
    def length(self) -> int:
        return self.prefix_length + len(self.suffix)


class _Steps:
    """Reports progress as steps of the running batch on top of those ``done`` before it."""

    def __init__(self, on_progress: Progress, total: int) -> None:
        self._on_progress, self._total, self.done = on_progress, total, 0

    def __call__(self, of_batch: int, message: str) -> None:
        self._on_progress(self.done + of_batch, self._total, message)


class Tarsier2Backend(Backend):
    """A Tarsier2 or Qwen2-VL checkpoint in this process. The model is loaded on construction.

    Args:
        model: a folder or a hub id.
        settings: revision, device, dtype, attention, quantization, device_map, prefix_cache_mb and anyway
            are used.
        kind: what the results call this backend; "tiny" for the bundled checkpoint.

    A checkpoint whose card says that it knows only drawn shapes, as that of the bundled one does, refuses
    other clips.

    Raises BackendUnavailable when anything is missing: files, memory, a device, a package, the network.
    """

    def __init__(
        self, model: str | Path, settings: Settings, *, kind: Literal["local", "tiny"] = "local"
    ) -> None:
        folder, revision = find_checkpoint(str(model), settings.revision if kind == "local" else None)
        checkpoint = read_checkpoint(folder)
        self._codec = TextCodec(folder)
        self._form = read_chat_form(self._codec, folder)
        self._rules = PixelRules.read(checkpoint.preprocessor)
        self._stop_ids = checkpoint.stop_ids | self._codec.stop_ids()
        self._limit = checkpoint.context_tokens
        self._engine: Engine | None = Engine(load_model(checkpoint, settings))
        self._cache = PrefixCache(settings.prefix_cache_mb * MiB)
        self._lock = threading.Lock()
        card, abilities = checkpoint.card, checkpoint.abilities
        self._only_shapes = (
            OnlyShapes(card.name, settings.anyway) if card and card.knows == "shapes" else None
        )
        if self._form.source == "default":
            note = f"{abilities.note} The checkpoint has no chat template: Tarsier2's usual form is used."
            abilities = replace(abilities, note=note.strip())
        dtype = str(self._engine.dtype).removeprefix("torch.")
        quantized = "" if settings.quantization == "none" else f" ({settings.quantization} weights)"
        self._info = ModelInfo(
            name=(card.name if card else "") or (str(model) if revision else folder.resolve().name),
            backend=kind,
            device=str(self._engine.device),
            dtype=dtype + quantized,
            revision=revision,
            folder=str(folder),
            context_tokens=self._limit,
            abilities=abilities,
        )

    @property
    def info(self) -> ModelInfo:
        return self._info

    def generate(
        self, requests: Sequence[Request], *, on_progress: Progress = no_progress
    ) -> list[Completion]:
        """One completion per request, greedily decoded; progress counts clips read and tokens generated.

        Raises BackendRejected for what is too long, NotUnderstood for a clip of what the model was never
        taught, BackendFailed when memory runs out, UsageError, and what on_progress raises.
        """
        for request in requests:
            if request.max_new_tokens < 1:
                raise UsageError(f"max_new_tokens must be at least 1, got {request.max_new_tokens}.")
        jobs = [
            self._job(request.clip, request.prompt, request.reply_prefix, request.max_new_tokens)
            for request in requests
        ]
        batches = self._batches(jobs)
        total = sum(1 + max(job.reply_tokens for job in batch) for batch in batches)
        completions: list[Completion] = []
        held: dict[PrefixKey, Prefix] = {}
        steps = _Steps(on_progress, total)
        for batch in batches:
            started = time.perf_counter()
            with self._device() as engine:
                held, cached = self._prefixes(engine, batch, held, steps)
                replies, first_at = generate_batch(
                    engine,
                    [held[job.key] for job in batch],
                    [job.suffix for job in batch],
                    [job.reply_tokens for job in batch],
                    self._stop_ids,
                    lambda count: steps(1 + count, "answering"),
                )
            completions += [
                self._completion(job, reply, hit, first_at - started)
                for job, reply, hit in zip(batch, replies, cached, strict=True)
            ]
            steps.done += 1 + max(job.reply_tokens for job in batch)
        on_progress(total, total, "answered")
        return completions

    def score(self, requests: Sequence[ScoreRequest], *, on_progress: Progress = no_progress) -> list[Scores]:
        """The log-likelihood of each candidate of each request; a clip is read once for all of them."""
        end = [self._codec.special(END_OF_TURN)]
        candidates: list[list[list[int]]] = []
        jobs: list[_Job] = []
        for request in requests:
            if not request.candidates or not all(request.candidates):
                raise UsageError("At least one candidate is needed, and none may be empty.")
            ids = [self._codec.encode(t) + (end if request.end_of_turn else []) for t in request.candidates]
            candidates.append(ids)
            longest = max(len(candidate) for candidate in ids)
            jobs.append(self._job(request.clip, request.prompt, request.reply_prefix, longest))

        started = time.perf_counter()
        rows = [
            (index, chunk) for index, ids in enumerate(candidates) for chunk in _chunks(ids, SCORE_TOKENS)
        ]
        widths = [replace(jobs[index], reply_tokens=sum(map(len, chunk))) for index, chunk in rows]
        values: list[list[float]] = [[] for _ in requests]
        hits: dict[int, bool] = {}
        held: dict[PrefixKey, Prefix] = {}
        steps = _Steps(on_progress, len(rows))
        for batch in self._batches(widths):
            part = rows[steps.done : steps.done + len(batch)]
            with self._device() as engine:
                held, cached = self._prefixes(engine, batch, held, steps)
                scored = engine.score(
                    [
                        ScoreRow(held[job.key], job.suffix, chunk)
                        for job, (_, chunk) in zip(batch, part, strict=True)
                    ]
                )
            for (index, _), logprobs, hit in zip(part, scored, cached, strict=True):
                values[index] += logprobs
                hits.setdefault(index, hit)
            steps.done += len(batch)
            steps(0, "scoring")
        seconds = time.perf_counter() - started
        return [
            Scores(
                logprobs=tuple(values[index]),
                token_counts=tuple(map(len, candidates[index])),
                usage=_usage(job, hits[index], sum(map(len, candidates[index]))),
                seconds=seconds,
                caution=job.caution,
            )
            for index, job in enumerate(jobs)
        ]

    def close(self) -> None:
        with self._lock:
            engine, self._engine = self._engine, None
            self._cache.clear()
        if engine is not None:
            device = engine.device
            del engine
            release(device)

    # ------------------------------------------------------------ one request

    def _job(self, clip: Clip, prompt: str, reply_prefix: str, reply_tokens: int) -> _Job:
        grid = self._rules.grid(clip)
        suffix = self._form.suffix_ids(prompt, reply_prefix)
        prefix_length = len(self._form.head) + grid.tokens + 1
        job = _Job(
            clip=clip,
            grid=grid,
            key=(clip.fingerprint, (*self._form.head, grid.t, grid.h, grid.w)),
            prefix_length=prefix_length,
            suffix=suffix,
            reply_tokens=reply_tokens,
            caution=self._only_shapes.caution(clip) if self._only_shapes else "",
        )
        if job.length + reply_tokens > self._limit:
            raise self._too_long(job)
        return job

    def _too_long(self, job: _Job) -> BackendRejected:
        per_frame = job.grid.tokens // job.grid.t
        left = self._limit - job.reply_tokens - (job.length - job.grid.tokens)
        fitting = left // per_frame
        advice = (
            f"At most {fitting} frames of this size fit; or lower TARSIER_MAX_PIXELS or max_new_tokens."
            if fitting > 0
            else "Shorten the prompt, or lower TARSIER_MAX_PIXELS or max_new_tokens."
        )
        return BackendRejected(
            f"The prompt has {job.length} tokens ({job.grid.tokens} of them for {job.grid.t} frames) and the "
            f"reply up to {job.reply_tokens}; the model takes {self._limit} in all.",
            hint=advice,
        )

    def _completion(self, job: _Job, reply: Reply, cached: bool, prefill_s: float) -> Completion:
        return Completion(
            text=self._codec.decode(reply.ids[:-1] if reply.stopped else reply.ids),
            finish_reason="stop" if reply.stopped else "length",
            token_ids=tuple(reply.ids),
            logprobs=tuple(reply.logprobs),
            usage=_usage(job, cached, len(reply.ids)),
            prefill_s=prefill_s,
            decode_s=reply.decode_s,
            caution=job.caution,
        )

    # ------------------------------------------------------------ many requests

    def _batches(self, jobs: Sequence[_Job]) -> list[list[_Job]]:
        """The jobs in order, as many together as memory and MAX_ROWS allow, at least one."""
        engine = self._loaded()
        free = available_bytes(engine.device)
        batches: list[list[_Job]] = []
        longest = 0
        for job in jobs:
            size = job.length + job.reply_tokens
            longest = max(longest, size)
            rows = len(batches[-1]) + 1 if batches else 1
            # Twice: each prefix as it is kept, and its copy in the batch, padded to the longest.
            needed = 2 * rows * longest * engine.kv_bytes_per_token
            if batches and rows <= MAX_ROWS and (free is None or needed <= free * _MEMORY_SHARE):
                batches[-1].append(job)
            else:
                batches.append([job])
                longest = size
        return batches

    def _prefixes(
        self,
        engine: Engine,
        jobs: Sequence[_Job],
        held: dict[PrefixKey, Prefix],
        steps: _Steps,
    ) -> tuple[dict[PrefixKey, Prefix], list[bool]]:
        """The prefix of every job, and for each job whether it cost nothing.

        ``held`` are those of the batch before. Clips with one grid go through the model together.
        """
        steps(0, "watching")
        found: dict[PrefixKey, Prefix] = {}
        missing: dict[PrefixKey, _Job] = {}
        cached = []
        for job in jobs:
            prefix = found.get(job.key) or held.get(job.key) or self._cache.get(job.key)
            cached.append(prefix is not None or job.key in missing)
            if prefix is not None:
                found[job.key] = prefix
            else:
                missing.setdefault(job.key, job)
        groups: dict[Grid, list[_Job]] = {}
        for job in missing.values():
            groups.setdefault(job.grid, []).append(job)
        for grid, members in groups.items():
            together = max(1, PREFILL_TOKENS // members[0].prefix_length)
            ids = self._form.prefix_ids(grid.tokens)
            for start in range(0, len(members), together):
                part = members[start : start + together]
                pixels = np.concatenate([self._rules.pixel_values(job.clip, grid) for job in part])
                prefixes = engine.prefill(pixels, grid, self._form.head, ids)
                for job, prefix in zip(part, prefixes, strict=True):
                    found[job.key] = prefix
                    self._cache.put(job.key, prefix)
                steps(0, "watching")
        return found, cached

    def _loaded(self) -> Engine:
        if self._engine is None:
            raise BackendUnavailable("The backend is closed.", hint="Open it again.")
        return self._engine

    @contextmanager
    def _device(self) -> Iterator[Engine]:
        """The engine for this thread alone. After a failure nothing is kept on the device."""
        with self._lock:
            engine = self._loaded()
            try:
                yield engine
            except BackendFailed:
                self._cache.clear()
                release(engine.device)
                raise


def _usage(job: _Job, cached: bool, completion_tokens: int) -> Usage:
    return Usage(
        prompt_tokens=job.length,
        vision_tokens=job.grid.tokens,
        cached_tokens=job.prefix_length if cached else 0,
        completion_tokens=completion_tokens,
    )


def _chunks(candidates: list[list[int]], tokens: int) -> Iterator[list[list[int]]]:
    """The candidates in order, in groups of at most ``tokens`` tokens or of one candidate."""
    group: list[list[int]] = []
    for candidate in candidates:
        if group and sum(map(len, group)) + len(candidate) > tokens:
            yield group
            group = []
        group.append(candidate)
    yield group
