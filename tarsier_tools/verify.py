"""Looking again: each claim of a caption against the video that it was written about.

A claim is scored against the whole clip, as the caption was written, and against short overlapping windows of
it. A caption is never changed by what comes out: its claims are flagged.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

from tarsier_tools import splitting
from tarsier_tools.errors import BackendRejected
from tarsier_tools.explaining import Explained
from tarsier_tools.grounding import Asked
from tarsier_tools.locating.geometry import Window, lay_out
from tarsier_tools.locating.methods import choose
from tarsier_tools.locating.scorers import Scorer, YesNo
from tarsier_tools.locating.watching import Ledger, Look, Watcher
from tarsier_tools.media.clips import ClipSpec
from tarsier_tools.results import Statement
from tarsier_tools.types import Progress, SamplingMethod, Usage, no_progress
from tarsier_tools.workbench import Workbench

if TYPE_CHECKING:
    from tarsier_tools.backends.base import Backend
    from tarsier_tools.results import Coverage

WINDOW_SHARE = 0.4
"""Length of a window as a share of the range: four windows, each half over the next one.

Of 106 pairs of events told in the wrong order, two, three and four windows noticed 72, 85 and 94 % (60 films
of the shapes world, none of those in benchmarks/verify.py)."""

WINDOW_S = 4.0
"""Length of a window in seconds at most, as long as MAX_WINDOWS of them suffice."""

MAX_WINDOWS = 32

EXPLAINED_LIMITS = (0.7, Explained.threshold)
"""What the best window must explain of a captioner's claim to make it doubtful, and supported.

