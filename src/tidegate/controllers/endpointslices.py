"""EndpointSlices from Services and Pods, or from Endpoints, as Kubernetes' two controllers make them. Pure.

https://kubernetes.io/docs/concepts/services-networking/endpoint-slices/
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import ip_address
from typing import Any, NamedTuple

import msgspec

from tidegate.controllers.plan import Action
from tidegate.kit.addresses import is_ip
from tidegate.store.model import Json

SERVICE_NAME, MANAGED_BY = "kubernetes.io/service-name", "endpointslice.kubernetes.io/managed-by"
FROM_PODS, MIRROR = "endpointslice-controller.k8s.io", "endpointslicemirroring-controller.k8s.io"
HEADLESS, SKIP_MIRROR = "service.kubernetes.io/headless", "endpointslice.kubernetes.io/skip-mirror"
MAX_ENDPOINTS = 100


class Observed(msgspec.Struct, frozen=True):
    """What one Service's slices depend on. ``pods`` are those of its namespace, ``slices`` those that name it."""

    service: Json | None
    pods: tuple[Json, ...] = ()
    endpoints: Json | None = None
    slices: tuple[Json, ...] = ()


class Group(NamedTuple):
    """Endpoints that may share a slice: of one address family, with the same ports."""

    family: str
    ports: tuple[str, ...]
    """As JSON, to be comparable."""


Wanted = dict[Group, list[Json]]


def plan(seen: Observed) -> list[Action]:
    """Writes that bring the slices in line; slices that other managers made are left alone."""
    service = seen.service
    used = {str(s["metadata"]["name"]) for s in seen.slices}
    ours = [s for s in seen.slices if s["metadata"].get("labels", {}).get(MANAGED_BY) in (FROM_PODS, MIRROR)]
    if service is None or service["spec"].get("type") == "ExternalName":
        return [Action("delete", s, "its Service is gone or has no endpoints of its own") for s in ours]
    if service["spec"].get("selector"):
        return _reconciled(_Maker(service, service, FROM_PODS), _from_pods(service, seen.pods), ours, used)
    mirrored = seen.endpoints if seen.endpoints and _is_mirrored(seen.endpoints) else None
    wanted = _from_endpoints(mirrored) if mirrored else {}
    return _reconciled(_Maker(service, mirrored or service, MIRROR), wanted, ours, used)


def selects(service: Json, pod: Json) -> bool:
    """Whether the Service's selector picks the Pod."""
    selector = (service.get("spec") or {}).get("selector") or {}
    labels = pod["metadata"].get("labels") or {}
    same_namespace = service["metadata"].get("namespace") == pod["metadata"].get("namespace")
    return bool(selector) and same_namespace and all(labels.get(k) == v for k, v in selector.items())


def _is_mirrored(endpoints: Json) -> bool:
    return bool((endpoints["metadata"].get("labels") or {}).get(SKIP_MIRROR) != "true")


# What is wanted.


def _from_pods(service: Json, pods: Iterable[Json]) -> Wanted:
    families = service["spec"].get("ipFamilies") or _families_of(service) or ["IPv4"]
    wanted: Wanted = {}
    for pod in sorted(pods, key=lambda p: str(p["metadata"]["name"])):
        ports = _pod_ports(service, pod)
        if not selects(service, pod) or not _has_network(pod) or (service["spec"].get("ports") and not ports):
            continue
        for address in _addresses(pod):
            if (family := _family(address)) in families:
                group = Group(family, tuple(json.dumps(p, sort_keys=True) for p in ports))
                wanted.setdefault(group, []).append(_pod_endpoint(service, pod, address))
    return wanted


def _families_of(service: Json) -> list[str]:
    """The families of a Service's addresses, where it does not name them itself."""
    spec = service["spec"]
    listed = spec.get("clusterIPs") or [spec.get("clusterIP")]
    return [_family(str(each)) for each in listed if each and is_ip(str(each))]


def _has_network(pod: Json) -> bool:
    return (pod.get("status") or {}).get("phase") in ("Running", "Pending") and bool(_addresses(pod))


