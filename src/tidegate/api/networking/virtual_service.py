"""VirtualService."""

import enum
from typing import Annotated

from msgspec import field

from tidegate.api.fields import Duration, Int32, Message, UInt32, doc
from tidegate.api.networking.shared import Destination, Percent, StringMatch


class DerivePort(enum.StrEnum):
    FROM_PROTOCOL_DEFAULT = "FROM_PROTOCOL_DEFAULT"
    FROM_REQUEST_PORT = "FROM_REQUEST_PORT"


class UnmatchedPreflights(enum.StrEnum):
    UNSPECIFIED = "UNSPECIFIED"
    FORWARD = "FORWARD"
    IGNORE = "IGNORE"


class HTTPMatchRequest(Message, frozen=True):
    """networking.v1alpha3.HTTPMatchRequest."""

    name: Annotated[str, doc("match name appended to route name")] = ""
    uri: Annotated[StringMatch | None, doc("path match")] = None
    scheme: Annotated[StringMatch | None, doc("scheme match")] = None
    method: Annotated[StringMatch | None, doc("method match")] = None
    authority: Annotated[StringMatch | None, doc("Host/authority match")] = None
    headers: Annotated[
        dict[str, StringMatch], doc("header name to match; empty object = present; @request.auth.claims.x for JWT")
    ] = field(default_factory=dict)
    port: Annotated[UInt32, doc("listener port")] = 0
    source_labels: Annotated[dict[str, str], doc("client workload labels")] = field(default_factory=dict)
    gateways: Annotated[tuple[str, ...], doc("restrict to these gateways")] = ()
    query_params: Annotated[dict[str, StringMatch], doc("query parameter matches")] = field(default_factory=dict)
    ignore_uri_case: Annotated[bool, doc("case-insensitive path")] = False
    without_headers: Annotated[dict[str, StringMatch], doc("negated header matches")] = field(default_factory=dict)
    source_namespace: Annotated[str, doc("client namespace")] = ""
    stat_prefix: Annotated[str, doc("per-route stats prefix")] = ""


class HeaderOperations(Message, frozen=True):
    """networking.v1alpha3.Headers.HeaderOperations."""

    set: Annotated[dict[str, str], doc("overwrite values")] = field(default_factory=dict)
    add: Annotated[dict[str, str], doc("append values")] = field(default_factory=dict)
    remove: Annotated[tuple[str, ...], doc("delete headers")] = ()


class Headers(Message, frozen=True):
    """networking.v1alpha3.Headers."""

    request: Annotated[HeaderOperations | None, doc("request header operations")] = None
    response: Annotated[HeaderOperations | None, doc("response header operations")] = None


class HTTPRouteDestination(Message, frozen=True):
    """networking.v1alpha3.HTTPRouteDestination."""

    destination: Annotated[Destination | None, doc("target service", required=True)] = None
    weight: Annotated[Int32, doc("relative share")] = 0
    headers: Annotated[Headers | None, doc("header changes for this destination")] = None


class HTTPRedirect(Message, frozen=True):
    """networking.v1alpha3.HTTPRedirect."""

    uri: Annotated[str, doc("replacement path")] = ""
    authority: Annotated[str, doc("replacement host")] = ""
    port: Annotated[UInt32 | None, doc("replacement port", oneof="redirect_port")] = None
    derive_port: Annotated[DerivePort | None, doc("use default or request port", oneof="redirect_port")] = None
    scheme: Annotated[str, doc("replacement scheme")] = ""
    redirect_code: Annotated[UInt32, doc("status code")] = 0
    prefix_rewrite: Annotated[str, doc("replace matched prefix")] = ""


class HTTPBody(Message, frozen=True):
    """networking.v1alpha3.HTTPBody."""

    string: Annotated[str | None, doc("text body", oneof="specifier")] = None
    bytes_: Annotated[str | None, doc("base64 body", oneof="specifier", base64=True)] = field(
        default=None, name="bytes"
    )


class HTTPDirectResponse(Message, frozen=True):
    """networking.v1alpha3.HTTPDirectResponse."""

    status: Annotated[UInt32, doc("status code", required=True)] = 0
    body: Annotated[HTTPBody | None, doc("response body")] = None


