"""ProxyConfig: how a proxy is started, and what it does by itself."""

import enum
from typing import Annotated

from msgspec import field

from tidegate.api.fields import Duration, Int32, Int64, Message, UInt32, doc
from tidegate.api.networking import ClientTLSSettings, ReadinessProbe, TcpKeepalive


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

    __numbers__ = (0, 1, 1000)


class InterceptionMode(enum.StrEnum):
    REDIRECT = "REDIRECT"
    TPROXY = "TPROXY"
    NONE = "NONE"


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
