"""Outbound clusters: one for each service port and subset."""

from functools import lru_cache
from typing import Any

import msgspec

from tidegate.api.networking import ClientTLSSettingsMode as Mode
from tidegate.api.networking import DestinationRule, ProxyProtocolVersion
from tidegate.api.objects import Object
from tidegate.envoy import balancing, endpoints, forward_proxy, locality, pool, protos, sessions, tls
from tidegate.envoy.inputs import ClusterDefaults, ClusterInput
from tidegate.envoy.policy import Policy, effective, seeded, subset_decisions
from tidegate.envoy.resource import CLUSTER, Decision, Origin, Resource, resource
from tidegate.envoy.stat_names import alt_stat_name
from tidegate.kit.durations import MILLISECOND, Duration
from tidegate.registry.model import Protocol, Registry, Resolution, Service
from tidegate.scope.proxy import ProxyKind

Type = protos.Cluster.DiscoveryType
_EDS, _ORIGINAL_DST = Type.EDS, Type.ORIGINAL_DST
DNS_JITTER = Duration(100 * MILLISECOND)
"""Spreads the refreshes of many clusters."""

_RESOLVER = protos.extension(
    "envoy.network.dns_resolver.cares",
    # a fresh socket after so many queries: resolvers behind UDP load balancers otherwise always meet the same server
    protos.CaresDnsResolverConfig(udp_max_queries=protos.u32(100)),
)
_DYNAMIC_PROTOCOLS = frozenset({Protocol.HTTP, Protocol.HTTP2, Protocol.GRPC, Protocol.TLS})
_KEPT = (1, 3, 0, 5)
"""Endpoints that a session may still lead to, as envoy.config.core.v3.HealthStatus: HEALTHY, DRAINING, UNKNOWN,
DEGRADED."""
_BLOCK_PATHS = {
    "load_balancer": ("lb_policy",),
    "connection_pool": ("circuit_breakers", "connect_timeout", "upstream_connection_options"),
    "outlier_detection": ("outlier_detection",),
    "tls": ("transport_socket",),
    "proxy_protocol": ("transport_socket",),
    "retry_budget": ("circuit_breakers.thresholds[0].retry_budget",),
}
"""Where the blocks of a traffic policy end up in a cluster."""


class _Parts(msgspec.Struct, frozen=True):
    """What all steps of one build share."""

    given: ClusterInput
    name: str
    policy: Policy


def build(given: ClusterInput) -> Resource | None:
    """The cluster of a service port or subset.

    None where Istio sends none either: names of other services, DNS services without endpoints, dynamic DNS on ports
    that name no host.
    """
    parts = _parts(given)
    if given.service.resolution is Resolution.ALIAS:
        return None
    if _is_dynamic(given):
        return _dynamic(parts)
    cluster = protos.Cluster(name=parts.name)
    origins = _discovery(parts, cluster)
    if origins is None:
        return None
    refused = _settings(parts, cluster)
    return resource(parts.name, CLUSTER, cluster, _origins(parts) + origins, _decisions(parts) + refused)


def _parts(given: ClusterInput) -> _Parts:
    return _Parts(
        given=given,
        name=endpoints.cluster_name(given),
        policy=seeded(effective(given.rule, given.port.number, given.subset), given.defaults),
    )


def _is_dynamic(given: ClusterInput) -> bool:
    return given.service.resolution is Resolution.DYNAMIC_DNS


# Where endpoints come from


def _discovery(parts: _Parts, cluster: Any) -> tuple[Origin, ...] | None:
    """Set the cluster's type; returns the origins of endpoints it carries, None when there is nothing to send."""
    resolution = parts.given.service.resolution
    if resolution is Resolution.PASSTHROUGH or balancing.is_passthrough(parts.policy.load_balancer):
        _original_destination(parts, cluster)
        return ()
    if resolution is Resolution.CLIENT_SIDE:
        cluster.type = _EDS
        cluster.eds_cluster_config.service_name = parts.name
        return ()
    return _resolved(parts, cluster)


def _original_destination(parts: _Parts, cluster: Any) -> None:
    cluster.type, cluster.lb_policy = _ORIGINAL_DST, balancing.LB.Value("CLUSTER_PROVIDED")
    port, service = parts.given.port, parts.given.service
    passes = service.registry is Registry.EXTERNAL and service.resolution is Resolution.PASSTHROUGH
    if passes and port.target_port not in (0, port.number):
        cluster.original_dst_lb_config.upstream_port_override.value = port.target_port


