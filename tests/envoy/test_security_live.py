"""Who gets in: security policies of a world, enforced by a running Envoy."""

import http.client
import http.server
import json
import socket
import socketserver
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from google.protobuf import json_format
from jwt.algorithms import ECAlgorithm

from tests.envoy.running import HERE, PATIENCE, free_ports, running
from tidegate.api import decode
from tidegate.envoy import protos
from tidegate.envoy.cache import Builders
from tidegate.envoy.defaults import slices
from tidegate.envoy.outbound import Outbound
from tidegate.envoy.resource import CLUSTER, LISTENER
from tidegate.envoy.view import build_inbound, inbound_input
from tidegate.registry.model import labels_of
from tidegate.scope.proxy import Interception, Proxy, ProxyKind
from tidegate.snapshot.state import Snapshot
from tidegate.snapshot.world import Event, Verb

pytestmark = pytest.mark.envoy
NEIGHBOUR, STRANGER = "127.0.0.2", "127.0.0.3"
INLINE, FETCHED, KEYLESS = "https://inline.example", "https://fetched.example", "https://keyless.example"
PAY = "https://pay.example"

KEYS = {issuer: ec.generate_private_key(ec.SECP256R1()) for issuer in (INLINE, FETCHED, KEYLESS)}


def key_set(issuer: str) -> dict[str, Any]:
    return {"keys": [{**json.loads(ECAlgorithm.to_jwk(KEYS[issuer].public_key())), "kid": issuer, "alg": "ES256"}]}


def token(issuer: str, by: str = "", **claims: Any) -> str:
    """A token of ``issuer``, signed with its key or another's."""
    signer = by or issuer
    content = {"iss": issuer, "sub": "alice", "aud": PAY, "exp": int(time.time()) + 3600, **claims}
    return jwt.encode(content, KEYS[signer], algorithm="ES256", headers={"kid": signer})


