"""From stored JSON to the Objects that the core reads.

Reading is lenient: what is stored was admitted (here or by a Kubernetes API server), so unknown fields are
skipped, limits are not looked at, and only a value that has no place in the struct is an error.
"""

import hashlib
from typing import Any, TypeVar

import msgspec

from tidegate.api.admission import Admitted, admit
from tidegate.api.fields import decode_hook, encode_hook
from tidegate.api.identify import api_version_kind, naming
from tidegate.api.kinds import Kind
from tidegate.api.objects import Object, ObjectMeta, Ref
from tidegate.api.walk import walk
from tidegate.kit.errors import InvalidObjectError

__all__ = ["Admitted", "admit", "api_version_kind", "stored", "walk"]

T = TypeVar("T")

_DIGEST = msgspec.json.Encoder(enc_hook=encode_hook, order="deterministic")
_STATUS_COUNTS = frozenset({"Pod", "Node", "Service", "ServiceEntry", "WorkloadEntry"})
"""Kinds whose status decides what Envoys get: readiness, addresses, health."""


def stored(raw: dict[str, Any]) -> Object[Any]:
    """Decode one object of a store.

    Raises InvalidObjectError, with paths, when metadata or body cannot be typed or the kind is not served.
    """
    kind = api_version_kind(raw)
    meta = _typed(raw, kind, ObjectMeta, raw.get("metadata"), "metadata")
    body = _typed(raw, kind, kind.body, raw.get(kind.body_at) if kind.body_at else raw, kind.body_at)
    status = raw.get("status")
    if kind.status is not None:
        status = _typed(raw, kind, kind.status, status, "status")
    counted = status if kind.kind in _STATUS_COUNTS else None
    ref = Ref(kind.kind, meta.namespace if kind.namespaced else "", meta.name)
    return Object(ref, meta, body, _digest(meta, body, counted), status)


def _typed(raw: dict[str, Any], kind: Kind, struct: type[T], value: Any, path: str) -> T:
    value = {} if value is None else value
    try:
        return msgspec.convert(value, struct, dec_hook=decode_hook)
    except (msgspec.ValidationError, ValueError):
        normal, errors, _ = walk(struct, value, path, proto=kind.strict, limits=False)
    if errors:
        raise InvalidObjectError(*naming(raw), tuple(errors))
    return msgspec.convert(normal, struct, dec_hook=decode_hook)


def _digest(meta: ObjectMeta, body: Any, status: Any) -> bytes:
    counted = (meta.uid, meta.labels, meta.annotations, meta.creation_timestamp, body, status)
    return hashlib.blake2b(_DIGEST.encode(counted), digest_size=16).digest()
