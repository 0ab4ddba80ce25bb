"""Rules for one HTTP route of a VirtualService."""

import re
from collections.abc import Sequence

from tidegate.api.networking import (
    CorsPolicy,
    Destination,
    Headers,
    HTTPDirectResponse,
    HTTPFaultInjection,
    HTTPFaultInjectionAbort,
    HTTPFaultInjectionDelay,
    HTTPMatchRequest,
    HTTPRedirect,
    HTTPRetry,
    HTTPRewrite,
    HTTPRoute,
    HTTPRouteDestination,
    L4MatchAttributes,
    RegexRewrite,
    RouteDestination,
    TLSMatchAttributes,
)
from tidegate.api.validation.findings import Findings
from tidegate.api.validation.headers import (
    JWT_CLAIM,
    check_cors_name,
    check_headers,
    check_match_name,
    is_authority,
)
from tidegate.api.validation.names import (
    check_duration,
    check_fqdn,
    check_label,
    check_labels,
    check_percent,
    check_port,
    check_regex,
    check_share,
    check_string_match,
    check_wildcard,
)
from tidegate.kit.durations import SECOND

_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "CONNECT", "OPTIONS", "TRACE", "*"))
_RETRY_ON = frozenset(
    (
        "5xx", "gateway-error", "reset", "reset-before-request", "connect-failure", "retriable-4xx",
        "refused-stream", "retriable-status-codes", "retriable-headers", "envoy-ratelimited",
        "http3-post-connect-failure", "cancelled", "deadline-exceeded", "internal", "resource-exhausted",
        "unavailable",
    )
)  # fmt: skip
_GRPC_STATUS = frozenset(
    (
        "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
        "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE",
        "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
    )
)  # fmt: skip
_STATUS_CODES = frozenset(
    (
        *range(100, 104), *range(200, 209), 226, *range(300, 306), 307, 308, *range(400, 419), *range(421, 427),
        428, 429, 431, 451, *range(500, 509), 510, 511,
    )
)  # fmt: skip
"""Codes of IANA's registry, by which ``retryOn`` may name a status."""
_NUMBER = re.compile(r"\d{3}")
_BODY_LIMIT, _BODY_ADVICE = 1024 * 1024, 100 * 1024


def check_http_route(path: str, route: HTTPRoute, out: Findings, *, delegate: bool, gateway: bool) -> None:
    """``delegate``: the route is of a VirtualService without hosts; ``gateway``: it is bound to gateways alone."""
    if delegate and route.delegate is not None:
        out.error(f"{path}.delegate", "a delegate may not delegate further")
    _check_conflicts(path, route, out)
    for index, match in enumerate(route.match):
        check_match(f"{path}.match[{index}]", match, out, gateway=gateway)
    _check_actions(path, route, out)
    check_weights(f"{path}.route", route.route, out)
    _check_mirror(path, route, out)
    check_authority(path, route, out)
    check_duration(f"{path}.timeout", route.timeout, out)


def _check_conflicts(path: str, route: HTTPRoute, out: Findings) -> None:
    excluded: tuple[str, ...] = ()
    action = ""
    if route.delegate is not None:
        action, excluded = "delegate", ("redirect", "route")
    elif route.redirect is not None:
        action, excluded = "redirect", ("route", "fault", "rewrite", "directResponse")
    elif route.direct_response is not None:
        action, excluded = "directResponse", ("route", "fault", "rewrite")
    elif not route.route:
        out.required(f"{path}.route", "an HTTP route needs one of route, redirect, directResponse, delegate")
    given = {
        "redirect": route.redirect,
        "route": route.route or None,
        "fault": route.fault,
        "rewrite": route.rewrite,
        "directResponse": route.direct_response,
    }
    for name in excluded:
        if given[name] is not None:
            out.error(f"{path}.{name}", f"may not be set together with {action}")
    if route.delegate is None and route.mirror is not None and route.mirrors:
        out.error(f"{path}.mirrors", "may not be set together with mirror")


