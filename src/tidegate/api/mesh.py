"""mesh.istio.io: MeshConfig and ProxyConfig.

Field meanings, limits and oneof groups stand in the ``doc(...)`` of each field and are the one source
that decoding, validation, the CRD schemas and ``kubectl explain`` read. Names and shapes are those of
the Istio API; JSON follows the protobuf JSON mapping (see :mod:`tidegate.api.decode`).
"""

import enum
from typing import Annotated, Any

from msgspec import field

from tidegate.api.fields import Duration, Int32, Int64, Message, UInt32, doc
from tidegate.api.networking import (
    ClientTLSSettings,
    ConnectionPoolSettings,
    HTTPRetry,
    LocalityLoadBalancerSetting,
    OutlierDetection,
    ReadinessProbe,
    TcpKeepalive,
    ZoneAwareLoadBalancerSetting,
)


class Context(enum.StrEnum):
    UNSPECIFIED = "UNSPECIFIED"
    W3C_TRACE_CONTEXT = "W3C_TRACE_CONTEXT"
    GRPC_BIN = "GRPC_BIN"
    CLOUD_TRACE_CONTEXT = "CLOUD_TRACE_CONTEXT"
    B3 = "B3"


class ForwardClientCertDetails(enum.StrEnum):
    UNDEFINED = "UNDEFINED"
    SANITIZE = "SANITIZE"
    FORWARD_ONLY = "FORWARD_ONLY"
    APPEND_FORWARD = "APPEND_FORWARD"
    SANITIZE_SET = "SANITIZE_SET"
    ALWAYS_FORWARD_ONLY = "ALWAYS_FORWARD_ONLY"


class MetadataExchangeHeadersMode(enum.StrEnum):
    UNDEFINED = "UNDEFINED"
    IN_MESH = "IN_MESH"


class Profile(enum.StrEnum):
    SIDECAR = "SIDECAR"
    EDGE = "EDGE"


class HttpHeadersWithUnderscoresAction(enum.StrEnum):
    HEADERS_WITH_UNDERSCORES_UNSPECIFIED = "HEADERS_WITH_UNDERSCORES_UNSPECIFIED"
    HEADERS_WITH_UNDERSCORES_ALLOW = "HEADERS_WITH_UNDERSCORES_ALLOW"
    HEADERS_WITH_UNDERSCORES_REJECT_REQUEST = "HEADERS_WITH_UNDERSCORES_REJECT_REQUEST"
    HEADERS_WITH_UNDERSCORES_DROP_HEADER = "HEADERS_WITH_UNDERSCORES_DROP_HEADER"


class HttpPathWithEscapedSlashesAction(enum.StrEnum):
    PATH_WITH_ESCAPED_SLASHES_UNSPECIFIED = "PATH_WITH_ESCAPED_SLASHES_UNSPECIFIED"
    KEEP_UNCHANGED = "KEEP_UNCHANGED"
    REJECT_REQUEST = "REJECT_REQUEST"
    UNESCAPE_AND_REDIRECT = "UNESCAPE_AND_REDIRECT"
    UNESCAPE_AND_FORWARD = "UNESCAPE_AND_FORWARD"


class TracingServiceName(enum.StrEnum):
    APP_LABEL_AND_NAMESPACE = "APP_LABEL_AND_NAMESPACE"
    CANONICAL_NAME_ONLY = "CANONICAL_NAME_ONLY"
    CANONICAL_NAME_AND_NAMESPACE = "CANONICAL_NAME_AND_NAMESPACE"


class ControlPlaneAuthPolicy(enum.StrEnum):
    NONE = "NONE"
    MUTUAL_TLS = "MUTUAL_TLS"
    INHERIT = "INHERIT"


class InterceptionMode(enum.StrEnum):
    REDIRECT = "REDIRECT"
    TPROXY = "TPROXY"
    NONE = "NONE"


class MeshConfigOutboundTrafficPolicyMode(enum.StrEnum):
    REGISTRY_ONLY = "REGISTRY_ONLY"
    ALLOW_ANY = "ALLOW_ANY"
    ALLOW_ANY_DYNAMIC_DNS = "ALLOW_ANY_DYNAMIC_DNS"


class InboundTrafficPolicyMode(enum.StrEnum):
    PASSTHROUGH = "PASSTHROUGH"
    LOCALHOST = "LOCALHOST"


class SubscribedResources(enum.StrEnum):
    SERVICE_REGISTRY = "SERVICE_REGISTRY"


class Scope(enum.StrEnum):
    LOCAL = "LOCAL"
    GLOBAL = "GLOBAL"


class TraceContextOption(enum.StrEnum):
    USE_B3 = "USE_B3"
    USE_B3_WITH_W3C_PROPAGATION = "USE_B3_WITH_W3C_PROPAGATION"


class ServiceAttributeEnrichment(enum.StrEnum):
    ISTIO_CANONICAL = "ISTIO_CANONICAL"
    OTEL_SEMANTIC_CONVENTIONS = "OTEL_SEMANTIC_CONVENTIONS"


class Normalization(enum.StrEnum):
    DEFAULT = "DEFAULT"
    NONE = "NONE"
    BASE = "BASE"
    MERGE_SLASHES = "MERGE_SLASHES"
    DECODE_AND_MERGE_SLASHES = "DECODE_AND_MERGE_SLASHES"


class TLSConfigMinProtocolVersion(enum.StrEnum):
    TLS_AUTO = "TLS_AUTO"
    TLSV1_2 = "TLSV1_2"
    TLSV1_3 = "TLSV1_3"


class Visibility(enum.StrEnum):
    VISIBILITY_UNSPECIFIED = "VISIBILITY_UNSPECIFIED"
    NONE = "NONE"
    NAMESPACE = "NAMESPACE"
    PUBLIC = "PUBLIC"


class IngressControllerMode(enum.StrEnum):
    UNSPECIFIED = "UNSPECIFIED"
    OFF = "OFF"
    DEFAULT = "DEFAULT"
    STRICT = "STRICT"


