"""From a cluster's name to endpoints: types, priorities, health, transport sockets, tunnels."""

from typing import Any

import pytest

from tests.unit.explain.worlds import (
    RAW,
    TYPE,
    at,
    chain,
    cluster,
    endpoint,
    explain,
    extension,
    get,
    group,
    hcm,
    host,
    listener,
    route,
    tcp,
    tls_socket,
    web,
)
from tidegate.explain.connection import Connection, TlsHello
from tidegate.explain.trace import End


def reach(*clusters: dict[str, Any], **rest: Any) -> End:
    return explain([listener("l", "0.0.0.0", 80, chain(tcp()))], at(), list(clusters), **rest).end


def shares(end: End) -> dict[str, float]:
    return {each.address.partition(":")[0]: round(each.share, 4) for each in end.endpoints}


UP, DOWN = {"healthStatus": "HEALTHY"}, {"healthStatus": "UNHEALTHY"}


def test_missing_and_empty_clusters() -> None:
    end = reach()
    assert (end.kind, end.cluster, end.response_flags, end.http_status) == ("no_cluster", "c", ("NC",), None)
    end = reach(cluster("c", group()))
    assert (end.kind, end.response_flags, end.http_status) == ("no_endpoints", ("UH",), None)
    assert web(get(), host(route()), clusters=[cluster("c", group())]).end.http_status == 503


def test_endpoints_come_from_discovery_by_service_name() -> None:
    eds = {"name": "c", "type": "EDS", "edsClusterConfig": {"serviceName": "svc"}}
    found = {"clusterName": "svc", "endpoints": [group(endpoint("10.1.1.1"))]}
    assert shares(reach(eds, endpoints=[found])) == {"10.1.1.1": 1}
    assert reach(eds, endpoints=[]).kind == "no_endpoints"


def test_a_dump_without_endpoints_says_so() -> None:
    given = {"listeners": [listener("l", "0.0.0.0", 80, chain(tcp()))], "clusters": [{"name": "c", "type": "EDS"}]}
    from tidegate.explain.config import read_config
    from tidegate.explain.interpret import interpret

    trace = interpret(read_config(given), at())
    assert trace.end.kind == "forwarded" and not trace.end.endpoints
    assert "include_eds" in trace.unknown[0].why


def test_weights() -> None:
    members = group(endpoint("a", loadBalancingWeight=1), endpoint("b", loadBalancingWeight=3))
    assert shares(reach(cluster("c", members))) == {"a": 0.25, "b": 0.75}


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ((UP, UP), (UP,), {"a0": 0.5, "a1": 0.5}),
        ((UP, DOWN), (UP,), {"a0": 0.7, "b0": 0.3}),
        ((DOWN, DOWN), (UP,), {"b0": 1}),
        ((DOWN, DOWN), (DOWN,), {}),
        (({"healthStatus": "DEGRADED"},), (UP,), {"b0": 1}),
        (({"healthStatus": "DEGRADED"},), (DOWN,), {"a0": 1}),
        (({"healthStatus": "DRAINING"},), ({"healthStatus": "TIMEOUT"},), {}),
    ],
)
def test_priorities_and_health(first: Any, second: Any, expected: dict[str, float]) -> None:
    groups = [
        group(*(endpoint(f"a{n}", **each) for n, each in enumerate(first))),
        group(*(endpoint(f"b{n}", **each) for n, each in enumerate(second)), priority=1),
    ]
    end = reach(cluster("c", *groups, commonLbConfig={"healthyPanicThreshold": {}}))
    assert shares(end) == (expected or dict.fromkeys(shares(end), 0.0))
    assert end.kind == ("forwarded" if expected else "no_endpoints")


def test_panic_uses_everyone() -> None:
    members = group(endpoint("a", **DOWN), endpoint("b", **DOWN))
    assert shares(reach(cluster("c", members))) == {"a": 0.5, "b": 0.5}
    one = group(endpoint("a", **UP), endpoint("b", **DOWN), endpoint("d", **DOWN))
    assert shares(reach(cluster("c", one))) == {"a": 0.3333, "b": 0.3333, "d": 0.3333}


