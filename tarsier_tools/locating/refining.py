"""The second look: shorter windows around what was found, and what they say of its boundaries. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from tarsier_tools.locating.geometry import Layout, Window, around, sliding
from tarsier_tools.locating.segments import Stretch, apart, crossings, inside, shared
from tarsier_tools.locating.watching import Look

_ROOM = 2.5
"""Length of a closer look at an event, in lengths of the event: its surroundings are part of the evidence."""

_SHORT = 4
"""Parts of a window that a short one has, for the methods that go by scores."""

_PEAK = 0.75
"""Share of its height that a part of a curve must reach to count."""


@dataclass(frozen=True, slots=True)
class Task:
    """One place to look closer at: the windows for it, by their numbers, and what they are for."""

    event: int
    place: Stretch
    windows: tuple[int, ...]
    kind: str


@dataclass(slots=True)
class Closer:
    """What to look at again.

    Attributes:
        windows: in the order in which they were thought of, each once.
        about: numbers of the events that each of them is looked at for.
        frames: shown of each.
        resolution_s: by event, how finely its boundaries will be known.
    """

    frames: int
    within: Window
    windows: list[Window] = field(default_factory=list)
    about: list[list[int]] = field(default_factory=list)
    tasks: list[Task] = field(default_factory=list)
    resolution_s: dict[int, float] = field(default_factory=dict)

    def add(
        self, event: int, place: Stretch, kind: str, windows: Sequence[Window], resolution_s: float
    ) -> None:
        """One more place; windows that are there already are shared."""
        numbers = []
        for window in windows:
            if window not in self.windows:
                self.windows.append(window)
                self.about.append([])
            number = self.windows.index(window)
            if event not in self.about[number]:
                self.about[number].append(event)
            numbers.append(number)
        self.tasks.append(Task(event, place, tuple(numbers), kind))
        self.resolution_s[event] = max(self.resolution_s.get(event, 0.0), resolution_s)


def by_frames(best: Sequence[Sequence[Stretch]], layout: Layout, within: Window, frames: int) -> Closer:
    """For models that write frames: a place in one closer window, or each end of a long one in its own."""
    closer = Closer(frames, within)
    for event, places in enumerate(best):
        for place in places:
            length = min(max(_ROOM * place.length_s, layout.length_s / 2), layout.length_s)
            if place.length_s <= 0.6 * layout.length_s:
                window = around(place.start_s, place.end_s, length, within)
                if not place.cut and window.length_s > 0.8 * layout.length_s:
                    continue  # it would show what was seen already
                closer.add(event, place, "place", [window], window.length_s / frames)
                continue
            half = layout.length_s / 2
            ends = [around(end, end, half, within) for end in (place.start_s, place.end_s)]
            closer.add(event, place, "ends", ends, half / frames)
    return closer


def by_scores(
    best: Sequence[Sequence[Stretch]], layout: Layout, within: Window, frames: int, step_s: float
) -> Closer:
    """For scores alone: short windows that slide over each place.

    Args:
        step_s: between two frames that were seen.
    """
    fewer = max(4, frames // 2)
    closer = Closer(fewer, within)
    length = layout.length_s / _SHORT
    if length / fewer <= 1e-3 or length < step_s / 2:
        return closer  # no frames lie between those that were seen
    for event, places in enumerate(best):
        for place in places:
            windows = sliding(place.start_s, place.end_s, length, length / 2, within)
            closer.add(event, place, "curve", windows, length / 2)
    return closer


def refined(places: Sequence[Stretch], closer: Closer, fine: Mapping[int, Look], event: int) -> list[Stretch]:
    """The places of an event with the boundaries of the closer look; as they were where it gives none."""
    tasks = {task.place: task for task in closer.tasks if task.event == event}
    found: list[Stretch] = []
    for place in places:
        task = tasks.get(place)
        looks = [fine[number] for number in task.windows if number in fine] if task else []
        if task is None or not looks:
            found.append(place)
        elif task.kind == "curve":
            found += _on_curve(place, looks, event)
        else:
            found.append(_in_writing(place, looks, event, closer.within))
    return apart(found)


def _on_curve(place: Stretch, looks: Sequence[Look], event: int) -> list[Stretch]:
    curve = sorted(((look.window.start_s + look.window.end_s) / 2, look.evidence[event]) for look in looks)
    high, low = max(value for _, value in curve), min(value for _, value in curve)
    bar = low + _PEAK * (high - low)
    return [
        part
        for part in crossings(curve, place)
        if any(value >= bar for time, value in curve if part.start_s <= time <= part.end_s)
    ] or [place]


def _in_writing(place: Stretch, looks: Sequence[Look], event: int, within: Window) -> Stretch:
    """Each boundary from a span that overlaps the place and was not cut by its window."""
    start, end = place.start_s, place.end_s
    for look in looks:
        written = look.written.get(event)
        spans = (
            [inside(span, look.window, within, place.evidence) for span in written.spans] if written else []
        )
        near = [span for span in spans if shared(span, place) > 0]
        if not near:
            continue
        span = max(near, key=lambda one: shared(one, place) * one.length_s)
        if abs(span.start_s - look.window.start_s) > 1e-3 or look.window.start_s <= within.start_s:
            start = span.start_s if look.window.start_s <= place.start_s else start
        if abs(span.end_s - look.window.end_s) > 1e-3 or look.window.end_s >= within.end_s:
            end = span.end_s if look.window.end_s >= place.end_s else end
    return replace(place, start_s=start, end_s=end) if start < end else place
