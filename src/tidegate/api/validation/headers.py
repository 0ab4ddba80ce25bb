"""Rules for header names and values."""

import re

from tidegate.api.networking import HeaderOperations, Headers
from tidegate.api.validation.findings import Findings

JWT_CLAIM = re.compile(r"@request\.auth\.claims(\..+|(\[[^\[\]]+\])+)")
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_STRICT = re.compile(r"[-_A-Za-z0-9]+")
_PSEUDO = frozenset((":method", ":scheme", ":authority", ":path", ":status"))
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_COMMAND = re.compile(r"%%|%[A-Z][A-Z0-9_]*(\([^)]*\))?(:\d+)?%")


def check_match_name(path: str, name: str, out: Findings) -> None:
    """A header that is matched: a token, a pseudo header or a JWT claim."""
    if not name:
        out.error(path, "header name must not be empty")
    elif not JWT_CLAIM.fullmatch(name) and name not in _PSEUDO and not _TOKEN.fullmatch(name):
        out.error(path, "must be a header name", name)


def check_strict_name(path: str, name: str, out: Findings) -> None:
    if not name:
        out.error(path, "header name must not be empty")
    elif not _STRICT.fullmatch(name):
        out.error(path, "must be a header name of letters, digits, '-' and '_'", name)


def check_cors_name(path: str, name: str, out: Findings) -> None:
    if name != "*" and not _TOKEN.fullmatch(name):
        out.error(path, "must be a header name or *", name)


def check_value(path: str, value: str, out: Findings) -> None:
    """Text with Envoy's ``%COMMAND%`` substitutions; ``%%`` is a percent sign."""
    if _CONTROL.search(value):
        out.error(path, "must not contain control characters")
    elif "%" in _COMMAND.sub("", value):
        expected = "has an unfinished variable: write %NAME% or %NAME(arguments)%, and %% for a percent sign"
        out.error(path, expected, value)


def check_headers(path: str, headers: Headers, out: Findings) -> None:
    if headers.request is not None:
        _check_operations(f"{path}.request", headers.request, out, authority=True)
    if headers.response is not None:
        _check_operations(f"{path}.response", headers.response, out, authority=False)


def _check_operations(path: str, operations: HeaderOperations, out: Findings, *, authority: bool) -> None:
    for verb, values in (("set", operations.set), ("add", operations.add)):
        for name, value in values.items():
            at = f"{path}.{verb}[{name[:120]}]"
            if not name:
                out.error(at, "header name must not be empty")
            elif not authority:
                _check_plain(at, name, out)
            check_value(at, value, out)
    for index, name in enumerate(operations.remove):
        at = f"{path}.remove[{index}]"
        if not name:
            out.error(at, "header name must not be empty")
        else:
            _check_plain(at, name, out)


def _check_plain(path: str, name: str, out: Findings) -> None:
    if name.startswith(":") or name.lower() == "host":
        out.error(path, "Host and names that begin with ':' cannot be changed here", name)
