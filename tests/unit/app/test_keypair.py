"""A certificate that is read again, with real handshakes."""

import asyncio
import os
import ssl
from pathlib import Path

import grpc.aio
import pytest
from cryptography.hazmat.primitives import serialization

from tests.certificates import Authority, Pair
from tidegate.app.keypair import KeyPair
from tidegate.kit.errors import TidegateError


@pytest.fixture
def authority() -> Authority:
    return Authority()


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    return tmp_path / "tls.crt", tmp_path / "tls.key"


def show(files: tuple[Path, Path], pair: Pair) -> None:
    for path, text in zip(files, pair, strict=True):
        fresh = path.with_suffix(".new")
        fresh.write_bytes(text)
        fresh.replace(path)


async def seen(port: int, authority: Authority, name: str) -> bool:
    """Whether the server shows a certificate of this name."""
    context = ssl.create_default_context(cadata=authority.roots.decode())
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=name)
    except ssl.SSLCertVerificationError:
        return False
    writer.transport.abort()
    return True


async def test_the_next_connection_sees_what_the_files_hold(authority: Authority, files: tuple[Path, Path]) -> None:
    show(files, authority.issue("first"))
    server = grpc.aio.server()
    port = server.add_secure_port("127.0.0.1:0", KeyPair(*files).credentials())
    await server.start()
    try:
        assert await seen(port, authority, "first")
        show(files, authority.issue("second"))
        assert await seen(port, authority, "second") and not await seen(port, authority, "first")
        files[1].write_bytes(authority.issue("third").key)
        assert await seen(port, authority, "second"), "a key without its certificate changes nothing"
        files[0].unlink()
        assert await seen(port, authority, "second")
        show(files, authority.issue("fourth"))
        assert await seen(port, authority, "fourth")
    finally:
        await server.stop(None)


def test_a_bad_pair_is_told_once(
    authority: Authority, files: tuple[Path, Path], caplog: pytest.LogCaptureFixture
) -> None:
    show(files, authority.issue("first"))
    pair = KeyPair(*files)
    assert not pair.refresh()
    os.truncate(files[0], 0)
    assert not pair.refresh() and not pair.refresh()
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "the one read before stays in use" in caplog.text


def locked(pair: Pair) -> bytes:
    key = serialization.load_pem_private_key(pair.key, None)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"word")
    )


@pytest.mark.parametrize("kind", ["absent", "empty", "no PEM", "another's key", "locked"])
def test_no_start_without_a_pair(authority: Authority, files: tuple[Path, Path], kind: str) -> None:
    pair = authority.issue("first")
    keys = {
        "empty": b"",
        "no PEM": b"words",
        "another's key": authority.issue("second").key,
        "locked": locked(pair),
    }
    show(files, Pair(pair.certificate, keys.get(kind, pair.key)))
    if kind == "absent":
        files[1].unlink()
    with pytest.raises(
        TidegateError, match=r"certificate .*tls\.crt with key .*tls\.key cannot be used: .+; give a chain"
    ):
        KeyPair(*files)
