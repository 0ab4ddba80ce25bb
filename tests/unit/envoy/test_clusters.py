"""Outbound clusters."""

import pytest
from google.protobuf import json_format
from hypothesis import given as hypothesis_given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.unit.envoy import given
from tidegate.api.fields import Duration
from tidegate.api.networking import TcpKeepalive
from tidegate.envoy import clusters, protos
from tidegate.registry.model import Port, Protocol, Resolution
from tidegate.scope.proxy import HeaderSettings

UNLIMITED = 2**32 - 1
OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


def made(policy=None, subsets=(), **changes):
    if policy is not None or subsets:
        changes.setdefault("rule", given.rule(policy, subsets))
    return clusters.build(given.cluster(**changes))


def built(policy=None, subsets=(), **changes):
    found = made(policy, subsets, **changes)
    return protos.Cluster.FromString(found.body) if found else None


def options(cluster):
    found = protos.HttpProtocolOptions()
    if OPTIONS in cluster.typed_extension_protocol_options:
        cluster.typed_extension_protocol_options[OPTIONS].Unpack(found)
    return json_format.MessageToDict(found, preserving_proto_field_name=True)


def outside(resolution, *ports, **changes):
    return given.service("api.example.com", *(ports or (given.HTTP,)), resolution=resolution, **changes)


NAMED = (given.endpoint("api.example.com", 8443),)


def test_eds_over_ads():
    cluster = built()
    assert cluster.type == protos.Cluster.EDS
    assert cluster.eds_cluster_config.service_name == cluster.name == "outbound|8080||orders.shop.svc.cluster.local"
    assert cluster.eds_cluster_config.eds_config.HasField("ads")
    assert cluster.eds_cluster_config.eds_config.initial_fetch_timeout.seconds == 0
    assert cluster.alt_stat_name == cluster.name + ";"
    assert cluster.connect_timeout.seconds == 10


def test_defaults_are_without_limits():
    limits = built().circuit_breakers.thresholds[0]
    fields = (limits.max_connections, limits.max_pending_requests, limits.max_requests, limits.max_retries)
    assert [f.value for f in fields] == [UNLIMITED] * 4
    assert built().common_lb_config.HasField("healthy_panic_threshold")
    assert built().lb_policy == protos.Cluster.LEAST_REQUEST


@pytest.mark.parametrize(
    ("resolution", "kind"),
    [
        (Resolution.DNS, protos.Cluster.STRICT_DNS),
        (Resolution.DNS_ROUND_ROBIN, protos.Cluster.LOGICAL_DNS),
        (Resolution.PASSTHROUGH, protos.Cluster.ORIGINAL_DST),
        (Resolution.CLIENT_SIDE, protos.Cluster.EDS),
    ],
)
def test_type_by_resolution(resolution, kind):
    assert built(service=outside(resolution), endpoints=NAMED).type == kind


def test_dns_carries_its_endpoints():
    cluster = built(service=outside(Resolution.DNS), endpoints=NAMED)
    address = cluster.load_assignment.endpoints[0].lb_endpoints[0].endpoint.address.socket_address
    assert (address.address, address.port_value) == ("api.example.com", 8443)
    assert cluster.load_assignment.cluster_name == cluster.name
    assert cluster.respect_dns_ttl
    assert (cluster.dns_refresh_rate.seconds, cluster.dns_jitter.nanos) == (60, 100_000_000)


def test_dns_without_endpoints_is_left_out():
    assert built(service=outside(Resolution.DNS)) is None
    rule = given.rule(None, [{"name": "v1", "labels": {"version": "v1"}}])
    assert built(service=outside(Resolution.DNS), endpoints=NAMED, rule=rule, subset="v1") is None


def test_logical_dns_has_one_endpoint():
    many = (given.endpoint("a.example.com"), given.endpoint("b.example.com", locality="eu"))
    cluster = built(service=outside(Resolution.DNS_ROUND_ROBIN), endpoints=many)
    assert sum(len(p.lb_endpoints) for p in cluster.load_assignment.endpoints) == 1


