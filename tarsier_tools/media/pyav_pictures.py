"""Turn a decoded picture into upright RGB as a player would show it: orientation, colours, pixel aspect."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np
from av.video.reformatter import VideoReformatter

from tarsier_tools.media.base import Limits, Rendering
from tarsier_tools.media.tone_map import BITS, Gamut, ToneMap, Transfer
from tarsier_tools.media.transform import MAX_ASPECT

if TYPE_CHECKING:
    from av.sidedata.sidedata import SideData
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream
    from numpy.typing import NDArray

_UNKNOWN = 2
"""What a file says that does not tell; the same number in all three lists below."""

_PRIMARIES = {
    1: "bt709",
    4: "bt470m",
    5: "bt470bg",
    6: "smpte170m",
    7: "smpte240m",
    8: "film",
    9: "bt2020",
    10: "smpte428",
    11: "smpte431",
    12: "smpte432",
    22: "ebu3213",
}
_TRANSFERS = {
    1: "bt709",
    4: "gamma22",
    5: "gamma28",
    6: "smpte170m",
    7: "smpte240m",
    8: "linear",
    9: "log100",
    10: "log316",
    11: "iec61966-2-4",
    12: "bt1361e",
    13: "iec61966-2-1",
    14: "bt2020-10",
    15: "bt2020-12",
    16: "smpte2084",
    17: "smpte428",
    18: "arib-std-b67",
}
_MATRICES = {
    0: "gbr",
    1: "bt709",
    4: "fcc",
    5: "bt470bg",
    6: "smpte170m",
    7: "smpte240m",
    8: "ycgco",
    9: "bt2020nc",
    10: "bt2020c",
    11: "smpte2085",
    12: "chroma-derived-nc",
    13: "chroma-derived-c",
    14: "ictcp",
    15: "ipt-c2",
    16: "ycgco-re",
    17: "ycgco-ro",
}
"""ITU-T H.273 numbers and FFmpeg's names for them."""

_CONVERTED = (0, 1, 2, 4, 5, 6, 7, 9)
"""Matrices that swscale knows; _UNKNOWN is BT.601 to it."""
_BT709, _YCGCO, _BT2020 = 1, 8, 9
_NEAREST = {10: _BT2020, 11: _BT2020, 14: _BT2020, 15: _BT2020}
"""By matrix: the one to use in its place."""
_DERIVED = (12, 13)
_NEAREST_DERIVED = {4: 4, 5: 6, 6: 6, 7: 7, 9: _BT2020}
"""The same for matrices that are derived from the primaries, by these; BT.709 for others."""

_HDR: dict[int, Transfer] = {16: "PQ", 18: "HLG"}
_GAMUTS: dict[int, Gamut] = {1: "bt709", 11: "p3", 12: "p3"}
"""By primaries, for HDR; it is BT.2020 where the file does not tell."""

_DOLBY_TAGS = ("dvh1", "dvhe", "dav1", "dva1", "dvav")
"""Codec tags of Dolby Vision that may have no picture for other decoders."""

_FULL_RANGE = 2
_FULL = (1 << BITS) - 1

_SQUARE_ENOUGH = Fraction(1, 100)
"""Pixels that are less than this off square count as square: stretching them would only blur."""
_MOST_STRETCH = 16
"""Pixels that are longer than this many times their width are a mistake of the file."""


class Tagged(Protocol):
    """What carries colour tags: a picture, or the codec context that the container filled in."""

    color_trc: int
    color_primaries: int
    colorspace: int


@dataclass(frozen=True, slots=True)
class Tags:
    """What the numbers of a picture stand for, as ITU-T H.273 numbers it."""

    transfer: int
    primaries: int
    matrix: int

    @classmethod
    def of(cls, tagged: Tagged) -> Tags:
        """The tags of a picture, or those of the container."""
        return cls(int(tagged.color_trc), int(tagged.color_primaries), int(tagged.colorspace))

    def filled_from(self, other: Tags) -> Tags:
        """These tags, and the other's where these do not tell."""

        def told(mine: int, others: int) -> int:
            return others if mine == _UNKNOWN else mine

        return Tags(
            told(self.transfer, other.transfer),
            told(self.primaries, other.primaries),
            told(self.matrix, other.matrix),
        )

    @property
    def hdr(self) -> Transfer | None:
        """The transfer function of a high dynamic range; None for SDR."""
        return _HDR.get(self.transfer)

    def nearest_matrix(self) -> int:
        """The matrix, or the nearest one that swscale or this module knows."""
        if self.matrix in _CONVERTED or self.matrix == _YCGCO:
            return self.matrix
        if self.matrix in _DERIVED:
            return _NEAREST_DERIVED.get(self.primaries, 1)
        return _NEAREST.get(self.matrix, _UNKNOWN)


