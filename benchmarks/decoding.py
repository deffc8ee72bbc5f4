"""Is the right frame decoded, and at what cost? The reader beside the recipes found in most code.

    python benchmarks/decoding.py [--small] [--write]

Every file of the tests' corpus is read with each decoder, then a few generated videos with real detail are
timed. Costs are CPU seconds of this process, decoders taking turns, medians; the ratio is to the cheapest.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import av
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from report import publish  # noqa: E402

from tarsier_tools.errors import TarsierError  # noqa: E402
from tarsier_tools.media.clips import ClipSpec, read_clip  # noqa: E402
from tarsier_tools.media.reader import open_video  # noqa: E402
from tarsier_tools.media.windows import read_clips  # noqa: E402
from tests.corpus import GOOD, Good, Track, picture, read_number, steady, write  # noqa: E402

Images = dict[int, np.ndarray]
Decoder = Callable[[Path, Sequence[int]], Images]


def ours(path: Path, wanted: Sequence[int]) -> Images:
    with open_video(path) as reader:
        return {frame.index: frame.image for frame in reader.read(wanted)}


def pyav_in_order(path: Path, wanted: Sequence[int]) -> Images:
    """Decode everything, keep what is wanted."""
    images: Images = {}
    with av.open(str(path)) as container:
        container.streams.video[0].thread_type = "AUTO"
        for number, frame in enumerate(container.decode(video=0)):
            if number in wanted:
                images[number] = frame.to_ndarray(format="rgb24")
            if number >= max(wanted):
                break
    return images


def pyav_seeking(path: Path, wanted: Sequence[int]) -> Images:
    """One seek per frame, to its time at the average rate."""
    images: Images = {}
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        start = stream.start_time or 0
        for number in wanted:
            target = start + round(number / stream.average_rate / stream.time_base)
            container.seek(target, stream=stream, backward=True)
            for frame in container.decode(stream):
                if frame.pts is not None and frame.pts >= target - 1:
                    images[number] = frame.to_ndarray(format="rgb24")
                    break
    return images


def plain_decord(path: Path, wanted: Sequence[int]) -> Images:
    import decord

    video = decord.VideoReader(str(path), num_threads=1)
    return dict(zip(wanted, video.get_batch(list(wanted)).asnumpy(), strict=True))


def opencv(path: Path, wanted: Sequence[int]) -> Images:
    import cv2

    images: Images = {}
    capture = cv2.VideoCapture(str(path))
    for number in range(max(wanted) + 1):
        if not capture.grab():
            break
        if number in wanted:
            images[number] = cv2.cvtColor(capture.retrieve()[1], cv2.COLOR_BGR2RGB)
    capture.release()
    return images


def decoders() -> dict[str, Decoder]:
    """Ours first, then the others that can be imported."""
    found: dict[str, Decoder] = {
        "this reader": ours,
        "PyAV in order": pyav_in_order,
        "PyAV seeking": pyav_seeking,
    }
    for name, module, decoder in (("decord", "decord", plain_decord), ("OpenCV", "cv2", opencv)):
        try:
            __import__(module)
        except ImportError:
            continue
        found[name] = decoder
    return found


def uniform(count: int, frames: int) -> list[int]:
    return sorted({round(place * (count - 1) / max(1, frames - 1)) for place in range(frames)})


# ---------------------------------------------------------------- the right frame


def right_frames(video: Good, path: Path, decode: Decoder) -> str:
    """How many of 16 uniform frames are the right ones, as "16/16"; why not, when it fails."""
    wanted = uniform(len(video.numbers), 16)
    try:
        images = decode(path, wanted)
    except (TarsierError, Exception) as error:  # noqa: BLE001  (whatever a decoder does is the finding)
        return type(error).__name__
    right = sum(read_number(images[n]) == video.numbers[n] for n in wanted if n in images)
    return "ok" if right == len(wanted) else f"{right}/{len(wanted)}"


def correctness(folder: Path, small: bool) -> list[str]:
    named = decoders()
    lines = ["| file | " + " | ".join(named) + " |", "|---|" + "---|" * len(named)]
    agreed = 0
    for video in GOOD[:: 8 if small else 1]:
        path = folder / video.name
        video.make(path)
        results = [right_frames(video, path, decode) for decode in named.values()]
        if set(results) == {"ok"}:
            agreed += 1
        else:
            lines.append(f"| {video.name} | " + " | ".join(results) + " |")
    return [*lines, "", f"All of them right: {agreed} other files."]


# ---------------------------------------------------------------- the cost


def scenery(number: int, width: int, height: int) -> np.ndarray:
    """The numbered picture over a moving texture, so that pictures cost what those of a camera do."""
    image = picture(number, width, height).copy()
    texture = _texture(width, height)
    moved = np.roll(texture, (number * 2, number * 3), axis=(0, 1))
    top = height // 3 + 1
    image[top:] = (image[top:].astype(np.uint16) + moved[top:, :, np.newaxis]) // 2
    return image


_TEXTURES: dict[tuple[int, int], np.ndarray] = {}


def _texture(width: int, height: int) -> np.ndarray:
    if (width, height) not in _TEXTURES:
        coarse = np.random.default_rng(7).integers(0, 256, (height // 8 + 1, width // 8 + 1))
        fine = np.kron(coarse, np.ones((8, 8)))[:height, :width]
        noise = np.random.default_rng(8).integers(0, 32, (height, width))
        _TEXTURES[width, height] = np.clip(fine + noise, 0, 255).astype(np.uint16)
    return _TEXTURES[width, height]


def timed_videos(small: bool) -> list[tuple[str, Track, list[int]]]:
    """(name, track, how many frames are wanted)."""
    if small:
        track = Track(range(60), steady(60), width=320, height=192, options={"preset": "veryfast"})
        return [("60 frames 320x192", track, [4])]
    cases = []
    for name, width, height, count in (("640x360", 640, 360, 900), ("1920x1080", 1920, 1088, 300)):
        for gop in (30, 250):
            numbers = [number % 1000 for number in range(count)]
            track = Track(
                numbers, steady(count), width=width, height=height, gop=gop, options={"preset": "veryfast"}
            )
            cases.append((f"{name}, {count / 30:.0f} s, GOP {gop}", track, [8, 16, 64]))
    return cases


def cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def cost(folder: Path, repeats: int, small: bool) -> list[str]:
    named = decoders()
    lines = [
        "| video | frames | " + " | ".join(f"{name}, CPU s" for name in named) + " | ours to the cheapest |",
        "|---|---|" + "---|" * len(named) + "---|",
    ]
    for name, track, wanted_counts in timed_videos(small):
        path = folder / f"{name.replace(' ', '_').replace(',', '')}.mp4"
        write(path, track, draw=scenery)
        for frames in wanted_counts:
            wanted = uniform(len(track.numbers), frames)
            spent: dict[str, list[float]] = {decoder: [] for decoder in named}
            right: dict[str, bool] = {}
            for _ in range(repeats):
                for decoder, decode in named.items():
                    before = cpu_s()
                    images = decode(path, wanted)
                    spent[decoder].append(cpu_s() - before)
                    right[decoder] = all(
                        read_number(images[n]) == track.numbers[n] for n in wanted if n in images
                    )
            medians = {decoder: statistics.median(values) for decoder, values in spent.items()}
            ratio = medians["this reader"] / min(
                value for decoder, value in medians.items() if right[decoder]
            )
            cells = [f"{medians[d]:.3f}{'' if right[d] else ' (wrong frames)'}" for d in named]
            lines.append(f"| {name} | {frames} | " + " | ".join(cells) + f" | {ratio:.2f}x |")
    return lines


def sharing(folder: Path, small: bool) -> list[str]:
    """Overlapping windows of one video: in one pass, and each by itself."""
    count = 120 if small else 900
    path = folder / "windows.mp4"
    write(path, Track(range(count), steady(count), width=320, height=192, gop=30), draw=scenery)
    specs = [ClipSpec(start / 30, start / 30 + 2, frames=15) for start in range(0, count - 59, 20)]
    before = cpu_s()
    shared = {number: found.clip.fingerprint for number, found in read_clips(path, source="", specs=specs)}
    middle = cpu_s()
    alone = [read_clip(path, source="", spec=spec).clip.fingerprint for spec in specs]
    after = cpu_s()
    assert [shared[number] for number in range(len(specs))] == alone
    return [
        f"{len(specs)} windows of 2 s, 15 frames each, two thirds shared with the next: one pass "
        f"{middle - before:.2f} CPU s, each by itself {after - middle:.2f} "
        f"({(after - middle) / (middle - before):.1f}x)."
    ]


# ---------------------------------------------------------------- the report


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--small", action="store_true", help="a few small files, to see that it runs")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--write", action="store_true", help="put the section into benchmarks/RESULTS.md")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "corpus").mkdir()
        body = "\n".join(
            [
                "The right frame (of up to 16 uniform ones, by number):",
                "",
                *correctness(folder / "corpus", arguments.small),
                "",
                f"Cost of frames at full size, medians of {arguments.repeats}:",
                "",
                *cost(folder, arguments.repeats, arguments.small),
                "",
                *sharing(folder, arguments.small),
            ]
        )
    publish("Decoding", body, packages=("av", "decord", "numpy"), write=arguments.write)


if __name__ == "__main__":
    main()
