"""Matches of VirtualServices: what is decided when configuration is built, and what Envoy decides per request.

https://istio.io/latest/docs/reference/config/networking/virtual-service/#HTTPMatchRequest
"""

from collections.abc import Iterable, Iterator
from typing import Any, Protocol

from tidegate.api.networking import HTTPMatchRequest, StringMatch
from tidegate.envoy import protos
from tidegate.scope.proxy import ProxyKind

MESH_GATEWAY = "mesh"
CLAIM_PREFIXES = ("@request.auth.claims.", "@request.auth.claims[")
JWT_FILTER, JWT_PAYLOAD = "envoy.filters.http.jwt_authn", "payload"
"""Where the JWT filter leaves the claims of a request's token."""


class StaticMatch(Protocol):
    """The part that HTTP, TLS and TCP matches have in common: facts about the caller and the listener."""

    @property
    def port(self) -> int: ...
    @property
    def source_labels(self) -> dict[str, str]: ...
    @property
    def source_namespace(self) -> str: ...
    @property
    def gateways(self) -> tuple[str, ...]: ...


def holds(match: StaticMatch, port: int, proxy: ProxyKind, gateway: str = MESH_GATEWAY) -> bool:
    """Whether a match can hold at all for this proxy on a listener of this port (0: a unix socket), or at a gateway on
    a server of this port. ``gateway``: the Gateway's ``namespace/name``."""
    if match.gateways and gateway not in match.gateways:
        return False
    return _is_from(match, port, proxy)


def http_holds(match: HTTPMatchRequest, port: int, proxy: ProxyKind, gateway: str = MESH_GATEWAY) -> bool:
    """As :func:`holds`, for HTTP, where Istio asks nothing else of the caller once gateways are named."""
    if match.gateways:
        return gateway in match.gateways and match.port in (0, port)
    return _is_from(match, port, proxy)


def _is_from(match: StaticMatch, port: int, proxy: ProxyKind) -> bool:
    if match.port and match.port != port:
        return False
    if match.source_namespace and match.source_namespace != proxy.namespace:
        return False
    labels = dict(proxy.labels)
    return all(labels.get(key) == value for key, value in match.source_labels.items())


def route_match(match: HTTPMatchRequest | None) -> Any:
    """RouteMatch of one HTTPMatchRequest; None matches everything. Claims of a JWT are asked for as a filter has left
    them: at a gateway. No sidecar checks tokens of what its own application sends, and there such a match never
    holds."""
    if match is None:
        return protos.RouteMatch(prefix="/")
    found = protos.RouteMatch(
        headers=_headers(match),
        query_parameters=[_query(name, match.query_params[name]) for name in sorted(match.query_params)],
        case_sensitive=protos.boolean(not match.ignore_uri_case),
    )
    found.dynamic_metadata.extend(_claims(match))
    uri = match.uri or StringMatch()
    if uri.exact is not None:
        found.path = uri.exact
    elif uri.regex is not None:
        found.safe_regex.regex = uri.regex
    else:
        found.prefix = uri.prefix or "/"
    return found


def is_catch_all(match: Any) -> bool:
    """Whether a RouteMatch takes every request: routes after it can never be reached."""
    if match.headers or match.query_parameters or match.dynamic_metadata:
        return False
    kind = match.WhichOneof("path_specifier")
    return (kind == "prefix" and match.prefix == "/") or (
        kind == "safe_regex" and match.safe_regex.regex in (".*", "*")
    )


def text(match: Any) -> str:
    """How a match is written in the name of a traced operation: ``/api*``, ``/exact``, the regex as it is."""
    kind = match.WhichOneof("path_specifier")
    if kind == "prefix":
        return f"{match.prefix}*"
    return match.path if kind == "path" else str(match.safe_regex.regex)


def _claims(match: HTTPMatchRequest) -> Iterator[Any]:
    """Matchers of ``@request.auth.claims.a.b`` and ``@request.auth.claims[a][b]``.

    https://istio.io/latest/docs/tasks/security/authentication/jwt-route/
    """
    for listed, inverted in ((match.headers, False), (match.without_headers, True)):
        for name in sorted(listed):
            if name.startswith(CLAIM_PREFIXES):
                yield _claim(name, listed[name], inverted)


def _claim(name: str, value: StringMatch, inverted: bool) -> Any:
    bracketed, rest = name.startswith(CLAIM_PREFIXES[1]), name.removeprefix(CLAIM_PREFIXES[0].removesuffix("."))
    keys = rest.strip("[]").split("][") if bracketed else rest.removeprefix(".").split(".")
    found = protos.MetadataMatcher(filter=JWT_FILTER, invert=inverted)
    for key in (JWT_PAYLOAD, *keys):
        found.path.add(key=key)
    wanted = string(value)
    if wanted is None:
        found.value.present_match = True
    else:  # a claim is a word, or a list that has it
        found.value.or_match.value_matchers.add().string_match.CopyFrom(wanted)
        found.value.or_match.value_matchers.add().list_match.one_of.string_match.CopyFrom(wanted)
    return found


def _headers(match: HTTPMatchRequest) -> Iterator[Any]:
    for name in sorted(match.headers):
        if not name.startswith(CLAIM_PREFIXES):
            yield header(name, match.headers[name])
    for name in sorted(match.without_headers):
        if not name.startswith(CLAIM_PREFIXES):
            yield _without(name, match.without_headers[name])
    for name, value in ((":method", match.method), (":authority", match.authority), (":scheme", match.scheme)):
        if value is not None:
            yield header(name, value)


def header(name: str, value: StringMatch) -> Any:
    """HeaderMatcher: by value, or by presence when nothing (or ``*``) is asked of the value."""
    matcher = string(value)
    if matcher is None:
        return protos.HeaderMatcher(name=name, present_match=True)
    return protos.HeaderMatcher(name=name, string_match=matcher)


def _without(name: str, value: StringMatch) -> Any:
    found = header(name, value)
    found.invert_match = True
    if found.WhichOneof("header_match_specifier") == "string_match":
        found.treat_missing_header_as_empty = True
    return found


def _query(name: str, value: StringMatch) -> Any:
    matcher = string(value)
    if matcher is None:
        return protos.QueryParameterMatcher(name=name, present_match=True)
    return protos.QueryParameterMatcher(name=name, string_match=matcher)


def string(value: StringMatch) -> Any | None:
    """StringMatcher; None for a match that any value satisfies."""
    if value.exact is not None:
        return protos.StringMatcher(exact=value.exact)
    if value.prefix:
        return protos.StringMatcher(prefix=value.prefix)
    if value.regex is not None and value.regex != "*":
        return protos.StringMatcher(safe_regex=protos.RegexMatcher(regex=value.regex))
    return None


def strings(values: Iterable[StringMatch]) -> list[Any]:
    """StringMatchers of a list, those that match anything written as the regex ``.*``."""
    anything = protos.StringMatcher(safe_regex=protos.RegexMatcher(regex=".*"))
    return [string(value) or anything for value in values]
