"""From Tarsier2's layout to plain Qwen2-VL's, which transformers, vLLM and SGLang load by themselves.

The weights stay as they are, byte for byte; their names and the small files around them change. Nothing is
there under the final name before all of it is: the work goes on in ``<destination>.partial``, and where it
was cut off it is gone on with.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from tarsier_tools.backends.tarsier2.convert_config import Source, check_chat_form, plain_files
from tarsier_tools.backends.tarsier2.convert_shapes import HEAD, expected_shapes
from tarsier_tools.backends.tarsier2.convert_weights import Shard, read_shard, write_shard
from tarsier_tools.backends.tarsier2.files import count_parameters, layout_of, read_json, weight_files
from tarsier_tools.backends.tarsier2.hub import find_checkpoint
from tarsier_tools.errors import BackendUnavailable, UsageError
from tarsier_tools.types import Progress, no_progress

PLAIN_NAMES = (
    ("vision_tower.", "visual."),
    ("language_model.model.", "model."),
    ("language_model.lm_head.", "lm_head."),
)
"""Prefixes of weight names, and what Qwen2-VL's own checkpoints have in their place."""

INDEX = "model.safetensors.index.json"
CHECKSUMS = "SHA256SUMS"
"""Of the weights, in the format of sha256sum, so that they can be checked again wherever they are taken."""

_DTYPES = {"BF16": "bfloat16", "F16": "float16", "F32": "float32"}
_MiB = 1 << 20
_DAMAGED = "Download the checkpoint again; adapters and partial checkpoints cannot be converted."


@dataclass(frozen=True)
class Conversion:
    """What was made.

    Attributes:
        source: the checkpoint in Tarsier2's layout.
        folder: the one in plain Qwen2-VL's.
        sha256: hex, by name of the weight file.
        tensors: how many weights have a new name.
        size: bytes of all files.
        made: False when all of it was there already.
    """

    source: Path
    folder: Path
    sha256: Mapping[str, str]
    tensors: int
    size: int
    made: bool


@dataclass(frozen=True)
class _Plan:
    """All that the destination will hold: small files by name, and the weights."""

    files: Mapping[str, bytes]
    shards: Sequence[Shard]

    @property
    def size(self) -> int:
        return sum(map(len, self.files.values())) + sum(shard.new_size for shard in self.shards)

    @property
    def data_size(self) -> int:
        return sum(shard.data_bytes for shard in self.shards)

    def is_in(self, folder: Path) -> bool:
        """Whether the folder holds a finished conversion of just this."""
        try:
            _read_checksums(folder, self.shards)
            return all((folder / name).read_bytes() == data for name, data in self.files.items()) and all(
                (folder / shard.name).stat().st_size == shard.new_size
                and _starts_with(folder / shard.name, shard.header)
                for shard in self.shards
            )
        except (OSError, ValueError):
            return False


def convert(
    model: str,
    destination: Path,
    *,
    revision: str | None = None,
    on_progress: Progress = no_progress,
) -> Conversion:
    """Write a Tarsier2 checkpoint in the plain Qwen2-VL layout; progress counts MiB of weights.

    No weight is loaded: headers are rewritten, data is copied by the kernel, and every byte of the copy is
    compared with the source. A conversion that was stopped is gone on with by the same call; one that is
    finished is recognised and left as it is.

    Args:
        model: a folder or a hub id.
        destination: the folder to make; its parents are made too.
        revision: commit, tag or branch of a hub id.

    Raises:
        UsageError: the checkpoint is plain Qwen2-VL already, or the destination holds something else.
        BackendUnavailable: the checkpoint is damaged or not Tarsier2's, or the disk is full or not writable.
        BackendFailed: what was written reads back differently.
    """
    source, commit = find_checkpoint(model, revision)
    config = read_json(source, "config.json", required=True)
    if layout_of(config) == "qwen2-vl":
        raise UsageError(
            f"{model} is in the plain Qwen2-VL layout already; there is nothing to convert.",
            hint="Serve or load it as it is.",
        )
    destination = destination.expanduser().absolute()
    if destination.resolve() in (source.resolve(), *source.resolve().parents):
        raise UsageError("The destination holds the checkpoint itself.", hint="Give a new folder.")
    with _disk_errors(destination), _alone(destination):
        plan = _plan(Source.read(source, config), name=model if commit else source.name)
        if plan.is_in(destination):
            sums = _read_checksums(destination, plan.shards)
            return _conversion(source, destination, plan, sums, made=False)
        if destination.exists() and not (destination.is_dir() and not any(destination.iterdir())):
            raise UsageError(
                f"{destination} is there already and is not this conversion.",
                hint="Give a new folder, or remove that one.",
            )
        sums = _write(source, plan, destination, on_progress)
    return _conversion(source, destination, plan, sums, made=True)


def _plan(source: Source, name: str) -> _Plan:
    shards = []
    for path in weight_files(source.folder):
        count_parameters(path)  # which has safetensors see that the header and the data fit
        shards.append(read_shard(path, _plain_name))
    files = plain_files(source, name, _check_weights(source, shards))
    if len(shards) > 1:
        index = {
            "metadata": {"total_size": sum(shard.data_bytes for shard in shards)},
            "weight_map": {name: shard.name for shard in shards for name in sorted(shard.names.values())},
        }
        files[INDEX] = (json.dumps(index, indent=2) + "\n").encode()
    return _Plan(files, shards)


