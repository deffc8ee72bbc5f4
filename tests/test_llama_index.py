"""LlamaIndex: the tools, the reader and the retriever on the bundled model and a rendered film."""

from __future__ import annotations

import asyncio
import base64
import io
import pickle
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ShapesFilm
from llama_index.core import SimpleDirectoryReader
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.base.llms.types import ImageBlock, TextBlock
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.readers.base import BaseReader
from llama_index.core.retrievers import BaseRetriever
from llama_index.core.schema import NodeRelationship, TextNode
from llama_index.core.tools.tool_spec.base import BaseToolSpec
from llama_index.readers.tarsier import TarsierVideoReader
from llama_index.retrievers.tarsier import TarsierVideoRetriever
from llama_index.tools.tarsier import TarsierProgressEvent, TarsierToolSpec
from PIL import Image
from pydantic import Field

from tarsier_tools import (
    Answer,
    Settings,
    TimeRangeError,
    UsageError,
    VideoNotFound,
    VideoService,
    VideoTools,
)
from tarsier_tools.selfcheck import language


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VideoService]:
    with VideoService(Settings.load(cache_dir=tmp_path_factory.mktemp("cache"))) as videos:
        yield videos


@pytest.fixture
def film(shapes_film: ShapesFilm) -> str:
    return str(shapes_film.path)


class Watcher(BaseEventHandler):
    """Keeps the progress that it hears of."""

    heard: list[TarsierProgressEvent] = Field(default_factory=list)

    def handle(self, event: object, **_: object) -> None:
        if isinstance(event, TarsierProgressEvent):
            self.heard.append(event)


@pytest.fixture
def watcher() -> Iterator[Watcher]:
    dispatcher, handler = get_dispatcher("llama_index.tools.tarsier"), Watcher()
    dispatcher.add_event_handler(handler)
    yield handler
    dispatcher.event_handlers.remove(handler)


class Letters(BaseEmbedding):
    """An embedding that counts letters."""

    def _get_query_embedding(self, query: str) -> list[float]:
        return [float(query.lower().count(letter)) for letter in "abcdefghijklmnopqrstuvwxyz"]

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._get_query_embedding(query)

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._get_query_embedding(text)


def test_each_class_is_what_the_framework_takes_it_for() -> None:
    assert issubclass(TarsierToolSpec, BaseToolSpec)
    assert issubclass(TarsierVideoReader, BaseReader)
    assert issubclass(TarsierVideoRetriever, BaseRetriever)


class TestTools:
    def test_every_tool_has_the_name_description_and_arguments_that_it_has_everywhere(
        self, service: VideoService
    ) -> None:
        tools = TarsierToolSpec(service, images=True).to_tool_list()
        assert [tool.metadata.name for tool in tools] == [spec.name for spec in VideoTools.specs()]
        for tool, spec in zip(tools, VideoTools.specs(), strict=True):
            assert tool.metadata.description == spec.description
            shown = tool.metadata.to_openai_tool()["function"]["parameters"]
            assert shown["properties"] == spec.schema["properties"]
            assert shown.get("required") == spec.schema.get("required")

    def test_a_tool_gives_the_model_text_and_the_program_a_typed_result(
        self, service: VideoService, film: str
    ) -> None:
        tools = {tool.metadata.name: tool for tool in TarsierToolSpec(service).to_tool_list()}
        output = tools["ask_video"].call(
            video=film, question="What shape is red?", choices=["circle", "heart"]
        )
        assert isinstance(output.raw_output.result, Answer)
        assert output.raw_output.result.text in output.content
        assert [type(block) for block in output.blocks] == [TextBlock]

    def test_a_tool_can_be_called_by_its_method(self, service: VideoService, film: str) -> None:
        assert "8 s, 224x224" in TarsierToolSpec(service).video_info(film).text  # type: ignore[attr-defined]

    def test_an_awaited_tool_says_the_same(self, service: VideoService, film: str) -> None:
        spec = TarsierToolSpec(service)
        tool = next(tool for tool in spec.to_tool_list() if tool.metadata.name == "caption_video")
        said = tool.call(video=film).raw_output.result.text
        assert asyncio.run(tool.acall(video=film)).raw_output.result.text == said

    def test_pictures_come_only_when_asked_for(self, service: VideoService, film: str) -> None:
        assert "view_frames" not in dict(TarsierToolSpec(service).spec_functions)
        reply = TarsierToolSpec(service, images=True).call("view_frames", film, times_s=[1.0, 2.0])
        assert [type(block) for block in reply] == [TextBlock, ImageBlock, ImageBlock]
        assert Image.open(io.BytesIO(reply.result.pictures[0].jpeg)).size == (224, 224)

    def test_what_is_wrong_is_raised_in_words(self, service: VideoService, film: str) -> None:
        spec = TarsierToolSpec(service)
        with pytest.raises(VideoNotFound, match="no file"):
            spec.call("caption_video", "nothing.mp4")
        with pytest.raises(TimeRangeError):
            spec.call("caption_video", film, start_s=99)
        with pytest.raises(UsageError, match="no argument 'begin'"):
            spec.call("caption_video", film, begin=1)
        with pytest.raises(TypeError, match="video, question"):
            spec.call("ask_video", film, "What?", video=film)

    def test_progress_is_told_as_events(self, service: VideoService, film: str, watcher: Watcher) -> None:
        TarsierToolSpec(service).call("caption_video", film)
        assert {event.work for event in watcher.heard} == {"caption_video"}
        assert all(event.message and 0 <= event.done <= event.total for event in watcher.heard)


