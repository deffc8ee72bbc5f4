"""Which addresses are refused: one by one, on redirects, and when a name changes what it stands for."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
import trustme
from source_server import VIDEO, Server, redirects, running, sends

from tarsier_tools import ScriptedBackend, VideoService
from tarsier_tools.config import Settings
from tarsier_tools.errors import SourceNotAllowed, VideoUnavailable, VideoUnreadable
from tarsier_tools.media import download, urls
from tarsier_tools.media.source import resolve

PRIVATE = [
    "0.0.0.0", "10.0.0.1", "100.64.0.1", "100.100.100.200", "127.0.0.1", "127.255.255.254", "168.63.129.16",
    "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.192", "192.0.2.1", "192.88.99.1",
    "192.168.1.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1",
    "255.255.255.255", "::", "::1", "::7f00:1", "::ffff:127.0.0.1", "::ffff:a9fe:a9fe", "::ffff:0:10.0.0.1",
    "64:ff9b::10.0.0.1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::808:808", "100::1", "2001::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:db8::1", "2002:7f00:1::", "2002:0a00:0001::1", "3fff::1",
    "5f00::1", "fc00::1", "fd00:ec2::254", "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1", "no address", "",
]  # fmt: skip
PUBLIC = [
    "1.1.1.1", "8.8.8.8", "100.63.255.255", "100.128.0.1", "172.15.255.255", "172.32.0.1", "192.167.255.255",
    "223.255.255.255", "2606:4700::1111", "2001:200::1", "2a00:1450:4001::1", "::ffff:8.8.8.8",
    "64:ff9b::8.8.8.8",
]  # fmt: skip
NUMBERS = ["2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "127.1", "127.0.1", "1.2.3.4.5", "010.0.0.1",
           "127.0.0.0x1", "0", "a.b.123", "a.0x1", "127.0.0.1."]  # fmt: skip


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def server():
    with running() as server:
        yield server


@pytest.fixture
def only_one_is_public(monkeypatch):
    """127.0.0.1, where the test's server is, passes for public; every other address on loopback does not."""
    monkeypatch.setattr(urls, "is_public", lambda address: address == "127.0.0.1")
    return Settings(allow_http=True)


@pytest.mark.parametrize("address", PRIVATE)
def test_an_address_inside_is_not_public(address):
    assert not urls.is_public(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_an_address_outside_is_public(address):
    assert urls.is_public(address)


@pytest.mark.parametrize("host", NUMBERS)
@pytest.mark.parametrize("private", [False, True])
def test_a_host_written_as_an_odd_number_is_refused_always(host, private):
    with pytest.raises(SourceNotAllowed, match=r"unusual form|not a valid URL"):
        resolve(f"https://{host}/a.mp4", Settings(allow_private_hosts=private))


@pytest.mark.parametrize("host", ["example.com", "1.2.3.4", "3com", "a.1b", "video1", "[::1]", "0xzz"])
def test_an_ordinary_host_has_an_ordinary_form(host):
    urls.check_host_form(host.strip("[]"))


@pytest.mark.enable_socket
@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "LOCALHOST", "127.8.8.8", "[::1]", "[::ffff:127.0.0.1]", "169.254.169.254"],
)
def test_a_private_host_is_refused_before_any_connection(server, host):
    with pytest.raises(SourceNotAllowed, match="private or local network"):
        resolve(server.url("/a.mp4", host), Settings(allow_http=True))
    assert server.requests == []


@pytest.mark.enable_socket
def test_private_hosts_can_be_allowed(server):
    server.routes["/a.mp4"] = sends()
    found = resolve(server.url("/a.mp4"), Settings(allow_http=True, allow_private_hosts=True))
    assert found.path.read_bytes() == VIDEO


def test_one_private_address_among_public_ones_is_enough_to_refuse(monkeypatch):
    monkeypatch.setattr(urls, "look_up", lambda host, port: ["8.8.8.8", "10.0.0.1"])
    with pytest.raises(SourceNotAllowed, match="private or local"):
        resolve("https://videos.example/a.mp4", Settings())


def test_a_refusal_does_not_tell_which_address_a_name_stands_for(monkeypatch):
    monkeypatch.setattr(urls, "look_up", lambda host, port: ["10.11.12.13"])
    with pytest.raises(SourceNotAllowed) as caught:
        resolve("https://intranet.example/a.mp4", Settings())
    assert "10.11.12.13" not in str(caught.value)


def test_addresses_can_be_turned_off():
    with pytest.raises(SourceNotAllowed, match="turned off"):
        resolve("https://videos.example/a.mp4", Settings(allow_urls=False))


def test_http_is_refused_by_default():
    with pytest.raises(SourceNotAllowed, match="not encrypted") as caught:
        resolve("HTTP://videos.example/a.mp4", Settings())
    assert "TARSIER_ALLOW_HTTP" in caught.value.hint


@pytest.mark.parametrize(
    "given", ["https://", "https:///a.mp4", "https:a.mp4", "https://[::1/a", "https://a:b/c"]
)
def test_an_address_that_is_none_is_refused(given):
    with pytest.raises(SourceNotAllowed):
        resolve(given, Settings())


