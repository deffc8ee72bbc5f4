"""A library in LlamaIndex: the retriever with its filters, and the reader."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from library_kit import NAMES, SUBTITLE, event, write_films
from llama_index.core.retrievers import BaseRetriever
from llama_index.core.schema import MetadataMode
from llama_index.core.vector_stores import FilterCondition, FilterOperator, MetadataFilter, MetadataFilters
from llama_index.readers.tarsier import TarsierLibraryReader, TarsierVideoReader
from llama_index.retrievers.tarsier import TarsierLibraryRetriever

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


def where(
    *given: tuple[str, str, Any], condition: FilterCondition | None = FilterCondition.AND
) -> MetadataFilters:
    """Filters of (key, operator, value)."""
    filters = [
        MetadataFilter(key=key, operator=FilterOperator(sign), value=value) for key, sign, value in given
    ]
    return MetadataFilters(filters=filters, condition=condition)


class TestRetriever:
    @pytest.mark.parametrize("seed", range(3))
    def test_what_happens_is_found_and_cited(self, library: VideoLibrary, films: Path, seed: int) -> None:
        retriever = TarsierLibraryRetriever(library)
        assert isinstance(retriever, BaseRetriever)
        (hit, *_) = retriever.retrieve(event(seed))
        assert hit.metadata["source"] == str(films / NAMES[seed])
        assert f"citation: {Path(NAMES[seed]).name} @ 00:00-00:04" in hit.get_content(MetadataMode.LLM)
        assert hit.score is not None
        assert hit.score > 0

    @pytest.mark.parametrize(
        ("given", "titles"),
        [
            ([], {"a", "b", "c"}),
            ([("path", "text_match", "[ab].*")], {"a", "b"}),
            ([("path", "text_match", "*/deep/*")], {"c"}),
            ([("type", "==", "subtitle")], {"c"}),
            ([("type", "in", ["subtitle", "caption"])], {"a", "b", "c"}),
            ([("language", "==", "zh")], {"c"}),
            ([("type", "==", "subtitle"), ("path", "text_match", "a.*")], set()),
            ([("type", "==", "subtitle"), ("end", ">", 2.0)], set()),
            ([("type", "==", "subtitle"), ("end", ">=", 2)], {"c"}),
            ([("type", "==", "subtitle"), ("start", "<", 1.0)], set()),
            ([("type", "==", "subtitle"), ("start", "<=", 1)], {"c"}),
        ],
    )
    def test_filters_keep_to_what_they_name(
        self, library: VideoLibrary, given: list[tuple[str, str, Any]], titles: set[str]
    ) -> None:
        hits = TarsierLibraryRetriever(library, filters=where(*given)).retrieve(EVERY)
        assert {hit.metadata["title"] for hit in hits} == titles

    def test_videos_are_named_by_their_paths_or_their_ids(self, library: VideoLibrary, films: Path) -> None:
        one, two = str(films / "a.mp4"), str(films / "b.mp4")
        hits = TarsierLibraryRetriever(library, filters=where(("source", "in", [one, two]))).retrieve(EVERY)
        assert {hit.metadata["source"] for hit in hits} == {one, two}
        known = where(("video_id", "==", hits[0].metadata["video_id"]))
        (hit,) = TarsierLibraryRetriever(library, filters=known).retrieve(EVERY)
        assert hit.node_id == hits[0].node_id
        with pytest.raises(UnknownVideo, match="nothing"):
            TarsierLibraryRetriever(library, filters=where(("source", "==", "nothing"))).retrieve(EVERY)

    def test_filters_within_filters_all_hold(self, library: VideoLibrary) -> None:
        filters = MetadataFilters(
            filters=[
                where(("type", "==", "caption"), condition=None),
                where(("path", "text_match", "[bc].*")),
            ]
        )
        hits = TarsierLibraryRetriever(library, filters=filters).retrieve(EVERY)
        assert {hit.metadata["title"] for hit in hits} == {"b", "c"}

    @pytest.mark.parametrize(
        ("filters", "words"),
        [
            (where(("start", ">=", 2.0)), r"by start >= 2\.0\. It can by video_id \(==, in\)"),
            (where(("type", "!=", "caption")), "by type != 'caption'"),
            (where(("title", "==", "a")), "by title == 'a'"),
            (where(("language", "in", ["en"])), "by language in"),
            (where(("type", "is_empty", None)), "by type is_empty None"),
            (where(("type", "in", "caption")), "value of the filter type in is 'caption'"),
            (where(("end", ">", "2")), "value of the filter end > is '2'"),
            (
                where(("type", "==", "caption"), ("path", "text_match", "*"), condition=FilterCondition.OR),
                "by OR",
            ),
            (where(("type", "==", "caption"), condition=FilterCondition.NOT), "by NOT"),
            (where(("video_id", "==", "a"), ("source", "==", "b")), "Two filters are about the same"),
        ],
    )
    def test_a_filter_that_cannot_be_honoured_is_refused(
        self, library: VideoLibrary, filters: MetadataFilters, words: str
    ) -> None:
        with pytest.raises(UsageError, match=words):
            TarsierLibraryRetriever(library, filters=filters)

    def test_a_kind_that_there_is_not_is_refused(self, library: VideoLibrary) -> None:
        retriever = TarsierLibraryRetriever(library, filters=where(("type", "==", "captions")))
        with pytest.raises(UsageError, match="Use one of caption, event"):
            retriever.retrieve(EVERY)

    def test_no_more_hits_come_than_wanted(self, library: VideoLibrary) -> None:
        assert len(TarsierLibraryRetriever(library, similarity_top_k=2).retrieve(EVERY)) == 2
        with pytest.raises(UsageError, match="similarity_top_k is 0"):
            TarsierLibraryRetriever(library, similarity_top_k=0)

    def test_looking_again_lets_pixels_decide(self, library: VideoLibrary) -> None:
        first, *others = TarsierLibraryRetriever(library, rewatch=True).retrieve(event(1))
        assert first.metadata["title"] == "b"
        assert first.score == first.metadata["rewatched"] > 0.5 > max(hit.score or 0.0 for hit in others)

    def test_it_is_awaited_without_blocking_the_loop(self, library: VideoLibrary) -> None:
        async def search() -> tuple[list[str], int]:
            ticks = 0

            async def tick() -> None:
                nonlocal ticks
                while True:
                    await asyncio.sleep(0.005)
                    ticks += 1

            ticking = asyncio.create_task(tick())
            found = await TarsierLibraryRetriever(library, rewatch=True).aretrieve(event(0))
            ticking.cancel()
            return [hit.node_id for hit in found], ticks

        found, ticks = asyncio.run(search())
        assert ticks
        assert found == [
            hit.node_id for hit in TarsierLibraryRetriever(library, rewatch=True).retrieve(event(0))
        ]

    def test_a_library_is_opened_by_its_address(self, library: VideoLibrary, service: VideoService) -> None:
        retriever = TarsierLibraryRetriever(library.address, service=service, rewatch=True)
        assert retriever.retrieve(event(1))[0].metadata["title"] == "b"

    def test_a_folder_without_a_library_stays_as_it_is(self, tmp_path: Path) -> None:
        for opens in (TarsierLibraryRetriever, TarsierLibraryReader):
            with pytest.raises(UsageError, match=r"There is no library at .*library add"):
                opens(tmp_path / "none")
        assert list(tmp_path.iterdir()) == []


class TestReader:
    def test_documents_are_those_of_the_videos_themselves(
        self, library: VideoLibrary, films: Path, service: VideoService
    ) -> None:
        reader, watcher = TarsierLibraryReader(library), TarsierVideoReader(service=service)
        watched = [document for name in NAMES for document in watcher.load_data(str(films / name))]
        assert reader.load_data(kinds="caption") == watched
        (subtitle,) = reader.load_data(kinds=["subtitle"])
        assert (subtitle.text, subtitle.metadata["language"]) == (SUBTITLE, "zh-Hans")
        assert len(reader.load_data()) == len(watched) + 1

    def test_documents_know_their_neighbours_of_the_same_video(
        self, library: VideoLibrary, films: Path
    ) -> None:
        first, second = TarsierLibraryReader(library).load_data(str(films / NAMES[2]))
        assert first.next_node is not None
        assert first.next_node.node_id == second.node_id
        assert second.next_node is None

    async def test_loading_without_blocking_gives_the_same(self, library: VideoLibrary) -> None:
        reader = TarsierLibraryReader(library.address)
        assert await reader.aload_data() == reader.load_data()

    def test_what_is_not_there_is_refused(self, library: VideoLibrary) -> None:
        with pytest.raises(UnknownVideo, match="nothing"):
            TarsierLibraryReader(library).load_data(["nothing"])
        with pytest.raises(UsageError, match="Use one of caption, event"):
            TarsierLibraryReader(library).load_data(kinds="events")
