"""The service model: what the rest of the core knows of Services, ServiceEntries and their endpoints.

Everything here is a frozen, hashable value, so that any of it may be part of a builder's input.
"""

import enum
from typing import Any

import msgspec

from tidegate.api.objects import Ref

Labels = tuple[tuple[str, str], ...]
"""Labels as sorted pairs: hashable, comparable, cheap to share."""


def labels_of(mapping: dict[str, str]) -> Labels:
    return tuple(sorted(mapping.items()))


class Protocol(enum.StrEnum):
    """Istio's protocol words. AUTO means "find out by looking at the first bytes"."""

    HTTP = "HTTP"
    HTTP2 = "HTTP2"
    GRPC = "GRPC"
    GRPC_WEB = "GRPC-Web"
    HTTP_PROXY = "HTTP_PROXY"
    TCP = "TCP"
    TLS = "TLS"
    HTTPS = "HTTPS"
    MONGO = "Mongo"
    REDIS = "Redis"
    MYSQL = "MySQL"
    UDP = "UDP"
    AUTO = ""

    @property
    def is_http(self) -> bool:
        return self in _HTTP

    @property
    def is_http2(self) -> bool:
        return self in _HTTP2

    @property
    def is_tls(self) -> bool:
        return self in (Protocol.TLS, Protocol.HTTPS)

    @property
    def is_tcp(self) -> bool:
        """Opaque to HTTP: TCP, TLS, HTTPS, Mongo, Redis, MySQL."""
        return self in _TCP


_HTTP = frozenset({Protocol.HTTP, Protocol.HTTP2, Protocol.GRPC, Protocol.GRPC_WEB, Protocol.HTTP_PROXY})
_HTTP2 = frozenset({Protocol.HTTP2, Protocol.GRPC, Protocol.GRPC_WEB})
_TCP = frozenset({Protocol.TCP, Protocol.TLS, Protocol.HTTPS, Protocol.MONGO, Protocol.REDIS, Protocol.MYSQL})


class Resolution(enum.StrEnum):
    """How the endpoints of a service are found."""

    CLIENT_SIDE = "ClientSideLB"
    """Endpoints are pushed (EDS)."""
    PASSTHROUGH = "Passthrough"
    """The caller's own destination address is used (ORIGINAL_DST)."""
    DNS = "DNSLB"
    """Every address that DNS returns is an endpoint (STRICT_DNS)."""
    DNS_ROUND_ROBIN = "DNSRoundRobinLB"
    """One address that DNS returns, for new connections (LOGICAL_DNS)."""
    DYNAMIC_DNS = "DynamicDNS"
    """The name that the caller asked for is resolved at request time (dynamic forward proxy)."""
    ALIAS = "Alias"
    """An ExternalName Service: another name of ``external_name``."""


class Registry(enum.StrEnum):
    KUBERNETES = "Kubernetes"
    EXTERNAL = "External"


class Port(msgspec.Struct, frozen=True, cache_hash=True, gc=False):
    """A service port. ``target_port`` is 0 where the endpoints alone know it."""

    number: int
    name: str
    protocol: Protocol
    target_port: int = 0


class ServiceKey(msgspec.Struct, frozen=True, order=True, cache_hash=True, gc=False):
    """One host name as one namespace defines it."""

    namespace: str
    host: str


UNSPECIFIED = "0.0.0.0"  # noqa: S104 -- the "no address" mark of Istio's model, never bound


class Part(msgspec.Struct, frozen=True, cache_hash=True, gc=False):
    """Port numbers of one of the ServiceEntries that share a host, and the addresses where they are served."""

    ports: tuple[int, ...]
    addresses: tuple[str, ...] = ()
    auto_addresses: tuple[str, ...] = ()


