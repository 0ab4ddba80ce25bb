"""Rules for RequestAuthentication."""

import re
from urllib.parse import urlsplit

from tidegate.api.security import JWTRule, RequestAuthentication
from tidegate.api.validation.findings import Findings
from tidegate.api.validation.keys import has_usable, holds_private, read_keys
from tidegate.api.validation.names import check_duration
from tidegate.api.validation.selection import check_selection

_HEADER = re.compile(r"[-_A-Za-z0-9]+")
_LINES = re.compile(r"[\x00\r\n]")
_CONTROL = re.compile(r"[\x00-\x20\x7f]")


def check_request_authentication(policy: RequestAuthentication, out: Findings) -> None:
    check_selection(policy, out)
    for index, rule in enumerate(policy.jwt_rules):
        check_jwt_rule(f"spec.jwtRules[{index}]", rule, out)


def check_jwt_rule(path: str, rule: JWTRule, out: Findings) -> None:
    if not rule.issuer and not rule.jwks_uri:
        out.required(path, "issuer or jwksUri is required")
    _check_texts(f"{path}.audiences", rule.audiences, "an audience", out)
    _check_texts(f"{path}.fromParams", rule.from_params, "a query parameter's name", out)
    _check_texts(f"{path}.fromCookies", rule.from_cookies, "a cookie's name", out)
    for index, place in enumerate(rule.from_headers):
        if not place.name:
            out.required(f"{path}.fromHeaders[{index}].name", "a header's name is required")
    _check_keys(path, rule, out)
    _check_claims(path, rule, out)
    check_duration(f"{path}.timeout", rule.timeout, out)
    _check_places(path, rule, out)


def _check_places(path: str, rule: JWTRule, out: Findings) -> None:
    """Envoy refuses what cannot stand in a header."""
    texts = [(f"{path}.outputPayloadToHeader", rule.output_payload_to_header)]
    for index, place in enumerate(rule.from_headers):
        texts += [
            (f"{path}.fromHeaders[{index}].name", place.name),
            (f"{path}.fromHeaders[{index}].prefix", place.prefix),
        ]
    for at, text in texts:
        if _LINES.search(text):
            out.error(at, "must not have line breaks or NUL characters", text)


def _check_texts(path: str, values: tuple[str, ...], what: str, out: Findings) -> None:
    for index, value in enumerate(values):
        if not value:
            out.error(f"{path}[{index}]", f"must be {what}, not empty")


def _check_keys(path: str, rule: JWTRule, out: Findings) -> None:
    if rule.jwks and rule.jwks_uri:
        out.error(f"{path}.jwks", "may not be set beside jwksUri: keys come from one of them")
    if rule.jwks_uri and (problem := uri_problem(rule.jwks_uri)):
        out.error(f"{path}.jwksUri", problem, rule.jwks_uri)
    if not rule.jwks:
        return
    keys = read_keys(rule.jwks)
    if keys is None:
        out.error(f"{path}.jwks", 'must be a JSON Web Key Set: {"keys": [{"kty": ...}, ...]}')
        return
    if holds_private(keys):
        out.warn(f"{path}.jwks", "holds private keys; only the public part is needed, and everyone can read it here")
    if not has_usable(rule.jwks):
        out.warn(f"{path}.jwks", "holds no key that a token can be checked with: all tokens of the issuer are refused")


def uri_problem(text: str) -> str | None:
    """What keeps ``text`` from being the address of a key set; None when it is one."""
    expected = "must be a URL that begins with http:// or https:// and names a host"
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return expected
    named = parts.scheme in ("http", "https") and parts.hostname and port != 0
    return None if named and text.isascii() and not _CONTROL.search(text) else expected


def _check_claims(path: str, rule: JWTRule, out: Findings) -> None:
    for index, each in enumerate(rule.output_claim_to_headers):
        at = f"{path}.outputClaimToHeaders[{index}]"
        if not each.header or not each.claim:
            out.required(at, "header and claim are required")
        if each.header and not _HEADER.fullmatch(each.header):
            out.error(f"{at}.header", "must be letters, digits, '-' and '_'", each.header)
