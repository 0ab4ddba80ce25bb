"""What a real Envoy does with requests and connections is what the interpreter says: worlds drawn at random."""

import random
import re
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.equivalence import running_envoy
from tests.equivalence.running_envoy import TYPE, exchange
from tidegate.explain.config import read_config
from tidegate.explain.connection import Connection, HttpRequest, TlsHello
from tidegate.explain.interpret import interpret
from tidegate.explain.trace import End, Trace

pytestmark = pytest.mark.envoy
WORLDS, REQUESTS = 30, 30
SEEDS = (40, 41)
HOSTS = (
    "a.test",
    "b.test",
    "x.a.test",
    "y.x.a.test",
    "a.test:81",
    "A.Test",
    "a.test:80",
    "b.test:443",
    "c.other",
    "a.pre",
    "10.0.0.1",
    "[::1]:80",
)
DOMAINS = ("a.test", "*.a.test", "*.x.a.test", "*.test", "b.test:81", "a.test:81", "a.*", "a.p*", "10.0.0.1", "[::1]")
PATHS = (
    "/",
    "/api",
    "/api/v1",
    "/apis",
    "/API",
    "/a//b",
    "/a/../api",
    "/a%2Fb",
    "/api?x=1&y=2",
    "/files/a/b",
    "/v1?x=",
)
HEADERS = (("x-user", "anna"), ("x-user", "bob"), ("x-num", "7"), ("x-num", "abc"), ("x-empty", ""), ("x-user", "Anna"))
METHODS = ("GET", "GET", "POST", "OPTIONS", "DELETE")


