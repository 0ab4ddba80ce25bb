"""Outbound listeners: who shares an address, and how."""

import msgspec
import pytest
from hypothesis import given as given_any
from hypothesis import settings
from hypothesis import strategies as st

from tests.unit.envoy.outbound_samples import (
    ALLOW,
    BLOCK,
    CLIENT,
    listener,
    listener_defaults,
    listener_input,
    manager,
    member,
    policy,
    rule,
    service,
    tcp,
)
from tidegate.api.fields import Duration
from tidegate.envoy import chains, forward_proxy, listeners, protos
from tidegate.envoy.inputs import AccessLog, CatchAll, Target
from tidegate.registry.model import Port, Protocol, Resolution
from tidegate.scope.proxy import Interception

WEB = service("web.shop.svc.cluster.local", Port(80, "http", Protocol.HTTP), created="2")
ANY = "0.0.0.0"


def outside(host, protocol=Protocol.TLS, port=443, **changes):
    return service(host, Port(port, "p", protocol), **changes)


def built(bind, port, *members, **changes):
    return listener(listeners.outbound(listener_input(bind, port, *members, **changes)))


def http(**changes):
    return built(ANY, 80, http=WEB, http_port=WEB.ports[0], **changes)


def inspectors(found):
    return [f.name.rpartition(".")[2] for f in found.listener_filters]


def server_names(found):
    return [list(c.filter_chain_match.server_names) for c in found.filter_chains]


def prefixes(chain):
    return [f"{p.address_prefix}/{p.prefix_len.value}" for p in chain.filter_chain_match.prefix_ranges]


# HTTP


def test_http_shares_the_wildcard_address():
    found = http()
    assert (found.name, found.address.socket_address.address, found.address.socket_address.port_value) == (
        "0.0.0.0_80",
        "0.0.0.0",
        80,
    )
    (chain,) = found.filter_chains
    assert chain.filter_chain_match.transport_protocol == "raw_buffer"
    assert list(chain.filter_chain_match.application_protocols) == ["http/1.1", "h2c"]
    assert manager(chain).rds.route_config_name == "80"
    assert manager(chain).stat_prefix == "outbound_0.0.0.0_80;"
    assert chain.transport_socket_connect_timeout.seconds == 15
    assert inspectors(found) == ["http_inspector"]
    assert found.continue_on_listener_filters_timeout
    assert found.HasField("bind_to_port") and not found.bind_to_port.value


@pytest.mark.parametrize(
    ("catch_all", "cluster"),
    [
        (ALLOW, "PassthroughCluster"),
        (BLOCK, "BlackHoleCluster"),
        (CatchAll(allow=True, cluster="outbound|80||proxy"), "outbound|80||proxy"),
        (CatchAll(allow=False, cluster="outbound|80||proxy"), "BlackHoleCluster"),
    ],
)
def test_what_is_no_http_goes_to_the_catch_all(catch_all, cluster):
    rest = http(catch_all=catch_all).default_filter_chain
    assert rest.name == "PassthroughFilterChain"
    assert (tcp(rest).cluster, tcp(rest).stat_prefix) == (cluster, cluster)
    assert not rest.HasField("transport_socket_connect_timeout")


def test_http_on_an_address_of_its_own_takes_every_connection():
    found = built("127.0.0.1", 8080, http=WEB, http_port=WEB.ports[0], bind_to_port=True)
    (chain,) = found.filter_chains
    assert not chain.HasField("filter_chain_match")
    assert not found.HasField("default_filter_chain")
    assert not found.listener_filters
    assert not found.HasField("bind_to_port")
    assert found.max_connections_to_accept_per_socket_event.value == 1


def test_a_unix_socket():
    found = built("unix:///run/e.sock", 0, http=WEB, http_port=WEB.ports[0], route_name="unix:///run/e.sock")
    assert found.address.pipe.path == "/run/e.sock"
    assert manager(found.filter_chains[0]).rds.route_config_name == "unix:///run/e.sock"


