"""Why a connection does not find the service that it is meant for: what hides it from this proxy."""

from collections.abc import Iterable

import msgspec

from tidegate.answer.intent import Intent, holds
from tidegate.api.networking import VirtualService
from tidegate.api.objects import Object, Ref
from tidegate.kit import hosts
from tidegate.registry.addresses import is_ip
from tidegate.registry.model import Resolution, Service
from tidegate.registry.traffic import EXPORT_TO
from tidegate.scope import choice
from tidegate.scope.egress import EgressListener, egress_listeners
from tidegate.scope.proxy import ProxyKind
from tidegate.snapshot.world import World

PORTS = "spec.ports"
"""Field of an absence whose cause is a port that the definition lacks."""


class LeftOut(msgspec.Struct, frozen=True):
    """An object that validation refused, or one that loses a host or ports of it to another."""

    ref: Ref
    hosts: tuple[str, ...]
    reason: str
    valid: bool = False


class Absence(msgspec.Struct, frozen=True):
    """One reason, and the object that it hangs on."""

    ref: Ref
    field: str
    words: str
    strong: bool = True
    """It alone keeps the service away. False: it is one of the things that would have to be otherwise."""


def absences(world: World, kind: ProxyKind, intent: Intent, left_out: Iterable[LeftOut] = ()) -> tuple[Absence, ...]:
    """Everything that keeps the meant service from answering at the dialled address and port, the first cause first.

    Empty when nobody declares the host, or when nothing is in the way.
    """
    found = [*refused(intent, left_out)]
    chosen = intent.preferred
    if chosen is None:
        found += (_unexported(world, service, kind) for service in intent.services)
        found += _at_other_address(world, kind, intent)
        found += () if intent.services else set_aside(intent, left_out)
        return tuple(found)
    found += _unimported(world, kind, chosen)
    found += _portless(intent, chosen)
    found += _ruled_out(world, intent, chosen)
    found += _elsewhere(intent, chosen)
    found += set_aside(intent, left_out)
    return tuple(found)


def refused(intent: Intent, left_out: Iterable[LeftOut]) -> Iterable[Absence]:
    """Objects for what is meant that validation left out."""
    for each in left_out:
        if not each.valid and _speaks_of(each, intent):
            yield Absence(each.ref, "spec", f"is not valid and counts for nothing: {each.reason}")


def set_aside(intent: Intent, left_out: Iterable[LeftOut]) -> Iterable[Absence]:
    """Valid objects for what is meant that lose it to others, or are in a namespace that is not seen."""
    for each in left_out:
        if each.valid and _speaks_of(each, intent):
            yield Absence(each.ref, "", each.reason, strong=False)


def _speaks_of(each: LeftOut, intent: Intent) -> bool:
    return any(hosts.covers(pattern, intent.to.lower()) or pattern.lower() in intent.hosts for pattern in each.hosts)


def _unexported(world: World, service: Service, kind: ProxyKind) -> Absence:
    ref = service.sources[0]
    field = f"metadata.annotations[{EXPORT_TO}]" if ref.kind == "Service" else "spec.exportTo"
    by = f"exportTo ({', '.join(sorted(service.export_to or ()))})"
    if service.export_capped:
        field, by = "", "the mesh's serviceEntryVisibility"
    elif not service.export_to:
        field, by = "", f"the mesh's defaultServiceExportTo ({', '.join(world.mesh.default_service_export_to)})"
    return Absence(ref, field, f"declares {service.host}, but {by} does not show it to namespace {kind.namespace}")


def _unimported(world: World, kind: ProxyKind, service: Service) -> Iterable[Absence]:
    """The Sidecar that holds for the workload, when none of its egress listeners imports the host."""
    sidecar = choice.sidecar(world, kind.namespace, kind.labels)
    listeners = egress_listeners(sidecar, kind.namespace)
    if sidecar is None or any(_imports(each, service) for each in listeners):
        return
    yield Absence(
        sidecar.ref,
        "spec.egress",
        f"does not import {service.namespace}/{service.host}: none of its egress hosts takes it in",
    )


def _imports(listener: EgressListener, service: Service) -> bool:
    return listener.imported(service.namespace, service.host)


def _portless(intent: Intent, chosen: Service) -> Iterable[Absence]:
    """The definition in force lacks the port; another one may have it."""
    if chosen.port(intent.port) is not None:
        return
    others = [s for s in intent.services if s.key != chosen.key and s.port(intent.port) is not None]
    listed = ", ".join(str(p.number) for p in chosen.ports) or "none"
    words = f"is the definition of {chosen.host} in force here and has no port {intent.port} (it has {listed})"
    if others:
        words += f"; {others[0].sources[0]} has it, and loses to it"
    yield Absence(chosen.sources[0], PORTS, words)


def _ruled_out(world: World, intent: Intent, chosen: Service) -> Iterable[Absence]:
    """The rule whose server names leave out the one that is meant: with it, the port has no chain of its own."""
    name, port = intent.to.lower(), chosen.port(intent.port)
    if port is None or not port.protocol.is_tls:
        return
    for rule in world.virtual_services_for(name):
        listed = [host for route in rule.spec.tls for match in route.match for host in match.sni_hosts]
        if listed and choice.covers_host(rule, name) and not any(hosts.covers(each, name) for each in listed):
            words = f"routes TLS for {', '.join(sorted(set(listed)))} and not for {name}"
            yield Absence(rule.ref, "spec.tls", words)


def _at_other_address(world: World, kind: ProxyKind, intent: Intent) -> Iterable[Absence]:
    """Of a name that no service has: a rule that routes its TLS to a service, which is known by an address of its own
    that the connection does not go to."""
    name = intent.to.lower()
    for rule in world.virtual_services_for(name) if intent.ip and not is_ip(name) else ():
        if not choice.covers_host(rule, name) or not choice.sees_virtual_service(world, kind, rule):
            continue
        for service in _tls_destinations(world, kind, rule):
            listed = (*service.addresses, *(service.auto_addresses if kind.dns_capture else ()))
            if service.sources and listed and not holds(listed, intent.ip):
                words = f"has {_addresses(listed)}: {rule.ref} routes TLS for {name} to it only there"
                yield Absence(service.sources[0], "spec.addresses", f"{words}; the connection goes to {intent.ip}")


def _tls_destinations(world: World, kind: ProxyKind, rule: Object[VirtualService]) -> Iterable[Service]:
    found = (each.destination.host for route in rule.spec.tls for each in route.route if each.destination)
    return (s for host in dict.fromkeys(found) for s in choice.service_candidates(world, kind, host)[:1])


def _elsewhere(intent: Intent, chosen: Service) -> Iterable[Absence]:
    """The address that is dialled is not the service's: it can be told by its name only."""
    listed = (*chosen.addresses, *chosen.auto_addresses)
    if not intent.ip or not listed or holds(listed, intent.ip) or chosen.resolution is Resolution.ALIAS:
        return
    words = f"has {_addresses(listed)}, and the connection goes to {intent.ip}"
    yield Absence(chosen.sources[0], "spec.addresses", words, strong=False)


def _addresses(listed: Iterable[str]) -> str:
    found = list(listed)
    return f"the address {found[0]}" if len(found) == 1 else f"the addresses {', '.join(found)}"
