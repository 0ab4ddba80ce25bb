"""Locality weights and priorities."""

import msgspec
import pytest
from hypothesis import given as hypothesis_given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.unit.envoy import given
from tidegate.api.fields import decode_hook
from tidegate.api.networking import LoadBalancerSettings, LocalityLoadBalancerSetting, ZoneAwareLoadBalancerSetting
from tidegate.envoy import balancing, locality, policy, protos
from tidegate.kit.keyed import Keyed

PLACES = ["eu/a", "eu/b", "us/c", "ap/d"]
ALL = [given.endpoint(f"10.0.0.{i}", locality=place) for i, place in enumerate(PLACES)]


def setting(raw):
    return msgspec.convert(raw, LocalityLoadBalancerSetting, dec_hook=decode_hook)


def applied(raw, endpoints=ALL, failover=True, **proxy):
    kind = given.proxy(**{"locality": "eu/a", **proxy})
    return locality.apply(locality.Plan(setting(raw), failover), locality.group(endpoints), kind)


def priorities(groups):
    return {g.locality: g.priority for g in groups}


def test_localities_are_ordered_by_text_and_weighed_by_members():
    groups = locality.group([*ALL, given.endpoint("10.0.0.9", locality="eu/a", weight=4), given.endpoint("10.1.0.1")])
    assert [(g.locality, g.weight) for g in groups] == [("", 1), ("ap/d", 1), ("eu/a", 5), ("eu/b", 1), ("us/c", 1)]


def test_nearer_localities_come_first():
    assert priorities(applied({})) == {"eu/a": 0, "eu/b": 1, "us/c": 2, "ap/d": 2}


def test_failover_puts_the_named_region_before_others():
    assert priorities(applied({"failover": [{"from": "eu", "to": "ap"}]})) == {
        "eu/a": 0,
        "eu/b": 1,
        "ap/d": 2,
        "us/c": 3,
    }


def test_no_priorities_without_outlier_detection():
    assert set(priorities(applied({}, failover=False)).values()) == {0}


def test_priorities_have_no_gaps():
    groups = applied({}, [ALL[2], ALL[3]])
    assert set(priorities(groups).values()) == {0}


def test_distribute():
    rules = {"distribute": [{"from": "eu/*", "to": {"eu/a/*": 70, "eu/b/*": 20, "us/*": 10}}]}
    groups = applied(rules)
    assert {g.locality: g.weight for g in groups if g.endpoints} == {"eu/a": 70, "eu/b": 20, "us/c": 10}
    assert [g.locality for g in groups if not g.endpoints] == ["ap/d"]


def test_distribute_shares_a_pattern_by_weight():
    members = [given.endpoint("10.0.0.1", locality="us/a", weight=3), given.endpoint("10.0.0.2", locality="us/b")]
    groups = applied({"distribute": [{"from": "*", "to": {"us/*": 80}}]}, members)
    assert [g.weight for g in groups] == [60, 20]


def test_distribute_of_another_source_changes_nothing():
    assert all(g.endpoints for g in applied({"distribute": [{"from": "us/*", "to": {"us/*": 100}}]}))


def test_failover_priority_ranks_by_labels():
    members = [
        given.endpoint("10.0.0.1", locality="eu/a", labels={"rack": "r1"}),
        given.endpoint("10.0.0.2", locality="eu/a", labels={"rack": "r2"}),
        given.endpoint("10.0.0.3", locality="us/c", labels={"rack": "r1"}),
    ]
    raw = {"failoverPriority": ["rack", "topology.kubernetes.io/region"]}
    groups = applied(raw, members, labels=(("rack", "r1"),))
    assert [(g.locality, g.endpoints[0].address, g.priority) for g in groups] == [
        ("eu/a", "10.0.0.1", 0),
        ("eu/a", "10.0.0.2", 2),
        ("us/c", "10.0.0.3", 1),
    ]


def test_failover_priority_with_a_value_of_its_own():
    members = [given.endpoint(f"10.0.0.{i}", labels={"tier": t}) for i, t in enumerate(["gold", "tin"])]
    groups = applied({"failoverPriority": ["tier=tin"]}, members, labels=(("tier", "gold"),))
    assert [(g.endpoints[0].address, g.priority) for g in groups] == [("10.0.0.1", 0), ("10.0.0.0", 1)]


def test_another_network_comes_after_all_of_ones_own():
    members = [
        given.endpoint("10.0.0.1", locality="eu/a", network="n2"),
        given.endpoint("10.0.0.2", locality="us/c", network="n1"),
    ]
    raw = {"failoverPriority": ["topology.istio.io/network", "topology.kubernetes.io/region"]}
    groups = applied(raw, members, network="n1")
    assert {g.endpoints[0].address: g.priority for g in groups} == {"10.0.0.2": 0, "10.0.0.1": 1}


