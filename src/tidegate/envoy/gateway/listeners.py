"""The listeners of a gateway: one for each address and port that its Gateways' servers open."""

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from tidegate.api.networking import (
    L4MatchAttributes,
    RouteDestination,
    ServerTLSSettingsMode,
    TLSMatchAttributes,
    VirtualService,
)
from tidegate.api.objects import Object
from tidegate.envoy import accesslog, chains, connections, filters, protos, security
from tidegate.envoy.gateway import tls
from tidegate.envoy.gateway.inputs import GatewayInput, Passing
from tidegate.envoy.gateway.servers import Place, Settled, Slot, bind_of, listener_name, reachable
from tidegate.envoy.inputs import Target
from tidegate.envoy.listeners import address, second_wildcard, tls_inspector
from tidegate.envoy.resource import LISTENER, Decision, Origin, Resource, resource
from tidegate.envoy.stat_names import stat_name
from tidegate.kit import hosts, naming
from tidegate.registry.model import Port, Protocol
from tidegate.scope.gateways import server_hosts

MESH_PROTOCOLS = ("istio", "istio-peer-exchange", "istio-http/1.0", "istio-http/1.1", "istio-h2")
"""What the mesh's mutual TLS offers by ALPN: nothing else passes an AUTO_PASSTHROUGH server."""

PROXY_PROTOCOL = "envoy.filters.listener.proxy_protocol"


class _Chain(msgspec.Struct, kw_only=True):
    """One filter chain, and the server that it comes from."""

    slot: Slot
    filters: list[Any]
    server_names: tuple[str, ...] = ()
    protocols: tuple[str, ...] = ()
    opened: bool = False
    """The gateway ends TLS."""
    rule: Object[VirtualService] | None = None
    field: str = ""


def build(given: GatewayInput, settled: Settled) -> Iterator[Resource]:
    """A listener for each place where something can be done with a connection."""
    for place in settled.places:
        decisions = list(settled.decisions.get((place.bind, place.port), ()))
        if not reachable(place, given):
            continue
        made = list(_distinct(_chains(given, place), decisions))
        if made:
            yield _listener(given, place, made, tuple(decisions))


def untold(given: GatewayInput, settled: Settled, made: Iterable[Resource]) -> Iterator[Decision]:
    """What was decided of places that have no listener, and which servers are not opened."""
    told = {decision for resource in made for decision in resource.decisions}
    for decisions in settled.decisions.values():
        yield from (decision for decision in decisions if decision not in told)
    for place in settled.places:
        for slot in place.slots:
            if slot.secured and not slot.passes and not tls.opens(slot, mtls=given.proxy.mtls):
                yield Decision(f"{slot.field} of {slot.bound.name}", tls.NO_CERTIFICATE, slot.gateway.ref)


def _listener(given: GatewayInput, place: Place, made: list[_Chain], decisions: tuple[Decision, ...]) -> Resource:
    bind, name = bind_of(place, given), listener_name(place, given)
    message = protos.Listener(
        name=name,
        address=address(bind, place.port),
        traffic_direction=protos.TrafficDirection.OUTBOUND,
        max_connections_to_accept_per_socket_event=protos.u32(1),
        access_log=accesslog.listener_logs(given.defaults.access_log),
    )
    if (limit := connections.buffer_limit(given.proxy.connections)) is not None:
        message.per_connection_buffer_limit_bytes.value = limit
    others = second_wildcard(given.proxy) if not place.bind else ()
    message.additional_addresses.extend(
        protos.AdditionalAddress(address=protos.socket_address(other, place.port)) for other in others
    )
    if given.topology.proxy_protocol:
        config = protos.any_of(protos.ProxyProtocolListener())
        message.listener_filters.append(protos.ListenerFilter(name=PROXY_PROTOCOL, typed_config=config))
    if any(chain.server_names or chain.protocols or chain.opened for chain in made):
        message.listener_filters.append(tls_inspector())
    for chain in made:
        message.filter_chains.append(_message(given, chain))
    return resource(name, LISTENER, message, tuple(_origins(made)), decisions)


