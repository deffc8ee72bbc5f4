"""An OpenAI-compatible server on loopback for tests: the bundled model, answering as vLLM 0.32 does.

The shapes of its answers are those that vLLM gave, see ``data/vllm``; what it says comes from the real model,
so that its answers can be compared with the local backend's. Its switches turn it into other servers and into
broken ones.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import torch
from PIL import Image

from tarsier_tools.backends import TINY_FOLDER
from tarsier_tools.backends.tarsier2 import Tarsier2Backend
from tarsier_tools.backends.tarsier2.chat import VISION_END, VISION_START
from tarsier_tools.config import Settings
from tarsier_tools.types import Clip

NAME = "tarsier2"
KEY = "sk-a-secret-of-tests"
MAX_PIXELS = 9800
"""Of the bundled model's preprocessor: clients of this server set ``server_max_pixels`` to it."""

Frames = tuple[np.ndarray, ...]


@cache
def bundled() -> Brain:
    """The one brain of all tests."""
    return Brain()


class Brain:
    """The bundled model, one token at a time. Safe to use from several threads."""

    def __init__(self) -> None:
        torch.set_num_threads(1)
        self.backend = Tarsier2Backend(
            TINY_FOLDER, Settings(device="cpu", dtype="float32", anyway=True), kind="tiny"
        )
        self._codec, self._form = self.backend._codec, self.backend._form
        self._rules = self.backend._rules
        self._lock = threading.Lock()
        self._prefixes: dict[str, Any] = {}
        self.stop_ids = self.backend._stop_ids

    def ids(self, text: str) -> list[int]:
        """As a server reads text: special tokens in it are special."""
        found: list[int] = []
        for piece in self._codec.split(text):
            found += [piece] if isinstance(piece, int) else self._codec.encode(piece)
        return found

    def decode(self, ids: Sequence[int]) -> str:
        return self._codec.decode(ids)

    def spelling(self, token: int) -> bytes:
        """The bytes of one token, as vLLM tells them."""
        return self._codec.decode([token]).encode()

    def vision_tokens(self, frames: Frames) -> int:
        return self._rules.grid(as_clip(frames)).tokens

    def next_logprobs(self, frames: Frames, ids: Sequence[int]) -> torch.Tensor:
        """Log-probabilities (vocabulary,) of the token after the video and these ids."""
        engine = self.backend._engine
        assert engine is not None
        clip = as_clip(frames)
        with self._lock:
            if clip.fingerprint not in self._prefixes:
                grid = self._rules.grid(clip)
                pixels = self._rules.pixel_values(clip, grid)
                (self._prefixes[clip.fingerprint],) = engine.prefill(
                    pixels, grid, self._form.head, self._form.prefix_ids(grid.tokens)
                )
            state = engine.start([self._prefixes[clip.fingerprint]], [list(ids)], room=0)
            return torch.log_softmax(state.logits[0], dim=-1)


def as_clip(frames: Frames) -> Clip:
    """Frames as a clip, one a second."""
    digest = hashlib.sha256(b"".join(frame.tobytes() + str(frame.shape).encode() for frame in frames))
    count = len(frames)
    return Clip(frames, tuple(range(count)), tuple(map(float, range(count))), digest.hexdigest())


class Refusal(Exception):
    def __init__(self, status: int, message: str, kind: str = "BadRequestError") -> None:
        super().__init__(message)
        self.status, self.message, self.kind = status, message, kind


@dataclass
class Behaviour:
    """What kind of server it is. The defaults are a vLLM that is set up right.

    Attributes:
        list_limit: entries of a list of frames that are read; 32 is vLLM's own default.
        see: what it does with the frames of a video before the model sees them.
        per_token_s: time it takes for each token.
        faults: what happens instead of the next chat completions, one each.
    """

    key: str = ""
    names: tuple[str, ...] = (NAME,)
    owner: str = "vllm"
    context: int | None = 8192
    lists_models: bool = True
    video: bool = True
    images: bool = True
    extensions: bool = True
    logprobs: bool = True
    top_logprobs: bool = True
    prompt_logprobs: bool = True
    tokenize: bool = True
    reuse: bool = True
    usage: bool = True
    streams: bool = True
    token_ids: bool = True
    names_tokens: bool = True
    list_limit: int | None = None
    see: Callable[[Frames], Frames] = lambda frames: frames
    per_token_s: float = 0.0
    faults: list[Callable[[Handler], None]] = field(default_factory=list)


