"""The gRPC server with real sockets and a real client; no Envoy."""

import asyncio
import contextlib
import stat

import grpc
import grpc.aio
import pytest
from envoy.config.cluster.v3 import cluster_pb2
from envoy.service.discovery.v3 import discovery_pb2

from tidegate.xds.client import METHOD, DeltaClient, Subscriber, first_node
from tidegate.xds.fixed import FixedView, Item, difference
from tidegate.xds.mailbox import Mailbox
from tidegate.xds.server import AttachError, DiscoveryServer, Identity, Limits
from tidegate.xds.types import CLUSTER, ENDPOINT, LISTENER, ORDER
from tidegate.xds.unix import SocketPathError

NODE = "sidecar~10.0.0.1~web-1.shop~shop.svc.cluster.local"
TIMEOUT = 10


def eds(name: str, version: str) -> Item:
    cluster = cluster_pb2.Cluster(name=name, type=cluster_pb2.Cluster.EDS, alt_stat_name=version)
    return Item(name, cluster.SerializeToString(deterministic=True), version)


def view(version: str, *clusters: tuple[str, str]) -> FixedView:
    endpoints = [Item(name, f"\n{chr(len(name))}{name}".encode(), "1") for name, _ in clusters]
    return FixedView(version, {CLUSTER: [eds(*each) for each in clusters], ENDPOINT: endpoints, LISTENER: []})


class Hub:
    """All streams see one View."""

    def __init__(self, first: FixedView) -> None:
        self.view = first
        self.boxes: list[Mailbox] = []
        self.refuse: str | None = None
        self.unsure: str | None = None

    async def authenticate(self, metadata):
        if self.unsure:
            raise AttachError(self.unsure)
        token = metadata.get("authorization", "").removeprefix("Bearer ")
        namespace, _, pod = token.partition("/")
        return Identity(namespace, "default", pod) if namespace else None

    async def attach(self, identity, node):
        if self.refuse:
            raise AttachError(self.refuse)
        self.boxes.append(Mailbox(self.view))
        return self.boxes[-1]

    def publish(self, new: FixedView) -> None:
        delta = difference(self.view, new, ORDER)
        self.view = new
        for box in self.boxes:
            box.publish(new, delta)


@pytest.fixture
def hub():
    return Hub(view("1", ("a", "1"), ("b", "1")))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "xds.sock"


@pytest.fixture
async def server(hub, path):
    server = DiscoveryServer(hub.authenticate, hub.attach)
    await server.start(path)
    yield server
    await server.stop(grace=0.2)


def client(path, subscriber=None, token="shop/web-1", node=NODE) -> DeltaClient:
    return DeltaClient(f"unix:{path}", subscriber or Subscriber(first_node(node)), token)


def has(table: str, **versions: str):
    return lambda subscriber: subscriber.tables[table].versions == versions


async def test_a_sidecar_gets_clusters_and_the_endpoints_they_ask_for(server, hub, path):
    async with client(path) as sidecar:
        await sidecar.until(has(ENDPOINT, a="1", b="1"), TIMEOUT)
        hub.publish(view("2", ("a", "1"), ("c", "7")))
        await sidecar.until(has(CLUSTER, a="1", c="7"), TIMEOUT)
        assert sidecar.subscriber.tables[CLUSTER].versions == {"a": "1", "c": "7"}
        assert sidecar.ended is None
        assert [each.proxy.pod for each in server.connections()] == ["web-1"]


async def test_a_returning_client_is_told_differences_only(server, hub, path):
    subscriber = Subscriber(first_node(NODE))
    async with client(path, subscriber) as sidecar:
        await sidecar.until(has(ENDPOINT, a="1", b="1"), TIMEOUT)
    received = subscriber.tables[CLUSTER].received
    hub.publish(view("2", ("a", "1"), ("b", "2")))
    async with client(path, subscriber) as sidecar:
        await sidecar.until(has(CLUSTER, a="1", b="2"), TIMEOUT)
    assert subscriber.tables[CLUSTER].received == received + 1


