"""metav1.ObjectMeta: what is checked at every write."""

import re
from typing import Any

from tidegate.api.kinds import Kind
from tidegate.api.objects import ObjectMeta
from tidegate.api.walk import walk
from tidegate.kit.errors import FieldError

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_SERVICE_LABEL = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_NAME_PART = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_ANNOTATIONS_LIMIT = 256 * 1024

_SUBDOMAIN_RULE = (
    "must be a DNS-1123 subdomain: lower-case letters, digits, '-' and '.', starting and ending with a letter or "
    "digit, at most 253 characters"
)
_LABEL_RULE = (
    "must be a DNS-1123 label: lower-case letters, digits and '-', starting and ending with a letter or digit, "
    "at most 63 characters"
)
_SERVICE_RULE = (
    "must be a DNS-1035 label: lower-case letters, digits and '-', starting with a letter, ending with a letter or "
    "digit, at most 63 characters"
)


def is_dns_label(text: str) -> bool:
    """RFC 1123 label as Kubernetes reads it: lower case."""
    return bool(_LABEL.fullmatch(text))


def is_dns_subdomain(text: str) -> bool:
    return len(text) <= 253 and bool(_SUBDOMAIN.fullmatch(text))


def is_qualified_name(text: str) -> bool:
    """``[prefix/]name``, the form of label and annotation keys."""
    prefix, slash, name = text.rpartition("/")
    return bool(_NAME_PART.fullmatch(name)) and (not slash or is_dns_subdomain(prefix.lower()))


def is_label_value(text: str) -> bool:
    return not text or bool(_NAME_PART.fullmatch(text))


def check(kind: Kind, raw: Any) -> tuple[dict[str, Any], list[FieldError]]:
    """The metadata without nulls, and what is wrong with it.

    A missing namespace is not refused: the request's path gives it.
    """
    if not isinstance(raw, dict):
        return {}, [FieldError("metadata", "must be an object with a name", None, "FieldValueRequired")]
    _, errors, _ = walk(ObjectMeta, raw, "metadata", proto=False)
    meta = {key: value for key, value in raw.items() if value is not None}
    if errors:
        return {"name": "", "namespace": "", "labels": {}, "annotations": {}}, errors
    return meta, [*_name(kind, meta), *_namespace(kind, meta), *_labels(meta), *_annotations(meta)]


def _name(kind: Kind, meta: dict[str, Any]) -> list[FieldError]:
    name = meta.get("name", "")
    if not name:
        if meta.get("generateName"):
            return []
        return [FieldError("metadata.name", "name or generateName is required", None, "FieldValueRequired")]
    if kind.kind == "Service":
        ok, rule = bool(_SERVICE_LABEL.fullmatch(name)), _SERVICE_RULE
    elif kind.kind == "Namespace":
        ok, rule = is_dns_label(name), _LABEL_RULE
    else:
        ok, rule = is_dns_subdomain(name), _SUBDOMAIN_RULE
    return [] if ok else [FieldError("metadata.name", rule, name[:253])]


def _namespace(kind: Kind, meta: dict[str, Any]) -> list[FieldError]:
    namespace = meta.get("namespace", "")
    if not namespace:
        return []
    if not kind.namespaced:
        return [FieldError("metadata.namespace", f"must be empty: a {kind.kind} has no namespace", namespace[:253])]
    return [] if is_dns_label(namespace) else [FieldError("metadata.namespace", _LABEL_RULE, namespace[:253])]


def _labels(meta: dict[str, Any]) -> list[FieldError]:
    out = []
    for key, value in meta.get("labels", {}).items():
        if not is_qualified_name(key):
            out.append(FieldError("metadata.labels", "keys must be [prefix/]name of at most 63 characters", key[:253]))
        if not is_label_value(value):
            expected = "must be empty or letters, digits, '-', '_' and '.', at most 63 characters"
            out.append(FieldError(f"metadata.labels[{key[:253]}]", expected, value[:253]))
    return out


def _annotations(meta: dict[str, Any]) -> list[FieldError]:
    annotations = meta.get("annotations", {})
    wrong = "keys must be [prefix/]name of at most 63 characters"
    out = [FieldError("metadata.annotations", wrong, k[:253]) for k in annotations if not is_qualified_name(k)]
    size = sum(len(k) + len(v) for k, v in annotations.items())
    if size > _ANNOTATIONS_LIMIT:
        out.append(FieldError("metadata.annotations", f"must be at most {_ANNOTATIONS_LIMIT} bytes in all", size))
    return out