class Web(http.server.BaseHTTPRequestHandler):
    """The application, the authorizer (it lets pass what asks for ``yes``) and the issuer's key server in one."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        checked = self.path.startswith("/check/")
        status = 403 if checked and "yes" not in self.path else 200
        shown = {name.lower(): value for name, value in self.headers.items()}
        body = json.dumps(key_set(FETCHED) if self.path == "/keys" else shown).encode()
        self.send_response(status)
        if checked:
            self.send_header("x-checked", "by-authorizer")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, *_: Any) -> None:
        pass


class Echo(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        while data := self.request.recv(4096):
            self.request.sendall(data)


class Quiet(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True


class Ports(NamedTuple):
    http: int
    tcp: int
    web: int
    echo: int


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[int, int]]:
    made: list[socketserver.BaseServer] = [
        http.server.ThreadingHTTPServer((HERE, 0), Web),
        Quiet((HERE, 0), Echo),
    ]
    for each in made:
        threading.Thread(target=each.serve_forever, daemon=True).start()
    yield made[0].server_address[1], made[1].server_address[1]
    for each in made:
        each.shutdown()
        each.server_close()


def istio(group: str, kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    meta = {"name": name, "namespace": "shop", "uid": name}
    return {"apiVersion": f"{group}.istio.io/v1", "kind": kind, "metadata": meta, "spec": spec}


def policy(name: str, action: str, *rules: dict[str, Any], **more: Any) -> dict[str, Any]:
    spec = {"selector": {"matchLabels": {"app": "pay"}}, "action": action, "rules": list(rules), **more}
    return istio("security", "AuthorizationPolicy", name, spec)


def to(*paths: str, **more: Any) -> dict[str, Any]:
    return {"to": [{"operation": {"paths": list(paths), **more}}]}


def objects(ports: Ports) -> list[dict[str, Any]]:
    ingress = [
        {
            "port": {"number": number, "protocol": protocol, "name": "p"},
            "bind": HERE,
            "defaultEndpoint": f"{HERE}:{target}",
        }
        for number, protocol, target in ((ports.http, "HTTP", ports.web), (ports.tcp, "TCP", ports.echo))
    ]
    on_http = {"ports": [str(ports.http)]}
    return [
        istio("networking", "Sidecar", "pay", {"ingress": ingress, "egress": [{"hosts": ["*/*"]}]}),
        istio(
            "networking",
            "ServiceEntry",
            "asked",
            {
                "hosts": ["asked.example"],
                "resolution": "DNS",
                "ports": [{"number": ports.web, "name": "http", "protocol": "HTTP"}],
                "endpoints": [{"address": HERE}],
            },
        ),
        policy(
            "allow",
            "ALLOW",
            to("/open/*", methods=["GET"], **on_http),
            {**to("/header", **on_http), "when": [{"key": "request.headers[x-user]", "values": ["ali*"]}]},
            {**to("/address", **on_http), "from": [{"source": {"ipBlocks": [f"{NEIGHBOUR}/32"]}}]},
            to("/item/{*}/price", **on_http),
            to("/ask/*", **on_http),
            {**to("/token", **on_http), "from": [{"source": {"requestPrincipals": [f"{INLINE}/*", f"{FETCHED}/*"]}}]},
            {
                **to("/claim", **on_http),
                "when": [{"key": "request.auth.claims[groups]", "values": ["finance"]}],
            },
            {
                "from": [{"source": {"ipBlocks": [f"{NEIGHBOUR}/32"]}}],
                "to": [{"operation": {"ports": [str(ports.tcp)]}}],
            },
        ),
        policy("deny", "DENY", to("/open/secret*", **on_http)),
        policy("ask", "CUSTOM", to("/ask/*", **on_http), provider={"name": "asked"}),
        policy("of-others", "DENY", {}, selector={"matchLabels": {"app": "other"}}),
        istio(
            "security",
            "RequestAuthentication",
            "tokens",
            {
                "jwtRules": [
                    {
                        "issuer": INLINE,
                        "jwks": json.dumps(key_set(INLINE)),
                        "audiences": [PAY],
                        "outputClaimToHeaders": [{"header": "x-subject", "claim": "sub"}],
                    },
                    {"issuer": FETCHED, "jwksUri": f"http://{HERE}:{ports.web}/keys", "forwardOriginalToken": True},
                    {"issuer": KEYLESS},
                ]
            },
        ),
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "istio", "namespace": "istio-system", "uid": "mesh"},
            "data": {"mesh": json.dumps(mesh(ports))},
        },
    ]


def mesh(ports: Ports) -> dict[str, Any]:
    authorizer = {
        "service": "asked.example",
        "port": ports.web,
        "pathPrefix": "/check",
        "headersToUpstreamOnAllow": ["x-checked"],
    }
    return {"extensionProviders": [{"name": "asked", "envoyExtAuthzHttp": authorizer}]}


def bootstrap(ports: Ports) -> dict[str, Any]:
    found = [decode.stored(decode.admit(raw, field_validation="Strict").object) for raw in objects(ports)]
    world, _ = Snapshot.empty().apply([Event(Verb.PUT, each.ref, each) for each in found])
    assert not world.problems()
    kind = ProxyKind(namespace="shop", dns_domain="shop.svc.cluster.local", interception=Interception.NONE)
    proxy = Proxy("pay-1.shop", (HERE,), kind, labels_of({"app": "pay"}))
    cut, builders = slices(world.mesh, world.domain), Builders()
    own = build_inbound(inbound_input(world, proxy, cut), builders).resources
    asked = Outbound(kind, world, cut, builders).resources[CLUSTER][f"outbound|{ports.web}||asked.example"]
    return {
        "static_resources": {
            "listeners": [plain(protos.Listener, each.body) for each in own[LISTENER].values()],
            "clusters": [plain(protos.Cluster, each.body) for each in (*own[CLUSTER].values(), asked)],
        }
    }


def plain(message: Any, body: bytes) -> Any:
    return json_format.MessageToDict(message.FromString(body), preserving_proto_field_name=True)


@pytest.fixture(scope="module")
def ports(servers: tuple[int, int], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ports]:
    found = Ports(*free_ports(2), *servers)
    folder: Path = tmp_path_factory.mktemp("envoy")
    with running(bootstrap(found), folder, (found.http, found.tcp)):
        yield found


class Answer(NamedTuple):
    status: int
    body: bytes

    @property
    def seen(self) -> dict[str, str]:
        """The request's headers, as the application saw them."""
        found: dict[str, str] = json.loads(self.body)
        return found


