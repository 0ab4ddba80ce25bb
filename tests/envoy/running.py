"""A real Envoy of a static bootstrap, for as long as a test needs it."""

import contextlib
import json
import socket
import subprocess
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tidegate.kit import envoy_binary

PATIENCE = 20.0
HERE = "127.0.0.1"


def free_ports(count: int) -> list[int]:
    held = [socket.create_server((HERE, 0)) for _ in range(count)]
    found: list[int] = [each.getsockname()[1] for each in held]
    for each in held:
        each.close()
    return found


@contextlib.contextmanager
def running(bootstrap: Any, folder: Path, ports: Iterable[int], host: str = HERE) -> Iterator[None]:
    """Envoy, from the moment in which it listens on each of the ports; what it says is in the failure."""
    file, log = folder / "bootstrap.json", folder / "envoy.log"
    file.write_text(json.dumps(bootstrap))
    options = ["--use-dynamic-base-id", "-l", "error", "--concurrency", "1"]
    with log.open("wb") as out:
        process = subprocess.Popen([str(envoy_binary.find()), "-c", str(file), *options], stdout=out, stderr=out)
        try:
            for port in ports:
                _until_open((host, port), process, log)
            yield
        finally:
            process.terminate()
            process.wait(timeout=PATIENCE)


def _until_open(address: tuple[str, int], process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        assert process.poll() is None, log.read_text()
        try:
            socket.create_connection(address, timeout=1).close()
            return
        except OSError:
            assert time.monotonic() < deadline, f"nothing listens on {address}: {log.read_text()}"
            time.sleep(0.05)
