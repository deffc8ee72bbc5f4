"""Does converting a checkpoint cost more than copying it? ``tarsier-tools convert`` beside ``cp``.

    python benchmarks/convert.py [--gb 4] [--repeats 3] [--folder DIR] [--write]

A synthetic checkpoint in Tarsier2's layout, weights of random bytes in several files, is converted and copied
in turns, each in a process of its own, and both are made durable (``cp`` is followed by ``sync``, since
convert ends with fsync). convert also reads back, compares and hashes every byte, which cp does not.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from report import publish, table  # noqa: E402

from tarsier_tools.backends.tarsier2.convert_config import Source  # noqa: E402
from tarsier_tools.backends.tarsier2.convert_shapes import expected_shapes  # noqa: E402

SMALL = ROOT / "tests" / "golden" / "tiny-tarsier2"
SHARDS = 4
SIDE = 4096
"""The width of the large model; its vocabulary takes up what depth does not."""


def build(folder: Path, size: int) -> int:
    """Write the checkpoint, about ``size`` bytes of bfloat16; bytes of its weights."""
    for path in SMALL.iterdir():
        if path.suffix in (".json", ".txt") and path.name != "config.json":
            shutil.copy(path, folder)
    config = json.loads((SMALL / "config.json").read_text("utf-8"))
    config["text_config"] |= {"hidden_size": SIDE, "intermediate_size": SIDE, "num_attention_heads": 32}
    config["text_config"] |= {"num_key_value_heads": 32}
    config["text_config"]["rope_scaling"] = {"type": "mrope", "mrope_section": [16, 24, 24]}
    config["vision_config"] |= {"hidden_size": SIDE}
    per_layer = (4 + 3) * SIDE * SIDE * 2
    config["text_config"]["num_hidden_layers"] = max(1, round(size / per_layer))
    (folder / "config.json").write_text(json.dumps(config), "utf-8")
    shapes = expected_shapes(Source.read(folder, config))
    names = sorted(shapes)
    weight_map: dict[str, str] = {}
    for number in range(SHARDS):
        part = names[number * len(names) // SHARDS : (number + 1) * len(names) // SHARDS]
        file = f"model-{number + 1:05}-of-{SHARDS:05}.safetensors"
        _write_random(folder / file, {name: shapes[name] for name in part})
        weight_map |= dict.fromkeys(part, file)
    index = {"metadata": {}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), "utf-8")
    return sum(path.stat().st_size for path in folder.glob("*.safetensors"))


def _write_random(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> None:
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, shape in shapes.items():
        start, end = end, end + 2 * math.prod(shape)
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    noise = os.urandom(1 << 24)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        while end > 0:
            end -= file.write(noise[: min(end, len(noise))])
        file.flush()
        os.fsync(file.fileno())


def timed(*commands: list[str]) -> tuple[float, int]:
    """Seconds of the commands, one after the other, and the largest memory of any child so far in MB."""
    start = time.perf_counter()
    for command in commands:
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--gb", type=float, default=4.0)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where to work; needs three times the size")
    parser.add_argument("--write", action="store_true", help="put the section into benchmarks/RESULTS.md")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        source, target = Path(name) / "source", Path(name) / "target"
        source.mkdir()
        size = build(source, int(arguments.gb * 1e9))
        copy = ["cp", "-r", "--reflink=never", str(source), str(target)]
        convert = [sys.executable, "-m", "tarsier_tools", "convert", str(source), str(target)]
        seconds: dict[str, list[float]] = {"cp": [], "cp, sync": [], "cp, sync, sha256sum": [], "convert": []}
        memory = 0
        for _ in range(arguments.repeats):
            took, _ = timed(copy)
            seconds["cp"].append(took)
            took += timed(["sync", "-f", str(target)])[0]
            seconds["cp, sync"].append(took)
            took += timed(["sha256sum", *map(str, sorted(target.glob("*.safetensors")))])[0]
            seconds["cp, sync, sha256sum"].append(took)
            shutil.rmtree(target)
            took, memory = timed(convert)
            seconds["convert"].append(took)
            shutil.rmtree(target)
        start, _ = timed([sys.executable, "-c", "import tarsier_tools.backends.tarsier2.convert"])
    medians = {what: statistics.median(values) for what, values in seconds.items()}
    rows = [
        [
            what,
            f"{medians[what]:.1f} s ({min(values):.1f}-{max(values):.1f})",
            f"{medians[what] / medians['cp, sync']:.2f}x",
        ]
        for what, values in seconds.items()
    ]
    body = (
        f"{size / 1e9:.2f} GB in {SHARDS} files, medians of {arguments.repeats} turns (least-most). "
        f"Peak memory of convert: {memory} MB resident. {start:.1f} s of its time are imports.\n\n"
        + table(["what", "time", "to cp, sync"], rows)
    )
    publish("Conversion", body, packages=("transformers", "safetensors"), write=arguments.write)


if __name__ == "__main__":
    main()
