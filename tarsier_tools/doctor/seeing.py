"""Checks of what a model is shown: that every frame arrives, in order, and is what it was.

They need nothing but the contract of a backend. Where a server gives probabilities, true and false sentences
about small films are compared by them; where it gives none, the model is asked for yes or no.
"""

from __future__ import annotations

from collections.abc import Sequence

from tarsier_tools import prompts
from tarsier_tools.backends.base import Backend
from tarsier_tools.doctor.films import Film, film, plain, with_noise
from tarsier_tools.doctor.findings import Finding
from tarsier_tools.errors import BackendRejected
from tarsier_tools.media.transform import GRID
from tarsier_tools.selfcheck import language
from tarsier_tools.selfcheck.world import Fact
from tarsier_tools.types import Clip, Request, ScoreRequest

FILMS = 16
"""Two of every action. By chance one side wins 12 of 16 or more in 4 % of cases."""
CLEAR = 0.75
"""The share of films from which on a preference is called one."""
LONG_CLIP = 40
"""More frames than any limit that servers are known to set unasked: 32 entries, 16 frames sent twice."""
MARKS = 2
"""Tokens around each picture of its own: ``<|vision_start|>`` and ``<|vision_end|>``."""
_WIDE, _TALL = (112, 56), (56, 112)
_SAME = 1e-6
"""Natural-log units; answers of the same request differ by more on some servers, of another never by less."""


def check_arrival(backend: Backend, frames: int) -> Finding:
    """The tokens that the model reads are those of the frames sent: none dropped, added or reshaped.

    Args:
        frames: of the clips that are used here.

    Raises BackendError when the backend refuses even a clip of that many frames.
    """
    read = {size: _tokens_read(backend, frames, size) for size in (_WIDE, _TALL)}
    if all(tokens == _tokens(frames, size) + MARKS * frames for size, tokens in read.items()):
        return Finding(
            name="frames arrive",
            status="warn",
            detail=f"All {frames} frames of a clip arrive, each as a picture of its own and not as a video.",
            hint="Serve the model with vLLM: it takes lists of frames as one video, as Tarsier2 was trained.",
        )
    wrong = [_miscounted(tokens, frames, size) for size, tokens in read.items()]
    if any(wrong):
        return Finding(
            name="frames arrive",
            status="fail",
            detail=f"The model did not read the frames as they were sent: {'; '.join(filter(None, wrong))}.",
            hint="Serve a Tarsier2 or Qwen2-VL checkpoint, and let nothing on the way sample or resize.",
        )
    limit = ""
    try:
        if frames < LONG_CLIP:
            limit = _miscounted(_tokens_read(backend, LONG_CLIP, _WIDE), LONG_CLIP, _WIDE)
        hint = "Let nothing on the way sample or drop frames."
    except BackendRejected as error:
        limit, hint = error.message, error.hint
    told = f"All {frames} frames of a clip arrive, wide and tall ones"
    if limit:
        return Finding(
            name="frames arrive", status="warn", detail=f"{told}; {LONG_CLIP} do not: {limit}", hint=hint
        )
    more = f", and all {LONG_CLIP} of a longer one" if frames < LONG_CLIP else ""
    return Finding(name="frames arrive", status="ok", detail=f"{told}{more}.")


def check_every_frame(backend: Backend) -> Finding:
    """Each frame makes a difference: with noise in its place the model answers differently."""
    name, told = "every frame counts", film(0)
    if backend.info.scoring == "none":
        return Finding(
            name=name,
            status="warn",
            detail="This cannot be checked: the server gives no probabilities.",
            hint="Serve the model with vLLM, which gives them.",
        )
    numbers = range(0, len(told.clip), 3)  # the first and the last among them
    same = _support(backend, told.clip, told.fact)
    unseen = [
        number
        for number in numbers
        if abs(_support(backend, with_noise(told.clip, number), told.fact) - same) < _SAME
    ]
    if unseen:
        frames = ", ".join(str(number + 1) for number in unseen)
        return Finding(
            name=name,
            status="fail",
            detail=f"Of {len(told.clip)} frames these make no difference to the model: {frames}.",
            hint="Something on the way replaces or skips frames; send them to the server directly.",
        )
    return Finding(
        name=name, status="ok", detail=f"Each of {len(numbers)} frames tried of {len(told.clip)} does."
    )


