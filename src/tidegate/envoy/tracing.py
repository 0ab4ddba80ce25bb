"""Tracing of HTTP connection managers: who gets spans, of how many requests, with which tags."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from tidegate.api.fields import Duration
from tidegate.api.mesh import CustomTag as MeshTag
from tidegate.api.mesh import (
    DatadogTracingProvider,
    ExtensionProvider,
    HttpHeader,
    OpenTelemetryTracingProvider,
    ServiceAttributeEnrichment,
    SkyWalkingTracingProvider,
    ZipkinTracingProvider,
)
from tidegate.api.telemetry import CustomTag
from tidegate.envoy import protos
from tidegate.envoy.inputs import Tracer
from tidegate.kit.durations import SECOND
from tidegate.scope.proxy import ProxyKind, SpanSettings

ZIPKIN = "envoy.tracers.zipkin"
DATADOG = "envoy.tracers.datadog"
SKYWALKING = "envoy.tracers.skywalking"
OPENTELEMETRY = "envoy.tracers.opentelemetry"
_DETECTORS = f"{OPENTELEMETRY}.resource_detectors"
_ZIPKIN_PATH = "/api/v2/spans"
_COLLECTOR_TIMEOUT = Duration(5 * SECOND)

Provider = ZipkinTracingProvider | DatadogTracingProvider | SkyWalkingTracingProvider | OpenTelemetryTracingProvider


def provider_of(found: ExtensionProvider | None) -> Provider | None:
    """The provider as one that spans can be sent to; None for one that makes something else, or for which upstream
    Envoy has no tracer."""
    if found is None:
        return None
    return found.zipkin or found.datadog or found.skywalking or found.opentelemetry


def put_default(manager: Any, proxy: ProxyKind) -> None:
    """Where Telemetry says nothing: traces are begun, and nobody gets spans."""
    _sample(manager.tracing, proxy.spans.sampling)
    manager.tracing.custom_tags.extend(_tags(proxy, proxy.spans.istio_tags, proxy.spans.custom_tags))
    _limit(manager.tracing, 0, proxy)


def put(manager: Any, tracer: Tracer, proxy: ProxyKind) -> None:
    """As Telemetry says; what it leaves open is as the proxy's ProxyConfig says."""
    by_request_id = protos.UuidRequestIdConfig(use_request_id_for_trace_sampling=protos.boolean(tracer.use_request_id))
    manager.request_id_extension.typed_config.CopyFrom(protos.any_of(by_request_id))
    if not tracer.reported:
        return
    tracing = manager.tracing
    _sample(tracing, proxy.spans.sampling if tracer.sampling is None else tracer.sampling)
    tracing.custom_tags.extend(_tags(proxy, tracer.istio_tags, tracer.custom_tags or proxy.spans.custom_tags))
    provider = provider_of(tracer.provider.value) if tracer.provider is not None else None
    if provider is not None:
        name, make = _MAKERS[type(provider)]
        tracing.provider.name = name
        tracing.provider.typed_config.CopyFrom(protos.any_of(make(provider, tracer, proxy.spans)))
        if proxy.router or isinstance(provider, SkyWalkingTracingProvider):
            # a trace begins at a gateway, and SkyWalking ties services together by the client's span
            tracing.spawn_upstream_span.value = True
    _limit(tracing, getattr(provider, "max_tag_length", 0), proxy)


def _sample(tracing: Any, share: float) -> None:
    tracing.client_sampling.value = tracing.overall_sampling.value = 100
    tracing.random_sampling.value = share


def _limit(tracing: Any, given: int, proxy: ProxyKind) -> None:
    if length := given or proxy.spans.path_length:
        tracing.max_path_tag_length.value = length


# Providers


def _zipkin(given: ZipkinTracingProvider, tracer: Tracer, _spans: SpanSettings) -> Any:
    path = given.path or _ZIPKIN_PATH
    config = protos.ZipkinConfig(
        collector_endpoint_version=protos.ZipkinConfig.HTTP_JSON,
        trace_id_128bit=not given.enable64bit_trace_id,
        shared_span_context=protos.boolean(False),
        trace_context_option=protos.ZipkinConfig.TraceContextOption.Value(given.trace_context_option.value),
    )
    service = _http(tracer, path, given.timeout, given.headers)
    service.http_uri.uri = f"http://{service.http_uri.uri}"
    config.collector_service.CopyFrom(service)
    return config


def _datadog(_given: DatadogTracingProvider, tracer: Tracer, spans: SpanSettings) -> Any:
    return protos.DatadogConfig(
        collector_cluster=tracer.cluster, collector_hostname=tracer.host, service_name=spans.service
    )


def _skywalking(given: SkyWalkingTracingProvider, tracer: Tracer, _spans: SpanSettings) -> Any:
    """Envoy names the service after its own cluster, which is the workload's."""
    config = protos.SkyWalkingConfig(grpc_service=_grpc(tracer))
    if given.access_token:
        config.client_config.backend_token = given.access_token
    return config


