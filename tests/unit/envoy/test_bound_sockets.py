"""What a Sidecar's egress listener on a unix socket opens, and whom a gateway calls in mutual TLS."""

from tests.worlds import Shop, entry, made, pod, service, sidecar

SOCKET = {
    "hosts": ["./*"],
    "port": {"number": 0, "protocol": "HTTP", "name": "socket"},
    "bind": "unix:///run/x.sock",
}


def test_a_unix_socket_is_opened_though_connections_are_captured() -> None:
    shop = Shop(entry("shop/a", "a.example.com", (80, "HTTP")), sidecar("shop/s", SOCKET, ["./*"]))
    assert shop.listeners() == {"unix:///run/x.sock_0", "0.0.0.0_80"}
    assert shop.binds("unix:///run/x.sock_0")
    assert not shop.binds("0.0.0.0_80")


def headless(mode: str, *, router: bool = True) -> list[str]:
    """Transport sockets of a headless service's cluster at a gateway."""
    backing = made(
        "EndpointSlice",
        "shop/db-1",
        labels={"kubernetes.io/service-name": "db"},
        addressType="IPv4",
        ports=[{"name": "tcp", "port": 5432}],
        endpoints=[{"addresses": ["10.0.0.7"], "targetRef": {"kind": "Pod", "name": "db-1", "namespace": "shop"}}],
    )
    labels = {"security.istio.io/tlsMode": mode} if mode else {}
    shop = Shop(
        service("shop/db", (5432, "tcp")), backing, pod("shop/db-1", "10.0.0.7", labels), router=router, mtls=True
    )
    return [match.name for match in shop.cluster("outbound|5432||db.shop.svc.cluster.local").transport_socket_matches]


def test_a_gateway_calls_a_headless_service_in_mutual_tls_only_where_each_endpoint_takes_it() -> None:
    assert headless("istio") == ["tlsMode-istio", "tlsMode-disabled"]
    assert headless("") == []
