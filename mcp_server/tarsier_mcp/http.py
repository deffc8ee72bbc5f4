"""The server over Streamable HTTP: which addresses it answers to, how it starts and stops.

Responses are streams (SSE), because only then progress arrives and a dropped connection is noticed; no
session is kept, because then any number of connections, restarts and versions of the protocol can share it.
"""

from __future__ import annotations

import ipaddress
import os
import socket
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import uvicorn
from mcp.server.mcpserver import MCPServer
from mcp.server.transport_security import TransportSecuritySettings
from starlette.applications import Starlette
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tarsier_tools import UsageError

MAX_BODY = 1 << 20
"""Bytes of a request: arguments are words and paths, never videos."""
_LEAVING_S = 5
_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


@dataclass(frozen=True, slots=True)
class HttpOptions:
    """Where the server listens and whom it answers.

    Attributes:
        path: of the one endpoint.
        public_url: where clients reach it, when that is not ``http://host:port/path``.
        allowed_hosts, allowed_origins: values of the Host and Origin headers that are accepted, besides those
            of loopback and of ``public_url``; ``name:*`` for any port.
        anonymous: how often the user has said that callers need no token.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    path: str = "/mcp"
    public_url: str = ""
    allowed_hosts: tuple[str, ...] = ()
    allowed_origins: tuple[str, ...] = ()
    anonymous: int = 0

    @property
    def local(self) -> bool:
        """Only this machine can connect."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


def check_exposure(options: HttpOptions, *, authenticated: bool) -> None:
    """Refuse to be open to the network by accident.

    Raises UsageError.
    """
    if not options.local and not authenticated and options.anonymous < 2:
        raise UsageError(
            f"Anybody who reaches {options.host} could read the videos: there is no --token-file and no "
            "--oauth-issuer.",
            hint="Give one of them, or say --allow-anonymous twice.",
        )
    if not options.local and not options.public_url and not options.allowed_hosts:
        raise UsageError(
            f"Listening on {options.host}, the server must know the name that clients use for it.",
            hint="Give --public-url https://name/mcp, or --allow-host NAME.",
        )


def check_free(options: HttpOptions) -> None:
    """Refuse an address that cannot be listened on, before anything is started.

    Raises UsageError.
    """
    kind = socket.SOCK_STREAM
    try:
        for family, _, protocol, _, address in socket.getaddrinfo(options.host, options.port, type=kind):
            with socket.socket(family, kind, protocol) as probe:
                if os.name == "posix":  # a port is free again while its last connections expire
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(address)
            break  # of one name that has several, the others may be missing on this machine
    except OSError as error:
        raise UsageError(
            f"The server cannot listen on {options.host}, port {options.port}: {error.strerror}.",
            hint="Give another --host or --port.",
        ) from None


def security_of(options: HttpOptions) -> TransportSecuritySettings:
    """The Host and Origin headers that are accepted; everything else is refused, always."""
    hosts = [f"{name}:*" for name in _LOOPBACK] + list(_LOOPBACK)
    origins = [f"http://{name}:*" for name in _LOOPBACK]
    if options.public_url:
        public = urlsplit(options.public_url)
        hosts.append(public.netloc)
        origins.append(f"{public.scheme}://{public.netloc}")
    return TransportSecuritySettings(
        enable_dns_rebinding_protection=True,
        allowed_hosts=[*hosts, *options.allowed_hosts],
        allowed_origins=[*origins, *options.allowed_origins],
    )


def make_app(server: MCPServer[Any], options: HttpOptions) -> Starlette:
    """The ASGI application: the endpoint, and ``/healthz``, which answers anybody and tells nothing."""
    app = server.streamable_http_app(
        streamable_http_path=options.path,
        json_response=False,
        stateless_http=True,
        max_request_body_size=MAX_BODY,
        transport_security=security_of(options),
        host=options.host,
    )
    app.router.routes.append(Route("/healthz", _healthz, methods=["GET"]))
    if options.allowed_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(options.allowed_origins),
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["*"],
            expose_headers=["Mcp-Session-Id", "WWW-Authenticate"],
        )
    return app


def listener(app: Starlette, options: HttpOptions) -> uvicorn.Server:
    """What serves the application. When it is told to end, calls at work get some seconds to leave."""
    config = uvicorn.Config(
        app,
        host=options.host,
        port=options.port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_LEAVING_S,
        limit_concurrency=1000,
        h11_max_incomplete_event_size=64 << 10,
    )
    return uvicorn.Server(config)


async def _healthz(_: Request) -> Response:
    return JSONResponse({"status": "ok"})
