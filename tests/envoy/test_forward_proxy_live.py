"""Hosts that a running Envoy resolves when a request names them."""

import contextlib
import http.client
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.envoy.running import PATIENCE, running
from tests.envoy.shops import bootstrap
from tests.worlds import Shop, entry, mesh, policy, sidecar

pytestmark = pytest.mark.envoy

BIND = "127.0.0.3"


class Echo(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = self.headers["host"].encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        """Quiet."""


@pytest.fixture
def site() -> Iterator[int]:
    """A server on the loopback, to which every name under ``localhost`` leads."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


@pytest.fixture
def proxied(tmp_path: Path, site: int, request: pytest.FixtureRequest) -> Iterator[int]:
    own = {
        "hosts": ["*/*"],
        "port": {"number": site, "name": "p", "protocol": "HTTP"},
        "bind": BIND,
        "captureMode": "NONE",
    }
    shop = Shop(*request.param(site), sidecar("shop/s", own))
    with running(bootstrap(shop, BIND, site), tmp_path, [site], BIND):
        yield site


def got(host: str, port: int) -> tuple[int, bytes]:
    with contextlib.closing(http.client.HTTPConnection(BIND, port, timeout=PATIENCE)) as connection:
        connection.request("GET", "/", headers={"host": host})
        response = connection.getresponse()
        return response.status, response.read()


def by_entry(port: int) -> list[Any]:
    refused = mesh("outboundTrafficPolicy: {mode: REGISTRY_ONLY}")
    both = [entry(f"shop/{n}", f"*.{n}.localhost", (port, "HTTP"), resolution="DYNAMIC_DNS") for n in ("a", "b")]
    return [refused, *both, policy("shop/p", "*.b.localhost", connections=9)]


def by_mesh(port: int) -> list[Any]:
    return [mesh("outboundTrafficPolicy: {mode: ALLOW_ANY_DYNAMIC_DNS}"), entry("shop/o", "o.example", (port, "HTTP"))]


@pytest.mark.parametrize("proxied", [by_entry], indirect=True)
def test_entries_with_dynamic_dns(proxied: int) -> None:
    """Two wildcard hosts on one port, each with a cache of its own; what neither takes in is refused."""
    for host in (f"x.a.localhost:{proxied}", f"y.b.localhost:{proxied}"):
        assert got(host, proxied) == (200, host.encode())
    assert got(f"z.localhost:{proxied}", proxied)[0] == 502


@pytest.mark.parametrize("proxied", [by_mesh], indirect=True)
def test_a_mesh_that_resolves_whatever_is_asked_for(proxied: int) -> None:
    host = f"anything.localhost:{proxied}"
    assert got(host, proxied) == (200, host.encode())
