"""metav1.Table answers: what ``kubectl get`` prints.

Istio kinds have the columns of their definitions (:class:`tidegate.api.kinds.Column`), core kinds kubectl's usual ones.
"""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

import msgspec

from tidegate.api.kinds import Column, Kind
from tidegate.store import scale
from tidegate.store.model import Json

Cell = Callable[[Json], Any]

_NONE = "<none>"


class TableColumn(msgspec.Struct, frozen=True):
    name: str
    cell: Cell
    priority: int = 0
    """0 is always shown, 1 with ``-o wide``."""
    type: str = "string"
    is_age: bool = False
    """The cell is a timestamp, shown as the time since."""

    def shown(self, obj: Json, now: datetime) -> Any:
        try:
            value = self.cell(obj)
        except (AttributeError, TypeError, ValueError):  # core kinds keep fields that nothing here checks
            return "<invalid>"
        return _age_of(value, now) if self.is_age and value is not None else value

    def definition(self) -> Json:
        shape = "name" if self.name == "Name" else ""
        return {
            "name": self.name,
            "type": self.type,
            "format": shape,
            "description": "",
            "priority": self.priority,
        }


def human_duration(seconds: float) -> str:
    """``15s``, ``3m20s``, ``5h10m``, ``2d4h``, ``40d``, ``3y``: as kubectl shows ages."""
    s = int(seconds)
    if s < -1:
        return "<invalid>"
    s = max(s, 0)
    minutes, hours, days, years = s // 60, s // 3600, s // 86400, s // (86400 * 365)
    steps: list[tuple[bool, int, str, int, str]] = [
        (s < 120, s, "s", 0, ""),
        (minutes < 10, minutes, "m", s % 60, "s"),
        (minutes < 180, minutes, "m", 0, ""),
        (hours < 8, hours, "h", minutes % 60, "m"),
        (hours < 48, hours, "h", 0, ""),
        (days < 8, days, "d", hours % 24, "h"),
        (days < 730, days, "d", 0, ""),
        (years < 8, years, "y", days % 365, "d"),
    ]
    for fits, large, unit, small, small_unit in steps:
        if fits:
            return f"{large}{unit}" + (f"{small}{small_unit}" if small else "")
    return f"{years}y"


def _age_of(text: Any, now: datetime) -> str:
    if not isinstance(text, str):
        return "<unknown>"
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return "<invalid>"
    return human_duration((now - (at if at.tzinfo else at.replace(tzinfo=UTC))).total_seconds())


def _created(obj: Json) -> Any:
    return obj["metadata"].get("creationTimestamp")


def _dig(obj: Any, *path: str) -> Any:
    for part in path:
        obj = obj.get(part) if isinstance(obj, dict) else None
    return obj


def _items(value: Any) -> list[Json]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _text(*path: str, absent: str = _NONE) -> Cell:
    return lambda obj: str(_dig(obj, *path) or absent)


def _count(*fields: str) -> Cell:
    return lambda obj: sum(len(obj.get(field) or {}) for field in fields)


def _name(obj: Json) -> str:
    return str(obj["metadata"]["name"])


def _pod_ready(obj: Json) -> str:
    total = len(_items(_dig(obj, "spec", "containers")))
    ready = sum(1 for c in _items(_dig(obj, "status", "containerStatuses")) if c.get("ready"))
    if not _dig(obj, "status", "containerStatuses") and _condition(obj, "Ready") == "True":
        ready = total
    return f"{ready}/{total}"


def _pod_status(obj: Json) -> str:
    if "deletionTimestamp" in obj["metadata"]:
        return "Terminating"
    for container in _items(_dig(obj, "status", "containerStatuses")):
        for state in ("waiting", "terminated"):
            if reason := _dig(container, "state", state, "reason"):
                return str(reason)
    return str(_dig(obj, "status", "reason") or _dig(obj, "status", "phase") or "Unknown")


def _pod_restarts(obj: Json) -> str:
    return str(sum(int(c.get("restartCount") or 0) for c in _items(_dig(obj, "status", "containerStatuses"))))


def _condition(obj: Json, kind: str) -> str:
    found = (c.get("status") for c in _items(_dig(obj, "status", "conditions")) if c.get("type") == kind)
    return str(next(found, "Unknown"))


