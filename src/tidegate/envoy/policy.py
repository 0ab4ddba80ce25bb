"""Which traffic policy of a DestinationRule holds for a port and a subset."""

from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType

import msgspec

from tidegate.api.networking import (
    ClientTLSSettings,
    ConnectionPoolSettings,
    DestinationRule,
    LoadBalancerSettings,
    OutlierDetection,
    PortTrafficPolicy,
    ProxyProtocol,
    RetryBudget,
    Subset,
    TrafficPolicy,
    TunnelSettings,
)
from tidegate.api.objects import Object
from tidegate.envoy.inputs import ClusterDefaults
from tidegate.envoy.resource import Decision

BLOCKS = (
    ("load_balancer", "loadBalancer"),
    ("connection_pool", "connectionPool"),
    ("outlier_detection", "outlierDetection"),
    ("tls", "tls"),
)
"""Attribute and JSON name of the blocks that a port-level policy replaces together."""

WHOLE = (("tunnel", "tunnel"), ("proxy_protocol", "proxyProtocol"), ("retry_budget", "retryBudget"))
"""Blocks that port-level policies do not have: where one holds, those beside it do not; a rule's hold on for a port of
a subset."""


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """The blocks that hold, each None where nothing sets it."""

    load_balancer: LoadBalancerSettings | None = None
    connection_pool: ConnectionPoolSettings | None = None
    outlier_detection: OutlierDetection | None = None
    tls: ClientTLSSettings | None = None
    tunnel: TunnelSettings | None = None
    proxy_protocol: ProxyProtocol | None = None
    retry_budget: RetryBudget | None = None
    fields: Mapping[str, str] = MappingProxyType({})
    """Field path of each block that is set: ``{"tls": "spec.subsets[0].trafficPolicy.tls"}``."""

    def field(self, block: str) -> str:
        """Path of a block within its DestinationRule, "" when nothing sets the block."""
        return self.fields.get(block, "")


NONE = Policy()


def effective(rule: Object[DestinationRule] | None, port: int, subset: str = "") -> Policy:
    """The policy for a service port, or for one subset of it.

    A port-level policy replaces its level as a whole (what it leaves out falls back to defaults, not to the level
    above); a subset's policy overrides the rule's block by block. This is Istio's documented
    meaning of ``trafficPolicy.portLevelSettings`` and ``subsets[].trafficPolicy``. ``rule`` None, or a subset that
    the rule does not have: as far as the rule goes.
    """
    if rule is None:
        return NONE
    values: dict[str, object] = {}
    fields: dict[str, str] = {}
    _overlay(values, fields, rule.spec.traffic_policy, "spec.trafficPolicy", port)
    index, found = find_subset(rule.spec, subset)
    if found is not None:
        _overlay(values, fields, found.traffic_policy, f"spec.subsets[{index}].trafficPolicy", port)
    return Policy(**values, fields=fields) if values else NONE  # type: ignore[arg-type]


def seeded(policy: Policy, defaults: ClusterDefaults) -> Policy:
    """``policy`` with the mesh's ``defaultTrafficPolicy`` in the blocks that no rule sets."""
    mesh = defaults.traffic_policy.value if defaults.traffic_policy else None
    if mesh is None:
        return policy
    return msgspec.structs.replace(
        policy,
        connection_pool=policy.connection_pool or mesh.connection_pool,
        outlier_detection=policy.outlier_detection or mesh.outlier_detection,
    )


def _overlay(
    values: dict[str, object], fields: dict[str, str], policy: TrafficPolicy | None, path: str, port: int
) -> None:
    if policy is None:
        return
    index, level = _port_level(policy.port_level_settings, port)
    if level is None:
        for attribute, name in (*BLOCKS, *WHOLE):
            _put(values, fields, attribute, getattr(policy, attribute), f"{path}.{name}")
        return
    for attribute, name in BLOCKS:
        values.pop(attribute, None)
        fields.pop(attribute, None)
        _put(values, fields, attribute, getattr(level, attribute), f"{path}.portLevelSettings[{index}].{name}")


def _put(values: dict[str, object], fields: dict[str, str], attribute: str, value: object, path: str) -> None:
    if value is not None:
        values[attribute] = value
        fields[attribute] = path


def balancers(rule: DestinationRule, port: int, subset: str) -> Iterator[tuple[str, LoadBalancerSettings]]:
    """Every load balancer that a rule has for a port (0: for none in particular) of a subset, by field path: the
    widest first."""
    index, found = find_subset(rule, subset)
    levels = [(rule.traffic_policy, "spec.trafficPolicy")]
    if found is not None:
        levels.append((found.traffic_policy, f"spec.subsets[{index}].trafficPolicy"))
    for whole, path in levels:
        if whole is None:
            continue
        if whole.load_balancer is not None:
            yield f"{path}.loadBalancer", whole.load_balancer
        nth, level = _port_level(whole.port_level_settings, port) if port else (-1, None)
        if level is not None and level.load_balancer is not None:
            yield f"{path}.portLevelSettings[{nth}].loadBalancer", level.load_balancer


def _port_level(settings: Iterable[PortTrafficPolicy], port: int) -> tuple[int, PortTrafficPolicy | None]:
    for index, level in enumerate(settings):
        if level.port is not None and level.port.number == port:
            return index, level
    return -1, None


def find_subset(rule: DestinationRule, name: str) -> tuple[int, Subset | None]:
    """Index and subset of that name, the first of several; (-1, None) for "" and unknown names."""
    if name:
        for index, subset in enumerate(rule.subsets):
            if subset.name == name:
                return index, subset
    return -1, None


def subset_labels(rule: Object[DestinationRule] | None, name: str) -> dict[str, str] | None:
    """Labels that the endpoints of a subset have; None when there is no such subset."""
    _, found = find_subset(rule.spec, name) if rule else (-1, None)
    return found.labels if found else None


def subset_decisions(rule: Object[DestinationRule] | None, subset: str, cluster: str) -> tuple[Decision, ...]:
    """What explain tells of a subset name that a rule has more than once."""
    if rule is None or not subset or sum(s.name == subset for s in rule.spec.subsets) < 2:
        return ()
    return (Decision(f"subset {subset} of cluster {cluster}", "the first of several with one name", rule.ref),)