@pytest.mark.parametrize(
    ("proxy", "family"),
    [({}, "V4_ONLY"), ({"ipv6": True}, "ALL"), ({"ipv4": False, "ipv6": True}, "V6_ONLY")],
)
def test_lookup_family(proxy, family):
    cluster = built(service=outside(Resolution.DNS), endpoints=NAMED, proxy=given.proxy(**proxy))
    assert cluster.dns_lookup_family == protos.Cluster.DnsLookupFamily.Value(family)


def test_connect_race():
    cluster = built(service=outside(Resolution.DNS, connect_race=True), endpoints=NAMED)
    assert (cluster.type, cluster.dns_lookup_family) == (protos.Cluster.LOGICAL_DNS, protos.Cluster.ALL)


def test_original_destination_with_another_port():
    port = Port(80, "http", Protocol.HTTP, 8080)
    cluster = built(service=outside(Resolution.PASSTHROUGH, port), port=port)
    assert cluster.original_dst_lb_config.upstream_port_override.value == 8080
    assert cluster.lb_policy == protos.Cluster.CLUSTER_PROVIDED
    headless = built(service=given.service(resolution=Resolution.PASSTHROUGH), port=port)
    assert not headless.HasField("original_dst_lb_config")


def test_dynamic_dns():
    service = given.service("*.example.com", resolution=Resolution.DYNAMIC_DNS)
    cluster = built(service=service)
    config = protos.DfpClusterConfig()
    cluster.cluster_type.typed_config.Unpack(config)
    assert cluster.cluster_type.name == "envoy.clusters.dynamic_forward_proxy"
    assert config.dns_cache_config.name == "*.example.com_dfp_dns_cache"
    assert built(service=service, port=given.TCP) is None
    assert built(None, [{"name": "v1"}], service=service, subset="v1") is None


def test_aliases_have_no_cluster():
    assert built(service=given.service(resolution=Resolution.ALIAS)) is None


@pytest.mark.parametrize(
    ("settings", "policy"),
    [
        ({"simple": "ROUND_ROBIN"}, "ROUND_ROBIN"),
        ({"simple": "LEAST_CONN"}, "LEAST_REQUEST"),
        ({"simple": "UNSPECIFIED"}, "LEAST_REQUEST"),
        ({"simple": "RANDOM"}, "RANDOM"),
        ({"consistentHash": {"useSourceIp": True}}, "RING_HASH"),
        ({"consistentHash": {"useSourceIp": True, "maglev": {}}}, "MAGLEV"),
        ({}, "LEAST_REQUEST"),
    ],
)
def test_load_balancers(settings, policy):
    assert built({"loadBalancer": settings}).lb_policy == protos.Cluster.LbPolicy.Value(policy)


@pytest.mark.parametrize(
    ("settings", "size"),
    [({}, 1024), ({"minimumRingSize": 64}, 64), ({"ringHash": {"minimumRingSize": 2**60}}, 8 * 2**20)],
)
def test_ring_size(settings, size):
    cluster = built({"loadBalancer": {"consistentHash": {"useSourceIp": True, **settings}}})
    assert cluster.ring_hash_lb_config.minimum_ring_size.value == size


def test_passthrough_makes_any_cluster_follow_the_caller():
    cluster = built({"loadBalancer": {"simple": "PASSTHROUGH"}})
    assert (cluster.type, cluster.lb_policy) == (protos.Cluster.ORIGINAL_DST, protos.Cluster.CLUSTER_PROVIDED)
    assert not cluster.HasField("eds_cluster_config")


def test_warmup():
    cluster = built({"loadBalancer": {"simple": "ROUND_ROBIN", "warmup": {"duration": "90s", "aggression": 1.5}}})
    slow = cluster.round_robin_lb_config.slow_start_config
    assert (slow.slow_start_window.seconds, slow.aggression.default_value) == (90, 1.5)
    assert built({"loadBalancer": {"warmupDurationSecs": "5s"}}).HasField("least_request_lb_config")
    assert not built({"loadBalancer": {"simple": "RANDOM", "warmup": {"duration": "9s"}}}).HasField(
        "round_robin_lb_config"
    )


