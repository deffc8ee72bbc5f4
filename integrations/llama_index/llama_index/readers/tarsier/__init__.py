"""Videos as LlamaIndex documents."""

from llama_index.readers.tarsier.base import TarsierVideoReader

__all__ = ["TarsierVideoReader"]
