"""ChatTarsier: the framework's suite, and talks about videos with a server on loopback."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import ShapesFilm
from langchain_core.load import dumps, loads
from langchain_core.messages import HumanMessage
from langchain_tarsier.chat_models import ChatTarsier
from langchain_tests.unit_tests import ChatModelUnitTests
from openai_server import KEY, MAX_PIXELS, NAME, Behaviour, OpenAIServer, serving

from tarsier_tools import Settings, SourceNotAllowed, UsageError, VideoNotFound, VideoService

VIDEO = Path(__file__).parent / "golden" / "videos" / "shapes_320x240_25fps.mp4"
DESCRIBE = {"type": "text", "text": "Describe the video in detail."}


class TestChatTarsier(ChatModelUnitTests):
    @property
    def chat_model_class(self) -> type[ChatTarsier]:
        return ChatTarsier

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"base_url": "http://127.0.0.1:1/v1", "model": "tarsier2"}

    @property
    def supports_video_inputs(self) -> bool:
        return True

    @property
    def init_from_env_params(self) -> tuple[dict[str, str], dict[str, Any], dict[str, Any]]:
        where = "http://127.0.0.1:1/v1"
        return (
            {"TARSIER_BASE_URL": where, "TARSIER_MODEL": "tarsier2", "TARSIER_API_KEY": "secret"},
            {},
            {"openai_api_base": where, "model_name": "tarsier2", "openai_api_key": "secret"},
        )

    @pytest.mark.xfail(reason="by default LangChain loads classes of its own partners only", strict=True)
    def test_serdes(self, model: Any, snapshot: Any) -> None:
        super().test_serdes(model, snapshot)


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    with serving(Behaviour(key=KEY)) as running:
        yield running


@pytest.fixture
def chat(server: OpenAIServer) -> ChatTarsier:
    settings = Settings(server_max_pixels=MAX_PIXELS, picture_format="png")
    return ChatTarsier(
        base_url=server.url, model=NAME, api_key=KEY, settings=settings, max_tokens=64, max_retries=0
    )


def message(**video: Any) -> list[HumanMessage]:
    return [HumanMessage([{"type": "video", **video}, DESCRIBE])]


on_loopback = pytest.mark.allow_hosts(["127.0.0.1"])


@on_loopback
def test_a_video_in_a_message_is_described_as_the_local_model_does(
    chat: ChatTarsier, shapes_film: ShapesFilm
) -> None:
    with VideoService(Settings(backend="tiny")) as service:
        local = service.caption(shapes_film.path).text
    assert chat.invoke(message(url=str(shapes_film.path))).content == local


@on_loopback
def test_base64_is_taken_as_well(chat: ChatTarsier, shapes_film: ShapesFilm) -> None:
    data = base64.b64encode(shapes_film.path.read_bytes()).decode()
    by_path = chat.invoke(message(url=str(shapes_film.path))).content
    assert chat.invoke(message(base64=data, mime_type="video/mp4")).content == by_path


@on_loopback
async def test_awaited_and_streamed_it_says_the_same(chat: ChatTarsier, shapes_film: ShapesFilm) -> None:
    ask = message(url=str(shapes_film.path))
    said = chat.invoke(ask).content
    assert (await chat.ainvoke(ask)).content == said
    assert "".join([str(chunk.content) async for chunk in chat.astream(ask)]) == said
    assert "".join(str(chunk.content) for chunk in chat.stream(ask)) == said


@on_loopback
def test_extras_choose_the_range(chat: ChatTarsier, shapes_film: ShapesFilm) -> None:
    event = shapes_film.scene.truth().events[1]
    extras = {"start_s": event.start_s, "end_s": event.end_s, "frames": 8}
    with VideoService(Settings(backend="tiny")) as service:
        local = service.caption(shapes_film.path, **extras).text
    assert chat.invoke(message(url=str(shapes_film.path), extras=extras)).content == local


def unreachable(**settings: Any) -> ChatTarsier:
    return ChatTarsier(base_url="http://127.0.0.1:1/v1", model=NAME, settings=Settings(**settings))


def test_a_server_is_sent_frames_and_no_address() -> None:
    payload = unreachable()._get_request_payload(message(url=str(VIDEO)))
    (part, text) = payload["messages"][0]["content"]
    assert part["type"] == "video_url"
    assert part["video_url"]["url"].startswith("data:video/jpeg;base64,")
    assert part["video_url"]["url"].count(",") == 2 * 16  # each frame twice, as Tarsier2 was trained
    assert text == DESCRIBE
    assert str(VIDEO) not in str(payload)


@pytest.mark.parametrize(
    ("block", "kind", "said"),
    [
        ({"url": "none.mp4"}, VideoNotFound, "no file none.mp4"),
        ({"url": "http://127.0.0.1/film.mp4"}, SourceNotAllowed, "http"),
        ({"file_id": "file-1"}, UsageError, "needs a url or base64"),
        ({"url": 5}, UsageError, "needs a url or base64, as text"),
        ({"base64": "?"}, UsageError, "cannot be read"),
        ({"base64": "é"}, UsageError, "cannot be read"),
        ({"url": str(VIDEO), "extras": {"fps": 2}}, UsageError, "nobody knows: fps"),
        ({"url": str(VIDEO), "extras": "fps"}, UsageError, "Give a dict"),
        (
            {"url": str(VIDEO), "extras": {"start_s": "soon"}},
            UsageError,
            "start_s .* is 'soon'. Give a number",
        ),
        ({"url": str(VIDEO), "extras": {"frames": 1.5}}, UsageError, "frames .* is 1.5. Give a whole number"),
    ],
)
def test_a_block_that_cannot_be_shown_is_refused_before_anything_is_sent(
    block: dict[str, Any], kind: type[Exception], said: str
) -> None:
    with pytest.raises(kind, match=said):
        unreachable().invoke(message(**block))


def test_paths_keep_to_the_allowed_folders(tmp_path: Path) -> None:
    with pytest.raises(SourceNotAllowed):
        unreachable(allowed_roots=(tmp_path,)).invoke(message(url=str(VIDEO)))


def test_without_a_server_it_says_what_to_set() -> None:
    with pytest.raises(ValueError, match="Give base_url, or set TARSIER_BASE_URL"):
        ChatTarsier()


@pytest.mark.filterwarnings("ignore:The function `loads` is in beta")
def test_a_stored_model_is_loaded_again_by_those_who_allow_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TARSIER_API_KEY", "secret")
    chat = ChatTarsier(base_url="http://127.0.0.1:1/v1", model=NAME)
    stored = dumps(chat)
    assert "secret-" not in stored
    assert '"secret"' not in stored.replace('"type": "secret"', "")
    again = loads(
        stored,
        allowed_objects=[ChatTarsier],
        valid_namespaces=["langchain_tarsier"],
        secrets_from_env=True,
    )
    assert again.asdict() == chat.asdict()


def test_the_key_is_never_shown() -> None:
    chat = ChatTarsier(base_url="http://127.0.0.1:1/v1", settings=Settings(api_key="secret"))
    assert "secret" not in repr(chat)
