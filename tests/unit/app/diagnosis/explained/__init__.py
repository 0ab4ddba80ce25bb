"""Worlds that users got wrong, and the connections in them: one YAML file for each subject.

A case: title; why (what decides it, in words); mesh (MeshConfig); world (objects in short form); ask (a question, and
``from``, the proxy); outcome; by (the deciding object); and where they matter cluster, status, endpoints, reason (an
object that is told below the verdict) and because (a part of what is told there).
Short forms: ``{Service: web/front, spec: ...}`` has kind, namespace and name in its first key, and ``labels``,
``annotations`` and ``age`` (minutes; the larger, the older) beside ``spec``; a Pod has ``ip``; a Service without
``clusterIP`` gets one; ``{Endpoints: web/front, ip: [...], ports: {http: 8080}}`` is an EndpointSlice.
"""

import datetime
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tidegate.answer.question import Question
from tidegate.answer.report import Report
from tidegate.app.diagnosis.explain import explain, scene
from tidegate.app.offline import proxyspec
from tidegate.app.offline.manifests import parse
from tidegate.app.offline.world import build

Json = dict[str, Any]
_GROUPS = {
    **dict.fromkeys(("ServiceEntry", "WorkloadEntry", "VirtualService"), "networking.istio.io/v1"),
    **dict.fromkeys(("DestinationRule", "Sidecar", "Gateway"), "networking.istio.io/v1"),
    **dict.fromkeys(("EnvoyFilter",), "networking.istio.io/v1alpha3"),
    **dict.fromkeys(("AuthorizationPolicy", "PeerAuthentication", "RequestAuthentication"), "security.istio.io/v1"),
    "EndpointSlice": "discovery.k8s.io/v1",
}
_NOW = datetime.datetime(2026, 6, 1, tzinfo=datetime.UTC)
_CLIENT: Json = {
    "Pod": "shop/client",
    "ip": "10.244.0.9",
    "labels": {"app": "client", "security.istio.io/tlsMode": "istio"},
}
_HEADING = {"labels", "annotations", "age", "ip", "ports", "ready", "locality", "host"}


def cases() -> Iterator[tuple[str, Json]]:
    """Every case, with a name to call it by."""
    for file in sorted(Path(__file__).parent.glob("*.yaml")):
        for case in yaml.safe_load(file.read_text()):
            yield f"{file.stem}: {case['title']}", case


def answer(case: Json) -> Report:
    """What explain says about a case."""
    mesh = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "istio", "namespace": "istio-system"}}
    mesh["data"] = {"mesh": yaml.safe_dump(case.get("mesh", {}))}
    listed = [_CLIENT, *case.get("world", [])]
    objects = [mesh, *(_whole(each, number) for number, each in enumerate(listed))]
    given = parse(yaml.safe_dump_all(objects, sort_keys=False), "world.yaml")
    world = build(given)
    wrong = [f for f in world.findings if f.severity.value == "error"]
    assert bool(wrong) == bool(case.get("refused")), wrong
    asked = dict(case["ask"])
    name, kind = asked.pop("from", "client.shop"), asked.pop("type", "sidecar")
    metadata = asked.pop("metadata", {})
    spec = proxyspec.choose(world.hub.world, name)
    spec = proxyspec.ProxySpec(
        name=spec.name, namespace=spec.namespace, ips=spec.addresses, type=kind, metadata={**spec.metadata, **metadata}
    )
    asked["headers"] = tuple(asked.pop("headers", {}).items())
    return explain(scene(world, given, spec), Question(**asked))


def _whole(short: Json, number: int) -> Json:
    """An object as Kubernetes has it."""
    kind, name = next(iter(short.items()))
    namespace, _, own = name.rpartition("/")
    if kind == "Endpoints":
        return _slice(short, namespace, own)
    whole: Json = {k: v for k, v in short.items() if k != kind and k not in _HEADING}
    created = _NOW - datetime.timedelta(minutes=short.get("age", 0))
    meta = {"name": own, "creationTimestamp": created.strftime("%Y-%m-%dT%H:%M:%SZ")}
    meta |= {"namespace": namespace} if namespace else {}
    meta |= {key: short[key] for key in ("labels", "annotations") if key in short}
    whole |= {"apiVersion": _GROUPS.get(kind, "v1"), "kind": kind, "metadata": meta}
    if kind == "Pod":
        spec = {"containers": [{"name": "app"}], "serviceAccountName": own}
        whole["spec"] = {**spec, **whole.get("spec", {})}
        ready = [{"type": "Ready", "status": "True" if short.get("ready", True) else "False"}]
        whole["status"] = {"phase": "Running", "podIP": short["ip"], "conditions": ready}
    if kind == "Service" and whole["spec"].get("type") != "ExternalName":
        whole["spec"].setdefault("clusterIP", f"10.96.0.{number + 1}")
    return whole


def _slice(short: Json, namespace: str, service: str) -> Json:
    ready = {"ready": short.get("ready", True)}
    zones = short.get("locality") or [""] * len(short["ip"])
    ends = [
        {"addresses": [ip], "conditions": ready, **({"zone": z} if z else {})}
        for ip, z in zip(short["ip"], zones, strict=True)
    ]
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": f"{service}-1", "namespace": namespace, "labels": {"kubernetes.io/service-name": service}},
        "addressType": "IPv4",
        "ports": [{"name": name, "port": port, "protocol": "TCP"} for name, port in short["ports"].items()],
        "endpoints": ends,
    }
