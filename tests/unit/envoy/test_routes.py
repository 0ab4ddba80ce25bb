"""Virtual hosts and route configurations."""

import msgspec
import pytest
from hypothesis import given as given_any
from hypothesis import settings
from hypothesis import strategies as st

from tests.unit.envoy.outbound_samples import ALLOW, BLOCK, CLIENT, host_input, policy, rule, service, virtual_host
from tidegate.api.fields import Duration
from tidegate.api.networking import HTTPRetry
from tidegate.api.objects import Ref
from tidegate.envoy import actions, protos, routes
from tidegate.envoy.inputs import CatchAll, RouteDefaults, Target
from tidegate.registry.model import Port, Protocol, Registry, Resolution, ServiceKey
from tidegate.scope.proxy import HeaderSettings

ORDERS = "orders.shop.svc.cluster.local"
TO_ORDERS = {"destination": {"host": ORDERS}}


def built(**http):
    """The first route of one rule for orders."""
    return virtual_host(routes.virtual_host(host_input(given=rule("orders", hosts=["orders"], http=[http])))).routes[0]


def built_all(*http, **changes):
    found = rule("orders", hosts=["orders"], http=list(http))
    return virtual_host(routes.virtual_host(host_input(given=found, **changes))).routes


def test_without_a_rule_there_is_the_default_route():
    found = virtual_host(routes.virtual_host(host_input()))
    assert (found.name, list(found.domains)) == (f"{ORDERS}:8080", [ORDERS])
    assert found.include_request_attempt_count
    (route,) = found.routes
    assert (route.name, route.match.prefix, route.decorator.operation) == ("default", "/", f"{ORDERS}:8080/*")
    assert route.route.cluster == f"outbound|8080||{ORDERS}"
    assert route.route.HasField("timeout") and route.route.timeout.seconds == 0
    assert not route.HasField("metadata")


def test_default_retries():
    found = virtual_host(routes.virtual_host(host_input())).routes[0].route.retry_policy
    assert found.retry_on == "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes"
    assert (found.num_retries.value, found.host_selection_retry_max_attempts) == (2, 5)
    assert [p.name for p in found.retry_host_predicate] == ["envoy.retry_host_predicates.previous_hosts"]
    assert not found.retriable_status_codes


def test_mesh_retries_replace_the_default():
    defaults = RouteDefaults(retry=HTTPRetry(attempts=1, retry_on="reset"))
    found = virtual_host(routes.virtual_host(host_input(defaults=defaults))).routes[0].route.retry_policy
    assert (found.retry_on, found.num_retries.value) == ("reset", 1)


def test_a_rule_names_itself_in_the_metadata():
    found = built(name="all", route=[TO_ORDERS])
    path = found.metadata.filter_metadata["istio"]["config"]
    assert path == "/apis/networking.istio.io/v1/namespaces/shop/virtual-service/orders"
    assert found.name == "all"


def test_routes_end_with_the_first_that_takes_everything():
    a, b = {"match": [{"uri": {"prefix": "/a"}}], "route": [TO_ORDERS]}, {"name": "rest", "route": [TO_ORDERS]}
    found = built_all(a, b, {"name": "never", "route": [TO_ORDERS]})
    assert [r.name for r in found] == ["", "rest"]


def test_each_match_is_a_route_and_a_catch_all_among_them_ends_the_list():
    matches = [{"name": "one", "uri": {"exact": "/x"}}, {"uri": {"prefix": "/"}}, {"uri": {"exact": "/never"}}]
    found = built_all({"name": "r", "match": matches, "route": [TO_ORDERS]})
    assert [r.name for r in found] == ["r.one", "r"]


def test_rules_for_others_leave_the_default_route():
    found = built_all({"match": [{"sourceNamespace": "payments"}], "route": [TO_ORDERS]})
    assert [r.name for r in found] == ["default"]


