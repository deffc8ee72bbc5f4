"""Videos that are files: what is found, what is refused, and what the error says to do."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tarsier_tools.config import Settings
from tarsier_tools.errors import SourceNotAllowed, UsageError, VideoNotFound, VideoUnreadable
from tarsier_tools.media.source import resolve

SAMPLE = Path(__file__).parent / "golden" / "videos" / "short10_256x192.mp4"


def place(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(SAMPLE, path)
    return path


@pytest.fixture
def anywhere() -> Settings:
    return Settings()


@pytest.fixture
def roots(tmp_path: Path) -> tuple[Settings, Path, Path]:
    """Settings that allow one folder, that folder, and another folder with a secret in it."""
    inside, outside = tmp_path / "videos", tmp_path / "private"
    place(inside / "a.mp4")
    place(outside / "secret.mp4")
    return Settings(allowed_roots=(inside,)), inside, outside


@pytest.mark.parametrize(
    "name",
    [
        "plain.mp4",
        "with space.mp4",
        "UPPER.MP4",
        "影片 № 1 — ünïcode 🎬.mp4",
        "no_extension",
        "100%25.mp4",
        "-x.mp4",
    ],
)
@pytest.mark.parametrize("form", [str, Path])
def test_a_path_is_found_whatever_its_name_looks_like(tmp_path, anywhere, name, form):
    path = place(tmp_path / name)
    found = resolve(form(path), anywhere)
    assert found.path == path
    assert found.given == str(path)
    assert os.fspath(found) == str(path)


@pytest.mark.parametrize("name", ["a:b.mp4", "clip http.mp4", "x#1?.mp4"])
def test_a_name_that_looks_a_little_like_a_url_is_a_name(tmp_path, monkeypatch, anywhere, name):
    monkeypatch.chdir(tmp_path)
    path = place(tmp_path / name)
    assert resolve(name, anywhere).path == path


def test_a_relative_path_and_dots_are_made_whole(tmp_path, monkeypatch, anywhere):
    path = place(tmp_path / "deep" / "a.mp4")
    monkeypatch.chdir(tmp_path / "deep")
    assert resolve("a.mp4", anywhere).path == path
    assert resolve("../deep/./a.mp4", anywhere).path == path


def test_a_tilde_is_the_home_folder(tmp_path, monkeypatch, anywhere):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    path = place(tmp_path / "a.mp4")
    assert resolve("~/a.mp4", anywhere).path == path


def test_the_home_of_nobody_is_not_found(anywhere):
    with pytest.raises(VideoNotFound, match="home folder"):
        resolve("~no-such-user-here/a.mp4", anywhere)


@pytest.mark.parametrize("name", ["a.mp4", "mit Leerzeichen & ü.mp4", "50% off #1?.mp4"])
def test_a_file_url_is_a_path_percent_encoded_or_not(tmp_path, anywhere, name):
    path = place(tmp_path / name)
    assert resolve(path.as_uri(), anywhere).path == path
    assert resolve(path.as_uri().replace("file://", "FILE://localhost"), anywhere).path == path
    if "%" not in name:
        assert resolve(f"file://{path}", anywhere).path == path


def test_a_file_url_that_names_another_host_is_refused(anywhere):
    with pytest.raises(SourceNotAllowed, match="another host"):
        resolve("file://fileserver/share/a.mp4", anywhere)


def test_a_file_url_without_a_whole_path_is_refused(anywhere):
    with pytest.raises(UsageError, match="whole path"):
        resolve("file:a.mp4", anywhere)


def test_a_folder_of_images_is_a_source(tmp_path, anywhere):
    assert resolve(tmp_path, anywhere).path == tmp_path


@pytest.mark.parametrize("given", ["", "   "])
def test_nothing_is_refused(anywhere, given):
    with pytest.raises(UsageError, match="No video was given"):
        resolve(given, anywhere)


def test_a_missing_file_names_those_with_a_name_like_it(tmp_path, anywhere):
    place(tmp_path / "Holiday.MOV")
    place(tmp_path / "holidays_2024.mp4")
    place(tmp_path / "unrelated.mp4")
    with pytest.raises(VideoNotFound) as caught:
        resolve(tmp_path / "holiday.mp4", anywhere)
    assert "There is no file" in caught.value.message
    assert "Holiday.MOV" in caught.value.hint
    assert "holidays_2024.mp4" in caught.value.hint
    assert "unrelated" not in caught.value.hint


def test_a_missing_folder_is_named(tmp_path, anywhere):
    with pytest.raises(VideoNotFound) as caught:
        resolve(tmp_path / "no" / "a.mp4", anywhere)
    assert f"There is no folder {tmp_path / 'no'}" in caught.value.hint


def test_a_file_taken_for_a_folder_is_not_found(tmp_path, anywhere):
    with pytest.raises(VideoNotFound):
        resolve(place(tmp_path / "a.mp4") / "b.mp4", anywhere)


@pytest.mark.parametrize(
    "given",
    ["/mnt/user-data/uploads/a.mp4", "/mnt/data/a.mp4", "sandbox:/mnt/data/a.mp4", "/home/claude/a.mp4"],
)
def test_a_path_in_an_assistants_sandbox_is_explained(anywhere, roots, given):
    with pytest.raises(VideoNotFound, match="sandbox of an assistant"):
        resolve(given, anywhere)
    with pytest.raises((SourceNotAllowed, VideoNotFound), match="sandbox of an assistant"):
        resolve(given, roots[0])


@pytest.mark.parametrize("given", ["www.example.com/a.mp4", "youtu.be/abc"])
def test_an_address_without_its_beginning_is_explained(anywhere, given):
    with pytest.raises(VideoNotFound, match=f"write it in full: https://{given}"):
        resolve(given, anywhere)


@pytest.mark.parametrize("given", ["a\0b.mp4", "x" * 5000, "line\nbreak.mp4"])
def test_an_impossible_name_is_not_found_and_not_repeated_raw(anywhere, given):
    with pytest.raises(VideoNotFound) as caught:
        resolve(given, anywhere)
    assert len(str(caught.value)) < 600
    assert str(caught.value).isprintable()


@pytest.mark.skipif(sys.platform == "win32", reason="no devices among the files")
def test_devices_and_pipes_are_refused(tmp_path, anywhere):
    os.mkfifo(tmp_path / "pipe.mp4")
    for path in ("/dev/zero", tmp_path / "pipe.mp4"):
        with pytest.raises(VideoUnreadable, match="neither a file nor a folder"):
            resolve(path, anywhere)


def test_links_in_a_circle_are_not_found(tmp_path, anywhere):
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    with pytest.raises(VideoNotFound):
        resolve(tmp_path / "a", anywhere)


@pytest.mark.parametrize("given", ["rtsp://camera/stream", "ftp://host/a.mp4", "s3://bucket/a.mp4"])
def test_other_schemes_are_refused_by_name(anywhere, given):
    with pytest.raises(SourceNotAllowed, match=f"begins with {given.partition(':')[0]}:"):
        resolve(given, anywhere)


def test_a_data_url_is_refused_without_repeating_it(anywhere):
    with pytest.raises(SourceNotAllowed) as caught:
        resolve("data:video/mp4;base64," + "A" * 10_000, anywhere)
    assert "AAAA" not in str(caught.value)


@pytest.mark.parametrize("given", ["concat:a.mp4|b.mp4", "pipe:0", "subfile,,start,0,end,9,,:a.mp4"])
def test_what_a_decoder_might_take_for_a_protocol_is_a_path_that_is_not_there(anywhere, given):
    with pytest.raises(VideoNotFound):
        resolve(given, anywhere)


# ---------------------------------------------------------------- allowed folders


def test_inside_the_allowed_folders_everything_is_found(roots):
    settings, inside, _ = roots
    assert resolve(inside / "a.mp4", settings).path == inside / "a.mp4"
    assert resolve(inside, settings).path == inside


def test_a_relative_path_is_looked_for_in_the_allowed_folders(roots, monkeypatch, tmp_path):
    settings, inside, _ = roots
    monkeypatch.chdir(tmp_path)
    assert resolve("a.mp4", settings).path == inside / "a.mp4"
    with pytest.raises(VideoNotFound):
        resolve("b.mp4", settings)


def test_any_of_several_folders_will_do(roots):
    _, inside, outside = roots
    both = Settings(allowed_roots=(inside, outside))
    assert resolve("secret.mp4", both).path == outside / "secret.mp4"


def test_no_folder_at_all_allows_nothing(roots):
    _, inside, _ = roots
    with pytest.raises(SourceNotAllowed):
        resolve(inside / "a.mp4", Settings(allowed_roots=()))


def ways_out(inside: Path, outside: Path) -> list[str]:
    (inside / "link.mp4").symlink_to(outside / "secret.mp4")
    (inside / "folder").symlink_to(outside)
    (inside / "chain").symlink_to(inside / "folder")
    return [
        str(outside / "secret.mp4"),
        f"{inside}/../private/secret.mp4",
        "../private/secret.mp4",
        (outside / "secret.mp4").as_uri(),
        f"file://{inside}/%2e%2e/private/secret.mp4",
        str(inside / "link.mp4"),
        str(inside / "folder" / "secret.mp4"),
        str(inside / "chain" / "secret.mp4"),
        str(inside / "chain"),
        str(inside) + "-not/a.mp4",
    ]


def test_no_way_leads_out_of_the_allowed_folders(roots):
    settings, inside, outside = roots
    for given in ways_out(inside, outside):
        with pytest.raises(SourceNotAllowed) as caught:
            resolve(given, settings)
        assert str(inside) in caught.value.hint, given


def test_the_refusal_does_not_tell_whether_the_file_is_there(roots):
    settings, _, outside = roots
    texts = set()
    for name in ("secret.mp4", "nosuch.mp4"):
        with pytest.raises(SourceNotAllowed) as caught:
            resolve(outside / name, settings)
        texts.add(str(caught.value).replace(name, ""))
    assert len(texts) == 1


def test_a_folder_with_a_link_to_an_image_outside_is_refused(roots):
    settings, inside, outside = roots
    (inside / "frames").mkdir()
    (inside / "frames" / "1.png").symlink_to(inside / "a.mp4")
    assert resolve(inside / "frames", settings).path == inside / "frames"
    (inside / "frames" / "2.png").symlink_to(outside / "secret.mp4")
    with pytest.raises(SourceNotAllowed, match="holds a link to outside"):
        resolve(inside / "frames", settings)
    assert resolve(inside / "frames", Settings()).path == inside / "frames"


def test_an_allowed_folder_may_itself_be_a_link(roots, tmp_path):
    _, inside, _ = roots
    (tmp_path / "alias").symlink_to(inside)
    settings = Settings(allowed_roots=(tmp_path / "alias",))
    assert resolve(tmp_path / "alias" / "a.mp4", settings).path == inside / "a.mp4"
    assert resolve(inside / "a.mp4", settings).path == inside / "a.mp4"


def test_finding_files_needs_no_http_client():
    code = "import sys, tarsier_tools.media.source; print({'httpx', 'httpcore', 'av'} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"