def _message(given: GatewayInput, chain: _Chain) -> Any:
    message = protos.FilterChain(
        filters=chain.filters, transport_socket_connect_timeout=protos.duration(chains.CONNECT_TIMEOUT)
    )
    if chain.server_names:
        message.filter_chain_match.server_names.extend(chain.server_names)
    if chain.protocols:
        message.filter_chain_match.application_protocols.extend(chain.protocols)
    if chain.opened:
        message.transport_socket.CopyFrom(tls.context(chain.slot, given.defaults.cluster, mtls=given.proxy.mtls))
    return message


def _origins(made: Iterable[_Chain]) -> Iterator[Origin]:
    for index, chain in enumerate(made):
        at = f"filter_chains[{index}]"
        yield Origin(at, chain.slot.gateway.ref, chain.slot.field)
        if chain.rule is not None:
            yield Origin(at, chain.rule.ref, chain.field)


def _distinct(found: Iterable[_Chain], decisions: list[Decision]) -> Iterator[_Chain]:
    """Envoy refuses a listener in which two chains match alike: of equal server names the first chain keeps them."""
    taken: dict[tuple[str, tuple[str, ...]], _Chain] = {}
    for chain in found:
        names = chain.server_names or ("",)
        free = tuple(name for name in names if (name, chain.protocols) not in taken)
        if len(free) < len(names):
            held = next(taken[name, chain.protocols] for name in names if name not in free)
            subject = f"server names {', '.join(n or 'any' for n in names if n not in free)} of {chain.slot.field}"
            decisions.append(Decision(subject, "a server name leads to one place: first wins", *_sides(held, chain)))
        passed_on = chain.rule is not None and not chain.opened
        if not free or (passed_on and free != names):  # a route that is taken in part is not served at all, as by Istio
            continue
        taken.update(((name, chain.protocols), chain) for name in free)
        yield chain if free == names else msgspec.structs.replace(chain, server_names=free)


def _sides(winner: _Chain, loser: _Chain) -> tuple[Any, tuple[Any, ...]]:
    return _source(winner), (_source(loser),)


def _source(chain: _Chain) -> Any:
    return chain.rule.ref if chain.rule is not None else chain.slot.gateway.ref


def _chains(given: GatewayInput, place: Place) -> Iterator[_Chain]:
    for slot in _by_protocol(place):
        if slot.protocol.is_http:
            yield _Chain(slot=slot, filters=[_http(given, place, slot)])
        elif slot.server.tls is not None and slot.server.tls.mode is ServerTLSSettingsMode.AUTO_PASSTHROUGH:
            yield from _unopened(given, slot)
        elif slot.server.tls is None or slot.passes or tls.opens(slot, mtls=given.proxy.mtls):
            yield from _of_server(given, place, slot)


def _by_protocol(place: Place) -> Iterator[Slot]:
    """Servers of one protocol follow each other, as the first of them stands; plain HTTP has one chain for all."""
    groups: dict[str, list[Slot]] = {}
    for slot in place.slots:
        word = slot.server.port.protocol.upper() if slot.server.port is not None else ""
        groups.setdefault("" if slot.protocol.is_http else word, []).append(slot)
    for group in groups.values():
        yield from group[:1] if group[0].protocol.is_http else group


def _of_server(given: GatewayInput, place: Place, slot: Slot) -> Iterator[_Chain]:
    if slot.routes_http:
        yield _Chain(slot=slot, filters=[_http(given, place, slot)], server_names=_names(slot.hosts), opened=True)
    elif slot.passes:
        yield from _by_server_name(given, slot)
    else:
        yield from _carried(given, slot)


def _names(of_hosts: Iterable[str]) -> tuple[str, ...]:
    """Server names to match; none where ``*`` takes them all."""
    names = tuple(dict.fromkeys(host.lower() for host in of_hosts))
    return () if "*" in names else names


def _http(given: GatewayInput, place: Place, slot: Slot) -> Any:
    name = slot.server.name if slot.secured and slot.server.name else f"outbound_{listener_name(place, given)};"
    options = filters.HttpOptions(
        direction="gateway",
        stat_prefix=name,
        route_name=slot.route_name,
        grpc_web=slot.protocol is Protocol.GRPC_WEB,
        topology=given.topology,
        internal=given.internal,
        defaults=given.defaults,
        proxy=given.proxy,
    )
    return filters.http_connection_manager(options, enforced=security.http_filters(given.security, routing=True))


# Servers that carry bytes


