"""Connections over recorded control-plane output, with verdicts that follow from each scenario's YAML."""

from pathlib import Path
from typing import Any

import pytest

from tidegate.explain.config import read_config
from tidegate.explain.connection import Connection, HttpRequest, TlsHello
from tidegate.explain.interpret import interpret
from tidegate.explain.trace import End, Trace

pytestmark = pytest.mark.conformance
MESH = TlsHello("x", ("istio-http/1.1", "istio"), True, "spiffe://cluster.local/ns/shop/sa/checkout")
STRICT, AUTHZ, REWRITE = "inbound-peer-authentication/orders", "authz-inbound/pay", "vs-rewrite-redirect-direct"
HOST, INBOUND = "partner-api.example.com", "inbound|8080||"
PARTNER, ORDERS = "outbound|80||partner-api.example.com", "outbound|8080|{}|orders.shop.svc.cluster.local"


def walk(shared: Path, scenario: str, connection: Connection) -> Trace:
    name, _, proxy = scenario.partition("/")
    path = shared / "xds-goldens" / name / "expected" / f"{proxy or 'checkout'}.json"
    return interpret(read_config(path.read_bytes()), connection)


def dial(port: int, ip: str = "192.0.2.1", direction: str = "outbound", **rest: Any) -> Connection:
    return Connection(direction, ip, port, source_ip="10.244.0.9", **rest)  # type: ignore[arg-type]


def get(authority: str, path: str = "/", **headers: str) -> HttpRequest:
    pairs = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    return HttpRequest(authority=authority, path=path, headers=pairs)


def inbound(port: int, **rest: Any) -> Connection:
    return dial(port, "10.244.3.1", "inbound", **rest)


@pytest.mark.parametrize(
    ("scenario", "connection", "kind", "cluster", "status"),
    [
        ("mesh-registry-only", dial(80, http=get("unknown.example")), "direct_response", "", 502),
        ("mesh-registry-only", dial(9999), "no_endpoints", "BlackHoleCluster", None),
        ("se-two-tcp-one-port", dial(5433), "forwarded", "PassthroughCluster", None),
        (STRICT, inbound(8080, http=get("orders")), "no_filter_chain", "", None),
        (STRICT, inbound(8080, tls=MESH, http=get("orders")), "forwarded", INBOUND, None),
        ("inbound-ports/orders-0", inbound(12345), "forwarded", "InboundPassthroughCluster", None),
        ("inbound-ports/orders-0", inbound(15006), "no_endpoints", "BlackHoleCluster", None),
        (AUTHZ, inbound(8080, tls=MESH, http=get("pay", "/pay/1", x_tenant="gold")), "forwarded", INBOUND, None),
        (AUTHZ, inbound(8080, tls=MESH, http=get("pay", "/pay/1", x_tenant="tin")), "denied", "", 403),
        (AUTHZ, inbound(8080, http=get("pay", "/pay/1")), "denied", "", 403),
        ("request-authentication/pay", inbound(8080, http=get("pay", "/health")), "forwarded", INBOUND, None),
        ("request-authentication/pay", inbound(8080, http=get("pay", "/")), "denied", "", 403),
        (REWRITE, dial(80, http=get(HOST, "/teapot")), "direct_response", "", 418),
        (REWRITE, dial(80, http=get(HOST, "/maintenance")), "direct_response", "", 503),
        (
            "vs-weights-and-subsets",
            dial(8080, http=get("orders", x_canary="true")),
            "forwarded",
            ORDERS.format("v2"),
            None,
        ),
        ("vs-weights-and-subsets", dial(8080, http=get("orders", "/zero")), "forwarded", ORDERS.format("v1"), None),
        (
            "vs-weights-and-subsets",
            dial(8080, http=get("orders", "/gone")),
            "no_cluster",
            "outbound|8080||orders-retired.shop.svc.cluster.local",
            503,
        ),
        ("vs-timeout-and-retries", dial(80, http=get("nobody.example.com")), "forwarded", "PassthroughCluster", None),
        (
            "ingress-gateway-http-tls/istio-ingressgateway",
            dial(8080, direction="gateway", http=get("other.example.com")),
            "no_virtual_host",
            "",
            404,
        ),
        (
            "ingress-gateway-http-tls/istio-ingressgateway",
            dial(8443, direction="gateway", tls=TlsHello("other.example.com"), http=get("other.example.com")),
            "no_filter_chain",
            "",
            None,
        ),
        (
            "ingress-gateway-http-tls/istio-ingressgateway",
            dial(8443, direction="gateway", tls=TlsHello("shop.example.com", ("h2",)), http=get("shop.example.com")),
            "forwarded",
            "outbound|8080||web.shop.svc.cluster.local",
            None,
        ),
        (
            "egress-gateway-sni-passthrough",
            dial(443, tls=TlsHello("bank.example.com")),
            "forwarded",
            "outbound|443||istio-egressgateway.istio-system.svc.cluster.local",
            None,
        ),
        (
            "egress-gateway-sni-passthrough/istio-egressgateway",
            dial(8443, direction="gateway", tls=TlsHello("a.saas.example.net")),
            "no_endpoints",
            "outbound|443||*.saas.example.net",
            None,
        ),
        ("interception-modes/uncaptured", dial(8080, "10.96.40.1", http=get("orders.shop")), "no_listener", "", None),
    ],
)
def test_verdicts(
    shared: Path, scenario: str, connection: Connection, kind: str, cluster: str, status: int | None
) -> None:
    end = walk(shared, scenario, connection).end
    assert (end.kind, end.cluster, end.http_status) == (kind, cluster, status)


