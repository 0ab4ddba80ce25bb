"""What a request looks like after the route changed it: path, host, and where a redirect points."""

from tidegate.dump.config.route import Redirect, RegexRewrite, RouteAction, RouteMatch, WeightedCluster
from tidegate.explain.exchange import Exchange, split_path
from tidegate.explain.hosts import port_of, without_port
from tidegate.explain.regexes import replace
from tidegate.explain.walk import Walk

_DEFAULT_PORTS = {"http": 80, "https": 443}


def path_after(walk: Walk, exchange: Exchange, action: RouteAction) -> str:
    """The path that is sent on, with its query."""
    path, query = split_path(exchange.request.path)
    if action.prefix_rewrite:
        return _prefix(exchange, path, action.prefix_rewrite) + query
    if action.regex_rewrite is not None:
        return _regex(walk, exchange, path, action.regex_rewrite) + query
    if action.path_rewrite_policy is not None:
        walk.unsure(exchange.route_path, f"path rewrite policy {action.path_rewrite_policy.type} is not judged here")
    return exchange.request.path


def _prefix(exchange: Exchange, path: str, new: str) -> str:
    match = exchange.route.match if exchange.route else RouteMatch()
    old = match.path_separated_prefix or match.prefix
    if match.path is not None or old is None:
        return new
    return new + path[len(old) :]


def _regex(walk: Walk, exchange: Exchange, path: str, rewrite: RegexRewrite) -> str:
    changed = replace(rewrite.pattern.regex, rewrite.substitution, path)
    if changed is None:
        walk.unsure(exchange.route_path, f"regex {rewrite.pattern.regex[:80]} of the rewrite cannot be run")
        return path
    return changed


def host_after(walk: Walk, exchange: Exchange, action: RouteAction, weighted: WeightedCluster | None) -> str:
    """The Host that is sent on; an automatic one comes with the endpoint."""
    if weighted is not None and weighted.host_rewrite_literal:
        return weighted.host_rewrite_literal
    if action.host_rewrite_literal:
        return action.host_rewrite_literal
    if action.host_rewrite_header:
        given = exchange.values(action.host_rewrite_header)
        return given[0] if given else exchange.request.authority
    if action.host_rewrite_path_regex is not None:
        path = split_path(exchange.request.path)[0]
        return _regex(walk, exchange, path, action.host_rewrite_path_regex)
    return exchange.request.authority


def location(walk: Walk, exchange: Exchange, redirect: Redirect) -> str:
    """Where a redirect points, as its Location header says it."""
    before = "https" if exchange.secure else "http"
    scheme = "https" if redirect.https_redirect else redirect.scheme_redirect or before
    authority = exchange.request.authority
    host = redirect.host_redirect or without_port(authority)
    port = redirect.port_redirect or (None if redirect.host_redirect else port_of(authority))
    implied = scheme != before and port == _DEFAULT_PORTS[before]
    if implied and not redirect.port_redirect:
        port = None  # the port that was left out of mind goes with the scheme
    shown = "" if port is None else f":{port}"
    path = _redirect_path(walk, exchange, redirect)
    return f"{scheme}://{host}{shown}{'' if path.startswith('/') else '/'}{path}"


def _redirect_path(walk: Walk, exchange: Exchange, redirect: Redirect) -> str:
    path, query = split_path(exchange.request.path)
    kept = "" if redirect.strip_query else query
    if redirect.path_redirect:
        return redirect.path_redirect if "?" in redirect.path_redirect else redirect.path_redirect + kept
    if redirect.prefix_rewrite:
        return _prefix(exchange, path, redirect.prefix_rewrite) + kept
    if redirect.regex_rewrite is not None:
        return _regex(walk, exchange, path, redirect.regex_rewrite) + kept
    return path + kept
