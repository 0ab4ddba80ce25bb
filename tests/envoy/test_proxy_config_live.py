"""proxy-config against a real Envoy behind an agent's socket: log levels, versions, and the dump it really writes."""

import asyncio
import contextlib
import datetime
import json
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tidegate.agent.http import Client
from tidegate.agent.status import Readiness, Status, serve_unix
from tidegate.cli.proxy_config import proxy_config
from tidegate.kit.envoy_binary import find
from tidegate.kit.errors import TidegateError

pytestmark = pytest.mark.envoy

PATIENCE = 30.0
"""Seconds within which Envoy must have opened its admin port."""
NAME = "client.entry"


def certificate() -> tuple[str, str]:
    """A certificate and its key, in PEM, valid now."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now, day = datetime.datetime.now(datetime.UTC), datetime.timedelta(days=1)
    built = x509.CertificateBuilder(name, name, key.public_key(), 0x77, now - day, now + day).sign(key, hashes.SHA256())
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return built.public_bytes(serialization.Encoding.PEM).decode(), private.decode()


def bootstrap(chain: str, key: str) -> dict[str, Any]:
    tls = {"certificate_chain": {"inline_string": chain}, "private_key": {"inline_string": key}}
    return {
        "node": {
            "id": NAME,
            "cluster": NAME,
            "metadata": {"ISTIO_VERSION": "0.1.0", "platform_metadata": {"a_b": "c"}},
        },
        "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}},
        "static_resources": {
            "secrets": [{"name": "default", "tls_certificate": tls}],
            "clusters": [{"name": "agent", "type": "STATIC", "connect_timeout": "1s"}],
        },
    }


@pytest.fixture(scope="module")
def admin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int]]:
    """Address and port of the admin port of an Envoy that was started for this module."""
    folder = tmp_path_factory.mktemp("envoy")
    (folder / "bootstrap.json").write_text(json.dumps(bootstrap(*certificate())))
    written = folder / "admin"
    command = [find(), "-c", folder / "bootstrap.json", "--use-dynamic-base-id", "--admin-address-path", written]
    command += ["--concurrency", "1", "--log-level", "error", "--component-log-level", "http:info"]
    with (folder / "log").open("wb") as log, subprocess.Popen(list(map(str, command)), stderr=log) as envoy:
        try:
            host, _, port = appeared(written, envoy).rpartition(":")
            yield host, int(port)
        finally:
            envoy.kill()


def appeared(file: Path, envoy: subprocess.Popen[bytes]) -> str:
    end = time.monotonic() + PATIENCE
    while not (file.exists() and ":" in file.read_text()):
        assert envoy.poll() is None, "Envoy ended"
        assert time.monotonic() < end, "Envoy opened no admin port"
        time.sleep(0.05)
    return file.read_text()


@pytest.fixture
async def run_dir(admin: tuple[str, int], tmp_path: Path) -> AsyncIterator[Path]:
    """A run folder with an agent's socket in it, which answers for the Envoy."""
    client = Client(*admin)
    folder = tmp_path / "proxies" / NAME
    folder.mkdir(parents=True)

    async def report() -> dict[str, Any]:
        return {}

    server = await serve_unix(Status(client, client, Readiness(client), report).local, folder / "agent.sock")
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(server.close)
        await server.start_serving()
        yield tmp_path


async def ask(run_dir: Path, command: str, *args: str) -> str:
    given = [command, NAME, "--run-dir", str(run_dir), *args]
    result = await asyncio.to_thread(CliRunner().invoke, proxy_config, given, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


async def test_log_levels_are_set_and_reset(run_dir: Path) -> None:
    async def levels(*args: str) -> dict[str, str]:
        found: dict[str, str] = json.loads(await ask(run_dir, "log", "-o", "json", *args))
        return found

    started = await levels()
    assert (started["admin"], started["http"]) == ("error", "info")
    changed = await levels("--level", "router:off,critical,upstream:warning")
    assert {name: changed[name] for name in ("admin", "http", "router", "upstream")} == {
        "admin": "critical",
        "http": "critical",
        "router": "off",
        "upstream": "warning",
    }
    assert await levels("--reset") == started
    with pytest.raises(TidegateError, match="no logger 'htp'; near it: http"):
        await levels("--level", "htp:debug,debug")
    assert await levels() == started


async def test_versions_are_those_of_this_envoy(run_dir: Path) -> None:
    text = await ask(run_dir, "bootstrap", "-o", "short")
    assert "Istio Version:       0.1.0\n" in text and "Envoy Version:       1.40." in text
    node = json.loads(await ask(run_dir, "bootstrap"))["bootstrap"]["node"]
    assert node["metadata"]["platform_metadata"] == {"a_b": "c"}
    assert node["userAgentBuildVersion"]["metadata"]["build.type"]


async def test_certificates_are_told_without_their_keys(run_dir: Path) -> None:
    row = (await ask(run_dir, "secret")).splitlines()[1].split()
    assert row[:6] == ["default", "Cert", "Chain", "ACTIVE", "true", "77"]
    for output in ("json", "yaml"):
        assert "PRIVATE KEY" not in await ask(run_dir, "all", "-o", output)


async def test_parts_that_this_envoy_has_not_are_empty(run_dir: Path) -> None:
    assert await ask(run_dir, "ecds") == ""
    assert json.loads(await ask(run_dir, "ecds", "-o", "json")) == {}
    assert (await ask(run_dir, "eds")).split() == ["NAME", "STATUS", "LOCALITY", "CLUSTER"]
