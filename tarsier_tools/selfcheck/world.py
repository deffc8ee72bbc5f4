"""The shapes world: short procedural films whose exact contents are known.

A :class:`Scene` holds a cast of coloured shapes and a list of events, one after another: at any time at
most one shape acts. Everything follows from the random generator that made the scene, so a seed names a
film. Times are seconds, ranges are half-open, lengths are in units of the picture's shorter side, and y
points down. Needs numpy only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from .drawing import REACH, coverage

Shape = Literal["circle", "square", "triangle", "star"]
Color = Literal["red", "green", "blue", "yellow", "white"]
Action = Literal["move_left", "move_right", "move_up", "move_down", "grow", "shrink", "appear", "disappear"]
Backdrop = Literal["plain", "gradient", "noise"]

SHAPES: tuple[Shape, ...] = get_args(Shape)
COLORS: tuple[Color, ...] = get_args(Color)
ACTIONS: tuple[Action, ...] = get_args(Action)
BACKDROPS: tuple[Backdrop, ...] = get_args(Backdrop)

MIN_RADIUS, MAX_RADIUS = 0.10, 0.20
"""Smallest and largest radius of a shape."""
MIN_MOVE, MAX_MOVE = 0.26, 0.45
"""Shortest and longest way that a moving shape goes."""

RGB: dict[Color, tuple[int, int, int]] = {
    "red": (225, 45, 45),
    "green": (40, 175, 70),
    "blue": (55, 95, 240),
    "yellow": (245, 210, 50),
    "white": (240, 240, 240),
}
_STEP: dict[Action, tuple[int, int]] = {
    "move_left": (-1, 0),
    "move_right": (1, 0),
    "move_up": (0, -1),
    "move_down": (0, 1),
}
_AGAIN = (0.19, 0.19, 0.19, 0.19, 0.07, 0.07, 0.05, 0.05)  # chances of each action for one who acted before
_PROGRESS = np.linspace(0, 1, 6)[:, None]  # where a path is checked for collisions
_CLEARANCE = 0.02  # least distance between two shapes, and to the border
_RADII = ((0.1, 0.12), (0.105, 0.175), (0.165, MAX_RADIUS))  # of the growing, of others, of the shrinking
_VISIBLE = 0.6  # an event seen by less than this share of its duration is not told of
_UNSEEN = 0.1  # an event seen by at most this share counts as outside


@dataclass(frozen=True)
class Event:
    """One shape doing one thing during ``[start_s, end_s)``."""

    shape: Shape
    color: Color
    action: Action
    start_s: float
    end_s: float

    @property
    def fact(self) -> Fact:
        """What happens, without the when."""
        return (self.color, self.shape, self.action)


Fact = tuple[Color, Shape, Action]
Object = tuple[Color, Shape]


@dataclass(frozen=True)
class Actor:
    """A shape of the cast and its state before the first event; ``alpha`` 0 is invisible, 1 opaque."""

    shape: Shape
    color: Color
    x: float
    y: float
    radius: float
    alpha: float
    rgb: tuple[float, float, float]


@dataclass(frozen=True)
class Truth:
    """What can be seen in ``[start_s, end_s)`` of a scene.

    ``events`` are cut to the range and in order of time. ``idle`` are the shapes that can be seen and do
    nothing. ``clear`` is False when an event is neither well inside nor well outside the range, so that
    a fair judge could tell of it or not.
    """

    start_s: float
    end_s: float
    events: tuple[Event, ...]
    idle: tuple[Object, ...]
    clear: bool

    @property
    def objects(self) -> tuple[Object, ...]:
        """Every shape that can be seen, those that act first."""
        acting = dict.fromkeys((event.color, event.shape) for event in self.events)
        return (*acting, *self.idle)


@dataclass(frozen=True)
class Scene:
    """A film: a backdrop, a cast, and what the cast does."""

    duration_s: float
    aspect: float
    """Width over height."""
    actors: tuple[Actor, ...]
    events: tuple[Event, ...]
    targets: tuple[tuple[int, float, float, float, float], ...]
    """Per event: index of the actor, and its x, y, radius, alpha once the event is over."""
    backdrop: Backdrop
    backdrop_rgb: NDArray[np.float32]
    """Colours of the two ends of the backdrop, (2, 3), 0..255; equal unless it is a gradient."""
    backdrop_seed: int

    @cached_property
    def extent(self) -> tuple[float, float]:
        """Width and height in units of the shorter side."""
        return max(self.aspect, 1.0), max(1.0 / self.aspect, 1.0)

    def states(self, times_s: NDArray[np.floating] | list[float]) -> NDArray[np.float64]:
        """x, y, radius and alpha of every actor at the given times, (times, actors, 4)."""
        times = np.asarray(times_s, dtype=np.float64)
        current = np.array([[a.x, a.y, a.radius, a.alpha] for a in self.actors]).reshape(len(self.actors), 4)
        states = np.repeat(current[None], len(times), axis=0)
        for event, (index, *target) in zip(self.events, self.targets, strict=True):
            progress = np.clip((times - event.start_s) / (event.end_s - event.start_s), 0.0, 1.0)[:, None]
            states[:, index] += progress * (np.asarray(target) - current[index])
            current[index] = target
        return states

    def truth(self, start_s: float = 0.0, end_s: float | None = None) -> Truth:
        """What a viewer of ``[start_s, end_s)`` sees; the whole film by default."""
        end = self.duration_s if end_s is None else end_s
        seen, clear = [], True
        for event in self.events:
            low, high = max(event.start_s, start_s), min(event.end_s, end)
            share = max(high - low, 0.0) / (event.end_s - event.start_s)
            if share >= _VISIBLE:
                seen.append(Event(event.shape, event.color, event.action, low, high))
            elif share > _UNSEEN:
                clear = False
        acting = {(event.color, event.shape) for event in seen}
        alpha = self.states(np.linspace(start_s, end, 9))[:, :, 3].max(axis=0)
        idle = tuple(
            (actor.color, actor.shape)
            for actor, visible in zip(self.actors, alpha, strict=True)
            if visible > 0.5 and (actor.color, actor.shape) not in acting
        )
        return Truth(start_s, end, tuple(seen), idle, clear)

    def render(self, times_s: NDArray[np.floating] | list[float], size: tuple[int, int]) -> NDArray[np.uint8]:
        """The pictures at the given times: (times, height, width, 3), uint8 RGB; size is (width, height)."""
        width, height = size
        scale = min(width / self.extent[0], height / self.extent[1])
        stretch = np.array([width / self.extent[0], height / self.extent[1]]) / scale
        backdrop = self._paint_backdrop(width, height)
        states = self.states(times_s)
        frames = np.empty((len(states), height, width, 3), dtype=np.uint8)
        masks: dict[int, tuple[tuple[float, ...], slice, slice, NDArray[np.float32]]] = {}
        previous: NDArray[np.float64] | None = None
        for number, state in enumerate(states):
            if previous is not None and np.array_equal(state, previous):
                frames[number] = frames[number - 1]
                continue
            previous = state
            canvas = backdrop.copy()
            for index, actor in enumerate(self.actors):
                x, y, radius, alpha = state[index]
                if alpha <= 0.0:
                    continue
                cached = masks.get(index)
                if cached is None or cached[0] != (x, y, radius):
                    rows, columns, mask = coverage(
                        actor.shape, (x, y, radius), scale, stretch, (width, height)
                    )
                    cached = masks[index] = ((x, y, radius), rows, columns, mask)
                patch = canvas[cached[1], cached[2]]
                patch += (cached[3] * np.float32(alpha))[..., None] * (
                    np.asarray(actor.rgb, np.float32) - patch
                )
            frames[number] = (canvas + 0.5).astype(np.uint8)
        return frames

    def _paint_backdrop(self, width: int, height: int) -> NDArray[np.float32]:
        """The empty stage, (height, width, 3) float32, 0..255."""
        rng = np.random.default_rng(self.backdrop_seed)
        angle = rng.uniform(0, 2 * np.pi)
        rows = np.linspace(-0.5, 0.5, height, dtype=np.float32)[:, None] * np.float32(np.sin(angle))
        columns = np.linspace(-0.5, 0.5, width, dtype=np.float32)[None] * np.float32(np.cos(angle))
        blend = np.clip(rows + columns + 0.5, 0, 1)[..., None]
        stage = self.backdrop_rgb[0] * (1 - blend) + self.backdrop_rgb[1] * blend
        if self.backdrop == "noise":  # coarse grain, so that it survives a codec and a small picture
            grain = rng.normal(0, 9, size=(12, 12, 1)).astype(np.float32)
            cells = np.ix_(np.arange(height) * 12 // height, np.arange(width) * 12 // width)
            stage = stage + grain[cells]
        painted: NDArray[np.float32] = np.clip(stage, 0, 255).astype(np.float32)
        return painted


def random_scene(
    rng: np.random.Generator,
    *,
    duration_s: float = 8.0,
    n_events: int | None = None,
    n_idle: int | None = None,
    aspect: float = 1.0,
    event_s: tuple[float, float] | None = None,
) -> Scene:
    """A film drawn from ``rng``.

    Up to three events are done by shapes of their own; more than that by a cast of four, whose members
    act again and again. ``n_idle`` shapes only watch. ``event_s`` bounds the duration of an event; by
    default it is a share of the film, of a film longer than 12 s at most that of a 12 s one.

    Raises ValueError when so many events do not fit into the duration.
    """
    if n_events is None:
        n_events = int(rng.choice(4, p=[0.1, 0.3, 0.3, 0.3]))
    if n_idle is None:
        n_idle = int(rng.choice(3, p=[0.5, 0.35, 0.15]))
    spans = _spans(rng, duration_s, n_events, event_s)
    n_acting = min(n_events, 4)
    n_idle = min(n_idle, 4 - n_acting)
    extent = (max(aspect, 1.0), max(1.0 / aspect, 1.0))
    kinds = rng.choice(len(COLORS) * len(SHAPES), size=n_acting + n_idle, replace=False)
    cast = [(COLORS[kind // len(SHAPES)], SHAPES[kind % len(SHAPES)]) for kind in kinds.tolist()]
    first = [ACTIONS[number] for number in rng.integers(len(ACTIONS), size=n_acting)]
    plan = None
    while plan is None:  # a cast that stands too close is placed anew, its parts kept, so that none is rarer
        plan = _stage(rng, cast, first, n_events, extent)
    actors, steps = plan
    events = tuple(
        Event(actors[index].shape, actors[index].color, action, start_s, end_s)
        for (index, action, _), (start_s, end_s) in zip(steps, spans, strict=True)
    )
    backdrop = BACKDROPS[rng.integers(len(BACKDROPS))]
    tone = rng.uniform(25, 105, size=(2, 1)) + rng.uniform(-14, 14, size=(2, 3))
    if backdrop != "gradient":
        tone[1] = tone[0]
    return Scene(
        duration_s=duration_s,
        aspect=aspect,
        actors=actors,
        events=events,
        targets=tuple((index, *target) for index, _, target in steps),
        backdrop=backdrop,
        backdrop_rgb=tone.astype(np.float32),
        backdrop_seed=int(rng.integers(2**31)),
    )


def _spans(
    rng: np.random.Generator, duration_s: float, count: int, event_s: tuple[float, float] | None
) -> list[tuple[float, float]]:
    """Start and end of each event, in order, none at the very border of the film."""
    unit = min(duration_s, 12.0)
    low, high = event_s or (0.17 * unit, 0.45 * unit)
    gap = 0.075 * unit
    room = duration_s - (count + 1) * gap
    if count * low > room + 1e-9:
        raise ValueError(f"{count} events of at least {low:.2f} s do not fit into {duration_s:.2f} s")
    lengths = rng.uniform(low, high, size=count)
    if lengths.sum() > room:
        lengths = low + (lengths - low) * (room - count * low) / max((lengths - low).sum(), 1e-9)
    gaps = gap + rng.dirichlet(np.ones(count + 1)) * (room - lengths.sum())
    starts = np.cumsum(gaps[:-1]) + np.concatenate([[0.0], np.cumsum(lengths)[:-1]]) if count else []
    return [(float(start), float(start + length)) for start, length in zip(starts, lengths, strict=True)]


_Step = tuple[int, Action, tuple[float, float, float, float]]


def _stage(
    rng: np.random.Generator,
    cast: list[Object],
    first: list[Action],
    n_events: int,
    extent: tuple[float, float],
) -> tuple[tuple[Actor, ...], list[_Step]] | None:
    """Places for the cast and what its members do, or None when somebody finds no room.

    The first ``len(first)`` of the cast act, each beginning with the action given; the rest watch.
    """
    state = np.zeros((len(cast), 4))
    for index in range(len(cast)):
        action = first[index] if index < len(first) else None
        crowded = len(cast) > 3
        small, middle, large = ((0.1, 0.11), (0.1, 0.13), (0.165, 0.175)) if crowded else _RADII
        low, high = {"grow": small, "shrink": large}.get(action or "", middle)
        radius = rng.uniform(low, high)
        for _ in range(20):
            candidate = np.array([*_place(rng, radius, action, extent), radius, float(action != "appear")])
            if _clear(candidate[None], state[:index]):
                state[index] = candidate
                break
        else:
            return None
    actors = tuple(
        Actor(shape, color, x, y, radius, alpha, _tint(rng, color))
        for (color, shape), (x, y, radius, alpha) in zip(cast, state.tolist(), strict=True)
    )
    steps: list[_Step] = []
    for number in range(n_events):
        if number < len(first):
            tries: list[tuple[int, Action | None]] = [(number, first[number])]
        else:
            tries = [(index, None) for index in rng.permutation(len(first)).tolist()]
        for index, wanted in tries:
            step = _act(rng, state[index], np.delete(state, index, axis=0), extent, wanted)
            if step is not None:
                break
        else:
            return None
        action, target = step
        state[index] = target
        steps.append((index, action, target))
    return actors, steps


def _place(
    rng: np.random.Generator, radius: float, action: Action | None, extent: tuple[float, float]
) -> list[float]:
    """A place for a shape that leaves it room to act: x and y."""
    place = []
    for axis, side in enumerate(extent):
        step = _STEP[action][axis] if action in _STEP else 0
        margin = REACH * radius * (1.65 if action == "grow" else 1.0) + _CLEARANCE
        low, high = margin + MIN_MOVE * (step < 0), side - margin - MIN_MOVE * (step > 0)
        place.append(rng.uniform(low, high))
    return place


def _act(
    rng: np.random.Generator,
    state: NDArray[np.float64],
    others: NDArray[np.float64],
    extent: tuple[float, float],
    wanted: Action | None,
) -> tuple[Action, tuple[float, float, float, float]] | None:
    """Something that a shape in this state can do without touching anybody (the invisible included)."""
    x, y, radius, alpha = state.tolist()
    for _ in range(12):
        action = wanted or ACTIONS[rng.choice(len(ACTIONS), p=_AGAIN)]
        if (action == "appear") != (alpha == 0.0):
            if wanted:
                return None
            continue
        target = [x, y, radius, 0.0 if action == "disappear" else 1.0]
        if action in _STEP:
            way = rng.uniform(MIN_MOVE, MAX_MOVE)
            target[0] += _STEP[action][0] * way
            target[1] += _STEP[action][1] * way
        elif action == "grow":
            target[2] = rng.uniform(1.6, 1.75) * radius
        elif action == "shrink":
            target[2] = rng.uniform(0.57, 0.625) * radius
        if not MIN_RADIUS - 0.005 <= target[2] <= MAX_RADIUS + 0.005:
            continue
        margin = REACH * target[2] + _CLEARANCE / 2
        if not all(margin <= target[axis] <= extent[axis] - margin for axis in (0, 1)):
            continue
        path = state + _PROGRESS * (np.asarray(target) - state)
        if _clear(path, others):
            return action, (target[0], target[1], target[2], target[3])
    return None


def _clear(path: NDArray[np.float64], others: NDArray[np.float64]) -> bool:
    """Whether a shape on its path, (steps, 4), keeps its distance from every other, (others, 4)."""
    rows = others.tolist()  # so few that plain floats are much faster than arrays
    return all(
        math.hypot(x - row[0], y - row[1]) >= 1.1 * (radius + row[2]) + _CLEARANCE
        for x, y, radius, _ in path.tolist()
        for row in rows
    )


def _tint(rng: np.random.Generator, color: Color) -> tuple[float, float, float]:
    """The colour as painted: a little off its name, as in life."""
    red, green, blue = np.clip(np.asarray(RGB[color]) + rng.uniform(-14, 14, size=3), 0, 255).tolist()
    return red, green, blue
