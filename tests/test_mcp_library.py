"""The library over MCP, on the bundled model: tools, resources, jobs, and who may do what."""

from __future__ import annotations

import base64
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import httpx2
import jsonschema
import pytest
from library_kit import NAMES, SUBTITLE, event, said, write_film, write_films
from mcp import Client, StdioServerParameters
from mcp.shared.exceptions import MCPError
from mcp_kit import (
    ERAS,
    LIBRARY_SNAPSHOT,
    SNAPSHOT,
    SOON,
    HeldBackend,
    client,
    http_client,
    listening,
    offered,
    server,
    structured,
    text_of,
    until,
)
from mcp_types import INVALID_PARAMS, ResourceTemplateReference
from PIL import Image
from tarsier_mcp.auth import StaticToken, static_auth
from tarsier_mcp.callers import ADMIN, READ
from tarsier_mcp.cli import main
from tarsier_mcp.clients import ClientTable
from tarsier_mcp.library_resources import SEGMENT, VIDEO, VIDEOS
from tarsier_mcp.server import INSTRUCTIONS, LIBRARY_INSTRUCTIONS

from tarsier_tools import LibraryError, Settings, VideoService
from tarsier_tools.library import VideoLibrary

READER, WRITER = "reader-" + "r" * 32, "writer-" + "w" * 32
HASTY = ClientTable(inline_s=SOON, changes={"hasty": {"inline_s": 0.05}})
"""Makes a job of what takes long for one client, and lets another wait."""
NEW = {"search_library", "index_videos", "library_status"}
COMMAND = [sys.executable, "-m", "tarsier_mcp"]

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(params=ERAS)
def era(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The films, in a folder with a space in its name."""
    folder = tmp_path_factory.mktemp("all of them") / "my films"
    write_films(folder)
    return folder


@pytest.fixture(scope="module")
def full(films: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library of the films and of one more that lies where nothing may be read; not to be changed."""
    root = tmp_path_factory.mktemp("full")
    write_film(root / "secret" / "d.mp4", 3)
    with (
        VideoService(Settings(cache_dir=root / "cache")) as service,
        VideoLibrary(root / "library", service=service) as library,
    ):
        library.add([films, root / "secret"])
    return root / "library"


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    return tmp_path / "library"


# What is offered


async def test_the_tools_of_a_library_are_offered_as_the_snapshot_has_them(full: Path) -> None:
    with server(None, HeldBackend(), library=full) as served:
        tools = await offered(served)
    before, more = (json.loads(path.read_text("utf-8")) for path in (SNAPSHOT, LIBRARY_SNAPSHOT))
    assert [tool for tool in tools if tool["name"] not in NEW] == before, "the others stay as they are"
    assert [tool for tool in tools if tool["name"] in NEW] == more, (
        "If the change is meant, write the snapshot again: python tests/mcp_kit.py"
    )


async def test_without_a_library_nothing_of_it_is_offered(era: str, films: Path) -> None:
    with server(films, HeldBackend()) as served:
        async with client(served, era) as connected:
            assert not NEW & {tool.name for tool in (await connected.list_tools()).tools}
            assert connected.instructions == INSTRUCTIONS
            uris = [str(one.uri) for one in (await connected.list_resources()).resources]
            templates = (await connected.list_resource_templates()).resource_templates
            assert not [uri for uri in uris if uri.startswith("library:")]
            assert not [one for one in templates if one.uri_template.startswith("library:")]
            with pytest.raises(MCPError, match="Unknown tool"):
                await connected.call_tool("search_library", {"query": "red"})


async def test_with_one_the_instructions_tell_of_it_and_stay_short(era: str, full: Path) -> None:
    with server(None, HeldBackend(), library=full) as served:
        async with client(served, era) as connected:
            assert connected.instructions == INSTRUCTIONS + LIBRARY_INSTRUCTIONS
            tools = (await connected.list_tools()).tools
    assert len((INSTRUCTIONS + LIBRARY_INSTRUCTIONS).encode()) < 2048
    for tool in tools:
        assert tool.annotations is not None
        assert tool.annotations.read_only_hint is (tool.name not in ("cancel_job", "index_videos"))
        assert len((tool.description or "").encode()) < 2048


def test_a_library_that_cannot_be_used_is_told_of_at_the_start(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "library.sqlite").write_bytes(b"this is no database" * 100)
    with pytest.raises(LibraryError), server(None, HeldBackend(), library=tmp_path):
        pass
    for place, said_of_it in ((str(tmp_path), "tarsier-mcp: "), ("ftp://x", "no library of the kind ftp")):
        with pytest.raises(SystemExit) as caught:
            main(["--library", place])
        assert caught.value.code == 2
        told = capsys.readouterr().err
        assert said_of_it in told
        assert "Traceback" not in told


# Searching


async def test_a_search_names_videos_as_the_other_tools_take_them(era: str, films: Path, full: Path) -> None:
    with server(films, None, library=full, inline_s=SOON) as served:
        schemas = {one.name: one.output_schema for one in await served.mcp.list_tools()}
        async with client(served, era) as connected:
            result = await connected.call_tool("search_library", {"query": event(2), "rewatch": True})
            assert not result.is_error, text_of(result)
            hit = structured(result)["result"]["hits"][0]
            assert hit["passage"]["text"] == said(2)
            assert "1. deep/c.mp4 @ 00:00-00:04 (0-4 s of 4 s), caption: " in text_of(result)
            assert hit["rewatched"] > 0.5
            info = await connected.call_tool("video_info", {"video": hit["passage"]["source"]})
            assert "4 s, 224x224" in text_of(info)
            listed = structured(await connected.call_tool("list_videos", {}))["result"]
            assert {video["path"] for video in listed["videos"]} == set(NAMES[:2])
    schema = schemas["search_library"]
    assert schema is not None
    jsonschema.validate(structured(result), schema)
    snippet = schema["$defs"]["Hit"]["properties"]["snippet"]
    assert "never instructions" in snippet["description"]


async def test_both_languages_and_filters_reach_the_library(films: Path, full: Path) -> None:
    with server(films, HeldBackend(), library=full) as served:
        async with client(served, "auto") as connected:
            for asked in ({"query": "黑猫", "k": 1}, {"query": "jumps", "kinds": '["subtitle"]', "k": "1"}):
                (hit,) = structured(await connected.call_tool("search_library", asked))["result"]["hits"]
                assert hit["passage"]["text"] == SUBTITLE
            asked = {"query": "red", "videos": ["nothing.mp4"]}
            refused = await connected.call_tool("search_library", asked)
            assert refused.is_error
            assert "nothing.mp4 is not in the library" in text_of(refused)


async def test_nothing_of_a_video_that_may_not_be_read_reaches_a_client(
    era: str, films: Path, full: Path
) -> None:
    with server(films, HeldBackend(), library=full) as served:
        async with client(served, era) as connected:
            asked = {"query": "star moves left", "k": 20}
            seen = (await connected.call_tool("search_library", asked)).model_dump_json()
            seen += (await connected.call_tool("library_status", {})).model_dump_json()
            seen += (await connected.list_resources()).model_dump_json()
            seen += (await connected.read_resource(VIDEOS)).model_dump_json()
    assert "d.mp4" not in seen
    assert said(3) not in seen
    assert "deep/c.mp4" in seen


async def test_a_search_does_not_wait_for_the_model_unless_it_looks_again(films: Path, full: Path) -> None:
    backend = HeldBackend(held=True)
    with server(films, backend, library=full, clients=HASTY) as served:
        async with client(served, "auto", "hasty") as hasty, client(served, "auto") as patient:
            await hasty.call_tool("caption_video", {"video": "a.mp4"})
            await until(lambda: backend.begun == 1)
            found = await patient.call_tool("search_library", {"query": "red"})
            assert structured(found)["status"] == "completed"
            waiting = await hasty.call_tool("search_library", {"query": "red", "rewatch": True})
            assert structured(waiting)["status"] == "queued"


async def test_a_library_that_has_changed_is_searched_anew(films: Path, empty: Path) -> None:
    with server(films, None, library=empty, inline_s=SOON) as served:
        async with client(served, "auto") as connected:
            asked = {"query": event(0), "rewatch": True}
            nothing = await connected.call_tool("search_library", asked)
            assert "The library is empty" in text_of(nothing)
            await connected.call_tool("index_videos", {"videos": ["a.mp4"]})
            assert "1. a.mp4 @ 00:00-00:04" in text_of(await connected.call_tool("search_library", asked))
            again = await connected.call_tool("index_videos", {"videos": ["a.mp4"]})
            assert structured(again)["result"]["unchanged"] == 1


# Filling it


async def test_indexing_is_a_job_that_tells_how_far_it_is_and_others_do_not_wait_for_it(
    era: str, films: Path, empty: Path
) -> None:
    backend = HeldBackend("A red circle moves.", held=True)
    with server(films, backend, library=empty, inline_s=0.2) as served:
        async with client(served, era) as connected:
            job = structured(await connected.call_tool("index_videos", {}))["job_id"]
            with anyio.fail_after(SOON):
                news = ""
                while "describing segment" not in news:
                    still = await connected.call_tool("get_job", {"job_id": job, "wait_s": 0.1})
                    news = structured(still)["progress"]
            assert news.startswith("video 1 of 3: ")
            await connected.call_tool("ask_video", {"video": "a.mp4", "question": "What?"})
            await until(lambda: backend.begun == 2)  # a question does not wait behind it
            backend.gate.set()
            late = await connected.call_tool("get_job", {"job_id": job, "wait_s": 20})
            while structured(late)["status"] == "running":
                late = await connected.call_tool("get_job", {"job_id": job, "wait_s": 20})
    assert structured(late)["result"]["described"] == list(NAMES)
    assert "3 watched and described" in text_of(late)


async def test_indexing_that_is_cancelled_keeps_what_is_done(films: Path, empty: Path) -> None:
    backend = HeldBackend()
    with server(films, backend, library=empty, clients=HASTY) as served:
        async with client(served, "auto", "hasty") as hasty, client(served, "auto") as patient:
            await patient.call_tool("index_videos", {"videos": ["a.mp4"]})
            backend.gate.clear()
            job = structured(await hasty.call_tool("index_videos", {}))["job_id"]
            await until(lambda: backend.begun == 2)
            await hasty.call_tool("cancel_job", {"job_id": job})
            assert "Stopped" in text_of(await patient.call_tool("get_job", {"job_id": job}))
            assert backend.stopped == 1
            status = await patient.call_tool("library_status", {})
            assert structured(status)["result"]["videos"] == 1
            backend.gate.set()
            again = structured(await patient.call_tool("index_videos", {}))["result"]
    assert again["described"] == list(NAMES[1:])
    assert again["unchanged"] == 1


async def test_indexing_that_a_restart_cut_short_goes_on_with_the_next_server(
    films: Path, empty: Path, tmp_path: Path
) -> None:
    held, free = HeldBackend(held=True), HeldBackend()
    with server(films, held, library=empty, inline_s=0.05, state=tmp_path / "state") as served:
        async with client(served, "auto") as connected:
            job = structured(await connected.call_tool("index_videos", {}))["job_id"]
    with server(films, free, library=empty, inline_s=SOON, state=tmp_path / "state") as served:
        async with client(served, "auto") as connected:
            assert served.store.get(job, None).lane == "index"
            ended = await connected.call_tool("get_job", {"job_id": job})
            assert structured(ended)["result"]["described"] == list(NAMES)


async def test_only_what_may_be_read_is_taken_in(era: str, films: Path, full: Path, empty: Path) -> None:
    with server(films, HeldBackend(), library=empty) as served:
        async with client(served, era) as connected:
            for given in ("/etc", "..", str(full), "file:///etc/passwd"):
                refused = await connected.call_tool("index_videos", {"videos": [given]})
                assert refused.is_error
                assert "outside the folders" in text_of(refused)
            refused = await connected.call_tool("index_videos", {"videos": ["https://example.com/a.mp4"]})
            assert "- https://example.com/a.mp4: Videos from web addresses are turned off." in text_of(
                refused
            )


# Who may do what


def tokens() -> Any:
    return static_auth([StaticToken.of("reader", READER), StaticToken.of("writer", WRITER, (READ, ADMIN))])


@pytest.mark.allow_hosts(["127.0.0.1"])
async def test_only_an_admin_is_offered_the_tool_that_writes(era: str, films: Path, empty: Path) -> None:
    with server(films, None, library=empty, auth=tokens(), hide_paths=True) as served:
        async with listening(served) as url:
            async with http_client(url, era, READER) as reader:
                assert NEW - {tool.name for tool in (await reader.list_tools()).tools} == {"index_videos"}
                with pytest.raises(MCPError, match="Unknown tool: index_videos") as caught:
                    await reader.call_tool("index_videos", {})
                assert caught.value.error.code == INVALID_PARAMS
            async with http_client(url, era, WRITER) as writer:
                assert {tool.name for tool in (await writer.list_tools()).tools} >= NEW
                made = await writer.call_tool("index_videos", {})
                job = structured(made)
                while job["status"] != "completed":
                    job = structured(await writer.call_tool("get_job", {"job_id": job["job_id"]}))
                assert job["result"]["described"] == list(NAMES)
            async with http_client(url, era, READER) as reader:
                found = await reader.call_tool("search_library", {"query": event(1)})
                assert "1. b.mp4 @ 00:00-00:04" in text_of(found)
                assert str(films) not in found.model_dump_json()


@pytest.mark.allow_hosts(["127.0.0.1"])
async def test_nobody_without_a_token_writes_over_http(films: Path, empty: Path) -> None:
    with server(films, HeldBackend(), library=empty) as served:
        async with listening(served) as url, http_client(url, "auto") as anybody:
            assert NEW - {tool.name for tool in (await anybody.list_tools()).tools} == {"index_videos"}
            with pytest.raises(MCPError):
                await anybody.call_tool("index_videos", {})


@pytest.mark.allow_hosts(["127.0.0.1"])
async def test_what_is_wrong_with_a_file_is_told_without_the_paths_of_this_machine(
    tmp_path: Path, empty: Path
) -> None:
    (tmp_path / "films").mkdir()
    (tmp_path / "films" / "bad.mp4").write_bytes(b"no video")
    with server(tmp_path / "films", HeldBackend(), library=empty, auth=tokens(), hide_paths=True) as served:
        async with listening(served) as url, http_client(url, "auto", WRITER) as writer:
            told = await writer.call_tool("index_videos", {})
            told_again = await writer.call_tool("library_status", {})
    for result in (told, told_again):
        assert "- bad.mp4: bad.mp4 cannot be read as a video" in text_of(result)
        assert str(tmp_path) not in result.model_dump_json()


# Resources


async def test_what_is_known_of_a_video_is_a_resource(era: str, films: Path, full: Path) -> None:
    with server(films, HeldBackend(), library=full) as served:
        async with client(served, era) as connected:
            listed = [str(one.uri) for one in (await connected.list_resources()).resources]
            (told,) = (await connected.read_resource(VIDEOS)).contents
            videos = {each["video"]: each for each in json.loads(told.text)["videos"]}  # type: ignore[union-attr]
            assert set(videos) == set(NAMES)
            uris = [f"library://{each['id']}" for each in videos.values()]
            assert [uri for uri in listed if uri.startswith("library:")] == [VIDEOS, *uris]
            (told,) = (await connected.read_resource(f"library://{videos['deep/c.mp4']['id']}")).contents
            facts = json.loads(told.text)  # type: ignore[union-attr]
            assert facts["info"]["source"] == facts["video"] == "deep/c.mp4"
            texts = {each["kind"]: each for each in facts["segments"]}
            assert texts["caption"]["text"] == said(2)
            assert (texts["subtitle"]["start_s"], texts["subtitle"]["text"]) == (1.0, SUBTITLE)
            address = f"library://{facts['id']}/segment/{texts['caption']['id']}"
            (picture,) = (await connected.read_resource(address)).contents
            jpeg = base64.b64decode(picture.blob)  # type: ignore[union-attr]
            assert Image.open(io.BytesIO(jpeg)).format == "JPEG"


async def test_what_is_not_in_the_library_or_may_not_be_read_is_no_resource(films: Path, full: Path) -> None:
    with VideoLibrary(full, embedder="none") as library:
        ids = {row.title: row.uuid for row in library.videos()}
        pictures = {title: library.passages(uuid)[0].id for title, uuid in ids.items()}
    none = "00000000-0000-0000-0000-000000000000"
    with server(films, HeldBackend(), library=full) as served:
        async with client(served, "auto") as connected:
            for uri in (
                f"library://{none}",
                f"library://{ids['d']}",
                f"library://{ids['d']}/segment/{pictures['d']}",
                f"library://{ids['a']}/segment/{pictures['d']}",
                f"library://{ids['a']}/segment/{none}",
            ):
                with pytest.raises(MCPError) as caught:
                    await connected.read_resource(uri)
                assert caught.value.error.code == INVALID_PARAMS, uri


async def test_ids_are_completed(era: str, films: Path, full: Path) -> None:
    with server(films, HeldBackend(), library=full) as served:
        async with client(served, era) as connected:

            async def completed(uri: str, name: str, value: str, **given: str) -> list[str]:
                reference = ResourceTemplateReference(type="ref/resource", uri=uri)
                argument = {"name": name, "value": value}
                answer = await connected.complete(reference, argument, context_arguments=given or None)
                return answer.completion.values

            assert len(await completed(VIDEO, "id", "")) == 3
            (found,) = await completed(VIDEO, "id", "DEEP/")
            assert await completed(SEGMENT, "id", found[:8]) == [found]
            segments = await completed(SEGMENT, "segment", "", id=found)
            assert len(segments) == 2
            assert await completed(SEGMENT, "segment", segments[0][:8], id=found) == segments[:1]
            assert await completed(SEGMENT, "segment", "", id="nothing") == []


# The command


def environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("TARSIER_")}


