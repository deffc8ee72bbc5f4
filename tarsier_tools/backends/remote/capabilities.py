"""What a server can do, found out once with requests of a few hundred bytes.

The probe is a video of 17 frames of four tokens each. Its token count tells whether the frames arrive as they
were sent: vLLM, for one, reads the first 32 entries of a list and says nothing of the others.
"""

from __future__ import annotations

import colorsys
import hashlib
from dataclasses import dataclass

import numpy as np

from tarsier_tools.backends.remote.client import Client
from tarsier_tools.backends.remote.messages import (
    DIALECTS,
    TOP_LOGPROBS,
    VISION_MARKS,
    Dialect,
    Part,
    chat_body,
    conversation,
    image_parts,
    tokenize_body,
    video_part,
)
from tarsier_tools.backends.remote.pictures import Encoding, Pictures, prepare
from tarsier_tools.backends.remote.replies import Reply, ServedModel, read_models, read_tokens
from tarsier_tools.errors import BackendError, BackendFailed, BackendRejected, BackendUnavailable
from tarsier_tools.types import Clip, Scoring

PROBE_FRAMES = 17
LIST_LIMIT = 32
"""Entries of a list of frames that vLLM reads unless it is told otherwise."""

PROBE_PROMPT = "Describe the video in detail."
NUM_FRAMES_HINT = (
    """Start vLLM with --media-io-kwargs '{"video": {"num_frames": -1}}': it then takes all frames."""
)

IMAGES_NOTE = (
    "The server takes no lists of frames: each frame was sent as an image of its own. The model then sees "
    "single pictures at other positions than Tarsier2 was trained with, which costs accuracy, most of all "
    "in what happens when."
)


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What one server can do with one model.

    Attributes:
        context_tokens: the longest prompt plus reply, None when the server does not say.
        max_frames: of a clip sent as a video, None for any number.
        continues: goes on with a reply that is begun for it; others close it and begin a new one.
        tokenizes: gives the ids of a text (``/tokenize``).
        reuses: knows a clip by its id when it was sent before.
        alternatives: log-probabilities come with the likeliest tokens beside the one taken.
        prompt_logprobs: gives log-probabilities of the prompt's tokens.
    """

    model: str
    context_tokens: int | None
    dialect: Dialect
    max_frames: int | None
    continues: bool
    tokenizes: bool
    reuses: bool
    alternatives: bool
    prompt_logprobs: bool

    @property
    def scoring(self) -> Scoring:
        """What can be scored; see :class:`~tarsier_tools.types.ModelInfo`."""
        if self.tokenizes and self.prompt_logprobs and self.alternatives:
            return "texts"
        return "words" if self.alternatives else "none"

    @property
    def note(self) -> str:
        """What the reader of a result should know about how the model is served."""
        return "" if self.dialect.video else IMAGES_NOTE


async def detect(client: Client, model: str | None, encoding: Encoding) -> Capabilities:
    """Ask a server what it can do.

    Args:
        model: the name that it is served under; None for the only one there is.

    Raises BackendUnavailable when the model is not there or takes no pictures, BackendRejected when frames
    do not arrive as they were sent, and what :class:`Client` raises.
    """
    served = _choose(await list_models(client), model)
    text_ids = await _tokenize_probe(client, served.name)
    dialect, reply = await _first_dialect(client, served, encoding)
    text_tokens = await count_text(client, served.name, dialect, PROBE_PROMPT, "")
    begun = await count_text(client, served.name, dialect, PROBE_PROMPT, "A")
    probe = _probe(PROBE_FRAMES, encoding)
    max_frames = _check_probe(reply, text_tokens, probe) if dialect.video else None
    return Capabilities(
        model=served.name,
        context_tokens=served.context_tokens,
        dialect=dialect,
        max_frames=max_frames,
        continues=0 < begun - text_tokens <= len("A"),
        tokenizes=bool(text_ids),
        reuses=dialect.video and await _reuses(client, served.name, dialect, probe, reply),
        alternatives=len(reply.first) > 1,
        prompt_logprobs=bool(reply.prompt),
    )


async def count_text(client: Client, model: str, dialect: Dialect, prompt: str, reply: str) -> int:
    """The tokens of a conversation without its video, from a request for one token.

    Raises BackendRejected when the server does not count.
    """
    body = chat_body(model, conversation((), prompt, reply), dialect, max_tokens=1)
    return prompt_tokens(await client.chat(body, model))


def prompt_tokens(reply: Reply) -> int:
    """The tokens of the prompt that the server counted. Raises BackendRejected when it did not count."""
    if reply.prompt_tokens is None:
        raise BackendRejected(
            "The server does not say how many tokens it read, so nothing tells whether it saw the video.",
            hint="Use a server that reports usage.prompt_tokens, also when it streams.",
        )
    return reply.prompt_tokens


async def list_models(client: Client) -> list[ServedModel]:
    """The models that a server offers. Raises BackendUnavailable for what is no list of models."""
    data = await client.models()
    try:
        return read_models(data)
    except ValueError as error:
        raise BackendUnavailable(
            f"The server's list of models cannot be read: {error}.",
            hint="Check TARSIER_BASE_URL; it usually ends in /v1.",
        ) from None


def _choose(offered: list[ServedModel], wanted: str | None) -> ServedModel:
    names = ", ".join(model.name for model in offered[:10]) or "none"
    if wanted is None:
        if len(offered) != 1:
            raise BackendUnavailable(
                f"The server offers {len(offered)} models: {names}.", hint="Set TARSIER_MODEL to one of them."
            )
        return offered[0]
    for model in offered:
        if wanted in (model.name, model.name.partition(":")[0]):  # Ollama's names end in a tag
            return model
    raise BackendUnavailable(
        f"The server has no model {wanted}; it offers: {names}.",
        hint="Set TARSIER_MODEL to a name that it serves.",
    )


async def _tokenize_probe(client: Client, model: str) -> tuple[int, ...]:
    """Ids of the probe's conversation without its video; () from a server without ``/tokenize``."""
    try:
        return read_tokens(await client.tokenize(tokenize_body(model, PROBE_PROMPT), model))
    except (BackendRejected, BackendUnavailable, BackendFailed, ValueError):
        return ()


