"""Which route of a virtual host takes a request: the first whose every condition holds."""

from collections.abc import Iterator
from urllib.parse import unquote

from tidegate.dump.config.route import Route, RouteMatch, TlsContextMatch, UriTemplate
from tidegate.explain import matchers
from tidegate.explain.exchange import Exchange, split_path
from tidegate.explain.logic import Verdict
from tidegate.explain.regexes import full_match
from tidegate.explain.templates import template_match
from tidegate.explain.trace import Rejection
from tidegate.explain.walk import Walk

_URI_TEMPLATE = "envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig"
Branch = tuple[Walk, int | None, tuple[Rejection, ...]]
"""A walk, the position of its route (None: no route), the routes before it that lost."""


def choose(walk: Walk, exchange: Exchange, routes: tuple[Route, ...], where: str) -> Iterator[Branch]:
    """The route of each branch: a route for a fraction of requests splits the walk."""
    rejected: list[Rejection] = []
    for number, route in enumerate(routes):
        verdict, why = judge(walk, exchange, route.match, f"{where}.routes[{number}]")
        what = f"routes[{number}]" + (f" {route.name}" if route.name else "")
        if verdict is not True:
            rejected.append(Rejection(what, why))
            continue
        share = _share(walk, route.match)
        if share > 0:
            yield walk.split(share), number, walk.nearest(rejected)
        if share >= 1:
            return
        rejected.append(Rejection(what, f"is for {share:.4g} of the requests only"))
        walk = walk.split(1 - share)
    yield walk, None, walk.nearest(rejected)


def _share(walk: Walk, match: RouteMatch) -> float:
    if match.runtime_fraction is None or not walk.profile.match_headers:
        return 1.0
    return match.runtime_fraction.default_value.share


def judge(walk: Walk, exchange: Exchange, match: RouteMatch, where: str) -> tuple[Verdict, str]:
    """Whether a match holds, and if not why. What cannot be judged counts as not matching and is noted."""
    verdict, why = _path(walk, exchange, match, where)
    if verdict is True and walk.profile.match_headers:
        failed = (each for each in _conditions(walk, exchange, match) if each[0] is not True)
        verdict, why = next(failed, (True, ""))
    if verdict is None:
        walk.unsure(where, f"{why}: taken not to match")
    return verdict, why


def _path(walk: Walk, exchange: Exchange, match: RouteMatch, where: str) -> tuple[Verdict, str]:
    path = exchange.path
    connect = exchange.request.method == "CONNECT" and exchange.request.path in ("", "/")
    if match.connect_matcher is not None:
        return exchange.request.method == "CONNECT", "is for CONNECT requests"
    if connect and walk.profile.match_headers and not match.path_match_policy:
        return False, "a CONNECT request has no path"
    if exchange.table and exchange.table.config.ignore_path_parameters_in_path_matching:
        path = "/".join(segment.partition(";")[0] for segment in path.split("/"))
    if match.safe_regex is not None:
        return full_match(match.safe_regex.regex, path), f"path {path} does not match regex {match.safe_regex.regex}"
    if match.path_match_policy is not None:
        return _policy(walk, match, path, where)
    return _literal(match, path)


def _policy(walk: Walk, match: RouteMatch, path: str, where: str) -> tuple[Verdict, str]:
    policy = match.path_match_policy
    if policy is None or policy.type != _URI_TEMPLATE:
        return None, f"path match policy {policy.type if policy else '?'} is not known here"
    template = walk.notes.read(UriTemplate, policy.typed_config, where).path_template
    return template_match(template, path), f"path {path} does not match template {template}"


def _literal(match: RouteMatch, path: str) -> tuple[Verdict, str]:
    fold = str if match.case_sensitive else str.lower
    held = fold(path)
    if match.path is not None:
        return held == fold(match.path), f"path {path} is not {match.path}"
    if match.path_separated_prefix is not None:
        base = fold(match.path_separated_prefix)
        under = held == base or held.startswith(base + "/")
        return under, f"path {path} is not {match.path_separated_prefix} or below it"
    if match.prefix is not None:
        return held.startswith(fold(match.prefix)), f"path {path} does not begin with {match.prefix}"
    return None, "asks for a path in a way that is not known here"


def _conditions(walk: Walk, exchange: Exchange, match: RouteMatch) -> Iterator[tuple[Verdict, str]]:
    for each in match.headers:
        values = exchange.values(each.name)
        shown = ",".join(values) if values else "absent"
        yield matchers.header(each, values), f"header {each.name} ({shown}) does not match"
    if match.query_parameters:
        given = _query(exchange)
        for asked in match.query_parameters:
            yield matchers.query(asked, given), f"query parameter {asked.name} does not match"
    if match.grpc is not None:
        yield exchange.request.is_grpc, "is for gRPC"
    if match.tls_context is not None:
        yield _tls(walk, match.tls_context), "the client's certificate is not as asked for"
    for each_metadata in match.dynamic_metadata:
        known: Verdict = matchers.metadata(each_metadata, dict(walk.metadata), [])
        yield (None if walk.metadata_open else known), f"dynamic metadata of {each_metadata.filter} does not match"
    for state in match.filter_state:
        held = walk.state.get(state.key)
        matched = held is not None and state.string_match is not None and matchers.string(state.string_match, held)
        yield matched or (None if walk.metadata_open else matched), f"filter state {state.key} does not match"
    if match.cookies:
        yield None, "matches cookies, which are not judged here"


def _query(exchange: Exchange) -> dict[str, str]:
    given: dict[str, str] = {}
    for pair in split_path(exchange.request.path)[1].removeprefix("?").split("&"):
        name, _, value = pair.partition("=")
        given.setdefault(unquote(name), unquote(value))
    return given


def _tls(walk: Walk, match: TlsContextMatch) -> bool:
    tls = walk.connection.tls
    presented = bool(walk.ended_tls and tls and tls.mutual)
    asked = [each for each in (match.presented, match.validated) if each is not None]
    return all(presented == each for each in asked)
