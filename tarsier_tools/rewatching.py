"""Passages that a search found, looked at again: text finds the candidates, pixels decide."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tarsier_tools import prompts
from tarsier_tools.errors import VideoError
from tarsier_tools.passages import Hit
from tarsier_tools.types import Progress, no_progress

if TYPE_CHECKING:
    from tarsier_tools.service import VideoService

CANDIDATES = 3
"""How many times the hits wanted from a library are looked at again."""


def rewatch(
    service: VideoService,
    hits: Sequence[Hit],
    query: str,
    *,
    language: str | None = None,
    on_progress: Progress = no_progress,
) -> list[Hit]:
    """The hits in a new order, each with the probability that what the query says happens in its pictures.

    The model is shown the stretch of each hit and asked whether it happens there; the answer, ``rewatched``,
    is its raw probability of yes. Hits of which no probability can be had (a server without scores, a file
    that is gone) keep their place behind the others.

    Args:
        query: an event in words; a question serves less well.
        language: of the query; by default that of the settings.

    Raises what :meth:`~tarsier_tools.service.VideoService.ask` raises, but for what is wrong with a video.
    """
    tag = language or service.settings.language
    seen: list[Hit] = []
    for done, hit in enumerate(hits):
        passage = hit.passage

        def tell(*_: object, done: int = done) -> None:
            on_progress(done, len(hits), f"looking at hit {done + 1} of {len(hits)} again")

        try:
            answer = service.ask(
                passage.source,
                prompts.happens(query, tag),
                yes_no=True,
                start_s=passage.start_s,
                end_s=passage.end_s,
                language=tag,
                on_progress=tell,
            )
        except VideoError:
            seen.append(hit)
            continue
        yes = answer.choices[0].probability if answer.choices else None
        seen.append(hit.model_copy(update={"rewatched": yes}))
    on_progress(len(hits), len(hits), "looked at every hit again")
    return sorted(seen, key=lambda hit: (hit.rewatched is None, -(hit.rewatched or 0.0)))