def by_cluster(ends: tuple[End, ...]) -> dict[str, float]:
    return {end.cluster: round(end.probability, 6) for end in ends}


def test_ninety_of_a_hundred_go_by_the_egress_gateway(shared: Path) -> None:
    trace = walk(shared, "egress-gateway-http", dial(80, http=get(HOST)))
    gateway = "outbound|80||istio-egressgateway.istio-system.svc.cluster.local"
    assert by_cluster(trace.ends) == {gateway: 0.9, PARTNER: 0.1}


def test_canary_at_five_of_a_hundred(shared: Path) -> None:
    trace = walk(shared, "vs-weights-and-subsets", dial(8080, http=get("orders", "/split")))
    assert by_cluster(trace.ends) == {ORDERS.format("v1"): 0.95, ORDERS.format("v2"): 0.05}


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (get(HOST, "/slow"), {("forwarded", ""): 0.5, ("forwarded", "2s"): 0.5}),
        (get(HOST, "/grpc"), {("direct_response", ""): 1.0}),
        (get(HOST), {("forwarded", ""): 1.0}),
        (
            get(HOST, x_chaos="on"),
            {
                ("forwarded", ""): 0.874125,
                ("forwarded", "5s"): 0.000875,
                ("direct_response", ""): 0.124875,
                ("direct_response", "5s"): 0.000125,
            },
        ),
    ],
)
def test_injected_faults(shared: Path, request_: HttpRequest, expected: dict[tuple[str, str], float]) -> None:
    ends = walk(shared, "vs-fault", dial(80, http=request_)).ends
    assert {(end.kind, end.delay): round(end.probability, 6) for end in ends} == expected


@pytest.mark.parametrize(
    ("path", "authority", "expected"),
    [
        ("/old/x?q", HOST, "/new/x?q"),
        ("/api", "api.partner-api.example.com", "/"),
        ("/items/7/a", HOST, "/v2/a/items/7"),
        ("/exact", HOST, "/other"),
    ],
)
def test_rewritten_requests(shared: Path, path: str, authority: str, expected: str) -> None:
    asked = dial(80, http=get(HOST, path))
    far = walk(shared, REWRITE, asked).end.far_side
    assert far is not None and (far.authority, far.path) == (authority, expected)


@pytest.mark.parametrize(
    ("path", "status", "location"),
    [
        ("/moved", 308, "https://www.partner-api.example.com/here"),
        ("/port/x", 301, "http://partner-api.example.com:8443/port/x"),
        ("/derive", 301, "https://partner-api.example.com:80/derive"),
    ],
)
def test_redirects(shared: Path, path: str, status: int, location: str) -> None:
    end = walk(shared, REWRITE, dial(80, http=get(HOST, path))).end
    assert (end.kind, end.http_status, end.location) == ("redirect", status, location)


def test_mutual_tls_to_a_meshed_endpoint(shared: Path) -> None:
    end = walk(shared, "outbound-port-names", dial(27017, "10.96.1.1")).end
    assert end.upstream_tls is not None
    assert (end.upstream_tls.mode, end.upstream_tls.certificates) in (("mutual", ("default",)), ("none", ()))


def test_origin_of_a_route_is_carried(shared: Path) -> None:
    trace = walk(shared, "vs-weights-and-subsets", dial(8080, http=get("orders", "/split")))
    step = next(step for step in trace.steps if step.stage == "route")
    assert step.istio["config"].endswith("/virtual-service/orders")