def _addresses(pod: Json) -> list[str]:
    status = pod.get("status") or {}
    listed = [str(p["ip"]) for p in status.get("podIPs") or () if p.get("ip")]
    return listed or ([str(status["podIP"])] if status.get("podIP") else [])


def _family(address: str) -> str:
    return f"IPv{ip_address(address).version}"


def _pod_ports(service: Json, pod: Json) -> list[Json]:
    """The Service's ports as this Pod has them; a named target that the Pod lacks is left out."""
    found = []
    for port in service["spec"].get("ports") or ():
        protocol = port.get("protocol") or "TCP"
        number = _target(port, protocol, pod)
        if number:
            extra = {"appProtocol": port["appProtocol"]} if port.get("appProtocol") else {}
            found.append({"name": port.get("name") or "", "port": number, "protocol": protocol, **extra})
    return found


def _target(port: Json, protocol: str, pod: Json) -> int:
    target = port.get("targetPort") or port["port"]
    if isinstance(target, int):
        return target
    containers = (pod.get("spec") or {}).get("containers") or ()
    named = (p for c in containers for p in c.get("ports") or () if p.get("name") == target)
    return next((int(p["containerPort"]) for p in named if (p.get("protocol") or "TCP") == protocol), 0)


def _pod_endpoint(service: Json, pod: Json, address: str) -> Json:
    meta, spec = pod["metadata"], pod.get("spec") or {}
    conditions = (pod.get("status") or {}).get("conditions") or ()
    serving = any(c.get("type") == "Ready" and c.get("status") == "True" for c in conditions)
    terminating = bool(meta.get("deletionTimestamp"))
    ready = bool(service["spec"].get("publishNotReadyAddresses")) or (serving and not terminating)
    target = {"kind": "Pod", "namespace": meta.get("namespace", ""), "name": meta["name"], "uid": meta.get("uid", "")}
    made: Json = {
        "addresses": [address],
        "conditions": {"ready": ready, "serving": serving, "terminating": terminating},
        "targetRef": target,
    }
    if spec.get("nodeName"):
        made["nodeName"] = spec["nodeName"]
    if spec.get("hostname") and spec.get("subdomain") == service["metadata"]["name"]:
        made["hostname"] = spec["hostname"]
    return made


def _from_endpoints(endpoints: Json) -> Wanted:
    wanted: Wanted = {}
    for subset in endpoints.get("subsets") or ():
        ports = tuple(
            json.dumps({"name": "", "protocol": "TCP", **p}, sort_keys=True) for p in subset.get("ports") or ()
        )
        for ready, field in ((True, "addresses"), (False, "notReadyAddresses")):
            for item in subset.get(field) or ():
                group = Group(_family(item["ip"]), ports)
                wanted.setdefault(group, []).append(_mirrored(item, ready))
    return wanted


def _mirrored(item: Json, ready: bool) -> Json:
    extra = {k: item[k] for k in ("hostname", "nodeName", "targetRef") if item.get(k)}
    return {"addresses": [item["ip"]], "conditions": {"ready": ready}, **extra}


# How what there is becomes what is wanted.


class _Maker:
    """Makes slices of one Service, owned by ``owner``."""

    def __init__(self, service: Json, owner: Json, manager: str) -> None:
        self.service, self.owner, self.manager = service, owner, manager

    def labels(self) -> dict[str, str]:
        meta = self.service["metadata"]
        headless = {HEADLESS: ""} if self.service["spec"].get("clusterIP") == "None" else {}
        own = {SERVICE_NAME: meta["name"], MANAGED_BY: self.manager}
        return {**(meta.get("labels") or {}), **headless, **own}

    def content(self, group: Group, endpoints: list[Json]) -> Json:
        return {
            "addressType": group.family,
            "endpoints": endpoints,
            "ports": [json.loads(port) for port in group.ports],
        }

    def metadata(self, name: str) -> Json:
        meta = self.owner["metadata"]
        reference = {"apiVersion": "v1", "kind": self.owner["kind"], "name": meta["name"], "uid": meta.get("uid", "")}
        return {
            "name": name,
            "namespace": meta.get("namespace", ""),
            "labels": self.labels(),
            "ownerReferences": [{**reference, "controller": True, "blockOwnerDeletion": True}],
        }

    def names(self, group: Group, used: Iterable[str]) -> Iterator[str]:
        """Names for the group's slices that are not in use."""
        digest = hashlib.blake2b(repr(group).encode(), digest_size=4).hexdigest()
        taken, number = set(used), 0
        while True:
            name = f"{self.service['metadata']['name']}-{digest}-{number}"
            number += 1
            if name not in taken:
                yield name


