"""The command ``tarsier-mcp``: from arguments and environment to a running server."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tarsier_mcp.configs import CLIENTS, command, config
from tarsier_tools import Settings, TarsierError, UsageError, __version__

if TYPE_CHECKING:
    from tarsier_mcp.auth import Auth
    from tarsier_mcp.server import TarsierServer

TOKEN_VARIABLE = "TARSIER_MCP_TOKEN"  # noqa: S105 (the name of a variable)

_EPILOG = f"""\
Over stdio (the default) videos are read from the working directory, or from the folders given with --allow.
Over HTTP nothing can be read until --allow is given. Callers on other machines need a token: see --token-file
({TOKEN_VARIABLE} holds a single one) and --oauth-issuer. What else the service does can be set by TARSIER_*
variables.
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the server, or print a client's configuration; leaves by SystemExit when something is wrong."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.print_config:
        _print_config(options, list(sys.argv[1:] if arguments is None else arguments))
        return
    _log_to_stderr(options.log_level)
    try:
        _run(options)
    except TarsierError as error:
        parser.exit(2, f"tarsier-mcp: {error}\n")
    except KeyboardInterrupt:
        parser.exit(130)


def _run(options: argparse.Namespace) -> None:
    import anyio

    from tarsier_mcp.callers import Allowance
    from tarsier_mcp.clients import ClientTable, load_changes
    from tarsier_mcp.server import ServerOptions, TarsierServer

    over_http = bool(options.http)
    server_options = ServerOptions(
        settings=_settings(options, over_http=over_http),
        clients=ClientTable(
            inline_s=options.inline_seconds,
            changes=load_changes(options.client_limits) if options.client_limits else None,
        ),
        state=options.state,
        keep_s=options.keep_hours * 3600,
        model_workers=options.parallel,
        allowance=Allowance(options.requests_per_minute, options.calls_at_once) if over_http else Allowance(),
        hide_paths=over_http,
    )
    if not over_http:
        with TarsierServer(server_options) as server:
            anyio.run(server.mcp.run_stdio_async)
        _leave(server)
        return
    from tarsier_mcp.http import HttpOptions, check_exposure, check_free, listener, make_app

    http_options = HttpOptions(
        host=options.host,
        port=options.port,
        path=options.path,
        public_url=options.public_url,
        allowed_hosts=tuple(options.allow_host),
        allowed_origins=tuple(options.allow_origin),
        anonymous=options.allow_anonymous,
    )
    auth = _auth(options)
    check_exposure(http_options, authenticated=auth is not None)
    check_free(http_options)
    with TarsierServer(replace(server_options, auth=auth)) as server:
        logging.getLogger(__name__).info(
            "Listening on http://%s:%d%s", http_options.host, http_options.port, http_options.path
        )
        anyio.run(listener(make_app(server.mcp, http_options), http_options).serve)
    _leave(server)


def _leave(server: TarsierServer) -> None:
    """End the process also when a thread is stuck in a library, for example while it loads a large model."""
    if not server.idle:
        logging.shutdown()
        os._exit(0)


def _settings(options: argparse.Namespace, *, over_http: bool) -> Settings:
    """The settings of the environment with what the command line says on top, and safe defaults below."""
    from_environment = Settings.load().model_fields_set
    roots = tuple(folder.expanduser().absolute() for folder in options.allow) or None
    if roots is None and "allowed_roots" not in from_environment:
        roots = () if over_http else (Path.cwd(),)
    for folder in roots or ():
        if not folder.is_dir():
            raise UsageError(f"There is no folder {folder}.", hint="Check --allow.")
    allow_urls, isolate = options.allow_urls, options.isolate
    if over_http:  # callers are strangers: no fetching for them, and decoding where a crash hurts nobody
        allow_urls = False if allow_urls is None and "allow_urls" not in from_environment else allow_urls
        isolate = True if isolate is None and "isolate" not in from_environment else isolate
    return Settings.load(
        backend=options.backend,
        model=options.model,
        base_url=options.base_url,
        allowed_roots=roots,
        allow_urls=allow_urls,
        isolate=isolate,
        library=options.library,
    )


def _auth(options: argparse.Namespace) -> Auth | None:
    from tarsier_mcp.auth import StaticToken, oauth_auth, read_token_file, static_auth

    if options.oauth_issuer:
        if not options.oauth_keys or not options.public_url:
            raise UsageError(
                "--oauth-issuer needs --oauth-keys and --public-url.",
                hint="The keys check signatures; the public URL is the audience that tokens must name.",
            )
        if options.token_file or os.environ.get(TOKEN_VARIABLE):
            raise UsageError("Listed tokens and an OAuth issuer are both given.", hint="Take one of them.")
        return oauth_auth(options.oauth_issuer, options.public_url, options.oauth_keys)
    tokens = read_token_file(options.token_file) if options.token_file else []
    if os.environ.get(TOKEN_VARIABLE):
        tokens.append(StaticToken.of(TOKEN_VARIABLE, os.environ[TOKEN_VARIABLE]))
    return static_auth(tokens) if tokens else None


