"""Tone-map HDR pictures (HLG and PQ) to the SDR that screens and the model expect. Numpy only.

A picture is decoded to light (1.0 is the reference white of 203 cd/m2, ITU-R BT.2408), brought to BT.709
primaries, compressed where it is brighter than an SDR screen shows, and encoded with the sRGB curve:

1. PQ is decoded by ITU-R BT.2100. HLG is decoded by its inverse OETF, then each channel is raised to the
   power of 1.2, for a screen of 1000 cd/m2. BT.2100 derives that gain from the luminance instead; a power
   per channel is what FFmpeg's ``zscale`` does.
2. The curve is Mobius, as in FFmpeg's ``tonemap`` filter with ``param=0.8:desat=0``: it leaves light up to
   0.8 as it is and maps 1000 cd/m2 to white. It is applied to the largest channel, so hues stay.

The same in FFmpeg, whose ``zscale`` encodes with a power of 2.4 in place of sRGB, which makes dark tones
lighter by up to 12 of 255: ``zscale=t=linear:npl=203,format=gbrpf32le,zscale=p=bt709,
tonemap=mobius:param=0.8:peak=4.926:desat=0,zscale=t=bt709``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_Value = TypeVar("_Value", np.uint8, np.float32)

Transfer = Literal["HLG", "PQ"]
Gamut = Literal["bt709", "bt2020", "p3"]

BITS = 12
"""Bits of the numbers that :class:`ToneMap` takes; enough for every source, as the result has 8."""

_WHITE_NITS, _PEAK_NITS = 203.0, 1000.0
_PEAK = _PEAK_NITS / _WHITE_NITS
_KNEE = 0.8  # light up to here is left alone; white comes out as 244 of 255
_STEPS = 1 << 14  # of the tables over light
_PIXELS_AT_ONCE = 1 << 15  # so that what is worked on stays in the processor's cache

_XY: dict[Gamut, tuple[tuple[float, float], ...]] = {
    "bt709": ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06)),
    "bt2020": ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),
    "p3": ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
}
"""Chromaticities of red, green and blue; the white is D65 for all."""
_D65 = (0.3127, 0.3290)


class ToneMap:
    """Maps the pictures of one transfer function and gamut to sRGB.

    Args:
        transfer: how the numbers stand for light.
        gamut: the primaries that they are made for.
    """

    def __init__(self, transfer: Transfer, gamut: Gamut) -> None:
        code = np.linspace(0.0, 1.0, 1 << BITS)
        light = _hlg_light(code) if transfer == "HLG" else _pq_light(code)
        self._light = np.minimum(light, _PEAK).astype(np.float32)
        self._matrix = (np.linalg.inv(_to_xyz("bt709")) @ _to_xyz(gamut)).astype(np.float32)
        # No channel gets brighter than this: light is at most _PEAK, and rows with negative parts add up.
        self._brightest = float(_PEAK * np.clip(self._matrix, 0, None).sum(axis=1).max())
        largest = np.linspace(0.0, self._brightest, _STEPS)
        gain = np.ones(_STEPS)
        bright = largest > _KNEE
        gain[bright] = _mobius(largest[bright]) / largest[bright]
        self._gain = gain.astype(np.float32)
        self._code = np.rint(255 * _srgb_code(np.linspace(0.0, 1.0, _STEPS))).astype(np.uint8)

    def __call__(
        self, red: NDArray[np.uint16], green: NDArray[np.uint16], blue: NDArray[np.uint16]
    ) -> NDArray[np.uint8]:
        """The picture as uint8 (height, width, 3), sRGB.

        Args:
            red, green, blue: (height, width) each, :data:`BITS` bits, full range.
        """
        height, width = red.shape
        image = np.empty((height, width, 3), np.uint8)
        rows = max(1, _PIXELS_AT_ONCE // width)
        for top in range(0, height, rows):
            strip = slice(top, top + rows)
            lights = [_looked_up(self._light, plane[strip]) for plane in (red, green, blue)]
            channels = [row[0] * lights[0] + row[1] * lights[1] + row[2] * lights[2] for row in self._matrix]
            largest = np.maximum(np.maximum(channels[0], channels[1]), channels[2])
            gain = _looked_up(self._gain, largest * np.float32((_STEPS - 1) / self._brightest))
            gain *= np.float32(_STEPS - 1)
            for number, channel in enumerate(channels):
                channel *= gain
                channel += np.float32(0.5)
                image[strip, :, number] = _looked_up(self._code, channel)
        return image


def _looked_up(table: NDArray[_Value], places: NDArray[Any]) -> NDArray[_Value]:
    """The table's values at these places, fractions cut off; places outside count as its ends."""
    return table.take(places.astype(np.intp), mode="clip")


def _hlg_light(code: NDArray[np.float64]) -> NDArray[np.float64]:
    """Light of HLG codes from 0 to 1, ITU-R BT.2100 table 5, with the gain per channel."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    scene = np.where(code <= 0.5, code**2 / 3, (np.exp((code - c) / a) + b) / 12)
    return scene**1.2 * _PEAK


def _pq_light(code: NDArray[np.float64]) -> NDArray[np.float64]:
    """Light of PQ codes from 0 to 1, ITU-R BT.2100 table 4."""
    m1, m2 = 2610 / 16384, 2523 / 4096 * 128
    c1, c2, c3 = 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32
    root = code ** (1 / m2)
    return 10_000 / _WHITE_NITS * (np.maximum(root - c1, 0) / (c2 - c3 * root)) ** (1 / m1)


def _mobius(light: NDArray[np.float64]) -> NDArray[np.float64]:
    """Light above the knee, bent so that it meets the knee smoothly and _PEAK comes out as 1."""
    a = -_KNEE * _KNEE * (_PEAK - 1) / (_KNEE * _KNEE - 2 * _KNEE + _PEAK)
    b = (_KNEE * _KNEE - 2 * _KNEE * _PEAK + _PEAK) / (_PEAK - 1)
    return (b * b + 2 * b * _KNEE + _KNEE * _KNEE) / (b - a) * (light + a) / (light + b)


def _srgb_code(light: NDArray[np.float64]) -> NDArray[np.float64]:
    """Codes from 0 to 1 of light, IEC 61966-2-1."""
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def _to_xyz(gamut: Gamut) -> NDArray[np.float64]:
    """The matrix from linear RGB to CIE XYZ, made of the chromaticities (SMPTE RP 177)."""

    def xyz(x: float, y: float) -> list[float]:
        return [x / y, 1.0, (1 - x - y) / y]

    primaries = np.array([xyz(*xy) for xy in _XY[gamut]]).T
    return primaries * np.linalg.solve(primaries, np.array(xyz(*_D65)))