def _reconciled(maker: _Maker, wanted: Wanted, existing: Sequence[Json], used: set[str]) -> list[Action]:
    actions: list[Action] = []
    left = list(existing)
    for group, endpoints in wanted.items():
        mine = [s for s in left if _group_of(s) == group and s["metadata"]["labels"][MANAGED_BY] == maker.manager]
        left = [s for s in left if not any(s is m for m in mine)]
        actions.extend(_group_actions(maker, group, endpoints, mine, used))
    return actions + [Action("delete", s, "no endpoint belongs into it") for s in left]


def _group_of(made: Json) -> Group:
    return Group(str(made.get("addressType")), tuple(json.dumps(p, sort_keys=True) for p in made.get("ports") or ()))


def _group_actions(
    maker: _Maker, group: Group, endpoints: list[Json], mine: Sequence[Json], used: set[str]
) -> Iterator[Action]:
    kept, rest = _placed(endpoints, mine)
    for made, members in zip(mine, kept, strict=True):
        if not members:
            yield Action("delete", made, "its last endpoint is gone")
        elif change := _difference(maker, made, members):
            meta = {**made["metadata"], **maker.metadata(made["metadata"]["name"])}
            yield Action("update", {**made, "metadata": meta, **maker.content(group, members)}, change)
    names = maker.names(group, used)
    for start in range(0, len(rest), MAX_ENDPOINTS):
        members = rest[start : start + MAX_ENDPOINTS]
        kind = {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice"}
        body = {**kind, "metadata": maker.metadata(next(names)), **maker.content(group, members)}
        yield Action("create", body, f"{len(members)} endpoint(s) have no slice")


def _placed(endpoints: list[Json], mine: Sequence[Json]) -> tuple[list[list[Json]], list[Json]]:
    """Endpoints by slice: each stays where it is, new ones fill gaps, of the fullest slice first; and the rest."""
    fresh = {_identity(e): e for e in endpoints}
    kept = [[fresh.pop(key) for e in made.get("endpoints") or () if (key := _identity(e)) in fresh] for made in mine]
    rest = list(fresh.values())
    for members in sorted(kept, key=len, reverse=True):
        room = MAX_ENDPOINTS - len(members)
        members.extend(rest[:room])
        rest = rest[room:]
    return kept, rest


def _identity(endpoint: Json) -> tuple[Any, ...]:
    target = endpoint.get("targetRef") or {}
    return (*endpoint["addresses"], target.get("namespace"), target.get("name"), target.get("uid"))


def _difference(maker: _Maker, made: Json, members: list[Json]) -> str:
    """Why a slice is to be written again; "" when it is as it should be."""
    meta, wanted = made["metadata"], maker.metadata(made["metadata"]["name"])
    if (meta.get("labels") or {}) != wanted["labels"]:
        return "labels of the Service changed"
    if (meta.get("ownerReferences") or []) != wanted["ownerReferences"]:
        return "its owner was made anew"
    old = {_identity(e): e for e in made.get("endpoints") or ()}
    new = {_identity(e): e for e in members}
    if old == new and len(made.get("endpoints") or ()) == len(members):
        return ""
    changed = sum(key in old and old[key] != e for key, e in new.items())
    return f"{len(new.keys() - old.keys())} endpoint(s) came, {len(old.keys() - new.keys())} went, {changed} changed"
