"""Clips of every kind but drawn shapes: animated, screen-recorded, noise, faint; the same every time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Frames = list[NDArray[np.uint8]]

COUNT = 10
_SIZE = "size=320x240:rate=10"
_WIDTH, _HEIGHT = 640, 360
_WORDS = ("the", "quick", "brown", "fox", "jumps", "over", "a", "lazy", "dog", "and", "is", "gone", "again")

_ANIMATED = {
    "test card": f"testsrc={_SIZE}",
    "test card 2": f"testsrc2={_SIZE}",
    "RGB bars": f"rgbtestsrc={_SIZE}",
    "YUV bars": f"yuvtestsrc={_SIZE}",
    "SMPTE bars": f"smptebars={_SIZE}",
    "SMPTE HD bars": f"smptehdbars={_SIZE}",
    "PAL bars": f"pal75bars={_SIZE}",
    "colour spectrum": f"colorspectrum={_SIZE}",
    "Mandelbrot set": f"mandelbrot={_SIZE}",
    "zone plate": f"zoneplate={_SIZE}:ku=512:kv=512:kt=10:kt2=20",
    "coloured gradients": f"gradients={_SIZE}:speed=0.05:seed=1",
    "dark gradients": f"gradients={_SIZE}:c0=0x202020:c1=0x505050:nb_colors=2:seed=2",
    "circular gradients": f"gradients={_SIZE}:type=circular:seed=4",
    "spiral gradients": f"gradients={_SIZE}:type=spiral:seed=4",
    "cellular automaton": f"cellauto={_SIZE}:random_seed=1",
    "game of life": "life=size=320x240:rate=10:mold=10:ratio=0.1:random_seed=1:life_color=0x00ff00",
    "coarse game of life": "life=size=80x60:rate=10:ratio=0.3:random_seed=1",
    "Sierpinski carpet": f"sierpinski={_SIZE}",
    "black": f"color=c=black:{_SIZE}",
    "white": f"color=c=white:{_SIZE}",
    "red": f"color=c=red:{_SIZE}",
}


def others() -> Iterator[tuple[str, str, Frames]]:
    """(kind, name, frames) of each clip; the kinds are animated, screen-recorded, noise and faint."""
    for name, source in _ANIMATED.items():
        yield "animated", name, generated(source)
    for name, ground, draw in _DRAWN:
        yield "animated", name, _drawn(draw, ground)
    for name, ground, draw in _SCREENS:
        yield "screen-recorded", name, _drawn(draw, ground)
    yield from _noises()
    yield from _faint()


def generated(source: str, count: int = COUNT) -> Frames:
    """Frames of a source of libavfilter, such as ``testsrc=size=320x240:rate=10``."""
    graph = av.filter.Graph()
    name, _, options = source.partition("=")
    parts = [graph.add(name, options), graph.add("format", "rgb24"), graph.add("buffersink")]
    for first, second in pairwise(parts):
        first.link_to(second)
    graph.configure()
    return [graph.pull().to_ndarray(format="rgb24") for _ in range(count)]


def _noises() -> Iterator[tuple[str, str, Frames]]:
    rng = np.random.default_rng(0)
    shape = (COUNT, 240, 320, 3)
    grey = np.clip(rng.normal(60, 15, (*shape[:3], 1)), 0, 255).astype(np.uint8).repeat(3, axis=3)
    coarse = rng.integers(20, 110, (COUNT, 12, 16, 3), dtype=np.uint8).repeat(20, axis=1).repeat(20, axis=2)
    for name, frames in (
        ("coloured", rng.integers(0, 256, shape, dtype=np.uint8)),
        ("dark", rng.integers(20, 90, shape, dtype=np.uint8)),
        ("grey", grey),
        ("coarse", coarse),
    ):
        yield "noise", name, list(frames)


def _faint() -> Iterator[tuple[str, str, Frames]]:
    """Clips as dark and even as the ground of a shapes film: night, mist, fades, flicker."""
    rng = np.random.default_rng(1)
    scenes = [
        np.asarray(Image.fromarray(each).resize((160, 120)), float) for each in _drawn(_day, (120, 190, 250))
    ]
    blurred = [_blurred(scene) for scene in scenes]
    hum = rng.normal(1, 0.2, COUNT)
    for name, frames in (
        ("night", [scene * 0.25 for scene in scenes]),
        ("mist", [scene * 0.15 + 70 for scene in scenes]),
        ("out of focus", [scene * 0.3 + 10 for scene in blurred]),
        ("dark room", [blurred[0] * 0.2 + 20 + rng.normal(0, 3, scene.shape) for scene in scenes]),
        ("fade to black", [scene * 0.04 + 90 - 8 * time for time, scene in enumerate(scenes)]),
        ("fade of plain grey", [np.full_like(scene, 30 + 5 * time) for time, scene in enumerate(scenes)]),
        ("flickering light", [np.full_like(scenes[0], 60 * share) for share in hum]),
    ):
        yield "faint", name, [np.clip(frame, 0, 255).astype(np.uint8) for frame in frames]


def _blurred(picture: NDArray[np.float64]) -> NDArray[np.float64]:
    small = Image.fromarray(picture.astype(np.uint8)).resize((6, 4))
    return np.asarray(small.resize((picture.shape[1], picture.shape[0])), float)


Draw = Callable[[ImageDraw.ImageDraw, int], None]
RGB = tuple[int, int, int]


def _drawn(draw: Draw, ground: RGB) -> Frames:
    frames = []
    for time in range(COUNT):
        image = Image.new("RGB", (_WIDTH, _HEIGHT), ground)
        draw(ImageDraw.Draw(image), time)
        frames.append(np.asarray(image))
    return frames


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _line(first: int, count: int) -> str:
    return " ".join(_WORDS[(first + number) % len(_WORDS)] for number in range(count))


def _terminal(lines: int, words: int) -> Draw:
    def draw(on: ImageDraw.ImageDraw, time: int) -> None:
        for row in range(lines):
            color = ((220, 220, 220), (80, 250, 120), (90, 140, 250))[(row + time) % 3]
            on.text((8, 8 + row * 19), f"$ {_line(time + row, words)}", fill=color, font=_font(14))

    return draw


def _slide(ink: RGB, bullets: int) -> Draw:
    def draw(on: ImageDraw.ImageDraw, time: int) -> None:
        on.text((40, 30), f"Quarterly results {time}", fill=ink, font=_font(30))
        for row in range(bullets):
            on.text((60, 100 + row * 40), f"- {_line(row * 3 + time, 6)}", fill=ink, font=_font(14))

    return draw


def _title(text: str, size: int, ink: RGB) -> Draw:
    def draw(on: ImageDraw.ImageDraw, time: int) -> None:
        on.text((60 + 20 * time, 60 + 10 * time), text, fill=ink, font=_font(size))

    return draw


def _chart(on: ImageDraw.ImageDraw, time: int) -> None:
    colors = ((31, 119, 180), (255, 127, 14), (44, 160, 44), (214, 39, 40))
    on.line((60, 20, 60, 320), fill=(128, 128, 128))
    on.line((60, 320, 620, 320), fill=(128, 128, 128))
    for bar in range(8):
        top = 320 - 30 - ((bar * 37 + time * 20) % 250)
        on.rectangle((80 + bar * 65, top, 120 + bar * 65, 319), fill=colors[bar % 4])


def _pie(on: ImageDraw.ImageDraw, time: int) -> None:
    for part, color in enumerate(((225, 45, 45), (40, 175, 70), (55, 95, 240), (245, 210, 50))):
        on.pieslice((200, 60, 440, 300), part * 90 + time * 5, part * 90 + 90 + time * 5, fill=color)


def _window(page: RGB, bar: RGB, ink: RGB) -> Draw:
    def draw(on: ImageDraw.ImageDraw, time: int) -> None:
        left = 60 + time * 10
        on.rectangle((left, 50, left + 320, 290), fill=page, outline=(110, 110, 110))
        on.rectangle((left, 50, left + 320, 74), fill=bar)
        on.text((left + 6, 54), "Document - Editor", fill=(240, 240, 240), font=_font(14))
        for row in range(7):
            on.text((left + 10, 90 + row * 24), _line(row * 3, 6), fill=ink, font=_font(14))

    return draw


def _day(on: ImageDraw.ImageDraw, time: int) -> None:
    on.rectangle((0, 200, _WIDTH, _HEIGHT), fill=(90, 180, 70))
    on.ellipse((500, 20, 560, 80), fill=(250, 220, 60))
    on.rectangle((300, 130, 420, 240), fill=(200, 120, 70))
    on.polygon([(290, 130), (430, 130), (360, 70)], fill=(170, 50, 40))
    _figure(on, 60 + time * 30)


def _night(on: ImageDraw.ImageDraw, time: int) -> None:
    on.rectangle((0, 260, _WIDTH, _HEIGHT), fill=(20, 40, 20))
    on.ellipse((500, 20, 560, 80), fill=(240, 240, 220))
    _figure(on, 60 + time * 30)


def _figure(on: ImageDraw.ImageDraw, left: int) -> None:
    on.ellipse((left, 140, left + 60, 200), fill=(240, 200, 160))
    on.rectangle((left + 10, 200, left + 50, 270), fill=(200, 50, 50))
    for foot in (20, 40):
        on.line((left + foot, 270, left + foot, 315), fill=(90, 90, 140), width=8)
    for eye in (15, 38):
        on.ellipse((left + eye, 160, left + eye + 7, 167), fill=(0, 0, 0))


def _face(on: ImageDraw.ImageDraw, time: int) -> None:
    left = 200 + time * 5
    on.ellipse((left, 100, left + 130, 230), fill=(245, 210, 50))
    for eye in (30, 80):
        on.ellipse((left + eye, 140, left + eye + 16, 156), fill=(20, 20, 20))
    on.arc((left + 30, 150, left + 100, 210), 0, 180, fill=(20, 20, 20), width=6)


def _other_colors(on: ImageDraw.ImageDraw, time: int) -> None:
    on.ellipse((100 + 10 * time, 100, 180 + 10 * time, 180), fill=(225, 45, 225))
    on.rectangle((400, 200, 470, 270), fill=(60, 220, 220))


def _on_white(on: ImageDraw.ImageDraw, time: int) -> None:
    on.ellipse((100 + 10 * time, 100, 180 + 10 * time, 180), fill=(225, 45, 45))


_DARK, _WHITE = (42, 43, 47), (255, 255, 255)
_DRAWN: tuple[tuple[str, RGB, Draw], ...] = (
    ("cartoon by day", (120, 190, 250), _day),
    ("cartoon by night", (30, 34, 60), _night),
    ("face on a dark ground", (50, 50, 55), _face),
    ("shapes in other colours", (50, 50, 55), _other_colors),
    ("shapes on white", _WHITE, _on_white),
)
_SCREENS: tuple[tuple[str, RGB, Draw], ...] = (
    ("terminal", (24, 24, 28), _terminal(18, 9)),
    ("terminal, three lines", _DARK, _terminal(3, 4)),
    ("terminal, one line", _DARK, _terminal(1, 2)),
    ("slide", _WHITE, _slide((30, 30, 30), 5)),
    ("dark slide", (40, 44, 60), _slide((235, 225, 200), 4)),
    ("title on a dark ground", _DARK, _title("Chapter 7", 60, (240, 240, 240))),
    ("logo as a screen saver", (30, 30, 30), _title("DVD", 70, (225, 45, 45))),
    ("chart", _WHITE, _chart),
    ("dark chart", _DARK, _chart),
    ("dark pie chart", _DARK, _pie),
    ("window", (58, 110, 165), _window((240, 240, 240), (0, 90, 180), (0, 0, 0))),
    ("dark window", (45, 45, 48), _window((30, 30, 34), (60, 60, 66), (120, 200, 255))),
)
