"""Envoy's messages as far as they are read here. JSON names in lowerCamelCase; what is not listed is ignored."""

from typing import Any

import msgspec


class Part(msgspec.Struct, frozen=True, rename="camel"):
    """Base of parts of a dump."""


class SocketAddress(Part, frozen=True):
    address: str = ""
    port_value: int = 0
    named_port: str = ""


class Pipe(Part, frozen=True):
    path: str = ""


class InternalAddress(Part, frozen=True):
    server_listener_name: str = ""
    endpoint_id: str = ""


class Address(Part, frozen=True):
    socket_address: SocketAddress | None = None
    pipe: Pipe | None = None
    envoy_internal_address: InternalAddress | None = None

    @property
    def host(self) -> str:
        if self.socket_address:
            return self.socket_address.address
        if self.pipe:
            return f"unix://{self.pipe.path}"
        return ""

    @property
    def port(self) -> int:
        return self.socket_address.port_value if self.socket_address else 0

    def __str__(self) -> str:
        if self.envoy_internal_address:
            inner = self.envoy_internal_address
            return f"envoy://{inner.server_listener_name}/{inner.endpoint_id}"
        host = f"[{self.host}]" if ":" in self.host and self.socket_address else self.host
        return f"{host}:{self.port}" if self.socket_address else host


class AdditionalAddress(Part, frozen=True):
    address: Address = Address()


class CidrRange(Part, frozen=True):
    address_prefix: str = ""
    prefix_len: int = 0

    def __str__(self) -> str:
        return f"{self.address_prefix}/{self.prefix_len}"


class FilterChainMatch(Part, frozen=True):
    destination_port: int | None = None
    prefix_ranges: tuple[CidrRange, ...] = ()
    server_names: tuple[str, ...] = ()
    transport_protocol: str = ""
    application_protocols: tuple[str, ...] = ()


class Metadata(Part, frozen=True):
    filter_metadata: dict[str, dict[str, Any]] = {}

    @property
    def istio(self) -> dict[str, Any]:
        return self.filter_metadata.get("istio", {})


class WeightedCluster(Part, frozen=True):
    name: str = ""
    weight: int = 0


class WeightedClusters(Part, frozen=True):
    clusters: tuple[WeightedCluster, ...] = ()


class RouteMatch(Part, frozen=True):
    prefix: str = ""
    path: str = ""
    path_separated_prefix: str = ""
    safe_regex: dict[str, Any] | None = None
    headers: tuple[dict[str, Any], ...] = ()
    query_parameters: tuple[dict[str, Any], ...] = ()
    connect_matcher: dict[str, Any] | None = None


class RouteAction(Part, frozen=True):
    cluster: str = ""
    weighted_clusters: WeightedClusters | None = None
    timeout: str = ""


class Route(Part, frozen=True):
    name: str = ""
    match: RouteMatch = RouteMatch()
    route: RouteAction | None = None
    redirect: dict[str, Any] | None = None
    direct_response: dict[str, Any] | None = None
    metadata: Metadata = Metadata()


class VirtualHost(Part, frozen=True):
    name: str = ""
    domains: tuple[str, ...] = ()
    routes: tuple[Route, ...] = ()


class RouteConfiguration(Part, frozen=True):
    name: str = ""
    virtual_hosts: tuple[VirtualHost, ...] = ()


class Rds(Part, frozen=True):
    route_config_name: str = ""


class FilterConfig(Part, frozen=True):
    """What HTTP connection manager and TCP proxy hold; other filters leave all of it empty."""

    type: str = msgspec.field(default="", name="@type")
    stat_prefix: str = ""
    rds: Rds | None = None
    route_config: RouteConfiguration | None = None
    cluster: str = ""
    weighted_clusters: WeightedClusters | None = None


class Filter(Part, frozen=True):
    name: str = ""
    typed_config: FilterConfig | None = None

    @property
    def is_http(self) -> bool:
        return bool(self.typed_config and self.typed_config.type.endswith(".HttpConnectionManager"))

    @property
    def is_tcp_proxy(self) -> bool:
        return bool(self.typed_config and self.typed_config.type.endswith(".TcpProxy"))


class FilterChain(Part, frozen=True):
    name: str = ""
    filter_chain_match: FilterChainMatch = FilterChainMatch()
    filters: tuple[Filter, ...] = ()
    metadata: Metadata = Metadata()


