"""Envoy itself accepts what the outbound builders make."""

import contextlib
import socket
import subprocess
import time
import urllib.error
import urllib.request

import msgspec
import pytest
from envoy.config.bootstrap.v3 import bootstrap_pb2

from tests.unit.envoy.outbound_samples import (
    ALLOW,
    BLOCK,
    CLIENT,
    host_input,
    listener,
    listener_defaults,
    listener_input,
    member,
    policy,
    rule,
    service,
    unpacked,
)
from tidegate.api.fields import Duration
from tidegate.envoy import chains, filters, listeners, protos, routes
from tidegate.envoy.filters import HTTP_CONNECTION_MANAGER
from tidegate.envoy.inputs import AccessLog, Target
from tidegate.kit import envoy_binary
from tidegate.registry.model import Port, Protocol, Resolution

pytestmark = pytest.mark.envoy

ORDERS = service(addresses=("10.96.0.1", "fd00::1"))
DEFAULTS = listener_defaults(access_log=AccessLog(path="/dev/stdout"), detection_timeout=Duration.of(seconds=2))
CERTIFIED = msgspec.structs.replace(CLIENT, mtls=True, http10=True, idle_timeout=Duration.of(seconds=35), ipv6=True)

HTTP_RULES = [
    {"match": [{"uri": {"regex": "/v[12]/.*"}, "headers": {"x-a": {}, "x-b": {"regex": "[0-9]+"}}}], "timeout": "3s"},
    {
        "match": [{"uri": {"prefix": "/a"}, "ignoreUriCase": True, "withoutHeaders": {"x": {"exact": "1"}, "y": {}}}],
        "retries": {"attempts": 4, "perTryTimeout": "2s", "retryOn": "5xx,503", "retryRemoteLocalities": True},
        "mirror": {"host": "shadow"},
        "mirrorPercentage": {"value": 12.5},
    },
    {
        "match": [{"uri": {"exact": "/b"}, "queryParams": {"q": {"exact": "1"}, "r": {}}}],
        "retries": {"attempts": 1, "backoff": "250ms"},
        "fault": {
            "delay": {"fixedDelay": "5s", "percentage": {"value": 0.1}},
            "abort": {"httpStatus": 555, "percentage": {"value": 5}},
        },
    },
    {"match": [{"method": {"exact": "PUT"}}], "fault": {"abort": {"grpcStatus": "UNAVAILABLE"}}},
    {
        "match": [{"uri": {"prefix": "/weights"}}],
        "route": [
            {
                "weight": 5,
                "destination": {"host": "orders", "subset": "v1"},
                "headers": {"request": {"set": {"a": "b"}}},
            },
            {"weight": 95, "destination": {"host": "orders", "subset": "v2"}},
        ],
        "headers": {"request": {"set": {"x": "1", "host": "edge"}, "remove": ["y"]}, "response": {"add": {"z": "1"}}},
        "corsPolicy": {"allowOrigins": [{"regex": ".*"}, {}], "allowMethods": ["GET"], "maxAge": "24h"},
    },
    {"match": [{"uri": {"prefix": "/rewrite"}}], "rewrite": {"uri": "/", "authority": "api.example.com"}},
    {"match": [{"uri": {"regex": "/r/(.*)"}}], "rewrite": {"uriRegexRewrite": {"match": "/r/(.*)", "rewrite": "/\\1"}}},
    {"match": [{"uri": {"prefix": "/moved"}}], "redirect": {"uri": "/", "redirectCode": 308, "port": 8443}},
    {"match": [{"uri": {"prefix": "/derive"}}], "redirect": {"derivePort": "FROM_REQUEST_PORT", "scheme": "https"}},
    {"match": [{"uri": {"prefix": "/tea"}}], "directResponse": {"status": 418, "body": {"bytes": "ZG93bg=="}}},
    {},
]


def route_configurations():
    to_orders = [{"destination": {"host": "orders"}}]
    plain = ({"redirect", "directResponse", "route"} & http.keys() for http in HTTP_RULES)
    rules = [http if has else {**http, "route": to_orders} for http, has in zip(HTTP_RULES, plain, strict=True)]
    given = rule("orders", hosts=["orders"], http=rules)
    for number, hashing in enumerate(
        (
            {
                "httpCookie": {
                    "name": "c",
                    "ttl": "0s",
                    "path": "/",
                    "attributes": [{"name": "SameSite", "value": "Lax"}],
                }
            },
            {"httpHeaderName": "x-user"},
            {"useSourceIp": True},
            {"httpQueryParameterName": "q"},
        )
    ):
        balancing = {"loadBalancer": {"consistentHash": hashing}}
        target = Target(host=ORDERS.host, service=ORDERS, rule=policy("orders", host="orders", trafficPolicy=balancing))
        domains = routes.domains(ORDERS, ORDERS.ports[0], CERTIFIED)
        hosts = [
            routes.virtual_host(host_input(ORDERS, given, domains=domains, targets=(target,))),
            routes.virtual_host(host_input(service("*.example.com"), host="*.example.com")),
        ]
        yield routes.route_config(str(8080 + number), hosts, BLOCK if number else ALLOW)