@pytest.mark.parametrize(
    ("node", "token", "code", "text"),
    [
        (NODE, "", grpc.StatusCode.UNAUTHENTICATED, "Bearer"),
        ("", "shop", grpc.StatusCode.INVALID_ARGUMENT, "missing node information"),
        ("web-1.shop", "shop", grpc.StatusCode.INVALID_ARGUMENT, "expected <sidecar|router>~"),
        ("ztunnel~10.0.0.1~w.shop~x", "shop", grpc.StatusCode.INVALID_ARGUMENT, "type 'ztunnel'"),
        ("sidecar~nowhere~w.shop~x", "shop", grpc.StatusCode.INVALID_ARGUMENT, "not an IP address"),
        ("sidecar~10.0.0.1~web~x", "shop", grpc.StatusCode.INVALID_ARGUMENT, "not <pod>.<namespace>"),
        (NODE, "bank", grpc.StatusCode.PERMISSION_DENIED, "token of namespace bank"),
        (NODE, "shop/other", grpc.StatusCode.PERMISSION_DENIED, "token of Pod other"),
    ],
)
async def test_who_may_not_connect_is_told_why(server, hub, path, node, token, code, text):
    async with client(path, token=token, node=node) as refused:
        await refused.until(lambda _: False, TIMEOUT)
    assert refused.ended.code() == code
    assert text in refused.ended.details()
    assert hub.boxes == []


async def test_a_world_that_is_not_ready_asks_to_come_again(server, hub, path):
    hub.refuse = "caches are being filled"
    async with client(path) as early:
        await early.until(lambda _: False, TIMEOUT)
    assert (early.ended.code(), early.ended.details()) == (grpc.StatusCode.UNAVAILABLE, hub.refuse)


async def test_who_cannot_be_told_apart_now_is_asked_to_come_again(server, hub, path):
    hub.unsure = "nobody can look at the token"
    async with client(path) as early:
        await early.until(lambda _: False, TIMEOUT)
    assert (early.ended.code(), early.ended.details()) == (grpc.StatusCode.UNAVAILABLE, hub.unsure)


@pytest.mark.parametrize("message", [b"\xff\xff\xff", b"", b"x" * (4 * 1024 * 1024 + 1)], ids=["garbage", "no", "huge"])
async def test_a_bad_message_ends_its_own_stream_only(server, hub, path, message):
    async with client(path) as good:
        await good.until(has(ENDPOINT, a="1", b="1"), TIMEOUT)
        with pytest.raises(grpc.aio.AioRpcError) as ended:
            await raw_call(path, message)
        assert ended.value.code() in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.RESOURCE_EXHAUSTED)
        hub.publish(view("2", ("a", "2")))
        await good.until(has(CLUSTER, a="2"), TIMEOUT)
        assert good.ended is None


async def raw_call(path, *messages: bytes) -> None:
    async with grpc.aio.insecure_channel(f"unix:{path}") as channel:
        call = channel.stream_stream(METHOD)(
            iter(messages), metadata=(("authorization", "Bearer shop"),), timeout=TIMEOUT
        )
        async for _ in call:
            pass


async def test_garbage_bytes_on_the_socket_disturb_nobody(server, hub, path):
    async with client(path) as good:
        await good.until(has(ENDPOINT, a="1", b="1"), TIMEOUT)
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"GET / HTTP/1.1\r\n\r\n" + bytes(range(256)) * 64)
        with contextlib.suppress(ConnectionResetError):
            await asyncio.wait_for(reader.read(), TIMEOUT)
        writer.close()
        hub.publish(view("2", ("a", "2")))
        await good.until(has(CLUSTER, a="2"), TIMEOUT)
        assert good.ended is None