class Listener(Part, frozen=True):
    name: str = ""
    address: Address = Address()
    additional_addresses: tuple[AdditionalAddress, ...] = ()
    filter_chains: tuple[FilterChain, ...] = ()
    default_filter_chain: FilterChain | None = None
    traffic_direction: str = ""
    use_original_dst: bool = False


class Cluster(Part, frozen=True):
    name: str = ""
    type: str = "STATIC"
    cluster_type: dict[str, Any] | None = None
    metadata: Metadata = Metadata()


class Endpoint(Part, frozen=True):
    address: Address = Address()
    additional_addresses: tuple[AdditionalAddress, ...] = ()


class LbEndpoint(Part, frozen=True):
    endpoint: Endpoint = Endpoint()
    health_status: str = "UNKNOWN"


class Locality(Part, frozen=True):
    region: str = ""
    zone: str = ""
    sub_zone: str = ""

    def __str__(self) -> str:
        return "/".join((self.region, self.zone, self.sub_zone)).rstrip("/")


class LocalityEndpoints(Part, frozen=True):
    locality: Locality = Locality()
    lb_endpoints: tuple[LbEndpoint, ...] = ()


class LoadAssignment(Part, frozen=True):
    cluster_name: str = ""
    endpoints: tuple[LocalityEndpoints, ...] = ()


class HostHealth(Part, frozen=True):
    """health_status of one host in the admin port's ``/clusters?format=json``."""

    failed_active_health_check: bool = False
    failed_outlier_check: bool = False
    failed_active_degraded_check: bool = False
    pending_dynamic_removal: bool = False
    active_hc_timeout: bool = False
    eds_health_status: str = "HEALTHY"


class HostStatus(Part, frozen=True):
    address: Address = Address()
    health_status: HostHealth = HostHealth()


class ClusterStatus(Part, frozen=True):
    name: str = ""
    host_statuses: tuple[HostStatus, ...] = ()


class ClusterStatuses(Part, frozen=True):
    cluster_statuses: tuple[ClusterStatus, ...] = ()


class Version(Part, frozen=True):
    major_number: int = 0
    minor_number: int = 0
    patch: int = 0

    def __str__(self) -> str:
        return f"{self.major_number}.{self.minor_number}.{self.patch}"


class BuildVersion(Part, frozen=True):
    version: Version = Version()
    metadata: dict[str, Any] = {}


class Node(Part, frozen=True):
    id: str = ""
    metadata: dict[str, Any] = {}
    user_agent_build_version: BuildVersion = BuildVersion()


class Bootstrap(Part, frozen=True):
    node: Node = Node()


class DataSource(Part, frozen=True):
    """A value, or where the proxy has it from (a file, a variable): the latter is nothing that can be read here."""

    inline_bytes: str = ""
    """Base64, as protobuf writes bytes in JSON."""
    inline_string: str = ""


class TlsCertificate(Part, frozen=True):
    certificate_chain: DataSource = DataSource()


class TrustDomain(Part, frozen=True):
    name: str = ""
    trust_bundle: DataSource = DataSource()


class CertValidatorConfig(Part, frozen=True):
    trust_domains: tuple[TrustDomain, ...] = ()


class CertValidator(Part, frozen=True):
    typed_config: CertValidatorConfig = CertValidatorConfig()


class ValidationContext(Part, frozen=True):
    trusted_ca: DataSource = DataSource()
    custom_validator_config: CertValidator = CertValidator()


class Secret(Part, frozen=True):
    tls_certificate: TlsCertificate | None = None
    validation_context: ValidationContext | None = None


class SecretEntry(Part, frozen=True):
    name: str = ""
    secret: Secret = Secret()


class Secrets(Part, frozen=True):
    """SecretsConfigDump."""

    static_secrets: tuple[SecretEntry, ...] = ()
    dynamic_active_secrets: tuple[SecretEntry, ...] = ()
    dynamic_warming_secrets: tuple[SecretEntry, ...] = ()


class Typed(Part, frozen=True):
    type: str = msgspec.field(default="", name="@type")


class Extension(Part, frozen=True):
    name: str = ""
    typed_config: Typed = Typed()


class EcdsEntry(Part, frozen=True):
    ecds_filter: Extension = Extension()


class Ecds(Part, frozen=True):
    """EcdsConfigDump."""

    ecds_filters: tuple[EcdsEntry, ...] = ()