def check_content(backend: Backend) -> Finding:
    """The model tells what is in a film from what is not."""
    won = _preferred(backend, [(each, each.elsewhere) for each in map(film, range(FILMS))])
    told = f"The model prefers the truth to another shape in another colour in {won:g} of {FILMS} films"
    figures = {"share": won / FILMS}
    if won / FILMS >= CLEAR:
        return Finding(name="sees what is there", status="ok", detail=f"{told}.", figures=figures)
    return Finding(
        name="sees what is there",
        status="fail",
        detail=f"{told}; blind guessing wins half.",
        hint="Check that it is a Tarsier2 checkpoint with its own chat template, and try one without "
        "quantisation. --compare-with a local checkpoint shows where answers part.",
        figures=figures,
    )


def check_order(backend: Backend) -> Finding:
    """The model prefers what happens to the same thing backwards."""
    name = "frames in order"
    won = _preferred(backend, [(each, each.backwards) for each in map(film, range(FILMS))])
    told = f"The model prefers what happens to the same thing backwards in {won:g} of {FILMS} films"
    figures = {"share": won / FILMS}
    if won / FILMS >= CLEAR:
        return Finding(name=name, status="ok", detail=f"{told}.", figures=figures)
    if won / FILMS <= 1 - CLEAR:
        return Finding(
            name=name,
            status="fail",
            detail=f"{told}: it sees the frames in reverse.",
            hint="Something on the way turns the order around; send the frames to the server directly.",
            figures=figures,
        )
    return Finding(
        name=name,
        status="warn",
        detail=f"{told}, which is no more than chance may give: nothing can be said of the order.",
        hint="Compare with a local checkpoint (--compare-with), and see --quality.",
        figures=figures,
    )


def _tokens(frames: int, size: tuple[int, int]) -> int:
    """Vision tokens of a clip; size is (width, height), multiples of 28."""
    return frames * (size[0] // GRID) * (size[1] // GRID)


def _tokens_read(backend: Backend, frames: int, size: tuple[int, int]) -> int:
    clip = plain(frames, size, seed=frames)
    (completion,) = backend.generate([Request(clip, prompts.caption(), max_new_tokens=1)])
    return completion.usage.vision_tokens


def _miscounted(read: int, frames: int, size: tuple[int, int]) -> str:
    """What is wrong with a count of vision tokens, "" for nothing."""
    expected = _tokens(frames, size)
    if read == expected:
        return ""
    return f"{read} vision tokens instead of {expected} for {frames} frames of {size[0]}x{size[1]}"


def _preferred(backend: Backend, pairs: Sequence[tuple[Film, Fact]]) -> float:
    """In how many films the truth has more support than the other fact; a tie is half."""
    won = 0.0
    for told, other in pairs:
        true, false = _support(backend, told.clip, told.fact), _support(backend, told.clip, other)
        won += 1.0 if true > false else 0.5 if true == false else 0.0
    return won


def _support(backend: Backend, clip: Clip, fact: Fact) -> float:
    """How much the model holds with a fact: higher for more, of no meaning by itself."""
    if backend.info.scoring == "texts":
        candidate = language.event_sentence(fact)
        (scores,) = backend.score([ScoreRequest(clip, prompts.caption(), (candidate,))])
        return scores.logprobs[0]
    yes, no = prompts.yes_no_words()
    question = prompts.yes_no(prompts.happens(language.event_phrase(fact)))
    if backend.info.scoring == "words":
        (scores,) = backend.score([ScoreRequest(clip, question, (yes, no))])
        return scores.logprobs[0] - scores.logprobs[1]
    (completion,) = backend.generate([Request(clip, question, max_new_tokens=8)])
    reply = completion.text.strip().casefold()
    return float(reply.startswith(yes.casefold())) - float(reply.startswith(no.casefold()))
