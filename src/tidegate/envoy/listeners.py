"""Outbound listeners: where they are bound, what shares them, and who loses where two cannot share.

Envoy closes every connection of a listener of which a field outside its filter chains changes. Such fields depend
here on nothing that changes with services, but for the listener filters of the small per-port listeners.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import msgspec

from tidegate.api.fields import Duration
from tidegate.api.objects import Ref
from tidegate.envoy import accesslog, chains, filters, forward_proxy, protos, routes
from tidegate.envoy.domains import visible_addresses
from tidegate.envoy.inputs import CatchAll, ListenerDefaults, ListenerInput, Member
from tidegate.envoy.resource import LISTENER, Decision, Fragments, Origin, Resource, resource
from tidegate.kit import naming
from tidegate.kit.addresses import is_ip, network
from tidegate.registry.model import Port, Protocol, Registry, Resolution, Service
from tidegate.scope.proxy import Interception, ProxyKind

RESERVED_PORTS = frozenset({15001, 15006, 15021, 15090})
"""Ports of the sidecar itself. No service may take them on the wildcard address."""

TLS_INSPECTOR = "envoy.filters.listener.tls_inspector"
HTTP_INSPECTOR = "envoy.filters.listener.http_inspector"
TLS_READ_BUFFER = 512
"""Bytes that the TLS inspector reads first; it doubles them as a longer ClientHello needs."""

UNSHAREABLE = frozenset({Protocol.MONGO, Protocol.MYSQL})
"""Protocols in which the server speaks first or a filter reads along: no other protocol can share their address."""

SHADOWING = "a port without address takes every connection to its number that no other chain matches"
"""Rule of the decision that warns of it: other destinations on the same port are carried to this service."""

_FILTER_CHAINS, _DEFAULT_CHAIN = 3, 25
"""Field numbers of Listener."""

ChainBuilder = Callable[[chains.MemberChainInput], Resource | None]
"""None: the member's chains could not be made, and it is left out."""


def binds(service: Service, port: Port, proxy: ProxyKind) -> tuple[tuple[str, str], ...]:
    """(bind, address) of each listener that a service port takes part in.

    HTTP shares the wildcard address, where the Host header tells services apart. Anything else listens on each of
    the service's addresses; on the wildcard with the network as ``address`` for CIDRs, and without ``address`` for
    services that have none. Headless Services listen on their pods' addresses, which only endpoints know: nothing
    here.
    """
    if port.protocol is Protocol.UDP or service.resolution is Resolution.ALIAS:
        return ()
    if port.protocol.is_http:
        return () if port.number in RESERVED_PORTS else ((proxy.wildcard, ""),)
    if service.headless:
        return ()
    found = dict.fromkeys(_bind(address, proxy) for address in _bound_addresses(service, port, proxy))
    places = tuple(found) or ((proxy.wildcard, ""),)
    return tuple(p for p in places if p[0] != proxy.wildcard or port.number not in RESERVED_PORTS)


def _bound_addresses(service: Service, port: Port, proxy: ProxyKind) -> tuple[str, ...]:
    """A Kubernetes Service with addresses of two families has one listener that is bound to both."""
    found = visible_addresses(service, proxy, port.number)
    return found[:1] if service.registry is Registry.KUBERNETES else found


def _bind(address: str, proxy: ProxyKind) -> tuple[str, str]:
    if is_ip(address) and ":" not in address:
        return address, address  # IPv4 has one spelling only
    found = network(address)
    if found is None:
        return proxy.wildcard, ""
    if found.prefixlen == found.max_prefixlen:
        plain = str(found.network_address)
        return plain, plain
    return proxy.wildcard, str(found)


# Assembling


def outbound(given: ListenerInput) -> Resource | None:
    """The listener of one address and port; None when nothing is left to listen for."""
    return assemble(given, chains.build)