def _resolved(parts: _Parts, cluster: Any) -> tuple[Origin, ...] | None:
    given = parts.given
    logical = given.service.resolution is Resolution.DNS_ROUND_ROBIN or given.service.connect_race
    cluster.type = Type.LOGICAL_DNS if logical else Type.STRICT_DNS
    found = endpoints.inline(_one_endpoint(parts) if logical else given, parts.policy, parts.name)
    if found is None:
        return None
    cluster.load_assignment.CopyFrom(found[0])
    cluster.dns_refresh_rate.CopyFrom(protos.duration(given.defaults.dns_refresh_rate))
    cluster.dns_jitter.CopyFrom(protos.duration(DNS_JITTER))
    cluster.respect_dns_ttl = True
    cluster.dns_lookup_family = _lookup_family(given.service, given.proxy)
    cluster.typed_dns_resolver_config.CopyFrom(_RESOLVER)
    return found[1]


def _one_endpoint(parts: _Parts) -> ClusterInput:
    """LOGICAL_DNS takes one name only: the first that the policy leaves."""
    chosen = endpoints.select(parts.given, parts.policy)
    return msgspec.structs.replace(parts.given, endpoints=tuple(chosen[:1]))


def _lookup_family(service: Service, proxy: ProxyKind) -> int:
    if service.connect_race:
        return int(protos.Cluster.DnsLookupFamily.Value("ALL"))
    return forward_proxy.lookup_family(proxy)


def _dynamic(parts: _Parts) -> Resource | None:
    """A host resolved at request time: the cluster's members are whatever names requests ask for."""
    given = parts.given
    if given.subset or given.port.protocol not in _DYNAMIC_PROTOCOLS:
        return None
    cluster = protos.Cluster(name=parts.name)
    tcp = pool.tcp_of(parts.policy.connection_pool)
    timeout = tcp.connect_timeout if tcp.connect_timeout is not None else given.defaults.connect_timeout
    cluster.connect_timeout.CopyFrom(protos.duration(timeout))
    pool.put_keepalive(cluster, given.defaults.tcp_keepalive, tcp.tcp_keepalive)
    cluster.alt_stat_name = _stat_name(parts)
    cluster.circuit_breakers.CopyFrom(pool.circuit_breakers(parts.policy.connection_pool, parts.policy.retry_budget))
    istio = cluster.metadata.filter_metadata["istio"].fields
    if given.service.external:
        istio["external"].bool_value = True
    if given.rule is not None:
        istio["config"].string_value = config_path(given.rule)
    forward_proxy.put_cluster(cluster, given.service.host, given.proxy)
    refused = _security(parts, cluster)
    return resource(parts.name, CLUSTER, cluster, _origins(parts), _decisions(parts) + refused)


# How they are used


def _settings(parts: _Parts, cluster: Any) -> tuple[Decision, ...]:
    given = parts.given
    at = (given.port.number, given.subset) if given.rule is not None else (0, "")
    cluster.MergeFrom(_alike(given.rule, at, cluster.type, given.service.traffic_distribution, given.defaults))
    cluster.alt_stat_name = _stat_name(parts)
    _put_metadata(parts, cluster)
    if sessions.asked(given.service) and not given.subset and not given.sni_dnat:
        cluster.common_lb_config.override_host_status.statuses.extend(_KEPT)
    return _security(parts, cluster)


@lru_cache(maxsize=1024)
def _alike(
    rule: Object[DestinationRule] | None,
    at: tuple[int, str],
    discovery: int,
    distribution: str,
    defaults: ClusterDefaults,
) -> Any:
    """What the clusters of one policy have in common; most have no rule, and writing this takes longer than all that
    is their own. ``at``: port and subset, which select within a rule. Never change what is returned."""
    policy = seeded(effective(rule, *at), defaults)
    tcp = pool.tcp_of(policy.connection_pool)
    timeout = tcp.connect_timeout if tcp.connect_timeout is not None else defaults.connect_timeout
    cluster = protos.Cluster(
        connect_timeout=protos.duration(timeout),
        circuit_breakers=pool.circuit_breakers(policy.connection_pool, policy.retry_budget),
    )
    pool.put_keepalive(cluster, defaults.tcp_keepalive, tcp.tcp_keepalive)
    balancing.put_outlier_detection(cluster, policy.outlier_detection, told_health=bool(distribution))
    if discovery == _EDS:
        cluster.eds_cluster_config.eds_config.CopyFrom(protos.ads())
    if discovery != _ORIGINAL_DST:
        balancing.put_load_balancer(cluster, policy.load_balancer)
        balancing.put_localities(cluster, locality.plan(policy, distribution, defaults))
    return cluster


