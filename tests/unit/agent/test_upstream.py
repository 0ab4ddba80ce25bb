"""Whether the control plane can be reached, and why not, with real sockets."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.certificates import Authority
from tidegate.agent import upstream as module
from tidegate.agent.settings import Network
from tidegate.agent.upstream import NetworkUpstream, SocketUpstream, upstream
from tidegate.kit.hostport import HostPort

NAME = "istiod.istio-system.svc"


@pytest.fixture
def authority() -> Authority:
    return Authority()


@pytest.fixture
def roots(authority: Authority, tmp_path: Path) -> Path:
    path = tmp_path / "root-cert.pem"
    path.write_bytes(authority.roots)
    return path


@contextlib.asynccontextmanager
async def serving(authority: Authority, folder: Path, *, secure: bool = True) -> AsyncIterator[int]:
    pair = authority.issue(NAME)
    (folder / "tls.pem").write_bytes(pair.certificate + pair.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "tls.pem")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not secure:
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        with contextlib.suppress(OSError):
            await reader.read()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context if secure else None) as server:
        yield server.sockets[0].getsockname()[1]


async def problem(port: int, roots: Path, name: str = NAME, host: str = "127.0.0.1") -> str:
    return await NetworkUpstream(Network(HostPort(host, port), roots, name)).problem()


async def test_one_that_may_be_believed(authority: Authority, roots: Path, tmp_path: Path) -> None:
    async with serving(authority, tmp_path) as port:
        assert await problem(port, roots) == ""


async def test_reasons_to_stay_away(authority: Authority, roots: Path, tmp_path: Path) -> None:
    others = tmp_path / "others.pem"
    others.write_bytes(Authority("another").roots)
    async with serving(authority, tmp_path) as port:
        told = await problem(port, roots, "another.name")
        assert "is not trusted: Hostname mismatch" in told and "expected name another.name" in told
        assert f"roots of {others}" in await problem(port, others)
    assert "cannot be reached over TLS" in await problem(port, roots)
    assert "the name no-such-host.invalid cannot be resolved" in await problem(1, roots, host="no-such-host.invalid")
    async with serving(authority, tmp_path, secure=False) as port:
        assert "cannot be reached over TLS" in await problem(port, roots)


@pytest.mark.parametrize("content", [b"", b"words", b"\xff\xfe"])
async def test_roots_that_are_none(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "roots.pem"
    path.write_bytes(content)
    assert f"root certificates {path} cannot be read" in await problem(1, path)
    assert "No such file" in await problem(1, tmp_path / "absent")


async def test_one_that_says_nothing(roots: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HANDSHAKE_SECONDS", 0.1)

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while await reader.read(65536):
                pass
        writer.close()

    async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
        told = await problem(server.sockets[0].getsockname()[1], roots)
    assert "does not answer within" in told


async def test_a_socket_of_this_machine(tmp_path: Path) -> None:
    path = tmp_path / "xds.sock"
    assert upstream(path) == SocketUpstream(path)
    assert await upstream(path).problem() == f"{path} does not accept connections"
    async with await asyncio.start_unix_server(lambda _, writer: writer.close(), path):
        assert await upstream(path).problem() == ""
