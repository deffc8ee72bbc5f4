"""What a library of videos knows, as LlamaIndex documents."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from llama_index.core.readers.base import BaseReader
from llama_index.core.schema import Document
from llama_index.readers.tarsier.documents import documents

from tarsier_tools.library import VideoLibrary, open_library
from tarsier_tools.passages import Kind


class TarsierLibraryReader(BaseReader):
    """Reads a library of videos, which ``tarsier-tools library add`` or ``VideoLibrary.add`` fills.

    The documents have the ids and metadata of :class:`~llama_index.readers.tarsier.TarsierVideoReader`; an
    index takes them as its nodes with ``transformations=[]``. No video is watched.

    Args:
        library: an open library, or the folder or address of one.
    """

    def __init__(self, library: VideoLibrary | str | Path) -> None:
        self.library = open_library(library)

    def lazy_load_data(
        self, videos: str | Sequence[str] | None = None, *, kinds: Kind | Sequence[Kind] | None = None
    ) -> Iterable[Document]:
        """The documents by video and time, read video by video.

        Args:
            videos: only these, by source or id.
            kinds: only these kinds of text: "caption", "event", "chapter", "subtitle".

        Raises UnknownVideo, UsageError for no such kind, LibraryError and its kinds.
        """
        if videos is None:
            videos = [row.uuid for row in self.library.videos()]
        for video in [videos] if isinstance(videos, str) else videos:
            yield from documents(self.library.passages(video, kinds=kinds))
