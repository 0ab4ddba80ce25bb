"""JSON Web Key Sets (RFC 7517) as policies carry them."""

from functools import lru_cache
from typing import Any

import jwt
import msgspec

_CURVES = {"EC": ("P-256", "P-384", "P-521"), "OKP": ("Ed25519",)}
_PRIVATE = ("RSA", "EC", "OKP")
"""Key types (RFC 7518, RFC 8037) whose member ``d`` is private."""
_LEAST_BITS = 1024
"""Of an RSA key; Envoy's cryptography refuses shorter ones."""


def read_keys(text: str) -> list[dict[str, Any]] | None:
    """The keys of a set, or the one key that stands for a set; None for anything else."""
    try:
        found = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    keys = found.get("keys", [found])
    if not isinstance(keys, list) or not all(isinstance(key, dict) and isinstance(key.get("kty"), str) for key in keys):
        return None
    return keys


def holds_private(keys: list[dict[str, Any]]) -> bool:
    return any(key["kty"] in _PRIVATE and "d" in key for key in keys)


@lru_cache(maxsize=1024)
def has_usable(text: str) -> bool:
    """Whether a set, written as such, has a key that Envoy can check a token with. It refuses a whole configuration
    for a set without one."""
    keys = read_keys(text)
    listed = keys is not None and "keys" in msgspec.json.decode(text)
    return listed and any(_usable(key) for key in keys or ())


def _usable(key: dict[str, Any]) -> bool:
    if "crv" in key and key["crv"] not in _CURVES.get(key["kty"], ()):
        return False
    try:
        found = jwt.PyJWK(key).key
    except (jwt.PyJWTError, ValueError, TypeError, KeyError):
        return False
    return key["kty"] != "RSA" or getattr(found, "key_size", 0) >= _LEAST_BITS
