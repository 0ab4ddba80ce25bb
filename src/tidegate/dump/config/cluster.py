"""Clusters and load assignments."""

from typing import Any, ClassVar

import msgspec

from tidegate.dump.config.parts import Extension, Part, Percent
from tidegate.dump.model import Address, Locality, Metadata, SocketAddress


class Endpoint(Part, frozen=True):
    address: Address = Address()
    hostname: str = ""


class LbEndpoint(Part, frozen=True):
    endpoint: Endpoint = Endpoint()
    endpoint_name: str = ""
    health_status: str = "UNKNOWN"
    metadata: Metadata = Metadata()
    load_balancing_weight: int = 1


class LocalityEndpoints(Part, frozen=True):
    locality: Locality = Locality()
    metadata: Metadata = Metadata()
    lb_endpoints: tuple[LbEndpoint, ...] = ()
    load_balancing_weight: int = 0
    priority: int = 0


class AssignmentPolicy(Part, frozen=True):
    overprovisioning_factor: int = 140


class LoadAssignment(Part, frozen=True):
    cluster_name: str = ""
    endpoints: tuple[LocalityEndpoints, ...] = ()
    named_endpoints: dict[str, Endpoint] = {}
    policy: AssignmentPolicy = AssignmentPolicy()


class EdsConfig(Part, frozen=True):
    service_name: str = ""


class ClusterType(Part, frozen=True):
    RAW: ClassVar[frozenset[str]] = frozenset({"typedConfig"})
    name: str = ""
    typed_config: dict[str, Any] = {}


class TransportSocketMatch(Part, frozen=True):
    RAW: ClassVar[frozenset[str]] = frozenset({"match"})
    name: str = ""
    match: dict[str, Any] = {}
    transport_socket: Extension = Extension()


class ZoneAware(Part, frozen=True):
    routing_enabled: Percent | None = None
    min_cluster_size: int | None = None
    fail_traffic_on_panic: bool = False


class CommonLb(Part, frozen=True):
    healthy_panic_threshold: Percent | None = None
    locality_weighted_lb_config: dict[str, Any] | None = None
    zone_aware_lb_config: ZoneAware | None = None


class Policy(Part, frozen=True):
    typed_extension_config: Extension = Extension()


class LoadBalancingPolicy(Part, frozen=True):
    policies: tuple[Policy, ...] = ()


class SubsetSelector(Part, frozen=True):
    keys: tuple[str, ...] = ()
    fallback_policy: str = "NOT_DEFINED"


class SubsetLb(Part, frozen=True):
    fallback_policy: str = "NO_FALLBACK"
    default_subset: dict[str, Any] = {}
    subset_selectors: tuple[SubsetSelector, ...] = ()


class OriginalDstLb(Part, frozen=True):
    use_http_header: bool = False
    http_header_name: str = ""
    upstream_port_override: int | None = None
    metadata_key: dict[str, Any] | None = None


class ExtraSource(Part, frozen=True):
    address: SocketAddress | None = None


class BindConfig(Part, frozen=True):
    source_address: SocketAddress | None = None
    extra_source_addresses: tuple[ExtraSource, ...] = ()


class UpstreamHttpOptions(Part, frozen=True):
    auto_sni: bool = False
    auto_san_validation: bool = False
    override_auto_sni_header: str = ""


class ExplicitHttp(Part, frozen=True):
    http_protocol_options: dict[str, Any] | None = None
    http2_protocol_options: dict[str, Any] | None = msgspec.field(default=None, name="http2ProtocolOptions")
    http3_protocol_options: dict[str, Any] | None = msgspec.field(default=None, name="http3ProtocolOptions")


class HttpOptions(Part, frozen=True):
    """extensions.upstreams.http.v3.HttpProtocolOptions."""

    upstream_http_protocol_options: UpstreamHttpOptions = UpstreamHttpOptions()
    explicit_http_config: ExplicitHttp | None = None
    use_downstream_protocol_config: dict[str, Any] | None = None
    auto_config: dict[str, Any] | None = None


class Cluster(Part, frozen=True):
    RAW: ClassVar[frozenset[str]] = frozenset({"typedExtensionProtocolOptions"})
    RETIRED: ClassVar[frozenset[str]] = frozenset({"hosts", "tlsContext"})
    name: str = ""
    type: str = "STATIC"
    cluster_type: ClusterType | None = None
    eds_cluster_config: EdsConfig = EdsConfig()
    load_assignment: LoadAssignment | None = None
    lb_policy: str = "ROUND_ROBIN"
    load_balancing_policy: LoadBalancingPolicy | None = None
    lb_subset_config: SubsetLb | None = None
    original_dst_lb_config: OriginalDstLb | None = None
    common_lb_config: CommonLb = CommonLb()
    transport_socket: Extension | None = None
    transport_socket_matches: tuple[TransportSocketMatch, ...] = ()
    transport_socket_matcher: dict[str, Any] | None = None
    typed_extension_protocol_options: dict[str, Any] = {}
    http2_protocol_options: dict[str, Any] | None = msgspec.field(default=None, name="http2ProtocolOptions")
    upstream_bind_config: BindConfig | None = None
    connect_timeout: str = "5s"
    metadata: Metadata = Metadata()


class Aggregate(Part, frozen=True):
    """extensions.clusters.aggregate.v3.ClusterConfig."""

    clusters: tuple[str, ...] = ()


class DnsCluster(Part, frozen=True):
    """extensions.clusters.dns.v3.DnsCluster."""

    all_addresses_in_single_endpoint: bool = False
