"""What a mesh does to real connections: a client and two servers with sidecars, and two servers outside."""

import collections
import json
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from demo.bounds import acceptance
from tests.lab.labs import NEEDS, OUTSIDE_ECHO, OUTSIDE_WEB, VIP, Lab, Probe, running_lab, until
from tidegate.lab.plan import netns_prefix

pytestmark = NEEDS

CLIENT = "client.front"
WEB = "http://web.shop:8000/"
HOST = "web.shop.svc.cluster.local"
OUTSIDE = "http://www.site.example:8000/"
REGISTRY_ONLY = {"outboundTrafficPolicy": {"mode": "REGISTRY_ONLY"}}

SUBSETS = """
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: web, namespace: shop}
spec:
  host: web
  subsets:
  - {name: v1, labels: {version: v1}}
  - {name: v2, labels: {version: v2}}
"""


def virtual_service(*routes: dict[str, Any]) -> str:
    spec = {"hosts": [HOST], "http": list(routes)}
    meta = {"name": "web", "namespace": "shop"}
    return json.dumps(
        {"apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": meta, "spec": spec}
    )


def to(subset: str = "", weight: int = 0) -> dict[str, Any]:
    destination = {"host": HOST, "subset": subset} if subset else {"host": HOST}
    return {"destination": destination, **({"weight": weight} if weight else {})}


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with running_lab() as made:
        yield made


@pytest.fixture
def client(lab: Lab) -> Probe:
    return lab.probe(CLIENT)


def traced(lab: Lab, probe: Probe, url: str, workload: str = CLIENT, **headers: str) -> tuple[dict[str, Any], str]:
    """A request, and the one line that the sidecar logged for it."""
    request = str(uuid.uuid4())
    answer = probe.get(url, x_request_id=request, **headers)
    lines = lab.logged(workload, request)
    assert len(lines) == 1, lines
    return answer, lines[0]


def who(answer: dict[str, Any]) -> str:
    return str(json.loads(answer["body"])["version"]) if answer["status"] == 200 else str(answer["status"])


def routed(lab: Lab, route: str) -> None:
    """Wait until the client's Envoy has this route."""
    until(
        lambda: f'"name": "{route}"' in lab.agent(CLIENT, "/envoy/config_dump?resource=dynamic_route_configs").decode()
    )


# Outside the mesh


@pytest.mark.claim("C000-2", "C004-1")
def test_allow_any_lets_unknown_http_and_tcp_pass(lab: Lab, client: Probe) -> None:
    answer, line = traced(lab, client, OUTSIDE)
    assert who(answer) == "outside"
    assert f'"{OUTSIDE_WEB}:8000" PassthroughCluster' in line and line.endswith(" allow_any")
    before = len(lab.log(CLIENT))
    assert client.tcp("echo.ext.example", 9000, "hello")["received"] == "hello"
    assert " 5 5 " in lab.logged(CLIENT, "PassthroughCluster", f"{OUTSIDE_ECHO}:9000", after=before)[0]


@pytest.mark.claim("C002-7", "C004-2")
def test_registry_only_refuses_by_protocol_and_is_switched_live(lab: Lab, client: Probe) -> None:
    with lab.mesh(REGISTRY_ONLY):
        until(lambda: client.get(OUTSIDE)["status"], lambda status: status == 502)
        answer, line = traced(lab, client, OUTSIDE)
        assert answer["status"] == 502 and answer["body"] == "" and answer["headers"]["server"] == "envoy"
        assert " 502 - direct_response - " in line and line.endswith(" block_all")
        before = len(lab.log(CLIENT))
        refused = until(lambda: client.tcp("echo.ext.example", 9000, "hello"), lambda seen: seen["ended"] != "open")
        assert refused["connected"] and refused["received"] == ""
        line = lab.logged(CLIENT, "BlackHoleCluster", f"{OUTSIDE_ECHO}:9000", after=before)[0]
        assert '"- - -" 0 UH - - "-" ' in line
        assert who(client.get(WEB)) in ("v1", "v2")
    until(lambda: client.get(OUTSIDE)["status"], lambda status: status == 200)
    until(lambda: client.tcp("echo.ext.example", 9000, "hello")["received"], lambda seen: seen == "hello")


