"""Tell films of the shapes world from every other kind of video, by their pixels. Needs numpy only.

The bundled model was trained on nothing but :mod:`~tarsier_tools.selfcheck.world` and answers about anything
as if it were drawn shapes, so what it is shown is tested first. A frame passes when it is what the world
paints: a dark ground (plain, a gradient, or coarse grain), on it at most four flat, solid, compact patches,
each of one of the five colours or on its way to it, none at the border. A frame of ground alone passes, as
there are moments in which nothing is to be seen. The ground is the same in all frames of a clip.

Each frame is reduced to 60 x 60 pixels. Its ground is the world's gradient, fitted to the pixels that can
be ground, and one step of brightness for each cell of the world's grain; whatever differs from that is a
patch. The world's ground is either even or has steps of about 9 levels; dim or misty film lies in between.

:data:`LIMITS` holds the ranges of a shapes film. They were chosen on shapes films through H.264 and on
filmed, animated, screen-recorded and noise clips; ``training/recognition.py`` measures how well they tell
these apart and how much room they leave.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from tarsier_tools.selfcheck.world import RGB

_SIDE = 60
"""Pixels on each side of the reduced picture, a multiple of the cells."""
_CELLS = 12
"""Cells of grain on each side of a film's ground."""
_GRAIN = 9.0
"""Standard deviation of the world's grain, in levels."""
_DIFFERENT = 18.0
"""Levels of 0..255 by which a pixel differs from the ground and counts as part of a patch."""
_SPECK = 6
"""Pixels of 60 x 60 below which a patch is a speck: what a codec leaves beside an edge."""
_STRONG = 72.0
"""Levels by which a patch differs from the ground before its form and colour are judged.

A white shape that appears on grain is less than that while the cells below it cannot be told from it."""

_HARD = 90
"""Levels by which pixels that lie together differ at the edge of something that is not faint."""

LIMITS: dict[str, tuple[float, float]] = {
    "ground": (0.6, 1.0),
    "roughness": (0.0, 5.0),
    "tone": (10.0, 135.0),
    "tint": (0.0, 38.0),
    "uneven": (0.0, 1.75),
    "grain": (6.0, 12.5),
    "drift": (-0.4, 0.5),
    "change": (0.0, 4.0),
    "cuts": (0.0, 0.25),
    "edges": (0, 40),
    "patches": (0, 4),
    "specks": (0.0, 0.015),
    "faint": (0.0, 0.35),
    "stray": (0, 40),
    "border": (0, 10),
    "largest": (0.0, 0.16),
    "holes": (0, 0),
    "off_color": (0.0, 45.0),
    "flatness": (0.5, 1.0),
    "compactness": (0.0055, 0.0135),
    "proportion": (0.4, 2.5),
}
"""The lowest and highest that a frame of a shapes film may measure, by name.

- ``ground``: share of the picture that is ground.
- ``roughness``: root mean square of what the fitted ground leaves unexplained there, in levels of 0..255.
- ``tone``, ``tint``: mean level of the ground, and how far its channels differ at most.
- ``uneven``: how far the cells of an even ground differ, in levels: the 80th percentile of the distance from
  their median, over 1.28, which estimates a standard deviation.
- ``grain``: standard deviation of the cells of a grained ground, in levels; ``drift``: the correlation of
  neighbouring ones, which is small for the world's grain and large for light and shade.
- ``change``: the 80th percentile, over cells and channels, of how far the ground differs from what earlier
  frames of the clip showed there, in levels. A fade or a slowly moving picture changes it.
- ``cuts``: share of the clip's frames whose ground differs by more than that from the frame before: a cut
  to another film of shapes, or flicker and movement. One is allowed in a clip of any length.
- ``edges``: jumps of more than 24 levels between neighbours in the row that has most of them.
- ``patches``: how many stand out by 72 levels or more; ``largest``: the largest one's share of the picture.
- ``specks``, ``faint``: share of the picture in patches too small or too faint to be judged.
- ``stray``: parts with a hard edge that are not near a patch; ``border``: pixels of patches at the border.
- ``off_color``: distance of a patch's colour, in RGB, from the nearest mix of its ground and a colour.
- ``flatness``: share of a patch's inner pixels within 25 levels of their median.
- ``compactness``: first affine moment invariant, (m20 m02 - m11^2) / m00^4 (J. Flusser and T. Suk, Pattern
  Recognition 26, 1993): 0.0063 for a circle, 0.0069 for a square, 0.0093 for a triangle, also when squeezed.
- ``proportion``: width over height of a patch; ``holes``: places that it encloses.

Of what is measured for each patch, a frame has the value of its worst.
"""