def test_outlier_detection():
    block = {"consecutive5xxErrors": 0, "consecutiveGatewayErrors": 3, "maxEjectionPercent": 40, "minHealthPercent": 25}
    cluster = built({"outlierDetection": block})
    out = cluster.outlier_detection
    assert (out.enforcing_consecutive_5xx.value, out.enforcing_consecutive_gateway_failure.value) == (0, 100)
    assert out.HasField("consecutive_5xx")
    assert (out.enforcing_success_rate.value, out.HasField("enforcing_success_rate")) == (0, True)
    assert cluster.common_lb_config.healthy_panic_threshold.value == 25


def test_error_codes_for_outlier_detection():
    matcher = options(built({"outlierDetection": {"outlierDetectionHttpErrorCodes": [500, 503]}}))
    assert len(matcher["outlier_detection"]["error_matcher"]["or_match"]["rules"]) == 2


def test_keepalive_field_by_field_over_the_mesh():
    mesh = TcpKeepalive(probes=3, time=Duration.of(seconds=120), interval=Duration.of(seconds=15))
    policy = {"connectionPool": {"tcp": {"tcpKeepalive": {"time": "30s"}}}}
    found = built(policy, defaults=given.defaults(tcp_keepalive=mesh)).upstream_connection_options.tcp_keepalive
    assert (found.keepalive_probes.value, found.keepalive_time.value, found.keepalive_interval.value) == (3, 30, 15)
    assert not built().HasField("upstream_connection_options")


@pytest.mark.parametrize(
    ("port", "http", "upgrade", "wanted"),
    [
        (given.HTTP, {}, False, None),
        (given.GRPC, {}, False, "http2"),
        (given.AUTO, {}, False, "downstream"),
        (given.TCP, {}, False, None),
        (given.HTTP, {"useClientProtocol": True}, False, "downstream"),
        (given.GRPC, {"useClientProtocol": True}, False, "downstream"),
        (given.HTTP, {"h2UpgradePolicy": "UPGRADE"}, False, "http2"),
        (given.AUTO, {"h2UpgradePolicy": "UPGRADE"}, False, "downstream"),
        (given.HTTP, {}, True, "http2"),
        (given.TCP, {}, True, None),
        (given.HTTP, {"h2UpgradePolicy": "DO_NOT_UPGRADE"}, True, None),
        (given.HTTP, {"maxRequestsPerConnection": 1}, False, "http1"),
    ],
)
def test_protocol(port, http, upgrade, wanted):
    cluster = built({"connectionPool": {"http": http}}, port=port, defaults=given.defaults(h2_upgrade=upgrade))
    found = options(cluster)
    explicit = found.get("explicit_http_config", {})
    kind = "downstream" if "use_downstream_protocol_config" in found else None
    kind = "http2" if "http2_protocol_options" in explicit else "http1" if explicit else kind
    assert kind == wanted


def test_idle_timeout_of_http_wins_over_that_of_tcp():
    tcp = {"tcp": {"idleTimeout": "45s"}}
    assert options(built({"connectionPool": tcp}))["common_http_protocol_options"]["idle_timeout"] == "45s"
    both = built({"connectionPool": {**tcp, "http": {"idleTimeout": "20s"}}})
    assert options(both)["common_http_protocol_options"]["idle_timeout"] == "20s"


def test_retry_budget_defaults():
    budget = built({"retryBudget": {}}).circuit_breakers.thresholds[0].retry_budget
    assert (budget.budget_percent.value, budget.min_retry_concurrency.value) == (20, 3)


def test_mesh_policy_seeds_blocks():
    mesh = given.mesh_policy({"connectionPool": {"tcp": {"maxConnections": 9}}})
    assert built(defaults=given.defaults(traffic_policy=mesh)).circuit_breakers.thresholds[0].max_connections.value == 9


def test_metadata():
    rule = given.rule(None, [{"name": "v1"}])
    istio = json_format.MessageToDict(built(rule=rule, subset="v1").metadata.filter_metadata["istio"])
    assert istio == {
        "services": [{"host": "orders.shop.svc.cluster.local", "name": "orders", "namespace": "shop"}],
        "config": "/apis/networking.istio.io/v1/namespaces/shop/destination-rule/orders",
        "subset": "v1",
    }
    external = json_format.MessageToDict(
        built(service=outside(Resolution.CLIENT_SIDE)).metadata.filter_metadata["istio"]
    )
    assert external["external"] is True
    assert external["services"][0]["name"] == "api.example.com"