@pytest.mark.claim("C000-15")
@pytest.mark.skipif(shutil.which("conntrack") is None, reason="conntrack is not installed")
def test_the_kernel_sees_two_legs_of_an_allowed_connection_and_one_of_a_blocked_one(lab: Lab, client: Probe) -> None:
    client.tcp("echo.ext.example", 9000, "hello")
    allowed = _tracked(lab)
    assert [leg for leg in allowed if " sport=15001 " in leg] and [leg for leg in allowed if " sport=15001 " not in leg]
    with lab.mesh(REGISTRY_ONLY):
        until(lambda: client.tcp("echo.ext.example", 9000, "x")["ended"], lambda ended: ended != "open")
        subprocess.run(["ip", "netns", "exec", _netns(lab), "conntrack", "-F"], capture_output=True, check=True)
        client.tcp("echo.ext.example", 9000, "hello")
        blocked = _tracked(lab)
    assert blocked and all(" sport=15001 " in leg for leg in blocked)
    until(lambda: client.tcp("echo.ext.example", 9000, "hello")["received"], lambda seen: seen == "hello")


def _netns(lab: Lab) -> str:
    return netns_prefix(lab.name) + CLIENT


def _tracked(lab: Lab) -> list[str]:
    """The client's connections to the echo server, as the kernel tracks them: a redirected one answers from 15001."""
    done = subprocess.run(
        ["ip", "netns", "exec", _netns(lab), "conntrack", "-L", "-p", "tcp", "--orig-dst", OUTSIDE_ECHO],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()


# Inside


def test_both_sidecars_log_one_request_and_the_server_sees_127_0_0_6(lab: Lab, client: Probe) -> None:
    request = str(uuid.uuid4())
    answer = client.get(WEB, x_request_id=request)
    body = json.loads(answer["body"])
    assert body["peer"] == "127.0.0.6"
    out = lab.logged(CLIENT, request)
    into = lab.logged(f"{body['version']}.shop", request)
    assert len(out) == len(into) == 1
    assert f"outbound|8000||{HOST} " in out[0] and f" {VIP}:8000 " in out[0]
    assert " inbound|8000|| 127.0.0.6:" in into[0]


@pytest.mark.claim("C001-5")
def test_a_call_to_the_own_service_passes_outbound_and_inbound(lab: Lab) -> None:
    request = str(uuid.uuid4())
    answer = lab.probe("v1.shop").get("http://self.shop:8000/", x_request_id=request)
    assert json.loads(answer["body"])["peer"] == "127.0.0.6"
    lines = until(lambda: lab.logged("v1.shop", request), lambda seen: len(seen) > 1)
    assert sorted("inbound|8000||" in line for line in lines) == [False, True]
    assert any("outbound|8000||self.shop.svc.cluster.local" in line for line in lines)


@pytest.mark.claim("C001-4")
def test_calls_to_the_own_address_and_to_localhost_pass_no_proxy(lab: Lab) -> None:
    probe = lab.probe("v1.shop")
    address = next(member.address for workload, member in lab.state.plan.workloads if workload.name == "v1")
    before = len(lab.log("v1.shop"))
    for target in (address, "127.0.0.1"):
        answer = probe.get(f"http://{target}:8000/", x_request_id="past-the-proxy")
        assert json.loads(answer["body"])["peer"] == target and "x-envoy-upstream-service-time" not in answer["headers"]
    last = str(uuid.uuid4())
    probe.get("http://self.shop:8000/", x_request_id=last)
    lab.logged("v1.shop", last)
    assert not [line for line in lab.log("v1.shop")[before:] if "past-the-proxy" in line]


# Routes


def test_a_route_timeout_gives_504_and_its_deletion_brings_the_old_behaviour_back(lab: Lab, client: Probe) -> None:
    with lab.applied(virtual_service({"name": "hasty", "route": [to()], "timeout": "0.2s"})):
        until(lambda: client.get(WEB + "delay/1")["status"], lambda status: status == 504)
        answer, line = traced(lab, client, WEB + "delay/1")
        assert answer["body"] == "upstream request timeout"
        assert " 504 UT response_timeout " in line and line.endswith(" hasty")
    until(lambda: client.get(WEB + "delay/1")["status"], lambda status: status == 200)


def test_a_fault_aborts_without_asking_the_server(lab: Lab, client: Probe) -> None:
    abort = {"abort": {"httpStatus": 555, "percentage": {"value": 100}}}
    match = [{"headers": {"x-fault": {"exact": "yes"}}}]
    fault = {"name": "broken", "match": match, "fault": abort, "route": [to()]}
    with lab.applied(virtual_service(fault, {"name": "sound", "route": [to()]})):
        until(lambda: client.get(WEB, x_fault="yes")["status"], lambda status: status == 555)
        answer, line = traced(lab, client, WEB, x_fault="yes")
        assert answer["body"] == "fault filter abort"
        assert " 555 FI fault_filter_abort " in line
        answer, line = traced(lab, client, WEB)
        assert answer["status"] == 200 and line.endswith(" sound")


def test_weights_split_requests(lab: Lab, client: Probe) -> None:
    count = 1000
    low, high = acceptance(count, 0.2)
    with lab.applied(SUBSETS), lab.applied(virtual_service({"name": "split", "route": [to("v1", 20), to("v2", 80)]})):
        routed(lab, "split")
        until(lambda: client.get(WEB)["status"], lambda status: status == 200)
        seen = collections.Counter(who(answer) for answer in client.many(WEB, count))
    assert set(seen) == {"v1", "v2"} and low <= seen["v1"] <= high


def test_a_header_chooses_a_subset(lab: Lab, client: Probe) -> None:
    match = [{"headers": {"x-version": {"exact": "v2"}}}]
    chosen = {"name": "chosen", "match": match, "route": [to("v2")]}
    with lab.applied(SUBSETS), lab.applied(virtual_service(chosen, {"name": "rest", "route": [to("v1")]})):
        routed(lab, "chosen")
        until(lambda: client.get(WEB)["status"], lambda status: status == 200)
        assert {who(answer) for answer in client.many(WEB, 20, keep=False, x_version="v2")} == {"v2"}
        assert {who(answer) for answer in client.many(WEB, 20, keep=False)} == {"v1"}
        _, line = traced(lab, client, WEB, x_version="v2")
        assert f"outbound|8000|v2|{HOST}" in line
    until(lambda: {who(answer) for answer in client.many(WEB, 20)}, lambda seen: seen == {"v1", "v2"})


# Failing servers


@pytest.fixture
def failing(lab: Lab) -> Iterator[str]:
    """v1 answers 503 to everything meanwhile."""
    probe = lab.probe("v1.shop")
    probe.get("http://127.0.0.1:8000/switch/503")
    yield "v1"
    probe.get("http://127.0.0.1:8000/switch/200")


def test_a_retry_avoids_the_host_that_failed(lab: Lab, client: Probe, failing: str) -> None:
    """A second attempt takes the failed host in one of 64 cases, when five new draws met it again: with 10 attempts
    a request fails with probability below 2^-60."""
    retries = {"attempts": 10, "retryOn": "5xx", "backoff": "0.001s"}
    with lab.applied(virtual_service({"name": "again", "route": [to()], "retries": retries})):
        routed(lab, "again")
        until(lambda: client.get(WEB)["status"], lambda status: status == 200)
        before = len(lab.log("v1.shop"))
        assert {who(answer) for answer in client.many(WEB, 100)} == {"v2"}
        assert lab.logged("v1.shop", " 503 - via_upstream ", after=before)


def test_a_failing_host_is_ejected(lab: Lab, client: Probe, failing: str) -> None:
    ejection = {
        "consecutive5xxErrors": 1,
        "interval": "0.1s",
        "baseEjectionTime": "120s",
        "maxEjectionPercent": 100,
    }
    rule = {
        "apiVersion": _NETWORKING,
        "kind": "DestinationRule",
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"host": "web", "trafficPolicy": {"outlierDetection": ejection}},
    }
    with lab.applied(json.dumps(rule)):

        def checks() -> dict[str, str]:
            client.many(WEB, 4)
            rows = lab.must(
                *("proxy-config", "endpoint", CLIENT, "--run-dir", str(lab.folders.run)),
                *("--cluster", f"outbound|8000||{HOST}"),
            ).splitlines()[1:]
            return {row.split()[0]: row.split()[2] for row in rows}

        seen = until(checks, lambda found: sorted(found.values()) == ["FAILED", "OK"])
        address = next(member.address for workload, member in lab.state.plan.workloads if workload.name == failing)
        assert seen[f"{address}:8000"] == "FAILED"
        assert {who(answer) for answer in client.many(WEB, 20)} == {"v2"}


