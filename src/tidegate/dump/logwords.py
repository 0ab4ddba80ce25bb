"""What the codes of an access log mean, in words, and where to look next.

Facts from Envoy's documentation of response flags and response code details:
https://www.envoyproxy.io/docs/envoy/latest/configuration/observability/access_log/usage
https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_conn_man/response_code_details
"""

from collections.abc import Iterator
from typing import NamedTuple

from tidegate.dump.accesslog import Line
from tidegate.kit import naming


class Note(NamedTuple):
    """One code and its explanation."""

    code: str
    meaning: str
    next: str = ""
    """What to look at; "" where the meaning says enough."""


_ENDPOINTS = 'tidegate proxy-config endpoint {workload} --cluster "{cluster}"'
_CLUSTERS = "tidegate proxy-config cluster {workload}"
_ROUTES = "tidegate proxy-config route {workload}"
_LISTENERS = "tidegate proxy-config listener {workload}"
_SERVER = "the log of the server itself, and of its sidecar: the reason stands there"
_OF_SERVERS = (_ENDPOINTS, _SERVER)
_POLICY = "the DestinationRule of the host: tidegate proxy-config cluster {workload}"

FLAGS: dict[str, tuple[str, str]] = {
    "UH": ("the cluster had no endpoint that may be asked: none exists, or all are unhealthy", _ENDPOINTS),
    "UF": ("no connection to the endpoint could be made: refused, timed out, or TLS failed", _ENDPOINTS),
    "UO": ("a circuit breaker is open: the connection pool's limits are reached", _POLICY),
    "NR": ("nothing matched: no route for this host and path, or no filter chain for this connection", _ROUTES),
    "URX": ("all retries, or all attempts to connect, were used up without success", _ENDPOINTS),
    "NC": ("the route leads to a cluster that the proxy does not have", _CLUSTERS),
    "DT": ("the request or connection lasted longer than the longest time that is allowed", _ROUTES),
    "DC": ("the client went away before the answer was complete", "the client's own timeout"),
    "LH": ("Envoy's own health check answered: the service is failing it", _ENDPOINTS),
    "UT": ("the server did not answer within the route's timeout", "spec.http[].timeout, and why the server is slow"),
    "LR": ("Envoy itself reset the stream to the server", _SERVER),
    "UR": ("the server reset the stream before it had answered", _SERVER),
    "UC": ("the server closed the connection while the request was under way", _SERVER),
    "DI": ("a fault rule delayed the request on purpose", "spec.http[].fault.delay of the VirtualService"),
    "FI": ("a fault rule aborted the request on purpose", "spec.http[].fault.abort of the VirtualService"),
    "RL": ("a rate limit of this proxy refused the request", _LISTENERS),
    "UAEX": ("the external authorization service refused the request", "the authorization service's log"),
    "RLSE": ("the rate limit service could not be asked, and that counts as a refusal", "the rate limit service"),
    "IH": ("a header that is checked strictly has a value that is not allowed", "the client's x-envoy-* headers"),
    "SI": ("nothing was sent or received for the stream's idle timeout", _ROUTES),
    "DPE": ("the client sent what is no valid HTTP", f"which protocol the client speaks, and the port's: {_LISTENERS}"),
    "UPE": ("the server answered with what is no valid HTTP", "which protocol the server speaks on this port"),
    "UMSDR": ("the stream to the server lasted longer than it may", _ROUTES),
    "RFCF": ("the answer was served from a cache", ""),
    "NFCF": ("no filter configuration came from discovery in time", "tidegate proxy-status"),
    "OM": ("the overload manager ended the request: Envoy is short of memory or connections", "Envoy's memory"),
    "DF": ("the server's name could not be resolved", "the host's DNS records, and the name servers of the workload"),
    "DO": ("the request was dropped by load shedding of the endpoints' policy", _ENDPOINTS),
    "DR": ("the client reset the stream", "the client's own timeout or cancellation"),
}
"""Response flag: meaning, and what to look at."""

_RESET = "the connection to the server ended before it answered"

