"""Virtual hosts and listeners against recorded configuration of istiod, for what these builders alone decide."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from google.protobuf import json_format

from tests.unit.envoy.outbound_samples import (
    ALLOW,
    BLOCK,
    host_input,
    listener_defaults,
    listener_input,
    member,
    policy,
    rule,
    service,
)
from tidegate.envoy import listeners, protos, routes
from tidegate.envoy.inputs import AccessLog, Target
from tidegate.registry.model import Port, Protocol

pytestmark = pytest.mark.conformance

ISTIO_ONLY = ("istio.metadata_exchange", "istio.alpn")
PARTNER = "partner-api.example.com"


def recorded(shared: Path, scenario: str, section: str, name: str) -> dict[str, Any]:
    text = (shared / "xds-goldens" / scenario / "expected" / "checkout.json").read_text()
    return next(r for r in json.loads(text)[section] if r["name"] == name)


def objects(shared: Path, scenario: str, kind: str) -> dict[str, dict[str, Any]]:
    text = (shared / "xds-goldens" / scenario / "config.yaml").read_text()
    found = (d for d in yaml.safe_load_all(text) if d and d["kind"] == kind)
    return {d["metadata"]["name"]: d["spec"] for d in found}


def upstream(value: Any) -> Any:
    """Without what only Istio's build of Envoy has, and without trace settings, whose tags are each mesh's own."""
    if isinstance(value, dict):
        return {k: upstream(v) for k, v in value.items() if k != "tracing"}
    if isinstance(value, list):
        return [upstream(v) for v in value if not (isinstance(v, dict) and v.get("name") in ISTIO_ONLY)]
    return value


def expected_host(shared: Path, scenario: str, table: str, host: str) -> Any:
    """The recorded virtual host; no limit in the deprecated field is read as in the one that took its place, and a
    limit there goes without saying: ``timeout`` is the same."""
    config = recorded(shared, scenario, "rds", table)
    found = json_format.ParseDict(next(v for v in config["virtualHosts"] if v["name"] == host), protos.VirtualHost())
    for route in found.routes:
        if route.route.HasField("max_grpc_timeout"):
            limit = route.route.max_grpc_timeout
            if not limit.ToNanoseconds():
                route.route.max_stream_duration.grpc_timeout_header_max.CopyFrom(limit)
            route.route.ClearField("max_grpc_timeout")
    return found


def sorted_queries(found: Any) -> Any:
    for route in found.routes:
        route.match.query_parameters.sort(key=lambda q: q.name)
    return found


@pytest.mark.parametrize(
    ("scenario", "name", "host", "port"),
    [
        ("vs-matches", "partner-api", PARTNER, 80),
        ("vs-fault", "partner-api", PARTNER, 80),
        ("vs-timeout-and-retries", "partner-api", PARTNER, 80),
        ("vs-timeout-and-retries", "orders", "orders.shop.svc.cluster.local", 8080),
        ("vs-rewrite-redirect-direct", "partner-api", PARTNER, 80),
        ("vs-mirror", "orders", "orders.shop.svc.cluster.local", 8080),
        ("vs-headers-and-cors", "orders", "orders.shop.svc.cluster.local", 8080),
        ("vs-headers-and-cors", "partner-api", PARTNER, 80),
        ("vs-weights-and-subsets", "orders", "orders.shop.svc.cluster.local", 8080),
        ("vs-source-matches", "orders", "orders.shop.svc.cluster.local", 8080),
        ("vs-source-matches", "orders", "orders.shop.svc.cluster.local", 8081),
    ],
)
def test_virtual_services(shared, scenario, name, host, port):
    wanted = expected_host(shared, scenario, str(port), f"{host}:{port}")
    served = service(host, Port(port, "http", Protocol.HTTP))
    given = rule(name, **objects(shared, scenario, "VirtualService")[name])
    made = routes.virtual_host(host_input(served, given, domains=tuple(wanted.domains)))
    found = protos.VirtualHost.FromString(made.body)
    assert sorted_queries(found) == sorted_queries(wanted)


@pytest.mark.parametrize("name", ["bycookie", "byheader", "byip", "byquery", "bymaglev", "byring"])
def test_consistent_hashes(shared, name):
    host = f"{name}.shop.svc.cluster.local"
    wanted = expected_host(shared, "dr-consistent-hash", "8080", f"{host}:8080")
    served = service(host)
    given = policy(name, **objects(shared, "dr-consistent-hash", "DestinationRule")[name])
    targets = (Target(host=host, service=served, rule=given),)
    made = routes.virtual_host(host_input(served, domains=tuple(wanted.domains), targets=targets))
    assert protos.VirtualHost.FromString(made.body) == wanted


@pytest.mark.parametrize(("scenario", "catch_all"), [("vs-matches", ALLOW), ("mesh-registry-only", BLOCK)])
def test_route_configurations(shared, scenario, catch_all):
    wanted = json_format.ParseDict(recorded(shared, scenario, "rds", "80"), protos.RouteConfiguration())
    name = wanted.virtual_hosts[-1].name
    kept = [expected_host(shared, scenario, "80", name)]
    del wanted.virtual_hosts[:]
    wanted.virtual_hosts.extend(kept)
    assert protos.RouteConfiguration.FromString(routes.route_config("80", [], catch_all).body) == wanted


def expected_listener(shared: Path, scenario: str, name: str) -> Any:
    return json_format.ParseDict(upstream(recorded(shared, scenario, "lds", name)), protos.Listener())


def built(given: Any) -> Any:
    return protos.Listener.FromString(listeners.outbound(given).body)


def quiet(**changes: Any) -> Any:
    return listener_defaults(tracing=False, **changes)


def port(number: int, protocol: Protocol, name: str = "p") -> Port:
    return Port(number, name, protocol)


def test_http_listener(shared):
    web = service(PARTNER, port(80, Protocol.HTTP))
    given = listener_input("0.0.0.0", 80, http=web, http_port=web.ports[0], defaults=quiet())
    assert built(given) == expected_listener(shared, "vs-matches", "0.0.0.0_80")


def test_sniffed_listener(shared):
    orders = service("orders.shop.svc.cluster.local", port(9464, Protocol.AUTO))
    given = listener_input("10.96.10.1", 9464, member(orders, "10.96.10.1"), defaults=quiet())
    assert built(given) == expected_listener(shared, "outbound-port-names", "10.96.10.1_9464")


def test_mongo_listener(shared):
    orders = service("orders.shop.svc.cluster.local", port(27017, Protocol.MONGO))
    given = listener_input("10.96.10.1", 27017, member(orders, "10.96.10.1"), defaults=quiet())
    assert built(given) == expected_listener(shared, "outbound-port-names", "10.96.10.1_27017")


def test_tls_listener(shared):
    names = ("assets.example.net", "idp.example.com", PARTNER, "tax.example.com")
    members = (member(service(name, port(443, Protocol.TLS))) for name in names)
    given = listener_input("0.0.0.0", 443, *members)
    assert built(given) == expected_listener(shared, "se-tls-resolutions", "0.0.0.0_443")


def test_networks(shared):
    saas = member(service("*.saas.example.net", port(443, Protocol.TLS)), "203.0.113.0/24")
    given = listener_input("0.0.0.0", 443, member(service("*.partner-api.example.com", port(443, Protocol.TLS))), saas)
    assert built(given) == expected_listener(shared, "se-cidr-and-wildcard", "0.0.0.0_443")


def test_the_oldest_of_two_without_address(shared):
    hosts = ("warehouse-db.example.com", "ledger-db.example.com")
    given = listener_input("0.0.0.0", 5432, *(member(service(h, port(5432, Protocol.TCP))) for h in hosts))
    assert built(given) == expected_listener(shared, "se-two-tcp-one-port", "0.0.0.0_5432")


def test_virtual_outbound_with_a_json_log(shared):
    log = AccessLog(path="/var/log/mesh/access.log", json=True)
    found = listeners.virtual_outbound(ALLOW, quiet(access_log=log), listener_input("", 0).proxy)
    wanted = expected_listener(shared, "mesh-access-log-json", "virtualOutbound")
    made = protos.Listener.FromString(found.body)
    assert json_format.MessageToDict(made) == json_format.MessageToDict(wanted)  # maps have no order within Any


def test_http_listener_with_a_text_log(shared):
    text = "%START_TIME% %REQ(:METHOD)% %RESPONSE_CODE% %RESPONSE_FLAGS% %UPSTREAM_CLUSTER_RAW% %REQUESTED_SERVER_NAME%"
    orders = service("orders.shop.svc.cluster.local")
    log = AccessLog(path="/dev/stdout", format=text)
    defaults = quiet(access_log=log)
    given = listener_input("0.0.0.0", 8080, http=orders, http_port=orders.ports[0], defaults=defaults)
    assert built(given) == expected_listener(shared, "mesh-access-log-text", "0.0.0.0_8080")
