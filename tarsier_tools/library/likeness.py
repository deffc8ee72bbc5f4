"""Videos that look the same though their bytes differ: encoded again, scaled, cut a little at the ends.

A video's look is the perceptual hashes of pictures from the middle of its segments. Segments begin at cuts,
so that a missing beginning or end leaves the other pictures where they were.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field

from tarsier_tools.library.stores import Row, Store

if TYPE_CHECKING:
    from numpy.typing import NDArray

HASH_BITS = 256
NEAR_BITS = 56
"""Hashes that differ in at most so many bits are of the same picture; those of two others differ in 128 on
average. Measured, as SHARE: "Library: near-duplicates" in benchmarks/RESULTS.md."""
SHARE = 0.5
"""Videos are alike when so many of the pictures of each are in the other."""
LENGTHS = 0.1, 5.0
"""Videos are compared when their lengths differ by at most this share, or by at most so many seconds."""

_SIDE = 16
_SAMPLES = 64
_FLAT = 3.0
"""A picture whose brightness (0 to 255) varies less than this shows nothing, and its hash would be noise."""
_FEW = 12
"""A video with fewer segments than this is known by several pictures of each."""
_PROBES = 8
"""So many pictures of a video decide whether the rest is compared."""

_DCT: NDArray[np.float64] = np.cos(np.pi / _SAMPLES * (np.arange(_SAMPLES) + 0.5) * np.arange(_SIDE)[:, None])
"""The lowest terms of a type-II cosine transform."""


@dataclass(frozen=True, slots=True)
class Look:
    """What is compared of a video.

    Attributes:
        video: its uuid.
        hashes: uint64 (pictures, 4).
    """

    video: str
    duration_s: float
    hashes: NDArray[np.uint64]


class Lookalike(BaseModel):
    """One of several videos that look the same."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    duration_s: float
    width: int
    height: int
    likeness: float = Field(
        ge=0, le=1, description="Of the pictures of it and the group's first, the share that both have."
    )


class Duplicates(BaseModel):
    """Videos that a library holds more than once."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    same: tuple[tuple[str, ...], ...] = Field(description="Groups of files with the same bytes.")
    alike: tuple[tuple[Lookalike, ...], ...] = Field(
        description="Groups of videos that look the same; first the one with the most pixels, then length."
    )
    not_compared: int = Field(
        description="Videos whose pictures are not known, as after an import, or show nothing."
    )


def duplicates(store: Store) -> Duplicates:
    """What a library holds more than once. No video is opened."""
    rows = {row.uuid: row for row in store.videos()}
    looks = [Look(uuid, duration_s, unpacked(look)) for uuid, duration_s, look in store.looks() if look]
    links: dict[str, dict[str, float]] = {}
    for one, other, share in alike(looks):
        links.setdefault(one, {})[other] = share
        links.setdefault(other, {})[one] = share
    groups: list[tuple[Lookalike, ...]] = []
    placed: set[str] = set()
    for best in sorted(links, key=lambda uuid: _worth(rows[uuid]), reverse=True):
        others = {uuid: share for uuid, share in links[best].items() if uuid not in placed}
        if best in placed or not others:
            continue
        placed |= {best, *others}
        ranked = sorted(others, key=lambda uuid: _worth(rows[uuid]), reverse=True)
        groups.append((_shown(rows[best], 1.0), *(_shown(rows[uuid], others[uuid]) for uuid in ranked)))
    return Duplicates(
        same=tuple(row.sources for row in rows.values() if len(row.sources) > 1),
        alike=tuple(groups),
        not_compared=len(rows) - len(looks),
    )


def _worth(row: Row) -> tuple[int, float]:
    return row.info.width * row.info.height, row.info.duration_s


def _shown(row: Row, share: float) -> Lookalike:
    return Lookalike(
        source=row.sources[0],
        duration_s=row.info.duration_s,
        width=row.info.width,
        height=row.info.height,
        likeness=share,
    )


def places(start_s: float, end_s: float, segments: int) -> list[float]:
    """Times of a segment, seconds, that its video is known by; its middle is the middle one of them.

    Args:
        segments: how many the video has: the fewer, the more times.
    """
    count = 1 if segments >= _FEW else 2 * -(-(_FEW // 2) // segments) + 1
    return [start_s + (end_s - start_s) * (number + 0.5) / count for number in range(count)]


def picture_hash(jpeg: bytes) -> bytes:
    """The perceptual hash of a picture, HASH_BITS as bytes; b"" for one that shows nothing.

    The signs of the 16 x 16 lowest terms of the cosine transform of the 64 x 64 grey picture, about their
    median: the algorithm of Zauner, "Implementation and Benchmarking of Perceptual Image Hash Functions"
    (2010); equal to ``imagehash.phash(picture, hash_size=16)``.
    """
    with Image.open(io.BytesIO(jpeg)) as picture:
        small = picture.convert("L").resize((_SAMPLES, _SAMPLES), Image.Resampling.LANCZOS)
    grey = np.asarray(small, np.float64)
    if grey.std() < _FLAT:
        return b""
    terms = _DCT @ grey @ _DCT.T
    return np.packbits(terms > np.median(terms)).tobytes()


def unpacked(look: bytes) -> NDArray[np.uint64]:
    """Hashes that were joined, as uint64 (pictures, 4)."""
    return np.frombuffer(look, np.uint64).reshape(-1, HASH_BITS // 64)


def alike(looks: Sequence[Look]) -> Iterator[tuple[str, str, float]]:
    """(uuid, uuid, likeness) of videos that look the same; likeness is the lower of two shares, SHARE to 1.

    The time grows with the number of pairs of about the same length.
    """
    ordered = sorted((look for look in looks if len(look.hashes)), key=lambda look: look.duration_s)
    if not ordered:
        return
    rows = np.concatenate([look.hashes for look in ordered])
    edges = np.cumsum([0, *(len(look.hashes) for look in ordered)])
    lengths = np.array([look.duration_s for look in ordered])
    for place, look in enumerate(ordered):
        longest = max(look.duration_s / (1 - LENGTHS[0]), look.duration_s + LENGTHS[1])
        last = int(np.searchsorted(lengths, longest, side="right"))
        first = place + 1
        if first >= last:
            continue
        step = -(-len(look.hashes) // _PROBES)
        probes = look.hashes[::step]
        block = rows[edges[first] : edges[last]]
        starts = edges[first:last] - edges[first]
        hits = np.zeros(last - first)
        for probe in probes:
            hits += np.logical_or.reduceat(_distances(block, probe) <= NEAR_BITS, starts)
        for other in np.flatnonzero(hits >= SHARE * len(probes) / 2) + first:
            share = likeness(look.hashes, ordered[other].hashes)
            if share >= SHARE:
                yield look.video, ordered[other].video, share


def likeness(one: NDArray[np.uint64], other: NDArray[np.uint64]) -> float:
    """The share of the pictures of each video that are in the other; the lower of the two."""
    near = np.array([_distances(other, row) <= NEAR_BITS for row in one])
    return float(min(near.any(axis=1).mean(), near.any(axis=0).mean()))


def _distances(rows: NDArray[np.uint64], row: NDArray[np.uint64]) -> NDArray[np.int64]:
    """How many bits differ, int64 (rows,)."""
    distances: NDArray[np.int64] = np.bitwise_count(rows ^ row).sum(axis=1, dtype=np.int64)
    return distances