class AccessLogEncoding(enum.StrEnum):
    TEXT = "TEXT"
    JSON = "JSON"


class MeshConfigH2UpgradePolicy(enum.StrEnum):
    DO_NOT_UPGRADE = "DO_NOT_UPGRADE"
    UPGRADE = "UPGRADE"


class Zipkin(Message, frozen=True):
    """mesh.v1alpha1.Tracing.Zipkin."""

    address: Annotated[str, doc("host:port")] = ""


class Lightstep(Message, frozen=True):
    """mesh.v1alpha1.Tracing.Lightstep."""

    address: Annotated[str, doc("host:port")] = ""
    access_token: Annotated[str, doc("vendor token")] = ""


class Datadog(Message, frozen=True):
    """mesh.v1alpha1.Tracing.Datadog."""

    address: Annotated[str, doc("host:port")] = ""


class Stackdriver(Message, frozen=True):
    """mesh.v1alpha1.Tracing.Stackdriver."""

    debug: Annotated[bool, doc("debug")] = False
    max_number_of_attributes: Annotated[Int64 | None, doc("max number of attributes")] = None
    max_number_of_annotations: Annotated[Int64 | None, doc("max number of annotations")] = None
    max_number_of_message_events: Annotated[Int64 | None, doc("max number of message events")] = None


class OpenCensusAgent(Message, frozen=True):
    """mesh.v1alpha1.Tracing.OpenCensusAgent."""

    address: Annotated[str, doc("host:port")] = ""
    context: Annotated[tuple[Context, ...], doc("context")] = ()


class Literal(Message, frozen=True):
    """mesh.v1alpha1.Tracing.Literal."""

    value: Annotated[str, doc("value")] = ""


class Environment(Message, frozen=True):
    """mesh.v1alpha1.Tracing.Environment."""

    name: Annotated[str, doc("name")] = ""
    default_value: Annotated[str, doc("default value")] = ""


class RequestHeader(Message, frozen=True):
    """mesh.v1alpha1.Tracing.RequestHeader."""

    name: Annotated[str, doc("name")] = ""
    default_value: Annotated[str, doc("default value")] = ""


class CustomTag(Message, frozen=True):
    """mesh.v1alpha1.CustomTag."""

    literal: Annotated[Literal | None, doc("literal", oneof="type")] = None
    environment: Annotated[Environment | None, doc("environment", oneof="type")] = None
    header: Annotated[RequestHeader | None, doc("header", oneof="type")] = None


class Tracing(Message, frozen=True):
    """mesh.v1alpha1.Tracing."""

    zipkin: Annotated[Zipkin | None, doc("Zipkin", oneof="tracer")] = None
    lightstep: Annotated[Lightstep | None, doc("Lightstep", oneof="tracer")] = None
    datadog: Annotated[Datadog | None, doc("Datadog", oneof="tracer")] = None
    stackdriver: Annotated[Stackdriver | None, doc("Stackdriver", oneof="tracer")] = None
    open_census_agent: Annotated[OpenCensusAgent | None, doc("OpenCensus", oneof="tracer")] = None
    custom_tags: Annotated[dict[str, CustomTag], doc("tags")] = field(default_factory=dict)
    max_path_tag_length: Annotated[UInt32, doc("path limit")] = 0
    sampling: Annotated[float, doc("percent")] = 0.0
    tls_settings: Annotated[ClientTLSSettings | None, doc("TLS")] = None
    enable_istio_tags: Annotated[bool | None, doc("istio tags")] = None


class SDS(Message, frozen=True):
    """mesh.v1alpha1.SDS."""

    enabled: Annotated[bool, doc("unused")] = False
    k8s_sa_jwt_path: Annotated[str, doc("unused")] = ""


class RemoteService(Message, frozen=True):
    """mesh.v1alpha1.RemoteService."""

    address: Annotated[str, doc("host:port")] = ""
    tls_settings: Annotated[ClientTLSSettings | None, doc("TLS")] = None
    tcp_keepalive: Annotated[TcpKeepalive | None, doc("keepalive")] = None


class ProxyProtocolConfiguration(Message, frozen=True):
    """mesh.v1alpha1.Topology.ProxyProtocolConfiguration."""


class Topology(Message, frozen=True):
    """mesh.v1alpha1.Topology."""

    num_trusted_proxies: Annotated[UInt32, doc("XFF hops")] = 0
    forward_client_cert_details: Annotated[ForwardClientCertDetails, doc("XFCC mode")] = (
        ForwardClientCertDetails.UNDEFINED
    )
    proxy_protocol: Annotated[ProxyProtocolConfiguration | None, doc("accept PROXY")] = None


class ProxyStatsMatcher(Message, frozen=True):
    """mesh.v1alpha1.ProxyConfig.ProxyStatsMatcher."""

    inclusion_prefixes: Annotated[tuple[str, ...], doc("prefixes")] = ()
    inclusion_suffixes: Annotated[tuple[str, ...], doc("suffixes")] = ()
    inclusion_regexps: Annotated[tuple[str, ...], doc("patterns")] = ()


class ProxyImage(Message, frozen=True):
    """networking.v1beta1.ProxyImage."""

    image_type: Annotated[str, doc("default, debug or distroless")] = ""


class CryptoMb(Message, frozen=True):
    """mesh.v1alpha1.PrivateKeyProvider.CryptoMb."""

    poll_delay: Annotated[Duration | None, doc("delay")] = None
    fallback: Annotated[bool | None, doc("software fallback")] = None


class QAT(Message, frozen=True):
    """mesh.v1alpha1.PrivateKeyProvider.QAT."""

    poll_delay: Annotated[Duration | None, doc("delay")] = None
    fallback: Annotated[bool | None, doc("software fallback")] = None


class PrivateKeyProvider(Message, frozen=True):
    """mesh.v1alpha1.PrivateKeyProvider."""

    cryptomb: Annotated[CryptoMb | None, doc("provider", oneof="provider")] = None
    qat: Annotated[QAT | None, doc("provider", oneof="provider")] = None


