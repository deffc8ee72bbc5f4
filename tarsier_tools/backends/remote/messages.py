"""What is sent to a server: messages and sampling settings, as pure functions.

A video goes as ``data:video/jpeg;base64,F,F,G,G,...``: a list of pictures that vLLM takes as the frames of
one video. Qwen2-VL merges frames in pairs, and Tarsier2 was trained on every frame fed twice, so each is
there twice. Servers without that get one ``image_url`` part per frame.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

Message = dict[str, Any]
Part = dict[str, Any]

TOP_LOGPROBS = 20
"""Alternatives asked for per token: the most that OpenAI and vLLM give."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """What of the API a server takes.

    Attributes:
        video: lists of frames as one video; otherwise pictures of their own.
        extensions: fields that OpenAI's own API refuses, such as repetition_penalty.
        logprobs: log-probabilities of tokens.
    """

    video: bool
    extensions: bool
    logprobs: bool


DIALECTS = (
    Dialect(video=True, extensions=True, logprobs=True),
    Dialect(video=False, extensions=True, logprobs=True),
    Dialect(video=False, extensions=False, logprobs=True),
    Dialect(video=False, extensions=False, logprobs=False),
)
"""From the one that serves best to the least that will do; the first that a server takes is used."""

VISION_MARKS = 2
"""``<|vision_start|>`` and ``<|vision_end|>`` around each block of vision tokens."""

NO_VIDEO: Part = {"type": "text", "text": "<|vision_start|><|vision_end|>"}
"""Stands where the video would, so that the text around it falls into the same tokens."""


def plain(text: str) -> str:
    """Text in which no special token is left: servers read ``<|im_end|>`` in a question as the turn's end."""
    return text.replace("<|", "< |")


def video_part(pictures: Sequence[str] | None, media_id: str) -> Part:
    """One video of these pictures (base64), each twice; None for a video that the server knows by its id."""
    if pictures is None:
        return {"type": "video_url", "video_url": None, "uuid": media_id}
    twice = ",".join(picture for picture in pictures for _ in range(2))
    return {"type": "video_url", "video_url": {"url": f"data:video/jpeg;base64,{twice}"}, "uuid": media_id}


def image_parts(pictures: Sequence[str], mime: str) -> list[Part]:
    """Each picture (base64) as an image of its own."""
    return [
        {"type": "image_url", "image_url": {"url": f"data:{mime};base64,{picture}"}} for picture in pictures
    ]


def conversation(parts: Sequence[Part], prompt: str, reply: str = "") -> list[Message]:
    """One user turn, the video first, and the reply as far as it is given."""
    content = [*parts, {"type": "text", "text": plain(prompt)}]
    messages: list[Message] = [{"role": "user", "content": content}]
    if reply:
        messages.append({"role": "assistant", "content": plain(reply)})
    return messages


def how_to_end(messages: Sequence[Message], *, closed: bool = False) -> dict[str, bool]:
    """Fields that say what follows the messages: a reply to write or go on with, or nothing (``closed``)."""
    if messages[-1]["role"] != "assistant":
        return {}
    return {"add_generation_prompt": False, "continue_final_message": not closed}


def chat_body(
    model: str,
    messages: Sequence[Message],
    dialect: Dialect,
    *,
    max_tokens: int,
    stream: bool = False,
    top_logprobs: int = 0,
    token_ids: Sequence[int] = (),
    prompt_logprobs: bool = False,
    closed: bool = False,
) -> bytes:
    """The JSON of a chat completion, greedy, with nothing left to the server's defaults.

    Args:
        token_ids: the tokens whose log-probabilities are wanted instead of the likeliest ones, which is what
            servers give that do not know of this (vLLM before 0.32, by its documentation).
        prompt_logprobs: also ask for the log-probability of each token of the prompt.
        closed: the reply in the messages is whole; see :func:`how_to_end`.
    """
    body: dict[str, Any] = {
        "model": model,
        "messages": messages,
        "max_tokens": max_tokens,
        "temperature": 0,
        "top_p": 1,
        "frequency_penalty": 0,
        "presence_penalty": 0,
        "stream": stream,
    }
    if stream:
        body["stream_options"] = {"include_usage": True}
    if dialect.logprobs:
        body |= {"logprobs": True, "top_logprobs": top_logprobs}
    if dialect.extensions:
        body |= {"repetition_penalty": 1.0, "return_token_ids": True}
        body |= how_to_end(messages, closed=closed)
    if token_ids:
        # The token taken comes first among them and would push out the last: so one is there twice.
        wanted = [*token_ids, token_ids[0]]
        body |= {"logprob_token_ids": wanted, "top_logprobs": len(wanted)}
    if prompt_logprobs:
        body["prompt_logprobs"] = 0
    return json.dumps(body).encode()


def tokenize_body(model: str, prompt: str, reply: str = "", *, closed: bool = False) -> bytes:
    """The JSON that asks vLLM's ``/tokenize`` for the ids of a conversation about a video without tokens."""
    messages = conversation((NO_VIDEO,), prompt, reply)
    return json.dumps({"model": model, "messages": messages, **how_to_end(messages, closed=closed)}).encode()


def tokenize_text_body(model: str, text: str) -> bytes:
    """The JSON that asks vLLM's ``/tokenize`` for the ids of a text alone."""
    return json.dumps({"model": model, "prompt": plain(text), "add_special_tokens": False}).encode()
