"""Tracing of HTTP connection managers by what Telemetry says: who gets spans, of how many requests, with which tags."""

from collections.abc import Iterator
from typing import Any

from tidegate.api.mesh import ZipkinTracingProvider
from tidegate.api.telemetry import CustomTag
from tidegate.envoy import protos
from tidegate.envoy.inputs import Tracer

ZIPKIN = "envoy.tracers.zipkin"
_SPANS = "/api/v2/spans"


def put(manager: Any, tracer: Tracer, default_sampling: float, istio_tags: dict[str, str]) -> None:
    """``default_sampling``: percent, where nothing is said. ``istio_tags``: those of the mesh's own."""
    by_request_id = protos.UuidRequestIdConfig(use_request_id_for_trace_sampling=protos.boolean(tracer.use_request_id))
    manager.request_id_extension.typed_config.CopyFrom(protos.any_of(by_request_id))
    if not tracer.reported:
        return
    tracing = manager.tracing
    tracing.client_sampling.value = tracing.overall_sampling.value = 100
    tracing.random_sampling.value = default_sampling if tracer.sampling is None else tracer.sampling
    tracing.custom_tags.extend(_tags(tracer, istio_tags))
    zipkin = tracer.provider.value.zipkin if tracer.provider is not None else None
    if zipkin is not None:
        tracing.provider.name = ZIPKIN
        tracing.provider.typed_config.CopyFrom(protos.any_of(_zipkin(zipkin, tracer)))
        if zipkin.max_tag_length:
            tracing.max_path_tag_length.value = zipkin.max_tag_length


def _zipkin(given: ZipkinTracingProvider, tracer: Tracer) -> Any:
    return protos.ZipkinConfig(
        collector_cluster=tracer.cluster,
        collector_hostname=tracer.host,
        collector_endpoint=given.path or _SPANS,
        collector_endpoint_version=protos.ZipkinConfig.HTTP_JSON,
        trace_id_128bit=not given.enable64bit_trace_id,
        shared_span_context=protos.boolean(False),
        trace_context_option=protos.ZipkinConfig.TraceContextOption.Value(given.trace_context_option.value),
    )


def _tags(tracer: Tracer, istio_tags: dict[str, str]) -> Iterator[Any]:
    """Sorted by name; a tag of one's own takes the place of the mesh's."""
    found = {tag: _literal(tag, value) for tag, value in istio_tags.items() if value and tracer.istio_tags}
    found |= {tag: _tag(tag, given) for tag, given in tracer.custom_tags}
    yield from (found[tag] for tag in sorted(found))


def _literal(tag: str, value: str) -> Any:
    return protos.CustomTag(tag=tag, literal=protos.CustomTag.Literal(value=value))


def _tag(tag: str, given: CustomTag) -> Any:
    if given.environment is not None:
        named = protos.CustomTag.Environment(name=given.environment.name, default_value=given.environment.default_value)
        return protos.CustomTag(tag=tag, environment=named)
    if given.header is not None:
        header = protos.CustomTag.Header(name=given.header.name, default_value=given.header.default_value)
        return protos.CustomTag(tag=tag, request_header=header)
    if given.formatter is not None:
        return protos.CustomTag(tag=tag, value=given.formatter.value)
    return _literal(tag, given.literal.value if given.literal is not None else "")