def assemble(given: ListenerInput, build: ChainBuilder) -> Resource | None:
    """As :func:`outbound`, with the members' chains made by ``build``: a cached form of ``chains.build`` lets one
    changed member of thousands rebuild its own chains only."""
    name = naming.listener(given.bind, given.port)
    admitted, serves_http, decisions = _admitted(given, name)
    taken, clashes = _merge(given, admitted, build, name)
    http = _http_chain(given, admitted, serves_http, name)
    if http is not None:
        taken = _in_order(given, http, taken)
    if not taken:
        return None
    shadowing = _shadowing(given, name, taken)
    return _listener(given, name, taken, (*decisions, *clashes, *shadowing))


def chain_inputs(given: ListenerInput) -> list[chains.MemberChainInput]:
    """The inputs of the members' chains, in their order."""
    return [_chain_input(given, member) for member in given.members]


def _chain_input(given: ListenerInput, member: Member) -> chains.MemberChainInput:
    return chains.MemberChainInput(
        member=member,
        wildcard=given.bind == given.proxy.wildcard,
        port=given.port,
        defaults=given.defaults,
        proxy=given.proxy,
    )


def _admitted(given: ListenerInput, name: str) -> tuple[list[Member], bool, list[Decision]]:
    """Members that may share the address, and whether HTTP may: where Mongo or MySQL meets anything else, the
    oldest alone stays."""
    if not any(m.port.protocol in UNSHAREABLE for m in given.members):
        return list(given.members), given.http is not None, []
    http_first = given.http is not None and _age(given.http) <= _age(given.members[0].service)
    oldest = Protocol.HTTP if http_first else given.members[0].port.protocol
    kept: list[Member] = []
    lost: list[Service] = []
    for member in given.members:
        if member.port.protocol is oldest or not UNSHAREABLE & {oldest, member.port.protocol}:
            kept.append(member)
        else:
            lost.append(member.service)
    serves_http = given.http is not None and oldest not in UNSHAREABLE
    if given.http is not None and not serves_http:
        lost.append(given.http)
    if not lost:
        return kept, serves_http, []
    winner = given.http if given.http is not None and http_first else given.members[0].service
    rule = "Mongo and MySQL share no port with another protocol: oldest wins"
    return kept, serves_http, [_decision(name, rule, winner, lost)]


def _age(service: Service) -> tuple[str, str]:
    return service.age_key


def _decision(name: str, rule: str, winner: Service, lost: Sequence[Service]) -> Decision:
    return Decision(f"listener {name}", rule, _source(winner), tuple(_source(s) for s in lost))


def _source(service: Service) -> Ref:
    return service.sources[0] if service.sources else Ref("Service", service.namespace, service.name or service.host)


def _merge(
    given: ListenerInput, members: Sequence[Member], build: ChainBuilder, name: str
) -> tuple[list[Resource], list[Decision]]:
    """All members' chains with matches of their own. Of identical matches the oldest member's stays; of chains that
    overlap in part the younger keeps what is left, since Envoy refuses a listener in which two chains match alike."""
    taken: list[Resource] = []
    owner: dict[tuple[str, str], Ref] = {}
    decisions: list[Decision] = []
    for member in members:
        built = build(_chain_input(given, member))
        for chain in chains.each(built) if built is not None else ():
            pairs = chains.match_pairs(chain.name)
            clashes = [p for p in pairs if p in owner]
            ref = chain.origins[-1].ref if chain.origins else _source(member.service)
            if clashes:
                winner = owner[clashes[0]]
                if winner != ref:
                    rule = f"identical match ({_spoken(clashes[0])}): oldest wins"
                    decisions.append(Decision(f"listener {name}", rule, winner, (ref,)))
                if (narrowed := chains.narrowed(chain, frozenset(clashes))) is None:
                    continue
                chain = narrowed
                pairs = chains.match_pairs(chain.name)
            taken.append(chain)
            owner.update(dict.fromkeys(pairs, ref))
    return taken, decisions


