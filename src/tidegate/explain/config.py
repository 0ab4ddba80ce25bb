"""What one Envoy was told, indexed for look-up. Each resource is read when a connection first meets it."""

import ipaddress
from collections.abc import Callable, Hashable, Iterator
from typing import Any, TypeVar, cast

from tidegate.dump.config.cluster import Cluster, LoadAssignment
from tidegate.dump.config.listener import ChainHead, FilterChain, Listener
from tidegate.dump.config.parts import Extension, P, Unknown, read
from tidegate.dump.config.route import Route, RouteConfiguration, VirtualHost
from tidegate.dump.config.sections import Sections, sections


def _as_address(text: str) -> str:
    """One spelling for each address; text that is none stays as it is."""
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return text


T = TypeVar("T")
DEFAULT_CHAIN = -1


def chain_path(number: int) -> str:
    return "defaultFilterChain" if number == DEFAULT_CHAIN else f"filterChains[{number}]"


class RunningListener:
    """A listener with its filter chains, read when they are asked for."""

    def __init__(self, listener: Listener, unknown: list[Unknown]) -> None:
        self.listener, self._unknown = listener, unknown
        self._heads: tuple[ChainHead, ...] | None = None
        self._chains: dict[int, FilterChain] = {}
        self._addresses: tuple[tuple[str, int, str], ...] | None = None

    @property
    def where(self) -> str:
        return f"Listener {self.listener.name}"

    @property
    def addresses(self) -> tuple[tuple[str, int, str], ...]:
        """ip, port, protocol of each address listened on."""
        if self._addresses is None:
            self._addresses = tuple(self._each_address())
        return self._addresses

    def _each_address(self) -> Iterator[tuple[str, int, str]]:
        main = self.listener.address.socket_address
        if main:
            yield _as_address(main.address), main.port_value, main.protocol
            if main.ipv4_compat and _as_address(main.address) == "::":
                yield "0.0.0.0", main.port_value, main.protocol  # noqa: S104 - compared, never bound
        for each in self.listener.additional_addresses:
            if each.address.socket_address:
                yield _as_address(each.address.host), each.address.port, "TCP"

    @property
    def heads(self) -> tuple[ChainHead, ...]:
        """Names and matches of the filter chains, in their order."""
        if self._heads is None:
            self._heads = tuple(
                read(ChainHead, raw, f"{self.where} filterChains[{number}]", self._unknown)
                for number, raw in enumerate(self.listener.filter_chains)
            )
        return self._heads

    def chain(self, number: int) -> FilterChain:
        """A filter chain by position; DEFAULT_CHAIN is the listener's default one."""
        found = self._chains.get(number)
        if found is None:
            default = number == DEFAULT_CHAIN
            raw = self.listener.default_filter_chain if default else self.listener.filter_chains[number]
            found = self._chains[number] = read(FilterChain, raw, f"{self.where} {chain_path(number)}", self._unknown)
        return found


_ByAddress = dict[tuple[str, int, str], list[RunningListener]]
_ByPort = dict[int, list[tuple[RunningListener, str]]]


class RouteTable:
    """A route configuration with its domains indexed; virtual hosts are read when they are chosen."""

    def __init__(self, raw: dict[str, Any], unknown: list[Unknown]) -> None:
        self._unknown = unknown
        self.config = read(RouteConfiguration, raw, f"RouteConfiguration {raw.get('name', '')}", unknown)
        self.domains: dict[str, int] = {}
        """Lower-case domain -> position of its virtual host; the first that has it, as Envoy takes no second."""
        for number, host in enumerate(self.config.virtual_hosts):
            for domain in self._domains_of(host, number):
                self.domains.setdefault(domain.lower(), number)
        self.suffixes = _lengths(each[1:] for each in self.domains if each.startswith("*") and len(each) > 1)
        self.prefixes = _lengths(each[:-1] for each in self.domains if each.endswith("*") and len(each) > 1)
        self._hosts: dict[int, tuple[VirtualHost, tuple[Route, ...]]] = {}

    def _domains_of(self, host: Any, number: int) -> list[str]:
        listed = host.get("domains") if isinstance(host, dict) else None
        if isinstance(listed, list):
            return [each for each in listed if isinstance(each, str)]
        where = f"RouteConfiguration {self.config.name} virtualHosts[{number}]"
        self._unknown.append(Unknown(where, "a virtual host with a list of domains is expected"))
        return []

    def host(self, number: int) -> tuple[VirtualHost, tuple[Route, ...]]:
        found = self._hosts.get(number)
        if found is None:
            where = f"RouteConfiguration {self.config.name} virtualHosts[{number}]"
            host = read(VirtualHost, self.config.virtual_hosts[number], where, self._unknown)
            routes = tuple(
                read(Route, raw, f"{where}.routes[{place}]", self._unknown) for place, raw in enumerate(host.routes)
            )
            found = self._hosts[number] = (host, routes)
        return found


def _lengths(texts: Iterator[str]) -> tuple[int, ...]:
    return tuple(sorted({len(each) for each in texts}, reverse=True))