def test_detection_waits_as_long_as_the_mesh_says():
    defaults = listener_defaults(detection_timeout=Duration.of(seconds=2))
    assert http(defaults=defaults).listener_filters_timeout.seconds == 2
    opaque = built("10.0.0.1", 443, member(outside("a.example.com"), "10.0.0.1"), defaults=defaults)
    assert opaque.HasField("listener_filters_timeout") and opaque.listener_filters_timeout.seconds == 0


# TCP


def test_tcp_on_its_own_address():
    db = outside("db.example.com", Protocol.TCP, 5432)
    found = built("192.0.2.1", 5432, member(db, "192.0.2.1"))
    (chain,) = found.filter_chains
    assert not chain.HasField("filter_chain_match")
    assert tcp(chain).cluster == tcp(chain).stat_prefix == "outbound|5432||db.example.com"
    assert not found.HasField("default_filter_chain")
    assert not found.listener_filters


def test_networks_are_matched_and_the_rest_goes_to_the_catch_all():
    db = outside("db.example.com", Protocol.TCP, 5432)
    found = built(ANY, 5432, member(db, "192.0.2.0/25"), member(db, "2001:db8::/64"))
    assert [prefixes(c) for c in found.filter_chains] == [["192.0.2.0/25"], ["2001:db8::/64"]]
    assert found.default_filter_chain.name == "PassthroughFilterChain"


def test_of_two_that_want_everything_the_oldest_has_it():
    a = member(outside("a.example.com", Protocol.TCP, 5432))
    b = member(outside("b.example.com", Protocol.TCP, 5432))
    made = listeners.outbound(listener_input(ANY, 5432, a, b))
    (chain,) = listener(made).filter_chains
    assert tcp(chain).cluster == "outbound|5432||a.example.com"
    clash, shadow = made.decisions
    assert "identical match" in clash.rule and "oldest wins" in clash.rule
    assert (clash.winner.name, [loser.name for loser in clash.losers]) == ("a", ["b"])
    assert (shadow.rule, shadow.winner.name) == (listeners.SHADOWING, "a")


def test_http_and_tcp_on_one_port_are_told_apart_by_looking():
    raw = member(outside("raw.example.com", Protocol.TCP, 80, created="1"))
    made = listeners.outbound(listener_input(ANY, 80, raw, http=WEB, http_port=WEB.ports[0]))
    found = listener(made)
    (chain,) = found.filter_chains
    assert manager(chain).rds.route_config_name == "80"
    assert tcp(found.default_filter_chain).cluster == "outbound|80||raw.example.com"
    assert found.default_filter_chain.name == ""
    assert inspectors(found) == ["http_inspector"]
    origins = {o.path: o.ref.name for o in made.all_origins()}
    assert origins == {"default_filter_chain": "raw", "filter_chains[0]": "web"}


def test_idle_timeouts_and_lifetimes_come_from_the_destination_rule():
    db = outside("db.example.com", Protocol.TCP, 5432)
    pool = {"tcp": {"idleTimeout": "5s", "maxConnectionDuration": "1h"}}
    given = policy("db", host="db.example.com", trafficPolicy={"connectionPool": pool})
    found = built("192.0.2.1", 5432, member(db, targets=(Target(host=db.host, service=db, rule=given),)))
    assert tcp(found.filter_chains[0]).idle_timeout.seconds == 5
    assert tcp(found.filter_chains[0]).max_downstream_connection_duration.seconds == 3600


def test_a_destination_rule_can_switch_the_proxys_idle_timeout_off():
    db = outside("db.example.com", Protocol.TCP, 5432)
    given = policy("db", host=db.host, trafficPolicy={"connectionPool": {"tcp": {"idleTimeout": "0s"}}})
    proxy = msgspec.structs.replace(CLIENT, idle_timeout=Duration.of(seconds=35))
    found = built("192.0.2.1", 5432, member(db, targets=(Target(host=db.host, service=db, rule=given),)), proxy=proxy)
    assert tcp(found.filter_chains[0]).HasField("idle_timeout")
    assert tcp(found.filter_chains[0]).idle_timeout.seconds == 0


