"""A photo is one upright picture in its true colours, whatever a camera packs into the file beside it."""

from __future__ import annotations

import io
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms, TiffImagePlugin
from pillow_heif import HeifFile, encode

from tarsier_tools.errors import VideoTooLarge, VideoUnreadable
from tarsier_tools.media.reader import Frame, Limits, open_video
from tarsier_tools.media.worker import DecodeWorker
from tarsier_tools.results import VideoInfo
from tests.corpus import Track, picture, read_number, steady, write

T = Image.Transpose
STORED_AS = {
    1: None,
    2: T.FLIP_LEFT_RIGHT,
    3: T.ROTATE_180,
    4: T.FLIP_TOP_BOTTOM,
    5: T.TRANSPOSE,
    6: T.ROTATE_90,
    7: T.TRANSVERSE,
    8: T.ROTATE_270,
}
"""How an upright picture is turned and mirrored to be stored with this EXIF orientation."""


def read(path: Path, limits: Limits | None = None) -> tuple[VideoInfo, list[Frame]]:
    with open_video(path, source=path.name, limits=limits or Limits()) as reader:
        frames = list(reader.read(range(len(reader.timeline))))
        assert reader.skipped == []
        return reader.info, frames


def numbers(frames: list[Frame]) -> list[int | None]:
    return [read_number(frame.image) for frame in frames]


def drawn(number: int, width: int = 192, height: int = 112) -> Image.Image:
    return Image.fromarray(picture(number, width, height))


def colour(path: Path) -> tuple[int, ...]:
    """The colour of a plain picture."""
    _, frames = read(path)
    return tuple(int(value) for value in frames[0].image[4, 4])