# Scope


def test_a_sidecar_narrows_what_a_proxy_knows(lab: Lab, client: Probe) -> None:
    narrow = """
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: default, namespace: front}
spec:
  egress: [{hosts: [./*]}]
  outboundTrafficPolicy: {mode: REGISTRY_ONLY}
"""
    with lab.applied(narrow):
        until(lambda: client.get(WEB)["status"], lambda status: status == 0)
        clusters = lab.must("proxy-config", "cluster", CLIENT, "--run-dir", str(lab.folders.run))
        assert HOST not in clusters and "BlackHoleCluster" in clusters
        other = lab.must("proxy-config", "cluster", "v2.shop", "--run-dir", str(lab.folders.run))
        assert HOST in other and who(lab.probe("v1.shop").get(WEB)) in ("v1", "v2")
    until(lambda: client.get(WEB)["status"], lambda status: status == 200)


# Looking


def test_proxy_config_and_proxy_status_tell_of_live_proxies(lab: Lab) -> None:
    until(lab.synced)

    def table(which: str, *more: str) -> list[list[str]]:
        lines = lab.must("proxy-config", which, CLIENT, "--run-dir", str(lab.folders.run), *more).splitlines()
        return [line.split() for line in lines]

    assert [HOST, "8000", "-", "outbound", "EDS"] in table("cluster", "--fqdn", HOST)
    assert ["0.0.0.0", "15006"] in [row[:2] for row in table("listener", "--port", "15006")]
    assert any(row[-1] == "8000" and row[-2] == "Route:" for row in table("listener", "--port", "8000"))
    assert any(row[:2] == ["8000", f"{HOST}:8000"] for row in table("route", "--name", "8000"))
    endpoints = table("endpoint", "--cluster", f"outbound|8000||{HOST}")[1:]
    servers = {f"{m.address}:8000" for w, m in lab.state.plan.workloads if w.namespace == "shop"}
    assert {row[0] for row in endpoints} == servers and all(row[1:3] == ["HEALTHY", "OK"] for row in endpoints)
    status = lab.must("proxy-status", "-v", "1", "--xds-address", f"http://127.0.0.1:{lab.port}").splitlines()
    assert [row.split()[0] for row in status[1:]] == [CLIENT, "v1.shop", "v2.shop"]
    assert all(row.split().count("SYNCED") == 4 for row in status[1:])


