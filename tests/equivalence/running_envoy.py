"""A real Envoy with a static configuration, upstream servers beside it, and its access log as data."""

import contextlib
import json
import re
import secrets
import socket
import socketserver
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tidegate.kit import envoy_binary

PATIENCE = 20.0
TYPE = "type.googleapis.com/envoy.extensions."


class Mirror(socketserver.BaseRequestHandler):
    """Answers each HTTP request with its own head."""

    def handle(self) -> None:
        data = b""
        with contextlib.suppress(OSError):
            while b"\r\n\r\n" not in data:
                more = self.request.recv(65536)
                if not more:
                    return
                data += more
            head = f"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {len(data)}\r\n\r\n".encode()
            self.request.sendall(head + data)


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True


@contextlib.contextmanager
def upstream() -> Iterator[int]:
    """An upstream server on a free port of the loopback."""
    server = Server(("127.0.0.1", 0), Mirror)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


def free_ports(count: int) -> list[int]:
    """Ports below those that the kernel gives to clients, so that none is taken before Envoy has it."""
    held: list[socket.socket] = []
    while len(held) < count:
        with contextlib.suppress(OSError):
            held.append(socket.create_server(("127.0.0.1", secrets.randbelow(20_000) + 10_000)))
    ports = [each.getsockname()[1] for each in held]
    for each in held:
        each.close()
    return ports


@contextlib.contextmanager
def running(folder: Path, resources: dict[str, Any], ports: list[int]) -> Iterator[None]:
    """Envoy with these static resources, ready on the ports."""
    bootstrap = folder / "bootstrap.json"
    bootstrap.write_text(json.dumps({"staticResources": resources}))
    command = [str(envoy_binary.find()), "-c", str(bootstrap), "--disable-hot-restart", "--concurrency", "1"]
    with (folder / "envoy.log").open("wb") as log:
        process = subprocess.Popen([*command, "-l", "warning"], stdout=log, stderr=log)
    try:
        for port in ports:
            _await(port, process, folder / "envoy.log")
        yield
    finally:
        process.terminate()
        process.wait(PATIENCE)


def _await(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text(errors="replace")[-3000:]
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.02)
    raise AssertionError(f"Envoy does not listen on {port}: {log.read_text(errors='replace')[-3000:]}")


def exchange(port: int, data: bytes) -> bytes:
    """Send bytes and read the answer: a whole HTTP response, or all that comes before the other side closes."""
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as client:
        client.settimeout(PATIENCE)
        client.sendall(data)
        answer = b""
        with contextlib.suppress(ConnectionResetError):
            while not _whole(answer) and (more := client.recv(65536)):
                answer += more
    return answer


def _whole(answer: bytes) -> bool:
    head, end, body = answer.partition(b"\r\n\r\n")
    length = re.search(rb"\r\ncontent-length: (\d+)", head)
    return bool(end and length and len(body) >= int(length[1]))


def access_log(path: Path) -> list[dict[str, Any]]:
    log = {
        "id": "%REQ(X-ID)%",
        "cluster": "%UPSTREAM_CLUSTER_RAW%",
        "route": "%ROUTE_NAME%",
        "flags": "%RESPONSE_FLAGS%",
        "status": "%RESPONSE_CODE%",
        "details": "%RESPONSE_CODE_DETAILS%",
    }
    config = {
        "@type": TYPE + "access_loggers.file.v3.FileAccessLog",
        "path": str(path),
        "logFormat": {"jsonFormat": log},
    }
    return [{"name": "log", "typedConfig": config}]


def logged(path: Path, count: int) -> dict[str, dict[str, Any]]:
    """The access log by request id, once it has as many lines as are awaited."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        lines = path.read_text().splitlines() if path.exists() else []
        if len(lines) >= count:
            break
        time.sleep(0.1)
    found = [json.loads(line) for line in lines]
    return {each["id"]: each for each in found if each["id"]}


def flags(path: Path) -> set[str]:
    """Response flags of the last connection that is logged in a file."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        lines = path.read_text().splitlines() if path.exists() else []
        if lines:
            return set((json.loads(lines[-1])["flags"] or "-").split(",")) - {"-"}
        time.sleep(0.1)
    raise AssertionError(f"nothing was logged in {path}")
