"""Which endpoints of a load assignment may be chosen, and how often: priorities, health, panic, localities, subsets."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tidegate.dump.config.cluster import Cluster, LbEndpoint, LoadAssignment, LocalityEndpoints, SubsetLb
from tidegate.dump.config.cluster import Endpoint as ConfigEndpoint
from tidegate.dump.model import Metadata

_AVAILABLE = frozenset({"UNKNOWN", "HEALTHY"})
_SUBSET_KEY = "envoy.lb"
_DEFAULT_PANIC = 50.0
_LEAST_ZONED = 6
"""Endpoints of the first priority with fewer of which Envoy does without zones."""


@dataclass(frozen=True)
class Host:
    """An endpoint with what its locality adds."""

    endpoint: ConfigEndpoint
    metadata: Metadata
    health: str
    weight: int
    group: LocalityEndpoints

    @property
    def locality(self) -> tuple[str, int]:
        return str(self.group.locality), self.group.priority


@dataclass(frozen=True)
class Balance:
    """Hosts with the share that each gets; all hosts, where none can be chosen."""

    shares: tuple[tuple[Host, float], ...]
    all_hosts: tuple[Host, ...]
    panic: bool = False


def balance(cluster: Cluster, assignment: LoadAssignment | None, criteria: Metadata) -> Balance:
    """The hosts that a new connection or request may go to now."""
    if assignment is None:
        return Balance((), ())
    everyone = tuple(_hosts(assignment))
    hosts = _subset(cluster.lb_subset_config, everyone, criteria)
    levels = _levels(hosts)
    loads, panicking = _loads(levels, cluster, assignment)
    shares: list[tuple[Host, float]] = []
    for (priority, degraded), load in loads.items():
        members = levels[priority]
        usable = members if priority in panicking else [h for h in members if _usable(h, degraded)]
        shares += _within(usable, members, load, cluster, assignment)
    return Balance(tuple(shares), everyone, bool(panicking))


def by_zone(cluster: Cluster, assignment: LoadAssignment | None) -> bool:
    """Whether Envoy prefers its own zone in the first priority, if it knows who its peers are and where it is
    (envoyproxy.io, "Zone aware routing"): asked for, with several localities and enough endpoints."""
    asked = cluster.common_lb_config.zone_aware_lb_config
    if asked is None or assignment is None or cluster.load_balancing_policy is not None:
        return False
    first = [h for h in _hosts(assignment) if h.group.priority == 0 and _usable(h, False)]
    least = _LEAST_ZONED if asked.min_cluster_size is None else asked.min_cluster_size
    on = asked.routing_enabled is None or asked.routing_enabled.value > 0
    return on and len(first) >= least and len({h.locality for h in first}) > 1


def _hosts(assignment: LoadAssignment) -> Iterable[Host]:
    for group in assignment.endpoints:
        for each in group.lb_endpoints:
            weight = max(each.load_balancing_weight, 1)
            yield Host(_named(assignment, each), each.metadata, each.health_status, weight, group)


def _named(assignment: LoadAssignment, each: LbEndpoint) -> ConfigEndpoint:
    return assignment.named_endpoints.get(each.endpoint_name, each.endpoint) if each.endpoint_name else each.endpoint


def _levels(hosts: Iterable[Host]) -> dict[int, list[Host]]:
    levels: dict[int, list[Host]] = {}
    for each in hosts:
        levels.setdefault(each.group.priority, []).append(each)
    return dict(sorted(levels.items()))


def _usable(host: Host, degraded: bool) -> bool:
    return host.health == "DEGRADED" if degraded else host.health in _AVAILABLE


Loads = dict[tuple[int, bool], float]
"""(priority, degraded hosts only) -> part of the load."""


def _loads(levels: dict[int, list[Host]], cluster: Cluster, assignment: LoadAssignment) -> tuple[Loads, set[int]]:
    """Envoy's priority load: each level takes what its health times the over-provisioning factor allows, healthy hosts
    of all levels before degraded ones. Second: the levels in panic, which use every host."""
    factor = (assignment.policy.overprovisioning_factor or 140) / 100
    health = {
        (priority, degraded): min(1.0, factor * sum(_usable(h, degraded) for h in members) / len(members))
        for degraded in (False, True)
        for priority, members in levels.items()
    }
    total = min(1.0, sum(health.values()))
    threshold = _panic_threshold(cluster)
    if total == 0:
        return _total_panic(levels) if threshold > 0 else ({}, set())
    panicking = {p for p, members in levels.items() if total < 1 and 100 * _available(members) < threshold}
    loads, left = Loads(), 1.0
    for key, each in health.items():
        taken = min(left, each / total)
        if taken > 0:
            loads[key] = taken
            left -= taken
    return _fail_on_panic(cluster, loads, panicking)


def _available(members: list[Host]) -> float:
    return sum(_usable(h, False) or _usable(h, True) for h in members) / len(members)


def _total_panic(levels: dict[int, list[Host]]) -> tuple[Loads, set[int]]:
    count = sum(len(members) for members in levels.values())
    return {(p, False): len(members) / count for p, members in levels.items()}, set(levels)


def _fail_on_panic(cluster: Cluster, loads: Loads, panicking: set[int]) -> tuple[Loads, set[int]]:
    zone_aware = cluster.common_lb_config.zone_aware_lb_config
    if zone_aware is not None and zone_aware.fail_traffic_on_panic:
        return {key: load for key, load in loads.items() if key[0] not in panicking}, set()
    return loads, panicking


def _panic_threshold(cluster: Cluster) -> float:
    set_to = cluster.common_lb_config.healthy_panic_threshold
    return _DEFAULT_PANIC if set_to is None else set_to.value


def _within(
    usable: list[Host], members: list[Host], load: float, cluster: Cluster, assignment: LoadAssignment
) -> list[tuple[Host, float]]:
    """Share the load of a level: by locality first where localities have weights that count, then by host weight."""
    if not _by_locality(cluster):
        return _by_weight(usable, load)
    factor = (assignment.policy.overprovisioning_factor or 140) / 100
    groups = {id(h.group): h.group for h in usable}
    effective = {}
    for key, group in groups.items():
        here = [h for h in members if h.group is group]
        fit = sum(1 for h in usable if h.group is group)
        effective[key] = group.load_balancing_weight * min(1.0, factor * fit / len(here))
    total = sum(effective.values())
    if total <= 0:
        return []
    return [
        pair
        for key in groups
        for pair in _by_weight([h for h in usable if id(h.group) == key], load * effective[key] / total)
        if effective[key]
    ]


_LOCALITY_POLICY = ".wrr_locality.v3.WrrLocality"


def _by_locality(cluster: Cluster) -> bool:
    """Whether localities are weighted: by the cluster's common settings or by its load balancing policy."""
    if cluster.load_balancing_policy is None:
        return cluster.common_lb_config.locality_weighted_lb_config is not None
    for policy in cluster.load_balancing_policy.policies:
        config = policy.typed_extension_config
        inner = config.typed_config.get("localityLbConfig")
        if config.type.endswith(_LOCALITY_POLICY):
            return True
        if isinstance(inner, dict) and "localityWeightedLbConfig" in inner:
            return True
    return False