@dataclass(frozen=True, slots=True)
class Facts:
    """What the container says of a track's pictures.

    Attributes:
        tags: colour tags; decoders forget them where the stream has none.
        codec_tag: the four letters of the sample entry.
        aspect: width to height of a stored pixel; 1 where the file does not tell.
    """

    tags: Tags
    codec_tag: str
    aspect: Fraction

    @classmethod
    def of(cls, stream: VideoStream) -> Facts:
        """The facts of a track of which nothing was decoded yet."""
        context, declared = stream.codec_context, stream.sample_aspect_ratio
        # PyAV 19 has a class of its own for ratios, and 0/1 for None.
        aspect = Fraction(declared.numerator, declared.denominator) if declared else Fraction(1)
        return cls(Tags.of(context), context.codec_tag, aspect)


class Pictures:
    """Makes upright RGB of the decoded pictures of one track.

    Args:
        first: a decoded picture, which the facts are of.
        facts: what the container says.
        rendering: what is done to the pictures.
        limits: what one may cost.
        note: is told what to know before trusting the pictures, a sentence each.

    Attributes:
        info: what is known of the pictures, as fields of VideoInfo.
    """

    def __init__(
        self,
        first: VideoFrame,
        facts: Facts,
        rendering: Rendering,
        limits: Limits,
        note: Callable[[str], None],
    ) -> None:
        self._facts = facts
        self._rendering = rendering
        self._limits = limits
        self._note = note
        self._maps: dict[tuple[Transfer, Gamut], ToneMap] = {}
        turns, mirrored = orientation(first)
        upright = (first.height, first.width) if turns % 2 else (first.width, first.height)
        self._aspect = self._usable_aspect(*upright)
        width, height = self._shown_size(*upright, turns)
        tags = Tags.of(first).filled_from(facts.tags)
        hdr = self._dynamic_range(tags)
        aspect = f"{facts.aspect.numerator}:{facts.aspect.denominator}"
        adjusted = []
        if not first.format.is_rgb and tags.nearest_matrix() != tags.matrix:
            adjusted.append(_replaced(tags))
        if tags.hdr and rendering.hdr == "tonemap":
            adjusted.append(f"HDR ({hdr}) is tone-mapped to SDR.")
        if (width, height) != upright:
            adjusted.append(
                f"Pixels are stored {aspect}: pictures of {first.width}x{first.height} are shown as "
                f"{width}x{height}."
            )
        self.info: dict[str, Any] = {
            "width": width,
            "height": height,
            "rotation": turns * 90,
            "mirrored": mirrored,
            "stored_size": (first.width, first.height),
            "pixel_aspect": aspect,
            "bit_depth": max(component.bits for component in first.format.components),
            "hdr": hdr,
            "transfer": _name(_TRANSFERS, tags.transfer),
            "primaries": _name(_PRIMARIES, tags.primaries),
            "matrix": _name(_MATRICES, tags.matrix),
            "adjusted": tuple(adjusted),
        }

    def shown(self, picture: VideoFrame, rgb: VideoReformatter) -> tuple[NDArray[np.uint8], tuple[int, int]]:
        """The picture as uint8 (height, width, 3), RGB, upright, contiguous, and the size to show it at.

        That size, (width, height), is another one than the image's where pixels are not square.

        Args:
            rgb: used by one thread at a time.

        Raises what PyAV raises.
        """
        turns, mirrored = orientation(picture)
        image = np.rot90(self._to_rgb(picture, rgb), turns)
        image = np.ascontiguousarray(image[:, ::-1] if mirrored else image, dtype=np.uint8)
        height, width, _ = image.shape
        return image, self._shown_size(width, height, turns)

    def _usable_aspect(self, width: int, height: int) -> Fraction:
        """The aspect to stretch by, 1 where it is none; notes why pixels are not stretched."""
        aspect = self._facts.aspect
        declared = f"{aspect.numerator}:{aspect.denominator}"
        if abs(aspect - 1) < _SQUARE_ENOUGH:
            return Fraction(1)
        stretched = max(width / height * float(aspect), height / width / float(aspect))
        if not Fraction(1, _MOST_STRETCH) <= aspect <= _MOST_STRETCH or stretched > MAX_ASPECT:
            self._note(f"The file declares pixels of {declared}: a mistake, so they count as square.")
            return Fraction(1)
        if self._rendering.pixel_aspect == "stored":
            self._note(f"Pixels are not square ({declared}), and the pictures are not stretched.")
            return Fraction(1)
        return aspect

    def _shown_size(self, width: int, height: int, turns: int) -> tuple[int, int]:
        """(width, height) with square pixels; one side grows, so that nothing is lost."""
        aspect = 1 / self._aspect if turns % 2 else self._aspect
        wide, high = max(1, round(width * aspect)), max(1, round(height / aspect))
        grown, shrunk = ((wide, height), (width, high))[:: 1 if aspect >= 1 else -1]
        return grown if grown[0] * grown[1] <= self._limits.max_frame_pixels else shrunk

    def _dynamic_range(self, tags: Tags) -> str:
        """HLG, PQ or Dolby Vision, "" for SDR; notes where colours are not as they should be."""
        if tags.hdr and self._rendering.hdr == "raw":
            self._note(f"The video is HDR ({tags.hdr}) and is shown as if it were SDR: its colours are pale.")
        if tags.hdr:
            return tags.hdr
        dolby = self._facts.codec_tag in _DOLBY_TAGS
        if not dolby or tags.transfer != _UNKNOWN:
            return ""
        self._note(
            "The video is Dolby Vision without pictures for other players: its colours are shown wrong."
        )
        return "Dolby Vision"

    def _to_rgb(self, picture: VideoFrame, rgb: VideoReformatter) -> NDArray[np.uint8]:
        """The picture as it is stored, in RGB."""
        tags = Tags.of(picture)
        complete = tags.filled_from(self._facts.tags)
        hdr = complete.hdr if self._rendering.hdr == "tonemap" else None
        if hdr:
            tags = complete if complete.matrix != _UNKNOWN else replace(complete, matrix=_BT2020)
        if not picture.format.is_rgb:
            matrix = tags.nearest_matrix()
            if matrix != tags.matrix:
                self._note(_replaced(tags))
            picture.colorspace = _BT709 if matrix == _YCGCO else matrix
        # Reserved numbers are an error to swscale, and it is not to convert by these two.
        picture.color_trc = picture.color_primaries = _UNKNOWN
        if tags.matrix == _YCGCO and not picture.format.is_rgb:
            channels = _from_ycgco(picture, rgb)
        elif hdr:
            green, blue, red = _planes(picture, rgb, f"gbrp{BITS}le")
            channels = [red, green, blue]
        else:
            return cast("NDArray[np.uint8]", rgb.reformat(picture, format="rgb24").to_ndarray())
        if hdr is None:
            return np.stack([np.rint(plane / _FULL * 255).astype(np.uint8) for plane in channels], axis=2)
        key = (hdr, _GAMUTS.get(tags.primaries, "bt2020"))
        if key not in self._maps:
            self._maps[key] = ToneMap(*key)
        return self._maps[key](*channels)