def _service_external(obj: Json) -> str:
    spec = obj.get("spec") or {}
    if spec.get("type") == "ExternalName":
        return str(spec.get("externalName") or _NONE)
    ingress = _items(_dig(obj, "status", "loadBalancer", "ingress"))
    addresses = [*(spec.get("externalIPs") or []), *(str(i.get("ip") or i.get("hostname")) for i in ingress)]
    if not addresses and spec.get("type") == "LoadBalancer":
        return "<pending>"
    return ",".join(addresses) or _NONE


def _service_ports(obj: Json) -> str:
    shown = []
    for port in _items(_dig(obj, "spec", "ports")):
        node = f":{port['nodePort']}" if port.get("nodePort") else ""
        shown.append(f"{port.get('port')}{node}/{port.get('protocol', 'TCP')}")
    return ",".join(shown) or _NONE


def _selector(obj: Json) -> str:
    return ",".join(f"{k}={v}" for k, v in (_dig(obj, "spec", "selector") or {}).items()) or _NONE


def _shortened(shown: list[str], most: int = 3) -> str:
    if not shown:
        return _NONE
    more = f" + {len(shown) - most} more..." if len(shown) > most else ""
    return ",".join(shown[:most]) + more


def _endpoints(obj: Json) -> str:
    shown = []
    for subset in _items(obj.get("subsets")):
        ports = _items(subset.get("ports"))
        for address in _items(subset.get("addresses")):
            ip = str(address.get("ip"))
            shown += [f"{ip}:{port.get('port')}" for port in ports] or [ip]
    return _shortened(shown)


def _slice_ports(obj: Json) -> str:
    ports = [str(p["port"]) if p.get("port") is not None else "*" for p in _items(obj.get("ports"))]
    return _shortened(ports) if ports else "<unset>"


def _slice_addresses(obj: Json) -> str:
    found = [str(a) for e in _items(obj.get("endpoints")) for a in e.get("addresses") or []]
    return _shortened(found) if found else "<unset>"


def _node_status(obj: Json) -> str:
    return {"True": "Ready", "False": "NotReady"}.get(_condition(obj, "Ready"), "Unknown")


def _node_roles(obj: Json) -> str:
    prefix = "node-role.kubernetes.io/"
    labels = obj["metadata"].get("labels") or {}
    return ",".join(sorted(k.removeprefix(prefix) for k in labels if k.startswith(prefix))) or _NONE


def _node_address(kind: str) -> Cell:
    def cell(obj: Json) -> str:
        found = (a.get("address") for a in _items(_dig(obj, "status", "addresses")) if a.get("type") == kind)
        return str(next(found, _NONE))

    return cell


def _event_last(obj: Json) -> Any:
    series = _dig(obj, "series", "lastObservedTime")
    return series or obj.get("lastTimestamp") or obj.get("eventTime") or _created(obj)


def _event_first(obj: Json) -> Any:
    return obj.get("firstTimestamp") or obj.get("eventTime") or _created(obj)


def _event_object(obj: Json) -> str:
    about = obj.get("involvedObject") or {}
    return f"{str(about.get('kind', '')).lower()}/{about.get('name', '')}"


def _event_source(obj: Json) -> str:
    source = obj.get("source") or {}
    component = source.get("component") or obj.get("reportingComponent") or ""
    host = source.get("host") or obj.get("reportingInstance") or ""
    return f"{component}, {host}" if host else str(component)


def _event_count(obj: Json) -> str:
    return str(_dig(obj, "series", "count") or obj.get("count") or 1)


def _number(*path: str) -> Cell:
    return lambda obj: int(_dig(obj, *path) or 0)


def _template_containers(field: str) -> Cell:
    def cell(obj: Json) -> str:
        found = _items(_dig(obj, "spec", "template", "spec", "containers"))
        return ",".join(str(container.get(field) or "") for container in found)

    return cell


def _label_selector(obj: Json) -> str:
    return scale.selector_text(_dig(obj, "spec", "selector")) or _NONE


_NAME = TableColumn("Name", _name)
_AGE = TableColumn("Age", _created, is_age=True)
_OF_TEMPLATE = (
    TableColumn("Containers", _template_containers("name"), 1),
    TableColumn("Images", _template_containers("image"), 1),
    TableColumn("Selector", _label_selector, 1),
)

