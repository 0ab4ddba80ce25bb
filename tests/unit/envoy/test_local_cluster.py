"""Who an Envoy's peers are, as zone-aware routing needs to know."""

from typing import Any

import pytest

from tests.worlds import made, pod, service, world
from tidegate.app.discovery.proxies import Node, make_kind, make_proxy, read_metadata
from tidegate.envoy import protos
from tidegate.envoy.cache import Builders
from tidegate.envoy.defaults import slices
from tidegate.envoy.resource import ENDPOINT
from tidegate.envoy.view import build_own, own_input
from tidegate.kit import peers

APP = {"app": "web", "pod-template-hash": "5d", "service.istio.io/workload-name": "web"}
ASKS = {"ENABLE_SELF_DISCOVERY": "true"}


def peers_of(*pods: Any, asks: dict[str, str] = ASKS, router: bool = False) -> Any:
    """The cluster that the Pod ``a`` is told of; None when it is told of none."""
    ready = [{"addresses": [f"10.1.0.{i}"], "conditions": {"ready": True}} for i in range(1, len(pods) + 1)]
    for each, found in zip(ready, pods, strict=True):
        each["targetRef"] = {"kind": "Pod", "name": found.ref.name, "namespace": "shop"}
    slice_ = made(
        "EndpointSlice",
        "shop/web-1",
        labels={"kubernetes.io/service-name": "web"},
        addressType="IPv4",
        ports=[{"name": "http", "port": 80, "protocol": "TCP"}],
        endpoints=ready,
    )
    given = world(service("shop/web", selector={"app": "web"}), slice_, *pods)
    node = Node(
        name="a.shop",
        namespace="shop",
        pod="a",
        service_account="default",
        address="10.1.0.1",
        router=router,
        **read_metadata(asks),
    )
    proxy = make_proxy(given, node, lambda n, w: make_kind(given, n, w, frozenset(), False))
    own = build_own(own_input(given, proxy, slices(given.mesh, given.domain)), Builders())
    found = own.resources[ENDPOINT].get(peers.CLUSTER)
    return protos.ClusterLoadAssignment.FromString(found.body) if found is not None else None


def at(where: str, name: str, number: int, **labels: str) -> Any:
    return pod(f"shop/{name}", f"10.1.0.{number}", {**APP, "topology.istio.io/locality": where, **labels})


def zones(found: Any) -> dict[str, int]:
    return {place.locality.zone: len(place.lb_endpoints) for place in found.endpoints}


@pytest.mark.parametrize("router", [False, True])
def test_peers_are_told_by_zone(router: bool) -> None:
    found = peers_of(at("eu.z1", "a", 1), at("eu.z1", "b", 2), at("eu.z2", "c", 3), router=router)
    assert found.cluster_name == "local_cluster"
    assert zones(found) == {"z1": 2, "z2": 1}
    assert {place.priority for place in found.endpoints} == {0}


def test_other_regions_and_revisions_are_none() -> None:
    others = (at("us.z1", "b", 2), at("eu.z2", "c", 3, **{"pod-template-hash": "77"}))
    assert zones(peers_of(at("eu.z1", "a", 1), *others)) == {"z1": 1}
    rolled = at("eu.z2", "b", 2, **{"rollouts-pod-template-hash": "1"})
    assert zones(peers_of(at("eu.z1", "a", 1), rolled)) == {"z1": 1}


def test_who_serves_nothing_has_no_peers_and_is_answered() -> None:
    """Envoy would wait for the answer otherwise."""
    found = peers_of()
    assert found is not None and not found.endpoints


def test_who_does_not_ask_is_told_nothing() -> None:
    assert peers_of(at("eu.z1", "a", 1), asks={}) is None
