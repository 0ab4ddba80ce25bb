"""Inbound listeners and clusters."""

import pytest

from tests.unit.envoy import given
from tidegate.api.networking import HTTPRetry, RetryBudget
from tidegate.api.objects import Ref
from tidegate.api.security import MutualTLSMode
from tidegate.envoy import inbound, inbound_ports, protos
from tidegate.envoy.inbound_routes import retry_policy
from tidegate.envoy.inputs import SecurityInput
from tidegate.kit.durations import Duration
from tidegate.kit.keyed import Keyed
from tidegate.registry.model import Port, Protocol
from tidegate.scope.authentication import PeerModes
from tidegate.scope.proxy import Interception

MESHED = given.proxy(mtls=True)
UNCAPTURED = given.proxy(interception=Interception.NONE)
HCM = "envoy.filters.network.http_connection_manager"


def made(*targets, **changes):
    return inbound.virtual_inbound(given.inbound(*targets, **changes))


def listener(*targets, **changes):
    return protos.Listener.FromString(made(*targets, **changes).body)


def chains(found, port=None):
    return [c for c in found.filter_chains if port is None or c.filter_chain_match.destination_port.value == port]


def looks(found, port=None):
    """Transport, ALPN, kind and whether TLS is ended, by chain."""
    return [
        (
            c.filter_chain_match.transport_protocol,
            ",".join(c.filter_chain_match.application_protocols),
            "http" if c.filters[-1].name == HCM else "tcp",
            c.HasField("transport_socket"),
        )
        for c in chains(found, port)
    ]


def manager(chain):
    found = protos.HttpConnectionManager()
    assert chain.filters[-1].typed_config.Unpack(found)
    return found


def clusters(*targets, **changes):
    made = inbound.inbound_clusters(given.inbound(*targets, **changes))
    return {c.name: protos.Cluster.FromString(c.body) for c in made}


MESH_HTTP = "istio-http/1.0,istio-http/1.1,istio-h2"
ANY = f"istio,istio-peer-exchange,{MESH_HTTP}"


@pytest.mark.parametrize(
    ("port", "shapes"),
    [
        (given.HTTP, [("raw_buffer", "", "http", False)]),
        (given.TCP, [("raw_buffer", "", "tcp", False)]),
        (given.AUTO, [("raw_buffer", "http/1.1,h2c", "http", False), ("raw_buffer", "", "tcp", False)]),
    ],
)
def test_chains_without_a_certificate(port, shapes):
    assert looks(listener(given.target(port)), port.number) == shapes


@pytest.mark.parametrize(
    ("port", "shapes"),
    [
        (given.HTTP, [("tls", ANY, "http", True), ("raw_buffer", "", "http", False)]),
        (given.TCP, [("tls", ANY, "tcp", True), ("tls", "", "tcp", False), ("raw_buffer", "", "tcp", False)]),
        (
            given.AUTO,
            [
                ("tls", MESH_HTTP, "http", True),
                ("raw_buffer", "http/1.1,h2c", "http", False),
                ("tls", "istio-peer-exchange,istio", "tcp", True),
                ("raw_buffer", "", "tcp", False),
                ("tls", "", "tcp", False),
            ],
        ),
    ],
)
def test_permissive_chains(port, shapes):
    assert looks(listener(given.target(port), proxy=MESHED), port.number) == shapes


def test_nothing_needs_a_certificate_that_is_not_there():
    found = listener(*(given.target(p) for p in (given.HTTP, given.TCP, given.AUTO, given.GRPC)))
    assert not any(c.HasField("transport_socket") for c in found.filter_chains)
    assert "envoy.filters.listener.tls_inspector" not in [f.name for f in found.listener_filters]


def test_unknown_ports_go_through():
    found = listener()
    assert [c.name for c in found.filter_chains] == [
        "virtualInbound-blackhole",
        "virtualInbound-catchall-http",
        "virtualInbound",
    ]
    assert found.filter_chains[0].filter_chain_match.destination_port.value == 15006
    route = manager(found.filter_chains[1]).route_config
    assert route.virtual_hosts[0].routes[0].route.cluster == "InboundPassthroughCluster"


