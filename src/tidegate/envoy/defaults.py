"""The mesh configuration cut into the slices that the builders take."""

import hashlib
from typing import TypeVar

import msgspec

from tidegate.api.fields import Duration, encode_hook
from tidegate.api.mesh import (
    AccessLogEncoding,
    InboundTrafficPolicyMode,
    MeshConfig,
    MeshConfigH2UpgradePolicy,
    MeshConfigOutboundTrafficPolicy,
    MeshConfigOutboundTrafficPolicyMode,
    Normalization,
)
from tidegate.api.networking import OutboundTrafficPolicyMode, Sidecar
from tidegate.api.objects import Object
from tidegate.envoy.inputs import AccessLog, CatchAll, ClusterDefaults, ListenerDefaults, RouteDefaults
from tidegate.kit import naming
from tidegate.kit.hosts import resolve_short
from tidegate.kit.keyed import Keyed
from tidegate.scope.proxy import HeaderSettings

T = TypeVar("T")

DEFAULT_CONNECT_TIMEOUT = Duration.of(seconds=10)
DEFAULT_DNS_REFRESH_RATE = Duration.of(seconds=60)


class Slices(msgspec.Struct, frozen=True):
    """All that the builders take from one mesh configuration."""

    cluster: ClusterDefaults
    listener: ListenerDefaults
    route: RouteDefaults
    catch_all: CatchAll
    http_proxy_port: int = 0
    """Of the local HTTP proxy; 0 for none."""


def keyed(value: T) -> Keyed[T]:
    """Give a message that may hold maps an identity by its content."""
    text = msgspec.json.encode(value, enc_hook=encode_hook, order="deterministic")
    return Keyed(value, hashlib.blake2b(text, digest_size=16).digest())


def _maybe(value: T | None) -> Keyed[T] | None:
    return None if value is None else keyed(value)


def slices(mesh: MeshConfig, domain: str) -> Slices:
    """Cut a mesh configuration, whose defaults are filled in, into slices."""
    cluster = _cluster(mesh)
    return Slices(
        cluster=cluster,
        listener=_listener(mesh, cluster),
        route=RouteDefaults(retry=mesh.default_http_retry_policy, domain=domain),
        catch_all=_catch_all(mesh.outbound_traffic_policy),
        http_proxy_port=mesh.proxy_http_port,
    )


def _catch_all(policy: MeshConfigOutboundTrafficPolicy | None) -> CatchAll:
    modes = MeshConfigOutboundTrafficPolicyMode
    mode = policy.mode if policy is not None else modes.ALLOW_ANY
    dynamic = mode is modes.ALLOW_ANY_DYNAMIC_DNS
    secured = policy.tls if policy is not None and dynamic else None
    return CatchAll(allow=mode is not modes.REGISTRY_ONLY, dynamic=dynamic, tls=_maybe(secured))


def _cluster(mesh: MeshConfig) -> ClusterDefaults:
    inbound = mesh.inbound_traffic_policy
    return ClusterDefaults(
        connect_timeout=mesh.connect_timeout or DEFAULT_CONNECT_TIMEOUT,
        dns_refresh_rate=mesh.dns_refresh_rate or DEFAULT_DNS_REFRESH_RATE,
        tcp_keepalive=mesh.tcp_keepalive,
        h2_upgrade=mesh.h2_upgrade_policy is MeshConfigH2UpgradePolicy.UPGRADE,
        auto_mtls=mesh.enable_auto_mtls is not False,
        trust_domain=mesh.trust_domain or "cluster.local",
        trust_domain_aliases=mesh.trust_domain_aliases,
        outbound_stat_name=mesh.outbound_cluster_stat_name,
        inbound_stat_name=mesh.inbound_cluster_stat_name,
        locality_lb=_maybe(mesh.locality_lb_setting),
        zone_aware_lb=_maybe(mesh.zone_aware_lb_setting),
        traffic_policy=_maybe(mesh.default_traffic_policy),
        inbound_localhost=inbound is not None and inbound.mode is InboundTrafficPolicyMode.LOCALHOST,
        tls_ciphers=mesh.tls_defaults.cipher_suites if mesh.tls_defaults else (),
        tls_curves=mesh.tls_defaults.ecdh_curves if mesh.tls_defaults else (),
        tls_min_version=mesh.tls_defaults.min_protocol_version.value if mesh.tls_defaults else "",
        mesh_tls_min_version=mesh.mesh_mtls.min_protocol_version.value if mesh.mesh_mtls else "",
        mesh_tls_ciphers=mesh.mesh_mtls.cipher_suites if mesh.mesh_mtls else (),
    )


def _listener(mesh: MeshConfig, cluster: ClusterDefaults) -> ListenerDefaults:
    normalization = mesh.path_normalization
    return ListenerDefaults(
        outbound_port=mesh.proxy_listen_port or 15001,
        inbound_port=mesh.proxy_inbound_listen_port or 15006,
        detection_timeout=mesh.protocol_detection_timeout or Duration(0),
        access_log=AccessLog(
            path=mesh.access_log_file,
            format=mesh.access_log_format,
            json=mesh.access_log_encoding is AccessLogEncoding.JSON,
            listener_log=not mesh.disable_envoy_listener_log,
        ),
        tracing=mesh.enable_tracing,
        path_normalization=(normalization.normalization if normalization else Normalization.DEFAULT).value,
        outbound_stat_name=mesh.outbound_cluster_stat_name,
        inbound_retry=mesh.default_inbound_http_retry_policy,
        cluster=cluster,
    )


def for_headers(whole: Slices, headers: HeaderSettings) -> Slices:
    """The slices with what a proxy is to tell servers of requests that nothing else matches."""
    if headers.attempt_count and not headers.forwarded_host:
        return whole
    told = msgspec.structs.replace(
        whole.catch_all, attempt_count=headers.attempt_count, forwarded_host=headers.forwarded_host
    )
    return msgspec.structs.replace(whole, catch_all=told)


def for_sidecar(whole: Slices, sidecar: Object[Sidecar] | None, namespace: str, domain: str) -> Slices:
    """The slices as a Sidecar's outboundTrafficPolicy changes them; the mesh's own where it has none."""
    policy = sidecar.spec.outbound_traffic_policy if sidecar else None
    if policy is None:
        return whole
    proxy, cluster = policy.egress_proxy, ""
    if proxy:
        host = resolve_short(proxy.host, namespace, domain)
        cluster = naming.outbound_cluster(proxy.port.number if proxy.port else 0, proxy.subset, host)
    catch_all = CatchAll(allow=policy.mode is not OutboundTrafficPolicyMode.REGISTRY_ONLY, cluster=cluster)
    return msgspec.structs.replace(whole, catch_all=catch_all)
