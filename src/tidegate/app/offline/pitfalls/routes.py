"""VirtualServices that do nothing, or lead nowhere."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from tidegate.api.networking import (
    Destination,
    Gateway,
    HTTPRoute,
    Server,
    ServerTLSSettingsMode,
    VirtualService,
)
from tidegate.api.objects import Object, Ref
from tidegate.app.offline.pitfalls.looking import Pitfall, in_cluster, namesakes, seen
from tidegate.app.offline.world import Offline
from tidegate.kit import hosts
from tidegate.registry.model import Protocol
from tidegate.scope import choice
from tidegate.snapshot.world import World

_PASSED = frozenset({ServerTLSSettingsMode.PASSTHROUGH, ServerTLSSettingsMode.AUTO_PASSTHROUGH})
_NAMED = 3


def judge(offline: Offline) -> Iterator[Pitfall]:
    world = offline.hub.world
    gateways = {each.ref: each for group in _groups(world) for each in group}
    for rule in world.virtual_services.values():
        yield from _destinations(world, rule)
        yield from _times(rule)
        yield from _short_hosts(world, rule.ref, rule.spec.hosts)
        if choice.mesh_bound(rule):
            yield from _wrong_layer(world, rule)
        for name in rule.spec.gateways:
            yield from _bound(gateways, rule, name)
    for destination_rule in world.destination_rules.values():
        yield from _short_hosts(world, destination_rule.ref, (destination_rule.spec.host,))


def _groups(world: World) -> Iterable[tuple[Object[Gateway], ...]]:
    return world.policies("Gateway").values()


# Where routes lead


def _destinations(world: World, rule: Object[VirtualService]) -> Iterator[Pitfall]:
    for field, destination in _every(rule.spec):
        service = seen(world, rule.ref.namespace, destination.host)
        if service is None:
            continue
        number = destination.port.number if destination.port is not None else 0
        if number and service.port(number) is None and not service.external_name:
            listed = ", ".join(str(port.number) for port in service.ports) or "none"
            text = f"{destination.host} has no port {number} (it has {listed}): requests get 503 with flag NC"
            yield rule.ref, f"{field}.port", text


def _every(spec: VirtualService) -> Iterator[tuple[str, Destination]]:
    """Every destination of a rule, mirrors too, with its field."""
    layers: tuple[tuple[str, Sequence[Any]], ...] = (("http", spec.http), ("tls", spec.tls), ("tcp", spec.tcp))
    for kind, parts in layers:
        for number, part in enumerate(parts):
            for position, route in enumerate(part.route):
                if route.destination is not None:
                    yield f"spec.{kind}[{number}].route[{position}].destination", route.destination
            yield from _mirrors(f"spec.{kind}[{number}]", part)


def _mirrors(field: str, part: Any) -> Iterator[tuple[str, Destination]]:
    if not isinstance(part, HTTPRoute):
        return
    if part.mirror is not None:
        yield f"{field}.mirror", part.mirror
    for position, each in enumerate(part.mirrors):
        if each.destination is not None:
            yield f"{field}.mirrors[{position}].destination", each.destination


def _times(rule: Object[VirtualService]) -> Iterator[Pitfall]:
    """Retries that the time for the whole request leaves no room for."""
    for number, route in enumerate(rule.spec.http):
        retries = route.retries
        if retries is None or not retries.attempts or retries.per_try_timeout is None or route.timeout is None:
            continue
        if retries.per_try_timeout >= route.timeout:
            text = f"{retries.per_try_timeout} for one try is all of the request's timeout of {route.timeout}: a try "
            field = f"spec.http[{number}].retries.perTryTimeout"
            yield rule.ref, field, f"{text}that takes too long is the last"


# Whom rules speak of


def _short_hosts(world: World, ref: Ref, names: Iterable[str]) -> Iterator[Pitfall]:
    """A short name that was completed with the rule's own namespace, where nothing has it and another one does."""
    for name in names:
        if "*" in name or not in_cluster(world, name) or name.lower() in world.by_host:
            continue
        if near := namesakes(world, name):
            listed = ", ".join(near[:_NAMED])
            field = "spec.hosts" if ref.kind == "VirtualService" else "spec.host"
            yield ref, field, f"{name} is declared by nothing here; {listed} is: write the full name"


def _wrong_layer(world: World, rule: Object[VirtualService]) -> Iterator[Pitfall]:
    """HTTP routes for a host none of whose ports is HTTP."""
    if not rule.spec.http or rule.spec.tls or rule.spec.tcp:
        return
    for host in rule.spec.hosts:
        service = seen(world, rule.ref.namespace, host)
        if service is None or not service.ports:
            continue
        if not any(port.protocol.is_http or port.protocol is Protocol.AUTO for port in service.ports):
            listed = ", ".join(f"{port.number} {port.protocol}" for port in service.ports)
            yield rule.ref, "spec.http", f"HTTP routes do nothing in sidecars: {host} has no HTTP port ({listed})"


# Gateways


def _bound(gateways: dict[Ref, Object[Gateway]], rule: Object[VirtualService], name: str) -> Iterator[Pitfall]:
    namespace, _, own = name.rpartition("/")
    if name == "mesh":
        return
    gateway = gateways.get(Ref("Gateway", namespace, own))
    if gateway is None:
        near = sorted(f"{ref.namespace}/{ref.name}" for ref in gateways if ref.name == own)
        if near:
            yield rule.ref, "spec.gateways", f"there is no Gateway {name}; write {' or '.join(near[:_NAMED])}"
        return
    serving = [(n, s) for n, s in enumerate(gateway.spec.servers) if _shares(s, rule)]
    if not serving:
        yield rule.ref, "spec.hosts", f"no server of {gateway.ref} lists any of them: the rule does nothing there"
        return
    yield from _other_layer(gateway, rule, serving)


def _other_layer(
    gateway: Object[Gateway], rule: Object[VirtualService], serving: list[tuple[int, Server]]
) -> Iterator[Pitfall]:
    """Routes of a layer that none of the servers has: HTTP where TLS is passed through, TLS where it is ended."""
    listed = ", ".join(f"spec.servers[{number}]" for number, _ in serving)
    kinds = {_layer(server) for _, server in serving}
    if kinds == {"tls"} and rule.spec.http and not (rule.spec.tls or rule.spec.tcp):
        text = f"HTTP routes do nothing at {gateway.ref}: {listed} passes TLS through, which tls routes are for"
        yield rule.ref, "spec.http", text
    if kinds == {"http"} and not rule.spec.http and (rule.spec.tls or rule.spec.tcp):
        field = "spec.tls" if rule.spec.tls else "spec.tcp"
        yield rule.ref, field, f"does nothing at {gateway.ref}: {listed} takes HTTP, which http routes are for"


def _layer(server: Server) -> str:
    protocol = server.port.protocol.upper() if server.port is not None else ""
    if server.tls is not None and server.tls.mode in _PASSED and not server.tls.https_redirect:
        return "tls"
    return "http" if protocol in ("HTTP", "HTTP2", "GRPC", "HTTPS") else "bytes"


def _shares(server: Server, rule: Object[VirtualService]) -> bool:
    listed = [each.rpartition("/")[2] for each in server.hosts]
    return any(hosts.covers(a, b) or hosts.covers(b, a) for a in listed for b in rule.spec.hosts)
