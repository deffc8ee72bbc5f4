"""One weight file under other names: which bytes are written, kept, compared and refused."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tarsier_tools.backends.tarsier2 import convert_weights
from tarsier_tools.backends.tarsier2.convert_weights import BLOCK, PIECE, Shard, read_shard, write_shard
from tarsier_tools.errors import BackendFailed, Cancelled

WORDS = PIECE * 3 // 4  # a little more than three pieces of float32 with the second tensor


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "model.safetensors"
    random = np.random.default_rng(0)
    tensors = {
        "old.a": random.integers(0, 1 << 30, WORDS, np.int32).view(np.float32),
        "old.b": np.arange(5, dtype=np.float32),
    }
    save_file(tensors, path, metadata={"format": "pt"})
    return path


@pytest.fixture
def shard(source: Path) -> Shard:
    return read_shard(source, lambda name: name.replace("old.", "a.much.longer.prefix."))


def no_progress(count: int) -> None:
    """Let it work."""


@pytest.fixture
def copied(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Bytes of every copy that is really made."""
    sizes: list[int] = []
    copy = convert_weights._copy

    def counted(source: Any, target: Any, start: int, end: int, shift: int) -> None:
        sizes.append(end - start)
        copy(source, target, start, end, shift)

    monkeypatch.setattr(convert_weights, "_copy", counted)
    return sizes


def test_the_tensors_have_new_names_and_the_same_bytes(shard: Shard, tmp_path: Path) -> None:
    target = tmp_path / "copy"
    digest = write_shard(shard, target, no_progress)
    old, new = load_file(shard.source), load_file(target)
    assert {name: f"a.much.longer.prefix.{name[-1]}" for name in old} == shard.names
    for name in old:
        assert np.array_equal(old[name].view(np.int32), new[shard.names[name]].view(np.int32))
    assert hashlib.sha256(target.read_bytes()).hexdigest() == digest
    assert target.stat().st_size == shard.new_size


def test_data_lies_as_far_into_a_block_as_before_so_that_blocks_can_be_shared(shard: Shard) -> None:
    assert len(shard.header) % BLOCK == shard.data_start % BLOCK
    assert json.loads(shard.header[8:])["__metadata__"] == {"format": "pt"}


def test_progress_adds_up_to_all_data(shard: Shard, tmp_path: Path) -> None:
    counts: list[int] = []
    write_shard(shard, tmp_path / "copy", counts.append)
    assert sum(counts) == shard.data_bytes
    assert len(counts) > 3


def stopped_copy(shard: Shard, target: Path) -> int:
    """A copy that was stopped in the middle; its size."""
    counts: list[int] = []

    def stop(count: int) -> None:
        counts.append(count)
        if len(counts) == 2:
            raise Cancelled("enough")

    with pytest.raises(Cancelled):
        write_shard(shard, target, stop)
    return target.stat().st_size


def test_what_is_there_already_is_not_copied_again(shard: Shard, tmp_path: Path, copied: list[int]) -> None:
    size = stopped_copy(shard, tmp_path / "copy")
    assert 0 < size < shard.new_size
    copied.clear()
    digest = write_shard(shard, tmp_path / "copy", no_progress)
    assert sum(copied) <= shard.new_size - size + PIECE
    assert digest == write_shard(shard, tmp_path / "other", no_progress)


def test_a_whole_copy_is_only_compared(shard: Shard, tmp_path: Path, copied: list[int]) -> None:
    digest = write_shard(shard, tmp_path / "copy", no_progress)
    copied.clear()
    assert write_shard(shard, tmp_path / "copy", no_progress) == digest
    assert copied == []


@pytest.mark.parametrize("place", [3, 50_000, PIECE + 9_999])
def test_a_wrong_byte_in_what_is_there_is_put_right(shard: Shard, place: int, tmp_path: Path) -> None:
    target = tmp_path / "copy"
    digest = write_shard(shard, target, no_progress)
    with target.open("r+b") as file:
        file.seek(place)
        byte = file.read(1)
        file.seek(place)
        file.write(bytes([byte[0] ^ 1]))
    assert write_shard(shard, target, no_progress) == digest
    assert hashlib.sha256(target.read_bytes()).hexdigest() == digest


def test_a_longer_file_of_something_else_becomes_the_copy(shard: Shard, tmp_path: Path) -> None:
    target = tmp_path / "copy"
    target.write_bytes(b"x" * (shard.new_size + 10_000))
    digest = write_shard(shard, target, no_progress)
    assert hashlib.sha256(target.read_bytes()).hexdigest() == digest


@pytest.mark.parametrize("error", [errno.EXDEV, errno.ENOSYS, errno.EOPNOTSUPP, None])
def test_where_the_kernel_does_not_copy_it_is_done_by_hand(
    shard: Shard, error: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = write_shard(shard, tmp_path / "kernel", no_progress)
    if error is None:
        monkeypatch.delattr(os, "copy_file_range", raising=False)
    else:

        def refuse(*_: object) -> int:
            assert error is not None
            raise OSError(error, os.strerror(error))

        monkeypatch.setattr(os, "copy_file_range", refuse, raising=False)
    assert write_shard(shard, tmp_path / "by hand", no_progress) == digest


def test_a_full_disk_is_told_and_not_tried_by_hand(
    shard: Shard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "copy_file_range", full, raising=False)
    with pytest.raises(OSError, match="No space left"):
        write_shard(shard, tmp_path / "copy", no_progress)


def test_a_disk_that_gives_back_other_bytes_is_found_out(
    shard: Shard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = convert_weights._copy

    def corrupt(source: Any, target: Any, start: int, end: int, shift: int) -> None:
        copy(source, target, start, end, shift)
        if start > PIECE:
            os.pwrite(target.fileno(), b"\x00\xff\x00\xff", start + shift + 7)

    monkeypatch.setattr(convert_weights, "_copy", corrupt)
    with pytest.raises(BackendFailed, match="copy reads back differently"):
        write_shard(shard, tmp_path / "copy", no_progress)


def test_a_source_that_becomes_shorter_is_an_error(shard: Shard, tmp_path: Path) -> None:
    short = tmp_path / "short.safetensors"
    short.write_bytes(shard.source.read_bytes()[: PIECE * 2])
    moved = Shard(short, shard.data_start, shard.size, shard.header, shard.tensors, shard.names)
    with pytest.raises((OSError, BackendFailed)):
        write_shard(moved, tmp_path / "copy", no_progress)