def test_a_host_that_no_service_has_and_no_rule_serves_is_left_out():
    found = rule("x", hosts=["x.example.com"], http=[{"match": [{"gateways": ["shop/front"]}], "route": [TO_ORDERS]}])
    given = host_input(given=found, host="x.example.com", service=None, targets=())
    assert routes.virtual_host(given) is None


@pytest.mark.parametrize(
    ("destination", "cluster"),
    [
        ({"host": ORDERS, "subset": "v2"}, f"outbound|8080|v2|{ORDERS}"),
        ({"host": ORDERS, "port": {"number": 81}}, f"outbound|81||{ORDERS}"),
        ({"host": "orders"}, f"outbound|8080||{ORDERS}"),
        ({"host": "gone.shop.svc.cluster.local"}, "outbound|8080||gone.shop.svc.cluster.local"),
        ({"host": ""}, "UnknownService"),
    ],
)
def test_destinations(destination, cluster):
    assert built(route=[{"destination": destination}]).route.cluster == cluster


def test_weights_of_zero_are_dropped():
    split = [{"weight": w, "destination": {"host": ORDERS, "subset": s}} for s, w in (("a", 5), ("b", 0), ("c", 95))]
    found = built(route=split)
    assert [(c.name.split("|")[2], c.weight.value) for c in found.route.weighted_clusters.clusters] == [
        ("a", 5),
        ("c", 95),
    ]
    assert found.decorator.operation == "orders:8080/*"


def test_a_timeout_stands_alone():
    found = built(timeout="3s", route=[TO_ORDERS]).route
    assert found.timeout.seconds == 3
    assert not found.HasField("max_grpc_timeout")  # deprecated
    assert not found.HasField("max_stream_duration")  # Envoy would ignore the timeout


def test_no_timeout_is_no_limit_for_grpc_callers_either():
    found = built(route=[TO_ORDERS]).route
    assert found.HasField("timeout") and found.timeout.seconds == 0
    assert found.max_stream_duration.HasField("grpc_timeout_header_max")
    assert not found.HasField("max_grpc_timeout")


def test_retries():
    found = built(
        retries={
            "attempts": 4,
            "perTryTimeout": "2s",
            "retryOn": "5xx, 503,reset",
            "retryRemoteLocalities": True,
            "backoff": "250ms",
            "retryIgnorePreviousHosts": False,
        },
        route=[TO_ORDERS],
    ).route.retry_policy
    assert found.retry_on == "5xx,reset,retriable-status-codes"
    assert list(found.retriable_status_codes) == [503]
    assert (found.num_retries.value, found.per_try_timeout.seconds) == (4, 2)
    assert found.retry_priority.name == "envoy.retry_priorities.previous_priorities"
    assert found.retry_back_off.base_interval.nanos == 250_000_000
    assert not found.retry_host_predicate


def test_retries_can_be_off():
    assert not built(retries={"attempts": 0}, route=[TO_ORDERS]).route.HasField("retry_policy")


def fault_of(route):
    found = protos.HTTPFault()
    route.typed_per_filter_config["envoy.filters.http.fault"].Unpack(found)
    return found


def test_faults():
    found = fault_of(
        built(
            fault={
                "delay": {"fixedDelay": "5s", "percentage": {"value": 0.1}},
                "abort": {"httpStatus": 555, "percentage": {"value": 12.5}},
            },
            route=[TO_ORDERS],
        )
    )
    assert found.delay.fixed_delay.seconds == 5
    assert (found.delay.percentage.numerator, found.delay.percentage.denominator) == (1000, 2)
    assert (found.abort.http_status, found.abort.percentage.numerator) == (555, 125_000)


def test_fault_by_grpc_status_and_whole_percent():
    found = fault_of(
        built(
            fault={
                "delay": {"fixedDelay": "1s", "percent": 20},
                "abort": {"grpcStatus": "UNAVAILABLE", "percentage": {"value": 100}},
            },
            route=[TO_ORDERS],
        )
    )
    assert (found.delay.percentage.numerator, found.delay.percentage.denominator) == (20, 0)
    assert found.abort.grpc_status == 14