_CORE: dict[str, tuple[TableColumn, ...]] = {
    "Namespace": (_NAME, TableColumn("Status", _text("status", "phase")), _AGE),
    "Pod": (
        _NAME,
        TableColumn("Ready", _pod_ready),
        TableColumn("Status", _pod_status),
        TableColumn("Restarts", _pod_restarts),
        _AGE,
        TableColumn("IP", _text("status", "podIP"), 1),
        TableColumn("Node", _text("spec", "nodeName"), 1),
    ),
    "Deployment": (
        _NAME,
        TableColumn(
            "Ready", lambda obj: f"{_number('status', 'readyReplicas')(obj)}/{_number('spec', 'replicas')(obj)}"
        ),
        TableColumn("Up-to-date", _number("status", "updatedReplicas"), type="integer"),
        TableColumn("Available", _number("status", "availableReplicas"), type="integer"),
        _AGE,
        *_OF_TEMPLATE,
    ),
    "ReplicaSet": (
        _NAME,
        TableColumn("Desired", _number("spec", "replicas"), type="integer"),
        TableColumn("Current", _number("status", "replicas"), type="integer"),
        TableColumn("Ready", _number("status", "readyReplicas"), type="integer"),
        _AGE,
        *_OF_TEMPLATE,
    ),
    "Service": (
        _NAME,
        TableColumn("Type", _text("spec", "type")),
        TableColumn("Cluster-IP", _text("spec", "clusterIP")),
        TableColumn("External-IP", _service_external),
        TableColumn("Port(s)", _service_ports),
        _AGE,
        TableColumn("Selector", _selector, 1),
    ),
    "Node": (
        _NAME,
        TableColumn("Status", _node_status),
        TableColumn("Roles", _node_roles),
        _AGE,
        TableColumn("Version", _text("status", "nodeInfo", "kubeletVersion", absent="")),
        TableColumn("Internal-IP", _node_address("InternalIP"), 1),
        TableColumn("External-IP", _node_address("ExternalIP"), 1),
    ),
    "Endpoints": (_NAME, TableColumn("Endpoints", _endpoints), _AGE),
    "EndpointSlice": (
        _NAME,
        TableColumn("AddressType", _text("addressType")),
        TableColumn("Ports", _slice_ports),
        TableColumn("Endpoints", _slice_addresses),
        _AGE,
    ),
    "ConfigMap": (_NAME, TableColumn("Data", _count("data", "binaryData"), type="integer"), _AGE),
    "Secret": (
        _NAME,
        TableColumn("Type", _text("type")),
        TableColumn("Data", _count("data"), type="integer"),
        _AGE,
    ),
    "ServiceAccount": (_NAME, _AGE),
    "Event": (
        TableColumn("Last Seen", _event_last, is_age=True),
        TableColumn("Type", _text("type", absent="")),
        TableColumn("Reason", _text("reason", absent="")),
        TableColumn("Object", _event_object),
        TableColumn("Subobject", _text("involvedObject", "fieldPath", absent=""), 1),
        TableColumn("Source", _event_source, 1),
        TableColumn("Message", lambda obj: str(obj.get("message") or "").strip()),
        TableColumn("First Seen", _event_first, 1, is_age=True),
        TableColumn("Count", _event_count, 1),
        TableColumn("Name", _name, 1),
    ),
    "Lease": (_NAME, TableColumn("Holder", _text("spec", "holderIdentity", absent="")), _AGE),
}


def columns(kind: Kind) -> tuple[TableColumn, ...]:
    if kind.kind in _CORE:
        return _CORE[kind.kind]
    if not kind.columns:
        return (_NAME, _AGE)
    return (_NAME, *(_declared(column) for column in kind.columns))


def _declared(column: Column) -> TableColumn:
    """A column of a custom resource: None where the field is absent, JSON for lists and objects."""
    path = column.json_path.lstrip(".").split(".")

    def cell(obj: Json) -> Any:
        value = _dig(obj, *path)
        if value is None:
            return None
        if isinstance(value, dict | list):
            return msgspec.json.encode(value).decode()
        return value

    return TableColumn(column.name, cell, column.priority, column.type, is_age=column.type == "date")


def table(
    kind: Kind,
    objects: Iterable[Json],
    now: datetime,
    *,
    include: str = "Metadata",
    metadata: Json | None = None,
    headers: bool = True,
) -> Json:
    """``include`` is the request's includeObject: None, Metadata or Object."""
    shown = columns(kind)
    rows = []
    for obj in objects:
        row: Json = {"cells": [column.shown(obj, now) for column in shown]}
        if include != "None":
            row["object"] = obj if include == "Object" else partial(obj)
        rows.append(row)
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": metadata or {},
        "columnDefinitions": [column.definition() for column in shown] if headers else [],
        "rows": rows,
    }


def partial(obj: Json) -> Json:
    """metav1.PartialObjectMetadata."""
    return {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": obj["metadata"]}
