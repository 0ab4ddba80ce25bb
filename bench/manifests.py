"""Manifests as a company has them: N services in namespaces of fifty, with the Istio objects people write for them.

Each service: Service, Deployment, ServiceAccount, HorizontalPodAutoscaler, DestinationRule, AuthorizationPolicy; every
second one a VirtualService, every tenth a canary with two subsets and a route at the ingress gateway, every fiftieth an
outside host. Each namespace: PeerAuthentication, Sidecar, Telemetry. One ingress gateway.
"""

import argparse
import sys
from collections.abc import Iterator
from typing import Any

import yaml

PER_NAMESPACE = 50
Json = dict[str, Any]
_NETWORKING = "networking.istio.io/v1"
_SECURITY = "security.istio.io/v1"


def made(api: str, kind: str, name: str, namespace: str, spec: Json) -> Json:
    return {"apiVersion": api, "kind": kind, "metadata": {"name": name, "namespace": namespace}, "spec": spec}


def manifests(services: int) -> Iterator[Json]:
    """Every object, namespace by namespace."""
    yield from _gateway()
    for first in range(0, services, PER_NAMESPACE):
        space = f"team-{first // PER_NAMESPACE}"
        yield from _namespace(space)
        for number in range(first, min(first + PER_NAMESPACE, services)):
            yield from _service(number, f"svc-{number}", space)


def _gateway() -> Iterator[Json]:
    labels = {"istio": "ingressgateway"}
    yield _namespaced("istio-system", {})
    yield made("v1", "Service", "istio-ingressgateway", "istio-system", _ports("10.97.0.1", labels, (80, 443)))
    yield _deployment("istio-ingressgateway", "istio-system", labels, [{"name": "istio-proxy", "image": "auto"}])
    server = {
        "port": {"number": 443, "name": "https", "protocol": "HTTPS"},
        "hosts": ["*.shop.example"],
        "tls": {"mode": "SIMPLE", "credentialName": "shop"},
    }
    yield made(_NETWORKING, "Gateway", "public", "istio-system", {"selector": labels, "servers": [server]})


def _namespaced(name: str, labels: Json) -> Json:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def _namespace(name: str) -> Iterator[Json]:
    yield _namespaced(name, {"istio-injection": "enabled"})
    yield made(_SECURITY, "PeerAuthentication", "default", name, {"mtls": {"mode": "STRICT"}})
    yield made(_NETWORKING, "Sidecar", "default", name, {"egress": [{"hosts": ["./*", "istio-system/*"]}]})
    logging = {"accessLogging": [{"filter": {"expression": "response.code >= 400"}}]}
    yield made("telemetry.istio.io/v1", "Telemetry", "errors", name, logging)


def _service(number: int, name: str, space: str) -> Iterator[Json]:
    high, low = divmod(number, 250)
    labels, host = {"app": name}, f"{name}.{space}.svc.cluster.local"
    canary = number % 10 == 0
    yield {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": space}}
    yield made("v1", "Service", name, space, _ports(f"10.{98 + high // 250}.{high % 250}.{low + 1}", labels, (8080,)))
    container = {"name": "app", "image": f"registry.example/{name}:1", "ports": [{"containerPort": 8080}]}
    for version in ("v1", "v2") if canary else ("v1",):
        yield _deployment(f"{name}-{version}", space, {**labels, "version": version}, [container])
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": f"{name}-v1"}
    scaled = {"scaleTargetRef": target, "minReplicas": 1, "maxReplicas": 3}
    yield made("autoscaling/v2", "HorizontalPodAutoscaler", name, space, scaled)
    yield made(_NETWORKING, "DestinationRule", name, space, _policy(host, canary))
    caller = f"cluster.local/ns/{space}/sa/svc-{number + 1}"
    allowed = {"from": [{"source": {"principals": [caller]}}], "to": [{"operation": {"methods": ["GET", "POST"]}}]}
    yield made(_SECURITY, "AuthorizationPolicy", name, space, {"selector": {"matchLabels": labels}, "rules": [allowed]})
    if number % 2 == 0:
        yield made(_NETWORKING, "VirtualService", name, space, _routes(host, canary))
    if canary:
        outside = {"hosts": [f"{name}.shop.example"], "gateways": ["istio-system/public"], "http": _to(host)}
        yield made(_NETWORKING, "VirtualService", f"{name}-public", space, outside)
    if number % PER_NAMESPACE == 0:
        yield made(_NETWORKING, "ServiceEntry", f"partner-{number}", space, _partner(number))


def _ports(address: str, labels: Json, numbers: tuple[int, ...]) -> Json:
    names = {443: "https"}
    ports = [{"name": names.get(n, "http"), "port": n, "targetPort": n} for n in numbers]
    return {"clusterIP": address, "selector": labels, "ports": ports}


def _deployment(name: str, space: str, labels: Json, containers: list[Json]) -> Json:
    template = {"metadata": {"labels": labels}, "spec": {"containers": containers}}
    return made("apps/v1", "Deployment", name, space, {"selector": {"matchLabels": labels}, "template": template})


def _policy(host: str, canary: bool) -> Json:
    outliers = {"consecutive5xxErrors": 5, "interval": "10s", "baseEjectionTime": "30s"}
    policy = {"connectionPool": {"tcp": {"maxConnections": 100}}, "outlierDetection": outliers}
    subsets = [{"name": version, "labels": {"version": version}} for version in ("v1", "v2")]
    return {"host": host, "trafficPolicy": policy, **({"subsets": subsets} if canary else {})}


def _to(host: str) -> list[Json]:
    return [{"route": [{"destination": {"host": host, "port": {"number": 8080}}}]}]


def _routes(host: str, canary: bool) -> Json:
    shares = (("v1", 95), ("v2", 5))
    split = [{"destination": {"host": host, "subset": name}, "weight": weight} for name, weight in shares]
    route = split if canary else [{"destination": {"host": host}}]
    return {"hosts": [host], "http": [{"timeout": "10s", "retries": {"attempts": 2}, "route": route}]}


def _partner(number: int) -> Json:
    ports = [{"number": 443, "name": "tls", "protocol": "TLS"}]
    return {"hosts": [f"api-{number}.partner.example"], "ports": ports, "resolution": "DNS"}


def text(services: int) -> str:
    """The manifests as YAML."""
    return yaml.dump_all(manifests(services), Dumper=yaml.CSafeDumper, sort_keys=False)


def main() -> None:
    parser = argparse.ArgumentParser(description="Print manifests: python -m bench.manifests 5000 > world.yaml")
    parser.add_argument("services", type=int)
    sys.stdout.write(text(parser.parse_args().services))


if __name__ == "__main__":
    main()
