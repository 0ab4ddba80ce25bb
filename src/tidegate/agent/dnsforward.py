"""Queries that are not the agent's to answer, passed to the workload's own resolvers byte for byte.

Each has a socket of its own, and so a source port that nobody can guess. Answers come back as they are: their
time to live, their failures, their truncation and their EDNS are the resolver's.
"""

import asyncio
import ctypes
import socket
from collections.abc import Sequence
from pathlib import Path

import msgspec

from tidegate.kit.addresses import is_ip

PORT = 53
LARGEST = 65535
MOST_UNDER_WAY = 1000
"""Queries that wait for a resolver; more are refused with SERVFAIL at once."""
WAIT_SECONDS = 5.0
"""Shared by the resolvers; the stub resolver's own time-out (resolv.conf(5))."""
LEAST_SECONDS = 2.0
"""For each of them nevertheless."""

Address = tuple[str, int]


class ResolverSettings(msgspec.Struct, frozen=True):
    """What a resolv.conf says."""

    servers: tuple[Address, ...] = ()
    search: tuple[str, ...] = ()


class NoAnswerError(Exception):
    """No resolver answered."""


def read_resolv_conf(path: Path) -> ResolverSettings:
    """Read resolv.conf(5); nothing where there is no such file. The last ``search`` or ``domain`` counts."""
    try:
        lines = path.read_text(errors="replace").splitlines()
    except OSError:
        return ResolverSettings()
    servers: list[Address] = []
    search: tuple[str, ...] = ()
    for words in (line.split() for line in lines):
        if len(words) < 2:
            continue
        if words[0] == "nameserver" and is_ip(words[1].partition("%")[0]):
            servers.append((words[1], PORT))
        elif words[0] in ("search", "domain"):
            search = tuple(words[1:])
    return ResolverSettings(tuple(servers), search)


class Forwarder:
    """Asks the servers one after the other. ``group``: the group that the packet rules know the proxy by, so that its
    own queries are not captured again; None leaves it the agent's."""

    def __init__(self, servers: Sequence[Address], group: int | None = None) -> None:
        self._servers, self._group = tuple(servers), group
        self._under_way = 0

    async def ask(self, query: bytes, *, stream: bool) -> bytes:
        """A resolver's answer, over UDP or TCP. Raises NoAnswerError."""
        if self._under_way >= MOST_UNDER_WAY or not self._servers:
            raise NoAnswerError
        seconds = max(LEAST_SECONDS, WAIT_SECONDS / len(self._servers))
        way = self._by_stream if stream else self._by_datagram
        self._under_way += 1
        try:
            for server in self._servers:
                try:
                    async with asyncio.timeout(seconds):
                        return await way(query, server)
                except (OSError, TimeoutError, asyncio.IncompleteReadError):
                    continue
        finally:
            self._under_way -= 1
        raise NoAnswerError

    async def _by_datagram(self, query: bytes, server: Address) -> bytes:
        loop = asyncio.get_running_loop()
        with self._socket(server, socket.SOCK_DGRAM) as sock:
            sock.connect(server)
            await loop.sock_sendall(sock, query)
            while True:
                answer = await loop.sock_recv(sock, LARGEST)
                if answer[:2] == query[:2] and len(answer) > 2 and answer[2] & 0x80:
                    return answer

    async def _by_stream(self, query: bytes, server: Address) -> bytes:
        loop = asyncio.get_running_loop()
        with self._socket(server, socket.SOCK_STREAM) as sock:
            await loop.sock_connect(sock, server)
            reader, writer = await asyncio.open_connection(sock=sock)
            try:
                writer.write(len(query).to_bytes(2, "big") + query)
                return await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
            finally:
                writer.close()

    def _socket(self, server: Address, kind: socket.SocketKind) -> socket.socket:
        family = socket.AF_INET6 if ":" in server[0] else socket.AF_INET
        made = owned_socket(family, kind, self._group)
        made.setblocking(False)
        return made


_LIBC = ctypes.CDLL(None, use_errno=True)


def owned_socket(family: socket.AddressFamily, kind: socket.SocketKind, group: int | None) -> socket.socket:
    """A socket that belongs to a group: packet rules (xt_owner) see the group that its maker had at that moment.

    setfsgid(2) holds for this thread alone, and there is no waiting in between.
    """
    if group is None:
        return socket.socket(family, kind)
    before = _LIBC.setfsgid(group)
    try:
        return socket.socket(family, kind)
    finally:
        _LIBC.setfsgid(before)
