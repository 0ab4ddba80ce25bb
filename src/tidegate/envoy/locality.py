"""Locality load balancing: which localities get traffic, how much, and in which order they stand in.

Works on plain values; :mod:`tidegate.envoy.endpoints` writes the result. The meaning is that of Istio's
``LocalityLoadBalancerSetting`` (distribute, failover, failoverPriority) and ``ZoneAwareLoadBalancerSetting``, which
ranks regions only: within one region Envoy itself spreads requests over zones.
"""

import math
from collections.abc import Iterable, Mapping

import msgspec

from tidegate.api.networking import (
    LocalityLoadBalancerSetting,
    LocalityLoadBalancerSettingDistribute,
    LocalityLoadBalancerSettingFailover,
    ZoneAwareLoadBalancerSetting,
    ZoneAwareLoadBalancerSettingFailover,
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

Setting = LocalityLoadBalancerSetting | ZoneAwareLoadBalancerSetting
Failover = LocalityLoadBalancerSettingFailover | ZoneAwareLoadBalancerSettingFailover


class Plan(msgspec.Struct, frozen=True):
    """What holds for one cluster: the setting, and whether endpoints may be put into lower priorities."""

    setting: Setting
    failover: bool

    @property
    def zone_aware(self) -> ZoneAwareLoadBalancerSetting | None:
        return self.setting if isinstance(self.setting, ZoneAwareLoadBalancerSetting) else None

    @property
    def distribute(self) -> tuple[LocalityLoadBalancerSettingDistribute, ...]:
        return self.setting.distribute if isinstance(self.setting, LocalityLoadBalancerSetting) else ()

    @property
    def weighted(self) -> bool:
        """Envoy is to heed locality weights: only where the user set something that needs them."""
        if self.zone_aware is not None:
            return False
        ranked = self.failover and bool(self.setting.failover or self.setting.failover_priority)
        return bool(self.distribute) or ranked


class Group(msgspec.Struct):
    """Endpoints of one locality and priority."""

    locality: str
    endpoints: list[Endpoint]
    weight: int
    priority: int = 0


def plan(policy: Policy, distribution: str, defaults: ClusterDefaults) -> Plan | None:
    """The setting that holds, by precedence: DestinationRule, trafficDistribution, mesh. None: none.

    Without outlier detection Envoy never leaves a priority, so a locality setting's failover counts only with it, or
    where trafficDistribution asks for nearness as such. Zone awareness needs none, and wins over the locality setting
    of the same object; switched off there, it also keeps what is less specific from holding.
    """
    detects = policy.outlier_detection is not None
    rule = policy.load_balancer
    if rule is not None and (rule.zone_aware_lb_setting or rule.locality_lb_setting):
        return _plan(rule.zone_aware_lb_setting, rule.locality_lb_setting, detects)
    if near := _DISTRIBUTIONS.get(distribution):
        return Plan(near, True)
    zone_aware = defaults.zone_aware_lb.value if defaults.zone_aware_lb else None
    mesh = defaults.locality_lb.value if defaults.locality_lb else None
    if mesh is not None and mesh.enabled is None:
        mesh = None
    return _plan(zone_aware, mesh, detects)


def _plan(
    zone_aware: ZoneAwareLoadBalancerSetting | None, place: LocalityLoadBalancerSetting | None, detects: bool
) -> Plan | None:
    if zone_aware is not None:
        return Plan(zone_aware, zone_aware.enabled is not False)
    return Plan(place, detects) if place is not None and place.enabled is not False else None


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
    if plan.distribute:
        return _distribute(plan.distribute, groups, proxy.locality)
    if not plan.failover:
        return groups
    setting, regions_only = plan.setting, plan.zone_aware is not None
    if setting.failover_priority:
        groups = _by_labels(groups, setting.failover_priority, proxy)
        if not setting.failover and not regions_only:
            return groups
    return _by_distance(groups, setting.failover, proxy.locality, regions_only=regions_only)


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
    groups: list[Group], failover: tuple[Failover, ...], locality: str, *, regions_only: bool = False
) -> list[Group]:
    region = parts(locality)[0]
    target = next((f.to for f in failover if f.from_ == region), None)
    for each in groups:
        distance = _distance(locality, each.locality)
        if regions_only and distance < OTHER_REGION:
            distance = 0
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