def test_stat_name_pattern():
    pattern = "%SERVICE%_%SERVICE_FQDN%_%SERVICE_NAME%_%SERVICE_PORT_NAME%_%TARGET_PORT%_%SUBSET_NAME%_%ODD%"
    cluster = built(defaults=given.defaults(outbound_stat_name=pattern))
    assert cluster.alt_stat_name == "orders.shop_orders.shop.svc.cluster.local_orders_http_8080__%ODD%;"


def test_origins_name_the_blocks():
    item = made(
        {"loadBalancer": {"simple": "RANDOM"}},
        [{"name": "v1", "trafficPolicy": {"connectionPool": {"tcp": {"maxConnections": 1}}}}],
        subset="v1",
    )
    found = {o.path: (o.ref.kind, o.field) for o in item.origins}
    assert found[""] == ("Service", "spec")
    assert found["lb_policy"] == ("DestinationRule", "spec.trafficPolicy.loadBalancer")
    assert found["circuit_breakers"] == ("DestinationRule", "spec.subsets[0].trafficPolicy.connectionPool")


def test_subset_named_twice_is_told():
    item = made(None, [{"name": "v1"}, {"name": "v1"}], subset="v1")
    assert [d.subject for d in item.decisions] == [
        "subset v1 of cluster outbound|8080|v1|orders.shop.svc.cluster.local"
    ]


def test_same_input_same_bytes():
    policy = {"connectionPool": {"http": {"maxRetries": 3, "idleTimeout": "9s"}}, "tls": {"mode": "SIMPLE"}}
    assert made(policy).body == made(policy).body


DURATIONS = st.sampled_from(["0s", "1ms", "1.5s", "-1s", "10000h"])
COUNTS = st.sampled_from([-(2**31), -1, 0, 1, 2**31 - 1])
SIZES = st.sampled_from([0, 1, 2**32 - 1])


def fields(**optional):
    return st.fixed_dictionaries({}, optional=optional)


KEEPALIVE = fields(probes=SIZES, time=DURATIONS, interval=DURATIONS)
POLICIES = fields(
    loadBalancer=st.one_of(
        fields(simple=st.sampled_from(["RANDOM", "PASSTHROUGH", "LEAST_CONN"]), warmup=fields(duration=DURATIONS)),
        fields(consistentHash=fields(minimumRingSize=st.sampled_from([0, 2**63]), maglev=fields(tableSize=SIZES))),
        fields(localityLbSetting=fields(enabled=st.booleans(), failoverPriority=st.just(["a", "b"]))),
    ),
    connectionPool=fields(
        tcp=fields(maxConnections=COUNTS, connectTimeout=DURATIONS, tcpKeepalive=KEEPALIVE, idleTimeout=DURATIONS),
        http=fields(
            http2MaxRequests=COUNTS,
            maxRequestsPerConnection=COUNTS,
            useClientProtocol=st.booleans(),
            http2KeepAlive=fields(interval=DURATIONS, timeout=DURATIONS),
        ),
    ),
    outlierDetection=fields(
        consecutive5xxErrors=SIZES,
        interval=DURATIONS,
        maxEjectionPercent=COUNTS,
        minHealthPercent=COUNTS,
        outlierDetectionHttpErrorCodes=st.lists(SIZES, max_size=3),
        splitExternalLocalOriginErrors=st.booleans(),
    ),
    tls=fields(
        mode=st.sampled_from(["DISABLE", "SIMPLE", "MUTUAL", "ISTIO_MUTUAL"]),
        credentialName=st.sampled_from(["", "x", "configmap://x"]),
        caCertificates=st.sampled_from(["", "system", "/ca.pem"]),
        insecureSkipVerify=st.booleans(),
    ),
    proxyProtocol=fields(version=st.sampled_from(["V1", "V2"])),
    retryBudget=fields(percent=st.floats(0, 100), minRetryConcurrency=SIZES),
)


