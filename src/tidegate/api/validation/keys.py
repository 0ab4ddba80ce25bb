"""JSON Web Key Sets (RFC 7517) as policies carry them."""

import base64
import binascii
from functools import lru_cache
from typing import Any

import jwt
import msgspec

_CURVES = {"EC": ("P-256", "P-384", "P-521"), "OKP": ("Ed25519",)}
_MEMBERS = {"RSA": ("n", "e"), "EC": ("x", "y"), "OKP": ("x",), "oct": ("k",)}
"""Key types (RFC 7518, RFC 8037), and what each has in base64; ``d`` of the first three is private, ``k`` is too."""
_CURVED = ("EC", "OKP")
_NAMED_CURVES = ("P-256", "P-384", "P-521", "Ed25519", "Ed448", "X25519", "X448")
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
    return keys if isinstance(keys, list) and all(_is_key(key) for key in keys) else None


def _is_key(key: Any) -> bool:
    """Whether a key has all that its type demands."""
    if not isinstance(key, dict) or key.get("kty") not in _MEMBERS:
        return False
    kind = key["kty"]
    if kind in _CURVED and key.get("crv") not in _NAMED_CURVES:
        return False
    return all(_is_base64(key.get(name)) for name in _MEMBERS[kind])


def _is_base64(value: Any) -> bool:
    if not isinstance(value, str) or not value:
        return False
    plain = value.replace("-", "+").replace("_", "/").rstrip("=")
    try:
        base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError):
        return False
    return True


def holds_private(keys: list[dict[str, Any]]) -> bool:
    return any(key["kty"] == "oct" or "d" in key for key in keys)


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
