"""The console's pages: HTML from templates, and the same page's content again for a browser that follows it."""

import hashlib
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote, urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from tidegate.kit.errors import TidegateError
from tidegate.web import mesh, proxy, tables
from tidegate.web.guard import Guard, Keys
from tidegate.web.sources import Sources

MAX_SERVICES = 200
"""Services that one page shows; a search shows others."""
MAX_SEARCH = 300
"""Characters of a search that count; host names have at most 253."""

Context = Mapping[str, Any]
Render = Callable[[Sources, Request], Context]


def console(sources: Sources, keys: Keys) -> ASGIApp:
    """The application; serve it on 127.0.0.1 at ``keys.port``."""
    env = Environment(
        loader=PackageLoader("tidegate.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.filters["place"] = lambda name: quote(name, safe="")
    routes = [Route(path, _page(env, sources, template, work)) for path, template, work in _PAGES]
    static = Mount("/static", StaticFiles(packages=[("tidegate.web", "static")]))
    return Guard(Starlette(routes=[*routes, static]), keys)


def _page(env: Environment, sources: Sources, template: str, work: Render) -> Callable[[Request], Response]:
    """An endpoint; it blocks, so Starlette runs it in a thread."""
    page = env.get_template(template)

    def answer(request: Request) -> Response:
        context = {"q": _search(request), "path": request.url.path, **work(sources, request)}
        text = page.render(context)
        tag = f'"{hashlib.blake2b(text.encode(), digest_size=16).hexdigest()}"'
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers={"ETag": tag})
        return HTMLResponse(text, headers={"ETag": tag})

    return answer


def _search(request: Request) -> str:
    return request.query_params.get("q", "").strip()[:MAX_SEARCH]


def _proxies(sources: Sources, request: Request) -> Context:
    connected, error = _asked(lambda: mesh.proxies(sources.plane("/debug/syncz")), [])
    rows = mesh.proxy_rows(connected, sources.proxy_names())
    query = _search(request).lower()
    return {
        "headings": mesh.HEADINGS,
        "rows": [row for row in rows if query in row.name.lower()],
        "total": len(rows),
        "refused": [each for each in mesh.refused(connected) if query in each.proxy.lower()],
        "error": error,
    }


def _services(sources: Sources, request: Request) -> Context:
    query = urlencode({"search": _search(request), "limit": MAX_SERVICES})
    found, error = _asked(lambda: mesh.registry(sources.plane(f"/debug/registryz?{query}")), mesh.Registry())
    return {"registry": found, "error": error}


def _proxy(sources: Sources, request: Request) -> Context:
    """Only names of proxies that are here are asked for: a name is part of a path to a socket."""
    name = request.path_params["name"]
    empty: list[tables.Table] = []
    if name not in sources.proxy_names():
        return {"name": name, "tables": empty, "state": None, "refused": [], "here": False, "error": ""}
    found, error = _asked(lambda: _tables(sources, name, _search(request)), empty)
    connected, _ = _asked(lambda: mesh.proxies(sources.plane("/debug/syncz")), [])
    mine = [each for each in connected if each.proxy == name]
    state = next(iter(mesh.proxy_rows(mine, [name])))
    return {
        "name": name,
        "tables": found,
        "state": state,
        "headings": mesh.HEADINGS,
        "refused": mesh.refused(mine),
        "here": True,
        "error": error,
    }


def _tables(sources: Sources, name: str, search: str) -> list[tables.Table]:
    return tables.linked(proxy.parts(sources.envoy(name, proxy.DUMP), sources.envoy(name, proxy.STATUSES)), search)


def _asked(ask: Callable[[], Any], otherwise: Any) -> tuple[Any, str]:
    """An answer, or what stands for it and the reason."""
    try:
        return ask(), ""
    except TidegateError as error:
        return otherwise, str(error)


_PAGES: tuple[tuple[str, str, Render], ...] = (
    ("/", "proxies.html", _proxies),
    ("/services", "services.html", _services),
    ("/proxies/{name}", "proxy.html", _proxy),
)
