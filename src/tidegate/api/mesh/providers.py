"""Extension providers: where logs, spans and questions of authorization go."""

import enum
from typing import Annotated, Any

from msgspec import field

from tidegate.api.fields import Duration, Int32, Int64, Message, UInt32, doc
from tidegate.api.mesh.proxy import Context


class TraceContextOption(enum.StrEnum):
    USE_B3 = "USE_B3"
    USE_B3_WITH_W3C_PROPAGATION = "USE_B3_WITH_W3C_PROPAGATION"


class ServiceAttributeEnrichment(enum.StrEnum):
    ISTIO_CANONICAL = "ISTIO_CANONICAL"
    OTEL_SEMANTIC_CONVENTIONS = "OTEL_SEMANTIC_CONVENTIONS"


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
