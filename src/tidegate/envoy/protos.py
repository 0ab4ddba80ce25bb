"""The xDS messages that builders write, and small helpers for the shapes that every one of them needs.

xds-protos has no types of its own (every message is Any to the type checker): importing it here alone keeps the
names of its folders out of the builders.
"""

from functools import lru_cache
from typing import Any

from envoy.config.accesslog.v3 import accesslog_pb2
from envoy.config.cluster.v3 import circuit_breaker_pb2, cluster_pb2, filter_pb2, outlier_detection_pb2
from envoy.config.common.matcher.v3 import matcher_pb2
from envoy.config.core.v3 import (
    address_pb2,
    base_pb2,
    config_source_pb2,
    extension_pb2,
    grpc_service_pb2,
    http_service_pb2,
    protocol_pb2,
    proxy_protocol_pb2,
    resolver_pb2,
    socket_option_pb2,
    substitution_format_string_pb2,
)
from envoy.config.endpoint.v3 import endpoint_components_pb2, endpoint_pb2
from envoy.config.listener.v3 import listener_components_pb2, listener_pb2
from envoy.config.route.v3 import route_components_pb2, route_pb2
from envoy.config.trace.v3 import datadog_pb2, opentelemetry_pb2, skywalking_pb2, zipkin_pb2
from envoy.data.accesslog.v3 import accesslog_pb2 as access_data_pb2
from envoy.extensions.access_loggers.file.v3 import file_pb2
from envoy.extensions.access_loggers.filters.cel.v3 import cel_pb2 as cel_filter_pb2
from envoy.extensions.access_loggers.grpc.v3 import als_pb2
from envoy.extensions.access_loggers.open_telemetry.v3 import logs_service_pb2
from envoy.extensions.clusters.dynamic_forward_proxy.v3 import cluster_pb2 as dfp_cluster_pb2
from envoy.extensions.common.dynamic_forward_proxy.v3 import dns_cache_pb2
from envoy.extensions.filters.common.fault.v3 import fault_pb2 as common_fault_pb2
from envoy.extensions.filters.http.cors.v3 import cors_pb2
from envoy.extensions.filters.http.dynamic_forward_proxy.v3 import dynamic_forward_proxy_pb2
from envoy.extensions.filters.http.fault.v3 import fault_pb2
from envoy.extensions.filters.http.grpc_stats.v3 import config_pb2 as grpc_stats_pb2
from envoy.extensions.filters.http.grpc_web.v3 import grpc_web_pb2
from envoy.extensions.filters.http.router.v3 import router_pb2
from envoy.extensions.filters.http.set_filter_state.v3 import set_filter_state_pb2 as http_set_filter_state_pb2
from envoy.extensions.filters.http.stateful_session.v3 import stateful_session_pb2
from envoy.extensions.filters.listener.http_inspector.v3 import http_inspector_pb2
from envoy.extensions.filters.listener.original_dst.v3 import original_dst_pb2
from envoy.extensions.filters.listener.original_src.v3 import original_src_pb2
from envoy.extensions.filters.listener.proxy_protocol.v3 import proxy_protocol_pb2 as listener_proxy_protocol_pb2
from envoy.extensions.filters.listener.tls_inspector.v3 import tls_inspector_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2
from envoy.extensions.filters.network.mongo_proxy.v3 import mongo_proxy_pb2
from envoy.extensions.filters.network.set_filter_state.v3 import set_filter_state_pb2
from envoy.extensions.filters.network.sni_dynamic_forward_proxy.v3 import sni_dynamic_forward_proxy_pb2
from envoy.extensions.filters.network.tcp_proxy.v3 import tcp_proxy_pb2
from envoy.extensions.formatter.cel.v3 import cel_pb2
from envoy.extensions.formatter.req_without_query.v3 import req_without_query_pb2
from envoy.extensions.http.header_formatters.preserve_case.v3 import preserve_case_pb2
from envoy.extensions.http.stateful_session.cookie.v3 import cookie_pb2 as session_cookie_pb2
from envoy.extensions.http.stateful_session.header.v3 import header_pb2 as session_header_pb2
from envoy.extensions.network.dns_resolver.cares.v3 import cares_dns_resolver_pb2
from envoy.extensions.request_id.uuid.v3 import uuid_pb2
from envoy.extensions.retry.host.previous_hosts.v3 import previous_hosts_pb2
from envoy.extensions.retry.priority.previous_priorities.v3 import previous_priorities_config_pb2
from envoy.extensions.tracers.opentelemetry.resource_detectors.v3 import (
    dynatrace_resource_detector_pb2,
    environment_resource_detector_pb2,
)
from envoy.extensions.transport_sockets.proxy_protocol.v3 import upstream_proxy_protocol_pb2
from envoy.extensions.transport_sockets.raw_buffer.v3 import raw_buffer_pb2
from envoy.extensions.transport_sockets.tls.v3 import common_pb2, secret_pb2, tls_pb2
from envoy.extensions.upstreams.http.v3 import http_protocol_options_pb2
from envoy.type.http.v3 import cookie_pb2
from envoy.type.matcher.v3 import metadata_pb2 as metadata_matcher_pb2
from envoy.type.matcher.v3 import regex_pb2, string_pb2
from envoy.type.metadata.v3 import metadata_pb2
from envoy.type.tracing.v3 import custom_tag_pb2
from envoy.type.v3 import percent_pb2, range_pb2
from google.protobuf import any_pb2, duration_pb2, struct_pb2, wrappers_pb2

