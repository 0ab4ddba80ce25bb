"""The comparer sees what differs and only that."""

import json

from google.protobuf import json_format

from conformance.recorded.accepted import ACCEPTED, reason, unaccepted
from conformance.recorded.compare import ABSENT, Difference, compare_resources
from tidegate.envoy import protos
from tidegate.envoy.resource import CLUSTER, ENDPOINT, LISTENER

EXCHANGE = {
    "name": "istio.metadata_exchange",
    "typedConfig": {"@type": "type.googleapis.com/udpa.type.v1.TypedStruct", "typeUrl": "x", "value": {}},
}


def bodies(raw, message):
    return {raw.get("name") or raw["clusterName"]: json_format.ParseDict(raw, message()).SerializeToString()}


def found(expected, actual, type_url=CLUSTER, message=protos.Cluster):
    return [(d.path, d.expected, d.actual) for d in compare_resources([expected], bodies(actual, message), type_url)]


def test_equal_resources():
    one = {"name": "a", "connectTimeout": "1.500s", "type": "EDS"}
    assert found(one, {"type": "EDS", "connectTimeout": "1.5s", "name": "a"}) == []


def test_a_changed_field():
    assert found({"name": "a", "connectTimeout": "1s"}, {"name": "a", "connectTimeout": "2s"}) == [
        ("connect_timeout", "1s", "2s")
    ]


def test_presence_counts():
    assert found({"name": "a", "commonLbConfig": {}}, {"name": "a"}) == [("common_lb_config", {}, ABSENT)]


def test_missing_and_surplus_resources():
    differences = compare_resources([{"name": "a"}], bodies({"name": "b"}, protos.Cluster), CLUSTER)
    assert [(d.name, d.expected, d.actual) for d in differences] == [("a", "present", ABSENT), ("b", ABSENT, "present")]


def test_what_only_istios_proxy_has_is_left_out():
    assert found({"name": "a", "filters": [EXCHANGE]}, {"name": "a"}) == []


def test_other_filters_stay():
    other = {"name": "envoy.filters.network.echo"}
    assert found({"name": "a", "filters": [EXCHANGE, other]}, {"name": "a"}) != []


def test_inside_any():
    def listener(prefix):
        kind = "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"
        proxy = {"name": "tcp", "typedConfig": {"@type": kind, "statPrefix": prefix, "cluster": "c"}}
        return {"name": "l", "filterChains": [{"filters": [proxy]}]}

    assert found(listener("a"), listener("a"), LISTENER, protos.Listener) == []
    ((path, *values),) = found(listener("a"), listener("b"), LISTENER, protos.Listener)
    assert path.endswith("filters[0].typed_config.stat_prefix")
    assert values == ["a", "b"]


def endpoints(*ports):
    def member(port):
        return {"endpoint": {"address": {"socketAddress": {"address": "10.0.0.1", "portValue": port}}}}

    return {"clusterName": "c", "endpoints": [{"lbEndpoints": [member(p) for p in ports]}]}


def test_endpoints_are_a_set():
    assert found(endpoints(1, 2), endpoints(2, 1), ENDPOINT, protos.ClusterLoadAssignment) == []
    assert len(found(endpoints(1, 2), endpoints(1), ENDPOINT, protos.ClusterLoadAssignment)) == 1
    assert len(found(endpoints(1, 1), endpoints(1), ENDPOINT, protos.ClusterLoadAssignment)) == 1


def test_localities_are_ordered():
    one = {"clusterName": "c", "endpoints": [{"priority": 1}, {"priority": 2}]}
    other = {"clusterName": "c", "endpoints": [{"priority": 2}, {"priority": 1}]}
    assert len(found(one, other, ENDPOINT, protos.ClusterLoadAssignment)) == 2


def test_accepted_differences_are_named_and_narrow():
    ports = Difference("virtualInbound", "listener_filters[2].filter_disabled.or_match", "x", "y")
    elsewhere = Difference("0.0.0.0_80", "listener_filters[2].filter_disabled.or_match", "x", "y")
    accepted = reason(ports)
    assert accepted is not None
    assert accepted.name == "inbound-http-inspector-ports"
    assert unaccepted([ports, elsewhere]) == [elsewhere]
    assert len({a.name for a in ACCEPTED}) == len(ACCEPTED)


def test_text_of_a_difference():
    text = str(Difference("c", "type", json.loads('{"a": 1}'), ABSENT))
    assert text == 'c: type: expected {"a": 1}, got (absent)'
