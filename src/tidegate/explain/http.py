"""The HTTP connection manager: codec, request, virtual host, route, then the HTTP filters."""

import re
from collections.abc import Hashable, Iterator
from typing import NamedTuple

from tidegate.dump.config.listener import Filter
from tidegate.dump.config.network import HttpConnectionManager
from tidegate.dump.config.parts import read
from tidegate.dump.config.route import Route
from tidegate.explain import grpc, hosts, http_filters, routes
from tidegate.explain.actions import respond, targets
from tidegate.explain.clusters import Result
from tidegate.explain.config import RouteTable
from tidegate.explain.connection import HttpRequest
from tidegate.explain.exchange import Exchange, split_path
from tidegate.explain.extensions import http_kind, resolved
from tidegate.explain.trace import End, Rejection
from tidegate.explain.walk import Walk

_ESCAPED_SLASH = re.compile(r"%2f|%5c", re.IGNORECASE)
_DOT = re.compile(r"%2e", re.IGNORECASE)
_SLASHES = re.compile(r"//+")


class Place(NamedTuple):
    """Where a connection manager stands."""

    where: str
    path: str
    key: Hashable


def manage(walk: Walk, raw: dict[str, object], place: Place) -> Iterator[Result]:
    """All ends of a connection, and of the request that it carries, at an HTTP connection manager."""
    where = place.where
    manager = walk.config.once(place.key, lambda unknown: read(HttpConnectionManager, raw, where, unknown))
    walk = walk.step("network_filter", "HttpConnectionManager", path=place.path, why="takes the connection as HTTP")
    if manager.local_reply_config is not None:
        walk.unsure(where, "local_reply_config may change the status of answers that the proxy gives itself")
    refused = _codec(walk, manager)
    if refused is not None:
        yield refused
        return
    opened = _request(walk, manager)
    if isinstance(opened, End):
        yield opened
        return
    exchange = Exchange(manager, where, opened, secure=walk.ended_tls)
    table = _table(walk, exchange, place.key)
    if isinstance(table, End):
        yield table
        return
    for branch, found in _routed(walk, exchange.with_(table=table)):
        for result in _served(branch, found):
            yield grpc.answered(result, opened)


def _served(walk: Walk, exchange: Exchange) -> Iterator[Result]:
    upgrade = _refused_upgrade(walk, exchange)
    if upgrade:
        yield walk.end("protocol_error", f"an upgrade to {upgrade} is not enabled (403)", http_status=403)
    else:
        yield from _filtered(walk, exchange)


def _codec(walk: Walk, manager: HttpConnectionManager) -> End | None:
    """Why the codec refuses the first bytes; None: it takes them."""
    request = walk.request
    if walk.payload == "silence":
        return walk.end("waits", "the proxy waits for a request and the client for the server")
    http2 = manager.codec_type == "HTTP2" or (manager.codec_type == "AUTO" and walk.negotiated == "h2")
    bad: dict[str, object] = {"http_status": None if http2 else 400, "response_flags": ("DPE",)}
    if walk.payload != "http" or request is None:
        shown = "TLS" if walk.payload == "tls" else "bytes that are no HTTP"
        return walk.end("protocol_error", f"the HTTP codec is given {shown}", **bad)
    sniffed = manager.codec_type == "AUTO" and not walk.negotiated
    if (request.version == "2") != http2 and not sniffed:
        expected = "HTTP/2" if http2 else "HTTP/1.1"
        return walk.end(
            "protocol_error", f"the codec expects {expected}, the client sends HTTP/{request.version}", **bad
        )
    if request.version == "1.0" and not manager.http_protocol_options.accept_http10:
        why = "HTTP/1.0 is not accepted here (426)"
        return walk.end("protocol_error", why, http_status=426, response_flags=("DPE",))
    return None


def _request(walk: Walk, manager: HttpConnectionManager) -> HttpRequest | End:
    """The request after normalization of its path and Host, or the answer to one that is refused for them."""
    request = walk.request or HttpRequest()
    authority = request.authority
    if not authority and request.version == "1.0":
        authority = manager.http_protocol_options.default_host_for_http10
    if not authority and walk.profile.match_headers:
        return walk.end("protocol_error", "the request has no Host", http_status=400)
    path = _normalized(walk, manager, request.path)
    if isinstance(path, End):
        return path
    return HttpRequest(request.version, request.method, _host(walk, manager, authority), path, request.headers)


def _refused_upgrade(walk: Walk, exchange: Exchange) -> str:
    """The upgrade that is asked for and enabled nowhere; "" where there is none, or no route either."""
    request, action = exchange.request, exchange.action
    connect = request.method == "CONNECT"
    asked = "CONNECT" if connect else ",".join(request.values("upgrade"))
    wants = connect or "upgrade" in ",".join(request.values("connection")).lower()
    routed = exchange.route is not None or exchange.to_tls
    if not routed or not asked or not wants or not walk.profile.match_headers:
        return ""
    enabled = {each.upgrade_type.lower(): each.enabled for each in exchange.manager.upgrade_configs}
    enabled |= {each.upgrade_type.lower(): each.enabled for each in (action.upgrade_configs if action else ())}
    return "" if enabled.get(asked.lower()) else asked


def _host(walk: Walk, manager: HttpConnectionManager, authority: str) -> str:
    port = hosts.port_of(authority)
    if manager.strip_any_host_port or (manager.strip_matching_host_port and port == walk.port):
        authority = hosts.without_port(authority)
    if manager.strip_trailing_host_dot:
        plain = hosts.without_port(authority)
        authority = plain.removesuffix(".") + authority[len(plain) :]
    return authority


