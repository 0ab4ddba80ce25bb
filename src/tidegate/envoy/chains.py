"""Filter chains that one service port brings to an outbound listener.

Each chain is a fragment: its bytes, and as its name the match in a canonical form. Two chains of equal name cannot
stand in one listener, and "" is the match that takes every connection.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec

from tidegate.api.fields import Duration
from tidegate.api.networking import (
    Destination,
    DestinationRule,
    L4MatchAttributes,
    RouteDestination,
    TLSMatchAttributes,
    TrafficPolicy,
    TunnelSettings,
    VirtualService,
)
from tidegate.api.objects import Object
from tidegate.envoy import filters, forward_proxy, matches, policy, protos, routes
from tidegate.envoy.domains import short_names
from tidegate.envoy.inputs import CatchAll, Input, ListenerDefaults, Member, Target
from tidegate.envoy.resource import FILTER_CHAIN, Origin, Resource, of_bytes, resource
from tidegate.envoy.stat_names import DELIMITER, alt_stat_name
from tidegate.kit import naming
from tidegate.kit.addresses import network
from tidegate.kit.hosts import resolve_short
from tidegate.registry.model import Port, Protocol, Resolution
from tidegate.scope.proxy import ProxyKind

CONNECT_TIMEOUT = Duration.of(seconds=15)
"""transport_socket_connect_timeout of chains that lead to services."""

HTTP_PROTOCOLS = ("http/1.1", "h2c")
"""Application protocols that the HTTP inspector tells of plain HTTP; `http_protocols` adds that of HTTP/1.0."""

SNIFFED_HTTP = "transport=raw_buffer;alpn=http/1.1,h2c"
MATCH_ALL = ""


class MemberChainInput(Input, frozen=True, kw_only=True):
    """All that one member's chains depend on."""

    member: Member
    wildcard: bool
    """The listener is bound to the wildcard address: TLS without an address is told apart by server name."""
    port: int
    """Of the listener; 0 for a unix socket."""
    defaults: ListenerDefaults
    proxy: ProxyKind


def http_protocols(proxy: ProxyKind) -> tuple[str, ...]:
    """Those by which a chain takes plain HTTP from connections of an unknown protocol."""
    return ("http/1.0", *HTTP_PROTOCOLS) if proxy.sniff_http10 else HTTP_PROTOCOLS


class _Destination(NamedTuple):
    """Where a chain leads: one of the clusters of a target."""

    target: Target
    port: int
    subset: str = ""
    weight: int = 1

    @property
    def cluster(self) -> str:
        return naming.outbound_cluster(self.port, self.subset, self.target.concrete)


class _Chain(msgspec.Struct, kw_only=True):
    """One chain to be made: its match, and where it leads."""

    server_names: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()
    filters: list[Any]
    rule: Object[VirtualService] | None = None
    field: str = ""
    named: bool = True
    """The chain's metadata names the rule. Istio leaves it out where a TCP rule matches by destination network."""


def build(given: MemberChainInput) -> Resource:
    """The chains of one member: the fragment itself where there is one, else a group without a body of its own that
    holds them as ``parts``."""
    parts = tuple(_fragment(given, chain) for chain in _chains(given))
    if len(parts) == 1:
        return parts[0]
    group = of_bytes(f"{given.member.service.host}:{given.member.port.number}", FILTER_CHAIN, b"")
    return msgspec.structs.replace(group, parts=parts, version="/".join(p.version for p in parts))


def each(built: Resource) -> tuple[Resource, ...]:
    """The chains in what :func:`build` returned."""
    return built.parts or (built,)


def _chains(given: MemberChainInput) -> Iterator[_Chain]:
    tls = given.member.port.protocol.is_tls
    found = list(_tls_rules(given)) if tls else list(_tcp_rules(given))
    yield from found
    if not found if tls else not any(_takes_all(given, chain) for chain in found):
        yield _default(given)


def _takes_all(given: MemberChainInput, chain: _Chain) -> bool:
    """Whether a TCP chain takes all that the service's own chain would."""
    return set(chain.prefixes) == set(_own_prefixes(given))


def _own_prefixes(given: MemberChainInput) -> tuple[str, ...]:
    """The CIDR that brought the member here; a single address needs no match, the listener has it."""
    address = given.member.address
    return (address,) if given.port and "/" in address and network(address) is not None else ()


