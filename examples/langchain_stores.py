"""Videos in stock vector stores: LangChain's in-memory one, and Qdrant in local mode.

    python examples/langchain_stores.py [FOLDER [QUESTION]]

Adding a video again replaces what is there, because the ids are made from its bytes and the times. The
embedder here counts words, so that nothing is downloaded; take any other one, for example ``OpenAIEmbeddings``.
Real eyes: see describe_video.py.
"""

import sys
import zlib

from film import folder, scene
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import InMemoryVectorStore
from langchain_qdrant import QdrantVectorStore
from langchain_tarsier import TarsierVideoLoader
from qdrant_client import QdrantClient
from qdrant_client.models import Distance, VectorParams

from tarsier_tools.selfcheck.language import event_phrase

SIZE = 256


class WordCounts(Embeddings):
    """Each word counts in a place of its own, more or less."""

    def embed_query(self, text: str) -> list[float]:
        vector = [0.0] * SIZE
        for word in text.lower().strip(".").split():
            vector[zlib.crc32(word.encode()) % SIZE] += 1.0
        return vector

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [self.embed_query(text) for text in texts]


question = sys.argv[2] if len(sys.argv) > 2 else event_phrase(scene(1).truth().events[1].fact)
documents = TarsierVideoLoader.from_folder(folder(), by="events").load()

client = QdrantClient(":memory:")
client.create_collection("films", vectors_config=VectorParams(size=SIZE, distance=Distance.COSINE))
stores = {
    "in memory": InMemoryVectorStore(WordCounts()),
    "Qdrant": QdrantVectorStore(client, "films", WordCounts()),
}
print("Question:", question)
for name, store in stores.items():
    for _ in range(2):  # the second time nothing is added twice
        store.add_documents(documents, ids=[str(document.id) for document in documents])
    (best, *_) = found = store.similarity_search(question, k=100)
    print(f"{name}: {len(found)} moments, the best in {best.metadata['title']}", end=" ")
    print(f"@ {best.metadata['start_timestamp']}: {best.page_content}")