@pytest.mark.parametrize(
    "given", ["https://me:pa55@videos.example/a.mp4", "https://pa55@videos.example/a.mp4"]
)
def test_a_password_in_an_address_is_refused_and_not_repeated(given):
    with pytest.raises(SourceNotAllowed, match="password") as caught:
        resolve(given, Settings())
    assert "pa55" not in str(caught.value)


def test_a_host_that_nobody_knows_is_named_without_the_rest(monkeypatch):
    def nobody(host: str, port: int) -> list[str]:
        raise OSError("no such name")

    monkeypatch.setattr(urls, "look_up", nobody)
    with pytest.raises(VideoUnavailable, match=r"The host videos[.]example cannot be found") as caught:
        resolve("https://videos.example/a.mp4?signature=s3cret", Settings())
    assert caught.value.retryable
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("https://u:p@host:8443/a/b.mp4?key=1#t=2", "https://host:8443/a/b.mp4"),
        ("https://[2001:db8::1]/a", "https://[2001:db8::1]/a"),
        ("https://host:port/a?key=1", "the address given"),
        (f"https://host/{'a' * 500}", f"https://host/{'a' * 116}..."),
    ],
)
def test_what_is_shown_of_an_address_holds_no_secret(url, text):
    assert urls.shown(url) == text


def test_the_name_of_a_source_holds_no_secret(monkeypatch, tmp_path):
    monkeypatch.setattr(download, "fetch", lambda *_, **__: tmp_path / "a")
    found = resolve("https://host/a.mp4?signature=s3cret", Settings())
    assert found.name == "https://host/a.mp4"
    assert found.given == "https://host/a.mp4?signature=s3cret"


# ---------------------------------------------------------------- redirects


@pytest.mark.enable_socket
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_followed(server, only_one_is_public, status):
    server.routes |= {"/a": redirects("/b", status), "/b": redirects(server.url("/c.mp4")), "/c.mp4": sends()}
    assert resolve(server.url("/a"), only_one_is_public).path.read_bytes() == VIDEO
    assert server.paths == ["/a", "/b", "/c.mp4"]


@pytest.mark.enable_socket
@pytest.mark.parametrize(
    "target",
    [
        "http://127.0.0.2:{port}/a.mp4",
        "http://[::1]:{port}/a.mp4",
        "http://[::ffff:127.0.0.1]:{port}/a.mp4",
        "//127.0.0.2:{port}/a.mp4",
        "http://169.254.169.254/latest/meta-data/",
        "https://10.0.0.1/a.mp4",
    ],
)
def test_a_redirect_to_a_private_host_is_refused_at_every_hop(server, only_one_is_public, target):
    server.routes |= {"/a": redirects("/b"), "/b": redirects(target.format(port=server.server_port))}
    with pytest.raises(SourceNotAllowed, match="private or local network"):
        resolve(server.url("/a"), only_one_is_public)
    assert server.paths == ["/a", "/b"]


@pytest.mark.enable_socket
@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("http://2130706433/", "unusual form"),
        ("http://u:p@127.0.0.1/", "password"),
        ("file:///etc/passwd", "begins with file:"),
        ("ftp://127.0.0.1/a", "begins with ftp:"),
        ("http://127.0.0.1:99999999/", "impossible port"),
        ("http://[oops", "no valid host"),
        ("http://a%20b/", "no valid host"),
    ],
)
def test_a_redirect_is_held_to_the_whole_policy(server, only_one_is_public, target, reason):
    server.routes["/a"] = redirects(target)
    with pytest.raises(SourceNotAllowed, match=reason):
        resolve(server.url("/a"), only_one_is_public)


@pytest.mark.enable_socket
def test_a_redirect_to_no_address_at_all_is_a_bad_answer(server, only_one_is_public):
    server.routes["/a"] = redirects("data:video/mp4;base64,AAAA")
    with pytest.raises(VideoUnavailable, match="gives no valid answer"):
        resolve(server.url("/a"), only_one_is_public)


@pytest.mark.enable_socket
def test_five_redirects_are_followed_and_a_circle_is_left(server, only_one_is_public):
    server.routes |= {f"/{n}": redirects(f"/{n + 1}") for n in range(6)}
    server.routes |= {"/6": sends(), "/round": redirects("/round")}
    assert resolve(server.url("/1"), only_one_is_public).path.read_bytes() == VIDEO
    with pytest.raises(SourceNotAllowed, match="more than 5 times"):
        resolve(server.url("/0"), only_one_is_public)
    server.requests.clear()
    with pytest.raises(SourceNotAllowed, match="more than 5 times"):
        resolve(server.url("/round"), only_one_is_public)
    assert len(server.requests) == 6


@pytest.mark.enable_socket
def test_a_redirect_that_needs_http_is_refused_where_http_is(secure):
    server, _ = secure
    server.routes["/a"] = redirects("http://videos.example/a.mp4")
    for settings in (Settings(), Settings(allow_http=True)):
        with pytest.raises(SourceNotAllowed, match="from https to http"):
            resolve(server.url("/a", "videos.example", "https"), settings)


