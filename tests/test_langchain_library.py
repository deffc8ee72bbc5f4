"""A library in LangChain: the retriever with its filters, and the loader."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.prompts import PromptTemplate
from langchain_core.tools import create_retriever_tool
from langchain_tarsier import TarsierLibraryLoader, TarsierLibraryRetriever, TarsierVideoLoader
from langchain_tests.integration_tests import RetrieversIntegrationTests
from library_kit import NAMES, SUBTITLE, event, write_films
from pydantic import ValidationError

from tarsier_tools import Settings, UnknownVideo, UsageError, VideoService
from tarsier_tools.library import VideoLibrary

EVERY = "the moves shrinks grows vanishes 黑猫"
"""Words of which each text has one at least."""


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("films")
    write_films(folder)
    return folder


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VideoService]:
    with VideoService(Settings.load(cache_dir=tmp_path_factory.mktemp("cache"))) as videos:
        yield videos


@pytest.fixture(scope="module")
def library(
    tmp_path_factory: pytest.TempPathFactory, films: Path, service: VideoService
) -> Iterator[VideoLibrary]:
    with VideoLibrary(tmp_path_factory.mktemp("library"), service=service, embedder="none") as filled:
        filled.add(films)
        yield filled


class TestStandard(RetrieversIntegrationTests):
    @pytest.fixture(autouse=True)
    def given(self, library: VideoLibrary) -> None:
        self.library = library

    @property
    def retriever_constructor(self) -> type[TarsierLibraryRetriever]:
        return TarsierLibraryRetriever

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        return {"library": self.library}

    @property
    def retriever_query_example(self) -> str:
        return EVERY


class TestRetriever:
    @pytest.mark.parametrize("seed", range(3))
    def test_what_happens_is_found_and_cited(self, library: VideoLibrary, films: Path, seed: int) -> None:
        (found, *_) = TarsierLibraryRetriever(library=library).invoke(event(seed))
        assert found.metadata["source"] == str(films / NAMES[seed])
        assert found.metadata["citation"] == f"{Path(NAMES[seed]).name} @ 00:00-00:04"
        assert found.metadata["score"] > 0

    @pytest.mark.parametrize(
        ("filters", "titles"),
        [
            ({}, {"a", "b", "c"}),
            ({"path": "[ab].*"}, {"a", "b"}),
            ({"path": "*/deep/*"}, {"c"}),
            ({"kinds": ["subtitle"]}, {"c"}),
            ({"language": "zh"}, {"c"}),
            ({"kinds": ["subtitle"], "start_s": 3.0}, set()),
            ({"kinds": ["subtitle"], "end_s": 1.0}, set()),
            ({"kinds": ["subtitle"], "start_s": 1.5, "end_s": 1.6}, {"c"}),
        ],
    )
    def test_a_filter_keeps_to_what_it_names_as_a_field_and_in_a_call(
        self, library: VideoLibrary, filters: dict[str, Any], titles: set[str]
    ) -> None:
        for documents in (
            TarsierLibraryRetriever(library=library, **filters).invoke(EVERY),
            TarsierLibraryRetriever(library=library).invoke(EVERY, **filters),
        ):
            assert {document.metadata["title"] for document in documents} == titles

    def test_a_video_is_named_by_its_path_or_its_id(self, library: VideoLibrary, films: Path) -> None:
        retriever = TarsierLibraryRetriever(library=library, videos=[str(films / "b.mp4")])
        (document,) = retriever.invoke(EVERY)
        assert document.metadata["title"] == "b"
        assert retriever.invoke(EVERY, videos=[document.metadata["video_id"]]) == [document]
        with pytest.raises(UnknownVideo, match=r"d\.mp4 is not in the library"):
            retriever.invoke(EVERY, videos=["d.mp4"])

    def test_a_call_takes_the_place_of_a_field_and_none_lifts_a_filter(self, library: VideoLibrary) -> None:
        retriever = TarsierLibraryRetriever(library=library, path="a.*", k=1)
        assert [each.metadata["title"] for each in retriever.invoke(EVERY, path="b.*")] == ["b"]
        assert len(retriever.invoke(EVERY, path=None, k=3)) == 3
        assert len(retriever.invoke(EVERY, path=None, k=None)) == 1

    @pytest.mark.parametrize(
        ("asked", "words"),
        [
            ({"kind": "event"}, "takes no kind.*Use k, rewatch, videos, kinds"),
            ({"kinds": ["events"]}, "Use one of caption, event"),
            ({"k": 0}, "k is 0"),
            ({"start_s": 2, "end_s": 1}, "nothing between 2 and 1 s"),
        ],
    )
    async def test_what_cannot_be_asked_is_refused_and_never_passed_over(
        self, library: VideoLibrary, asked: dict[str, Any], words: str
    ) -> None:
        retriever = TarsierLibraryRetriever(library=library)
        with pytest.raises(UsageError, match=words):
            retriever.invoke(EVERY, **asked)
        with pytest.raises(UsageError, match=words):
            await retriever.ainvoke(EVERY, **asked)

    @pytest.mark.parametrize(
        "fields", [{"kind": ["event"]}, {"kinds": ["events"]}, {"k": 0}, {"start_s": -1.0}]
    )
    def test_a_field_that_cannot_be_is_named(self, library: VideoLibrary, fields: dict[str, Any]) -> None:
        with pytest.raises(ValidationError, match=next(iter(fields))):
            TarsierLibraryRetriever(library=library, **fields)

    def test_looking_again_lets_pixels_decide(self, library: VideoLibrary) -> None:
        first, *others = TarsierLibraryRetriever(library=library, rewatch=True).invoke(event(1))
        assert first.metadata["title"] == "b"
        seen = [document.metadata["rewatched"] for document in others]
        assert first.metadata["rewatched"] > 0.5 > max(seen)

    async def test_awaiting_gives_the_same_documents_and_tells_how_far_it_is(
        self, library: VideoLibrary
    ) -> None:
        retriever = TarsierLibraryRetriever(library=library)
        asked: dict[str, Any] = {"rewatch": True, "kinds": ["caption"]}
        events = [each async for each in retriever.astream_events(event(0), version="v2", **asked)]
        told = [each["data"] for each in events if each["event"] == "on_custom_event"]
        assert told[0]["tool"] == "TarsierLibraryRetriever"
        assert told[0]["message"] == "looking at hit 1 of 3 again"
        (end,) = [each for each in events if each["event"] == "on_retriever_end"]
        documents = end["data"]["output"]
        assert documents == retriever.invoke(event(0), **asked)
        assert await retriever.abatch([event(0)] * 3, **asked) == [documents] * 3

    def test_a_library_is_opened_by_its_address(
        self, library: VideoLibrary, service: VideoService, caplog: pytest.LogCaptureFixture
    ) -> None:
        retriever = TarsierLibraryRetriever(library=library.address, service=service)
        assert retriever.invoke(event(1), rewatch=True)[0].metadata["title"] == "b"
        assert not caplog.records

    def test_a_folder_without_a_library_stays_as_it_is(self, tmp_path: Path) -> None:
        for folder in (tmp_path, tmp_path / "none"):
            with pytest.raises(ValueError, match=r"There is no library at .*library add"):
                TarsierLibraryRetriever(library=folder)
            with pytest.raises(UsageError, match=r"There is no library at .*library add"):
                TarsierLibraryLoader(folder)
        assert list(tmp_path.iterdir()) == []

    def test_an_agent_is_told_the_citation(self, library: VideoLibrary) -> None:
        tool = create_retriever_tool(
            TarsierLibraryRetriever(library=library, k=1),
            "search_videos",
            "Find moments in the videos.",
            document_prompt=PromptTemplate.from_template("[{citation}] {page_content}"),
        )
        assert tool.invoke({"query": "黑猫"}) == f"[c.mp4 @ 00:01-00:02] {SUBTITLE}"


class TestLoader:
    def test_documents_are_those_of_the_videos_themselves(
        self, library: VideoLibrary, films: Path, service: VideoService
    ) -> None:
        sources = [str(films / name) for name in NAMES]
        watched = TarsierVideoLoader(sources, service=service).load()
        assert TarsierLibraryLoader(library, kinds="caption").load() == watched
        read = TarsierVideoLoader(sources[2], by="subtitles", service=service).load()
        assert TarsierLibraryLoader(library, kinds=["subtitle"]).load() == read
        assert len(TarsierLibraryLoader(library).load()) == len(watched) + len(read)

    async def test_loading_without_blocking_gives_the_same(self, library: VideoLibrary) -> None:
        loader = TarsierLibraryLoader(library.address)
        assert [document async for document in loader.alazy_load()] == loader.load()

    def test_only_the_videos_that_are_named_are_loaded(self, library: VideoLibrary, films: Path) -> None:
        one = str(films / "b.mp4")
        assert [
            each.metadata["source"] for each in TarsierLibraryLoader(library, videos=one).lazy_load()
        ] == [one]
        with pytest.raises(UnknownVideo):
            TarsierLibraryLoader(library, videos=[one, "d.mp4"]).load()
        with pytest.raises(UsageError, match="Use one of caption, event"):
            TarsierLibraryLoader(library, kinds=["events"]).load()  # type: ignore[list-item]
