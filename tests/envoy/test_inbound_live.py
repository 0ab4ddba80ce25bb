"""Inbound chains without a certificate, in a running Envoy: what each kind of port does with what arrives."""

import socket
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format

from tests.envoy.running import PATIENCE, free_ports, running
from tests.unit.envoy import given
from tidegate.envoy import inbound, protos
from tidegate.envoy.inputs import InboundInput
from tidegate.scope.proxy import Interception

pytestmark = pytest.mark.envoy
HELLO = b"220 ready\r\n"


class Greeting(socketserver.BaseRequestHandler):
    """Speaks first, as mail and database servers do, then gives back what it gets."""

    def handle(self) -> None:
        self.request.sendall(HELLO)
        while data := self.request.recv(4096):
            self.request.sendall(data)


class Web(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        while self.request.recv(65536):
            self.request.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nserver: app\r\n\r\nok")


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True


@pytest.fixture(scope="module")
def applications() -> Iterator[dict[str, int]]:
    servers = {name: Server(("127.0.0.1", 0), kind) for name, kind in (("greeting", Greeting), ("web", Web))}
    for server in servers.values():
        threading.Thread(target=server.serve_forever, daemon=True).start()
    yield {name: server.server_address[1] for name, server in servers.items()}
    for server in servers.values():
        server.shutdown()
        server.server_close()


def given_ingress(ports: dict[str, int], applications: dict[str, int]) -> InboundInput:
    kinds = (("http", "HTTP", "web"), ("tcp", "TCP", "greeting"), ("auto web", "", "web"), ("auto", "", "greeting"))
    listeners = [
        {
            "port": {"number": ports[name], "protocol": protocol, "name": "p"},
            "bind": "127.0.0.1",
            "defaultEndpoint": f"127.0.0.1:{applications[app]}",
        }
        for name, protocol, app in kinds
    ]
    uncaptured = given.proxy(interception=Interception.NONE)
    return given.inbound(sidecar=given.sidecar(ingress=listeners), proxy=uncaptured)


def static(item: InboundInput) -> dict[str, Any]:
    def plain(made: Any, message: Any) -> list[Any]:
        return [
            json_format.MessageToDict(message.FromString(each.body), preserving_proto_field_name=True) for each in made
        ]

    return {
        "listeners": plain(inbound.inbound_listeners(item), protos.Listener),
        "clusters": plain(inbound.inbound_clusters(item), protos.Cluster),
    }


@pytest.fixture(scope="module")
def ports(applications: dict[str, int], tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, int]]:
    found = dict(zip(("http", "tcp", "auto web", "auto"), free_ports(4), strict=True))
    folder: Path = tmp_path_factory.mktemp("envoy")
    bootstrap = {"static_resources": static(given_ingress(found, applications))}
    with running(bootstrap, folder, found.values()):
        yield found


def talk(port: int, say: bytes, until: bytes) -> bytes:
    """What comes back until ``until`` was seen."""
    heard = b""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
        if say:
            connection.sendall(say)
        while until not in heard:
            data = connection.recv(65536)
            assert data, f"closed after {heard!r}"
            heard += data
    return heard


REQUEST = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"
CLIENT_HELLO = bytes.fromhex("1603010005010000010000")


def test_http_is_carried_as_http(ports: dict[str, int]) -> None:
    assert b"server: istio-envoy" in talk(ports["http"], REQUEST, b"ok")


def test_a_server_may_speak_first_on_a_tcp_port(ports: dict[str, int]) -> None:
    assert talk(ports["tcp"], b"", HELLO) == HELLO


def test_http_is_found_on_a_port_of_no_declared_protocol(ports: dict[str, int]) -> None:
    assert b"server: istio-envoy" in talk(ports["auto web"], REQUEST, b"ok")


@pytest.mark.parametrize("data", [b"\x00\x01binary", CLIENT_HELLO], ids=["bytes", "the application's own TLS"])
def test_other_bytes_pass_a_port_of_no_declared_protocol(data: bytes, ports: dict[str, int]) -> None:
    assert talk(ports["auto"], data, data) == HELLO + data
