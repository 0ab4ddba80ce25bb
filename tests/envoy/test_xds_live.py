"""A real Envoy over delta ADS against the discovery server on a Unix socket."""

import asyncio
import contextlib
import http.server
import json
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request

import grpc
import pytest
from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.endpoint.v3 import endpoint_pb2
from envoy.config.listener.v3 import listener_pb2
from envoy.config.route.v3 import route_pb2
from envoy.extensions.filters.http.router.v3 import router_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2 as hcm_pb2
from google.protobuf.json_format import ParseDict

from tests.unit.envoy import given
from tests.unit.envoy.test_locality import zone_aware
from tidegate.agent.bootstrap import bootstrap as agent_bootstrap
from tidegate.agent.settings import Settings
from tidegate.envoy import balancing, local_cluster, locality
from tidegate.envoy.inputs import PeersInput
from tidegate.kit import envoy_binary
from tidegate.xds.client import METHOD
from tidegate.xds.fixed import FixedView, Item, difference
from tidegate.xds.mailbox import Mailbox
from tidegate.xds.server import DiscoveryServer, Identity
from tidegate.xds.types import CLUSTER, ENDPOINT, LISTENER, ORDER, ROUTE

pytestmark = pytest.mark.envoy
DEADLINE = 30
NODE = "sidecar~127.0.0.1~web-1.shop~shop.svc.cluster.local"
ADS = {"ads": {}, "resource_api_version": "V3"}
assert router_pb2  # its message type must be known to write the Any


def item(name: str, message: object, content: dict) -> Item:
    body = ParseDict(content, message).SerializeToString(deterministic=True)
    return Item(name, body, str(hash(body)))


def eds_cluster(name: str, connect_timeout: str = "1s") -> Item:
    config = {
        "name": name,
        "type": "EDS",
        "connect_timeout": connect_timeout,
        "eds_cluster_config": {"eds_config": ADS},
    }
    return item(name, cluster_pb2.Cluster(), config)


def bad_cluster(name: str) -> Item:
    """Passes the constraints of the message, not Envoy's: a host name where an address must be."""
    address = {"socket_address": {"address": "not-an-address", "port_value": 1}}
    endpoints = [{"lb_endpoints": [{"endpoint": {"address": address}}]}]
    assignment = {"cluster_name": name, "endpoints": endpoints}
    return item(name, cluster_pb2.Cluster(), {"name": name, "type": "STATIC", "load_assignment": assignment})


def broken_cluster(name: str) -> Item:
    """Breaks a constraint of the message: the whole response is refused."""
    return item(name, cluster_pb2.Cluster(), {"name": name, "type": "EDS", "connect_timeout": "-1s"})


def endpoints(name: str, port: int) -> Item:
    address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    locality = {"lb_endpoints": [{"endpoint": {"address": address}}]}
    return item(name, endpoint_pb2.ClusterLoadAssignment(), {"cluster_name": name, "endpoints": [locality]})


def listener(port: int) -> Item:
    router = {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}
    manager = {
        "@type": f"type.googleapis.com/{hcm_pb2.HttpConnectionManager.DESCRIPTOR.full_name}",
        "stat_prefix": "web",
        "rds": {"route_config_name": "web", "config_source": ADS},
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": router}],
    }
    content = {
        "name": "web",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
    }
    return item("web", listener_pb2.Listener(), content)


def route(cluster: str) -> Item:
    host = {"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": {"cluster": cluster}}]}
    return item("web", route_pb2.RouteConfiguration(), {"name": "web", "virtual_hosts": [host]})


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Backend(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-length", "5")
        self.end_headers()
        self.wfile.write(b"hello")

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture(scope="module")
def backend():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Backend)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server.server_port
    server.shutdown()
    server.server_close()
    thread.join()


class Hub:
    def __init__(self) -> None:
        self.view = FixedView("0", {})
        self.boxes: list[Mailbox] = []

    async def authenticate(self, metadata):
        return Identity("shop", "default")

    async def attach(self, identity, node):
        self.boxes.append(Mailbox(self.view))
        return self.boxes[-1]

    def show(self, version: str, clusters=(), eds=(), lds=(), rds=()) -> None:
        new = FixedView(version, {CLUSTER: clusters, LISTENER: lds}, {ENDPOINT: eds, ROUTE: rds})
        old, self.view = self.view, new
        names = {ENDPOINT: {e.name for e in eds}, ROUTE: {r.name for r in rds}}
        changed = {**difference(old, new, ORDER)}
        for url, each in names.items():
            moved = {n for n in each if old.get(url, n) is None or old.get(url, n).version != new.get(url, n).version}
            changed[url] = frozenset(moved)
        for box in self.boxes:
            box.publish(new, changed)