class Handler(BaseHTTPRequestHandler):
    """One request."""

    server: OpenAIServer
    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        super().setup()
        self.server.connections += 1
        self.server.sockets.append(self.connection)

    def do_GET(self) -> None:
        self._guarded(lambda: self._models() if self.path == "/v1/models" else self._not_there())

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers["Content-Length"]))
        body = json.loads(raw)
        self.server.requests.append(Asked(self.path, dict(self.headers), body, len(raw)))

        def answer() -> None:
            if self.path == "/tokenize" and self.server.behaviour.tokenize:
                self._tokenize(body)
            elif self.path == "/v1/chat/completions":
                with self.server.counted():
                    self._chat(body)
            else:
                self._not_there()

        self._guarded(answer)

    def send(self, status: int, body: bytes, kind: str = "application/json", **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def send_json(self, value: object, status: int = 200, **headers: str) -> None:
        self.send(status, json.dumps(value).encode(), **headers)

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _guarded(self, answer: Callable[[], None]) -> None:
        server = self.server
        with suppress(BrokenPipeError, ConnectionResetError):
            try:
                if server.behaviour.key and self.headers["Authorization"] != f"Bearer {server.behaviour.key}":
                    self.send_json({"error": "Unauthorized"}, 401)
                    return
                answer()
            except Refusal as refusal:
                error = {
                    "message": refusal.message,
                    "type": refusal.kind,
                    "param": None,
                    "code": refusal.status,
                }
                self.send_json({"error": error}, refusal.status)

    def _not_there(self) -> None:
        self.send_json({"detail": "Not Found"}, 404)

    def _models(self) -> None:
        behaviour = self.server.behaviour
        if not behaviour.lists_models:
            self._not_there()
            return
        models = [
            {"id": name, "object": "model", "owned_by": behaviour.owner, "max_model_len": behaviour.context}
            for name in behaviour.names
        ]
        self.send_json({"object": "list", "data": models})

    def _tokenize(self, body: dict[str, Any]) -> None:
        brain = self.server.brain
        if "prompt" in body:
            ids = brain.ids(body["prompt"])
        else:
            text, _ = self._conversation(body)
            ids = brain.ids(text)
        self.send_json({"count": len(ids), "max_model_len": 8192, "tokens": ids, "token_strs": None})

    def _chat(self, body: dict[str, Any]) -> None:
        behaviour, brain = self.server.behaviour, self.server.brain
        if behaviour.faults:
            behaviour.faults.pop(0)(self)
            return
        if body["model"] not in behaviour.names:
            aliases = ", ".join(behaviour.names)
            message = f"The model `{body['model']}` does not exist. Valid aliases: {aliases}."
            raise Refusal(404, message, "NotFoundError")
        if not behaviour.extensions and (unknown := {"repetition_penalty", "return_token_ids"} & set(body)):
            raise Refusal(400, f"Unrecognized request argument supplied: {sorted(unknown)}")
        if not behaviour.logprobs and not behaviour.extensions and body.get("logprobs"):
            raise Refusal(400, "logprobs are not supported with this model.")
        text, (frames, blocks) = self._conversation(body)
        prompt = brain.ids(text)
        self.server.seen.append(frames)
        vision = 0
        if frames:
            vision = brain.vision_tokens(frames)
            if blocks > 1:
                vision += 2 * (blocks - 1)
        start = brain.ids(VISION_END)[0]
        after = prompt[prompt.index(start) + 1 :] if frames else prompt
        if vision + len(prompt) + body["max_tokens"] > (behaviour.context or 1 << 20):
            raise Refusal(400, "This model's maximum context length is exceeded. " + "x" * 5000)
        usage = {
            "prompt_tokens": vision + len(prompt),
            "prompt_tokens_details": {"cached_tokens": vision if self.server.was_seen(frames) else 0},
        }
        frames = frames or (np.zeros((56, 56, 3), np.uint8),)
        stream = body.get("stream") and behaviour.streams
        tokens = self._generate(frames, after, body)
        if stream:
            self._stream(tokens, usage, body)
            return
        made = list(tokens)
        choice = self._choice(made, body, "message")
        choice["finish_reason"] = "stop" if made[-1]["id"] in brain.stop_ids else "length"
        answer: dict[str, Any] = {"id": "chatcmpl-1", "object": "chat.completion", "choices": [choice]}
        if behaviour.usage:
            answer["usage"] = usage | {"completion_tokens": len(made)}
        if "prompt_logprobs" in body and behaviour.prompt_logprobs:
            answer["prompt_logprobs"] = self._prompt_logprobs(frames, prompt, after, vision)
        self.send_json(answer)

    def _conversation(self, body: dict[str, Any]) -> tuple[str, tuple[Frames, int]]:
        """The chat as text, one video without its pads in it, and the frames with the number of blocks."""
        text = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
        frames: Frames = ()
        blocks = 0
        for message in body["messages"]:
            text += f"<|im_start|>{message['role']}\n"
            content = message["content"]
            for part in [{"type": "text", "text": content}] if isinstance(content, str) else content:
                if part["type"] == "text":
                    text += part["text"]
                    continue
                if not blocks:
                    text += VISION_START + VISION_END
                frames += self._video(part) if part["type"] == "video_url" else self._image(part)
                blocks += 1
            text += "<|im_end|>\n"
        if body.get("continue_final_message"):
            text = text.removesuffix("<|im_end|>\n")
        elif body.get("add_generation_prompt", True):
            text += "<|im_start|>assistant\n"
        return text, (frames, blocks)

    def _video(self, part: dict[str, Any]) -> Frames:
        server = self.server
        if not server.behaviour.video:
            raise Refusal(400, "Invalid value: 'video_url'. Supported values are: 'text' and 'image_url'.")
        known = server.media.get(part.get("uuid", ""))
        if part["video_url"] is None:
            if known is None or not server.behaviour.reuse:
                raise Refusal(400, "Cache miss for video at index 0 but data is not provided.")
            return known
        header, _, data = part["video_url"]["url"].partition(",")
        assert header == "data:video/jpeg;base64"
        pictures = [picture(entry) for entry in data.split(",")[: server.behaviour.list_limit]]
        assert all((a == b).all() for a, b in zip(pictures[::2], pictures[1::2], strict=True))
        server.media[part["uuid"]] = server.behaviour.see(tuple(pictures[::2]))
        return server.media[part["uuid"]]

    def _image(self, part: dict[str, Any]) -> Frames:
        if not self.server.behaviour.images:
            raise Refusal(400, "image input is not supported - hint: you may need to provide the mmproj")
        return (picture(part["image_url"]["url"].partition("base64,")[2]),)

    def _generate(self, frames: Frames, after: list[int], body: dict[str, Any]) -> Iterator[dict[str, Any]]:
        brain = self.server.brain
        ids = list(after)
        for _ in range(body["max_tokens"]):
            if self.server.behaviour.per_token_s:
                time.sleep(self.server.behaviour.per_token_s)
            logprobs = brain.next_logprobs(frames, ids)
            values, best = logprobs.topk(max(1, body.get("top_logprobs") or 1))
            token = int(best[0])
            if named := body.get("logprob_token_ids") if self.server.behaviour.names_tokens else None:
                assert len(named) == body["top_logprobs"] <= 20
                best = torch.tensor([*dict.fromkeys((token, *named))][: body["top_logprobs"]])
                values = logprobs[best]
            ids.append(token)
            yield {
                "id": token,
                "logprob": float(logprobs[token]),
                "top": list(zip(best.tolist(), values.tolist(), strict=True)),
            }
            if token in brain.stop_ids:
                return

    def _choice(self, tokens: Sequence[dict[str, Any]], body: dict[str, Any], kind: str) -> dict[str, Any]:
        behaviour, brain = self.server.behaviour, self.server.brain
        choice: dict[str, Any] = {
            "index": 0,
            kind: {"role": "assistant", "content": brain.decode([token["id"] for token in tokens])},
            "logprobs": None,
            "finish_reason": None,
        }
        if body.get("logprobs") and behaviour.logprobs:
            choice["logprobs"] = {"content": [self._token(token, body) for token in tokens]}
        if body.get("return_token_ids") and behaviour.token_ids:
            choice["token_ids"] = [token["id"] for token in tokens]
        return choice

    def _token(self, token: dict[str, Any], body: dict[str, Any]) -> dict[str, Any]:
        wanted = body.get("top_logprobs") or 0
        shown = token["top"] if self.server.behaviour.top_logprobs and wanted else []
        return self._spelt(token["id"], token["logprob"]) | {
            "top_logprobs": [self._spelt(*pair) for pair in shown]
        }

    def _spelt(self, token: int, logprob: float) -> dict[str, Any]:
        spelling = self.server.brain.spelling(token)
        return {"token": spelling.decode("utf-8", "replace"), "logprob": logprob, "bytes": list(spelling)}

    def _prompt_logprobs(
        self, frames: Frames, prompt: list[int], after: list[int], vision: int
    ) -> list[dict[str, Any] | None]:
        """True for the last tokens, which are the ones that are looked at; made up for the others."""
        brain = self.server.brain
        ids = prompt[: len(prompt) - len(after)] + [0] * vision + after
        values: list[dict[str, Any] | None] = [
            {str(token): {"logprob": -1.0, "rank": 2, "decoded_token": "?"}} for token in ids
        ]
        values[0] = None
        for place in range(max(1, len(after) - 24), len(after)):
            logprobs = brain.next_logprobs(frames, after[:place])
            token = after[place]
            values[len(values) - len(after) + place] = {
                str(token): {"logprob": float(logprobs[token]), "rank": 1, "decoded_token": "?"}
            }
        return values

    def _stream(self, tokens: Iterator[dict[str, Any]], usage: dict[str, Any], body: dict[str, Any]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream; charset=utf-8")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        first = {"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}
        self.event({"choices": [first]})
        count, last = 0, 0
        for token in tokens:
            count, last = count + 1, token["id"]
            choice = self._choice([token], body, "delta")
            if last in self.server.brain.stop_ids or count == body["max_tokens"]:
                choice["finish_reason"] = "stop" if last in self.server.brain.stop_ids else "length"
            self.event({"choices": [choice]})
        if self.server.behaviour.usage:
            self.event({"choices": [], "usage": usage | {"completion_tokens": count}})
        self.event_bytes(b"[DONE]")
        self.wfile.write(b"0\r\n\r\n")

    def event(self, value: object) -> None:
        """Write one event of a stream; a client that has gone is noted."""
        self.event_bytes(json.dumps(value).encode())

    def event_bytes(self, data: bytes) -> None:
        data = b"data: " + data + b"\n\n"
        try:
            self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))
            self.wfile.flush()
        except (BrokenPipeError, ConnectionResetError):
            self.server.hung_up.set()
            raise


