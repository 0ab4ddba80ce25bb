"""The workload's DNS server, behind the packet rules that capture DNS: UDP and TCP on loopback.

It runs on a thread and an event loop of its own, so that a large push of configuration holds no query up.
"""

import asyncio
import contextlib
import logging
import socket
import threading
from collections.abc import Coroutine, Mapping
from typing import Any

from tidegate.agent import dnswire
from tidegate.agent.dnsforward import LARGEST, Forwarder, NoAnswerError, ResolverSettings, owned_socket
from tidegate.agent.dnstable import Names
from tidegate.kit.errors import TidegateError
from tidegate.kit.nametable import NameInfo

log = logging.getLogger(__name__)

PORT = 15053
"""Where Istio's packet rules send DNS."""
LOOPBACK = ("127.0.0.1", "::1")
IDLE_SECONDS = 10.0
"""How long a TCP client may say nothing (RFC 7766, section 6.2.3)."""
MOST_STREAMS = 200
START_SECONDS = 10.0


class DnsServer:
    """Answers from a table that may be replaced at any time, and forwards the rest."""

    def __init__(self, domain: str, resolver: ResolverSettings, group: int | None = None) -> None:
        self._domain, self._resolver, self._group = domain, resolver, group
        self._forwarder = Forwarder(resolver.servers, group)
        self._names: Names | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._streams = 0
        self.counters = {"queries": 0, "forwarded": 0, "failures": 0}

    @property
    def known(self) -> int | None:
        """How many names there are; None before the first table."""
        return None if self._names is None else len(self._names)

    def replace(self, table: Mapping[str, NameInfo]) -> None:
        """Answer from this table from now on. May be called from any thread."""
        self._names = Names(table, self._domain, self._resolver.search)

    def respond(self, query: bytes, *, stream: bool) -> bytes | None:
        """An answer of our own, at once; None for what has to be forwarded."""
        names = self._names
        if names is None:
            return dnswire.failure(query)
        asked = dnswire.question(query)
        if asked is None:
            return None
        return names.respond(query, asked, LARGEST if stream else asked.size)

    async def forward(self, query: bytes, *, stream: bool) -> bytes:
        """A resolver's answer, or SERVFAIL."""
        self.counters["forwarded"] += 1
        try:
            return await self._forwarder.ask(query, stream=stream)
        except NoAnswerError:
            self.counters["failures"] += 1
            return dnswire.failure(query)

    async def serve(self, hosts: tuple[str, ...] = LOOPBACK, port: int = PORT) -> contextlib.AsyncExitStack:
        """Listen; the sockets are closed with what is returned. A machine without IPv6 is served over IPv4."""
        loop, stack = asyncio.get_running_loop(), contextlib.AsyncExitStack()
        for index, host in enumerate(hosts):
            try:
                datagrams = self._bound(host, port, socket.SOCK_DGRAM)
                transport, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(self), sock=datagrams)
                stack.callback(transport.close)
                streams = self._bound(host, port, socket.SOCK_STREAM)
                stack.callback((await asyncio.start_server(self._serve_stream, sock=streams)).close)
            except OSError as error:
                if index == 0:
                    await stack.aclose()
                    raise TidegateError(f"DNS cannot be answered on {host} port {port}: {error}") from error
                log.info("DNS is not answered on %s: %s", host, error)
        return stack

    def _bound(self, host: str, port: int, kind: socket.SocketKind) -> socket.socket:
        """Of the proxy's group too: the rules put answers into the connection tracking zone of their queries by it."""
        sock = owned_socket(socket.AF_INET6 if ":" in host else socket.AF_INET, kind, self._group)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, int(kind is socket.SOCK_STREAM))
            sock.setblocking(False)
            sock.bind((host, port))
        except OSError:
            sock.close()
            raise
        return sock

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something beside; it is kept until it ends."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve_stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._streams >= MOST_STREAMS:
            writer.close()
            return
        self._streams += 1
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, TimeoutError):
                while await self._serve_one(reader, writer):
                    pass
        finally:
            self._streams -= 1
            writer.close()

    async def _serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        async with asyncio.timeout(IDLE_SECONDS):
            query = await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
        if not dnswire.is_query(query):
            return False
        self.counters["queries"] += 1
        answer = self.respond(query, stream=True)
        if answer is None:
            answer = await self.forward(query, stream=True)
        async with asyncio.timeout(IDLE_SECONDS):
            writer.write(len(answer).to_bytes(2, "big") + answer)
            await writer.drain()
        return True


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, server: DnsServer) -> None:
        self._server, self._respond = server, server.respond

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        if not dnswire.is_query(data):
            return
        self._server.counters["queries"] += 1
        answer = self._respond(data, stream=False)
        if answer is not None:
            self._transport.sendto(answer, addr)
        else:
            self._server.start(self._forward(data, addr))

    async def _forward(self, data: bytes, addr: Any) -> None:
        self._transport.sendto(await self._server.forward(data, stream=False), addr)


class DnsThread:
    """A DnsServer that serves on a thread of its own."""

    def __init__(self, server: DnsServer) -> None:
        self.server = server
        self._ready, self._failed = threading.Event(), ""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._thread = threading.Thread(target=self._run, name="dns", daemon=True)

    def start(self) -> None:
        """Returns when it listens. Raises TidegateError when it cannot."""
        self._thread.start()
        if not self._ready.wait(START_SECONDS) or self._failed:
            raise TidegateError(self._failed or f"DNS was not answered within {START_SECONDS:.0f} s")

    def stop(self) -> None:
        loop, stop = self._loop, self._stop
        if loop is not None and stop is not None:
            with contextlib.suppress(RuntimeError):  # it has ended already
                loop.call_soon_threadsafe(stop.set)
        self._thread.join(START_SECONDS)

    def _run(self) -> None:
        import uvloop

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        try:
            async with await self.server.serve():
                self._ready.set()
                await self._stop.wait()
        except TidegateError as error:
            self._failed = str(error)
        finally:
            self._ready.set()
