"""The real processes: an API server and a control plane, and a client that speaks the protocol as a sidecar does."""

import asyncio
import contextlib
import json
import os
import select
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.certificates import Authority
from tidegate.envoy import protos
from tidegate.store.client import KubeStore
from tidegate.store.model import StoreError
from tidegate.xds.client import DeltaClient, Subscriber, first_node
from tidegate.xds.types import CLUSTER, ENDPOINT, LISTENER, ROUTE

pytestmark = pytest.mark.envoy
DEADLINE = 60.0
NODE = "sidecar~10.1.0.1~web~shop.svc.cluster.local"
Json = dict[str, Any]


class Process:
    """One of our processes; ``ready`` is its first line."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.errors = folder / f"{arguments[0]}.err"
        with self.errors.open("a") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tidegate", *arguments], stdout=subprocess.PIPE, stderr=errors
            )
        self.ready = self._first_line()

    def _first_line(self) -> str:
        assert self._process.stdout
        found, _, _ = select.select([self._process.stdout], [], [], DEADLINE)
        line = self._process.stdout.readline().decode() if found else ""
        if not line.startswith("ready "):
            self.kill()
            raise AssertionError(f"{line!r}: {self.errors.read_text()}")
        return line.strip()

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def kill(self) -> None:
        self._process.kill()
        self._gone()

    def terminate(self) -> int:
        self._process.send_signal(signal.SIGTERM)
        return self._gone()

    def _gone(self) -> int:
        assert self._process.stdout
        code = self._process.wait(DEADLINE)
        self._process.stdout.close()
        return code


class Plane:
    """An API server and a control plane over folders of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.run_dir, self.state = folder, folder / "run", folder / "state"
        self.kubeconfig = self.state / "kubeconfig"
        self.api = self.start_api()
        try:
            self.discovery = self.start_discovery()
        except BaseException:
            self.api.kill()
            raise

    def start_api(self, port: str = "0") -> Process:
        return Process(self.folder, "apiserver", "--state-dir", str(self.state), "--port", port)

    def start_discovery(self, port: str = "0") -> Process:
        options = ("--kubeconfig", str(self.kubeconfig), "--run-dir", str(self.run_dir), "--monitoring-port", port)
        return Process(self.folder, "discovery", *options)

    @property
    def monitoring(self) -> str:
        return self.discovery.ready.split()[1]

    @property
    def target(self) -> str:
        return f"unix:{self.run_dir / 'xds.sock'}"

    def store(self) -> KubeStore:
        return KubeStore.from_kubeconfig(self.kubeconfig)

    def get(self, path: str) -> tuple[int, bytes]:
        try:
            with urllib.request.urlopen(self.monitoring + path, timeout=DEADLINE) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()

    def json(self, path: str) -> Any:
        status, body = self.get(path)
        assert status == 200, body
        return json.loads(body)

    def stop(self) -> None:
        for each in (self.discovery, self.api):
            if each.running:
                each.kill()


@pytest.fixture
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    found = Plane(tmp_path_factory.mktemp("plane"))
    yield found
    found.stop()


def entry(name: str, address: str = "10.8.0.1", **spec: Any) -> Json:
    ports = [{"number": 80, "name": "http", "protocol": "HTTP"}]
    whole = {
        "hosts": [f"{name}.example"],
        "ports": ports,
        "resolution": "STATIC",
        "endpoints": [{"address": address}],
        **spec,
    }
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "ServiceEntry",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": whole,
    }


async def populate(store: KubeStore) -> str:
    """A namespace with a Pod and one entry; the Pod's token."""
    await store.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})
    with contextlib.suppress(StoreError):  # a cluster's controller makes it; this one may
        await store.create(
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": "shop"}}
        )
    meta = {"name": "web", "namespace": "shop", "labels": {"app": "web"}}
    spec = {"serviceAccountName": "default", "containers": [{"name": "app", "image": "none"}]}
    pod = await store.create({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec})
    ready = {"phase": "Running", "podIP": "10.1.0.1", "podIPs": [{"ip": "10.1.0.1"}]}
    pod = await store.update({**pod, "status": ready}, subresource="status")
    await store.create(entry("a"))
    return await store.create_token("shop", "default", audiences=("istio-ca",), pod=pod)


def sidecar(node: str = NODE) -> Subscriber:
    return Subscriber(first_node(node.replace("~web~", "~web.shop~")))


def holds(cluster: str) -> Callable[[Subscriber], bool]:
    """A cluster, its endpoints, the route table and its listener are there."""

    def look(found: Subscriber) -> bool:
        tables = found.tables
        whole = cluster in tables[CLUSTER].bodies and cluster in tables[ENDPOINT].bodies
        return whole and "0.0.0.0_80" in tables[LISTENER].bodies and "80" in tables[ROUTE].bodies

    return look