def _rules(slot: Slot) -> Iterator[Object[VirtualService]]:
    """The VirtualServices of the server's Gateway that have a host in common with it."""
    for rule in slot.bound.rules:
        served = server_hosts(slot.server.hosts, slot.gateway.ref.namespace, rule.ref.namespace)
        if any(hosts.matches(host, other) for host in served for other in rule.spec.hosts):
            yield rule


def _carried(given: GatewayInput, slot: Slot) -> Iterator[_Chain]:
    """A server of TCP, or of TLS that ends here: the first TCP route that holds, else TLS routes by server name."""
    opened = slot.secured
    for rule in _rules(slot):
        for index, route in enumerate(rule.spec.tcp):
            if route.route and (not route.match or any(_holds(slot, match) for match in route.match)):
                yield _Chain(
                    slot=slot,
                    filters=_network_filters(given, slot, route.route, rule),
                    server_names=_names(slot.hosts) if opened else (),
                    opened=opened,
                    rule=rule,
                    field=f"spec.tcp[{index}]",
                )
                return
    if opened:
        for chain in _by_server_name(given, slot):
            yield msgspec.structs.replace(chain, opened=True)


def _by_server_name(given: GatewayInput, slot: Slot) -> Iterator[_Chain]:
    for rule in _rules(slot):
        for index, route in enumerate(rule.spec.tls):
            for nth, match in enumerate(route.match):
                names = chains.server_names(match)
                if _holds(slot, match) and route.route and names is not None:
                    yield _Chain(
                        slot=slot,
                        filters=_network_filters(given, slot, route.route, rule),
                        server_names=names,
                        rule=rule,
                        field=f"spec.tls[{index}].match[{nth}]",
                    )


def _holds(slot: Slot, match: L4MatchAttributes | TLSMatchAttributes) -> bool:
    """Istio asks nothing of a gateway itself, its labels or namespace, before it carries bytes."""
    return match.port in (0, slot.number) and (not match.gateways or slot.bound.name in match.gateways)


def _network_filters(
    given: GatewayInput, slot: Slot, destinations: tuple[RouteDestination, ...], rule: Object[VirtualService]
) -> list[Any]:
    around = chains.RoutedTcp(
        targets=given.destinations,
        port=slot.number,
        protocol=slot.protocol,
        defaults=given.defaults,
        proxy=given.proxy,
    )
    options = chains.routed(around, destinations, rule)
    ahead = [filters.mongo_proxy(options.stat_prefix)] if slot.protocol is Protocol.MONGO else []
    return [*security.network_filters(given.security), *ahead, filters.tcp_proxy(options)]


# Mutual TLS that passes through


def _unopened(given: GatewayInput, slot: Slot) -> Iterator[_Chain]:
    """A chain for each service and subset that the server's hosts take in: told apart by the server name that the
    mesh's clients send, which is the cluster's name; Envoy matches none with an asterisk inside. Policies are not
    asked: who calls is seen where TLS ends."""
    for passing in given.passing:
        host = passing.service.host
        if host.startswith("*") or not any(hosts.covers(each, host) for each in slot.hosts):
            continue
        for port in passing.service.ports:
            if port.protocol is not Protocol.UDP:
                for subset in _subsets(passing):
                    yield _passed(given, slot, passing, port, subset)


def _passed(given: GatewayInput, slot: Slot, passing: Passing, port: Port, subset: str) -> _Chain:
    service = passing.service
    name = naming.sni_cluster(port.number, subset, service.host)
    around = chains.RoutedTcp(
        targets=(), port=port.number, protocol=port.protocol, defaults=given.defaults, proxy=given.proxy
    )
    options = msgspec.structs.replace(
        chains.direct(around, Target(host=service.host, service=service, rule=passing.rule), subset),
        stat_prefix=stat_name(given.defaults.outbound_stat_name, name, service, port, subset),
        clusters=((name, 0),),
        tunnel=None,
    )
    ahead = [filters.mongo_proxy(options.stat_prefix)] if port.protocol is Protocol.MONGO else []
    return _Chain(
        slot=slot,
        filters=[*ahead, filters.tcp_proxy(options)],
        server_names=(name,),
        protocols=MESH_PROTOCOLS,
    )


def _subsets(passing: Passing) -> list[str]:
    return ["", *(s.name for s in passing.rule.spec.subsets)] if passing.rule is not None else [""]
