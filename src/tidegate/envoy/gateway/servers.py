"""Who listens where: the servers of all Gateways that select a proxy, settled port by port.

Servers of plain HTTP share a port and one route configuration; servers with TLS share it by server name, and one of
plain HTTP or TCP after them takes the rest. Anything else that meets on a port leaves it to the oldest Gateway.
"""

from typing import NamedTuple

import msgspec

from tidegate.api.networking import Gateway, Server, ServerTLSSettingsMode
from tidegate.api.objects import Object
from tidegate.envoy.gateway.inputs import Bound, GatewayInput
from tidegate.envoy.resource import Decision
from tidegate.kit import naming
from tidegate.registry import protocols
from tidegate.registry.model import Protocol, ServiceTarget
from tidegate.scope.gateways import qualified, services_of

Mode = ServerTLSSettingsMode

NO_TRANSLATION = "experimental.istio.io/disable-gateway-port-translation"
"""Label of a Service whose ports do not say where servers listen."""


class Slot(msgspec.Struct, frozen=True):
    """One server of a Gateway on the port where it listens."""

    bound: Bound
    index: int
    """Position in ``spec.servers``."""
    port: int
    """Where it listens: the target port of the Service's port that the server names."""

    @property
    def gateway(self) -> Object[Gateway]:
        return self.bound.gateway

    @property
    def server(self) -> Server:
        return self.gateway.spec.servers[self.index]

    @property
    def number(self) -> int:
        """The port as the Gateway, and matches of VirtualServices, have it."""
        return self.server.port.number if self.server.port is not None else 0

    @property
    def protocol(self) -> Protocol:
        return protocols.from_word(self.server.port.protocol) if self.server.port is not None else Protocol.TCP

    @property
    def passes(self) -> bool:
        """TLS goes through unopened."""
        tls = self.server.tls
        return tls is not None and tls.mode in (Mode.PASSTHROUGH, Mode.AUTO_PASSTHROUGH)

    @property
    def secured(self) -> bool:
        """Its connections are TLS, opened here or not."""
        return self.server.tls is not None and not self.protocol.is_http

    @property
    def routes_http(self) -> bool:
        return self.protocol.is_http or (
            self.protocol is Protocol.HTTPS and self.server.tls is not None and not self.passes
        )

    @property
    def hosts(self) -> tuple[str, ...]:
        """Without namespaces, each once."""
        return tuple(dict.fromkeys(entry.rpartition("/")[2] for entry in self.server.hosts))

    @property
    def claimed_names(self) -> tuple[str, ...]:
        """Names that no other server with TLS settings on the port may have: server names of TLS, and hosts as they are
        written where plain HTTP is only redirected."""
        if self.secured:
            return tuple(host.lower() for host in self.hosts)
        written = self.server.hosts if self.server.tls is not None else ()
        own = f"{self.gateway.ref.namespace}/"
        return tuple((own + e[2:] if e.startswith("./") else e.removeprefix("*/")).lower() for e in written)

    @property
    def field(self) -> str:
        return f"spec.servers[{self.index}]"

    @property
    def route_name(self) -> str:
        """Name of the route configuration, "" for a server that carries bytes."""
        bind = f".{self.server.bind}" if self.server.bind else ""
        if self.protocol.is_http:
            return f"http.{self.port}{bind}"
        if not self.routes_http or self.server.port is None:
            return ""
        ref = self.gateway.ref
        return f"https.{self.number}.{self.server.port.name}.{ref.name}.{ref.namespace}{bind}"


class Place(msgspec.Struct):
    """The servers that one listener has, in order."""

    bind: str
    """As written; "" for every address."""
    port: int
    slots: list[Slot]


class Settled(NamedTuple):
    """What each listener has, the servers of each route configuration, and who lost a port to whom."""

    places: tuple[Place, ...]
    tables: dict[str, tuple[Slot, ...]]
    decisions: dict[tuple[str, int], tuple[Decision, ...]]
    """By bind and port."""