class SetCurrentClientCertDetails(Message, frozen=True):
    """mesh.v1alpha1.ProxyConfig.ProxyHeaders.SetCurrentClientCertDetails."""

    subject: Annotated[bool | None, doc("subject")] = None
    cert: Annotated[bool | None, doc("cert")] = None
    chain: Annotated[bool | None, doc("chain")] = None
    dns: Annotated[bool | None, doc("DNS SANs")] = None
    uri: Annotated[bool | None, doc("URI SAN")] = None


class RequestId(Message, frozen=True):
    """mesh.v1alpha1.ProxyConfig.ProxyHeaders.RequestId."""

    disabled: Annotated[bool | None, doc("true suppresses the header")] = None


class ProxyHeadersServer(Message, frozen=True):
    """mesh.v1alpha1.ProxyConfig.ProxyHeaders.Server."""

    disabled: Annotated[bool | None, doc("true suppresses the header")] = None
    value: Annotated[str, doc("value")] = ""


class AttemptCount(Message, frozen=True):
    """mesh.v1alpha1.ProxyConfig.ProxyHeaders.AttemptCount."""

    disabled: Annotated[bool | None, doc("true suppresses the header")] = None


class EnvoyDebugHeaders(Message, frozen=True):
    """mesh.v1alpha1.ProxyConfig.ProxyHeaders.EnvoyDebugHeaders."""

    disabled: Annotated[bool | None, doc("true suppresses the header")] = None


class MetadataExchangeHeaders(Message, frozen=True):
    """mesh.v1alpha1.ProxyConfig.ProxyHeaders.MetadataExchangeHeaders."""

    mode: Annotated[MetadataExchangeHeadersMode, doc("IN_MESH removes for external")] = (
        MetadataExchangeHeadersMode.UNDEFINED
    )


class XForwardedHost(Message, frozen=True):
    """mesh.v1alpha1.ProxyConfig.ProxyHeaders.XForwardedHost."""

    enabled: Annotated[bool | None, doc("true adds the header")] = None


class XForwardedPort(Message, frozen=True):
    """mesh.v1alpha1.ProxyConfig.ProxyHeaders.XForwardedPort."""

    enabled: Annotated[bool | None, doc("true adds the header")] = None


class ProxyHeaders(Message, frozen=True):
    """mesh.v1alpha1.ProxyConfig.ProxyHeaders."""

    forwarded_client_cert: Annotated[ForwardClientCertDetails, doc("XFCC inbound")] = ForwardClientCertDetails.UNDEFINED
    set_current_client_cert_details: Annotated[SetCurrentClientCertDetails | None, doc("XFCC parts")] = None
    request_id: Annotated[RequestId | None, doc("x-request-id")] = None
    server: Annotated[ProxyHeadersServer | None, doc("server header")] = None
    attempt_count: Annotated[AttemptCount | None, doc("x-envoy-attempt-count")] = None
    envoy_debug_headers: Annotated[EnvoyDebugHeaders | None, doc("x-envoy-*")] = None
    metadata_exchange_headers: Annotated[MetadataExchangeHeaders | None, doc("peer headers")] = None
    preserve_http1_header_case: Annotated[bool | None, doc("header case")] = None
    x_forwarded_host: Annotated[XForwardedHost | None, doc("x-forwarded-host")] = None
    x_forwarded_port: Annotated[XForwardedPort | None, doc("x-forwarded-port")] = None


class ConnectionSettings(Message, frozen=True):
    """mesh.v1alpha1.ProxyConfig.ConnectionSettings."""

    profile: Annotated[Profile, doc("DEFAULT or EDGE preset")] = Profile.SIDECAR
    listener_per_connection_buffer_limit_bytes: Annotated[Int32 | None, doc("listener soft buffer")] = None
    cluster_per_connection_buffer_limit_bytes: Annotated[Int32 | None, doc("cluster soft buffer")] = None
    http_idle_timeout: Annotated[Duration | None, doc("downstream idle")] = None
    http_max_connection_duration: Annotated[Duration | None, doc("connection age")] = None
    http_drain_timeout: Annotated[Duration | None, doc("connection drain")] = None
    http_request_timeout: Annotated[Duration | None, doc("whole request receive limit")] = None
    http_request_headers_timeout: Annotated[Duration | None, doc("header receive limit")] = None
    http_stream_idle_timeout: Annotated[Duration | None, doc("stream idle")] = None
    http_max_stream_duration: Annotated[Duration | None, doc("stream age")] = None
    http_max_concurrent_streams: Annotated[Int32 | None, doc("http max concurrent streams")] = None
    http2_initial_stream_window_size: Annotated[Int32 | None, doc("http2 initial stream window size")] = None
    http2_initial_connection_window_size: Annotated[Int32 | None, doc("http2 initial connection window size")] = None
    http_headers_with_underscores_action: Annotated[
        HttpHeadersWithUnderscoresAction, doc("http headers with underscores action")
    ] = HttpHeadersWithUnderscoresAction.HEADERS_WITH_UNDERSCORES_UNSPECIFIED
    http_merge_slashes: Annotated[bool | None, doc("http merge slashes")] = None
    http_path_with_escaped_slashes_action: Annotated[
        HttpPathWithEscapedSlashesAction, doc("http path with escaped slashes action")
    ] = HttpPathWithEscapedSlashesAction.PATH_WITH_ESCAPED_SLASHES_UNSPECIFIED
    listener_connection_limit: Annotated[Int32 | None, doc("connections per listener")] = None
    global_downstream_connection_limit: Annotated[Int32 | None, doc("connections per proxy")] = None