async def test_a_client_that_does_not_read_blocks_nobody(server, hub, path):
    big = [Item(f"big-{number}", bytes(1_000_000), "1") for number in range(20)]
    hub.view = FixedView("big", {CLUSTER: big, LISTENER: []})
    node = first_node(NODE)
    node.type_url = CLUSTER
    async with grpc.aio.insecure_channel(f"unix:{path}") as channel:
        lazy = channel.stream_stream(METHOD)(metadata=(("authorization", "Bearer shop"),))
        await lazy.write(node.SerializeToString())
        async with client(path) as good:
            await good.until(lambda s: len(s.tables[CLUSTER].versions) == 20, TIMEOUT)
            for number in range(50):
                hub.publish(view(f"v{number}", ("a", f"{number}")))
            await good.until(has(CLUSTER, a="49"), TIMEOUT)
            assert good.ended is None
        assert len(server.connections()) >= 1
        lazy.cancel()


async def test_more_streams_than_allowed_are_refused(hub, path):
    server = DiscoveryServer(hub.authenticate, hub.attach, limits=Limits(streams=1))
    await server.start(path)
    async with client(path) as first:
        await first.until(has(ENDPOINT, a="1", b="1"), TIMEOUT)
        async with client(path) as second:
            await second.until(lambda _: False, TIMEOUT)
    assert second.ended.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    await server.stop(grace=0.2)


async def test_stopping_tells_the_clients_and_removes_the_socket(hub, path):
    server = DiscoveryServer(hub.authenticate, hub.attach)
    await server.start(path)
    async with client(path) as sidecar:
        await sidecar.until(has(ENDPOINT, a="1", b="1"), TIMEOUT)
        await server.stop(grace=2)
        await sidecar.until(lambda _: False, TIMEOUT)
    assert sidecar.ended.code() == grpc.StatusCode.UNAVAILABLE
    assert server.connections() == ()
    again = DiscoveryServer(hub.authenticate, hub.attach)
    await again.start(path)
    await again.stop(grace=0.2)


async def test_a_subscription_that_ends_ends_the_stream(server, hub, path):
    async with client(path) as sidecar:
        await sidecar.until(has(ENDPOINT, a="1", b="1"), TIMEOUT)
        hub.boxes[0].end("Pod web-1 is gone")
        await sidecar.until(lambda _: False, TIMEOUT)
    assert sidecar.ended.details() == "Pod web-1 is gone"


async def test_the_socket_is_private_and_has_one_server(server, hub, path):
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(SocketPathError, match="another server"):
        await DiscoveryServer(hub.authenticate, hub.attach).start(path)
    async with client(path) as sidecar:
        await sidecar.until(has(ENDPOINT, a="1", b="1"), TIMEOUT)


async def test_a_file_in_the_sockets_place_is_left_alone(hub, path):
    path.write_text("precious")
    with pytest.raises(SocketPathError, match="is not a socket"):
        await DiscoveryServer(hub.authenticate, hub.attach).start(path)
    assert path.read_text() == "precious"


async def test_tcp_without_tls_is_for_loopback_only(hub):
    server = DiscoveryServer(hub.authenticate, hub.attach)
    with pytest.raises(ValueError, match="loopback"):
        await server.start(None, tcp="0.0.0.0:0")
    await server.start(None, tcp="127.0.0.1:0")
    async with DeltaClient(f"127.0.0.1:{server.tcp_port}", Subscriber(first_node(NODE)), "shop") as sidecar:
        await sidecar.until(has(ENDPOINT, a="1", b="1"), TIMEOUT)
    await server.stop(grace=0.2)


async def test_state_of_the_world_is_served_too(server, path):
    async with grpc.aio.insecure_channel(f"unix:{path}") as channel:
        method = METHOD.replace("Delta", "Stream")
        call = channel.stream_stream(method)(metadata=(("authorization", "Bearer shop"),), timeout=TIMEOUT)
        request = discovery_pb2.DiscoveryRequest(type_url=CLUSTER)
        request.node.id = NODE
        await call.write(request.SerializeToString())
        response = discovery_pb2.DiscoveryResponse.FromString(await call.read())
        names = [cluster_pb2.Cluster.FromString(each.value).name for each in response.resources]
        assert (names, response.version_info) == (["a", "b"], "1")
        call.cancel()
