"""Envoy's validate mode accepts what Telemetry brings: every kind of log, filters and spans."""

from pathlib import Path

import pytest

from tests.envoy.test_compiled_validates import MANIFESTS, assert_valid, compiled

pytestmark = pytest.mark.envoy

MESH = """
extensionProviders:
- name: text
  envoyFileAccessLog: {path: /dev/stdout, logFormat: {text: "%REQ_WITHOUT_QUERY(:PATH)% %CEL(request.host)%"}}
- {name: json, envoyFileAccessLog: {path: /dev/stdout, omitEmptyValues: true, logFormat: {labels: {a: "%DURATION%"}}}}
- {name: http, envoyHttpAls: {service: shop/partner.example.com, port: 80}}
- {name: tcp, envoyTcpAls: {service: shop/partner.example.com, port: 80}}
- {name: otel, envoyOtelAls: {service: partner.example.com, port: 80, logFormat: {labels: {a: "%DURATION%"}}}}
- {name: spans, zipkin: {service: partner.example.com, port: 80, timeout: 2s, headers: [{name: a, value: b}]}}
- {name: datadog, datadog: {service: partner.example.com, port: 80}}
- {name: skywalking, skywalking: {service: partner.example.com, port: 80, accessToken: secret}}
- {name: otlp, opentelemetry: {service: partner.example.com, port: 80, grpc: {initialMetadata: [{name: a, value: b}]}}}
- name: otlp-http
  opentelemetry:
    service: partner.example.com
    port: 80
    http: {path: /v1/traces}
    resourceDetectors: {environment: {}}
"""
TELEMETRY = """
---
apiVersion: telemetry.istio.io/v1
kind: Telemetry
metadata: {name: all, namespace: shop}
spec:
  accessLogging:
  - providers: [{name: text}, {name: json}, {name: otel}]
    filter: {expression: "response.code >= 400 || request.headers['x-debug'] == '1'"}
  tracing:
  - providers: [{name: spans}]
    customTags:
      a: {literal: {value: x}}
      b: {environment: {name: HOME}}
      c: {header: {name: x-h, defaultValue: none}}
      d: {formatter: {value: "%REQ(:AUTHORITY)%"}}
"""
TRACERS = ("datadog", "skywalking", "otlp", "otlp-http")
HTTP_ONLY = TELEMETRY.replace("{name: text}, {name: json}, {name: otel}", "{name: http}")


CASES = {
    "files and otel": TELEMETRY,
    "http service": HTTP_ONLY,
    **{name: TELEMETRY.replace("{name: spans}", f"{{name: {name}}}") for name in TRACERS},
}


@pytest.mark.parametrize("telemetry", CASES.values(), ids=CASES)
def test_envoy_accepts_logs_and_spans(tmp_path: Path, telemetry: str) -> None:
    mesh = tmp_path / "mesh.yaml"
    mesh.write_text(MESH)
    options = ("-f", "-", "--proxy", "orders-0", "--no-certificates", "--mesh-config", str(mesh))
    assert_valid(compiled(*options, given=MANIFESTS + telemetry), tmp_path)