def test_route_of_a_port():
    target = given.target(Port(80, "http", Protocol.HTTP, 8080))
    found = manager(chains(listener(target), 8080)[0])
    assert found.stat_prefix == "inbound_0.0.0.0_8080;"
    assert found.route_config.name == "inbound|8080||"
    host = found.route_config.virtual_hosts[0]
    route = host.routes[0]
    assert (host.name, list(host.domains), route.name) == ("inbound|http|80", ["*"], "default")
    assert route.decorator.operation == "orders.shop.svc.cluster.local:80/*"
    assert route.route.cluster == "inbound|8080||"
    assert (route.route.retry_policy.retry_on, route.route.retry_policy.num_retries.value) == (
        "reset-before-request",
        2,
    )
    assert route.route.HasField("timeout")


def test_grpc_is_not_retried():
    found = manager(chains(listener(given.target(given.GRPC)), 9090)[0])
    assert not found.route_config.virtual_hosts[0].routes[0].route.HasField("retry_policy")


def test_retry_of_the_mesh():
    assert retry_policy(HTTPRetry(attempts=0)) is None
    found = retry_policy(
        HTTPRetry(
            attempts=3, retry_on="5xx, 503", per_try_timeout=Duration.of(seconds=2), backoff=Duration.of(seconds=1)
        )
    )
    assert (found.retry_on, list(found.retriable_status_codes)) == ("5xx,retriable-status-codes", [503])
    assert not found.HasField("per_try_timeout") and found.retry_back_off.base_interval.seconds == 1
    odd = retry_policy(HTTPRetry(attempts=1, retry_on="²,99999999999"))
    assert list(odd.retriable_status_codes) == []


def test_oldest_service_wins_a_port():
    second = given.service("other.shop.svc.cluster.local", Port(7000, "tcp", Protocol.TCP, 8080))
    item = made(given.target(), given.target(second.ports[0], of=second))
    found = protos.Listener.FromString(item.body)
    assert looks(found, 8080) == [("raw_buffer", "", "http", False)]
    decision = item.decisions[0]
    assert (decision.subject, decision.rule) == ("inbound port 8080", "oldest wins")
    assert (decision.winner.name, [r.name for r in decision.losers]) == ("orders", ["other"])


def test_origins_of_chains():
    item = made(given.target())
    count = len(protos.Listener.FromString(item.body).filter_chains)
    assert [(o.path, o.ref, o.field) for o in item.origins] == [
        (f"filter_chains[{count - 1}]", Ref("Service", "shop", "orders"), "spec.ports[0]")
    ]


def outside_of_chains(*targets, **changes):
    found = listener(*targets, **changes)
    found.ClearField("filter_chains")
    return found.SerializeToString(deterministic=True)


def test_http_ports_come_and_go_without_replacing_the_listener():
    base = outside_of_chains(given.target(), proxy=MESHED)
    assert outside_of_chains(given.target(), given.target(given.AUTO), given.target(given.GRPC), proxy=MESHED) == base
    assert outside_of_chains(proxy=MESHED) == base


def test_no_one_looks_at_tcp_ports():
    found = listener(given.target(given.TCP), given.target())
    inspector = found.listener_filters[-1]
    ranges = [r.destination_port_range for r in inspector.filter_disabled.or_match.rules]
    assert [(r.start, r.end) for r in ranges] == [(9100, 9101), (15006, 15007)]
    assert inspector.name == "envoy.filters.listener.http_inspector"


def test_tproxy():
    found = listener(proxy=given.proxy(interception=Interception.TPROXY))
    assert found.transparent.value
    assert [f.name.rpartition(".")[2] for f in found.listener_filters] == [
        "original_dst",
        "original_src",
        "http_inspector",
    ]


def test_addresses_by_family():
    assert listener().address.socket_address.address == "0.0.0.0"
    assert listener(proxy=given.proxy(ipv4=False, ipv6=True)).address.socket_address.address == "::"
    both = listener(proxy=given.proxy(ipv6=True))
    assert [a.address.socket_address.address for a in both.additional_addresses] == ["::"]


def test_nothing_is_listened_on_without_capture():
    assert made(given.target(), proxy=UNCAPTURED) is None
    assert clusters(given.target(), proxy=UNCAPTURED) == {}


