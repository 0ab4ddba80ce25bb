"""What DestinationRules say of connections that are carried as bytes, and how they are told apart."""

from typing import Any

from tests.unit.envoy.gateway.front import Front, gateway, server
from tests.worlds import Shop, entry, made, mesh, pod, policy, service
from tidegate.envoy import protos

DB, OTHER = "db.shop.svc.cluster.local", "other.shop.svc.cluster.local"


def proxy_of(chain: Any) -> Any:
    return protos.TcpProxy.FromString(chain.filters[-1].typed_config.value)


def database(**rule: Any) -> list[Any]:
    found = [service("shop/db", (5432, "tcp"), address="10.96.0.1"), service("shop/other", (5432, "tcp"))]
    return [*found, *([policy("shop/db", DB, **rule)] if rule else [])]


def routed(*route: dict[str, Any]) -> Any:
    return made("VirtualService", "shop/db", hosts=[DB], tcp=[{"route": list(route)}])


def carried(*objects: Any) -> Any:
    return proxy_of(Shop(*objects).listener("10.96.0.1_5432").filter_chains[0])


def to(host: str, weight: int, subset: str = "") -> dict[str, Any]:
    return {"destination": {"host": host, "port": {"number": 5432}, "subset": subset}, "weight": weight}


def test_times_of_a_connection_are_the_rules_own_not_a_ports() -> None:
    tcp = {"tcp": {"idleTimeout": "7s", "maxConnectionDuration": "9s"}}
    port = {"port": {"number": 5432}, "connectionPool": {"tcp": {"idleTimeout": "1s"}}}
    found = carried(*database(trafficPolicy={"connectionPool": tcp, "portLevelSettings": [port]}))
    assert (found.idle_timeout.seconds, found.max_downstream_connection_duration.seconds) == (7, 9)


def test_shares_go_by_the_rule_of_the_first_destination() -> None:
    rule = {"trafficPolicy": {"loadBalancer": {"consistentHash": {"useSourceIp": True}}}}
    found = carried(*database(**rule), routed(to(DB, 0), to(OTHER, 100)))
    assert [(c.name, c.weight) for c in found.weighted_clusters.clusters] == [(f"outbound|5432||{OTHER}", 100)]
    assert found.stat_prefix == "db.shop" and found.hash_policy


def test_a_subset_without_a_tunnel_has_none() -> None:
    tunnel = {"trafficPolicy": {"tunnel": {"targetHost": "far.example", "targetPort": 443}}}
    plain = {**tunnel, "subsets": [{"name": "v1"}]}
    assert carried(*database(**tunnel)).tunneling_config.hostname == "far.example:443"
    assert not carried(*database(**plain), routed(to(DB, 100, "v1"))).HasField("tunneling_config")


def test_aliases_are_server_names_of_the_host_that_they_stand_for() -> None:
    alias = made("Service", "shop/bank", type="ExternalName", externalName="bank.example")
    found = Shop(entry("shop/bank", "bank.example", (443, "TLS")), alias).listener("0.0.0.0_443").filter_chains[0]
    names = list(found.filter_chain_match.server_names)
    assert names[0] == "bank.example" and {"bank.shop.svc.cluster.local", "bank.shop", "bank"} <= set(names)


def test_who_passes_mutual_tls_on_asks_no_policy() -> None:
    deny = made("AuthorizationPolicy", "edge/nobody")
    front = Front(
        gateway("edge/one", server(15443, "TLS", "*.cluster.local", mode="AUTO_PASSTHROUGH")),
        service("shop/db", (27017, "mongo"), address="10.96.0.1"),
        policy("shop/db", DB, trafficPolicy={"connectionPool": {"tcp": {"maxConnectionDuration": "9s"}}}),
        deny,
        certificates=True,
    )
    chains = front.chains("0.0.0.0_15443")
    found = chains[f"outbound_.27017_._.{DB}"]
    assert [f.name for f in found.filters] == ["envoy.filters.network.mongo_proxy", "envoy.filters.network.tcp_proxy"]
    assert proxy_of(found).max_downstream_connection_duration.seconds == 9


def headless(mode: str) -> Any:
    labels = {"app": "db", **({"security.istio.io/tlsMode": mode} if mode else {})}
    slices = made(
        "EndpointSlice",
        "shop/db",
        labels={"kubernetes.io/service-name": "db"},
        addressType="IPv4",
        ports=[{"name": "tcp", "port": 5432}],
        endpoints=[{"addresses": ["10.1.0.1"], "targetRef": {"kind": "Pod", "name": "db-0", "namespace": "shop"}}],
    )
    owner = service("shop/db", (5432, "tcp"), selector={"app": "db"})
    return Shop(owner, pod("shop/db-0", "10.1.0.1", labels), slices, mtls=True).cluster(f"outbound|5432||{DB}")


def test_a_headless_service_is_called_with_mutual_tls_if_all_its_pods_take_it() -> None:
    meshed = headless("istio")
    assert meshed.transport_socket.name == "envoy.transport_sockets.tls" and not meshed.transport_socket_matches
    context = protos.UpstreamTlsContext.FromString(meshed.transport_socket.typed_config.value)
    checked = context.common_tls_context.combined_validation_context.default_validation_context
    assert [n.exact for n in checked.match_subject_alt_names] == ["spiffe://cluster.local/ns/shop/sa/default"]
    assert not headless("").HasField("transport_socket")


def test_any_host_is_looked_up_at_the_agent_where_it_answers() -> None:
    config = mesh("outboundTrafficPolicy: {mode: ALLOW_ANY_DYNAMIC_DNS}")

    def resolver(**changes: Any) -> Any:
        cluster = Shop(config, **changes).cluster("AllowAnyDynamicDNSCluster")
        own = protos.DfpClusterConfig.FromString(cluster.cluster_type.typed_config.value)
        return own.dns_cache_config.typed_dns_resolver_config

    asked = protos.CaresDnsResolverConfig.FromString(resolver(dns_capture=True).typed_config.value)
    assert [a.socket_address.port_value for a in asked.resolvers] == [15053]
    assert not resolver().name


def test_grpc_of_browsers_is_turned_into_grpc() -> None:
    shop = Shop(service("shop/a", (8000, "grpc-web"), address="10.96.0.1"))
    chain = shop.listener("0.0.0.0_8000").filter_chains[0]
    manager = protos.HttpConnectionManager.FromString(chain.filters[-1].typed_config.value)
    assert manager.http_filters[0].name == "envoy.filters.http.grpc_web"
    front = Front(gateway("edge/one", server(80, "GRPC-Web"))).listener("0.0.0.0_80").filter_chains[0]
    shown = protos.HttpConnectionManager.FromString(front.filters[-1].typed_config.value)
    assert "envoy.filters.http.grpc_web" in [f.name for f in shown.http_filters]


def test_a_gateway_knows_the_networks_of_the_mesh_for_its_own() -> None:
    ranges = "networks: {n2: {endpoints: [{fromCidr: 10.2.0.0/16}]}, n1: {endpoints: [{fromCidr: 10.1.0.0/16}]}}"
    config = made("ConfigMap", "istio-system/istio", data={"mesh": "", "meshNetworks": ranges})
    chain = Front(config, gateway("edge/one", server(80, "HTTP"))).listener("0.0.0.0_80").filter_chains[0]
    manager = protos.HttpConnectionManager.FromString(chain.filters[-1].typed_config.value)
    assert [r.address_prefix for r in manager.internal_address_config.cidr_ranges] == ["10.1.0.0", "10.2.0.0"]
