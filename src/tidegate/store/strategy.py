"""What the server itself sets on objects: system metadata, defaults, status separation, generation.

Named after Kubernetes' create, update and delete strategies. Pure: objects in, objects out.
"""

import base64
import secrets
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from tidegate.api.kinds import Kind
from tidegate.store import status
from tidegate.store.model import Json

Clock = Callable[[], datetime]

_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
_CORE_WITH_STATUS = frozenset({"Namespace", "Node", "Pod", "Service", "Deployment", "ReplicaSet"})
_SCALED = frozenset({"Deployment", "ReplicaSet"})
_SYSTEM = ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation", "selfLink")
_MAX_NAME_PREFIX = 58
"""A generated name is its prefix, cut to this length, and five random characters."""


def utc_now() -> datetime:
    return datetime.now(UTC)


def timestamp(at: datetime) -> str:
    """metav1.Time: RFC 3339 in whole seconds."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def has_status(kind: Kind) -> bool:
    """Whether the kind has a status subresource: then a plain write leaves status alone."""
    return bool(kind.strict) or kind.kind in _CORE_WITH_STATUS


def has_generation(kind: Kind) -> bool:
    """Whether the kind counts changes of its desired state; Kubernetes does so for few core kinds."""
    return kind.strict or kind.kind in ("Pod", "EndpointSlice", *_SCALED)


def has_scale(kind: Kind) -> bool:
    """Whether the kind has a scale subresource."""
    return kind.kind in _SCALED


def prepare_create(kind: Kind, namespace: str, obj: Json, now: datetime) -> Json:
    """The object with the metadata that only the server gives."""
    meta = {k: v for k, v in obj["metadata"].items() if k not in _SYSTEM and v is not None}
    meta.pop("resourceVersion", None)
    if not meta.get("name"):
        if not meta.get("generateName"):
            causes = [("FieldValueRequired", "name or generateName is required", "metadata.name")]
            raise status.invalid(kind, "", causes)
        meta["name"] = generated_name(str(meta["generateName"]))
    if kind.namespaced:
        meta["namespace"] = namespace
    meta |= {"uid": str(uuid.uuid4()), "creationTimestamp": timestamp(now)}
    if has_generation(kind):
        meta["generation"] = 1
    made = {**obj, "metadata": meta}
    if has_status(kind):
        made.pop("status", None)
    return _with_initial_status(kind, with_defaults(kind, made))


def generated_name(prefix: str) -> str:
    return prefix[:_MAX_NAME_PREFIX] + "".join(secrets.choice(_ALPHABET) for _ in range(5))


def prepare_update(kind: Kind, new: Json, old: Json, subresource: str = "") -> Json:
    """``new`` with what an update may not change taken from ``old``.

    A change beside metadata and status raises the generation.
    """
    before = old["metadata"]
    meta = {k: v for k, v in new["metadata"].items() if k not in _SYSTEM and v is not None}
    for name in (*_SYSTEM, "name", "namespace"):
        if name in before:
            meta[name] = before[name]
    if subresource == "status":
        managed = {"managedFields": meta["managedFields"]} if meta.get("managedFields") else {}
        return {**old, "metadata": {**before, **managed}, "status": new.get("status") or {}}
    made = {**new, "metadata": meta}
    if "managedFields" in before and not meta.get("managedFields"):
        meta["managedFields"] = before["managedFields"]
    if has_status(kind):
        made.pop("status", None)
        if "status" in old:
            made["status"] = old["status"]
    made = with_defaults(kind, made)
    if has_generation(kind) and _body(made) != _body(old):
        meta["generation"] = int(before.get("generation", 1)) + 1
    return made


def check_update(kind: Kind, new: Json, old: Json, name: str) -> None:
    """Refuse what an update may not say: another identity, a stale version."""
    meta, before = new["metadata"], old["metadata"]
    if meta.get("name", name) != name:
        message = f'the object\'s name {meta["name"]!r} is not the name in the request, "{name}"'
        raise status.error(400, message)
    if meta.get("uid") and meta["uid"] != before["uid"]:
        raise status.conflict(kind, name, f"its uid is {before['uid']}, the update is for {meta['uid']}")
    wanted = meta.get("resourceVersion")
    if wanted and wanted != before["resourceVersion"]:
        why = f"it has changed meanwhile (resourceVersion {before['resourceVersion']}, the update is for {wanted})"
        raise status.conflict(kind, name, f"{why}; read it again and repeat the change")
    if has_scale(kind) and _selector(new) != _selector(old):
        causes = [("FieldValueInvalid", "cannot change: delete the object and make it anew", "spec.selector")]
        raise status.invalid(kind, name, causes)
    if kind.kind in ("Secret", "ConfigMap") and old.get("immutable") is True:
        changed = [f for f in ("data", "binaryData", "immutable") if new.get(f) != old.get(f)]
        if changed:
            causes = [("FieldValueForbidden", "the object is marked immutable", field) for field in changed]
            raise status.invalid(kind, name, causes)


def _selector(obj: Json) -> Any:
    spec = obj.get("spec")
    return spec.get("selector") if isinstance(spec, dict) else None


def _body(obj: Json) -> Json:
    return {k: v for k, v in obj.items() if k not in ("metadata", "status", "apiVersion")}


def with_defaults(kind: Kind, obj: Json) -> Json:
    """The defaults of the core kinds that readers of the API count on."""
    default = _DEFAULTS.get(kind.kind)
    return default(obj) if default else obj


def _service(obj: Json) -> Json:
    spec = {"type": "ClusterIP", "sessionAffinity": "None", **(obj.get("spec") or {})}
    if spec["type"] != "ExternalName":
        spec.setdefault("internalTrafficPolicy", "Cluster")
    if isinstance(spec.get("ports"), list):
        spec["ports"] = [_service_port(p) if isinstance(p, dict) else p for p in spec["ports"]]
    return {**obj, "spec": spec}


def _service_port(port: Json) -> Json:
    port = {"protocol": "TCP", **port}
    if "port" in port and port.get("targetPort") in (None, 0, ""):
        port["targetPort"] = port["port"]
    return port


def _pod(obj: Json) -> Json:
    spec = dict(obj.get("spec") or {})
    spec.setdefault("serviceAccountName", spec.get("serviceAccount") or "default")
    spec.setdefault("restartPolicy", "Always")
    for field in ("containers", "initContainers"):
        if isinstance(spec.get(field), list):
            spec[field] = [_container(c) if isinstance(c, dict) else c for c in spec[field]]
    return {**obj, "spec": spec}


def _replica_set(obj: Json) -> Json:
    spec = _given(obj.get("spec"), {"replicas": 1})
    if isinstance(spec, dict) and isinstance(spec.get("template"), dict):
        spec["template"] = _template(spec["template"])
    return {**obj, "spec": spec}


def _deployment(obj: Json) -> Json:
    made = _replica_set(obj)
    spec = _given(made["spec"], {"revisionHistoryLimit": 10, "progressDeadlineSeconds": 600})
    if isinstance(spec, dict):
        strategy = _given(spec.get("strategy"), {"type": "RollingUpdate"})
        if isinstance(strategy, dict) and strategy["type"] == "RollingUpdate":
            shares = {"maxUnavailable": "25%", "maxSurge": "25%"}
            strategy["rollingUpdate"] = _given(strategy.get("rollingUpdate"), shares)
        spec["strategy"] = strategy
    return {**made, "spec": spec}


def _template(template: Json) -> Json:
    """A Pod's defaults, but for its ServiceAccount, which a Pod is given when it is made."""
    spec = _given(template.get("spec"), {"restartPolicy": "Always"})
    for field in ("containers", "initContainers") if isinstance(spec, dict) else ():
        if isinstance(spec.get(field), list):
            spec[field] = [_container(c) if isinstance(c, dict) else c for c in spec[field]]
    return {**template, "spec": spec}


