"""Hosts of VirtualServices that no service of a route configuration has: on which ports they stand. Pure.

Istio gives such a host a virtual host on every port on which a registered host of the same VirtualService has HTTP in
that route configuration, and where there is none, on port 80.
"""

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from tidegate.api.networking import VirtualService
from tidegate.api.objects import Object
from tidegate.envoy import routes
from tidegate.kit import hosts, naming
from tidegate.registry.model import Protocol
from tidegate.scope import choice
from tidegate.scope.egress import EgressListener
from tidegate.scope.proxy import ProxyKind
from tidegate.snapshot.world import World

PLAIN_HTTP = 80

Rule = Object[VirtualService]


class Place(msgspec.Struct, frozen=True):
    """One route configuration in which a host stands, or might come to stand."""

    table: str
    with_port: bool
    """The configuration serves several ports: domains name theirs."""
    rules: tuple[tuple[int, Rule], ...]
    """Ports, and the VirtualService that holds for the host on each."""
    consulted: tuple[Rule, ...]
    near: frozenset[str]
    """Hosts (lower case) on which it depends where this one stands."""


def places(
    world: World, kind: ProxyKind, egress: Sequence[EgressListener], http_proxy_port: int, host: str
) -> Iterator[Place]:
    """Where ``host`` (lower case) stands for itself; nothing for one that no VirtualService names."""
    if not any(_names(rule, host) for rule in world.virtual_services_for(host)):
        return
    explicit = {e.port for e in egress}
    for listener in egress:
        rules = [r for r in choice.virtual_services(world, kind, listener, host) if _names(r, host) and r.spec.http]
        if not rules:
            continue
        known = _Known(world, kind, listener)
        for name, port in _tables(listener, known, rules, http_proxy_port):
            closed = listener.port is None and port in explicit
            if not closed and not known.is_registered(host, port):
                yield _place(known, (name, port), rules)


def _tables(
    listener: EgressListener, known: "_Known", rules: list[Rule], http_proxy_port: int
) -> Iterator[tuple[str, int]]:
    """Route configurations that the listener asks for, as far as a host of these rules may stand in them: name, and
    port or 0 for every port."""
    if listener.port is not None:
        yield str(listener.port) if listener.port else listener.bind, 0 if listener.routes_all_ports else listener.port
        return
    for number in sorted({PLAIN_HTTP, *(port for rule in rules for port in known.routed(rule, 0))}):
        yield str(number), number
    if http_proxy_port:
        yield naming.HTTP_PROXY_ROUTE, 0


def _place(known: "_Known", table: tuple[str, int], rules: list[Rule]) -> Place:
    name, port = table
    chosen: dict[int, Rule] = {}
    for rule in rules:
        ports = known.routed(rule, port) or ([PLAIN_HTTP] if port == PLAIN_HTTP else [])
        for number in ports:
            if number not in chosen and routes.has_routes(rule, number, known.kind):
                chosen[number] = rule
    near = frozenset(h.lower() for rule in rules for h in rule.spec.hosts)
    return Place(name, not port, tuple(sorted(chosen.items(), key=lambda item: item[0])), tuple(rules), near)


class _Known:
    """Which ports the registered hosts under a pattern have, as one egress listener imports them. Walks the registry
    at most once for each wildcard."""

    def __init__(self, world: World, kind: ProxyKind, listener: EgressListener) -> None:
        self.world, self.kind, self.listener = world, kind, listener
        self._ports: dict[str, dict[int, bool]] = {}

    def ports(self, pattern: str) -> dict[int, bool]:
        """Numbers of the ports, and whether any of them is one of HTTP."""
        found = self._ports.get(pattern)
        if found is None:
            found = self._ports[pattern] = {}
            for host in self._hosts(pattern):
                chosen = choice.imported_service(self.world, self.kind, self.listener, host)
                for port in chosen[0].ports if chosen else ():
                    routed = port.protocol.is_http or port.protocol is Protocol.AUTO
                    found[port.number] = found.get(port.number, False) or routed
        return found

    def _hosts(self, pattern: str) -> Iterable[str]:
        if not hosts.is_wildcard(pattern):
            return (pattern,) if pattern in self.world.by_host else ()
        return (host for host in self.world.by_host if hosts.covers(pattern, host))

    def is_registered(self, host: str, port: int) -> bool:
        """Whether a service with the port (0: any) has the name, or is one of those that the wildcard takes in."""
        return bool(self.ports(host)) if not port else port in self.ports(host)

    def routed(self, rule: Rule, port: int) -> list[int]:
        """Ports (0: any; else this one) on which a registered host of the rule has HTTP."""
        found = {n for pattern in rule.spec.hosts for n, http in self.ports(pattern.lower()).items() if http}
        return sorted(n for n in found if port in (0, n))


def _names(rule: Rule, host: str) -> bool:
    return any(pattern.lower() == host for pattern in rule.spec.hosts)