def _spoken(pair: tuple[str, str]) -> str:
    return " ".join(filter(None, pair)) or "every connection"


def _http_chain(given: ListenerInput, members: Sequence[Member], serves_http: bool, name: str) -> Resource | None:
    """The chain of HTTP: where an HTTP port is here, or a port whose protocol is found out by looking."""
    auto = next((m for m in members if m.port.protocol is Protocol.AUTO), None)
    owner = given.http if serves_http else auto.service if auto is not None else None
    if owner is None:
        return None
    on_wildcard = given.bind == given.proxy.wildcard
    route_name = given.route_name or str(given.port)
    if auto is not None and not (serves_http or on_wildcard or given.route_name):
        route_name = naming.virtual_host(auto.service.host, auto.port.number)
    sniffed = bool(members) or (on_wildcard and not _is_http_proxy(given))
    options = filters.HttpOptions(
        direction="outbound",
        stat_prefix=f"outbound_{name};",
        route_name=route_name,
        dynamic_hosts=_dynamic_hosts(given),
        grpc_web=serves_http and given.http_port is not None and given.http_port.protocol is Protocol.GRPC_WEB,
        defaults=given.defaults,
        proxy=given.proxy,
    )
    made = chains.http(options, sniffed=sniffed)
    return msgspec.structs.replace(made, origins=(Origin("", _source(owner), ""),))


def _is_http_proxy(given: ListenerInput) -> bool:
    """Clients of an HTTP proxy speak HTTP for sure, whatever they want of it."""
    return given.http_port is not None and given.http_port.protocol is Protocol.HTTP_PROXY


def _dynamic_hosts(given: ListenerInput) -> tuple[str, ...]:
    return (*given.dynamic_hosts, *_any_host(given.catch_all))


def _any_host(catch_all: CatchAll) -> tuple[str, ...]:
    return (forward_proxy.ANY_HOST,) if catch_all.dynamic else ()


def _in_order(given: ListenerInput, http: Resource, others: list[Resource]) -> list[Resource]:
    """HTTP first where its service is the oldest; after the members' chains where it was found by looking."""
    return [http, *others] if _http_goes_first(given) else [*others, http]


def _http_goes_first(given: ListenerInput) -> bool:
    return given.http is not None and (not given.members or _age(given.http) <= _age(given.members[0].service))


def _listener(given: ListenerInput, name: str, taken: list[Resource], decisions: tuple[Decision, ...]) -> Resource:
    matching = [c for c in taken if c.name != chains.MATCH_ALL]
    rest = next((c for c in taken if c.name == chains.MATCH_ALL), None)
    if not matching and rest is not None:
        matching, rest = [rest], None
    elif rest is None:
        rest = chains.fallback(given.catch_all, given.defaults, given.proxy)
    frame = _frame(given, name, matching)
    fragments = Fragments()
    fragments.merge(frame.body, frame.version)
    fragments.put_all(_FILTER_CHAINS, matching)
    origins: tuple[Origin, ...] = ()
    if rest is not None:
        fragments.put_all(_DEFAULT_CHAIN, (rest,))
        origins = tuple(Origin("default_filter_chain", o.ref, o.field) for o in rest.origins)
    body, version = fragments.finish()
    return Resource(
        name, LISTENER, body, version, origins, decisions, parts=tuple(matching), part_field="filter_chains"
    )


def _shadowing(given: ListenerInput, name: str, taken: Sequence[Resource]) -> tuple[Decision, ...]:
    """On the wildcard address, a service whose chain takes every connection to the port, wherever it goes."""
    if given.bind != given.proxy.wildcard:
        return ()
    wide = next((c for c in taken if c.name == chains.MATCH_ALL and c.origins), None)
    if wide is None:
        return ()
    return (Decision(f"listener {name}", SHADOWING, wide.origins[0].ref),)