def _security(parts: _Parts, cluster: Any) -> tuple[Decision, ...]:
    given = parts.given
    speaker = pool.Speaker(
        detects=not given.proxy.router,
        keeps_case=given.proxy.headers.keeps_case,
        mesh_upgrade=given.defaults.h2_upgrade,
    )
    http = pool.protocol(given.port.protocol, parts.policy.connection_pool, speaker)
    original = cluster.type == _ORIGINAL_DST
    detection = parts.policy.outlier_detection
    secured = tls.PLAIN
    if not given.sni_dnat:
        secured = tls.upstream(given, parts.policy.tls, http2=http.http2, original_dst=original)
    pool.put_http_options(
        cluster,
        http,
        parts.policy.connection_pool,
        auto_sni=secured.auto_sni,
        auto_san_validation=secured.auto_san_validation,
        error_codes=detection.outlier_detection_http_error_codes if detection else (),
    )
    if secured.refused:
        return _refuse(parts, cluster)
    asked = parts.policy.tls
    if asked is not None and given.rule is not None and asked.mode in (Mode.SIMPLE, Mode.MUTUAL):
        cluster.metadata.filter_metadata["istio"].fields["alpn_override"].string_value = "false"
    if asked is not None and asked.credential_name and secured is tls.PLAIN and given.rule and not given.sni_dnat:
        return (Decision(f"cluster {parts.name}", tls.NOT_FOR_ALL, given.rule.ref),)
    if _is_dynamic(given) and not (secured.auto_sni and secured.auto_san_validation):
        forward_proxy.put_cluster(cluster, given.service.host, given.proxy, unchecked=True)
    if not given.sni_dnat:
        _sockets(parts, cluster, secured)
    return ()


def _sockets(parts: _Parts, cluster: Any, secured: tls.UpstreamTls) -> None:
    ahead = parts.policy.proxy_protocol
    version = int(ahead is not None and ahead.version is ProxyProtocolVersion.V2)
    for match in secured.matches:
        socket = cluster.transport_socket_matches.add()
        socket.CopyFrom(match)
        if ahead is not None:
            socket.transport_socket.CopyFrom(tls.with_proxy_protocol(match.transport_socket, version))
    if ahead is not None and not secured.matches:
        cluster.transport_socket.CopyFrom(tls.with_proxy_protocol(secured.socket, version))
    elif secured.socket is not None:
        cluster.transport_socket.CopyFrom(secured.socket)


def _refuse(parts: _Parts, cluster: Any) -> tuple[Decision, ...]:
    """Mutual TLS was demanded and cannot be spoken: nothing is sent, rather than in clear."""
    for field in ("eds_cluster_config", "load_assignment", "original_dst_lb_config", "typed_dns_resolver_config"):
        cluster.ClearField(field)
    for field in ("dns_refresh_rate", "dns_jitter", "respect_dns_ttl", "dns_lookup_family"):
        cluster.ClearField(field)
    if cluster.lb_policy == balancing.LB.Value("CLUSTER_PROVIDED"):
        cluster.ClearField("lb_policy")
    cluster.type = Type.STATIC
    reason = "ISTIO_MUTUAL needs a workload certificate and there is none: connections are refused"
    return (Decision(f"cluster {parts.name}", reason, parts.given.rule.ref),) if parts.given.rule else ()


def _stat_name(parts: _Parts) -> str:
    given = parts.given
    return alt_stat_name(given.defaults.outbound_stat_name, parts.name, given.service, given.port, given.subset)


def _put_metadata(parts: _Parts, cluster: Any) -> None:
    service = parts.given.service
    istio = cluster.metadata.filter_metadata["istio"].fields
    put_services(istio, (service,))
    if service.external and not parts.given.subset:  # Istio marks the whole, not its subsets
        istio["external"].bool_value = True
    if parts.given.rule is not None:
        istio["config"].string_value = config_path(parts.given.rule)
    if parts.given.subset:
        istio["subset"].string_value = parts.given.subset


def put_services(fields: Any, services: tuple[Service, ...]) -> None:
    """``services`` of cluster metadata: host, name and namespace of each; a ServiceEntry goes by its host."""
    listed = fields["services"].list_value.values
    for service in services:
        entry = listed.add().struct_value.fields
        entry["host"].string_value = service.host
        entry["name"].string_value = service.name if service.registry is Registry.KUBERNETES else service.host
        entry["namespace"].string_value = service.namespace


def config_path(item: Object[Any]) -> str:
    """Path by which Envoy metadata names an Istio object: ``…/namespaces/shop/destination-rule/orders``."""
    return ref_path(item.ref.kind, item.ref.namespace, item.ref.name)


def ref_path(kind: str, namespace: str, name: str) -> str:
    dashed = "".join(f"-{c.lower()}" if c.isupper() else c for c in kind).lstrip("-")
    return f"/apis/networking.istio.io/v1/namespaces/{namespace}/{dashed}/{name}"


# Where it all came from


def _origins(parts: _Parts) -> tuple[Origin, ...]:
    given = parts.given
    found = [Origin("", ref, "spec") for ref in given.service.sources]
    if given.rule is not None:
        for block, field in parts.policy.fields.items():
            found.extend(Origin(path, given.rule.ref, field) for path in _BLOCK_PATHS.get(block, ()))
    return tuple(found)


def _decisions(parts: _Parts) -> tuple[Decision, ...]:
    return subset_decisions(parts.given.rule, parts.given.subset, parts.name)