def test_mirrors():
    found = built(
        route=[TO_ORDERS],
        mirror={"host": "shadow"},
        mirrors=[
            {"destination": {"host": "b.example.com", "port": {"number": 80}}, "percentage": {"value": 5}},
            {"destination": {"host": "never.example.com"}, "percentage": {"value": 0}},
        ],
    ).route.request_mirror_policies
    assert [m.cluster for m in found] == ["outbound|8080||shadow.shop.svc.cluster.local", "outbound|80||b.example.com"]
    assert [m.runtime_fraction.default_value.numerator for m in found] == [100, 50_000]
    assert all(m.disable_shadow_host_suffix_append for m in found)


def test_headers_are_set_before_they_are_added_and_the_authority_is_a_rewrite():
    found = built(
        headers={
            "request": {"set": {"x-b": "1", ":authority": "edge"}, "add": {"x-a": "2", "host": "no"}, "remove": ["x"]},
            "response": {"remove": ["server", ":status"]},
        },
        route=[{**TO_ORDERS, "headers": {"response": {"set": {"x-only": "3"}}}}],
    )
    assert [(o.header.key, o.append_action) for o in found.request_headers_to_add] == [("x-b", 2), ("x-a", 0)]
    assert list(found.request_headers_to_remove) == ["x"]
    assert list(found.response_headers_to_remove) == ["server"]
    assert found.response_headers_to_add[0].header.key == "x-only"
    assert found.route.host_rewrite_literal == "edge"


def test_rewrites():
    found = built(rewrite={"uri": "/new", "authority": "api"}, route=[TO_ORDERS]).route
    assert (found.prefix_rewrite, found.host_rewrite_literal) == ("/new", "api")
    found = built(rewrite={"uriRegexRewrite": {"match": "/(.*)", "rewrite": "/v2/\\1"}}, route=[TO_ORDERS]).route
    assert (found.regex_rewrite.pattern.regex, found.regex_rewrite.substitution) == ("/(.*)", "/v2/\\1")


@pytest.mark.parametrize(
    ("redirect", "port", "code"),
    [
        ({"uri": "/x"}, 0, 0),
        ({"port": 8443, "redirectCode": 308}, 8443, 4),
        ({"port": 443, "scheme": "https"}, 0, 0),
        ({"port": 80}, 0, 0),
        ({"derivePort": "FROM_REQUEST_PORT", "redirectCode": 302}, 8080, 1),
        ({"derivePort": "FROM_PROTOCOL_DEFAULT"}, 0, 0),
    ],
)
def test_redirects(redirect, port, code):
    found = built(redirect=redirect)
    assert (found.redirect.port_redirect, found.redirect.response_code) == (port, code)
    assert found.decorator.operation == "orders:8080/*"


def test_direct_responses():
    found = built(directResponse={"status": 418, "body": {"string": "no coffee"}}).direct_response
    assert (found.status, found.body.inline_string) == (418, "no coffee")
    assert built(directResponse={"status": 503, "body": {"bytes": "ZG93bg"}}).direct_response.body.inline_bytes == (
        b"down"
    )


def test_cors():
    route = built(
        route=[TO_ORDERS],
        corsPolicy={
            "allowOrigins": [{"exact": "https://a"}, {"regex": "https://.*"}],
            "allowMethods": ["GET", "POST"],
            "maxAge": "24h",
            "allowCredentials": True,
            "unmatchedPreflights": "IGNORE",
        },
    )
    found = protos.CorsPolicyPb()
    route.typed_per_filter_config["envoy.filters.http.cors"].Unpack(found)
    assert (found.allow_methods, found.max_age, found.allow_credentials.value) == ("GET,POST", "86400", True)
    assert not found.forward_not_matching_preflights.value
    assert found.filter_enabled.default_value.numerator == 100


