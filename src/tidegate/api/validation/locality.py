"""Rules for locality load balancing."""

from collections.abc import Iterable, Sequence

from tidegate.api.networking import (
    LocalityLoadBalancerSetting,
    LocalityLoadBalancerSettingDistribute,
    LocalityLoadBalancerSettingFailover,
    OutlierDetection,
    ZoneAwareLoadBalancerSetting,
    ZoneAwareLoadBalancerSettingFailover,
)
from tidegate.api.validation.findings import Findings

_LEVELS = 3
"""Region, zone and subzone."""

_TOPOLOGY_LABELS = frozenset(
    ("topology.kubernetes.io/region", "topology.kubernetes.io/zone", "topology.istio.io/subzone")
)


def check_locality_setting(
    path: str, setting: LocalityLoadBalancerSetting, outlier: OutlierDetection | None, out: Findings
) -> None:
    if setting.distribute and setting.failover:
        out.error(path, "distribute may not be set together with failover")
    if setting.failover and setting.failover_priority:
        _no_topology_labels(path, setting.failover_priority, out)
    for index, share in enumerate(setting.distribute):
        _check_distribute(f"{path}.distribute[{index}]", share, out)
    check_localities(f"{path}.distribute", [share.from_ for share in setting.distribute], out)
    if (setting.failover or setting.failover_priority) and outlier is None:
        out.warn(path, "failover needs outlierDetection: without it no endpoint is ever seen as unhealthy")
    _check_failover(path, setting.failover, out)


def check_zone_aware_setting(
    path: str, setting: ZoneAwareLoadBalancerSetting, outlier: OutlierDetection | None, out: Findings
) -> None:
    _no_topology_labels(path, setting.failover_priority, out)
    if (setting.failover or setting.failover_priority) and outlier is None:
        out.warn(path, "failover needs outlierDetection: without it no endpoint is ever seen as unhealthy")
    _check_failover(path, setting.failover, out)


def _no_topology_labels(path: str, priorities: Iterable[str], out: Findings) -> None:
    for index, entry in enumerate(priorities):
        if entry in _TOPOLOGY_LABELS:
            at = f"{path}.failoverPriority[{index}]"
            out.error(at, "topology labels may not be used here: the locality order decides them", entry)


def _check_distribute(path: str, share: LocalityLoadBalancerSettingDistribute, out: Findings) -> None:
    for locality, weight in share.to.items():
        if not 1 <= weight <= 100:
            out.error(f"{path}.to[{locality[:120]}]", "must be a weight from 1 to 100", weight)
    total = sum(share.to.values())
    if total != 100:
        out.error(f"{path}.to", "weights must add up to 100", total)
    # A map has no order; sorted, the wider of two localities comes before the narrower, and they overlap.
    check_localities(f"{path}.to", sorted(share.to), out)


def check_localities(path: str, localities: Sequence[str], out: Findings) -> None:
    """Each well-formed: ``*`` once and last, no empty part; and none that earlier ones leave nothing of.

    An earlier locality takes what is inside it. A later one may be wider, and has the rest, when it ends with ``*``;
    without, it may not stand beside parts of itself.
    """
    taken: set[tuple[str, ...]] = set()
    for locality in localities:
        parts = tuple(locality.split("/", 2))
        if not all(parts):
            out.error(path, "a locality is region/zone/subzone without empty parts", locality)
        elif "*" in locality and (locality.count("*") > 1 or not locality.endswith("*")):
            out.error(path, "* may stand once in a locality, at its end", locality)
        elif _is_taken(parts, taken):
            out.error(path, "a locality must not overlap with those before it", locality)
        taken.update(parts[: end + 1] for end in range(len(parts)))
        taken.add((*parts, "*") if len(parts) < _LEVELS else parts)


def _is_taken(parts: tuple[str, ...], taken: set[tuple[str, ...]]) -> bool:
    """``taken`` holds earlier localities with all that they are inside of; whole ones also with ``*`` below."""
    wider = any((*parts[:end], "*") in taken for end in range(len(parts)))
    return wider or parts in taken


def _check_failover(
    path: str,
    failover: Sequence[LocalityLoadBalancerSettingFailover | ZoneAwareLoadBalancerSettingFailover],
    out: Findings,
) -> None:
    for index, pair in enumerate(failover):
        at = f"{path}.failover[{index}]"
        if pair.from_ == pair.to:
            out.error(at, "from and to must differ", pair.from_)
        for name, region in (("from", pair.from_), ("to", pair.to)):
            if "/" in region:
                out.error(f"{at}.{name}", "must be a region, without zone", region)
            if "*" in region:
                out.error(f"{at}.{name}", "must not contain *", region)