def _opentelemetry(given: OpenTelemetryTracingProvider, tracer: Tracer, spans: SpanSettings) -> Any:
    by_convention = given.service_attribute_enrichment is ServiceAttributeEnrichment.OTEL_SEMANTIC_CONVENTIONS
    config = protos.OpenTelemetryConfig(service_name=spans.canonical_service if by_convention else spans.service)
    if given.http is not None:
        config.http_service.CopyFrom(_http(tracer, given.http.path, given.http.timeout, given.http.headers))
    else:
        config.grpc_service.CopyFrom(_grpc(tracer))
        if given.grpc is not None and given.grpc.timeout is not None:
            config.grpc_service.timeout.CopyFrom(protos.duration(given.grpc.timeout))
        metadata = given.grpc.initial_metadata if given.grpc is not None else ()
        config.grpc_service.initial_metadata.extend(protos.HeaderValue(key=k, value=v) for k, v in _valued(metadata))
    config.resource_detectors.extend(_detectors(given))
    return config


def _detectors(given: OpenTelemetryTracingProvider) -> Iterator[Any]:
    asked = given.resource_detectors
    by_convention = given.service_attribute_enrichment is ServiceAttributeEnrichment.OTEL_SEMANTIC_CONVENTIONS
    environment = asked is not None and asked.environment is not None
    if environment or (by_convention and not (asked is not None and asked.dynatrace is not None)):
        yield protos.extension(f"{_DETECTORS}.environment", protos.EnvironmentResourceDetector())
    if asked is not None and asked.dynatrace is not None:
        yield protos.extension(f"{_DETECTORS}.dynatrace", protos.DynatraceResourceDetector())
        if by_convention and not environment:
            yield protos.extension(f"{_DETECTORS}.environment", protos.EnvironmentResourceDetector())


def _grpc(tracer: Tracer) -> Any:
    to = protos.GrpcService.EnvoyGrpc(cluster_name=tracer.cluster, authority=tracer.host)
    return protos.GrpcService(envoy_grpc=to)


def _http(tracer: Tracer, path: str, timeout: Duration | None, headers: Sequence[HttpHeader]) -> Any:
    """Envoy demands a timeout; 5 s, as Istio has it, where none is given."""
    found = protos.HttpService()
    found.http_uri.uri = f"{tracer.host}/{path.removeprefix('/')}"
    found.http_uri.cluster = tracer.cluster
    found.http_uri.timeout.CopyFrom(protos.duration(_COLLECTOR_TIMEOUT if timeout is None else timeout))
    for name, value in _valued(headers):
        option = found.request_headers_to_add.add(append_action=protos.HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD)
        option.header.key, option.header.value = name, value
    return found


def _valued(headers: Sequence[HttpHeader]) -> Iterator[tuple[str, str]]:
    """Those whose value is written down: no environment is read here."""
    return ((each.name, each.value) for each in headers if each.value is not None)


_MAKERS: Mapping[type[Any], tuple[str, Callable[[Any, Tracer, SpanSettings], Any]]] = {
    ZipkinTracingProvider: (ZIPKIN, _zipkin),
    DatadogTracingProvider: (DATADOG, _datadog),
    SkyWalkingTracingProvider: (SKYWALKING, _skywalking),
    OpenTelemetryTracingProvider: (OPENTELEMETRY, _opentelemetry),
}


# Tags


def _tags(proxy: ProxyKind, istio: bool, custom: Sequence[tuple[str, CustomTag | MeshTag]]) -> Iterator[Any]:
    """Sorted by name; a tag of one's own takes the place of the mesh's."""
    found = {tag: _literal(tag, value) for tag, value in _istio_tags(proxy) if value} if istio else {}
    found |= {tag: _tag(tag, given) for tag, given in custom}
    yield from (found[tag] for tag in sorted(found))


def _istio_tags(proxy: ProxyKind) -> Iterator[tuple[str, str]]:
    """Nothing that differs between proxies of one kind may stand here."""
    yield "istio.cluster_id", proxy.cluster_id
    yield "istio.namespace", proxy.namespace
    yield "istio.canonical_service", proxy.spans.canonical_service
    yield "istio.canonical_revision", proxy.spans.canonical_revision


def _literal(tag: str, value: str) -> Any:
    return protos.CustomTag(tag=tag, literal=protos.CustomTag.Literal(value=value))


def _tag(tag: str, given: CustomTag | MeshTag) -> Any:
    if given.environment is not None:
        named = protos.CustomTag.Environment(name=given.environment.name, default_value=given.environment.default_value)
        return protos.CustomTag(tag=tag, environment=named)
    if given.header is not None:
        header = protos.CustomTag.Header(name=given.header.name, default_value=given.header.default_value)
        return protos.CustomTag(tag=tag, request_header=header)
    if isinstance(given, CustomTag) and given.formatter is not None:
        return protos.CustomTag(tag=tag, value=given.formatter.value)
    return _literal(tag, given.literal.value if given.literal is not None else "")
