"""The route configurations of a gateway: the hosts that its servers and the VirtualServices bound to them share.

Routes of several VirtualServices for one host follow each other, those that take every request last.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from tidegate.api.networking import VirtualService
from tidegate.api.objects import Object
from tidegate.envoy import matches, protos, routes
from tidegate.envoy.cache import Builders
from tidegate.envoy.contribution import destinations
from tidegate.envoy.gateway.inputs import GatewayInput, HostInput
from tidegate.envoy.gateway.servers import Settled, Slot
from tidegate.envoy.inputs import Target, VirtualHostInput
from tidegate.envoy.resource import VIRTUAL_HOST, Origin, Resource, resource
from tidegate.kit import naming
from tidegate.scope.gateways import common_hosts, server_hosts


class _Host(msgspec.Struct):
    """One host of a route configuration while its servers are looked at."""

    port: int
    parts: list[VirtualHostInput]
    tls_only: bool = False


def build(given: GatewayInput, settled: Settled, builders: Builders) -> Iterator[Resource]:
    """A route configuration for each name that the listeners ask for."""
    targets = {target.host: target for target in given.destinations}
    for name, slots in settled.tables.items():
        found = [builders.get(virtual_host, each) for each in hosts_of(given, slots, targets)]
        fragments = sorted((each for each in found if each is not None), key=lambda each: each.name)
        yield routes.route_config(name, fragments or [_blackhole(slots[0].number)], None)


def hosts_of(given: GatewayInput, slots: Iterable[Slot], targets: dict[str, Target]) -> Iterator[HostInput]:
    """The virtual hosts of one route configuration."""
    found: dict[str, _Host] = {}
    for slot in slots:
        redirects = slot.server.tls is not None and slot.server.tls.https_redirect
        for rule in slot.bound.rules:
            part = _part(given, slot, rule, targets)
            if not routes.rule_routes(part)[0]:
                continue
            served = server_hosts(slot.server.hosts, slot.gateway.ref.namespace, rule.ref.namespace)
            for host in common_hosts(served, rule.spec.hosts):
                there = found.setdefault(host, _Host(slot.number, []))
                there.parts.append(part)
                there.tls_only |= redirects
        if redirects:
            for host in slot.hosts:
                found.setdefault(host.lower(), _Host(slot.number, [])).tls_only = True
    yield from _collapsed(found, given.proxy.headers.attempt_count)


def _part(
    given: GatewayInput, slot: Slot, rule: Object[VirtualService], targets: dict[str, Target]
) -> VirtualHostInput:
    """What the routes of one VirtualService depend on: not on the host, so that hosts can share them."""
    return VirtualHostInput(
        host="",
        port=slot.number,
        domains=(),
        service=None,
        virtual_service=rule,
        targets=tuple(targets[name] for name in destinations(rule) if name in targets),
        gateway=slot.bound.name,
        tls=slot.server.tls is not None,
        defaults=given.routes,
        proxy=given.proxy,
    )


def _collapsed(found: dict[str, _Host], attempt_count: bool) -> Iterator[HostInput]:
    """One virtual host for all hosts that have the same routes, named after the longest; exact hosts come first."""
    groups: dict[tuple[object, ...], list[str]] = {}
    for host in sorted(found, key=lambda h: (h.startswith("*"), -len(h), h)):
        there = found[host]
        key = (tuple(there.parts), there.tls_only) if there.parts else (host,)
        groups.setdefault(key, []).append(host)
    for of_group in groups.values():
        there = found[of_group[0]]
        yield HostInput(
            name=naming.virtual_host(of_group[0], there.port),
            domains=tuple(of_group),
            parts=tuple(there.parts),
            tls_only=there.tls_only,
            attempt_count=attempt_count,
        )


def virtual_host(given: HostInput) -> Resource:
    """One virtual host (serialized VirtualHost)."""
    found: list[tuple[Any, list[Origin]]] = []
    for part in given.parts:
        made, origins = routes.rule_routes(part)
        found += [(route, _origins_of(index, origins)) for index, route in enumerate(made)]
    found.sort(key=lambda each: matches.is_catch_all(each[0].match))
    message = protos.VirtualHost(
        name=given.name,
        domains=given.domains,
        routes=[route for route, _ in found],
        include_request_attempt_count=given.attempt_count,
    )
    if given.tls_only:
        message.require_tls = protos.VirtualHost.TlsRequirementType.ALL
    placed = (
        Origin(f"routes[{index}]{each.path}", each.ref, each.field)
        for index, (_, origins) in enumerate(found)
        for each in origins
    )
    return resource(given.name, VIRTUAL_HOST, message, tuple(placed))


def _origins_of(index: int, origins: Iterable[Origin]) -> list[Origin]:
    """The origins of one route, with paths from the route on."""
    at = f"routes[{index}]"
    return [
        Origin(each.path.removeprefix(at), each.ref, each.field)
        for each in origins
        if each.path == at or each.path.startswith(f"{at}.")
    ]


def _blackhole(port: int) -> Resource:
    """Where nothing is bound to a server every request is answered with 404."""
    name = naming.virtual_host("blackhole", port)
    return resource(name, VIRTUAL_HOST, protos.VirtualHost(name=name, domains=["*"]))
