"""From a clip to the pictures that are sent: the second resize, JPEG or PNG, base64, and a name for them."""

from __future__ import annotations

import base64
import hashlib
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from PIL import Image

from tarsier_tools.errors import BackendRejected
from tarsier_tools.media.transform import GRID, MIN_GRID_PIXELS, grid_size, resize
from tarsier_tools.types import Clip

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PictureFormat = Literal["jpeg", "png"]


@dataclass(frozen=True, slots=True)
class Encoding:
    """How frames become files.

    Attributes:
        format: png keeps every bit.
        quality: of JPEG, 1 to 100.
        max_pixels: of a frame, as the served checkpoint's preprocessor_config.json says.
    """

    format: PictureFormat
    quality: int
    max_pixels: int

    @property
    def mime(self) -> str:
        return f"image/{self.format}"


@dataclass(frozen=True, slots=True)
class Pictures:
    """A clip at the size that the model takes, so that no server resizes it in a way of its own.

    Attributes:
        size: width and height, multiples of 28.
    """

    clip: Clip
    size: tuple[int, int]
    encoding: Encoding

    @property
    def tokens_per_frame(self) -> int:
        width, height = self.size
        return (width // GRID) * (height // GRID)

    @property
    def tokens(self) -> int:
        """Vision tokens of the clip as one video."""
        return len(self.clip) * self.tokens_per_frame

    @property
    def media_id(self) -> str:
        """A name for exactly these bytes. vLLM believes it blindly, so all that they depend on is in it."""
        kind = f"{self.encoding.format} {self.encoding.quality} {self.size} twice"
        return hashlib.sha256(f"{self.clip.fingerprint} {kind}".encode()).hexdigest()

    def encode(self) -> list[str]:
        """Each frame as base64 of a JPEG or PNG file."""
        files = (self._file(resize(frame, self.size)) for frame in self.clip.frames)
        return [base64.b64encode(file).decode("ascii") for file in files]

    def _file(self, frame: NDArray[np.uint8]) -> bytes:
        out, picture = io.BytesIO(), Image.fromarray(frame)
        if self.encoding.format == "png":
            picture.save(out, "PNG", compress_level=1)
        else:
            # 4:4:4: halving the colours' resolution costs more than a few points of quality.
            picture.save(out, "JPEG", quality=self.encoding.quality, subsampling=0)
        return out.getvalue()


def prepare(clip: Clip, encoding: Encoding) -> Pictures:
    """The clip made ready.

    Raises BackendRejected for frames of several sizes, VideoTooLarge for an extreme aspect ratio.
    """
    shapes = {frame.shape[:2] for frame in clip.frames}
    if len(shapes) > 1:
        raise BackendRejected(
            "The frames of the clip differ in size.", hint="Give pictures of one size, or one at a time."
        )
    height, width = shapes.pop()
    return Pictures(clip, grid_size(width, height, MIN_GRID_PIXELS, encoding.max_pixels), encoding)