def _given(value: Any, defaults: Json) -> Any:
    """The object with its defaults; what is no object is for admission to refuse."""
    if value is not None and not isinstance(value, dict):
        return value
    return {**defaults, **{k: v for k, v in (value or {}).items() if v is not None}}


def _container(container: Json) -> Json:
    ports = container.get("ports")
    if not isinstance(ports, list):
        return container
    return {**container, "ports": [{"protocol": "TCP", **p} if isinstance(p, dict) else p for p in ports]}


def _secret(obj: Json) -> Json:
    made = {"type": "Opaque", **obj}
    written = made.pop("stringData", None)
    if isinstance(written, dict):
        encoded = {k: base64.b64encode(str(v).encode()).decode() for k, v in written.items()}
        made["data"] = {**(made.get("data") or {}), **encoded}
    return made


def _namespace(obj: Json) -> Json:
    meta = obj["metadata"]
    labels = {**(meta.get("labels") or {}), "kubernetes.io/metadata.name": meta["name"]}
    return {**obj, "metadata": {**meta, "labels": labels}}


_DEFAULTS: dict[str, Callable[[Json], Json]] = {
    "Deployment": _deployment,
    "Namespace": _namespace,
    "Pod": _pod,
    "ReplicaSet": _replica_set,
    "Secret": _secret,
    "Service": _service,
}


def _with_initial_status(kind: Kind, obj: Json) -> Json:
    initial: dict[str, Any] = {
        "Deployment": {},
        "ReplicaSet": {"replicas": 0},
        "Namespace": {"phase": "Active"},
        "Pod": {"phase": "Pending"},
        "Service": {"loadBalancer": {}},
    }
    return {**obj, "status": initial[kind.kind]} if kind.kind in initial else obj