# ---------------------------------------------------------------- the address checked is the one used


@pytest.mark.enable_socket
def test_a_name_that_changes_after_the_check_changes_nothing(server, only_one_is_public, monkeypatch):
    answers = [["127.0.0.1"], ["127.0.0.2"]]
    monkeypatch.setattr(urls, "look_up", lambda host, port: answers.pop(0))
    server.routes["/a.mp4"] = sends()
    assert resolve(server.url("/a.mp4", "rebinding.example"), only_one_is_public).path.read_bytes() == VIDEO
    assert answers == [["127.0.0.2"]]  # looked up once
    ((_, headers),) = server.requests
    assert headers["Host"] == f"rebinding.example:{server.server_port}"


@pytest.mark.enable_socket
def test_a_name_that_changes_between_redirects_is_checked_again(server, only_one_is_public, monkeypatch):
    answers = [["127.0.0.1"], ["127.0.0.2"]]
    monkeypatch.setattr(urls, "look_up", lambda host, port: answers.pop(0))
    server.routes["/a"] = lambda request: request.answer(
        302, Location=server.url("/b.mp4", "rebinding.example"), Connection="close"
    )
    with pytest.raises(SourceNotAllowed, match="private or local"):
        resolve(server.url("/a", "rebinding.example"), only_one_is_public)
    assert server.paths == ["/a"]


@pytest.mark.enable_socket
def test_an_address_that_does_not_answer_gives_way_to_the_next(server, monkeypatch):
    tried: list[str] = []

    def both(host: str, port: int) -> list[str]:
        tried.append(host)
        return ["127.0.0.3", "127.0.0.1"]

    monkeypatch.setattr(urls, "look_up", both)
    monkeypatch.setattr(urls, "is_public", lambda address: True)
    server.routes["/a.mp4"] = sends()
    found = resolve(server.url("/a.mp4", "two.example"), Settings(allow_http=True))
    assert found.path.read_bytes() == VIDEO
    assert tried == ["two.example"]


@pytest.fixture
def secure(monkeypatch, tmp_path) -> tuple[Server, list[str]]:
    """An https server for videos.example, and the names that clients asked it for."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("videos.example").configure_cert(context)
    names: list[str] = []
    context.sni_callback = lambda connection, name, _: names.append(name)
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    monkeypatch.setattr(urls, "look_up", lambda host, port: ["127.0.0.1"])
    monkeypatch.setattr(urls, "is_public", lambda address: address == "127.0.0.1")
    with running(context) as server:
        yield server, names


@pytest.mark.enable_socket
def test_tls_and_the_host_header_go_on_using_the_name(secure):
    server, names = secure
    server.routes["/a.mp4"] = sends()
    found = resolve(server.url("/a.mp4", "videos.example", "https"), Settings())
    assert found.path.read_bytes() == VIDEO
    assert names == ["videos.example"]
    assert server.requests[0][1]["Host"] == f"videos.example:{server.server_port}"


@pytest.mark.enable_socket
def test_a_certificate_for_another_name_is_refused(secure):
    server, _ = secure
    with pytest.raises(VideoUnavailable, match=r"certificate of other[.]example"):
        resolve(server.url("/a.mp4", "other.example", "https"), Settings())
    assert server.requests == []


@pytest.mark.enable_socket
def test_a_proxy_of_the_environment_is_used_only_where_private_hosts_are_allowed(server, monkeypatch):
    monkeypatch.setenv("http_proxy", server.url(""))
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv("NO_PROXY", "")
    monkeypatch.setattr(urls, "is_public", lambda address: True)
    server.routes["http://videos.invalid/a.mp4"] = sends()
    with pytest.raises(VideoUnavailable, match="TARSIER_ALLOW_PRIVATE_HOSTS=1 permits that"):
        resolve("http://videos.invalid/a.mp4", Settings(allow_http=True))
    assert server.requests == []
    found = resolve("http://videos.invalid/a.mp4", Settings(allow_http=True, allow_private_hosts=True))
    assert found.path.read_bytes() == VIDEO


def test_a_result_names_the_address_as_given_and_an_error_without_its_query(tmp_path, monkeypatch):
    address = "https://host/a.mp4?signature=s3cret"
    film = Path(__file__).parent / "golden" / "videos" / "short10_256x192.mp4"
    with VideoService(Settings(), ScriptedBackend()) as service:
        monkeypatch.setattr(download, "fetch", lambda *_, **__: film)
        assert service.info(address).source == address
        assert service.frames(address, tmp_path / "frames", count=1).video == address
        (tmp_path / "text").write_text("no video")
        monkeypatch.setattr(download, "fetch", lambda *_, **__: tmp_path / "text")
        with pytest.raises(VideoUnreadable, match=r"https://host/a\.mp4 ") as refused:
            service.info(address)
    assert "s3cret" not in str(refused.value)