def test_udp_has_no_chains():
    assert not chains(listener(given.target(Port(53, "dns", Protocol.UDP, 53))), 53)


def test_mongo_counts_its_protocol():
    port = Port(27017, "mongo", Protocol.MONGO, 27017)
    names = [f.name for f in chains(listener(given.target(port)), 27017)[0].filters]
    assert names == ["envoy.filters.network.mongo_proxy", "envoy.filters.network.tcp_proxy"]


# Clusters


def test_cluster_follows_the_caller_from_its_own_address():
    cluster = clusters(given.target())["inbound|8080||"]
    assert (cluster.type, cluster.lb_policy) == (protos.Cluster.ORIGINAL_DST, protos.Cluster.CLUSTER_PROVIDED)
    assert cluster.upstream_bind_config.source_address.address == "127.0.0.6"
    assert cluster.cleanup_interval.seconds == 9223372035
    services = cluster.metadata.filter_metadata["istio"].fields["services"].list_value
    assert services.values[0].struct_value.fields["name"].string_value == "orders"


def test_localhost_policy():
    defaults = given.listener_defaults(cluster=given.defaults(inbound_localhost=True))
    cluster = clusters(given.target(), defaults=defaults)["inbound|8080||"]
    address = cluster.load_assignment.endpoints[0].lb_endpoints[0].endpoint.address.socket_address
    assert (cluster.type, address.address, address.port_value) == (protos.Cluster.STATIC, "127.0.0.1", 8080)
    assert not cluster.HasField("upstream_bind_config")


def limit(cluster):
    return cluster.circuit_breakers.thresholds[0].max_connections.value


def test_pool_of_a_destination_rule():
    pools = ((8080, given.pool({"tcp": {"maxConnections": 44, "connectTimeout": "2s"}})),)
    rules = ((8080, Ref("DestinationRule", "shop", "quotes")),)
    cluster = clusters(given.target(), pools=pools, pool_rules=rules)["inbound|8080||"]
    assert (limit(cluster), cluster.connect_timeout.seconds) == (44, 2)
    config = cluster.metadata.filter_metadata["istio"].fields["config"].string_value
    assert config.endswith("/destination-rule/quotes")


def test_pool_of_a_sidecar_wins():
    pools = ((8080, given.pool({"tcp": {"maxConnections": 44}})),)
    own = given.sidecar(inboundConnectionPool={"tcp": {"maxConnections": 33}})
    assert limit(clusters(given.target(), pools=pools, sidecar=own)["inbound|8080||"]) == 33


def test_stat_name_pattern():
    defaults = given.listener_defaults(cluster=given.defaults(inbound_stat_name="in_%SERVICE%_%SERVICE_PORT%"))
    assert clusters(given.target(), defaults=defaults)["inbound|8080||"].alt_stat_name == "in_orders.shop_8080;"


# Sidecar ingress


def ingress(*listeners, **spec):
    return given.sidecar(ingress=list(listeners), **spec)


def on(number, protocol="HTTP", **more):
    return {"port": {"number": number, "protocol": protocol, "name": "p"}, **more}


def test_ingress_replaces_services():
    found = listener(given.target(given.TCP), sidecar=ingress(on(8443)), address="10.0.0.1")
    assert not chains(found, 9100)
    chain = chains(found, 8443)[0]
    assert chain.name == "10.0.0.1_8443"
    assert chain.metadata.filter_metadata["istio"].fields["config"].string_value.endswith("/sidecar/orders")
    host = manager(chain).route_config.virtual_hosts[0]
    assert (host.name, host.routes[0].decorator.operation) == ("inbound|http|8443", "orders.shop:8443/*")


@pytest.mark.parametrize(
    ("endpoint", "address", "port", "bound"),
    [
        ("127.0.0.1:18080", "127.0.0.1", 18080, False),
        ("[::1]:18080", "::1", 18080, False),
        ("0.0.0.0:19100", "10.0.0.1", 19100, True),
    ],
)
def test_default_endpoint(endpoint, address, port, bound):
    found = clusters(sidecar=ingress(on(8080, defaultEndpoint=endpoint)), address="10.0.0.1")["inbound|8080||"]
    target = found.load_assignment.endpoints[0].lb_endpoints[0].endpoint.address.socket_address
    assert (target.address, target.port_value) == (address, port)
    assert found.HasField("upstream_bind_config") is bound