from tidegate.kit.durations import SECOND, Duration

PbAny = any_pb2.Any
PbDuration = duration_pb2.Duration
Struct = struct_pb2.Struct
Value = struct_pb2.Value
ListValue = struct_pb2.ListValue

# addresses, metadata, sources
Address = address_pb2.Address
SocketAddress = address_pb2.SocketAddress
SocketOption = socket_option_pb2.SocketOption
TcpKeepalivePb = address_pb2.TcpKeepalive
Pipe = address_pb2.Pipe
CidrRange = address_pb2.CidrRange
BindConfig = address_pb2.BindConfig
Locality = base_pb2.Locality
Metadata = base_pb2.Metadata
DataSource = base_pb2.DataSource
TransportSocket = base_pb2.TransportSocket
HeaderValue = base_pb2.HeaderValue
HeaderValueOption = base_pb2.HeaderValueOption
RuntimeDouble = base_pb2.RuntimeDouble
RuntimeFractionalPercent = base_pb2.RuntimeFractionalPercent
RoutingPriority = base_pb2.RoutingPriority
TrafficDirection = base_pb2.TrafficDirection
BackoffStrategy = base_pb2.RuntimeUInt32
ConfigSource = config_source_pb2.ConfigSource
ApiConfigSource = config_source_pb2.ApiConfigSource
AggregatedConfigSource = config_source_pb2.AggregatedConfigSource
ApiVersion = config_source_pb2.ApiVersion
GrpcService = grpc_service_pb2.GrpcService
TypedExtensionConfig = extension_pb2.TypedExtensionConfig
SubstitutionFormatString = substitution_format_string_pb2.SubstitutionFormatString
ProxyProtocolConfig = proxy_protocol_pb2.ProxyProtocolConfig
DnsResolutionConfig = resolver_pb2.DnsResolutionConfig
Percent = percent_pb2.Percent
FractionalPercent = percent_pb2.FractionalPercent
Int32Range = range_pb2.Int32Range
StringMatcher = string_pb2.StringMatcher
ListStringMatcher = string_pb2.ListStringMatcher
RegexMatcher = regex_pb2.RegexMatcher
RegexMatchAndSubstitute = regex_pb2.RegexMatchAndSubstitute
MetadataMatcher = metadata_matcher_pb2.MetadataMatcher
MetadataKey = metadata_pb2.MetadataKey
MetadataKind = metadata_pb2.MetadataKind
CustomTag = custom_tag_pb2.CustomTag
ZipkinConfig = zipkin_pb2.ZipkinConfig
DatadogConfig = datadog_pb2.DatadogConfig
SkyWalkingConfig = skywalking_pb2.SkyWalkingConfig
OpenTelemetryConfig = opentelemetry_pb2.OpenTelemetryConfig
EnvironmentResourceDetector = environment_resource_detector_pb2.EnvironmentResourceDetectorConfig
DynatraceResourceDetector = dynatrace_resource_detector_pb2.DynatraceResourceDetectorConfig
HttpService = http_service_pb2.HttpService

