"""What a proxy's ProxyConfig says of spans, and as whom a workload reports them."""

from typing import Any

from tidegate.api.mesh import MeshConfig, ProxyConfig, TracingServiceName
from tidegate.registry.model import Labels
from tidegate.scope.proxy import SpanSettings

DEFAULT_SAMPLING = 1.0
"""Percent."""
_CANONICAL = ("service.istio.io/canonical-name", "app.kubernetes.io/name", "app")
_REVISION = ("service.istio.io/canonical-revision", "app.kubernetes.io/version", "version")


def span_settings(config: ProxyConfig | None, mesh: MeshConfig, namespace: str, labels: Labels) -> SpanSettings:
    """``config``: the proxy's own ProxyConfig as it stands, or the mesh's default.

    Whose spans they are is told only in a mesh that some provider gets spans of: elsewhere workloads that differ in
    nothing else go on to share their configuration.
    """
    given = config.tracing if config is not None else None
    said: dict[str, Any] = {}
    if given is not None:
        said = {
            "sampling": given.sampling if 0 < given.sampling <= 100 else DEFAULT_SAMPLING,
            "path_length": given.max_path_tag_length,
            "istio_tags": given.enable_istio_tags is not False,
            "custom_tags": tuple(sorted(given.custom_tags.items(), key=lambda pair: pair[0])),
        }
    if any(p.zipkin or p.datadog or p.skywalking or p.opentelemetry for p in mesh.extension_providers):
        said |= _identity(config.tracing_service_name if config is not None else None, namespace, dict(labels))
    return SpanSettings(**said)


def _identity(how: TracingServiceName | None, namespace: str, labels: dict[str, str]) -> dict[str, str]:
    canonical = next((labels[name] for name in _CANONICAL if labels.get(name)), "")
    revision = next((labels[name] for name in _REVISION if labels.get(name)), "latest")
    return {
        "service": _service(how, namespace, labels.get("app") or canonical, canonical),
        "canonical_service": canonical or "unknown",
        "canonical_revision": revision,
    }


def _service(how: TracingServiceName | None, namespace: str, app: str, canonical: str) -> str:
    """The name of the service, as Istio's agents put it together."""
    if how is TracingServiceName.CANONICAL_NAME_ONLY:
        return canonical or "istio-proxy"
    named = canonical if how is TracingServiceName.CANONICAL_NAME_AND_NAMESPACE else app
    return f"{named or 'istio-proxy'}.{namespace}"
