"""The frozen inputs of the builders. An input is all that its builder may read, and so the key of its cache.

Mesh settings come in slices, so that a change of the mesh configuration rebuilds only what reads it.
"""

from typing import Any

import msgspec

from tidegate.api.fields import Duration
from tidegate.api.mesh import (
    DefaultTrafficPolicy,
    EnvoyExternalAuthorizationGrpcProvider,
    EnvoyExternalAuthorizationHttpProvider,
    ExtensionProvider,
)
from tidegate.api.networking import (
    ClientTLSSettings,
    ConnectionPoolSettings,
    DestinationRule,
    HTTPRetry,
    LocalityLoadBalancerSetting,
    RetryBudget,
    Sidecar,
    TcpKeepalive,
    VirtualService,
    ZoneAwareLoadBalancerSetting,
)
from tidegate.api.objects import Object, Ref
from tidegate.api.security import AuthorizationPolicy, RequestAuthentication
from tidegate.api.telemetry import CustomTag
from tidegate.kit.keyed import Keyed
from tidegate.registry.model import Endpoint, Port, Service, ServiceTarget
from tidegate.registry.networks import Networks
from tidegate.scope.authentication import UNSAID, PeerModes
from tidegate.scope.proxy import ProxyKind


class Input(msgspec.Struct, frozen=True, cache_hash=True, kw_only=True, gc=False):
    """Base of inputs: immutable, hashed once."""


class ClusterDefaults(Input, frozen=True, kw_only=True):
    """What clusters and endpoints take from the mesh configuration."""

    connect_timeout: Duration
    dns_refresh_rate: Duration
    tcp_keepalive: TcpKeepalive | None = None
    h2_upgrade: bool = False
    auto_mtls: bool = True
    trust_domain: str = "cluster.local"
    trust_domain_aliases: tuple[str, ...] = ()
    """Other trust domains whose callers are accepted."""
    outbound_stat_name: str = ""
    inbound_stat_name: str = ""
    locality_lb: Keyed[LocalityLoadBalancerSetting] | None = None
    zone_aware_lb: Keyed[ZoneAwareLoadBalancerSetting] | None = None
    traffic_policy: Keyed[DefaultTrafficPolicy] | None = None
    inbound_localhost: bool = False
    """inboundTrafficPolicy LOCALHOST: inbound clusters go to 127.0.0.1."""
    tls_ciphers: tuple[str, ...] = ()
    tls_curves: tuple[str, ...] = ()
    tls_min_version: str = ""
    """tlsDefaults.minProtocolVersion: of TLS that is ended with certificates of a server's own."""
    mesh_tls_min_version: str = ""
    """meshMTLS.minProtocolVersion: of mutual TLS that inbound chains end."""
    mesh_tls_ciphers: tuple[str, ...] = ()
    """meshMTLS.cipherSuites."""


class Logger(Input, frozen=True, kw_only=True):
    """One access log that Telemetry asks for."""

    provider: Keyed[ExtensionProvider]
    host: str = ""
    """Of a provider that is a service: its host, and the cluster that leads there."""
    cluster: str = ""
    expression: str = ""
    """CEL expression that is true for what is logged; "" for all."""
    of_mesh: bool = False
    """The mesh's own format and encoding count where the provider has none."""


class Tracer(Input, frozen=True, kw_only=True):
    """What Telemetry says of spans."""

    provider: Keyed[ExtensionProvider] | None = None
    """Who gets them; None: nobody that is known."""
    host: str = ""
    """Of the provider's service, and the cluster that leads there."""
    cluster: str = ""
    reported: bool = True
    sampling: float | None = None
    """Percent; None: not said."""
    custom_tags: tuple[tuple[str, CustomTag], ...] = ()
    use_request_id: bool = True
    istio_tags: bool = True


class AccessLog(Input, frozen=True, kw_only=True):
    """path "" switches the mesh's log off. format "" is the default of the encoding."""

    path: str = ""
    format: str = ""
    json: bool = False
    listener_log: bool = True
    """Also log connections for which no filter chain was found."""
    loggers: tuple[Logger, ...] | None = None
    """In place of the mesh's log; None: Telemetry says nothing."""


class ListenerDefaults(Input, frozen=True, kw_only=True):
    """What listeners and their filters take from the mesh configuration."""

    outbound_port: int = 15001
    inbound_port: int = 15006
    detection_timeout: Duration
    access_log: AccessLog
    tracing: bool = True
    """Traces are begun and passed on."""
    tracer: Tracer | None = None
    """In place of ``tracing``; None: Telemetry says nothing."""
    path_normalization: str = "DEFAULT"
    outbound_stat_name: str = ""
    inbound_retry: HTTPRetry | None = None
    """None: Istio's default, reset-before-request twice."""
    cluster: ClusterDefaults


