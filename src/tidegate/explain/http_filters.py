"""HTTP filters that answer, delay or refuse: each takes a branch of the walk and gives branches and ends."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from tidegate.dump.config.http import (
    DisabledOrConfig,
    ExtAuthz,
    ExtAuthzPerRoute,
    Fault,
    FaultAbort,
    LocalRateLimit,
)
from tidegate.dump.config.listener import Filter
from tidegate.dump.config.network import Rbac, RbacPerRoute, SetFilterState
from tidegate.dump.config.parts import RuntimeFraction, type_of
from tidegate.dump.config.route import CorsPolicy
from tidegate.explain import jwt, matchers, network_state, rbac
from tidegate.explain.exchange import Exchange
from tidegate.explain.extensions import body, http_kind
from tidegate.explain.logic import all_of, any_of
from tidegate.explain.trace import End
from tidegate.explain.walk import Walk, duration

Outcome = Iterable[Walk | End]
_WRAPPER = "envoy.config.route.v3.FilterConfig"
_RBAC_NAMESPACE = "envoy.filters.http.rbac"


class Asked(NamedTuple):
    """A filter's own configuration, and what the route says of it, the most specific first."""

    exchange: Exchange
    own: dict[str, Any]
    per_route: list[Any]
    where: str


def run(walk: Walk, exchange: Exchange, each: Filter, where: str) -> Outcome:
    """What one filter makes of a request: the walk goes on, perhaps split, or ends."""
    asked = _asked(walk, exchange, each, where)
    if asked is None:
        return [walk]
    kind = http_kind(each)
    if kind in _HANDLERS:
        return _HANDLERS[kind](walk, asked)
    if kind == "on_demand":
        return [walk.with_(on_demand="odcds" in asked.own)]
    if kind == "original_src":
        return [walk.with_(keeps_source=True)]
    if kind != "inert":
        walk.unsure(where, f"HTTP filter {kind or each.name or '?'} is not known here: taken to let the request pass")
        return [walk.with_(metadata_open=True)]
    return [walk]


def _asked(walk: Walk, exchange: Exchange, each: Filter, where: str) -> Asked | None:
    """None where the filter is switched off for this request."""
    per_route = []
    disabled = each.disabled
    levels = exchange.per_filter(each.name)
    for raw in levels:
        if type_of(raw) == _WRAPPER:
            wrapper = walk.notes.read(DisabledOrConfig, raw, where)
            per_route += [wrapper.config] if wrapper.config else []
        else:
            per_route.append(raw)
    if levels:
        first = levels[0]
        disabled = type_of(first) == _WRAPPER and walk.notes.read(DisabledOrConfig, first, where).disabled
    return None if disabled else Asked(exchange, body(each), per_route, where)


def _shared(fraction: RuntimeFraction | None, otherwise: float) -> float:
    return otherwise if fraction is None else fraction.default_value.share


def _fault(walk: Walk, asked: Asked) -> Iterator[Walk | End]:
    raw = asked.per_route[0] if asked.per_route else asked.own
    fault = walk.notes.read(Fault, raw, asked.where)
    if not _concerned(asked.exchange, fault):
        yield walk
        return
    _by_header(walk, asked.exchange, fault, asked.where)
    facts = {"perRoute": True} if asked.per_route else {}
    for branch in _delayed(walk, fault, facts):
        yield from _aborted(branch, fault.abort, facts)


def _concerned(exchange: Exchange, fault: Fault) -> bool:
    if fault.upstream_cluster and fault.upstream_cluster != exchange.cluster:
        return False
    nodes = exchange.values("x-envoy-downstream-service-node")
    if fault.downstream_nodes and not set(nodes) & set(fault.downstream_nodes):
        return False
    return all_of(matchers.header(each, exchange.values(each.name)) for each in fault.headers) is True


def _by_header(walk: Walk, exchange: Exchange, fault: Fault, where: str) -> None:
    asked = (
        ("x-envoy-fault-delay-request", fault.delay.header_delay if fault.delay else None),
        ("x-envoy-fault-abort-request", fault.abort.header_abort if fault.abort else None),
    )
    for name, allowed in asked:
        if allowed is not None and exchange.values(name):
            walk.unsure(where, f"the request asks for a fault by {name}, which is not judged here")


def _delayed(walk: Walk, fault: Fault, facts: dict[str, Any]) -> Iterator[Walk]:
    delay = duration(fault.delay.fixed_delay) if fault.delay else duration("0")
    share = fault.delay.percentage.share if fault.delay and delay else 0.0
    if share < 1:
        yield walk.split(1 - share)
    if share > 0:
        seen = walk.split(share).later(delay)
        why = f"delays {100 * share:.6g}% of the requests by {delay}"
        yield seen.step("http_filter", "HTTPFault", why=why, facts=facts)


def _aborted(walk: Walk, abort: FaultAbort | None, facts: dict[str, Any]) -> Iterator[Walk | End]:
    share = abort.percentage.share if abort and (abort.http_status or abort.grpc_status is not None) else 0.0
    if share < 1:
        yield walk.split(1 - share)
    if abort is not None and share > 0:
        grpc = abort.grpc_status is not None
        status = 200 if grpc else abort.http_status
        answer = f"gRPC status {abort.grpc_status}" if grpc else str(status)
        words = f"aborts {100 * share:.6g}% of the requests ({answer})"
        seen = walk.split(share).step("http_filter", "HTTPFault", why=words, facts=facts)
        why = f"a fault is injected: {answer}"
        yield seen.end("direct_response", why, http_status=status, response_flags=("FI",))