class ProxyConfig(Message, frozen=True):
    """mesh.v1alpha1.ProxyConfig."""

    config_path: Annotated[str, doc("generated config directory")] = ""
    binary_path: Annotated[str, doc("Envoy binary")] = ""
    service_cluster: Annotated[str | None, doc("node cluster name", oneof="cluster_name")] = None
    tracing_service_name: Annotated[TracingServiceName | None, doc("node cluster naming", oneof="cluster_name")] = None
    drain_duration: Annotated[Duration | None, doc("hot restart drain")] = None
    discovery_address: Annotated[str, doc("istiod address")] = ""
    discovery_refresh_delay: Annotated[Duration | None, doc("unused", deprecated=True)] = None
    zipkin_address: Annotated[str, doc("old tracer", deprecated=True)] = ""
    statsd_udp_address: Annotated[str, doc("statsd")] = ""
    envoy_metrics_service_address: Annotated[str, doc("old", deprecated=True)] = ""
    proxy_admin_port: Annotated[Int32, doc("admin port")] = 0
    availability_zone: Annotated[str, doc("unused", deprecated=True)] = ""
    control_plane_auth_policy: Annotated[ControlPlaneAuthPolicy, doc("mTLS to istiod")] = ControlPlaneAuthPolicy.NONE
    custom_config_file: Annotated[str, doc("replace bootstrap")] = ""
    stat_name_length: Annotated[Int32, doc("old")] = 0
    concurrency: Annotated[Int32 | None, doc("worker threads; 0 all cores")] = None
    proxy_bootstrap_template_path: Annotated[str, doc("template path")] = ""
    interception_mode: Annotated[InterceptionMode, doc("redirect method")] = InterceptionMode.REDIRECT
    tracing: Annotated[Tracing | None, doc("tracing")] = None
    sds: Annotated[SDS | None, doc("unused", deprecated=True)] = None
    envoy_access_log_service: Annotated[RemoteService | None, doc("ALS target")] = None
    envoy_metrics_service: Annotated[RemoteService | None, doc("metrics target")] = None
    proxy_metadata: Annotated[dict[str, str], doc("extra env vars")] = field(default_factory=dict)
    runtime_values: Annotated[dict[str, str], doc("Envoy runtime")] = field(default_factory=dict)
    status_port: Annotated[Int32, doc("agent status port")] = 0
    extra_stat_tags: Annotated[tuple[str, ...], doc("stat tags")] = ()
    gateway_topology: Annotated[Topology | None, doc("front proxies")] = None
    termination_drain_duration: Annotated[Duration | None, doc("shutdown drain")] = None
    mesh_id: Annotated[str, doc("mesh id")] = ""
    readiness_probe: Annotated[ReadinessProbe | None, doc("VM app probe")] = None
    proxy_stats_matcher: Annotated[ProxyStatsMatcher | None, doc("extra stats")] = None
    hold_application_until_proxy_starts: Annotated[bool | None, doc("start order")] = None
    ca_certificates_pem: Annotated[tuple[str, ...], doc("roots")] = ()
    image: Annotated[ProxyImage | None, doc("image")] = None
    private_key_provider: Annotated[PrivateKeyProvider | None, doc("crypto offload")] = None
    proxy_headers: Annotated[ProxyHeaders | None, doc("generated headers")] = None
    file_flush_interval: Annotated[Duration | None, doc("access log flush")] = None
    file_flush_min_size_kb: Annotated[UInt32, doc("flush size")] = 0
    stats_compression: Annotated[bool | None, doc("compress stats")] = None
    connection_settings: Annotated[ConnectionSettings | None, doc("HCM limits and EDGE profile")] = None


class MeshConfigOutboundTrafficPolicy(Message, frozen=True):
    """mesh.v1alpha1.MeshConfig.OutboundTrafficPolicy."""

    mode: Annotated[MeshConfigOutboundTrafficPolicyMode, doc("policy")] = (
        MeshConfigOutboundTrafficPolicyMode.REGISTRY_ONLY
    )
    tls: Annotated[ClientTLSSettings | None, doc("TLS origination for dynamic DNS mode")] = None


class InboundTrafficPolicy(Message, frozen=True):
    """mesh.v1alpha1.MeshConfig.InboundTrafficPolicy."""

    mode: Annotated[InboundTrafficPolicyMode, doc("target of inbound clusters")] = InboundTrafficPolicyMode.PASSTHROUGH


class ConfigSource(Message, frozen=True):
    """mesh.v1alpha1.ConfigSource."""

    address: Annotated[str, doc("xds://, fs:// or k8s://")] = ""
    tls_settings: Annotated[ClientTLSSettings | None, doc("TLS")] = None
    subscribed_resources: Annotated[tuple[SubscribedResources, ...], doc("resources")] = ()


class CertificateData(Message, frozen=True):
    """mesh.v1alpha1.MeshConfig.CertificateData."""

    pem: Annotated[str | None, doc("PEM", oneof="certificate_data")] = None
    spiffe_bundle_url: Annotated[str | None, doc("bundle URL", oneof="certificate_data")] = None
    cert_signers: Annotated[tuple[str, ...], doc("signers")] = ()
    trust_domains: Annotated[tuple[str, ...], doc("domains")] = ()


class Certificate(Message, frozen=True):
    """mesh.v1alpha1.Certificate."""

    secret_name: Annotated[str, doc("secret")] = ""
    dns_names: Annotated[tuple[str, ...], doc("names")] = ()


class ServiceSettingsSettings(Message, frozen=True):
    """mesh.v1alpha1.MeshConfig.ServiceSettings.Settings."""

    cluster_local: Annotated[bool, doc("keep endpoints in cluster")] = False


class ServiceSettings(Message, frozen=True):
    """mesh.v1alpha1.MeshConfig.ServiceSettings."""

    settings: Annotated[ServiceSettingsSettings | None, doc("settings")] = None
    hosts: Annotated[tuple[str, ...], doc("host patterns")] = ()


class LabelSelectorRequirement(Message, frozen=True):
    """mesh.v1alpha1.LabelSelectorRequirement."""

    key: Annotated[str, doc("label key")] = ""
    operator: Annotated[str, doc("In NotIn Exists DoesNotExist")] = ""
    values: Annotated[tuple[str, ...], doc("values")] = ()


class LabelSelector(Message, frozen=True):
    """mesh.v1alpha1.LabelSelector."""

    match_labels: Annotated[dict[str, str], doc("equality")] = field(default_factory=dict)
    match_expressions: Annotated[tuple[LabelSelectorRequirement, ...], doc("set rules")] = ()


