"""Spans that a running Envoy sends to a collector: to whom, of how many requests, and with which tags."""

import http.client
import http.server
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2

from tests.envoy.running import HERE, PATIENCE, running
from tests.envoy.shops import bootstrap
from tests.worlds import Shop, entry, made, mesh, sidecar
from tidegate.scope.proxy import SpanSettings

pytestmark = pytest.mark.envoy
BIND = "127.0.0.5"
REQUESTS = 20
"""Envoy sends spans on from five at once."""


class Web(http.server.BaseHTTPRequestHandler):
    """The application and the collector in one: what is posted are spans."""

    server: "Server"
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer(json.dumps(dict(self.headers)).encode())

    def do_POST(self) -> None:
        body = self._chunks() if self.headers["transfer-encoding"] == "chunked" else self._whole()
        self.server.posted.append((self.path, dict(self.headers), body))
        self._answer(b"")

    def _whole(self) -> bytes:
        return self.rfile.read(int(self.headers["content-length"]))

    def _chunks(self) -> bytes:
        found = b""
        while size := int(self.rfile.readline(), 16):
            found += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return found

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


class Server(http.server.ThreadingHTTPServer):
    def __init__(self) -> None:
        super().__init__((HERE, 0), Web)
        self.posted: list[tuple[str, dict[str, str], bytes]] = []


@pytest.fixture
def server() -> Iterator[Server]:
    made_server = Server()
    threading.Thread(target=made_server.serve_forever, args=(0.02,), daemon=True).start()
    yield made_server
    made_server.shutdown()
    made_server.server_close()


def of(port: int, provider: dict[str, Any], **tracing: Any) -> Shop:
    """A client that reaches the application through its proxy, and whose mesh has one provider."""
    here = {"resolution": "DNS", "endpoints": [{"address": "localhost"}]}
    listening = {
        "hosts": ["*/*"],
        "port": {"number": port, "name": "p", "protocol": "HTTP"},
        "bind": BIND,
        "captureMode": "NONE",
    }
    (kind, given), *_ = provider.items()
    told = {kind: {"service": "collector.example", "port": port, **given}}
    return Shop(
        mesh(json.dumps({"extensionProviders": [{"name": "spans", **told}]})),
        entry("shop/app", "app.example", (port, "HTTP"), **here),
        entry("shop/collector", "collector.example", (port, "HTTP"), **here),
        sidecar("shop/s", listening),
        made("Telemetry", "shop/t", tracing=[{"providers": [{"name": "spans"}], **tracing}]),
        spans=SpanSettings(service="client.shop", canonical_service="client", canonical_revision="v1"),
    )


def ask(port: int, times: int) -> list[dict[str, str]]:
    """The headers that the application was sent."""
    connection = http.client.HTTPConnection(BIND, port, timeout=PATIENCE)
    seen = []
    for _ in range(times):
        connection.request("GET", "/", headers={"host": f"app.example:{port}", "x-user": "alice"})
        answer = connection.getresponse()
        body = answer.read()
        assert answer.status == 200, body
        seen.append({name.lower(): value for name, value in json.loads(body).items()})
    connection.close()
    return seen


def spans_posted(server: Server) -> list[tuple[str, dict[str, str], bytes]]:
    deadline = time.monotonic() + PATIENCE
    while not server.posted:
        assert time.monotonic() < deadline, "no spans came"
        time.sleep(0.05)
    return server.posted


def test_zipkin(server: Server, tmp_path: Path) -> None:
    port = server.server_address[1]
    tags = {"user": {"header": {"name": "x-user"}}, "stage": {"literal": {"value": "test"}}}
    provider = {"zipkin": {"timeout": "3s", "headers": [{"name": "x-key", "value": "k"}]}}
    shop = of(port, provider, randomSamplingPercentage=100, customTags=tags)
    with running(bootstrap(shop, BIND, port), tmp_path, [port], BIND):
        seen = ask(port, REQUESTS)
        path, headers, body = spans_posted(server)[0]
    assert path == "/api/v2/spans" and headers["x-key"] == "k" and headers["host"] == "collector.example"
    first = json.loads(body)[0]
    assert first["kind"] == "CLIENT" and first["traceId"] in {each["x-b3-traceid"] for each in seen}
    told = first["tags"]
    assert (told["user"], told["stage"], told["istio.canonical_service"]) == ("alice", "test", "client")
    assert {each["x-b3-sampled"] for each in seen} == {"1"}


def test_opentelemetry(server: Server, tmp_path: Path) -> None:
    port = server.server_address[1]
    shop = of(port, {"opentelemetry": {"http": {"path": "/v1/traces"}}}, randomSamplingPercentage=100)
    with running(bootstrap(shop, BIND, port), tmp_path, [port], BIND):
        seen = ask(port, REQUESTS)
        path, _, body = spans_posted(server)[0]
    assert path == "/v1/traces"
    found = trace_service_pb2.ExportTraceServiceRequest.FromString(body).resource_spans[0]
    named = {each.key: each.value.string_value for each in found.resource.attributes}
    assert named["service.name"] == "client.shop"
    traces = {bytes.fromhex(each["traceparent"].split("-")[1]) for each in seen}
    assert any(trace in body for trace in traces)  # the message of spans has had several names


def test_nothing_is_sampled_at_zero(server: Server, tmp_path: Path) -> None:
    """Traces are passed on all the same, as not sampled."""
    port = server.server_address[1]
    shop = of(port, {"zipkin": {}}, randomSamplingPercentage=0)
    with running(bootstrap(shop, BIND, port), tmp_path, [port], BIND):
        seen = ask(port, REQUESTS)
    assert {each["x-b3-sampled"] for each in seen} == {"0"} and not server.posted