class EnvoyConfig:
    """Listeners, route configurations, clusters and endpoints of one Envoy.

    ``unknown`` names what of it could not be read; it grows as resources are read.
    """

    def __init__(self, found: Sections) -> None:
        self.unknown: list[Unknown] = found.unknown
        self.present = frozenset(found.present)
        """Kinds of resources that the input tells about: routes, clusters, endpoints, …"""
        self.awaited_secrets = frozenset(found.awaited_secrets)
        self._local_cluster = found.local_cluster
        """Names of secrets that were asked for and have not come."""
        self._raw = found.by_kind
        self._listeners: tuple[RunningListener, ...] | None = None
        self._routes = {str(raw.get("name", "")): raw for raw in found.by_kind["routes"]}
        self._clusters = {str(raw.get("name", "")): raw for raw in found.by_kind["clusters"]}
        self._endpoints = {_cluster_name(raw): raw for raw in found.by_kind["endpoints"]}
        self._extensions = {str(raw.get("name", "")): raw for raw in found.by_kind["extensions"]}
        self._read: dict[tuple[str, str], Any] = {}
        self._made: dict[Hashable, object] = {}
        self._indexes: tuple[_ByAddress, _ByPort] | None = None

    @property
    def listeners(self) -> tuple[RunningListener, ...]:
        if self._listeners is None:
            self._listeners = tuple(
                RunningListener(read(Listener, raw, f"Listener {raw.get('name', '')}", self.unknown), self.unknown)
                for raw in self._raw["listeners"]
            )
        return self._listeners

    def listening_on(self, ip: str, port: int, protocol: str = "TCP") -> list[RunningListener]:
        """Listeners of exactly this address."""
        return self._listening()[0].get((_as_address(ip), port, protocol), [])

    def on_port(self, port: int) -> Iterator[tuple[RunningListener, list[str]]]:
        """Listeners of a port with their addresses on it, whatever these are."""
        found: dict[int, tuple[RunningListener, list[str]]] = {}
        for running, ip in self._listening()[1].get(port, ()):
            found.setdefault(id(running), (running, []))[1].append(ip)
        yield from found.values()

    def _listening(self) -> tuple[_ByAddress, _ByPort]:
        if self._indexes is None:
            by_address, by_port = _ByAddress(), _ByPort()
            for running in self.listeners:
                for ip, port, protocol in running.addresses:
                    by_address.setdefault((ip, port, protocol), []).append(running)
                    by_port.setdefault(port, []).append((running, ip))
            self._indexes = by_address, by_port
        return self._indexes

    def internal_listener(self, name: str) -> RunningListener | None:
        return next((each for each in self.listeners if each.listener.name == name), None)

    def route_table(self, name: str) -> RouteTable | None:
        """A route configuration by name, as RDS delivers it."""
        found: RouteTable | None = self._once("routes", name, self._routes, lambda raw: RouteTable(raw, self.unknown))
        return found

    def route_tables(self) -> Iterator[RouteTable]:
        """All route configurations that have a name of their own."""
        for name in self._routes:
            found = self.route_table(name)
            if found is not None:
                yield found

    def once(self, key: Hashable, make: Callable[[list[Unknown]], T]) -> T:
        """What ``make`` gives, made at the first call for a key; it names what it cannot read in the list it gets."""
        if key not in self._made:
            self._made[key] = make(self.unknown)
        return cast(T, self._made[key])

    def cluster(self, name: str) -> Cluster | None:
        return self._typed("clusters", name, self._clusters, Cluster)

    def load_assignment(self, cluster: Cluster) -> LoadAssignment | None:
        """The endpoints of a cluster, from endpoint discovery or from the cluster itself."""
        for name in (cluster.eds_cluster_config.service_name, cluster.name):
            found = self._typed("endpoints", name, self._endpoints, LoadAssignment) if name else None
            if found is not None:
                return found
        return cluster.load_assignment

    def peers(self) -> LoadAssignment | None:
        """The endpoints of this Envoy's own cluster, where its bootstrap names one."""
        return self.load_assignment(Cluster(name=self._local_cluster)) if self._local_cluster else None

    def extension(self, name: str) -> Extension | None:
        """The configuration of a filter that is delivered by itself (ECDS)."""
        return self._typed("extensions", name, self._extensions, Extension)

    def _typed(self, kind: str, name: str, raw: dict[str, Any], message: type[P]) -> P | None:
        where = f"{message.__name__} {name}"
        found: P | None = self._once(kind, name, raw, lambda each: read(message, each, where, self.unknown))
        return found

    def _once(self, kind: str, name: str, raw: dict[str, Any], make: Callable[[dict[str, Any]], Any]) -> Any:
        key = (kind, name)
        if key not in self._read:
            self._read[key] = make(raw[name]) if name in raw else None
        return self._read[key]


def _cluster_name(raw: dict[str, Any]) -> str:
    return str(raw.get("clusterName") or raw.get("cluster_name") or "")


def read_config(data: bytes | str | dict[str, Any]) -> EnvoyConfig:
    """Read an Envoy configuration dump (with or without endpoints), lists of resources by kind, or a bootstrap.

    Never raises for what is in ``data``: what cannot be read is named in ``EnvoyConfig.unknown``.
    """
    return EnvoyConfig(sections(data))