def _normalized(walk: Walk, manager: HttpConnectionManager, path: str) -> str | End:
    plain, query = split_path(path)
    action = manager.path_with_escaped_slashes_action
    if _ESCAPED_SLASH.search(plain) and action not in ("KEEP_UNCHANGED", "IMPLEMENTATION_SPECIFIC_DEFAULT"):
        if action == "REJECT_REQUEST":
            return walk.end("protocol_error", "the path has escaped slashes", http_status=400)
        plain = _ESCAPED_SLASH.sub(lambda found: "/" if found[0].lower() == "%2f" else "\\", plain)
        if action == "UNESCAPE_AND_REDIRECT":
            return walk.end("redirect", "the path has escaped slashes", http_status=307, location=plain + query)
    if manager.normalize_path and plain.startswith("/"):
        plain = _without_dots(plain.replace("\\", "/"))
    if manager.merge_slashes:
        plain = _SLASHES.sub("/", plain)
    return plain + query


def _without_dots(path: str) -> str:
    """RFC 3986, section 5.2.4: dot segments removed."""
    kept: list[str] = []
    segments = path.split("/")[1:]
    for place, segment in enumerate(segments):
        plain, last = _DOT.sub(".", segment), place == len(segments) - 1
        if plain == "..":
            del kept[-1:]
        elif plain != ".":
            kept.append(segment)
        if last and plain in (".", ".."):
            kept.append("")
    return "/" + "/".join(kept)


def _table(walk: Walk, exchange: Exchange, key: Hashable) -> RouteTable | End | None:
    manager = exchange.manager
    inline = manager.route_config
    if inline is not None:
        return walk.config.once((key, "routeConfig"), lambda unknown: RouteTable(inline, unknown))
    if manager.rds is None:
        walk.unsure(exchange.where, "routes by scope are not judged here")
        return walk.end("unknown", "the routes of this listener are chosen by scope, which is not judged here")
    name = manager.rds.route_config_name
    table = walk.config.route_table(name)
    if table is None and "routes" not in walk.config.present:
        walk.unsure(f"RouteConfiguration {name}", "the input has no route configurations")
        return walk.end("unknown", f"route configuration {name} is not in the input")
    return table


def _routed(walk: Walk, exchange: Exchange) -> Iterator[tuple[Walk, Exchange]]:
    """Each branch with its virtual host, route and cluster, as far as they are found."""
    table = exchange.table
    if table is None:
        name = exchange.manager.rds.route_config_name if exchange.manager.rds else ""
        why = f"the proxy has no route configuration {name}"
        yield walk.step("virtual_host", "VirtualHost", why=why, facts={"routeConfiguration": name}), exchange
        return
    found = hosts.find(table, exchange.request.authority)
    lost = tuple(Rejection(table.host(number)[0].name or each.what, each.why) for number, each in found.rejected)
    facts = {"routeConfiguration": table.config.name, "domain": found.domain}
    if found.number is None:
        if table.config.vhds is not None:
            walk.unsure(f"RouteConfiguration {table.config.name}", "virtual hosts are also delivered on demand (VHDS)")
        yield walk.step("virtual_host", "VirtualHost", why=found.why, facts=facts), exchange
        return
    host, listed = table.host(found.number)
    where = f"virtualHosts[{found.number}]"
    istio = host.metadata.istio
    rejected = lost[: walk.profile.most_rejections]
    walk = walk.step(
        "virtual_host", "VirtualHost", host.name, path=where, why=found.why, rejected=rejected, istio=istio, facts=facts
    )
    exchange = exchange.with_(host=host)
    if host.require_tls in ("ALL", "EXTERNAL_ONLY") and not exchange.secure:
        yield walk, exchange.with_(to_tls=True)
        return
    if host.matcher is not None:
        walk.unsure(f"RouteConfiguration {table.config.name} {where}", "routes by matcher tree are not judged here")
    full = f"RouteConfiguration {table.config.name} {where}"
    for branch, number, rejected in routes.choose(walk, exchange, listed, full):
        if number is None:
            yield branch.step("route", "Route", why="no route matches the request", rejected=rejected), exchange
        else:
            chosen = exchange.with_(route=listed[number], route_path=f"{where}.routes[{number}]")
            yield from _chosen(branch, chosen, listed[number], rejected)


def _chosen(
    walk: Walk, exchange: Exchange, route: Route, rejected: tuple[Rejection, ...]
) -> Iterator[tuple[Walk, Exchange]]:
    path, istio, why = exchange.route_path, route.metadata.istio, "the first that matches"
    walk = walk.step("route", "Route", route.name, path=path, why=why, rejected=rejected, istio=istio)
    yield from targets(walk, exchange)


def _filtered(walk: Walk, exchange: Exchange) -> Iterator[Result]:
    """Run the HTTP filters; at the router the route's action is taken. Filters may split the walk."""
    filters = exchange.manager.http_filters
    pending = [(walk, 0)]
    while pending:
        here, place = pending.pop()
        if place >= len(filters):
            yield here.end("unknown", "the HTTP connection manager has no router filter")
            continue
        where = f"{exchange.where}.httpFilters[{place}]"
        each = resolved(here, here.notes.read(Filter, filters[place], where), where)
        if each is not None and http_kind(each) == "router":
            yield from respond(here, exchange)
            continue
        for found in [here] if each is None else http_filters.run(here, exchange, each, where):
            if isinstance(found, Walk):
                pending.append((found, place + 1))
            else:
                yield found
