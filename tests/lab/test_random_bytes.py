"""A million random bytes at each port of a sidecar: it lives, goes on serving, and takes what is new."""

import asyncio
import json
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.lab.labs import NEEDS, Lab, running_lab, until
from tests.lab.test_faults import CLIENT, PROXIES, WEB, abort, answers
from tests.scale.test_random_bytes import Connect, Stream, bombard, unix
from tidegate.lab import namespaces
from tidegate.lab.plan import netns_prefix

pytestmark = NEEDS

CONNECT_SECONDS = 20.0
PORTS = {
    "Envoy's admin": 15000,
    "outbound": 15001,
    "inbound": 15006,
    "the agent": 15020,
    "health": 15021,
    "metrics": 15090,
}
ASKED = {15000: "/ready", 15020: "/healthz/ready", 15021: "/healthz/ready", 15090: "/stats/prometheus"}


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with running_lab() as made:
        until(made.synced)
        yield made


def inside(lab: Lab, workload: str, port: int) -> Connect:
    """Connections from within a workload's namespace."""
    netns = f"{netns_prefix(lab.name)}{workload}"

    def connected() -> socket.socket:
        return socket.create_connection(("127.0.0.1", port), CONNECT_SECONDS)

    async def connect() -> Stream:
        found = await asyncio.to_thread(namespaces.run_inside, netns, connected)
        found.setblocking(False)
        return await asyncio.open_connection(sock=found)

    return connect


async def status_of(lab: Lab, workload: str, port: int) -> int:
    """What the port answers to a sound question."""
    reader, writer = await inside(lab, workload, port)()
    try:
        writer.write(f"GET {ASKED[port]} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".encode())
        line = await asyncio.wait_for(reader.readline(), CONNECT_SECONDS)
        return int(line.split()[1])
    finally:
        writer.transport.abort()


def processes(lab: Lab, workload: str) -> tuple[Any, Any]:
    status = json.loads(lab.agent(workload, "/status"))
    return status["pid"], status["envoy"]["pid"]


def whole(lab: Lab, before: dict[str, tuple[Any, Any]]) -> None:
    """The same processes, in sync, that serve and take an edit."""
    assert {name: processes(lab, name) for name in PROXIES} == before
    with lab.applied(abort(557)):
        answers(lab, 557)
    answers(lab, 200)
    until(lab.synced)
    assert lab.probe("v1.shop").get(WEB)["status"] == 200


@pytest.mark.parametrize("name", PORTS)
async def test_a_port(lab: Lab, name: str) -> None:
    before = {workload: processes(lab, workload) for workload in PROXIES}
    await bombard(inside(lab, CLIENT, PORTS[name]))
    for port in ASKED:
        assert await status_of(lab, CLIENT, port) == 200, port
    await asyncio.to_thread(whole, lab, before)


SOCKETS: dict[str, Callable[[Lab], Connect]] = {
    name: lambda lab, name=name: unix(lab.folders.run / "proxies" / CLIENT / name)  # type: ignore[misc]
    for name in ("agent.sock", "xds.sock")
}


@pytest.mark.parametrize("name", SOCKETS)
async def test_a_socket(lab: Lab, name: str) -> None:
    before = {workload: processes(lab, workload) for workload in PROXIES}
    await bombard(SOCKETS[name](lab))
    await asyncio.to_thread(whole, lab, before)
    assert "Traceback" not in lab.folders.lab(lab.name).log(f"{CLIENT}/agent").read_text()
