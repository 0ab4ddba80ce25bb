"""Inbound listeners of a workload: virtualInbound, which captured connections reach, and those that bind themselves.

Envoy updates a listener in place when only filter chains differ; any other change replaces it and, after the drain
time, closes every connection on it. So nothing of virtualInbound outside its chains follows from what changes often.
"""

from collections.abc import Container, Iterable
from typing import Any

import msgspec

from tidegate.api.security import MutualTLSMode
from tidegate.envoy import accesslog, filters, inbound_cluster, protos, security, server_tls, tls
from tidegate.envoy.chains import http_protocols
from tidegate.envoy.inbound_ports import InboundPort, ports_of
from tidegate.envoy.inbound_routes import passthrough_route, route_of
from tidegate.envoy.inputs import InboundInput
from tidegate.envoy.resource import LISTENER, Decision, Origin, Resource, resource
from tidegate.envoy.security.peers import PLAIN_HTTP, TLS, Shape, shapes
from tidegate.envoy.stat_names import stat_name
from tidegate.kit import naming
from tidegate.registry.model import Protocol
from tidegate.scope.proxy import Interception

SERVE_HTTP, SERVE_TCP = ("h2", "http/1.1"), ("istio-peer-exchange", "h2", "http/1.1")
"""ALPN that the server side of mutual TLS selects from."""

BLACKHOLE, CATCHALL_HTTP = "virtualInbound-blackhole", "virtualInbound-catchall-http"
ORIGINAL_SRC_MARK = 1337
"""The packet mark by which TPROXY rules know connections of the sidecar."""
_NO_CERTIFICATE = "STRICT is not enforced, plain text is accepted: the workload has no certificate"
_READ_AT_FIRST = 512
"""Bytes that the TLS inspector reads at first; enough for most ClientHellos, little memory for idle connections."""


class _Side(msgspec.Struct, frozen=True):
    """An input and what is enforced on all that comes in, made once for all chains."""

    given: InboundInput
    http: list[Any]
    """HTTP filters of security policies."""
    network: list[Any]
    """Network filters of security policies, for what is not HTTP."""

    def shapes(self, protocol: Protocol, port: int) -> tuple[Shape, ...]:
        """The ways into a port.

        Without a certificate no connection is looked at for TLS: an application's own TLS is to the sidecar what any
        bytes are, and a server that speaks first (MySQL, SMTP) is not kept waiting by the inspector.
        """
        mode = self.given.security.peers.of(port) if self.given.proxy.mtls else MutualTLSMode.DISABLE
        return shapes(protocol, mode)

    def of(self, port: InboundPort) -> tuple[Shape, ...]:
        """The ways into one of the workload's ports; TLS of its own is the only way where it has some."""
        if port.tls is not None:
            return (Shape(TLS, http=port.protocol.is_http),)
        return self.shapes(port.protocol, port.number)


def _side(given: InboundInput) -> _Side:
    return _Side(given, security.http_filters(given.security), security.network_filters(given.security))


def virtual_inbound(given: InboundInput) -> Resource | None:
    """The listener that captured inbound connections reach; None where nothing is captured."""
    if given.proxy.interception is Interception.NONE:
        return None
    side = _side(given)
    ports = [port for port in ports_of(given) if port.captured]
    listener = _bare(naming.VIRTUAL_INBOUND, given.proxy.wildcard, given.defaults.inbound_port)
    if given.proxy.both_families:
        extra = listener.additional_addresses.add()
        extra.address.CopyFrom(protos.socket_address("::", given.defaults.inbound_port))
    listener.filter_chains.append(_blackhole(given))
    listener.filter_chains.extend(_catch_alls(side, {port.number for port in ports}))
    origins = _put_ports(listener, side, ports)
    _put_captured_fields(listener, side, ports)
    return resource(
        listener.name, LISTENER, listener, origins + _policy_origins(listener, given), _decisions(given, ports)
    )


def inbound_listeners(given: InboundInput) -> tuple[Resource, ...]:
    """Listeners that bind their own address: Sidecar ingress with captureMode NONE, or without capture at all."""
    bound = [port for port in ports_of(given) if not port.captured]
    side = _side(given) if bound else None
    return tuple(_bound(side, port) for port in bound if side is not None)


def inbound_clusters(given: InboundInput) -> tuple[Resource, ...]:
    """The clusters that the listeners above lead to."""
    return tuple(inbound_cluster.build(given, port) for port in ports_of(given))


def _bare(name: str, address: str, port: int) -> Any:
    return protos.Listener(
        name=name,
        address=protos.pipe_address(address.removeprefix("unix://"))
        if address.startswith("unix://")
        else protos.socket_address(address, port),
        traffic_direction=protos.TrafficDirection.Value("INBOUND"),
        max_connections_to_accept_per_socket_event=protos.u32(1),
        continue_on_listener_filters_timeout=True,
    )