def test_the_proxys_own_idle_timeout():
    proxy = msgspec.structs.replace(CLIENT, idle_timeout=Duration.of(seconds=35))
    found = built("192.0.2.1", 5432, member(outside("db.example.com", Protocol.TCP, 5432)), proxy=proxy)
    assert tcp(found.filter_chains[0]).idle_timeout.seconds == 35


def test_names_in_statistics():
    defaults = listener_defaults(outbound_stat_name="%SERVICE%_%SERVICE_PORT%")
    found = built("10.0.0.1", 9200, member(outside("db.example.com", Protocol.TCP, 9200)), defaults=defaults)
    assert tcp(found.filter_chains[0]).stat_prefix == "db.example.com_9200"


# TLS


def test_tls_without_addresses_is_told_apart_by_name():
    found = built(ANY, 443, member(outside("A.example.com")), member(outside("*.b.example.com")))
    assert server_names(found) == [["a.example.com"], ["*.b.example.com"]]
    assert found.default_filter_chain.name == "PassthroughFilterChain"
    assert inspectors(found) == ["tls_inspector"]


def test_tls_with_an_address_needs_no_name():
    found = built("203.0.113.20", 443, member(outside("bank.example.com"), "203.0.113.20"))
    assert server_names(found) == [[]]
    assert not found.listener_filters


def test_tls_with_a_network_has_both():
    (chain,) = built(ANY, 443, member(outside("*.saas.example.net"), "203.0.113.0/24")).filter_chains
    assert list(chain.filter_chain_match.server_names) == ["*.saas.example.net"]
    assert prefixes(chain) == ["203.0.113.0/24"]


def test_a_tls_rule_replaces_the_automatic_match():
    bank = outside("bank.example.com")
    route = [
        {"weight": 80, "destination": {"host": "bank.example.com"}},
        {"weight": 20, "destination": {"host": "dr.example.com", "subset": "s"}},
    ]
    given = rule(
        "bank", hosts=["bank.example.com"], tls=[{"match": [{"sniHosts": ["bank.example.com"]}], "route": route}]
    )
    made = listeners.outbound(listener_input(ANY, 443, member(bank, virtual_services=(given,))))
    (chain,) = listener(made).filter_chains
    assert tcp(chain).stat_prefix == "bank.shop"
    assert [(c.name, c.weight) for c in tcp(chain).weighted_clusters.clusters] == [
        ("outbound|443||bank.example.com", 80),
        ("outbound|443|s|dr.example.com", 20),
    ]
    assert chain.metadata.filter_metadata["istio"]["config"].endswith("/virtual-service/bank")
    assert ("VirtualService/shop/bank", "spec.tls[0].match[0]") in {(str(o.ref), o.field) for o in made.all_origins()}


@pytest.mark.parametrize(
    "match",
    [
        {"sniHosts": ["x.example.com"], "port": 444},
        {"sniHosts": ["x.example.com"], "gateways": ["shop/front"]},
        {"sniHosts": ["x.example.com"], "sourceNamespace": "payments"},
        {"sniHosts": ["*x.example.com"]},
        {"sniHosts": ["x.example.com"], "destinationSubnets": ["no network"]},
    ],
)
def test_tls_matches_that_cannot_hold(match):
    route = [{"destination": {"host": "other.example.com"}}]
    given = rule("x", hosts=["x.example.com"], tls=[{"match": [match], "route": route}])
    (chain,) = built(ANY, 443, member(outside("x.example.com"), virtual_services=(given,))).filter_chains
    assert tcp(chain).cluster == "outbound|443||x.example.com"


def test_two_tls_hosts_on_one_address():
    route = [{"destination": {"host": "a.example.com"}}]
    given = rule("a", hosts=["a.example.com"], tls=[{"match": [{"sniHosts": ["a.example.com"]}], "route": route}])
    first = member(outside("a.example.com"), "192.0.2.1", virtual_services=(given,))
    found = built("192.0.2.1", 443, first, member(outside("b.example.com"), "192.0.2.1"))
    assert server_names(found) == [["a.example.com"]]
    assert tcp(found.default_filter_chain).cluster == "outbound|443||b.example.com"


