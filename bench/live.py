"""A lab under measurement: from an edit to its effect, memory at growing sizes, and what two sidecars cost.

Each row is one JSON line; a short table follows. Times are of this machine; ratios compare within one run. The shape of
the extra ServiceEntries is that of the pure core's benchmark. Needs root, and wrk for the throughput.
"""

import argparse
import asyncio
import contextlib
import http.client
import json
import os
import random
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import msgspec

from bench.core import entry
from tidegate.lab.state import Folders, State, read_state
from tidegate.store.client import KubeStore

Row = dict[str, Any]

HERE = Path(__file__).resolve().parent
NAME = "bench"
SIZES = (0, 1000, 5000)
EDITS = 50
SECONDS = 120.0
"""Limit of every wait."""
AT_ONCE = 16
"""Creations on their way to the API server together."""
WRK = ("wrk", "-t", "1", "-c", "16", "--latency")
_LATENCY = {"us": 0.001, "ms": 1.0, "s": 1000.0}

LAB = """
name: {name}
controlPlane: {{monitoringPort: {port}}}
objects: [objects.yaml]
workloads:
- {{name: client, namespace: bench, labels: {{app: client}}, command: [sleep, infinity]}}
- {{name: direct, namespace: bench, labels: {{app: direct}}, command: [sleep, infinity], sidecar: false}}
- &server
  name: server
  namespace: bench
  labels: {{app: server}}
  command: [/usr/bin/python3, server.py]
  files: {{server.py: {programs}/server.py}}
  ports: [{{name: http, containerPort: 8000}}]
- {{<<: *server, name: bare, labels: {{app: bare}}, sidecar: false}}
"""
OBJECTS = """
apiVersion: v1
kind: Namespace
metadata: {name: bench}
---
apiVersion: v1
kind: Service
metadata: {name: server, namespace: bench}
spec: {selector: {app: server}, ports: [{name: http, port: 8000}]}
---
apiVersion: v1
kind: Service
metadata: {name: edited, namespace: bench}
spec: {selector: {app: server}, ports: [{name: http, port: 8000}]}
"""


def answering(status: int) -> Row:
    """A VirtualService by which the Service ``edited`` answers so."""
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": "edited", "namespace": "bench"},
        "spec": {"hosts": ["edited"], "http": [{"name": f"to-{status}", "directResponse": {"status": status}}]},
    }