def hashed(consistent_hash, given=None):
    balancing = policy("orders", host="orders", trafficPolicy={"loadBalancer": {"consistentHash": consistent_hash}})
    target = Target(host=ORDERS, service=service(), rule=balancing)
    return routes.virtual_host(host_input(given=given, targets=(target,)))


@pytest.mark.parametrize(
    ("consistent_hash", "kind"),
    [
        ({"httpHeaderName": "x-user"}, "header"),
        ({"httpCookie": {"name": "sid", "ttl": "0s"}}, "cookie"),
        ({"useSourceIp": True}, "connection_properties"),
        ({"httpQueryParameterName": "session"}, "query_parameter"),
    ],
)
def test_hash_policies(consistent_hash, kind):
    found = virtual_host(hashed(consistent_hash)).routes[0].route
    assert found.hash_policy[0].WhichOneof("policy_specifier") == kind
    assert len(found.retry_policy.retry_host_predicate) == 1


def test_a_rule_to_a_hashed_destination_does_not_avoid_hosts():
    given = rule("orders", hosts=["orders"], http=[{"route": [TO_ORDERS]}])
    resource = hashed({"httpHeaderName": "x-user"}, given)
    assert not virtual_host(resource).routes[0].route.retry_policy.retry_host_predicate
    fields = {o.path: (str(o.ref), o.field) for o in resource.all_origins()}
    assert fields["routes[0].route.hash_policy[0]"] == (
        "DestinationRule/shop/orders",
        "spec.trafficPolicy.loadBalancer.consistentHash",
    )


def test_origins_lead_to_the_authors_fields():
    given = rule(
        "orders",
        hosts=["orders"],
        http=[
            {"match": [{"gateways": ["x/y"]}, {"uri": {"prefix": "/a"}}], "timeout": "1s", "route": [TO_ORDERS]},
            {"route": [TO_ORDERS]},
        ],
    )
    found = {o.path: (o.ref.kind, o.field) for o in routes.virtual_host(host_input(given=given)).origins}
    assert found[""] == ("Service", "")
    assert found["routes[0]"] == ("VirtualService", "spec.http[0]")
    assert found["routes[0].match"] == ("VirtualService", "spec.http[0].match[1]")
    assert found["routes[0].route.timeout"] == ("VirtualService", "spec.http[0].timeout")
    assert found["routes[1]"] == ("VirtualService", "spec.http[1]")
    assert ("routes[1].match") not in found


# Route configurations


def test_route_configuration_is_the_sum_of_its_hosts():
    hosts = [routes.virtual_host(host_input(service(f"s{i}.shop.svc.cluster.local"))) for i in range(3)]
    found = routes.route_config("8080", hosts, ALLOW)
    message = protos.RouteConfiguration.FromString(found.body)
    assert [v.SerializeToString(deterministic=True) for v in message.virtual_hosts[:3]] == [h.body for h in hosts]
    assert message.name == "8080"
    assert message.ignore_port_in_host_matching and message.HasField("validate_clusters")
    assert message.max_direct_response_body_size_bytes.value == 1_048_576
    (last,) = message.virtual_hosts[3].routes
    assert (last.name, last.route.cluster) == ("allow_any", "PassthroughCluster")


def test_catch_alls():
    def last(catch_all):
        return protos.RouteConfiguration.FromString(routes.route_config("80", [], catch_all).body).virtual_hosts[0]

    assert (last(BLOCK).name, last(BLOCK).routes[0].direct_response.status) == ("block_all", 502)
    assert last(CatchAll(allow=True, cluster="outbound|80||p")).routes[0].route.cluster == "outbound|80||p"
    assert not protos.RouteConfiguration.FromString(routes.route_config("h:80", [], None).body).virtual_hosts


