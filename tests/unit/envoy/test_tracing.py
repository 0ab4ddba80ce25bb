"""Spans by Telemetry: provider, sampling and tags of connection managers."""

from typing import Any

from tests.unit.envoy.gateway.front import Front, gateway, server
from tests.worlds import Shop, entry, made, mesh, put
from tidegate.api.mesh import CustomTag as MeshTag
from tidegate.api.mesh import Literal
from tidegate.envoy import protos
from tidegate.scope.proxy import SpanSettings

MESH = mesh("""
extensionProviders:
- {name: zip, zipkin: {service: shop/spans.example, port: 9411, path: /spans, maxTagLength: 99}}
- {name: far, datadog: {service: dd.example, port: 8126}}
""")
SITE = entry("shop/a", "a.example", (8080, "HTTP"))
SPANS = entry("shop/spans", "spans.example", (9411, "HTTP"))


def told(*objects: Any, **tracing: Any) -> Any:
    """The connection manager of a client for which Telemetry says this of tracing."""
    telemetry = [made("Telemetry", "shop/t", tracing=[tracing])] if tracing else []
    chain = Shop(SITE, MESH, *objects, *telemetry).listener("0.0.0.0_8080").filter_chains[0]
    return protos.HttpConnectionManager.FromString(chain.filters[-1].typed_config.value)


def test_the_mesh_decides_where_nothing_is_said() -> None:
    found = told(SPANS).tracing
    assert found.random_sampling.value == 1 and not found.HasField("provider")


def test_a_provider_gets_the_spans() -> None:
    found = told(SPANS, providers=[{"name": "zip"}], randomSamplingPercentage=40).tracing
    assert (found.client_sampling.value, found.random_sampling.value, found.overall_sampling.value) == (100, 40, 100)
    config = protos.ZipkinConfig.FromString(found.provider.typed_config.value)
    uri = config.collector_service.http_uri
    assert (uri.cluster, uri.uri) == ("outbound|9411||spans.example", "http://spans.example/spans")
    assert uri.timeout.seconds == 5
    assert config.trace_id_128bit and found.max_path_tag_length.value == 99


def test_one_that_is_not_known_gets_none() -> None:
    for objects, name in (((), "zip"), ((SPANS,), "far"), ((SPANS,), "absent")):
        assert not told(*objects, providers=[{"name": name}]).tracing.HasField("provider")


def test_a_service_that_spans_go_to_may_come_later() -> None:
    shop = Shop(SITE, MESH, made("Telemetry", "shop/t", tracing=[{"providers": [{"name": "zip"}]}]))
    assert shop.advance(put(SPANS))
    config = shop.listener("0.0.0.0_8080").filter_chains[0].filters[-1].typed_config
    assert protos.HttpConnectionManager.FromString(config.value).tracing.HasField("provider")


def test_reporting_can_be_switched_off() -> None:
    assert not told(SPANS, providers=[{"name": "zip"}], disableSpanReporting=True).HasField("tracing")


def test_tags() -> None:
    custom = {
        "a": {"literal": {"value": "x"}},
        "b": {"environment": {"name": "V", "defaultValue": "d"}},
        "c": {"header": {"name": "x-h"}},
        "d": {"formatter": {"value": "%RESPONSE_CODE%"}},
        "istio.namespace": {"literal": {"value": "mine"}},
    }
    tags = {tag.tag: tag for tag in told(customTags=custom).tracing.custom_tags}
    assert list(tags) == sorted(tags) and "istio.cluster_id" in tags
    assert tags["a"].literal.value == "x" and tags["istio.namespace"].literal.value == "mine"
    assert (tags["b"].environment.name, tags["b"].environment.default_value) == ("V", "d")
    assert (tags["c"].request_header.name, tags["d"].value) == ("x-h", "%RESPONSE_CODE%")
    assert not told(enableIstioTags=False).tracing.custom_tags


def test_the_request_id_may_be_left_out_of_sampling() -> None:
    config = told(useRequestIdForTraceSampling=False).request_id_extension.typed_config
    found = protos.UuidRequestIdConfig.FromString(config.value)
    assert found.use_request_id_for_trace_sampling.value is False


PROVIDERS = mesh("""
extensionProviders:
- name: zip
  zipkin:
    service: spans.example
    port: 9411
    timeout: 2s
    headers: [{name: x-key, value: v}, {name: x-env, envName: E}]
- {name: dd, datadog: {service: spans.example, port: 9411, maxTagLength: 9}}
- {name: sky, skywalking: {service: spans.example, port: 9411, accessToken: secret}}
- name: grpc
  opentelemetry:
    {service: spans.example, port: 9411, grpc: {timeout: 3s, initialMetadata: [{name: a, value: b}]}}
- name: http
  opentelemetry:
    service: spans.example
    port: 9411
    http: {path: /v1/traces, headers: [{name: x-key, value: v}]}
    serviceAttributeEnrichment: OTEL_SEMANTIC_CONVENTIONS
    resourceDetectors: {environment: {}, dynatrace: {}}
""")
SPANS_OF = SpanSettings(service="web.shop", canonical_service="web", canonical_revision="v1")


def sent_to(name: str) -> Any:
    objects = (SITE, PROVIDERS, SPANS, made("Telemetry", "shop/t", tracing=[{"providers": [{"name": name}]}]))
    chain = Shop(*objects, spans=SPANS_OF).listener("0.0.0.0_8080").filter_chains[0]
    return protos.HttpConnectionManager.FromString(chain.filters[-1].typed_config.value).tracing