def _check_actions(path: str, route: HTTPRoute, out: Findings) -> None:
    if route.redirect is not None:
        check_redirect(f"{path}.redirect", route.redirect, route.match, out)
    if route.direct_response is not None:
        check_direct_response(f"{path}.directResponse", route.direct_response, out)
    if route.fault is not None:
        check_fault(f"{path}.fault", route.fault, out)
    if route.rewrite is not None:
        check_rewrite(f"{path}.rewrite", route.rewrite, out)
    if route.retries is not None:
        check_retry(f"{path}.retries", route.retries, out)
    if route.cors_policy is not None:
        check_cors(f"{path}.corsPolicy", route.cors_policy, out)
    if route.headers is not None:
        check_headers(f"{path}.headers", route.headers, out)


def check_weights(path: str, targets: Sequence[HTTPRouteDestination | RouteDestination], out: Findings) -> None:
    """Where a route leads, of any protocol."""
    total = 0
    for index, target in enumerate(targets):
        at = f"{path}[{index}]"
        if target.destination is None:
            out.required(f"{at}.destination")
        else:
            check_destination(f"{at}.destination", target.destination, out)
        if isinstance(target, HTTPRouteDestination) and target.headers is not None:
            check_headers(f"{at}.headers", target.headers, out)
        if target.weight < 0:
            out.error(f"{at}.weight", "must not be negative", target.weight)
        total += target.weight
    if len(targets) > 1 and total <= 0:
        out.error(path, "weights must add up to more than 0 when there are several destinations", total)


def check_destination(path: str, destination: Destination, out: Findings) -> None:
    if destination.host == "*":
        out.error(f"{path}.host", "must be one host", destination.host)
    else:
        check_wildcard(f"{path}.host", destination.host, out)
    if destination.subset:
        check_label(f"{path}.subset", destination.subset, out)
    if destination.port is not None:
        check_port(f"{path}.port.number", destination.port.number, out)


def _check_mirror(path: str, route: HTTPRoute, out: Findings) -> None:
    if route.mirror is not None:
        check_destination(f"{path}.mirror", route.mirror, out)
    for index, mirror in enumerate(route.mirrors):
        at = f"{path}.mirrors[{index}]"
        if mirror.destination is None:
            out.required(f"{at}.destination")
        else:
            check_destination(f"{at}.destination", mirror.destination, out)
        if mirror.percentage is not None:
            check_share(f"{at}.percentage.value", mirror.percentage.value, out)
    if route.mirror_percent is not None:
        out.warn(f"{path}.mirrorPercent", "is deprecated; use mirrorPercentage")
        if route.mirror_percent > 100:
            out.error(f"{path}.mirrorPercent", "must be from 0 to 100", route.mirror_percent)
    if route.mirror_percentage is not None:
        check_share(f"{path}.mirrorPercentage.value", route.mirror_percentage.value, out)


def check_match(path: str, match: HTTPMatchRequest, out: Findings, *, gateway: bool) -> None:
    for kind, headers in (("headers", match.headers), ("withoutHeaders", match.without_headers)):
        for name, value in headers.items():
            at = f"{path}.{kind}[{name[:120]}]"
            check_match_name(at, name, out)
            if JWT_CLAIM.fullmatch(name) and not gateway:
                out.error(at, "JWT claims can be matched at gateways only: set gateways, without mesh")
            if kind == "headers" or value.regex != "*":
                check_string_match(at, value, out)
    for name, text in (("scheme", match.scheme), ("method", match.method), ("authority", match.authority)):
        if text is not None:
            check_string_match(f"{path}.{name}", text, out)
    if match.uri is not None:
        check_string_match(f"{path}.uri", match.uri, out, empty_prefix=True)
    for name, text in match.query_params.items():
        check_string_match(f"{path}.queryParams[{name[:120]}]", text, out)
    check_client(path, match, out)
    if match.source_namespace:
        check_label(f"{path}.sourceNamespace", match.source_namespace, out)


def check_client(path: str, match: HTTPMatchRequest | TLSMatchAttributes | L4MatchAttributes, out: Findings) -> None:
    """Who asks, and at which port: conditions that matches of every protocol have."""
    if match.port:
        check_port(f"{path}.port", match.port, out)
    check_labels(f"{path}.sourceLabels", match.source_labels, out)
    check_gateways(f"{path}.gateways", match.gateways, out)