def http_listeners():
    for number, configuration in enumerate(route_configurations()):
        found = listeners.outbound(
            listener_input(
                "0.0.0.0",
                8080 + number,
                *([member(service("raw.example.com", Port(8080, "t", Protocol.TCP)))] if number else []),
                http=ORDERS,
                http_port=ORDERS.ports[0],
                defaults=DEFAULTS,
                proxy=CERTIFIED if number % 2 else CLIENT,
            )
        )
        yield with_routes(listener(found), configuration)


def with_routes(found, configuration):
    """The listener with its route configuration inline, since nothing can be discovered while validating."""
    for chain in found.filter_chains:
        for each in chain.filters:
            if each.name == HTTP_CONNECTION_MANAGER:
                manager = unpacked(each.typed_config, protos.HttpConnectionManager)
                manager.route_config.ParseFromString(configuration.body)
                each.typed_config.Pack(manager)
    return found


def tls_members():
    names = {"sniHosts": ["a.example.com", "*.wild.example.com"], "destinationSubnets": ["10.1.0.0/16"]}
    split = [{"weight": w, "destination": {"host": h}} for h, w in (("a.example.com", 80), ("b.example.com", 20))]
    given = rule("a", hosts=["a.example.com"], tls=[{"match": [names], "route": split}])
    tunnel = {"tunnel": {"protocol": "CONNECT", "targetHost": "t.example.com", "targetPort": 443}}
    tunnelled = service("t.example.com", Port(443, "tls", Protocol.TLS))
    target = Target(
        host=tunnelled.host, service=tunnelled, rule=policy("t", host="t.example.com", trafficPolicy=tunnel)
    )
    yield member(service("a.example.com", Port(443, "tls", Protocol.TLS)), virtual_services=(given,))
    yield member(service("b.example.com", Port(443, "tls", Protocol.TLS)))
    yield member(service("c.example.com", Port(443, "tls", Protocol.HTTPS)), "203.0.113.0/24")
    yield member(tunnelled, targets=(target,))
    yield member(service("*.dyn.example.com", Port(443, "tls", Protocol.TLS), resolution=Resolution.DYNAMIC_DNS))
    overlapping = {"sniHosts": ["a.example.com", "b.example.com", "late.example.com"]}
    yield member(
        service("late.example.com", Port(443, "tls", Protocol.TLS)),
        virtual_services=(rule("l", hosts=["x"], tls=[{"match": [overlapping], "route": split}]),),
    )


def tcp_listeners():
    db = service("db.example.com", Port(5432, "tcp", Protocol.TCP))
    mongo = service("m.example.com", Port(27017, "mongo", Protocol.MONGO))
    settings = {
        "connectionPool": {"tcp": {"idleTimeout": "5s", "maxConnectionDuration": "60s"}},
        "loadBalancer": {"consistentHash": {"useSourceIp": True}},
    }
    target = Target(host=db.host, service=db, rule=policy("db", host=db.host, trafficPolicy=settings))
    by_network = rule(
        "db",
        hosts=[db.host],
        tcp=[
            {"match": [{"destinationSubnets": ["10.2.0.0/16", "fd00::/64"]}], "route": [{"destination": {"host": "b"}}]}
        ],
    )
    common = {"defaults": DEFAULTS, "proxy": CERTIFIED}
    yield listener_input("0.0.0.0", 443, *tls_members(), **common)
    yield listener_input(
        "0.0.0.0", 5432, member(db, "192.0.2.0/24", targets=(target,), virtual_services=(by_network,)), **common
    )
    yield listener_input("192.0.2.9", 5432, member(db, "192.0.2.9", targets=(target,)), **common)
    yield listener_input("192.0.2.9", 27017, member(mongo, "192.0.2.9"), **common)