class Dice(random.Random):
    """A seeded source of configurations and requests."""

    def some(self, pool: tuple[Any, ...], most: int) -> list[Any]:
        return self.sample(pool, self.randint(0, min(most, len(pool))))

    def text(self) -> dict[str, Any]:
        word = self.choice(("anna", "An", "b", "7", ""))
        kind = self.choice(("exact", "prefix", "suffix", "contains", "safeRegex"))
        if kind == "safeRegex":
            return {kind: {"regex": self.choice(("a.*a", "[a-z]+", "anna|bob", ".*"))}}
        body: dict[str, Any] = {kind: word if kind == "exact" else word or "a"}
        return {**body, "ignoreCase": True} if self.random() < 0.3 else body

    def header(self) -> dict[str, Any]:
        form = self.choice(("string", "present", "range", "plain"))
        matcher: dict[str, Any] = {
            "name": self.choice(("x-user", "x-num", "x-empty", ":method", ":authority", "x-none"))
        }
        if form == "string":
            matcher["stringMatch"] = self.text()
        elif form == "present":
            matcher["presentMatch"] = self.random() < 0.7
        elif form == "range":
            matcher["rangeMatch"] = {"start": 5, "end": 9}
        if self.random() < 0.3:
            matcher["invertMatch"] = True
        if self.random() < 0.2:
            matcher["treatMissingHeaderAsEmpty"] = True
        return matcher

    def query(self) -> dict[str, Any]:
        name = self.choice(("x", "y", "z"))
        if self.random() < 0.5:
            return {"name": name, "presentMatch": True}
        return {"name": name, "stringMatch": {"exact": self.choice(("1", "2", ""))}}

    def match(self) -> dict[str, Any]:
        form = self.choice(("prefix", "prefix", "path", "safeRegex", "pathSeparatedPrefix"))
        values = {
            "prefix": self.choice(("/", "/api", "/a", "/v1")),
            "path": self.choice(("/", "/api", "/api/v1")),
            "safeRegex": {"regex": self.choice(("/a.*", "/api/v[0-9]", "/(api|files)/.*", "/api"))},
            "pathSeparatedPrefix": self.choice(("/api", "/files/a")),
        }
        match: dict[str, Any] = {form: values[form]}
        if form not in ("safeRegex",) and self.random() < 0.2:
            match["caseSensitive"] = False
        if self.random() < 0.4:
            match["headers"] = [self.header() for _ in range(self.randint(1, 2))]
        if self.random() < 0.15:
            match["queryParameters"] = [self.query()]
        return match

    def action(self) -> dict[str, Any]:
        form = self.choice(("route", "route", "route", "route", "redirect", "directResponse"))
        if form == "directResponse":
            return {form: {"status": self.choice((200, 403, 502))}}
        return {form: self._redirect() if form == "redirect" else self._route()}

    def _redirect(self) -> dict[str, Any]:
        options = (
            {"hostRedirect": "new.test"},
            {"pathRedirect": "/new"},
            {"prefixRewrite": "/moved"},
            {"httpsRedirect": True},
            {"schemeRedirect": "https", "portRedirect": 8443},
            {"hostRedirect": "new.test", "responseCode": "FOUND", "stripQuery": True},
            {"portRedirect": 81, "pathRedirect": "/p?q=1"},
            {"portRedirect": 443, "schemeRedirect": "https"},
            {"regexRewrite": {"pattern": {"regex": "^/a"}, "substitution": "/z"}},
        )
        return dict(self.choice(options))

    def _route(self) -> dict[str, Any]:
        route: dict[str, Any] = {"cluster": self.choice(("one", "two", "two", "empty", "missing"))}
        if self.random() < 0.1:
            route = {"clusterHeader": "x-user"}
        if self.random() < 0.15:
            weights = [{"name": "one", "weight": 1}, {"name": "two", "weight": 3}, {"name": "empty", "weight": 0}]
            route = {"weightedClusters": {"clusters": weights}}
        rewrites = (
            {"prefixRewrite": "/new"},
            {"hostRewriteLiteral": "inner.test"},
            {"regexRewrite": {"pattern": {"regex": "^/a(.*)"}, "substitution": "/b\\1"}},
            {"hostRewriteHeader": "x-user"},
            {"hostRewritePathRegex": {"pattern": {"regex": "^/(\\w+).*"}, "substitution": "\\1.test"}},
        )
        return {**route, **self.choice(rewrites)} if self.random() < 0.4 else route

    def rbac(self) -> dict[str, Any]:
        rules = (
            {"header": {"name": "x-user", "stringMatch": self.text()}},
            {"urlPath": {"path": {"prefix": "/api"}}},
            {"notRule": {"urlPath": {"path": {"exact": "/api"}}}},
            {"andRules": {"rules": [{"any": True}, {"header": self.header()}]}},
            {"orRules": {"rules": [{"urlPath": {"path": {"suffix": "v1"}}}, {"header": self.header()}]}},
        )
        sources = (
            {"any": True},
            {"directRemoteIp": {"addressPrefix": "127.0.0.0", "prefixLen": 8}},
            {"authenticated": {}},
        )
        policy = {"permissions": [self.choice(rules)], "principals": [self.choice(sources)]}
        action = self.choice(("ALLOW", "DENY", "DENY", "LOG"))
        name = "envoy.filters.http.rbac"
        return _filter(name, "rbac.v3.RBAC", {"rules": {"action": action, "policies": {"p": policy, "q": policy}}})

    def fault(self) -> dict[str, Any]:
        abort = {"httpStatus": 418, "percentage": {"numerator": self.choice((0, 100)), "denominator": "HUNDRED"}}
        settings = {"abort": abort, "headers": [self.header()]}
        return _filter("envoy.filters.http.fault", "fault.v3.HTTPFault", settings)

    def cors(self) -> dict[str, Any]:
        return _filter("envoy.filters.http.cors", "cors.v3.Cors", {})


def _filter(name: str, kind: str, settings: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "typedConfig": {"@type": f"{TYPE}filters.http.{kind}", **settings}}


