"""Inbound listeners of a workload: virtualInbound, which captured connections reach, and those that bind themselves.

Envoy updates a listener in place when only filter chains differ; any other change replaces it and, after the drain
time, closes every connection on it. So nothing of virtualInbound outside its chains follows from what changes often.
"""

from collections.abc import Iterable
from typing import Any

import msgspec

from tidegate.envoy import accesslog, filters, inbound_cluster, protos, tls
from tidegate.envoy.inbound_ports import InboundPort, ports_of
from tidegate.envoy.inbound_routes import passthrough_route, route_of
from tidegate.envoy.inputs import InboundInput
from tidegate.envoy.resource import LISTENER, Decision, Origin, Resource, resource
from tidegate.envoy.stat_names import stat_name
from tidegate.kit import naming
from tidegate.registry.model import Protocol
from tidegate.scope.proxy import Interception, ProxyKind

MESH_HTTP = ("istio-http/1.0", "istio-http/1.1", "istio-h2")
MESH_TCP = ("istio-peer-exchange", "istio")
MESH_ANY = ("istio", "istio-peer-exchange", *MESH_HTTP)
PLAIN_HTTP = ("http/1.1", "h2c")
SERVE_HTTP, SERVE_TCP = ("h2", "http/1.1"), ("istio-peer-exchange", "h2", "http/1.1")
"""ALPN that the server side of mutual TLS selects from."""

TLS, RAW = "tls", "raw_buffer"
BLACKHOLE, CATCHALL_HTTP = "virtualInbound-blackhole", "virtualInbound-catchall-http"
ORIGINAL_SRC_MARK = 1337
"""The packet mark by which TPROXY rules know connections of the sidecar."""
_READ_AT_FIRST = 512
"""Bytes that the TLS inspector reads at first; enough for most ClientHellos, little memory for idle connections."""


class _Shape(msgspec.Struct, frozen=True):
    """One way in: what a connection must look like, and what then becomes of it."""

    transport: str
    alpn: tuple[str, ...] = ()
    http: bool = False
    ends_tls: bool = False


_PERMISSIVE = {
    "auto": (
        _Shape(TLS, MESH_HTTP, http=True, ends_tls=True),
        _Shape(RAW, PLAIN_HTTP, http=True),
        _Shape(TLS, MESH_TCP, ends_tls=True),
        _Shape(RAW),
        _Shape(TLS),
    ),
    "http": (_Shape(TLS, MESH_ANY, http=True, ends_tls=True), _Shape(RAW, http=True)),
    "tcp": (_Shape(TLS, MESH_ANY, ends_tls=True), _Shape(TLS), _Shape(RAW)),
}
_DISABLE = {
    "auto": (_Shape(RAW, PLAIN_HTTP, http=True), _Shape(RAW)),
    "http": (_Shape(RAW, http=True),),
    "tcp": (_Shape(RAW),),
}


def _shapes(protocol: Protocol, proxy: ProxyKind) -> tuple[_Shape, ...]:
    """Without a certificate no connection is looked at for TLS: an application's own TLS is to the sidecar what any
    bytes are, and a server that speaks first (MySQL, SMTP) is not kept waiting by the inspector."""
    kind = "http" if protocol.is_http else "tcp" if protocol.is_tcp else "auto"
    return (_PERMISSIVE if proxy.mtls else _DISABLE)[kind]


def virtual_inbound(given: InboundInput) -> Resource | None:
    """The listener that captured inbound connections reach; None where nothing is captured."""
    if given.proxy.interception is Interception.NONE:
        return None
    ports = [port for port in ports_of(given) if port.captured]
    listener = _bare(naming.VIRTUAL_INBOUND, given.proxy.wildcard, given.defaults.inbound_port)
    if given.proxy.ipv4 and given.proxy.ipv6:
        extra = listener.additional_addresses.add()
        extra.address.CopyFrom(protos.socket_address("::", given.defaults.inbound_port))
    listener.filter_chains.append(_blackhole(given))
    listener.filter_chains.extend(_catch_all(given))
    origins = _put_ports(listener, given, ports)
    _put_captured_fields(listener, given, ports)
    decisions = tuple(d for d in (port.decision for port in ports) if d)
    return resource(listener.name, LISTENER, listener, origins, decisions)


