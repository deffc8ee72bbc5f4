"""Who may call over HTTP: static bearer tokens, or the access tokens of an OAuth server.

A token is accepted only if it was made for this server: a static one by being listed, an OAuth one by its
issuer, its signature, its time and its audience.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import anyio
import jwt
from mcp.server.auth.provider import AccessToken
from mcp.server.auth.settings import AuthSettings
from pydantic import AnyHttpUrl, ValidationError

from tarsier_mcp.callers import ADMIN, READ
from tarsier_tools import UsageError

logger = logging.getLogger(__name__)

_SCOPES = (READ, ADMIN)
_SHORTEST = 20
_ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
"""Signatures with a public key only: with a shared secret whoever can check a token can make one."""


@dataclass(frozen=True, slots=True)
class StaticToken:
    """A token that is listed: who bears it, its SHA-256, what it is good for."""

    name: str
    digest: bytes
    scopes: tuple[str, ...]

    @classmethod
    def of(cls, name: str, token: str, scopes: Sequence[str] = (READ,)) -> StaticToken:
        """Raises UsageError for a token that can be guessed and for scopes that do not exist."""
        if len(token) < _SHORTEST:
            raise UsageError(
                f"The token of {name!r} is too short.",
                hint=f'Take at least {_SHORTEST} random characters: python -c "import secrets; '
                'print(secrets.token_urlsafe(32))"',
            )
        unknown = set(scopes) - set(_SCOPES)
        if unknown or not scopes:
            raise UsageError(
                f"The token of {name!r} has a scope that does not exist.",
                hint=f"There are: {', '.join(_SCOPES)}.",
            )
        return cls(name, hashlib.sha256(token.encode()).digest(), tuple(scopes))


class StaticTokens:
    """Checks tokens against a list, in a time that tells nothing about it."""

    def __init__(self, tokens: Sequence[StaticToken]) -> None:
        self._tokens = tuple(tokens)

    async def verify_token(self, token: str) -> AccessToken | None:
        """Who bears this token; None when it is not listed."""
        digest = hashlib.sha256(token.encode(errors="surrogateescape")).digest()
        bearer = None
        for listed in self._tokens:  # all of them, whether one was found or not
            if hmac.compare_digest(listed.digest, digest):
                bearer = listed
        if bearer is None:
            return None
        return AccessToken(
            token="", client_id=bearer.name, subject=bearer.name, scopes=list(bearer.scopes), claims={}
        )


class OAuthTokens:
    """Checks the signed access tokens (JWT, RFC 9068) of one OAuth server.

    Args:
        issuer: who must have made the token, compared exactly.
        audience: whom it must have been made for: the public address of this server.
        keys: the issuer's public keys, a JWKS document: a file or an https address.
    """

    def __init__(self, issuer: str, audience: str, keys: str) -> None:
        self._issuer = issuer
        self._audience = audience
        self._client = None
        self._keys: dict[str, jwt.PyJWK] = {}
        if keys.startswith("https://"):
            self._client = jwt.PyJWKClient(keys, timeout=10)
        else:
            self._keys = _key_file(Path(keys))

    async def verify_token(self, token: str) -> AccessToken | None:
        """What the token says; None when it is not good here, with the reason in the log."""
        return await anyio.to_thread.run_sync(partial(self._verify, token))

    def _verify(self, token: str) -> AccessToken | None:
        try:
            claims = jwt.decode(
                token,
                self._key(token),
                algorithms=_ALGORITHMS,
                audience=self._audience,
                issuer=self._issuer,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
        except (jwt.PyJWTError, KeyError) as error:
            logger.warning("An access token was refused: %s", type(error).__name__)
            return None
        scopes = claims.get("scope", claims.get("scp", ""))
        scopes = scopes.split() if isinstance(scopes, str) else [str(scope) for scope in scopes]
        return AccessToken(
            token="",
            client_id=str(claims.get("client_id") or claims.get("azp") or claims["sub"]),
            subject=str(claims["sub"]),
            scopes=[scope for scope in scopes if scope in _SCOPES],
            expires_at=int(claims["exp"]),
            resource=self._audience,
            claims={"iss": self._issuer},
        )

    def _key(self, token: str) -> jwt.PyJWK:
        if self._client is not None:
            return self._client.get_signing_key_from_jwt(token)
        return self._keys[str(jwt.get_unverified_header(token)["kid"])]


@dataclass(frozen=True, slots=True)
class Auth:
    """How callers are known, in the form that the MCP server takes."""

    verifier: StaticTokens | OAuthTokens
    settings: AuthSettings


def static_auth(tokens: Sequence[StaticToken]) -> Auth:
    """Callers are known by listed tokens."""
    # The SDK wants an issuer; with no resource address it is told to nobody.
    nobody = AnyHttpUrl("http://localhost")
    settings = AuthSettings(issuer_url=nobody, resource_server_url=None, required_scopes=[READ])
    return Auth(StaticTokens(tokens), settings)


def oauth_auth(issuer: str, public_url: str, keys: str) -> Auth:
    """Callers are known by the tokens of an OAuth server (RFC 9728 metadata are served for them).

    Raises UsageError for addresses that are none, and for keys that cannot be read.
    """
    try:
        settings = AuthSettings.model_validate(  # from strings: an address must stay as it is written
            {
                "issuer_url": issuer,
                "resource_server_url": public_url,
                "required_scopes": [READ],
                "validate_token_resource": True,
            }
        )
    except ValidationError:
        raise UsageError(
            "The OAuth issuer and the public URL must be web addresses.", hint="Write https://..."
        ) from None
    return Auth(OAuthTokens(issuer, public_url, keys), settings)


def read_token_file(path: Path) -> list[StaticToken]:
    """The tokens of a file: a line each, ``NAME TOKEN [SCOPE ...]``; lines that begin with ``#`` are skipped.

    Raises UsageError.
    """
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise UsageError(
            f"The token file {path} cannot be read: {error}.", hint="Check --token-file."
        ) from None
    tokens = []
    for number, line in enumerate(lines, 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if len(words) < 2:
            raise UsageError(
                f"Line {number} of the token file has no token.", hint="Write NAME TOKEN [SCOPE ...]."
            )
        tokens.append(StaticToken.of(words[0], words[1], words[2:] or (READ,)))
    if not tokens:
        raise UsageError(f"There is no token in {path}.", hint="Write NAME TOKEN [SCOPE ...], a line each.")
    return tokens


def _key_file(path: Path) -> dict[str, jwt.PyJWK]:
    try:
        keys = jwt.PyJWKSet.from_dict(json.loads(path.read_text("utf-8"))).keys
    except (OSError, ValueError, jwt.PyJWTError, AttributeError) as error:
        raise UsageError(
            f"The keys of the OAuth server cannot be read: {type(error).__name__}.",
            hint="Give a JWKS file, or its https address.",
        ) from None
    return {key.key_id: key for key in keys if key.key_id}
