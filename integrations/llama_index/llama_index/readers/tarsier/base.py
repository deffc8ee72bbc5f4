"""A video as LlamaIndex documents: what is seen when."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from llama_index.core.readers.base import BasePydanticReader
from llama_index.core.schema import BaseNode, Document, ImageNode
from llama_index.readers.tarsier.documents import documents, image_nodes
from llama_index.tools.tarsier.events import reporter
from pydantic import Field, PrivateAttr

from tarsier_tools import By, Settings, UsageError, VideoService, read_passages


class TarsierVideoReader(BasePydanticReader):
    """Reads videos: a document for each segment, with its caption and its time.

    ::

        reader = TarsierVideoReader()
        documents = reader.load_data("talk.mp4")
        SimpleDirectoryReader("folder", file_extractor={".mp4": reader, ".mov": reader}).load_data()

    The documents' ids are UUIDs that stay the same for the same stretch of the same video, so that adding
    them again changes nothing. Their metadata are flat: source, video_id, title, start, end (seconds),
    start_timestamp, citation (``file @ MM:SS-MM:SS``), duration, segment, type, language, model. The reader
    pickles, without its loaded model.

    Args:
        service: who watches the videos; the caller closes it. By default one of the reader's own, opened when
            it is first needed.
    """

    by: By = Field(default="segments", description="One document per what; see tarsier_tools.read_passages.")
    language: str | None = Field(default=None, description="Of the captions; a BCP 47 tag.")
    settings: Settings = Field(default_factory=Settings.load, description="For a service of its own.")
    _service: VideoService | None = PrivateAttr(default=None)

    def __init__(self, *, service: VideoService | None = None, **fields: Any) -> None:
        super().__init__(**fields)
        self._service = service

    @classmethod
    def class_name(cls) -> str:
        """The name of this class in serialised pipelines."""
        return "TarsierVideoReader"

    def lazy_load_data(
        self,
        file: str | Path,
        extra_info: dict[str, Any] | None = None,
        fs: Any | None = None,
        *,
        start_s: float | None = None,
        end_s: float | None = None,
    ) -> Iterable[Document]:
        """The documents of one video, in the order of time.

        Args:
            file: a path or URL.
            extra_info: more metadata for every document.
            fs: not taken; SimpleDirectoryReader gives it for files that are not on this machine.
            start_s, end_s: only this range of the video.

        Raises TarsierError and its kinds, whose texts say what to do next.
        """
        if fs is not None:
            raise UsageError(
                "Videos are not read through a file system object.",
                hint="Copy them to this machine, or give their https addresses.",
            )
        passages = read_passages(
            self.service,
            str(file),
            self.by,
            start_s=start_s,
            end_s=end_s,
            language=self.language,
            on_progress=reporter("reader"),
        )
        return documents(passages, extra_info)

    def image_nodes(self, nodes: Sequence[BaseNode], *, max_side: int = 768) -> list[ImageNode]:
        """Evidence: for each document or node of a video its middle frame as an ImageNode."""
        return image_nodes(self.service, nodes, max_side=max_side)

    @property
    def service(self) -> VideoService:
        """Who watches the videos; made when it is first asked for."""
        if self._service is None:
            self._service = VideoService(self.settings)
        return self._service

    def __getstate__(self) -> dict[str, Any]:
        service, self._service = self._service, None  # holds a model, threads and locks
        try:
            return super().__getstate__()
        finally:
            self._service = service
