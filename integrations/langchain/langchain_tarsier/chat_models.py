"""A chat model over a Tarsier2 server that takes LangChain's standard video block."""

from __future__ import annotations

import base64
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun
from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from pydantic import Field, model_validator

from tarsier_tools import Settings, UsageError, chat_video, in_thread

try:
    from langchain_openai import ChatOpenAI
except ImportError as error:
    raise ImportError('ChatTarsier needs an extra: pip install "langchain-tarsier[chat]"') from error

_NO_KEY = "none"
"""What a server that asks for no key is sent; the client of OpenAI insists on one."""
_RANGE = ("start_s", "end_s", "frames")


class ChatTarsier(ChatOpenAI):
    """Chats about videos with a Tarsier2 model on an OpenAI-compatible server, for example vLLM.

    A message takes LangChain's standard block, with a path, a ``file://`` or http(s) URL, or base64::

        ChatTarsier(base_url="http://localhost:8000/v1", model="tarsier2").invoke(
            [HumanMessage([{"type": "video", "url": "clip.mp4", "extras": {"start_s": 5, "end_s": 9}},
                           {"type": "text", "text": "Describe the video in detail."}])]
        )

    The video is decoded here, by the rules and limits of the settings, and its frames are sent. ``extras`` of
    the block may hold ``start_s``, ``end_s`` and ``frames``. Everything else is as in ChatOpenAI.

    Args:
        base_url, model, api_key: by default from TARSIER_BASE_URL, TARSIER_MODEL and TARSIER_API_KEY.
        settings: how videos are found, decoded and sent; by default from the ``TARSIER_*`` variables.
    """

    settings: Settings = Field(default_factory=Settings.load, exclude=True, repr=False)

    @model_validator(mode="before")
    @classmethod
    def _from_settings(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Fill in what was not given from the settings."""
        settings = values.get("settings") or Settings.load()
        key = settings.api_key.get_secret_value() if settings.api_key else _NO_KEY
        given = {
            "settings": settings,
            "temperature": 0,
            "use_responses_api": False,
            **{name: value for name, value in values.items() if value is not None},
        }
        if not {"base_url", "openai_api_base"} & given.keys():
            if settings.base_url is None:
                raise UsageError(
                    "ChatTarsier is not told where its server is.",
                    hint="Give base_url, or set TARSIER_BASE_URL.",
                )
            given["base_url"] = settings.base_url
        if not {"api_key", "openai_api_key"} & given.keys():
            given["api_key"] = key
        if not {"max_tokens", "max_completion_tokens"} & given.keys():
            given["max_tokens"] = settings.max_new_tokens
        if not {"model", "model_name"} & given.keys():
            given["model"] = settings.model or "tarsier2"
        return given

    @property
    def _llm_type(self) -> str:
        return "tarsier-chat"

    @classmethod
    def get_lc_namespace(cls) -> list[str]:
        """Where LangChain finds the class again when it loads a stored model."""
        return ["langchain_tarsier", "chat_models"]

    @property
    def lc_secrets(self) -> dict[str, str]:
        """What is never stored, and which variable holds it."""
        return {"openai_api_key": "TARSIER_API_KEY"}

    def _get_request_payload(
        self, input_: LanguageModelInput, *, stop: list[str] | None = None, **kwargs: Any
    ) -> dict[str, Any]:
        shown = self._shown(self._convert_input(input_).to_messages())
        payload = super()._get_request_payload(shown, stop=stop, **kwargs)
        if "max_completion_tokens" in payload:  # OpenAI's newer name, which not every server knows
            payload["max_tokens"] = payload.pop("max_completion_tokens")
        return payload

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        shown = await in_thread(lambda _: self._shown(messages))  # decoding would hold the loop up
        return await super()._agenerate(shown, stop, run_manager, **kwargs)

    async def _astream(
        self, messages: list[BaseMessage], *args: Any, **kwargs: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        shown = await in_thread(lambda _: self._shown(messages))
        async for chunk in super()._astream(shown, *args, **kwargs):
            yield chunk

    def _shown(self, messages: list[BaseMessage]) -> list[BaseMessage]:
        """The messages with the frames of each video in the place of its block."""
        return [
            message
            if isinstance(message.content, str)
            else message.model_copy(update={"content": [self._part(block) for block in message.content]})
            for message in messages
        ]

    def _part(self, block: str | dict[str, Any]) -> str | dict[str, Any]:
        if isinstance(block, str) or block.get("type") != "video":
            return block
        extras = _numbers(block.get("extras") or {})
        where, data = block.get("url"), block.get("base64")
        if where and isinstance(where, str):
            return chat_video(where, self.settings, **extras)
        if not data or not isinstance(data, str):
            raise UsageError("A video block needs a url or base64, as text.", hint="Give a path as its url.")
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "video"
            try:
                file.write_bytes(base64.b64decode(data, validate=True))
            except ValueError as error:  # binascii.Error is one; letters beyond ASCII are another
                raise UsageError(
                    "The base64 of a video block cannot be read.", hint="Give a path as its url."
                ) from error
            own = self.settings.model_copy(update={"allowed_roots": None})  # the file is our own
            return chat_video(file, own, **extras)


def _numbers(extras: Any) -> dict[str, Any]:
    """The extras of a video block. Raises UsageError for unknown ones and for what is no number."""
    takes = f"It takes {', '.join(_RANGE)}."
    if not isinstance(extras, dict):
        raise UsageError(f"The extras of a video block are {extras!r}.", hint=f"Give a dict. {takes}")
    unknown = extras.keys() - {*_RANGE}
    if unknown:
        raise UsageError(
            f"The video block has extras that nobody knows: {', '.join(sorted(map(str, unknown)))}.",
            hint=takes,
        )
    for name, value in extras.items():
        kinds = int if name == "frames" else (int, float)
        if value is not None and (isinstance(value, bool) or not isinstance(value, kinds)):
            wanted = "a whole number" if name == "frames" else "a number of seconds"
            raise UsageError(f"{name} of a video block is {value!r}.", hint=f"Give {wanted}.")
    return extras
