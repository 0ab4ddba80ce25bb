"""TLS that a DestinationRule originates, in a running Envoy: the server must be the host that was asked for."""

import datetime
import http.client
import http.server
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from google.protobuf import json_format

from tests.envoy.running import PATIENCE, free_ports, running
from tests.unit.envoy import given
from tidegate.envoy import clusters, endpoints, protos
from tidegate.envoy.inputs import EndpointsInput

pytestmark = pytest.mark.envoy
HOST = "api.example.com"


def certificate(folder: Path) -> Path:
    """A self-signed certificate for HOST with its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOST)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder(issuer_name=name, subject_name=name, public_key=key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(HOST)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    text = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    file = folder / "server.pem"
    file.write_bytes(made.public_bytes(serialization.Encoding.PEM) + text)
    return file


class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-length", "6")
        self.end_headers()
        self.wfile.write(b"secret")

    def log_message(self, *args: Any) -> None:
        """Quiet."""


class Site(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *args: Any) -> None:
        """A client that does not trust the certificate hangs up: expected here."""


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def site(pem: Path) -> Iterator[int]:
    server = Site(("127.0.0.1", 0), Page)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


def cluster(tls: dict[str, Any], site: int) -> dict[str, Any]:
    """The generated cluster, its endpoint inlined."""
    service = given.service(HOST, given.HTTP)
    item = given.cluster(service=service, rule=given.rule({"tls": tls}))
    shared = {name: getattr(item, name) for name in ("service", "port", "rule", "defaults", "proxy")}
    made = clusters.build(item)
    assert made is not None
    message = protos.Cluster.FromString(made.body)
    placed = endpoints.build(EndpointsInput(endpoints=(given.endpoint("127.0.0.1", site),), **shared))
    message.type = protos.Cluster.STATIC
    message.ClearField("eds_cluster_config")
    message.load_assignment.MergeFromString(placed.body)
    found: dict[str, Any] = json_format.MessageToDict(message, preserving_proto_field_name=True)
    return found


def listener(port: int, to: str) -> dict[str, Any]:
    kinds = "type.googleapis.com/envoy.extensions.filters"
    route = {"match": {"prefix": "/"}, "route": {"cluster": to}}
    manager = {
        "@type": f"{kinds}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "test",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
        "http_filters": [{"name": "router", "typed_config": {"@type": f"{kinds}.http.router.v3.Router"}}],
    }
    address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    return {"address": address, "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}]}


MODES: dict[str, dict[str, Any]] = {
    "trusted": {"mode": "SIMPLE", "caCertificates": "PEM"},
    "named": {"mode": "SIMPLE", "caCertificates": "PEM", "sni": HOST, "subjectAltNames": ["other.example.com"]},
    "unchecked": {"mode": "SIMPLE", "insecureSkipVerify": True},
    "off": {"mode": "DISABLE"},
}


@pytest.fixture(scope="module")
def ports(site: int, pem: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, int]]:
    folder = tmp_path_factory.mktemp("envoy")
    found = dict(zip(MODES, free_ports(len(MODES)), strict=True))
    made = [
        {**cluster({k: str(pem) if v == "PEM" else v for k, v in tls.items()}, site), "name": mode}
        for mode, tls in MODES.items()
    ]
    static = {"clusters": made, "listeners": [listener(port, mode) for mode, port in found.items()]}
    with running({"static_resources": static}, folder, [found["off"]]):
        yield found


def status(port: int, host: str = HOST) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request("GET", "/", headers={"host": host})
        return connection.getresponse().status
    finally:
        connection.close()


def test_the_host_that_was_asked_for_is_trusted(ports: dict[str, int]) -> None:
    assert status(ports["trusted"]) == 200


def test_a_server_of_another_name_is_not(ports: dict[str, int]) -> None:
    assert status(ports["trusted"], "bank.example.com") == 503


def test_subject_names_of_the_rule_count(ports: dict[str, int]) -> None:
    assert status(ports["named"]) == 503


def test_verification_can_be_skipped(ports: dict[str, int]) -> None:
    assert status(ports["unchecked"], "bank.example.com") == 200


def test_disable_sends_plain_text(ports: dict[str, int]) -> None:
    assert status(ports["off"]) in (502, 503)
