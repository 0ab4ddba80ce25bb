"""Clusters, endpoints and inbound listeners are taken by the real Envoy, as they are generated."""

import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest
from google.protobuf import json_format

from tests.unit.envoy import given
from tidegate.envoy import clusters, endpoints, inbound, protos, special
from tidegate.envoy.inputs import ClusterInput, EndpointsInput, InboundInput
from tidegate.envoy.resource import CLUSTER, Resource
from tidegate.envoy.tls import SYSTEM_ROOTS_FILE
from tidegate.kit import envoy_binary
from tidegate.registry.model import Port, Protocol, Resolution
from tidegate.scope.proxy import Interception, ProxyKind

pytestmark = pytest.mark.envoy

FULL = {
    "connectionPool": {
        "tcp": {
            "maxConnections": 120,
            "connectTimeout": "1.5s",
            "tcpKeepalive": {"probes": 5, "time": "600s", "interval": "30s"},
            "maxConnectionDuration": "1800s",
            "idleTimeout": "300s",
        },
        "http": {
            "http1MaxPendingRequests": 40,
            "http2MaxRequests": 400,
            "maxRequestsPerConnection": 10,
            "maxRetries": 3,
            "idleTimeout": "90s",
            "h2UpgradePolicy": "UPGRADE",
            "maxConcurrentStreams": 64,
            "http2KeepAlive": {"interval": "30s"},
        },
    },
    "outlierDetection": {
        "consecutive5xxErrors": 7,
        "consecutiveGatewayErrors": 3,
        "interval": "5s",
        "baseEjectionTime": "30s",
        "maxEjectionPercent": 40,
        "minHealthPercent": 25,
        "splitExternalLocalOriginErrors": True,
        "consecutiveLocalOriginFailures": 4,
        "outlierDetectionHttpErrorCodes": [500, 503],
    },
    "retryBudget": {"percent": 30, "minRetryConcurrency": 5},
    "proxyProtocol": {"version": "V2"},
}
BALANCERS: list[Any] = [
    {"simple": "ROUND_ROBIN", "warmup": {"duration": "90s", "minimumPercent": 20, "aggression": 1.5}},
    {"simple": "LEAST_CONN", "warmupDurationSecs": "60s"},
    {"simple": "RANDOM"},
    {"simple": "PASSTHROUGH"},
    {"consistentHash": {"httpHeaderName": "x", "ringHash": {"minimumRingSize": 512}}},
    {"consistentHash": {"useSourceIp": True, "maglev": {"tableSize": 65537}}},
    {"localityLbSetting": {"enabled": True, "distribute": [{"from": "eu/*", "to": {"eu/a/*": 80, "us/*": 20}}]}},
    {"zoneAwareLbSetting": {"minClusterSize": 3, "failover": [{"from": "eu", "to": "us"}]}},
    {"zoneAwareLbSetting": {"enabled": False}},
]
TLS: list[Any] = [
    {"mode": "DISABLE"},
    {"mode": "SIMPLE"},
    {"mode": "SIMPLE", "sni": "a.example.com", "subjectAltNames": ["a.example.com"]},
    {"mode": "SIMPLE", "insecureSkipVerify": True},
    {"mode": "ISTIO_MUTUAL", "sni": "meshed.internal"},
]
PLACES = (
    given.endpoint("192.0.2.1", locality="eu/a/x", weight=3),
    given.endpoint("192.0.2.2", locality="us/b"),
    given.endpoint("2001:db8::1", locality="us/b"),
    given.endpoint("unix:///run/app.sock", 0),
)
NAMED = (given.endpoint("api.example.com", 443), given.endpoint("192.0.2.9", 443))


