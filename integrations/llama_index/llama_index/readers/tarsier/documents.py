"""Passages of a video as LlamaIndex documents, and frames as image nodes."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, TypeVar

from llama_index.core.schema import (
    BaseNode,
    Document,
    ImageNode,
    NodeRelationship,
    NodeWithScore,
    RelatedNodeInfo,
    TextNode,
)

from tarsier_tools import Hit, Passage, UsageError, VideoService

FOR_MODELS = ("title", "start", "end", "start_timestamp", "citation")
"""The metadata that a model gets to read beside the text, so that it can cite. An embedder gets none."""


Kind = TypeVar("Kind", Document, TextNode)


def documents(passages: Sequence[Passage], extra_info: dict[str, Any] | None = None) -> list[Document]:
    """One document per passage, see :func:`nodes`."""
    return nodes(passages, Document, extra_info)


def nodes(
    passages: Sequence[Passage], kind: type[Kind], extra_info: dict[str, Any] | None = None
) -> list[Kind]:
    """One node per passage, under the passage's id, related to the video and to its neighbours.

    Args:
        kind: readers give documents, retrievers nodes.
        extra_info: more metadata for each; what a passage knows itself wins.
    """
    made: list[Kind] = []
    for passage in passages:
        metadata = {**(extra_info or {}), **passage.metadata()}
        node = kind(
            id_=passage.id,
            text=passage.text,
            metadata=metadata,
            excluded_embed_metadata_keys=list(metadata),
            excluded_llm_metadata_keys=[key for key in metadata if key not in FOR_MODELS],
        )
        node.relationships[NodeRelationship.SOURCE] = RelatedNodeInfo(node_id=passage.video_id)
        made.append(node)
    for before, after in pairwise(made):
        if before.metadata["video_id"] == after.metadata["video_id"]:
            before.relationships[NodeRelationship.NEXT] = RelatedNodeInfo(node_id=after.node_id)
            after.relationships[NodeRelationship.PREVIOUS] = RelatedNodeInfo(node_id=before.node_id)
    return made


def found_node(hit: Hit) -> NodeWithScore:
    """A node of what a search found. Looked at again, its score is ``rewatched``, also in its metadata."""
    (node,) = nodes([hit.passage], TextNode)
    if hit.rewatched is None:
        return NodeWithScore(node=node, score=hit.score)
    node.metadata["rewatched"] = hit.rewatched
    node.excluded_embed_metadata_keys.append("rewatched")
    node.excluded_llm_metadata_keys.append("rewatched")
    return NodeWithScore(node=node, score=hit.rewatched)


def image_nodes(service: VideoService, nodes: Sequence[BaseNode], *, max_side: int = 768) -> list[ImageNode]:
    """The middle frame of each node's stretch of video: a JPEG within its size, base64, with the node's text.

    Raises UsageError for a node that is not of a video, and what :meth:`tarsier_tools.VideoService.view`
    raises.
    """
    made = []
    for node in nodes:
        if not {"source", "start", "end"} <= node.metadata.keys():
            raise UsageError(
                f"Node {node.node_id} has no source, start and end, so there is no frame of it.",
                hint="Give the documents of TarsierVideoReader, or nodes made from them.",
            )
        middle_s = (node.metadata["start"] + node.metadata["end"]) / 2
        view = service.view(node.metadata["source"], times_s=[middle_s], max_side=max_side)
        (picture,) = view.pictures
        made.append(
            ImageNode(
                image=base64.b64encode(picture.jpeg).decode(),
                image_mimetype="image/jpeg",
                text=node.get_content(),
                metadata={**node.metadata, "time": picture.time_s},
                excluded_embed_metadata_keys=[*node.excluded_embed_metadata_keys, "time"],
                excluded_llm_metadata_keys=node.excluded_llm_metadata_keys,
                relationships={NodeRelationship.PARENT: RelatedNodeInfo(node_id=node.node_id)},
            )
        )
    return made
