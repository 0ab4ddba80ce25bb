"""What the tests of this folder share: a populated control plane, and the client that the others are measured by."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.envoy.test_control_plane import DEADLINE, Plane, Process, entry, sidecar
from tidegate.store.client import KubeStore
from tidegate.xds.client import DeltaClient, Subscriber
from tidegate.xds.types import CLUSTER, ENDPOINT, LISTENER, ROUTE

AT_ONCE = 16
"""Calls on their way to the API server together."""
SERVICES = 100


def memory(process: Process) -> int:
    """Resident memory of a process, bytes."""
    text = Path(f"/proc/{process._process.pid}/status").read_text()
    return 1024 * int(text.partition("VmRSS:")[2].split()[0])


def shown(mib: int) -> str:
    return f"{mib / 2**20:.0f} MiB"


async def together(work: Iterable[Any]) -> list[Any]:
    """Run coroutines, some at once; their results in order."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(each: Any) -> Any:
        async with gate:
            return await each

    return list(await asyncio.gather(*(one(each) for each in work)))


async def sidecars(store: KubeStore, namespace: str, numbers: range) -> list[tuple[str, str]]:
    """Running Pods, as node ids and tokens bound to them. The namespace and its ServiceAccount are there."""

    async def one(number: int) -> tuple[str, str]:
        name, address = f"p{number}", f"10.{2 + number // 62500}.{number // 250 % 250}.{number % 250 + 1}"
        spec = {"serviceAccountName": "default", "containers": [{"name": "app", "image": "none"}]}
        meta = {"name": name, "namespace": namespace, "labels": {"app": "load"}}
        pod = await store.create({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec})
        status = {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}]}
        pod = await store.update({**pod, "status": status}, subresource="status")
        token = await store.create_token(namespace, "default", audiences=("istio-ca",), pod=pod)
        return f"sidecar~{address}~{name}.{namespace}~{namespace}.svc.cluster.local", token

    return await together(one(number) for number in numbers)


async def services(store: KubeStore, count: int = SERVICES) -> None:
    """ServiceEntries ``s0`` and on, beside the ``a`` that :func:`populate` makes."""
    await together(store.create(entry(f"s{n}", f"10.9.{n // 250}.{n % 250 + 1}")) for n in range(count))


def whole(names: Iterable[str]) -> Any:
    """Whether a client has all of these entries, and what leads to them."""
    clusters = [f"outbound|80||{name}.example" for name in names]
    hosts = [f"{name}.example:80".encode() for name in names]

    def look(found: Subscriber) -> bool:
        tables = found.tables
        there = all(name in tables[url].bodies for name in clusters for url in (CLUSTER, ENDPOINT))
        routes = tables[ROUTE].bodies.get("80", b"")
        return there and "0.0.0.0_80" in tables[LISTENER].bodies and all(host in routes for host in hosts)

    return look


@asynccontextmanager
async def reference(plane: Plane, token: str, names: Iterable[str] = ("a",)) -> AsyncIterator[DeltaClient]:
    """A connected client that has come to hold these entries."""
    async with DeltaClient(plane.target, sidecar(), token) as client:
        await client.until(whole(list(names)), DEADLINE)
        yield client


def endpoint_is(name: str, address: str) -> Any:
    cluster, wanted = f"outbound|80||{name}.example", address.encode()
    return lambda found: wanted in found.tables[ENDPOINT].bodies.get(cluster, b"")


async def moved(store: KubeStore, name: str, address: str) -> None:
    """Give an entry another endpoint."""
    found = await store.get("ServiceEntry", "shop", name)
    await store.update({**found, "spec": {**found["spec"], "endpoints": [{"address": address}]}})
