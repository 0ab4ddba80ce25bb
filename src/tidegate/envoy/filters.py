"""Network filters: the HTTP connection manager with its HTTP filters, and the TCP proxy.

Only filters of upstream Envoy are used. What Istio's own build does in ``istio.alpn`` is done by
``set_filter_state``: it tells the upstream TLS context which application protocols to offer, by which an Istio
inbound listener knows mutual-TLS HTTP from mutual-TLS TCP.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Literal

import msgspec

from tidegate.api.fields import Duration
from tidegate.api.networking import TunnelSettings
from tidegate.envoy import accesslog, connections, forward_proxy, headers, protos, tracing
from tidegate.envoy.inputs import AccessLog, ListenerDefaults
from tidegate.envoy.sessions import FILTER
from tidegate.kit import naming
from tidegate.scope.proxy import ProxyKind, Topology

HTTP_CONNECTION_MANAGER = "envoy.filters.network.http_connection_manager"
TCP_PROXY = "envoy.filters.network.tcp_proxy"
MONGO_PROXY = "envoy.filters.network.mongo_proxy"
SERVER_NAME = "istio-envoy"

_CLUSTER = "xds.cluster_metadata.filter_metadata"
UPSTREAM_ALPN = (
    f"%CEL('istio' in {_CLUSTER} && 'alpn_override' in {_CLUSTER}['istio'] && "
    f"{_CLUSTER}['istio']['alpn_override'] == 'false' ? '' : "
    "request.protocol == 'HTTP/2' ? 'istio-h2,istio,h2' : "
    "request.protocol == 'HTTP/1.0' ? 'istio-http/1.0,istio,http/1.0' : 'istio-http/1.1,istio,http/1.1')%"
)
"""What to offer in upstream TLS, by the protocol of the request. Nothing for clusters whose TLS is not the mesh's:
they say so in their metadata, and offer what their own TLS context lists."""


class HttpOptions(msgspec.Struct, frozen=True, cache_hash=True, kw_only=True):
    """What distinguishes one HTTP connection manager from another."""

    direction: Literal["outbound", "inbound", "gateway"]
    stat_prefix: str
    route_name: str = ""
    """Route configuration that discovery provides; "" where the caller gives one inline."""
    absolute_url: bool = False
    """An HTTP proxy's listener: requests may carry whole URLs."""
    dynamic_hosts: tuple[str, ...] = ()
    """Hosts, or any, to whose clusters requests may go that resolve names when they are asked for."""
    grpc_web: bool = False
    """gRPC as browsers speak it is turned into gRPC."""
    topology: Topology = Topology()
    """Of a gateway."""
    internal: tuple[str, ...] = ()
    """Networks, smallest address first, whose callers a gateway takes for the mesh's own."""
    defaults: ListenerDefaults
    proxy: ProxyKind


class TcpOptions(msgspec.Struct, frozen=True, cache_hash=True, kw_only=True):
    """One TCP proxy."""

    stat_prefix: str
    clusters: tuple[tuple[str, int], ...]
    """(cluster, weight); of a single cluster the weight does not matter. Never empty."""
    weighted: bool = False
    """Also a single cluster stands in a list."""
    idle_timeout: Duration | None = None
    """None: Envoy's default of one hour."""
    max_connection_duration: Duration | None = None
    hash_source_ip: bool = False
    tunnel: TunnelSettings | None = None
    access_log: AccessLog = AccessLog()