def _rbac(walk: Walk, asked: Asked) -> Outcome:
    own = asked.own
    if asked.per_route:
        override = walk.notes.read(RbacPerRoute, asked.per_route[0], asked.where)
        if override.rbac is None:
            return [walk]
        own = override.rbac
    found = walk.notes.read(Rbac, own, asked.where)
    if found.matcher is not None:
        walk.unsure(asked.where, "RBAC by matcher is not judged here: taken to allow")
    walk = _shadow(walk, asked.exchange, found, asked.where)
    if found.rules is None:
        return [walk]
    judged = rbac.judge(walk, found.rules, asked.exchange, asked.where)
    if judged.allowed is None:
        walk.unsure(asked.where, f"RBAC policy {judged.policy} cannot be judged: taken to let the request pass")
    why = rbac.in_words(judged)
    seen = walk.step("http_filter", "RBAC", judged.policy, why=why, facts={"action": judged.action})
    return [seen.end("denied", f"{why} (403)", http_status=403)] if judged.allowed is False else [seen]


def _shadow(walk: Walk, exchange: Exchange, found: Rbac, where: str) -> Walk:
    """Shadow rules decide nothing but say in metadata what they would have done, which later filters may ask for."""
    if found.shadow_rules is None:
        return walk
    judged = rbac.judge(walk, found.shadow_rules, exchange, where)
    if judged.allowed is None:
        return walk.with_(metadata_open=True)
    prefix = found.shadow_rules_stat_prefix
    written = {f"{prefix}shadow_engine_result": "allowed" if judged.allowed else "denied"}
    if judged.policy:
        written[f"{prefix}shadow_effective_policy_id"] = judged.policy
    before = walk.metadata.get(_RBAC_NAMESPACE) or {}
    return walk.with_(metadata={**walk.metadata, _RBAC_NAMESPACE: {**before, **written}})


def _cors(walk: Walk, asked: Asked) -> Outcome:
    """A preflight from a permitted origin is answered here, with 200."""
    policy = _cors_policy(walk, asked)
    preflight = asked.exchange.request.method == "OPTIONS" and asked.exchange.values("access-control-request-method")
    origin = asked.exchange.values("origin")
    if asked.exchange.action is None:
        return [walk]  # only a request on its way to a cluster has a policy
    if policy is None or not preflight or not origin or _shared(policy.filter_enabled, 1.0) <= 0:
        return [walk]
    permitted = any_of(matchers.string(each, origin[0]) for each in policy.allow_origin_string_match)
    if permitted is not True and policy.forward_not_matching_preflights:
        return [walk]
    why = "answers a CORS preflight"
    return [walk.step("http_filter", "Cors", why=why).end("direct_response", f"the proxy {why}", http_status=200)]


def _cors_policy(walk: Walk, asked: Asked) -> CorsPolicy | None:
    if asked.per_route:
        return walk.notes.read(CorsPolicy, asked.per_route[0], asked.where)
    older = asked.exchange.action.cors if asked.exchange.action else None
    return older or (asked.exchange.host.cors if asked.exchange.host else None)


def _ext_authz(walk: Walk, asked: Asked) -> Outcome:
    if asked.per_route and walk.notes.read(ExtAuthzPerRoute, asked.per_route[0], asked.where).disabled:
        return [walk]
    found = walk.notes.read(ExtAuthz, asked.own, asked.where)
    enabled: bool | None = _shared(found.filter_enabled, 1.0) > 0
    if found.filter_enabled_metadata is not None:
        known = matchers.metadata(found.filter_enabled_metadata, dict(walk.metadata), [])
        enabled = None if walk.metadata_open else known
    if enabled is False:
        return [walk]
    walk.unsure(asked.where, "an authorization service is asked: taken to allow the request")
    why = "asks an authorization service, whose answer is not known here"
    return [walk.step("http_filter", "ExtAuthz", why=why).with_(metadata_open=True)]


def _rate_limit(walk: Walk, asked: Asked) -> Outcome:
    raw = asked.per_route[0] if asked.per_route else asked.own
    found = walk.notes.read(LocalRateLimit, raw, asked.where)
    active = _shared(found.filter_enabled, 0.0) > 0 and _shared(found.filter_enforced, 0.0) > 0
    if found.token_bucket is None or not active:
        return [walk]
    bucket = found.token_bucket
    limit = f"{bucket.max_tokens} requests, refilled by {bucket.tokens_per_fill} every {bucket.fill_interval}"
    facts = {"maxTokens": bucket.max_tokens, "fillInterval": bucket.fill_interval}
    return [walk.step("http_filter", "LocalRateLimit", why=f"answers 429 beyond {limit}", facts=facts)]


def _jwt(walk: Walk, asked: Asked) -> Outcome:
    return jwt.judge(walk, asked.exchange, asked.own, asked.per_route, asked.where)


def _set_state(walk: Walk, asked: Asked) -> Outcome:
    raw = dict(asked.own)
    listed = raw.get("onRequestHeaders", raw.get("on_request_headers"))
    found = walk.notes.read(SetFilterState, {"onNewConnection": listed or []}, asked.where)
    return [network_state.set_state(walk, found.on_new_connection, asked.where)]


_HANDLERS: dict[str, Callable[[Walk, Asked], Outcome]] = {
    "fault": _fault,
    "rbac": _rbac,
    "cors": _cors,
    "ext_authz": _ext_authz,
    "local_ratelimit": _rate_limit,
    "jwt_authn": _jwt,
    "set_filter_state": _set_state,
}