def _print_config(options: argparse.Namespace, words: list[str]) -> None:
    """The configuration that starts the server with the same other arguments."""
    place, _, _ = CLIENTS[options.print_config]
    kept = _without_print_config(words)
    folders = [str(folder.expanduser().absolute()) for folder in options.allow]
    for given, folder in zip(options.allow, folders, strict=True):  # clients start servers anywhere
        kept[kept.index(str(given))] = folder
    if options.library and "://" not in options.library:
        kept[kept.index(options.library)] = str(Path(options.library).expanduser().absolute())
    if not folders:
        kept += ["--allow", str(Path.cwd())]
    own = {name: value for name, value in os.environ.items() if name.startswith("TARSIER_")}
    secret = [name for name in own if name.endswith(("_KEY", "_TOKEN"))]
    shown = {name: value for name, value in own.items() if name not in secret}
    print(config(options.print_config, [*command(), *kept], shown))  # noqa: T201 (what the command is for)
    print(f"This goes into {place}.", file=sys.stderr)  # noqa: T201
    for name in secret:
        print(f"{name} is set here but not written: add it to env yourself.", file=sys.stderr)  # noqa: T201


def _without_print_config(words: list[str]) -> list[str]:
    kept: list[str] = []
    skip = False
    for word in words:
        if skip or word.startswith("--print-config="):
            skip = False
        elif word == "--print-config":
            skip = True
        else:
            kept += word.split("=", 1) if word.startswith("--") and "=" in word else [word]
    return kept


def _log_to_stderr(level: str) -> None:
    """Plain lines on standard error: standard output belongs to the protocol."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(OneLine("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


class OneLine(logging.Formatter):
    """Keeps what strangers sent from writing lines of its own into the log, or moving the cursor."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as text; control characters of the message are escaped."""
        from tarsier_tools.text import clean_line

        record = logging.makeLogRecord(record.__dict__)
        record.msg, record.args = clean_line(record.getMessage()), None
        return super().format(record)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tarsier-mcp",
        description="Eyes for agents over MCP: describe videos, ask about them, find when something happens.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"tarsier-mcp {__version__}")
    parser.add_argument(
        "--print-config",
        choices=sorted(CLIENTS),
        help="print what to write into this client's configuration, with the other arguments, and stop",
    )
    parser.add_argument("--log-level", choices=["debug", "info", "warning", "error"], default="warning")

    model = parser.add_argument_group("the model")
    model.add_argument("--backend", help="auto, tiny, local or remote")
    model.add_argument("--model", help="a checkpoint folder, a hub id, or the name of a model on --base-url")
    model.add_argument("--base-url", help="an OpenAI-compatible server that runs the model")
    model.add_argument(
        "--parallel", type=_count, default=1, metavar="N", help="calls that use the model at once (default 1)"
    )

    sources = parser.add_argument_group("where videos come from")
    sources.add_argument(
        "--allow",
        type=Path,
        action="extend",
        nargs="+",
        default=[],
        metavar="DIR",
        help="read videos below these folders",
    )
    sources.add_argument(
        "--allow-urls",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="fetch videos from web addresses (default: yes over stdio, no over HTTP)",
    )
    sources.add_argument(
        "--isolate",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="decode in a process with limits (default: no over stdio, yes over HTTP)",
    )

    library = parser.add_argument_group("the library")
    library.add_argument(
        "--library",
        metavar="DIR|ADDRESS",
        help="search these described videos; with it there are tools for that (TARSIER_LIBRARY)",
    )

    jobs = parser.add_argument_group("long work")
    jobs.add_argument(
        "--inline-seconds",
        type=_seconds,
        metavar="S",
        help="a call that takes longer returns a job (default: by client, 25 for most)",
    )
    jobs.add_argument(
        "--state", type=Path, metavar="DIR", help="keep jobs here, so that they survive a restart"
    )
    jobs.add_argument(
        "--keep-hours", type=_seconds, default=1.0, metavar="H", help="how long ended jobs are kept"
    )
    jobs.add_argument(
        "--client-limits", type=Path, metavar="FILE", help="limits by client, JSON; see the documentation"
    )

    http = parser.add_argument_group("over HTTP")
    http.add_argument("--http", action="store_true", help="serve Streamable HTTP instead of stdio")
    http.add_argument("--host", default="127.0.0.1")
    http.add_argument("--port", type=_port, default=8000)
    http.add_argument("--path", type=_path, default="/mcp")
    http.add_argument(
        "--public-url",
        type=_address,
        default="",
        help="where clients reach the server, for example behind a proxy",
    )
    http.add_argument("--allow-host", action="append", default=[], metavar="NAME[:PORT]")
    http.add_argument("--allow-origin", action="append", default=[], metavar="ORIGIN")
    http.add_argument("--token-file", type=Path, metavar="FILE", help="lines of NAME TOKEN [SCOPE ...]")
    http.add_argument("--oauth-issuer", metavar="URL", help="accept the access tokens of this OAuth server")
    http.add_argument("--oauth-keys", metavar="FILE|URL", help="its public keys (JWKS)")
    http.add_argument(
        "--allow-anonymous",
        action="count",
        default=0,
        help="no token needed; twice to mean it off this machine",
    )
    http.add_argument("--requests-per-minute", type=_count, default=600, metavar="N", help="of each caller")
    http.add_argument("--calls-at-once", type=_count, default=16, metavar="N", help="of each caller")
    return parser


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a number above 0, not {text!r}")
    return value


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, not {text!r}")
    return int(text)


def _port(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"must be from 1 to 65535, not {text!r}")
    return int(text)


def _path(text: str) -> str:
    if not text.startswith("/"):
        raise argparse.ArgumentTypeError(f"must begin with /, unlike {text!r}")
    return text


def _address(text: str) -> str:
    if text and not text.startswith(("http://", "https://")):
        raise argparse.ArgumentTypeError(f"must be like https://video.example.com/mcp, not {text!r}")
    return text