def test_a_chain_that_overlaps_an_older_one_keeps_what_is_left():
    route = [{"destination": {"host": "b.example.com"}}]
    names = ["a.example.com", "b.example.com"]
    given = rule("b", hosts=["b.example.com"], tls=[{"match": [{"sniHosts": names}], "route": route}])
    first, second = member(outside("a.example.com")), member(outside("b.example.com"), virtual_services=(given,))
    made = listeners.outbound(listener_input(ANY, 443, first, second))
    assert server_names(listener(made)) == [["a.example.com"], ["b.example.com"]]
    assert made.decisions[0].losers[0].name == "b"


def test_a_wildcard_name_resolved_on_demand():
    found = built(ANY, 443, member(outside("*.example.com", resolution=Resolution.DYNAMIC_DNS)))
    (chain,) = found.filter_chains
    assert [f.name.rpartition(".")[2] for f in chain.filters] == ["sni_dynamic_forward_proxy", "tcp_proxy"]


# TCP rules


def tcp_rule(*routes):
    return rule("db", hosts=["db.example.com"], tcp=list(routes))


def with_rule(*routes, address=""):
    db = outside("db.example.com", Protocol.TCP, 5432)
    bind = ANY if "/" in address or not address else address
    return built(bind, 5432, member(db, address, virtual_services=(tcp_rule(*routes),)))


TO_B = [{"destination": {"host": "b.example.com"}}]


def test_a_tcp_rule_without_networks_takes_everything():
    found = with_rule({"route": TO_B}, {"route": [{"destination": {"host": "never.example.com"}}]})
    (chain,) = found.filter_chains
    assert tcp(chain).cluster == "outbound|5432||b.example.com"
    assert chain.HasField("metadata")


def test_a_tcp_rule_by_network_leaves_the_rest_to_the_service():
    found = with_rule({"match": [{"destinationSubnets": ["10.1.0.0/16", "10.2.0.0/16"]}], "route": TO_B})
    (chain,) = found.filter_chains
    assert prefixes(chain) == ["10.1.0.0/16", "10.2.0.0/16"]
    assert not chain.HasField("metadata")
    assert tcp(found.default_filter_chain).cluster == "outbound|5432||db.example.com"


def test_a_tcp_rule_for_the_services_own_network_is_all_there_is():
    found = with_rule({"match": [{"destinationSubnets": ["192.0.2.0/24"]}], "route": TO_B}, address="192.0.2.0/24")
    assert [tcp(c).cluster for c in found.filter_chains] == ["outbound|5432||b.example.com"]


def test_a_tcp_rule_for_others_changes_nothing():
    found = with_rule({"match": [{"sourceLabels": {"track": "stable"}}], "route": TO_B}, address="192.0.2.1")
    assert tcp(found.filter_chains[0]).cluster == "outbound|5432||db.example.com"


# Sniffed ports


def test_a_port_without_protocol_is_sniffed_on_its_address():
    relay = service("relay.shop.svc.cluster.local", Port(9000, "relay", Protocol.AUTO))
    found = built("10.96.0.3", 9000, member(relay, "10.96.0.3"))
    (chain,) = found.filter_chains
    assert manager(chain).rds.route_config_name == "relay.shop.svc.cluster.local:9000"
    assert tcp(found.default_filter_chain).cluster == "outbound|9000||relay.shop.svc.cluster.local"
    assert inspectors(found) == ["http_inspector"]


def test_a_port_without_protocol_on_the_wildcard_uses_the_shared_routes():
    found = built(ANY, 9000, member(outside("auto.example.com", Protocol.AUTO, 9000)))
    assert manager(found.filter_chains[0]).rds.route_config_name == "9000"


# Mongo and MySQL


def test_mongo_has_its_filter():
    found = built("10.0.0.1", 27017, member(outside("m.example.com", Protocol.MONGO, 27017), "10.0.0.1"))
    assert [f.name.rpartition(".")[2] for f in found.filter_chains[0].filters] == ["mongo_proxy", "tcp_proxy"]