class Delegate(Message, frozen=True):
    """networking.v1alpha3.Delegate."""

    name: Annotated[str, doc("delegate VirtualService name")] = ""
    namespace: Annotated[str, doc("its namespace")] = ""


class RegexRewrite(Message, frozen=True):
    """networking.v1alpha3.RegexRewrite."""

    match: Annotated[str, doc("RE2 pattern")] = ""
    rewrite: Annotated[str, doc("substitution")] = ""


class HTTPRewrite(Message, frozen=True):
    """networking.v1alpha3.HTTPRewrite."""

    uri: Annotated[str, doc("new path or prefix")] = ""
    authority: Annotated[str, doc("new host")] = ""
    uri_regex_rewrite: Annotated[RegexRewrite | None, doc("regex replacement")] = None


class HTTPRetry(Message, frozen=True):
    """networking.v1alpha3.HTTPRetry."""

    attempts: Annotated[Int32, doc("retries allowed; 0 disables")] = 0
    per_try_timeout: Annotated[Duration | None, doc("limit per attempt")] = None
    retry_on: Annotated[str, doc("comma list of conditions and status codes")] = ""
    retry_remote_localities: Annotated[bool | None, doc("may retry in other localities")] = None
    retry_ignore_previous_hosts: Annotated[bool | None, doc("skip already tried hosts")] = None
    backoff: Annotated[Duration | None, doc("base interval")] = None


class HTTPFaultInjectionDelay(Message, frozen=True):
    """networking.v1alpha3.HTTPFaultInjection.Delay."""

    percent: Annotated[Int32, doc("old integer percent", deprecated=True)] = 0
    fixed_delay: Annotated[Duration | None, doc("delay to add", oneof="http_delay_type")] = None
    exponential_delay: Annotated[Duration | None, doc("unsupported", oneof="http_delay_type")] = None
    percentage: Annotated[Percent | None, doc("share of requests")] = None


class HTTPFaultInjectionAbort(Message, frozen=True):
    """networking.v1alpha3.HTTPFaultInjection.Abort."""

    http_status: Annotated[Int32 | None, doc("status code to return", oneof="error_type")] = None
    grpc_status: Annotated[str | None, doc("gRPC status name", oneof="error_type")] = None
    http2_error: Annotated[str | None, doc("unsupported", oneof="error_type")] = None
    percentage: Annotated[Percent | None, doc("share of requests")] = None


class HTTPFaultInjection(Message, frozen=True):
    """networking.v1alpha3.HTTPFaultInjection."""

    delay: Annotated[HTTPFaultInjectionDelay | None, doc("latency fault")] = None
    abort: Annotated[HTTPFaultInjectionAbort | None, doc("error fault")] = None


class HTTPMirrorPolicy(Message, frozen=True):
    """networking.v1alpha3.HTTPMirrorPolicy."""

    destination: Annotated[Destination | None, doc("mirror target", required=True)] = None
    percentage: Annotated[Percent | None, doc("share of traffic")] = None


class CorsPolicy(Message, frozen=True):
    """networking.v1alpha3.CorsPolicy."""

    allow_origin: Annotated[tuple[str, ...], doc("exact origins", deprecated=True)] = ()
    allow_origins: Annotated[tuple[StringMatch, ...], doc("origin string matches")] = ()
    allow_methods: Annotated[tuple[str, ...], doc("allowed methods")] = ()
    allow_headers: Annotated[tuple[str, ...], doc("allowed request headers")] = ()
    expose_headers: Annotated[tuple[str, ...], doc("response headers exposed")] = ()
    max_age: Annotated[Duration | None, doc("preflight cache time")] = None
    allow_credentials: Annotated[bool | None, doc("send credentials header")] = None
    unmatched_preflights: Annotated[UnmatchedPreflights, doc("forward or drop preflights of unlisted origins")] = (
        UnmatchedPreflights.UNSPECIFIED
    )