def _put_captured_fields(listener: Any, side: _Side, ports: list[InboundPort]) -> None:
    defaults = side.given.defaults
    listener.access_log.extend(accesslog.listener_logs(defaults.access_log))
    listener.listener_filters.append(_listener_filter("original_dst", protos.OriginalDst()))
    if side.given.proxy.interception is Interception.TPROXY:
        listener.transparent.value = True
        listener.listener_filters.append(_listener_filter("original_src", protos.OriginalSrc(mark=ORIGINAL_SRC_MARK)))
    listener.listener_filters_timeout.CopyFrom(protos.duration(defaults.detection_timeout))
    _put_tls_inspector(listener, side, ports)
    _put_http_inspector(listener, side, ports)


def _put_tls_inspector(listener: Any, side: _Side, ports: list[InboundPort]) -> None:
    """Kept off where no connection may be TLS: a server that speaks first would be kept waiting."""
    own = side.given.defaults.inbound_port
    looked = {port.number: _looks_for_tls(side.of(port)) for port in ports}
    looked |= {number: _looks_for_tls(side.shapes(Protocol.AUTO, number)) for number in _unserved(side, looked)}
    everywhere = _looks_for_tls(side.shapes(Protocol.AUTO, 0))
    if not everywhere and not any(looked.values()):
        return
    if everywhere:
        found = _tls_inspector([*(port for port, tls_there in looked.items() if not tls_there), own])
    else:
        found = _tls_inspector()
        only = protos.ListenerFilter()
        _switch_off(only, [port for port, tls_there in looked.items() if tls_there])
        found.filter_disabled.not_match.CopyFrom(only.filter_disabled)
    listener.listener_filters.append(found)


def _looks_for_tls(found: Iterable[Shape]) -> bool:
    return any(shape.transport == TLS for shape in found)


def _tls_inspector(off: Iterable[int] = ()) -> Any:
    inspector = protos.TlsInspector(initial_read_buffer_size=protos.u32(_READ_AT_FIRST))
    return _listener_filter("tls_inspector", inspector, off)


def _put_http_inspector(listener: Any, side: _Side, ports: list[InboundPort]) -> None:
    """Where plain HTTP has to be told from other bytes.

    istiod keeps the HTTP inspector off every port of declared protocol, so that naming a port's protocol, or a new
    HTTP port, replaces the listener and cuts all connections. Looking at the first bytes of HTTP does no harm: the
    client speaks first. Only TCP ports are excluded, where a server may speak first and the look would wait for ever.
    """
    found = [*side.shapes(Protocol.AUTO, 0), *(s for p in ports for s in side.of(p))]
    if any(shape.alpn == PLAIN_HTTP for shape in found):
        off = [*(port.number for port in ports if port.protocol.is_tcp), side.given.defaults.inbound_port]
        listener.listener_filters.append(_listener_filter("http_inspector", protos.HttpInspector(), off))


def _listener_filter(name: str, config: Any, off: Iterable[int] = ()) -> Any:
    found = protos.ListenerFilter(name=f"envoy.filters.listener.{name}", typed_config=protos.any_of(config))
    _switch_off(found, off)
    return found


def _switch_off(found: Any, ports: Iterable[int]) -> None:
    """Keep a listener filter off connections to these ports."""
    ranges = [
        protos.ListenerFilterChainMatchPredicate(destination_port_range=protos.Int32Range(start=port, end=port + 1))
        for port in sorted({*ports})
    ]
    if len(ranges) == 1:
        found.filter_disabled.CopyFrom(ranges[0])
    elif ranges:
        found.filter_disabled.or_match.rules.extend(ranges)


# Chains of virtualInbound that belong to no port


def _blackhole(given: InboundInput) -> Any:
    """Connections to the listener itself would loop."""
    chain = protos.FilterChain(name=BLACKHOLE, filters=[filters.black_hole()])
    chain.filter_chain_match.destination_port.value = given.defaults.inbound_port
    return chain


def _catch_alls(side: _Side, served: set[int]) -> list[Any]:
    """Ports that no service lists; those with mutual TLS of their own have chains of their own."""
    chains = _catch_all(side, 0)
    for port in _unserved(side, served):
        own = _catch_all(side, port)
        for chain in own:
            chain.filter_chain_match.destination_port.value = port
        chains += own
    return chains


def _unserved(side: _Side, served: Container[int]) -> list[int]:
    """Ports of a PeerAuthentication that no service lists."""
    if not side.given.proxy.mtls:
        return []
    return [port for port, _ in side.given.security.peers.ports if port not in served]


def _catch_all(side: _Side, port: int) -> list[Any]:
    """Forwarded to where they were going."""
    given, name = side.given, naming.INBOUND_PASSTHROUGH_CLUSTER
    options = filters.HttpOptions(
        direction="inbound", stat_prefix=f"{name};", defaults=given.defaults, proxy=given.proxy
    )
    http = filters.http_connection_manager(options, passthrough_route(given.defaults.inbound_retry), side.http)
    tcp = [*side.network, filters.to_cluster(name, given.defaults, given.proxy)]
    chains = []
    for shape in sorted(side.shapes(Protocol.AUTO, port), key=lambda s: not s.http):
        chain = _chain(CATCHALL_HTTP if shape.http else naming.VIRTUAL_INBOUND, shape, given)
        chain.filters.extend([http] if shape.http else tcp)
        chains.append(chain)
    return chains