def test_locality_weights() -> None:
    groups = [
        group(endpoint("a"), endpoint("b"), locality={"zone": "1"}, loadBalancingWeight=80),
        group(endpoint("d"), locality={"zone": "2"}, loadBalancingWeight=20),
    ]
    assert shares(reach(cluster("c", *groups))) == {"a": 0.3333, "b": 0.3333, "d": 0.3333}
    weighted = {"commonLbConfig": {"localityWeightedLbConfig": {}}}
    assert shares(reach(cluster("c", *groups, **weighted))) == {"a": 0.4, "b": 0.4, "d": 0.2}


@pytest.mark.parametrize(
    ("settings", "size", "peers", "told"),
    [
        ({}, 6, True, True),
        ({}, 5, True, False),
        ({"minClusterSize": "2"}, 2, True, True),
        ({"routingEnabled": {"value": 0}}, 6, True, False),
        ({"routingEnabled": {}}, 6, True, False),
        ({}, 6, False, False),
        (None, 6, True, False),
    ],
)
def test_zone_aware_routing_is_told(settings: Any, size: int, peers: bool, told: bool) -> None:
    """Shares by zone need the proxy's own: they are not made up."""
    groups = [group(*(endpoint(f"a{n}") for n in range(size - 1)), locality={"zone": "1"})]
    groups.append(group(endpoint("b"), locality={"zone": "2"}))
    asked = {"commonLbConfig": {"zoneAwareLbConfig": settings}} if settings is not None else {}
    known = [{"clusterName": "own", "endpoints": [group(endpoint("10.0.0.9"))]}]
    bootstrap = {"cluster_manager": {"local_cluster_name": "own"}} if peers else {}
    connection = [listener("l", "0.0.0.0", 80, chain(tcp()))], at()
    trace = explain(*connection, [cluster("c", *groups, **asked)], endpoints=known, **bootstrap)
    assert trace.end.kind == "forwarded"
    assert any("zone-aware routing" in each.why for each in trace.unknown) is told


def test_subsets() -> None:
    labels = {v: {"metadata": {"filterMetadata": {"envoy.lb": {"version": v}}}} for v in ("1", "2")}
    members = group(endpoint("a", **labels["1"]), endpoint("b", **labels["2"]))
    config = {"subsetSelectors": [{"keys": ["version"]}], "fallbackPolicy": "ANY_ENDPOINT"}

    def to(version: str) -> End:
        match = {"filterMetadata": {"envoy.lb": {"version": version}}}
        action = route(route={"cluster": "c", "metadataMatch": match})
        return web(get(), host(action), clusters=[cluster("c", members, lbSubsetConfig=config)]).end

    assert shares(to("2")) == {"b": 1}
    assert shares(to("3")) == {"a": 0.5, "b": 0.5}


def test_transport_socket_by_endpoint_splits_the_end() -> None:
    names = {
        "combinedValidationContext": {"defaultValidationContext": {"matchSubjectAltNames": [{"exact": "spiffe://a"}]}}
    }
    certificate = {"tlsCertificateSdsSecretConfigs": [{"name": "default"}]}
    mutual = tls_socket("Upstream", sni="x", commonTlsContext={**names, **certificate})
    matches = [
        {"name": "mesh", "match": {"tlsMode": "istio"}, "transportSocket": mutual},
        {"name": "plain", "match": {}, "transportSocket": RAW},
    ]
    meshed = {"metadata": {"filterMetadata": {"envoy.transport_socket_match": {"tlsMode": "istio"}}}}
    members = group(endpoint("a", **meshed), endpoint("b"), endpoint("d"))
    trace = explain(
        [listener("l", "0.0.0.0", 80, chain(tcp()))], at(), [cluster("c", members, transportSocketMatches=matches)]
    )
    told = {end.upstream_tls.match: end for end in trace.ends if end.upstream_tls}
    assert {name: round(end.probability, 4) for name, end in told.items()} == {"mesh": 0.3333, "plain": 0.6667}
    tls = told["mesh"].upstream_tls
    assert tls is not None
    assert (tls.mode, tls.sni, tls.sans, tls.certificates) == ("mutual", "x", ("spiffe://a",), ("default",))