def settle(given: GatewayInput) -> Settled:
    """Give every server its place, or none where an older one is in its way."""
    found = _Settling(given)
    for bound in given.gateways:
        for index, server in enumerate(bound.gateway.spec.servers):
            if server.port is not None:
                found.take(bound, index)
    return found.result()


class _Settling:
    def __init__(self, given: GatewayInput) -> None:
        self.given = given
        self._places: dict[tuple[str, int], Place] = {}
        self._tables: dict[str, list[Slot]] = {}
        self._names: dict[tuple[str, int], dict[str, Slot]] = {}
        """Server names of TLS that are taken on a place."""
        self._decisions: dict[tuple[str, int], list[Decision]] = {}

    def take(self, bound: Bound, index: int) -> None:
        named = bound.gateway.spec.servers[index].port
        for port in _listening_ports(bound, named.number if named else 0, self.given.targets):
            self._place(Slot(bound, index, port))

    def _place(self, slot: Slot) -> None:
        at = (slot.server.bind, slot.port)
        place = self._places.get(at)
        in_the_way, rule = self._conflict(slot, place) if place is not None else (None, "")
        if in_the_way is None:
            in_the_way, rule = self._same_name(slot, at), "a server name of TLS is one server's alone: oldest wins"
        if in_the_way is not None:
            self._lose(slot, in_the_way, rule)
            return
        self._names.setdefault(at, {}).update((name, slot) for name in slot.claimed_names)
        self._places.setdefault(at, Place(slot.server.bind, slot.port, [])).slots.append(slot)
        if slot.route_name:
            self._tables.setdefault(slot.route_name, []).append(slot)

    def _conflict(self, slot: Slot, place: Place) -> tuple[Slot | None, str]:
        plain = next((s for s in place.slots if not s.secured), None)
        if plain is not None:
            shares = slot.protocol.is_http and plain.protocol.is_http
            return (None, "") if shares else (plain, "plain HTTP alone joins a server without TLS: oldest wins")
        if not slot.secured:
            return None, ""  # it takes what no server name tells
        same = next((s for s in place.slots if s.route_name and s.route_name == slot.route_name), None)
        return same, "two servers cannot have one route configuration: oldest wins"

    def _same_name(self, slot: Slot, at: tuple[str, int]) -> Slot | None:
        taken = self._names.get(at, {})
        return next((taken[name] for name in slot.claimed_names if name in taken), None)

    def _lose(self, slot: Slot, winner: Slot, rule: str) -> None:
        at = (slot.server.bind, slot.port)
        told = Decision(f"{slot.field} of {qualified(slot.gateway)}", rule, winner.gateway.ref, (slot.gateway.ref,))
        self._decisions.setdefault(at, []).append(told)

    def result(self) -> Settled:
        return Settled(
            places=tuple(self._places.values()),
            tables={name: tuple(slots) for name, slots in self._tables.items()},
            decisions={at: tuple(told) for at, told in self._decisions.items()},
        )


def _listening_ports(bound: Bound, number: int, targets: tuple[ServiceTarget, ...]) -> tuple[int, ...]:
    """A gateway's Service maps ports, and Gateways name the Service's: the first Service of the workload that has the
    port says where to listen. Without one the port is taken as it is. A Gateway that selects by Services listens
    where each of these says, and nowhere else."""
    mapping = [target for target in targets if target.port.number == number]
    if services := services_of(bound.gateway):
        return tuple(dict.fromkeys(t.endpoint_port for t in mapping if t.service.host in services))
    translated = (t.endpoint_port for t in mapping if not any(key == NO_TRANSLATION for key, _ in t.service.labels))
    return (next(translated, number),)


def bind_of(place: Place, given: GatewayInput) -> str:
    return place.bind or given.proxy.wildcard


def reachable(place: Place, given: GatewayInput) -> bool:
    """Whether the gateway may bind the port at all."""
    return not (given.unprivileged and place.port < 1024)


def listener_name(place: Place, given: GatewayInput) -> str:
    return naming.listener(bind_of(place, given), place.port)