_PALETTE = np.array(list(RGB.values()), np.float32)
_AXIS = (np.arange(_SIDE, dtype=np.float32) + 0.5) / _SIDE - 0.5
_PLANE = np.stack([np.ones((_SIDE, _SIDE), np.float32), *np.meshgrid(_AXIS, _AXIS)]).reshape(3, -1)
"""The parts of a plane: 1, x and y of each pixel; (3, 60 * 60)."""


def shows_shapes(frames: Sequence[NDArray[np.uint8]]) -> bool:
    """Tell whether the frames of a clip, uint8 RGB (height, width, 3), are those of a shapes film."""
    return not any(map(broken, measure(frames)))


def broken(measures: dict[str, float]) -> list[str]:
    """Return the names of the measures that are outside their limits; [] for a frame of shapes."""
    return [name for name, value in measures.items() if not LIMITS[name][0] <= value <= LIMITS[name][1]]


def measure(frames: Sequence[NDArray[np.uint8]]) -> Iterator[dict[str, float]]:
    """Yield what each frame of a clip measures, by the names of :data:`LIMITS`.

    A frame that equals the one before it is skipped. Patches are not measured where the ground rules the
    frame out, and ``change`` is not where nothing was seen of the ground before.
    """
    before: NDArray[np.uint8] | None = None
    seen = last = np.full((3, _CELLS * _CELLS), np.nan, np.float32)
    cuts, most_change = 0, LIMITS["change"][1]
    for frame in frames:
        if before is not None and np.array_equal(frame, before):
            continue
        before = frame
        measures, cells = _measured(frame)
        if _change(last, cells) > most_change:
            cuts += 1
            seen = cells
        elif not np.isnan(seen - cells).all():
            measures["change"] = _change(seen, cells)
        measures["cuts"] = cuts / max(len(frames), 4)
        yield measures
        seen, last = np.where(np.isnan(seen), cells, seen), cells


def _change(before: NDArray[np.float32], cells: NDArray[np.float32]) -> float:
    """The 80th percentile of how far the grounds of two frames differ, 0 where none was seen in both."""
    difference = np.abs(before - cells)
    return 0.0 if np.isnan(difference).all() else float(np.nanpercentile(difference, 80))


def _measured(frame: NDArray[np.uint8]) -> tuple[dict[str, float], NDArray[np.float32]]:
    """Measure one frame by itself; also return the mean of its ground in each cell, (3, 12 * 12).

    That is NaN where a cell shows no ground, or too little.
    """
    picture, detail = _reduced(frame)
    measures, ground = _ground(picture)
    measures["edges"] = _edges(frame)
    if ground is None or broken(measures):
        return measures, np.full((3, _CELLS * _CELLS), np.nan, np.float32)
    strength = np.abs(picture - ground).max(axis=0)
    measures |= _patches(picture, ground, strength, detail, frame.shape[1] / frame.shape[0])
    cells = np.full((3, _CELLS * _CELLS), np.nan, np.float32)
    for channel, values in enumerate(picture):
        means, known = _cell_means(values, strength <= _DIFFERENT)
        cells[channel, known] = means[known]
    return measures, cells


