"""The scale subresource (autoscaling/v1 Scale) of what has replicas. Pure."""

from typing import Any

from tidegate.api.kinds import Kind
from tidegate.store import status
from tidegate.store.model import Json

API_VERSION, KIND = "autoscaling/v1", "Scale"
_MOST = (1 << 31) - 1


def shown(obj: Json) -> Json:
    """The object's scale."""
    meta, spec, found = obj["metadata"], obj.get("spec") or {}, obj.get("status") or {}
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    observed: Json = {"replicas": int(found.get("replicas") or 0)}
    if text := selector_text(spec.get("selector")):
        observed["selector"] = text
    return {
        "kind": KIND,
        "apiVersion": API_VERSION,
        "metadata": {name: meta[name] for name in kept if name in meta},
        "spec": {"replicas": int(spec.get("replicas") or 0)},
        "status": observed,
    }


def scaled(kind: Kind, obj: Json, wanted: Any) -> Json:
    """The object with the replicas that a Scale asks for; its resourceVersion, when given, is that of the Scale."""
    if not isinstance(wanted, dict) or wanted.get("kind", KIND) != KIND:
        raise status.error(400, f"expected a Scale object ({API_VERSION})")
    meta, spec = wanted.get("metadata") or {}, wanted.get("spec") or {}
    replicas = spec.get("replicas", 0) if isinstance(spec, dict) else None
    name = str(obj["metadata"]["name"])
    if isinstance(replicas, bool) or not isinstance(replicas, int) or not 0 <= replicas <= _MOST:
        text = f"must be a whole number from 0 to {_MOST}, got {replicas!r:.50}"
        raise status.invalid(kind, name, [("FieldValueInvalid", text, "spec.replicas")])
    if not isinstance(meta, dict) or meta.get("name", name) != name:
        raise status.error(400, f'metadata of the Scale must be that of "{name}"')
    given = {"uid": meta["uid"]} if meta.get("uid") else {}
    version = {"resourceVersion": meta["resourceVersion"]} if meta.get("resourceVersion") else {}
    return {
        **obj,
        "metadata": {**obj["metadata"], **given, **version},
        "spec": {**(obj.get("spec") or {}), "replicas": replicas},
    }


def selector_text(selector: Any) -> str:
    """A metav1.LabelSelector as ``-l`` takes it."""
    if not isinstance(selector, dict):
        return ""
    plain = [f"{key}={value}" for key, value in sorted((selector.get("matchLabels") or {}).items())]
    return ",".join([*plain, *(_expression(each) for each in selector.get("matchExpressions") or ())])


def _expression(wanted: Json) -> str:
    key, values = wanted.get("key", ""), f"({','.join(wanted.get('values') or ())})"
    match wanted.get("operator"):
        case "In":
            return f"{key} in {values}"
        case "NotIn":
            return f"{key} notin {values}"
        case "Exists":
            return str(key)
    return f"!{key}"
