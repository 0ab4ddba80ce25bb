"""Locality load balancing: which localities get traffic, how much, and in which order they stand in.

Works on plain values; :mod:`tidegate.envoy.endpoints` writes the result. The meaning is that of Istio's
``LocalityLoadBalancerSetting`` (distribute, failover, failoverPriority).
"""

import math
from collections.abc import Iterable, Mapping

import msgspec

from tidegate.api.networking import (
    LocalityLoadBalancerSetting,
    LocalityLoadBalancerSettingDistribute,
    LocalityLoadBalancerSettingFailover,
)
from tidegate.envoy.inputs import ClusterDefaults
from tidegate.envoy.policy import Policy
from tidegate.registry import topology
from tidegate.registry.model import Endpoint, Labels
from tidegate.scope.proxy import ProxyKind

_NEAR = (topology.NETWORK, topology.REGION, topology.ZONE)
_CLOSE = LocalityLoadBalancerSetting(failover_priority=_NEAR)
_NODE = LocalityLoadBalancerSetting(failover_priority=(*_NEAR, topology.SUBZONE, topology.HOSTNAME))
_DISTRIBUTIONS = {"PreferClose": _CLOSE, "PreferSameZone": _CLOSE, "PreferSameNode": _NODE}
"""Kubernetes' trafficDistribution in terms of failoverPriority."""

OTHER_REGION = 3
"""Distance of an endpoint in another region than the proxy's; 4: a region that ``failover`` does not name."""


class Plan(msgspec.Struct, frozen=True):
    """What holds for one cluster: the setting, and whether endpoints may be put into lower priorities."""

    setting: LocalityLoadBalancerSetting
    failover: bool

    @property
    def weighted(self) -> bool:
        """Envoy is to heed locality weights: only where the user set something that needs them."""
        ranked = self.failover and bool(self.setting.failover or self.setting.failover_priority)
        return bool(self.setting.distribute) or ranked


class Group(msgspec.Struct):
    """Endpoints of one locality and priority."""

    locality: str
    endpoints: list[Endpoint]
    weight: int
    priority: int = 0


def plan(policy: Policy, distribution: str, defaults: ClusterDefaults) -> Plan | None:
    """The locality setting that holds, by precedence: DestinationRule, trafficDistribution, mesh. None: none.

    Without outlier detection Envoy never leaves a priority, so failover counts only with it, or where
    trafficDistribution asks for nearness as such.
    """
    detects = policy.outlier_detection is not None
    own = policy.load_balancer.locality_lb_setting if policy.load_balancer else None
    if own is not None:
        return None if own.enabled is False else Plan(own, detects)
    if near := _DISTRIBUTIONS.get(distribution):
        return Plan(near, True)
    mesh = defaults.locality_lb.value if defaults.locality_lb else None
    return Plan(mesh, detects) if mesh is not None and mesh.enabled else None


def weight_of(endpoint: Endpoint) -> int:
    return endpoint.weight or 1


def group(endpoints: Iterable[Endpoint]) -> list[Group]:
    """Endpoints by locality, localities in the order of their text; within one, the order given."""
    found: dict[str, list[Endpoint]] = {}
    for endpoint in endpoints:
        found.setdefault(endpoint.locality, []).append(endpoint)
    return [Group(name, members, sum(map(weight_of, members))) for name, members in sorted(found.items())]


def apply(plan: Plan | None, groups: list[Group], proxy: ProxyKind) -> list[Group]:
    """Weights and priorities put on ``groups``; priorities are 0..n without gaps."""
    if plan is None:
        return groups
    if plan.setting.distribute:
        return _distribute(plan.setting.distribute, groups, proxy.locality)
    if not plan.failover:
        return groups
    if plan.setting.failover_priority:
        groups = _by_labels(groups, plan.setting.failover_priority, proxy)
        return _by_distance(groups, plan.setting.failover, proxy.locality) if plan.setting.failover else groups
    return _by_distance(groups, plan.setting.failover, proxy.locality)


def parts(locality: str) -> tuple[str, str, str]:
    """Region, zone and subzone of ``region/zone/subzone``, "" for those that are missing."""
    region, _, rest = locality.partition("/")
    zone, _, subzone = rest.partition("/")
    return region, zone, subzone


