"""Greedy decoding of a batch, one token per step, so that it can be stopped between any two."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tarsier_tools.backends.tarsier2.engine import Engine
from tarsier_tools.backends.tarsier2.prefix_cache import Prefix


@dataclass
class Reply:
    """What one row has generated.

    Attributes:
        ids, logprobs: of each token, the stop token included.
        stopped: a stop token came; otherwise the limit was reached.
        decode_s: seconds from the first token to the last of this row.
    """

    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    stopped: bool = False
    decode_s: float = 0.0


def generate_batch(
    engine: Engine,
    prefixes: Sequence[Prefix],
    suffixes: Sequence[Sequence[int]],
    limits: Sequence[int],
    stop_ids: frozenset[int],
    on_token: Callable[[int], None],
) -> tuple[list[Reply], float]:
    """The likeliest reply to each question, and the clock (``time.perf_counter``) at the first token.

    ``on_token`` is called with the number of tokens generated, after each; what it raises ends the work.
    """
    longest = max(limits)
    replies = [Reply() for _ in prefixes]
    state = engine.start(prefixes, suffixes, room=longest - 1)
    first_at = 0.0
    for count in range(1, longest + 1):
        tokens, ids, logprobs = engine.greedy(state)
        now = time.perf_counter()
        first_at = first_at or now
        open_rows = False
        for row, reply in enumerate(replies):
            if reply.stopped or len(reply.ids) == limits[row]:
                continue
            reply.ids.append(ids[row])
            reply.logprobs.append(logprobs[row])
            reply.stopped = ids[row] in stop_ids
            reply.decode_s = now - first_at
            open_rows |= not reply.stopped and count < limits[row]
        on_token(count)
        if not open_rows:
            break
        # Rows that are done are fed as well: what they say is not read, and no other row sees it.
        engine.step(state, tokens)
    return replies, first_at
