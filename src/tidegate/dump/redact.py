"""Private keys and other secrets are never printed, whatever a dump holds.

Envoy's admin port redacts what its API marks as sensitive; dumps that others made need not be so careful.
"""

import base64
import binascii
from typing import Any

REDACTED = "[redacted]"
_REDACTED_BYTES = base64.b64encode(REDACTED.encode()).decode()

_SENSITIVE = frozenset(
    {"privatekey", "privatekeyprovider", "password", "pkcs12", "sessionticketkeys", "genericsecret", "authpassword"}
)
"""Fields that Envoy's API marks as sensitive, without underscores, in lower case."""
_KEY = b"PRIVATE KEY-----"
_INLINE = frozenset({"inlinebytes", "inlinestring"})


def redact(value: Any) -> Any:
    """A copy of decoded JSON without key material; names of files and variables that hold such are kept."""
    if isinstance(value, list):
        return [redact(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {key: _field(_plain(key), item) for key, item in value.items()}


def _field(name: str, item: Any) -> Any:
    if name in _SENSITIVE:
        return _hidden(item)
    if name in _INLINE and isinstance(item, str) and _holds_key(name, item):
        return _mask(name)
    return redact(item)


def _hidden(value: Any, name: str = "") -> Any:
    """What a sensitive field becomes: inline values are masked, the shape stays."""
    if isinstance(value, list):
        return [_hidden(item, name) for item in value]
    if isinstance(value, dict):
        return {key: _hidden(item, _plain(key)) for key, item in value.items()}
    if not isinstance(value, str) or name in ("filename", "environmentvariable", "@type", "name", "providername"):
        return value
    return _mask(name)


def _mask(name: str) -> str:
    return _REDACTED_BYTES if name == "inlinebytes" else REDACTED


def _holds_key(name: str, text: str) -> bool:
    if name == "inlinestring":
        return _KEY.decode() in text
    try:
        return _KEY in base64.b64decode(text)
    except (binascii.Error, ValueError):
        return False


def _plain(key: str) -> str:
    return key.replace("_", "").lower()