class ServiceScopeConfigs(Message, frozen=True):
    """mesh.v1alpha1.MeshConfig.ServiceScopeConfigs."""

    namespace_selector: Annotated[LabelSelector | None, doc("namespaces")] = None
    services_selector: Annotated[LabelSelector | None, doc("services")] = None
    scope: Annotated[Scope, doc("LOCAL or GLOBAL")] = Scope.LOCAL


class MeshConfigCA(Message, frozen=True):
    """mesh.v1alpha1.MeshConfig.CA."""

    address: Annotated[str, doc("CA endpoint")] = ""
    tls_settings: Annotated[ClientTLSSettings | None, doc("TLS to CA")] = None
    request_timeout: Annotated[Duration | None, doc("limit")] = None
    istiod_side: Annotated[bool, doc("istiod signs through it")] = False


class EnvoyExternalAuthorizationRequestBody(Message, frozen=True):
    """mesh.v1alpha1.MeshConfig.ExtensionProvider.EnvoyExternalAuthorizationRequestBody."""

    max_request_bytes: Annotated[UInt32, doc("body bytes buffered")] = 0
    allow_partial_message: Annotated[bool, doc("send truncated body")] = False
    pack_as_bytes: Annotated[bool, doc("send body as bytes")] = False


class EnvoyExternalAuthorizationHttpProvider(Message, frozen=True):
    """mesh.v1alpha1.MeshConfig.ExtensionProvider.EnvoyExternalAuthorizationHttpProvider."""

    service: Annotated[str, doc("provider host, [namespace/]hostname in the registry")] = ""
    port: Annotated[UInt32, doc("provider port")] = 0
    timeout: Annotated[Duration | None, doc("request time limit")] = None
    path_prefix: Annotated[str, doc("prefix added to check path")] = ""
    fail_open: Annotated[bool, doc("allow on authorizer failure")] = False
    clear_route_cache: Annotated[bool, doc("re-evaluate route after check")] = False
    status_on_error: Annotated[str, doc("status when authorizer fails, 403")] = ""
    include_headers_in_check: Annotated[tuple[str, ...], doc("include headers in check", deprecated=True)] = ()
    include_request_headers_in_check: Annotated[tuple[str, ...], doc("client headers sent")] = ()
    include_additional_headers_in_check: Annotated[dict[str, str], doc("fixed headers sent")] = field(
        default_factory=dict
    )
    include_request_body_in_check: Annotated[
        EnvoyExternalAuthorizationRequestBody | None, doc("send body to authorizer")
    ] = None
    headers_to_upstream_on_allow: Annotated[tuple[str, ...], doc("authorizer headers added to request")] = ()
    headers_to_downstream_on_deny: Annotated[tuple[str, ...], doc("authorizer headers added to denial")] = ()
    headers_to_downstream_on_allow: Annotated[tuple[str, ...], doc("authorizer headers added to response")] = ()


class EnvoyExternalAuthorizationGrpcProvider(Message, frozen=True):
    """mesh.v1alpha1.MeshConfig.ExtensionProvider.EnvoyExternalAuthorizationGrpcProvider."""

    service: Annotated[str, doc("provider host, [namespace/]hostname in the registry")] = ""
    port: Annotated[UInt32, doc("provider port")] = 0
    timeout: Annotated[Duration | None, doc("request time limit")] = None
    fail_open: Annotated[bool, doc("allow on authorizer failure")] = False
    clear_route_cache: Annotated[bool, doc("re-evaluate route after check")] = False
    status_on_error: Annotated[str, doc("status when authorizer fails, 403")] = ""
    include_request_body_in_check: Annotated[
        EnvoyExternalAuthorizationRequestBody | None, doc("send body to authorizer")
    ] = None


class HttpHeader(Message, frozen=True):
    """mesh.v1alpha1.MeshConfig.ExtensionProvider.HttpHeader."""

    name: Annotated[str, doc("name")] = ""
    value: Annotated[str | None, doc("value", oneof="header_value")] = None
    env_name: Annotated[str | None, doc("take value from env", oneof="header_value")] = None


class ZipkinTracingProvider(Message, frozen=True):
    """mesh.v1alpha1.MeshConfig.ExtensionProvider.ZipkinTracingProvider."""

    service: Annotated[str, doc("provider host, [namespace/]hostname in the registry")] = ""
    port: Annotated[UInt32, doc("provider port")] = 0
    max_tag_length: Annotated[UInt32, doc("longest tag value, 256")] = 0
    enable64bit_trace_id: Annotated[bool, doc("enable64bit trace id")] = False
    path: Annotated[str, doc("request path")] = ""
    trace_context_option: Annotated[TraceContextOption, doc("trace context option")] = TraceContextOption.USE_B3
    timeout: Annotated[Duration | None, doc("request time limit")] = None
    headers: Annotated[tuple[HttpHeader, ...], doc("extra headers")] = ()


class LightstepTracingProvider(Message, frozen=True):
    """mesh.v1alpha1.MeshConfig.ExtensionProvider.LightstepTracingProvider."""

    service: Annotated[str, doc("provider host, [namespace/]hostname in the registry")] = ""
    port: Annotated[UInt32, doc("provider port")] = 0
    access_token: Annotated[str, doc("vendor token")] = ""
    max_tag_length: Annotated[UInt32, doc("longest tag value, 256")] = 0


class DatadogTracingProvider(Message, frozen=True):
    """mesh.v1alpha1.MeshConfig.ExtensionProvider.DatadogTracingProvider."""

    service: Annotated[str, doc("provider host, [namespace/]hostname in the registry")] = ""
    port: Annotated[UInt32, doc("provider port")] = 0
    max_tag_length: Annotated[UInt32, doc("longest tag value, 256")] = 0


class Logging(Message, frozen=True):
    """mesh.v1alpha1.MeshConfig.ExtensionProvider.StackdriverProvider.Logging."""

    labels: Annotated[dict[str, str], doc("key/value fields")] = field(default_factory=dict)