# Bad input

_NETWORKING = "networking.istio.io/v1"
BAD: list[tuple[str, str, str, dict[str, Any], list[str]]] = [
    ("v1", "Namespace", "", {"metadata": {"labels": {"a b": "c"}}}, ["metadata.labels", "a b"]),
    ("v1", "Node", "", {"metadata": {"labels": {"zone": "no spaces"}}}, ["metadata.labels", "no spaces"]),
    ("v1", "Pod", "bad", {"spec": {"containers": "one"}}, ["containers"]),
    ("v1", "Service", "bad", {"spec": {"ports": [{"port": 70000}]}}, ["spec.ports[0].port", "70000"]),
    ("v1", "Endpoints", "bad", {"subsets": [{"addresses": [{"ip": "10.0.0.300"}]}]}, ["subsets[0]", "10.0.0.300"]),
    (
        "discovery.k8s.io/v1",
        "EndpointSlice",
        "bad",
        {"addressType": "IPv4", "endpoints": [{"addresses": ["nowhere"]}]},
        ["endpoints[0].addresses", "nowhere"],
    ),
    ("v1", "ConfigMap", "bad", {"data": {"mesh": 5}}, ["data"]),
    ("v1", "Secret", "bad", {"data": {"key": "!!"}}, ["data"]),
    ("v1", "ServiceAccount", "bad", {"automountServiceAccountToken": "perhaps"}, ["automountServiceAccountToken"]),
    (
        _NETWORKING,
        "ServiceEntry",
        "bad",
        {"spec": {"hosts": ["a.example"], "ports": [{"number": 0, "name": "http", "protocol": "HTTP"}]}},
        ["spec.ports[0].number", "0"],
    ),
    (_NETWORKING, "WorkloadEntry", "bad", {"spec": {"address": ""}}, ["spec.address"]),
    (_NETWORKING, "WorkloadGroup", "bad", {"spec": {"metadata": {"labels": {"": "x"}}}}, ["spec."]),
    (_NETWORKING, "Sidecar", "bad", {"spec": {"egress": [{"hosts": ["no-slash"]}]}}, ["egress[0].hosts", "no-slash"]),
    (
        _NETWORKING,
        "VirtualService",
        "web",
        {"spec": {"hosts": [HOST], "http": [{"route": [{"destination": {"host": HOST}}], "timeout": "soon"}]}},
        ["http[0].timeout", "soon"],
    ),
    (
        _NETWORKING,
        "DestinationRule",
        "web",
        {"spec": {"host": "web", "subsets": [{"name": "", "labels": {"version": "v1"}}]}},
        ["subsets[0].name"],
    ),
    (
        _NETWORKING,
        "Gateway",
        "bad",
        {"spec": {"servers": [{"port": {"number": 80, "name": "http", "protocol": "CARRIER-PIGEON"}, "hosts": ["*"]}]}},
        ["servers[0].port.protocol", "CARRIER-PIGEON"],
    ),
]


