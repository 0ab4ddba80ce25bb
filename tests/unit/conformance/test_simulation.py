"""Simulated calls as connections, and verdicts in the suite's words."""

from typing import Any

import pytest

from conformance.simulation import connection, observed
from tidegate.explain.trace import End, Step, Trace

CALL = {"address": "10.0.0.1", "port": 80, "protocol": "http", "tls": "plaintext", "path": "/", "call_mode": ""}


def call(**more: Any) -> dict[str, Any]:
    return {**CALL, **more}


def trace(*steps: Step, kind: Any = "forwarded", **end: Any) -> Trace:
    return Trace(steps, (End(kind, 1.0, "", steps, **end),))


def ends_tls(secret: str, *, demands: bool) -> Step:
    facts = {"certificates": [secret], "requireClientCertificate": demands}
    return Step("downstream_tls", "DownstreamTlsContext", facts=facts)


class TestConnection:
    @pytest.mark.parametrize(
        ("mode", "proxy_type", "direction"),
        [("inbound", "sidecar", "inbound"), ("", "sidecar", "outbound"), ("", "router", "gateway")],
    )
    def test_direction(self, mode: str, proxy_type: str, direction: str) -> None:
        assert connection(call(call_mode=mode), proxy_type).direction == direction

    def test_http2_over_mutual_tls(self) -> None:
        found = connection(call(protocol="http2", tls="mtls", alpn="istio-h2", sni="a", host_header="a"), "sidecar")
        assert found.tls is not None and found.http is not None
        assert (found.tls.mutual, found.tls.alpn, found.tls.sni) == (True, ("istio-h2",), "a")
        assert (found.http.version, found.http.authority) == ("2", "a")

    def test_bytes(self) -> None:
        found = connection(call(protocol="tcp"), "sidecar")
        assert (found.http, found.tls, found.plain_bytes) == (None, None, True)


class TestVerdict:
    def test_names_that_were_met(self) -> None:
        host = Step("virtual_host", "VirtualHost", "a:80", facts={"routeConfiguration": "80"})
        found = observed(trace(Step("listener", "Listener", "0.0.0.0_80"), host, Step("cluster", "Cluster", "c")), CALL)
        assert found == {"listener": "0.0.0.0_80", "virtual_host": "a:80", "route_config": "80", "cluster": "c"}

    @pytest.mark.parametrize(
        "kind", ["no_listener", "no_filter_chain", "no_route", "no_virtual_host", "protocol_error"]
    )
    def test_errors(self, kind: str) -> None:
        assert observed(trace(kind=kind), CALL)["error"] == kind

    def test_a_redirect_to_https(self) -> None:
        found = trace(kind="redirect", http_status=301, location="https://a/")
        assert observed(found, CALL)["error"] == "tls_redirect"
        assert "error" not in observed(trace(kind="redirect", http_status=302, location="https://a/"), CALL)

    @pytest.mark.parametrize(
        ("step", "tls", "error"),
        [
            (ends_tls("default", demands=True), "mtls", None),
            (ends_tls("default", demands=True), "tls", "mtls_error"),
            (ends_tls("other", demands=True), "mtls", "mtls_error"),
            (ends_tls("other", demands=False), "tls", None),
            (ends_tls("other", demands=False), "plaintext", "tls_error"),
        ],
    )
    def test_mutual_tls_is_known_by_its_secret(self, step: Step, tls: str, error: str | None) -> None:
        assert observed(trace(step), call(tls=tls)).get("error") == error

    def test_chains_that_envoy_would_refuse(self) -> None:
        step = Step("filter_chain", "FilterChain", facts={"ambiguous": ["filterChains[1]"]})
        assert observed(trace(step), CALL)["error"] == "multiple_filter_chain"
