"""The cluster by which an Envoy knows what it is one of: without it, zone-aware routing does nothing.

Envoy compares how its own peers are spread over zones with how a server's endpoints are, and keeps in its zone what
that allows (envoyproxy.io, "Zone aware routing"). Proxies ask for it with ``ISTIO_META_ENABLE_SELF_DISCOVERY``, and
their bootstrap then has a cluster of this name.
"""

from collections.abc import Iterator, Sequence

from tidegate.envoy import endpoints
from tidegate.envoy.inputs import PeersInput
from tidegate.envoy.locality import parts
from tidegate.envoy.resource import Resource
from tidegate.kit.peers import CLUSTER
from tidegate.registry.model import Endpoint, Health, Labels, ServiceTarget
from tidegate.scope.proxy import Proxy
from tidegate.snapshot.world import World

_REVISIONS = ("pod-template-hash", "rollouts-pod-template-hash")
"""Labels of the Pods of one ReplicaSet, or of one revision of an Argo Rollout."""


def gather(world: World, proxy: Proxy, targets: Sequence[ServiceTarget]) -> PeersInput | None:
    """Who the peers of a proxy are, by the oldest service that it serves; nobody where it serves none. None for a
    proxy that does not ask."""
    if not proxy.asks_for_peers:
        return None
    return PeersInput(endpoints=tuple(_peers(world, proxy, targets[0])) if targets else (), proxy=proxy.kind)


def build(given: PeersInput) -> Resource:
    return endpoints.of_peers(given, CLUSTER)


def _peers(world: World, proxy: Proxy, target: ServiceTarget) -> Iterator[Endpoint]:
    """Of one revision of one workload: two revisions may be spread otherwise, and get traffic otherwise. Of the
    proxy's region: other regions are lower priorities, among which zones do not count."""
    workload = world.workloads.get(proxy.workload) if proxy.workload else None
    name = workload.workload_name if workload is not None else ""
    revision, region = _revision(proxy.labels), parts(proxy.kind.locality)[0]
    for each in world.endpoints.get(target.service.key, ()):
        alike = each.workload_name == name and _revision(each.labels) == revision
        served = each.port_name == target.port.name and each.health is not Health.DRAINING
        if alike and served and parts(each.locality)[0] == region:
            yield each


def _revision(labels: Labels) -> tuple[str, ...]:
    found = dict(labels)
    return tuple(found.get(key, "") for key in _REVISIONS)