async def test_over_stdio_a_library_is_filled_and_searched(films: Path, tmp_path: Path) -> None:
    arguments = ["--library", str(tmp_path / "a library"), "--inline-seconds", "100"]
    parameters = StdioServerParameters(
        command=COMMAND[0], args=[*COMMAND[1:], *arguments], cwd=films, env=environment()
    )
    async with Client(parameters) as connected:
        made = await connected.call_tool("index_videos", {})
        assert structured(made)["result"]["described"] == list(NAMES), text_of(made)
    async with Client(parameters) as connected:  # another process
        found = await connected.call_tool("search_library", {"query": event(0), "k": 1})
        assert "1. a.mp4 @ 00:00-00:04" in text_of(found)
        (found_in_chinese,) = structured(
            await connected.call_tool("search_library", {"query": "猫", "k": 1})
        )["result"]["hits"]
        assert found_in_chinese["passage"]["text"] == SUBTITLE


@pytest.mark.allow_hosts(["127.0.0.1"])
async def test_over_http_the_variable_names_the_library(films: Path, full: Path, tmp_path: Path) -> None:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    tokens = tmp_path / "tokens"
    tokens.write_text(f"writer {WRITER} {READ} {ADMIN}\n")
    arguments = ["--http", "--port", str(port), "--allow", str(films), "--token-file", str(tokens)]
    arguments += ["--inline-seconds", "100"]
    library = shutil.copytree(full, tmp_path / "library")
    running = subprocess.Popen(
        [*COMMAND, *arguments],
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        env={**environment(), "TARSIER_LIBRARY": str(library)},
        text=True,
    )
    try:
        await until(lambda: answers(f"http://127.0.0.1:{port}/healthz"))
        async with http_client(f"http://127.0.0.1:{port}/mcp", "auto", WRITER) as connected:
            found = await connected.call_tool("search_library", {"query": event(1), "k": 1})
            assert "1. b.mp4 @ 00:00-00:04" in text_of(found)
            unchanged = await connected.call_tool("index_videos", {})
            assert structured(unchanged)["result"]["unchanged"] == 3
    finally:
        running.terminate()
        _, errors = running.communicate(timeout=SOON)
    assert "Traceback" not in errors


def answers(url: str) -> bool:
    try:
        return httpx2.get(url, timeout=1).status_code == 200
    except httpx2.HTTPError:
        return False


def test_a_configuration_has_the_whole_path_of_a_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for given, written in (("lib", str(tmp_path / "lib")), ("lance://lib", "lance://lib")):
        main(["--print-config", "cursor", f"--library={given}"])
        arguments = json.loads(capsys.readouterr().out)["mcpServers"]["tarsier"]["args"]
        assert arguments[arguments.index("--library") + 1] == written