class RouteDefaults(Input, frozen=True, kw_only=True):
    """What routes take from the mesh configuration."""

    retry: HTTPRetry | None = None
    """None: Istio's default of two more attempts."""
    domain: str = "cluster.local"


class CatchAll(Input, frozen=True, kw_only=True):
    """What becomes of destinations that nothing else matches."""

    allow: bool
    """ALLOW_ANY, else REGISTRY_ONLY."""
    cluster: str = ""
    """Another cluster than PassthroughCluster: the Sidecar's egressProxy."""
    dynamic: bool = False
    """ALLOW_ANY_DYNAMIC_DNS: requests go to the host that they name, as DNS resolves it at that moment."""
    tls: Keyed[ClientTLSSettings] | None = None
    """How those connections are secured."""
    attempt_count: bool = True
    """Servers are told which attempt a request is."""
    forwarded_host: bool = False
    """Servers are told the host that was asked for."""


class ClusterInput(Input, frozen=True, kw_only=True):
    """One outbound cluster: a service port, or one subset of it."""

    service: Service
    port: Port
    subset: str = ""
    rule: Object[DestinationRule] | None = None
    endpoints: tuple[Endpoint, ...] = ()
    """Of this port, all labels; only where the cluster carries them inline (DNS resolutions), else empty."""
    peers: tuple[str, ...] = ()
    """The names that mutual TLS accepts: service accounts of the endpoints as SPIFFE ids, and what the service
    says of itself; sorted."""
    plain: bool = False
    """Mutual TLS is switched off in the service's namespace, or callers cannot tell endpoints apart and one of them
    takes none."""
    sni_dnat: bool = False
    """The twin that an AUTO_PASSTHROUGH server leads to: mutual TLS goes through it unopened."""
    defaults: ClusterDefaults
    proxy: ProxyKind


class EndpointsInput(Input, frozen=True, kw_only=True):
    """The load assignment of one EDS cluster."""

    service: Service
    port: Port
    subset: str = ""
    rule: Object[DestinationRule] | None = None
    endpoints: tuple[Endpoint, ...] = ()
    """Of this port, all labels."""
    sni_dnat: bool = False
    """Of a cluster through which mutual TLS goes unopened: only endpoints that speak it."""
    networks: Networks = Networks()
    """The gateways by which endpoints of other networks are reached."""
    defaults: ClusterDefaults
    proxy: ProxyKind


class PeersInput(Input, frozen=True, kw_only=True):
    """The load assignment of the cluster by which an Envoy knows what it is one of."""

    endpoints: tuple[Endpoint, ...] = ()
    """Of one port, those of the proxy's own workload and region; itself among them."""
    proxy: ProxyKind


class Target(Input, frozen=True, kw_only=True):
    """What a route needs to know of one destination host it names."""

    host: str
    """Full name, as the VirtualService writes it after resolution."""
    service: Service | None
    """None: no such service in the proxy's scope."""
    rule: Object[DestinationRule] | None = None

    @property
    def concrete(self) -> str:
        """The host whose clusters stand for it: an ExternalName Service is another name of the host that it names."""
        return self.service.external_name or self.host if self.service is not None else self.host


class VirtualHostInput(Input, frozen=True, kw_only=True):
    """One virtual host of an outbound route configuration."""

    host: str
    port: int
    """Port of the route configuration."""
    domains: tuple[str, ...]
    """After duplicates were settled; never empty."""
    service: Service | None
    """None: a host that only a VirtualService knows."""
    virtual_service: Object[VirtualService] | None = None
    targets: tuple[Target, ...] = ()
    """Every destination that the VirtualService names (routes, mirrors), and the service itself."""
    gateway: str = "mesh"
    """``namespace/name`` of the Gateway whose server it is; ``mesh`` for sidecars."""
    tls: bool = False
    """The Gateway's server has TLS: redirects without a scheme are to https."""
    defaults: RouteDefaults
    proxy: ProxyKind


