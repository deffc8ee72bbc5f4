"""Libraries of videos: described once, searched for ever, looked at again."""

from tarsier_tools.library.indexing import Added
from tarsier_tools.library.library import Found, VideoLibrary
from tarsier_tools.library.likeness import Duplicates, Lookalike
from tarsier_tools.library.opening import open_library
from tarsier_tools.library.ray_cluster import RayEngine
from tarsier_tools.library.stores import Failure, Row

__all__ = [
    "Added",
    "Duplicates",
    "Failure",
    "Found",
    "Lookalike",
    "RayEngine",
    "Row",
    "VideoLibrary",
    "open_library",
]
