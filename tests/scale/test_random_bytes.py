"""A million random bytes at each port, in several shapes: the process lives, and nobody else notices."""

import asyncio
import contextlib
import random
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.envoy.test_control_plane import DEADLINE, Plane, populate
from tests.scale.planes import endpoint_is, memory, moved, reference
from tidegate.agent.http import Client
from tidegate.agent.status import Readiness, Status, serve_tcp, serve_unix

SEED, BYTES = 4, 1_000_000
PIECES = 100
"""Connections that share the second and third million."""
AT_ONCE = 20
HTTP = b"POST /debug/syncz HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\nx: "
HTTP2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"
TLS = bytes.fromhex("16030100f8010000f40303")
Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Connect = Callable[[], Awaitable[Stream]]


async def thrown(connect: Connect, data: bytes) -> None:
    """Send, as far as the other side takes it; then read, as far as it answers within a moment, and hang up."""
    reader, writer = await connect()
    try:
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            async with asyncio.timeout(DEADLINE):
                writer.write(data)
                await writer.drain()
        with contextlib.suppress(ConnectionError, ssl.SSLError, TimeoutError):
            async with asyncio.timeout(0.2):
                while await reader.read(65536):
                    pass
    finally:
        writer.transport.abort()


async def bombard(connect: Connect) -> None:
    """A million bytes in one connection, in many, and behind what each protocol begins with."""
    source = random.Random(SEED)
    piece = BYTES // PIECES
    await thrown(connect, source.randbytes(BYTES))
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(start: bytes) -> None:
        async with gate:
            await thrown(connect, start + source.randbytes(piece))

    await asyncio.gather(*(one(start) for _ in range(PIECES // 4) for start in (b"", HTTP, HTTP2, TLS)))


def tcp(port: int, tls: ssl.SSLContext | None = None) -> Connect:
    return lambda: asyncio.open_connection("127.0.0.1", port, ssl=tls)


def unix(path: Path) -> Connect:
    return lambda: asyncio.open_unix_connection(path)


def ports(plane: Plane) -> dict[str, Connect]:
    api = int(plane.kubeconfig.read_text().partition("server: https://127.0.0.1:")[2].split()[0])
    trusting = ssl.create_default_context()
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    return {
        "API server": tcp(api),
        "API server, within TLS": tcp(api, trusting),
        "discovery": unix(plane.run_dir / "xds.sock"),
        "debug": tcp(int(plane.monitoring.rpartition(":")[2])),
    }


async def test_the_control_plane(plane: Plane, capsys: pytest.CaptureFixture[str]) -> None:
    async with plane.store() as store:
        token = await populate(store)
        async with reference(plane, token) as client:
            processes = (plane.api, plane.discovery)
            for number, (name, connect) in enumerate(ports(plane).items(), 1):
                before = [memory(each) for each in processes]
                await bombard(connect)
                await moved(store, "a", f"10.70.0.{number}")
                await client.until(endpoint_is("a", f"10.70.0.{number}"), DEADLINE)
                assert client.ended is None, name
                assert all(each.running for each in processes), name
                grown = [memory(each) - was for each, was in zip(processes, before, strict=True)]
                with capsys.disabled():
                    print(f"\n{name}: API server {grown[0] >> 10:+} KiB, discovery {grown[1] >> 10:+} KiB", end="")
                assert all(g < each for g, each in zip(grown, before, strict=True)), (name, grown)
        status, _ = await asyncio.to_thread(plane.get, "/ready")
        assert status == 200
        assert len(await asyncio.to_thread(plane.json, "/debug/syncz")) <= 1
    assert "Traceback" not in plane.discovery.errors.read_text()
    assert "Traceback" not in plane.api.errors.read_text()


@contextlib.asynccontextmanager
async def agent(folder: Path) -> AsyncIterator[dict[str, tuple[Connect, Callable[[], Awaitable[Any]]]]]:
    """What an agent serves, of an Envoy that is not there; each with a sound question."""
    nobody = Client("127.0.0.1", 9)

    async def report() -> dict[str, str]:
        return {"name": "web"}

    status = Status(nobody, nobody, Readiness(nobody), report)
    local = await serve_unix(status.local, folder / "agent.sock")
    async with local, await serve_tcp(status.public, "127.0.0.1", 0) as public:
        await local.start_serving()
        port = public.sockets[0].getsockname()[1]
        yield {
            "socket": (unix(folder / "agent.sock"), lambda: asked(unix(folder / "agent.sock"), "/status")),
            "port": (tcp(port), lambda: asked(tcp(port), "/healthz/ready")),
        }


async def asked(connect: Connect, path: str) -> bytes:
    reader, writer = await connect()
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".encode())
        return await asyncio.wait_for(reader.read(), DEADLINE)
    finally:
        writer.close()
        await writer.wait_closed()


async def test_an_agent(tmp_path: Path) -> None:
    async with agent(tmp_path) as served:
        for name, (connect, ask) in served.items():
            before = await ask()
            assert before.startswith(b"HTTP/1.1 "), name
            await bombard(connect)
            assert await ask() == before, name
