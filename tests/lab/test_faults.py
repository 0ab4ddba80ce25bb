"""Parts of a lab are killed, or spoken to in ways that no part would: what is served goes on, and comes back."""

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import grpc.aio
import pytest

from tests.lab.labs import NEEDS, Lab, kill, running_lab, until

pytestmark = NEEDS

CLIENT = "client.front"
PROXIES = (CLIENT, "v1.shop", "v2.shop")
WEB = "http://web.shop:8000/"
CLIENTS = 4
RECOVERY_SECONDS = 20.0
"""An Envoy serves again within 2 s on a machine at rest; tests run on busy ones."""
LISTENERS = r"listener_manager\.(listener_modified|listener_removed|listener_added|total_listeners_draining)$"
METHOD = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"
OVERSIZED = 5 * 1024 * 1024
"""Bytes; a discovery request may have 4 MiB."""


@pytest.fixture(scope="module")
def shared_lab() -> Iterator[Lab]:
    with running_lab() as made:
        yield made


@pytest.fixture
def lab(shared_lab: Lab) -> Lab:
    """The module's lab, whole and at rest."""
    until(shared_lab.synced)
    until(lambda: shared_lab.probe(CLIENT).get(WEB)["status"], lambda status: status == 200)
    return shared_lab


def abort(status: int) -> str:
    """A VirtualService that answers so without asking anybody: easy to tell from all others."""
    fault = {"abort": {"httpStatus": status, "percentage": {"value": 100}}}
    route = {"name": f"abort-{status}", "fault": fault, "route": [{"destination": {"host": "web"}}]}
    meta = {"name": "web", "namespace": "shop"}
    spec = {"hosts": ["web"], "http": [route]}
    return json.dumps(
        {"apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": meta, "spec": spec}
    )


def answers(lab: Lab, status: int) -> None:
    """Wait until the client's requests are answered so."""
    until(lambda: lab.probe(CLIENT).get(WEB)["status"], lambda seen: seen == status)


@contextlib.contextmanager
def load(lab: Lab) -> Iterator[None]:
    """Requests without pause meanwhile, none of which may fail."""
    probe = lab.probe("v2.shop")
    probe.ask(do="load", url=WEB, clients=CLIENTS)
    try:
        time.sleep(0.3)
        yield
        time.sleep(0.3)
    finally:
        seen = probe.ask(do="stop")
    assert seen["errors"] == [] and set(seen["statuses"]) == {"200"} and seen["statuses"]["200"] > 10 * CLIENTS, seen


def upstream(lab: Lab, workload: str) -> dict[str, Any]:
    """How a workload's agent stands with the control plane."""
    found: dict[str, Any] = json.loads(lab.agent(workload, "/status"))["relay"]
    return found


def reconnected(lab: Lab) -> Callable[[], bool]:
    """Whether every sidecar has come to another control plane than now, and has all it should have."""
    before = {name: upstream(lab, name)["connectedSince"] for name in PROXIES}

    def look() -> bool:
        now = {name: upstream(lab, name)["connectedSince"] for name in PROXIES}
        return all(now[name] and now[name] != before[name] for name in PROXIES) and lab.synced()

    return look


# The control plane and the API server


def test_no_request_fails_and_no_listener_is_touched_when_the_control_plane_goes_and_comes(lab: Lab) -> None:
    before = {name: lab.stats(name, LISTENERS) for name in PROXIES}
    versions = {name: lab.versions(name) for name in PROXIES}
    assert all(len(found) == 4 for found in before.values())
    back = reconnected(lab)
    with load(lab):
        with lab.killed("discovery"):
            until(lambda: all("control plane:" in upstream(lab, name)["source"] for name in PROXIES))
            time.sleep(0.5)
        until(back)
    assert {name: lab.stats(name, LISTENERS) for name in PROXIES} == before
    assert {name: lab.versions(name) for name in PROXIES} == versions


def test_what_was_changed_while_the_control_plane_was_away_comes_with_it(lab: Lab) -> None:
    try:
        with lab.killed("discovery"):
            lab.apply(abort(555))
            assert lab.probe(CLIENT).get(WEB)["status"] == 200
        answers(lab, 555)
    finally:
        lab.delete(abort(555))
    answers(lab, 200)