def _default(given: MemberChainInput) -> _Chain:
    return _Chain(
        server_names=_own_server_names(given),
        prefixes=_own_prefixes(given),
        filters=_network_filters(given, (), None),
    )


def _own_server_names(given: MemberChainInput) -> tuple[str, ...]:
    """Istio matches the server name where the address does not tell the service: CIDRs, and no address at all."""
    member = given.member
    if not member.port.protocol.is_tls:
        return ()
    by_name = bool(_own_prefixes(given)) or (given.wildcard and not member.address)
    if member.service.host == "*" or not (by_name or member.service.resolution is Resolution.DYNAMIC_DNS):
        return ()
    domain = given.proxy.dns_domain
    others = (name for alias in member.aliases for name in (alias, f"{alias}.", *short_names(alias, domain)))
    return tuple(dict.fromkeys(name.lower() for name in (member.service.host, *others)))


def _tls_rules(given: MemberChainInput) -> Iterator[_Chain]:
    seen: set[tuple[object, ...]] = set()
    for rule in given.member.virtual_services:
        for index, route in enumerate(rule.spec.tls):
            for nth, match in enumerate(route.match):
                runtime = (match.sni_hosts, match.destination_subnets)
                if not matches.holds(match, given.port, given.proxy) or runtime in seen or not route.route:
                    continue
                seen.add(runtime)
                wide = _is_wide(given, match)
                named = _subnets(match.destination_subnets)
                sni = server_names(match)
                if not (wide or named) or sni is None:
                    continue
                yield _Chain(
                    server_names=sni,
                    prefixes=_own_prefixes(given) if wide else named,
                    filters=_network_filters(given, route.route, rule),
                    rule=rule,
                    field=f"spec.tls[{index}].match[{nth}]",
                )


def server_names(match: TLSMatchAttributes) -> tuple[str, ...] | None:
    """Names to match, () where ``*`` among them takes every name; None if Envoy could match none of them: it
    knows exact names and ``*.suffix``."""
    if "*" in match.sni_hosts or not match.sni_hosts:
        return ()
    known = (n.lower() for n in match.sni_hosts if "*" not in n.removeprefix("*."))
    return tuple(dict.fromkeys(known)) or None


def _is_wide(given: MemberChainInput, match: TLSMatchAttributes | L4MatchAttributes) -> bool:
    """Whether a match takes any destination address; on a unix socket, which has none, every match does."""
    return not match.destination_subnets or not given.port


def _subnets(subnets: Iterable[str]) -> tuple[str, ...]:
    """Destination networks once each, as far as they are networks."""
    return tuple(dict.fromkeys(s for s in subnets if network(s) is not None))


def _tcp_rules(given: MemberChainInput) -> Iterator[_Chain]:
    for rule in given.member.virtual_services:
        for index, route in enumerate(rule.spec.tcp):
            if not route.route:
                continue
            holding = [m for m in route.match if matches.holds(m, given.port, given.proxy)]
            if route.match and not holding:
                continue
            wide = not holding or any(_is_wide(given, m) for m in holding)
            named = _subnets(s for m in holding for s in m.destination_subnets)
            if not (wide or named):
                continue
            yield _Chain(
                prefixes=_own_prefixes(given) if wide else named,
                filters=_network_filters(given, route.route, rule),
                rule=rule,
                field=f"spec.tcp[{index}]",
                named=wide,
            )
            if wide:
                return


# Filters


def _network_filters(
    given: MemberChainInput, destinations: tuple[RouteDestination, ...], rule: Object[VirtualService] | None
) -> list[Any]:
    member = given.member
    found = []
    options = _tcp_options(given, destinations, rule)
    if member.port.protocol is Protocol.MONGO:
        found.append(filters.mongo_proxy(options.stat_prefix))
    if member.service.resolution is Resolution.DYNAMIC_DNS and member.port.protocol.is_tls and rule is None:
        found.append(forward_proxy.sni_filter(member.service.host, member.port.number, given.proxy))
    found.append(filters.tcp_proxy(options))
    return found


def _tcp_options(
    given: MemberChainInput, destinations: tuple[RouteDestination, ...], rule: Object[VirtualService] | None
) -> filters.TcpOptions:
    around = RoutedTcp(
        targets=given.member.targets,
        port=given.port,
        protocol=given.member.port.protocol,
        defaults=given.defaults,
        proxy=given.proxy,
    )
    if rule is not None:
        return routed(around, destinations, rule)
    return _options(around, [_Destination(_own_target(given.member), given.member.port.number)], None)


