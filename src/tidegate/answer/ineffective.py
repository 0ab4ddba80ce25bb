"""Rules that speak of what is called and do nothing for it here: the answer to "why is my rule not applied"."""

from collections.abc import Iterator

from tidegate.answer.absence import Absence
from tidegate.answer.intent import Intent
from tidegate.api.networking import VirtualService
from tidegate.api.objects import Object, Ref
from tidegate.envoy import matches
from tidegate.explain.connection import Connection
from tidegate.registry.addresses import is_ip
from tidegate.registry.model import Port, Service
from tidegate.scope import choice
from tidegate.scope.egress import egress_listeners
from tidegate.scope.proxy import ProxyKind
from tidegate.scope.visibility import visible
from tidegate.snapshot.world import World

_MOST = 4
"""Rules that are told: a wildcard host may have very many."""


def ineffective(
    world: World, kind: ProxyKind, intent: Intent, connection: Connection, applied: Ref | None
) -> Iterator[Absence]:
    """Of the VirtualServices for what a workload calls those that are not ``applied``, each with its reason."""
    if connection.direction != "outbound" or is_ip(intent.to):
        return
    name = intent.preferred.host if intent.preferred is not None else intent.to
    told = 0
    for rule in world.virtual_services_for(name.lower()):
        if rule.ref == applied or told == _MOST or not choice.covers_host(rule, name.lower()):
            continue
        words = _why(world, kind, rule, intent.preferred, connection) or _lost(rule, applied)
        if words:
            told += 1
            yield Absence(rule.ref, *words, strong=False)


def _why(
    world: World, kind: ProxyKind, rule: Object[VirtualService], service: Service | None, connection: Connection
) -> tuple[str, str] | None:
    """Field and words of what keeps a rule from holding in a proxy at all, or for a port."""
    if not choice.mesh_bound(rule):
        if service is None or service.host.lower() not in (host.lower() for host in rule.spec.hosts):
            return None
        return "spec.gateways", f"is for gateways only ({', '.join(rule.spec.gateways)}): sidecars follow it with mesh"
    scopes = rule.spec.export_to or world.mesh.default_virtual_service_export_to
    if not visible(rule.spec.export_to or None, scopes, rule.ref.namespace, kind.namespace):
        return "spec.exportTo", f"is not shown to namespace {kind.namespace} by exportTo ({', '.join(scopes)})"
    sidecar = choice.sidecar(world, kind.namespace, kind.labels)
    listeners = egress_listeners(sidecar, kind.namespace)
    if not any(each.imports_virtual_service(rule.ref.namespace, rule.spec.hosts) for each in listeners):
        return "spec.hosts", f"is not imported by {sidecar.ref}" if sidecar is not None else "is imported by nothing"
    if (asked := _of_other_callers(rule, kind, connection.port)) is not None:
        return asked
    if service is None:
        return "spec.hosts", "names it, and no Service or ServiceEntry declares it: without one it has no port"
    port = service.port(connection.port)
    return _of_other_layer(rule, port) if port is not None else None


def _of_other_callers(rule: Object[VirtualService], kind: ProxyKind, port: int) -> tuple[str, str] | None:
    """A rule each of whose routes asks for a caller, a port or gateways that this connection has not."""
    spec = rule.spec
    holding = (
        *(not r.match or any(matches.http_holds(m, port, kind) for m in r.match) for r in spec.http),
        *(not r.match or any(matches.holds(m, port, kind) for m in r.match) for r in spec.tls),
        *(not r.match or any(matches.holds(m, port, kind) for m in r.match) for r in spec.tcp),
    )
    if not holding or any(holding):
        return None
    return "", f"has no route for this caller at port {port}: each asks for other labels, namespaces, ports or gateways"


def _of_other_layer(rule: Object[VirtualService], port: Port) -> tuple[str, str] | None:
    """A rule whose routes are for another protocol than the port is declared to speak."""
    declared = f"port {port.number} is declared {port.protocol}"
    if (port.protocol.is_tls or port.protocol.is_tcp) and rule.spec.http and not (rule.spec.tls or rule.spec.tcp):
        return "spec.http", f"has HTTP routes only, and {declared}: its timeouts, retries, faults do nothing there"
    if port.protocol.is_http and not rule.spec.http:
        return "", f"has no HTTP routes, and {declared}"
    return None


def _lost(rule: Object[VirtualService], applied: Ref | None) -> tuple[str, str] | None:
    if applied is None or applied.kind != rule.ref.kind:
        return None
    return "spec.hosts", f"loses to {applied}: of several rules for a host one alone holds in sidecars"