def test_edits_work_again_when_the_api_server_is_back(lab: Lab) -> None:
    with load(lab):
        with lab.killed("apiserver"):
            assert lab.kubectl("get", "namespaces").returncode != 0
            assert lab.probe(CLIENT).get(WEB)["status"] == 200
        until(lambda: lab.kubectl("get", "namespaces").returncode == 0)
    with lab.applied(abort(556)):
        answers(lab, 556)
    answers(lab, 200)


# A sidecar


def test_a_killed_envoy_serves_again(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    pid = lab.envoy_pid(CLIENT)
    began = time.monotonic()
    os.kill(pid, 9)
    until(lambda: lab.probe(CLIENT).get(WEB)["status"], lambda status: status == 200, pause=0.005)
    took = time.monotonic() - began
    with capsys.disabled():
        print(f"\nEnvoy killed: serving again after {took:.2f} s")
    assert lab.envoy_pid(CLIENT) != pid and took < RECOVERY_SECONDS
    until(lab.synced)


def test_envoy_serves_without_its_agent_and_the_next_agent_adopts_it(lab: Lab) -> None:
    pid = lab.envoy_pid("v2.shop")
    with load(lab):
        with lab.killed("v2.shop/agent"):
            time.sleep(0.5)
        until(lambda: _status(lab, "v2.shop").get("envoy", {}).get("pid") == pid)
        until(lab.synced)
    assert lab.envoy_pid("v2.shop") == pid
    with lab.applied(abort(557)):
        until(lambda: lab.probe("v2.shop").get(WEB)["status"], lambda status: status == 557)
    until(lambda: lab.probe("v2.shop").get(WEB)["status"], lambda status: status == 200)


def _status(lab: Lab, workload: str) -> dict[str, Any]:
    """The agent's status; nothing while there is no agent."""
    try:
        found: dict[str, Any] = json.loads(lab.agent(workload, "/status"))
    except (OSError, AssertionError):
        return {}
    return found


def test_a_sidecar_that_died_without_a_control_plane_comes_back_with_what_it_had(lab: Lab) -> None:
    with lab.applied(abort(558)):
        answers(lab, 558)
        until(lab.synced)
        before = {name: version for name, (version, _) in lab.versions(CLIENT).items() if version}
        envoy = lab.envoy_pid(CLIENT)
        with lab.killed("discovery"):
            with lab.killed(f"{CLIENT}/agent"):
                kill(envoy)
                assert lab.probe(CLIENT).get(WEB)["status"] == 0
            answers(lab, 558)
            assert lab.envoy_pid(CLIENT) != envoy
            assert upstream(lab, CLIENT)["source"].startswith("the last accepted set")
            assert {name: version for name, (version, _) in lab.versions(CLIENT).items() if version} == before
        until(lab.synced)
    answers(lab, 200)


# Bad neighbours on the discovery socket


def _undisturbed(lab: Lab) -> list[Any]:
    """What differs when a stream of a sidecar's has ended."""
    connections = [(c["connectionId"], c["connectedAt"]) for c in lab.debug("/debug/connections")["clients"]]
    counters = [upstream(lab, name)["counters"]["streams"] for name in PROXIES]
    return [sorted(connections), counters]


def _still_serves(lab: Lab) -> None:
    with lab.applied(abort(559)):
        answers(lab, 559)
    answers(lab, 200)


@pytest.mark.parametrize("garbage", [b"\0" * 100_000, os.urandom(100_000), b"GET / HTTP/1.1\r\n\r\n"])
def test_bytes_that_are_no_protocol_end_their_connection_alone(lab: Lab, garbage: bytes) -> None:
    before = _undisturbed(lab)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as peer:
        peer.settimeout(RECOVERY_SECONDS)
        peer.connect(str(lab.folders.run / "xds.sock"))
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            peer.sendall(garbage)
            while peer.recv(65536):
                pass
    assert _undisturbed(lab) == before
    _still_serves(lab)


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (b"\xff" * 64, grpc.StatusCode.INVALID_ARGUMENT),
        (b"\0" * OVERSIZED, grpc.StatusCode.RESOURCE_EXHAUSTED),
        (b"", grpc.StatusCode.INVALID_ARGUMENT),
    ],
    ids=["garbage", "oversized", "empty"],
)
async def test_messages_that_are_no_discovery_requests_end_their_stream_alone(
    lab: Lab, message: bytes, code: grpc.StatusCode
) -> None:
    before = _undisturbed(lab)
    token = (lab.folders.lab(lab.name).member(CLIENT) / "token").read_text().strip()
    options = (("grpc.use_local_subchannel_pool", 1),)
    async with grpc.aio.insecure_channel(f"unix:{lab.folders.run}/xds.sock", options=options) as channel:
        call = channel.stream_stream(METHOD)(metadata=(("authorization", f"Bearer {token}"),))
        with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
            await call.write(message)
            await asyncio.wait_for(call.read(), RECOVERY_SECONDS)
        assert await asyncio.wait_for(call.code(), RECOVERY_SECONDS) is code
    assert _undisturbed(lab) == before
    _still_serves(lab)


