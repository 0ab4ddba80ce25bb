"""Ports that one ServiceEntry takes from other objects.

A proxy tells TCP services apart by address. A TCP port of an entry without addresses therefore listens on every
address, and takes each connection to its number that no listener of a narrower address claims, wherever it goes.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from tidegate.api.core import ServiceSpec
from tidegate.api.networking import ServiceEntry, ServiceEntryResolution
from tidegate.api.objects import Object
from tidegate.registry import protocols, traffic
from tidegate.registry.model import Protocol

NAMED = 3
"""Objects and addresses that one warning names; the rest it counts."""

_EVERYWHERE = frozenset({"*"})


class _Use(msgspec.Struct, frozen=True):
    """One port that an object uses."""

    number: int
    protocol: Protocol
    takes: bool
    """Whether it takes connections to whatever address."""
    loses: tuple[str, ...]
    """What of it a port that takes everything would get, in words; empty for nothing."""


def ports(obj: Object[Any]) -> tuple[int, ...]:
    """The port numbers by which objects can shadow each other or be shadowed."""
    return tuple(dict.fromkeys(use.number for use in _uses(obj)))


def takers(obj: Object[Any]) -> tuple[int, ...]:
    """The port numbers on which ``obj`` takes connections to any address."""
    return tuple(dict.fromkeys(use.number for use in _uses(obj) if use.takes))


def shadowed(candidate: Object[Any], others: Iterable[Object[Any]]) -> list[str]:
    """Warnings for the writer of ``candidate``: what it takes from ``others``, and what they take from it.

    Objects that no proxy sees together (exportTo) do not meet. Of two that take the same port the older has it.
    """
    met = sorted((o for o in others if o.ref != candidate.ref and _meet(candidate, o)), key=lambda o: o.age_key)
    return [text for use in _uses(candidate) for text in _of_port(candidate, use, met)]


def _of_port(candidate: Object[Any], use: _Use, met: list[Object[Any]]) -> Iterator[str]:
    rivals = [(o, u) for o in met for u in _uses(o) if u.number == use.number]
    holder = next((o for o, u in rivals if u.takes and (not use.takes or o.age_key < candidate.age_key)), None)
    if holder is not None:
        if use.loses:
            yield f"{_taken(candidate, use)} is taken by {_holding(holder, use.number)}; set addresses there"
        return
    lost = [f"{_named(o)} ({_listed(u.loses)})" for o, u in rivals if u.loses] if use.takes else []
    if lost:
        yield f"{_holding(candidate, use.number)}, also those to {_listed(lost)}"


def _holding(taker: Object[Any], number: int) -> str:
    return f"{_named(taker)}: port {number} without addresses takes every connection to port {number}"


def _taken(obj: Object[Any], use: _Use) -> str:
    return f"{_named(obj)} port {use.number} ({_listed(use.loses)})"


def _listed(words: Iterable[str]) -> str:
    found = list(dict.fromkeys(words))
    more = len(found) - NAMED
    return ", ".join(found[:NAMED]) + (f" and {more} more" if more > 0 else "")


def _named(obj: Object[Any]) -> str:
    return f"{obj.ref.kind} {obj.ref.namespace}/{obj.ref.name}"


def _uses(obj: Object[Any]) -> Iterator[_Use]:
    if isinstance(obj.spec, ServiceEntry):
        return _entry_uses(obj.spec)
    return _service_uses(obj.spec) if isinstance(obj.spec, ServiceSpec) else iter(())


def _entry_uses(spec: ServiceEntry) -> Iterator[_Use]:
    if spec.resolution is ServiceEntryResolution.DYNAMIC_DNS:
        return
    for port in spec.ports:
        protocol = protocols.from_word(port.protocol)
        opaque = not (protocol.is_http or protocol.is_tls or protocol is Protocol.UDP)
        places = _places(spec, port.number, port.name)
        if opaque and not spec.addresses:
            yield _Use(port.number, protocol, True, places)
        elif protocol.is_http:
            yield _Use(port.number, protocol, False, tuple(f"{place}, what is not HTTP" for place in places))
        elif opaque and spec.endpoints:
            yield _Use(port.number, protocol, False, tuple(f"{place}, asked directly" for place in places))


def _places(spec: ServiceEntry, number: int, name: str) -> tuple[str, ...]:
    """Where an application goes that asks for this port: its endpoints, or else its hosts."""
    addresses = [e.address for e in spec.endpoints if e.ports.get(name, number) == number and "/" not in e.address]
    return tuple(f"{address}:{number}" for address in addresses or spec.addresses or spec.hosts)


def _service_uses(spec: ServiceSpec) -> Iterator[_Use]:
    """Only HTTP shares the port's listener; a TCP port of a Service has a listener of its own address."""
    for port in spec.ports:
        protocol = protocols.of_service_port(port)
        if protocol.is_http and spec.type != "ExternalName":
            host = spec.cluster_ip if spec.cluster_ip not in ("", "None") else "its pods"
            yield _Use(port.port, protocol, False, (f"{host}:{port.port}, what is not HTTP",))


def _meet(one: Object[Any], other: Object[Any]) -> bool:
    """Whether some namespace's proxies may see both."""
    a, b = _viewers(one), _viewers(other)
    return bool(a and b) and (a == _EVERYWHERE or b == _EVERYWHERE or bool(a & b))


def _viewers(obj: Object[Any]) -> frozenset[str]:
    """Namespaces that see an object; "*" for all. What the mesh's defaults narrow counts as seen by all."""
    written = obj.spec.export_to if isinstance(obj.spec, ServiceEntry) else traffic.export_to(obj.meta.annotations)
    scopes = frozenset(obj.ref.namespace if scope == "." else scope for scope in written or ("*",))
    return _EVERYWHERE if "*" in scopes else scopes - {"~"} if scopes != {"~"} else frozenset()