# clusters and endpoints
Cluster = cluster_pb2.Cluster
UpstreamConnectionOptions = cluster_pb2.UpstreamConnectionOptions
CircuitBreakers = circuit_breaker_pb2.CircuitBreakers
OutlierDetectionPb = outlier_detection_pb2.OutlierDetection
ClusterFilter = filter_pb2.Filter
ClusterLoadAssignment = endpoint_pb2.ClusterLoadAssignment
LocalityLbEndpoints = endpoint_components_pb2.LocalityLbEndpoints
LbEndpoint = endpoint_components_pb2.LbEndpoint
EndpointPb = endpoint_components_pb2.Endpoint
HttpProtocolOptions = http_protocol_options_pb2.HttpProtocolOptions
CommonHttpProtocolOptions = protocol_pb2.HttpProtocolOptions
Http1ProtocolOptions = protocol_pb2.Http1ProtocolOptions
Http2ProtocolOptions = protocol_pb2.Http2ProtocolOptions
UpstreamHttpProtocolOptions = protocol_pb2.UpstreamHttpProtocolOptions
KeepaliveSettings = protocol_pb2.KeepaliveSettings
DfpClusterConfig = dfp_cluster_pb2.ClusterConfig
DnsCacheConfig = dns_cache_pb2.DnsCacheConfig
StatefulSession = stateful_session_pb2.StatefulSession
StatefulSessionPerRoute = stateful_session_pb2.StatefulSessionPerRoute
CookieSession = session_cookie_pb2.CookieBasedSessionState
HeaderSession = session_header_pb2.HeaderBasedSessionState
Cookie = cookie_pb2.Cookie
PreserveCaseFormatterConfig = preserve_case_pb2.PreserveCaseFormatterConfig
CaresDnsResolverConfig = cares_dns_resolver_pb2.CaresDnsResolverConfig
MatchPredicate = matcher_pb2.MatchPredicate

# transport sockets
UpstreamTlsContext = tls_pb2.UpstreamTlsContext
DownstreamTlsContext = tls_pb2.DownstreamTlsContext
CommonTlsContext = tls_pb2.CommonTlsContext
CertificateValidationContext = common_pb2.CertificateValidationContext
TlsCertificate = common_pb2.TlsCertificate
TlsParameters = common_pb2.TlsParameters
SubjectAltNameMatcher = common_pb2.SubjectAltNameMatcher
SdsSecretConfig = secret_pb2.SdsSecretConfig
Secret = secret_pb2.Secret
RawBuffer = raw_buffer_pb2.RawBuffer
ProxyProtocolUpstreamTransport = upstream_proxy_protocol_pb2.ProxyProtocolUpstreamTransport

# listeners
Listener = listener_pb2.Listener
AdditionalAddress = listener_pb2.AdditionalAddress
FilterChain = listener_components_pb2.FilterChain
FilterChainMatch = listener_components_pb2.FilterChainMatch
Filter = listener_components_pb2.Filter
ListenerFilter = listener_components_pb2.ListenerFilter
ListenerFilterChainMatchPredicate = listener_components_pb2.ListenerFilterChainMatchPredicate
OriginalDst = original_dst_pb2.OriginalDst
OriginalSrc = original_src_pb2.OriginalSrc
TlsInspector = tls_inspector_pb2.TlsInspector
ProxyProtocolListener = listener_proxy_protocol_pb2.ProxyProtocol
HttpInspector = http_inspector_pb2.HttpInspector

# filters
HttpConnectionManager = http_connection_manager_pb2.HttpConnectionManager
HttpFilter = http_connection_manager_pb2.HttpFilter
RequestIDExtension = http_connection_manager_pb2.RequestIDExtension
Rds = http_connection_manager_pb2.Rds
UuidRequestIdConfig = uuid_pb2.UuidRequestIdConfig
TcpProxy = tcp_proxy_pb2.TcpProxy
MongoProxy = mongo_proxy_pb2.MongoProxy
SniDynamicForwardProxy = sni_dynamic_forward_proxy_pb2.FilterConfig
DynamicForwardProxy = dynamic_forward_proxy_pb2.FilterConfig
NetworkSetFilterState = set_filter_state_pb2.Config
CelFormatter = cel_pb2.Cel
HttpSetFilterState = http_set_filter_state_pb2.Config
GrpcStats = grpc_stats_pb2.FilterConfig
GrpcWeb = grpc_web_pb2.GrpcWeb
Cors = cors_pb2.Cors
CorsPolicyPb = cors_pb2.CorsPolicy
HTTPFault = fault_pb2.HTTPFault
FaultAbort = fault_pb2.FaultAbort
FaultDelay = common_fault_pb2.FaultDelay
Router = router_pb2.Router
AccessLogPb = accesslog_pb2.AccessLog
AccessLogFilter = accesslog_pb2.AccessLogFilter
ResponseFlagFilter = accesslog_pb2.ResponseFlagFilter
FileAccessLog = file_pb2.FileAccessLog
HttpGrpcAccessLogConfig = als_pb2.HttpGrpcAccessLogConfig
TcpGrpcAccessLogConfig = als_pb2.TcpGrpcAccessLogConfig
CommonGrpcAccessLogConfig = als_pb2.CommonGrpcAccessLogConfig
OpenTelemetryAccessLogConfig = logs_service_pb2.OpenTelemetryAccessLogConfig
CelAccessLogFilter = cel_filter_pb2.ExpressionFilter
ReqWithoutQuery = req_without_query_pb2.ReqWithoutQuery
AccessLogType = access_data_pb2.AccessLogType