def validate(found, folder):
    bootstrap = bootstrap_pb2.Bootstrap()
    bootstrap.node.id, bootstrap.node.cluster = "test", "test"
    bootstrap.static_resources.listeners.extend(found)
    file = folder / "bootstrap.pb"
    file.write_bytes(bootstrap.SerializeToString())
    return subprocess.run(
        [envoy_binary.find(), "--mode", "validate", "-c", file, "-l", "warning", "--disable-hot-restart"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_http_listeners_and_their_routes(tmp_path):
    result = validate(http_listeners(), tmp_path)
    assert result.returncode == 0, result.stderr
    assert "deprecated" not in result.stderr.lower()


def test_tcp_and_tls_listeners(tmp_path):
    result = validate((listener(listeners.outbound(given)) for given in tcp_listeners()), tmp_path)
    assert result.returncode == 0, result.stderr
    assert "deprecated" not in result.stderr.lower()


def test_virtual_outbound(tmp_path):
    found = listeners.virtual_outbound(BLOCK, DEFAULTS, msgspec.structs.replace(CERTIFIED, ipv6=False))
    result = validate([listener(found)], tmp_path)
    assert result.returncode == 0, result.stderr


def test_envoy_refuses_what_the_merge_avoids(tmp_path):
    """Two chains with one server name in common: the reason why overlapping chains are narrowed."""
    found = listener(listeners.outbound(next(tcp_listeners())))
    extra = found.filter_chains.add()
    extra.CopyFrom(found.filter_chains[1])
    assert chains.match_pairs("sni=a,b;prefix=10.0.0.0/8") == (("a", "10.0.0.0/8"), ("b", "10.0.0.0/8"))
    assert validate([found], tmp_path).returncode != 0


def test_the_offered_protocols_follow_request_and_cluster(tmp_path, free_port):
    """A running Envoy evaluates the expression per request, and skips it for clusters that are not the mesh's."""
    log = tmp_path / "log"
    bootstrap = bootstrap_pb2.Bootstrap()
    bootstrap.node.id, bootstrap.node.cluster = "test", "test"
    bootstrap.static_resources.clusters.add(name="mesh")
    outside = bootstrap.static_resources.clusters.add(name="outside")
    outside.metadata.filter_metadata["istio"]["alpn_override"] = "false"
    bootstrap.static_resources.listeners.append(offering_listener(free_port, log))
    file = tmp_path / "bootstrap.pb"
    file.write_bytes(bootstrap.SerializeToString())
    with running(file, tmp_path):
        for path in ("/mesh", "/outside"):
            request(free_port, path)
        found = lines(log, 2)
    assert found == ["/mesh istio-http/1.1,istio,http/1.1", "/outside -"]


def offering_listener(port, log):
    """HTTP on a port, with the filter writing its value where the access log can read it."""
    (state_filter,) = (f for f in filters.http_filters("outbound", True) if f.name.endswith("set_filter_state"))
    config = unpacked(state_filter.typed_config, protos.HttpSetFilterState)
    config.on_request_headers[0].object_key, config.on_request_headers[0].factory_key = "offered", "envoy.string"
    manager = protos.HttpConnectionManager(stat_prefix="t")
    manager.http_filters.add(name="offer").typed_config.Pack(config)
    manager.http_filters.append(filters.http_filters("outbound", False)[-1])
    host = manager.route_config.virtual_hosts.add(name="all", domains=["*"])
    for name in ("mesh", "outside"):
        host.routes.add(match={"prefix": f"/{name}"}, route={"cluster": name})
    file_log = protos.FileAccessLog(path=str(log))
    file_log.log_format.text_format_source.inline_string = "%REQ(:PATH)% %FILTER_STATE(offered:PLAIN)%\n"
    manager.access_log.add(name="file").typed_config.Pack(file_log)
    found = protos.Listener(name="l", address=protos.socket_address("127.0.0.1", port))
    found.filter_chains.add().filters.add(name=HTTP_CONNECTION_MANAGER).typed_config.Pack(manager)
    return found


@pytest.fixture
def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def running(file, folder):
    with (folder / "out").open("wb") as out:
        arguments = [envoy_binary.find(), "-c", file, "-l", "error", "--disable-hot-restart", "--concurrency", "1"]
        options = ["--file-flush-interval-msec", "50"]
        process = subprocess.Popen([*arguments, *options], stdout=out, stderr=out)
        try:
            yield
        finally:
            process.kill()
            process.wait(timeout=10)


def request(port, path):
    """One request, as soon as Envoy listens; a cluster without endpoints answers 503."""
    deadline = time.monotonic() + 20
    while True:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10)
        except urllib.error.HTTPError as error:
            error.close()
            assert error.code == 503
            return
        except (urllib.error.URLError, ConnectionError):
            assert time.monotonic() < deadline, "Envoy did not listen in time"
            time.sleep(0.05)


def lines(file, count):
    deadline = time.monotonic() + 20
    while True:
        found = file.read_text().splitlines() if file.exists() else []
        if len(found) >= count:
            return found
        assert time.monotonic() < deadline, f"expected {count} lines, got {found}"
        time.sleep(0.05)