@pytest.mark.parametrize(("created", "winner"), [("1", "my"), ("3", "web")])
def test_mysql_shares_with_nobody(created, winner):
    mysql = member(outside("my.example.com", Protocol.MYSQL, 80, created=created))
    made = listeners.outbound(listener_input(ANY, 80, mysql, http=WEB, http_port=WEB.ports[0]))
    assert made.decisions[0].winner.name == winner
    assert [c.filters[0].name.rpartition(".")[2] for c in listener(made).filter_chains] == [
        "tcp_proxy" if winner == "my" else "http_connection_manager"
    ]


# Where ports listen


@pytest.mark.parametrize(
    ("host", "protocol", "changes", "expected"),
    [
        ("a.example.com", Protocol.HTTP, {"addresses": ("192.0.2.1",)}, [(ANY, "")]),
        ("a.example.com", Protocol.TCP, {}, [(ANY, "")]),
        ("a.example.com", Protocol.TCP, {"addresses": ("192.0.2.1", "192.0.2.1")}, [("192.0.2.1", "192.0.2.1")]),
        ("a.example.com", Protocol.AUTO, {"addresses": ("192.0.2.9/32",)}, [("192.0.2.9", "192.0.2.9")]),
        ("a.example.com", Protocol.TLS, {"addresses": ("192.0.2.7/24",)}, [(ANY, "192.0.2.0/24")]),
        ("a.example.com", Protocol.TCP, {"auto_addresses": ("240.240.0.1",)}, [(ANY, "")]),
        ("a.example.com", Protocol.UDP, {}, []),
        ("a.shop.svc.cluster.local", Protocol.TCP, {"resolution": Resolution.PASSTHROUGH}, []),
        ("a.shop.svc.cluster.local", Protocol.HTTP, {"resolution": Resolution.PASSTHROUGH}, [(ANY, "")]),
        ("a.shop.svc.cluster.local", Protocol.TCP, {"resolution": Resolution.ALIAS}, []),
        ("a.shop.svc.cluster.local", Protocol.TCP, {"addresses": ("10.0.0.1", "fd00::1")}, [("10.0.0.1", "10.0.0.1")]),
    ],
)
def test_binds(host, protocol, changes, expected):
    given = outside(host, protocol, 7000, **changes)
    assert list(listeners.binds(given, given.ports[0], CLIENT)) == expected


def test_binds_of_allocated_addresses():
    given = outside("a.example.com", Protocol.TCP, 7000, auto_addresses=("240.240.0.1", "2001:2::1"))
    capture = msgspec.structs.replace(CLIENT, dns_capture=True)
    assert listeners.binds(given, given.ports[0], capture) == (("240.240.0.1", "240.240.0.1"),)


@pytest.mark.parametrize("port", [15001, 15006, 15021, 15090])
def test_ports_of_the_sidecar_are_not_for_services(port):
    for protocol in (Protocol.HTTP, Protocol.TCP):
        given = outside("a.example.com", protocol, port)
        assert listeners.binds(given, given.ports[0], CLIENT) == ()
    own = outside("a.example.com", Protocol.TCP, port, addresses=("192.0.2.1",))
    assert listeners.binds(own, own.ports[0], CLIENT)


def test_two_ip_families():
    both = msgspec.structs.replace(CLIENT, ipv6=True)
    wide = http(proxy=both)
    assert [a.address.socket_address.address for a in wide.additional_addresses] == ["::"]
    dual = outside("a.shop.svc.cluster.local", Protocol.TCP, 7000, addresses=("10.0.0.1", "fd00::1"))
    found = built("10.0.0.1", 7000, member(dual, "10.0.0.1"), proxy=both)
    assert [a.address.socket_address.address for a in found.additional_addresses] == ["fd00::1"]
    assert not http().additional_addresses


# virtualOutbound


def test_virtual_outbound():
    found = listener(listeners.virtual_outbound(ALLOW, listener_defaults(access_log=AccessLog(path="/x")), CLIENT))
    loop, rest = found.filter_chains
    assert (loop.name, loop.filter_chain_match.destination_port.value) == ("virtualOutbound-blackhole", 15001)
    assert tcp(loop).cluster == "BlackHoleCluster" and not tcp(loop).access_log
    assert (rest.name, tcp(rest).cluster) == ("virtualOutbound-catchall-tcp", "PassthroughCluster")
    assert len(tcp(rest).access_log) == len(found.access_log) == 1
    assert found.use_original_dst.value
    assert found.max_connections_to_accept_per_socket_event.value == 1
    assert not found.HasField("transparent")


