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

_MOST = 500
"""Localities of one list: each is compared with each."""

_TOPOLOGY_LABELS = frozenset(
    ("topology.kubernetes.io/region", "topology.kubernetes.io/zone", "topology.istio.io/subzone")
)


def check_locality_setting(
    path: str, setting: LocalityLoadBalancerSetting, outlier: OutlierDetection | None, out: Findings
) -> None:
    if setting.distribute and (setting.failover or setting.failover_priority):
        out.error(path, "distribute may not be set together with failover or failoverPriority")
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
        if entry.partition("=")[0] in _TOPOLOGY_LABELS:
            at = f"{path}.failoverPriority[{index}]"
            out.error(at, "topology labels may not be used here: the locality order decides them", entry)


def _check_distribute(path: str, share: LocalityLoadBalancerSettingDistribute, out: Findings) -> None:
    for locality, weight in share.to.items():
        if not 1 <= weight <= 100:
            out.error(f"{path}.to[{locality[:120]}]", "must be a weight from 1 to 100", weight)
    total = sum(share.to.values())
    if total != 100:
        out.error(f"{path}.to", "weights must add up to 100", total)
    check_localities(f"{path}.to", list(share.to), out)


def check_localities(path: str, localities: Sequence[str], out: Findings) -> None:
    """Each well-formed, none inside another: ``*`` once and last, no empty part."""
    if len(localities) > _MOST:
        out.error(path, f"must have at most {_MOST} localities", len(localities))
        return
    for locality in localities:
        parts = locality.split("/")
        if not all(parts):
            out.error(path, "a locality is region/zone/subzone without empty parts", locality)
        elif "*" in locality and (locality.count("*") > 1 or not locality.endswith("*")):
            out.error(path, "* may stand once in a locality, at its end", locality)
    for index, first in enumerate(localities):
        for second in localities[index + 1 :]:
            if _overlap(first, second):
                out.error(path, f"localities overlap: {first[:120]} and {second[:120]}")


def _overlap(first: str, second: str) -> bool:
    bare = [text.removesuffix("*") for text in (first, second)]
    if first.endswith("*") or second.endswith("*"):
        if first.endswith("*") and second.endswith("*"):
            return bare[0].startswith(bare[1]) or bare[1].startswith(bare[0])
        wild, plain = (bare[0], second) if first.endswith("*") else (bare[1], first)
        return plain.startswith(wild)
    return _inside(first, second) or _inside(second, first)


def _inside(inner: str, outer: str) -> bool:
    return inner == outer or inner.startswith(f"{outer}/")


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
