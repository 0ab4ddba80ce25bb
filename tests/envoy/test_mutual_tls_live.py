"""Mutual TLS in a running Envoy: what each mode takes, and rules about who the caller is by its certificate."""

import contextlib
import datetime
import http.client
import http.server
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.envoy.running import HERE, PATIENCE, free_ports, running
from tests.envoy.test_security_live import Web, istio, plain, policy, to
from tests.worlds import put
from tidegate.api import decode
from tidegate.envoy import protos
from tidegate.envoy.cache import Builders
from tidegate.envoy.defaults import slices
from tidegate.envoy.resource import CLUSTER, LISTENER
from tidegate.envoy.view import build_inbound, inbound_input
from tidegate.registry.model import labels_of
from tidegate.scope.proxy import Interception, Proxy, ProxyKind
from tidegate.snapshot.state import Snapshot

pytestmark = pytest.mark.envoy
CLIENT, OTHER = "spiffe://cluster.local/ns/front/sa/client", "spiffe://cluster.local/ns/back/sa/client"
ALIAS, STRANGER = "spiffe://old.example/ns/front/sa/client", "spiffe://evil.example/ns/front/sa/client"
SERVER = "spiffe://cluster.local/ns/shop/sa/pay"
PERMISSIVE, STRICT, DISABLE = "PERMISSIVE", "STRICT", "DISABLE"


class Authority:
    """Signs certificates whose only name is a SPIFFE id."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.key = folder, ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mesh")])
        made = self._builder(self.name, self.key).add_extension(x509.BasicConstraints(True, None), True)
        self.roots = folder / "roots.pem"
        self.roots.write_bytes(made.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        now, day = datetime.datetime.now(datetime.UTC), datetime.timedelta(days=1)
        builder = x509.CertificateBuilder(self.name, subject, key.public_key(), x509.random_serial_number())
        return builder.not_valid_before(now - day).not_valid_after(now + day)

    def issue(self, identity: str) -> Path:
        """Certificate and key of one identity, in one file."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(identity)])
        made = self._builder(x509.Name([]), key).add_extension(names, critical=True).sign(self.key, hashes.SHA256())
        file = self.folder / f"{abs(hash(identity))}.pem"
        form, none = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        private = key.private_bytes(serialization.Encoding.PEM, form, none)
        file.write_bytes(made.public_bytes(serialization.Encoding.PEM) + private)
        return file


class Stage(NamedTuple):
    ports: dict[str, int]
    authority: Authority

    def ask(self, mode: str, identity: str = "", path: str = "/open") -> int:
        """Status of a request, over mutual TLS where there is an identity; 0 when the connection is refused."""
        connection: http.client.HTTPConnection = http.client.HTTPConnection(HERE, self.ports[mode], timeout=PATIENCE)
        if identity:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.load_verify_locations(self.authority.roots)
            context.load_cert_chain(self.authority.issue(identity))
            context.set_alpn_protocols(["istio"])
            connection = http.client.HTTPSConnection(HERE, self.ports[mode], timeout=PATIENCE, context=context)
        try:
            connection.request("GET", path)
            return connection.getresponse().status
        except (ssl.SSLError, ConnectionError, http.client.HTTPException):
            return 0
        finally:
            connection.close()


def objects(ports: dict[str, int], target: int) -> list[dict[str, Any]]:
    ingress = [
        {"port": {"number": n, "protocol": "HTTP", "name": "p"}, "bind": HERE, "defaultEndpoint": f"{HERE}:{target}"}
        for n in ports.values()
    ]
    modes = {str(number): {"mode": mode} for mode, number in ports.items()}
    who = {"from": [{"source": {"principals": ["cluster.local/ns/front/sa/client"]}}]}
    space = {"from": [{"source": {"namespaces": ["back"]}}]}
    mesh = {"trustDomainAliases": ["old.example"]}
    return [
        istio("networking", "Sidecar", "pay", {"ingress": ingress}),
        istio(
            "security",
            "PeerAuthentication",
            "pay",
            {"selector": {"matchLabels": {"app": "pay"}}, "portLevelMtls": modes},
        ),
        policy("who", "ALLOW", to("/open"), {**to("/client"), **who}, {**to("/back"), **space}),
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "istio", "namespace": "istio-system", "uid": "mesh"},
            "data": {"mesh": json.dumps(mesh)},
        },
    ]