def _plain_name(name: str) -> str:
    for old, new in PLAIN_NAMES:
        if name.startswith(old):
            return new + name.removeprefix(old)
    raise BackendUnavailable(f"A weight has a name that is not Tarsier2's: {name}.", hint=_DAMAGED)


def _check_weights(source: Source, shards: Sequence[Shard]) -> str:
    """See that the weights are just those that the configuration asks for; their dtype, as torch names it."""
    names = Counter(name for shard in shards for name in shard.names)
    found = {name: shape for shard in shards for name, (_, shape) in shard.tensors.items()}
    expected = expected_shapes(source)
    optional = {HEAD} if source.tied else set()
    problems = {
        "missing": sorted(set(expected) - set(found) - optional),
        "unexpected": sorted(set(found) - set(expected)),
        "of another shape": sorted(n for n in set(found) & set(expected) if found[n] != expected[n]),
        "in several files": sorted(name for name, count in names.items() if count > 1),
    }
    told = "; ".join(
        f"{len(weights)} {what} ({', '.join(weights[:3])}{', ...' if len(weights) > 3 else ''})"
        for what, weights in problems.items()
        if weights
    )
    if told:
        raise BackendUnavailable(f"The weights do not fit config.json: {told}.", hint=_DAMAGED)
    dtypes = Counter(dtype for shard in shards for dtype, _ in shard.tensors.values())
    strange = sorted(set(dtypes) - set(_DTYPES))
    if strange:
        raise BackendUnavailable(
            f"The weights are stored as {', '.join(strange)}; only {', '.join(_DTYPES)} can be converted.",
            hint="Convert the checkpoint as it was released, then quantise the result.",
        )
    return _DTYPES[dtypes.most_common(1)[0][0]]


def _write(source: Path, plan: _Plan, destination: Path, on_progress: Progress) -> dict[str, str]:
    """Make the destination; SHA-256 by name of the weight file."""
    partial = destination.with_name(destination.name + ".partial")
    partial.mkdir(parents=True, exist_ok=True)
    _check_room(partial, plan)
    for name, data in plan.files.items():
        _write_durably(partial / name, data)
    check_chat_form(source, partial)
    sums: dict[str, str] = {}
    done = 0
    for shard in plan.shards:

        def on_bytes(count: int, name: str = shard.name) -> None:
            nonlocal done
            done += count
            on_progress(done // _MiB, plan.data_size // _MiB, f"MiB, {name}")

        on_bytes(0)
        sums[shard.name] = write_shard(shard, partial / shard.name, on_bytes)
    lines = "".join(f"{digest}  {name}\n" for name, digest in sums.items())
    _write_durably(partial / CHECKSUMS, lines.encode())
    _sync_folder(partial)
    if destination.exists():
        destination.rmdir()  # empty, as the caller has seen
    partial.rename(destination)
    _sync_folder(destination.parent)
    return sums


def _check_room(partial: Path, plan: _Plan) -> None:
    """See that what is left to write fits. Raises UsageError where the folder has files of somebody else."""
    ours = {*plan.files, *(shard.name for shard in plan.shards), CHECKSUMS}
    there = {path.name: path.stat().st_size for path in partial.iterdir()}
    if strange := sorted(set(there) - ours):
        raise UsageError(
            f"{partial} holds what is not part of this conversion: {', '.join(strange[:3])}.",
            hint="Remove that folder, or give another destination.",
        )
    needed, free = plan.size - sum(there.values()), shutil.disk_usage(partial).free
    if needed > free:
        raise BackendUnavailable(
            f"{needed / 1e9:.1f} GB are needed at {partial.parent}, {free / 1e9:.1f} GB are free.",
            hint="Make room, or give a folder on another disk.",
        )


def _write_durably(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    """Make the names in a folder durable, where the system can."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read_checksums(folder: Path, shards: Sequence[Shard]) -> dict[str, str]:
    """Raises OSError or ValueError where the file does not list just these shards."""
    lines = (folder / CHECKSUMS).read_text("ascii").splitlines()
    sums = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    if set(sums) != {shard.name for shard in shards}:
        raise ValueError("other weights")
    return sums


def _starts_with(path: Path, data: bytes) -> bool:
    with path.open("rb") as file:
        return file.read(len(data)) == data


@contextmanager
def _alone(destination: Path) -> Iterator[None]:
    """Keep a second conversion out of the same destination. Raises UsageError while there is one."""
    destination.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(destination.with_name(destination.name + ".lock"))
    try:
        with lock.acquire(timeout=0):
            try:
                yield
            finally:
                with suppress(OSError):  # Windows keeps files that are open
                    Path(lock.lock_file).unlink()
    except Timeout:
        raise UsageError(
            f"Another conversion is writing to {destination}.", hint="Wait until it is done."
        ) from None


@contextmanager
def _disk_errors(destination: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise BackendUnavailable(
                f"The disk of {destination.parent} is full.",
                hint="Make room and type the same again: it goes on where it stopped.",
            ) from error
        where = error.filename or destination
        raise BackendUnavailable(
            f"{where} cannot be read or written: {error.strerror or error}.",
            hint="Check the permissions and the disk, then type the same again.",
        ) from error


def _conversion(
    source: Path, folder: Path, plan: _Plan, sums: Mapping[str, str], *, made: bool
) -> Conversion:
    return Conversion(
        source=source,
        folder=folder,
        sha256=sums,
        tensors=sum(len(shard.names) for shard in plan.shards),
        size=plan.size,
        made=made,
    )
