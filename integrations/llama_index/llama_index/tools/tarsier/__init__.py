"""The video tools of tarsier-tools for LlamaIndex agents."""

from llama_index.tools.tarsier.base import TarsierReply, TarsierToolSpec
from llama_index.tools.tarsier.events import TarsierProgressEvent

__all__ = ["TarsierProgressEvent", "TarsierReply", "TarsierToolSpec"]