class Envoy:
    def __init__(self, folder, socket_path, agent=None) -> None:
        """agent: its settings, where the cluster of the proxy's peers is to be as its bootstrap has it."""
        self.admin, self.port = free_port(), free_port()
        config = {
            "node": {"id": NODE, "cluster": "shop"},
            "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": self.admin}}},
            "dynamic_resources": {
                "ads_config": {
                    "api_type": "DELTA_GRPC",
                    "transport_api_version": "V3",
                    "grpc_services": [{"envoy_grpc": {"cluster_name": "xds"}}],
                },
                "cds_config": ADS,
                "lds_config": ADS,
            },
            "static_resources": {"clusters": [xds_cluster(str(socket_path))]},
        }
        if agent is not None:
            whole = agent_bootstrap(agent)
            config["node"]["locality"], config["cluster_manager"] = whole["node"]["locality"], whole["cluster_manager"]
            config["static_resources"]["clusters"] += [
                each for each in whole["static_resources"]["clusters"] if each["type"] == "EDS"
            ]
        bootstrap = folder / "bootstrap.json"
        bootstrap.write_text(json.dumps(config))
        self.log = folder / "envoy.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [str(envoy_binary.find()), "-c", str(bootstrap), "--disable-hot-restart", "--concurrency", "1"],
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def get(self, url: str) -> tuple[int, bytes]:
        try:
            with urllib.request.urlopen(url, timeout=5) as response:
                return response.status, response.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()
        except OSError:
            return 0, b""

    def page(self) -> tuple[int, bytes]:
        return self.get(f"http://127.0.0.1:{self.port}/")

    def stat(self, name: str) -> int:
        _, text = self.get(f"http://127.0.0.1:{self.admin}/stats?format=json&filter=^{name}$")
        stats = json.loads(text or b"{}").get("stats", [])
        return next((each["value"] for each in stats if each.get("name") == name), -1)

    def clusters(self) -> set[str]:
        text = self.get(f"http://127.0.0.1:{self.admin}/clusters")[1].decode()
        return {line.partition("::")[0] for line in text.splitlines()}

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(DEADLINE)


def xds_cluster(path: str) -> dict:
    endpoints = [{"lb_endpoints": [{"endpoint": {"address": {"pipe": {"path": path}}}}]}]
    options = {"explicit_http_config": {"http2_protocol_options": {}}}
    kind = "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    return {
        "name": "xds",
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {"cluster_name": "xds", "endpoints": endpoints},
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {"@type": kind, **options}
        },
    }


async def until(holds, what: str) -> None:
    end = time.monotonic() + DEADLINE
    while not await asyncio.to_thread(holds):
        assert time.monotonic() < end, what
        await asyncio.sleep(0.05)


@pytest.fixture
def hub():
    return Hub()


@pytest.fixture
async def server(hub, tmp_path):
    server = DiscoveryServer(hub.authenticate, hub.attach)
    await server.start(tmp_path / "xds.sock")
    yield server
    await server.stop(grace=0.2)


@pytest.fixture
async def envoy(server, tmp_path):
    envoy = Envoy(tmp_path, tmp_path / "xds.sock")
    yield envoy
    envoy.stop()


def serves(envoy: Envoy) -> bool:
    return envoy.page() == (200, b"hello")


async def test_a_request_is_served_and_changes_come_through(hub, server, envoy, backend):
    one = {"eds": [endpoints("one", backend)], "lds": [listener(envoy.port)], "rds": [route("one")]}
    hub.show("1", clusters=[eds_cluster("one")], **one)
    await until(lambda: serves(envoy), "the first configuration does not serve")

    hub.show("2", clusters=[eds_cluster("one", "2s")], **one)
    await until(lambda: envoy.stat("cluster_manager.cluster_modified") == 1, "the changed cluster did not get warm")
    await until(lambda: envoy.stat("cluster_manager.warming_clusters") == 0, "a cluster stays warming")
    assert await asyncio.to_thread(serves, envoy)

    hub.show("3", clusters=[eds_cluster("two")], eds=[endpoints("two", backend)], lds=one["lds"], rds=[route("two")])
    failed = 0
    end = time.monotonic() + DEADLINE
    while "one" in await asyncio.to_thread(envoy.clusters):
        assert time.monotonic() < end, "the old cluster was not taken back"
        failed += not await asyncio.to_thread(serves, envoy)
    assert failed == 0
    assert await asyncio.to_thread(serves, envoy)


PLACES = ("eu/z1", "eu/z2")


def in_zones(name: str, *ports: int) -> Item:
    """One endpoint in each of the places."""
    groups = []
    for place, port in zip(PLACES, ports, strict=True):
        region, zone = place.split("/")
        address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
        members = [{"endpoint": {"address": address}}]
        groups.append({"locality": {"region": region, "zone": zone}, "lb_endpoints": members})
    return item(name, endpoint_pb2.ClusterLoadAssignment(), {"cluster_name": name, "endpoints": groups})


def zoned(name: str, enabled: bool) -> Item:
    cluster = cluster_pb2.Cluster.FromString(eds_cluster(name).body)
    setting = zone_aware({"enabled": enabled, "minClusterSize": 2})
    balancing.put_localities(cluster, locality.Plan(setting, enabled))
    body = cluster.SerializeToString(deterministic=True)
    return Item(name, body, str(hash(body)))