class RoutedTcp(Input, frozen=True, kw_only=True):
    """What the destinations of a TCP or TLS route depend on besides the route."""

    targets: tuple[Target, ...]
    port: int
    """Of the listener, or of a Gateway's server."""
    protocol: Protocol
    defaults: ListenerDefaults
    proxy: ProxyKind


def routed(
    around: RoutedTcp, destinations: tuple[RouteDestination, ...], rule: Object[VirtualService]
) -> filters.TcpOptions:
    """The TCP proxy of a route of ``rule``. ``destinations`` is never empty."""
    named = [_named(around, d, rule) for d in destinations if len(destinations) == 1 or d.weight > 0]
    if len(destinations) == 1 or not named:
        return _options(around, named or [_named(around, destinations[0], rule)], rule)
    first = _named(around, destinations[0], rule)
    options = _options(around, [first._replace(subset="")], rule)
    return msgspec.structs.replace(
        options,
        stat_prefix=f"{rule.ref.name}.{rule.ref.namespace}",
        clusters=tuple((d.cluster, d.weight) for d in named),
        weighted=True,
    )


def direct(around: RoutedTcp, target: Target, subset: str) -> filters.TcpOptions:
    """The TCP proxy to one cluster of a service that no route leads to."""
    return _options(around, [_Destination(target, around.port, subset)], None)


def _options(
    given: RoutedTcp, named: Sequence[_Destination], rule: Object[VirtualService] | None
) -> filters.TcpOptions:
    """What a rule says of a TCP proxy, which belongs to the listener and not to one port of the destination: its own
    traffic policy, but for hashing and tunnels, which subsets may have too."""
    first = named[0]
    held = first.target.rule.spec if first.target.rule else DestinationRule()
    own = held.traffic_policy or TrafficPolicy()
    pool = own.connection_pool.tcp if own.connection_pool else None
    idle = pool.idle_timeout if pool and pool.idle_timeout is not None else given.proxy.idle_timeout
    port = first.port if rule is None else given.port
    return filters.TcpOptions(
        stat_prefix=_stat_prefix(given, first, port),
        clusters=tuple((d.cluster, d.weight) for d in named),
        idle_timeout=idle,
        max_connection_duration=pool.max_connection_duration if pool else None,
        hash_source_ip=_hashes_source(held, first.subset),
        tunnel=_tunnel(held, first.subset),
        access_log=given.defaults.access_log,
    )


def _hashes_source(rule: DestinationRule, subset: str) -> bool:
    found = [balancer.consistent_hash for _, balancer in policy.balancers(rule, 0, subset)]
    return bool(found and found[-1] is not None and found[-1].use_source_ip)


def _tunnel(rule: DestinationRule, subset: str) -> TunnelSettings | None:
    """Of a subset its own alone: the rule's is for those that name none."""
    own = rule.traffic_policy
    if subset:
        _, found = policy.find_subset(rule, subset)
        own = found.traffic_policy if found is not None else None
    return own.tunnel if own is not None else None


def _own_target(member: Member) -> Target:
    found = next((t for t in member.targets if t.host == member.service.host), None)
    return found or Target(host=member.service.host, service=member.service)


def _named(given: RoutedTcp, route: RouteDestination, rule: Object[VirtualService]) -> _Destination:
    destination = route.destination
    if destination is None or not destination.host:
        return _Destination(Target(host=routes.UNKNOWN_SERVICE, service=None), given.port, "", route.weight)
    domain = given.proxy.dns_domain.partition(".svc.")[2] or "cluster.local"
    host = resolve_short(destination.host, rule.ref.namespace, domain)
    target = next((t for t in given.targets if t.host in (destination.host, host)), None)
    port = _destination_port(destination, target, given.port)
    return _Destination(target or Target(host=host, service=None), port, destination.subset, route.weight)


def _destination_port(given: Destination, target: Target | None, listener_port: int) -> int:
    """The port that is asked for; else the service's only port; else the listener's."""
    if given.port is not None and given.port.number:
        return given.port.number
    ports = target.service.ports if target is not None and target.service is not None else ()
    return ports[0].number if len(ports) == 1 else listener_port


def _stat_prefix(given: RoutedTcp, to: _Destination, number: int) -> str:
    """The cluster's name, or ``outboundClusterStatName`` filled in."""
    pattern = given.defaults.outbound_stat_name
    if not pattern or to.target.service is None:
        return to.cluster
    port = Port(number, "", given.protocol)  # Istio knows no port name here: the token becomes empty
    return alt_stat_name(pattern, to.cluster, to.target.service, port, to.subset).removesuffix(DELIMITER)


