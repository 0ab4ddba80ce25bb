"""What objects take from one another is told by `validate`, with the line of the one that loses."""

import pytest

from tidegate.app.offline.disputes import disputes
from tidegate.app.offline.manifests import parse
from tidegate.app.offline.world import build

ENTRY = """---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: {0}, namespace: shop}}
spec: {{hosts: [{0}.example.com], ports: [{{number: {1}, name: p, protocol: {2}}}], resolution: DNS}}
"""
ROUTES = """---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: {0}, namespace: shop}}
spec: {{hosts: [web.example.com], http: [{{route: [{{destination: {{host: web.example.com}}}}]}}]}}
"""
FILTER = """---
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {{name: idle, namespace: shop}}
spec:
  configPatches:
  - applyTo: CLUSTER
    match: {{cluster: {{service: {0}}}}}
    patch: {{operation: MERGE, value: {{connect_timeout: 1s}}}}
"""
POD = """---
apiVersion: v1
kind: Pod
metadata: {name: client, namespace: shop}
spec: {containers: [{name: app}]}
"""


def told(*documents: str) -> list[str]:
    world = build(parse("".join(documents), "w.yaml"))
    return [str(each) for each in disputes(world)]


@pytest.mark.parametrize("workload", [POD, ""])
def test_the_loser_of_a_port_is_named_with_the_winner_and_its_line(workload: str) -> None:
    (found,) = told(ENTRY.format("one", 6379, "TCP"), ENTRY.format("two", 6379, "TCP"), workload)
    assert found.startswith("w.yaml:9: warning: ServiceEntry/shop/two: loses listener 0.0.0.0_6379")
    assert "to ServiceEntry/shop/one" in found


def test_of_two_rules_for_one_host_the_younger_is_told() -> None:
    (found,) = told(ENTRY.format("web", 80, "HTTP"), ROUTES.format("a"), ROUTES.format("b"), POD)
    assert "VirtualService/shop/b: loses" in found
    assert "VirtualService/shop/a" in found


def test_a_filter_that_does_nothing_is_told_and_one_that_acts_is_not() -> None:
    (found,) = told(ENTRY.format("web", 80, "HTTP"), FILTER.format("nowhere.example.com"), POD)
    assert "EnvoyFilter/shop/idle: spec.configPatches[0] does nothing" in found
    assert told(ENTRY.format("web", 80, "HTTP"), FILTER.format("web.example.com"), POD) == []


def test_objects_that_take_nothing_from_each_other_are_not_mentioned() -> None:
    assert told(ENTRY.format("one", 80, "HTTP"), ENTRY.format("two", 80, "HTTP"), ROUTES.format("a"), POD) == []
