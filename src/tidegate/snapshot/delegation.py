"""One route of a delegate VirtualService under the route of the root that names it.

The root says which requests are the delegate's, so every match of the delegate must lie within one of the root's;
what the delegate leaves unsaid it takes from the root.
"""

from collections.abc import Mapping

from msgspec.structs import replace

from tidegate.api.networking import HTTPMatchRequest, HTTPRoute, StringMatch

_INHERITED = (
    "rewrite",
    "direct_response",
    "timeout",
    "retries",
    "fault",
    "mirror",
    "mirror_percent",
    "mirror_percentage",
    "cors_policy",
    "headers",
)


def merge_route(root: HTTPRoute, route: HTTPRoute) -> HTTPRoute | None:
    """The delegate's ``route`` narrowed by the root's; None when one of its matches lies outside of the root's."""
    match = _matches(root.match, route.match)
    if match is None:
        return None
    inherited = {f: getattr(root, f) for f in _INHERITED if getattr(route, f) is None}
    mirrors = route.mirrors or root.mirrors
    return replace(route, name=_joined(root.name, route.name), match=match, mirrors=mirrors, **inherited)


def _joined(root: str, own: str) -> str:
    return f"{root}-{own}" if root and own else root or own


def _matches(
    root: tuple[HTTPMatchRequest, ...], own: tuple[HTTPMatchRequest, ...]
) -> tuple[HTTPMatchRequest, ...] | None:
    if not root or not own:
        return root or own
    found: list[HTTPMatchRequest] = []
    for match in own:
        within = [_narrowed(outer, match) for outer in root if _is_within(outer, match)]
        if not within:
            return None
        found.extend(within)
    return tuple(found)


def _is_within(outer: HTTPMatchRequest, inner: HTTPMatchRequest) -> bool:
    strings = all(
        _text_within(getattr(outer, name), getattr(inner, name)) for name in ("uri", "scheme", "method", "authority")
    )
    tables = all(
        _table_within(getattr(outer, name), getattr(inner, name))
        for name in ("headers", "without_headers", "query_params")
    )
    labels = all(outer.source_labels.get(k, v) == v for k, v in inner.source_labels.items())
    gateways = not outer.gateways or not inner.gateways or set(inner.gateways) <= set(outer.gateways)
    ports = not outer.port or not inner.port or outer.port == inner.port
    namespaces = not outer.source_namespace or inner.source_namespace in ("", outer.source_namespace)
    same_case = outer.ignore_uri_case == inner.ignore_uri_case
    return strings and tables and labels and gateways and ports and namespaces and same_case


def _table_within(outer: Mapping[str, StringMatch], inner: Mapping[str, StringMatch]) -> bool:
    return all(_text_within(outer.get(name), match) for name, match in inner.items())


def _text_within(outer: StringMatch | None, inner: StringMatch | None) -> bool:
    """Whether every text of ``inner`` is surely one of ``outer``; of regular expressions nothing is sure."""
    if outer is None or inner is None or outer == StringMatch():
        return True
    if outer.regex or inner.regex:
        return False
    if outer.exact:
        return inner.exact == outer.exact
    return (inner.exact or inner.prefix or "").startswith(outer.prefix or "")


def _narrowed(outer: HTTPMatchRequest, inner: HTTPMatchRequest) -> HTTPMatchRequest:
    return replace(
        inner,
        name=_joined(outer.name, inner.name),
        uri=inner.uri or outer.uri,
        scheme=inner.scheme or outer.scheme,
        method=inner.method or outer.method,
        authority=inner.authority or outer.authority,
        headers={**outer.headers, **inner.headers},
        without_headers={**outer.without_headers, **inner.without_headers},
        query_params={**outer.query_params, **inner.query_params},
        port=inner.port or outer.port,
        source_labels={**outer.source_labels, **inner.source_labels},
        source_namespace=inner.source_namespace or outer.source_namespace,
        gateways=inner.gateways or outer.gateways,
        stat_prefix=inner.stat_prefix or outer.stat_prefix,
    )
