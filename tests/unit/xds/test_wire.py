"""Requests are read tolerantly, responses equal what protobuf would have written."""

import pytest
from envoy.config.cluster.v3 import cluster_pb2
from envoy.service.discovery.v3 import discovery_pb2
from hypothesis import given
from hypothesis import strategies as st

from tidegate.kit.varint import varint
from tidegate.xds import wire
from tidegate.xds.fixed import Item
from tidegate.xds.types import CLUSTER

items = st.builds(Item, st.text(max_size=200), st.binary(max_size=400), st.text(max_size=20))


@given(st.lists(items, max_size=5), st.lists(st.text(max_size=9), max_size=4))
def test_a_delta_response_reads_back(resources, removed):
    data = wire.delta_response(CLUSTER, "nonce", "v1", resources, removed)
    message = discovery_pb2.DeltaDiscoveryResponse.FromString(data)
    assert (message.type_url, message.nonce, message.system_version_info) == (CLUSTER, "nonce", "v1")
    assert [Item(r.name, r.resource.value, r.version) for r in message.resources] == resources
    assert {r.resource.type_url for r in message.resources} <= {CLUSTER}
    assert list(message.removed_resources) == removed


@given(st.lists(items, max_size=5))
def test_a_state_of_the_world_response_reads_back(resources):
    message = discovery_pb2.DiscoveryResponse.FromString(wire.sotw_response(CLUSTER, "n", "v", resources))
    assert (message.type_url, message.nonce, message.version_info) == (CLUSTER, "n", "v")
    assert [r.value for r in message.resources] == [item.body for item in resources]


@pytest.mark.parametrize("value", [0, 1, 127, 128, 300, 2**21, 2**35])
def test_varints_are_protobufs(value):
    message = discovery_pb2.DeltaDiscoveryRequest.FromString(b"\xf8\x3f" + varint(value))
    assert message.SerializeToString() == b"\xf8\x3f" + varint(value)


def test_a_request_is_read():
    message = discovery_pb2.DeltaDiscoveryRequest(
        type_url=CLUSTER,
        resource_names_subscribe=["a"],
        resource_names_unsubscribe=["b"],
        initial_resource_versions={"c": "1"},
        response_nonce="n",
    )
    message.node.id = "id"
    message.node.metadata.update({"LABELS": {"app": "web"}, "HTTP10": "1"})
    message.error_detail.code = 13
    request = wire.parse_delta(message.SerializeToString())
    assert request.node is not None
    assert request.node.metadata == {"LABELS": {"app": "web"}, "HTTP10": "1"}
    assert (request.subscribe, request.unsubscribe, request.initial_versions) == (("a",), ("b",), {"c": "1"})
    assert (request.nonce, request.error) == ("n", "code 13, no reason given")


@pytest.mark.parametrize("data", [b"\xff", b"", b"\x0a\xff\xff", bytes(wire.MAX_REQUEST + 1)])
def test_what_is_no_request_is_refused(data):
    for parse in (wire.parse_delta, wire.parse_sotw):
        with pytest.raises(wire.WireError):
            parse(data)


@given(st.binary(max_size=300))
def test_no_bytes_crash_the_reader(data):
    for parse in (wire.parse_delta, wire.parse_sotw):
        try:
            assert parse(data).type_url
        except wire.WireError:
            pass
    assert wire.eds_service_name(data) is None or isinstance(wire.eds_service_name(data), str)


@pytest.mark.parametrize(
    ("cluster", "name"),
    [
        (cluster_pb2.Cluster(name="a", type=cluster_pb2.Cluster.EDS), "a"),
        (cluster_pb2.Cluster(name="a", type=cluster_pb2.Cluster.STATIC), None),
        (
            cluster_pb2.Cluster(
                name="a",
                type=cluster_pb2.Cluster.EDS,
                eds_cluster_config=cluster_pb2.Cluster.EdsClusterConfig(service_name="s"),
            ),
            "s",
        ),
    ],
)
def test_the_name_of_an_eds_clusters_endpoints(cluster, name):
    cluster.connect_timeout.seconds = 300
    assert wire.eds_service_name(cluster.SerializeToString()) == name