def test_default_endpoint_on_a_socket():
    found = clusters(sidecar=ingress(on(8080, defaultEndpoint="unix:///run/x.sock")))["inbound|8080||"]
    assert found.load_assignment.endpoints[0].lb_endpoints[0].endpoint.address.pipe.path == "/run/x.sock"


def test_ingress_pool_wins_over_the_whole_sidecars():
    own = ingress(
        on(8080, connectionPool={"tcp": {"maxConnections": 22}}),
        on(8081),
        inboundConnectionPool={"tcp": {"maxConnections": 33}},
    )
    found = clusters(sidecar=own)
    assert [limit(found[f"inbound|{n}||"]) for n in (8080, 8081)] == [22, 33]


def test_ingress_that_binds_is_a_listener_of_its_own():
    item = given.inbound(sidecar=ingress(on(8091, bind="10.0.0.1", captureMode="NONE"), on(8080)), address="10.0.0.9")
    bound = inbound.inbound_listeners(item)
    assert [b.name for b in bound] == ["10.0.0.1_8091"]
    found = protos.Listener.FromString(bound[0].body)
    assert found.address.socket_address.port_value == 8091
    assert not found.filter_chains[0].filter_chain_match.HasField("destination_port")
    assert not chains(protos.Listener.FromString(inbound.virtual_inbound(item).body), 8091)
    assert (bound[0].origins[0].ref.kind, bound[0].origins[0].field) == ("Sidecar", "spec.ingress[0]")


def test_ingress_without_capture_always_binds():
    item = given.inbound(sidecar=ingress(on(8080)), address="10.0.0.9", proxy=UNCAPTURED)
    assert inbound.virtual_inbound(item) is None
    assert [b.name for b in inbound.inbound_listeners(item)] == ["10.0.0.9_8080"]


OWN_TLS = {"mode": "MUTUAL", "serverCertificate": "/c", "privateKey": "/k", "caCertificates": "/ca"}
DISABLED = SecurityInput(peers=PeerModes(ports=((8443, MutualTLSMode.DISABLE),)))


def opened(protocol, **changes):
    sidecar = ingress(on(8443, protocol, tls=OWN_TLS))
    found = listener(sidecar=sidecar, address="10.0.0.1", **{"ingress_tls": True, "proxy": MESHED, **changes})
    return found, looks(found, 8443)


@pytest.mark.parametrize(("protocol", "kind"), [("HTTPS", "http"), ("TLS", "tcp")])
def test_ingress_with_tls_of_its_own(protocol, kind):
    found, shapes = opened(protocol, security=DISABLED)
    assert shapes == [("tls", "", kind, True)]
    context = protos.DownstreamTlsContext()
    assert chains(found, 8443)[0].transport_socket.typed_config.Unpack(context)
    common = context.common_tls_context
    assert [c.name for c in common.tls_certificate_sds_secret_configs] == ["file-cert:/c~/k"]
    assert (context.require_client_certificate.value, list(common.alpn_protocols)) == (True, ["h2", "http/1.1"])


def test_ingress_tls_without_certificates_is_read_from_files():
    found, _ = opened("HTTPS", proxy=given.proxy())
    context = protos.DownstreamTlsContext()
    assert chains(found, 8443)[0].transport_socket.typed_config.Unpack(context)
    assert context.common_tls_context.tls_certificates[0].certificate_chain.filename == "/c"
    assert "envoy.filters.listener.tls_inspector" in [f.name for f in found.listener_filters]


@pytest.mark.parametrize("changes", [{"security": SecurityInput()}, {"security": DISABLED, "ingress_tls": False}])
def test_ingress_tls_gives_way_to_the_meshs_and_needs_its_switch(changes):
    _, shapes = opened("TLS", **changes)
    assert ("raw_buffer", "", "tcp", False) in shapes


def test_first_of_two_ingress_listeners_on_a_port_counts():
    found = inbound_ports.ports_of(given.inbound(sidecar=ingress(on(8080), on(8080, "TCP"))))
    assert [(p.number, p.protocol) for p in found] == [(8080, Protocol.HTTP)]


