"""Hosts that are resolved when a request names them: clusters, and the filters that share their caches."""

from typing import Any

import pytest

from tests.worlds import Shop, entry, mesh, policy
from tidegate.envoy import protos
from tidegate.envoy.resource import CLUSTER

HTTP_FILTER = "envoy.filters.http.dynamic_forward_proxy"
ANY = "AllowAnyDynamicDNSCluster"


def wild(name: str, *ports: tuple[int, str], **spec: Any) -> Any:
    return entry(f"shop/{name}", f"*.{name}.example", *ports, resolution="DYNAMIC_DNS", **spec)


def managers(listener: Any) -> list[Any]:
    found = []
    for chain in listener.filter_chains:
        manager = protos.HttpConnectionManager()
        if chain.filters[0].typed_config.Unpack(manager):
            found.append(manager)
    return found


def caches(manager: Any) -> list[str]:
    """Names of the caches of its filters, which stand right before the router."""
    assert manager.http_filters[-1].name == "envoy.filters.http.router"
    found = []
    for each in manager.http_filters:
        config = protos.DynamicForwardProxy()
        if each.name == HTTP_FILTER and each.typed_config.Unpack(config):
            found.append(config.dns_cache_config.name)
    return found


def config(cluster: Any) -> Any:
    found = protos.DfpClusterConfig()
    assert cluster.cluster_type.typed_config.Unpack(found)
    return found


def test_http_is_resolved_before_the_router_once_for_each_host_of_the_port() -> None:
    shop = Shop(wild("b"), wild("a"), entry("shop/plain", "plain.example"), wild("c", (8080, "HTTP")))
    (manager,) = managers(shop.listener("0.0.0.0_80"))
    assert caches(manager) == ["*.a.example_dfp_dns_cache", "*.b.example_dfp_dns_cache"]
    assert config(shop.cluster("outbound|80||*.a.example")).dns_cache_config.name == "*.a.example_dfp_dns_cache"


def test_a_port_without_such_hosts_has_no_such_filter() -> None:
    (manager,) = managers(Shop(entry("shop/plain", "plain.example")).listener("0.0.0.0_80"))
    assert caches(manager) == []


def test_tls_is_resolved_by_its_server_name() -> None:
    (chain,) = Shop(wild("a", (443, "TLS"))).listener("0.0.0.0_443").filter_chains
    assert chain.filters[0].name == "envoy.extensions.filters.network.sni_dynamic_forward_proxy"
    assert list(chain.filter_chain_match.server_names) == ["*.a.example"]


@pytest.mark.parametrize(
    ("tls", "unchecked"),
    [
        ({"mode": "SIMPLE"}, False),
        ({"mode": "SIMPLE", "sni": "one.example"}, True),
        ({"mode": "SIMPLE", "insecureSkipVerify": True}, True),
        (None, True),
    ],
)
def test_tls_to_it_takes_names_from_the_request_unless_told_otherwise(tls: Any, unchecked: bool) -> None:
    rules = [policy("shop/p", "*.a.example", trafficPolicy={"tls": tls})] if tls else []
    cluster = Shop(wild("a"), *rules).cluster("outbound|80||*.a.example")
    assert cluster.HasField("transport_socket") == bool(tls)
    assert config(cluster).allow_insecure_cluster_options == unchecked


class TestAnyHost:
    """outboundTrafficPolicy ALLOW_ANY_DYNAMIC_DNS."""

    def shop(self, more: str = "") -> Shop:
        given = mesh(f"outboundTrafficPolicy: {{mode: ALLOW_ANY_DYNAMIC_DNS{more}}}")
        return Shop(given, entry("shop/a", "a.example"), entry("shop/t", "t.example", (7000, "TCP")))

    def test_http_that_nothing_matches_goes_where_it_asks(self) -> None:
        shop = self.shop()
        assert shop.target("80", "allow_any_dynamic_dns") == ANY
        (manager,) = managers(shop.listener("0.0.0.0_80"))
        assert caches(manager) == ["allow_any_dfp_dns_cache"]
        assert config(shop.cluster(ANY)).dns_cache_config.max_hosts.value == 1024

    def test_so_does_http_to_ports_of_nobody(self) -> None:
        found = self.shop().listener("virtualOutbound")
        names = [chain.name for chain in found.filter_chains]
        assert names[1:] == ["virtualOutbound-catchall-tcp-http", "virtualOutbound-catchall-tcp"]
        (manager,) = managers(found)
        assert manager.route_config.virtual_hosts[0].routes[0].route.cluster == ANY
        assert [f.name for f in found.listener_filters] == ["envoy.filters.listener.http_inspector"]

    def test_what_is_no_http_passes_through(self) -> None:
        tcp = protos.TcpProxy()
        assert self.shop().listener("virtualOutbound").filter_chains[2].filters[0].typed_config.Unpack(tcp)
        assert tcp.cluster == "PassthroughCluster"

    def test_tls_may_be_originated(self) -> None:
        cluster = self.shop(", tls: {mode: SIMPLE}").cluster(ANY)
        assert cluster.HasField("transport_socket")
        assert not config(cluster).allow_insecure_cluster_options

    def test_other_modes_have_no_such_cluster(self) -> None:
        assert ANY not in Shop().names(CLUSTER)


def spoken(shop: Shop) -> Any:
    options = shop.cluster("outbound|443||*.a.example").typed_extension_protocol_options
    config = next(iter(options.values()))
    return protos.HttpProtocolOptions.FromString(config.value).upstream_http_protocol_options


@pytest.mark.parametrize(
    ("tls", "name", "checked"),
    [
        ({"mode": "SIMPLE"}, True, True),
        ({"mode": "SIMPLE", "sni": "one.example"}, False, True),
        ({"mode": "SIMPLE", "insecureSkipVerify": True}, True, False),
        ({"mode": "ISTIO_MUTUAL"}, True, True),
    ],
)
def test_certificates_are_those_of_the_host_that_a_request_names(tls: Any, name: bool, checked: bool) -> None:
    shop = Shop(wild("a", (443, "HTTP")), policy("shop/a", "*.a.example", trafficPolicy={"tls": tls}), mtls=True)
    found = spoken(shop)
    assert (found.auto_sni, found.auto_san_validation) == (name, checked)
    cluster = shop.cluster("outbound|443||*.a.example")
    context = protos.UpstreamTlsContext.FromString(cluster.transport_socket.typed_config.value)
    assert context.sni == tls.get("sni", "")


def test_settings_of_connections_hold_for_hosts_that_are_resolved_late() -> None:
    tcp = {"connectTimeout": "3s", "tcpKeepalive": {"probes": 4}}
    rule = policy("shop/a", "*.a.example", trafficPolicy={"connectionPool": {"tcp": tcp}})
    inside = wild("a", (443, "HTTP"), location="MESH_INTERNAL")
    cluster = Shop(inside, rule).cluster("outbound|443||*.a.example")
    assert cluster.connect_timeout.seconds == 3
    assert cluster.upstream_connection_options.tcp_keepalive.keepalive_probes.value == 4
    told = cluster.metadata.filter_metadata["istio"].fields
    assert told["config"].string_value.endswith("/destination-rule/a") and "external" not in told