async def _first_dialect(client: Client, served: ServedModel, encoding: Encoding) -> tuple[Dialect, Reply]:
    """The first of DIALECTS that the server takes, and its reply to the probe."""
    refused: BackendError | None = None
    for dialect in DIALECTS:
        body = chat_body(
            served.name,
            conversation(_parts(dialect, encoding), PROBE_PROMPT),
            dialect,
            max_tokens=1,
            top_logprobs=TOP_LOGPROBS,
            prompt_logprobs=dialect.extensions,
        )
        try:
            return dialect, await client.chat(body, served.name)
        except BackendRejected as error:
            refused = refused or error
        except BackendFailed as error:
            # Some answer 500 to a kind of content that they do not know; from vLLM it means trouble.
            if served.server == "vllm":
                raise
            refused = refused or error
    assert refused is not None
    raise BackendUnavailable(
        f"The model {served.name} is served without pictures: {refused.message}",
        hint="Serve a model that sees, with its vision part (for llama.cpp: --mmproj).",
    ) from refused


async def _reuses(client: Client, model: str, dialect: Dialect, probe: Pictures, before: Reply) -> bool:
    """Whether the server answers about a clip that is named by its id alone."""
    parts = [video_part(None, probe.media_id)]
    body = chat_body(model, conversation(parts, PROBE_PROMPT), dialect, max_tokens=1)
    try:
        reply = await client.chat(body, model)
    except (BackendRejected, BackendFailed):
        return False
    return reply.prompt_tokens == before.prompt_tokens


def _check_probe(reply: Reply, text_tokens: int, probe: Pictures) -> int | None:
    """How many frames a clip may have, None for any. Raises BackendRejected when the count is wrong."""
    seen = prompt_tokens(reply) - text_tokens - VISION_MARKS
    if seen == probe.tokens:
        return None
    if seen == LIST_LIMIT // 2 * probe.tokens_per_frame:
        return LIST_LIMIT // 2
    raise BackendRejected(
        f"Of a test video of {len(probe.clip)} frames the server made {seen} vision tokens instead of "
        f"{probe.tokens}: it samples or resizes by itself, or does not serve Tarsier2 or Qwen2-VL.",
        hint=NUM_FRAMES_HINT,
    )


def _parts(dialect: Dialect, encoding: Encoding) -> list[Part]:
    if dialect.video:
        probe = _probe(PROBE_FRAMES, encoding)
        return [video_part(probe.encode(), probe.media_id)]
    return image_parts(_probe(2, encoding).encode(), encoding.mime)


def _probe(frames: int, encoding: Encoding) -> Pictures:
    """A video of plain colours, 56x56 pixels, four tokens a frame."""
    colours = [colorsys.hsv_to_rgb(index / PROBE_FRAMES, 1, 1) for index in range(frames)]
    images = tuple(np.full((56, 56, 3), np.array(colour) * 255, np.uint8) for colour in colours)
    digest = hashlib.sha256(b"".join(image.tobytes() for image in images)).hexdigest()
    return prepare(Clip(images, tuple(range(frames)), tuple(map(float, range(frames))), digest), encoding)
