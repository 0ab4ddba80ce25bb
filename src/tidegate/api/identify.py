"""Which kind a raw object says it is."""

from typing import Any

from tidegate.api.kinds import KINDS, Kind
from tidegate.kit.errors import FieldError, InvalidObjectError


def api_version_kind(raw: Any) -> Kind:
    """The Kind of a decoded JSON object, by ``apiVersion`` (any served version) and ``kind``.

    Raises InvalidObjectError when it is not an object, or of a kind that is not served.
    """
    if not isinstance(raw, dict):
        raise InvalidObjectError("Object", "", "", (FieldError("", "must be a Kubernetes object"),))
    named, version = raw.get("kind"), raw.get("apiVersion")
    kind = KINDS.get(named) if isinstance(named, str) else None
    if kind is None:
        raise unserved(raw, FieldError("kind", _expected_kind(named), None, "FieldValueNotSupported"))
    served = tuple(f"{kind.group}/{v}" if kind.group else v for v in kind.versions)
    if version not in served:
        got = version if isinstance(version, str) else None
        expected = f"must be {' or '.join(served)} for a {kind.kind}"
        raise unserved(raw, FieldError("apiVersion", expected, got, "FieldValueNotSupported"))
    return kind


def _expected_kind(named: Any) -> str:
    what = f"no kind {named[:80]!r} is served" if isinstance(named, str) else "must be text"
    return f"{what}; expected one of {', '.join(sorted(KINDS))}"


def unserved(raw: dict[str, Any], *errors: FieldError) -> InvalidObjectError:
    """The refusal of ``raw``, named as well as its metadata allows."""
    kind, namespace, name = naming(raw)
    return InvalidObjectError(kind, namespace, name, errors)


def naming(raw: dict[str, Any]) -> tuple[str, str, str]:
    """(kind, namespace, name) as far as they are text, bounded."""
    meta = raw.get("metadata")
    meta = meta if isinstance(meta, dict) else {}
    named = (raw.get("kind"), meta.get("namespace"), meta.get("name") or meta.get("generateName"))
    kind, namespace, name = (text[:253] if isinstance(text, str) else "" for text in named)
    return kind or "Object", namespace, name
