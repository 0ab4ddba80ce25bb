"""The control plane's HTTP endpoints, over real connection objects."""

import asyncio
import json
import re
from urllib.parse import urlencode

import pytest
from envoy.admin.v3 import config_dump_shared_pb2
from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.listener.v3 import listener_pb2
from envoy.extensions.transport_sockets.tls.v3 import tls_pb2
from google.protobuf.json_format import Parse, ParseDict

from tidegate import __version__
from tidegate.app.discovery.debug import ENDPOINTS, debug_app
from tidegate.app.discovery.metrics import Metrics
from tidegate.xds.delta import DeltaSession
from tidegate.xds.fixed import FixedView, Item
from tidegate.xds.node import parse_node_id
from tidegate.xds.server import Connection, Identity
from tidegate.xds.types import CLUSTER, LISTENER, SECRET
from tidegate.xds.wire import DeltaRequest, Node

NODE = "sidecar~10.0.0.1~web-1.shop~shop.svc.cluster.local"
TLS = {
    "name": "tls",
    "typed_config": {
        "@type": f"type.googleapis.com/{tls_pb2.DownstreamTlsContext.DESCRIPTOR.full_name}",
        "common_tls_context": {"tls_certificates": [{"private_key": {"inline_string": "TOP SECRET"}}]},
    },
}


def item(message: object, content: dict) -> Item:
    return Item(content["name"], ParseDict(content, message).SerializeToString(deterministic=True), "1")


def sample_view() -> FixedView:
    listener = {"name": "web", "filter_chains": [{"transport_socket": TLS}]}
    foreign = listener_pb2.Listener(name="foreign")
    foreign.listener_filters.add(name="x").typed_config.type_url = "type.googleapis.com/example.Unknown"
    return FixedView(
        "world-1",
        {
            CLUSTER: [item(cluster_pb2.Cluster(), {"name": "a"}), item(cluster_pb2.Cluster(), {"name": "b"})],
            LISTENER: [
                item(listener_pb2.Listener(), listener),
                Item("foreign", foreign.SerializeToString(), "1"),
            ],
            SECRET: [Item("key", b"TOP SECRET", "1")],
        },
    )


class Server:
    def __init__(self, *connections: Connection) -> None:
        self._connections = connections

    def connections(self):
        return self._connections


def connection(metrics: Metrics) -> Connection:
    node = Node(NODE, {"ISTIO_VERSION": "1.32.0", "CLUSTER_ID": "Kubernetes"})
    made = Connection(f"{NODE}-1", node, parse_node_id(NODE), Identity("shop", "default"), "unix:", metrics)
    made.session = DeltaSession(sample_view(), observer=made)
    metrics.connected(made)
    return made


@pytest.fixture
def metrics():
    return Metrics()


@pytest.fixture
def sidecar(metrics):
    return connection(metrics)


class Caller:
    """Calls an ASGI application."""

    def __init__(self, app, host: str = "127.0.0.1") -> None:
        self._app, self._host = app, host

    async def get(self, path: str, **query: str) -> tuple[int, str]:
        scope = {
            "type": "http",
            "method": "GET",
            "path": path,
            "query_string": urlencode(query).encode(),
            "headers": [],
            "client": (self._host, 1),
            "server": ("127.0.0.1", 15014),
            "scheme": "http",
        }
        sent: list[dict] = []

        async def receive():
            await asyncio.Event().wait()  # the client neither says more nor goes away

        async def send(message):
            sent.append(message)

        await self._app(scope, receive, send)
        return sent[0]["status"], b"".join(each.get("body", b"") for each in sent[1:]).decode()


@pytest.fixture
def http(metrics, sidecar):
    return Caller(debug_app(Server(sidecar), metrics, lambda: True))


async def test_readiness_follows_the_world(metrics):
    state = [False]
    http = Caller(debug_app(Server(), metrics, lambda: state[0]))
    assert await http.get("/ready") == (503, "")
    state[0] = True
    assert await http.get("/ready") == (200, "")


async def test_only_loopback_is_served(metrics):
    far = Caller(debug_app(Server(), metrics, lambda: True), host="10.0.0.9")
    assert (await far.get("/debug/syncz"))[0] == 403


async def test_the_index_and_the_list_name_what_is_there(http):
    status, page = await http.get("/debug")
    assert status == 200
    assert all(path in page for path in ENDPOINTS)
    listed = json.loads((await http.get("/debug/list"))[1])
    assert {f"/debug/{name}" for name in ("syncz", "config_dump", "connections", "adsz")} <= set(listed)
    assert __version__ in (await http.get("/version"))[1]


