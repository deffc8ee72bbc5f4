"""Log-likelihoods from a server: of single tokens as next ones, of texts as the beginning of a reply."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from tarsier_tools.backends.remote.messages import (
    TOP_LOGPROBS,
    VISION_MARKS,
    Part,
    chat_body,
    conversation,
    plain,
)
from tarsier_tools.backends.remote.pictures import Pictures
from tarsier_tools.backends.remote.replies import Reply
from tarsier_tools.backends.remote.server import Server
from tarsier_tools.backends.remote.tasks import together
from tarsier_tools.errors import BackendFailed, BackendRejected
from tarsier_tools.types import ScoreRequest, Scores, Usage

NAMED = TOP_LOGPROBS - 1
"""Tokens that can be named in one request; one more is there twice, see ``chat_body``."""


async def score(server: Server, request: ScoreRequest) -> Scores:
    """The log-likelihood of each candidate. Raises BackendRejected when the server cannot say."""
    return await _Scoring(server, request).run()


class _Scoring:
    """One request for scores."""

    def __init__(self, server: Server, request: ScoreRequest) -> None:
        self._server, self._request = server, request
        self._pictures: Pictures = server.pictures(request.clip)

    async def run(self) -> Scores:
        began = time.perf_counter()
        server, request = self._server, self._request
        scoring = server.capabilities.scoring
        if scoring == "none" or (scoring == "words" and request.end_of_turn):
            raise BackendRejected(
                "The server gives no probabilities for such replies.",
                hint="Ask for a written answer, or serve the model with vLLM.",
            )
        server.check_prefix(request.reply_prefix)
        text_tokens = await server.count(request.prompt, request.reply_prefix)
        server.check_length(self._pictures, text_tokens, 1)
        ids = dict(
            zip(
                request.candidates,
                await together([server.word_ids(text) for text in request.candidates]),
                strict=True,
            )
        )
        replies: list[Reply] = []
        found: dict[str, float] = {}
        if not request.end_of_turn and any(len(tokens) <= 1 for tokens in ids.values()):
            words = {text: tokens for text, tokens in ids.items() if len(tokens) <= 1}
            found = await self._next_tokens(words, text_tokens, replies)
        counts = dict.fromkeys(found, 1)
        texts = [text for text in ids if text not in found]
        for text, (value, count) in zip(
            texts, await together([self._text(text, replies) for text in texts]), strict=True
        ):
            found[text], counts[text] = value, count
        token_counts = tuple(counts[text] for text in request.candidates)
        usage: Usage = server.usage(self._pictures, text_tokens, replies[0], sum(token_counts))
        return Scores(
            logprobs=tuple(min(found[text], 0.0) for text in request.candidates),
            token_counts=token_counts,
            usage=usage,
            seconds=time.perf_counter() - began,
        )

    async def _next_tokens(
        self, words: Mapping[str, tuple[int, ...]], text_tokens: int, replies: list[Reply]
    ) -> dict[str, float]:
        """Words that are one token each, scored as the next token; some may be missing.

        Args:
            words: and their ids, () where the server does not tell them.
        """
        names = {text: plain(text).encode() for text in words}
        named = [token for tokens in words.values() for token in tokens]
        first: dict[bytes, float] = {}
        for start in range(0, len(named), NAMED):
            first |= await self._first(named[start : start + NAMED], text_tokens, replies)
        if not first.keys() >= set(names.values()):  # they cannot be named, or the server ignores it
            first |= await self._first((), text_tokens, replies)
        if self._server.capabilities.scoring == "words":
            return _bounded(first, names)
        found = {text: first[name] for text, name in names.items() if name in first}
        if self._request.reply_prefix:  # as texts they could melt into it, as (A does
            least = min(first.values())
            return {text: found.get(text, least) for text in names}
        return found

    async def _first(
        self, token_ids: Sequence[int], text_tokens: int, replies: list[Reply]
    ) -> dict[bytes, float]:
        """Log-probabilities of these next tokens, or of the likeliest ones, by their bytes."""

        def body(parts: Sequence[Part]) -> bytes:
            return chat_body(
                self._server.capabilities.model,
                conversation(parts, self._request.prompt, self._request.reply_prefix),
                self._server.capabilities.dialect,
                max_tokens=1,
                top_logprobs=TOP_LOGPROBS,
                token_ids=token_ids,
            )

        reply = await self._server.exchange(self._pictures, text_tokens, body)
        replies.append(reply)
        return reply.first

    async def _text(self, candidate: str, replies: list[Reply]) -> tuple[float, int]:
        """The log-likelihood of one candidate and the number of its tokens.

        The candidate is sent as the beginning of the reply, and the log-probabilities of the prompt's last
        tokens are those of the candidate.
        """
        server, prompt = self._server, self._request.prompt
        prefix, closed = self._request.reply_prefix, self._request.end_of_turn
        before = await server.text_ids(prompt, prefix)
        until = await server.text_ids(prompt, prefix + candidate)
        whole = await server.text_ids(prompt, prefix + candidate, closed=True) if closed else until
        wanted = whole[len(before) : len(until) + closed]
        if not wanted or until[: len(before)] != before or whole[: len(until)] != until:
            raise BackendRejected(
                f"The candidate {candidate[:40]!r} cannot be told apart from what is before it.",
                hint="Begin it with a letter.",
            )
        text_tokens = len(whole) - VISION_MARKS
        server.check_length(self._pictures, text_tokens, 1)

        def body(parts: Sequence[Part]) -> bytes:
            return chat_body(
                server.capabilities.model,
                conversation(parts, prompt, prefix + candidate),
                server.capabilities.dialect,
                max_tokens=1,
                prompt_logprobs=True,
                closed=closed,
            )

        reply = await server.exchange(self._pictures, text_tokens, body)
        replies.append(reply)
        start = len(reply.prompt) - (len(whole) - len(before))
        scored = reply.prompt[start : start + len(wanted)] if start >= 0 else []
        if tuple(token for token, _ in scored) != wanted:
            raise BackendFailed("The server scored other tokens than those of the candidate.")
        return sum(value for _, value in scored), len(wanted)


def _bounded(first: Mapping[bytes, float], names: Mapping[str, bytes]) -> dict[str, float]:
    """Log-probabilities of words that are one token each, where only the likeliest tokens are known.

    A word that is not among them is given the smallest value there is: no less than its own.

    Raises BackendRejected when no word is among them, or one seems to take several tokens.
    """
    if not first.keys() & set(names.values()):
        raise BackendRejected(
            f"None of the replies to choose from is among the {len(first)} likeliest next tokens.",
            hint="Ask for a written answer.",
        )
    for text, name in names.items():
        if name not in first and any(token and name.startswith(token) for token in first):
            raise BackendRejected(
                f"The server cannot score {text[:40]!r}, which takes several tokens.",
                hint="Ask for a written answer, or serve the model with vLLM.",
            )
    least = min(first.values())
    return {text: first.get(name, least) for text, name in names.items()}