DETAILS: dict[str, tuple[str, str]] = {
    "via_upstream": ("the server itself gave this answer", ""),
    "direct_response": ("a route of this proxy answers by itself, no server was asked", _ROUTES),
    "route_not_found": ("no route matches this host and path", _ROUTES),
    "cluster_not_found": ("the route leads to a cluster that the proxy does not have", _CLUSTERS),
    "no_healthy_upstream": ("the cluster has no healthy endpoint", _ENDPOINTS),
    "no_cluster_found": ("no cluster was found for the connection", _CLUSTERS),
    "filter_chain_not_found": ("no filter chain of the listener matches the connection", _LISTENERS),
    "upstream_reset_before_response_started": (_RESET, _SERVER),
    "upstream_reset_after_response_started": ("the server broke off in the middle of its answer", _SERVER),
    "response_timeout": ("the route's timeout ended the request", "spec.http[].timeout of the VirtualService"),
    "upstream_response_timeout": ("the route's timeout ended the request", "spec.http[].timeout"),
    "upstream_per_try_timeout": (
        "the last attempt took longer than one attempt may",
        "spec.http[].retries.perTryTimeout",
    ),
    "upstream_max_stream_duration_reached": ("the stream to the server lasted longer than it may", _ROUTES),
    "max_duration_timeout": ("the request lasted longer than it may", _ROUTES),
    "duration_timeout": ("the connection lasted longer than it may", _LISTENERS),
    "stream_idle_timeout": ("nothing was sent or received for the idle timeout", _ROUTES),
    "request_overall_timeout": ("the client took too long to send its request", "the client"),
    "request_header_timeout": ("the client took too long to send its headers", "the client"),
    "fault_filter_abort": ("a fault rule of a VirtualService aborted it", "spec.http[].fault.abort"),
    "downstream_remote_disconnect": ("the client closed the connection first", "the client's own timeout"),
    "downstream_local_disconnect": ("Envoy closed the client's connection", ""),
    "http1.codec_error": ("the bytes are not HTTP/1", "which protocol the client speaks on this port"),
    "http2.codec_error": ("the bytes are not HTTP/2", "which protocol the client speaks on this port"),
    "low_version": ("HTTP/1.0 came where it is not accepted", "PILOT_HTTP10 of the control plane"),
    "missing_host_header": ("the request has no Host header", "the client"),
    "absolute_path_rejected": ("an absolute URL came where only a path is accepted", "the client's proxy settings"),
    "missing_path_rejected": ("the request has no path", "the client"),
    "path_normalization_failed": ("the path cannot be normalized", "the client"),
    "request_headers_too_large": ("the request's headers are larger than Envoy takes", "the client's cookies"),
    "request_payload_too_large": ("the body does not fit where a filter must hold all of it", "the client"),
    "request_payload_exceeded_retry_buffer_limit": ("the body is too large to be sent again, so no retry", ""),
    "response_payload_too_large": ("the answer does not fit where a filter must hold all of it", "the server"),
    "internal_redirect": ("Envoy followed a redirect by itself", ""),
    "overload": ("Envoy is overloaded and refuses", "Envoy's memory and connections"),
    "maintenance_mode": ("the cluster is in maintenance: a share of requests is refused", _CLUSTERS),
    "rbac_access_denied": ("an authorization policy refused it", "the AuthorizationPolicies of the server"),
    "jwt_authn_access_denied": (
        "the request's JSON web token was refused",
        "the RequestAuthentications of the server, and the token that the client sends",
    ),
    "ext_authz_denied": ("the external authorization service refused the request", "the authorization service's log"),
    "ext_authz_error": ("the external authorization service could not be asked", "the authorization service"),
    "request_rate_limited": ("the rate limit service refused it", "the rate limit service"),
    "local_rate_limited": ("a rate limit of this proxy refused it", _LISTENERS),
    "upgrade_failed": ("this route allows no such protocol upgrade", _ROUTES),
    "admin_filter_response": ("Envoy's admin port answered", ""),
    "dns_resolution_failure": ("the server's name could not be resolved", "the host's DNS records"),
}
"""Response code details without what stands in braces: meaning, and what to look at."""

REASONS = {
    "connection_failure": "no connection could be made",
    "connection_termination": "the connection was closed",
    "local_connection_failure": "no connection could be made from this side",
    "remote_connection_failure": "the other side refused the connection, or is not reachable",
    "connection_timeout": "no connection within the connect timeout",
    "remote_reset": "the other side reset the stream",
    "remote_refused_stream_reset": "the other side refused the stream, it may be sent again",
    "local_reset": "this side reset the stream",
    "overflow": "a circuit breaker is open",
    "protocol_error": "what came is no valid protocol",
    "delayed_connect_error": "the connection failed before it was ready",
}
"""Why a stream was reset, as the details tell in braces."""

FAILURES = {
    "WRONG_VERSION_NUMBER": "this side began TLS and plain text came back: the server speaks no TLS on this port",
    "CERTIFICATE_VERIFY_FAILED": "the server's certificate is not of a trusted root, is out of date, or names another",
    "CERTIFICATE_REQUIRED": "the server wants a client certificate, and this side has none to show",
    "UNKNOWN_CA": "the server does not trust the root of this side's certificate",
    "CERTIFICATE_UNKNOWN": "the server refused this side's certificate",
    "UNRECOGNIZED_NAME": "the server has no certificate for the server name that was asked for",
    "HANDSHAKE_FAILURE": "the two sides have no TLS version or cipher in common, or the server refused the name",
    "UNSUPPORTED_PROTOCOL": "the two sides have no TLS version in common",
    "Connection_refused": "nothing listens at the address and port",
    "No_route_to_host": "there is no way to the address from here",
    "Network_is_unreachable": "there is no way to the address from here",
}
"""Words in the reason for which a connection to a server failed (BoringSSL's, the kernel's), and what they say."""

