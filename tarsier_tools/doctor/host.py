"""Checks of this machine: versions, device, memory, decoder. No model is asked."""

from __future__ import annotations

import platform
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from tarsier_tools.backends import local_extra
from tarsier_tools.config import Settings
from tarsier_tools.doctor.films import numbered, read_number
from tarsier_tools.doctor.findings import Finding
from tarsier_tools.media.clips import ClipSpec
from tarsier_tools.media.source import Source
from tarsier_tools.media.writer import write_mp4
from tarsier_tools.types import no_progress

PACKAGES = ("av", "numpy", "pillow", "httpx", "torch", "transformers", "tokenizers", "safetensors")
LOW_MEMORY = 2_000_000_000
"""Bytes below which a machine has little room for a model and the frames of videos."""
_FPS = 25
_FRAMES = 50


def check_versions() -> Finding:
    """Which versions are here; nothing is judged."""
    found = []
    for name in PACKAGES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(f"no {name}")
    python = f"Python {platform.python_version()} on {platform.system()} {platform.machine()}"
    return Finding(
        name="versions",
        status="ok",
        detail=f"tarsier-tools {version('tarsier-tools')}, {python}; {', '.join(found)}.",
    )


def check_device(settings: Settings) -> Finding:
    """Where a local model runs, and the memory that is left there. Raises BackendUnavailable."""
    with local_extra():
        from tarsier_tools.backends.tarsier2.devices import look_at
    name, free = look_at(settings.device)
    if free is None:
        return Finding(
            name="device", status="ok", detail=f"{name}; the system does not tell its free memory."
        )
    figures = {"free_bytes": float(free)}
    if free < LOW_MEMORY:
        return Finding(
            name="device",
            status="warn",
            detail=f"{name}; only {free / 1e9:.1f} GB of memory are free.",
            hint="End other programs, or choose another device with TARSIER_DEVICE.",
            figures=figures,
        )
    return Finding(
        name="device", status="ok", detail=f"{name}; {free / 1e9:.1f} GB of memory are free.", figures=figures
    )


def check_decoder(settings: Settings) -> Finding:
    """A film whose frames hold their numbers is written, decoded, and read. Raises VideoError."""
    from tarsier_tools.decoding import Decoding

    decoding = Decoding(settings)
    try:
        with tempfile.TemporaryDirectory(prefix="tarsier-doctor-") as folder:
            path = Path(folder) / "numbered.mp4"
            write_mp4(path, numbered(_FRAMES), fps=_FPS)
            source = Source(path=path, given=str(path), name=path.name)
            decoded = decoding.clip(source, ClipSpec(0.5, None, frames=12), no_progress)
    finally:
        decoding.close()
    clip, name = decoded.clip, decoded.info.decoder
    read = [read_number(image) for image in clip.frames]
    late = max(abs(index / _FPS - time_s) for index, time_s in zip(clip.indices, clip.times_s, strict=True))
    if tuple(read) != clip.indices or late > 0.001:
        return Finding(
            name="decoder",
            status="fail",
            detail=f"{name} gave the frames {read} as {list(clip.indices)}, up to {late:.3f} s off.",
            hint="Reinstall av (pip install --force-reinstall av), or leave TARSIER_DECODER away.",
        )
    return Finding(
        name="decoder", status="ok", detail=f"{name} gives the right frames, undistorted, at their times."
    )
