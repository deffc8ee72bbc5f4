"""What a server answers, checked and read. Pure: bytes in, values out; ValueError for what cannot be read."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from pydantic import BaseModel, Field, ValidationError

from tarsier_tools.text import clean_line

_Kind = TypeVar("_Kind", bound=BaseModel)

_HALF = re.compile("[\ud800-\udfff]")


class ServerTrouble(Exception):
    """The server sent an error in place of a part of its reply."""


class _Lenient(BaseModel):
    """Fields that are not named here are not looked at; servers add what they like."""


class Alternative(_Lenient):
    """One of the likeliest tokens at a place; ``spelling`` holds its bytes where the server tells them."""

    token: str
    logprob: float
    spelling: list[int] | None = Field(default=None, alias="bytes")

    @property
    def name(self) -> bytes:
        """The token's bytes. A token that is no whole character has an empty or a broken ``token``."""
        return self.token.encode() if self.spelling is None else bytes(v & 255 for v in self.spelling)


class _Token(Alternative):
    top_logprobs: list[Alternative] | None = None


class _Logprobs(_Lenient):
    content: list[_Token] | None = None


class _Message(_Lenient):
    content: str | None = None


class _Choice(_Lenient):
    message: _Message | None = None
    delta: _Message | None = None
    logprobs: _Logprobs | None = None
    finish_reason: str | None = None
    token_ids: list[int] | None = None


class _Details(_Lenient):
    cached_tokens: int | None = None


class _Usage(_Lenient):
    prompt_tokens: int
    completion_tokens: int | None = None
    prompt_tokens_details: _Details | None = None


class _PromptToken(_Lenient):
    logprob: float


class _Event(_Lenient):
    choices: list[_Choice] = []
    usage: _Usage | None = None
    prompt_logprobs: list[dict[int, _PromptToken] | None] | None = None
    error: object = None


class _Model(_Lenient):
    id: str
    max_model_len: int | None = None
    owned_by: str | None = None


class _Models(_Lenient):
    data: list[_Model]


class _Tokens(_Lenient):
    tokens: list[int]


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A model that a server offers. ``server`` is what it says of itself: vllm, llamacpp, library, ..."""

    name: str
    context_tokens: int | None
    server: str


@dataclass(slots=True)
class Reply:
    """A chat completion, whole or as far as it has come.

    Attributes:
        token_ids: () when the server does not tell.
        logprobs: of each token generated, the end token included when the server counts it.
        first: the alternatives at the first token, by their bytes.
        prompt: (token id, log-probability) of each prompt token but the first, when asked for.
        prompt_tokens: None when the server does not say.
    """

    text: str = ""
    finish_reason: str = ""
    token_ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    first: dict[bytes, float] = field(default_factory=dict)
    prompt: list[tuple[int, float]] = field(default_factory=list)
    prompt_tokens: int | None = None
    completion_tokens: int = 0
    cached_tokens: int = 0

    def add(self, data: bytes) -> None:
        """Take in one event of a stream, or the whole answer. Raises ValueError, ServerTrouble."""
        event = _read(_Event, data)
        if event.error is not None:
            raise ServerTrouble(clean_line(str(event.error))[:200])
        for choice in event.choices[:1]:
            self._add_choice(choice)
        if event.usage is not None:
            self.prompt_tokens = event.usage.prompt_tokens
            self.completion_tokens = event.usage.completion_tokens or len(self.logprobs)
            self.cached_tokens = (event.usage.prompt_tokens_details or _Details()).cached_tokens or 0
        if event.prompt_logprobs:
            self.prompt = [_prompt_token(place) for place in event.prompt_logprobs[1:]]

    def _add_choice(self, choice: _Choice) -> None:
        message = choice.delta or choice.message or _Message()
        self.text += message.content or ""
        self.token_ids += choice.token_ids or []
        tokens = (choice.logprobs.content if choice.logprobs else None) or []
        if tokens and not self.logprobs:
            self.first = {place.name: place.logprob for place in tokens[0].top_logprobs or []}
        self.logprobs += [token.logprob for token in tokens]
        whole = "stop" if choice.message else ""  # some leave it away where nothing can follow
        self.finish_reason = choice.finish_reason or whole or self.finish_reason


def read_models(data: bytes) -> list[ServedModel]:
    """What ``GET /v1/models`` lists. Raises ValueError."""
    return [
        ServedModel(model.id, model.max_model_len, (model.owned_by or "").lower())
        for model in _read(_Models, data).data
    ]


def read_tokens(data: bytes) -> tuple[int, ...]:
    """The ids that ``/tokenize`` gives. Raises ValueError."""
    return tuple(_read(_Tokens, data).tokens)


def _without_halves(data: bytes) -> bytes:
    try:
        text = json.dumps(json.loads(data), ensure_ascii=False)
    except (ValueError, RecursionError):
        return data
    return _HALF.sub("\N{REPLACEMENT CHARACTER}", text).encode()


def _prompt_token(place: Mapping[int, _PromptToken] | None) -> tuple[int, float]:
    """The prompt's own token comes first; the likeliest one may follow it."""
    if not place:
        raise ValueError("a prompt token without a log-probability")
    token, value = next(iter(place.items()))
    return token, value.logprob


def _read(kind: type[_Kind], data: bytes) -> _Kind:
    try:
        try:
            return kind.model_validate_json(data)
        except ValidationError:
            if b"\\ud" not in data.lower():
                raise
            # Half of a surrogate pair: some servers cut text anywhere. It is no character; the rest is.
            return kind.model_validate_json(_without_halves(data))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise ValueError(f"{place or 'not an answer'}: {first['msg']}") from None
