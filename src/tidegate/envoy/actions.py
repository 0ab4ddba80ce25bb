"""What one rule of a VirtualService does with a request: the pieces of a Route besides its match."""

import base64
import binascii
import math
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from tidegate.api.fields import Duration
from tidegate.api.networking import (
    ConsistentHashLB,
    CorsPolicy,
    DerivePort,
    Destination,
    HeaderOperations,
    Headers,
    HTTPDirectResponse,
    HTTPFaultInjection,
    HTTPMirrorPolicy,
    HTTPRedirect,
    HTTPRetry,
    HTTPRewrite,
    HTTPRoute,
    Percent,
    UnmatchedPreflights,
)
from tidegate.envoy import matches, protos

DEFAULT_RETRY_ON = "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes"
DEFAULT_ATTEMPTS = 2
HOST_SELECTION_ATTEMPTS = 5
FAULT_FILTER = "envoy.filters.http.fault"
CORS_FILTER = "envoy.filters.http.cors"

GRPC_STATUS = {
    name: number
    for number, name in enumerate(
        (
            "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
            "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE",
            "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
        )
    )
}  # fmt: skip
"""https://grpc.github.io/grpc/core/md_doc_statuscodes.html"""

_REDIRECT_CODES = {0: 0, 301: 0, 302: 1, 303: 2, 307: 3, 308: 4}
_DEFAULT_PORTS = {"http": 80, "https": 443}


@lru_cache(maxsize=1024)
def retry_policy(retry: HTTPRetry | None, hashed: bool) -> Any | None:
    """RetryPolicy; None retries as Istio does by default, attempts of 0 switch retries off (no policy).

    ``hashed``: the destination is chosen by hash, and a retry that avoids earlier hosts would break affinity.
    Never change what is returned.
    """
    given = retry if retry is not None else HTTPRetry(attempts=DEFAULT_ATTEMPTS)
    if given.attempts <= 0:
        return None
    conditions, codes = _conditions(given.retry_on or DEFAULT_RETRY_ON)
    policy = protos.RetryPolicy(
        retry_on=conditions,
        retriable_status_codes=codes,
        num_retries=protos.u32(given.attempts),
        host_selection_retry_max_attempts=HOST_SELECTION_ATTEMPTS,
    )
    avoid = given.retry_ignore_previous_hosts
    if avoid if avoid is not None else not hashed:
        policy.retry_host_predicate.add(
            name="envoy.retry_host_predicates.previous_hosts",
            typed_config=protos.any_of(protos.PreviousHostsPredicate()),
        )
    _retry_times(policy, given)
    return policy


def _retry_times(policy: Any, given: HTTPRetry) -> None:
    if given.per_try_timeout is not None:
        policy.per_try_timeout.CopyFrom(protos.duration(given.per_try_timeout))
    if given.retry_remote_localities:
        policy.retry_priority.name = "envoy.retry_priorities.previous_priorities"
        policy.retry_priority.typed_config.CopyFrom(protos.any_of(protos.PreviousPrioritiesConfig(update_frequency=2)))
    if given.backoff is not None and given.backoff > 0:
        policy.retry_back_off.base_interval.CopyFrom(protos.duration(given.backoff))


def _conditions(retry_on: str) -> tuple[str, list[int]]:
    """Envoy's retry_on and the status codes that stood among its words."""
    words = [word.strip() for word in retry_on.split(",") if word.strip()]
    codes = [int(word) for word in words if word.isascii() and word.isdigit() and 100 <= int(word) < 600]
    names = [word for word in words if not (word.isascii() and word.isdigit())]
    if codes and "retriable-status-codes" not in names:
        names.append("retriable-status-codes")
    return ",".join(names), codes


