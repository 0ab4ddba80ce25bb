"""The lab's name servers, one process each: ``python -m tidegate.lab.dns_server ORDER``.

The inner one stands at the workloads' gateway, answers Services' names from the store and forwards the rest to the
outer one, byte for byte. Its process runs in the machine's own network, where the API server is, and only its sockets
are in the lab's.
"""

import asyncio
import contextlib
import logging
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import dns.exception
import dns.message
import dns.rcode
import msgspec

from tidegate.lab import names, namespaces
from tidegate.store import informer
from tidegate.store.model import WatchType

log = logging.getLogger(__name__)

PORT = 53
LARGEST = 65535
UDP_SIZE = 512
"""RFC 1035; a longer answer says truncated, and the resolver comes again over TCP."""
FORWARD_SECONDS = 3.0
TCP_IDLE_SECONDS = 10.0


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What one name server is to do."""

    netns: str
    address: str
    kubeconfig: str = ""
    """"" for the outer one, which answers from ``records`` alone."""
    domain: str = "cluster.local"
    upstream: str = ""
    records: dict[str, tuple[str, ...]] = {}


class Server:
    """Answers from a table that may be replaced while it runs."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self.table = names.Table({name.lower().rstrip("."): value for name, value in order.records.items()})

    async def respond(self, wire: bytes) -> bytes | None:
        """The answer to one message; None for what is no query."""
        try:
            query = dns.message.from_wire(wire)
        except (dns.exception.DNSException, ValueError):
            return None
        zone = self.order.domain if self.order.kubeconfig else ""
        reply = names.answer(query, self.table, zone)
        if reply is not None:
            return cast(bytes, reply.to_wire())
        if not self.order.upstream:
            return cast(bytes, names.refusal(query, dns.rcode.NXDOMAIN).to_wire())
        try:
            async with asyncio.timeout(FORWARD_SECONDS):
                return await self._forward(wire)
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            return cast(bytes, names.refusal(query, dns.rcode.SERVFAIL).to_wire())

    async def _forward(self, wire: bytes) -> bytes:
        """Over TCP, which no answer is too long for."""
        raw = namespaces.run_inside(self.order.netns, lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM))
        raw.setblocking(False)
        with raw:
            loop = asyncio.get_running_loop()
            await loop.sock_connect(raw, (self.order.upstream, PORT))
            reader, writer = await asyncio.open_connection(sock=raw)
            try:
                writer.write(len(wire).to_bytes(2, "big") + wire)
                return await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
            finally:
                writer.close()


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, server: Server) -> None:
        self._server = server
        self._tasks: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        task = asyncio.get_running_loop().create_task(self._answer(data, addr))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, data: bytes, addr: Any) -> None:
        reply = await self._server.respond(data)
        if reply is not None:
            self._transport.sendto(shortened(reply, data), addr)


def shortened(reply: bytes, query: bytes) -> bytes:
    """The reply if the asker takes datagrams of its length, else its head with the truncation flag."""
    asked = dns.message.from_wire(query)
    if len(reply) <= max(UDP_SIZE, asked.payload if asked.edns >= 0 else 0):
        return reply
    short = dns.message.make_response(asked, recursion_available=True)
    short.flags |= 0x0200
    return cast(bytes, short.to_wire())


async def _serve_stream(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError, asyncio.IncompleteReadError, TimeoutError):
        while True:
            async with asyncio.timeout(TCP_IDLE_SECONDS):
                size = int.from_bytes(await reader.readexactly(2), "big")
                reply = await server.respond(await reader.readexactly(size))
            if reply is None:
                break
            writer.write(len(reply).to_bytes(2, "big") + reply)
            await writer.drain()
    writer.close()


def _bound(order: Order, kind: socket.SocketKind) -> socket.socket:
    def bind() -> socket.socket:
        sock = socket.socket(socket.AF_INET, kind)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((order.address, PORT))
        return sock

    sock = namespaces.run_inside(order.netns, bind)
    sock.setblocking(False)
    return sock


async def run(order: Order, ready: Callable[[], None]) -> None:
    """Serve until cancelled."""
    server = Server(order)
    loop = asyncio.get_running_loop()
    await loop.create_datagram_endpoint(lambda: _Datagrams(server), sock=_bound(order, socket.SOCK_DGRAM))
    await asyncio.start_server(
        lambda reader, writer: _serve_stream(server, reader, writer), sock=_bound(order, socket.SOCK_STREAM)
    )
    ready()
    if order.kubeconfig:
        await follow(server)
    await asyncio.Event().wait()


async def follow(server: Server) -> None:
    """Keep the table as the store's Services and EndpointSlices are; for ever."""
    from tidegate.store.client import KubeStore

    known: dict[str, dict[tuple[str, str], Any]] = {"Service": {}, "EndpointSlice": {}}
    async with KubeStore.from_kubeconfig(Path(server.order.kubeconfig)) as store:
        async for batch in informer.follow(store, known):
            for change in batch.changes:
                meta = change.object["metadata"]
                key = (meta["namespace"], meta["name"])
                if change.type is WatchType.DELETED:
                    known[change.kind].pop(key, None)
                else:
                    known[change.kind][key] = change.object
            server.table = names.service_table(
                known["Service"].values(), known["EndpointSlice"].values(), server.order.domain
            )


def main() -> None:
    """Entry point of the process; says ``ready`` once it answers."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    order = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Order)
    try:
        asyncio.run(run(order, lambda: print("ready", flush=True)))
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