def ask(port: int, path: str, *, method: str = "GET", source: str = HERE, **headers: str) -> Answer:
    connection = http.client.HTTPConnection(HERE, port, timeout=PATIENCE, source_address=(source, 0))
    try:
        connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        return Answer(answer.status, answer.read())
    finally:
        connection.close()


def bearing(text: str) -> dict[str, str]:
    return {"authorization": f"Bearer {text}"}


def test_paths_and_methods(ports: Ports) -> None:
    assert ask(ports.http, "/open/a").status == 200
    assert ask(ports.http, "/open/a", method="POST").status == 403
    assert ask(ports.http, "/elsewhere") == (403, b"RBAC: access denied")
    assert ask(ports.http, "/item/7/price").status == 200
    assert ask(ports.http, "/item/7/8/price").status == 403


def test_what_is_denied_is_denied_though_something_allows_it(ports: Ports) -> None:
    assert ask(ports.http, "/open/secret/1").status == 403


def test_headers(ports: Ports) -> None:
    assert ask(ports.http, "/header", x_user="alice").status == 200
    assert ask(ports.http, "/header", x_user="bob").status == 403
    assert ask(ports.http, "/header").status == 403


def test_addresses(ports: Ports) -> None:
    assert ask(ports.http, "/address", source=NEIGHBOUR).status == 200
    assert ask(ports.http, "/address", source=STRANGER).status == 403


def test_connections_that_are_not_http(ports: Ports) -> None:
    assert spoken(ports.tcp, NEIGHBOUR) == b"hello"
    assert spoken(ports.tcp, STRANGER) == b""


def spoken(port: int, source: str) -> bytes:
    """What comes back; nothing when the connection is closed instead."""
    with socket.create_connection((HERE, port), timeout=PATIENCE, source_address=(source, 0)) as connection:
        try:
            connection.sendall(b"hello")
            return connection.recv(64)
        except ConnectionError:
            return b""


def test_an_authorizer_is_asked_and_may_add_headers(ports: Ports) -> None:
    allowed = ask(ports.http, "/ask/yes")
    assert allowed.status == 200
    assert allowed.seen["x-checked"] == "by-authorizer"
    assert ask(ports.http, "/ask/no").status == 403
    assert "x-checked" not in ask(ports.http, "/open/a").seen


def test_a_token_is_accepted_by_its_signature(ports: Ports) -> None:
    accepted = ask(ports.http, "/token", **bearing(token(INLINE)))
    assert accepted.status == 200
    assert accepted.seen["x-subject"] == "alice"
    assert "authorization" not in accepted.seen
    assert ask(ports.http, "/token").status == 403
    assert ask(ports.http, "/token", **bearing(token(INLINE, by=FETCHED))).status == 401
    assert ask(ports.http, "/token", **bearing(token(INLINE, exp=1))).status == 401
    assert ask(ports.http, "/token", **bearing(token(INLINE, aud="https://other.example"))).status == 403


def test_a_bad_token_is_refused_where_none_is_needed(ports: Ports) -> None:
    assert ask(ports.http, "/open/a", **bearing(token(INLINE, by=FETCHED))).status == 401
    assert ask(ports.http, "/open/a", **bearing("nonsense")).status == 401


def test_keys_are_fetched(ports: Ports) -> None:
    accepted = ask(ports.http, "/token", **bearing(token(FETCHED)))
    assert accepted.status == 200
    assert accepted.seen["authorization"].startswith("Bearer ")
    assert ask(ports.http, "/token", **bearing(token(FETCHED, by=INLINE))).status == 401


def test_an_issuer_without_keys_is_refused(ports: Ports) -> None:
    assert ask(ports.http, "/open/a", **bearing(token(KEYLESS))).status == 401


def test_claims(ports: Ports) -> None:
    assert ask(ports.http, "/claim", **bearing(token(INLINE, groups=["finance", "all"]))).status == 200
    assert ask(ports.http, "/claim", **bearing(token(INLINE, groups="finance"))).status == 200
    assert ask(ports.http, "/claim", **bearing(token(INLINE, groups=["all"]))).status == 403