def _frame(given: ListenerInput, name: str, taken: Sequence[Resource]) -> Resource:
    """Everything of a listener but its chains."""
    sniffed = any(c.name == chains.SNIFFED_HTTP for c in taken)
    named = any("sni=" in c.name for c in taken)
    timeout = given.defaults.detection_timeout if sniffed else Duration(0)
    message = protos.Listener()
    message.CopyFrom(_outbound_settings(named, sniffed, timeout, given.bind_to_port))
    message.name = name
    message.address.CopyFrom(address(given.bind, given.port))
    message.additional_addresses.extend(_additional(given))
    return resource(name, LISTENER, message)


@lru_cache(maxsize=64)
def _outbound_settings(named: bool, sniffed: bool, timeout: Duration, bind_to_port: bool) -> Any:
    """What outbound listeners share. ``named``: server names are matched. Never change it: copy it."""
    message = protos.Listener(
        traffic_direction=protos.TrafficDirection.OUTBOUND,
        continue_on_listener_filters_timeout=True,
        listener_filters_timeout=protos.duration(timeout),
    )
    if named:
        message.listener_filters.append(tls_inspector())
    if sniffed:
        message.listener_filters.append(http_inspector())
    if bind_to_port:
        message.max_connections_to_accept_per_socket_event.value = 1
    else:
        message.bind_to_port.value = False
    return message


def address(bind: str, port: int) -> Any:
    """Address of an IP and port, or of a unix socket (``unix:///path``, also written as a plain path)."""
    if bind.startswith(("unix://", "/")):
        return protos.pipe_address(bind.removeprefix("unix://"))
    return protos.socket_address(bind, port)


def _additional(given: ListenerInput) -> list[Any]:
    """The other addresses of a listener for two IP families."""
    on_wildcard = given.bind == given.proxy.wildcard
    others = _second_wildcard(given) if on_wildcard else _second_addresses(given)
    return [protos.AdditionalAddress(address=protos.socket_address(a, given.port)) for a in others]


def _second_wildcard(given: ListenerInput) -> tuple[str, ...]:
    """Unless both families are asked for, an opaque port without address has the first of them alone."""
    opaque = not _http_goes_first(given) and bool(given.members) and "/" not in given.members[0].address
    return () if opaque and not given.proxy.both_families else second_wildcard(given.proxy)


def second_wildcard(proxy: ProxyKind) -> tuple[str, ...]:
    """The other wildcard address of a proxy with two IP families."""
    return ("::",) if proxy.ipv4 and proxy.ipv6 else ()


def _second_addresses(given: ListenerInput) -> tuple[str, ...]:
    member = next((m for m in given.members if m.address == given.bind), None)
    if member is None or member.service.registry is not Registry.KUBERNETES:
        return ()
    return tuple(a for a in visible_addresses(member.service, given.proxy) if a != given.bind)


def tls_inspector() -> Any:
    """Reads the server name and application protocols of a TLS ClientHello."""
    config = protos.TlsInspector(initial_read_buffer_size=protos.u32(TLS_READ_BUFFER))
    return protos.ListenerFilter(name=TLS_INSPECTOR, typed_config=protos.any_of(config))


def http_inspector() -> Any:
    """Tells plain HTTP from anything else by its first bytes."""
    return protos.ListenerFilter(name=HTTP_INSPECTOR, typed_config=protos.any_of(protos.HttpInspector()))


# Listeners of the mesh itself


