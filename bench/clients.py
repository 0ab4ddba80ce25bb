"""Many sidecars that connect at once: time until all are current, time of an edit to reach all, and memory.

An API server, a control plane and the clients are processes of their own, on one machine: the times are those of all
three together. Each of the clients has a Pod, a token and a channel of its own, and the subscriptions of an Envoy, to
100 services. Prints one JSON line for each size, then ratios to one client.
"""

import argparse
import asyncio
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

from bench.core import entry
from bench.swarm import SECONDS, Swarm, digest
from tidegate.store.client import KubeStore
from tidegate.xds.client import DeltaClient, Subscriber, first_node
from tidegate.xds.types import CLUSTER, ENDPOINT, ROUTE

SIZES = (1, 100, 1000)
SERVICES = 100
EDITS = 10
AT_ONCE = 16
SPACE = "bench"
Row = dict[str, Any]


@contextlib.contextmanager
def process(*arguments: str) -> Iterator[tuple[int, str]]:
    """One of our processes, ready; its id and its first line."""
    command = [sys.executable, "-m", "tidegate", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as started:
        assert started.stdout
        try:
            line = started.stdout.readline()
            if not line.startswith("ready "):
                raise SystemExit(f"{' '.join(arguments)} did not start: {line!r}")
            yield started.pid, line
        finally:
            started.terminate()


def resident(pid: int) -> float:
    """MiB."""
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.partition("VmRSS:")[2].split()[0]) / 1024


async def sidecar(store: KubeStore, number: int) -> tuple[str, str]:
    """A running Pod's node id and token."""
    name, address = f"p{number}", f"10.2.{number // 250}.{number % 250 + 1}"
    spec = {"serviceAccountName": "default", "containers": [{"name": "app", "image": "none"}]}
    meta = {"name": name, "namespace": SPACE}
    pod = await store.create({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec})
    status = {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}]}
    pod = await store.update({**pod, "status": status}, subresource="status")
    token = await store.create_token(SPACE, "default", audiences=("istio-ca",), pod=pod)
    return f"sidecar~{address}~{name}.{SPACE}~{SPACE}.svc.cluster.local", token


async def populate(store: KubeStore, sidecars: int) -> list[tuple[str, str]]:
    await store.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}})
    async with asyncio.timeout(SECONDS):
        while not (await store.list("ServiceAccount", SPACE)).items:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    gate = asyncio.Semaphore(AT_ONCE)

    async def limited(work: Any) -> Any:
        async with gate:
            return await work

    await asyncio.gather(*(limited(store.create(entry(n))) for n in range(SERVICES)))
    return list(await asyncio.gather(*(limited(sidecar(store, n)) for n in range(sidecars))))


def whole(found: Subscriber) -> bool:
    """Two ports of each service, as entries of the pure core's benchmark have."""
    counts = [len(found.tables[url].bodies) for url in (ENDPOINT, CLUSTER)]
    return counts[0] == 2 * SERVICES and counts[1] >= counts[0] and bool(found.tables[ROUTE].bodies)


@contextlib.asynccontextmanager
async def plane(base: Path) -> AsyncIterator[tuple[int, str, KubeStore]]:
    """The control plane's process id, its target, and its store."""
    state, run = base / "state", base / "run"
    options = ("--kubeconfig", str(state / "kubeconfig"), "--run-dir", str(run), "--monitoring-port", "0")
    with process("apiserver", "--state-dir", str(state), "--port", "0"), process("discovery", *options) as (pid, _):
        async with KubeStore.from_kubeconfig(state / "kubeconfig") as store:
            yield pid, f"unix:{run / 'xds.sock'}", store


async def measure(size: int, base: Path) -> Row:
    async with plane(base) as (pid, target, store):
        (node, token), *others = await populate(store, size + 1)
        async with DeltaClient(target, Subscriber(first_node(node)), token) as client:
            await client.until(whole, SECONDS)
            before = resident(pid)
            async with Swarm(target, base / "swarm", others) as swarm:
                wanted = digest(client.subscriber)
                started = (await swarm.ask("nobody"))["started"]
                current = (await swarm.current(SPACE, wanted))["at"] - started
                full = resident(pid)
                edited = [await edit(store, client, swarm, number) for number in range(EDITS)]
    return {
        "clients": size,
        "services": SERVICES,
        "all_current_s": round(current, 2),
        "edit_reaches_all_ms": round(1000 * sorted(edited)[EDITS // 2], 1),
        "rss_mib_with_one": round(before, 1),
        "rss_mib": round(full, 1),
    }


async def edit(store: KubeStore, client: DeltaClient, swarm: Swarm, number: int) -> float:
    """Seconds from an edit of an endpoint to all clients."""
    found = await store.get("ServiceEntry", SPACE, "svc-1")
    address = f"10.77.0.{number + 1}"
    start = time.monotonic()
    await store.update({**found, "spec": {**found["spec"], "endpoints": [{"address": address}]}})
    names = [f"outbound|{port}||svc-1.bench.example" for port in (80, 9000)]
    await client.until(lambda s: all(address.encode() in s.tables[ENDPOINT].bodies[name] for name in names), SECONDS)
    return float((await swarm.current(SPACE, digest(client.subscriber)))["at"]) - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sizes", nargs="*", type=int, default=SIZES)
    rows = []
    for size in parser.parse_args().sizes:
        with tempfile.TemporaryDirectory() as base:
            rows.append(asyncio.run(measure(size, Path(base))))
        print(json.dumps(rows[-1]), flush=True)
    first = rows[0]
    for row in rows[1:]:
        clients = row["clients"] / first["clients"]
        times = {key: row[key] / first[key] for key in ("all_current_s", "edit_reaches_all_ms", "rss_mib")}
        told = ", ".join(f"{key} {ratio:.1f}" for key, ratio in times.items())
        print(f"{clients:.0f} times the clients: {told} times as much")


if __name__ == "__main__":
    main()
