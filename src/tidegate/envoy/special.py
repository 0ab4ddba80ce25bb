"""The clusters that every proxy has."""

from typing import Any

from tidegate.api.networking import ClientTLSSettingsMode as Mode
from tidegate.envoy import balancing, forward_proxy, pool, protos, tls
from tidegate.envoy.inputs import CatchAll, ClusterDefaults
from tidegate.envoy.resource import CLUSTER, Resource, resource
from tidegate.envoy.stat_names import DELIMITER
from tidegate.kit import naming
from tidegate.kit.durations import Duration
from tidegate.scope.proxy import ProxyKind

PASSTHROUGH_IDLE = Duration.of(seconds=300)
"""Connection pools to unknown destinations would pile up with Envoy's hour."""


def black_hole(defaults: ClusterDefaults) -> Resource:
    """Where connections go that must go nowhere: a cluster without endpoints."""
    cluster = protos.Cluster(
        name=naming.BLACK_HOLE_CLUSTER,
        alt_stat_name=naming.BLACK_HOLE_CLUSTER + DELIMITER,
        type=protos.Cluster.DiscoveryType.STATIC,
        connect_timeout=protos.duration(defaults.connect_timeout),
    )
    return resource(cluster.name, CLUSTER, cluster)


def passthrough(defaults: ClusterDefaults, proxy: ProxyKind) -> Resource:
    """To wherever the application was going."""
    cluster = _original_destination(naming.PASSTHROUGH_CLUSTER, defaults, proxy)
    return resource(cluster.name, CLUSTER, cluster)


def inbound_passthrough(defaults: ClusterDefaults, proxy: ProxyKind) -> Resource:
    """To the application, on ports that no service lists. Statistics count it as PassthroughCluster, as Istio's."""
    cluster = _original_destination(naming.INBOUND_PASSTHROUGH_CLUSTER, defaults, proxy)
    put_inbound_bind(cluster, proxy)
    return resource(cluster.name, CLUSTER, cluster)


def any_dynamic(defaults: ClusterDefaults, catch_all: CatchAll, proxy: ProxyKind) -> Resource:
    """To the host that a request names, as DNS resolves it then; secured as ``outboundTrafficPolicy.tls`` says."""
    name = naming.ALLOW_ANY_DYNAMIC_DNS_CLUSTER
    settings = catch_all.tls.value if catch_all.tls else None
    secured = tls.PLAIN
    if settings is not None and settings.mode in (Mode.SIMPLE, Mode.MUTUAL):
        secured = tls.originated(settings, settings.subject_alt_names, defaults, http2=False, sds=proxy.mtls)
    cluster = protos.Cluster(
        name=name,
        alt_stat_name=name + DELIMITER,
        connect_timeout=protos.duration(defaults.connect_timeout),
        circuit_breakers=pool.circuit_breakers(None),
    )
    options = protos.HttpProtocolOptions()
    options.common_http_protocol_options.idle_timeout.CopyFrom(protos.duration(PASSTHROUGH_IDLE))
    pool.put_as_downstream(options, keeps_case=proxy.headers.keeps_case)
    if secured.socket is not None:
        cluster.transport_socket.CopyFrom(secured.socket)
        options.upstream_http_protocol_options.auto_sni = secured.auto_sni
        options.upstream_http_protocol_options.auto_san_validation = secured.auto_san_validation
    cluster.typed_extension_protocol_options[pool.HTTP_OPTIONS].CopyFrom(protos.any_of(options))
    unchecked = not (secured.auto_sni and secured.auto_san_validation)
    forward_proxy.put_cluster(cluster, forward_proxy.ANY_HOST, proxy, unchecked=unchecked)
    pool.put_keepalive(cluster, defaults.tcp_keepalive, None)
    return resource(name, CLUSTER, cluster)


def _original_destination(name: str, defaults: ClusterDefaults, proxy: ProxyKind) -> Any:
    mesh = defaults.traffic_policy.value.connection_pool if defaults.traffic_policy else None
    options = protos.HttpProtocolOptions()
    options.common_http_protocol_options.idle_timeout.CopyFrom(protos.duration(PASSTHROUGH_IDLE))
    pool.put_as_downstream(options, keeps_case=proxy.headers.keeps_case)
    cluster = protos.Cluster(
        name=name,
        alt_stat_name=naming.PASSTHROUGH_CLUSTER + DELIMITER,
        type=protos.Cluster.DiscoveryType.ORIGINAL_DST,
        lb_policy=balancing.LB.Value("CLUSTER_PROVIDED"),
        connect_timeout=protos.duration(defaults.connect_timeout),
        circuit_breakers=pool.circuit_breakers(mesh),
        typed_extension_protocol_options={pool.HTTP_OPTIONS: protos.any_of(options)},
    )
    pool.put_keepalive(cluster, defaults.tcp_keepalive, None)
    return cluster


def put_inbound_bind(cluster: Any, proxy: ProxyKind) -> None:
    """The source address of connections to the application: capture rules know it and let it pass."""
    first, second = naming.INBOUND_BIND_V4, naming.INBOUND_BIND_V6
    if not proxy.ipv4:
        first = second
    source = cluster.upstream_bind_config
    source.source_address.address, source.source_address.port_value = first, 0
    if proxy.both_families:
        extra = source.extra_source_addresses.add()
        extra.address.address, extra.address.port_value = second, 0
