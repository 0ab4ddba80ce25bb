"""Which packet rule sent a connection where it went, by the rules that are in force now."""

from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache

import msgspec

from tidegate.capture.connections import PROXY_ID, Connection, Verdict
from tidegate.capture.inforce import NoRouteError, outgoing
from tidegate.capture.kernel import Kernel
from tidegate.rules import words
from tidegate.rules.saved import RuleSets
from tidegate.rules.walk import Packet, Walk, journey

_CAPTURED = ("redirect", "tproxy")
_BY_ENVOY = frozenset({Verdict.THROUGH, Verdict.BLOCKED, Verdict.UNANSWERED})
_APPLICATION = 0
"""A user that no rule of a mesh names, where the process has gone."""

Route = Callable[[Packet], Packet]
"""Gives a packet the interface by which it leaves."""


def explained(found: Iterable[Connection], rules: RuleSets, route: Route) -> Iterator[Connection]:
    """The connections, each with the rule that decides and its words."""
    return (_explained(each, rules, route) for each in found)


def routes(kernel: Kernel) -> Route:
    """Asks the namespace; eth0 where it has no route."""

    @lru_cache(maxsize=1024)
    def placed(packet: Packet) -> Packet:
        try:
            return outgoing(kernel, packet)
        except NoRouteError:
            return msgspec.structs.replace(packet, out_interface="eth0")

    return placed


def _explained(connection: Connection, rules: RuleSets, route: Route) -> Connection:
    held = rules.get("ipv6" if connection.destination.startswith("[") else "ipv4")
    if held is None or connection.verdict is Verdict.DIRECT:
        return connection
    found = journey(held, _packet(connection, route), inbound=connection.direction == "inbound")
    said = words.speaking(found)
    because = words.reason(found, held.tables) + _doubt(found)
    if found.verdict == "tproxy" and connection.verdict is Verdict.BYPASSED:
        # TPROXY rewrites nothing: once the sockets are closed, the rules alone tell that Envoy had it.
        connection = msgspec.structs.replace(connection, verdict=Verdict.THROUGH)
    if _contradicts(connection, found):
        return _otherwise(connection, rules, route, found)
    return msgspec.structs.replace(connection, rule=said.place if said else "", because=_short(because))


def _doubt(found: Walk) -> str:
    first = next(iter(found.undecided), None)
    return f", unless {first.place} decides otherwise: {first.undecided} is not known here" if first else ""


def _short(reason: str) -> str:
    """Without the place, which stands beside it."""
    return reason.partition(": ")[2] or reason


def _contradicts(connection: Connection, found: Walk) -> bool:
    """Whether the rules of now would do otherwise than what was done."""
    if connection.protocol != "tcp":
        return False
    if connection.verdict is Verdict.BYPASSED:
        return found.verdict in _CAPTURED
    proxys = connection.user == PROXY_ID or connection.group == PROXY_ID
    return connection.verdict in _BY_ENVOY and found.verdict not in _CAPTURED and not proxys


def _otherwise(connection: Connection, rules: RuleSets, route: Route, found: Walk) -> Connection:
    if connection.verdict is Verdict.BYPASSED and connection.direction == "outbound" and connection.user is None:
        proxys = msgspec.structs.replace(connection, user=PROXY_ID, group=PROXY_ID, verdict=Verdict.POOLED)
        told = _explained(proxys, rules, route)
        if told.rule:
            return msgspec.structs.replace(
                connection, rule=told.rule, because=f"its process has gone; if it was the proxy's: {told.because}"
            )
    said = words.speaking(found)
    where = f" by {said.place}" if said else ""
    because = f"it is older than the rules: now a packet like it {words.outcome(found)}{where}"
    return msgspec.structs.replace(connection, because=because)


def _packet(connection: Connection, route: Route) -> Packet:
    (source, source_port), (address, port) = map(_place, (connection.source, connection.destination))
    if connection.direction == "inbound":
        way = route(Packet(source, 0)).out_interface
        return Packet(address, port, connection.protocol, source, source_port, in_interface=way, local=True)
    user = _APPLICATION if connection.user is None else connection.user
    group = user if connection.group is None else connection.group
    way = route(Packet(address, 0)).out_interface
    return Packet(address, port, connection.protocol, source, source_port, out_interface=way, uid=user, gid=group)


def _place(text: str) -> tuple[str, int]:
    address, _, port = text.rpartition(":")
    return address.strip("[]"), int(port)