Chosen with the bundled model as a captioner on 40 films; what they do on others: benchmarks/verify.py."""

_VERDICTS = ("unsupported", "doubtful", "supported")


@dataclass(frozen=True, slots=True)
class Checked:
    """What looking again gave.

    Attributes:
        score_kind: what the scores of the statements are.
        usages: of all requests that were made.
        coverage: of the whole clip and all windows together.
        cautions: of the replies, each once.
    """

    statements: tuple[Statement, ...]
    score_kind: str
    usages: tuple[Usage, ...]
    coverage: Coverage
    cautions: tuple[str, ...] = ()


def check_scoring(backend: Backend) -> None:
    """Raise BackendRejected when the model cannot check anything."""
    if backend.info.scoring == "none":
        raise BackendRejected(
            f"{backend.info.name} gives no probabilities, so statements cannot be checked.",
            hint="Leave verify away, or use a local model or a server with logprobs.",
        )


def check(bench: Workbench, asked: Asked, text: str, on_progress: Progress) -> Checked:
    """Check each claim of a caption against the clip that it is about and against windows of it.

    The verdict counts two votes, that of the whole clip and that of the window where the claim fits best: a
    supported claim has both, an unsupported one none, and where they differ it is doubtful. A vote is a score
    of at least 0.5: yes is as probable as no. For a captioner EXPLAINED_LIMITS hold instead. Doubtful are
    also, with a ``note`` that says why: a claim that the caption puts after another one when all that speaks
    for it comes before all that speaks for the other, and a claim that something does not happen.

    Raises BackendError and its kinds, and ReplyError when the model's scores are no numbers.
    """
    decoded, backend = asked.seen.decoded, asked.backend
    scorer = _scorer(asked)
    claims = splitting.claims(text, asked.language)
    if not claims:
        return Checked((), scorer.kind, (), decoded.coverage)
    coverage = decoded.coverage
    windows = _windows(coverage)
    frames = (len(decoded.clip) + 1) // 2
    pixels = bench.settings.max_pixels
    # Tarsier2's rule counts frames at their average rate: where that varies they would not be the window's.
    sampling: SamplingMethod = "time" if decoded.info.variable_rate else "uniform"
    specs = [ClipSpec(each.start_s, each.end_s, frames, sampling, max_pixels=pixels) for each in windows]
    coming = bench.windows(asked.seen.source, specs, no_progress) if specs else iter(())
    clips = chain([(0, decoded)], ((number + 1, clip) for number, clip in coming))
    everything = (Window(coverage.asked.start_s, coverage.asked.end_s), *windows)
    ledger = Ledger()
    watcher = Watcher(backend, asked.language, tuple(claim.text for claim in claims), scorer, None, 1, ledger)
    looks = dict(watcher.watch(clips, everything, None, _checking(on_progress)))
    whole = looks.pop(0)
    if lost := len(windows) - len(looks):
        missed = f"{lost} of {len(windows)} windows could not be decoded and were not looked at."
        ledger.skipped[missed] = None
    parts = [looks[number] for number in sorted(looks)] or [whole]
    statements = [_statement(claim.text, number, whole, parts, scorer) for number, claim in enumerate(claims)]
    for number, claim in enumerate(claims):
        if claim.denies:
            statements[number] = _noted(statements[number], "What does not happen cannot be looked for.")
        elif claim.follows and _out_of_order(number, parts, scorer):
            before = claims[number - 1].text
            note = f"The caption has it after “{before}”, but it fits best before that."
            statements[number] = _noted(statements[number], note)
    return Checked(
        tuple(statements),
        scorer.kind,
        tuple(ledger.usages),
        ledger.coverage(coverage.asked),
        tuple(ledger.cautions),
    )


def _scorer(asked: Asked) -> Scorer:
    """Yes and no where that is what the model can answer, else what explains the claim as a caption."""
    method = choose("auto", asked.backend.info)
    return Explained(asked.language) if method == "likelihood" else YesNo(asked.language)


def _windows(coverage: Coverage) -> tuple[Window, ...]:
    """The windows of a range in the order of time; none for a range of too few frames to take apart."""
    asked = coverage.asked
    if len(coverage.frame_times_s) < 4:
        return ()
    length = min(WINDOW_SHARE * asked.duration_s, max(WINDOW_S, 2 * asked.duration_s / (MAX_WINDOWS + 1)))
    return lay_out(asked.start_s, asked.end_s, len(coverage.frame_times_s), length).windows


def _statement(text: str, number: int, whole: Look, parts: Sequence[Look], scorer: Scorer) -> Statement:
    best = _best(number, parts)
    look = parts[best]
    score, whole_score = (scorer.score(each.evidence[number]) for each in (look, whole))
    return Statement(
        text=text,
        verdict=_VERDICTS[_votes(score, whole_score, scorer)],
        score=score,
        whole_score=whole_score,
        start_s=look.window.start_s,
        end_s=look.window.end_s,
        evidence_s=_evidence_s(number, parts, best, scorer),
    )


def _votes(score: float, whole_score: float, scorer: Scorer) -> int:
    """How much speaks for a claim, from 0 to 2."""
    if isinstance(scorer, Explained):
        # What happens late is no likely beginning of a caption of the whole clip, so only the window counts.
        return sum(score >= limit for limit in EXPLAINED_LIMITS)
    return (score >= scorer.threshold) + (whole_score >= scorer.threshold)


def _best(number: int, parts: Sequence[Look]) -> int:
    return max(range(len(parts)), key=lambda part: parts[part].evidence[number])


def _speaks_for(number: int, part: Look, scorer: Scorer) -> bool:
    return scorer.score(part.evidence[number]) >= scorer.threshold


def _evidence_s(number: int, parts: Sequence[Look], best: int, scorer: Scorer) -> float:
    """The frame of the best window nearest to the middle of the run of windows around it that agree.

    In that middle a window counts by its likelihood ratio, the exponential of its evidence.
    """
    first = last = best
    while first > 0 and _speaks_for(number, parts[first - 1], scorer):
        first -= 1
    while last + 1 < len(parts) and _speaks_for(number, parts[last + 1], scorer):
        last += 1
    run = parts[first : last + 1]
    weights = [math.exp(part.evidence[number] - parts[best].evidence[number]) for part in run]
    middles = [(part.window.start_s + part.window.end_s) / 2 for part in run]
    middle = math.fsum(w * m for w, m in zip(weights, middles, strict=True)) / math.fsum(weights)
    return min(parts[best].times_s, key=lambda time_s: abs(time_s - middle))


def _out_of_order(number: int, parts: Sequence[Look], scorer: Scorer) -> bool:
    """The windows say that a claim comes before the claim that it is told after.

    Something that happens again at the right time, or goes on all the time, is not out of order. That both
    are seen in one window says nothing: windows overlap, and hold what comes before and after.
    """
    told_first, told_second = _best(number - 1, parts), _best(number, parts)
    if not all(
        _speaks_for(claim, parts[part], scorer)
        for claim, part in ((number - 1, told_first), (number, told_second))
    ):
        return False
    return (
        told_second < told_first
        and not any(_speaks_for(number - 1, part, scorer) for part in parts[:told_second])
        and not any(_speaks_for(number, part, scorer) for part in parts[told_first + 1 :])
    )


def _noted(statement: Statement, note: str) -> Statement:
    return statement.model_copy(update={"verdict": "doubtful", "note": note})


def _checking(on_progress: Progress) -> Progress:
    def tell(done: int, total: int, message: str) -> None:
        on_progress(done, total, f"checking statements, {message}")

    return tell