def check_gateways(path: str, gateways: Sequence[str], out: Findings) -> None:
    """Names of Gateways: ``namespace/name``, a name of the own namespace, or ``mesh``."""
    for index, gateway in enumerate(gateways):
        at = f"{path}[{index}]"
        namespace, slash, name = gateway.partition("/")
        if not slash:
            if "." in gateway:
                out.warn(at, f"{gateway[:120]!r} is the old form of a gateway's name; write namespace/name")
            check_fqdn(at, gateway, out)
            return  # as in Istio, names after one without a namespace are not looked at
        check_label(at, namespace, out)
        check_label(at, name, out)


def check_fault(path: str, fault: HTTPFaultInjection, out: Findings) -> None:
    if fault.abort is None and fault.delay is None:
        out.error(path, "must set abort, delay or both")
    if fault.abort is not None:
        check_abort(f"{path}.abort", fault.abort, out)
    if fault.delay is not None:
        if fault.delay.fixed_delay is None and fault.delay.exponential_delay is None:
            out.warn(f"{path}.delay", "no delay is set: nothing is delayed; set fixedDelay")
        check_delay(f"{path}.delay", fault.delay, out)


def check_abort(path: str, abort: HTTPFaultInjectionAbort, out: Findings) -> None:
    if abort.percentage is not None:
        check_percent(f"{path}.percentage.value", abort.percentage.value, out)
    if abort.http_status is not None:
        check_status(f"{path}.httpStatus", abort.http_status, out)
    elif abort.grpc_status is not None:
        if abort.grpc_status not in _GRPC_STATUS:
            out.error(f"{path}.grpcStatus", "must be a gRPC status name such as UNAVAILABLE", abort.grpc_status)
    elif abort.http2_error is not None:
        out.error(f"{path}.http2Error", "is not supported: use httpStatus or grpcStatus", abort.http2_error)
    else:
        out.warn(path, "no error is set: nothing is aborted; set httpStatus or grpcStatus")


def check_status(path: str, status: int, out: Findings) -> None:
    if not 200 <= status <= 600:
        out.error(path, "must be an HTTP status from 200 to 600", status)


def check_delay(path: str, delay: HTTPFaultInjectionDelay, out: Findings) -> None:
    if delay.percentage is not None:
        check_percent(f"{path}.percentage.value", delay.percentage.value, out)
    if not 0 <= delay.percent <= 100:
        out.error(f"{path}.percent", "must be from 0 to 100", delay.percent)
    elif delay.percent:
        out.warn(f"{path}.percent", "is deprecated; use percentage")
    if delay.exponential_delay is not None:
        out.error(f"{path}.exponentialDelay", "is not supported: use fixedDelay")
    check_duration(f"{path}.fixedDelay", delay.fixed_delay, out)


def check_redirect(path: str, redirect: HTTPRedirect, matches: Sequence[HTTPMatchRequest], out: Findings) -> None:
    if redirect.uri and redirect.prefix_rewrite:
        out.error(f"{path}.prefixRewrite", "may not be set together with uri")
    if redirect.prefix_rewrite and any(match.uri is not None and match.uri.prefix is None for match in matches):
        out.error(f"{path}.prefixRewrite", "needs every uri match of the route to be a prefix")
    if redirect == HTTPRedirect(redirect_code=redirect.redirect_code):
        out.error(path, "must set at least one of uri, prefixRewrite, authority, port, derivePort, scheme")
    if redirect.redirect_code and not 300 <= redirect.redirect_code <= 399:
        out.error(f"{path}.redirectCode", "must be from 300 to 399", redirect.redirect_code)
    if redirect.scheme not in ("", "http", "https"):
        out.error(f"{path}.scheme", "must be http or https", redirect.scheme)
    if redirect.port:
        check_port(f"{path}.port", redirect.port, out)


def check_direct_response(path: str, response: HTTPDirectResponse, out: Findings) -> None:
    check_status(f"{path}.status", response.status, out)
    if response.body is None:
        return
    if response.body.string is not None:
        size = len(response.body.string.encode())
    else:
        encoded = response.body.bytes_ or ""
        size = len(encoded) * 3 // 4 - encoded.count("=")
    if size > _BODY_LIMIT:
        out.error(f"{path}.body", f"must be at most {_BODY_LIMIT} bytes", size)
    elif size > _BODY_ADVICE:
        out.warn(f"{path}.body", f"{size} bytes in every proxy's configuration; keep it below {_BODY_ADVICE}")


