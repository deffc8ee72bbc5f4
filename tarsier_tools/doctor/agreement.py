"""Checks that need a second opinion: the whole way from a file to seconds, and another backend."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tarsier_tools import prompts
from tarsier_tools.doctor.films import FRAMES, film, shown
from tarsier_tools.doctor.findings import Finding
from tarsier_tools.media.writer import write_mp4
from tarsier_tools.selfcheck import language
from tarsier_tools.selfcheck.scoring import overlap
from tarsier_tools.types import Request

if TYPE_CHECKING:
    from tarsier_tools.backends.base import Backend
    from tarsier_tools.service import VideoService

PLACED = 4
"""Films in which an event is located."""
OVERLAP = 0.3
"""Intersection over union from which on an event counts as found where it is."""
CLOSE, APART = 0.1, 0.5
"""Natural-log units of a token's log-probability: what JPEG and bfloat16 may do, and what they never do."""
_FPS = 20
_COMPARED = 4


def check_times(service: VideoService) -> Finding:
    """Events of films in files are found at the seconds at which they happen."""
    shares: list[float] = []
    with tempfile.TemporaryDirectory(prefix="tarsier-doctor-") as folder:
        for number in range(PLACED):
            scene, path = film(number).scene, Path(folder) / f"{number}.mp4"
            times_s = np.arange(round(scene.duration_s * _FPS)) / _FPS
            write_mp4(path, scene.render(times_s, (224, 224)), _FPS)
            found = service.locate(path, language.event_phrase(film(number).fact))
            event = scene.events[0]
            true = (event.start_s, event.end_s)
            shares.append(
                max((overlap((each.start_s, each.end_s), true) for each in found.segments), default=0.0)
            )
    right = sum(share >= OVERLAP for share in shares)
    told = f"{right} of {PLACED} events were found where they are (mean overlap {np.mean(shares):.2f})"
    figures = {"mean_overlap": float(np.mean(shares))}
    if right >= PLACED / 2:
        return Finding(name="times", status="ok", detail=f"{told}.", figures=figures)
    return Finding(
        name="times",
        status="warn",
        detail=f"{told}.",
        hint="This checkpoint may not know drawn shapes: see --quality, and calibrate it "
        "(tarsier-tools calibrate). If 'frames in order' fails too, that is the reason.",
        figures=figures,
    )


def check_agreement(backend: Backend, other: Backend) -> Finding:
    """Both backends write the same and give the first token the same probability.

    Args:
        other: runs the same checkpoint in this process.
    """
    same, gaps = 0, []
    for number in range(_COMPARED):
        clip = shown(film(number + 4).scene, FRAMES, (224, 224))
        request = Request(clip, prompts.caption(), max_new_tokens=48)
        (one,), (two,) = backend.generate([request]), other.generate([request])
        same += one.text == two.text
        if one.logprobs and two.logprobs:
            gaps.append(abs(one.logprobs[0] - two.logprobs[0]))
    gap = max(gaps, default=0.0)
    told = f"{same} of {_COMPARED} captions are the same as {other.info.name}'s, to the letter"
    told += f"; the first token's log-probability differs by up to {gap:.4f}" if gaps else ""
    figures = {"same": same / _COMPARED, "logprob_gap": gap}
    if same == _COMPARED and gap <= CLOSE:
        return Finding(name="agreement", status="ok", detail=f"{told}.", figures=figures)
    if same >= _COMPARED / 2 and gap <= APART:
        return Finding(
            name="agreement",
            status="warn",
            detail=f"{told}.",
            hint="Quantisation, another number format and JPEG do this: compare with "
            "TARSIER_PICTURE_FORMAT=png, and see --quality.",
            figures=figures,
        )
    return Finding(
        name="agreement",
        status="fail",
        detail=f"{told}.",
        hint="It is another checkpoint, another chat template, or other frames: check what is served.",
        figures=figures,
    )