def as_bytes(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def heic(*images: Image.Image, tile: int = 0, **options: Any) -> bytes:
    """A HEIC file; with ``tile``, cut into a grid of squares of that side as phones do."""
    whole = HeifFile()
    for image in images:
        whole.add_from_pillow(image)
    buffer = io.BytesIO()
    whole.save(buffer, quality=90, **({"tile_size": tile} if tile else {}), **options)
    return buffer.getvalue()


def branded(data: bytes, brand: bytes) -> bytes:
    return data[:8] + brand + data[12:]


# ---------------------------------------------------------------- HEIC, HEIF, AVIF


def test_every_tile_of_a_heic_photo_is_in_its_place(tmp_path: Path) -> None:
    photo = tmp_path / "photo.heic"
    photo.write_bytes(heic(drawn(37, 700, 500), tile=256))
    assert b"grid" in photo.read_bytes()
    info, frames = read(photo)
    assert (info.width, info.height, info.frame_count, info.duration_s) == (700, 500, 1, 1.0)
    assert (info.container, info.decoder) == ("heif", "pillow")
    difference = np.abs(frames[0].image.astype(int) - picture(37, 700, 500).astype(int))
    assert difference.mean() < 4
    assert numbers(frames) == [37]


def test_a_heic_photo_in_one_piece_is_read(tmp_path: Path) -> None:
    photo = tmp_path / "photo.heic"
    photo.write_bytes(heic(drawn(5)))
    assert b"grid" not in photo.read_bytes()
    assert numbers(read(photo)[1]) == [5]


def test_a_heic_photo_of_ten_bits_is_read(tmp_path: Path) -> None:
    photo = tmp_path / "photo.heic"
    wide = picture(9).astype(np.uint16) * 257
    file = HeifFile()
    file.add_frombytes("RGB;16", (192, 112), wide.tobytes())
    file.save(photo, quality=90)
    assert numbers(read(photo)[1]) == [9]


def test_of_several_pictures_in_a_heic_the_primary_one_is_shown(tmp_path: Path) -> None:
    burst = tmp_path / "burst.heic"
    burst.write_bytes(heic(drawn(1), drawn(2), drawn(3), primary_index=1))
    info, frames = read(burst)
    assert (info.frame_count, numbers(frames)) == (1, [2])


@pytest.mark.parametrize("orientation", STORED_AS)
def test_a_turned_or_mirrored_heic_photo_is_upright(orientation: int, tmp_path: Path) -> None:
    stored = STORED_AS[orientation]
    image = drawn(6) if stored is None else drawn(6).transpose(stored)
    photo = tmp_path / "photo.heic"
    exif = Image.Exif()
    exif[0x0112] = orientation
    encode("RGB", image.size, image.tobytes(), photo, quality=90, exif=exif.tobytes())
    assert (b"irot" in photo.read_bytes() or b"imir" in photo.read_bytes()) == (orientation > 1)
    info, frames = read(photo)
    assert (info.width, info.height) == (192, 112)
    assert numbers(frames) == [6]


def test_an_hdr_heic_says_that_its_colours_are_off(tmp_path: Path) -> None:
    photo = tmp_path / "photo.hif"
    photo.write_bytes(heic(drawn(6), color_primaries=9, transfer_characteristics=16))
    with open_video(photo) as reader:
        assert reader.skipped == ["The picture is HDR (PQ) and is not tone-mapped: its colours look dull."]


def test_heic_without_its_library_says_what_to_type(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photo = tmp_path / "photo.heic"
    photo.write_bytes(heic(drawn(5)))
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(VideoUnreadable, match="HEIC") as caught:
        open_video(photo)
    assert caught.value.hint == "Type: pip install pillow-heif"


def test_a_picture_in_av1_is_read_under_any_brand(tmp_path: Path) -> None:
    data = as_bytes(drawn(8), "AVIF", quality=90)
    for name, brand in (("photo.avif", b"avif"), ("photo.heif", b"mif1")):
        (tmp_path / name).write_bytes(branded(data, brand))
        info, frames = read(tmp_path / name)
        assert (info.container, numbers(frames)) == ("avif", [8])


@pytest.mark.parametrize("brand", [b"avis", b"msf1"])
def test_a_sequence_of_pictures_in_av1_is_a_film_with_its_own_times(brand: bytes, tmp_path: Path) -> None:
    film = tmp_path / "film.avif"
    images = [drawn(number) for number in range(9)]
    data = as_bytes(images[0], "AVIF", save_all=True, append_images=images[1:], duration=[100, 300, 200] * 3)
    film.write_bytes(branded(data, brand))
    info, frames = read(film)
    assert numbers(frames) == list(range(9))
    assert [frame.time_s for frame in frames] == pytest.approx([0, 0.1, 0.4, 0.6, 0.7, 1, 1.2, 1.3, 1.6])
    assert info.duration_s == pytest.approx(1.8)


@pytest.mark.parametrize("brand", [b"hevc", b"msf1"])
def test_a_sequence_of_heif_pictures_is_a_film(brand: bytes, tmp_path: Path) -> None:
    options = {"preset": "ultrafast", "x265-params": "log-level=none:pools=1"}
    write(tmp_path / "film.mp4", Track(range(12), steady(12, 10.0), codec="libx265", options=options))
    data = (tmp_path / "film.mp4").read_bytes()
    film = tmp_path / "film.heics"
    film.write_bytes(branded(data, brand).replace(b"\0\0\0\0vide\0", b"\0\0\0\0pict\0"))
    info, frames = read(film)
    assert numbers(frames) == list(range(12))
    assert info.duration_s == pytest.approx(1.2)


def lying(data: bytes, place: int, width: int, height: int) -> bytes:
    changed = bytearray(data)
    struct.pack_into(">II", changed, place, width, height)
    return bytes(changed)


def one_for_all(data: bytes) -> bytes:
    """The grid refers to itself as its first tile."""
    changed = bytearray(data)
    link = data.index(b"dimg") + 4
    changed[link + 4 : link + 6] = changed[link : link + 2]
    return bytes(changed)


def test_heic_files_made_to_do_harm_are_refused(tmp_path: Path) -> None:
    good = heic(drawn(37, 700, 500), tile=256)
    sizes = [place for place in range(len(good)) if good.startswith(b"ispe", place)]
    whole = next(place for place in sizes if good[place + 8 : place + 16] == struct.pack(">II", 700, 500))
    bad = {
        **{f"cut at {share}": good[: int(len(good) * share)] for share in (0.01, 0.1, 0.5, 0.9, 0.999)},
        "huge": lying(good, whole + 8, 65535, 65535),
        "wide": lying(good, whole + 8, 20_000, 1_900),
        "self": one_for_all(good),
    }
    photo = tmp_path / "photo.heic"
    with DecodeWorker(timeout_s=60) as worker:
        for name, data in bad.items():
            photo.write_bytes(data)
            expected = VideoTooLarge if name == "huge" else VideoUnreadable
            with pytest.raises(expected) as caught:
                worker.call(read, photo)
            assert "photo.heic" in caught.value.message, name
            assert caught.value.hint, name


def test_no_changed_byte_of_a_heic_harms_the_worker(tmp_path: Path) -> None:
    good = heic(drawn(37, 300, 200), tile=128)
    head = good.index(b"mdat")
    dice = np.random.default_rng(4)
    photo = tmp_path / "photo.heic"
    outcomes: set[str] = set()
    with DecodeWorker(timeout_s=60) as worker:
        for _ in range(40):
            data = bytearray(good)
            for place in dice.integers(12, head, 4):
                data[place] = dice.integers(256)
            photo.write_bytes(data)
            outcomes.add(outcome(worker, photo))
    assert not any("process that decoded" in reason for reason in outcomes)
    assert any("cannot be read as an image" in reason for reason in outcomes)


def outcome(worker: DecodeWorker, path: Path) -> str:
    try:
        return str(len(worker.call(read, path)[1]))
    except (VideoUnreadable, VideoTooLarge) as error:
        return error.message


def test_heic_photos_count_among_the_images_of_a_folder(tmp_path: Path) -> None:
    drawn(0).save(tmp_path / "img0.jpg", quality=95)
    (tmp_path / "img1.HEIC").write_bytes(heic(drawn(1), tile=64))
    (tmp_path / "img2.heif").write_bytes(heic(drawn(2)))
    info, frames = read(tmp_path)
    assert (info.frame_count, numbers(frames)) == (3, [0, 1, 2])


# ---------------------------------------------------------------- JPEG


@pytest.mark.parametrize("second", [(192, 112), (96, 56)], ids=["other eye", "preview"])
def test_a_multi_picture_jpeg_is_one_upright_picture(second: tuple[int, int], tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    photo = tmp_path / "photo.jpg"
    drawn(11).transpose(T.ROTATE_90).save(
        photo, "MPO", save_all=True, append_images=[drawn(12, *second)], exif=exif, quality=95
    )
    info, frames = read(photo)
    assert (info.container, info.frame_count, info.duration_s) == ("jpeg", 1, 1.0)
    assert (info.width, info.height, info.rotation) == (192, 112, 270)
    assert numbers(frames) == [11]


def test_a_motion_photo_is_its_picture(tmp_path: Path) -> None:
    write(tmp_path / "film.mp4", Track(range(5), steady(5)))
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(as_bytes(drawn(3), "JPEG", quality=95) + (tmp_path / "film.mp4").read_bytes())
    info, frames = read(photo)
    assert (info.container, numbers(frames)) == ("jpeg", [3])


def test_a_jpeg_with_a_smaller_one_behind_it_is_a_photo(tmp_path: Path) -> None:
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(as_bytes(drawn(3), "JPEG", quality=95) + as_bytes(drawn(4, 96, 56), "JPEG"))
    assert numbers(read(photo)[1]) == [3]


@pytest.mark.parametrize("count", [2, 30])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_rows": 1}], ids=str)
@pytest.mark.parametrize("between", [b"", bytes(7)], ids=["", "padded"])
def test_a_motion_jpeg_stream_is_a_film(
    count: int, options: dict[str, Any], between: bytes, tmp_path: Path
) -> None:
    film = tmp_path / "film.mjpeg"
    film.write_bytes(
        between.join(as_bytes(drawn(number), "JPEG", quality=95, **options) for number in range(count))
    )
    info, frames = read(film)
    assert (info.container, info.codec, info.frame_count) == ("mjpeg", "mjpeg", count)
    assert numbers(frames) == list(range(count))
    assert info.duration_s == pytest.approx(count / 25)


def test_a_stream_of_jpegs_as_cameras_serve_it_over_http_is_a_film(tmp_path: Path) -> None:
    film = tmp_path / "saved"
    parts = [as_bytes(drawn(number), "JPEG", quality=95) for number in range(6)]
    film.write_bytes(
        b"".join(
            b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%s\r\n" % (len(part), part)
            for part in parts
        )
    )
    info, frames = read(film)
    assert (info.container, numbers(frames)) == ("mpjpeg", list(range(6)))


@pytest.mark.parametrize("filling", [b"\xff" * 100_000, b"\xff\xe0\0\2" * 100_000, b"\xff\xe0\0\0" * 1000])
def test_a_jpeg_that_never_gets_to_its_picture_is_refused(filling: bytes, tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"\xff\xd8" + filling)
    with pytest.raises(VideoUnreadable):
        open_video(tmp_path / "photo.jpg")


# ---------------------------------------------------------------- TIFF


def tiff(path: Path, *pages: tuple[Image.Image, int]) -> None:
    """Write pages, each with its NewSubfileType: 1 is a reduced copy, 4 a mask."""
    data = io.BytesIO()  # stays open: Python 3.13 closes the writer once more when it is collected
    file = TiffImagePlugin.AppendingTiffWriter(data, new=True)
    for image, kind in pages:
        tags = TiffImagePlugin.ImageFileDirectory_v2()
        tags[254] = kind
        image.save(file, "TIFF", tiffinfo=tags)
        file.newFrame()
    path.write_bytes(data.getvalue())


@pytest.mark.parametrize("thumbnail_first", [False, True])
@pytest.mark.parametrize("kind", [0, 1])
def test_a_tiff_with_a_thumbnail_is_one_picture(kind: int, thumbnail_first: bool, tmp_path: Path) -> None:
    photo = tmp_path / "photo.tif"
    pages = [(drawn(7), 0), (drawn(8, 96, 56), kind)]
    tiff(photo, *(reversed(pages) if thumbnail_first else pages))
    info, frames = read(photo)
    assert (info.frame_count, info.duration_s, info.width, info.height) == (1, 1.0, 192, 112)
    assert numbers(frames) == [7]


def test_a_big_tiff_is_read(tmp_path: Path) -> None:
    photo = tmp_path / "photo.tif"
    drawn(13).save(photo, "TIFF", big_tiff=True)
    assert photo.read_bytes().startswith(b"II+\0")
    assert numbers(read(photo)[1]) == [13]


def test_a_reduced_copy_or_a_mask_of_any_size_is_no_page(tmp_path: Path) -> None:
    photo = tmp_path / "photo.tif"
    tiff(photo, (drawn(7), 0), (drawn(8, 180, 105), 1), (drawn(9), 4))
    assert numbers(read(photo)[1]) == [7]


def test_the_pages_of_a_scan_are_shown_for_a_second_each(tmp_path: Path) -> None:
    scan = tmp_path / "scan.tiff"
    tiff(scan, (drawn(1), 0), (drawn(2, 192, 140), 0), (drawn(3), 2))
    info, frames = read(scan)
    assert numbers(frames) == [1, 2, 3]
    assert [frame.time_s for frame in frames] == [0.0, 1.0, 2.0]
    assert (info.duration_s, info.average_fps) == (3.0, 1.0)


def test_a_tiff_of_reduced_copies_only_is_refused_with_the_way_out(tmp_path: Path) -> None:
    raw = tmp_path / "photo.dng"
    tiff(raw, (drawn(1, 96, 56), 1))
    with pytest.raises(VideoUnreadable, match="reduced copies") as caught:
        open_video(raw)
    assert "JPEG" in caught.value.hint


def test_a_tiff_whose_pages_go_round_in_a_circle_ends(tmp_path: Path) -> None:
    scan = tmp_path / "scan.tif"
    drawn(4).save(scan, "TIFF")
    data = bytearray(scan.read_bytes())
    (start,) = struct.unpack_from("<I", data, 4)
    (entries,) = struct.unpack_from("<H", data, start)
    struct.pack_into("<I", data, start + 2 + 12 * entries, start)
    scan.write_bytes(data)
    with DecodeWorker(timeout_s=30) as worker:
        assert worker.call(count_frames, scan) == 1


def count_frames(path: Path) -> int:
    with open_video(path) as reader:
        return len(list(reader.read(range(len(reader.timeline)))))


def test_every_page_of_a_tiff_keeps_the_limit_on_pixels(tmp_path: Path) -> None:
    scan = tmp_path / "scan.tif"
    tiff(scan, (drawn(1), 0), (drawn(2, 400, 300), 0))
    with pytest.raises(VideoTooLarge, match="400x300"):
        open_video(scan, limits=Limits(max_frame_pixels=192 * 112))


# ---------------------------------------------------------------- orientation


@pytest.mark.parametrize("orientation", STORED_AS)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_a_picture_of_any_orientation_is_upright(kind: str, orientation: int, tmp_path: Path) -> None:
    stored = STORED_AS[orientation]
    image = drawn(21) if stored is None else drawn(21).transpose(stored)
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"photo.{kind.lower()}"
    image.save(path, kind, exif=exif)
    info, frames = read(path)
    assert (info.width, info.height) == (192, 112)
    assert frames[0].image.shape == (112, 192, 3)
    assert numbers(frames) == [21]


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_an_animation_is_turned_like_a_still(kind: str, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 5
    images = [drawn(number).transpose(STORED_AS[5] or T.TRANSPOSE) for number in range(4)]
    path = tmp_path / "animation"
    images[0].save(
        path, kind, save_all=True, append_images=images[1:], duration=200, exif=exif, lossless=True
    )
    info, frames = read(path)
    assert (info.width, info.height, info.frame_count) == (192, 112, 4)
    assert numbers(frames) == [0, 1, 2, 3]


def test_a_photo_with_broken_exif_is_shown_as_stored(tmp_path: Path) -> None:
    photo = tmp_path / "photo.jpg"
    drawn(2).save(photo, "JPEG", quality=95, exif=b"Exif\0\0MM\0*\xff\xff\xff\xff" + bytes(9))
    assert numbers(read(photo)[1]) == [2]


# ---------------------------------------------------------------- colours

D50_OF = {
    "sRGB": [[0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061], [0.01392, 0.09708, 0.71410]],
    "P3": [[0.51512, 0.29198, 0.15710], [0.24120, 0.69225, 0.06657], [-0.00105, 0.04189, 0.78407]],
}
"""XYZ under D50 of red, green and blue, in columns."""


def light(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The sRGB curve, also that of Display P3: from 0 to 1 to light (IEC 61966-2-1)."""
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def p3_profile() -> bytes:
    """A colour profile of Display P3 (ICC.1:2001-04), with nothing in it that is not needed."""

    def number(value: float) -> bytes:
        return struct.pack(">i", round(value * 65536))

    def xyz(values: Any) -> bytes:
        return b"XYZ \0\0\0\0" + b"".join(map(number, values))

    table = np.rint(light(np.linspace(0, 1, 1024)) * 65535).astype(">u2").tobytes()
    columns = np.array(D50_OF["P3"]).T
    tags = {
        b"desc": b"desc\0\0\0\0" + struct.pack(">I", 11) + b"Display P3\0" + bytes(78),
        b"cprt": b"text\0\0\0\0none\0",
        b"wtpt": xyz((0.9642, 1.0, 0.8249)),
        **{name: xyz(column) for name, column in zip((b"rXYZ", b"gXYZ", b"bXYZ"), columns, strict=True)},
        **dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), b"curv\0\0\0\0" + struct.pack(">I", 1024) + table),
    }
    index, body, start = b"", b"", 128 + 4 + 12 * len(tags)
    for name, content in tags.items():
        index += name + struct.pack(">II", start + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    head = (
        bytes(8) + struct.pack(">I", 0x02400000) + b"mntrRGB XYZ " + bytes(12) + b"acsp" + bytes(28)
    ) + b"".join(map(number, (0.9642, 1.0, 0.8249)))
    whole = head + bytes(128 - len(head)) + struct.pack(">I", len(tags)) + index + body
    return struct.pack(">I", len(whole)) + whole[4:]


def in_srgb(colour: tuple[int, int, int]) -> NDArray[np.float64]:
    """What a colour of Display P3 is in sRGB, float64, 0 to 255."""
    xyz = np.array(D50_OF["P3"]) @ light(np.array(colour) / 255)
    linear = np.clip(np.linalg.solve(np.array(D50_OF["sRGB"]), xyz), 0, 1)
    return 255 * np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)


@pytest.mark.parametrize("p3", [(200, 100, 50), (90, 160, 80), (255, 0, 0), (128, 128, 128)])
@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "HEIC"])
def test_a_display_p3_photo_is_shown_in_srgb(kind: str, p3: tuple[int, int, int], tmp_path: Path) -> None:
    image = Image.new("RGB", (64, 64), p3)
    path = tmp_path / "photo"
    if kind == "HEIC":
        image.info["icc_profile"] = p3_profile()
        path.write_bytes(heic(image, chroma="444"))
    else:
        image.save(path, kind, icc_profile=p3_profile(), lossless=True)
    assert np.abs(np.array(colour(path)) - in_srgb(p3)).max() <= (5 if kind == "HEIC" else 2)


def test_a_profile_of_srgb_moves_no_pixel(tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    drawn(3).save(path, icc_profile=profile)
    assert np.array_equal(read(path)[1][0].image, picture(3))


@pytest.mark.parametrize("profile", [b"no profile", p3_profile()[:300]])
def test_a_damaged_profile_is_left_aside(profile: bytes, tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    drawn(3).save(path, icc_profile=profile)
    assert np.array_equal(read(path)[1][0].image, picture(3))


GREYS: list[tuple[str, Any, int]] = [
    ("16 bits", np.array([0, 128 * 257, 65535], np.uint16), 128),
    ("32 bits that use 16", np.array([0, 128 * 257, 65535], np.int32), 128),
    ("32 bits that use 8", np.array([0, 100, 255], np.int32), 100),
    ("32 bits", np.array([-500_000, 0, 1_500_000], np.int32), 64),
    ("from 0 to 1", np.array([0, 0.5, 1], np.float32), 128),
    ("real numbers to 255", np.array([0, 100, 255], np.float32), 100),
    ("heights below the sea", np.array([-100, 0, 300], np.float32), 64),
    ("gaps", np.array([np.nan, 0.5, 1], np.float32), 128),
]


@pytest.mark.parametrize(("name", "values", "middle"), GREYS, ids=[case[0] for case in GREYS])
def test_greys_of_many_bits_are_neither_all_white_nor_all_black(
    name: str, values: NDArray[Any], middle: int, tmp_path: Path
) -> None:
    path = tmp_path / "scan.tif"
    Image.fromarray(np.tile(np.repeat(values, 8), (8, 1))).save(path)
    image = read(path)[1][0].image
    assert [int(value) for value in image[4, [4, 12, 20], 0]] == [0, middle, 255]
    assert (image == image[:, :, :1]).all()


@pytest.mark.parametrize(
    ("mode", "value", "kind", "right"),
    [
        ("CMYK", (0, 255, 255, 0), "TIFF", (255, 0, 0)),
        ("CMYK", (0, 255, 255, 0), "JPEG", (254, 0, 0)),
        ("LAB", (138, 209, 198), "TIFF", (255, 0, 0)),  # L* of 54, a* of 81 and b* of 70, under D50
        ("LA", (90, 40), "PNG", (90, 90, 90)),
        ("L", 77, "BMP", (77, 77, 77)),
        ("1", 1, "PNG", (255, 255, 255)),
        ("RGBA", (10, 200, 30, 0), "PNG", (10, 200, 30)),  # opacity is left aside
        ("YCbCr", (76, 85, 255), "TIFF", (254, 0, 0)),
    ],
)
def test_colours_are_right_in_every_mode(
    mode: str, value: Any, kind: str, right: tuple[int, int, int], tmp_path: Path
) -> None:
    path = tmp_path / "photo"
    Image.new(mode, (64, 64), value).save(path, kind)
    assert np.abs(np.array(colour(path)) - np.array(right)).max() <= (5 if mode == "LAB" else 2)


def test_a_palette_gives_its_colours_also_where_it_is_transparent(tmp_path: Path) -> None:
    path = tmp_path / "drawing.png"
    image = Image.new("P", (64, 64), 1)
    image.putpalette([0, 0, 0, 12, 34, 56])
    image.save(path, transparency=1)
    assert colour(path) == (12, 34, 56)
