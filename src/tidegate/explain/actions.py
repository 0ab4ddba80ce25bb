"""What a route does with a request: send it to a cluster, redirect it, answer it."""

from collections.abc import Iterator

from tidegate.dump.config.route import MirrorPolicy, RetryPolicy, RouteAction
from tidegate.dump.model import Metadata
from tidegate.explain import headers, rewrite
from tidegate.explain.clusters import Result, Want, forward
from tidegate.explain.exchange import Exchange
from tidegate.explain.trace import Mirror
from tidegate.explain.walk import Walk

_REDIRECTS = {
    "MOVED_PERMANENTLY": 301,
    "FOUND": 302,
    "SEE_OTHER": 303,
    "TEMPORARY_REDIRECT": 307,
    "PERMANENT_REDIRECT": 308,
}
_DEFAULT_TIMEOUT = "15s"


def targets(walk: Walk, exchange: Exchange) -> Iterator[tuple[Walk, Exchange]]:
    """One branch for each cluster that the route may choose; filters may ask which it is."""
    action = exchange.action
    if action is None:
        yield walk, exchange
    elif action.weighted_clusters is not None:
        yield from _weighted(walk, exchange, action)
    elif action.cluster_header:
        given = exchange.values(action.cluster_header)
        yield walk, exchange.with_(cluster=given[0] if given else "")
    else:
        yield walk, exchange.with_(cluster=action.cluster)


def _weighted(walk: Walk, exchange: Exchange, action: RouteAction) -> Iterator[tuple[Walk, Exchange]]:
    listed = action.weighted_clusters.clusters if action.weighted_clusters else ()
    total = sum(max(each.weight, 0) for each in listed)
    if action.weighted_clusters and action.weighted_clusters.header_name:
        walk.unsure(exchange.route_path, "a header may say which of the weighted clusters is taken")
    if total <= 0:
        yield walk, exchange
    for each in listed:
        if each.weight > 0:
            name = each.name
            if not name and each.cluster_header:
                given = exchange.values(each.cluster_header)
                name = given[0] if given else ""
            yield walk.split(each.weight / total), exchange.with_(weighted=each, cluster=name)


def respond(walk: Walk, exchange: Exchange) -> Iterator[Result]:
    """The router: what becomes of the request now."""
    route = exchange.route
    if exchange.to_tls:
        where = f"https://{exchange.request.authority}{exchange.request.path}"
        yield walk.end("redirect", "the virtual host demands TLS", http_status=301, location=where)
    elif exchange.host is None:
        why = walk.steps[-1].why
        yield walk.end("no_virtual_host", f"{why} (404)", http_status=404, response_flags=("NR",))
    elif route is None:
        yield walk.end("no_route", "no route matches the request (404)", http_status=404, response_flags=("NR",))
    elif route.redirect is not None:
        status = _REDIRECTS.get(route.redirect.response_code, 301)
        where = rewrite.location(walk, exchange, route.redirect)
        yield walk.end("redirect", f"redirected to {where}", http_status=status, location=where)
    elif route.direct_response is not None:
        status = route.direct_response.status
        yield walk.end("direct_response", f"the route answers {status} itself", http_status=status)
    elif route.route is not None:
        yield from _send(walk, exchange, route.route)
    else:
        walk.unsure(exchange.route_path, "the route's action is not known here")
        yield walk.end("unknown", "the route does something that is not judged here")


def _send(walk: Walk, exchange: Exchange, action: RouteAction) -> Iterator[Result]:
    if action.cluster_specifier_plugin or action.inline_cluster_specifier_plugin:
        walk.unsure(exchange.route_path, "a cluster specifier plugin chooses the cluster")
        yield walk.end("unknown", "a plugin chooses the cluster")
        return
    retry = _retry(exchange, action)
    authority = rewrite.host_after(walk, exchange, action, exchange.weighted)
    request = exchange.request
    want = Want(
        exchange.cluster,
        http=True,
        version=request.version,
        authority=authority,
        path=rewrite.path_after(walk, exchange, action),
        headers=headers.sent(exchange),
        criteria=_criteria(exchange, action),
        not_found=action.cluster_not_found_response_code,
        auto_host_rewrite=action.auto_host_rewrite,
        dynamic_host=authority,
        timeout=action.timeout or _DEFAULT_TIMEOUT,
        retries=retry.num_retries if retry and retry.retry_on else 0,
        retry_on=retry.retry_on if retry else "",
        mirrors=tuple(_mirrors(exchange, action)),
        hashed_by=tuple(_hashed_by(action)),
    )
    yield from forward(walk, want)


def _hashed_by(action: RouteAction) -> Iterator[str]:
    for each in action.hash_policy:
        if each.header is not None:
            yield f"header {each.header.header_name}"
        if each.cookie is not None:
            yield f"cookie {each.cookie.name}"
        if each.query_parameter is not None:
            yield f"query parameter {each.query_parameter.name}"
        if each.connection_properties is not None and each.connection_properties.source_ip:
            yield "source address"


def _retry(exchange: Exchange, action: RouteAction) -> RetryPolicy | None:
    return action.retry_policy or (exchange.host.retry_policy if exchange.host else None)


def _criteria(exchange: Exchange, action: RouteAction) -> Metadata:
    """Labels of the subset that is asked for: the route's, those of the weighted cluster winning."""
    ours = action.metadata_match.filter_metadata.get("envoy.lb") or {}
    theirs = exchange.weighted.metadata_match.filter_metadata.get("envoy.lb") or {} if exchange.weighted else {}
    return Metadata({"envoy.lb": {**ours, **theirs}}) if ours or theirs else Metadata()


def _mirrors(exchange: Exchange, action: RouteAction) -> Iterator[Mirror]:
    levels: tuple[tuple[MirrorPolicy, ...], ...] = (
        action.request_mirror_policies,
        exchange.host.request_mirror_policies if exchange.host else (),
        exchange.table.config.request_mirror_policies if exchange.table else (),
    )
    for each in next((level for level in levels if level), ()):
        given = exchange.values(each.cluster_header) if each.cluster_header else ()
        share = each.runtime_fraction.default_value.share if each.runtime_fraction else 1.0
        yield Mirror(given[0] if given else each.cluster, share)
