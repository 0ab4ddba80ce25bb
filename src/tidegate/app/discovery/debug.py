"""Monitoring of the control plane over HTTP on loopback: readiness, metrics, and what each proxy was told.

Paths and JSON follow Istio's debug endpoints, so that its tools can read them.
"""

import asyncio
import datetime
import html
import itertools
import json
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from starlette.applications import Starlette
from starlette.concurrency import iterate_in_threadpool, run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from tidegate import __version__
from tidegate.api.objects import Ref
from tidegate.app.discovery.metrics import CONTENT_TYPE, Metrics
from tidegate.app.discovery.registryz import MAX_SERVICES, registry
from tidegate.app.offline.config_dump import config_dump
from tidegate.snapshot.state import Snapshot
from tidegate.xds.server import Connection
from tidegate.xds.types import CLUSTER, ENDPOINT, EXTENSION, LISTENER, ROUTE

_COLUMNS = {
    "cluster": CLUSTER,
    "listener": LISTENER,
    "route": ROUTE,
    "endpoint": ENDPOINT,
    "extensionconfig": EXTENSION,
}
_LOOPBACK = ("127.0.0.1", "::1", "testclient")
MAX_ORIGINS = 10
"""Objects that are told of one resource."""
_DUMP_TYPES = {"cds": CLUSTER, "eds": ENDPOINT, "lds": LISTENER, "rds": ROUTE}


class Connections(Protocol):
    """Who is connected: :class:`tidegate.xds.server.DiscoveryServer`."""

    def connections(self) -> Sequence[Connection]: ...


@dataclass(frozen=True, slots=True)
class Sources:
    """What the endpoints read."""

    connections: Connections
    metrics: Metrics
    ready: Callable[[], bool]
    """Whether the world has been read completely."""
    world: Callable[[], "Held"]
    dumps: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(1))


Held = tuple[Snapshot, dict[Ref, str]]
"""The world, and what is told of stored objects besides: those that cannot be typed, those that do nothing."""
Endpoint = Callable[[Sources, Request], Awaitable[Response]]


def _nothing() -> Held:
    return Snapshot.empty(), {}


def debug_app(
    connections: Connections, metrics: Metrics, ready: Callable[[], bool], world: Callable[[], Held] = _nothing
) -> Starlette:
    """The application. Serve it on a loopback address only; callers from elsewhere get 403."""
    sources = Sources(connections, metrics, ready, world)
    return Starlette(routes=[Route(path, _endpoint(sources, work)) for path, (_, work) in ENDPOINTS.items()])


def _endpoint(sources: Sources, work: Endpoint) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        if request.client is not None and request.client.host not in _LOOPBACK:
            return PlainTextResponse("debug endpoints are served to loopback callers only\n", 403)
        return await work(sources, request)

    return answer


async def _ready(sources: Sources, _request: Request) -> Response:
    return Response(status_code=200 if sources.ready() else 503)


async def _metrics(sources: Sources, _request: Request) -> Response:
    return Response(sources.metrics.text(), media_type=CONTENT_TYPE)


async def _version(_sources: Sources, _request: Request) -> Response:
    return PlainTextResponse(f"{__version__}\n")


async def _index(_sources: Sources, _request: Request) -> Response:
    rows = "".join(
        f'<tr><td><a href="{path}">{path}</a></td><td>{html.escape(text)}</td></tr>'
        for path, (text, _) in ENDPOINTS.items()
    )
    return HTMLResponse(f"<!doctype html><title>tidegate debug</title><table>{rows}</table>")


async def _list(_sources: Sources, request: Request) -> Response:
    return _json(request, [path for path in ENDPOINTS if path.startswith("/debug/")])


async def _syncz(sources: Sources, request: Request) -> Response:
    namespace = request.query_params.get("namespace")
    chosen = [c for c in sources.connections.connections() if namespace in (None, "", c.proxy.namespace)]
    return _json(request, [sync_status(connection) for connection in chosen])


async def _connections(sources: Sources, request: Request) -> Response:
    return _json(request, _clients(sources, _client))


async def _adsz(sources: Sources, request: Request) -> Response:
    return _json(request, _clients(sources, _client_with_watches))


async def _registryz(sources: Sources, request: Request) -> Response:
    limit = request.query_params.get("limit", str(MAX_SERVICES))
    if not limit.isascii() or not limit.isdigit() or len(limit) > 9:
        return PlainTextResponse(f"limit={limit[:50]}: expected a number of services\n", 400)
    search = request.query_params.get("search", "")
    return _json(request, await run_in_threadpool(registry, *sources.world(), search, int(limit)))