# Chains of one port


def _put_ports(listener: Any, side: _Side, ports: Iterable[InboundPort]) -> tuple[Origin, ...]:
    origins = []
    for port in ports:
        for chain in _port_chains(side, port):
            chain.filter_chain_match.destination_port.value = port.number
            if port.origin is not None:
                path = f"filter_chains[{len(listener.filter_chains)}]"
                origins.append(Origin(path, port.origin.ref, port.origin.field))
            listener.filter_chains.append(chain)
    return tuple(origins)


def _port_chains(side: _Side, port: InboundPort) -> list[Any]:
    http, tcp = None, None
    chains = []
    for shape in side.of(port):
        chain = _chain(naming.listener(port.bind, port.number), shape, side.given)
        if port.tls is not None:
            chain.transport_socket.CopyFrom(
                server_tls.socket(port.tls, SERVE_HTTP, side.given.defaults.cluster, sds=side.given.proxy.mtls)
            )
        if shape.http:
            http = http or [_http(side, port)]
        else:
            tcp = tcp or [*side.network, *_tcp(side.given, port)]
        chain.filters.extend((http if shape.http else tcp) or ())
        if port.config:
            chain.metadata.filter_metadata["istio"].fields["config"].string_value = port.config
        chains.append(chain)
    return chains


def _chain(name: str, shape: Shape, given: InboundInput) -> Any:
    chain = protos.FilterChain(name=name)
    chain.filter_chain_match.transport_protocol = shape.transport
    plain_http = shape.alpn == PLAIN_HTTP
    chain.filter_chain_match.application_protocols.extend(http_protocols(given.proxy) if plain_http else shape.alpn)
    if shape.ends_tls:
        alpn = SERVE_HTTP if shape.http else SERVE_TCP
        chain.transport_socket.CopyFrom(tls.downstream_mesh(alpn, given.defaults.cluster))
    return chain


def _http(side: _Side, port: InboundPort) -> Any:
    given = side.given
    options = filters.HttpOptions(
        direction="inbound",
        stat_prefix=f"inbound_{naming.listener(port.bind, port.number)};",
        grpc_web=port.protocol is Protocol.GRPC_WEB,
        defaults=given.defaults,
        proxy=given.proxy,
    )
    return filters.http_connection_manager(options, route_of(port, given.defaults.inbound_retry), side.http)


def _tcp(given: InboundInput, port: InboundPort) -> list[Any]:
    cluster = naming.inbound_cluster(port.number)
    service = port.services[0] if port.services else None
    prefix = stat_name(given.defaults.cluster.inbound_stat_name, cluster, service, port.port)
    ahead = [filters.mongo_proxy(prefix)] if port.protocol is Protocol.MONGO else []
    options = filters.TcpOptions(
        stat_prefix=prefix,
        clusters=((cluster, 0),),
        idle_timeout=given.proxy.idle_timeout,
        access_log=given.defaults.access_log,
    )
    return [*ahead, filters.tcp_proxy(options)]


def _bound(side: _Side, port: InboundPort) -> Resource:
    """A listener of its own: it serves one port, so its fields may follow from that port."""
    given = side.given
    listener = _bare(naming.listener(port.bind, port.number), port.bind, port.number)
    listener.access_log.extend(accesslog.listener_logs(given.defaults.access_log))
    listener.filter_chains.extend(_port_chains(side, port))
    found = side.of(port)
    if _looks_for_tls(found) or not port.protocol.is_tcp:
        listener.listener_filters_timeout.CopyFrom(protos.duration(given.defaults.detection_timeout))
    if _looks_for_tls(found):
        listener.listener_filters.append(_tls_inspector())
    if any(shape.alpn == PLAIN_HTTP for shape in found):
        listener.listener_filters.append(_listener_filter("http_inspector", protos.HttpInspector()))
    origins = (port.origin,) if port.origin else ()
    return resource(
        listener.name, LISTENER, listener, origins + _policy_origins(listener, given), _decisions(given, [port])
    )


# Where it all came from


def _policy_origins(listener: Any, given: InboundInput) -> tuple[Origin, ...]:
    """Policies hold for every chain but the one that only stops loops."""
    enforced = given.security
    policies = (*enforced.authorization, *enforced.authentication)
    chains = [i for i, chain in enumerate(listener.filter_chains) if chain.name != BLACKHOLE] if policies else []
    return tuple(Origin(f"filter_chains[{i}].filters", policy.ref, "spec") for i in chains for policy in policies)


def _decisions(given: InboundInput, ports: Iterable[InboundPort]) -> tuple[Decision, ...]:
    found = [port.decision for port in ports if port.decision]
    if not given.proxy.mtls:
        found += [Decision("inbound mutual TLS", _NO_CERTIFICATE, ref) for ref in given.security.peers.strict]
    return (*found, *security.refusals(given.security))