class StackdriverProvider(Message, frozen=True):
    """mesh.v1alpha1.MeshConfig.ExtensionProvider.StackdriverProvider."""

    debug: Annotated[bool, doc("debug", deprecated=True)] = False
    max_number_of_attributes: Annotated[Int64 | None, doc("max number of attributes", deprecated=True)] = None
    max_number_of_annotations: Annotated[Int64 | None, doc("max number of annotations", deprecated=True)] = None
    max_number_of_message_events: Annotated[Int64 | None, doc("max number of message events", deprecated=True)] = None
    max_tag_length: Annotated[UInt32, doc("longest tag value, 256")] = 0
    logging: Annotated[Logging | None, doc("logging")] = None


class OpenCensusAgentTracingProvider(Message, frozen=True):
    """mesh.v1alpha1.MeshConfig.ExtensionProvider.OpenCensusAgentTracingProvider."""

    service: Annotated[str, doc("provider host, [namespace/]hostname in the registry")] = ""
    port: Annotated[UInt32, doc("provider port")] = 0
    context: Annotated[tuple[Context, ...], doc("context")] = ()
    max_tag_length: Annotated[UInt32, doc("longest tag value, 256")] = 0


class SkyWalkingTracingProvider(Message, frozen=True):
    """mesh.v1alpha1.MeshConfig.ExtensionProvider.SkyWalkingTracingProvider."""

    service: Annotated[str, doc("provider host, [namespace/]hostname in the registry")] = ""
    port: Annotated[UInt32, doc("provider port")] = 0
    access_token: Annotated[str, doc("vendor token")] = ""


class HttpService(Message, frozen=True):
    """mesh.v1alpha1.MeshConfig.ExtensionProvider.HttpService."""

    path: Annotated[str, doc("request path")] = ""
    timeout: Annotated[Duration | None, doc("request time limit")] = None
    headers: Annotated[tuple[HttpHeader, ...], doc("extra headers")] = ()


class GrpcService(Message, frozen=True):
    """mesh.v1alpha1.MeshConfig.ExtensionProvider.GrpcService."""

    timeout: Annotated[Duration | None, doc("request time limit")] = None
    initial_metadata: Annotated[tuple[HttpHeader, ...], doc("gRPC metadata")] = ()


class EnvironmentResourceDetector(Message, frozen=True):
    """mesh.v1alpha1.MeshConfig.ExtensionProvider.ResourceDetectors.EnvironmentResourceDetector."""


class DynatraceResourceDetector(Message, frozen=True):
    """mesh.v1alpha1.MeshConfig.ExtensionProvider.ResourceDetectors.DynatraceResourceDetector."""


class ResourceDetectors(Message, frozen=True):
    """mesh.v1alpha1.MeshConfig.ExtensionProvider.ResourceDetectors."""

    environment: Annotated[EnvironmentResourceDetector | None, doc("environment")] = None
    dynatrace: Annotated[DynatraceResourceDetector | None, doc("dynatrace")] = None


class DynatraceApi(Message, frozen=True):
    """mesh.v1alpha1.MeshConfig.ExtensionProvider.OpenTelemetryTracingProvider.DynatraceSampler.DynatraceApi."""

    service: Annotated[str, doc("provider host, [namespace/]hostname in the registry")] = ""
    port: Annotated[UInt32, doc("provider port")] = 0
    http: Annotated[HttpService | None, doc("http")] = None


class DynatraceSampler(Message, frozen=True):
    """mesh.v1alpha1.MeshConfig.ExtensionProvider.OpenTelemetryTracingProvider.DynatraceSampler."""

    tenant: Annotated[str, doc("tenant")] = ""
    cluster_id: Annotated[Int32, doc("cluster id")] = 0
    root_spans_per_minute: Annotated[UInt32, doc("root spans per minute")] = 0
    http_service: Annotated[DynatraceApi | None, doc("http service")] = None


class OpenTelemetryTracingProvider(Message, frozen=True):
    """mesh.v1alpha1.MeshConfig.ExtensionProvider.OpenTelemetryTracingProvider."""

    service: Annotated[str, doc("provider host, [namespace/]hostname in the registry")] = ""
    port: Annotated[UInt32, doc("provider port")] = 0
    max_tag_length: Annotated[UInt32, doc("longest tag value, 256")] = 0
    http: Annotated[HttpService | None, doc("http")] = None
    grpc: Annotated[GrpcService | None, doc("grpc")] = None
    resource_detectors: Annotated[ResourceDetectors | None, doc("resource detectors")] = None
    service_attribute_enrichment: Annotated[ServiceAttributeEnrichment, doc("service attribute enrichment")] = (
        ServiceAttributeEnrichment.ISTIO_CANONICAL
    )
    dynatrace_sampler: Annotated[DynatraceSampler | None, doc("dynatrace sampler", oneof="sampling")] = None


class PrometheusMetricsProvider(Message, frozen=True):
    """mesh.v1alpha1.MeshConfig.ExtensionProvider.PrometheusMetricsProvider."""


class EnvoyFileAccessLogProviderLogFormat(Message, frozen=True):
    """mesh.v1alpha1.MeshConfig.ExtensionProvider.EnvoyFileAccessLogProvider.LogFormat."""

    text: Annotated[str | None, doc("text pattern", oneof="log_format")] = None
    labels: Annotated[dict[str, Any] | None, doc("JSON map", oneof="log_format")] = None


class EnvoyFileAccessLogProvider(Message, frozen=True):
    """mesh.v1alpha1.MeshConfig.ExtensionProvider.EnvoyFileAccessLogProvider."""

    path: Annotated[str, doc("file")] = ""
    log_format: Annotated[EnvoyFileAccessLogProviderLogFormat | None, doc("format")] = None
    omit_empty_values: Annotated[bool, doc("drop empties")] = False


