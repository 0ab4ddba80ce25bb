"""The traffic policy that holds for a port and a subset."""

from tests.unit.envoy import given
from tidegate.api.mesh import DefaultTrafficPolicy
from tidegate.envoy import policy
from tidegate.kit.keyed import Keyed

RULE = given.rule(
    {
        "loadBalancer": {"simple": "RANDOM"},
        "connectionPool": {"tcp": {"maxConnections": 100}},
        "outlierDetection": {"consecutive5xxErrors": 9},
        "tunnel": {"targetHost": "a.example.com", "targetPort": 443},
        "portLevelSettings": [{"port": {"number": 8081}, "connectionPool": {"tcp": {"maxConnections": 7}}}],
    },
    [
        {"name": "v1", "labels": {"version": "v1"}},
        {
            "name": "v2",
            "labels": {"version": "v2"},
            "trafficPolicy": {
                "loadBalancer": {"simple": "ROUND_ROBIN"},
                "portLevelSettings": [
                    {"port": {"number": 8080}, "loadBalancer": {"consistentHash": {"useSourceIp": True}}}
                ],
            },
        },
        {"name": "v1", "labels": {"version": "other"}},
    ],
)


def limit(found):
    return found.connection_pool.tcp.max_connections if found.connection_pool else None


def test_nothing_without_a_rule():
    assert policy.effective(None, 80) == policy.NONE
    assert policy.effective(given.rule(), 80, "v1") == policy.NONE


def test_top_level():
    found = policy.effective(RULE, 8080)
    assert (found.load_balancer.simple, limit(found)) == ("RANDOM", 100)
    assert found.field("load_balancer") == "spec.trafficPolicy.loadBalancer"


def test_port_level_replaces_the_four_blocks_as_a_whole():
    found = policy.effective(RULE, 8081)
    assert (found.load_balancer, found.outlier_detection, limit(found)) == (None, None, 7)
    assert found.field("connection_pool") == "spec.trafficPolicy.portLevelSettings[0].connectionPool"
    assert found.field("load_balancer") == ""


def test_port_level_stands_alone():
    assert policy.effective(RULE, 9999).tunnel.target_host == "a.example.com"
    assert policy.effective(RULE, 8081).tunnel is None


def test_balancers_come_widest_first():
    assert [field for field, _ in policy.balancers(RULE.spec, 8080, "v2")][-1].endswith(
        "portLevelSettings[0].loadBalancer"
    )
    assert "portLevelSettings" not in "".join(field for field, _ in policy.balancers(RULE.spec, 0, "v2"))


def test_subset_without_policy_has_the_rules():
    assert policy.effective(RULE, 8080, "v1") == policy.effective(RULE, 8080)


def test_subset_overrides_block_by_block():
    found = policy.effective(RULE, 9999, "v2")
    assert (found.load_balancer.simple, limit(found)) == ("ROUND_ROBIN", 100)
    assert found.field("load_balancer") == "spec.subsets[1].trafficPolicy.loadBalancer"
    assert found.field("connection_pool") == "spec.trafficPolicy.connectionPool"


def test_port_level_of_a_subset_replaces_everything():
    found = policy.effective(RULE, 8080, "v2")
    assert found.load_balancer.consistent_hash.use_source_ip
    assert (found.connection_pool, found.outlier_detection) == (None, None)
    assert found.field("load_balancer") == "spec.subsets[1].trafficPolicy.portLevelSettings[0].loadBalancer"


def test_first_of_equal_subset_names_counts():
    assert policy.subset_labels(RULE, "v1") == {"version": "v1"}
    assert [d.winner for d in policy.subset_decisions(RULE, "v1", "c")] == [RULE.ref]
    assert policy.subset_decisions(RULE, "v2", "c") == ()


def test_unknown_subset_has_no_labels():
    assert policy.subset_labels(RULE, "nobody") is None
    assert policy.subset_labels(None, "v1") is None


def test_mesh_policy_fills_what_no_rule_sets():
    mesh = given.mesh_policy({"connectionPool": {"tcp": {"maxConnections": 3}}, "outlierDetection": {}})
    seeded = policy.seeded(policy.effective(RULE, 8081), given.defaults(traffic_policy=mesh))
    assert limit(seeded) == 7
    assert seeded.outlier_detection is not None
    assert seeded.field("outlier_detection") == ""
    empty = Keyed(DefaultTrafficPolicy(), b"empty")
    assert policy.seeded(policy.NONE, given.defaults(traffic_policy=empty)) == policy.NONE