def set_timeout(action: Any, timeout: Duration | None) -> None:
    """Limit of the whole request, and of what a caller may ask by ``grpc-timeout``; 0 is no limit.

    Envoy ignores ``timeout`` on a route that has ``max_stream_duration``, and max_grpc_timeout is deprecated and warned
    of at every update. So a route with a limit has ``timeout`` alone: it also ends gRPC calls, and a caller's own
    shorter ``grpc-timeout`` is kept by the caller.
    """
    value = protos.duration(timeout or Duration(0))
    action.timeout.CopyFrom(value)
    if not timeout:
        action.max_stream_duration.grpc_timeout_header_max.CopyFrom(value)


def rewrite(action: Any, given: HTTPRewrite) -> None:
    if given.uri_regex_rewrite is not None:
        action.regex_rewrite.pattern.regex = given.uri_regex_rewrite.match
        action.regex_rewrite.substitution = given.uri_regex_rewrite.rewrite
    elif given.uri:
        action.prefix_rewrite = given.uri
    if given.authority:
        action.host_rewrite_literal = given.authority


def redirect(given: HTTPRedirect, port: int, *, tls: bool = False) -> Any:
    """RedirectAction. ``port``: of the listener, for FROM_REQUEST_PORT; ``tls``: requests come by https."""
    action = protos.RedirectAction(
        host_redirect=given.authority, response_code=_REDIRECT_CODES.get(given.redirect_code, 0)
    )
    if given.prefix_rewrite:
        action.prefix_rewrite = given.prefix_rewrite
    else:
        action.path_redirect = given.uri
    if given.scheme:
        action.scheme_redirect = given.scheme
    target = given.port or 0
    if given.derive_port is DerivePort.FROM_REQUEST_PORT:
        target = port
    if target != _DEFAULT_PORTS.get(given.scheme or ("https" if tls else "http")):
        action.port_redirect = target
    return action


def direct_response(given: HTTPDirectResponse) -> Any:
    action = protos.DirectResponseAction(status=given.status)
    body = given.body
    if body is not None and body.string is not None:
        action.body.inline_string = body.string
    elif body is not None and body.bytes_ is not None:
        action.body.inline_bytes = _decoded(body.bytes_)
    return action


def _decoded(text: str) -> bytes:
    """Standard or URL-safe base64, as protobuf's JSON form allows; what is no base64 counts as nothing."""
    padded = text.replace("-", "+").replace("_", "/") + "=" * (-len(text) % 4)
    try:
        return base64.b64decode(padded)
    except (binascii.Error, ValueError):
        return b""


def fault(given: HTTPFaultInjection) -> Any:
    """HTTPFault of one route; it replaces the empty one in the filter chain."""
    found = protos.HTTPFault()
    if given.delay is not None:
        found.delay.percentage.CopyFrom(percentage(given.delay.percentage, given.delay.percent))
        if given.delay.fixed_delay is not None:
            found.delay.fixed_delay.CopyFrom(protos.duration(given.delay.fixed_delay))
        else:
            found.ClearField("delay")
    abort = given.abort
    if abort is not None:
        if abort.http_status is not None:
            found.abort.http_status = max(abort.http_status, 0)
        elif abort.grpc_status is not None:
            found.abort.grpc_status = GRPC_STATUS.get(abort.grpc_status.upper(), GRPC_STATUS["UNKNOWN"])
        if abort.percentage is not None:
            found.abort.percentage.CopyFrom(percentage(abort.percentage, 0))
    return found


def percentage(share: Percent | None, whole: int) -> Any:
    """FractionalPercent of a share in per cent, to one part in a million; ``whole`` per cent without it."""
    if share is None:
        return protos.FractionalPercent(numerator=max(whole, 0))
    parts = int(min(max(share.value, 0.0), 100.0) * 10_000) if math.isfinite(share.value) else 0
    return protos.FractionalPercent(numerator=parts, denominator=protos.FractionalPercent.MILLION)