def _reduced(frame: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Four pixels of each of 60 x 60 parts: their mean, float32 (3, 60 * 60), and how far they differ.

    The second is uint8 (60, 60), of the channel where it is most.
    """
    height, width = frame.shape[:2]
    steps = (2 * np.arange(2 * _SIDE) + 1) / (4 * _SIDE)
    picked = frame[(steps * height).astype(int)][:, (steps * width).astype(int)]
    corners = np.stack([picked[y::2, x::2] for y in (0, 1) for x in (0, 1)])
    mean = np.einsum("kyxc->cyx", corners, dtype=np.float32) / 4
    return mean.reshape(3, -1), np.ptp(corners, axis=0).max(axis=2)


def _edges(frame: NDArray[np.uint8]) -> float:
    """The most jumps of brightness in one of about 64 rows, on at most about 600 pixels of it."""
    height, width = frame.shape[:2]
    step = max(1, height // 64)
    green = frame[step // 2 :: step, :: max(1, width // 600), 1].astype(np.int16)
    return float((np.abs(np.diff(green, axis=1)) > 24).sum(axis=1).max())


def _ground(picture: NDArray[np.float32]) -> tuple[dict[str, float], NDArray[np.float32] | None]:
    """What the ground measures, and the ground itself, (3, 60 * 60); None where too little can be ground."""
    brightest = picture.max(axis=0)
    likely = (brightest <= 175) & (brightest - picture.min(axis=0) <= 60)
    plane, lighter, between = picture, picture[0], np.ones(_SIDE * _SIDE, bool)
    for tint, light in ((30, 45), (18, 40), (14, 36), (14, 36)):
        if likely.mean() < LIMITS["ground"][0] / 2:
            return {"ground": float(likely.mean())}, None
        plane, between = _gradient(picture, likely, between)
        rest = picture - plane
        lighter = rest.mean(axis=0)
        # Of an even ground what is a little lighter is a shape that appears, not a step of grain.
        usual = 5 * float(np.median(np.abs(lighter[likely]))) + 8
        likely = (np.abs(lighter) <= min(light, usual)) & (np.abs(rest - lighter).max(axis=0) <= tint)
    steps = np.zeros(_CELLS * _CELLS, np.float32)
    known = np.zeros(_CELLS * _CELLS, bool)
    for _ in range(2):
        steps, known = _cell_means(lighter, likely)
        likely &= np.abs(lighter - _spread(steps)) <= _DIFFERENT
    ground = plane + _spread(steps)
    return {
        "ground": float(likely.mean()),
        "roughness": float(
            np.sqrt((np.square(picture - ground).mean(axis=0) @ likely) / max(likely.sum(), 1))
        ),
        "tone": float(plane.mean()),
        "tint": float(np.ptp(plane, axis=0).max()),
        **_grain(steps, known),
    }, ground


def _gradient(
    picture: NDArray[np.float32], kept: NDArray[np.bool_], between: NDArray[np.bool_]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Fit the world's gradient to the pixels kept: its colours, (3, 60 * 60), and where it is not clipped.

    Its direction is the slope of a plane fitted to the pixels that were not clipped before, ``between``.
    """
    sloped = _fitted(_PLANE, picture, kept & between)
    direction = np.linalg.svd(sloped[1:])[0][:, 0]
    blend = direction @ _PLANE[1:] + 0.5
    ends = np.stack([1 - np.clip(blend, 0, 1), np.clip(blend, 0, 1)])
    return _fitted(ends, picture, kept).T @ ends, (blend > 0) & (blend < 1)


def _fitted(
    basis: NDArray[np.float32], picture: NDArray[np.float32], kept: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """Factors of the basis, (parts, 3), that come nearest to the pixels kept."""
    parts = basis * kept
    factors: NDArray[np.float32] = np.linalg.lstsq(parts @ basis.T, parts @ picture.T, rcond=None)[0]
    return factors


def _cell_means(
    values: NDArray[np.float32], kept: NDArray[np.bool_]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """The mean of the values kept in each cell, 0 where too few are, and where that is not so."""
    side = _SIDE // _CELLS
    blocks = (_CELLS, side, _CELLS, side)
    count = kept.reshape(blocks).sum(axis=(1, 3)).ravel()
    total = np.where(kept, values, 0).reshape(blocks).sum(axis=(1, 3)).ravel()
    known = count >= side * side // 3
    return np.where(known, total / np.maximum(count, 1), 0).astype(np.float32), known


def _spread(steps: NDArray[np.float32]) -> NDArray[np.float32]:
    """A value per cell as one per pixel, (60 * 60)."""
    side = _SIDE // _CELLS
    return steps.reshape(_CELLS, _CELLS).repeat(side, axis=0).repeat(side, axis=1).ravel()


def _grain(steps: NDArray[np.float32], known: NDArray[np.bool_]) -> dict[str, float]:
    """Measure the steps as those of an even ground or of a grained one, whichever is nearer."""
    if not known.any():
        return {"uneven": 0.0, "grain": _GRAIN, "drift": 0.0}
    # A shape that just appears lifts a few cells; they are among the fifth that is left out.
    uneven = float(np.percentile(np.abs(steps[known] - np.median(steps[known])), 80)) / 1.28
    if uneven < _GRAIN / 2:
        return {"uneven": uneven, "grain": _GRAIN, "drift": 0.0}
    even = np.where(known, steps - steps[known].mean(), 0).reshape(_CELLS, _CELLS)
    both = known.reshape(_CELLS, _CELLS)
    pairs = (both[:, 1:] & both[:, :-1]).sum() + (both[1:] & both[:-1]).sum()
    shared = (even[:, 1:] * even[:, :-1]).sum() + (even[1:] * even[:-1]).sum()
    variance = float(steps[known].var())
    drift = float(shared / max(pairs, 1) / max(variance, 1.0))
    return {"uneven": 0.0, "grain": variance**0.5, "drift": drift}


def _patches(
    picture: NDArray[np.float32],
    ground: NDArray[np.float32],
    strength: NDArray[np.float32],
    detail: NDArray[np.uint8],
    aspect: float,
) -> dict[str, float]:
    """Measure everything but the ground.

    Args:
        strength: levels by which each pixel differs from the ground, (60 * 60).
        aspect: width over height of the frame.
    """
    strength = strength.reshape(_SIDE, _SIDE)
    labels, count = _connected(strength > _DIFFERENT)
    peaks = np.zeros(count + 1, np.float32)
    np.maximum.at(peaks, labels, strength)
    peaks[0] = np.inf
    mask = strength > np.maximum(_DIFFERENT, 0.4 * peaks[labels])  # shapes near each other come apart
    labels, count = _connected(mask)
    areas = np.bincount(labels.ravel(), minlength=count + 1)
    means = np.bincount(labels.ravel(), strength.ravel(), count + 1) / np.maximum(areas, 1)
    small, faint = areas <= _SPECK, means < _STRONG
    small[0] = faint[0] = True
    strong = np.flatnonzero(~(small | faint))
    near = np.pad(np.isin(labels, strong), 2)
    for axis in (0, 1, 0, 1):
        near |= np.roll(near, 1, axis) | np.roll(near, -1, axis)
    measures: dict[str, float] = {
        "patches": len(strong),
        "specks": float(areas[1:][small[1:]].sum()) / mask.size,
        "faint": float(areas[1:][(faint & ~small)[1:]].sum()) / mask.size,
        "stray": int((detail[~near[2:-2, 2:-2]] > _HARD).sum()),
        "border": int(mask[[0, -1]].sum() + mask[:, [0, -1]].sum()),
        "largest": float(areas[strong].max(initial=0)) / mask.size,
    }
    if broken(measures):
        return measures
    inner = mask.copy()
    inner[1:-1, 1:-1] &= mask[2:, 1:-1] & mask[:-2, 1:-1] & mask[1:-1, 2:] & mask[1:-1, :-2]
    for number in strong.tolist():
        inside = labels == number
        judged = _judged(picture, ground, inside.ravel(), (inside & inner).ravel(), aspect)
        judged["holes"] = _holes(inside)
        for name, value in judged.items():
            low, high = LIMITS[name]
            worst = measures.get(name, (low + high) / 2)
            if max(low - value, value - high) >= max(low - worst, worst - high):
                measures[name] = value
    return measures


def _judged(
    picture: NDArray[np.float32],
    ground: NDArray[np.float32],
    inside: NDArray[np.bool_],
    core: NDArray[np.bool_],
    aspect: float,
) -> dict[str, float]:
    """Form, colour and flatness of one patch; ``core`` are its inner pixels."""
    rows, columns = np.divmod(np.flatnonzero(inside), _SIDE)
    area = len(rows)
    y, x = rows - rows.mean(), columns - columns.mean()
    xx, yy, xy = x @ x + area / 12, y @ y + area / 12, x @ y
    measures = {
        "compactness": float((xx * yy - xy * xy) / area**4),
        "proportion": float((np.ptp(columns) + 1) / (np.ptp(rows) + 1) * aspect),
        "flatness": 0.0,
    }
    if core.any():
        colors = picture[:, core]
        color, below = np.median(colors, axis=1), ground[:, core].mean(axis=1)
        ways = _PALETTE - below
        share = np.clip(ways @ (color - below) / np.square(ways).sum(axis=1), 0, 1.1)
        measures["off_color"] = float(np.linalg.norm(color - below - share[:, None] * ways, axis=1).min())
        measures["flatness"] = float((np.abs(colors - color[:, None]).max(axis=0) <= 25).mean())
    return measures


def _holes(inside: NDArray[np.bool_]) -> int:
    """How many places of at least three pixels a patch encloses."""
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    around = np.pad(inside[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1], 1)
    labels, count = _connected(~around)
    areas = np.bincount(labels.ravel(), minlength=count + 1)
    areas[[0, labels[0, 0]]] = 0
    return int((areas >= 3).sum())


def _connected(mask: NDArray[np.bool_]) -> tuple[NDArray[np.int64], int]:
    """Number the connected parts of a mask from 1: the number of each pixel, 0 elsewhere, and how many.

    Pixels are connected by their sides. Runs of each row are joined to those above that they touch.
    """
    padded = np.zeros((mask.shape[0], mask.shape[1] + 2), np.int8)
    padded[:, 1:-1] = mask
    rows, edges = np.nonzero(np.diff(padded, axis=1))
    runs = list(zip(rows[::2].tolist(), edges[::2].tolist(), edges[1::2].tolist(), strict=True))
    parent = list(range(len(runs)))

    def root(run: int) -> int:
        while parent[run] != run:
            parent[run] = parent[parent[run]]
            run = parent[run]
        return run

    above = 0
    for number, (row, start, end) in enumerate(runs):
        while runs[above][0] < row - 1 or (runs[above][0] == row - 1 and runs[above][2] <= start):
            above += 1
        other = above
        while other < number and runs[other][0] == row - 1 and runs[other][1] < end:
            parent[root(other)] = root(number)
            other += 1
    names: dict[int, int] = {}
    labels = np.zeros(mask.shape, np.int64)
    for number, (row, start, end) in enumerate(runs):
        labels[row, start:end] = names.setdefault(root(number), len(names) + 1)
    return labels, len(names)
