"""Videos as LlamaIndex documents."""

from llama_index.readers.tarsier.base import TarsierVideoReader
from llama_index.readers.tarsier.library import TarsierLibraryReader

__all__ = ["TarsierLibraryReader", "TarsierVideoReader"]
