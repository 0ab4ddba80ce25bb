"""Telemetry in listeners: providers, conditions, and that equal outcomes share what is built."""

from typing import Any

import msgspec
import pytest
from google.protobuf import json_format

from tests.worlds import Shop, entry, gone, made, mesh, put
from tidegate.api.mesh import ExtensionProvider
from tidegate.api.walk import walk
from tidegate.envoy import accesslog, protos
from tidegate.envoy.defaults import keyed
from tidegate.envoy.inputs import AccessLog, Logger
from tidegate.envoy.resource import LISTENER

MESH = mesh("""
accessLogFile: /dev/stdout
extensionProviders:
- {name: json, envoyFileAccessLog: {path: /log, logFormat: {labels: {code: "%RESPONSE_CODE%"}}}}
- {name: far, envoyHttpAls: {service: shop/logs.example, port: 80}}
- {name: tracer, zipkin: {service: z.example, port: 9411}}
""")
SITE = entry("shop/a", "a.example", (8080, "HTTP"))


def telemetry(where: str, *names: str, day: int = 1, expression: str = "", **spec: Any) -> Any:
    logging: dict[str, Any] = {"providers": [{"name": name} for name in names]}
    if expression:
        logging["filter"] = {"expression": expression}
    return made("Telemetry", where, day=day, accessLogging=[logging], **spec)


def logs(shop: Shop, name: str = "0.0.0.0_8080") -> list[Any]:
    config = shop.listener(name).filter_chains[0].filters[-1].typed_config
    return list(protos.HttpConnectionManager.FromString(config.value).access_log)


def paths(shop: Shop) -> list[str]:
    return [protos.FileAccessLog.FromString(each.typed_config.value).path for each in logs(shop)]


class TestOutbound:
    def test_the_meshs_log_counts_where_nothing_is_said(self) -> None:
        assert paths(Shop(MESH, SITE)) == ["/dev/stdout"]

    def test_providers_take_its_place(self) -> None:
        assert paths(Shop(MESH, SITE, telemetry("shop/t", "json"))) == ["/log"]
        assert paths(Shop(MESH, SITE, telemetry("shop/t", "JSON"))) == ["/log"]
        assert paths(Shop(MESH, SITE, telemetry("shop/t", "json", "envoy"))) == ["/dev/stdout", "/log"]

    def test_what_is_no_log_or_is_not_known_logs_nothing(self) -> None:
        assert logs(Shop(MESH, SITE, telemetry("shop/t", "tracer", "absent"))) == []

    def test_an_expression_chooses_what_is_logged(self) -> None:
        shop = Shop(MESH, SITE, telemetry("shop/t", "json", expression="response.code >= 400"))
        (log,) = logs(shop)
        chosen = protos.CelAccessLogFilter.FromString(log.filter.extension_filter.typed_config.value)
        assert chosen.expression == "response.code >= 400"
        (whole,) = shop.listener("virtualOutbound").access_log
        flag, extension = whole.filter.and_filter.filters
        assert list(flag.response_flag_filter.flags) == ["NR"] and extension.HasField("extension_filter")

    def test_an_object_that_comes_and_goes(self) -> None:
        shop, mine = Shop(MESH, SITE), telemetry("shop/t", "json")
        assert "0.0.0.0_8080" in shop.advance(put(mine))[LISTENER] and paths(shop) == ["/log"]
        shop.advance(gone(mine))
        assert paths(shop) == ["/dev/stdout"]

    def test_only_what_logs_is_built_anew(self) -> None:
        shop = Shop(MESH, SITE)
        before = shop.builders.built.copy()
        told = shop.advance(put(telemetry("shop/t", "json")))
        assert set(told) == {LISTENER}
        built = shop.builders.built - before
        assert not [name for name in built if name.startswith(("tidegate.envoy.clusters", "tidegate.envoy.routes"))]

    def test_one_that_says_the_same_changes_nothing(self) -> None:
        shop = Shop(MESH, SITE, telemetry("istio-system/t", "json"))
        assert shop.advance(put(telemetry("shop/same", "json"))) == {}

    def test_which_object_decides_is_told(self) -> None:
        root, mine = telemetry("istio-system/root", "envoy"), telemetry("shop/mine", "json")
        (found,) = [d for d in Shop(MESH, SITE, root, mine).view.decisions() if d.subject.startswith("access log")]
        assert (found.winner, found.losers) == (mine.ref, (root.ref,))

    def test_a_service_that_logs_go_to_may_come_later(self) -> None:
        shop = Shop(MESH, SITE, telemetry("shop/t", "far"))
        assert logs(shop) == []
        shop.advance(put(entry("shop/logs", "logs.example", (80, "GRPC"))))
        config = protos.HttpGrpcAccessLogConfig.FromString(logs(shop)[0].typed_config.value)
        assert config.common_config.grpc_service.envoy_grpc.cluster_name == "outbound|80||logs.example"
        assert config.common_config.log_name == "http_envoy_accesslog"