_MATCHED = "rbac_access_denied_matched_policy["

CLUSTERS: dict[str, tuple[str, str]] = {
    naming.BLACK_HOLE_CLUSTER: (
        "no object describes this destination, and the mesh allows only what is described (REGISTRY_ONLY)",
        "a ServiceEntry for the destination, or outboundTrafficPolicy; " + _LISTENERS,
    ),
    naming.PASSTHROUGH_CLUSTER: (
        "no object describes this destination: it was carried on unchanged, without routes and policy",
        "a ServiceEntry, where routes or policy should apply",
    ),
    naming.INBOUND_PASSTHROUGH_CLUSTER: (
        "it came for a port that no Service of this workload lists, and was carried to the application unchanged",
        "the Service's targetPort",
    ),
}

ROUTE_NAMES: dict[str, tuple[str, str]] = {
    naming.BLOCK_ALL: (
        "no virtual host has this Host header, and the mesh allows only what is described (REGISTRY_ONLY)",
        "a ServiceEntry for the host, the client's Host header, or a Sidecar that does not import it; " + _ROUTES,
    ),
    naming.ALLOW_ANY: ("no virtual host has this Host header: it was carried to its address unchanged", ""),
}


def explain(line: Line, workload: str) -> tuple[Note, ...]:
    """Every code of a line in words, the gravest first; ``workload`` is named in the commands to try next."""
    values = {"workload": workload, "cluster": line.upstream_cluster}
    carried_on = line.upstream_cluster in (naming.PASSTHROUGH_CLUSTER, naming.INBOUND_PASSTHROUGH_CLUSTER)
    notes = (n._replace(next=_reach(line)) if carried_on and n.next in _OF_SERVERS else n for n in _notes(line))
    return tuple(note._replace(next=_filled(note.next, values)) for note in notes)


def _reach(line: Line) -> str:
    """What to look at where no service is involved, only the address that was asked for."""
    place = line.upstream_host or line.downstream_local_address or "the address"
    return f"whether {place} can be reached from the workload, and a server listens there"


def _filled(text: str, values: dict[str, str]) -> str:
    for name, value in values.items():
        text = text.replace("{" + name + "}", value)
    return text


def _notes(line: Line) -> Iterator[Note]:
    for flag in line.flags:
        yield Note(flag, *FLAGS.get(flag, ("a flag of a newer Envoy, or of a filter", "Envoy's documentation")))
    if line.response_code_details:
        yield _details(line)
    if line.connection_termination_details:
        yield _refused(line.connection_termination_details) or Note(
            line.connection_termination_details, "why Envoy closed the client's connection"
        )
    if line.upstream_transport_failure_reason:
        yield _failure(line.upstream_transport_failure_reason)
    if line.upstream_cluster in CLUSTERS:
        yield Note(line.upstream_cluster, *CLUSTERS[line.upstream_cluster])
    elif line.upstream_cluster:
        yield Note(line.upstream_cluster, _cluster(line.upstream_cluster))
    if line.route_name in ROUTE_NAMES:
        yield Note(line.route_name, *ROUTE_NAMES[line.route_name])


def _failure(reason: str) -> Note:
    said = next((words for word, words in FAILURES.items() if word in reason), "")
    meaning = "what the connection to the server failed with"
    return Note(reason, f"{meaning}: {said}" if said else meaning, "" if said else _SERVER)


def _refused(details: str) -> Note | None:
    """Of what an authorization policy refused, with the rule as the proxy calls it; none: there are policies that
    allow, and not this."""
    if not details.startswith(_MATCHED):
        return None
    rule = details.removeprefix(_MATCHED).removesuffix("]")
    meaning = "policies allow requests to this workload, and none of them allows this one"
    if rule != "none":
        meaning = f"an authorization policy refuses it: {rule}"
    return Note(details, meaning, "the AuthorizationPolicies of the server")


def _details(line: Line) -> Note:
    if (refused := _refused(line.response_code_details)) is not None:
        return refused
    code, _, inside = line.response_code_details.partition("{")
    meaning, look = DETAILS.get(code, ("told by a filter, or by a newer Envoy", ""))
    reason = inside.rstrip("}").partition("|")[0]
    if reason:
        meaning += f": {REASONS.get(reason, reason.replace('_', ' '))}"
    return Note(line.response_code_details, meaning, look)


def _cluster(name: str) -> str:
    found = naming.parse_cluster(name)
    if found is None:
        return "a cluster that no Service or ServiceEntry made"
    if found.direction == "inbound":
        return f"to this workload's own application, port {found.port}"
    subset = f", subset {found.subset} of its DestinationRule" if found.subset else ""
    return f"to host {found.host}, service port {found.port}{subset}"