def http_connection_manager(options: HttpOptions, route_config: Any = None, enforced: Sequence[Any] = ()) -> Any:
    """The network filter (Filter message); ``route_config`` (RouteConfiguration) inline instead of by discovery.

    ``enforced``: HTTP filters of security policies (:mod:`tidegate.envoy.security`), which stand before the others.
    """
    ahead = [*enforced, *([_http_filter("envoy.filters.http.grpc_web", protos.GrpcWeb())] if options.grpc_web else ())]
    manager = protos.HttpConnectionManager(http_filters=ahead)
    manager.MergeFrom(_template(options.direction, options.absolute_url, options.defaults, options.proxy))
    manager.stat_prefix = options.stat_prefix
    if options.dynamic_hosts:
        router = manager.http_filters.pop()
        manager.http_filters.extend(forward_proxy.http_filter(host, options.proxy) for host in options.dynamic_hosts)
        manager.http_filters.append(router)
    if options.direction == "gateway":
        _face_the_outside(manager, options.topology)
        for network in options.internal:
            manager.internal_address_config.cidr_ranges.append(protos.cidr(network))
    headers.put(manager, options.proxy.headers, options.direction)
    if route_config is not None:
        manager.route_config.CopyFrom(route_config)
    else:
        manager.rds.config_source.CopyFrom(protos.ads())
        manager.rds.route_config_name = options.route_name
    return protos.Filter(name=HTTP_CONNECTION_MANAGER, typed_config=protos.any_of(manager))


@lru_cache(maxsize=256)
def _template(direction: str, absolute_url: bool, defaults: ListenerDefaults, proxy: ProxyKind) -> Any:
    """Everything that the connection managers of one direction have in common."""
    manager = protos.HttpConnectionManager(
        http_filters=http_filters(direction, proxy.mtls, proxy.sessions),
        stream_idle_timeout=protos.PbDuration(),
        use_remote_address=protos.boolean(False),
        proxy_100_continue=True,
        upgrade_configs=[protos.HttpConnectionManager.UpgradeConfig(upgrade_type="websocket")],
        request_id_extension=protos.RequestIDExtension(typed_config=_uuid_request_id()),
        access_log=accesslog.filter_logs(defaults.access_log),
    )
    _normalize_paths(manager, defaults.path_normalization)
    if proxy.idle_timeout is not None:
        manager.common_http_protocol_options.idle_timeout.CopyFrom(protos.duration(proxy.idle_timeout))
    if proxy.http10 or absolute_url:
        manager.http_protocol_options.accept_http_10 = proxy.http10
    if absolute_url:
        manager.http_protocol_options.allow_absolute_url.value = True
    if proxy.headers.keeps_case:
        manager.http_protocol_options.header_key_format.CopyFrom(protos.case_kept())
    connections.put(manager, proxy.connections)
    if direction == "inbound":
        _identify_clients(manager)
    if defaults.tracer is not None:
        tracing.put(manager, defaults.tracer, proxy)
    elif defaults.tracing:
        tracing.put_default(manager, proxy)
    return manager


def _uuid_request_id() -> Any:
    return protos.any_of(protos.UuidRequestIdConfig(use_request_id_for_trace_sampling=protos.boolean(True)))


def _normalize_paths(manager: Any, mode: str) -> None:
    """MeshConfig.pathNormalization. DEFAULT is BASE."""
    manager.normalize_path.value = mode != "NONE"
    manager.merge_slashes = mode in ("MERGE_SLASHES", "DECODE_AND_MERGE_SLASHES")
    actions = protos.HttpConnectionManager.PathWithEscapedSlashesAction
    decode = mode == "DECODE_AND_MERGE_SLASHES"
    manager.path_with_escaped_slashes_action = actions.Value("UNESCAPE_AND_FORWARD" if decode else "KEEP_UNCHANGED")


def _identify_clients(manager: Any) -> None:
    manager.server_name = SERVER_NAME
    manager.forward_client_cert_details = protos.HttpConnectionManager.APPEND_FORWARD
    details = manager.set_current_client_cert_details
    details.subject.value, details.uri, details.dns = True, True, True


def _face_the_outside(manager: Any, topology: Topology) -> None:
    """A gateway's clients are not of the mesh: their addresses and certificates are taken from the connection, but
    for what trusted proxies before it tell."""
    manager.use_remote_address.value = True
    manager.server_name = SERVER_NAME
    manager.http_protocol_options.SetInParent()
    manager.xff_num_trusted_hops = topology.trusted_proxies
    how = topology.client_cert or "SANITIZE_SET"
    manager.forward_client_cert_details = protos.HttpConnectionManager.ForwardClientCertDetails.Value(how)
    if how in ("SANITIZE_SET", "APPEND_FORWARD"):
        details = manager.set_current_client_cert_details
        details.subject.value, details.cert, details.dns, details.uri = True, True, True, True


