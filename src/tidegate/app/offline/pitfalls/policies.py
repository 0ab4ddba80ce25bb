"""Security policies and TLS settings that do not fit the workloads which they hold for."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tidegate.answer.interception import left_alone
from tidegate.api.networking import ClientTLSSettingsMode
from tidegate.api.objects import Object
from tidegate.api.security import Action, AuthorizationPolicy, MutualTLSMode, Operation, PeerAuthentication
from tidegate.api.selection import labels_selected
from tidegate.app.offline.pitfalls.looking import Pitfall, declared, rule_for
from tidegate.app.offline.world import Offline
from tidegate.registry.model import Registry, ServiceTarget, Workload
from tidegate.registry.workloads import TLS_MODE
from tidegate.scope.authentication import TLS_ISTIO, peer_modes
from tidegate.snapshot.world import World

Members = Mapping[tuple[str, str, str], Sequence[Workload]]
"""Workloads by namespace and each label: thousands of policies would look at thousands of workloads each otherwise."""


def judge(offline: Offline) -> Iterator[Pitfall]:
    world = offline.hub.world
    members = _by_label(world)
    for group in world.policies("PeerAuthentication").values():
        for peer in group:
            yield from _peer_ports(world, members, peer)
    for group in world.policies("AuthorizationPolicy").values():
        for policy in group:
            yield from _operations(world, members, policy)
    yield from _plain_to_strict(world)
    yield from _uncaptured(world)


def _by_label(world: World) -> Members:
    found: dict[tuple[str, str, str], list[Workload]] = {}
    for workload in world.workloads.values():
        for name, value in workload.labels:
            found.setdefault((workload.namespace, name, value), []).append(workload)
    return found


def _targets(world: World, members: Members, policy: Object[Any]) -> list[ServiceTarget]:
    """What the workloads serve that a policy's selector means; nothing without one, for it may mean all of a mesh."""
    selector = labels_selected(policy.spec.selector)
    groups = (members.get((policy.ref.namespace, name, value), ()) for name, value in selector.items())
    rarest = min(groups, key=len, default=())
    found = (workload for workload in rarest if selector.items() <= dict(workload.labels).items())
    return [target for workload in found for target in world.targets(workload)]


def _wrong_number(targets: list[ServiceTarget], number: int) -> int:
    """The workload's port that is meant by a Service's; 0 where the number is a workload's own or nobody's."""
    if any(target.endpoint_port == number for target in targets):
        return 0
    return next((target.endpoint_port for target in targets if target.port.number == number), 0)


def _peer_ports(world: World, members: Members, policy: Object[PeerAuthentication]) -> Iterator[Pitfall]:
    targets = _targets(world, members, policy)
    for port in policy.spec.port_level_mtls or {}:
        if own := _wrong_number(targets, int(port)):
            text = f"{port} is the Service's port; it counts by the workload's own: {own}"
            yield policy.ref, "spec.portLevelMtls", text


def _operations(world: World, members: Members, policy: Object[AuthorizationPolicy]) -> Iterator[Pitfall]:
    targets = _targets(world, members, policy)
    bytes_only = bool(targets) and all(target.port.protocol.is_tcp for target in targets)
    for number, rule in enumerate(policy.spec.rules):
        operations = [to.operation for to in rule.to or () if to.operation is not None]
        field = f"spec.rules[{number}].to"
        for port in {port for each in operations for port in each.ports}:
            if port.isdigit() and (own := _wrong_number(targets, int(port))):
                yield policy.ref, field, f"{port} is the Service's port; it counts by the workload's own: {own}"
        if bytes_only and policy.spec.action is Action.ALLOW and operations and all(map(_of_http, operations)):
            yield policy.ref, field, "asks for attributes of HTTP, and the workload has TCP ports only: never matches"


def _of_http(each: Operation) -> bool:
    return any((each.hosts, each.not_hosts, each.methods, each.not_methods, each.paths, each.not_paths))


# TLS between proxies


def _plain_to_strict(world: World) -> Iterator[Pitfall]:
    """A DestinationRule that switches TLS off towards workloads all of which demand mutual TLS."""
    for service, _ in declared(world):
        rule = rule_for(world, service.namespace, service)
        policy = rule.spec.traffic_policy if rule is not None else None
        if rule is None or policy is None or policy.tls is None:
            continue
        ends = world.endpoints.get(service.key, ())
        if not ends or policy.tls.mode is not ClientTLSSettingsMode.DISABLE:
            continue
        modes = [peer_modes(world, e.workload_namespace, e.labels) for e in ends if e.tls_mode == TLS_ISTIO]
        strict = [m for m, e in zip(modes, ends, strict=False) if m.of(e.port) is MutualTLSMode.STRICT]
        if len(strict) == len(ends) and strict[0].strict:
            text = f"DISABLE sends plain text to {service.host}, where {strict[0].strict[0]} demands mutual TLS"
            yield rule.ref, "spec.trafficPolicy.tls.mode", text


def _uncaptured(world: World) -> Iterator[Pitfall]:
    """Ports of a Service that Pods keep from their proxies while callers are to speak mutual TLS with them."""
    for workload in world.workloads.values():
        if dict(workload.labels).get(TLS_MODE) != TLS_ISTIO:
            continue
        modes = peer_modes(world, workload.namespace, workload.labels)
        for target in world.targets(workload):
            field = left_alone(workload, target.endpoint_port)
            if not field or modes.of(target.endpoint_port) is MutualTLSMode.DISABLE or _plain(world, target):
                continue
            text = (
                f"keeps port {target.endpoint_port} of {target.service.host} from the proxy, and callers in the mesh "
            )
            fix = "a PeerAuthentication with mode DISABLE for the port tells them not to"
            yield workload.ref, field, f"{text}speak mutual TLS to it, which nobody reads: {fix}"


def _plain(world: World, target: ServiceTarget) -> bool:
    if target.service.registry is not Registry.KUBERNETES:
        return True
    rule = rule_for(world, target.service.namespace, target.service)
    policy = rule.spec.traffic_policy if rule is not None else None
    return policy is not None and policy.tls is not None and policy.tls.mode is ClientTLSSettingsMode.DISABLE