def virtual_outbound(catch_all: CatchAll, defaults: ListenerDefaults, proxy: ProxyKind) -> Resource | None:
    """``virtualOutbound``: takes what the rules redirect, hands it to the listener of its destination, and carries
    what has none to the catch-all. None for a proxy without interception."""
    if proxy.interception is Interception.NONE:
        return None
    port = defaults.outbound_port
    cluster = chains.catch_all_cluster(catch_all)
    message = protos.Listener(
        name=naming.VIRTUAL_OUTBOUND,
        address=protos.socket_address(proxy.wildcard, port),
        use_original_dst=protos.boolean(True),
        traffic_direction=protos.TrafficDirection.OUTBOUND,
        access_log=accesslog.listener_logs(defaults.access_log),
        max_connections_to_accept_per_socket_event=protos.u32(1),
    )
    message.additional_addresses.extend(
        protos.AdditionalAddress(address=protos.socket_address(a, port)) for a in _other_wildcard(proxy)
    )
    if proxy.interception is Interception.TPROXY:
        message.transparent.value = True
    loop = message.filter_chains.add(name=f"{naming.VIRTUAL_OUTBOUND}-blackhole", filters=[filters.black_hole()])
    loop.filter_chain_match.destination_port.value = port
    if catch_all.dynamic:
        _resolve_any(message, catch_all, defaults, proxy)
    rest = filters.to_cluster(cluster, defaults, proxy)
    message.filter_chains.add(name=f"{naming.VIRTUAL_OUTBOUND}-catchall-tcp", filters=[rest])
    return resource(naming.VIRTUAL_OUTBOUND, LISTENER, message)


def _other_wildcard(proxy: ProxyKind) -> tuple[str, ...]:
    """Where virtualOutbound listens besides the first family's wildcard address."""
    if proxy.both_families:
        return second_wildcard(proxy)
    return ("0.0.0.0",) if proxy.ipv4_beside_ipv6 and not proxy.ipv4 else ()  # noqa: S104 -- inside the workload


def _resolve_any(message: Any, catch_all: CatchAll, defaults: ListenerDefaults, proxy: ProxyKind) -> None:
    """HTTP to where nothing is known goes to the host that each request names."""
    options = filters.HttpOptions(
        direction="outbound",
        stat_prefix=f"outbound_{naming.VIRTUAL_OUTBOUND}_{naming.ALLOW_ANY_DYNAMIC_DNS};",
        dynamic_hosts=_any_host(catch_all),
        defaults=defaults,
        proxy=proxy,
    )
    config = protos.RouteConfiguration.FromString(routes.route_config(naming.ALLOW_ANY_DYNAMIC_DNS, [], catch_all).body)
    chain = message.filter_chains.add(
        name=f"{naming.VIRTUAL_OUTBOUND}-catchall-tcp-http", filters=[filters.http_connection_manager(options, config)]
    )
    chain.filter_chain_match.application_protocols.extend(chains.http_protocols(proxy))
    message.listener_filters.append(http_inspector())
    message.listener_filters_timeout.CopyFrom(protos.duration(defaults.detection_timeout))
    message.continue_on_listener_filters_timeout = True


def http_proxy(port: int, catch_all: CatchAll, defaults: ListenerDefaults, proxy: ProxyKind) -> Resource | None:
    """The local HTTP proxy of MeshConfig.proxyHttpPort, for applications that set HTTP_PROXY; None for port 0."""
    if not port:
        return None
    bind = proxy.loopback
    name = naming.listener(bind, port)
    options = filters.HttpOptions(
        direction="outbound",
        stat_prefix=f"outbound_{name};",
        route_name=naming.HTTP_PROXY_ROUTE,
        absolute_url=True,
        dynamic_hosts=_any_host(catch_all),
        defaults=defaults,
        proxy=proxy,
    )
    message = protos.Listener(name=name, address=protos.socket_address(bind, port))
    message.MergeFrom(_outbound_settings(False, False, Duration(0), True))
    message.filter_chains.add(
        filters=[filters.http_connection_manager(options)],
        transport_socket_connect_timeout=protos.duration(chains.CONNECT_TIMEOUT),
    )
    return resource(name, LISTENER, message)


__all__ = [
    "assemble",
    "binds",
    "chain_inputs",
    "http_proxy",
    "outbound",
    "virtual_outbound",
]
