"""Rules for header names and values."""

import re

from tidegate.api.networking import HeaderOperations, Headers
from tidegate.api.validation.findings import Findings

JWT_CLAIM = re.compile(r"@request\.auth\.claims(\..+|\[.+\])", re.DOTALL)
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_STRICT = re.compile(r"[-_A-Za-z0-9]+")
_PSEUDO = frozenset((":method", ":scheme", ":authority", ":path", ":status"))
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")

_TEXT, _PERCENT, _NAME, _ARGUMENTS, _ITEM, _STRING, _ESCAPED, _AFTER_ITEM, _AFTER_LIST, _CLOSED = range(10)
_VARIABLE: dict[int, dict[str, int]] = {
    _TEXT: {"%": _PERCENT, "": _TEXT},
    _PERCENT: {"%": _TEXT, "(": _ARGUMENTS, "": _NAME},
    _NAME: {"%": _TEXT, "(": _ARGUMENTS, "": _NAME},
    _ARGUMENTS: {" ": _ARGUMENTS, "[": _ITEM, "": _STRING},
    _ITEM: {" ": _ITEM, '"': _STRING},
    _STRING: {"\\": _ESCAPED, ")": _CLOSED, '"': _AFTER_ITEM, "": _STRING},
    _ESCAPED: {"": _STRING},
    _AFTER_ITEM: {" ": _AFTER_ITEM, ",": _ITEM, "]": _AFTER_LIST},
    _AFTER_LIST: {" ": _AFTER_LIST, ")": _CLOSED},
    _CLOSED: {" ": _CLOSED, "%": _TEXT},
}
"""Where each character of a value leads, "" standing for any other: ``%NAME%``, ``%NAME(text)%`` and
``%NAME(["text", ...])%`` are variables of Envoy, ``%%`` is a percent sign."""


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
    elif not _is_complete(value):
        expected = "has an unfinished variable: write %NAME% or %NAME(arguments)%, and %% for a percent sign"
        out.error(path, expected, value)


def _is_complete(value: str) -> bool:
    """Whether every variable that begins also ends, as it has to."""
    at = _TEXT
    for letter in value if "%" in value else "":
        leads = _VARIABLE[at]
        if letter not in leads and "" not in leads:
            return False
        at = leads[letter if letter in leads else ""]
    return at == _TEXT


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
            elif not (authority and is_authority(name)):
                _check_plain(at, name, out)
            check_value(at, value, out)
    for index, name in enumerate(operations.remove):
        at = f"{path}.remove[{index}]"
        if not name:
            out.error(at, "header name must not be empty")
        else:
            _check_plain(at, name, out)


def is_authority(name: str) -> bool:
    """Whether a header is the name of the host that is asked."""
    return name.lower() in (":authority", "host")


def _check_plain(path: str, name: str, out: Findings) -> None:
    if name.startswith(":") or name.lower() == "host":
        out.error(path, "Host and names that begin with ':' cannot be changed here", name)