def test_origins_of_a_route_configuration_are_found_through_its_hosts():
    hosts = [routes.virtual_host(host_input(service(f"s{i}.shop.svc.cluster.local"))) for i in range(2)]
    found = routes.route_config("8080", hosts, ALLOW)
    assert found.origins == ()
    origins = {o.path: str(o.ref) for o in found.all_origins()}
    assert origins["virtual_hosts[1].routes[0]"] == "Service/shop/s1"
    assert origins["virtual_hosts[0]"] == "Service/shop/s0"


def test_versions_follow_the_bytes():
    host = routes.virtual_host(host_input())
    one, same = routes.route_config("80", [host], ALLOW), routes.route_config("80", [host], ALLOW)
    assert (one.version, one.body) == (same.version, same.body)
    assert (
        len({one.version, routes.route_config("80", [host], BLOCK).version, routes.route_config("81", [], None)}) == 3
    )


# Domains

HTTP = Port(80, "http", Protocol.HTTP)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        (ORDERS, [ORDERS, f"{ORDERS}.", "orders", "orders.shop.svc", "orders.shop"]),
        (
            "pay.payments.svc.cluster.local",
            ["pay.payments.svc.cluster.local", "pay.payments.svc.cluster.local.", "pay.payments", "pay.payments.svc"],
        ),
        ("api.example.com", ["api.example.com", "api.example.com."]),
        ("*.example.com", ["*.example.com", "*.example.com."]),
        ("10.1.2.3", ["10.1.2.3"]),
    ],
)
def test_domains(host, expected):
    assert list(routes.domains(service(host, HTTP), HTTP, CLIENT)) == expected


def test_domains_of_addresses():
    dual = service(ORDERS, HTTP, addresses=("10.96.0.1", "fd00::1"))
    assert routes.domains(dual, HTTP, CLIENT)[-1] == "10.96.0.1"
    both = msgspec.structs.replace(CLIENT, ipv6=True)
    assert routes.domains(dual, HTTP, both)[-2:] == ("10.96.0.1", "[fd00::1]")
    cidr = service("a.example.com", HTTP, addresses=("192.0.2.0/24",))
    assert routes.domains(cidr, HTTP, CLIENT) == ("a.example.com", "a.example.com.")


def test_allocated_addresses_count_only_with_dns_capture():
    given = service("a.example.com", HTTP, auto_addresses=("240.240.0.1",))
    assert "240.240.0.1" not in routes.domains(given, HTTP, CLIENT)
    capture = msgspec.structs.replace(CLIENT, dns_capture=True)
    assert "240.240.0.1" in routes.own_domains(given, capture)
    own = msgspec.structs.replace(given, addresses=("192.0.2.1",))
    assert "240.240.0.1" not in routes.domains(own, HTTP, capture)


def test_headless_services_have_names_of_their_pods():
    found = routes.domains(service(ORDERS, HTTP, resolution=Resolution.PASSTHROUGH), HTTP, CLIENT)
    assert f"*.{ORDERS}" in found and "*.orders" in found


def test_aliases_bring_their_names():
    found = routes.domains(service("api.example.com", HTTP), HTTP, CLIENT, aliases=("api.shop.svc.cluster.local",))
    assert found[2:] == ("api.shop.svc.cluster.local", "api.shop.svc.cluster.local.", "api", "api.shop.svc", "api.shop")


def test_domains_with_ports():
    admin = Port(8080, "http", Protocol.HTTP)
    assert routes.domains(service("a.b", admin), admin, CLIENT, with_port=True) == ("a.b:8080", "a.b.:8080")
    assert routes.domains(service("a.b", HTTP), HTTP, CLIENT, with_port=True)[0] == "a.b"


