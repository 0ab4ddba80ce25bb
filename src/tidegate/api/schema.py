"""OpenAPI v3 schemas and CustomResourceDefinitions, from the same description that decoding reads."""

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from tidegate.api import shapes
from tidegate.api.kinds import KINDS, Kind
from tidegate.api.objects import ObjectMeta

Schema: TypeAlias = dict[str, Any]

COMPONENTS, DEFINITIONS = "#/components/schemas/", "#/definitions/"
"""Where references point in an OpenAPI v3 and in a v2 document."""

OBJECT_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
_OPEN = "x-kubernetes-preserve-unknown-fields"
_KEY, _STRATEGY = "x-kubernetes-patch-merge-key", "x-kubernetes-patch-strategy"

_POD_LISTS = {
    "spec.containers": "name",
    "spec.containers.ports": "containerPort",
    "spec.containers.env": "name",
    "spec.containers.volumeMounts": "mountPath",
    "spec.containers.volumeDevices": "devicePath",
    "spec.initContainers": "name",
    "spec.initContainers.ports": "containerPort",
    "spec.initContainers.env": "name",
    "spec.initContainers.volumeMounts": "mountPath",
    "spec.initContainers.volumeDevices": "devicePath",
    "spec.ephemeralContainers": "name",
    "spec.volumes": "name",
    "spec.imagePullSecrets": "name",
    "spec.hostAliases": "ip",
    "spec.topologySpreadConstraints": "topologyKey",
}
_TEMPLATE_LISTS = {f"spec.template.{path}": key for path, key in _POD_LISTS.items()} | {"status.conditions": "type"}

MERGE_KEYS: Mapping[str, Mapping[str, str]] = {
    "Pod": {
        **_POD_LISTS,
        "status.conditions": "type",
        "status.podIPs": "ip",
        "status.hostIPs": "ip",
    },
    "Deployment": _TEMPLATE_LISTS,
    "ReplicaSet": _TEMPLATE_LISTS,
    "Namespace": {"status.conditions": "type"},
    "Service": {"spec.ports": "port", "status.conditions": "type"},
    "ServiceAccount": {"secrets": "name", "imagePullSecrets": "name"},
    "Node": {"status.addresses": "type", "status.conditions": "type"},
}
"""Lists of the core kinds that strategic merge patches merge item by item, and by which member."""

_MERGE_ONLY = frozenset(("ownerReferences", "finalizers"))
_RETAIN_KEYS = frozenset(("spec.volumes", "spec.template.spec.volumes"))


def crd_manifests() -> list[dict[str, Any]]:
    """A CustomResourceDefinition (apiextensions.k8s.io/v1) for every Istio kind."""
    return [_crd(kind) for kind in KINDS.values() if kind.strict]


def openapi_schemas(kinds: Iterable[Kind], *, ref_prefix: str = COMPONENTS) -> dict[str, Schema]:
    """``components.schemas`` (or v2 ``definitions``) for ``kinds``, one for each served version, and ObjectMeta.

    Names are Kubernetes' (:func:`schema_name`); each kind carries x-kubernetes-group-version-kind.
    """
    out = {OBJECT_META: _object_meta()}
    for kind in kinds:
        for version in kind.versions:
            out[schema_name(kind, version)] = _kind_schema(kind, version, ref_prefix)
    return out


def schema_name(kind: Kind, version: str) -> str:
    """Name of a kind's schema: ``io.istio.networking.v1.Sidecar``, ``io.k8s.api.core.v1.Pod``."""
    if kind.strict:
        return ".".join([*reversed(kind.group.split(".")), version, kind.kind])
    return f"io.k8s.api.{kind.group.split('.')[0] or 'core'}.{version}.{kind.kind}"


def _kind_schema(kind: Kind, version: str, ref_prefix: str) -> Schema:
    properties: dict[str, Schema] = {
        "apiVersion": {"type": "string", "description": "version of the object's schema"},
        "kind": {"type": "string", "description": "kind of the object"},
        "metadata": {"allOf": [{"$ref": f"{ref_prefix}{OBJECT_META}"}], "description": "standard object metadata"},
    }
    if ref_prefix == DEFINITIONS:
        properties["metadata"] = {"$ref": f"{ref_prefix}{OBJECT_META}"}
    body = _message(shapes.shape_of(kind.body), closed=kind.strict)
    if kind.body_at:
        properties[kind.body_at] = {**body, "description": f"desired state of the {kind.kind}"}
    else:
        properties.update(body["properties"])
    properties["status"] = _status(kind)
    schema: Schema = {"type": "object", "properties": properties}
    if not kind.strict:
        schema[_OPEN] = True
    for path, key in MERGE_KEYS.get(kind.kind, {}).items():
        _mark_list(schema, path.split("."), key, retain=path in _RETAIN_KEYS)
    schema["x-kubernetes-group-version-kind"] = [{"group": kind.group, "version": version, "kind": kind.kind}]
    return schema


def _status(kind: Kind) -> Schema:
    if kind.status is None:
        return {"type": "object", _OPEN: True, "description": f"observed state of the {kind.kind}"}
    return {**_message(shapes.shape_of(kind.status), closed=False), "description": f"observed state of the {kind.kind}"}