@pytest.mark.parametrize(
    ("pattern", "wanted"),
    [("*", True), ("eu", True), ("eu/*", True), ("eu/a/*", True), ("eu/b", False), ("us/*", False), ("eu/a/x", False)],
)
def test_patterns(pattern, wanted):
    assert locality.matches("eu/a", pattern) is wanted


def plan(raw, mesh=None, distribution="", detects=False):
    block = {"loadBalancer": {"localityLbSetting": raw}} if raw is not None else {}
    if detects:
        block["outlierDetection"] = {}
    held = policy.effective(given.rule(block), 80)
    defaults = given.defaults(locality_lb=Keyed(setting(mesh or {}), b"x") if mesh is not None else None)
    return locality.plan(held, distribution, defaults)


def test_precedence_of_settings():
    own = plan({"failover": [{"from": "a", "to": "b"}]}, {"enabled": True}, "PreferClose")
    assert own.setting.failover
    near = plan(None, {"enabled": True}, "PreferClose")
    assert near.failover
    assert near.setting.failover_priority[0] == "topology.istio.io/network"
    assert plan(None, {"enabled": True}).setting.enabled
    assert plan({"enabled": False}, {"enabled": True}) is None
    assert plan(None, {"enabled": False}) is None
    assert plan(None) is None


def test_weights_are_heeded_only_where_something_needs_them():
    assert plan({"distribute": [{"from": "*", "to": {"*": 100}}]}).weighted
    assert plan({"failover": [{"from": "a", "to": "b"}]}, detects=True).weighted
    assert not plan({"failover": [{"from": "a", "to": "b"}]}).weighted
    assert not plan({}, detects=True).weighted


places = st.sampled_from(["", "eu", "eu/a", "eu/a/x", "us/b", "ap"])
settings = st.fixed_dictionaries(
    {},
    optional={
        "distribute": st.lists(
            st.fixed_dictionaries(
                {"from": places, "to": st.dictionaries(st.sampled_from(["*", "eu/*", "us/b/*"]), st.integers(0, 100))}
            ),
            max_size=2,
        ),
        "failover": st.lists(st.fixed_dictionaries({"from": places, "to": places}), max_size=2),
        "failoverPriority": st.lists(st.sampled_from(["rack", "topology.istio.io/network", "a=b"]), max_size=3),
    },
)


@hypothesis_settings(deadline=None)
@hypothesis_given(settings, st.lists(places, max_size=6), places)
def test_priorities_are_always_dense_and_nothing_is_invented(raw, localities, mine):
    members = [given.endpoint(f"10.0.0.{i}", locality=place) for i, place in enumerate(localities)]
    groups = applied(raw, members, locality=mine)
    found = sorted({g.priority for g in groups})
    assert found == list(range(len(found)))
    assert {e.address for g in groups for e in g.endpoints} <= {e.address for e in members}


def zone_aware(raw):
    return msgspec.convert(raw, ZoneAwareLoadBalancerSetting, dec_hook=decode_hook)


def test_zone_awareness_ranks_regions_only():
    plan = locality.Plan(zone_aware({"failover": [{"from": "eu", "to": "ap"}]}), True)
    groups = locality.apply(plan, locality.group(ALL), given.proxy(locality="eu/a"))
    assert priorities(groups) == {"eu/a": 0, "eu/b": 0, "ap/d": 1, "us/c": 2}


def test_zone_awareness_that_is_switched_off_leaves_endpoints_alone_and_the_mesh_out():
    load_balancer = msgspec.convert({"zoneAwareLbSetting": {"enabled": False}}, LoadBalancerSettings)
    mesh = given.defaults(locality_lb=Keyed(setting({"enabled": True}), b"on"))
    plan = locality.plan(policy.Policy(load_balancer=load_balancer), "PreferClose", mesh)
    assert plan is not None and plan.zone_aware is not None and not plan.failover
    groups = locality.apply(plan, locality.group(ALL), given.proxy(locality="eu/a"))
    assert set(priorities(groups).values()) == {0}


@pytest.mark.parametrize(("enabled", "written"), [(None, False), (True, False), (False, True)])
def test_zone_awareness_is_told_to_envoy(enabled, written):
    cluster = protos.Cluster()
    plan = locality.Plan(zone_aware({"minClusterSize": 3, "enabled": enabled}), enabled is not False)
    balancing.put_localities(cluster, plan)
    zones = cluster.common_lb_config.zone_aware_lb_config
    assert (zones.HasField("routing_enabled"), zones.routing_enabled.value, zones.min_cluster_size.value) == (
        written,
        0.0,
        3,
    )
    assert not cluster.common_lb_config.HasField("locality_weighted_lb_config")