def orientation(picture: VideoFrame) -> tuple[int, bool]:
    """How a picture is brought upright: quarter turns counter-clockwise, then mirrored left to right or not.

    From the display matrix of the picture, by its four numbers in the upper left; other angles count as the
    nearest quarter turn. ISO/IEC 14496-12: the point (p, q) goes to (a p + c q, b p + d q).
    """
    matrix = picture.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return 0, False
    a, b, _, c, d = np.frombuffer(bytes(cast("SideData", matrix)), np.int32)[:5].astype(np.int64)
    swapped = bool(abs(b) + abs(c) > abs(a) + abs(d))
    left, up = (c < 0, b < 0) if swapped else (a < 0, d < 0)  # which ways the two axes are turned round
    mirrored = bool(swapped ^ left ^ up)
    # Without the mirror, which turns the horizontal axis round, a turn is left: 0, 1, 2 or 3 quarters.
    turns = {(False, False): 0, (True, True): 1, (False, True): 2, (True, False): 3}[swapped, bool(up)]
    return turns, mirrored


def _planes(picture: VideoFrame, rgb: VideoReformatter, layout: str) -> list[NDArray[np.uint16]]:
    """The planes of the picture, brought to a planar layout of 16-bit numbers."""
    planes = rgb.reformat(picture, format=layout).planes
    return [
        np.frombuffer(memoryview(plane), np.dtype("<u2")).reshape(plane.height, -1)[:, : plane.width]
        for plane in planes
    ]


def _from_ycgco(picture: VideoFrame, rgb: VideoReformatter) -> list[NDArray[np.uint16]]:
    """Red, green and blue of YCgCo, ITU-T H.273 equations 59 to 62, BITS bits each, full range."""
    layout = f"yuv444p{BITS}le"
    luma, cg, co = (plane.astype(np.float32) for plane in _planes(picture, rgb, layout))
    unit = 1 << (BITS - 8)
    if picture.color_range == _FULL_RANGE:
        black, luma_range, chroma_range = 0, _FULL, _FULL
    else:
        black, luma_range, chroma_range = 16 * unit, 219 * unit, 224 * unit
    luma = (luma - black) / np.float32(luma_range)
    cg, co = ((plane - 128 * unit) / np.float32(chroma_range) for plane in (cg, co))
    rest = luma - cg
    return [
        np.rint(np.clip(channel, 0, 1) * _FULL).astype(np.uint16)
        for channel in (rest + co, luma + cg, rest - co)
    ]


def _replaced(tags: Tags) -> str:
    """What to say where another matrix was taken than the tags name."""
    nearest = _MATRICES.get(tags.nearest_matrix(), "bt470bg, as for untagged video")
    return (
        f"The colours are coded in a way that cannot be converted ({_name(_MATRICES, tags.matrix)}): "
        f"{nearest} is taken instead, so they may be shown wrong."
    )


def _name(names: dict[int, str], number: int) -> str:
    """FFmpeg's name for a number of ITU-T H.273; "" for the one that means that nothing is known."""
    return "" if number == _UNKNOWN else names.get(number, f"reserved ({number})")
