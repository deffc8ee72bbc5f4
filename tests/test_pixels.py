"""Pictures come out as a player shows them: HDR as SDR, mirrored, with square pixels, whatever their tags."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tarsier_tools import VideoService
from tarsier_tools.cli.render import video_info
from tarsier_tools.config import Settings
from tarsier_tools.doctor.films import film
from tarsier_tools.errors import UsageError
from tarsier_tools.frames import frames_wanted, view_frames, write_frames
from tarsier_tools.media.base import AS_STORED, DEFAULT_RENDERING, Limits, Rendering
from tarsier_tools.media.clips import ClipSpec, read_clip
from tarsier_tools.media.reader import Frame, VideoReader, open_video
from tarsier_tools.media.shots import find_cuts
from tarsier_tools.media.tone_map import BITS, ToneMap
from tarsier_tools.media.windows import read_clips
from tarsier_tools.results import TimeRange
from tarsier_tools.selfcheck.language import parse_caption
from tarsier_tools.tool_text import info as tool_info
from tests.corpus_pixels import (
    BT709,
    BT2020,
    CHART,
    HLG,
    TO_BT2020,
    chart,
    encode,
    hdr_codes,
    patches,
    retagged,
    tagged_by_container,
    to_yuv,
    write_hdr,
    write_sdr,
)

COLORS = list(itertools.chain(*CHART))
RED, ORANGE = COLORS.index((255, 0, 0)), COLORS.index((200, 120, 60))
GOLDEN_VIDEOS = sorted((Path(__file__).parent / "golden" / "videos").glob("*.mp4"))


def first(path: Path, rendering: Rendering = DEFAULT_RENDERING) -> tuple[VideoReader, Frame]:
    """The closed reader of a video and its first frame."""
    with open_video(path, rendering=rendering) as reader:
        (frame,) = reader.read([0])
        return reader, frame


def furthest(image: NDArray[np.uint8], colors: list[tuple[int, int, int]] = COLORS) -> int:
    """How far off the patches of a chart are at most, of 255."""
    return int(np.abs(np.array(patches(image)) - np.array(colors)).max())


# ---------------------------------------------------------------- HDR

HDR_KINDS: dict[str, dict[str, Any]] = {
    "hevc_10": {},
    "hevc_12": {"bits": 12},
    "h264_8": {"bits": 8, "codec": "libx264"},
    "h264_10": {"codec": "libx264"},
}


@pytest.mark.parametrize("transfer", ["HLG", "PQ"])
@pytest.mark.parametrize("kind", HDR_KINDS)
def test_the_colours_of_hdr_come_back(kind: str, transfer: Any, tmp_path: Path) -> None:
    write_hdr(tmp_path / "hdr.mp4", [chart()] * 2, transfer, **HDR_KINDS[kind])
    reader, frame = first(tmp_path / "hdr.mp4")
    # White is 244, so that there is room for what is brighter. Where a channel is black, a step of 8-bit PQ
    # chroma makes 40 of it.
    assert furthest(frame.image) <= (14 if transfer == "HLG" else 42)
    red, green, blue = patches(frame.image)[RED]
    assert red >= 240
    assert max(green, blue) <= 10
    assert np.abs(np.subtract(patches(frame.image)[ORANGE], COLORS[ORANGE])).max() <= 8
    assert reader.skipped == []


@pytest.mark.parametrize(
    ("transfer", "red", "note"), [("HLG", (169, 72, 38), "HDR (HLG)"), ("PQ", (134, 82, 55), "HDR (PQ)")]
)
def test_hdr_can_be_had_untouched_and_that_is_said(
    transfer: Any, red: tuple[int, int, int], note: str, tmp_path: Path
) -> None:
    write_hdr(tmp_path / "hdr.mp4", [chart()] * 2, transfer)
    for rendering in (Rendering(hdr="raw"), AS_STORED):
        reader, frame = first(tmp_path / "hdr.mp4", rendering)
        assert np.abs(np.subtract(patches(frame.image)[RED], red)).max() <= 2
        assert reader.info.adjusted == ()
        assert [note in sentence for sentence in reader.skipped] == [True]


def test_info_and_coverage_name_the_hdr(tmp_path: Path) -> None:
    write_hdr(tmp_path / "hdr.mp4", [chart()] * 4, "HLG")
    decoded = read_clip(tmp_path / "hdr.mp4", source="hdr.mp4", spec=ClipSpec())
    info = decoded.info
    assert (info.hdr, info.bit_depth) == ("HLG", 10)
    assert (info.transfer, info.primaries, info.matrix) == ("arib-std-b67", "bt2020", "bt2020nc")
    assert info.adjusted == decoded.coverage.adjusted == ("HDR (HLG) is tone-mapped to SDR.",)
    assert decoded.coverage.skipped == ()
    for text in ("\n".join(map(str, video_info(info))), "\n".join(tool_info(info))):
        assert "HDR (HLG), transfer arib-std-b67, primaries bt2020" in text
        assert "10 bits" in text
        assert "tone-mapped" in text


def test_the_settings_reach_every_way_of_looking(tmp_path: Path) -> None:
    write_hdr(tmp_path / "hdr.mp4", [chart()] * 4, "PQ", aspect=Fraction(2))
    for isolate in (False, True):
        with VideoService(Settings.load(backend="tiny", anyway=True, frames=2, isolate=isolate)) as videos:
            coverage = videos.caption(str(tmp_path / "hdr.mp4")).coverage
            assert coverage.frame_size == (384, 112)
            assert len(coverage.adjusted) == 2
    untouched = Settings.load(backend="tiny", anyway=True, frames=2, hdr="raw", pixel_aspect="stored")
    with VideoService(untouched) as videos:
        answer = videos.caption(str(tmp_path / "hdr.mp4"))
        assert answer.coverage.frame_size == (192, 112)
        assert answer.coverage.adjusted == ()
        assert any("HDR (PQ)" in warning for warning in answer.warnings)
        assert videos.info(str(tmp_path / "hdr.mp4")).width == 192
        view = videos.view(str(tmp_path / "hdr.mp4"), count=1)
        assert (view.pictures[0].width, view.pictures[0].height) == (192, 112)


@pytest.mark.parametrize("container", ["mp4", "mkv"])
def test_hdr_is_known_by_the_container_where_the_stream_does_not_tell(container: str, tmp_path: Path) -> None:
    codes = to_yuv(hdr_codes(chart(), "HLG"), 0.2627, 0.0593, 10)
    encode(tmp_path / "untagged.mp4", [codes] * 2, bits=10, codec="libx265")
    target = tmp_path / f"tagged.{container}"
    tagged_by_container(tmp_path / "untagged.mp4", target, (HLG, BT2020, BT2020))
    reader, frame = first(target)
    assert reader.info.hdr == "HLG"
    assert furthest(frame.image) <= 14
    assert first(tmp_path / "untagged.mp4")[0].info.hdr == ""


def test_sdr_is_untouched_to_the_bit(tmp_path: Path) -> None:
    wide = [to_yuv(chart() / 255.0, 0.2627, 0.0593, 10)] * 2
    encode(tmp_path / "bt2020.mp4", wide, bits=10, codec="libx265", tags=(14, BT2020, BT2020))
    write_sdr(tmp_path / "tagged.mp4", [chart()] * 2)
    assert len(GOLDEN_VIDEOS) == 3
    for path in (*GOLDEN_VIDEOS, tmp_path / "bt2020.mp4", tmp_path / "tagged.mp4"):
        (one, shown), (other, stored) = first(path), first(path, AS_STORED)
        np.testing.assert_array_equal(shown.image, stored.image)
        assert one.info == other.info
        assert (one.info.hdr, one.info.adjusted, one.skipped) == ("", (), [])
        assert shown.size == shown.image.shape[1::-1]


@pytest.mark.parametrize("transfer", ["HLG", "PQ"])
def test_the_tables_give_what_the_formulas_give(transfer: Any) -> None:
    codes = np.random.default_rng(7).integers(0, 1 << BITS, (3, 40, 50), dtype=np.uint16)
    codes[:, 0] = np.linspace(0, (1 << BITS) - 1, 50)  # greys from black to the brightest
    code = np.moveaxis(codes, 0, 2) / ((1 << BITS) - 1)
    if transfer == "HLG":  # ITU-R BT.2100: inverse OETF, and the gamma of a screen of 1000 cd/m2
        scene = np.where(
            code <= 0.5, code**2 / 3, (np.exp((code - 0.55991073) / 0.17883277) + 0.28466892) / 12
        )
        nits = 1000 * scene**1.2
    else:
        root = code ** (1 / 78.84375)
        nits = 10_000 * (np.maximum(root - 0.8359375, 0) / (18.8515625 - 18.6875 * root)) ** (
            1 / 0.1593017578125
        )
    linear = np.minimum(nits, 1000) / 203 @ np.linalg.inv(TO_BT2020).T
    knee, peak = 0.8, 1000 / 203
    a = -(knee**2) * (peak - 1) / (knee**2 - 2 * knee + peak)
    b = (knee**2 - 2 * knee * peak + peak) / (peak - 1)
    largest = linear.max(axis=2, keepdims=True)
    bent = (b**2 + 2 * b * knee + knee**2) / (b - a) * (largest + a) / (largest + b)
    linear = np.clip(linear * np.where(largest > knee, bent / np.maximum(largest, 1e-9), 1), 0, 1)
    srgb = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055) * 255
    image = ToneMap(transfer, "bt2020")(*codes)
    assert np.abs(image - srgb).max() < 1.5
    assert image[0, -1].tolist() == [255, 255, 255]
    assert np.all(np.diff(image[0, :, 1].astype(int)) >= 0)


ZSCALE = {
    "HLG": (
        ((244, 244, 244), (0, 0, 0), (135, 135, 135), (244, 0, 0), (16, 244, 18), (11, 4, 244)),
        ((244, 244, 0), (0, 244, 244), (244, 7, 244), (203, 127, 70), (69, 127, 203), (99, 165, 79)),
    ),
    "PQ": (
        ((244, 244, 244), (0, 0, 0), (135, 135, 135), (244, 0, 0), (25, 244, 0), (0, 5, 244)),
        ((243, 245, 0), (0, 244, 244), (244, 7, 245), (204, 127, 71), (71, 127, 203), (98, 165, 79)),
    ),
}
"""The chart by FFmpeg 5.1: zscale=t=linear:npl=203,format=gbrpf32le,zscale=p=bt709,
tonemap=mobius:param=0.8:peak=4.926:desat=0,zscale=t=bt709:r=full,format=gbrp,format=rgb24"""


@pytest.mark.parametrize("transfer", ["HLG", "PQ"])
def test_the_colours_are_those_of_zscale_and_tonemap_but_for_the_curve(transfer: Any, tmp_path: Path) -> None:
    write_hdr(tmp_path / "hdr.mp4", [chart()] * 2, transfer)
    image = first(tmp_path / "hdr.mp4")[1].image / 255
    light = np.where(image <= 0.04045, image / 12.92, ((image + 0.055) / 1.055) ** 2.4)
    recoded = np.rint(255 * light ** (1 / 2.4)).astype(np.uint8)  # zscale's curve is a power of 2.4
    ours, theirs = np.array(patches(recoded)), np.array(list(itertools.chain(*ZSCALE[transfer])))
    assert np.abs(ours - theirs)[theirs >= 60].max() <= 4
    assert ours[theirs < 60].max() < 60  # near black the two take chroma of half size differently


@pytest.mark.parametrize("transfer", ["HLG", "PQ"])
def test_the_bundled_model_sees_shapes_in_hdr(transfer: Any, tmp_path: Path) -> None:
    with VideoService(Settings.load(backend="tiny")) as videos:
        for number in range(3):
            scene = film(number).scene
            images = scene.render((np.arange(24) + 0.5) * scene.duration_s / 24, (320, 240))
            path = tmp_path / f"{number}.mp4"
            write_hdr(path, images, transfer, rate=4)
            assert film(number).fact in parse_caption(videos.caption(str(path)).text)


def test_cuts_are_found_in_hdr_as_in_sdr(tmp_path: Path) -> None:
    images = [
        np.full((112, 192, 3), color, np.uint8)
        for color in (COLORS[RED], (30, 30, 40), (240, 240, 200), COLORS[9])
    ]
    shots = [image for image in images for _ in range(20)]
    write_sdr(tmp_path / "sdr.mp4", shots)
    write_hdr(tmp_path / "hdr.mp4", shots, "PQ")
    found = []
    for name in ("sdr.mp4", "hdr.mp4"):
        whole = [TimeRange(start_s=0, end_s=80 / 30)]
        ((_, cuts),) = find_cuts(tmp_path / name, source=name, stretches=whole)
        found.append(cuts)
    assert found[0] == found[1] == pytest.approx((20 / 30, 40 / 30, 60 / 30))


def test_dolby_vision_without_pictures_for_others_is_said_to_be_wrong(tmp_path: Path) -> None:
    codes = to_yuv(hdr_codes(chart(), "PQ"), 0.2627, 0.0593, 10)
    encode(tmp_path / "plain.mp4", [codes] * 2, bits=10, codec="libx265")
    data = (tmp_path / "plain.mp4").read_bytes()
    assert data.count(b"hev1") == 1
    (tmp_path / "dolby.mp4").write_bytes(data.replace(b"hev1", b"dvhe"))  # the name of the sample entry
    reader, _ = first(tmp_path / "dolby.mp4")
    assert reader.info.hdr == "Dolby Vision"
    assert ["Dolby Vision" in sentence for sentence in reader.skipped] == [True]


# ---------------------------------------------------------------- mirrored and turned

ORIENTATIONS = {
    (1, 0, 0, 1): (0, False),
    (0, -1, 1, 0): (90, False),
    (-1, 0, 0, -1): (180, False),
    (0, 1, -1, 0): (270, False),
    (-1, 0, 0, 1): (0, True),
    (0, -1, -1, 0): (90, True),
    (1, 0, 0, -1): (180, True),
    (0, 1, 1, 0): (270, True),
    (-3, 0, 0, 3): (0, True),
    (0, 0, 0, 0): (0, False),
}
"""By the four numbers of the display matrix: degrees counter-clockwise, mirrored then."""


def display_matrix(a: float, b: float, c: float, d: float) -> list[int]:
    return [
        *(round(value * 65536) for value in (a, b)),
        0,
        *(round(value * 65536) for value in (c, d)),
        0,
        0,
        0,
        1 << 30,
    ]


@pytest.mark.parametrize("corner", ORIENTATIONS)
def test_the_whole_display_matrix_is_applied(corner: tuple[int, int, int, int], tmp_path: Path) -> None:
    a, b, c, d = corner
    write_sdr(tmp_path / "video.mp4", [chart()] * 2, matrix=display_matrix(a, b, c, d))
    reader, frame = first(tmp_path / "video.mp4")
    assert (reader.info.rotation, reader.info.mirrored) == ORIENTATIONS[corner]
    height, width, _ = frame.image.shape
    assert (reader.info.width, reader.info.height) == (width, height) == ((112, 192) if b else (192, 112))
    if corner == (0, 0, 0, 0):
        a, d = 1, 1
    scale = abs(a + b + c + d) if corner == (-3, 0, 0, 3) else 1
    scale = 3 if corner == (-3, 0, 0, 3) else scale
    for number, color in enumerate(COLORS):
        # ISO/IEC 14496-12: the point (x, y) is shown at (a x + c y, b x + d y); here from the middle.
        x, y = 32 * (number % 6) + 16 - 96, 56 * (number // 6) + 28 - 56
        at_x, at_y = (a * x + c * y) // scale + width // 2, (b * x + d * y) // scale + height // 2
        shown = frame.image[min(at_y, height - 1), min(at_x, width - 1)]
        assert np.abs(shown.astype(int) - color).max() <= 6


def test_an_angle_counts_as_the_nearest_quarter_turn(tmp_path: Path) -> None:
    for degrees, turned in ((15, 0), (80, 90), (100, 90), (350, 0)):
        cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        write_sdr(tmp_path / "video.mp4", [chart()], matrix=display_matrix(cos, -sin, sin, cos))
        info = first(tmp_path / "video.mp4")[0].info
        assert (info.rotation, info.mirrored) == (turned, False)


def test_a_mirror_in_the_stream_counts_as_well(tmp_path: Path) -> None:
    write_sdr(tmp_path / "plain.mp4", [chart()] * 2)
    flip = "h264_metadata=display_orientation=insert:flip=horizontal"
    retagged(tmp_path / "plain.mp4", tmp_path / "flipped.mp4", flip)
    plain, (reader, flipped) = first(tmp_path / "plain.mp4")[1], first(tmp_path / "flipped.mp4")
    np.testing.assert_array_equal(flipped.image, plain.image[:, ::-1])
    assert (reader.info.rotation, reader.info.mirrored) == (0, True)


# ---------------------------------------------------------------- pixels that are not square


def circle(width: int, height: int, aspect: float) -> NDArray[np.uint8]:
    """A white disc that is round where pixels are ``aspect`` times as wide as high."""
    y, x = np.mgrid[0:height, 0:width]
    radius = 0.4 * min(width * aspect, height)
    inside = ((x - (width - 1) / 2) * aspect) ** 2 + (y - (height - 1) / 2) ** 2 <= radius**2
    return np.where(inside[..., None], 235, 20).astype(np.uint8).repeat(3, axis=2)


def roundness(image: NDArray[np.uint8]) -> float:
    """Width to height of the disc in a picture."""
    inside = image.mean(axis=2) > 128
    return float(np.ptp(np.flatnonzero(inside.any(axis=0))) / np.ptp(np.flatnonzero(inside.any(axis=1))))


SQUARED = {
    "dvd": ((720, 576), Fraction(64, 45), (1024, 576), (905, 509)),
    "ntsc": ((720, 480), Fraction(8, 9), (720, 540), (720, 540)),
    "1080n": ((480, 540), Fraction(2), (960, 540), (905, 509)),
    "small": ((160, 120), Fraction(12, 11), (175, 120), (175, 120)),
}
"""How it is stored, the aspect of a pixel, how it is shown, and of that as much as the budget allows."""


@pytest.mark.parametrize("kind", SQUARED)
def test_pixels_are_made_square_everywhere(kind: str, tmp_path: Path) -> None:
    stored, aspect, shown, fitted = SQUARED[kind]
    path = tmp_path / "video.mp4"
    write_sdr(path, [circle(*stored, float(aspect))] * 6, aspect=aspect)
    decoded = read_clip(path, source="video.mp4", spec=ClipSpec(frames=4))
    info = decoded.info
    assert (info.width, info.height, info.stored_size) == (*shown, stored)
    assert Fraction(info.pixel_aspect.replace(":", "/")) == aspect
    assert decoded.coverage.frame_size == fitted
    assert decoded.clip.frames[0].shape == (fitted[1], fitted[0], 3)
    assert roundness(decoded.clip.frames[0]) == pytest.approx(1, abs=0.02)
    assert f"{shown[0]}x{shown[1]}" in "".join(decoded.coverage.adjusted)

    ((_, window),) = read_clips(path, source="video.mp4", specs=[ClipSpec(frames=4)])
    assert window.clip.fingerprint == decoded.clip.fingerprint
    wanted = frames_wanted(None, 2, None, None, True, None, default=2)
    how: Any = ("pyav", Limits(), DEFAULT_RENDERING)
    written = write_frames(path, "video.mp4", wanted, tmp_path / "out", False, *how)
    with Image.open(written.frames[0].path) as picture:
        assert picture.size == shown == written.coverage.frame_size
        assert roundness(np.asarray(picture)) == pytest.approx(1, abs=0.02)
    (picture, _) = view_frames(
        path, "video.mp4", frames_wanted(None, 2, None, None, False, 200, default=2), None, *how
    ).pictures
    assert (picture.width, picture.height) == tuple(round(side * min(1, 200 / max(shown))) for side in shown)


def test_the_reference_s_way_with_pixels_is_a_setting(tmp_path: Path) -> None:
    write_sdr(tmp_path / "video.mp4", [circle(160, 120, 2)] * 3, aspect=Fraction(2))
    decoded = read_clip(
        tmp_path / "video.mp4", source="v", spec=ClipSpec(), rendering=Rendering(pixel_aspect="stored")
    )
    assert decoded.coverage.frame_size == (160, 120) == (decoded.info.width, decoded.info.height)
    assert roundness(decoded.clip.frames[0]) == pytest.approx(0.5, abs=0.02)
    assert ["not square (2:1)" in note for note in decoded.coverage.skipped] == [True]


def test_the_aspect_turns_with_the_picture(tmp_path: Path) -> None:
    disc = circle(160, 120, 2)
    write_sdr(tmp_path / "video.mp4", [disc] * 3, aspect=Fraction(2), matrix=display_matrix(0, 1, -1, 0))
    decoded = read_clip(tmp_path / "video.mp4", source="v", spec=ClipSpec())
    assert (decoded.info.width, decoded.info.height) == decoded.coverage.frame_size == (120, 320)
    assert roundness(decoded.clip.frames[0]) == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize(
    ("size", "aspect", "mistake"),
    [
        ((192, 112), Fraction(1, 100), True),
        ((192, 112), Fraction(100), True),
        ((1920, 16), Fraction(4), True),  # shown, it would be 480 times as long as high
        ((192, 112), Fraction(640, 639), False),  # so nearly square that nobody sees it
    ],
)
def test_an_absurd_or_idle_aspect_changes_nothing(
    size: tuple[int, int], aspect: Fraction, mistake: bool, tmp_path: Path
) -> None:
    write_sdr(tmp_path / "video.mp4", [chart(*size)] * 2, aspect=aspect)
    reader, frame = first(tmp_path / "video.mp4")
    assert (reader.info.width, reader.info.height) == size == frame.size
    assert ["a mistake" in note for note in reader.skipped] == [True] * mistake


def test_squaring_keeps_to_the_limit_on_pixels(tmp_path: Path) -> None:
    write_sdr(tmp_path / "video.mp4", [circle(192, 112, 2)] * 2, aspect=Fraction(2))
    with open_video(tmp_path / "video.mp4", limits=Limits(max_frame_pixels=192 * 112)) as reader:
        assert (reader.info.width, reader.info.height) == (192, 56)


# ---------------------------------------------------------------- colour tags

FIELDS = {
    "transfer": "transfer_characteristics",
    "primaries": "colour_primaries",
    "matrix": "matrix_coefficients",
}
REPLACED = {
    10: "bt2020nc",
    11: "bt2020nc",
    12: "bt709",
    13: "bt709",
    14: "bt2020nc",
    15: "bt2020nc",
    16: "bt470bg",
}
REPLACED |= {17: "bt470bg"}


@pytest.mark.parametrize("field", FIELDS)
def test_every_colour_tag_opens_and_a_replaced_matrix_is_named(field: str, tmp_path: Path) -> None:
    write_sdr(tmp_path / "plain.mp4", [chart(96, 64)] * 2)
    for number in range(18):
        path = tmp_path / f"{number}.mp4"
        retagged(tmp_path / "plain.mp4", path, f"h264_metadata={FIELDS[field]}={number}")
        with open_video(path) as reader:
            assert [frame.damaged for frame in reader.read([0, 1])] == [False, False]
            nearest = REPLACED.get(number) if field == "matrix" else None
            assert [nearest in note for note in reader.skipped if nearest] == [True] * bool(nearest)
            assert len(reader.skipped) == bool(nearest)


@pytest.mark.parametrize("bits", [8, 10])
def test_ycgco_is_converted_exactly(bits: int, tmp_path: Path) -> None:
    unit = 1 << (bits - 8)
    red, green, blue = np.moveaxis(chart() / 255.0, 2, 0)
    luma, cg, co = green / 2 + (red + blue) / 4, green / 2 - (red + blue) / 4, (red - blue) / 2
    planes = np.rint(np.stack([luma * 219 + 16, cg * 224 + 128, co * 224 + 128]) * unit).astype(np.uint16)
    encode(tmp_path / "video.mp4", [planes] * 2, bits=bits, tags=(BT709, BT709, 8))
    reader, frame = first(tmp_path / "video.mp4")
    assert reader.info.matrix == "ycgco"
    assert furthest(frame.image) <= 2
    assert reader.skipped == []


@pytest.mark.parametrize(
    "pixels", ["gray", "gray10le", "bgr0", "gbrp12le", "yuv422p12le", "yuva420p", "rgb48le"]
)
def test_other_layouts_of_pixels_are_read(pixels: str, tmp_path: Path) -> None:
    planes = to_yuv(chart() / 255.0, 0.299, 0.114, 8)  # untagged is BT.601
    encode(tmp_path / "video.mkv", [planes] * 2, codec="ffv1", pixels=pixels, options={})
    _, frame = first(tmp_path / "video.mkv")
    grey = [(round(float(np.dot(color, (0.299, 0.587, 0.114)))),) * 3 for color in COLORS]
    assert furthest(frame.image, grey if pixels.startswith("gray") else COLORS) <= 4


# ---------------------------------------------------------------- decord, to compare


@pytest.fixture
def decord() -> None:
    pytest.importorskip("decord", reason="decord is an extra, with wheels for x86-64 only")


@pytest.mark.usefixtures("decord")
@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda path: write_sdr(path, [chart()] * 9, matrix=display_matrix(-1, 0, 0, 1)), "mirrored"),
        (lambda path: write_sdr(path, [chart()] * 9, tags=(BT709, BT709, 8)), "ycgco"),
    ],
)
def test_decord_is_refused_where_it_shows_something_else(
    make: Callable[[Path], None], word: str, tmp_path: Path
) -> None:
    make(tmp_path / "video.mp4")
    with pytest.raises(UsageError, match=word):
        open_video(tmp_path / "video.mp4", decoder="decord")


@pytest.mark.usefixtures("decord")
def test_decord_gives_pictures_as_stored_and_says_so(tmp_path: Path) -> None:
    write_hdr(tmp_path / "video.mp4", [chart()] * 9, "HLG", bits=8, codec="libx264", aspect=Fraction(2))
    with open_video(tmp_path / "video.mp4", decoder="decord") as reader:
        (frame,) = reader.read([4])
        assert (reader.info.width, reader.info.height) == (192, 112) == frame.size
        assert np.abs(np.subtract(patches(frame.image)[RED], (169, 72, 38))).max() <= 3
        assert len(reader.skipped) == 2
        assert (reader.info.hdr, reader.info.adjusted) == ("HLG", ())