def _object(kind: str, name: str, **spec: Any) -> str:
    meta = {"name": name, "namespace": "front"}
    return json.dumps({"apiVersion": "networking.istio.io/v1", "kind": kind, "metadata": meta, "spec": spec})


HTTP = {"number": 80, "name": "http", "protocol": "HTTP"}
LONG = {"address": "unix:///" + "long/" * 40 + "socket"}
"""A path that no Unix socket can have."""
REFUSED_BY_ENVOY = [
    (
        "ServiceEntry/front/bad",
        "outbound|80||long.example",
        _object("ServiceEntry", "bad", hosts=["long.example"], ports=[HTTP], resolution="STATIC", endpoints=[LONG]),
    ),
    (
        "DestinationRule/front/bad",
        "outbound|8000||self.shop.svc.cluster.local",
        _object(
            "DestinationRule",
            "bad",
            host="self.shop.svc.cluster.local",
            trafficPolicy={"tls": {"mode": "SIMPLE", "caCertificates": "/no/such/file.pem"}},
        ),
    ),
]
"""What Istio's rules for the object let pass, and Envoy refuses."""


@pytest.mark.parametrize(("origin", "resource", "manifest"), REFUSED_BY_ENVOY, ids=["ServiceEntry", "DestinationRule"])
def test_what_envoy_refuses_is_quarantined_with_its_origin_and_the_rest_goes_on(
    lab: Lab, origin: str, resource: str, manifest: str
) -> None:
    with lab.applied(manifest):
        found = until(lambda: _quarantined(lab, CLIENT))
        assert [each["name"] for each in found] == [resource]
        assert any(each.startswith(origin) for each in found[0]["origins"]) and found[0]["error"]
        _still_serves(lab)
        assert _quarantined(lab, CLIENT) == found
        status = lab.run("proxy-status", "-v", "1", "--xds-address", f"http://127.0.0.1:{lab.port}")
        assert "ERROR" in status.stdout and found[0]["error"].strip()[:20] in status.stderr
    until(lambda: not _quarantined(lab, CLIENT))
    until(lab.synced)


def _quarantined(lab: Lab, workload: str) -> list[dict[str, Any]]:
    rows = [
        row for proxy in lab.debug("/debug/syncz") if proxy["proxy"] == workload for row in proxy["resources"].values()
    ]
    return [each for row in rows for each in row["quarantined"]]


# The end


def test_nothing_is_left_after_every_part_was_killed() -> None:
    rules = _rules()
    with running_lab() as lab:
        envoys = [lab.envoy_pid(name) for name in PROXIES]
        for process in (*lab.state.processes.values(), *envoys):
            kill(process)
        lab.down()
        assert lab.left_behind() == []
    assert _rules() == rules


def _rules() -> list[str]:
    """The machine's own packet rules, without counters."""
    done = subprocess.run(["iptables-save"], capture_output=True, text=True, check=True)
    return [line for line in done.stdout.splitlines() if not line.startswith(("#", ":"))]