def test_server_name_from_the_host() -> None:
    options = {
        "@type": TYPE + "upstreams.http.v3.HttpProtocolOptions",
        "upstreamHttpProtocolOptions": {"autoSni": True, "autoSanValidation": True},
        "explicitHttpConfig": {"http2ProtocolOptions": {}},
    }
    secure = cluster(transportSocket=tls_socket("Upstream"), typedExtensionProtocolOptions={"o": options})
    end = web(get("b.test:99"), host(route()), clusters=[secure]).end
    assert end.upstream_tls is not None and end.far_side is not None
    assert (end.upstream_tls.mode, end.upstream_tls.sni, end.upstream_tls.sans) == ("tls", "b.test", ("b.test",))
    assert end.far_side.protocol == "h2"


def test_names_that_the_proxy_resolves_are_told_as_names() -> None:
    assert shares(reach(cluster("c", group(endpoint("far.test")), type="STRICT_DNS"))) == {"far.test": 1}


def test_original_dst_by_header_and_with_another_port() -> None:
    settings = {"useHttpHeader": True, "upstreamPortOverride": 8080}
    original = cluster(type="ORIGINAL_DST", loadAssignment=None, originalDstLbConfig=settings)
    end = web(get(x_envoy_original_dst_host="10.7.7.7:99"), host(route()), clusters=[original]).end
    assert [each.address for each in end.endpoints] == ["10.7.7.7:8080"]


def custom(kind: str, name: str, **settings: Any) -> dict[str, Any]:
    config = {"@type": f"{TYPE}clusters.{kind}.v3.ClusterConfig", **settings}
    return {"name": name, "clusterType": {"name": f"envoy.clusters.{kind}", "typedConfig": config}}


def test_aggregate_takes_the_first_that_can_serve() -> None:
    aggregate = custom("aggregate", "c", clusters=["missing", "empty", "full", "other"])
    end = reach(aggregate, cluster("empty", group()), cluster("full"), cluster("other"))
    assert (end.kind, end.cluster) == ("forwarded", "full")
    assert reach(custom("aggregate", "c", clusters=["c"])).kind == "unknown"


def test_clusters_that_lead_to_many_that_lead_to_many() -> None:
    layers = [custom("aggregate", f"c{n}", clusters=[f"c{n + 1}"] * 32) for n in range(7)]
    empty = {"name": "c7", "type": "STATIC"}
    layers[0]["name"] = "c"
    assert reach(*layers, empty).kind == "unknown"


def test_dynamic_forward_proxy() -> None:
    dynamic = custom("dynamic_forward_proxy", "c")
    end = web(get("far.test:81"), host(route()), clusters=[dynamic]).end
    assert (end.cluster_type, [each.address for each in end.endpoints]) == ("DYNAMIC_FORWARD_PROXY", ["far.test:81"])
    sniffing = extension(TYPE + "filters.network.sni_dynamic_forward_proxy.v3.FilterConfig", portValue=444)
    inspect = extension(TYPE + "filters.listener.tls_inspector.v3.TlsInspector")
    listeners = [listener("l", "0.0.0.0", 80, chain(sniffing, tcp()), listenerFilters=[inspect])]
    end = explain(listeners, at(tls=TlsHello("far.test")), [dynamic]).end
    assert [each.address for each in end.endpoints] == ["far.test:444"]
    assert explain(listeners, at(tls=TlsHello()), [dynamic]).end.kind == "no_endpoints"


def test_cluster_named_by_the_server_name() -> None:
    by_name = extension(TYPE + "filters.network.sni_cluster.v3.SniCluster")
    inspect = extension(TYPE + "filters.listener.tls_inspector.v3.TlsInspector")
    listeners = [listener("l", "0.0.0.0", 80, chain(by_name, tcp("none")), listenerFilters=[inspect])]
    assert explain(listeners, at(tls=TlsHello("x.y")), [cluster("x.y")]).end.cluster == "x.y"


def test_weighted_tcp_and_tunnel() -> None:
    weights = {"clusters": [{"name": "a", "weight": 1}, {"name": "b", "weight": 3}]}
    tunnel = {"hostname": "%DOWNSTREAM_LOCAL_ADDRESS%"}
    proxy = chain(tcp("", weightedClusters=weights, tunnelingConfig=tunnel))
    ends = explain([listener("l", "0.0.0.0", 80, proxy)], at("10.0.0.5"), [cluster("a"), cluster("b")]).ends
    assert [(end.cluster, end.probability) for end in ends] == [("b", 0.75), ("a", 0.25)]
    assert ends[0].far_side is not None and ends[0].far_side.tunnel is not None
    assert (ends[0].far_side.tunnel.host, ends[0].far_side.tunnel.method) == ("10.0.0.5:80", "CONNECT")