# routes
RouteConfiguration = route_pb2.RouteConfiguration
VirtualHost = route_components_pb2.VirtualHost
Route = route_components_pb2.Route
RouteMatch = route_components_pb2.RouteMatch
RouteAction = route_components_pb2.RouteAction
RedirectAction = route_components_pb2.RedirectAction
DirectResponseAction = route_components_pb2.DirectResponseAction
WeightedCluster = route_components_pb2.WeightedCluster
RetryPolicy = route_components_pb2.RetryPolicy
HeaderMatcher = route_components_pb2.HeaderMatcher
QueryParameterMatcher = route_components_pb2.QueryParameterMatcher
Decorator = route_components_pb2.Decorator
HedgePolicy = route_components_pb2.HedgePolicy
PreviousHostsPredicate = previous_hosts_pb2.PreviousHostsPredicate
PreviousPrioritiesConfig = previous_priorities_config_pb2.PreviousPrioritiesConfig

TYPE_URL_PREFIX = "type.googleapis.com/"


def u32(value: int) -> Any:
    return wrappers_pb2.UInt32Value(value=value)


def u64(value: int) -> Any:
    return wrappers_pb2.UInt64Value(value=value)


def boolean(value: bool) -> Any:
    return wrappers_pb2.BoolValue(value=value)


def double(value: float) -> Any:
    return wrappers_pb2.DoubleValue(value=value)


def duration(value: Duration) -> Any:
    """google.protobuf.Duration; seconds and nanos carry the same sign."""
    total = int(value)
    seconds, nanos = divmod(abs(total), SECOND)
    return PbDuration(seconds=-seconds, nanos=-nanos) if total < 0 else PbDuration(seconds=seconds, nanos=nanos)


def any_of(message: Any) -> Any:
    """google.protobuf.Any whose bytes are the same whenever the messages are equal."""
    return PbAny(
        type_url=TYPE_URL_PREFIX + message.DESCRIPTOR.full_name,
        value=message.SerializeToString(deterministic=True),
    )


def extension(name: str, message: Any) -> Any:
    """TypedExtensionConfig."""
    return TypedExtensionConfig(name=name, typed_config=any_of(message))


def transport_socket(name: str, message: Any) -> Any:
    return TransportSocket(name=name, typed_config=any_of(message))


def socket_address(address: str, port: int) -> Any:
    """Address of TCP at an IP (or, where Envoy resolves names, a host); port 0 is written out."""
    return Address(socket_address=SocketAddress(address=address, port_value=port))


def pipe_address(path: str) -> Any:
    return Address(pipe=Pipe(path=path))


def cidr(text: str) -> Any:
    """CidrRange of ``10.0.0.0/8``."""
    address, _, length = text.partition("/")
    return CidrRange(address_prefix=address, prefix_len=u32(int(length)))


def case_kept() -> Any:
    """How headers of HTTP/1 are written: as they came."""
    return Http1ProtocolOptions.HeaderKeyFormat(
        stateful_formatter=extension("preserve_case", PreserveCaseFormatterConfig())
    )


def metadata(**namespaces: dict[str, Any]) -> Any:
    """Metadata with one Struct per filter namespace: ``metadata(istio={"config": ...})``."""
    message = Metadata()
    for name, content in namespaces.items():
        message.filter_metadata[name].update(content)
    return message


@lru_cache(maxsize=1)
def ads() -> Any:
    """Config source: aggregated discovery, waiting without limit for the first answer. Never change it: copy it."""
    return ConfigSource(
        ads=AggregatedConfigSource(), initial_fetch_timeout=PbDuration(), resource_api_version=ApiVersion.V3
    )