def test_outside_kubernetes_short_names_come_from_the_shared_suffix():
    outside = msgspec.structs.replace(CLIENT, dns_domain="vm.corp.example")
    assert routes.domains(service("db.corp.example", HTTP), HTTP, outside) == (
        "db.corp.example",
        "db.corp.example.",
        "db",
    )
    assert "a.b" in routes.domains(service("a.b.corp.example", HTTP), HTTP, outside)


# Whatever is stored, nothing raises and equal inputs give equal bytes

TEXT = st.text(max_size=8)
MATCH = st.one_of(
    st.none(), st.fixed_dictionaries({"exact": TEXT}), st.fixed_dictionaries({"prefix": TEXT}), st.just({})
)
HEADERS = st.dictionaries(TEXT, TEXT, max_size=2)
OPERATIONS = st.fixed_dictionaries({"set": HEADERS, "add": HEADERS, "remove": st.lists(TEXT, max_size=2)})
DESTINATION = st.fixed_dictionaries(
    {"host": TEXT, "subset": TEXT, "port": st.fixed_dictionaries({"number": st.integers(0, 2**32 - 1)})}
)
SHARE = st.fixed_dictionaries({"value": st.floats(allow_nan=False)})
HTTP_RULE = st.fixed_dictionaries(
    {
        "route": st.lists(
            st.fixed_dictionaries({"destination": DESTINATION, "weight": st.integers(-5, 100)}), max_size=3
        )
    },
    optional={
        "name": TEXT,
        "match": st.lists(
            st.fixed_dictionaries(
                {"uri": MATCH, "method": MATCH, "ignoreUriCase": st.booleans()},
                optional={"headers": st.dictionaries(TEXT, MATCH.filter(lambda m: m is not None), max_size=2)},
            ),
            max_size=3,
        ),
        "retries": st.fixed_dictionaries({"attempts": st.integers(-(2**31), 2**31 - 1), "retryOn": TEXT}),
        "fault": st.fixed_dictionaries(
            {"abort": st.fixed_dictionaries({"httpStatus": st.integers(-9, 999), "percentage": SHARE})}
        ),
        "redirect": st.fixed_dictionaries({"uri": TEXT, "redirectCode": st.integers(0, 999)}),
        "directResponse": st.fixed_dictionaries(
            {"status": st.integers(0, 999), "body": st.fixed_dictionaries({"bytes": TEXT})}
        ),
        "headers": st.fixed_dictionaries({"request": OPERATIONS, "response": OPERATIONS}),
        "mirror": DESTINATION,
        "mirrorPercentage": SHARE,
        "timeout": st.sampled_from(["0s", "1.5s", "-3s"]),
    },
)


@settings(max_examples=60, deadline=None)
@given_any(st.lists(HTTP_RULE, max_size=3))
def test_any_rule_builds_and_builds_alike(http):
    given = host_input(given=rule("any", hosts=["orders"], http=http))
    first, again = routes.virtual_host(given), routes.virtual_host(given)
    assert first == again
    assert virtual_host(first).routes


def test_a_share_that_is_no_number_is_nothing():
    assert actions.percentage(actions.Percent(value=float("nan")), 0).numerator == 0
    assert actions.percentage(actions.Percent(value=float("inf")), 0).numerator == 0


def test_a_duration_keeps_its_nanoseconds():
    assert (
        actions.retry_policy(HTTPRetry(attempts=1, backoff=Duration(1)), False).retry_back_off.base_interval.nanos == 1
    )


def test_hosts_only_a_rule_knows():
    given = rule("x", hosts=["x.example.com"], http=[{"route": [TO_ORDERS]}])
    found = routes.virtual_host(
        host_input(given=given, host="x.example.com", port=80, domains=("x.example.com",), service=None, targets=())
    )
    assert found.name == "x.example.com:80"
    assert found.origins[0].ref == Ref("VirtualService", "shop", "x")
    assert virtual_host(found).routes[0].route.cluster == f"outbound|80||{ORDERS}"