async def test_syncz_tells_sent_and_acknowledged_nonces(http, sidecar):
    (sent,) = sidecar.session.on_request(DeltaRequest(CLUSTER))
    sidecar.sent(sent, 0.0)
    (row,) = json.loads((await http.get("/debug/syncz"))[1])
    assert (row["proxy"], row["proxy_type"], row["istio_version"]) == ("web-1.shop", "sidecar", "1.32.0")
    assert (row["cluster_sent"], row["cluster_acked"]) == (sent.nonce, "")
    assert row["resources"][CLUSTER]["state"] == "STALE"
    assert row["resources"][CLUSTER]["sentTime"].endswith("Z")
    assert "listener_sent" not in row

    sidecar.session.on_request(DeltaRequest(CLUSTER, nonce=sent.nonce))
    (row,) = json.loads((await http.get("/debug/syncz", namespace="shop"))[1])
    assert row["cluster_acked"] == sent.nonce
    assert json.loads((await http.get("/debug/syncz", namespace="bank"))[1]) == []


async def test_syncz_names_what_is_quarantined(http, sidecar):
    (sent,) = sidecar.session.on_request(DeltaRequest(CLUSTER))
    sidecar.session.on_request(DeltaRequest(CLUSTER, nonce=sent.nonce, error="cluster a: bad"))
    (row,) = json.loads((await http.get("/debug/syncz", pretty=""))[1])
    assert row["resources"][CLUSTER]["state"] == "ERROR"
    assert row["resources"][CLUSTER]["quarantined"] == [
        {"name": "a", "version": "1", "error": "cluster a: bad", "origins": []}
    ]


async def test_a_config_dump_is_envoys_and_has_no_secret(http):
    status, text = await http.get("/debug/config_dump", proxyID="web-1.shop", types="cds,lds,rds")
    assert status == 200
    assert "TOP SECRET" not in text
    clusters, listeners, _ = json.loads(text)["configs"]
    dump = config_dump_shared_pb2.ClustersConfigDump()
    Parse(json.dumps({key: value for key, value in clusters.items() if key != "@type"}), dump)
    assert dump.version_info == "world-1"
    assert len(dump.dynamic_active_clusters) == 2
    web, foreign = listeners["dynamicListeners"]
    certificate = web["activeState"]["listener"]["filterChains"][0]["transportSocket"]["typedConfig"][
        "commonTlsContext"
    ]["tlsCertificates"][0]
    assert certificate == {"privateKey": {"inlineString": "[redacted]"}}
    assert "cannot be shown" in foreign["activeState"]["listener"]["error"]


@pytest.mark.parametrize(
    ("query", "status", "text"),
    [
        ({}, 400, "proxyID"),
        ({"proxyID": "nobody.shop"}, 404, "not connected to this instance"),
        ({"proxyID": "web-1.shop", "types": "sds"}, 400, "expected some of cds"),
    ],
)
async def test_a_config_dump_of_nobody_is_refused(http, query, status, text):
    got, body = await http.get("/debug/config_dump", **query)
    assert got == status
    assert text in body


async def test_connections_and_their_subscriptions(http, sidecar):
    sidecar.session.on_request(DeltaRequest(CLUSTER, subscribe=("*", "a")))
    plain = json.loads((await http.get("/debug/connections"))[1])
    assert (plain["totalClients"], plain["clients"][0]["connectionId"]) == (1, f"{NODE}-1")
    full = json.loads((await http.get("/debug/adsz"))[1])
    assert full["clients"][0]["watches"] == {CLUSTER: ["*", "a"]}


async def test_metrics_have_istios_names(http, metrics, sidecar):
    (sent,) = sidecar.session.on_request(DeltaRequest(CLUSTER))
    sidecar.sent(sent, 0.2)
    sidecar.session.on_request(DeltaRequest(CLUSTER, nonce="stale"))
    sidecar.session.on_request(DeltaRequest(CLUSTER, nonce=sent.nonce, error="bad"))
    sidecar.converged(0.3)
    metrics.services(7, 3)
    metrics.inbound_update("config", 2)
    metrics.received(1000)
    metrics.received(10)
    text = (await http.get("/metrics"))[1]
    values = dict(re.findall(r"^(\w+(?:\{[^}]*\})?) (\S+)$", text, re.MULTILINE))
    assert values['pilot_xds{version="1.32.0"}'] == "1.0"
    assert values['pilot_xds_pushes{type="cds"}'] == "1.0"
    assert values['pilot_total_xds_rejects{type="cds"}'] == "1.0"
    assert values['pilot_xds_expired_nonce{type="cds"}'] == "1.0"
    assert values['pilot_xds_push_time_bucket{le="0.5",type="cds"}'] == "1.0"
    assert values["pilot_proxy_convergence_time_count"] == "1.0"
    assert values['pilot_inbound_updates{type="config"}'] == "2.0"
    assert (values["pilot_services"], values["pilot_virt_services"]) == ("7.0", "3.0")
    assert values["pilot_xds_recv_max"] == "1000.0"
    metrics.disconnected(sidecar)
    assert 'pilot_xds{version="1.32.0"} 0.0' in (await http.get("/metrics"))[1]