class HTTPRoute(Message, frozen=True):
    """networking.v1alpha3.HTTPRoute."""

    name: Annotated[str, doc("route name for debugging and logs")] = ""
    match: Annotated[tuple[HTTPMatchRequest, ...], doc("alternatives (OR); empty matches all")] = ()
    route: Annotated[tuple[HTTPRouteDestination, ...], doc("weighted destinations")] = ()
    redirect: Annotated[HTTPRedirect | None, doc("reply with redirect instead of forwarding")] = None
    direct_response: Annotated[HTTPDirectResponse | None, doc("fixed response instead of forwarding")] = None
    delegate: Annotated[Delegate | None, doc("other VirtualService holding the rules")] = None
    rewrite: Annotated[HTTPRewrite | None, doc("path/authority rewrite before forwarding")] = None
    timeout: Annotated[Duration | None, doc("whole-request limit")] = None
    retries: Annotated[HTTPRetry | None, doc("retry policy")] = None
    fault: Annotated[HTTPFaultInjection | None, doc("delay/abort injection")] = None
    mirror: Annotated[Destination | None, doc("single mirror destination")] = None
    mirrors: Annotated[tuple[HTTPMirrorPolicy, ...], doc("several mirror destinations")] = ()
    mirror_percent: Annotated[UInt32 | None, doc("old integer percent to mirror", deprecated=True)] = None
    mirror_percentage: Annotated[Percent | None, doc("share of traffic to mirror")] = None
    cors_policy: Annotated[CorsPolicy | None, doc("CORS handling")] = None
    headers: Annotated[Headers | None, doc("header changes for all destinations")] = None


class TLSMatchAttributes(Message, frozen=True):
    """networking.v1alpha3.TLSMatchAttributes."""

    sni_hosts: Annotated[tuple[str, ...], doc("SNI names (wildcard allowed), subset of hosts", required=True)] = ()
    destination_subnets: Annotated[tuple[str, ...], doc("destination CIDRs")] = ()
    port: Annotated[UInt32, doc("listener port")] = 0
    source_labels: Annotated[dict[str, str], doc("client workload labels")] = field(default_factory=dict)
    gateways: Annotated[tuple[str, ...], doc("restrict to these gateways")] = ()
    source_namespace: Annotated[str, doc("client namespace")] = ""


class RouteDestination(Message, frozen=True):
    """networking.v1alpha3.RouteDestination."""

    destination: Annotated[Destination | None, doc("target service", required=True)] = None
    weight: Annotated[Int32, doc("relative share")] = 0


class TLSRoute(Message, frozen=True):
    """networking.v1alpha3.TLSRoute."""

    match: Annotated[tuple[TLSMatchAttributes, ...], doc("SNI alternatives", required=True)] = ()
    route: Annotated[tuple[RouteDestination, ...], doc("weighted destinations")] = ()


class L4MatchAttributes(Message, frozen=True):
    """networking.v1alpha3.L4MatchAttributes."""

    destination_subnets: Annotated[tuple[str, ...], doc("destination CIDRs")] = ()
    port: Annotated[UInt32, doc("listener port")] = 0
    source_subnet: Annotated[str, doc("client CIDR, not implemented")] = ""
    source_labels: Annotated[dict[str, str], doc("client workload labels")] = field(default_factory=dict)
    gateways: Annotated[tuple[str, ...], doc("restrict to these gateways")] = ()
    source_namespace: Annotated[str, doc("client namespace")] = ""


class TCPRoute(Message, frozen=True):
    """networking.v1alpha3.TCPRoute."""

    match: Annotated[tuple[L4MatchAttributes, ...], doc("alternatives")] = ()
    route: Annotated[tuple[RouteDestination, ...], doc("weighted destinations")] = ()


class VirtualService(Message, frozen=True):
    """networking.v1alpha3.VirtualService."""

    hosts: Annotated[
        tuple[str, ...], doc("destinations the rules apply to: short name, FQDN, wildcard, IP; empty = delegate")
    ] = ()
    gateways: Annotated[tuple[str, ...], doc("gateways (ns/name) or the word mesh")] = ()
    http: Annotated[tuple[HTTPRoute, ...], doc("ordered HTTP rules")] = ()
    tls: Annotated[tuple[TLSRoute, ...], doc("ordered SNI rules for TLS/HTTPS ports not terminated")] = ()
    tcp: Annotated[tuple[TCPRoute, ...], doc("ordered TCP rules")] = ()
    export_to: Annotated[tuple[str, ...], doc("namespaces that may see the rules")] = ()