class EnvoyHttpGrpcV3LogProvider(Message, frozen=True):
    """mesh.v1alpha1.MeshConfig.ExtensionProvider.EnvoyHttpGrpcV3LogProvider."""

    service: Annotated[str, doc("provider host, [namespace/]hostname in the registry")] = ""
    port: Annotated[UInt32, doc("provider port")] = 0
    log_name: Annotated[str, doc("log name")] = ""
    filter_state_objects_to_log: Annotated[tuple[str, ...], doc("filter state keys to add")] = ()
    additional_request_headers_to_log: Annotated[tuple[str, ...], doc("additional request headers to log")] = ()
    additional_response_headers_to_log: Annotated[tuple[str, ...], doc("additional response headers to log")] = ()
    additional_response_trailers_to_log: Annotated[tuple[str, ...], doc("additional response trailers to log")] = ()


class EnvoyTcpGrpcV3LogProvider(Message, frozen=True):
    """mesh.v1alpha1.MeshConfig.ExtensionProvider.EnvoyTcpGrpcV3LogProvider."""

    service: Annotated[str, doc("provider host, [namespace/]hostname in the registry")] = ""
    port: Annotated[UInt32, doc("provider port")] = 0
    log_name: Annotated[str, doc("log name")] = ""
    filter_state_objects_to_log: Annotated[tuple[str, ...], doc("filter state keys to add")] = ()


class EnvoyOpenTelemetryLogProviderLogFormat(Message, frozen=True):
    """mesh.v1alpha1.MeshConfig.ExtensionProvider.EnvoyOpenTelemetryLogProvider.LogFormat."""

    text: Annotated[str, doc("text template")] = ""
    labels: Annotated[dict[str, Any] | None, doc("key/value fields")] = None


class EnvoyOpenTelemetryLogProvider(Message, frozen=True):
    """mesh.v1alpha1.MeshConfig.ExtensionProvider.EnvoyOpenTelemetryLogProvider."""

    service: Annotated[str, doc("provider host, [namespace/]hostname in the registry")] = ""
    port: Annotated[UInt32, doc("provider port")] = 0
    log_name: Annotated[str, doc("log name")] = ""
    log_format: Annotated[EnvoyOpenTelemetryLogProviderLogFormat | None, doc("format")] = None


class SDSProvider(Message, frozen=True):
    """mesh.v1alpha1.MeshConfig.ExtensionProvider.SDSProvider."""

    name: Annotated[str, doc("name")] = ""
    service: Annotated[str, doc("provider host, [namespace/]hostname in the registry")] = ""
    port: Annotated[UInt32, doc("provider port")] = 0


class ExtensionProvider(Message, frozen=True):
    """mesh.v1alpha1.MeshConfig.ExtensionProvider."""

    name: Annotated[str, doc("reference name")] = ""
    envoy_ext_authz_http: Annotated[
        EnvoyExternalAuthorizationHttpProvider | None, doc("HTTP authorizer", oneof="provider")
    ] = None
    envoy_ext_authz_grpc: Annotated[
        EnvoyExternalAuthorizationGrpcProvider | None, doc("gRPC authorizer", oneof="provider")
    ] = None
    zipkin: Annotated[ZipkinTracingProvider | None, doc("tracer", oneof="provider")] = None
    lightstep: Annotated[LightstepTracingProvider | None, doc("tracer", deprecated=True, oneof="provider")] = None
    datadog: Annotated[DatadogTracingProvider | None, doc("tracer", oneof="provider")] = None
    stackdriver: Annotated[StackdriverProvider | None, doc("tracer", oneof="provider")] = None
    opencensus: Annotated[OpenCensusAgentTracingProvider | None, doc("tracer", deprecated=True, oneof="provider")] = (
        None
    )
    skywalking: Annotated[SkyWalkingTracingProvider | None, doc("tracer", oneof="provider")] = None
    opentelemetry: Annotated[OpenTelemetryTracingProvider | None, doc("tracer", oneof="provider")] = None
    prometheus: Annotated[PrometheusMetricsProvider | None, doc("metrics", oneof="provider")] = None
    envoy_file_access_log: Annotated[EnvoyFileAccessLogProvider | None, doc("file log", oneof="provider")] = None
    envoy_http_als: Annotated[EnvoyHttpGrpcV3LogProvider | None, doc("gRPC log", oneof="provider")] = None
    envoy_tcp_als: Annotated[EnvoyTcpGrpcV3LogProvider | None, doc("gRPC log", oneof="provider")] = None
    envoy_otel_als: Annotated[EnvoyOpenTelemetryLogProvider | None, doc("OTLP log", oneof="provider")] = None
    sds: Annotated[SDSProvider | None, doc("secret service", oneof="provider")] = None


class DefaultProviders(Message, frozen=True):
    """mesh.v1alpha1.MeshConfig.DefaultProviders."""

    tracing: Annotated[tuple[str, ...], doc("provider list")] = ()
    metrics: Annotated[tuple[str, ...], doc("provider list")] = ()
    access_logging: Annotated[tuple[str, ...], doc("provider list")] = ()


class ProxyPathNormalization(Message, frozen=True):
    """mesh.v1alpha1.MeshConfig.ProxyPathNormalization."""

    normalization: Annotated[Normalization, doc("level")] = Normalization.DEFAULT


class TLSConfig(Message, frozen=True):
    """mesh.v1alpha1.MeshConfig.TLSConfig."""

    min_protocol_version: Annotated[TLSConfigMinProtocolVersion, doc("lowest TLS")] = (
        TLSConfigMinProtocolVersion.TLS_AUTO
    )
    ecdh_curves: Annotated[tuple[str, ...], doc("curves")] = ()
    cipher_suites: Annotated[tuple[str, ...], doc("ciphers")] = ()


class DefaultTrafficPolicy(Message, frozen=True):
    """mesh.v1alpha1.MeshConfig.DefaultTrafficPolicy."""

    connection_pool: Annotated[ConnectionPoolSettings | None, doc("baseline pool")] = None
    outlier_detection: Annotated[OutlierDetection | None, doc("baseline detection")] = None


class MatchRule(Message, frozen=True):
    """mesh.v1alpha1.ServiceEntryVisibility.MatchRule."""

    namespace_selector: Annotated[LabelSelector | None, doc("namespace labels", oneof="matcher")] = None