@dataclass(frozen=True)
class Asked:
    """A POST request that came."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    size: int


class OpenAIServer(ThreadingHTTPServer):
    """Listens on a free port of 127.0.0.1.

    Attributes:
        requests: every POST, in order.
        seen: the frames of each chat completion, in order, as the model saw them.
        media: clips by their uuid.
        hung_up: set when a client went away in the middle of a stream.
        connections: how many were opened.
        most_at_once: the most chat completions that were under way together.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, brain: Brain, behaviour: Behaviour, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.brain, self.behaviour = brain, behaviour
        self.requests: list[Asked] = []
        self.seen: list[Frames] = []
        self.media: dict[str, Frames] = {}
        self.hung_up = threading.Event()
        self.sockets: list[socket.socket] = []
        self.connections = self.most_at_once = self._under_way = 0
        self._lock = threading.Lock()

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Count what is under way."""
        with self._lock:
            self._under_way += 1
            self.most_at_once = max(self.most_at_once, self._under_way)
        try:
            yield
        finally:
            with self._lock:
                self._under_way -= 1

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"

    @property
    def chats(self) -> list[dict[str, Any]]:
        """The bodies of the chat completions."""
        return [asked.body for asked in self.requests if asked.path == "/v1/chat/completions"]

    def was_seen(self, frames: Frames) -> bool:
        """These very frames came before, in an earlier request."""
        return any(frames is before for before in self.seen[:-1])

    def die(self) -> None:
        """End as a crash does: nobody listens, and open connections break off."""
        self.shutdown()
        self.server_close()
        for connection in self.sockets:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away is no error of the server."""


@contextmanager
def serving(behaviour: Behaviour | None = None, port: int = 0) -> Iterator[OpenAIServer]:
    server = OpenAIServer(bundled(), behaviour or Behaviour(), port)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def picture(data: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"))
