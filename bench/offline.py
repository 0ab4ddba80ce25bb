"""``tidegate compile``, ``explain`` and ``validate`` at growing sizes.

compile: YAML to what one sidecar would be sent, and to the whole dump; then one edit. The same entries as bench.core's,
all seen by the sidecar. explain: the first question of that dump as text, and later ones. validate: the manifests
of bench.manifests. Prints one JSON line for each size; ratios compare sizes within the run.
"""

import argparse
import gc
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import yaml

from bench import manifests as company
from bench.core import entry, put
from tidegate.answer.question import Question
from tidegate.app.diagnosis.explain import explain, scene
from tidegate.app.offline import manifests
from tidegate.app.offline import world as offline
from tidegate.app.offline.compile import compile_proxy
from tidegate.app.offline.dangling import missing_subsets
from tidegate.app.offline.disputes import disputes
from tidegate.app.offline.pitfalls import pitfalls
from tidegate.app.offline.proxyspec import ProxySpec
from tidegate.cli.manifests import without_collector

SIZES = (100, 1000, 5000)
EDITS = 20
QUESTIONS = 20
CLIENT = ProxySpec(name="client", namespace="bench", ip="10.1.0.1")
Row = dict[str, Any]


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """The result and milliseconds."""
    start = time.perf_counter()
    found = work()
    return found, 1000 * (time.perf_counter() - start)


def measure(size: int) -> Row:
    text = yaml.dump_all((entry(n) for n in range(size)), Dumper=yaml.CSafeDumper)
    read, reading = timed(lambda: manifests.parse(text, "bench.yaml"))
    world, building = timed(lambda: offline.build(read))
    compiled, compiling = timed(lambda: compile_proxy(world, CLIENT))
    dump, dumping = timed(compiled.config_dump)
    explained = explaining(world, read, json.dumps(dump).encode())
    edits = [timed(lambda n=n: world.hub.apply([put(entry(n, weight=n + 2))]))[1] for n in range(EDITS)]
    return {
        "services": size,
        "read_yaml_ms": round(reading, 1),
        "admit_and_build_ms": round(building, 1),
        "compile_first_ms": round(compiling, 1),
        "dump_ms": round(dumping, 1),
        "compile_after_one_edit_ms": round(statistics.median(edits), 2),
        **explained,
        **validating(size),
    }


def explaining(world: offline.Offline, read: manifests.Manifests, dump: bytes) -> Row:
    """Questions about a dump, as ``explain --config-dump`` answers them."""
    asked = [Question(to=f"svc-{n}.bench.example", port=80) for n in range(QUESTIONS)]
    way, reading = timed(lambda: scene(world, read, CLIENT, foreign=dump))
    first, *later = (timed(lambda question=question: explain(way, question))[1] for question in asked)
    return {
        "dump_mb": round(len(dump) / 1e6, 1),
        "explain_first_ms": round(reading + first, 1),
        "explain_later_ms": round(statistics.median(later), 2),
    }


def validating(size: int) -> Row:
    """All that ``validate`` does with the manifests of as many services."""
    text = company.text(size)
    read, reading = timed(lambda: manifests.parse(text, "bench.yaml"))
    world, building = timed(lambda: offline.build(read))
    _, judging = timed(lambda: [*missing_subsets(world), *disputes(world), *pitfalls(world)])
    return {"validate_objects": len(read.documents), "validate_ms": round(reading + building + judging, 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sizes", nargs="*", type=int, default=SIZES)
    rows = []
    for size in parser.parse_args().sizes:
        gc.collect()
        with without_collector():  # as the commands do
            rows.append(measure(size))
        print(json.dumps(rows[-1]), flush=True)
    first = rows[0]
    for row in rows[1:]:
        more = row["services"] / first["services"]
        ratios = {key: row[key] / first[key] for key in row if key != "services"}
        told = ", ".join(f"{key} {ratio:.1f}" for key, ratio in ratios.items())
        print(f"{more:.0f} times the services: {told} times as much")


if __name__ == "__main__":
    main()
