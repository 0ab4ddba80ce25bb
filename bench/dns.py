"""Answers of the agent's DNS server a second, beside a server that only sends bytes back on the same event loop.

Both are asked by the same clients in other processes, so the ratio says what the answering costs.
"""

import asyncio
import multiprocessing
import socket
import sys
import time
from pathlib import Path
from typing import Any

import dns.message
import uvloop

from tidegate.agent.dnsforward import ResolverSettings
from tidegate.agent.dnsserver import DnsServer
from tidegate.kit.nametable import NameInfo

NAMES, SECONDS, OUTSTANDING = 10_000, 3.0, 100
DOMAIN = "shop.svc.cluster.local"


class _Echo(asyncio.DatagramProtocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self._transport.sendto(data, addr)


def _serve(kind: str, port: int, ready: Any) -> None:
    async def run() -> None:
        if kind == "echo":
            await asyncio.get_running_loop().create_datagram_endpoint(_Echo, local_addr=("127.0.0.1", port))
            ready.set()
            await asyncio.Event().wait()
        server = DnsServer(DOMAIN, ResolverSettings())
        server.replace(
            {f"s{n}.{DOMAIN}": NameInfo(("10.96.0.1",), "Kubernetes", f"s{n}", "shop") for n in range(NAMES)}
        )
        async with await server.serve(("127.0.0.1",), port):
            ready.set()
            await asyncio.Event().wait()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())


def _asked(port: int, seconds: float) -> float:
    """Answers a second with so many queries outstanding."""
    queries = [dns.message.make_query(f"s{n}.{DOMAIN}", "A").to_wire() for n in range(NAMES)]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.connect(("127.0.0.1", port))
        client.settimeout(1.0)
        for query in queries[:OUTSTANDING]:
            client.send(query)
        count, begin, end = 0, time.perf_counter(), time.perf_counter() + seconds
        while time.perf_counter() < end:
            client.recv(2048)
            client.send(queries[count % NAMES])
            count += 1
        return count / (time.perf_counter() - begin)


def _measured(kind: str) -> tuple[float, float]:
    """Answers a second, and CPU seconds of the server for each 10,000 of them."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    server = context.Process(target=_serve, args=(kind, port, ready), daemon=True)
    server.start()
    try:
        if not ready.wait(20):
            raise RuntimeError(f"the {kind} server did not start")
        _asked(port, 0.5)
        before = _cpu(server.pid)
        rate = _asked(port, SECONDS)
        return rate, (_cpu(server.pid) - before) / (rate * SECONDS) * 10_000
    finally:
        server.terminate()
        server.join()


def _cpu(pid: int | None) -> float:
    """Seconds of user and system time, by proc(5)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def main() -> int:
    found = {kind: _measured(kind) for kind in ("echo", "dns")}
    for kind, (rate, cpu) in found.items():
        print(f"{kind}: {rate:,.0f} answers a second, {10_000 / cpu:,.0f} a second of the server's CPU")
    print(f"dns / echo: {found['dns'][0] / found['echo'][0]:.2f}; CPU {found['dns'][1] / found['echo'][1]:.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