def http_world(dice: Dice, number: int, log: Path) -> dict[str, Any]:
    """The HTTP connection manager of one world."""
    domains = list(DOMAINS) + ["*"] * (dice.random() < 0.6)
    dice.shuffle(domains)
    hosts = []
    for place in range(dice.randint(1, 4)):
        mine = [domains.pop() for _ in range(dice.randint(1, 2))]
        routes = [{"name": f"r{place}.{n}", "match": dice.match(), **dice.action()} for n in range(dice.randint(0, 5))]
        hosts.append({"name": f"h{place}", "domains": mine, "routes": routes})
        if dice.random() < 0.1:
            hosts[-1]["requireTls"] = "ALL"
        if dice.random() < 0.2:
            hosts[-1]["typedPerFilterConfig"] = {"envoy.filters.http.cors": _cors_policy(dice)}
    filters = [make() for make in dice.some((dice.rbac, dice.fault, dice.cors), 2)]
    manager = {
        "@type": TYPE + "filters.network.http_connection_manager.v3.HttpConnectionManager",
        "statPrefix": f"w{number}",
        "routeConfig": {
            "name": f"w{number}",
            "virtualHosts": hosts,
            "validateClusters": False,
            "ignorePortInHostMatching": dice.random() < 0.5,
        },
        "httpFilters": [*filters, _filter("envoy.filters.http.router", "router.v3.Router", {})],
        "accessLog": running_envoy.access_log(log),
        "normalizePath": dice.random() < 0.5,
        "mergeSlashes": dice.random() < 0.5,
        "pathWithEscapedSlashesAction": dice.choice(
            ("KEEP_UNCHANGED", "REJECT_REQUEST", "UNESCAPE_AND_REDIRECT", "UNESCAPE_AND_FORWARD")
        ),
    }
    manager["httpProtocolOptions"] = {"acceptHttp10": True} if dice.random() < 0.3 else {}
    if dice.random() < 0.2:
        manager[dice.choice(("stripAnyHostPort", "stripTrailingHostDot"))] = True
    return manager


def _cors_policy(dice: Dice) -> dict[str, Any]:
    return {
        "@type": TYPE + "filters.http.cors.v3.CorsPolicy",
        "allowOriginStringMatch": [{"exact": "http://good.test"}],
        "forwardNotMatchingPreflights": dice.random() < 0.5,
    }


def request(dice: Dice) -> HttpRequest:
    headers = dict(dice.some(HEADERS, 2))
    method = dice.choice(METHODS)
    if method == "OPTIONS":
        headers["origin"] = dice.choice(("http://good.test", "http://bad.test"))
        headers["access-control-request-method"] = "GET"
    if dice.random() < 0.05:
        headers |= {"connection": "upgrade", "upgrade": "websocket"}
    version = "1.0" if dice.random() < 0.08 else "1.1"
    authority = "" if dice.random() < 0.03 else dice.choice(HOSTS)
    return HttpRequest(version, method, authority, dice.choice(PATHS), tuple(headers.items()))


def on_the_wire(asked: HttpRequest, name: str) -> bytes:
    lines = [f"{asked.method} {asked.path} HTTP/{asked.version}", *(f"{key}: {value}" for key, value in asked.headers)]
    lines += [f"host: {asked.authority}"] if asked.authority else []
    lines += ["connection: close"] if not any(key == "connection" for key, _ in asked.headers) else []
    return "\r\n".join([*lines, f"x-id: {name}", "content-length: 0", "", ""]).encode()


CLUSTERS = ("one", "two")


