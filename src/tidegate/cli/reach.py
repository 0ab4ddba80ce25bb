"""Reaching what runs on this machine: the agents' sockets and the control plane's debug port."""

import http.client
import os
import socket
from pathlib import Path
from urllib.parse import urlsplit

import click

from tidegate.kit.errors import TidegateError
from tidegate.kit.places import DISCOVERY_ADDRESS

DEFAULT_RUN_DIR = Path("/run/tidegate")
DEFAULT_DISCOVERY = "http://127.0.0.1:15014"
TIMEOUT = 15.0
"""Seconds that one answer may take."""


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=TIMEOUT)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(TIMEOUT)
        self.sock.connect(str(self._path))


def proxy_names(run_dir: Path | None) -> list[str]:
    """``name.namespace`` of every agent that has a socket here."""
    folder = (run_dir or DEFAULT_RUN_DIR) / "proxies"
    return sorted(p.parent.name for p in folder.glob("*/agent.sock"))


def envoy_admin(name: str, namespace: str, run_dir: Path | None, path: str, limit: int) -> bytes:
    """GET a path of a proxy's Envoy admin port, by way of its agent's socket.

    ``name`` is NAME, NAME.NAMESPACE or TYPE/NAME; NAMESPACE defaults to "default".
    """
    full = full_name(name, namespace)
    return _ask(_agent(full, run_dir), "GET", f"/envoy/{path}", f"the agent of {full}", limit)


def envoy_logging(name: str, namespace: str, run_dir: Path | None, query: str, limit: int) -> str:
    """Ask a proxy's Envoy for its log levels, and set those that ``query`` names (``tidegate.dump.loggers``)."""
    full = full_name(name, namespace)
    path = f"/logging?{query}" if query else "/logging"
    return _ask(_agent(full, run_dir), "POST", path, f"the agent of {full}", limit).decode(errors="replace")


def _agent(full: str, run_dir: Path | None) -> _UnixConnection:
    sock = (run_dir or DEFAULT_RUN_DIR) / "proxies" / full / "agent.sock"
    if not sock.exists():
        known = proxy_names(run_dir)
        hint = f"; proxies here: {', '.join(known)}" if known else "; no proxies run here"
        raise TidegateError(f"no proxy {full} on this machine (looked for {sock}){hint}")
    return _UnixConnection(sock)


def full_name(name: str, namespace: str) -> str:
    name = name.rpartition("/")[2]
    if namespace:
        return f"{name.removesuffix('.' + namespace)}.{namespace}"
    return name if "." in name else f"{name}.default"


def discovery(path: str, address: str | None, limit: int) -> bytes:
    """GET a path of the control plane's debug port: at ``address``, else that of the run folder's control plane."""
    url = urlsplit(address or _announced() or DEFAULT_DISCOVERY)
    if url.scheme != "http" or not url.hostname:
        raise TidegateError(f"{address!r} is no address of a control plane; expected http://HOST:PORT")
    connection = http.client.HTTPConnection(url.hostname, url.port or 15014, timeout=TIMEOUT)
    return _ask(connection, "GET", path, f"the control plane at {url.netloc}", limit)


def envoy_at(address: str, path: str, limit: int) -> bytes:
    """GET a path of the Envoy admin port at ``http://HOST:PORT``, in place of the path that the address may have."""
    try:
        url = urlsplit(address)
        port = url.port or 15000
    except ValueError as error:
        raise TidegateError(f"{address!r} is no address of an Envoy's admin port: {error}") from None
    if url.scheme != "http" or not url.hostname:
        raise TidegateError(f"{address!r} is no address of an Envoy's admin port; expected http://HOST:PORT")
    connection = http.client.HTTPConnection(url.hostname, port, timeout=TIMEOUT)
    return _ask(connection, "GET", f"/{path}", f"Envoy at {url.netloc}", limit)


def _announced() -> str:
    """The address that the control plane of the run folder left there; "" for none."""
    folder = Path(os.environ.get("TIDEGATE_RUN_DIR") or DEFAULT_RUN_DIR)
    try:
        with (folder / DISCOVERY_ADDRESS).open() as file:
            return file.read(256).strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _ask(connection: http.client.HTTPConnection, method: str, path: str, whom: str, limit: int) -> bytes:
    try:
        connection.request(method, path)
        response = connection.getresponse()
        body = response.read(limit + 1)
    except (OSError, http.client.HTTPException) as error:
        raise TidegateError(f"{whom} does not answer: {error}") from None
    finally:
        connection.close()
    if len(body) > limit:
        raise TidegateError(f"the answer of {whom} to {path} is larger than {limit} bytes")
    if response.status != 200:
        detail = body[:300].decode(errors="replace").strip()
        raise TidegateError(f"{whom} answered {response.status} to {path}: {detail}")
    return body


def read_file(file: Path, limit: int) -> bytes:
    """The bytes of a file, or of standard input for ``-``."""
    try:
        with click.open_file(str(file), "rb") as stream:
            data: bytes = stream.read(limit + 1)
    except OSError as error:
        raise TidegateError(f"cannot read {file}: {error.strerror}") from None
    if len(data) > limit:
        raise TidegateError(f"{file} is larger than {limit} bytes")
    return data