class Lab:
    """The lab, its folders below one temporary folder."""

    def __init__(self, base: Path) -> None:
        self.folders = Folders(base / "run", base / "state")
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.file = base / "lab.yaml"
        self.file.write_text(LAB.format(name=NAME, port=self.port, programs=HERE / "programs"))
        (base / "objects.yaml").write_text(OBJECTS)

    def command(self, *arguments: str) -> list[str]:
        places = ("--run-dir", str(self.folders.run), "--state-dir", str(self.folders.state))
        return [sys.executable, "-m", "tidegate", "lab", *places, *arguments]

    def run(self, *arguments: str) -> str:
        done = subprocess.run(self.command(*arguments), capture_output=True, text=True, timeout=2 * SECONDS)
        if done.returncode:
            raise SystemExit(f"{' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout

    @property
    def kubeconfig(self) -> Path:
        return self.folders.lab(NAME).kubeconfig

    @property
    def state(self) -> State:
        found = read_state(self.folders.lab(NAME))
        if found is None:
            raise SystemExit("the lab has no state")
        return found

    def agent(self, path: str) -> bytes:
        """What the client's agent answers."""
        connection = http.client.HTTPConnection("localhost", timeout=SECONDS)
        connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.sock.settimeout(SECONDS)
        connection.sock.connect(str(self.folders.run / "proxies" / "client.bench" / "agent.sock"))
        with contextlib.closing(connection):
            connection.request("GET", path)
            response = connection.getresponse()
            body = response.read()
        if response.status != 200:
            raise SystemExit(f"the client's agent answers {response.status} to {path}")
        return body

    def convergence(self) -> tuple[float, float]:
        """Seconds from a change's arrival at the control plane to its being sent, summed, and how many there were."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=SECONDS)
        with contextlib.closing(connection):
            connection.request("GET", "/metrics")
            text = connection.getresponse().read().decode()
        pairs = dict(line.rsplit(" ", 1) for line in text.splitlines() if line.startswith("pilot_proxy_convergence"))
        return float(pairs["pilot_proxy_convergence_time_sum"]), float(pairs["pilot_proxy_convergence_time_count"])

    def clusters(self) -> int:
        """Clusters that the client's Envoy has."""
        return int(self.agent("/envoy/stats?filter=cluster_manager.active_clusters").rpartition(b": ")[2])


@contextlib.contextmanager
def running() -> Iterator[Lab]:
    base = Path(tempfile.mkdtemp(prefix="tgbench"))
    base.chmod(0o755)
    lab = Lab(base)
    try:
        lab.run("up", "-f", str(lab.file))
        yield lab
    finally:
        lab.run("down", "--name", NAME)
        shutil.rmtree(base, ignore_errors=True)


# From an edit to its effect


class Poller:
    """What the client sees, as it sees it."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def until(self, status: int) -> float:
        """When the first answer with this status was there, in seconds of time.monotonic()."""
        if self._process.stdout is None:
            raise AssertionError
        while line := await asyncio.wait_for(self._process.stdout.readline(), SECONDS):
            seen, when = line.split()
            if int(seen) == status:
                return int(when) / 1e9
        raise SystemExit("the poller ended")


@contextlib.asynccontextmanager
async def polling(lab: Lab) -> AsyncIterator[Poller]:
    command = lab.command("exec", "client", "--", "/usr/bin/python3", str(HERE / "programs/poller.py"))
    process = await asyncio.create_subprocess_exec(*command, "edited.bench", "8000", stdout=asyncio.subprocess.PIPE)
    try:
        yield Poller(process)
    finally:
        process.terminate()
        await process.wait()


async def edits(lab: Lab, store: KubeStore, size: int) -> Row:
    """Edits through the API by one kept connection, each waited for; then one by kubectl."""
    effects, acknowledged = [], []
    async with polling(lab) as poller:
        await put(store, answering(299))
        await poller.until(299)
        before_all, used = lab.convergence(), processor_times(lab)
        for number in range(EDITS):
            await asyncio.sleep(random.uniform(0.03, 0.1))
            before = time.monotonic()
            await put(store, answering(201 + number))
            acknowledged.append(time.monotonic() - before)
            effects.append(await poller.until(201 + number) - before)
        pushes = [after - before for before, after in zip(before_all, lab.convergence(), strict=True)]
        spent = {name: round((now - used[name]) * 1000 / EDITS, 1) for name, now in processor_times(lab).items()}
        kubectl = await by_kubectl(lab, poller)
        await store.delete("VirtualService", "bench", "edited")
        await poller.until(200)
    return {
        "measured": "edit to effect",
        "services": size,
        "edits": EDITS,
        "p50_ms": milliseconds(statistics.median(effects)),
        "p95_ms": milliseconds(sorted(effects)[int(EDITS * 0.95)]),
        "acknowledged_p50_ms": milliseconds(statistics.median(acknowledged)),
        "control_plane_mean_ms": milliseconds(pushes[0] / pushes[1]) if pushes[1] else None,
        "processor_ms_an_edit": spent,
        **kubectl,
    }


async def put(store: KubeStore, obj: Row) -> None:
    """Create, or replace whatever version is there."""
    await store.patch("VirtualService", "bench", "edited", obj, content_type="application/apply-patch+yaml")


async def by_kubectl(lab: Lab, poller: Poller) -> Row:
    binary = Path(sys.executable).parent / "kubectl"
    command = [str(binary) if binary.exists() else "kubectl", "apply", "--server-side", "--force-conflicts", "-f", "-"]
    before = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        *command,
        env=os.environ | {"KUBECONFIG": str(lab.kubeconfig)},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
    )
    await asyncio.wait_for(process.communicate(json.dumps(answering(298)).encode()), SECONDS)
    ended = time.monotonic()
    effect = await poller.until(298)
    return {
        "kubectl_took_ms": milliseconds(ended - before),
        "kubectl_effect_after_start_ms": milliseconds(effect - before),
    }


def milliseconds(seconds: float) -> float:
    return round(seconds * 1000, 2)


# Memory


async def grow(lab: Lab, store: KubeStore, since: int, size: int) -> Row:
    """Create ServiceEntries number ``since`` to ``size``, and wait until the client's Envoy has them."""
    before = time.monotonic()
    limit = asyncio.Semaphore(AT_ONCE)
    clusters = lab.clusters()

    async def create(number: int) -> None:
        made = entry(number)
        made["metadata"] = {"name": made["metadata"]["name"], "namespace": "bench"}
        async with limit:
            await store.create(made)

    await asyncio.gather(*(create(number) for number in range(since, size)))
    created = time.monotonic()
    wanted = clusters + 2 * (size - since)
    while lab.clusters() < wanted:
        if time.monotonic() - created > SECONDS:
            raise SystemExit(f"Envoy has {lab.clusters()} clusters, expected {wanted}")
        await asyncio.sleep(0.1)
    here = time.monotonic()
    return {
        "measured": "growth",
        "services": size,
        "created": size - since,
        "creation_s": round(created - before, 2),
        "until_in_envoy_s": round(here - created, 2),
    }


def processes(lab: Lab) -> dict[str, int]:
    """Process ids; agent and Envoy are the client's."""
    known = lab.state.processes
    return {
        "control_plane": known["discovery"].pid,
        "api_server": known["apiserver"].pid,
        "agent": known["client.bench/agent"].pid,
        "envoy": msgspec.json.decode(lab.agent("/status"))["envoy"]["pid"],
    }


def processor_times(lab: Lab) -> dict[str, float]:
    """Seconds of processor time so far. Envoy's holds that of answering the poller."""
    found = {}
    for name, pid in processes(lab).items():
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        found[name] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return found


def memory(lab: Lab, size: int) -> Row:
    found = {f"{name}_mb": resident(pid) for name, pid in processes(lab).items()}
    return {"measured": "memory", "services": size, **found}


def resident(pid: int) -> float:
    """MB of resident memory."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return round(int(found[1]) / 1024, 1) if found else 0.0


# Throughput


def throughput(lab: Lab, seconds: int) -> Row:
    """Requests a second and p99 through two sidecars, and without any, one after the other."""
    if shutil.which("wrk") is None:
        return {"measured": "throughput", "skipped": "wrk is not installed (Debian's package wrk)"}
    address = next(m.address for w, m in lab.state.plan.workloads if w.name == "bare")
    ways = {"none": ("direct", f"http://{address}:8000/"), "two": ("client", "http://server.bench:8000/")}
    found = {}
    for name, (workload, url) in ways.items():
        lab.run("exec", workload, "--", *WRK, "-d", "2s", url)
        found[name] = wrk(lab.run("exec", workload, "--", *WRK, "-d", f"{seconds}s", url))
    none, two = found["none"], found["two"]
    return {
        "measured": "throughput",
        **{f"{name}_sidecars_{key}": value for name, row in found.items() for key, value in row.items()},
        "requests_ratio": round(two["requests_s"] / none["requests_s"], 3),
        "p99_ratio": round(two["p99_ms"] / none["p99_ms"], 1),
    }


def wrk(text: str) -> dict[str, float]:
    """What wrk printed; an answer that was no success is an error of the measurement."""
    rate = re.search(r"Requests/sec:\s+([\d.]+)", text)
    slow = re.search(r"99%\s+([\d.]+)(us|ms|s)", text)
    if rate is None or slow is None or "Non-2xx" in text or "Socket errors" in text:
        raise SystemExit(f"wrk says:\n{text}")
    return {"requests_s": float(rate[1]), "p99_ms": round(float(slow[1]) * _LATENCY[slow[2]], 3)}


# All of it


async def measure(lab: Lab, sizes: list[int], seconds: int) -> list[Row]:
    rows: list[Row] = []

    def told(row: Row) -> None:
        print(json.dumps(row), flush=True)
        rows.append(row)

    told(throughput(lab, seconds))
    async with KubeStore.from_kubeconfig(lab.kubeconfig) as store:
        at = 0
        for size in sizes:
            if size > at:
                told(await grow(lab, store, at, size))
                at = size
            await asyncio.sleep(2)
            told(memory(lab, size))
            told(await edits(lab, store, size))
    return rows


def table(rows: list[Row]) -> str:
    by_size: dict[int, Row] = {}
    for row in rows:
        if "services" in row:
            by_size.setdefault(row["services"], {}).update(row)
    head = ("services", "p50 ms", "p95 ms", "control plane MB", "API server MB", "agent MB", "Envoy MB")
    keys = ("services", "p50_ms", "p95_ms", "control_plane_mb", "api_server_mb", "agent_mb", "envoy_mb")
    lines = [head, *(tuple(str(row.get(key, "-")) for key in keys) for row in by_size.values())]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    text = ["  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in lines]
    found = next((row for row in rows if "requests_ratio" in row), None)
    if found:
        text.append(
            f"two sidecars against none: {found['requests_ratio']} of the requests per second, "
            f"{found['p99_ratio']} times the p99"
        )
    return "\n".join(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sizes", nargs="*", type=int, default=list(SIZES), help="numbers of extra ServiceEntries")
    parser.add_argument("--seconds", type=int, default=10, help="how long each throughput is measured")
    options = parser.parse_args()
    if os.geteuid() != 0:
        raise SystemExit("a lab makes network namespaces: run this as root")
    with running() as lab:
        rows = asyncio.run(measure(lab, sorted(options.sizes), options.seconds))
    print(table(rows))


if __name__ == "__main__":
    main()
