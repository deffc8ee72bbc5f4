"""Conversations with one server about clips: what is sent, what must come back, what is remembered."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence

from tarsier_tools.backends.remote.capabilities import (
    NUM_FRAMES_HINT,
    Capabilities,
    count_text,
    prompt_tokens,
)
from tarsier_tools.backends.remote.client import Client, OnEvent
from tarsier_tools.backends.remote.messages import (
    VISION_MARKS,
    Part,
    chat_body,
    conversation,
    image_parts,
    tokenize_body,
    tokenize_text_body,
    video_part,
)
from tarsier_tools.backends.remote.pictures import Encoding, Pictures, prepare
from tarsier_tools.backends.remote.refusals import MediaForgotten
from tarsier_tools.backends.remote.replies import Reply, read_tokens
from tarsier_tools.backends.remote.tasks import Memo
from tarsier_tools.errors import BackendFailed, BackendRejected
from tarsier_tools.types import Clip, Completion, Request, Usage

TEXTS_KEPT = 4096
CLIPS_KEPT = 4096
"""Ids of clips that the server has been sent; it forgets them on its own terms."""


class Server:
    """One model on one server. Belongs to one event loop.

    Args:
        concurrency: requests about clips that are under way at once.
    """

    def __init__(
        self, client: Client, capabilities: Capabilities, encoding: Encoding, concurrency: int
    ) -> None:
        self._client = client
        self.capabilities = capabilities
        self._encoding = encoding
        self._slots = asyncio.Semaphore(concurrency)
        self._ids: Memo[tuple[int, ...]] = Memo(TEXTS_KEPT)
        self._counts: Memo[int] = Memo(TEXTS_KEPT)
        self._sent: OrderedDict[str, asyncio.Future[bool]] = OrderedDict()

    async def generate(self, request: Request, on_tokens: Callable[[int], None]) -> Completion:
        """Have a reply written.

        Args:
            on_tokens: called with the number of tokens that have come.
        """
        self.check_prefix(request.reply_prefix)
        pictures = self.pictures(request.clip)
        text_tokens = await self.count(request.prompt, request.reply_prefix)
        self.check_length(pictures, text_tokens, request.max_new_tokens)
        first_at = 0.0

        def on_event(reply: Reply) -> None:
            nonlocal first_at
            first_at = first_at or time.perf_counter()
            on_tokens(max(len(reply.token_ids), len(reply.logprobs)))

        def body(parts: Sequence[Part]) -> bytes:
            return chat_body(
                self.capabilities.model,
                conversation(parts, request.prompt, request.reply_prefix),
                self.capabilities.dialect,
                max_tokens=request.max_new_tokens,
                stream=True,
            )

        began = time.perf_counter()
        reply = await self.exchange(pictures, text_tokens, body, on_event)
        if reply.finish_reason not in ("stop", "length"):
            raise BackendFailed(f"The server ended the reply for a reason of its own: {reply.finish_reason}.")
        return Completion(
            text=reply.text,
            finish_reason="stop" if reply.finish_reason == "stop" else "length",
            token_ids=tuple(reply.token_ids),
            logprobs=tuple(min(value, 0.0) for value in reply.logprobs),
            usage=self.usage(pictures, text_tokens, reply, reply.completion_tokens),
            prefill_s=first_at - began,
            decode_s=time.perf_counter() - first_at,
        )

    # ------------------------------------------------------------ counting

    async def text_ids(self, prompt: str, reply: str, *, closed: bool = False) -> tuple[int, ...]:
        """The ids of a conversation, its video without any tokens."""
        model = self.capabilities.model

        async def fetch() -> tuple[int, ...]:
            body = tokenize_body(model, prompt, reply, closed=closed)
            return _ids(await self._client.tokenize(body, model))

        return await self._ids.get((prompt, reply, closed), fetch)

    async def word_ids(self, text: str) -> tuple[int, ...]:
        """The ids of a text alone; () where the server does not tell."""
        if not self.capabilities.tokenizes:
            return ()
        model = self.capabilities.model

        async def fetch() -> tuple[int, ...]:
            return _ids(await self._client.tokenize(tokenize_text_body(model, text), model))

        return await self._ids.get((text,), fetch)

    async def count(self, prompt: str, reply: str) -> int:
        """The tokens of a conversation without its video."""
        if self.capabilities.tokenizes:
            return len(await self.text_ids(prompt, reply)) - VISION_MARKS
        model, dialect = self.capabilities.model, self.capabilities.dialect
        return await self._counts.get(
            (prompt, reply), lambda: count_text(self._client, model, dialect, prompt, reply)
        )

    def check_prefix(self, reply_prefix: str) -> None:
        if reply_prefix and not self.capabilities.continues:
            raise BackendRejected(
                "The server does not go on with a reply that is begun for it.",
                hint="Ask for a written answer, or serve the model with vLLM.",
            )

    def pictures(self, clip: Clip) -> Pictures:
        most = self.capabilities.max_frames
        if most is not None and len(clip) > most:
            raise BackendRejected(
                f"The server takes {most} frames of a video and silently drops the others; the clip has "
                f"{len(clip)}.",
                hint=f"{NUM_FRAMES_HINT} Or show at most {most} frames.",
            )
        return prepare(clip, self._encoding)

    def _expected(self, pictures: Pictures, text_tokens: int) -> int:
        blocks = 1 if self.capabilities.dialect.video else len(pictures.clip)
        return text_tokens + pictures.tokens + VISION_MARKS * blocks

    def check_length(self, pictures: Pictures, text_tokens: int, reply_tokens: int) -> None:
        limit = self.capabilities.context_tokens
        length = self._expected(pictures, text_tokens)
        if limit is None or length + reply_tokens <= limit:
            return
        fitting = (limit - reply_tokens - (length - pictures.tokens)) // pictures.tokens_per_frame
        frames = f"at most {fitting} frames of this size fit; or " if fitting > 0 else ""
        raise BackendRejected(
            f"The prompt has {length} tokens ({pictures.tokens} of them for {len(pictures.clip)} frames) and "
            f"the reply up to {reply_tokens}; the server takes {limit} in all.",
            hint=f"With its --max-model-len {frames}lower TARSIER_MAX_PIXELS or max_new_tokens.",
        )

    def _check_seen(self, pictures: Pictures, text_tokens: int, reply: Reply) -> None:
        """Raises BackendRejected unless the server read what was sent."""
        read, frames = prompt_tokens(reply), len(pictures.clip)
        if not self.capabilities.dialect.video:
            if read - text_tokens < frames:
                raise BackendRejected(
                    f"The server read {read} tokens for {frames} pictures and {text_tokens} tokens of text: "
                    "it did not look at them all.",
                    hint="Serve a model that sees, with its vision part (for llama.cpp: --mmproj).",
                )
            return
        expected = self._expected(pictures, text_tokens)
        if read != expected:
            width, height = pictures.size
            raise BackendRejected(
                f"The server read {read} tokens instead of {expected} for {frames} frames of "
                f"{width}x{height}: it did not see the clip as it was sent.",
                hint=f"{NUM_FRAMES_HINT} If its preprocessor_config.json has a smaller max_pixels than "
                f"{self._encoding.max_pixels}, set TARSIER_SERVER_MAX_PIXELS to that.",
            )

    def usage(self, pictures: Pictures, text_tokens: int, reply: Reply, completion_tokens: int) -> Usage:
        if self.capabilities.dialect.video:
            read, vision = self._expected(pictures, text_tokens), pictures.tokens
        else:
            read = prompt_tokens(reply)
            vision = read - text_tokens
        return Usage(
            prompt_tokens=read,
            vision_tokens=vision,
            cached_tokens=min(reply.cached_tokens, read),
            completion_tokens=completion_tokens,
        )

    # ------------------------------------------------------------ sending

    async def exchange(
        self,
        pictures: Pictures,
        text_tokens: int,
        body: Callable[[Sequence[Part]], bytes],
        on_event: OnEvent | None = None,
    ) -> Reply:
        """Ask about a clip and check that the server saw it.

        The first to ask about a clip sends its pictures, and the others wait until the server has them and
        then name them by their id.
        """
        async with self._slots:
            reply = await self._send_once(pictures, body, on_event)
        self._check_seen(pictures, text_tokens, reply)
        return reply

    async def _send_once(
        self, pictures: Pictures, body: Callable[[Sequence[Part]], bytes], on_event: OnEvent | None
    ) -> Reply:
        model, media_id = self.capabilities.model, pictures.media_id
        while self.capabilities.reuses and (there := self._sent.get(media_id)):
            if not await asyncio.shield(there):
                continue  # whoever was sending it has failed
            self._sent.move_to_end(media_id)
            try:
                return await self._client.chat(body([video_part(None, media_id)]), model, on_event)
            except MediaForgotten:
                if self._sent.get(media_id) is there:
                    del self._sent[media_id]
        there = self._sent[media_id] = asyncio.get_running_loop().create_future()
        while len(self._sent) > CLIPS_KEPT:
            self._sent.popitem(last=False)

        def arrived(reply: Reply) -> None:
            if not there.done():
                there.set_result(True)
            if on_event is not None:
                on_event(reply)

        try:
            data = await asyncio.to_thread(lambda: body(self._parts(pictures)))
            return await self._client.chat(data, model, arrived)
        except BaseException:
            if self._sent.get(media_id) is there:
                del self._sent[media_id]
            if not there.done():
                there.set_result(False)
            raise

    def _parts(self, pictures: Pictures) -> list[Part]:
        encoded = pictures.encode()
        if self.capabilities.dialect.video:
            return [video_part(encoded, pictures.media_id)]
        return image_parts(encoded, self._encoding.mime)


def _ids(data: bytes) -> tuple[int, ...]:
    try:
        return read_tokens(data)
    except ValueError as error:
        raise BackendFailed(f"The server's tokens cannot be read: {error}.") from None
