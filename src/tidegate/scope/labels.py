"""Which label keys can matter to outbound configuration: those that some selector or sourceLabels mentions."""

from typing import Any

from tidegate.api.mesh import MeshConfig
from tidegate.api.networking import (
    DestinationRule,
    LocalityLoadBalancerSetting,
    Sidecar,
    VirtualService,
    ZoneAwareLoadBalancerSetting,
)
from tidegate.api.objects import Object
from tidegate.api.telemetry import Telemetry
from tidegate.registry.model import Labels
from tidegate.scope.telemetry import tested_labels


def mentioned(spec: Any) -> frozenset[str]:
    """Label keys that one object's spec tests on the client workload."""
    if isinstance(spec, Sidecar):
        return frozenset(spec.workload_selector.labels) if spec.workload_selector else frozenset()
    if isinstance(spec, DestinationRule):
        keys = set(spec.workload_selector.match_labels) if spec.workload_selector else set()
        return frozenset(keys | _failover_keys(spec))
    if isinstance(spec, VirtualService):
        sources = [m.source_labels for http in spec.http for m in http.match]
        sources += [m.source_labels for tls in spec.tls for m in tls.match]
        sources += [m.source_labels for tcp in spec.tcp for m in tcp.match]
        return frozenset(key for labels in sources for key in labels)
    if isinstance(spec, Telemetry):
        return tested_labels(spec)
    return frozenset()


def where_tested(found: Object[Any]) -> str:
    """The namespace on whose proxies alone an object tests labels, "" for all: a selector of a Sidecar, Telemetry or
    DestinationRule selects within its own namespace."""
    spec = found.spec
    selecting = isinstance(spec, DestinationRule) and spec.workload_selector is not None
    private = selecting or isinstance(spec, Sidecar | Telemetry)
    return found.ref.namespace if private else ""


def _failover_keys(spec: DestinationRule) -> set[str]:
    """failoverPriority compares labels of client and endpoint."""
    policies = [p for p in (spec.traffic_policy, *(s.traffic_policy for s in spec.subsets)) if p]
    balancers = [p.load_balancer for p in policies]
    balancers += [level.load_balancer for p in policies for level in p.port_level_settings]
    settings = [s for b in balancers if b for s in (b.locality_lb_setting, b.zone_aware_lb_setting) if s]
    return {key for s in settings for key in _priority_keys(s)}


def mentioned_by_mesh(mesh: MeshConfig) -> frozenset[str]:
    """Label keys that the mesh's own failoverPriority compares."""
    settings = (mesh.locality_lb_setting, mesh.zone_aware_lb_setting)
    return frozenset(key for setting in settings if setting for key in _priority_keys(setting))


def _priority_keys(setting: LocalityLoadBalancerSetting | ZoneAwareLoadBalancerSetting) -> frozenset[str]:
    return frozenset(word.partition("=")[0] for word in setting.failover_priority)


def project(labels: Labels, keys: frozenset[str]) -> Labels:
    return tuple(pair for pair in labels if pair[0] in keys)
