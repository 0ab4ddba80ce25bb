"""Clusters that every proxy has."""

from tests.unit.envoy import given
from tidegate.envoy import protos, special

UNLIMITED = 2**32 - 1


def read(made):
    return protos.Cluster.FromString(made.body)


def test_black_hole_leads_nowhere():
    cluster = read(special.black_hole(given.defaults()))
    assert (cluster.name, cluster.type) == ("BlackHoleCluster", protos.Cluster.STATIC)
    assert not cluster.HasField("load_assignment")


def test_passthrough_follows_the_caller():
    cluster = read(special.passthrough(given.defaults(), given.proxy()))
    assert (cluster.type, cluster.lb_policy) == (protos.Cluster.ORIGINAL_DST, protos.Cluster.CLUSTER_PROVIDED)
    assert cluster.circuit_breakers.thresholds[0].max_connections.value == UNLIMITED
    assert not cluster.HasField("upstream_bind_config")


def test_mesh_pool_caps_what_goes_to_unknown_ports():
    mesh = given.mesh_policy({"connectionPool": {"tcp": {"maxConnections": 9}}})
    defaults = given.defaults(traffic_policy=mesh)
    out, inside = special.passthrough(defaults, given.proxy()), special.inbound_passthrough(defaults, given.proxy())
    limits = [read(c).circuit_breakers.thresholds[0].max_connections.value for c in (out, inside)]
    assert limits == [9, 9]


def bound(**proxy):
    config = read(special.inbound_passthrough(given.defaults(), given.proxy(**proxy))).upstream_bind_config
    return [config.source_address.address, *(e.address.address for e in config.extra_source_addresses)]


def test_source_address_towards_the_application():
    assert bound() == ["127.0.0.6"]
    assert bound(ipv6=True) == ["127.0.0.6", "::6"]
    assert bound(ipv4=False, ipv6=True) == ["::6"]