def matches(locality: str, pattern: str) -> bool:
    """True when a locality is one of those that ``region/zone/subzone`` with ``*`` names."""
    mine, wanted = parts(locality), parts(pattern)
    if wanted[0] not in ("*", mine[0]):
        return False
    return all(want in ("", "*", have) for have, want in zip(mine[1:], wanted[1:], strict=True))


def _distribute(
    rules: tuple[LocalityLoadBalancerSettingDistribute, ...], groups: list[Group], locality: str
) -> list[Group]:
    chosen = next((rule for rule in rules if matches(locality, rule.from_)), None)
    if chosen is None:
        return groups
    left = list(groups)
    for pattern, share in sorted(chosen.to.items(), key=_specific_first):
        taken = [g for g in left if matches(g.locality, pattern)]
        left = [g for g in left if g not in taken]
        total = sum(g.weight for g in taken)
        for each in taken:
            each.weight = math.ceil(each.weight * share / total) or each.weight
            if not share:
                each.endpoints = []
    for each in left:
        each.endpoints = []
    return groups


def _specific_first(item: tuple[str, int]) -> tuple[int, str]:
    """A map has no order of its own: of patterns that overlap, the narrower one gets the locality."""
    return (sum(part in ("", "*") for part in parts(item[0])), item[0])


def _distance(mine: str, theirs: str) -> int:
    for step, (own, other) in enumerate(zip(parts(mine), parts(theirs), strict=True)):
        if own != other:
            return OTHER_REGION - step
    return 0


def _by_distance(
    groups: list[Group], failover: tuple[LocalityLoadBalancerSettingFailover, ...], locality: str
) -> list[Group]:
    region = parts(locality)[0]
    target = next((f.to for f in failover if f.from_ == region), None)
    for each in groups:
        distance = _distance(locality, each.locality)
        if distance == OTHER_REGION and target is not None and parts(each.locality)[0] != target:
            distance += 1
        # labels rank first, distance within a rank: there are five distances
        each.priority = each.priority * 5 + distance
    return _compact(groups)


def _by_labels(groups: list[Group], names: tuple[str, ...], proxy: ProxyKind) -> list[Group]:
    mine = _proxy_labels(proxy)
    ranked: list[Group] = []
    for each in groups:
        split: dict[int, list[Endpoint]] = {}
        for endpoint in each.endpoints:
            split.setdefault(_rank(names, mine, _endpoint_labels(endpoint, proxy)), []).append(endpoint)
        for rank, members in sorted(split.items()):
            ranked.append(Group(each.locality, members, sum(map(weight_of, members)), rank))
    return _compact(ranked)


def _rank(names: tuple[str, ...], mine: Mapping[str, str], theirs: Mapping[str, str]) -> int:
    """0 when all labels agree, else the number of labels from the first that differs on.

    The network as first label is a rank of its own: behind every endpoint of the proxy's network, in the order that
    the other labels give.
    """
    extra = 0
    for index, name in enumerate(names):
        key, has_value, value = name.partition("=")
        if theirs.get(key, "") == (value if has_value else mine.get(key, "")):
            continue
        if index == 0 and key == topology.NETWORK:
            extra = len(names)
            continue
        return extra + len(names) - index
    return extra


def _proxy_labels(proxy: ProxyKind) -> dict[str, str]:
    return _located(proxy.labels, proxy.cluster_id, proxy.locality, proxy.network, proxy.node_name)


def _endpoint_labels(endpoint: Endpoint, proxy: ProxyKind) -> dict[str, str]:
    """One control plane serves one cluster: the label agrees where an endpoint is not labelled otherwise."""
    cluster = dict(endpoint.labels).get(topology.CLUSTER) or proxy.cluster_id
    return _located(endpoint.labels, cluster, endpoint.locality, endpoint.network, endpoint.node_name)


def _located(labels: Labels, cluster: str, place: str, network: str, node: str) -> dict[str, str]:
    return dict(topology.with_topology(dict(labels), cluster=cluster, locality=place, network=network, node=node))


def _compact(groups: list[Group]) -> list[Group]:
    """Close gaps between priorities: Envoy wants 0..n."""
    order = {priority: place for place, priority in enumerate(sorted({g.priority for g in groups}))}
    for each in groups:
        each.priority = order[each.priority]
    return groups
