"""What a caller means by a destination: the service that a name or an address stands for in the world."""

import ipaddress
from collections.abc import Iterable, Iterator
from functools import lru_cache

import msgspec

from tidegate.kit import hosts
from tidegate.registry.addresses import is_ip
from tidegate.registry.model import Registry, Service
from tidegate.scope import choice
from tidegate.scope.proxy import ProxyKind
from tidegate.snapshot.world import World


class Intent(msgspec.Struct, frozen=True, kw_only=True):
    """A destination as the caller sees it."""

    to: str
    """As asked: a name in any form, or an address."""
    ip: str
    """The address that is dialled; "" when the name gives none."""
    port: int
    services: tuple[Service, ...] = ()
    """Every definition of the meant host, in any namespace: those that the caller may see first, in their order of
    precedence. Empty when the world knows no such host."""
    visible: int = 0
    """How many of ``services`` the caller's namespace may see."""

    @property
    def hosts(self) -> frozenset[str]:
        """Full names of what is meant, in lower case."""
        return frozenset(service.host.lower() for service in self.services)

    @property
    def preferred(self) -> Service | None:
        """The definition that the caller's proxy uses, whether or not a Sidecar imports it."""
        return self.services[0] if self.visible else None


def intent(world: World, kind: ProxyKind, to: str, ip: str, port: int) -> Intent:
    """Find what a proxy's workload means by ``to``: a name, short or full, or an address.

    A name that nobody declares is looked for among wildcard hosts. An address is looked for among the services'
    own, exact ones before CIDRs; of several those with the dialled port come first.
    """
    by_address = is_ip(to)
    found = _at_address(world, to, port) if by_address else _named(world, kind, to)
    seen: dict[object, Service] = {}
    for host in found:
        for service in choice.service_candidates(world, kind, host):
            seen.setdefault(service.key, service)
    visible = len(seen)
    for host in found:
        for key in world.by_host.get(host, ()):
            seen.setdefault(key, world.services[key])
    return Intent(to=to, ip=ip, port=port, services=tuple(seen.values()), visible=visible)


def _named(world: World, kind: ProxyKind, name: str) -> list[str]:
    """The declared hosts that a name stands for, at most one: as it is, completed as a resolver's search list would,
    or by the longest wildcard."""
    name = name.rstrip(".").lower()
    for full in _completions(name, kind.namespace, world.domain):
        if full in world.by_host:
            return [full]
    for full in _completions(name, kind.namespace, world.domain):
        if (owner := _headless(world, full)) is not None:
            return [owner]
    labels = name.split(".")
    wild = ("*." + ".".join(labels[start:]) for start in range(1, len(labels)))
    return [pattern for pattern in (*wild, "*") if pattern in world.by_host][:1]


def _completions(name: str, namespace: str, domain: str) -> Iterator[str]:
    """A name, and what the search list of a pod of ``namespace`` makes of it."""
    yield name
    for suffix in (f"{namespace}.svc.{domain}", f"svc.{domain}", domain):
        yield f"{name}.{suffix}"


def _headless(world: World, name: str) -> str | None:
    """The headless Service that ``pod.service.namespace.svc.domain`` is a member of."""
    parent = name.partition(".")[2]
    keys = world.by_host.get(parent, ())
    return parent if any(world.services[key].headless for key in keys) else None


def _at_address(world: World, address: str, port: int) -> list[str]:
    """The hosts that have an address: as a VIP, as an endpoint of a headless service, then within a CIDR."""
    exact = list(_with_address(world.services.values(), address, exact=True))
    exact += [world.services[key] for key, ends in world.endpoints.items() if any(e.address == address for e in ends)]
    found = exact or list(_with_address(world.services.values(), address, exact=False))
    found.sort(key=lambda s: s.port(port) is None)
    return list(dict.fromkeys(service.host.lower() for service in found))


def _with_address(services: Iterable[Service], address: str, *, exact: bool) -> Iterator[Service]:
    for service in services:
        listed = (*service.addresses, *service.auto_addresses)
        if address in listed if exact else holds(listed, address):
            yield service


def holds(listed: Iterable[str], address: str) -> bool:
    """Whether one of the addresses or CIDRs is, or holds, ``address``."""
    given = ipaddress.ip_address(address)
    return any((network := _network(each)) is not None and given in network for each in listed)


@lru_cache(maxsize=65536)
def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    """Read once: a world has thousands, and every connection to an unknown address is held against all of them."""
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None


def declares(service: Service, name: str, domain: str) -> bool:
    """Whether a service is what a Host header, SNI or name stands for: its host, one of its short forms, a wildcard."""
    name, host = name.lower(), service.host.lower()
    if hosts.covers(host, name):
        return True
    if service.registry is not Registry.KUBERNETES:
        return False
    suffix = f".svc.{domain}"
    short = host.removesuffix(suffix)
    forms = {short, f"{short}.svc", host, short.partition(".")[0]}
    return name in forms or (service.headless and name.partition(".")[2] in forms)