class TestReader:
    def test_a_video_becomes_a_document_per_event_with_its_time(
        self, service: VideoService, film: str, shapes_film: ShapesFilm
    ) -> None:
        documents = TarsierVideoReader(service=service, by="events").load_data(film)
        events = shapes_film.scene.truth().events
        assert [language.parse_caption(document.text) for document in documents] == [
            [event.fact] for event in events
        ]
        for document, event in zip(documents, events, strict=True):
            metadata = document.metadata
            assert abs(metadata["start"] - event.start_s) < 1
            assert abs(metadata["end"] - event.end_s) < 1
            assert metadata["source"] == film
            assert 0 <= metadata["start"] < metadata["end"] <= metadata["duration"] == pytest.approx(8.0)
            assert all(isinstance(value, str | int | float) for value in metadata.values())

    def test_the_same_video_gives_the_same_ids_wherever_it_lies(
        self, service: VideoService, film: str, tmp_path: Path
    ) -> None:
        copy = shutil.copy(film, tmp_path / "copy.mp4")
        reader = TarsierVideoReader(service=service, by="events")
        first, second = reader.load_data(film), reader.load_data(copy)
        assert [document.id_ for document in first] == [document.id_ for document in second]
        assert len({document.id_ for document in first}) == 3

    def test_documents_know_their_video_and_their_neighbours(self, service: VideoService, film: str) -> None:
        first, second, third = TarsierVideoReader(service=service, by="events").load_data(film)
        assert first.relationships[NodeRelationship.SOURCE].node_id == first.metadata["video_id"]  # type: ignore[union-attr]
        assert first.next_node is not None and first.next_node.node_id == second.node_id  # noqa: PT018
        assert third.prev_node is not None and third.prev_node.node_id == second.node_id  # noqa: PT018
        assert first.prev_node is None

    def test_an_embedder_reads_the_words_alone_and_a_model_the_times_too(
        self, service: VideoService, film: str
    ) -> None:
        from llama_index.core.schema import MetadataMode

        (document, *_) = TarsierVideoReader(service=service, by="events").load_data(film)
        assert document.get_content(MetadataMode.EMBED).strip() == document.text
        assert f"start: {document.metadata['start']}" in document.get_content(MetadataMode.LLM)

    def test_subtitles_beside_a_video_are_read(
        self, service: VideoService, film: str, tmp_path: Path
    ) -> None:
        copy = shutil.copy(film, tmp_path / "talk.mp4")
        (tmp_path / "talk.de.srt").write_text("1\n00:00:01,500 --> 00:00:02,000\nGuten Tag\n", "utf-8")
        (document,) = TarsierVideoReader(service=service, by="subtitles").load_data(copy)
        assert (document.text, document.metadata["language"]) == ("Guten Tag", "de")
        assert (document.metadata["start"], document.metadata["end"]) == (1.5, 2.0)

    def test_a_mixed_folder_is_read_with_it_as_the_extractor(
        self, service: VideoService, film: str, tmp_path: Path
    ) -> None:
        shutil.copy(film, tmp_path / "film.mp4")
        (tmp_path / "notes.txt").write_text("Some notes.", "utf-8")
        reader = TarsierVideoReader(service=service)
        found = SimpleDirectoryReader(
            str(tmp_path), file_extractor={".mp4": reader}, raise_on_error=True
        ).load_data()
        by_name = {document.metadata["file_name"]: document for document in found}
        assert set(by_name) == {"film.mp4", "notes.txt"}
        assert by_name["film.mp4"].metadata["type"] == "caption"

    def test_it_pickles_without_its_model_and_reads_on(self, film: str) -> None:
        reader = TarsierVideoReader(by="video")
        (before,) = reader.load_data(film)
        again = pickle.loads(pickle.dumps(reader))
        (after,) = again.load_data(film)
        assert (after.id_, after.text) == (before.id_, before.text)
        reader.service.close()
        again.service.close()

    def test_evidence_is_the_middle_frame_of_a_document(self, service: VideoService, film: str) -> None:
        reader = TarsierVideoReader(service=service, by="events")
        documents = reader.load_data(film)
        images = reader.image_nodes(documents[:1], max_side=100)
        assert images[0].image is not None
        assert max(Image.open(io.BytesIO(base64.b64decode(images[0].image))).size) == 100
        assert documents[0].metadata["start"] <= images[0].metadata["time"] < documents[0].metadata["end"]
        assert images[0].parent_node is not None
        assert images[0].parent_node.node_id == documents[0].node_id

    def test_there_is_no_evidence_of_what_is_no_video(self, service: VideoService) -> None:
        with pytest.raises(UsageError, match="no source, start and end"):
            TarsierVideoReader(service=service).image_nodes([TextNode(text="of a PDF")])

    def test_a_file_system_object_is_refused_in_words(self, service: VideoService, film: str) -> None:
        with pytest.raises(UsageError, match="file system"):
            TarsierVideoReader(service=service).load_data(film, fs=object())


