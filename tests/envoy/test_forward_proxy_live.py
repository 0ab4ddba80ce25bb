"""Hosts that a running Envoy resolves when a request names them."""

import contextlib
import http.client
import http.server
import json
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format

from tests.worlds import Shop, entry, mesh, policy, sidecar
from tidegate.envoy import protos
from tidegate.envoy.resource import CLUSTER
from tidegate.kit import envoy_binary

pytestmark = pytest.mark.envoy

PATIENCE = 20.0
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


def bootstrap(shop: Shop, port: int) -> dict[str, Any]:
    """The listener of the port with its routes inside, and the clusters that need no endpoints from elsewhere."""
    listener = shop.listener(f"{BIND}_{port}")
    for chain in listener.filter_chains:
        manager = protos.HttpConnectionManager()
        if chain.filters[0].typed_config.Unpack(manager):
            manager.route_config.CopyFrom(shop.route(str(port)))
            chain.filters[0].typed_config.Pack(manager)
    made = (protos.Cluster.FromString(r.body) for r in shop.view.resources[CLUSTER].values())
    clusters = [each for each in made if not each.HasField("eds_cluster_config")]
    found = {"listeners": [listener], "clusters": clusters}
    return {"static_resources": {k: [json_format.MessageToDict(m) for m in each] for k, each in found.items()}}


@pytest.fixture
def running(tmp_path: Path, site: int, request: pytest.FixtureRequest) -> Iterator[int]:
    own = {
        "hosts": ["*/*"],
        "port": {"number": site, "name": "p", "protocol": "HTTP"},
        "bind": BIND,
        "captureMode": "NONE",
    }
    shop = Shop(*request.param(site), sidecar("shop/s", own))
    file = tmp_path / "bootstrap.json"
    file.write_text(json.dumps(bootstrap(shop, site)))
    command = [str(envoy_binary.find()), "-c", str(file), "--disable-hot-restart", "--concurrency", "1"]
    with (tmp_path / "envoy.log").open("wb") as log:
        process = subprocess.Popen([*command, "-l", "warning"], stdout=log, stderr=log)
    try:
        await_port(process, site, tmp_path / "envoy.log")
        yield site
    finally:
        process.terminate()
        process.wait(PATIENCE)


def await_port(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        try:
            socket.create_connection((BIND, port), 1).close()
            return
        except OSError:
            time.sleep(0.05)
    pytest.fail(f"Envoy did not listen within {PATIENCE} s: {log.read_text()}")


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


@pytest.mark.parametrize("running", [by_entry], indirect=True)
def test_entries_with_dynamic_dns(running: int) -> None:
    """Two wildcard hosts on one port, each with a cache of its own; what neither takes in is refused."""
    for host in (f"x.a.localhost:{running}", f"y.b.localhost:{running}"):
        assert got(host, running) == (200, host.encode())
    assert got(f"z.localhost:{running}", running)[0] == 502


@pytest.mark.parametrize("running", [by_mesh], indirect=True)
def test_a_mesh_that_resolves_whatever_is_asked_for(running: int) -> None:
    host = f"anything.localhost:{running}"
    assert got(host, running) == (200, host.encode())