def _mark_list(schema: Schema, path: list[str], key: str, *, retain: bool) -> None:
    """Say how patches merge the list at ``path``, adding an open one where the struct does not have it."""
    for name in path[:-1]:
        inner = schema["properties"][name]
        schema = inner["items"] if inner.get("type") == "array" else inner
    items = {"type": "object", _OPEN: True}
    marked = schema.setdefault("properties", {}).setdefault(path[-1], {"type": "array", "items": items})
    marked |= {_KEY: key, _STRATEGY: "merge,retainKeys" if retain else "merge"}


def _object_meta() -> Schema:
    schema = _message(shapes.shape_of(ObjectMeta), closed=False)
    for name in _MERGE_ONLY:
        schema["properties"][name][_STRATEGY] = "merge"
    schema["properties"]["ownerReferences"][_KEY] = "uid"
    for name in ("creationTimestamp", "deletionTimestamp"):
        schema["properties"][name]["format"] = "date-time"
    return schema


def _crd(kind: Kind) -> dict[str, Any]:
    names = {
        "kind": kind.kind,
        "listKind": f"{kind.kind}List",
        "plural": kind.plural,
        "singular": kind.singular,
        "shortNames": list(kind.short_names),
        "categories": list(kind.categories),
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.plural}.{kind.group}"},
        "spec": {
            "group": kind.group,
            "names": {name: value for name, value in names.items() if value},
            "scope": "Namespaced" if kind.namespaced else "Cluster",
            "versions": [_crd_version(kind, version) for version in kind.versions],
        },
    }


def _crd_version(kind: Kind, version: str) -> dict[str, Any]:
    body = _message(shapes.shape_of(kind.body), closed=True)
    schema: Schema = {
        "type": "object",
        "properties": {
            "spec": {**body, "description": f"desired state of the {kind.kind}"},
            "status": {"type": "object", _OPEN: True},
        },
    }
    if body.get("required"):
        schema["required"] = ["spec"]
    out: dict[str, Any] = {
        "name": version,
        "served": True,
        "storage": version == kind.versions[0],
        "schema": {"openAPIV3Schema": schema},
        "subresources": {"status": {}},
    }
    if kind.columns:
        out["additionalPrinterColumns"] = [
            {"name": c.name, "type": c.type, "jsonPath": c.json_path, "priority": c.priority} for c in kind.columns
        ]
    return out


def _message(shape: shapes.MessageShape, *, closed: bool) -> Schema:
    """``closed``: unknown members are pruned; open ones are kept, as the core kinds need."""
    schema: Schema = {
        "type": "object",
        "properties": {member.name: _member(member, closed=closed) for member in shape.members.values()},
    }
    if not closed:
        schema[_OPEN] = True
    if shape.required:
        schema["required"] = list(shape.required)
    groups = [_at_most_one(names) for names in shape.oneofs.values() if len(names) > 1]
    if len(groups) == 1:
        schema.update(groups[0])
    elif groups:
        schema["allOf"] = groups
    return schema


def _at_most_one(names: tuple[str, ...]) -> Schema:
    each: list[Schema] = [{"required": [name]} for name in names]
    return {"oneOf": [{"not": {"anyOf": each}}, *each]}


def _member(member: shapes.Member, *, closed: bool) -> Schema:
    schema = _value(member.shape, closed=closed)
    meaning = f"{member.meaning} (deprecated)" if member.limits.deprecated else member.meaning
    if meaning:
        schema["description"] = meaning
    return schema | _limits(member.limits, schema)


def _limits(limits: shapes.Limits, schema: Schema) -> Schema:
    named = {
        "maxLength": limits.max_length,
        "minLength": limits.min_length,
        "maxItems": limits.max_items,
        "minItems": limits.min_items,
        "maxProperties": limits.max_properties,
        "minProperties": limits.min_properties,
        "pattern": limits.pattern,
        "minimum": limits.minimum,
        "maximum": limits.maximum,
    }
    out = {name: value for name, value in named.items() if value is not None}
    of_items = {"maxLength": limits.item_max_length, "minLength": limits.item_min_length}
    given = {name: value for name, value in of_items.items() if value is not None}
    if given:
        out["items"] = schema["items"] | given
    return out


def _value(shape: shapes.Shape, *, closed: bool) -> Schema:
    match shape:
        case shapes.MessageShape():
            return _message(shape, closed=closed)
        case shapes.ListShape(item=item):
            return {"type": "array", "items": _value(item, closed=closed)}
        case shapes.MapShape(value=shapes.AnyShape()):
            return {"type": "object", _OPEN: True}
        case shapes.MapShape(value=value):
            return {"type": "object", "additionalProperties": _value(value, closed=closed)}
        case shapes.EnumShape(names=names):
            return {"type": "string", "enum": list(names)}
        case _:
            return _scalar(shape)


def _scalar(shape: shapes.Shape) -> Schema:
    match shape:
        case shapes.IntShape(low=low, high=high):
            return _integer(low, high)
        case shapes.TextShape(base64=True):
            return {"type": "string", "format": "byte"}
        case shapes.BoolShape():
            return {"type": "boolean"}
        case shapes.FloatShape():
            return {"type": "number", "format": "double"}
        case shapes.IntOrTextShape():
            return {"x-kubernetes-int-or-string": True}
        case shapes.AnyShape():
            return {_OPEN: True}
        case shapes.TextShape() | shapes.DurationShape() | _:
            return {"type": "string"}


def _integer(low: int, high: int) -> Schema:
    schema: Schema = {"type": "integer"}
    if low == -(2**31):
        return schema | {"format": "int32"}
    if low == 0:
        schema["minimum"] = 0
    if high < 2**63:
        schema["maximum"] = high
    return schema | {"format": "int64"}
