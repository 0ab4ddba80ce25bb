"""The pure core at growing sizes: a first full configuration, and one edit.

Shape: N ServiceEntries, STATIC, MESH_INTERNAL, an address of their own, one HTTP and one TCP port, three endpoints; one
default sidecar. Prints one JSON line for each size, each measured in a process of its own and with the garbage
collector as discovery sets it; ratios compare sizes within the run. Memory is what the process came to hold beyond the
events' JSON: the decoded objects, the world and all that one kind of proxy is shown.
"""

import argparse
import gc
import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tidegate.api import decode
from tidegate.app.discovery.heap import settle, spare
from tidegate.app.discovery.hub import Hub
from tidegate.app.discovery.proxies import Node
from tidegate.envoy.resource import CLUSTER, ENDPOINT, LISTENER, ROUTE
from tidegate.snapshot.world import Event, Verb

TYPES = {"CDS": CLUSTER, "LDS": LISTENER, "RDS": ROUTE, "EDS": ENDPOINT}
EDITS = 50


def entry(number: int, weight: int = 1) -> dict[str, Any]:
    high, low = divmod(number, 250)
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "ServiceEntry",
        "metadata": {
            "name": f"svc-{number}",
            "namespace": "bench",
            "uid": f"uid-{number}",
            "creationTimestamp": "2026-01-01T00:00:00Z",
        },
        "spec": {
            "hosts": [f"svc-{number}.bench.example"],
            "addresses": [f"10.{100 + high // 250}.{high % 250}.{low + 1}"],
            "location": "MESH_INTERNAL",
            "resolution": "STATIC",
            "ports": [
                {"number": 80, "name": "http", "protocol": "HTTP"},
                {"number": 9000, "name": "tcp", "protocol": "TCP"},
            ],
            "endpoints": [{"address": f"10.200.{number % 250}.{i + 1}", "weight": weight + i} for i in range(3)],
        },
    }


def put(raw: dict[str, Any]) -> Event:
    found = decode.stored(raw)
    return Event(Verb.PUT, found.ref, found)


def milliseconds(since: float) -> float:
    return round((time.perf_counter() - since) * 1000, 3)


def resident() -> int:
    """Bytes of memory that the process has in RAM."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def measure(size: int) -> dict[str, Any]:
    spare()
    raws = [entry(n) for n in range(size)]
    gc.collect()
    empty = resident()
    start = time.perf_counter()
    events = [put(raw) for raw in raws]
    decoding = milliseconds(start)
    hub = Hub()
    start = time.perf_counter()
    hub.apply(events)
    world = milliseconds(start)
    settle()
    node = Node(name="client.bench", namespace="bench", pod="", service_account="default", address="10.1.1.1")
    start = time.perf_counter()
    shown = hub.attach(node)
    first = milliseconds(start)
    gc.collect()
    memory = resident() - empty
    view = shown.mailbox.view
    sizes = {}
    for name, url in TYPES.items():
        names = view.names(url)
        sizes[name] = sum(len(r.body) for n in names if (r := view.get(url, n)))
    start = time.perf_counter()
    hub.attach(Node(name="second.bench", namespace="bench", pod="", service_account="default", address="10.1.1.2"))
    warm = milliseconds(start)
    return {
        "services": size,
        "decode_ms": decoding,
        "world_ms": world,
        "first_configuration_ms": first,
        "second_proxy_ms": warm,
        "rss_mib_per_1000": round(memory / size * 1000 / 2**20, 2),
        "bytes": sizes,
        **edits(hub, size),
    }


def edits(hub: Hub, size: int) -> dict[str, Any]:
    """One endpoint's weight, again and again, then one host name, in the middle of the others."""
    times: dict[str, list[float]] = {"endpoint": [], "host": []}
    calls: dict[str, int] = {}
    for kind in times:
        for number in range(EDITS):
            raw = entry(size // 2, weight=2 + number)
            if kind == "host":
                raw["spec"]["hosts"] = [f"renamed-{number}.bench.example"]
            event = put(raw)
            before = sum(hub.builders.built.values())
            start = time.perf_counter()
            hub.apply([event])
            times[kind].append(milliseconds(start))
            calls[kind] = sum(hub.builders.built.values()) - before
    return {
        f"edit_{kind}": {
            "p50_ms": round(statistics.median(found), 3),
            "p95_ms": round(sorted(found)[int(len(found) * 0.95)], 3),
            "builder_calls": calls[kind],
        }
        for kind, found in times.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sizes", nargs="*", type=int, default=[100, 1000, 5000])
    sizes = parser.parse_args().sizes
    if len(sizes) == 1:
        print(json.dumps(measure(sizes[0])))
        return
    rows = []
    for size in sizes:
        done = subprocess.run([sys.executable, __file__, str(size)], check=True, stdout=subprocess.PIPE, timeout=600)
        rows.append(json.loads(done.stdout))
        print(json.dumps(rows[-1]), flush=True)
    first, last = rows[0], rows[-1]
    if first is not last:
        grown = last["services"] / first["services"]
        for key in ("edit_endpoint", "edit_host"):
            ratio = last[key]["p50_ms"] / first[key]["p50_ms"]
            print(f"{key}: {grown:.0f} times the services, {ratio:.1f} times the time")


if __name__ == "__main__":
    main()