def domains(found: Subscriber) -> list[str]:
    config = protos.RouteConfiguration.FromString(found.tables[ROUTE].bodies.get("80", b""))
    return [host.name for host in config.virtual_hosts]


def settled(found: Subscriber) -> dict[str, int]:
    return {url: table.received for url, table in found.tables.items()}


async def ended(plane: Plane, node: str, token: str) -> grpc.aio.AioRpcError:
    async with DeltaClient(plane.target, sidecar(node), token) as client:
        await client.until(lambda _: False, DEADLINE)
        assert client.ended is not None
        return client.ended


async def test_a_proxy_gets_its_configuration_and_every_change(plane: Plane) -> None:
    async with plane.store() as store:
        token = await populate(store)
        async with DeltaClient(plane.target, sidecar(), token) as client:
            await client.until(holds("outbound|80||a.example"), DEADLINE)
            assert domains(client.subscriber) == ["a.example:80", "allow_any"]

            await store.create(entry("b"))
            await client.until(lambda s: "b.example:80" in domains(s), DEADLINE)
            await client.until(holds("outbound|80||b.example"), DEADLINE)

            mesh = await store.get("ConfigMap", "istio-system", "istio")
            text = mesh["data"]["mesh"].replace("mode: ALLOW_ANY", "mode: REGISTRY_ONLY")
            before = settled(client.subscriber)
            await store.update({**mesh, "data": {**mesh["data"], "mesh": text}})
            await client.until(lambda s: domains(s)[-1:] == ["block_all"], DEADLINE)
            assert settled(client.subscriber)[CLUSTER] == before[CLUSTER], "a mode switch sends no cluster"

            await store.delete("ServiceEntry", "shop", "a")
            await client.until(lambda s: "outbound|80||a.example" not in s.tables[CLUSTER].bodies, DEADLINE)
            await client.until(lambda s: "a.example:80" not in domains(s), DEADLINE)
            assert client.ended is None


async def test_who_may_come(plane: Plane) -> None:
    async with plane.store() as store:
        token = await populate(store)
        other = await store.create_token("shop", "default", audiences=("somebody-else",))
    for bad in ("", "nonsense", other):
        found = await ended(plane, NODE, bad)
        assert found.code() is grpc.StatusCode.UNAUTHENTICATED
    for node in ("sidecar~10.1.0.1~web.other~x", "sidecar~10.1.0.1~other.shop~x"):
        found = await ended(plane, node, token)
        assert found.code() is grpc.StatusCode.PERMISSION_DENIED, found.details()
    found = await ended(plane, "nobody", token)
    assert found.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert plane.discovery.running


async def test_after_a_crash_only_what_differs_is_sent(plane: Plane) -> None:
    async with plane.store() as store:
        token = await populate(store)
        async with DeltaClient(plane.target, sidecar(), token) as client:
            await client.until(holds("outbound|80||a.example"), DEADLINE)
            subscriber = client.subscriber
        before, bodies = settled(subscriber), dict(subscriber.tables[CLUSTER].bodies)

        plane.discovery.kill()
        assert (plane.run_dir / "xds.sock").exists(), "a killed process leaves its socket"
        await store.update(await changed(store, "10.8.0.2"))
        plane.discovery = plane.start_discovery()

        async with DeltaClient(plane.target, subscriber, token) as client:
            await client.until(lambda s: b"10.8.0.2" in s.tables[ENDPOINT].bodies["outbound|80||a.example"], DEADLINE)
            await store.update(await changed(store, "10.8.0.3"))
            await client.until(lambda s: b"10.8.0.3" in s.tables[ENDPOINT].bodies["outbound|80||a.example"], DEADLINE)
    after = settled(subscriber)
    assert after == {**before, ENDPOINT: before[ENDPOINT] + 2}
    assert subscriber.tables[CLUSTER].bodies == bodies


async def changed(store: KubeStore, address: str) -> Json:
    found = await store.get("ServiceEntry", "shop", "a")
    return {**found, "spec": {**found["spec"], "endpoints": [{"address": address}]}}


async def test_an_object_that_cannot_be_read_hurts_no_other(plane: Plane) -> None:
    """Written past the API's door, as an older or a foreign writer might."""
    async with plane.store() as store:
        token = await populate(store)
        await store.create(entry("b"))
        await store.create(entry("c"))
    plane.discovery.kill()
    assert plane.api.terminate() == 0
    spoil(plane.state / "store.db", "b", lambda found: found["spec"].update(ports="eighty"))
    spoil(plane.state / "store.db", "c", lambda found: found["spec"].update(resolution="SORCERY", ports=[7]))
    plane.api = plane.start_api()
    plane.discovery = plane.start_discovery()

    async with DeltaClient(plane.target, sidecar(), token) as client:
        await client.until(holds("outbound|80||a.example"), DEADLINE)
        assert domains(client.subscriber) == ["a.example:80", "allow_any"]
        told = plane.discovery.errors.read_text()
        assert "spec.ports" in told
        assert told.count("left out") >= 2
        async with plane.store() as store:
            found = await store.get("ServiceEntry", "shop", "b")
            await store.update({**found, "spec": entry("b")["spec"]})
        await client.until(lambda s: "b.example:80" in domains(s), DEADLINE)


