"""Load balancing and outlier detection of clusters."""

from typing import Any

from tidegate.api.networking import (
    ConsistentHashLB,
    LoadBalancerSettings,
    LoadBalancerSettingsSimple,
    OutlierDetection,
    WarmupConfiguration,
)
from tidegate.envoy import protos
from tidegate.envoy.locality import Plan

Simple = LoadBalancerSettingsSimple
LB = protos.Cluster.LbPolicy

_POLICIES = {
    Simple.ROUND_ROBIN: LB.Value("ROUND_ROBIN"),
    Simple.RANDOM: LB.Value("RANDOM"),
    Simple.LEAST_REQUEST: LB.Value("LEAST_REQUEST"),
    Simple.LEAST_CONN: LB.Value("LEAST_REQUEST"),
    Simple.UNSPECIFIED: LB.Value("LEAST_REQUEST"),
}
_DEFAULT_RING = 1024
_LARGEST_RING = 8 * 1024 * 1024
_LARGEST_TABLE = 5_000_011
"""Envoy refuses larger ones; smaller ones only spread less evenly."""
_LINEAR, _LEAST_PERCENT = 1.0, 10.0
"""How the share of a new endpoint grows, and where it begins."""
_RUNTIME_KEY = "("
"""Envoy wants a key beside a number; this one, which nobody sets, is what Istio writes."""


def is_passthrough(settings: LoadBalancerSettings | None) -> bool:
    """simple PASSTHROUGH: connections go where the caller was going."""
    return settings is not None and settings.simple is Simple.PASSTHROUGH


def put_load_balancer(cluster: Any, settings: LoadBalancerSettings | None) -> None:
    if settings is None:
        cluster.lb_policy = LB.Value("LEAST_REQUEST")
        return
    if settings.consistent_hash is not None:
        _put_hash(cluster, settings.consistent_hash)
        return
    cluster.lb_policy = _POLICIES.get(settings.simple or Simple.UNSPECIFIED, LB.Value("LEAST_REQUEST"))
    if settings.warmup is not None:
        _put_warmup(_slow_start(cluster), settings.warmup)
    elif settings.warmup_duration_secs is not None and (slow := _slow_start(cluster)) is not None:
        slow.slow_start_window.CopyFrom(protos.duration(settings.warmup_duration_secs))


def put_localities(cluster: Any, plan: Plan | None) -> None:
    """Whether Envoy weighs localities, or prefers its own zone. Zone awareness takes effect in proxies that know
    their peers (:mod:`tidegate.envoy.local_cluster`) and their own locality; in others Envoy spreads requests over all
    endpoints of the first priority."""
    if plan is None:
        return
    if plan.weighted:
        cluster.common_lb_config.locality_weighted_lb_config.SetInParent()
    elif plan.zone_aware is not None:
        zones = cluster.common_lb_config.zone_aware_lb_config
        zones.SetInParent()
        if not plan.failover:
            zones.routing_enabled.value = 0.0
        if plan.zone_aware.min_cluster_size is not None:
            zones.min_cluster_size.value = plan.zone_aware.min_cluster_size


def _put_hash(cluster: Any, settings: ConsistentHashLB) -> None:
    if settings.maglev is not None:
        cluster.lb_policy = LB.Value("MAGLEV")
        if settings.maglev.table_size:
            cluster.maglev_lb_config.table_size.value = min(settings.maglev.table_size, _LARGEST_TABLE)
        return
    cluster.lb_policy = LB.Value("RING_HASH")
    if settings.ring_hash is not None:
        size = settings.ring_hash.minimum_ring_size
    else:
        size = settings.minimum_ring_size or _DEFAULT_RING
    if size:
        cluster.ring_hash_lb_config.minimum_ring_size.value = min(size, _LARGEST_RING)


def _slow_start(cluster: Any) -> Any | None:
    """Where a cluster says how new endpoints warm up: of the policies, only round robin and least request know it."""
    if cluster.lb_policy == LB.Value("ROUND_ROBIN"):
        return cluster.round_robin_lb_config.slow_start_config
    if cluster.lb_policy == LB.Value("LEAST_REQUEST"):
        return cluster.least_request_lb_config.slow_start_config
    return None


def _put_warmup(slow: Any | None, warmup: WarmupConfiguration) -> None:
    """``warmup`` in full: what it leaves out is written with Envoy's defaults, as Istio does."""
    if slow is None or warmup.duration is None:
        return
    slow.slow_start_window.CopyFrom(protos.duration(warmup.duration))
    aggression = warmup.aggression if warmup.aggression is not None else _LINEAR
    slow.aggression.CopyFrom(protos.RuntimeDouble(default_value=aggression, runtime_key=_RUNTIME_KEY))
    least = warmup.minimum_percent if warmup.minimum_percent is not None else _LEAST_PERCENT
    slow.min_weight_percent.value = least


def put_outlier_detection(cluster: Any, settings: OutlierDetection | None, *, told_health: bool = False) -> None:
    """``told_health``: endpoints that are not ready must be known as such whatever the settings say.

    Consecutive errors only: detection by success rate is never enforced, the API has no field for it.

    A count of 0 switches its kind off; an unset one keeps Envoy's default.
    """
    cluster.common_lb_config.healthy_panic_threshold.SetInParent()
    if settings is None:
        return
    out = cluster.outlier_detection
    out.enforcing_success_rate.value = 0
    _count(out, "consecutive_5xx", "enforcing_consecutive_5xx", settings.consecutive5xx_errors)
    _count(
        out,
        "consecutive_gateway_failure",
        "enforcing_consecutive_gateway_failure",
        settings.consecutive_gateway_errors,
    )
    if settings.interval is not None:
        out.interval.CopyFrom(protos.duration(settings.interval))
    if settings.base_ejection_time is not None:
        out.base_ejection_time.CopyFrom(protos.duration(settings.base_ejection_time))
    if settings.max_ejection_percent > 0:
        out.max_ejection_percent.value = settings.max_ejection_percent
    if settings.split_external_local_origin_errors:
        out.split_external_local_origin_errors = True
        out.enforcing_local_origin_success_rate.value = 0
        local = settings.consecutive_local_origin_failures
        _count(out, "consecutive_local_origin_failure", "enforcing_consecutive_local_origin_failure", local or None)
    if settings.min_health_percent > 0 and not told_health:
        cluster.common_lb_config.healthy_panic_threshold.value = float(settings.min_health_percent)


def _count(out: Any, field: str, enforcing: str, count: int | None) -> None:
    if count is not None:
        getattr(out, field).value = count
        getattr(out, enforcing).value = 100 if count > 0 else 0