def log_of(provider: dict[str, Any], settings: AccessLog = AccessLog()) -> tuple[str, dict[str, Any]]:  # noqa: B008
    normal, errors, _ = walk(ExtensionProvider, provider, "")
    assert not errors
    found = msgspec.convert(normal, ExtensionProvider)
    logger = Logger(provider=keyed(found), host="h", cluster="c", of_mesh=found.name == "envoy")
    log = accesslog.provider_log(logger, settings)
    kind = {
        accesslog.FILE_LOGGER: protos.FileAccessLog,
        accesslog.TCP_LOGGER: protos.TcpGrpcAccessLogConfig,
        accesslog.OTEL_LOGGER: protos.OpenTelemetryAccessLogConfig,
    }[log.name]
    return log.name, json_format.MessageToDict(kind.FromString(log.typed_config.value))


class TestProviders:
    def test_the_built_in_one_has_the_meshs_format(self) -> None:
        settings = AccessLog(path="/mesh", format='{"a": "%DURATION%"}', json=True)
        _, own = log_of({"name": "envoy", "envoyFileAccessLog": {"path": "/x"}}, settings)
        assert own["logFormat"]["jsonFormat"] == {"a": "%DURATION%"} and own["path"] == "/x"
        _, other = log_of({"name": "other", "envoyFileAccessLog": {}}, settings)
        assert other["path"] == "/dev/stdout" and "START_TIME" in other["logFormat"]["textFormatSource"]["inlineString"]

    def test_values_that_are_empty_are_left_out_where_asked_for(self) -> None:
        _, found = log_of({"name": "a", "envoyFileAccessLog": {"omitEmptyValues": True}})
        assert found["logFormat"]["omitEmptyValues"] is True

    def test_the_built_in_one_that_leaves_out_values_has_the_default_format(self) -> None:
        settings = AccessLog(path="/mesh", format='{"a": "%DURATION%"}', json=True)
        _, found = log_of({"name": "envoy", "envoyFileAccessLog": {"omitEmptyValues": True}}, settings)
        assert "START_TIME" in found["logFormat"]["textFormatSource"]["inlineString"]

    @pytest.mark.parametrize(
        "form", [{"text": "%REQ_WITHOUT_QUERY(:PATH)%"}, {"labels": {"p": "%REQ_WITHOUT_QUERY(:PATH)%"}}]
    )
    def test_a_command_of_an_extension_brings_the_extension(self, form: dict[str, Any]) -> None:
        _, found = log_of({"name": "a", "envoyFileAccessLog": {"logFormat": form}})
        assert [each["name"] for each in found["logFormat"]["formatters"]] == ["envoy.formatter.req_without_query"]

    def test_services_of_tcp_logs_and_of_open_telemetry(self) -> None:
        name, found = log_of({"name": "a", "envoyTcpAls": {"service": "h", "port": 1, "logName": "mine"}})
        assert (name, found["commonConfig"]["logName"]) == (accesslog.TCP_LOGGER, "mine")
        assert found["commonConfig"]["filterStateObjectsToLog"] == ["upstream_peer", "downstream_peer"]
        given = {"service": "h", "port": 1, "logFormat": {"text": "t", "labels": {"b": "2", "a": "1"}}}
        _, otel = log_of({"name": "a", "envoyOtelAls": given})
        assert otel["body"] == {"stringValue": "t"} and [v["key"] for v in otel["attributes"]["values"]] == ["a", "b"]
        assert "wasm.upstream_peer" in otel["commonConfig"]["filterStateObjectsToLog"]
