"""Passages of videos as LangChain Documents."""

from __future__ import annotations

from langchain_core.documents import Document

from tarsier_tools import Hit, Passage


def document(passage: Passage) -> Document:
    """The passage's text, with its times and source as metadata: flat scalars, and a UUID as id."""
    return Document(id=passage.id, page_content=passage.text, metadata=dict(passage.metadata()))


def found_document(hit: Hit) -> Document:
    """The same for what a search found, with ``score`` and, where it was looked at again, ``rewatched``."""
    found = document(hit.passage)
    found.metadata["score"] = hit.score
    if hit.rewatched is not None:
        found.metadata["rewatched"] = hit.rewatched
    return found
