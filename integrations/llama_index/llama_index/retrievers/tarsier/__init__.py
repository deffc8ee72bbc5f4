"""Searching videos from LlamaIndex."""

from llama_index.retrievers.tarsier.base import TarsierVideoRetriever

__all__ = ["TarsierVideoRetriever"]
