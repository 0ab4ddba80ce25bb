"""Spans by Telemetry: provider, sampling and tags of connection managers."""

from typing import Any

from tests.worlds import Shop, entry, made, mesh, put
from tidegate.envoy import protos

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
    assert (config.collector_cluster, config.collector_endpoint) == ("outbound|9411||spans.example", "/spans")
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