def bootstrap(ports: dict[str, int], target: int, authority: Authority) -> dict[str, Any]:
    found = [decode.stored(decode.admit(raw, field_validation="Strict").object) for raw in objects(ports, target)]
    world, _ = Snapshot.empty().apply([put(each) for each in found])
    assert not world.problems()
    kind = ProxyKind("shop", "shop.svc.cluster.local", interception=Interception.NONE, mtls=True)
    proxy = Proxy("pay-1.shop", (HERE,), kind, labels_of({"app": "pay"}))
    own = build_inbound(inbound_input(world, proxy, slices(world.mesh, world.domain)), Builders()).resources
    pem = {"filename": str(authority.issue(SERVER))}
    roots = {"trusted_ca": {"filename": str(authority.roots)}}
    made = {
        "listeners": [plain(protos.Listener, each.body) for each in own[LISTENER].values()],
        "clusters": [plain(protos.Cluster, each.body) for each in own[CLUSTER].values()],
        "secrets": [
            {"name": "default", "tls_certificate": {"certificate_chain": pem, "private_key": pem}},
            {"name": "ROOTCA", "validation_context": roots},
        ],
    }
    return {"static_resources": without_source(made)}


def without_source(value: Any) -> Any:
    """Secrets are found beside the listeners here, not at an agent's."""
    if isinstance(value, dict):
        return {key: without_source(each) for key, each in value.items() if key != "sds_config"}
    return [without_source(each) for each in value] if isinstance(value, list) else value


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder: Path = tmp_path_factory.mktemp("mtls")
    server = http.server.ThreadingHTTPServer((HERE, 0), Web)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    made = Stage(dict(zip((PERMISSIVE, STRICT, DISABLE), free_ports(3), strict=True)), Authority(folder))
    try:
        with running(bootstrap(made.ports, server.server_address[1], made.authority), folder, made.ports.values()):
            yield made
    finally:
        server.shutdown()
        server.server_close()


def test_strict_refuses_plain_text(stage: Stage) -> None:
    assert stage.ask(STRICT) == 0
    assert stage.ask(STRICT, CLIENT) == 200


def test_permissive_takes_both(stage: Stage) -> None:
    assert stage.ask(PERMISSIVE) == 200
    assert stage.ask(PERMISSIVE, CLIENT) == 200


def test_disable_refuses_mutual_tls(stage: Stage) -> None:
    assert stage.ask(DISABLE) == 200
    assert stage.ask(DISABLE, CLIENT) == 0


def test_trust_domains(stage: Stage) -> None:
    assert stage.ask(STRICT, ALIAS) == 200
    assert stage.ask(STRICT, STRANGER) == 0


def test_rules_about_principals_and_namespaces(stage: Stage) -> None:
    assert [stage.ask(STRICT, who, "/client") for who in (CLIENT, ALIAS, OTHER)] == [200, 200, 403]
    assert [stage.ask(STRICT, who, "/back") for who in (CLIENT, OTHER)] == [403, 200]


def test_without_a_certificate_a_caller_is_nobody(stage: Stage) -> None:
    assert stage.ask(PERMISSIVE, path="/client") == 403


def test_a_connection_without_a_client_certificate_is_refused(stage: Stage) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(stage.authority.roots)
    said = b""
    with (
        socket.create_connection((HERE, stage.ports[STRICT]), timeout=PATIENCE) as connection,
        contextlib.suppress(ssl.SSLError, ConnectionError),
        context.wrap_socket(connection) as secured,
    ):
        secured.sendall(b"GET /open HTTP/1.1\r\nhost: a\r\n\r\n")
        said = secured.recv(4096)
    assert said == b""