def check_retry(path: str, retry: HTTPRetry, out: Findings) -> None:
    if retry.attempts < 0:
        out.error(f"{path}.attempts", "must not be negative", retry.attempts)
    elif retry.attempts == 0:
        for name, value in (
            ("perTryTimeout", retry.per_try_timeout),
            ("retryOn", retry.retry_on or None),
            ("retryRemoteLocalities", retry.retry_remote_localities),
        ):
            if value is not None:
                out.error(f"{path}.{name}", "has no effect when attempts is 0")
    check_duration(f"{path}.perTryTimeout", retry.per_try_timeout, out)
    check_duration(f"{path}.backoff", retry.backoff, out)
    _check_retry_on(f"{path}.retryOn", retry.retry_on, out)


def _check_retry_on(path: str, conditions: str, out: Findings) -> None:
    for condition in conditions.split(",") if conditions else ():
        if _NUMBER.fullmatch(condition) and int(condition) in _STATUS_CODES:
            continue
        if condition not in _RETRY_ON:
            out.error(path, f"{condition[:60]!r} is not a status code nor one of {', '.join(sorted(_RETRY_ON))}")


def check_rewrite(path: str, rewrite: HTTPRewrite, out: Findings) -> None:
    if rewrite == HTTPRewrite():
        out.error(path, "must set at least one of uri, uriRegexRewrite, authority")
    if rewrite.uri and rewrite.uri_regex_rewrite is not None:
        out.error(f"{path}.uri", "may not be set together with uriRegexRewrite")
    if rewrite.uri_regex_rewrite is not None:
        check_regex_rewrite(f"{path}.uriRegexRewrite", rewrite.uri_regex_rewrite, out)


def check_regex_rewrite(path: str, rewrite: RegexRewrite, out: Findings) -> None:
    if not rewrite.match:
        out.required(f"{path}.match", "the expression to replace is required")
    else:
        check_regex(f"{path}.match", rewrite.match, out)
    if not rewrite.rewrite:
        out.required(f"{path}.rewrite", "the replacement is required")


def check_cors(path: str, cors: CorsPolicy, out: Findings) -> None:
    for index, origin in enumerate(cors.allow_origins):
        at = f"{path}.allowOrigins[{index}]"
        if not (origin.exact or origin.prefix or origin.regex):
            out.error(at, "must match something: set exact, prefix or regex")
        else:
            check_string_match(at, origin, out)
    for index, method in enumerate(cors.allow_methods):
        if method not in _METHODS:
            out.error(f"{path}.allowMethods[{index}]", f"must be one of {', '.join(sorted(_METHODS))}", method)
    for kind, names in (("allowHeaders", cors.allow_headers), ("exposeHeaders", cors.expose_headers)):
        for index, name in enumerate(names):
            check_cors_name(f"{path}.{kind}[{index}]", name, out)
    check_duration(f"{path}.maxAge", cors.max_age, out)
    if cors.max_age is not None and cors.max_age % SECOND:
        out.error(f"{path}.maxAge", "must be in whole seconds", str(cors.max_age))


def check_authority(path: str, route: HTTPRoute, out: Findings) -> None:
    """The Host that goes upstream may be set in one place only."""
    places = [f"{path}.rewrite.authority"] if route.rewrite is not None and route.rewrite.authority else []
    places += _authority_headers(f"{path}.headers", route.headers)
    if len(places) > 1:
        out.error(places[1], f"the authority is set already at {places[0]}")
    for index, target in enumerate(route.route):
        more = places[:1] + _authority_headers(f"{path}.route[{index}].headers", target.headers)
        if len(more) > 1:
            out.warn(more[1], f"the authority is set already at {more[0]}; set it in one place")


def _authority_headers(path: str, headers: Headers | None) -> list[str]:
    if headers is None or headers.request is None:
        return []
    both = (("set", headers.request.set), ("add", headers.request.add))
    return [f"{path}.request.{verb}[{name}]" for verb, names in both for name in names if is_authority(name)]