class Service(msgspec.Struct, frozen=True, cache_hash=True, gc=False):
    """A host name with its ports: one Kubernetes Service, or one host of a ServiceEntry (or of several that merge).

    addresses: VIPs and CIDRs in the order of the object, empty when the host has none ("no address" mark
    omitted); auto_addresses: allocated ones (status.addresses), used only by proxies that capture DNS.
    """

    key: ServiceKey
    registry: Registry
    resolution: Resolution
    ports: tuple[Port, ...]
    addresses: tuple[str, ...] = ()
    auto_addresses: tuple[str, ...] = ()
    name: str = ""
    """metadata.name of the Service or ServiceEntry; of a ServiceEntry the host stands for it in cluster metadata."""
    created: str = ""
    labels: Labels = ()
    """metadata.labels of the object."""
    selector: Labels = ()
    """Which workloads belong to it; empty for none."""
    export_to: frozenset[str] | None = None
    """As written (".", "*", "~", names); None: the mesh default applies."""
    external: bool = False
    """MESH_EXTERNAL, and ExternalName."""
    external_name: str = ""
    publish_not_ready: bool = False
    node_local: bool = False
    """internalTrafficPolicy: Local."""
    traffic_distribution: str = ""
    subject_alt_names: tuple[str, ...] = ()
    sources: tuple[Ref, ...] = ()
    """The objects that this host was made from, oldest first; decisions name them."""
    parts: tuple[Part, ...] = ()
    """Of ServiceEntries that share the host and differ in addresses; () where every address serves every port."""
    export_capped: bool = False
    """The mesh's serviceEntryVisibility made ``export_to`` narrower than the object says."""
    connect_race: bool = False
    """istio.io/connect-strategy: RACE_FIRST_TCP_CONNECT."""

    @property
    def host(self) -> str:
        return self.key.host

    @property
    def namespace(self) -> str:
        return self.key.namespace

    @property
    def headless(self) -> bool:
        return self.registry is Registry.KUBERNETES and self.resolution is Resolution.PASSTHROUGH

    @property
    def age_key(self) -> tuple[str, str]:
        """Sort key "oldest first", equal ages by ``name.namespace``; a ServiceEntry's host stands for its name."""
        name = self.name if self.registry is Registry.KUBERNETES else self.host
        return (self.created, f"{name}.{self.namespace}")

    def port(self, number: int) -> Port | None:
        return next((p for p in self.ports if p.number == number), None)

    def parts_of(self, number: int = 0) -> tuple[Part, ...]:
        """Where a port is served; 0 for all ports."""
        whole = (Part((), self.addresses, self.auto_addresses),)
        return tuple(p for p in self.parts if not number or number in p.ports) if self.parts else whole


class Health(enum.StrEnum):
    HEALTHY = "HEALTHY"
    UNHEALTHY = "UNHEALTHY"
    DRAINING = "DRAINING"


class Endpoint(msgspec.Struct, frozen=True, cache_hash=True, gc=False):
    """One address that serves one port of a service."""

    address: str
    """IP, host name (DNS resolutions only) or ``unix:///path``."""
    port: int
    """0 for a unix socket."""
    port_name: str
    """The service port that it serves, by name."""
    service_port: int = 0
    """Its number, where ServiceEntries of one host that DNS resolves may give several ports one name; else 0."""
    labels: Labels = ()
    locality: str = ""
    """region/zone/subzone, empty when unknown."""
    network: str = ""
    weight: int = 0
    """0: unset, counts as 1."""
    service_account: str = ""
    health: Health = Health.HEALTHY
    tls_mode: str = "disabled"
    """"istio" when the workload takes mutual TLS."""
    workload_name: str = ""
    workload_namespace: str = ""
    node_name: str = ""
    hostname: str = ""
    """Pod hostname, and subdomain: names of a headless Service's pods."""
    subdomain: str = ""
    source: Ref | None = None
    """Pod, WorkloadEntry or ServiceEntry that it comes from."""
    source_path: str = ""
    """Field within ``source``: ``spec.endpoints[1]``."""


class Workload(msgspec.Struct, frozen=True):
    """Something with an address that may run a sidecar: a Pod, or a WorkloadEntry."""

    ref: Ref
    addresses: tuple[str, ...]
    labels: Labels
    service_account: str = ""
    node_name: str = ""
    locality: str = ""
    network: str = ""
    weight: int = 0
    ports: tuple[tuple[str, int], ...] = ()
    """WorkloadEntry port map; for a Pod its named container ports."""
    ready: bool = True
    annotations: tuple[tuple[str, str], ...] = ()
    created: str = ""
    hostname: str = ""
    subdomain: str = ""
    workload_name: str = ""
    """Owner's name (Deployment, ...) or the object's own."""
    gateway: bool = False
    """Nothing but a proxy runs in it: one of type router."""

    @property
    def namespace(self) -> str:
        return self.ref.namespace

    @property
    def address(self) -> str:
        """The first one; "" for a WorkloadEntry that only its network's gateways lead to."""
        return self.addresses[0] if self.addresses else ""

    def selected_by(self, selector: dict[str, str] | Labels) -> bool:
        pairs: Any = selector.items() if isinstance(selector, dict) else selector
        mine = dict(self.labels)
        return all(mine.get(k) == v for k, v in pairs)


class ServiceTarget(msgspec.Struct, frozen=True):
    """A service port that one workload serves: what its inbound listener is made from."""

    service: Service
    port: Port
    endpoint_port: int