def inbound_listeners(given: InboundInput) -> tuple[Resource, ...]:
    """Listeners that bind their own address: Sidecar ingress with captureMode NONE, or without capture at all."""
    return tuple(_bound(given, port) for port in ports_of(given) if not port.captured)


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


def _put_captured_fields(listener: Any, given: InboundInput, ports: Iterable[InboundPort]) -> None:
    defaults = given.defaults
    listener.access_log.extend(accesslog.listener_logs(defaults.access_log))
    listener.listener_filters.append(_listener_filter("original_dst", protos.OriginalDst()))
    if given.proxy.interception is Interception.TPROXY:
        listener.transparent.value = True
        listener.listener_filters.append(_listener_filter("original_src", protos.OriginalSrc(mark=ORIGINAL_SRC_MARK)))
    unlooked = [port.number for port in ports if port.protocol.is_tcp]
    _put_inspectors(listener, given, defaults.inbound_port, unlooked)


def _put_inspectors(listener: Any, given: InboundInput, own_port: int, unlooked: list[int]) -> None:
    """Listener filters that look at the first bytes.

    istiod keeps the HTTP inspector off every port of declared protocol, so that naming a port's protocol, or a new
    HTTP port, replaces the listener and cuts all connections. Looking at the first bytes of HTTP does no harm: the
    client speaks first. Only TCP ports are excluded, where a server may speak first and the look would wait for ever.
    """
    listener.listener_filters_timeout.CopyFrom(protos.duration(given.defaults.detection_timeout))
    if given.proxy.mtls:
        inspector = protos.TlsInspector(initial_read_buffer_size=protos.u32(_READ_AT_FIRST))
        listener.listener_filters.append(_listener_filter("tls_inspector", inspector, [own_port]))
    excluded = sorted({*unlooked, own_port})
    listener.listener_filters.append(_listener_filter("http_inspector", protos.HttpInspector(), excluded))


def _listener_filter(name: str, config: Any, off: list[int] | None = None) -> Any:
    full = f"envoy.filters.listener.{name}"
    found = protos.ListenerFilter(name=full, typed_config=protos.any_of(config))
    ranges = [
        protos.ListenerFilterChainMatchPredicate(destination_port_range=protos.Int32Range(start=port, end=port + 1))
        for port in off or ()
    ]
    if len(ranges) == 1:
        found.filter_disabled.CopyFrom(ranges[0])
    elif ranges:
        found.filter_disabled.or_match.rules.extend(ranges)
    return found


# Chains of virtualInbound that belong to no port


def _blackhole(given: InboundInput) -> Any:
    """Connections to the listener itself would loop."""
    chain = protos.FilterChain(name=BLACKHOLE, filters=[filters.black_hole()])
    chain.filter_chain_match.destination_port.value = given.defaults.inbound_port
    return chain


def _catch_all(given: InboundInput) -> list[Any]:
    """Ports that no service lists: forwarded to where they were going."""
    name = naming.INBOUND_PASSTHROUGH_CLUSTER
    options = filters.HttpOptions(
        direction="inbound", stat_prefix=f"{name};", defaults=given.defaults, proxy=given.proxy
    )
    http = filters.http_connection_manager(options, passthrough_route(given.defaults.inbound_retry))
    tcp = filters.to_cluster(name, given.defaults, given.proxy)
    chains = []
    for shape in sorted(_shapes(Protocol.AUTO, given.proxy), key=lambda s: not s.http):
        chain = _chain(CATCHALL_HTTP if shape.http else naming.VIRTUAL_INBOUND, shape, given)
        chain.filters.append(http if shape.http else tcp)
        chains.append(chain)
    return chains


