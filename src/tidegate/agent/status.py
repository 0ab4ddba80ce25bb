"""What an agent tells: readiness, merged statistics, its own state, Envoy's admin port read-only, its log levels."""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec

from tidegate.agent.appprobes import AppProbes
from tidegate.agent.http import Client, Handler, Request, Response, UpstreamHttpError, serve_connection
from tidegate.agent.metrics import MAX_STATS, Metrics
from tidegate.dump.loggers import is_query

log = logging.getLogger(__name__)

MAX_ADMIN_BODY = 1 << 30
"""Bytes of an admin answer that are passed on; a full dump of a large mesh is some 100 MB."""
_LOOPBACK = ("127.0.0.1", "::1", "::ffff:127.0.0.1")
_WATCHED = (
    r"^(cluster_manager\.cds|listener_manager\.lds)\.update_(success|rejected)$"
    r"|^server\.state$|^listener_manager\.workers_started$"
)


class Readiness:
    """Whether Envoy serves what the control plane told it; what was seen once for an Envoy stays seen."""

    def __init__(self, admin: Client) -> None:
        self._admin = admin
        self._configured = False
        self._started = False
        self.draining = False

    def reset(self) -> None:
        """Another Envoy runs now."""
        self._configured = self._started = False

    async def problem(self) -> str:
        """Why the proxy is not ready; empty when it is."""
        if self.draining:
            return "draining: the workload is being shut down"
        if self._configured and self._started:
            return ""
        try:
            status, body = await self._admin.get(f"/stats?usedonly&filter={quote(_WATCHED)}", MAX_STATS)
        except UpstreamHttpError as error:
            return f"Envoy does not answer: {error}"
        if status != 200:
            return f"Envoy answers {status} to a question for its statistics"
        return self._judge(read_stats(body.decode(errors="replace")))

    def _judge(self, stats: dict[str, int]) -> str:
        told = {kind: _told(stats, prefix) for kind, prefix in _TYPES.items()}
        if missing := [f"{kind}: {said}" for kind, said in told.items() if said]:
            return f"config not fully received from the control plane: {', '.join(missing)}"
        self._configured = True
        if stats.get("server.state") != 0:
            return f"Envoy is not live: server.state is {stats.get('server.state', 'unknown')}, expected 0"
        if not stats.get("listener_manager.workers_started"):
            return "Envoy's workers have not started"
        self._started = True
        return ""


_TYPES = {"cds": "cluster_manager.cds", "lds": "listener_manager.lds"}


def _told(stats: dict[str, int], prefix: str) -> str:
    if stats.get(f"{prefix}.update_success", 0) > 0:
        return ""
    return "was rejected" if stats.get(f"{prefix}.update_rejected", 0) > 0 else "nothing received"


def read_stats(text: str) -> dict[str, int]:
    """Counters and gauges of ``/stats``; other lines are passed over."""
    found = re.findall(r"^([\w.]+): (\d+)$", text, re.MULTILINE)
    return {name: int(value) for name, value in found}


class Status:
    """The handlers behind port 15020 and behind the agent's socket."""

    def __init__(self, admin: Client, prometheus: Client, readiness: Readiness, report: Callable[[], Any]) -> None:
        self._admin, self._readiness, self._report = admin, readiness, report
        self.metrics = Metrics(prometheus)
        self.on_quit: Callable[[], None] = lambda: None
        self.on_drain: Callable[[], Awaitable[None]] | None = None
        self.application: AppProbes | None = None
        """Probes that injection has led here."""

    async def public(self, request: Request) -> Response:
        """Port 15020: probes, scrapes, and from loopback quit and drain."""
        if request.path == "/healthz/ready":
            problem = await self._readiness.problem()
            return Response(503, f"{problem}\n".encode()) if problem else Response()
        if request.path in ("/stats/prometheus", "/metrics"):
            return await self.metrics.answer(request, await self._report())
        if request.path in ("/quitquitquit", "/drain"):
            return await self._told(request)
        if self.application is not None and request.path.startswith(("/app-health/", "/app-lifecycle/")):
            return await self.application.answer(request.path)
        return _unknown(request)

    async def local(self, request: Request) -> Response:
        """The agent's socket: ``/status``, ``/envoy/…`` read-only, and ``POST /logging`` for Envoy's log levels."""
        if request.path == "/logging":
            return await self._logging(request)
        if request.method not in ("GET", "HEAD"):
            return Response(405, b"only GET is allowed here\n")
        if request.path == "/status":
            return Response(200, msgspec.json.encode(await self._report()), "application/json")
        if request.path.startswith("/envoy/"):
            target = request.target.removeprefix("/envoy")
            status, kind, body = await self._admin.stream(target, MAX_ADMIN_BODY)
            return Response(status, body, kind)
        return _unknown(request)

    async def _logging(self, request: Request) -> Response:
        """The one thing that may be changed here. Envoy wants POST even to read the levels."""
        if request.method != "POST":
            return Response(405, b"expected POST\n")
        if not is_query(request.query):
            return Response(400, b"expected no query, level=LEVEL or paths=LOGGER:LEVEL,...\n")
        if request.query:
            log.info("Envoy's log levels are set: %s", request.query)
        status, body = await self._admin.post(request.target)
        return Response(status, body)

    async def _told(self, request: Request) -> Response:
        if request.peer not in _LOOPBACK:
            return Response(403, b"only a client on loopback may ask for this\n")
        if request.method != "POST":
            return Response(405, b"expected POST\n")
        if request.path == "/drain" and self.on_drain is not None:
            await self.on_drain()
        elif request.path == "/quitquitquit":
            self.on_quit()
        return Response(200, b"OK")


def _unknown(request: Request) -> Response:
    return Response(404, f"{request.path} is not served here\n".encode())


async def serve_tcp(handler: Handler, hosts: Sequence[str], port: int) -> asyncio.Server:
    """Serve on a port of several addresses."""
    return await asyncio.start_server(lambda reader, writer: serve_connection(handler, reader, writer), hosts, port)


async def serve_unix(handler: Handler, path: Path) -> asyncio.Server:
    """Serve on a socket, which must not exist yet; nobody can connect until ``start_serving``."""
    return await asyncio.start_unix_server(
        lambda reader, writer: serve_connection(handler, reader, writer), path, start_serving=False
    )