def spoil(database: Path, name: str, damage: Callable[[Json], None]) -> None:
    with contextlib.closing(sqlite3.connect(database)) as connection, connection:
        where = "kind = 'ServiceEntry' AND name = ?"
        (body,) = connection.execute(f"SELECT body FROM objects WHERE {where}", (name,)).fetchone()
        found = json.loads(body)
        damage(found)
        connection.execute(f"UPDATE objects SET body = ? WHERE {where}", (json.dumps(found).encode(), name))


async def test_the_debug_port(plane: Plane) -> None:
    async with plane.store() as store:
        token = await populate(store)
    assert plane.get("/ready")[0] == 200
    assert plane.json("/debug/syncz") == []
    async with DeltaClient(plane.target, sidecar(), token) as client:
        await client.until(holds("outbound|80||a.example"), DEADLINE)
        deadline = time.monotonic() + DEADLINE
        while True:
            (row,) = await asyncio.to_thread(plane.json, "/debug/syncz")
            acked = [row.get(f"{n}_acked") == row.get(f"{n}_sent") for n in ("cluster", "listener", "route")]
            if all(acked) and row.get("route_sent"):
                break
            assert time.monotonic() < deadline, row
            await asyncio.sleep(0.05)
        assert row["proxy"] == "web.shop"
        dump = await asyncio.to_thread(plane.json, "/debug/config_dump?proxyID=web.shop")
        kinds = {part["@type"].rpartition(".")[2] for part in dump["configs"]}
        assert {"ClustersConfigDump", "ListenersConfigDump", "RoutesConfigDump"} <= kinds
        assert "outbound|80||a.example" in json.dumps(dump)
        status, text = await asyncio.to_thread(plane.get, "/metrics")
        assert status == 200
        lines = text.decode().splitlines()
        assert any(line == "pilot_services 1.0" for line in lines), lines
        assert any(line.startswith("pilot_xds{") and line.endswith(" 1.0") for line in lines), lines
    assert (await asyncio.to_thread(plane.get, "/debug/config_dump?proxyID=nobody"))[0] == 404


async def test_sigterm_ends_both_and_leaves_no_socket(plane: Plane) -> None:
    async with plane.store() as store:
        token = await populate(store)
    async with DeltaClient(plane.target, sidecar(), token) as client:
        await client.until(holds("outbound|80||a.example"), DEADLINE)
        assert await asyncio.to_thread(plane.discovery.terminate) == 0
        await client.until(lambda _: False, DEADLINE)
        assert client.ended is not None
        assert client.ended.code() is grpc.StatusCode.UNAVAILABLE
    assert not (plane.run_dir / "xds.sock").exists()
    assert await asyncio.to_thread(plane.api.terminate) == 0


def test_a_taken_debug_port_is_told(plane: Plane) -> None:
    port = plane.monitoring.rpartition(":")[2]
    command = [sys.executable, "-m", "tidegate", "discovery", "--kubeconfig", str(plane.kubeconfig)]
    command += ["--run-dir", str(plane.folder / "second"), "--monitoring-port", port]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE, env=dict(os.environ))
    assert done.returncode != 0
    assert f"127.0.0.1:{port} cannot be listened on" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_second_one_is_refused_in_a_line(plane: Plane, tmp_path: Path) -> None:
    """The socket and the network's address are the first one's: no traceback, and the first one goes on."""
    pair, taken = Authority().issue("cp"), socket.create_server(("127.0.0.1", 0))
    for name, text in (("tls.crt", pair.certificate), ("tls.key", pair.key)):
        (tmp_path / name).write_bytes(text)
    address = f"127.0.0.1:{taken.getsockname()[1]}"
    network = [
        "--tls-address",
        address,
        "--tls-cert",
        str(tmp_path / "tls.crt"),
        "--tls-key",
        str(tmp_path / "tls.key"),
    ]
    with taken:
        for more, reason in (
            (["--run-dir", str(plane.run_dir)], "another server holds it; stop that one first"),
            (["--run-dir", str(tmp_path), *network], f"{address}: cannot be listened on"),
        ):
            command = [sys.executable, "-m", "tidegate", "discovery", "--kubeconfig", str(plane.kubeconfig)]
            done = subprocess.run(
                [*command, "--monitoring-port", "0", *more], capture_output=True, text=True, timeout=DEADLINE
            )
            last = done.stderr.splitlines()[-1]
            assert done.returncode == 1 and last.startswith("error: ") and reason in last, done.stderr
    assert plane.discovery.running
