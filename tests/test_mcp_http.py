"""The MCP server over HTTP on loopback: both eras, disconnects, tokens, headers, limits, tasks."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import httpx2
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from mcp_kit import ERAS, SOON, HeldBackend, http_client, listening, server, structured, text_of, until
from mcp_types import INVALID_PARAMS
from tarsier_mcp.auth import StaticToken, oauth_auth, read_token_file, static_auth
from tarsier_mcp.callers import ADMIN, READ
from tarsier_mcp.http import MAX_BODY, HttpOptions, check_exposure

from tarsier_tools import UsageError

VIDEOS = Path(__file__).parent / "golden" / "videos"
VIDEO = "short10_256x192.mp4"
MINE, YOURS, ADMINS = "mine-" + "m" * 32, "yours-" + "y" * 32, "admin-" + "a" * 32

pytestmark = [pytest.mark.anyio, pytest.mark.allow_hosts(["127.0.0.1"])]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(params=ERAS)
def era(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def tokens() -> Any:
    return static_auth(
        [
            StaticToken.of("me", MINE),
            StaticToken.of("you", YOURS),
            StaticToken.of("admin", ADMINS, (READ, ADMIN)),
            StaticToken.of("nobody", "n" * 32, (ADMIN,)),
        ]
    )


META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
}
HEADERS = {"Accept": "application/json, text/event-stream", "MCP-Protocol-Version": "2026-07-28"}


async def post(
    url: str, method: str, params: dict[str, Any], *, name: str = "", **headers: str
) -> httpx2.Response:
    """One request of the new era, as a client writes it onto the wire."""
    sent = {**HEADERS, "Mcp-Method": method, **({"Mcp-Name": name} if name else {}), **headers}
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {"_meta": META, **params}}
    async with httpx2.AsyncClient(timeout=SOON) as http:
        return await http.post(url, json=body, headers=sent)


# Calls


async def test_a_call_over_http_tells_its_progress_and_is_answered(era: str) -> None:
    backend = HeldBackend(held=True)
    told: list[str | None] = []

    async def progress(done: float, total: float | None, message: str | None) -> None:
        told.append(message)
        backend.gate.set()

    with server(VIDEOS, backend) as served:
        async with listening(served) as url, http_client(url, era) as connected:
            result = await connected.call_tool("caption_video", {"video": VIDEO}, progress_callback=progress)
    assert "A red circle" in text_of(result)
    assert told


async def test_a_connection_that_drops_stops_the_work(era: str) -> None:
    backend = HeldBackend(held=True)
    with server(VIDEOS, backend) as served:
        async with listening(served) as url:
            with anyio.move_on_after(0.7):
                async with http_client(url, era) as connected:
                    await connected.call_tool("caption_video", {"video": VIDEO})
            await until(lambda: backend.stopped == 1)


async def test_a_cancelled_call_over_http_stops_the_work_while_the_client_stays(era: str) -> None:
    backend = HeldBackend(held=True)
    with server(VIDEOS, backend) as served:
        async with listening(served) as url, http_client(url, era) as connected:
            with anyio.move_on_after(0.7):
                await connected.call_tool("caption_video", {"video": VIDEO})
            await until(lambda: backend.stopped == 1)
            assert (await connected.list_tools()).tools


async def test_a_job_is_found_again_after_a_reconnect(era: str) -> None:
    backend = HeldBackend(held=True)
    with server(VIDEOS, backend, inline_s=0.2) as served:
        async with listening(served) as url:
            async with http_client(url, era) as connected:
                job = structured(await connected.call_tool("caption_video", {"video": VIDEO}))["job_id"]
            backend.gate.set()
            async with http_client(url, era) as connected:
                late = await connected.call_tool("get_job", {"job_id": job, "wait_s": 20})
                while structured(late)["status"] != "completed":
                    late = await connected.call_tool("get_job", {"job_id": job, "wait_s": 20})
    assert "A red circle" in text_of(late)


async def test_a_client_of_the_old_era_is_known_by_its_user_agent() -> None:
    backend = HeldBackend(held=True)
    body = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/call",
        "params": {
            "name": "view_frames",
            "arguments": {"video": VIDEO, "times_s": [n / 10 for n in range(10)]},
        },
    }
    with server(VIDEOS, backend) as served:
        async with listening(served) as url, httpx2.AsyncClient(timeout=SOON) as http:
            headers = {"Accept": "application/json, text/event-stream", "User-Agent": "claude-code/2.1 (cli)"}
            answer = await http.post(url, json=body, headers=headers)
    assert "2 of 10 images are left out" in answer.text


# Who may call


@pytest.mark.parametrize("token", ["", "wrong", MINE[:-1], MINE + "x", "\u00e4" * 20])
async def test_without_a_token_that_is_listed_there_is_no_answer(token: str) -> None:
    with server(VIDEOS, HeldBackend(), auth=tokens()) as served:
        async with listening(served) as url, httpx2.AsyncClient() as http:
            headers = {"Authorization": f"Bearer {token}".encode()} if token else {}
            answer = await http.post(url, json={}, headers=headers)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer ")
    assert "tarsier" not in answer.text


async def test_a_token_without_the_scope_is_not_enough() -> None:
    with server(VIDEOS, HeldBackend(), auth=tokens()) as served:
        async with listening(served) as url, httpx2.AsyncClient() as http:
            answer = await http.post(url, json={}, headers={"Authorization": f"Bearer {'n' * 32}"})
    assert answer.status_code == 403
    assert "video:read" in answer.text


async def test_a_job_belongs_to_the_caller_who_began_it(era: str) -> None:
    backend = HeldBackend(held=True)
    with server(VIDEOS, backend, inline_s=0.2, auth=tokens()) as served:
        async with listening(served) as url:
            async with http_client(url, era, MINE) as connected:
                job = structured(await connected.call_tool("caption_video", {"video": VIDEO}))["job_id"]
            async with http_client(url, era, YOURS) as connected:
                for tool in ("get_job", "cancel_job"):
                    assert "no such job" in text_of(await connected.call_tool(tool, {"job_id": job}))
            assert backend.stopped == 0
            async with http_client(url, era, ADMINS) as connected:
                assert not (await connected.call_tool("cancel_job", {"job_id": job})).is_error
            await until(lambda: backend.stopped == 1)


async def test_callers_do_not_join_each_others_work(era: str) -> None:
    backend = HeldBackend()
    with server(VIDEOS, backend, auth=tokens()) as served:
        async with listening(served) as url:
            for token in (MINE, YOURS, MINE):
                async with http_client(url, era, token) as connected:
                    await connected.call_tool("caption_video", {"video": VIDEO})
    assert backend.begun == 2


# OAuth


ISSUER, PUBLIC = "https://issuer.example.com", "https://video.example.com/mcp"
_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
_OTHER = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def signed(*, key: Any = _KEY, without: str = "", algorithm: str = "RS256", **changes: Any) -> str:
    claims = {
        "iss": ISSUER,
        "aud": PUBLIC,
        "sub": "someone",
        "client_id": "an app",
        "scope": "openid video:read",
        "exp": int(time.time()) + 600,
        **changes,
    }
    claims.pop(without, None)
    return jwt.encode(claims, key, algorithm=algorithm, headers={"kid": "k1"})


@pytest.fixture
def key_file(tmp_path: Path) -> str:
    public = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(_KEY.public_key()))
    path = tmp_path / "jwks.json"
    path.write_text(json.dumps({"keys": [{**public, "kid": "k1", "use": "sig", "alg": "RS256"}]}))
    return str(path)


async def status_of(token: str, key_file: str) -> int:
    with server(VIDEOS, HeldBackend(), auth=oauth_auth(ISSUER, PUBLIC, key_file)) as served:
        async with listening(served, public_url=PUBLIC) as url:
            answer = await post(url, "tools/list", {}, Authorization=f"Bearer {token}")
    return answer.status_code


async def test_a_token_made_for_this_server_is_accepted(key_file: str) -> None:
    assert await status_of(signed(), key_file) == 200


@pytest.mark.parametrize(
    ("token", "status"),
    [
        (lambda: signed(aud="https://elsewhere.example.com/mcp"), 401),
        (lambda: signed(iss="https://evil.example.com"), 401),
        (lambda: signed(exp=int(time.time()) - 10), 401),
        (lambda: signed(nbf=int(time.time()) + 600), 401),
        (lambda: signed(key=_OTHER), 401),
        (lambda: signed(without="exp"), 401),
        (lambda: signed(without="aud"), 401),
        (lambda: signed(key="s" * 64, algorithm="HS256"), 401),
        (lambda: jwt.encode({"iss": ISSUER}, None, algorithm="none"), 401),
        (lambda: signed(scope="openid"), 403),
        (lambda: signed(scope=ADMIN), 403),
    ],
)
async def test_a_token_made_for_anything_else_is_not(
    token: Callable[[], str], status: int, key_file: str
) -> None:
    assert await status_of(token(), key_file) == status


async def test_clients_are_told_where_to_get_a_token(key_file: str) -> None:
    with server(VIDEOS, HeldBackend(), auth=oauth_auth(ISSUER, PUBLIC, key_file)) as served:
        async with listening(served, public_url=PUBLIC) as url, httpx2.AsyncClient() as http:
            refused = await http.post(url, json={})
            told = await http.get(url.replace("/mcp", "/.well-known/oauth-protected-resource/mcp"))
    assert (
        f"{PUBLIC.removesuffix('/mcp')}/.well-known/oauth-protected-resource/mcp"
        in (refused.headers["www-authenticate"])
    )
    assert told.json()["resource"] == PUBLIC
    assert told.json()["authorization_servers"] == [ISSUER]


# The door


@pytest.mark.parametrize(
    ("header", "value", "status"),
    [
        ("Host", "evil.example.com", 421),
        ("Host", "127.0.0.1.evil.example.com", 421),
        ("Origin", "https://evil.example.com", 403),
        ("Origin", "null", 403),
        ("Origin", "http://localhost.evil.example.com", 403),
    ],
)
async def test_a_page_in_a_browser_cannot_reach_the_server(
    era: str, header: str, value: str, status: int
) -> None:
    with server(VIDEOS, HeldBackend()) as served:
        async with listening(served) as url:
            sent = {header: value, **({} if era == "auto" else {"MCP-Protocol-Version": "2025-11-25"})}
            answer = await post(url, "tools/list", {}, **sent)
    assert answer.status_code == status


async def test_names_and_pages_that_were_allowed_are_answered() -> None:
    options = {"allowed_hosts": ("video.example.com",), "allowed_origins": ("https://app.example.com",)}
    with server(VIDEOS, HeldBackend()) as served:
        async with listening(served, **options) as url:
            sent = {"Host": "video.example.com", "Origin": "https://app.example.com"}
            answer = await post(url, "tools/list", {}, **sent)
            assert answer.status_code == 200
            assert answer.headers["access-control-allow-origin"] == "https://app.example.com"


async def test_a_body_that_is_too_large_is_refused(era: str) -> None:
    with server(VIDEOS, HeldBackend()) as served:
        async with listening(served) as url:
            answer = await post(url, "tools/list", {"x": "x" * MAX_BODY})
    assert answer.status_code == 413


async def test_whoever_asks_whether_the_server_lives_is_told_nothing_else() -> None:
    with server(VIDEOS, HeldBackend(), auth=tokens()) as served:
        async with listening(served) as url, httpx2.AsyncClient() as http:
            answer = await http.get(url.replace("/mcp", "/healthz"))
    assert answer.json() == {"status": "ok"}
    assert "server" not in answer.headers


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "video.example.com"])
def test_the_server_is_not_opened_to_the_network_by_accident(host: str) -> None:
    for anonymous in (0, 1):
        with pytest.raises(UsageError, match="no --token-file"):
            check_exposure(HttpOptions(host=host, anonymous=anonymous), authenticated=False)
    with pytest.raises(UsageError, match="the name that clients use"):
        check_exposure(HttpOptions(host=host, anonymous=2), authenticated=False)
    named = HttpOptions(host=host, anonymous=2, public_url=PUBLIC)
    check_exposure(named, authenticated=False)
    check_exposure(HttpOptions(host=host, public_url=PUBLIC), authenticated=True)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_loopback_needs_no_token(host: str) -> None:
    check_exposure(HttpOptions(host=host), authenticated=False)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("", "no token"),
        ("# only a comment", "no token"),
        ("me", "Line 1"),
        ("me short", "too short"),
        (f"me {MINE} video:delete", "scope that does not exist"),
    ],
)
def test_a_token_file_that_is_no_good_is_refused(tmp_path: Path, lines: str, said: str) -> None:
    path = tmp_path / "tokens"
    path.write_text(lines)
    with pytest.raises(UsageError, match=said) as caught:
        read_token_file(path)
    assert MINE not in str(caught.value)
    with pytest.raises(UsageError, match="cannot be read"):
        read_token_file(tmp_path / "nothing")


# What goes out


async def test_no_path_of_the_machine_goes_out(era: str, tmp_path: Path) -> None:
    folder = tmp_path / "private place"
    (folder / "inner").mkdir(parents=True)
    shutil.copy(VIDEOS / VIDEO, folder / "inner" / "film.mp4")
    with server(folder, HeldBackend(), hide_paths=True) as served:
        async with listening(served) as url, http_client(url, era) as connected:
            results = [
                await connected.call_tool("list_videos", {}),
                await connected.call_tool("list_videos", {"folder": "inner"}),
                await connected.call_tool("caption_video", {"video": "inner/film.mp4"}),
                await connected.call_tool("caption_video", {"video": str(folder / "inner" / "film.mp4")}),
                await connected.call_tool("caption_video", {"video": "inner/fil.mp4"}),
                await connected.call_tool("caption_video", {"video": "elsewhere/film.mp4"}),
                await connected.call_tool("caption_video", {"video": "/etc/passwd"}),
            ]
            listed = (await connected.list_resources()).resources
    for result in results:
        assert str(tmp_path) not in result.model_dump_json()
        assert str(Path.home()) not in result.model_dump_json()
    assert "inner/film.mp4" in text_of(results[1])
    assert not results[2].is_error
    assert [resource.name for resource in listed] == ["inner/film.mp4"]


async def test_nothing_can_be_read_until_a_folder_is_allowed(era: str) -> None:
    backend = HeldBackend()
    with server(None, backend, hide_paths=True) as served:
        async with listening(served) as url, http_client(url, era) as connected:
            for video in (VIDEO, str(VIDEOS / VIDEO), "/dev/zero", "."):
                result = await connected.call_tool("caption_video", {"video": video})
                assert result.is_error
                assert "outside the folders" in text_of(result)
            assert (await connected.list_resources()).resources == []
    assert backend.begun == 0


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"{", -32700),
        (b"[]", -32600),
        (b'{"jsonrpc": "2.0", "id": 1}', -32600),
    ],
)
async def test_what_is_no_request_is_refused_as_json_rpc_wants(body: bytes, code: int) -> None:
    with server(VIDEOS, HeldBackend()) as served:
        async with listening(served) as url, httpx2.AsyncClient() as http:
            headers = {**HEADERS, "Content-Type": "application/json", "Mcp-Method": "tools/list"}
            answer = await http.post(url, content=body, headers=headers)
    assert answer.json()["error"]["code"] == code


async def test_methods_and_tools_that_do_not_exist_have_their_codes() -> None:
    with server(VIDEOS, HeldBackend()) as served:
        async with listening(served) as url:
            method = await post(url, "tools/destroy", {})
            tool = await post(url, "tools/call", {"name": "destroy", "arguments": {}}, name="destroy")
            other = await post(url, "tools/call", {"name": "video_info", "arguments": {}}, name="list_videos")
    assert method.json()["error"]["code"] == -32601
    assert tool.json()["error"]["code"] == INVALID_PARAMS
    assert other.json()["error"]["code"] == -32020


# Tasks


TASKS = "io.modelcontextprotocol/tasks"


async def task_call(
    url: str, method: str, params: dict[str, Any], name: str, **headers: str
) -> dict[str, Any]:
    declared = {**META, "io.modelcontextprotocol/clientCapabilities": {"extensions": {TASKS: {}}}}
    answer = await post(url, method, {**params, "_meta": declared}, name=name, **headers)
    for line in answer.text.splitlines():
        if line.startswith("data: {") and '"id"' in line:
            return dict(json.loads(line.removeprefix("data: ")))
    return dict(answer.json())


async def begin_task(url: str, **headers: str) -> str:
    asked = {"name": "caption_video", "arguments": {"video": VIDEO}}
    began = (await task_call(url, "tools/call", asked, "caption_video", **headers))["result"]
    assert began["resultType"] == "task"
    assert began["status"] == "working"
    return str(began["taskId"])


async def test_a_client_that_declares_tasks_gets_one_and_follows_it_to_the_answer() -> None:
    backend = HeldBackend(held=True)
    with server(VIDEOS, backend, inline_s=0.2) as served:
        async with listening(served) as url:
            task = await begin_task(url)
            state: dict[str, Any] = {}
            with anyio.fail_after(SOON):
                while "watching closely" not in state.get("statusMessage", ""):
                    state = (await task_call(url, "tasks/get", {"taskId": task}, task))["result"]
                    assert (state["status"], state["resultType"]) == ("working", "complete")
            backend.gate.set()
            with anyio.fail_after(SOON):
                while state["status"] == "working":
                    state = (await task_call(url, "tasks/get", {"taskId": task}, task))["result"]
    assert state["status"] == "completed"
    assert "A red circle" in state["result"]["content"][0]["text"]


async def test_a_task_that_is_cancelled_stops() -> None:
    backend = HeldBackend(held=True)
    with server(VIDEOS, backend, inline_s=0.2) as served:
        async with listening(served) as url:
            task = await begin_task(url)
            assert "error" not in await task_call(url, "tasks/cancel", {"taskId": task}, task)
            await until(lambda: backend.stopped == 1)
            state = (await task_call(url, "tasks/get", {"taskId": task}, task))["result"]
            assert state["status"] == "cancelled"


async def test_what_is_quick_is_answered_without_a_task() -> None:
    with server(VIDEOS, HeldBackend()) as served:
        async with listening(served) as url:
            asked = {"name": "video_info", "arguments": {"video": VIDEO}}
            answer = (await task_call(url, "tools/call", asked, "video_info"))["result"]
    assert answer["resultType"] == "complete"


@pytest.mark.parametrize("method", ["tasks/get", "tasks/cancel", "tasks/update"])
async def test_a_task_is_told_of_to_nobody_but_its_owner_who_asks_properly(method: str) -> None:
    backend = HeldBackend(held=True)
    mine, yours = f"Bearer {MINE}", f"Bearer {YOURS}"
    with server(VIDEOS, backend, inline_s=0.2, auth=tokens()) as served:
        async with listening(served) as url:
            task = await begin_task(url, Authorization=mine)
            params = {"taskId": task}
            stranger = await task_call(url, method, params, task, Authorization=yours)
            unknown = await task_call(url, method, {"taskId": "x" * 24}, "x" * 24, Authorization=mine)
            misnamed = await task_call(url, method, params, "other", Authorization=mine)
            undeclared = await post(url, method, params, name=task, Authorization=mine)
            assert backend.stopped == 0
    assert stranger["error"] == unknown["error"]
    assert stranger["error"]["code"] == INVALID_PARAMS
    assert misnamed["error"]["code"] == -32020
    assert undeclared.json()["error"]["code"] == -32021


async def many(count: int, call: Callable[[], Awaitable[None]]) -> None:
    async with anyio.create_task_group() as group:
        for _ in range(count):
            group.start_soon(call)


async def test_sixty_four_calls_over_as_many_connections_are_all_answered() -> None:
    answers: list[str] = []
    with server(VIDEOS, HeldBackend()) as served:
        async with listening(served) as url:
            asked = {"_meta": META, "name": "caption_video", "arguments": {"video": VIDEO}}
            body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": asked}
            sent = {**HEADERS, "Mcp-Method": "tools/call", "Mcp-Name": "caption_video"}
            limits = httpx2.Limits(max_connections=64)
            async with httpx2.AsyncClient(timeout=SOON, limits=limits) as http:

                async def ask() -> None:
                    answers.append((await http.post(url, json=body, headers=sent)).text)

                await many(64, ask)
    assert len(answers) == 64
    assert all("A red circle" in answer for answer in answers)
