"""Which label keys make kinds of proxies: only those that some object tests."""

from typing import Any

import pytest

from tests.worlds import mesh, policy, routing, service, sidecar, world
from tidegate.scope.labels import mentioned, mentioned_by_mesh, project, where_tested

TO = {"destination": {"host": "a.example"}}
FAILOVER = {"localityLbSetting": {"enabled": True, "failoverPriority": ["zone", "rack=r1"]}}


@pytest.mark.parametrize(
    ("found", "keys"),
    [
        (sidecar("shop/s", ["./*"]), set()),
        (sidecar("shop/s", ["./*"], workloadSelector={"labels": {"app": "web", "tier": "x"}}), {"app", "tier"}),
        (policy("shop/d", "a.example"), set()),
        (policy("shop/d", "a.example", workloadSelector={"matchLabels": {"app": "web"}}), {"app"}),
        (policy("shop/d", "a.example", trafficPolicy={"loadBalancer": FAILOVER}), {"zone", "rack"}),
        (
            policy("shop/d", "a.example", subsets=[{"name": "v1", "trafficPolicy": {"loadBalancer": FAILOVER}}]),
            {"zone", "rack"},
        ),
        (
            policy(
                "shop/d",
                "a.example",
                trafficPolicy={"portLevelSettings": [{"port": {"number": 80}, "loadBalancer": FAILOVER}]},
            ),
            {"zone", "rack"},
        ),
        (routing("shop/v", ["a.example"], "a.example"), set()),
        (
            routing("shop/v", ["a.example"], "", http=[{"match": [{"sourceLabels": {"app": "w"}}], "route": [TO]}]),
            {"app"},
        ),
        (
            routing(
                "shop/v",
                ["a.example"],
                "",
                http=[],
                tcp=[{"match": [{"sourceLabels": {"x": "1"}}], "route": [TO]}],
                tls=[{"match": [{"sourceLabels": {"y": "1"}, "sniHosts": ["a.example"]}], "route": [TO]}],
            ),
            {"x", "y"},
        ),
        (service("shop/orders", selector={"app": "orders"}), set()),
    ],
)
def test_keys_that_an_object_tests(found: Any, keys: set[str]) -> None:
    assert mentioned(found.spec) == keys


@pytest.mark.parametrize(
    ("found", "namespace"),
    [
        (sidecar("shop/s", ["./*"], workloadSelector={"labels": {"app": "web"}}), "shop"),
        (policy("shop/d", "a.example", workloadSelector={"matchLabels": {"app": "web"}}), "shop"),
        (policy("shop/d", "a.example", trafficPolicy={"loadBalancer": FAILOVER}), ""),
        (routing("shop/v", ["a.example"], "a.example"), ""),
    ],
)
def test_on_whose_proxies_they_are_tested(found: Any, namespace: str) -> None:
    assert where_tested(found) == namespace


def test_keys_that_the_mesh_tests() -> None:
    text = "localityLbSetting: {enabled: true, failoverPriority: [topology.istio.io/network, 'rack=r1']}"
    assert mentioned_by_mesh(world(mesh(text)).mesh) == {"topology.istio.io/network", "rack"}
    assert mentioned_by_mesh(world().mesh) == frozenset()


def test_other_labels_are_left_out() -> None:
    assert project((("app", "web"), ("build", "7")), frozenset({"app", "zone"})) == (("app", "web"),)
