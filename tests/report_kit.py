"""Results made by hand, with everything in them that a report shows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tarsier_tools import (
    Caption,
    Chapter,
    Coverage,
    Localization,
    ModelUsed,
    Segment,
    Statement,
    Timeline,
    TimeRange,
    Timings,
    Usage,
    WindowScore,
)

DURATION_S = 8.0
"""Of the film that the results are about, see ``conftest.shapes_film``."""


def grounds(
    video: Path | str, start_s: float = 0.0, end_s: float = DURATION_S, **changes: Any
) -> dict[str, Any]:
    """What every result carries: half a second between the frames seen, whose rate is 12 a second."""
    count = math.ceil((end_s - start_s) * 2)
    return {
        "video": str(video),
        "prompt": "Describe the video in detail.",
        "language": "en",
        "prompt_language": "en",
        "coverage": Coverage(
            video_duration_s=DURATION_S,
            asked=TimeRange(start_s=start_s, end_s=end_s),
            frame_times_s=tuple(start_s + number / 2 for number in range(count)),
            frame_indices=tuple(round((start_s + number / 2) * 12) for number in range(count)),
            frame_size=(224, 224),
            largest_gap_s=0.5,
            sampling="time",
            decoder="pyav",
        ),
        "model": ModelUsed(name="tarsier2-tiny", backend="tiny", device="cpu", dtype="float32"),
        "usage": Usage(prompt_tokens=400, vision_tokens=380, cached_tokens=0, completion_tokens=9),
        "timings": Timings(video_s=0.1, model_s=0.4, total_s=0.5, clip_cached=False, prefix_cached=False),
        "warnings": (),
        **changes,
    }


def localization(
    video: Path | str,
    event: str = "the red circle moves left",
    segments: Sequence[tuple[float, float]] = ((1.5, 3.0), (5.0, 6.25)),
    values: Sequence[float] = (0.1, 0.3, 0.9, 0.4, 0.1, 0.7, 0.2),
    *,
    length_s: float = 2.0,
    calibrated: bool = True,
    **changes: Any,
) -> Localization:
    """One event; the windows with these values begin a second apart."""
    carried = grounds(video, **changes)
    first = carried["coverage"].asked.start_s
    return Localization(
        event=event,
        found=bool(segments),
        segments=tuple(
            Segment(start_s=start, end_s=end, score=2.0, confidence=0.9 if calibrated else None)
            for start, end in segments
        ),
        method="yes_no",
        best_score=2.2,
        best_confidence=max(values, default=0.0) if calibrated else None,
        threshold=0.5,
        score_kind="log-odds of yes",
        calibration="films of seed 5" if calibrated else "",
        resolution_s=0.25,
        curve=tuple(
            WindowScore(
                start_s=first + number,
                end_s=first + number + length_s,
                score=value if not calibrated else 4 * value - 2,
                confidence=value if calibrated else None,
            )
            for number, value in enumerate(values)
        ),
        **carried,
    )


TEXT = "The red circle moves left. Then a green star grows, and a dog barks."


def checked_caption(video: Path | str, **changes: Any) -> Caption:
    """A caption with a statement of each verdict; the last is not in the text as it stands."""
    told = (
        ("The red circle moves left.", "supported", 0.93, 1.0, 3.0, 2.0),
        ("a green star grows", "doubtful", 0.52, 3.0, 5.0, 4.0),
        ("a dog barks", "unsupported", 0.04, 5.0, 7.0, 6.0),
        ("the dog is brown", "unsupported", 0.02, 5.0, 7.0, 6.5),
    )
    return Caption(
        text=TEXT,
        statements=tuple(
            Statement(
                text=text,
                verdict=verdict,  # type: ignore[arg-type]
                score=score,
                whole_score=score,
                start_s=start,
                end_s=end,
                evidence_s=at,
            )
            for text, verdict, score, start, end, at in told
        ),
        score_kind="probability of yes",
        finish_reason="stop",
        **grounds(video, **changes),
    )


def plain_caption(video: Path | str, text: str = "A red circle moves left.", **changes: Any) -> Caption:
    return Caption(text=text, finish_reason="stop", **grounds(video, **changes))


def timeline(video: Path | str, count: int = 8, *, chapters: bool = True, **changes: Any) -> Timeline:
    """``count`` segments of one second, in two chapters."""
    half = count // 2
    return Timeline(
        segments=tuple(
            Segment(start_s=n, end_s=n + 1, text=f"In part {n} a circle moves.") for n in range(count)
        ),
        segmentation="shots",
        chapters=(
            Chapter(start_s=0, end_s=half, title="The beginning", segments=tuple(range(half))),
            Chapter(start_s=half, end_s=count, title="结尾", segments=tuple(range(half, count))),
        )
        if chapters
        else (),
        resumed_segments=2,
        **grounds(video, **changes),
    )
