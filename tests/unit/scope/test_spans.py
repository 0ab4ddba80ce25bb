"""As whom a workload reports spans, and what its ProxyConfig says of them."""

import pytest

from tidegate.api import meshconfig
from tidegate.registry.model import labels_of
from tidegate.scope.proxy import SpanSettings
from tidegate.scope.spans import span_settings

PROVIDER = "extensionProviders: [{name: t, opentelemetry: {service: t.example, port: 4317}}]"
LABELS = {"app": "web", "service.istio.io/canonical-name": "shop-web", "version": "v2"}


def settings(text: str, labels: dict[str, str] = LABELS) -> SpanSettings:
    mesh = meshconfig.parse(text)
    return span_settings(mesh.default_config, mesh, "shop", labels_of(labels))


def test_nobody_is_named_where_nobody_gets_spans() -> None:
    assert settings("enableTracing: true") == SpanSettings()


@pytest.mark.parametrize(
    ("how", "service"),
    [
        ("APP_LABEL_AND_NAMESPACE", "web.shop"),
        ("CANONICAL_NAME_ONLY", "shop-web"),
        ("CANONICAL_NAME_AND_NAMESPACE", "shop-web.shop"),
    ],
)
def test_the_service_is_named_as_asked(how: str, service: str) -> None:
    found = settings(f"{PROVIDER}\ndefaultConfig: {{tracingServiceName: {how}}}")
    assert (found.service, found.canonical_service, found.canonical_revision) == (service, "shop-web", "v2")


def test_a_workload_without_labels_has_a_name_nevertheless() -> None:
    found = settings(PROVIDER, {})
    assert (found.service, found.canonical_service, found.canonical_revision) == (
        "istio-proxy.shop",
        "unknown",
        "latest",
    )


def test_what_the_configuration_says() -> None:
    found = settings(
        "defaultConfig: {tracing: {sampling: 40, maxPathTagLength: 9, enableIstioTags: false,"
        " customTags: {b: {literal: {value: x}}, a: {header: {name: h}}}}}"
    )
    assert (found.sampling, found.path_length, found.istio_tags) == (40, 9, False)
    assert [name for name, _ in found.custom_tags] == ["a", "b"]


def test_no_sampling_means_the_default() -> None:
    assert settings("defaultConfig: {tracing: {maxPathTagLength: 9}}").sampling == 1