class TestRetriever:
    def test_the_event_asked_for_comes_first(self, service: VideoService, film: str) -> None:
        documents = TarsierVideoReader(service=service, by="events").load_data(film)
        retriever = TarsierVideoRetriever([film], service=service, by="events")
        for document in documents:
            first, *_ = retriever.retrieve(document.text)
            assert first.node.node_id == document.node_id

    def test_a_query_about_nothing_there_finds_nothing(self, service: VideoService, film: str) -> None:
        assert TarsierVideoRetriever([film], service=service).retrieve("zebra crossing") == []

    def test_what_cannot_be_searched_is_refused_in_words(self, service: VideoService, film: str) -> None:
        for videos in (film, Path(film), []):
            with pytest.raises(UsageError, match="Give paths or URLs"):
                TarsierVideoRetriever(videos, service=service)  # type: ignore[arg-type]
        with pytest.raises(UsageError, match="embed_model is 'local'"):
            TarsierVideoRetriever([film], service=service, embed_model="local")  # type: ignore[arg-type]

    def test_no_more_hits_come_than_wanted(self, service: VideoService, film: str) -> None:
        retriever = TarsierVideoRetriever([Path(film)], service=service, by="events", similarity_top_k=2)
        assert len(retriever.retrieve("the moves")) == 2

    def test_looking_again_puts_first_what_is_seen_to_happen(self, service: VideoService, film: str) -> None:
        documents = TarsierVideoReader(service=service, by="events").load_data(film)
        retriever = TarsierVideoRetriever([film], service=service, by="events", rewatch=True)
        for document in documents:
            first, *others = retriever.retrieve(document.text)
            assert first.node.node_id == document.node_id
            assert first.score == first.node.metadata["rewatched"]
            assert all(hit.score <= first.score for hit in others)

    def test_it_is_awaited_without_blocking_the_loop(
        self, service: VideoService, film: str, watcher: Watcher
    ) -> None:
        async def search() -> tuple[int, int]:
            ticks = 0

            async def tick() -> None:
                nonlocal ticks
                while True:
                    await asyncio.sleep(0.005)
                    ticks += 1

            ticking = asyncio.create_task(tick())
            found = await TarsierVideoRetriever([film], service=service, by="events").aretrieve("moves")
            ticking.cancel()
            return len(found), ticks

        found, ticks = asyncio.run(search())
        assert found == 3
        assert ticks
        assert {event.work for event in watcher.heard} == {"retriever"}

    def test_meaning_counts_beside_words_with_an_embedder(self, service: VideoService, film: str) -> None:
        documents = TarsierVideoReader(service=service, by="events").load_data(film)
        retriever = TarsierVideoRetriever(
            [film], service=service, by="events", embed_model=Letters(), similarity_top_k=1
        )
        without_spaces = documents[1].text.replace(" ", "")  # no word of it is in a caption
        (hit,) = retriever.retrieve(without_spaces)
        assert hit.node.node_id == documents[1].node_id

    def test_a_missing_video_is_named_and_asked_for_again(self, service: VideoService) -> None:
        retriever = TarsierVideoRetriever(["nothing.mp4"], service=service)
        for _ in range(2):
            with pytest.raises(VideoNotFound, match=r"nothing\.mp4"):
                retriever.retrieve("anything")

    def test_one_path_instead_of_a_list_is_refused(self, service: VideoService, film: str) -> None:
        with pytest.raises(UsageError, match="list of videos"):
            TarsierVideoRetriever(film, service=service)