# Chains of one port


def _put_ports(listener: Any, given: InboundInput, ports: Iterable[InboundPort]) -> tuple[Origin, ...]:
    origins = []
    for port in ports:
        for chain in _port_chains(given, port):
            chain.filter_chain_match.destination_port.value = port.number
            if port.origin is not None:
                path = f"filter_chains[{len(listener.filter_chains)}]"
                origins.append(Origin(path, port.origin.ref, port.origin.field))
            listener.filter_chains.append(chain)
    return tuple(origins)


def _port_chains(given: InboundInput, port: InboundPort) -> list[Any]:
    http, tcp = None, None
    chains = []
    for shape in _shapes(port.protocol, given.proxy):
        chain = _chain(naming.listener(port.bind, port.number), shape, given)
        if shape.http:
            http = http or [_http(given, port)]
        else:
            tcp = tcp or _tcp(given, port)
        chain.filters.extend((http if shape.http else tcp) or ())
        if port.config:
            chain.metadata.filter_metadata["istio"].fields["config"].string_value = port.config
        chains.append(chain)
    return chains


def _chain(name: str, shape: _Shape, given: InboundInput) -> Any:
    chain = protos.FilterChain(name=name)
    chain.filter_chain_match.transport_protocol = shape.transport
    chain.filter_chain_match.application_protocols.extend(shape.alpn)
    if shape.ends_tls:
        alpn = SERVE_HTTP if shape.http else SERVE_TCP
        chain.transport_socket.CopyFrom(tls.downstream_mesh(alpn, given.defaults.cluster))
    return chain


def _http(given: InboundInput, port: InboundPort) -> Any:
    options = filters.HttpOptions(
        direction="inbound",
        stat_prefix=f"inbound_{naming.listener(port.bind, port.number)};",
        defaults=given.defaults,
        proxy=given.proxy,
    )
    return filters.http_connection_manager(options, route_of(port, given.defaults.inbound_retry))


def _tcp(given: InboundInput, port: InboundPort) -> list[Any]:
    cluster = naming.inbound_cluster(port.number)
    service = port.services[0] if port.services else None
    prefix = stat_name(given.defaults.cluster.inbound_stat_name, cluster, service, port.port)
    ahead = [filters.mongo_proxy(cluster)] if port.protocol is Protocol.MONGO else []
    options = filters.TcpOptions(
        stat_prefix=prefix,
        clusters=((cluster, 0),),
        idle_timeout=given.proxy.idle_timeout,
        access_log=given.defaults.access_log,
    )
    return [*ahead, filters.tcp_proxy(options)]


def _bound(given: InboundInput, port: InboundPort) -> Resource:
    """A listener of its own: it serves one port, so its fields may follow from that port."""
    listener = _bare(naming.listener(port.bind, port.number), port.bind, port.number)
    listener.access_log.extend(accesslog.listener_logs(given.defaults.access_log))
    listener.filter_chains.extend(_port_chains(given, port))
    if given.proxy.mtls or not port.protocol.is_tcp:
        listener.listener_filters_timeout.CopyFrom(protos.duration(given.defaults.detection_timeout))
    if given.proxy.mtls:
        inspector = protos.TlsInspector(initial_read_buffer_size=protos.u32(_READ_AT_FIRST))
        listener.listener_filters.append(_listener_filter("tls_inspector", inspector))
    if port.protocol is Protocol.AUTO:
        listener.listener_filters.append(_listener_filter("http_inspector", protos.HttpInspector()))
    origins = (port.origin,) if port.origin else ()
    return resource(listener.name, LISTENER, listener, origins, _decisions(port))


def _decisions(port: InboundPort) -> tuple[Decision, ...]:
    return (port.decision,) if port.decision else ()
