"""Listener filters: what they learn from the first bytes, and what happens when no bytes come."""

from typing import Any

from tidegate.dump.config.listener import ListenerFilter, PortPredicate
from tidegate.dump.config.parts import Part, type_of
from tidegate.explain.config import RunningListener
from tidegate.explain.logic import Verdict, all_of, any_of, negated
from tidegate.explain.trace import End
from tidegate.explain.walk import Walk, duration
from tidegate.kit.durations import SECOND, Duration

_KINDS = {
    "envoy.extensions.filters.listener.original_dst.v3.OriginalDst": "original_dst",
    "envoy.extensions.filters.listener.original_src.v3.OriginalSrc": "original_src",
    "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector": "tls_inspector",
    "envoy.extensions.filters.listener.http_inspector.v3.HttpInspector": "http_inspector",
    "envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol": "proxy_protocol",
    "envoy.extensions.filters.listener.local_ratelimit.v3.LocalRateLimit": "local_ratelimit",
}
_READERS = frozenset({"tls_inspector", "http_inspector", "proxy_protocol"})
"""Those that wait for the client's first bytes."""
_DEFAULT_TIMEOUT = Duration(15 * SECOND)
_HTTP_ALPN = {"1.0": "http/1.0", "1.1": "http/1.1", "2": "h2c"}


class _ProxyProtocol(Part, frozen=True):
    allow_requests_without_proxy_protocol: bool = False


def inspect(walk: Walk, running: RunningListener) -> Walk | End:
    """Run a listener's filters in order. An End where the connection is stuck or closed among them."""
    walk = walk.with_(transport="", sni="", alpn=())
    for number, each in enumerate(running.listener.listener_filters):
        path = f"listenerFilters[{number}]"
        kind = _kind(each)
        if _disabled(walk, each, f"{running.where} {path}"):
            continue
        if kind in _READERS and walk.payload == "silence" and not (kind == "http_inspector" and walk.transport):
            return _waiting(walk, running, path, kind)
        walk = _seen(walk, each, kind, f"{running.where} {path}")
    return walk


def _kind(each: ListenerFilter) -> str:
    full = type_of(each.typed_config)
    if full:
        return _KINDS.get(full, full)
    last = each.name.rpartition(".")[2]  # filters without configuration are found by their well-known name
    return last if last in _KINDS.values() else each.name


def _seen(walk: Walk, each: ListenerFilter, kind: str, where: str) -> Walk:
    if kind == "original_src":
        return walk.with_(keeps_source=True)
    if kind == "tls_inspector":
        return _tls_seen(walk)
    if kind == "http_inspector":
        return _http_seen(walk)
    if kind == "proxy_protocol":
        settings = walk.notes.read(_ProxyProtocol, each.typed_config, where)
        if not settings.allow_requests_without_proxy_protocol:
            walk.unsure(where, "taken to begin with a PROXY protocol header, without which it is closed")
    elif kind not in ("original_dst", "local_ratelimit"):
        walk.unsure(where, f"listener filter {kind or '?'} is not known here: taken to let the connection pass")
    return walk


def _tls_seen(walk: Walk) -> Walk:
    hello = walk.connection.tls
    if walk.payload != "tls" or hello is None:
        return walk
    return walk.with_(transport="tls", sni=hello.sni.lower(), alpn=hello.alpn)


def _http_seen(walk: Walk) -> Walk:
    request = walk.connection.http
    if walk.transport == "tls" or walk.payload != "http" or request is None:
        return walk
    return walk.with_(alpn=(_HTTP_ALPN[request.version],))


def _waiting(walk: Walk, running: RunningListener, path: str, kind: str) -> Walk | End:
    """Nothing comes from the client: the time-out decides, and the filters after this one never run."""
    listener = running.listener
    timeout = duration(listener.listener_filters_timeout, _DEFAULT_TIMEOUT)
    seen = walk.step(
        "listener_filter",
        kind,
        path=path,
        why="waits for the client's first bytes, which do not come: the server speaks first",
        facts={"listenerFiltersTimeout": str(timeout)},
    )
    if not timeout:
        return seen.end("waits", "protocol detection never ends: the client sends nothing and there is no time-out")
    if listener.continue_on_listener_filters_timeout:
        return seen.later(timeout)
    return seen.later(timeout).end("closed", f"nothing came from the client within {timeout}")


def _disabled(walk: Walk, each: ListenerFilter, where: str) -> bool:
    if each.filter_disabled is None:
        return False
    verdict = _applies(walk, each.filter_disabled, where)
    if verdict is None:
        walk.unsure(where, "whether the filter is disabled cannot be told: taken to be enabled")
    return verdict is True


def _applies(walk: Walk, rule: PortPredicate, where: str, depth: int = 0) -> Verdict:
    """ListenerFilterChainMatchPredicate, of the destination port."""
    if depth > 20:
        return None
    if rule.any_match:
        return True
    if rule.destination_port_range is not None:
        return walk.port in rule.destination_port_range
    if rule.not_match is not None:
        inner = walk.notes.read(PortPredicate, rule.not_match, where)
        return negated(_applies(walk, inner, where, depth + 1))
    if rule.or_match is not None:
        return any_of(_applies(walk, each, where, depth + 1) for each in _rules(walk, rule.or_match, where))
    if rule.and_match is not None:
        return all_of(_applies(walk, each, where, depth + 1) for each in _rules(walk, rule.and_match, where))
    return None


def _rules(walk: Walk, raw: dict[str, Any], where: str) -> list[PortPredicate]:
    listed = raw.get("rules")
    return [walk.notes.read(PortPredicate, each, where) for each in listed] if isinstance(listed, list) else []