class TestProviders:
    def test_zipkin_with_a_timeout_and_headers(self) -> None:
        found = protos.ZipkinConfig.FromString(sent_to("zip").provider.typed_config.value)
        service = found.collector_service
        assert (service.http_uri.uri, service.http_uri.cluster) == (
            "http://spans.example/api/v2/spans",
            "outbound|9411||spans.example",
        )
        assert service.http_uri.timeout.seconds == 2 and not found.collector_cluster
        assert [(h.header.key, h.header.value) for h in service.request_headers_to_add] == [("x-key", "v")]

    def test_datadog(self) -> None:
        tracing = sent_to("dd")
        found = protos.DatadogConfig.FromString(tracing.provider.typed_config.value)
        assert (found.collector_cluster, found.collector_hostname, found.service_name) == (
            "outbound|9411||spans.example",
            "spans.example",
            "web.shop",
        )
        assert tracing.provider.name == "envoy.tracers.datadog" and tracing.max_path_tag_length.value == 9

    def test_skywalking(self) -> None:
        tracing = sent_to("sky")
        found = protos.SkyWalkingConfig.FromString(tracing.provider.typed_config.value)
        assert found.grpc_service.envoy_grpc.cluster_name == "outbound|9411||spans.example"
        assert found.client_config.backend_token == "secret"
        assert tracing.spawn_upstream_span.value

    def test_opentelemetry_over_grpc(self) -> None:
        found = protos.OpenTelemetryConfig.FromString(sent_to("grpc").provider.typed_config.value)
        assert found.service_name == "web.shop" and found.grpc_service.timeout.seconds == 3
        assert found.grpc_service.envoy_grpc.authority == "spans.example"
        assert [(h.key, h.value) for h in found.grpc_service.initial_metadata] == [("a", "b")]

    def test_opentelemetry_over_http(self) -> None:
        found = protos.OpenTelemetryConfig.FromString(sent_to("http").provider.typed_config.value)
        assert found.service_name == "web" and found.http_service.http_uri.uri == "spans.example/v1/traces"
        assert found.http_service.http_uri.timeout.seconds == 5
        names = [each.name.rpartition(".")[2] for each in found.resource_detectors]
        assert names == ["environment", "dynatrace"]

    def test_who_it_was_stands_in_the_tags(self) -> None:
        tags = {tag.tag: tag.literal.value for tag in sent_to("dd").custom_tags}
        assert (tags["istio.canonical_service"], tags["istio.canonical_revision"]) == ("web", "v1")


class TestProxyConfig:
    """``defaultConfig.tracing``, or the workload's own."""

    CUSTOM = (("mine", MeshTag(literal=Literal(value="x"))),)

    def tracing(self, **telemetry: Any) -> Any:
        spans = SpanSettings(sampling=25, path_length=77, istio_tags=False, custom_tags=self.CUSTOM)
        objects = [made("Telemetry", "shop/t", tracing=[telemetry])] if telemetry else []
        chain = Shop(SITE, mesh("enableTracing: true"), *objects, spans=spans).listener("0.0.0.0_8080").filter_chains[0]
        return protos.HttpConnectionManager.FromString(chain.filters[-1].typed_config.value).tracing

    def test_it_holds_where_telemetry_says_nothing(self) -> None:
        found = self.tracing()
        assert (found.random_sampling.value, found.max_path_tag_length.value) == (25, 77)
        assert [tag.tag for tag in found.custom_tags] == ["mine"]

    def test_telemetry_wins_field_by_field(self) -> None:
        found = self.tracing(randomSamplingPercentage=90)
        assert (found.random_sampling.value, found.max_path_tag_length.value) == (90, 77)
        assert "mine" in [tag.tag for tag in found.custom_tags]
        other = self.tracing(customTags={"other": {"literal": {"value": "y"}}})
        assert "mine" not in [tag.tag for tag in other.custom_tags]


def test_a_gateway_has_spans_of_its_calls() -> None:
    telemetry = made("Telemetry", "edge/t", tracing=[{"providers": [{"name": "zip"}]}])
    front = Front(MESH, SPANS, telemetry, gateway("edge/one", server(80, "HTTP"))).listener("0.0.0.0_80")
    manager = protos.HttpConnectionManager.FromString(front.filter_chains[0].filters[-1].typed_config.value)
    assert manager.tracing.spawn_upstream_span.value
    assert not told(SPANS, providers=[{"name": "zip"}]).tracing.HasField("spawn_upstream_span")


def test_conventions_take_in_the_environment() -> None:
    plain = "{name: otel, opentelemetry: {service: spans.example, port: 9411, serviceAttributeEnrichment: %s}}"
    for how, detectors in (("ISTIO_CANONICAL", []), ("OTEL_SEMANTIC_CONVENTIONS", ["environment"])):
        config = mesh(f"extensionProviders: [{plain % how}]")
        telemetry = made("Telemetry", "shop/t", tracing=[{"providers": [{"name": "otel"}]}])
        chain = Shop(SITE, config, SPANS, telemetry).listener("0.0.0.0_8080").filter_chains[0]
        tracing = protos.HttpConnectionManager.FromString(chain.filters[-1].typed_config.value).tracing
        found = protos.OpenTelemetryConfig.FromString(tracing.provider.typed_config.value)
        assert [d.name.rpartition(".")[2] for d in found.resource_detectors] == detectors