class Member(Input, frozen=True, kw_only=True):
    """One service port that shares a listener's address and is not plain HTTP on it: TCP, TLS or AUTO."""

    service: Service
    port: Port
    address: str = ""
    """VIP or CIDR of the service that brought it here; "" for a service without address."""
    virtual_services: tuple[Object[VirtualService], ...] = ()
    """Those with tls or tcp routes that hold for the host, in order of precedence."""
    targets: tuple[Target, ...] = ()
    aliases: tuple[str, ...] = ()
    """ExternalName Services that stand for the service."""
    endpoint: Endpoint | None = None
    """Of a headless service: the pod whose address is the listener's."""


class ListenerInput(Input, frozen=True, kw_only=True):
    """One outbound listener: everything that shares ``bind:port``."""

    bind: str
    port: int
    http: Service | None = None
    """The oldest service with an HTTP port here; None when there is none. Its routes come by RDS."""
    http_port: Port | None = None
    members: tuple[Member, ...] = ()
    """Oldest service first: Istio's order of precedence."""
    dynamic_hosts: tuple[str, ...] = ()
    """Hosts with HTTP ports here whose names are resolved when they are asked for."""
    route_name: str = ""
    """RDS name where it is not the port (Sidecar egress on a unix socket)."""
    bind_to_port: bool = False
    catch_all: CatchAll
    defaults: ListenerDefaults
    proxy: ProxyKind


class Authorizer(Input, frozen=True, kw_only=True):
    """An extension provider of the mesh that CUSTOM policies ask."""

    name: str
    settings: Keyed[EnvoyExternalAuthorizationHttpProvider | EnvoyExternalAuthorizationGrpcProvider]
    host: str = ""
    """Full name of the service that it is."""
    problem: str = ""
    """Why it cannot be asked; "" when it can."""


class SecurityInput(Input, frozen=True, kw_only=True):
    """What holds for the connections and requests that one workload takes."""

    authorization: tuple[Object[AuthorizationPolicy], ...] = ()
    """The root namespace's first, oldest first."""
    authentication: tuple[Object[RequestAuthentication], ...] = ()
    """As ``authorization``."""
    peers: PeerModes = UNSAID
    authorizers: tuple[Authorizer, ...] = ()
    """Those that ``authorization`` names."""
    trust_domains: tuple[str, ...] = ()
    """The mesh's and its aliases, where a policy may name one."""
    key_services: tuple[tuple[str, str], ...] = ()
    """jwksUri and the outbound cluster that it is fetched by; others are fetched by a cluster of their own."""
    hosts: tuple[str, ...] = ()
    """Services that ``authorizers`` and key sets are looked for at, whether or not there are such."""


class CredentialInput(Input, frozen=True, kw_only=True):
    """One name of a certificate or of roots that a proxy may ask for, and the object that answers it."""

    name: str
    """``kubernetes://web-cert``, ``kubernetes://web-cert-cacert``, ``configmap://roots``."""
    held: Object[Any]
    """A Secret or ConfigMap."""


class InboundInput(Input, frozen=True, kw_only=True):
    """virtualInbound and the inbound clusters of one workload (equal workloads share it)."""

    targets: tuple[ServiceTarget, ...]
    """Oldest service first."""
    sidecar: Object[Sidecar] | None = None
    """The Sidecar that holds for the workload: its ingress listeners replace ``targets`` when it lists any."""
    pools: tuple[tuple[int, Keyed[ConnectionPoolSettings]], ...] = ()
    """By target port: DestinationRule connection pools that hold for the inbound cluster."""
    budgets: tuple[tuple[int, Keyed[RetryBudget]], ...] = ()
    """By target port: retry budgets of the same rules."""
    pool_rules: tuple[tuple[int, Ref], ...] = ()
    """By target port: the DestinationRule that holds for the service, also where it has no connection pool."""
    address: str = ""
    """The workload's first address; used only by Sidecar ingress listeners."""
    credentials: tuple[CredentialInput, ...] = ()
    """For TLS to other servers."""
    security: SecurityInput = SecurityInput()
    merge_ingress: bool = False
    """Ingress listeners are added to the ports of services."""
    ingress_tls: bool = False
    """TLS settings of Sidecar ingress listeners count."""
    peers: PeersInput | None = None
    """Only where the proxy asks who its peers are."""
    defaults: ListenerDefaults
    proxy: ProxyKind


__all__ = [
    "AccessLog",
    "Authorizer",
    "CatchAll",
    "ClusterDefaults",
    "ClusterInput",
    "CredentialInput",
    "EndpointsInput",
    "InboundInput",
    "Input",
    "ListenerDefaults",
    "ListenerInput",
    "Logger",
    "Member",
    "PeersInput",
    "RouteDefaults",
    "SecurityInput",
    "Target",
    "Tracer",
    "VirtualHostInput",
]