@pytest.mark.parametrize("text", ["", "nonsense", "1.2.3.4:999999999999", "unix://", "[::]:x"])
def test_endpoints_that_name_no_address_follow_the_caller(text):
    assert (
        clusters(sidecar=ingress(on(8080, defaultEndpoint=text)))["inbound|8080||"].type == protos.Cluster.ORIGINAL_DST
    )


def test_same_input_same_bytes():
    targets = [given.target(p) for p in (given.HTTP, given.TCP, given.AUTO)]
    assert made(*targets, proxy=MESHED).body == made(*targets, proxy=MESHED).body


def connections(found, port=8080):
    return found[f"inbound|{port}||"].circuit_breakers.thresholds[0].max_connections.value


def test_pools_of_an_inbound_cluster_come_from_the_nearest_that_has_one():
    def capped(number):
        return {"tcp": {"maxConnections": number}}

    mesh = given.listener_defaults(
        cluster=given.defaults(traffic_policy=given.mesh_policy({"connectionPool": capped(1)}))
    )
    ruled = {"pools": ((8080, given.pool(capped(2))),), "defaults": mesh}
    assert connections(clusters(given.target(), defaults=mesh)) == 1
    assert connections(clusters(given.target(), **ruled)) == 2
    ingress = [{"port": {"number": 8080, "protocol": "HTTP", "name": "http"}, "defaultEndpoint": "127.0.0.1:80"}]
    assert connections(clusters(given.target(), **ruled, sidecar=given.sidecar(ingress=ingress))) == 2
    own = [{**ingress[0], "connectionPool": capped(3)}]
    assert connections(clusters(given.target(), **ruled, sidecar=given.sidecar(ingress=own))) == 3


def test_a_retry_budget_holds_for_what_arrives_too():
    budget = Keyed(RetryBudget(percent=40.0), b"40")
    found = clusters(given.target(), budgets=((8080, budget),))["inbound|8080||"]
    assert found.circuit_breakers.thresholds[0].retry_budget.budget_percent.value == 40


def test_a_cluster_names_every_service_of_its_port():
    second = given.service("other.shop.svc.cluster.local", given.HTTP)
    third = given.service("third.shop.svc.cluster.local", Port(7000, "tcp", Protocol.TCP, 8080))
    targets = (given.target(), given.target(of=second), given.target(third.ports[0], of=third))
    listed = clusters(*targets)["inbound|8080||"].metadata.filter_metadata["istio"]["services"]
    assert [each["host"].partition(".")[0] for each in listed] == ["orders", "other"]


def test_ciphers_of_the_mesh_replace_the_usual_ones():
    defaults = given.listener_defaults(cluster=given.defaults(mesh_tls_ciphers=("ECDHE-RSA-AES128-GCM-SHA256", "odd")))
    secured = next(
        c
        for c in chains(listener(given.target(), proxy=MESHED, defaults=defaults), 8080)
        if c.HasField("transport_socket")
    )
    context = protos.DownstreamTlsContext.FromString(secured.transport_socket.typed_config.value)
    assert list(context.common_tls_context.tls_params.cipher_suites) == ["ECDHE-RSA-AES128-GCM-SHA256"]


def test_an_ingress_port_with_tls_settings_is_http_to_the_mesh_too():
    _, shapes = opened("HTTPS", security=SecurityInput())
    assert {kind for _, _, kind, _ in shapes} == {"http"}


def test_ingress_may_be_added_to_the_ports_of_services():
    other = given.service("other.shop.svc.cluster.local", Port(7000, "tcp", Protocol.TCP, 7000))
    targets, sidecar = (given.target(), given.target(other.ports[0], of=other)), ingress(on(8080, "TCP"), on(9000))

    def found(**changes):
        ports = inbound_ports.ports_of(given.inbound(*targets, sidecar=sidecar, **changes))
        return [(p.number, p.protocol) for p in ports]

    listed = [(8080, Protocol.TCP), (9000, Protocol.HTTP)]
    assert found() == listed
    assert found(merge_ingress=True) == [(7000, Protocol.TCP), *listed]
    assert found(merge_ingress=True, proxy=UNCAPTURED) == listed
