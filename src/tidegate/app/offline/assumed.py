"""What controllers and nodes would have made, which people do not write: Pods of Deployments, the status of Pods,
EndpointSlices of Services. Pure."""

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Network
from typing import Any

from tidegate.api.objects import Ref
from tidegate.controllers import addresses, deployments, endpointslices, replicasets
from tidegate.inject.annotations import INJECT, REVISION
from tidegate.inject.webhookconfig import NAMESPACE_LABEL
from tidegate.registry.workloads import TLS_MODE
from tidegate.scope.authentication import TLS_ISTIO

Json = dict[str, Any]
Objects = dict[Ref, Json]

ADDRESSES = IPv4Network("198.18.0.0/15")
"""Where Pods without a status are taken to run (RFC 2544: for benchmarks, so that no address meets a real one)."""
MOST_REPLICAS = 100
"""Pods that are made of one Deployment: more are alike."""
_NEVER = "1970-01-01T00:00:00Z"


def pods(objects: Objects) -> Iterator[tuple[Ref, Json]]:
    """For each Deployment of which the manifests have no Pod, its Ref and the Pods that it would come to have."""
    by_namespace = _by_namespace(objects.values(), "Pod")
    for ref, deployment in objects.items():
        if ref.kind == "Deployment" and not _has_pods(deployment, by_namespace.get(ref.namespace, ())):
            for pod in _pods_of(deployment):
                yield ref, pod


def _has_pods(deployment: Json, found: Iterable[Json]) -> bool:
    labels = (deployment["spec"]["template"].get("metadata") or {}).get("labels") or {}
    return any(labels.items() <= (pod["metadata"].get("labels") or {}).items() for pod in found)


def _pods_of(deployment: Json) -> Iterator[Json]:
    """By way of its ReplicaSet, whose name the Pods' begin with."""
    spec, meta = deployment["spec"], deployment["metadata"]
    replicas = 1 if spec.get("replicas") is None else int(spec["replicas"])
    asked = {**deployment, "metadata": {"uid": "", **meta}, "spec": {**spec, "replicas": min(replicas, MOST_REPLICAS)}}
    for action in deployments.plan(asked, (), _NEVER):
        if action.verb == "create" and action.object["kind"] == "ReplicaSet":
            made = {**action.object, "metadata": {"uid": "", **action.object["metadata"]}}
            created = (a.object for a in replicasets.plan(made, ()) if a.verb == "create")
            for number, pod in enumerate(created):
                named = {k: v for k, v in pod["metadata"].items() if k != "generateName"}
                yield {**pod, "metadata": {**named, "name": f"{made['metadata']['name']}-{number}"}}


def statuses(objects: Objects) -> Iterator[tuple[Ref, str]]:
    """Pods as people write them have no status: each is taken to run, at an address of its own."""
    waiting = (ref for ref, raw in objects.items() if ref.kind == "Pod" and not raw.get("status"))
    yield from zip(waiting, map(str, ADDRESSES.hosts()), strict=False)


def meshed(objects: Objects) -> Iterator[tuple[Ref, Json]]:
    """Pods as people write them that the injector would give a sidecar by their own word or their namespace's label,
    with the label by which callers know that they take mutual TLS."""
    spaces = {ref.name: raw["metadata"].get("labels") or {} for ref, raw in objects.items() if ref.kind == "Namespace"}
    for ref, raw in objects.items():
        if ref.kind != "Pod" or raw.get("status") or (raw.get("spec") or {}).get("hostNetwork"):
            continue
        meta = raw["metadata"]
        labels, space = meta.get("labels") or {}, spaces.get(ref.namespace, {})
        said = str(labels.get(INJECT, (meta.get("annotations") or {}).get(INJECT, ""))).lower()
        chosen = space.get(NAMESPACE_LABEL) == "enabled" or (NAMESPACE_LABEL not in space and bool(space.get(REVISION)))
        if TLS_MODE not in labels and (said == "true" or (not said and chosen)):
            yield ref, {**raw, "metadata": {**meta, "labels": {**labels, TLS_MODE: TLS_ISTIO}}}


def running(pod: Json, address: str) -> Json:
    """The Pod, running and ready at an address."""
    ready = {"type": "Ready", "status": "True"}
    status = {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}], "conditions": [ready]}
    return {**pod, "status": status}


def slices(objects: Iterable[Json]) -> Iterator[Json]:
    """EndpointSlices of the Services that come without one and without Endpoints, from the Pods at hand."""
    all_of = list(objects)
    by_label = _by_label(all_of)
    listed = {(_space(o), (o["metadata"].get("labels") or {}).get(endpointslices.SERVICE_NAME)) for o in all_of}
    listed |= {(_space(o), o["metadata"]["name"]) for o in all_of if o["kind"] == "Endpoints"}
    for service in all_of:
        at = (_space(service), service["metadata"].get("name"))
        if service["kind"] == "Service" and at not in listed and service.get("spec"):
            seen = endpointslices.Observed(service=service, pods=tuple(_eligible(service, by_label)))
            yield from (action.object for action in endpointslices.plan(seen) if action.verb == "create")


def _by_label(objects: Iterable[Json]) -> dict[tuple[str, str, Any], list[Json]]:
    """Pods by namespace and each label: thousands of Services would look at thousands of Pods each otherwise."""
    found: dict[tuple[str, str, Any], list[Json]] = {}
    for each in objects:
        if each["kind"] == "Pod":
            for name, value in (each["metadata"].get("labels") or {}).items():
                found.setdefault((_space(each), name, value), []).append(each)
    return found


def _eligible(service: Json, by_label: dict[tuple[str, str, Any], list[Json]]) -> list[Json]:
    """Pods with the rarest of the labels that the Service's selector asks for."""
    asked = (service["spec"].get("selector") or {}).items()
    groups = (by_label.get((_space(service), name, value), []) for name, value in asked)
    return min(groups, key=len, default=[])


def allocated(objects: Objects) -> Iterator[tuple[Ref, Json]]:
    """ServiceEntries without allocated addresses whose label asks for them, with those that a new store would give."""
    entries = {(ref.namespace, ref.name): ref for ref in objects if ref.kind == "ServiceEntry"}
    for made in addresses.allocate(objects[ref] for ref in entries.values()):
        meta = made["metadata"]
        ref = entries[meta.get("namespace", ""), meta["name"]]
        asked = str((meta.get("labels") or {}).get(addresses.LABEL, "")).lower() == "true"
        if asked and not (objects[ref].get("status") or {}).get("addresses"):
            yield ref, made


def _by_namespace(objects: Iterable[Json], kind: str) -> dict[str, list[Json]]:
    found: dict[str, list[Json]] = {}
    for each in objects:
        if each["kind"] == kind:
            found.setdefault(_space(each), []).append(each)
    return found


def _space(raw: Json) -> str:
    return str(raw["metadata"].get("namespace") or "")