def test_virtual_outbound_by_interception():
    def made(mode):
        proxy = msgspec.structs.replace(CLIENT, interception=mode)
        return listeners.virtual_outbound(BLOCK, listener_defaults(), proxy)

    assert made(Interception.NONE) is None
    assert listener(made(Interception.TPROXY)).transparent.value
    assert tcp(listener(made(Interception.REDIRECT)).filter_chains[1]).cluster == "BlackHoleCluster"


def test_http_proxy():
    found = listener(listeners.http_proxy(15002, CatchAll(allow=True), listener_defaults(), CLIENT))
    assert found.name == "127.0.0.1_15002"
    assert manager(found.filter_chains[0]).rds.route_config_name == "http_proxy"
    assert manager(found.filter_chains[0]).http_protocol_options.allow_absolute_url.value
    assert listeners.http_proxy(0, CatchAll(allow=True), listener_defaults(), CLIENT) is None


# Assembling


def test_a_cached_builder_gives_the_same_listener_and_is_asked_once_a_member():
    given = listener_input(ANY, 443, *(member(outside(f"h{i}.example.com")) for i in range(5)))
    cache, asked = {}, []

    def cached(chain_input):
        if chain_input not in cache:
            asked.append(chain_input)
            cache[chain_input] = chains.build(chain_input)
        return cache[chain_input]

    once, again = listeners.assemble(given, cached), listeners.assemble(given, cached)
    assert once.body == again.body == listeners.outbound(given).body
    assert len(asked) == 5
    assert asked == listeners.chain_inputs(given)


def test_what_stands_outside_the_chains_does_not_change_with_the_members():
    def frame(*members):
        found = built(ANY, 443, *members)
        found.ClearField("filter_chains")
        return found

    a, b, c = (member(outside(f"{n}.example.com")) for n in "abc")
    assert frame(a) == frame(b, c)


def test_a_listener_for_nobody_is_left_out():
    assert listeners.outbound(listener_input(ANY, 80)) is None


MEMBERS = st.builds(
    lambda name, protocol, address, created: member(
        outside(f"{name}.example.com", protocol, 7000, created=created), address
    ),
    st.sampled_from("abcd"),
    st.sampled_from([p for p in Protocol if not p.is_http and p is not Protocol.UDP]),
    st.sampled_from(["", "10.0.0.0/8", "10.0.0.0/16", "192.0.2.1", "nonsense/x"]),
    st.sampled_from("123"),
)


@settings(max_examples=80, deadline=None)
@given_any(st.lists(MEMBERS, max_size=6), st.booleans(), st.sampled_from([ANY, "10.0.0.1"]))
def test_any_company_makes_one_listener_without_two_equal_matches(members, with_http, bind):
    members.sort(key=lambda m: m.service.created)
    given = listener_input(bind, 7000, *members, http=WEB if with_http else None)
    first, again = listeners.outbound(given), listeners.outbound(given)
    assert first == again
    if first is not None:
        found = listener(first)
        matches = [c.filter_chain_match.SerializeToString(deterministic=True) for c in found.filter_chains]
        assert len(matches) == len(set(matches))
        assert len(found.filter_chains) >= 1


@pytest.mark.parametrize(
    ("families", "beside", "others"),
    [({"ipv4": False, "ipv6": True}, True, ["0.0.0.0"]), ({"ipv4": False, "ipv6": True}, False, []), ({}, True, [])],
)
def test_ipv4_may_be_listened_for_beside_ipv6(families, beside, others):
    proxy = msgspec.structs.replace(CLIENT, **families, ipv4_beside_ipv6=beside)
    found = listener(listeners.virtual_outbound(CatchAll(allow=True), listener_defaults(), proxy))
    assert [a.address.socket_address.address for a in found.additional_addresses] == others
    families = protos.Cluster.DnsLookupFamily
    assert (forward_proxy.lookup_family(proxy) == families.Value("ALL")) == bool(others)