def accepted(folder: Path, made: list[Resource], *, sds: bool) -> None:
    """Ask Envoy to load the resources as static ones."""
    static: dict[str, Any] = {"clusters": [], "listeners": []}
    for each in made:
        message = (protos.Cluster if each.type_url == CLUSTER else protos.Listener).FromString(each.body)
        kind = "clusters" if each.type_url == CLUSTER else "listeners"
        static[kind].append(json_format.MessageToDict(message, preserving_proto_field_name=True))
    names = ["xds-grpc", *(["sds-grpc"] if sds else [])]
    static["clusters"] += [{"name": name, "connect_timeout": "1s", "type": "STATIC"} for name in names]
    ads = {"api_type": "DELTA_GRPC", "transport_api_version": "V3"}
    bootstrap = {
        "node": {"id": "test", "cluster": "test"},
        "dynamic_resources": {"ads_config": {**ads, "grpc_services": [{"envoy_grpc": {"cluster_name": "xds-grpc"}}]}},
        "static_resources": static,
    }
    file = folder / "bootstrap.json"
    file.write_bytes(msgspec.json.encode(bootstrap))
    command = [str(envoy_binary.find()), "--mode", "validate", "-c", str(file), "-l", "error", "--base-id", "4711"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr[-3000:] + done.stdout[-500:]


def numbered(made: Resource, number: int) -> Resource:
    """Static clusters need names of their own."""
    message = protos.Cluster.FromString(made.body)
    message.name = f"{message.name}#{number}"
    return msgspec.structs.replace(made, name=message.name, body=message.SerializeToString())


def with_endpoints(item: ClusterInput, members: tuple[Any, ...]) -> Resource:
    """An EDS cluster with its load assignment inlined."""
    made = clusters.build(item)
    assert made is not None
    message = protos.Cluster.FromString(made.body)
    if message.type == protos.Cluster.EDS:
        fields = {name: getattr(item, name) for name in ("service", "port", "subset", "rule", "defaults", "proxy")}
        assignment = endpoints.build(EndpointsInput(endpoints=members, **fields))
        message.type = protos.Cluster.STATIC
        message.ClearField("eds_cluster_config")
        message.load_assignment.MergeFromString(assignment.body)
    return msgspec.structs.replace(made, body=message.SerializeToString())


def variants(kind: ProxyKind) -> list[ClusterInput]:
    outside = given.service("api.example.com", Port(443, "http", Protocol.HTTP, 8443))
    found = [given.cluster(rule=given.rule(FULL)), given.cluster()]
    found += [given.cluster(rule=given.rule({"loadBalancer": each})) for each in BALANCERS]
    found += [given.cluster(rule=given.rule({"tls": each})) for each in TLS]
    for resolution in (Resolution.DNS, Resolution.DNS_ROUND_ROBIN, Resolution.PASSTHROUGH):
        service = msgspec.structs.replace(outside, resolution=resolution)
        found.append(given.cluster(service=service, port=service.ports[0], endpoints=NAMED))
    wild = given.service("*.example.com", given.HTTP, resolution=Resolution.DYNAMIC_DNS)
    found.append(given.cluster(service=wild))
    found += [given.cluster(port=port, service=given.service("a.shop.svc.cluster.local", port)) for port in PORTS]
    found.append(given.cluster(rule=given.rule({"connectionPool": {"http": {"useClientProtocol": True}}})))
    return [msgspec.structs.replace(each, proxy=kind, peers=("spiffe://cluster.local/ns/a/sa/b",)) for each in found]


PORTS = (given.HTTP, given.TCP, given.AUTO, given.GRPC)
KINDS = {
    "plain": given.proxy(locality="eu/a/x"),
    "mutual TLS": given.proxy(locality="eu/a/x", mtls=True),
    "dual stack": given.proxy(ipv6=True),
    "IPv6": given.proxy(ipv4=False, ipv6=True),
}


@pytest.mark.skipif(
    not Path(SYSTEM_ROOTS_FILE).exists(), reason="Envoy reads the system's roots; ca-certificates is missing"
)
@pytest.mark.parametrize("name", KINDS)
def test_clusters_are_accepted(name: str, tmp_path: Path) -> None:
    kind = KINDS[name]
    made = []
    for number, item in enumerate(variants(kind)):
        own = tuple(msgspec.structs.replace(e, port_name=item.port.name) for e in PLACES)
        item = msgspec.structs.replace(
            item, endpoints=tuple(msgspec.structs.replace(e, port_name=item.port.name) for e in item.endpoints)
        )
        made.append(numbered(with_endpoints(item, own), number))
    made += [special.black_hole(given.defaults()), special.passthrough(given.defaults(), kind)]
    made.append(special.inbound_passthrough(given.defaults(), kind))
    accepted(tmp_path, made, sds=kind.mtls)


INGRESS = given.sidecar(
    ingress=[
        {"port": {"number": 8080, "protocol": "HTTP", "name": "http"}, "defaultEndpoint": "127.0.0.1:18080"},
        {"port": {"number": 9100, "protocol": "TCP", "name": "feed"}, "defaultEndpoint": "0.0.0.0:19100"},
        {"port": {"number": 8090, "protocol": "HTTP", "name": "sock"}, "defaultEndpoint": "unix:///run/http.sock"},
        {"port": {"number": 8091, "protocol": "GRPC", "name": "grpc"}, "bind": "10.0.0.1", "captureMode": "NONE"},
    ]
)
INBOUND = {
    "plain": given.inbound(*(given.target(p) for p in PORTS)),
    "mutual TLS": given.inbound(*(given.target(p) for p in PORTS), proxy=given.proxy(mtls=True)),
    "TPROXY": given.inbound(given.target(), proxy=given.proxy(interception=Interception.TPROXY)),
    "dual stack": given.inbound(given.target(), proxy=given.proxy(ipv6=True)),
    "ingress": given.inbound(sidecar=INGRESS, address="10.0.0.1"),
    "ingress, mutual TLS": given.inbound(sidecar=INGRESS, address="10.0.0.1", proxy=given.proxy(mtls=True)),
    "ingress, nothing captured": given.inbound(
        sidecar=INGRESS, address="10.0.0.1", proxy=given.proxy(interception=Interception.NONE)
    ),
}


@pytest.mark.parametrize("name", INBOUND)
def test_inbound_is_accepted(name: str, tmp_path: Path) -> None:
    item: InboundInput = INBOUND[name]
    listener = inbound.virtual_inbound(item)
    made = [*inbound.inbound_clusters(item), *inbound.inbound_listeners(item), *([listener] if listener else [])]
    made += [special.black_hole(given.defaults()), special.inbound_passthrough(given.defaults(), item.proxy)]
    accepted(tmp_path, made, sds=item.proxy.mtls)
