"""Load assignments."""

import msgspec

from tests.unit.envoy import given
from tidegate.api.objects import Ref
from tidegate.envoy import endpoints, protos
from tidegate.registry.model import Health

POD = Ref("Pod", "shop", "orders-1")
ENTRY = Ref("ServiceEntry", "shop", "ledger")


def build(*members, **changes):
    return protos.ClusterLoadAssignment.FromString(endpoints.build(given.assignment(*members, **changes)).body)


def addresses(*members, **changes):
    made = build(*members, **changes)
    return [m.endpoint.address.socket_address.address for p in made.endpoints for m in p.lb_endpoints]


def only(*members, **changes):
    return build(*members, **changes).endpoints[0].lb_endpoints[0]


def test_shape():
    member = given.endpoint("10.0.0.1", locality="eu/a/x", weight=3, source=POD)
    place = build(member, member).endpoints[0]
    assert (place.locality.region, place.locality.zone, place.locality.sub_zone) == ("eu", "a", "x")
    assert place.load_balancing_weight.value == 6
    assert place.lb_endpoints[0].load_balancing_weight.value == 3
    assert place.lb_endpoints[0].endpoint.address.socket_address.port_value == 8080


def test_name_is_the_clusters():
    assert build(subset="v1").cluster_name == "outbound|8080|v1|orders.shop.svc.cluster.local"


def test_nobody_is_an_empty_assignment():
    assert len(build().endpoints) == 0


def test_only_endpoints_of_the_port():
    assert addresses(given.endpoint("10.0.0.1"), given.endpoint("10.0.0.2", name="admin")) == ["10.0.0.1"]


def test_subset_by_labels():
    rule = given.rule(None, [{"name": "v2", "labels": {"version": "v2", "tier": "gold"}}])
    members = (
        given.endpoint("10.0.0.1", labels={"version": "v2"}),
        given.endpoint("10.0.0.2", labels={"version": "v2", "tier": "gold", "app": "x"}),
    )
    assert addresses(*members, rule=rule, subset="v2") == ["10.0.0.2"]
    assert addresses(*members, rule=rule, subset="gone") == []
    assert len(addresses(*members, rule=rule)) == 2


def test_health():
    assert only(given.endpoint("10.0.0.1", source=POD)).health_status == 1
    assert only(given.endpoint("10.0.0.1", source=ENTRY)).health_status == 0
    assert only(given.endpoint("10.0.0.1", source=POD, health=Health.UNHEALTHY)).health_status == 2
    assert addresses(given.endpoint("10.0.0.1", health=Health.DRAINING)) == []


def test_unhealthy_ones_stay_out_where_envoy_is_to_count_health():
    sick = given.endpoint("10.0.0.1", health=Health.UNHEALTHY)
    rule = given.rule({"outlierDetection": {"minHealthPercent": 10}})
    assert addresses(sick) == ["10.0.0.1"]
    assert addresses(sick, rule=rule) == []


def test_node_local():
    service = given.service(node_local=True)
    members = (given.endpoint("10.0.0.1", node_name="a"), given.endpoint("10.0.0.2", node_name="b"))
    assert addresses(*members, service=service, proxy=given.proxy(node_name="b")) == ["10.0.0.2"]
    assert addresses(*members, proxy=given.proxy(node_name="b")) == ["10.0.0.1", "10.0.0.2"]


def test_host_names_stay_out_of_eds_and_sockets_are_pipes():
    assert addresses(given.endpoint("api.example.com")) == []
    member = only(given.endpoint("unix:///run/app.sock", 0))
    assert member.endpoint.address.pipe.path == "/run/app.sock"


def test_workload_text():
    labels = {"app": "orders", "version": "v1"}
    member = given.endpoint("10.0.0.1", labels=labels, workload_name="orders-1", workload_namespace="shop")
    istio = only(member).metadata.filter_metadata["istio"]
    assert istio.fields["workload"].string_value == "orders-1;shop;orders;v1;Kubernetes"
    latest = given.endpoint("10.0.0.1", labels={"version": "latest"}, workload_name="w", workload_namespace="n")
    assert endpoints.workload_text(latest, "c") == "w;n;w;;c"
    assert not only(given.endpoint("10.0.0.1")).HasField("metadata")


def test_mutual_tls_is_told_only_to_proxies_that_speak_it():
    member = given.endpoint("10.0.0.1", tls_mode="istio")
    key = "envoy.transport_socket_match"
    assert key not in only(member).metadata.filter_metadata
    assert only(member, proxy=given.proxy(mtls=True)).metadata.filter_metadata[key].fields["tlsMode"].string_value
    rule = given.rule({"tls": {"mode": "SIMPLE"}})
    assert key not in only(member, proxy=given.proxy(mtls=True), rule=rule).metadata.filter_metadata


def test_families_of_one_pod():
    members = (given.endpoint("fd00::1", source=POD), given.endpoint("10.0.0.1", source=POD))
    assert addresses(*members) == ["10.0.0.1"]
    assert addresses(*members, proxy=given.proxy(ipv4=False, ipv6=True)) == ["fd00::1"]
    both = only(*members, proxy=given.proxy(ipv6=True)).endpoint
    assert both.address.socket_address.address == "10.0.0.1"
    assert [a.address.socket_address.address for a in both.additional_addresses] == ["fd00::1"]
    assert addresses(given.endpoint("fd00::1", source=POD)) == ["fd00::1"]


def test_origins():
    member = given.endpoint("10.0.0.1", source=ENTRY, source_path="spec.endpoints[1]")
    made = endpoints.build(given.assignment(given.endpoint("10.0.0.9", source=POD), member))
    assert [(o.path, o.ref, o.field) for o in made.origins] == [
        ("endpoints[0].lb_endpoints[0]", POD, ""),
        ("endpoints[0].lb_endpoints[1]", ENTRY, "spec.endpoints[1]"),
    ]


def test_weights_never_overflow():
    members = [given.endpoint(f"10.0.0.{i}", weight=2**32 - 1) for i in range(2)]
    assert build(*members).endpoints[0].load_balancing_weight.value == 2**32 - 1


def test_same_input_same_bytes():
    item = given.assignment(given.endpoint("10.0.0.1", workload_name="w", labels={"app": "x"}), proxy=given.proxy())
    again = msgspec.structs.replace(item)
    assert endpoints.build(item).version == endpoints.build(again).version