# Fragments


def _fragment(given: MemberChainInput, chain: _Chain) -> Resource:
    message = protos.FilterChain(
        filters=chain.filters, transport_socket_connect_timeout=protos.duration(CONNECT_TIMEOUT)
    )
    if chain.prefixes:
        message.filter_chain_match.prefix_ranges.extend(protos.cidr(str(network(p))) for p in chain.prefixes)
    if chain.server_names:
        message.filter_chain_match.server_names.extend(chain.server_names)
    origins = [Origin("", ref, "") for ref in given.member.service.sources[:1]]
    if chain.rule is not None:
        if chain.named:
            message.metadata.CopyFrom(routes.config_metadata(chain.rule))
        origins.append(Origin("", chain.rule.ref, chain.field))
    return resource(match_key(chain.server_names, chain.prefixes), FILTER_CHAIN, message, tuple(origins))


def match_key(server_names: Iterable[str], prefixes: Iterable[str]) -> str:
    """Canonical text of a match: chains of equal key cannot stand together."""
    parts = []
    if names := sorted(server_names):
        parts.append("sni=" + ",".join(names))
    if networks := sorted(str(network(p)) for p in prefixes):
        parts.append("prefix=" + ",".join(networks))
    return ";".join(parts)


@lru_cache(maxsize=65536)
def match_pairs(key: str) -> tuple[tuple[str, str], ...]:
    """The (server name, network) pairs that a match takes, "" for any: Envoy allows each in one chain only."""
    found = dict(part.split("=", 1) for part in key.split(";")) if key else {}
    names = found.get("sni", "").split(",")
    networks = found.get("prefix", "").split(",")
    return tuple((name, network) for name in names for network in networks)


def narrowed(chain: Resource, without: frozenset[tuple[str, str]]) -> Resource | None:
    """The chain without the server names, or else the networks, that stand in ``without``; None if none is left."""
    pairs = match_pairs(chain.name)
    names = {n for n, _ in pairs}
    networks = {p for _, p in pairs}
    free_names = {n for n in names if not any((n, p) in without for p in networks)}
    if not free_names:
        networks = {p for p in networks if not any((n, p) in without for n in names)}
    if not (free_names or networks):
        return None
    message = protos.FilterChain.FromString(chain.body)
    match = message.filter_chain_match
    keep_names = [n for n in match.server_names if n in (free_names or names)]
    keep = [p for p in match.prefix_ranges if f"{p.address_prefix}/{p.prefix_len.value}" in networks]
    del match.server_names[:], match.prefix_ranges[:]
    match.server_names.extend(keep_names)
    match.prefix_ranges.extend(keep)
    key = match_key(keep_names, [f"{p.address_prefix}/{p.prefix_len.value}" for p in keep])
    return resource(key, chain.type_url, message, chain.origins, chain.decisions)


def http(options: filters.HttpOptions, *, sniffed: bool) -> Resource:
    """The chain of HTTP: for every connection, or (``sniffed``) for those whose first bytes are plain HTTP."""
    message = protos.FilterChain(
        filters=[filters.http_connection_manager(options)],
        transport_socket_connect_timeout=protos.duration(CONNECT_TIMEOUT),
    )
    if sniffed:
        message.filter_chain_match.transport_protocol = "raw_buffer"
        message.filter_chain_match.application_protocols.extend(http_protocols(options.proxy))
    return resource(SNIFFED_HTTP if sniffed else MATCH_ALL, FILTER_CHAIN, message)


@lru_cache(maxsize=256)
def fallback(catch_all: CatchAll, defaults: ListenerDefaults, proxy: ProxyKind) -> Resource:
    """``PassthroughFilterChain``: what nothing else in the listener matches."""
    message = protos.FilterChain(
        name=naming.PASSTHROUGH_FILTER_CHAIN,
        filters=[filters.to_cluster(catch_all_cluster(catch_all), defaults, proxy)],
    )
    message.filter_chain_match.SetInParent()
    return resource(MATCH_ALL, FILTER_CHAIN, message)


def catch_all_cluster(catch_all: CatchAll) -> str:
    if not catch_all.allow:
        return naming.BLACK_HOLE_CLUSTER
    return catch_all.cluster or naming.PASSTHROUGH_CLUSTER
