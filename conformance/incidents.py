"""Incidents that users reported: ``explain`` names the outcome class and the deciding object or cluster.

Asked twice: of the configuration that tidegate makes from the case's YAML, and of what istiod made from it.
"""

import json
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import yaml

from conformance.suite import Json, Outcome, judged
from tidegate.answer.question import Question
from tidegate.answer.report import Report
from tidegate.app.diagnosis.explain import explain, scene
from tidegate.app.offline import proxyspec
from tidegate.app.offline.manifests import load
from tidegate.app.offline.world import Settings, build
from tidegate.rules.saved import read_saved

CASE, MESH, RULES = "case.yaml", "mesh.yaml", "iptables.txt"


def judge(folder: Path, *, foreign: bool) -> Iterable[Outcome]:
    """foreign: interpret istiod's configuration of the case instead of ours."""
    return judged(_cases(folder), lambda case: case.name, partial(_judge, foreign=foreign))


def _cases(folder: Path) -> list[Path]:
    return sorted(each.parent for each in folder.glob(f"*/{CASE}"))


def _judge(folder: Path, *, foreign: bool) -> str:
    case: Json = yaml.safe_load((folder / CASE).read_text())
    return difference(case["expected"], answer(folder, case, foreign=foreign))


def answer(folder: Path, case: Json, *, foreign: bool) -> Report:
    """What explain says about a case."""
    given = load([str(folder / "config.yaml")])
    mesh = folder / MESH
    world = build(given, Settings(mesh_config=mesh if mesh.exists() else None))
    spec = proxyspec.read(folder / "proxies.json", case["proxy"])
    made = folder / "expected"
    dump = json.loads((made / f"{case['proxy']}.json").read_text()) if foreign else None
    rules = read_saved((made / RULES).read_text()) if foreign and (made / RULES).exists() else None
    asked = question(case["connection"])
    known = {f"{ref.name}.{ref.namespace}" for ref in world.hub.world.workloads}
    if asked.caller not in known:
        asked = msgspec.structs.replace(asked, caller="")
    return explain(scene(world, given, spec, foreign=dump, rules=rules), asked)


def question(connection: Json) -> Question:
    def text(name: str) -> str:
        return str(connection.get(name) or "")

    return Question(
        to=text("to"),
        port=int(connection["port"]),
        ip=text("ip"),
        protocol=connection["protocol"],
        sni=text("sni"),
        host=text("host"),
        path=text("path") or "/",
        method=text("method"),
        headers=tuple((str(k), str(v)) for k, v in (connection.get("headers") or {}).items()),
        http_version=text("http_version"),  # type: ignore[arg-type]
        server_first=connection.get("first_bytes") == "server",
        direction="inbound" if text("direction") == "inbound" else "gateway" if text("at") == "gateway" else "outbound",
        source_ip=text("source_ip"),
        caller=_caller(text("from")),
        unresolved=not connection.get("ip"),
    )


def _caller(source: str) -> str:
    """``Kind/namespace/name`` as NAME.NAMESPACE; "" for what is no workload."""
    parts = source.split("/")
    return f"{parts[2]}.{parts[1]}" if len(parts) == 3 else ""


def difference(expected: Json, found: Report) -> str:
    """Empty when an accepted outcome is named, and an accepted object or the cluster."""
    outcomes = _accepted(expected, "outcome")
    objects = _accepted(expected, "deciding_object")
    cluster = expected.get("cluster")
    named = found.deciding_object in objects or (bool(cluster) and found.cluster == cluster)
    if found.outcome in outcomes and named:
        return ""
    return "\n".join(
        (
            f"outcome: expected {' or '.join(outcomes)}, got {found.outcome}",
            f"deciding object: expected {' or '.join(objects)}, got {found.deciding_object}",
            f"cluster: expected {cluster}, got {found.cluster or None}",
            f"verdict: {found.verdict}",
        )
    )


def _accepted(expected: Json, name: str) -> list[Any]:
    return [expected[name], *expected.get(f"{name}_also_accepted", [])]
