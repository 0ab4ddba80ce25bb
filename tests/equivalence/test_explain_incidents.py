"""Recorded incidents: the interpreter, given what the control plane said, ends where a real Envoy ended."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tidegate.explain.config import read_config
from tidegate.explain.connection import Connection, HttpRequest, TlsHello
from tidegate.explain.interpret import interpret
from tidegate.explain.trace import Trace

pytestmark = pytest.mark.conformance
OVER_TLS = ("https", "tls")
WITH_REQUEST = ("http", "https")


def folders(shared: Path) -> list[Path]:
    return sorted(each.parent for each in (shared / "incidents").glob("*/envoy.json"))


def connection(case: dict[str, Any]) -> Connection:
    asked = case["connection"]
    tls = TlsHello(asked.get("sni", ""), ("h2", "http/1.1")) if asked["protocol"] in OVER_TLS else None
    http = None
    if asked["protocol"] in WITH_REQUEST:
        headers = tuple((key, str(value)) for key, value in (asked.get("headers") or {}).items())
        version = str(asked.get("http_version", "1.1"))
        host, path = asked.get("host", ""), asked.get("path", "/")
        http = HttpRequest(version, asked.get("method", "GET"), host, path, headers)  # type: ignore[arg-type]
    direction = "gateway" if asked.get("at") == "gateway" or asked["from"] == "outside" else "outbound"
    return Connection(
        direction=asked.get("direction", direction),
        ip=asked["ip"],
        port=asked["port"],
        source_ip=asked.get("source_ip", "10.244.0.2"),
        tls=tls,
        http=http,
        server_first=asked.get("first_bytes") == "server",
    )


def trace_of(folder: Path) -> tuple[dict[str, Any], dict[str, Any], Trace]:
    case = yaml.safe_load((folder / "case.yaml").read_text())
    seen = json.loads((folder / "envoy.json").read_text())
    config = read_config((folder / "expected" / f"{case['proxy']}.json").read_bytes())
    return case, seen, interpret(config, connection(case))


def test_ends_as_envoy_ended(shared: Path) -> None:
    wrong = []
    for folder in folders(shared):
        case, seen, trace = trace_of(folder)
        found = told(trace, bool(seen.get("stub_refuses")))
        if found != observed(case, seen):
            wrong.append(f"{folder.name}\n  ours  {found}\n  envoy {observed(case, seen)}")
    assert not wrong, "\n".join(wrong)
    assert folders(shared)


def told(trace: Trace, refused: bool) -> dict[str, Any]:
    """What the access log would say of the likeliest end. A server that refuses is no matter of configuration."""
    end = trace.end
    listener = next(step.name for step in reversed(trace.steps) if step.stage == "listener")
    chain = next((step.name for step in trace.steps if step.stage == "filter_chain"), "")
    flags = {"UF", "URX"} if refused and end.kind == "forwarded" else set(end.response_flags)
    http = any(step.kind == "HttpConnectionManager" for step in trace.steps)
    status = end.http_status or (200 if http and end.kind == "forwarded" else None)
    cluster = "" if end.kind == "no_cluster" else end.cluster
    return {"listener": listener, "chain": chain, "cluster": cluster, "flags": flags, "status": status}


def observed(case: dict[str, Any], seen: dict[str, Any]) -> dict[str, Any]:
    lines = [line for line in seen["access_log"] if not line["ev"].startswith("listener ")]
    if not lines:
        return {"listener": case["expected"]["listener"], "chain": "", "cluster": "", "flags": set(), "status": None}
    line = lines[0]
    flags = set(line.get("flags", "").split(",")) - {""}
    return {
        "listener": line["ev"].split(" ", 1)[1],
        "chain": line.get("chain", ""),
        "cluster": line.get("cluster", ""),
        "flags": flags,
        "status": line.get("code"),
    }


def test_far_side_gets_what_the_stub_saw(shared: Path) -> None:
    """How many layers of TLS there are around the bytes, as the server behind Envoy counted them."""
    judged = 0
    for folder in folders(shared):
        _, seen, trace = trace_of(folder)
        end = trace.end
        if not seen["stub_saw"] or end.far_side is None or end.upstream_tls is None:
            continue
        layers = (end.upstream_tls.mode in ("tls", "mutual")) + end.far_side.client_tls
        depth = max(f">{line}>".count(">tls") for line in seen["stub_saw"])
        assert depth == layers, folder.name
        judged += 1
    assert judged


def test_detection_that_never_ends_is_told(shared: Path) -> None:
    key = "connections_waiting_in_listener_filters"
    waiting = [each for each in folders(shared) if key in json.loads((each / "envoy.json").read_text())]
    assert [trace_of(folder)[2].end.kind for folder in waiting] == ["waits"] * len(waiting)