@lru_cache(maxsize=8)
def http_filters(direction: str, mtls: bool, sessions: bool = False) -> tuple[Any, ...]:
    """HTTP filters in order; the router is last. Never change them."""
    found = [_http_filter("envoy.filters.http.grpc_stats", _grpc_stats())]
    if direction != "inbound" and mtls:
        found.append(offered_protocols_filter())
    found.append(_http_filter("envoy.filters.http.fault", protos.HTTPFault()))
    found.append(_http_filter("envoy.filters.http.cors", protos.Cors()))
    if direction != "inbound" and sessions:
        found.append(_http_filter(FILTER, protos.StatefulSession()))
    found.append(_http_filter("envoy.filters.http.router", protos.Router()))
    return tuple(found)


def offered_protocols_filter() -> Any:
    """Has upstream TLS offer application protocols by the request's own protocol, as Istio's peers expect."""
    return _http_filter("envoy.filters.http.set_filter_state", _offered_protocols())


def _http_filter(name: str, config: Any) -> Any:
    return protos.HttpFilter(name=name, typed_config=protos.any_of(config))


def _grpc_stats() -> Any:
    return protos.GrpcStats(emit_filter_state=True, stats_for_all_methods=protos.boolean(False))


def _offered_protocols() -> Any:
    config = protos.HttpSetFilterState()
    value = config.on_request_headers.add(object_key="envoy.network.application_protocols", skip_if_empty=True)
    value.format_string.text_format_source.inline_string = UPSTREAM_ALPN
    value.format_string.formatters.append(protos.extension("envoy.formatter.cel", protos.CelFormatter()))
    return config


def tcp_proxy(options: TcpOptions) -> Any:
    """The network filter (Filter message) that carries bytes to a cluster, or to several by weight."""
    proxy = protos.TcpProxy(stat_prefix=options.stat_prefix, access_log=accesslog.filter_logs(options.access_log))
    if len(options.clusters) == 1 and not options.weighted:
        proxy.cluster = options.clusters[0][0]
    else:
        for name, weight in options.clusters:
            proxy.weighted_clusters.clusters.add(name=name, weight=weight)
    if options.idle_timeout is not None:
        proxy.idle_timeout.CopyFrom(protos.duration(options.idle_timeout))
    if options.max_connection_duration is not None:
        proxy.max_downstream_connection_duration.CopyFrom(protos.duration(options.max_connection_duration))
    if options.hash_source_ip:
        proxy.hash_policy.add().source_ip.SetInParent()
    if options.tunnel is not None:
        tunnel = options.tunnel
        proxy.tunneling_config.hostname = f"{tunnel.target_host}:{tunnel.target_port}"
        proxy.tunneling_config.use_post = tunnel.protocol.upper() == "POST"
    return protos.Filter(name=TCP_PROXY, typed_config=protos.any_of(proxy))


def mongo_proxy(stat_prefix: str) -> Any:
    """Statistics of the Mongo protocol; stands before the TCP proxy."""
    return protos.Filter(name=MONGO_PROXY, typed_config=protos.any_of(protos.MongoProxy(stat_prefix=stat_prefix)))


def to_cluster(cluster: str, defaults: ListenerDefaults, proxy: ProxyKind) -> Any:
    """The TCP proxy to one of the special clusters, whose name is its stat prefix."""
    options = TcpOptions(
        stat_prefix=cluster,
        clusters=((cluster, 0),),
        idle_timeout=proxy.idle_timeout,
        access_log=defaults.access_log,
    )
    return tcp_proxy(options)


def black_hole() -> Any:
    """The TCP proxy of chains that only stop loops: no timeout, no log."""
    return tcp_proxy(TcpOptions(stat_prefix=naming.BLACK_HOLE_CLUSTER, clusters=((naming.BLACK_HOLE_CLUSTER, 0),)))
