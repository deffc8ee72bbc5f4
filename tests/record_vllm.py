"""What a real vLLM answers, kept so that the tests' double can be held against it.

    python tests/record_vllm.py http://127.0.0.1:8000 KEY     writes data/vllm.json

The server serves the bundled model, converted, as ``tarsier2``, with ``--enable-prompt-tokens-details``; see
``vllm_kit.serve``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from openai_server import MAX_PIXELS, as_clip

from tarsier_tools.backends.remote.messages import (
    DIALECTS,
    Part,
    chat_body,
    conversation,
    tokenize_body,
    tokenize_text_body,
    video_part,
)
from tarsier_tools.backends.remote.pictures import Encoding, prepare

RECORDED = Path(__file__).parent / "data" / "vllm.json"

CLIP = as_clip(tuple(np.full((56, 56, 3), 40 + 60 * index, np.uint8) for index in range(3)))
PICTURES = prepare(CLIP, Encoding("png", 95, MAX_PIXELS))
VIDEO = video_part(PICTURES.encode(), PICTURES.media_id)


def chat(part: Part, model: str = "tarsier2", **options: Any) -> bytes:
    options = {"max_tokens": 2, **options}
    return chat_body(model, conversation([part], "What moves?"), DIALECTS[0], **options)


CASES: dict[str, tuple[str, str, bytes | None]] = {
    "models": ("GET", "/v1/models", None),
    "tokens of a conversation": ("POST", "/tokenize", tokenize_body("tarsier2", "What moves?", "A")),
    "tokens of a text": ("POST", "/tokenize", tokenize_text_body("tarsier2", "Yes")),
    "a whole reply": ("POST", "/v1/chat/completions", chat(VIDEO, top_logprobs=2, prompt_logprobs=True)),
    "a stream": ("POST", "/v1/chat/completions", chat(VIDEO, stream=True)),
    "named next tokens": (
        "POST",
        "/v1/chat/completions",
        chat(VIDEO, max_tokens=1, token_ids=(300, 301, 302)),
    ),
    "a clip by its name": ("POST", "/v1/chat/completions", chat(video_part(None, PICTURES.media_id))),
    "an unknown name": ("POST", "/v1/chat/completions", chat(video_part(None, "unknown"))),
    "an unknown model": ("POST", "/v1/chat/completions", chat(VIDEO, model="other")),
    "no such path": ("GET", "/v1/nothing", None),
}
"""Requests whose answers the double gives too: method, path, body."""

WRONG_KEY = "a wrong key"


def ask_all(root: str, key: str) -> dict[str, dict[str, Any]]:
    """The answers of a server to all cases: status, and the JSON of the body or of each event."""
    answers = {}
    for name, (method, path, body) in CASES.items():
        answers[name] = _ask(method, root + path, body, key)
    answers[WRONG_KEY] = _ask("GET", f"{root}/v1/models", None, "wrong")
    return answers


def _ask(method: str, url: str, body: bytes | None, key: str) -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    reply = httpx.request(method, url, content=body, headers=headers, timeout=60)
    if not reply.headers["content-type"].startswith("text/event-stream"):
        return {"status": reply.status_code, "body": reply.json()}
    events = [line.removeprefix("data: ") for line in reply.text.splitlines() if line]
    assert events.pop() == "[DONE]"
    return {"status": reply.status_code, "events": [json.loads(event) for event in events]}


def _without_places(answers: dict[str, Any]) -> dict[str, Any]:
    for model in answers["models"]["body"]["data"]:
        model["root"] = "tarsier2-tiny"
    return answers


def walk(value: Any, visit: Callable[[str, Any], None], path: str = "") -> None:
    """Call ``visit(path, value)`` for every value in a JSON document; list places and ids are ``*``."""
    visit(path, value)
    if isinstance(value, dict):
        for key, item in value.items():
            walk(item, visit, f"{path}.{'*' if key.isdigit() else key}")
    elif isinstance(value, list):
        for item in value:
            walk(item, visit, f"{path}.*")


if __name__ == "__main__":
    RECORDED.parent.mkdir(exist_ok=True)
    answers = _without_places(ask_all(sys.argv[1].rstrip("/"), sys.argv[2]))
    RECORDED.write_text(json.dumps(answers, indent=1) + "\n", encoding="utf-8")
