"""JSON web tokens in a request: where a provider looks for them, and what is plainly wrong with one (RFC 7519)."""

import base64
import binascii
import json
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

from tidegate.dump.config.http import JwtProvider
from tidegate.explain.exchange import Exchange, split_path

_BEARER = "Bearer "
_SKEW = 60
"""Seconds that Envoy lets a token's times be off by."""
_LONGEST = 64 * 1024


def carried(exchange: Exchange, provider: JwtProvider) -> list[str]:
    """The tokens that the provider finds in the request."""
    parameters = _parameters(exchange)
    if not (provider.from_headers or provider.from_params or provider.from_cookies):
        found = [v.removeprefix(_BEARER) for v in exchange.values("authorization") if v.startswith(_BEARER)]
        return found + [value for name, value in parameters if name == "access_token"]
    found = [
        value.partition(each.value_prefix)[2] if each.value_prefix else value
        for each in provider.from_headers
        for value in exchange.values(each.name)
        if each.value_prefix in value
    ]
    found += [value for name, value in parameters if name in provider.from_params]
    return found + [value for name, value in _cookies(exchange) if name in provider.from_cookies]


def fault(token: str, provider: JwtProvider) -> str:
    """Why the provider refuses a token whatever its signature; "" where only the signature is left to judge."""
    claims = _claims(token)
    if claims is None:
        return "it is no token of three parts"
    issuer, expires = str(claims.get("iss", "")), claims.get("exp")
    if provider.issuer and issuer != provider.issuer:
        return f"its issuer is {issuer or 'not told'}, not {provider.issuer}"
    if isinstance(expires, (int, float)) and expires + _SKEW < time.time():
        return "it has expired"
    audience = claims.get("aud", [])
    given = {str(each) for each in (audience if isinstance(audience, list) else [audience])}
    if provider.audiences and not given & set(provider.audiences):
        return f"its audience is {', '.join(sorted(given)) or 'not told'}, not {', '.join(provider.audiences)}"
    return ""


def _claims(token: str) -> dict[str, Any] | None:
    parts = token.strip().split(".")
    if len(parts) != 3 or len(token) > _LONGEST:
        return None
    try:
        header, claims = (json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))) for part in parts[:2])
    except (ValueError, binascii.Error, RecursionError):
        return None
    return claims if isinstance(header, dict) and isinstance(claims, dict) else None


def _parameters(exchange: Exchange) -> list[tuple[str, str]]:
    query = split_path(exchange.request.path)[1].removeprefix("?")
    pairs = (pair.partition("=") for pair in query.split("&") if pair)
    return [(unquote(name), unquote(value)) for name, _, value in pairs]


def _cookies(exchange: Exchange) -> Iterator[tuple[str, str]]:
    for value in exchange.values("cookie"):
        for pair in value.split(";"):
            name, _, content = pair.partition("=")
            yield name.strip(), content.strip()