async def _config_dump(sources: Sources, request: Request) -> Response:
    wanted = request.query_params.get("proxyID")
    if not wanted:
        return PlainTextResponse("You must provide a proxyID in the query string\n", 400)
    found = next((c for c in sources.connections.connections() if wanted in c.id), None)
    if found is None:
        return PlainTextResponse(f"Proxy {wanted[:200]} is not connected to this instance\n", 404)
    asked = [name for name in request.query_params.get("types", "").split(",") if name]
    unknown = [name for name in asked if name not in _DUMP_TYPES]
    if unknown:
        return PlainTextResponse(f"types={unknown[0][:50]}: expected some of {','.join(_DUMP_TYPES)}\n", 400)
    chosen = {_DUMP_TYPES[name] for name in asked} or set(_DUMP_TYPES.values()) - {ENDPOINT}
    if "include_eds" in request.query_params:
        chosen.add(ENDPOINT)
    return StreamingResponse(
        _one_at_a_time(sources.dumps, config_dump(found.session.view, _names(found), chosen)),
        media_type="application/json",
    )


async def _one_at_a_time(dumps: asyncio.Semaphore, chunks: Iterator[str]) -> Any:
    """A large dump costs seconds of processor time: off the event loop, one after the other."""
    async with dumps:
        async for chunk in iterate_in_threadpool(chunks):
            yield chunk


def _names(connection: Connection) -> dict[str, tuple[str, ...]]:
    """What the proxy asked for by name."""
    return {status.type_url: status.names for status in connection.session.status().types}


def sync_status(connection: Connection) -> dict[str, Any]:
    """One proxy of /debug/syncz; ``state`` and ``quarantined`` are ours."""
    row: dict[str, Any] = {
        "cluster_id": str(connection.node.metadata.get("CLUSTER_ID", "Kubernetes")),
        "proxy": f"{connection.proxy.pod}.{connection.proxy.namespace}",
        "proxy_type": connection.proxy.type,
        "istio_version": str(connection.node.metadata.get("ISTIO_VERSION", "")),
    }
    status = connection.session.status()
    for column, type_url in _COLUMNS.items():
        of_type = status.of(type_url)
        if of_type is not None and of_type.sent_nonce:
            row[f"{column}_sent"], row[f"{column}_acked"] = of_type.sent_nonce, of_type.acked_nonce
    row["resources"] = {
        each.type_url: {
            "sent": each.sent_nonce,
            "acked": each.acked_nonce,
            "sentTime": _time(connection.sent_at.get(each.type_url)),
            "lastError": each.last_error,
            "state": each.state.value,
            "quarantined": [
                {
                    "name": q.name,
                    "version": q.version,
                    "error": q.error,
                    "origins": origins(connection.session.view.get(each.type_url, q.name)),
                }
                for q in each.quarantined
            ],
        }
        for each in status.types
    }
    return row


def origins(resource: Any) -> list[str]:
    """The objects that a resource was made from: ``VirtualService/shop/a spec.http[0].timeout``, at most a few.

    Resources of the builders know it (:meth:`tidegate.envoy.resource.Resource.all_origins`); others tell nothing.
    """
    known = getattr(resource, "all_origins", None)
    if known is None:
        return []
    found = dict.fromkeys(f"{each.ref} {each.field}".strip() for each in itertools.islice(known(), MAX_ORIGINS * 100))
    return list(found)[:MAX_ORIGINS]


def _clients(sources: Sources, describe: Callable[[Connection], dict[str, Any]]) -> dict[str, Any]:
    clients = [describe(connection) for connection in sources.connections.connections()]
    return {"totalClients": len(clients), "clients": clients}


def _client(connection: Connection) -> dict[str, Any]:
    return {
        "connectionId": connection.id,
        "connectedAt": _time(connection.connected_at),
        "address": connection.peer,
    }


def _client_with_watches(connection: Connection) -> dict[str, Any]:
    watches = {
        each.type_url: ["*", *each.names] if each.wildcard else list(each.names)
        for each in connection.session.status().types
    }
    return {**_client(connection), "metadata": dict(connection.node.metadata), "watches": watches}


def _time(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat().replace("+00:00", "Z")


def _json(request: Request, value: Iterable[Any]) -> Response:
    if "pretty" in request.query_params:
        return Response(json.dumps(value, indent=2), media_type="application/json")
    return JSONResponse(value)


ENDPOINTS: dict[str, tuple[str, Endpoint]] = {
    "/ready": ("200 when the world has been read", _ready),
    "/metrics": ("Prometheus metrics", _metrics),
    "/version": ("version of the control plane", _version),
    "/debug": ("this list", _index),
    "/debug/syncz": ("what each proxy was sent and has acknowledged; ?namespace=", _syncz),
    "/debug/registryz": ("services and the objects that decide them; ?search=HOST[&limit=N]", _registryz),
    "/debug/config_dump": ("configuration of a proxy; ?proxyID=[&types=cds,lds,rds,eds][&include_eds]", _config_dump),
    "/debug/connections": ("connected proxies", _connections),
    "/debug/adsz": ("connected proxies and their subscriptions", _adsz),
    "/debug/list": ("names of the debug endpoints", _list),
}
