"""Which addresses a video may be fetched from.

The policy, in the order in which it is applied to the address given and to every redirect:

- https only; http too with ``allow_http``. A redirect from https to http is always refused.
- No user name or password in the address.
- No host written as a number in an unusual form (``2130706433``, ``0x7f.1``, ``0177.0.0.1``).
- Every IP address that the host's name stands for must be a public one, unless ``allow_private_hosts``. The
  connection is then made to one of the addresses that were checked, so that a name that stands for another
  address a moment later (DNS rebinding) changes nothing.
"""

from __future__ import annotations

import re
import socket
from ipaddress import IPv4Address, ip_address, ip_network
from urllib.parse import urlsplit

from tarsier_tools.errors import SourceNotAllowed, VideoUnavailable

_SPECIAL_V4 = tuple(
    ip_network(text)
    for text in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # carrier-grade NAT; some clouds answer for metadata here
        "127.0.0.0/8",  # loopback
        "168.63.129.16/32",  # a cloud's metadata, though in a public block
        "169.254.0.0/16",  # link-local, and most clouds' metadata
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",  # private
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
    )
)
_GLOBAL_V6 = ip_network("2000::/3")
_SPECIAL_V6 = tuple(
    ip_network(text)
    for text in (
        "2001::/23",  # protocol assignments, among them Teredo
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4, which carries any IPv4 address
        "3fff::/20",  # documentation
    )
)
_NAT64 = ip_network("64:ff9b::/96")
_DOTTED = re.compile(r"(0|[1-9]\d{0,2})(\.(0|[1-9]\d{0,2})){3}", re.ASCII)
_NUMBER = re.compile(r"\d+|0x[0-9a-f]*", re.ASCII)


def is_public(address: str) -> bool:
    """True for an IP address on the open internet.

    False for everything that is private, local, reserved or made to carry such an address inside it
    (IPv4-mapped, NAT64), and for what is no IP address at all. Own tables rather than ``is_global`` of the
    standard library, whose answer differs between versions of Python.
    """
    try:
        ip = ip_address(address)
    except ValueError:
        return False
    if isinstance(ip, IPv4Address):
        return not any(ip in network for network in _SPECIAL_V4)
    if ip.ipv4_mapped is not None:
        return is_public(str(ip.ipv4_mapped))
    if ip in _NAT64:
        return is_public(str(IPv4Address(int(ip) & 0xFFFFFFFF)))
    return ip in _GLOBAL_V6 and not any(ip in network for network in _SPECIAL_V6)


def check_host_form(host: str) -> None:
    """Refuse a host that is no name, and one that is or ends in a number and is no ordinary IP address.

    Raises SourceNotAllowed.
    """
    if not host or ("%" in host and ":" not in host):
        raise SourceNotAllowed(
            "The address names no valid host.", hint="Give a whole address: https://host/file.mp4"
        )
    last_label = host.rstrip(".").rpartition(".")[2].lower()
    if ":" not in host and _NUMBER.fullmatch(last_label) and not _DOTTED.fullmatch(host):
        raise SourceNotAllowed(
            "The host of the address is a number in an unusual form, which is refused.",
            hint="Give the host's name, or its IP address as four decimal numbers.",
        )


def checked_addresses(host: str, port: int, *, allow_private: bool) -> list[str]:
    """The IP addresses of a host, in the order to try them, each of them allowed.

    Raises SourceNotAllowed when any of them is not public (and need be), VideoUnavailable when the name is
    not known.
    """
    try:
        addresses = look_up(host, port)
    except (OSError, UnicodeError) as error:
        raise VideoUnavailable(
            f"The host {host} cannot be found.", hint="Check the spelling and the network connection."
        ) from error
    if not allow_private and not all(is_public(address) for address in addresses):
        # Which address it was stays unsaid: it may tell a stranger about the network inside.
        raise SourceNotAllowed(
            f"The host {host} is in a private or local network, which is refused.",
            hint="To allow such hosts set allow_private_hosts (TARSIER_ALLOW_PRIVATE_HOSTS=1).",
        )
    return addresses


def look_up(host: str, port: int) -> list[str]:
    """Every IP address of a host, as the system's resolver orders them, each once."""
    answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(answer[4][0]) for answer in answers))


def shown(url: str) -> str:
    """The address as it may appear in a message: without user, password, query and fragment."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return "the address given"
    host = f"[{host}]" if ":" in host else host
    path = parts.path if len(parts.path) <= 120 else parts.path[:117] + "..."
    return f"{parts.scheme}://{host}{f':{port}' if port else ''}{path}"