def _by_weight(hosts: list[Host], load: float) -> list[tuple[Host, float]]:
    total = sum(h.weight for h in hosts)
    return [(h, load * h.weight / total) for h in hosts]


def _subset(config: SubsetLb | None, hosts: tuple[Host, ...], criteria: Metadata) -> tuple[Host, ...]:
    """Hosts of the subset that the route asks for (``metadataMatch`` under envoy.lb), or the fallback."""
    wanted = criteria.filter_metadata.get(_SUBSET_KEY) or {}
    if config is None or not config.subset_selectors:
        return hosts
    selector = next((each for each in config.subset_selectors if set(each.keys) == set(wanted)), None)
    if selector is not None:
        found = _having(hosts, wanted)
        if found:
            return found
    fallback = selector.fallback_policy if selector else "NOT_DEFINED"
    policy = config.fallback_policy if fallback == "NOT_DEFINED" else fallback
    if policy == "ANY_ENDPOINT":
        return hosts
    return _having(hosts, config.default_subset) if policy == "DEFAULT_SUBSET" else ()


def _having(hosts: tuple[Host, ...], wanted: dict[str, Any]) -> tuple[Host, ...]:
    labels = [(h, h.metadata.filter_metadata.get(_SUBSET_KEY) or {}) for h in hosts]
    return tuple(h for h, held in labels if all(key in held and held[key] == wanted[key] for key in wanted))