def mirrors(rule: HTTPRoute) -> Iterator[tuple[str, Destination, Any]]:
    """(field, destination, FractionalPercent) of each mirror that gets anything."""
    if rule.mirror is not None:
        share = percentage(rule.mirror_percentage, 100 if rule.mirror_percent is None else rule.mirror_percent)
        if share.numerator:
            yield "mirror", rule.mirror, share
    for index, each in enumerate(rule.mirrors):
        share = _mirror_share(each)
        if each.destination is not None and share.numerator:
            yield f"mirrors[{index}]", each.destination, share


def _mirror_share(given: HTTPMirrorPolicy) -> Any:
    return percentage(given.percentage, 100)


def mirror_policy(cluster: str, share: Any) -> Any:
    return protos.RouteAction.RequestMirrorPolicy(
        cluster=cluster,
        runtime_fraction=protos.RuntimeFractionalPercent(default_value=share),
        trace_sampled=protos.boolean(False),
        disable_shadow_host_suffix_append=True,
    )


def cors(given: CorsPolicy) -> Any:
    origins = matches.strings(given.allow_origins)
    origins.extend(protos.StringMatcher(exact=o) for o in given.allow_origin if not given.allow_origins)
    policy = protos.CorsPolicyPb(
        allow_origin_string_match=origins,
        allow_methods=",".join(given.allow_methods),
        allow_headers=",".join(given.allow_headers),
        expose_headers=",".join(given.expose_headers),
        forward_not_matching_preflights=protos.boolean(given.unmatched_preflights is not UnmatchedPreflights.IGNORE),
    )
    policy.filter_enabled.default_value.numerator = 100
    if given.allow_credentials is not None:
        policy.allow_credentials.value = given.allow_credentials
    if given.max_age is not None:
        policy.max_age = str(int(given.max_age.seconds))
    return policy


def apply_headers(message: Any, given: Headers | None) -> str:
    """Put header operations on a Route or a weighted cluster; returns the authority that they set, or ""."""
    if given is None:
        return ""
    authority = ""
    if given.request is not None:
        authority = _authority(given.request)
        message.request_headers_to_add.extend(_header_options(given.request))
        message.request_headers_to_remove.extend(n for n in given.request.remove if _changeable(n))
    if given.response is not None:
        message.response_headers_to_add.extend(_header_options(given.response))
        message.response_headers_to_remove.extend(n for n in given.response.remove if _changeable(n))
    return authority


def _authority(operations: HeaderOperations) -> str:
    """Of both lists, ``set`` counts."""
    given = (*sorted(operations.set.items()), *sorted(operations.add.items()))
    return next((value for name, value in given if name.lower() in (":authority", "host") and value), "")


def _changeable(name: str) -> bool:
    """Envoy refuses changes of pseudo-headers and of Host by header operations."""
    return bool(name) and not name.startswith(":") and name.lower() != "host"


def _header_options(operations: HeaderOperations) -> Iterator[Any]:
    for name in sorted(filter(_changeable, operations.set)):
        yield protos.HeaderValueOption(
            header=protos.HeaderValue(key=name, value=operations.set[name]),
            append_action=protos.HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD,
        )
    for name in sorted(filter(_changeable, operations.add)):
        yield protos.HeaderValueOption(header=protos.HeaderValue(key=name, value=operations.add[name]))


def hash_policy(given: ConsistentHashLB) -> Any | None:
    """RouteAction.HashPolicy of a DestinationRule's consistent hash; None when no key is given."""
    found = protos.RouteAction.HashPolicy()
    if given.http_header_name:
        found.header.header_name = given.http_header_name
    elif given.http_cookie is not None:
        cookie = given.http_cookie
        found.cookie.name, found.cookie.path = cookie.name, cookie.path
        if cookie.ttl is not None:
            found.cookie.ttl.CopyFrom(protos.duration(cookie.ttl))
        for each in cookie.attributes:
            found.cookie.attributes.add(name=each.name, value=each.value)
    elif given.use_source_ip:
        found.connection_properties.source_ip = True
    elif given.http_query_parameter_name:
        found.query_parameter.name = given.http_query_parameter_name
    else:
        return None
    return found