def clusters(ports: dict[str, int]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [{"name": "empty", "type": "STATIC", "connectTimeout": "1s"}]
    for name, port in ports.items():
        address = {"socketAddress": {"address": "127.0.0.1", "portValue": port}}
        groups = [{"lbEndpoints": [{"endpoint": {"address": address}}]}]
        found.append({**found[0], "name": name, "loadAssignment": {"clusterName": name, "endpoints": groups}})
    return found


def listener(port: int, name: str, **rest: Any) -> dict[str, Any]:
    return {"name": name, "address": {"socketAddress": {"address": "127.0.0.1", "portValue": port}}, **rest}


def status_of(answer: bytes) -> int | None:
    head = re.match(rb"HTTP/1\.[01] (\d+)", answer)
    return int(head[1]) if head else None


def location_of(answer: bytes) -> str:
    found = re.search(rb"\r\nlocation: ([^\r]*)\r\n", answer)
    return found[1].decode() if found else ""


def seen_upstream(answer: bytes) -> tuple[str, str]:
    """Path and Host as the upstream server told them back."""
    body = answer.partition(b"\r\n\r\n")[2]
    path = body.split(b" ")[1].decode()
    host = re.search(rb"\r\nhost: ([^\r]*)\r\n", body)
    return path, host[1].decode() if host else ""


def agrees(end: End, answer: bytes, line: dict[str, Any]) -> bool:
    """Whether one end is what the client, the upstream server and the access log say."""
    flags = set((line.get("flags") or "-").split(",")) - {"-"}
    if not line and end.kind != "protocol_error":  # refused before its headers were read: logged without its name
        return False
    if line and flags - {"DC"} != set(end.response_flags):
        return False
    if end.kind == "forwarded":
        assert end.far_side is not None
        path, host = seen_upstream(answer) if status_of(answer) == 200 else ("", "")
        return line.get("cluster") == end.cluster and (path, host) == (end.far_side.path, end.far_side.authority)
    if end.kind == "redirect" and location_of(answer) != end.location:
        return False
    return status_of(answer) == end.http_status


@pytest.mark.parametrize("seed", SEEDS)
def test_requests_end_as_the_interpreter_says(tmp_path: Path, seed: int) -> None:
    dice, log = Dice(seed), tmp_path / "access.log"
    ports = running_envoy.free_ports(WORLDS)
    listeners = []
    for number, port in enumerate(ports):
        chain = {"filters": [{"name": "http", "typedConfig": http_world(dice, number, log)}]}
        listeners.append(listener(port, f"l{number}", filterChains=[chain]))
    with running_envoy.upstream() as one, running_envoy.upstream() as two:
        resources = {"listeners": listeners, "clusters": clusters({"one": one, "two": two})}
        asked = {f"{n}.{m}": (ports[n], request(dice)) for n in range(WORLDS) for m in range(REQUESTS)}
        with running_envoy.running(tmp_path, resources, ports):
            answers = {name: exchange(port, on_the_wire(item, name)) for name, (port, item) in asked.items()}
            lines = running_envoy.logged(log, len(asked))
    config = read_config({"listeners": listeners, "routes": [], "clusters": resources["clusters"], "endpoints": []})
    wrong = []
    for name, (port, item) in asked.items():
        connection = Connection("gateway", "127.0.0.1", port, source_ip="127.0.0.1", http=item)
        trace = interpret(config, connection)
        if not any(agrees(end, answers[name], lines.get(name, {})) for end in trace.ends):
            wrong.append(told(name, item, trace, answers[name], lines.get(name)))
    assert not wrong, f"{len(wrong)} of {len(asked)}\n" + "\n\n".join(wrong[:8])


def told(name: str, item: Any, trace: Trace, answer: bytes, line: Any) -> str:
    ends = [
        (end.kind, end.http_status, end.cluster, end.response_flags, end.location, end.far_side) for end in trace.ends
    ]
    steps = [(step.stage, step.name, step.why) for step in trace.steps]
    return f"{name} {item}\n  ours: {ends}\n  steps: {steps}\n  envoy: {line}\n  answer: {answer[:300]!r}"


PORTS, ADDRESSES = (80, 443, 8080), ("10.0.0.1", "10.0.1.1", "10.1.0.1", "192.0.2.7")
NAMES = ("a.test", "x.a.test", "y.x.a.test", "b.test", "")
SOURCES = ("10.9.0.1", "10.9.1.1", "127.0.0.1", "203.0.113.5")
CHAINS, CONNECTIONS = 8, 40


def chain_match(dice: Dice) -> dict[str, Any]:
    match: dict[str, Any] = {}
    if dice.random() < 0.4:
        match["destinationPort"] = dice.choice(PORTS)
    if dice.random() < 0.4:
        match["prefixRanges"] = [_cidr(dice.choice(("10.0.0.0/8", "10.0.0.0/16", "10.0.0.1/32", "192.0.2.0/24")))]
    if dice.random() < 0.4:
        match["serverNames"] = dice.some(("a.test", "*.a.test", "*.x.a.test", "b.test", "*.test"), 2)
    if dice.random() < 0.5:
        match["transportProtocol"] = dice.choice(("tls", "raw_buffer"))
    if dice.random() < 0.4:
        match["applicationProtocols"] = dice.some(("h2", "http/1.1", "h2c", "http/1.0", "istio"), 2)
    if dice.random() < 0.2:
        match["sourceType"] = dice.choice(("SAME_IP_OR_LOOPBACK", "EXTERNAL"))
    if dice.random() < 0.3:
        match["sourcePrefixRanges"] = [_cidr(dice.choice(("10.9.0.0/16", "10.9.0.0/24", "203.0.113.0/24")))]
    if dice.random() < 0.2:
        match["sourcePorts"] = dice.sample((1000, 2000), 1)
    return {key: value for key, value in match.items() if value}


def _cidr(text: str) -> dict[str, Any]:
    address, _, length = text.partition("/")
    return {"addressPrefix": address, "prefixLen": int(length)}


def answering(name: str, match: dict[str, Any] | None) -> dict[str, Any]:
    """A chain that answers with its own name."""
    kind = TYPE + "filters.network.direct_response.v3.Config"
    chain = {
        "name": name,
        "filters": [{"name": "say", "typedConfig": {"@type": kind, "response": {"inlineString": name}}}],
    }
    return chain if match is None else {**chain, "filterChainMatch": match}


def chain_world(dice: Dice, port: int) -> dict[str, Any]:
    matches: list[dict[str, Any]] = []
    while len(matches) < CHAINS:
        match = chain_match(dice)
        if not any(_clash(match, other) for other in matches):
            matches.append(match)
    inspectors = [
        kind for kind in ("tls_inspector.v3.TlsInspector", "http_inspector.v3.HttpInspector") if dice.random() < 0.8
    ]
    names = ["proxy_protocol.v3.ProxyProtocol", *inspectors]
    filters = [{"name": name, "typedConfig": {"@type": f"{TYPE}filters.listener.{name}"}} for name in names]
    world = listener(port, f"l{port}", listenerFilters=filters, trafficDirection="OUTBOUND")
    world["filterChains"] = [answering(f"chain {number}", match) for number, match in enumerate(matches)]
    if dice.random() < 0.5:
        world["defaultFilterChain"] = answering("default", None)
    return world


def _clash(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Envoy refuses chains whose matches overlap completely: kept apart here by their single criteria."""
    for key in one.keys() | other.keys():
        left, right = one.get(key), other.get(key)
        if left is None or right is None:
            if left != right:
                return False
        elif isinstance(left, list):
            if not any(each in right for each in left):
                return False
        elif left != right:
            return False
    return True


def client_hello(hello: TlsHello) -> bytes:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if hello.alpn:
        context.set_alpn_protocols(list(hello.alpn))
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    session = context.wrap_bio(incoming, outgoing, server_hostname=hello.sni or None)
    with pytest.raises(ssl.SSLWantReadError):
        session.do_handshake()
    return outgoing.read()


def dialled(dice: Dice) -> Connection:
    tls = http = None
    if dice.random() < 0.5:
        tls = TlsHello(dice.choice(NAMES), tuple(dice.some(("istio", "h2", "http/1.1"), 3)))
    elif dice.random() < 0.8:
        http = HttpRequest(dice.choice(("1.0", "1.1", "2")), authority="a.test")
    source = {"source_ip": dice.choice(SOURCES), "source_port": dice.choice((1000, 2000, 3000))}
    return Connection("outbound", dice.choice(ADDRESSES), dice.choice(PORTS), **source, tls=tls, http=http)


def first_bytes(connection: Connection) -> bytes:
    if connection.tls:
        return client_hello(connection.tls)
    if connection.http and connection.http.version == "2":
        return b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
    return on_the_wire(connection.http, "1") if connection.http else b"\x00\x01\x02\x03 binary \r\n\r\n"


def test_chains_take_connections_as_the_interpreter_says(tmp_path: Path) -> None:
    dice = Dice(7)
    ports = running_envoy.free_ports(WORLDS)
    worlds = {port: chain_world(dice, port) for port in ports}
    wrong, taken = [], list[str]()
    with running_envoy.running(tmp_path, {"listeners": list(worlds.values())}, ports):
        for port, world in worlds.items():
            original = {"name": "dst", "typedConfig": {"@type": f"{TYPE}filters.listener.original_dst.v3.OriginalDst"}}
            ours = {**world, "listenerFilters": [original, *world["listenerFilters"][1:]]}
            config = read_config({"listeners": [ours], "routes": [], "clusters": [], "endpoints": []})
            for connection in (dialled(dice) for _ in range(CONNECTIONS)):
                source = f"{connection.source_ip} {connection.ip} {connection.source_port} {connection.port}"
                answer = exchange(port, f"PROXY TCP4 {source}\r\n".encode() + first_bytes(connection))
                trace = interpret(config, connection)
                chain = next((step.name for step in trace.steps if step.stage == "filter_chain"), "")
                taken.append(chain)
                if chain.encode() != answer:
                    last = f"ours {chain!r} {trace.steps[-1]}\n  envoy {answer!r}"
                    wrong.append(f"{connection}\n  {last}\n  {world['filterChains']}")
    assert not wrong, f"{len(wrong)} of {len(taken)}\n" + "\n\n".join(wrong[:3])


def codec_world(codec: str, log: Path) -> dict[str, Any]:
    manager = {
        "@type": TYPE + "filters.network.http_connection_manager.v3.HttpConnectionManager",
        "statPrefix": codec,
        "codecType": codec,
        "routeConfig": {"virtualHosts": [{"name": "h", "domains": ["*"], "routes": [SAYING]}]},
        "httpFilters": [_filter("envoy.filters.http.router", "router.v3.Router", {})],
        "accessLog": running_envoy.access_log(log),
    }
    return {"name": "http", "typedConfig": manager}


SAYING = {"match": {"prefix": "/"}, "directResponse": {"status": 204}}
PLAIN = HttpRequest("1.1", authority="a.test")
FIRST: dict[str, Connection] = {
    "http1": Connection("gateway", "127.0.0.1", 0, http=PLAIN),
    "http2": Connection("gateway", "127.0.0.1", 0, http=HttpRequest("2", authority="a.test")),
    "tls": Connection("gateway", "127.0.0.1", 0, tls=TlsHello("a.test")),
    "bytes": Connection("gateway", "127.0.0.1", 0),
}


def test_codecs_refuse_as_the_interpreter_says(tmp_path: Path) -> None:
    ports = running_envoy.free_ports(3)
    codecs = dict(zip(("AUTO", "HTTP1", "HTTP2"), ports, strict=True))
    worlds = [
        listener(port, codec, filterChains=[{"filters": [codec_world(codec, tmp_path / codec)]}])
        for codec, port in codecs.items()
    ]
    found, expected = {}, {}
    config = read_config({"listeners": worlds, "routes": [], "clusters": [], "endpoints": []})
    with running_envoy.running(tmp_path, {"listeners": worlds}, ports):
        for codec, port in codecs.items():
            for name, connection in FIRST.items():
                asked = Connection("gateway", "127.0.0.1", port, tls=connection.tls, http=connection.http)
                end = interpret(config, asked).end
                taken = end.kind == "direct_response"
                expected[codec, name] = ("taken" if taken else "refused", None if taken else end.http_status)
                found[codec, name] = _treated(port, first_bytes(asked))
    assert found == expected


SETTINGS, GOAWAY, ACK = 4, 7, 1


def _treated(port: int, data: bytes) -> tuple[str, int | None]:
    """Whether the codec takes the bytes: an HTTP/1 one answers, an HTTP/2 one acknowledges settings or goes away."""
    with socket.create_connection(("127.0.0.1", port), running_envoy.PATIENCE) as client:
        client.settimeout(running_envoy.PATIENCE)
        client.sendall(data)
        answer = b""
        while more := client.recv(65536):
            answer += more
            code = status_of(answer)
            if code is not None:
                return ("taken", None) if code == 204 else ("refused", code)
            frames = list(_frames(answer))
            if any(kind == GOAWAY for kind, _ in frames):
                return "refused", None
            if (SETTINGS, ACK) in frames:
                return "taken", None
    return "refused", None


def _frames(answer: bytes) -> Iterator[tuple[int, int]]:
    """Types and flags of whole HTTP/2 frames."""
    while len(answer) >= 9:
        size = 9 + int.from_bytes(answer[:3], "big")
        if len(answer) >= size:
            yield answer[3], answer[4]
        answer = answer[size:]


def _network(kind: str, **settings: Any) -> dict[str, Any]:
    return {"name": "n", "typedConfig": {"@type": f"{TYPE}filters.network.{kind}", **settings}}


def tcp_worlds(log: Path) -> dict[str, list[dict[str, Any]]]:
    """Network filters by the name of their world."""

    def proxy(name: str, cluster: str, **rest: Any) -> dict[str, Any]:
        lines = running_envoy.access_log(log / name)
        return _network("tcp_proxy.v3.TcpProxy", statPrefix=name, cluster=cluster, accessLog=lines, **rest)

    def control(action: str, port: int) -> dict[str, Any]:
        policy = {"permissions": [{"destinationPort": port}], "principals": [{"any": True}]}
        return _network("rbac.v3.RBAC", statPrefix="r", rules={"action": action, "policies": {"p": policy}})

    return {
        "reached": [proxy("reached", "one")],
        "empty": [proxy("empty", "empty")],
        "missing": [proxy("missing", "nobody")],
        "original": [proxy("original", "original")],
        "allowed": [control("DENY", 1), proxy("allowed", "one")],
        "denied": [control("ALLOW", 1), proxy("denied", "one")],
        "named": [_state("envoy.tcp_proxy.cluster", "one"), proxy("named", "nobody")],
    }


def _state(key: str, text: str) -> dict[str, Any]:
    value = {"objectKey": key, "formatString": {"textFormatSource": {"inlineString": text}}}
    return _network("set_filter_state.v3.Config", onNewConnection=[value])


def test_bytes_end_as_the_interpreter_says(tmp_path: Path) -> None:
    worlds = tcp_worlds(tmp_path)
    ports = dict(zip(worlds, running_envoy.free_ports(len(worlds)), strict=True))
    listeners = [listener(ports[name], name, filterChains=[{"filters": filters}]) for name, filters in worlds.items()]
    original = {"name": "original", "type": "ORIGINAL_DST", "lbPolicy": "CLUSTER_PROVIDED", "connectTimeout": "1s"}
    with running_envoy.upstream() as one:
        resources = {"listeners": listeners, "clusters": [*clusters({"one": one}), original]}
        with running_envoy.running(tmp_path, resources, list(ports.values())):
            answers = {name: exchange(port, b"GET / HTTP/1.1\r\n\r\n") for name, port in ports.items()}
            flags = {name: running_envoy.flags(tmp_path / name) for name in worlds}
    config = read_config({**resources, "routes": [], "endpoints": []})
    for name, port in ports.items():
        end = interpret(config, Connection("gateway", "127.0.0.1", port, source_ip="127.0.0.1")).end
        assert (end.kind == "forwarded") == bool(answers[name]), name
        assert end.kind == "denied" or set(end.response_flags) == flags[name], name