@pytest.mark.parametrize(("api", "kind", "name", "content", "words"), BAD, ids=[bad[1] for bad in BAD])
def test_a_malformed_object_is_refused_by_path_and_changes_nothing(
    lab: Lab, api: str, kind: str, name: str, content: dict[str, Any], words: list[str]
) -> None:
    until(lab.synced)
    before = lab.versions(CLIENT)
    meta = {"name": name or "bad", **({"namespace": "shop"} if name else {}), **content.get("metadata", {})}
    manifest = {"apiVersion": api, "kind": kind, **content, "metadata": meta}
    done = lab.kubectl("apply", "-f", "-", stdin=json.dumps(manifest))
    assert done.returncode != 0 and all(word in done.stderr for word in words), done.stderr
    assert (name or "bad") in done.stderr
    missing = lab.kubectl("get", kind, meta["name"], *(("-n", "shop") if name else ()), "--ignore-not-found")
    assert missing.returncode == 0 and missing.stdout == ""
    assert lab.versions(CLIENT) == before


def test_text_that_is_no_yaml_and_an_unknown_field_are_refused(lab: Lab) -> None:
    before = lab.versions(CLIENT)
    done = lab.kubectl("apply", "-f", "-", stdin="kind: VirtualService\n  spec: [")
    assert done.returncode != 0
    unknown = json.loads(virtual_service({"route": [to()]}))
    unknown["spec"]["http"][0]["timeuot"] = "1s"
    done = lab.kubectl("apply", "-f", "-", stdin=json.dumps(unknown))
    assert done.returncode != 0 and "timeuot" in done.stderr
    assert lab.versions(CLIENT) == before


def test_a_bad_mesh_configuration_is_refused(lab: Lab, client: Probe) -> None:
    before = lab.versions(CLIENT)
    refusal = lab.replace_mesh("outboundTrafficPolicy: {mode: SOMETIMES}")
    assert refusal.returncode != 0
    assert "data.mesh.outboundTrafficPolicy.mode" in refusal.stderr and "'SOMETIMES'" in refusal.stderr
    refusal = lab.replace_mesh("outboundTrafficPolicy: [")
    assert refusal.returncode != 0 and "data.mesh" in refusal.stderr
    assert who(client.get(OUTSIDE)) == "outside" and lab.versions(CLIENT) == before