def internal(name: str) -> dict[str, Any]:
    inner = {"endpoint": {"address": {"envoyInternalAddress": {"serverListenerName": name}}}}
    return cluster("c", group(inner))


def test_listeners_inside_the_proxy_are_walked_through() -> None:
    inner = {"name": "inner", "internalListener": {}, "filterChains": [chain(tcp("far"))]}
    outer = listener("l", "0.0.0.0", 80, chain(tcp()))
    trace = explain([outer, inner], at(), [internal("inner"), cluster("far")])
    assert (trace.end.cluster, [step.name for step in trace.steps if step.stage == "listener"]) == (
        "far",
        ["l", "inner"],
    )
    assert explain([outer], at(), [internal("inner")]).end.kind == "no_listener"


def test_listeners_that_lead_to_one_another_end() -> None:
    inner = {"name": "inner", "internalListener": {}, "filterChains": [chain(tcp())]}
    outer = listener("l", "0.0.0.0", 80, chain(tcp()))
    assert explain([outer, inner], at(), [internal("inner")]).end.kind == "unknown"


def test_source_address_that_the_far_side_sees() -> None:
    bound = cluster(upstreamBindConfig={"sourceAddress": {"address": "127.0.0.6", "portValue": 0}})
    end = reach(bound)
    assert end.far_side is not None and end.far_side.source == "127.0.0.6"
    kept = extension(TYPE + "filters.listener.original_src.v3.OriginalSrc")
    listeners = [listener("l", "0.0.0.0", 80, chain(tcp()), listenerFilters=[kept])]
    for clusters in (None, [bound]):
        end = explain(listeners, Connection("gateway", "10.0.0.1", 80, source_ip="10.3.3.3"), clusters).end
        assert end.far_side is not None and end.far_side.source == "10.3.3.3"


@pytest.mark.parametrize(("address", "expected"), [("10.0.0.9", "127.0.0.6"), ("2001:db8::9", "::6")])
def test_of_several_source_addresses_the_one_of_the_endpoints_family(address: str, expected: str) -> None:
    sources = {
        "sourceAddress": {"address": "127.0.0.6", "portValue": 0},
        "extraSourceAddresses": [{"address": {"address": "::6", "portValue": 0}}],
    }
    end = reach(cluster("c", group(endpoint(address)), upstreamBindConfig=sources))
    assert end.far_side is not None and end.far_side.source == expected


def test_network_access_control() -> None:
    def to(port: int, action: str) -> str:
        policy = {"permissions": [{"destinationPort": 80}], "principals": [{"any": True}]}
        rules = {"action": action, "policies": {"p": policy}}
        control = extension(TYPE + "filters.network.rbac.v3.RBAC", rules=rules)
        return explain([listener("l", "0.0.0.0", port, chain(control, tcp()))], at(port=port)).end.kind

    assert [to(80, "ALLOW"), to(81, "ALLOW"), to(80, "DENY"), to(81, "DENY")] == [
        "forwarded",
        "denied",
        "denied",
        "forwarded",
    ]


def test_network_access_control_waits_for_the_clients_bytes() -> None:
    """The filter judges when data comes: until then the far side is connected, and heard."""
    policy = {"permissions": [{"any": True}], "principals": [{"any": True}]}
    control = extension(TYPE + "filters.network.rbac.v3.RBAC", rules={"action": "DENY", "policies": {"p": policy}})
    end = explain([listener("l", "0.0.0.0", 80, chain(control, tcp()))], at(server_first=True)).end
    assert end.kind == "denied" and end.why.endswith("a server that speaks first is heard until then")


def test_too_many_ends_are_summed_up() -> None:
    weights = [{"name": "c", "weight": 1} for _ in range(1000)]
    ends = web(get(), host(route(route={"weightedClusters": {"clusters": weights}}))).ends
    assert len(ends) == 257 and abs(sum(end.probability for end in ends) - 1) < 1e-6
    assert any(end.kind == "unknown" for end in ends)