@hypothesis_settings(max_examples=150, deadline=None)
@hypothesis_given(
    POLICIES,
    st.sampled_from(list(Resolution)),
    st.sampled_from([given.HTTP, given.TCP, given.AUTO, given.GRPC]),
    st.booleans(),
)
def test_no_policy_breaks_the_builder(policy, resolution, port, mtls):
    rule = given.rule(policy)
    item = {"service": outside(resolution, port), "port": port, "endpoints": NAMED, "proxy": given.proxy(mtls=mtls)}
    first, second = made(rule=rule, **item), made(rule=rule, **item)
    assert (first and first.body) == (second and second.body)
    if first is not None:
        assert protos.Cluster.FromString(first.body).name == first.name


def h1(cluster):
    return options(cluster).get("explicit_http_config", {}).get("http_protocol_options", {})


def test_gateways_call_ports_without_a_protocol_with_http1():
    assert options(built(port=given.AUTO, proxy=given.proxy(router=True))) == {}


def test_limits_of_http2_are_for_clusters_that_always_speak_it():
    limits = {"connectionPool": {"http": {"maxConcurrentStreams": 7, "http2KeepAlive": {"interval": "5s"}}}}
    spoken = options(built(limits, port=given.GRPC))
    found = spoken["explicit_http_config"]["http2_protocol_options"]
    assert (found["max_concurrent_streams"], found["connection_keepalive"]["interval"]) == (7, "5s")
    assert spoken["common_http_protocol_options"] == {}
    unknown = options(built(limits, port=given.AUTO))["use_downstream_protocol_config"]
    assert unknown["http2_protocol_options"] == {}


def test_the_case_of_headers_can_be_kept():
    keeping = given.proxy(headers=HeaderSettings(keeps_case=True))
    assert h1(built(proxy=keeping))["header_key_format"]["stateful_formatter"]["name"] == "preserve_case"
    assert h1(built({"connectionPool": {"http": {"h2UpgradePolicy": "UPGRADE"}}}, proxy=keeping))
    assert "header_key_format" not in str(options(built(port=given.GRPC, proxy=keeping)))
    assert "header_key_format" in str(options(built(port=given.AUTO, proxy=keeping)))
    assert options(built(port=given.TCP, proxy=keeping)) == {}


def test_a_hash_without_a_size_leaves_envoys():
    ring = built({"loadBalancer": {"consistentHash": {"useSourceIp": True, "ringHash": {}}}})
    table = built({"loadBalancer": {"consistentHash": {"useSourceIp": True, "maglev": {}}}})
    plain = built({"loadBalancer": {"consistentHash": {"useSourceIp": True}}})
    assert not ring.HasField("ring_hash_lb_config") and not table.HasField("maglev_lb_config")
    assert plain.ring_hash_lb_config.minimum_ring_size.value == 1024


def test_warm_up_is_written_with_its_defaults():
    slow = built({"loadBalancer": {"warmup": {"duration": "30s"}}}).least_request_lb_config.slow_start_config
    assert (slow.aggression.default_value, slow.min_weight_percent.value) == (1.0, 10.0)
    old = built({"loadBalancer": {"warmupDurationSecs": "30s"}}).least_request_lb_config.slow_start_config
    assert old.slow_start_window.seconds == 30 and not old.HasField("aggression")


def test_health_is_told_where_traffic_goes_by_nearness():
    detects = {"outlierDetection": {"minHealthPercent": 40}}
    near = given.service(traffic_distribution="PreferClose")
    assert built(detects).common_lb_config.healthy_panic_threshold.value == 40
    assert built(detects, service=near).common_lb_config.healthy_panic_threshold.value == 0


def test_a_port_that_callers_pass_on_to_is_overridden_for_outside_hosts_alone():
    port = Port(443, "tls", Protocol.TLS, 8443)
    passed = built(service=outside(Resolution.PASSTHROUGH, port), port=port)
    assert passed.original_dst_lb_config.upstream_port_override.value == 8443
    known = built({"loadBalancer": {"simple": "PASSTHROUGH"}}, service=outside(Resolution.CLIENT_SIDE, port), port=port)
    assert not known.HasField("original_dst_lb_config")