@pytest.mark.parametrize("enabled", [True, False])
async def test_a_proxy_that_knows_its_peers_keeps_to_its_zone(hub, server, backend, tmp_path, enabled):
    """As many of its peers are in its zone as of the endpoints, so that the other zone gets nothing."""
    labels = {"topology.istio.io/locality": PLACES[0]}
    agent = Settings(
        name="web-1",
        namespace="shop",
        address="127.0.0.1",
        run_dir=tmp_path,
        state_dir=tmp_path,
        token_file=tmp_path,
        upstream=tmp_path,
        envoy=tmp_path,
        metadata={"ENABLE_SELF_DISCOVERY": "true", "LABELS": labels},
    )
    members = tuple(given.endpoint(f"10.0.0.{i}", locality=place) for i, place in enumerate(PLACES))
    peers = local_cluster.build(PeersInput(endpoints=members, proxy=given.proxy(locality=PLACES[0])))
    away = free_port()
    envoy = Envoy(tmp_path, tmp_path / "xds.sock", agent)
    try:
        eds = [in_zones("one", backend, away), Item(peers.name, peers.body, peers.version)]
        one = {"eds": eds, "lds": [listener(envoy.port)], "rds": [route("one")]}
        hub.show("1", clusters=[zoned("one", enabled)], **one)
        await until(lambda: serves(envoy), "the first configuration does not serve")
        answers = {(await asyncio.to_thread(envoy.page))[0] for _ in range(20)}
        assert answers == ({200} if enabled else {200, 503})
        assert (envoy.stat("cluster.one.lb_zone_routing_all_directly") > 0) is enabled
    finally:
        envoy.stop()


@pytest.mark.parametrize("bad", [bad_cluster, broken_cluster])
async def test_a_bad_cluster_is_quarantined_while_the_others_live(hub, server, envoy, backend, bad):
    rest = {"lds": [listener(envoy.port)], "rds": [route("one")]}
    names = ["one", "two", "three"]
    eds = [endpoints(name, backend) for name in names]
    hub.show("1", clusters=[*(eds_cluster(name) for name in names), bad("bad")], eds=eds, **rest)
    await until(lambda: serves(envoy), "the good clusters do not serve")
    status = server.connections()[0].session.status().of(CLUSTER)
    assert [each.name for each in status.quarantined] == ["bad"]
    assert await asyncio.to_thread(envoy.clusters) == {"xds", *names}

    hub.show("2", clusters=[*(eds_cluster(name) for name in names), eds_cluster("bad")], eds=eds, **rest)
    await until(lambda: "bad" in envoy.clusters(), "the mended cluster did not come")


async def test_a_restarted_server_drains_no_listener_that_did_not_change(hub, server, envoy, backend, tmp_path):
    one = {"eds": [endpoints("one", backend)], "lds": [listener(envoy.port)], "rds": [route("one")]}
    hub.show("1", clusters=[eds_cluster("one")], **one)
    await until(lambda: serves(envoy), "the first configuration does not serve")
    await server.stop(grace=0.2)
    assert await asyncio.to_thread(serves, envoy)
    hub.boxes.clear()
    again = DiscoveryServer(hub.authenticate, hub.attach)
    await again.start(tmp_path / "xds.sock")
    try:
        await until(lambda: bool(again.connections()), "Envoy did not come back")
        hub.show(
            "2",
            clusters=[eds_cluster("one"), eds_cluster("two")],
            **{**one, "eds": [*one["eds"], endpoints("two", backend)]},
        )
        await until(lambda: "two" in envoy.clusters(), "changes do not come through after the restart")
        assert await asyncio.to_thread(serves, envoy)
        assert envoy.stat("listener_manager.listener_modified") == 0
        assert envoy.stat("listener_manager.total_listeners_draining") == 0
        assert envoy.stat("listener_manager.listener_create_success") == 1
    finally:
        await again.stop(grace=0.2)


async def test_garbage_and_oversized_messages_leave_another_stream_undisturbed(hub, server, envoy, backend, tmp_path):
    one = {"eds": [endpoints("one", backend)], "lds": [listener(envoy.port)], "rds": [route("one")]}
    hub.show("1", clusters=[eds_cluster("one")], **one)
    await until(lambda: serves(envoy), "the first configuration does not serve")
    before = server.connections()
    reader, writer = await asyncio.open_unix_connection(tmp_path / "xds.sock")
    writer.write(bytes(range(256)) * 400)
    with contextlib.suppress(ConnectionResetError):
        await asyncio.wait_for(reader.read(), DEADLINE)
    writer.close()
    async with grpc.aio.insecure_channel(f"unix:{tmp_path / 'xds.sock'}") as channel:
        for message in (b"\xff" * 100, b"x" * (5 * 1024 * 1024)):
            with pytest.raises(grpc.aio.AioRpcError):
                async for _ in channel.stream_stream(METHOD)(iter([message]), timeout=DEADLINE):
                    pass
    assert server.connections() == before
    hub.show(
        "2",
        clusters=[eds_cluster("one"), eds_cluster("two")],
        **{**one, "eds": [*one["eds"], endpoints("two", backend)]},
    )
    await until(lambda: "two" in envoy.clusters(), "changes do not come through")