def test_http_listener_reaches_inner_listener_as_a_request() -> None:
    inner = {
        "name": "inner",
        "internalListener": {},
        "filterChains": [chain(hcm(host(route(route={"cluster": "far"}))))],
    }
    outer = listener("l", "0.0.0.0", 80, chain(hcm(host(route(route={"cluster": "c", "prefixRewrite": "/in"})))))
    end = explain([outer, inner], at(http=get(path="/")), [internal("inner"), cluster("far")]).end
    assert (end.cluster, end.far_side.path if end.far_side else "") == ("far", "/in")


def test_localities_weighted_by_a_load_balancing_policy() -> None:
    groups = [
        group(endpoint("a"), locality={"zone": "1"}, loadBalancingWeight=90),
        group(endpoint("b"), locality={"zone": "2"}, loadBalancingWeight=10),
    ]

    def policy(config: dict[str, Any]) -> dict[str, Any]:
        return {"loadBalancingPolicy": {"policies": [{"typedExtensionConfig": config}]}}

    kind = TYPE + "load_balancing_policies."
    wrr = policy(extension(kind + "wrr_locality.v3.WrrLocality"))
    inner = {"localityWeightedLbConfig": {}}
    least = policy(extension(kind + "least_request.v3.LeastRequest", localityLbConfig=inner))
    plain = policy(extension(kind + "least_request.v3.LeastRequest"))
    for settings, share in ((wrr, 0.9), (least, 0.9), (plain, 0.5)):
        assert shares(reach(cluster("c", *groups, **settings)))["a"] == share


def test_clusters_asked_for_on_demand_are_not_missing_for_good() -> None:
    listeners = [listener("l", "0.0.0.0", 80, chain(tcp(onDemand={})))]
    trace = explain(listeners, at(), [])
    assert trace.end.kind == "unknown" and "on demand" in trace.unknown[0].why
    demand = extension(TYPE + "filters.http.on_demand.v3.OnDemand", odcds={})
    assert web(get(), host(route()), clusters=[], filters=(demand,)).end.kind == "unknown"


def test_what_keeps_a_request_with_one_endpoint() -> None:
    policy = [
        {"header": {"headerName": "x-user"}},
        {"cookie": {"name": "s"}},
        {"connectionProperties": {"sourceIp": True}},
    ]
    end = web(get(), host(route(route={"cluster": "c", "hashPolicy": policy}))).end
    assert end.hashed_by == ("header x-user", "cookie s", "source address")


def test_server_name_from_another_header_or_the_endpoint() -> None:
    automatic = {"autoSni": True, "overrideAutoSniHeader": "x-sni"}
    options = {"@type": TYPE + "upstreams.http.v3.HttpProtocolOptions", "upstreamHttpProtocolOptions": automatic}
    secure = cluster(transportSocket=tls_socket("Upstream"), typedExtensionProtocolOptions={"o": options})
    end = web(get(x_sni="other.test"), host(route()), clusters=[secure]).end
    assert end.upstream_tls is not None and end.upstream_tls.sni == "other.test"
    named = cluster("c", group(endpoint("10.0.0.9")), transportSocket=tls_socket("Upstream", autoHostSni=True))
    named["loadAssignment"]["endpoints"][0]["lbEndpoints"][0]["endpoint"]["hostname"] = "far.test"
    end = reach(named)
    assert end.upstream_tls is not None and end.upstream_tls.sni == "far.test"


def test_a_tunnel_through_a_listener_inside_the_proxy() -> None:
    connect = route({"connectMatcher": {}}, name="tunnel", route={"cluster": "far"})
    upgrade = [{"upgradeType": "CONNECT"}]
    outer = listener("l", "0.0.0.0", 80, chain(tcp(tunnelingConfig={"hostname": "10.7.7.7:9"})))
    for upgrades, kind in ((upgrade, "forwarded"), ([], "protocol_error")):
        inner = {"name": "inner", "filterChains": [chain(hcm(host(connect), upgradeConfigs=upgrades))]}
        trace = explain([outer, inner], at(), [internal("inner"), cluster("far")])
        assert trace.end.kind == kind
        assert [step.name for step in trace.steps if step.stage == "route"] == ["tunnel"]