def test_sources_of_hosts_from_outside():
    given = service("api.example.com", HTTP, key=ServiceKey("shop", "api.example.com"), registry=Registry.EXTERNAL)
    assert routes.virtual_host(host_input(given)).origins[0].ref.kind == "ServiceEntry"


def test_a_match_without_a_routes_name_keeps_its_dot():
    assert built(match=[{"name": "m", "uri": {"prefix": "/a"}}], route=[TO_ORDERS]).name == ".m"
    assert built(name="r", match=[{"name": "m", "uri": {"prefix": "/a"}}], route=[TO_ORDERS]).name == "r.m"


def test_a_rewrite_of_the_route_wins_over_the_destinations():
    host = {"headers": {"request": {"set": {"Host": "there"}}}}
    assert built(route=[{**TO_ORDERS, **host}]).route.host_rewrite_literal == "there"
    found = built(rewrite={"authority": "first"}, route=[{**TO_ORDERS, **host}])
    assert found.route.host_rewrite_literal == "first"


def test_an_added_host_is_a_rewrite_as_well():
    assert (
        built(headers={"request": {"add": {"host": "there"}}}, route=[TO_ORDERS]).route.host_rewrite_literal == "there"
    )


def test_servers_are_told_what_host_was_asked_for():
    telling = msgspec.structs.replace(CLIENT, headers=HeaderSettings(forwarded_host=True))
    rewritten = {"rewrite": {"authority": "there"}, "route": [TO_ORDERS]}
    assert [r.route.append_x_forwarded_host for r in built_all(rewritten, proxy=telling)] == [True]
    assert [r.route.append_x_forwarded_host for r in built_all({"route": [TO_ORDERS]}, proxy=telling)] == [False]
    catch_all = msgspec.structs.replace(ALLOW, forwarded_host=True)
    config = protos.RouteConfiguration.FromString(routes.route_config("80", [], catch_all).body)
    assert config.virtual_hosts[0].routes[0].route.append_x_forwarded_host


@pytest.mark.parametrize(("tls", "port"), [(False, 443), (True, 0)])
def test_a_redirect_leaves_out_the_port_that_its_scheme_has(tls, port):
    assert built_all({"redirect": {"port": 443}}, tls=tls)[0].redirect.port_redirect == port


def keys(spec, **destination):
    target = Target(host=ORDERS, service=service(), rule=policy("orders", host="orders", **spec))
    to = {"destination": {"host": ORDERS, **destination}}
    (route,) = built_all({"route": [to]}, targets=(target,))
    return [p.header.header_name for p in route.route.hash_policy]


def test_a_ports_hash_is_for_destinations_that_name_the_port():
    def by(name):
        return {"loadBalancer": {"consistentHash": {"httpHeaderName": name}}}

    port = {"portLevelSettings": [{"port": {"number": 8080}, **by("port")}]}
    wide = {"trafficPolicy": {**by("wide"), **port}}
    assert keys(wide) == ["wide"]
    assert keys(wide, port={"number": 8080}) == ["port"]
    unhashed = {"portLevelSettings": [{"port": {"number": 8080}, "loadBalancer": {"simple": "RANDOM"}}]}
    assert keys({"trafficPolicy": {**by("wide"), **unhashed}}, port={"number": 8080}) == ["wide"]


def test_shares_of_several_hashed_destinations_avoid_hosts_that_failed():
    target = Target(
        host=ORDERS,
        service=service(),
        rule=policy("orders", host="orders", trafficPolicy={"loadBalancer": {"consistentHash": {"useSourceIp": True}}}),
    )
    shares = [{**TO_ORDERS, "weight": 1}, {**TO_ORDERS, "weight": 2}]
    (several,) = built_all({"route": shares}, targets=(target,))
    (one,) = built_all({"route": [TO_ORDERS]}, targets=(target,))
    assert several.route.retry_policy.retry_host_predicate and not one.route.retry_policy.retry_host_predicate
