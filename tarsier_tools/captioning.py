"""From a clip that was decoded to its description: the caption, its events, its checked statements."""

from __future__ import annotations

from tarsier_tools import parse, prompts, verify
from tarsier_tools.asking import generate
from tarsier_tools.grounding import Asked, ground, reply_warnings, segment
from tarsier_tools.prompts import Detail
from tarsier_tools.results import Caption, Segment
from tarsier_tools.types import Progress
from tarsier_tools.workbench import Workbench


def describe(
    bench: Workbench, asked: Asked, detail: Detail, check: bool, max_new_tokens: int, on_progress: Progress
) -> Caption:
    """Have the model describe what was seen.

    Args:
        check: also check each statement of the description, see :func:`tarsier_tools.verify.check`.

    Raises BackendError and its kinds; with ``check`` BackendRejected, before any work, for a model that gives
    no probabilities, and ReplyError for one whose scores are no numbers.
    """
    if check:
        verify.check_scoring(asked.backend)
    decoded = asked.seen.decoded
    prompt = prompts.caption(asked.language, detail, image=decoded.info.frame_count == 1)
    completion = generate(asked, prompt, max_new_tokens, on_progress)
    text = completion.text.strip()
    warnings = list(reply_warnings(completion))
    events: tuple[Segment, ...] = ()
    if detail == "events":
        read = parse.frame_events(text, len(decoded.clip))
        events = tuple(segment(decoded, event.span, event.text) for event in read.events)
        warnings += read.problems
        if not asked.backend.info.abilities.dense:
            warnings.append("This model is not known to give the frames of events when asked to.")
    checked = verify.check(bench, asked, text, on_progress) if check else None
    return Caption(
        text=text,
        events=events,
        statements=checked.statements if checked else (),
        checked=checked.coverage if checked else None,
        score_kind=checked.score_kind if checked else "",
        finish_reason=completion.finish_reason,
        **ground(
            asked,
            prompt,
            (completion.usage, *(checked.usages if checked else ())),
            warnings,
            (completion.caution, *(checked.cautions if checked else ())),
        ),
    )
