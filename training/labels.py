"""Labels for the training-only heads: what stands where, who acts, what is known so far."""

from __future__ import annotations

import numpy as np
from model import PATCH

from tarsier_tools.selfcheck import language as words
from tarsier_tools.selfcheck.world import ACTIONS, COLORS, SHAPES, Scene, Truth

IGNORE = -100
SLOTS = 3
"""Most events in a training clip."""


def cell_labels(scene: Scene, times_s: np.ndarray, size: tuple[int, int]) -> dict[str, np.ndarray]:
    """What stands in each quarter of each cell, (T, C, 4[, 2]); colour 0 is nobody."""
    states = scene.states(times_s)
    columns, rows = size[0] // PATCH, size[1] // PATCH
    shape = (len(times_s), rows * columns // 4, 4)
    out = {name: np.zeros(shape, dtype=np.int64) for name in ("color", "shape", "action")}
    out |= {name: np.zeros(shape, dtype=np.float32) for name in ("radius", "alpha")}
    out["place"] = np.zeros((*shape, 2), dtype=np.float32)
    doing = _acting(scene, times_s)
    for index, actor in enumerate(scene.actors):
        x = states[:, index, 0] / scene.extent[0] * columns
        y = states[:, index, 1] / scene.extent[1] * rows
        column, row = np.clip(x.astype(int), 0, columns - 1), np.clip(y.astype(int), 0, rows - 1)
        at = (np.arange(len(times_s)), row // 2 * (columns // 2) + column // 2, row % 2 * 2 + column % 2)
        seen = states[:, index, 3] > 0.12
        at = tuple(part[seen] for part in at)
        out["color"][at] = COLORS.index(actor.color) + 1
        out["shape"][at] = SHAPES.index(actor.shape)
        out["action"][at] = np.where(
            doing[:, 0] == index, doing[:, 1], np.where(doing[:, 0] == -2, IGNORE, 0)
        )[seen]
        out["radius"][at] = (states[seen, index, 2] - 0.14) / 0.03
        out["alpha"][at] = states[seen, index, 3]
        out["place"][at] = np.stack((x - column, y - row), axis=-1)[seen] * 4 - 2
    return out


def _acting(scene: Scene, times_s: np.ndarray) -> np.ndarray:
    """Who acts at each time and how, (T, 2): actor or -1, action + 1 or 0; -2 and IGNORE when unclear.

    Unclear: the change since the start is too small to be seen, or the end came between two frames.
    """
    out = np.tile(np.array([-1, 0]), (len(times_s), 1))
    step = times_s[1] - times_s[0] if len(times_s) > 1 else 1.0
    for event, (index, *_) in zip(scene.events, scene.targets, strict=True):
        begun = np.minimum((times_s - event.start_s), times_s - times_s[0]) / (event.end_s - event.start_s)
        inside = (times_s >= event.start_s) & (times_s < event.end_s)
        out[inside] = index, ACTIONS.index(event.action) + 1
        unclear = (inside & (begun < 0.1)) | ((times_s >= event.end_s) & (times_s - event.end_s < step))
        out[unclear] = -2, IGNORE
    return out


def event_labels(scene: Scene, truth: Truth, times_s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Labels of frames and of what is known so far: (T, 4) and (T + 1, SLOTS, 5), see :class:`Batch`."""
    frames, doing = len(times_s), _acting(scene, times_s)
    acting = np.zeros((frames, 4), dtype=np.int64)
    slots = np.zeros((frames + 1, SLOTS, 5), dtype=np.int64)
    slots[..., 3:] = IGNORE
    acting[doing[:, 0] == -2] = IGNORE
    acting[:, 3] = 0
    for number, event in enumerate(truth.events):
        what = (COLORS.index(event.color) + 1, SHAPES.index(event.shape) + 1, ACTIONS.index(event.action) + 1)
        first, last = (frame - 1 for frame in words.frame_span(event, times_s.tolist()))
        running = (times_s >= event.start_s) & (times_s < event.end_s)
        acting[running & (doing[:, 0] != -2), :3] = what
        acting[first:, 3] = number + 1
        acting[first, 3] = IGNORE
        slots[min(first + 2, frames) :, number, :3] = what
        slots[first : first + 2, number, :3] = IGNORE
        slots[min(first + 2, frames) :, number, 3] = first
        slots[min(last + 2, frames) :, number, 4] = last
        slots[-1, number] = (*what, first, last)
    events_of_window = {(event.color, event.shape, event.action) for event in truth.events}
    stray = [e for e in scene.events if e.fact not in events_of_window]
    for event in stray:  # the cut-off rest of an event that is not told of
        inside = (times_s >= event.start_s) & (times_s < event.end_s)
        acting[inside, :3] = IGNORE
    return acting, slots