class ServiceEntryVisibilityPolicy(Message, frozen=True):
    """mesh.v1alpha1.ServiceEntryVisibility.Policy."""

    visibility: Annotated[Visibility, doc("result")] = Visibility.VISIBILITY_UNSPECIFIED
    matching_rules: Annotated[tuple[MatchRule, ...], doc("all must match")] = ()


class ServiceEntryVisibility(Message, frozen=True):
    """mesh.v1alpha1.ServiceEntryVisibility."""

    default_visibility: Annotated[Visibility, doc("when no policy matches")] = Visibility.VISIBILITY_UNSPECIFIED
    apply_to_sidecars: Annotated[bool, doc("also cap sidecars")] = False
    policies: Annotated[tuple[ServiceEntryVisibilityPolicy, ...], doc("ordered, first match")] = ()


class MeshConfig(Message, frozen=True):
    """mesh.v1alpha1.MeshConfig."""

    proxy_listen_port: Annotated[Int32, doc("outbound capture port")] = 0
    proxy_inbound_listen_port: Annotated[Int32, doc("inbound capture port")] = 0
    proxy_http_port: Annotated[Int32, doc("local HTTP proxy listener; 0 off")] = 0
    connect_timeout: Annotated[Duration | None, doc("upstream connect limit")] = None
    hbone_idle_timeout: Annotated[Duration | None, doc("HBONE idle")] = None
    protocol_detection_timeout: Annotated[Duration | None, doc("sniffing wait; 0 forever")] = None
    tcp_keepalive: Annotated[TcpKeepalive | None, doc("upstream keepalive")] = None
    ingress_class: Annotated[str, doc("ingress class")] = ""
    ingress_service: Annotated[str, doc("ingress service")] = ""
    ingress_controller_mode: Annotated[IngressControllerMode, doc("ingress handling")] = (
        IngressControllerMode.UNSPECIFIED
    )
    ingress_selector: Annotated[str, doc("ingress pods")] = ""
    enable_tracing: Annotated[bool, doc("span generation switch")] = False
    access_log_file: Annotated[str, doc("access log path; empty off")] = ""
    access_log_format: Annotated[str, doc("custom format")] = ""
    access_log_encoding: Annotated[AccessLogEncoding, doc("TEXT or JSON")] = AccessLogEncoding.TEXT
    enable_envoy_access_log_service: Annotated[bool, doc("ALS switch")] = False
    disable_envoy_listener_log: Annotated[bool, doc("no listener log")] = False
    default_config: Annotated[ProxyConfig | None, doc("default ProxyConfig")] = None
    outbound_traffic_policy: Annotated[MeshConfigOutboundTrafficPolicy | None, doc("unknown egress")] = None
    inbound_traffic_policy: Annotated[InboundTrafficPolicy | None, doc("unknown inbound")] = None
    config_sources: Annotated[tuple[ConfigSource, ...], doc("extra config origins")] = ()
    enable_auto_mtls: Annotated[bool | None, doc("infer client TLS")] = None
    trust_domain: Annotated[str, doc("SPIFFE domain")] = ""
    trust_domain_aliases: Annotated[tuple[str, ...], doc("accepted domains")] = ()
    ca_certificates: Annotated[tuple[CertificateData, ...], doc("extra roots")] = ()
    default_service_export_to: Annotated[tuple[str, ...], doc("default visibility")] = ()
    default_virtual_service_export_to: Annotated[tuple[str, ...], doc("default visibility")] = ()
    default_destination_rule_export_to: Annotated[tuple[str, ...], doc("default visibility")] = ()
    root_namespace: Annotated[str, doc("mesh-wide config namespace")] = ""
    locality_lb_setting: Annotated[LocalityLoadBalancerSetting | None, doc("locality LB")] = None
    zone_aware_lb_setting: Annotated[ZoneAwareLoadBalancerSetting | None, doc("zone aware LB")] = None
    dns_refresh_rate: Annotated[Duration | None, doc("DNS retry interval for failures")] = None
    h2_upgrade_policy: Annotated[MeshConfigH2UpgradePolicy, doc("default h2 upgrade")] = (
        MeshConfigH2UpgradePolicy.DO_NOT_UPGRADE
    )
    inbound_cluster_stat_name: Annotated[str, doc("stat pattern")] = ""
    outbound_cluster_stat_name: Annotated[str, doc("stat pattern")] = ""
    certificates: Annotated[tuple[Certificate, ...], doc("unused", deprecated=True)] = ()
    service_settings: Annotated[tuple[ServiceSettings, ...], doc("per-host settings")] = ()
    service_scope_configs: Annotated[tuple[ServiceScopeConfigs, ...], doc("multicluster scope")] = ()
    enable_prometheus_merge: Annotated[bool | None, doc("merge app metrics")] = None
    verify_certificate_at_client: Annotated[bool | None, doc("unused", deprecated=True)] = None
    ca: Annotated[MeshConfigCA | None, doc("external CA")] = None
    extension_providers: Annotated[tuple[ExtensionProvider, ...], doc("named telemetry/authz providers")] = ()
    default_providers: Annotated[DefaultProviders | None, doc("providers used by default")] = None
    discovery_selectors: Annotated[tuple[LabelSelector, ...], doc("namespaces watched")] = ()
    path_normalization: Annotated[ProxyPathNormalization | None, doc("path handling")] = None
    default_http_retry_policy: Annotated[HTTPRetry | None, doc("outbound default")] = None
    default_inbound_http_retry_policy: Annotated[HTTPRetry | None, doc("inbound default")] = None
    mesh_mtls: Annotated[TLSConfig | None, doc("mTLS TLS parameters")] = field(default=None, name="meshMTLS")
    tls_defaults: Annotated[TLSConfig | None, doc("other TLS parameters")] = None
    default_traffic_policy: Annotated[DefaultTrafficPolicy | None, doc("seed DR blocks")] = None
    service_entry_visibility: Annotated[ServiceEntryVisibility | None, doc("namespace policies for SEs")] = None
