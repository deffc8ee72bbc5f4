"""Questions over a folder of videos, answered with the file and the time.

    python examples/langchain_rag.py [FOLDER [QUESTION]]

The retriever describes the videos, keeps the texts in memory and searches them by their words; pass
``embeddings=`` (any LangChain embedder) to search by meaning too. With ``rewatch`` the model looks at the
candidates again before they are returned. As a tool of an agent: ``create_retriever_tool``. Real eyes: see
describe_video.py.
"""

import sys

from film import folder, scene
from langchain_core.prompts import PromptTemplate
from langchain_core.tools import create_retriever_tool
from langchain_tarsier import TarsierVideoRetriever

from tarsier_tools import VideoService
from tarsier_tools.selfcheck.language import event_phrase

question = sys.argv[2] if len(sys.argv) > 2 else event_phrase(scene(1).truth().events[1].fact)
print("Question:", question)

with VideoService() as service:
    videos = [video.path for video in service.videos(folder()).videos]
    retriever = TarsierVideoRetriever(videos=videos, by="events", service=service, k=3, rewatch=True)
    for document in retriever.invoke(question):
        at = document.metadata
        print(f"{at['rewatched']:.2f}  {at['citation']}: {document.page_content}")

    search = create_retriever_tool(
        retriever,
        "search_videos",
        "Find moments in the videos of this folder by what happens in them.",
        document_prompt=PromptTemplate.from_template("[{citation}] {page_content}"),
    )
    print("What an agent is told:")
    print(search.invoke({"query": question}))
